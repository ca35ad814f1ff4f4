"""Listings and deletions on S3: how many requests they take, and what goes wrong."""

from __future__ import annotations

import typing as t

import pytest

from flask_store.dialects.s3.loop import LoopClient
from flask_store.exceptions import StoreDenied
from flask_store.exceptions import StoreError
from flask_store.exceptions import StoreUnavailable
from flask_store.stores.s3 import S3Store
from flask_store.testing import upload
from tests.storages.test_s3 import settings
from tests.support.proxy import Proxy
from tests.support.servers import S3Server

KEYS = ["a.txt", "b/c.txt", "b/d/e.txt", "f.txt", "g*h/i.txt"]


class Bench(t.NamedTuple):
    """A store behind a proxy that counts, and the same bucket without it."""

    store: S3Store
    proxy: Proxy
    client: t.Any
    bucket: str

    def requests(self, use: t.Callable[[], object]) -> list[str]:
        """The methods of the requests that something takes."""
        before = len(self.proxy.requests)
        use()
        return [found.method for found in self.proxy.requests[before:]]


@pytest.fixture(params=["direct", "s3fs"])
def bench(
    request: pytest.FixtureRequest, seaweedfs_server: S3Server, seaweedfs_bucket: str
) -> t.Iterator[Bench]:
    """Both clients of S3, in a bucket with some files."""
    with Proxy(seaweedfs_server.endpoint_url) as proxy:
        config = settings(seaweedfs_server, seaweedfs_bucket, STORE_PATH="some/place")
        config["STORE_S3_ENDPOINT_URL"] = proxy.endpoint_url
        if request.param == "s3fs":
            config["STORE_S3_OPTIONS"] = {"s3_additional_kwargs": {"Metadata": {}}}
        store = S3Store.from_config(config)
        for key in KEYS:
            store.put(key, key.encode())
        store.read("a.txt")
        client = seaweedfs_server.client()
        yield Bench(store, proxy, client, seaweedfs_bucket)


def test_requests(bench: Bench) -> None:
    """A page takes one; what it told of its files takes none."""
    store = bench.store

    def show() -> None:
        for listing in (store.ls(recursive=False),):
            assert [folder.name for folder in listing.folders] == ["b", "g*h"]
            shown = [(f.name, f.size, f.etag, f.modified) for f in listing]
            assert len(shown) == len(listing) == 2
            assert [f.absolute_url() for f in listing]

    assert bench.requests(show) == ["GET"]
    assert bench.requests(lambda: [f.size for f in store.ls()]) == ["GET"]
    assert bench.requests(lambda: list(store.glob("b/*.txt"))) == ["GET"]
    assert bench.requests(lambda: store.ls()[0].etag) == ["GET"]


def test_save_knows_its_etag(bench: Bench) -> None:
    """Both clients take it from the answer."""
    f = bench.store.save(upload(b"12345", "new.txt"))
    assert bench.requests(lambda: (f.size, f.content_type, f.etag)) == []
    assert f.etag == "827ccb0eea8a706c4c34a16891f84e7b"
    assert bench.requests(lambda: f.modified) == ["HEAD"]


@pytest.mark.slow
@pytest.mark.parametrize("size", [5, 3_000_000])
def test_save_whose_answer_is_lost_is_known(bench: Bench, size: int) -> None:
    """The file is sent once more, and is there already."""
    bench.proxy.drop_response()
    f = bench.store.save(upload(bytes(size), "lost.bin"))
    assert bench.requests(lambda: (f.size, f.content_type, f.etag)) == []
    found = f.stat()
    assert (found.size, found.name) == (size, "lost.bin")


