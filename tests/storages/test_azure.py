"""The contract on Azure Blob Storage, and what only Azure has."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import threading
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from werkzeug import Request
from werkzeug import Response

from flask_store.dialects import Span
from flask_store.dialects import Stat
from flask_store.dialects.azure import AzureDialect
from flask_store.exceptions import FileExists
from flask_store.exceptions import FileNotFound
from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import StoreDenied
from flask_store.exceptions import StoreFull
from flask_store.exceptions import StoreUnavailable
from flask_store.exceptions import VersionGone
from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import upload
from flask_store.uploads.properties import Properties
from tests.support.protocol_servers import azurite
from tests.support.protocol_servers import Place
from tests.support.proxy import Proxy
from tests.support.rewriting_proxy import Between
from tests.support.rewriting_proxy import between
from tests.support.rewriting_proxy import DATA
from tests.support.rewriting_proxy import PAGES
from tests.support.rewriting_proxy import reads
from tests.support.rewriting_proxy import trickling
from tests.support.server_contract import ServerContract
from tests.support.server_contract import started


@pytest.fixture(scope="module")
def place() -> t.Iterator[Place]:
    """One azurite for the whole module."""
    with started(azurite) as running:
        yield running


class TestAzure(ServerContract):
    """Azure keeps every promise."""

    flat = True


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


# -- answers that are not what they seem --------------------------------------


@pytest.fixture
def proxied(place: Place) -> t.Iterator[tuple[Between, FsspecStore]]:
    """Something in between, and a store behind it with one file, 'a.txt'."""
    with between(place) as (proxy, there):
        limits = {"connection_timeout": 1, "read_timeout": 1}
        store = FsspecStore.from_url(there.new(), **there.options, **limits)
        store.put("a.txt", DATA)
        proxy.methods.clear()
        yield proxy, store


def client(place: Place) -> t.Any:
    """Azure's own client of the container."""
    from azure.storage.blob import BlobServiceClient

    service = BlobServiceClient.from_connection_string(
        place.options["connection_string"]
    )
    return service.get_container_client("photos")


@pytest.mark.parametrize("missing", ["Content-Length", "ETag", "x-ms-request-id"])
def test_description_without(
    proxied: tuple[Between, FsspecStore], missing: str
) -> None:
    """What the service always tells of a blob is not taken for nothing."""
    proxy, store = proxied

    def without(request: Request, answer: Response) -> Response | None:
        if request.method != "HEAD":
            return None
        answer.headers.pop(missing, None)
        return answer

    proxy.change = without
    for use in (
        lambda: store.stat("a.txt"),
        lambda: store.exists("a.txt"),
        lambda: store.move("a.txt", "b.txt"),
    ):
        with pytest.raises(StoreUnavailable):
            use()
    proxy.change = None
    assert store.read("a.txt") == DATA


def compressed(request: Request, answer: Response) -> None:
    """What a proxy that compresses makes of a blob."""
    answer.data = gzip.compress(answer.data)
    answer.headers["Content-Encoding"] = "gzip"
    answer.headers["Content-Length"] = str(len(answer.data))


def shifted(request: Request, answer: Response) -> None:
    """Another part than was asked for."""
    answer.headers["Content-Range"] = f"bytes 7-{len(DATA) + 6}/{len(DATA) + 7}"


