"""The contract on an S3 server that ignores ``If-None-Match``."""

from __future__ import annotations

import logging
import typing as t

import pytest

from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import upload
from tests.support.protocol_servers import Place
from tests.support.protocol_servers import rclone
from tests.support.server_contract import ServerContract
from tests.support.server_contract import started


@pytest.fixture(scope="module")
def place() -> t.Iterator[Place]:
    """One rclone for the whole module."""
    with started(rclone) as running:
        yield running


class TestRclone(ServerContract):
    """The probe finds it out, and every name carries a UUID."""

    exclusive = False

    def test_destination_that_is_a_file(self, store: FsspecStore) -> None:
        """rclone keeps objects in folders, and reports an internal error of its own
        for a key below another one; the file stays what it is."""
        f = store.save(upload(b"file", "taken.txt"), on_conflict="overwrite")
        with pytest.raises(OSError, match="Internal"):
            store.at("taken.txt").save(upload())
        assert f.read() == b"file"

    def test_file_replaces_no_folder(self, store: FsspecStore) -> None:
        """rclone puts the file in the place of its folder, and reports an error. Nobody
        can look first: with S3, a name may be a file and a folder."""
        store.put("folder/kept.txt", b"kept", on_conflict="overwrite")
        with pytest.raises(OSError, match="Internal"):
            store.put("folder", b"x", on_conflict="overwrite")


def test_probe_is_logged_once(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """What the probe found is said once, for the operator."""
    store = FsspecStore.from_url(place.new(), **place.options)
    with caplog.at_level(logging.WARNING, "flask_store"):
        for _ in range(3):
            store.save(upload())
    assert [record.message for record in caplog.records if "UUID" in record.message]
    assert len(caplog.records) == 1
