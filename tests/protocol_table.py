"""Writes docs/protocols_table.inc from what the tests of the protocols have shown.

``FLASK_STORE_TABLE=docs/protocols_table.inc pytest tests/test_protocols.py``
"""

from __future__ import annotations

import collections
import os
import pathlib
import typing as t

import pytest

from .rows import ROWS

PROMISES = {
    "test_race": "Race",
    "test_kill": "Kill -9",
    "test_fork": "Fork",
    "test_dead_server": "Dead",
    "test_silent_server": "Silent",
    "test_server_that_falls_silent": "Falls silent",
}
HEAD = ["Protocol", "Server", "Library", "By which primitive", "Exclusive"]


def write(reports: t.Iterable[pytest.TestReport]) -> None:
    """Write the table if FLASK_STORE_TABLE names its file."""
    path = os.environ.get("FLASK_STORE_TABLE")
    if not path:
        return
    seen: dict[str, dict[str, str]] = collections.defaultdict(dict)
    for report in reports:
        name, _, row = report.nodeid.rpartition("::")[2].partition("[")
        shown = {"passed": "yes", "failed": "**no**", "skipped": "-"}[report.outcome]
        if name in PROMISES and (report.when == "call" or report.skipped):
            seen[row.rstrip("]")][name] = shown
    lines = [".. list-table::", "   :header-rows: 1", ""]
    lines += table_row([*HEAD, *PROMISES.values()])
    for name, row in ROWS.items():
        cells = [f"``{name}``", row.behind, row.library, row.primitive]
        cells.append("yes" if row.exclusive else "no")
        cells += [seen[name].get(test, "not run") for test in PROMISES]
        lines += table_row(cells)
    pathlib.Path(path).write_text("\n".join(lines) + "\n")


def table_row(cells: list[str]) -> list[str]:
    """The lines of one row of a list-table."""
    return [f"   {'  ' if n else '* '}- {cell}" for n, cell in enumerate(cells)]
