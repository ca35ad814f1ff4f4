"""The file names that attackers send, as one list."""

from __future__ import annotations

import json
import pathlib
import typing as t

#: Stands for a secret key or a password; must never be shown.
SECRET = "s3cr3t-that-nobody-may-see"

_PATH = pathlib.Path(__file__).parent / "hostile_names.json"


def _names() -> t.Iterator[str]:
    for group in json.loads(_PATH.read_text("utf-8")).values():
        for name in group:
            # Long names are written as [what, how often, what then].
            yield name if isinstance(name, str) else name[0] * name[1] + name[2]


#: Every name of ``hostile_names.json``.
HOSTILE: list[str] = list(_names())