def halved(request: Request, answer: Response) -> None:
    """Half of the bytes, as if there were no more."""
    answer.data = answer.data[: len(answer.data) // 2]
    answer.headers["Content-Length"] = str(len(answer.data))
    answer.headers.pop("Content-Range", None)
    answer.status_code = 200


def unbounded(request: Request, answer: Response) -> None:
    """No word on how long it is."""
    answer.headers.pop("Content-Length", None)
    answer.headers.pop("Content-Range", None)
    answer.status_code = 200


@pytest.mark.parametrize("change", [compressed, shifted, halved, unbounded])
def test_changed_bytes_are_refused(
    proxied: tuple[Between, FsspecStore], change: t.Any
) -> None:
    """Whatever was compressed, cut or moved on its way is an error, and the source of
    a move stays."""
    proxy, store = proxied
    proxy.change = lambda request, answer: (
        change(request, answer) if request.method == "GET" else None
    )
    for read in reads(store):
        with pytest.raises(StoreUnavailable):
            read()
    with pytest.raises(StoreUnavailable):
        list(store.stream("a.txt", 1000, 2000))
    proxy.change = None
    assert store.read("a.txt") == DATA


def test_blob_stored_compressed(place: Place) -> None:
    """What was stored with a coding is read as it was stored, and so are its ranges."""
    from azure.storage.blob import ContentSettings

    store = FsspecStore.from_url(place.new(), **place.options)
    packed = gzip.compress(DATA)
    settings = ContentSettings(content_encoding="gzip")
    name = store.dialect.absolute_path("a.txt")
    client(place).upload_blob(name, packed, content_settings=settings)
    assert store.stat("a.txt").size == len(packed)
    assert store.read("a.txt") == packed
    assert b"".join(store.stream("a.txt", 5, 50)) == packed[5:50]
    with store.open("a.txt") as file:
        assert file.read() == packed


@pytest.mark.parametrize("page", PAGES)
def test_page_is_no_answer(proxied: tuple[Between, FsspecStore], page: str) -> None:
    """Who answers everything with 200 stores, deletes, moves and lists nothing."""
    proxy, store = proxied
    proxy.passes, proxy.change = False, lambda *_: PAGES[page]()
    for use in (
        *reads(store),
        lambda: store.put("new.txt", b"new"),
        lambda: store.put("large.bin", DATA * 10),
        lambda: store.put("a.txt", b"new", on_conflict="overwrite"),
        lambda: store.delete("a.txt"),
        lambda: store.exists("a.txt"),
        lambda: list(store.ls()),
        lambda: store.sweep(),
    ):
        with pytest.raises(StoreUnavailable):
            use()
    proxy.passes, proxy.change = True, None
    assert [(found.name, found.size) for found in store.ls()] == [("a.txt", len(DATA))]


@pytest.mark.parametrize("page", PAGES)
def test_page_after_an_upload(proxied: tuple[Between, FsspecStore], page: str) -> None:
    """The blob is there, and something else answered: it is found by its token."""
    proxy, store = proxied
    proxy.change = lambda request, _: PAGES[page]() if request.method == "PUT" else None
    assert store.save(upload(b"mine", "b.txt")).filename == "b.txt"
    assert store.read("b.txt") == b"mine"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        *[(status, StoreUnavailable) for status in (404, 408, 429, 500, 502, 503, 504)],
        *[(401, StoreDenied), (403, StoreDenied), (507, StoreFull)],
    ],
)
def test_errors_by_status(
    proxied: tuple[Between, FsspecStore], status: int, error: type[Exception]
) -> None:
    """Each status is the error that says whether to try again."""
    proxy, store = proxied
    proxy.change = lambda *_: Response("<html>sorry</html>", status)
    for use in (
        lambda: store.read("a.txt"),
        lambda: store.put("b.txt", b"x"),
        lambda: list(store.ls()),
    ):
        with pytest.raises(error):
            use()


