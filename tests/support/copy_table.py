"""How each protocol copies and moves, which tests/hard/test_protocols_copied.py shows,
and the table of it.

``FLASK_STORE_COPY_TABLE=docs/copy_table.inc pytest
tests/hard/test_protocols_copied.py``
"""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest

from .protocol_table import table_row

#: The property by which a test says what it has measured: the row, and its cells.
PROPERTY = "copied"


class Way(t.NamedTuple):
    """How a store does one thing."""

    #: By which means of the storage; none if the bytes go through the process.
    means: str = ""
    #: How often a client waits for the server, at most.
    trips: int = 0


class Row(t.NamedTuple):
    """What a protocol does."""

    copy: Way
    move: Way
    #: A move in place of another file.
    move_over: Way
    #: What a copy has of the original, beside its bytes.
    kept: str = ""


OBJECT = "type, headers, metadata"
THROUGH = Way()

#: The rows of the table.
ROWS: dict[str, Row] = {
    "file": Row(
        Way("copy_file_range(2)"),
        Way("link(2)"),
        Way("copy_file_range(2)"),
    ),
    "dir::file": Row(
        Way("copy_file_range(2)"),
        Way("link(2)"),
        Way("copy_file_range(2)"),
    ),
    "memory": Row(THROUGH, THROUGH, THROUGH),
    "s3": Row(
        Way("CopyObject", 3),
        Way("CopyObject, DELETE", 7),
        Way("CopyObject, DELETE", 7),
        f"{OBJECT}, tags, storage class",
    ),
    "s3 (moto)": Row(
        Way("", 4),
        Way("", 8),
        Way("CopyObject, DELETE", 7),
        f"{OBJECT}, tags, storage class",
    ),
    "s3 (rclone)": Row(
        Way("CopyObject", 3),
        Way("CopyObject, DELETE", 7),
        Way("CopyObject, DELETE", 7),
        f"{OBJECT}, storage class",
    ),
    "abfs": Row(
        Way("Copy Blob", 4),
        Way("Copy Blob, DELETE", 7),
        Way("Copy Blob, DELETE", 7),
        f"{OBJECT}, tags, access tier",
    ),
    "gs": Row(
        Way("", 4),
        Way("", 8),
        Way("rewrite, DELETE", 7),
        OBJECT,
    ),
    "sftp+sshfs": Row(
        Way("copy-data", 12),
        Way("SSH_FXP_RENAME", 5),
        Way("copy-data", 16),
    ),
    "sftp+paramiko": Row(
        Way("copy-data", 12),
        Way("SSH_FXP_RENAME", 5),
        Way("copy-data", 16),
    ),
    "smb": Row(
        Way("SRV_COPYCHUNK", 14),
        Way("hard link", 6),
        Way("SRV_COPYCHUNK", 18),
    ),
    "webdav+http": Row(
        Way("COPY", 9),
        Way("MOVE", 6),
        Way("COPY", 13),
    ),
    "ftp": Row(THROUGH, Way("RNFR, RNTO"), THROUGH),
}

HEAD = ["Protocol", "Copy", "Trips", "Move", "Trips", "Move over another", "Trips"]
BEGIN = [".. list-table::", "   :header-rows: 1", ""]


def write(reports: t.Iterable[pytest.TestReport]) -> None:
    """Write the table if FLASK_STORE_COPY_TABLE names its file."""
    path = os.environ.get("FLASK_STORE_COPY_TABLE")
    if not path:
        return
    measured = {
        name: trips
        for report in reports
        for what, value in report.user_properties
        if what == PROPERTY
        for name, trips in [t.cast("tuple[str, list[int]]", value)]
    }
    costs, kept = [HEAD], [["Protocol", "What a copy has of the original"]]
    for name, row in ROWS.items():
        cells = [f"``{name}``"]
        trips = measured.get(name, ["not run"] * 3)
        for way, count in zip(row[:3], trips, strict=True):
            cells += [way.means or "all bytes", str(count or "–")]
        costs.append(cells)
        if row.kept:
            kept.append([f"``{name}``", row.kept])
    lines: list[str] = []
    for table in (costs, kept):
        lines += [*BEGIN, *(line for cells in table for line in table_row(cells)), ""]
    pathlib.Path(path).write_text("\n".join(lines))
