"""The table of the WSGI servers says what the tests have shown, and nothing else."""

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
    row = table[table.index("* - waitress") :].splitlines()[1:]
    cells = dict(zip(servers_table.COLUMNS, (line[7:] for line in row), strict=False))
    assert cells["Files"] == "2"
    assert cells["Body"] == "**1 of 2**"
    assert cells["Body in chunks"] == "411"
    assert cells["Changed files"] == servers_table.LEFT_OUT
    assert cells["Links"] == "not run"


def test_table_in_the_documentation() -> None:
    """It has a line for each server, which says what its description says of chunks;
    nothing failed, and everything ran."""
    table = TABLE.read_text()
    assert "**" not in table
    assert "not run" not in table
    for name, server in SERVERS.items():
        row = table[table.index(f"* - {name}\n") :].splitlines()[1:]
        cells = dict(
            zip(servers_table.COLUMNS, (line[7:] for line in row), strict=False)
        )
        assert (cells["Body in chunks"] == "411") is not server.takes_chunks
        assert (cells["Form in chunks"] == "411") is not server.takes_chunks
        assert (cells["Direct in chunks"] == "411") is not server.measures_chunks
        assert (cells["Refused"] == "misread") is server.misreads_chunks