def test_pages_of_a_folder(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is more than a page long is listed as a whole."""
    call = LoopClient.call

    def paged(self: LoopClient, method: str, **kwargs: t.Any) -> t.Any:
        return call(self, method, MaxKeys=1, **kwargs)

    monkeypatch.setattr(LoopClient, "call", paged)
    listing = bench.store.ls(recursive=False)
    assert [f.name for f in listing] == ["a.txt", "f.txt"]
    assert [folder.name for folder in listing.folders] == ["b", "g*h"]
    assert [f.name for f in bench.store.ls("g*h")] == ["g*h/i.txt"]


def test_many_are_deleted_by_one_request(bench: Bench) -> None:
    """Also those of a folder, which is listed before."""
    store = bench.store
    used = bench.requests(lambda: store.delete("a.txt", store.file("f.txt"), "no.txt"))
    assert used == ["POST"]
    assert [f.name for f in store.ls()] == ["b/c.txt", "b/d/e.txt", "g*h/i.txt"]
    assert bench.requests(lambda: store.delete("b", recursive=True)) == ["GET", "POST"]
    assert [f.name for f in store.ls()] == ["g*h/i.txt"]


def test_names_that_no_xml_has(bench: Bench) -> None:
    """They do not keep the others from being deleted, and are deleted one by one."""
    store, odd = bench.store, ("b/\uffff.txt", "b/\ufffe/x", "b/<&>\"'+%2B \u2028]]>")
    for name in odd:
        store.put(name, b"")
    used = bench.requests(lambda: store.delete("b", recursive=True))
    assert sorted(used) == ["DELETE"] * 2 + ["GET"] + ["HEAD"] * 2 + ["POST"]
    store.put(odd[0], b"")
    assert bench.requests(lambda: store.delete(odd[0], odd[0])) == ["HEAD", "DELETE"]
    assert [f.name for f in store.ls()] == ["a.txt", "f.txt", "g*h/i.txt"]


@pytest.mark.slow
def test_refusal_of_one_of_many(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 says for each object what came of it."""
    names = [f"some/place/{key}" for key in KEYS]
    errors = [
        {"Key": names[0], "Code": "AccessDenied", "Message": "Access Denied"},
        {"Key": names[2], "Code": "Odd", "Message": "for no reason"},
    ]
    reply = {
        "Deleted": [{"Key": name} for name in (names[1], *names[3:])],
        "Errors": errors,
    }
    monkeypatch.setattr(LoopClient, "call_slow", lambda *_, **__: reply)
    with pytest.raises(StoreDenied, match="2 of 5 files are not deleted") as caught:
        bench.store.delete(*KEYS)
    found = caught.value.errors
    assert {key: type(error) for key, error in found.items()} == {
        "a.txt": StoreDenied,
        "b/d/e.txt": StoreError,
    }
    assert "(Odd): for no reason" in str(found["b/d/e.txt"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"Deleted": [{"Key": "some/place/a.txt"}]},
        {"Deleted": [{"Key": key} for key in ("some/place/a.txt", "elsewhere")]},
    ],
)
def test_answer_that_is_not_about_all(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, reply: dict[str, t.Any]
) -> None:
    """A page in between says nothing of the files, and none counts as deleted."""
    monkeypatch.setattr(LoopClient, "call_slow", lambda *_, **__: reply)
    with pytest.raises(StoreUnavailable, match="2 of 2 files") as caught:
        bench.store.delete("a.txt", "f.txt")
    assert set(caught.value.errors) == {"a.txt", "f.txt"}


@pytest.mark.slow
def test_server_that_ignores_the_delimiter(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it lists is not one folder."""
    call = LoopClient.call

    def ignoring(self: LoopClient, method: str, **kwargs: t.Any) -> t.Any:
        kwargs.pop("Delimiter", None)
        return call(self, method, **kwargs)

    monkeypatch.setattr(LoopClient, "call", ignoring)
    assert len(list(bench.store.ls())) == len(KEYS)
    with pytest.raises(StoreUnavailable, match="in a folder below"):
        len(bench.store.ls(recursive=False))


def test_folders_without_a_name(moto_server: S3Server, moto_bucket: str) -> None:
    """A key with an empty part is in no folder that a store has. It is told apart."""
    client = moto_server.client()
    odd = ["in/x//y.txt", "in//z.txt", "in/p\\q/r.txt"]
    for key in ("in/", "in/sub/", "in/good.txt", "in/sub/too.txt", "in/empty/", *odd):
        client.put_object(Bucket=moto_bucket, Key=key, Body=b"")
    client.put_object(Bucket=moto_bucket, Key="in/.flask-store/x.part", Body=b"")
    store = S3Store.from_config(settings(moto_server, moto_bucket, STORE_PATH="in"))
    top = store.ls(recursive=False)
    assert [f.name for f in top] == ["good.txt"]
    assert [folder.name for folder in top.folders] == ["empty", "sub", "x"]
    assert sorted(entry.name for entry in top.unreachable) == ["/", "p\\q/"]
    empty, sub, x = top.folders
    assert (list(empty), empty.folders, empty.unreachable) == ([], [], [])
    assert [f.name for f in sub] == ["sub/too.txt"]
    assert [entry.name for entry in x.unreachable] == ["x//"]
    with pytest.raises(StoreError, match="1 names are still there.*x//y.txt"):
        store.delete("x", recursive=True)
