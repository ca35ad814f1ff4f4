"""The table of the requests that are saved has a row for each server."""

from __future__ import annotations

import re

from tests.support import requests_table
from tests.support.protocol_rows import ROWS
from tests.support.servers import ROOT
from tests.tables.test_protocol_table import report

TABLE = ROOT / "docs" / "requests_table.inc"
COUNTS = [3, 1, 20, 1]


def test_what_a_test_has_counted_is_shown() -> None:
    """The numbers come from the test itself; without it the table says so."""
    name = "test_protocols.py::TestEachRow::test_requests_saved[s3]"
    text = requests_table.render([report(name, "passed", saved=COUNTS)])
    assert (
        "* - ``s3``\n     - SeaweedFS\n     - 3\n     - 1\n     - 20\n     - 1" in text
    )
    assert "* - ``gs``\n     - fake-gcs-server\n     - not run" in text


def test_table_in_the_documentation() -> None:
    """What a save knew costs nothing, and S3 deletes many files by one request."""
    table = TABLE.read_text()
    row = r"\* - ``(.+)``\n +- .+\n +- (\d+)\n +- (\d+)\n +- (\d+)\n +- (\d+)"
    found = {name: [*map(int, counts)] for name, *counts in re.findall(row, table)}
    assert found.keys() == {name for name, row in ROWS.items() if row.trips}
    for name, (asked, known, each, together) in found.items():
        assert known <= asked - 2, name
        assert together == 1 if name.startswith("s3") else together <= each, name
