"""The table of resumable uploads says what a test has measured."""

from __future__ import annotations

from tests.support import protocol_rows
from tests.support.resumable_table import NOT_SAFE
from tests.support.resumable_table import ROWS
from tests.support.resumable_table import THROUGH
from tests.support.servers import ROOT

from .test_copy_table import cells

TABLE = ROOT / "docs" / "resumable_table.inc"


def test_table_in_the_documentation() -> None:
    """It has a line for each protocol, with its means, and nothing that was not
    measured. tests/hard/test_protocols_resumed.py writes it, and fails if a row needs
    more than it says here."""
    assert ROWS.keys() == protocol_rows.ROWS.keys()
    table = TABLE.read_text()
    assert "not run" not in table
    for name, row in ROWS.items():
        assert bool(row.stored) == protocol_rows.ROWS[name].exclusive
        stored, append, means, confirm, passed = cells(table, name)
        if not row.stored:
            assert (stored, means, passed) == (NOT_SAFE, "–", "–")
            continue
        assert (stored, means) == (row.stored, row.means or THROUGH)
        for count, most in zip((append, confirm), row.trips, strict=True):
            assert count == "–" or 0 < int(count) <= most
        assert passed == "–" or 1 <= float(passed) <= (1 if row.means else 3)
