"""The contract on Google Cloud Storage, and what only it has."""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import hashlib
import json
import pathlib
import threading
import time
import typing as t

import pytest
import requests
from flask import Flask
from werkzeug import Request
from werkzeug import Response

from flask_store import Store
from flask_store.dialects.claims import Claim
from flask_store.exceptions import FileNotFound
from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import StoreDenied
from flask_store.exceptions import StoreFull
from flask_store.exceptions import StoreUnavailable
from flask_store.exceptions import VersionGone
from flask_store.http import links
from flask_store.http.links import Period
from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import upload
from tests.support.gcs_server import account
from tests.support.gcs_server import fake_gcs
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
from tests.support.servers import serve


@pytest.fixture(scope="module")
def place() -> t.Iterator[Place]:
    """One emulator for the whole module."""
    with started(fake_gcs) as running:
        yield running


@pytest.fixture
def store(place: Place) -> FsspecStore:
    """An empty folder of the bucket."""
    return FsspecStore.from_url(place.new(), **place.options)


class TestGCS(ServerContract):
    """Google Cloud Storage keeps every promise."""

    flat = True


@pytest.mark.parametrize("protocol", ["gs", "gcs"])
def test_both_protocols_are_one(place: Place, protocol: str) -> None:
    """'gcs://' is the same place as 'gs://'."""
    url = place.new().replace("gs://", f"{protocol}://")
    f = FsspecStore.from_url(url, **place.options).save(upload(b"x"))
    assert f.uri.startswith("gs://photos/")


def test_lost_response_is_our_own_object(place: Place) -> None:
    """The reply gets lost, the client tries again and finds its own object."""
    with Proxy(f"http://127.0.0.1:{place.port}") as proxy:
        there = place.moved(proxy.port)
        store = FsspecStore.from_url(there.new(), **there.options)
        proxy.drop_response(method="POST")
        f = store.save(upload(b"mine", "lost.txt"))
        assert f.filename == "lost.txt"
        assert f.read() == b"mine"
        assert [found.name for found in store.ls()] == ["lost.txt"]
        statuses = [e.status for e in proxy.requests if e.method == "POST"]
        assert statuses == [200, 412]


def test_large_object_is_one_exclusive_request(place: Place) -> None:
    """A file of any size is created exclusively, with its type, by one request."""
    with Proxy(f"http://127.0.0.1:{place.port}") as proxy:
        there = place.moved(proxy.port)
        store = FsspecStore.from_url(there.new(), **there.options)
        first, second = b"1" * 60_000_000, b"2" * 9_000_000
        one = store.save(upload(first, "f.mp4"))
        assert [e.method for e in proxy.requests] == ["POST"]
        two = store.save(upload(second, "f.mp4"))
        assert one.filename == "f.mp4" != two.filename
        assert (one.read(), two.read()) == (first, second)
        assert one.stat().content_type == "video/mp4"


def test_file_cannot_end_its_own_upload(store: FsspecStore) -> None:
    """Lines that look like the end of the request are part of the file."""
    data = b"a\n--==0==--\r\n--==0==\r\nContent-Type: text/html\r\n\r\nb\r\n--\r\n"
    assert store.save(upload(data)).read() == data


def test_range_fetches_that_range(place: Place) -> None:
    """What leaves the server is what was asked for."""
    with Proxy(f"http://127.0.0.1:{place.port}") as proxy:
        there = place.moved(proxy.port)
        store = FsspecStore.from_url(there.new(), **there.options)
        f = store.save(upload(b"0123456789" * 500_000))
        proxy.requests.clear()
        assert b"".join(store.stream(f.filename, 1_000_003, 1_001_003)) == (
            b"3456789012" * 100
        )
        assert [e.received for e in proxy.requests] == [1000]


def test_replaced_object_is_another_version(store: FsspecStore) -> None:
    """What was described before it was replaced is gone, not mixed up."""
    f = store.save(upload(b"first"))
    before = store.dialect.info(f.filename)
    store.save(upload(b"second"), on_conflict="overwrite")
    after = store.dialect.info(f.filename)
    assert before.etag != after.etag
    assert b"".join(store.stream_version(after, 0, 6)) == b"second"
    for start, stop in ((0, 5), (1, 4)):
        with pytest.raises(VersionGone):
            store.stream_version(before, start, stop)
    f.delete()
    with pytest.raises(FileNotFound):
        store.stream_version(before, 0, 5)


