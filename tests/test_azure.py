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


KEY = "a2V5"


@pytest.mark.parametrize(
    ("options", "endpoint"),
    [
        ({"account_name": "me"}, "https://me.blob.core.windows.net"),
        ({"account_name": "me", "account_host": "cdn.test"}, "https://cdn.test"),
        (
            {
                "connection_string": "DefaultEndpointsProtocol=https;AccountName=me;"
                f"AccountKey={KEY}==;EndpointSuffix=core.chinacloudapi.cn"
            },
            "https://me.blob.core.chinacloudapi.cn",
        ),
        (
            {
                "connection_string": f"AccountName=me;AccountKey={KEY};"
                "BlobEndpoint=http://127.0.0.1:1/me/;"
            },
            "http://127.0.0.1:1/me",
        ),
    ],
)
def test_address(options: dict[str, str], endpoint: str) -> None:
    """A blob has an address of its own, below the account's, without any key."""
    store = FsspecStore.from_url("abfs://photos/x y", **options)
    address = store.absolute_url("ü/a b.txt")
    assert address == f"{endpoint}/photos/x%20y/%C3%BC/a%20b.txt"
    assert not store.serves


def test_without_an_account_the_application_serves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody else could, as long as no setting says where the blobs are."""
    for name in ("CONNECTION_STRING", "ACCOUNT_NAME"):
        monkeypatch.delenv(f"AZURE_STORAGE_{name}", raising=False)
    assert FsspecStore.from_url("abfs://photos/x").serves


def test_address_is_the_blobs(place: Place) -> None:
    """The address is the one that Azure's own library names."""
    store = FsspecStore.from_url(place.new(), **place.options)
    f = store.save(upload(b"x", "ü #1.txt"))
    path = f"{store.dialect.absolute_path(f.relative_path())}"
    blob = store.fs.service_client.get_blob_client("photos", path)
    assert f.absolute_url() == blob.url
