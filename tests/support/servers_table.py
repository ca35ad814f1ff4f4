"""Writes docs/servers_table.inc, the tables of what the tests of WSGI servers show.

``FLASK_STORE_SERVERS_TABLE=docs/servers_table.inc pytest
tests/servers/test_wsgi_servers.py``
"""

from __future__ import annotations

import collections
import os
import pathlib
import typing as t

import pytest

from .protocol_table import LEFT_OUT
from .protocol_table import table_row
from .wsgi_servers import SERVERS

#: The property by which a test says which cell it fills: the server, the column, and
#: what is to stand there in place of the number of tests that passed.
PROPERTY = "servers"
#: The columns of each of the tables. One table would be wider than a page.
TABLES = (
    ("Files", "Large files", "Changed files", "Variants", "Links"),
    (
        "Form",
        "Form in chunks",
        "Body",
        "Body in chunks",
        "Cut off",
        "Direct upload",
        "Direct in chunks",
        "Resumable",
        "Refused",
    ),
)


class Cell(t.NamedTuple):
    """What the tests of one server and one column have shown."""

    outcomes: list[str]
    said: set[str]

    @classmethod
    def empty(cls) -> t.Self:
        """One that no test has filled yet."""
        return cls([], set())

    def __str__(self) -> str:
        outcomes = self.outcomes
        if "failed" in outcomes:
            return f"**{outcomes.count('passed')} of {len(outcomes)}**"
        if self.said:
            return ", ".join(sorted(self.said))
        return str(outcomes.count("passed") or (LEFT_OUT if outcomes else "not run"))


def write(reports: t.Iterable[pytest.TestReport]) -> None:
    """Write the tables if FLASK_STORE_SERVERS_TABLE names its file."""
    path = os.environ.get("FLASK_STORE_SERVERS_TABLE")
    if path:
        pathlib.Path(path).write_text(render(reports))


def render(reports: t.Iterable[pytest.TestReport]) -> str:
    """The tables in reStructuredText."""
    cells: dict[tuple[str, str], Cell] = collections.defaultdict(
        lambda: Cell([], set())
    )
    for report in reports:
        for name, value in report.user_properties:
            if name == PROPERTY:
                server, column, said = t.cast("list[str]", value)
                cells[server, column].outcomes.append(report.outcome)
                cells[server, column].said.update({said} - {""})
    lines: list[str] = []
    for columns in TABLES:
        lines += [".. list-table::", "   :header-rows: 1", ""]
        lines += table_row(["Server", *columns])
        for server in SERVERS:
            shown = [str(cells[server, column]) for column in columns]
            lines += table_row([server, *shown])
        lines.append("")
    return "\n".join(lines)
