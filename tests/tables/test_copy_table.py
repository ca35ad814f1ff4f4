"""The table of copies and moves says what a test has measured."""

from __future__ import annotations

from tests.support import protocol_rows
from tests.support.copy_table import ROWS
from tests.support.servers import ROOT

TABLE = ROOT / "docs" / "copy_table.inc"


def cells(table: str, name: str) -> list[str]:
    """The cells behind a row's name."""
    text = table.partition(f"* - ``{name}``\n")[2].partition("* - ")[0]
    lines = filter(None, map(str.strip, text.splitlines()))
    return [line.removeprefix("- ") for line in lines]


def test_table_in_the_documentation() -> None:
    """It has a line for each protocol, with its means, and nothing that was not
    measured. tests/hard/test_protocols_copied.py writes it, and fails if a row needs
    more than it says here."""
    assert ROWS.keys() == protocol_rows.ROWS.keys()
    table = TABLE.read_text()
    assert "not run" not in table
    costs, kept = table.split(".. list-table::")[1:]
    for name, row in ROWS.items():
        assert cells(kept, name) == ([row.kept] if row.kept else [])
        ways = cells(costs, name)
        assert ways[::2] == [way.means or "all bytes" for way in row[:3]]
        for count, way in zip(ways[1::2], row[:3], strict=True):
            assert count == "–" or 0 < int(count) <= way.trips
