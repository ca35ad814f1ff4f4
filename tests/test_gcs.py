"""The contract on Google Cloud Storage, and what only it has."""

from __future__ import annotations

import base64
import datetime as dt
import json
import pathlib
import time
import typing as t

import pytest
import requests
from flask import Flask
from werkzeug import Request
from werkzeug import Response

from flask_store import Store
from flask_store.claims import Claim
from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import StoreDenied
from flask_store.exceptions import StoreUnavailable
from flask_store.exceptions import VersionGone
from flask_store.links import Period
from flask_store.stores.fsspec import FsspecStore

from .contract import upload
from .protocols import ServerContract
from .protocols import started
from .proxy import Proxy
from .servers import serve
from .servers_gcs import account
from .servers_gcs import fake_gcs
from .servers_protocols import Place


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

    def leftovers(self, store: FsspecStore) -> list[str]:
        """Whatever is beside the files."""
        keys = {f"{store.dialect.root}/{found.name}" for found in store.ls()}
        return sorted(set(store.fs.find(store.dialect.root)) - keys)


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
    before = store.dialect.stat(store.fs, f.filename)
    store.save(upload(b"second"), on_conflict="overwrite")
    after = store.dialect.stat(store.fs, f.filename)
    assert before.etag != after.etag
    read = store.dialect.stream_version
    assert b"".join(read(store.fs, after, 0, 6)) == b"second"
    with pytest.raises(VersionGone):
        list(read(store.fs, before, 0, 5))


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
    client = store.dialect._client(store.fs)  # type: ignore[attr-defined]
    ask = type(client).ask

    def two(self: t.Any, method: str, path: str, params: t.Any = None) -> t.Any:
        return ask(self, method, path, {**(params or {}), "maxResults": 2})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(client), "ask", two)
        assert len(list(store.ls())) == 5


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


def test_link_is_what_googles_own_library_signs(key_file: pathlib.Path) -> None:
    """With a service account's key a link is signed here, asking nobody."""
    from google.cloud.storage import _signing

    store = FsspecStore.from_url("gs://b/x", token=str(key_file))
    start = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
    said = "attachment; filename*=UTF-8''%E2%82%AC~1.txt"
    link = store.dialect.sign(store.fs, "ü/a ~1.txt", Period(start, 750), said)
    expected = _signing.generate_signed_url_v4(
        store.fs.credentials.credentials,
        "/b/x/%C3%BC/a%20~1.txt",
        750,
        response_disposition=said,
        _request_timestamp="20260501T120000Z",
    )
    assert link == expected
    assert store.signed_url("a.txt") == store.signed_url("a.txt")


def test_form_is_what_googles_own_library_signs(
    key_file: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a service account's key a form is signed here, with the size, the type and
    the private key that it is for."""
    from google.cloud import storage
    from google.cloud.storage import client as library

    store = FsspecStore.from_url("gs://b/x ü", token=str(key_file))
    claim = Claim("a.txt", "id1", "text/plain", 1000, int(time.time()) + 600)
    url, fields = t.cast("t.Any", store.dialect).upload_form(store.fs, claim)
    assert url == "https://storage.googleapis.com/b"
    assert fields["key"] == f"x ü/{claim.staged}"
    said = {name: fields[name] for name in ("key", "Content-Type")}
    stamp = fields["x-goog-date"]
    monkeypatch.setattr(
        library, "get_v4_now_dtstamps", lambda: (stamp, stamp.partition("T")[0])
    )
    credentials = store.fs.credentials.credentials
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


def test_busy_server_is_asked_twice() -> None:
    """A server that is busy for a moment costs a moment; one that stays so is
    unavailable."""
    statuses = [503, 200, 503, 503]

    @Request.application
    def busy(_: Request) -> Response:
        return Response("{}", statuses.pop(0))

    with serve(busy) as url:
        store = FsspecStore.from_url("gs://b/x", endpoint_url=url)
        assert list(store.ls()) == []
        with pytest.raises(StoreUnavailable):
            list(store.ls())
    assert statuses == []
