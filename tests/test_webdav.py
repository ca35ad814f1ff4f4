"""The contract on WebDAV, and what only WebDAV has."""

from __future__ import annotations

import typing as t

import pytest

from flask_store.dialects.webdav import WebDAVDialect
from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import StoreDenied
from flask_store.stores.fsspec import FsspecStore

from .contract import upload
from .protocols import ServerContract
from .protocols import started
from .servers_protocols import Place
from .servers_protocols import webdav


@pytest.fixture(scope="module")
def place() -> t.Iterator[Place]:
    """One wsgidav for the whole module."""
    with started(webdav) as running:
        yield running


class TestWebDAV(ServerContract):
    """WebDAV keeps every promise."""


def test_names_that_a_url_gives_a_meaning(place: Place) -> None:
    """Any character that a name may have reaches the server as itself."""
    store = FsspecStore.from_url(place.new())
    for name in ("a#b.txt", "100%.txt", "a;b=c&d.txt", "50% +1.txt"):
        f = store.at("ü #1").save(upload(name.encode(), name))
        assert f.filename == name
        assert f.read() == name.encode()
        assert f.relative_path() in {found.name for found in store.ls()}


def test_refused_login_is_no_answer(place: Place) -> None:
    """exists() with a wrong password is an error, not False."""
    url = place.new().replace("somebody:", "somebody:wrong", 1)
    store = FsspecStore.from_url(url)
    for use in (
        lambda: store.exists("a.txt"),
        lambda: store.save(upload()),
        lambda: list(store.ls()),
    ):
        with pytest.raises(StoreDenied, match="password"):
            use()


def test_taken_lock_is_a_taken_name(place: Place) -> None:
    """A process that died while it named a file costs others the plain name only."""
    store = FsspecStore.from_url(place.new())
    store.save(upload(filename="warm.txt"))
    dialect = t.cast(WebDAVDialect, store.dialect)
    store.fs.mkdir(dialect._lock(dialect.path("a.txt")))
    assert not store.exists("a.txt")
    f = store.save(upload(b"kept"))
    assert f.filename.startswith("a_")
    assert f.read() == b"kept"


@pytest.mark.parametrize("url", ["webdav://host/x", "dav://host", "webdav+https://"])
def test_url_says_how_to_reach_the_server(url: str) -> None:
    """A URL without a scheme for the transport, or a host, shows the right form."""
    with pytest.raises(NotConfiguredError, match=r"webdav\+https://user@host"):
        FsspecStore.from_url(url)
