"""Writes docs/serving_table.inc from what the tests of the route have shown.

``FLASK_STORE_SERVING_TABLE=docs/serving_table.inc pytest
tests/storages/test_serving.py``
"""

from __future__ import annotations

import collections
import os
import pathlib
import typing as t

import pytest

from .protocol_table import table_row

#: The property by which a test says which cell it fills: the store, the request or the
#: header, and the status or what the header says.
PROPERTY = "serving"
#: The stores in the order of the columns. docs/serving.rst names their servers.
STORES = {
    "local": "local",
    "memory": "memory",
    "s3": "S3",
    "sftp": "SFTP",
    "smb": "SMB",
    "webdav": "WebDAV",
    "azure": "Azure",
    "gcs": "Google",
}
SHOWN = {"passed": "yes", "failed": "**no**", "skipped": "-"}


def write(reports: t.Iterable[pytest.TestReport]) -> None:
    """Write the table if FLASK_STORE_SERVING_TABLE names its file."""
    path = os.environ.get("FLASK_STORE_SERVING_TABLE")
    if not path:
        return
    seen: dict[tuple[str, str], dict[str, str]] = collections.defaultdict(dict)
    for report in reports:
        for name, cell in report.user_properties:
            if name == PROPERTY:
                store, asked, said = t.cast("list[str]", cell)
                seen[asked, said][store] = SHOWN[report.outcome]
    lines = [".. list-table::", "   :header-rows: 1", ""]
    lines += table_row(["Request, or header", "Answer", *STORES.values()])
    for (asked, said), shown in seen.items():
        cells = [shown.get(store, "not run") for store in STORES]
        lines += table_row([asked, said, *cells])
    pathlib.Path(path).write_text("\n".join(lines) + "\n")