def test_broken_listing(proxied: tuple[Between, FsspecStore]) -> None:
    """A listing that cannot be parsed is no empty one, and is not shown."""
    proxy, store = proxied

    def cut(_: Request, answer: Response) -> Response:
        answer.data = answer.data[: len(answer.data) // 2]
        answer.headers["Content-Length"] = str(len(answer.data))
        return answer

    proxy.change = cut
    with pytest.raises(StoreUnavailable) as caught:
        list(store.ls())
    assert len(str(caught.value)) < 400


def test_replaced_while_it_is_read(place: Place) -> None:
    """Every byte is of the version that was opened, or described."""
    store = FsspecStore.from_url(place.new(), **place.options)
    old, new = DATA * 10, b"new" + DATA * 10
    store.put("a.txt", old)
    before = store.stat("a.txt")
    with store.open("a.txt") as file:
        assert file.read(1000) == old[:1000]
        store.put("a.txt", new, on_conflict="overwrite")
        file.seek(500_000)
        with pytest.raises(VersionGone):
            file.read(1000)
    for start, stop in ((0, before.size), (5, 50)):
        with pytest.raises(VersionGone):
            store.stream_version(before, start, stop)
    store.delete("a.txt")
    with pytest.raises(FileNotFound):
        store.stream_version(before, 5, 50)


def test_listing_has_files_only(place: Place) -> None:
    """Neither private marks nor blobs that stand for folders are files."""
    store = FsspecStore.from_url(place.new(), **place.options)
    store.put("x/a.txt", b"a")
    container, top = client(place), store.dialect.absolute_path("")
    for name in (".flask-store/1.sent", "x/", ""):
        container.upload_blob(f"{top}{name}", b"")
    container.upload_blob(f"{top}y", b"", metadata={"hdi_isfolder": "true"})
    assert [found.name for found in store.ls()] == ["x/a.txt"]
    assert not store.exists("y")
    with pytest.raises(FileNotFound):
        store.read("y")
    assert store.sweep(older_than=dt.timedelta(seconds=-60)) == [".flask-store/1.sent"]


def test_name_that_is_free_again(
    place: Place, proxied: tuple[Between, FsspecStore]
) -> None:
    """The name was taken, and its file is deleted before we look whose it is."""
    proxy, store = proxied
    path = store.dialect.absolute_path("a.txt")

    def deleted(_: Request, answer: Response) -> None:
        if answer.status_code == 409:
            client(place).delete_blob(path)

    proxy.change = deleted
    assert store.put("a.txt", b"new").read() == b"new"


def test_name_with_blocks_of_an_upload_that_broke_off(place: Place) -> None:
    """Nobody has the name, and the storage says that it is taken."""
    store = FsspecStore.from_url(place.new(), **place.options)
    blob = client(place).get_blob_client(store.dialect.absolute_path("a.bin"))
    blob.stage_block("MDAwMQ==", b"x" * 100)
    assert store.save(upload(b"new", "a.bin")).read() == b"new"
    try:
        store.put("a.bin", b"new")
    except FileExists:
        store.put("a.bin", b"new", on_conflict="overwrite")
    assert store.read("a.bin") == b"new"


def test_deletion_whose_answer_is_lost(place: Place) -> None:
    """The file is deleted, and the second request that finds nothing is no error."""
    with Proxy(f"http://127.0.0.1:{place.port}") as proxy:
        there = place.moved(proxy.port)
        store = FsspecStore.from_url(there.new(), **there.options)
        for name in ("a.txt", "b.txt"):
            store.put(name, b"x")
        proxy.drop_response(method="DELETE")
        store.delete("a.txt")
        proxy.drop_response(method="DELETE")
        assert store.move("b.txt", "c.txt").read() == b"x"
        assert [found.name for found in store.ls()] == ["c.txt"]
        with pytest.raises(FileNotFound):
            store.delete("a.txt")


def test_large_blob_is_replaced_by_many(place: Place) -> None:
    """Each of those who replace one blob at the same moment succeeds."""
    store = FsspecStore.from_url(place.new(), **place.options)
    contents = [bytes([65 + number]) * 2_500_000 for number in range(4)]

    def replace(data: bytes) -> None:
        store.put("a.bin", data, on_conflict="overwrite")

    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            list(pool.map(replace, contents))
            assert store.read("a.bin") in contents


def test_silent_and_trickling_servers(
    place: Place, proxied: tuple[Between, FsspecStore]
) -> None:
    """Whatever the server does, each operation ends."""
    proxy, store = proxied
    options = place.moved(proxy.own_port).options
    store = FsspecStore.from_url(
        store.uri, **options, connection_timeout=0.3, read_timeout=0.3
    )

    def slowly(_: Request, answer: Response) -> Response:
        slow = trickling(answer.data[:1000].ljust(1000), len(DATA))
        answer.headers.pop("Content-Length", None)
        slow.status_code = answer.status_code
        slow.headers.extend(answer.headers)
        return slow

    def silent(*_: t.Any) -> None:
        over.wait(20)

    over = threading.Event()
    for change in (slowly, silent):
        proxy.change = change
        for use in (
            lambda: store.read("a.txt"),
            lambda: list(store.ls()),
            lambda: store.sweep(),
        ):
            start = time.monotonic()
            with pytest.raises(StoreUnavailable):
                use()
            assert time.monotonic() - start < 10
    over.set()


def test_checksum(proxied: tuple[Between, FsspecStore]) -> None:
    """The MD5 is told by every answer, and without another request."""
    proxy, store = proxied
    md5 = f"md5:{hashlib.md5(DATA).hexdigest()}"
    assert store.stat("a.txt").checksum == md5
    (listed,) = store.ls()
    assert listed.checksum == md5
    for span in (None, Span(5, 50)):
        fetched = store.fetch("a.txt", span)
        assert fetched is not None
        assert fetched.found.checksum == md5
        fetched.body.close()
    assert proxy.methods == ["HEAD", "GET", "GET", "GET"]


# -- addresses ----------------------------------------------------------------

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
    blob = store.raw_fs.service_client.get_blob_client("photos", path)
    assert f.absolute_url() == blob.url


@pytest.mark.parametrize("status", [400, 403, 501])
def test_copy_that_is_refused_goes_through_the_process(
    place: Place, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """An account may forbid Copy Blob to some of its keys."""
    store = FsspecStore.from_url(place.new(), **place.options)
    f = store.put("a.txt", DATA)
    real = AzureDialect._ask

    def ask(
        dialect: AzureDialect, name: str, method: str, *args: t.Any, **more: t.Any
    ) -> t.Any:
        if method == "start_copy_from_url":
            from azure.core.exceptions import HttpResponseError

            response = SimpleNamespace(status_code=status, reason="no", headers={})
            raise HttpResponseError(response=t.cast(t.Any, response))
        return real(dialect, name, method, *args, **more)

    monkeypatch.setattr(AzureDialect, "_ask", ask)
    assert store.move(f, "b.txt").read() == DATA
    assert not f.exists()


def test_copy_under_another_type(place: Place) -> None:
    """Copy Blob keeps the type; that of another name is set after it, and nothing else
    changes."""
    store = FsspecStore.from_url(place.new(), **place.options)
    like = Stat("a", 0, None, None, "").keeping(
        None, Properties(cache_control="no-store", metadata={"a": "b"})
    )
    f = store.put("a.txt", b"short", like=like)
    copy = store.copy(f, "a.png").stat()
    before = f.stat()
    assert (before.content_type, copy.content_type) == ("text/plain", "image/png")
    assert copy.properties == before.properties
    assert copy.checksum == before.checksum is not None
