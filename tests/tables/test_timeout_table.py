"""The table of time limits in the documentation is the one that a test measures."""

from __future__ import annotations

from tests.support import timeout_table
from tests.support.servers import ROOT


def test_table_in_the_documentation() -> None:
    """tests/hard/test_timeouts.py measures what stands there."""
    table = (ROOT / "docs" / "timeout_table.inc").read_text()
    assert table == timeout_table.table()
