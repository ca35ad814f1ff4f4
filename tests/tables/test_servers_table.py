"""The tables of the WSGI servers say what the tests have shown, and nothing else."""

from __future__ import annotations

import typing as t

import pytest

from tests.support import servers_table
from tests.support.servers import ROOT
from tests.support.wsgi_servers import SERVERS

TABLE = ROOT / "docs" / "servers_table.inc"


def report(
    outcome: t.Literal["passed", "failed", "skipped"], *cell: str
) -> pytest.TestReport:
    """What pytest reports of one test."""
    return pytest.TestReport(
        nodeid="tests/x.py::test",
        location=("", 0, ""),
        keywords={},
        outcome=outcome,
        longrepr=None,
        when="call",
        user_properties=[(servers_table.PROPERTY, list(cell))],
    )


def cells_of(text: str, server: str) -> dict[str, str]:
    """The cells of one server in all tables, by their columns."""
    cells: dict[str, str] = {}
    tables = text.split(".. list-table::")[1:]
    for columns, table in zip(servers_table.TABLES, tables, strict=True):
        row = table[table.index(f"* - {server}\n") :].splitlines()[1:]
        shown = (line.removeprefix("     - ") for line in row)
        cells.update(zip(columns, shown, strict=False))
    return cells


def test_cells() -> None:
    """A cell counts what passed, shows what failed, and says what a test says."""
    table = servers_table.render(
        [
            report("passed", "waitress", "Files", ""),
            report("passed", "waitress", "Files", ""),
            report("failed", "waitress", "Body", ""),
            report("passed", "waitress", "Body", ""),
            report("passed", "waitress", "Body in chunks", "411"),
            report("passed", "waitress", "Body in chunks", "411"),
            report("skipped", "waitress", "Changed files", ""),
        ]
    )
    cells = cells_of(table, "waitress")
    assert cells["Files"] == "2"
    assert cells["Body"] == "**1 of 2**"
    assert cells["Body in chunks"] == "411"
    assert cells["Changed files"] == servers_table.LEFT_OUT
    assert cells["Links"] == "not run"


def test_table_in_the_documentation() -> None:
    """Each server has a row, which agrees with its description on chunks. Nothing
    failed, and everything ran."""
    table = TABLE.read_text()
    assert "**" not in table
    assert "not run" not in table
    for name, server in SERVERS.items():
        cells = cells_of(table, name)
        assert (cells["Body in chunks"] == "411") is not server.takes_chunks
        assert (cells["Form in chunks"] == "411") is not server.takes_chunks
        assert (cells["Direct in chunks"] == "411") is not server.measures_chunks
        assert (cells["Refused"] == "misread") is server.misreads_chunks
