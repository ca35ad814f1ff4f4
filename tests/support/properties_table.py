"""The table of what each store keeps beside the bytes of a file: the dialects' answers.

``python -m tests.support.properties_table > docs/properties_table.inc`` writes the
table of the documentation.
"""

from __future__ import annotations

from flask_store.dialects import Dialect
from flask_store.dialects.registry import find
from flask_store.exceptions import InvalidProperty
from flask_store.exceptions import NotConfiguredError
from flask_store.uploads.properties import MOST_METADATA
from flask_store.uploads.properties import NO_PROPERTIES
from flask_store.uploads.properties import Properties

from .protocol_table import table_row

#: What the page calls a store -> one of its protocols.
STORES = {
    "S3": "s3",
    "Azure": "abfs",
    "Google Cloud": "gs",
    "Disk": "file",
    "Memory": "memory",
    "SFTP": "sftp+paramiko",
    "SMB": "smb",
    "WebDAV": "webdav",
    "FTP": "ftp",
}
HEAD = [
    "Store",
    "Content type",
    "``Content-Encoding``",
    "``Cache-Control``",
    "Metadata",
    "Names of metadata",
]


def lines() -> list[str]:
    """The whole table."""
    rows = [
        [name, *_cells(find_dialect(protocol))] for name, protocol in STORES.items()
    ]
    rows.append(["Any other filesystem", *_cells(_bare(Dialect))])
    table = [".. list-table::", "   :header-rows: 1", ""]
    for cells in [HEAD, *rows]:
        table += table_row(cells)
    return table


def find_dialect(protocol: str) -> Dialect:
    """The dialect of a protocol, which nobody has configured."""
    registration = find(protocol)
    assert registration is not None
    return _bare(registration.load())


def _bare(kind: type[Dialect]) -> Dialect:
    class Bare(kind):  # type: ignore[misc,valid-type]
        uri = "nowhere"

    return Bare.__new__(Bare)  # type: ignore[no-any-return]


def _cells(dialect: Dialect) -> list[str]:
    keeps = [
        takes(dialect, Properties(content_encoding="gzip")),
        takes(dialect, NO_PROPERTIES.having("no-cache", None)),
        takes(dialect, NO_PROPERTIES.having(None, {"a": "b"})),
    ]
    if not any(keeps):
        return ["that of the name", "no", "no", "no", ""]
    dashed = takes(dialect, NO_PROPERTIES.having(None, {"a-b.c": "d"}))
    names = "letters, digits, ``_``, ``-``, ``.``" if dashed else "identifiers"
    kept = ["yes" if keep else "no" for keep in keeps]
    kept[-1] += f", {MOST_METADATA} bytes"
    return ["as stored", *kept, names]


def takes(dialect: Dialect, properties: Properties) -> bool:
    """Whether a dialect has a place for properties."""
    try:
        dialect.check_properties(properties)
    except (NotConfiguredError, InvalidProperty):
        return False
    return True


if __name__ == "__main__":
    print("\n".join(lines()))
