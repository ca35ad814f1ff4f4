"""How long each protocol waits, which tests/hard/test_timeouts.py measures, and the
table of it: ``python -m tests.support.timeout_table > docs/timeout_table.inc``."""

from __future__ import annotations

import typing as t

from flask_store.settings import TABLE

from .protocol_table import table_row


class Waits(t.NamedTuple):
    """How long a store waits, as multiples of ``STORE_TIMEOUT``."""

    #: For a server that does not take the connection.
    connect: float = 1
    #: For the first answer on a new connection.
    first: float = 1
    #: For another answer, of which no byte comes.
    silent: float = 1
    #: For another answer, which comes byte by byte.
    drip: float = 1
    #: In the middle of a file, when no byte more comes.
    part: float = 1
    #: In the middle of a file, when the rest comes byte by byte.
    part_drip: float = 1
    #: For a server that reads a part of an upload and no more.
    upload: float = 1
    #: For the answer to an upload.
    stored: float = 1


#: The rows of the table: what a store is made with, and how long it waits.
ROWS: dict[str, Waits] = {
    "S3": Waits(connect=0.5),
    "S3, where s3fs asks": Waits(),
    "Google Cloud": Waits(upload=1.25, stored=1.25),
    "Azure": Waits(part=0.5, part_drip=0.5, upload=1.25, stored=1.25),
    "WebDAV": Waits(),
    "HTTP": Waits(upload=0, stored=0),
    "SFTP by sshfs": Waits(drip=4, part_drip=4),
    "SFTP by paramiko": Waits(),
    "FTP": Waits(upload=1.25, stored=1.25),
    "SMB": Waits(connect=0.5, first=1),
    "a third party's, asynchronous": Waits(part=4, part_drip=4, upload=4),
}

#: The columns of the table: its heading, and the fields behind it.
COLUMNS = {
    "Connect": ("connect",),
    "First response": ("first",),
    "Response": ("silent",),
    "Slow response": ("drip",),
    "File": ("part",),
    "Slow file": ("part_drip",),
    "Upload": ("upload", "stored"),
}


def table() -> str:
    """The table in reStructuredText, in seconds."""
    seconds = TABLE["STORE_TIMEOUT"].default
    lines = [
        ".. Written by tests/support/timeout_table.py.",
        "",
        ".. list-table::",
        "   :header-rows: 1",
        f"   :widths: 24 {' '.join(['10'] * len(COLUMNS))}",
        "",
        *table_row(["", *COLUMNS]),
    ]
    for name, waits in ROWS.items():
        longest = [
            max(getattr(waits, f) for f in fields) for fields in COLUMNS.values()
        ]
        cells = [f"{wait * seconds:g}" if wait else "" for wait in longest]
        lines += table_row([name, *cells])
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
