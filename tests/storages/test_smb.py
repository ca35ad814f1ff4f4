"""The contract on SMB, and what only SMB has."""

from __future__ import annotations

import errno
import os
import typing as t

import pytest

from flask_store.exceptions import StoreDenied
from flask_store.exceptions import StoreUnavailable
from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import upload
from tests.support.protocol_servers import Place
from tests.support.protocol_servers import samba
from tests.support.server_contract import ServerContract
from tests.support.server_contract import started


@pytest.fixture(scope="module")
def place() -> t.Iterator[Place]:
    """One smbd for the whole module."""
    with started(samba) as running:
        yield running


class TestSMB(ServerContract):
    """SMB keeps every promise."""


def test_refused_login(place: Place) -> None:
    """A wrong password is StoreDenied, for every verb."""
    store = FsspecStore.from_url(place.new(), password="wrong")
    for use in (lambda: store.save(upload()), lambda: store.exists("a.txt")):
        with pytest.raises(StoreDenied):
            use()


def test_case_of_a_name(place: Place) -> None:
    """A name that differs in its case alone is taken, for the server tells no
    difference; nothing is lost."""
    store = FsspecStore.from_url(place.new())
    lower, upper = store.save(upload(b"1", "a.txt")), store.save(upload(b"2", "A.TXT"))
    assert upper.filename.startswith("A_")
    assert (lower.read(), upper.read()) == (b"1", b"2")


def test_overwrite_while_somebody_reads(place: Place) -> None:
    """A reader neither keeps a writer out nor sees a mixture."""
    store = FsspecStore.from_url(place.new())
    f = store.save(upload(b"first"))
    with f.open() as file:
        f.delete()
        store.save(upload(b"second"))
        assert file.read() in (b"first", b"")


def test_closed_socket_is_a_lost_connection(place: Place) -> None:
    """Whoever closes a file after the connection broke off gets EBADF from the socket.
    The server is asked no more then, and above all not for a folder."""
    store = FsspecStore.from_url(place.url, **place.options)
    error = OSError(errno.EBADF, os.strerror(errno.EBADF))
    assert isinstance(store.dialect.explain(error, "a.txt"), StoreUnavailable)
