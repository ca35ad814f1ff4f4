"""A store on a server is a dict, whatever is done with it."""

from __future__ import annotations

import pytest

from flask_store.stores.fsspec import FsspecStore
from tests.support.protocol_rows import new
from tests.support.protocol_rows import ROWS
from tests.support.server_contract import started
from tests.support.store_machine import run


@pytest.mark.parametrize("row", ["s3", "webdav+http", "sftp+paramiko"])
def test_server_is_a_dict(row: str) -> None:
    """Files on SeaweedFS and on two file servers."""
    with started(ROWS[row].server) as place:
        run(lambda: FsspecStore.from_url(new(place), **place.options), 4)
