"""Writes docs/gevent_table.inc from what the tests of gevent have shown.

``FLASK_STORE_GEVENT_TABLE=docs/gevent_table.inc pytest tests/servers/test_gevent.py
tests/servers/test_gevent_servers.py -k every_operation``
"""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest

from .protocol_table import table_row

#: The name under which a test leaves its store, its mode and what it has found.
PROPERTY = "every_operation"
#: The fixtures of the stores, and what the table calls them.
STORES = {
    "local": "LocalStore",
    "s3": "S3Store",
    "s3_tls": "S3Store over TLS",
    "s3_background": "S3GeventStore",
    "sftp": "SFTP (sshfs)",
    "azure": "Azure (adlfs)",
    "gcs": "Google Cloud (gcsfs)",
}
MODES = {
    "first": "``patch_all()`` before everything",
    "unpatched": "no patching: threads",
    "gevent_preload": "``gunicorn -k gevent -w 2 --preload``, used before the fork",
    "late": "patched after the library was imported and used",
}
OPERATIONS = ["save", "read", "serve", "delete", "list", "sign"]


def write(reports: t.Iterable[pytest.TestReport]) -> None:
    """Write the table if FLASK_STORE_GEVENT_TABLE names its file."""
    path = os.environ.get("FLASK_STORE_GEVENT_TABLE")
    if not path:
        return
    seen: dict[tuple[str, str], dict[str, bool]] = {}
    for report in reports:
        for name, value in report.user_properties:
            if name == PROPERTY:
                kind, mode, found = t.cast(t.Any, value)
                before = seen.get((kind, mode), found)
                seen[kind, mode] = {op: found[op] and before[op] for op in found}
    lines = [".. list-table::", "   :header-rows: 1", ""]
    lines += table_row(["Mode", "Store", *(name.capitalize() for name in OPERATIONS)])
    for mode, means in MODES.items():
        for kind, store in STORES.items():
            found = seen.get((kind, mode))
            shown = {True: "yes", False: "**no**"}
            cells = [shown[found[op]] if found else "not run" for op in OPERATIONS]
            lines += table_row([means, store, *cells])
    pathlib.Path(path).write_text("\n".join(lines) + "\n")