def test_missing_bucket(place: Place) -> None:
    """No verb takes a bucket that is missing for an empty one."""
    for use in (
        lambda s: s.save(upload()),
        lambda s: s.exists("a.txt"),
        lambda s: list(s.ls()),
        lambda s: s.delete("a.txt"),
    ):
        store = FsspecStore.from_url("gs://missing/x", **place.options)
        with pytest.raises(NotConfiguredError, match="no bucket 'missing'"):
            use(store)


def test_listing_of_many_pages(store: FsspecStore, place: Place) -> None:
    """A listing goes on where the server's first page ends."""
    for number in range(5):
        store.save(upload(b"x", f"{number}.txt"))
    client = store.dialect._client()  # type: ignore[attr-defined]
    ask = type(client).ask

    def two(self: t.Any, method: str, path: str, params: t.Any = None) -> t.Any:
        return ask(self, method, path, {**(params or {}), "maxResults": 2})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(client), "ask", two)
        assert len(list(store.ls())) == 5


# -- answers that are not what they seem --------------------------------------


@pytest.fixture
def proxied(place: Place) -> t.Iterator[tuple[Between, FsspecStore]]:
    """Something in between, and a store behind it with one file, 'a.txt'."""
    with between(place) as (proxy, there):
        store = FsspecStore.from_url(there.new(), **there.options, requests_timeout=2)
        store.put("a.txt", DATA)
        proxy.methods.clear()
        yield proxy, store


def is_media(request: Request) -> bool:
    """Whether the bytes of an object are asked for."""
    return request.args.get("alt") == "media"


def compressed(request: Request, answer: Response) -> Response | None:
    """What a proxy that compresses makes of an object."""
    if not is_media(request):
        return None
    answer.data = gzip.compress(answer.data)
    answer.headers["Content-Encoding"] = "gzip"
    answer.headers["Content-Length"] = str(len(answer.data))
    return answer


def shifted(request: Request, answer: Response) -> Response | None:
    """Another part than was asked for."""
    if is_media(request):
        answer.headers["Content-Range"] = f"bytes 7-{len(DATA) + 6}/{len(DATA) + 7}"
    return answer


