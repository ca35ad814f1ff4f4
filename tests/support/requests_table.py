"""Writes docs/requests_table.inc from what the tests of the protocols have counted.

``FLASK_STORE_REQUESTS_TABLE=docs/requests_table.inc pytest
tests/hard/test_protocols.py``.
"""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest

from .protocol_rows import ROWS
from .protocol_table import collect
from .protocol_table import list_table

#: How many files the test deletes.
DELETED = 10
#: What the columns count.
HEAD = (
    "Protocol",
    "Server",
    "Save, and ask for size and type",
    "Save, and read what it knew",
    f"Delete {DELETED}, one by one",
    f"Delete {DELETED} together",
)


def write(reports: t.Iterable[pytest.TestReport]) -> None:
    """Write the table if FLASK_STORE_REQUESTS_TABLE names its file."""
    path = os.environ.get("FLASK_STORE_REQUESTS_TABLE")
    if path:
        pathlib.Path(path).write_text(render(reports))


def render(reports: t.Iterable[pytest.TestReport]) -> str:
    """The table in reStructuredText."""
    rows = collect(reports)
    cells = []
    for name, row in ROWS.items():
        if row.trips is not None:
            counts = rows[name].said.get(("test_requests_saved", "saved"))
            shown = list(map(str, counts)) if counts else ["not run"] * 4
            cells.append([f"``{name}``", row.behind, *shown])
    title = "Round trips to the storage"
    return "\n".join(list_table(title, [*HEAD], cells))
