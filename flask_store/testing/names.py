"""The file names that attackers send, as one list."""

from __future__ import annotations

import json
import pathlib
import typing as t

_PATH = pathlib.Path(__file__).parent / "hostile_names.json"


def _groups() -> t.Iterator[list[str]]:
    for group in json.loads(_PATH.read_text("utf-8")).values():
        yield [
            # Long names are written as [what, how often, what then].
            name if isinstance(name, str) else name[0] * name[1] + name[2]
            for name in group
        ]


#: Every name of ``hostile_names.json``.
HOSTILE: list[str] = [name for group in _groups() for name in group]
#: One of each kind.
SAMPLE: list[str] = [group[len(group) // 2] for group in _groups()]