def halved(request: Request, answer: Response) -> Response | None:
    """Half of the bytes, as if there were no more."""
    if is_media(request):
        answer.status_code = 200
        answer.data = answer.data[: len(answer.data) // 2]
        answer.headers["Content-Length"] = str(len(answer.data))
        answer.headers.pop("Content-Range", None)
    return answer


def unbounded(request: Request, answer: Response) -> Response | None:
    """No word on how long it is."""
    if is_media(request):
        answer.status_code = 200
        del answer.headers["Content-Length"]
        answer.headers.pop("Content-Range", None)
    return answer


@pytest.mark.parametrize("change", [compressed, shifted, halved, unbounded])
def test_changed_bytes_are_refused(
    proxied: tuple[Between, FsspecStore], change: t.Any
) -> None:
    """Whatever was compressed, cut or moved on its way is an error, and the source of
    a move stays."""
    proxy, store = proxied
    proxy.change = change
    for read in reads(store):
        with pytest.raises(StoreUnavailable):
            read()
    with pytest.raises(StoreUnavailable):
        list(store.stream("a.txt", 1000, 2000))
    proxy.change = None
    assert store.read("a.txt") == DATA


def test_whole_file_for_a_range(proxied: tuple[Between, FsspecStore]) -> None:
    """A server may answer a range with the whole file; the range is cut out of it."""
    proxy, store = proxied

    def whole(request: Request, answer: Response) -> Response | None:
        if not is_media(request):
            return None
        answer.data, answer.status_code = DATA, 200
        answer.headers["Content-Length"] = str(len(DATA))
        del answer.headers["Content-Range"]
        return answer

    proxy.change = whole
    assert b"".join(store.stream("a.txt", 1000, 2000)) == DATA[1000:2000]
    with store.open("a.txt") as file:
        file.seek(5000)
        assert file.read(7) == DATA[5000:5007]


def test_object_stored_compressed(place: Place, store: FsspecStore) -> None:
    """What was stored with a coding is read as it was stored, and so are its ranges."""
    packed = gzip.compress(DATA)
    name = f"{store.dialect.absolute_path('a.txt')}"
    about = json.dumps({"name": name, "contentEncoding": "gzip"})
    body = (
        f"--x\r\nContent-Type: application/json\r\n\r\n{about}\r\n"
        "--x\r\nContent-Type: text/plain\r\n\r\n"
    ).encode() + (packed + b"\r\n--x--\r\n")
    requests.post(
        f"http://127.0.0.1:{place.port}/upload/storage/v1/b/photos/o",
        body,
        params={"uploadType": "multipart"},
        headers={"Content-Type": "multipart/related; boundary=x"},
        timeout=10,
    ).raise_for_status()
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
    """The object is there, and something else answered: it is found by its token."""
    proxy, store = proxied
    proxy.change = lambda request, _: (
        PAGES[page]() if request.method in ("POST", "DELETE") else None
    )
    assert store.save(upload(b"mine", "b.txt")).filename == "b.txt"
    assert store.read("b.txt") == b"mine"
    store.delete("b.txt")
    assert not store.exists("b.txt")


def test_errors_that_are_not_googles(proxied: tuple[Between, FsspecStore]) -> None:
    """A proxy's 404 says nothing of a file or a bucket; a full storage is said."""
    proxy, store = proxied
    proxy.change = lambda *_: Response("<html>no such site</html>", 404)
    for use in (lambda: store.exists("a.txt"), lambda: store.put("b.txt", b"x")):
        with pytest.raises(StoreUnavailable):
            use()
    proxy.change = lambda *_: Response("", 507)
    with pytest.raises(StoreFull):
        store.put("b.txt", b"x")


def test_name_that_is_free_again(proxied: tuple[Between, FsspecStore]) -> None:
    """The name was taken, and its file is deleted before we look whose it is."""
    proxy, store = proxied
    direct = FsspecStore.from_url(
        store.uri, endpoint_url=f"http://127.0.0.1:{proxy.port}"
    )

    def deleted(_: Request, answer: Response) -> None:
        if answer.status_code == 412:
            direct.delete("a.txt")

    proxy.change = deleted
    assert store.put("a.txt", b"new").read() == b"new"


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


def test_trickling_body_ends(proxied: tuple[Between, FsspecStore]) -> None:
    """A body of which too little comes within the limit is given up."""
    proxy, store = proxied

    def slowly(request: Request, answer: Response) -> Response | None:
        if not is_media(request):
            return None
        slow = trickling(answer.data[:1000], len(DATA))
        answer.headers.pop("Content-Length")
        slow.status_code = answer.status_code
        slow.headers.extend(answer.headers)
        return slow

    proxy.change = slowly
    start = time.monotonic()
    with pytest.raises(StoreUnavailable):
        store.read("a.txt")
    assert time.monotonic() - start < 10


def test_checksum(proxied: tuple[Between, FsspecStore]) -> None:
    """The MD5 is told by every answer, and without another request."""
    proxy, store = proxied
    md5 = f"md5:{hashlib.md5(DATA).hexdigest()}"
    assert store.stat("a.txt").checksum == md5
    (listed,) = store.ls()
    assert listed.checksum == md5
    fetched = store.fetch("a.txt")
    assert fetched is not None
    assert (fetched.found.checksum, b"".join(fetched.body)) == (md5, DATA)
    assert proxy.methods == ["GET"] * 3


# -- addresses and links -----------------------------------------------------


@pytest.fixture(scope="session")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The key file of a service account that exists nowhere."""
    path = tmp_path_factory.mktemp("account") / "key.json"
    path.write_text(json.dumps(account("http://127.0.0.1:9")))
    return path


def test_address(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object has Google's address, or one below the endpoint's."""
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    store = FsspecStore.from_url("gs://b/x y")
    assert store.absolute_url("ü/a b.txt") == (
        "https://storage.googleapis.com/b/x%20y/%C3%BC/a%20b.txt"
    )
    there = FsspecStore.from_url(place.new(), **place.options)
    f = there.save(upload(b"seen", "ü #1.txt"))
    assert requests.get(f.absolute_url(), timeout=10).content == b"seen"


def test_application_has_no_route(place: Place) -> None:
    """By default it is Google that serves, and with 'proxy' the application."""
    for who, served in (("auto", False), ("proxy", True)):
        app = Flask(__name__)
        app.config["STORE_PATH"], app.config["STORE_SERVE"] = place.new(), who
        app.config["STORE_OPTIONS"] = place.options
        store = Store(app)
        with app.test_request_context():
            f = store.Provider().save(upload(b"x"))
            assert f.absolute_url().startswith("http://") is not served
        if served:
            assert app.test_client().get(f"/{f.relative_url()}").data == b"x"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_link_is_what_googles_own_library_signs(
    key_file: pathlib.Path, method: links.Method
) -> None:
    """With a service account's key a link is signed here, asking nobody."""
    from google.cloud.storage import _signing

    store = FsspecStore.from_url("gs://b/x", token=str(key_file))
    start = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
    said = "attachment; filename*=UTF-8''%E2%82%AC~1.txt"
    period, kind = Period(start, 750), "text/plain; charset=utf-8"
    link = store.dialect.sign("ü/a ~1.txt", period, said, kind, method)
    expected = _signing.generate_signed_url_v4(
        store.raw_fs.credentials.credentials,
        "/b/x/%C3%BC/a%20~1.txt",
        750,
        method=method,
        response_disposition=said,
        response_type=kind,
        _request_timestamp="20260501T120000Z",
    )
    assert link == expected
    link = store.dialect.sign("ü/a ~1.txt", period, said, kind, method, "17")
    assert "&generation=17&" in str(link) and link != expected
    assert "generation=17" in store.signed_url("a.txt", version_id="17")
    assert store.signed_url("a.txt") == store.signed_url("a.txt")


def test_link_says_who_pays(key_file: pathlib.Path) -> None:
    """The project that the store is made with, and the signature covers it."""
    store = FsspecStore.from_url("gs://b/x", token=str(key_file), requester_pays="mine")
    assert "userProject=mine" in store.signed_url("a.txt")


def test_form_is_what_googles_own_library_signs(
    key_file: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a service account's key a form is signed here, with the size, the type and
    the private key that it is for."""
    from google.cloud import storage
    from google.cloud.storage import client as library

    store = FsspecStore.from_url("gs://b/x ü", token=str(key_file))
    claim = Claim("a.txt", "", "id1", "text/plain", 1000, int(time.time()) + 600)
    url, fields = t.cast("t.Any", store.dialect).upload_form(claim)
    assert url == "https://storage.googleapis.com/b"
    assert fields["key"] == f"x ü/{claim.staged}"
    said = {name: fields[name] for name in ("key", "Content-Type")}
    stamp = fields["x-goog-date"]
    monkeypatch.setattr(
        library, "get_v4_now_dtstamps", lambda: (stamp, stamp.partition("T")[0])
    )
    credentials = store.raw_fs.credentials.credentials
    theirs = storage.Client("tests", credentials).generate_signed_post_policy_v4(
        "b",
        said["key"],
        dt.datetime.fromtimestamp(claim.expires, dt.UTC),
        conditions=[["content-length-range", 0, 1000]],
        fields={"Content-Type": "text/plain"},
    )["fields"]

    def policy(fields: dict[str, str]) -> tuple[str, list[str]]:
        found = json.loads(base64.b64decode(fields["policy"]))
        conditions = sorted(map(json.dumps, found["conditions"]))
        return found["expiration"][:17], conditions

    assert policy(fields) == policy(theirs)
    signature = credentials.sign_bytes(fields["policy"].encode()).hex()
    assert fields["x-goog-signature"] == signature
    assert fields.keys() == theirs.keys()


def test_without_a_key_the_application_signs(store: FsspecStore) -> None:
    """Who has no private key gets no link of Google's."""
    assert store.storage_link("a.txt") is None


# -- credentials -------------------------------------------------------------


def test_no_credentials(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    """What is missing is said, instead of asking Google as nobody."""
    import google.auth

    def nobody(**_: t.Any) -> t.NoReturn:
        raise google.auth.exceptions.DefaultCredentialsError("none")

    monkeypatch.setattr(google.auth, "default", nobody)
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    with pytest.raises(NotConfiguredError, match="token"):
        FsspecStore.from_url("gs://b/x").exists("a.txt")
    with pytest.raises(NotConfiguredError, match="There is no file"):
        FsspecStore.from_url("gs://b/x", token=str(tmp_path / "key.json"))


def test_refused() -> None:
    """A server that says 403 is StoreDenied, whatever the verb."""
    with serve(Response("no", 403)) as url:
        store = FsspecStore.from_url("gs://b/x", endpoint_url=url)
        for use in (
            lambda: store.save(upload()),
            lambda: store.exists("a.txt"),
            lambda: list(store.ls()),
            lambda: store.file("a.txt").read(),
        ):
            with pytest.raises(StoreDenied, match="token in STORE_OPTIONS"):
                use()


def test_service_account_gets_its_token(key_file: pathlib.Path) -> None:
    """Every request carries the token that Google gives the account, asked for once."""
    asked, carried = [], []

    @Request.application
    def google(request: Request) -> Response:
        if request.path == "/token":
            asked.append(request.path)
            return Response(json.dumps({"access_token": "t1", "expires_in": 3600}))
        carried.append(request.headers.get("Authorization"))
        return Response(json.dumps({"kind": "storage#objects"}))

    with serve(google) as url:
        said = {**json.loads(key_file.read_text()), "token_uri": f"{url}/token"}
        store = FsspecStore.from_url("gs://b/x", endpoint_url=url, token=said)
        for _ in range(3):
            assert list(store.ls()) == []
    assert (asked, carried) == (["/token"], ["Bearer t1"] * 3)


def test_silent_token_server(key_file: pathlib.Path) -> None:
    """Who waits for a token waits no longer than for anything else."""
    with Proxy("http://127.0.0.1:9") as proxy:
        proxy.black_hole = True
        uri = f"{proxy.endpoint_url}/token"
        said = {**json.loads(key_file.read_text()), "token_uri": uri}
        store = FsspecStore.from_url("gs://b/x", token=said, requests_timeout=1)
        start = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.exists("a.txt")
        assert time.monotonic() - start < 10


def account_of(key_file: pathlib.Path, url: str) -> dict[str, t.Any]:
    """The account, with another token server."""
    return {**json.loads(key_file.read_text()), "token_uri": f"{url}/token"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (("<html>busy</html>", 500), StoreUnavailable),
        (("", 503), StoreUnavailable),
        (("slow down", 429), StoreUnavailable),
        (("<html>Sign in</html>", 200), StoreUnavailable),
        (("", 200), StoreUnavailable),
        (("{}", 200), StoreUnavailable),
        (("<html>no</html>", 403), StoreUnavailable),
        (('{"error": "invalid_grant"}', 400), StoreDenied),
    ],
)
def test_token_server_says_no(
    key_file: pathlib.Path, answer: tuple[str, int], error: type[Exception]
) -> None:
    """Only a token server that refuses the account itself denies it."""
    with serve(Response(*answer)) as url:
        store = FsspecStore.from_url("gs://b/x", token=account_of(key_file, url))
        with pytest.raises(error):
            store.exists("a.txt")


def test_token_server_that_was_silent(key_file: pathlib.Path) -> None:
    """One request for a token that is never answered does not keep the store away."""
    asked, over = [], threading.Event()

    @Request.application
    def google(request: Request) -> Response:
        if request.path == "/token":
            asked.append(request.path)
            if len(asked) == 1:
                over.wait(60)
            return Response(json.dumps({"access_token": "t", "expires_in": 3600}))
        return Response(json.dumps({"kind": "storage#objects"}))

    with serve(google) as url:
        token = account_of(key_file, url)
        store = FsspecStore.from_url(
            "gs://b/x", endpoint_url=url, token=token, requests_timeout=1
        )
        start = time.monotonic()
        try:
            with pytest.raises(StoreUnavailable):
                list(store.ls())
            while True:
                try:
                    assert list(store.ls()) == []
                    break
                except StoreUnavailable:
                    assert time.monotonic() - start < 15, "the store stays away"
        finally:
            over.set()


def test_token_that_is_still_good(key_file: pathlib.Path) -> None:
    """Nobody waits for the next token while the last one can be used."""
    asked, carried = threading.Event(), []
    silent = threading.Event()

    @Request.application
    def google(request: Request) -> Response:
        if request.path == "/token":
            if carried:
                asked.set()
                silent.wait(20)
            return Response(json.dumps({"access_token": "t1", "expires_in": 120}))
        carried.append(request.headers.get("Authorization"))
        return Response(json.dumps({"kind": "storage#objects"}))

    with serve(google) as url:
        token = account_of(key_file, url)
        store = FsspecStore.from_url("gs://b/x", endpoint_url=url, token=token)
        try:
            for _ in range(3):
                assert list(store.ls()) == []
            assert asked.wait(10)
            assert carried == ["Bearer t1"] * 3
        finally:
            silent.set()


def test_busy_server_is_asked_twice() -> None:
    """A server that is busy for a moment costs a moment; one that stays so is
    unavailable."""
    statuses = [503, 200, 503, 503]

    @Request.application
    def busy(_: Request) -> Response:
        page = json.dumps({"kind": "storage#objects"})
        return Response(page, statuses.pop(0))

    with serve(busy) as url:
        store = FsspecStore.from_url("gs://b/x", endpoint_url=url)
        assert list(store.ls()) == []
        with pytest.raises(StoreUnavailable):
            list(store.ls())
    assert statuses == []
