"""How each protocol takes an upload in several requests, which
tests/hard/test_protocols_resumed.py shows, and the table of it.

``FLASK_STORE_RESUMABLE_TABLE=docs/resumable_table.inc pytest
tests/hard/test_protocols_resumed.py``
"""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest

from .protocol_table import table_row

#: The property by which a test says what it has measured: the row, and its cells.
PROPERTY = "resumed"

#: How many pieces the upload has whose costs are shown.
PIECES = 2


class Row(t.NamedTuple):
    """What a protocol does."""

    #: What a request stores; nothing if an upload cannot be resumed.
    stored: str
    #: By which means of the storage the file gets its key; none if the bytes go through
    #: the process.
    means: str = ""
    #: How often a client waits for the server, at most: for a request with one piece,
    #: and for ``confirm()``.
    trips: tuple[int, int] = (0, 0)


GROWS, PIECE = "the file grows", "a piece"

#: The rows of the table.
ROWS: dict[str, Row] = {
    "file": Row(GROWS, "link(2)"),
    "dir::file": Row(GROWS, "link(2)"),
    "memory": Row(PIECE),
    "s3": Row(PIECE, "UploadPartCopy", (4, 18)),
    "s3 (moto)": Row(PIECE, "UploadPartCopy", (4, 25)),
    "s3 (rclone)": Row(""),
    "abfs": Row(PIECE, "", (12, 22)),
    "gs": Row(PIECE, "", (4, 22)),
    "sftp+sshfs": Row(PIECE, "copy-data", (120, 62)),
    "sftp+paramiko": Row(PIECE, "copy-data", (120, 62)),
    "smb": Row(PIECE, "SRV_COPYCHUNK", (22, 60)),
    "webdav+http": Row(PIECE, "", (9, 42)),
    "ftp": Row(""),
}

HEAD = [
    "Protocol",
    "A request stores",
    "Trips",
    "confirm() publishes by",
    "Trips",
    "Bytes sent and received",
]
BEGIN = [".. list-table::", "   :header-rows: 1", ""]
NOT_SAFE = "not safe: refused"
THROUGH = "the process"


def write(reports: t.Iterable[pytest.TestReport]) -> None:
    """Write the table if FLASK_STORE_RESUMABLE_TABLE names its file."""
    path = os.environ.get("FLASK_STORE_RESUMABLE_TABLE")
    if not path:
        return
    measured = {
        name: found
        for report in reports
        for what, value in report.user_properties
        if what == PROPERTY
        for name, found in [t.cast("tuple[str, list[str]]", value)]
    }
    lines = list(BEGIN)
    for cells in (HEAD, *(_cells(name, row, measured) for name, row in ROWS.items())):
        lines += table_row(cells)
    pathlib.Path(path).write_text("\n".join([*lines, ""]))


def _cells(name: str, row: Row, measured: dict[str, list[str]]) -> list[str]:
    if not row.stored:
        return [f"``{name}``", NOT_SAFE, *["–"] * 4]
    append, confirm, passed = measured.get(name, ["not run"] * 3)
    means = row.means or THROUGH
    return [f"``{name}``", row.stored, append, means, confirm, passed]
