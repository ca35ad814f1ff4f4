"""The contract on Azure Blob Storage, and what only Azure has."""

from __future__ import annotations

import typing as t

import pytest

from flask_store.exceptions import NotConfiguredError
from flask_store.stores.fsspec import FsspecStore

from .contract import upload
from .protocols import ServerContract
from .protocols import started
from .proxy import Proxy
from .servers_protocols import azurite
from .servers_protocols import Place


@pytest.fixture(scope="module")
def place() -> t.Iterator[Place]:
    """One azurite for the whole module."""
    with started(azurite) as running:
        yield running


class TestAzure(ServerContract):
    """Azure keeps every promise."""

    flat = True

    def leftovers(self, store: FsspecStore) -> list[str]:
        """Whatever is beside the files."""
        keys = {f"{store.dialect.root}/{found.name}" for found in store.ls()}
        return sorted(set(store.fs.find(store.dialect.root)) - keys)


def test_lost_response_is_our_own_blob(place: Place) -> None:
    """The reply gets lost, the client tries again and finds its own blob."""
    with Proxy(f"http://127.0.0.1:{place.port}") as proxy:
        there = place.moved(proxy.port)
        store = FsspecStore.from_url(there.new(), **there.options)
        proxy.drop_response()
        f = store.save(upload(b"mine", "lost.txt"))
        assert f.filename == "lost.txt"
        assert f.read() == b"mine"
        assert [found.name for found in store.ls()] == ["lost.txt"]


def test_large_blob_goes_in_blocks_and_never_over_another(place: Place) -> None:
    """What one request cannot carry is created exclusively all the same."""
    store = FsspecStore.from_url(place.new(), **place.options)
    first, second = b"1" * 9_000_000, b"2" * 9_000_000
    one, two = store.save(upload(first, "f.mp4")), store.save(upload(second, "f.mp4"))
    assert one.filename == "f.mp4" != two.filename
    assert (one.read(), two.read()) == (first, second)
    assert one.content_type == "video/mp4"


def test_missing_container(place: Place) -> None:
    """No verb takes a container that is missing for an empty one."""
    store = FsspecStore.from_url("abfs://missing/x", **place.options)
    for use in (
        lambda: store.save(upload()),
        lambda: store.exists("a.txt"),
        lambda: list(store.ls()),
    ):
        with pytest.raises(NotConfiguredError, match="no container 'missing'"):
            use()
