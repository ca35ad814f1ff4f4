"""The route of a store: one table of answers, on every kind of store.

A further store joins the table by a fixture of its own in :data:`STORES`.
"""

from __future__ import annotations

import datetime as dt
import io
import itertools
import pathlib
import re
import time
import typing as t
import uuid

import pytest
from flask import Flask
from flask import Response
from flask import session
from flask.testing import FlaskClient
from werkzeug.http import http_date
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from flask_store import Store
from flask_store.dialects import Stat
from flask_store.exceptions import NotConfiguredError
from flask_store.files import FileWrapper
from flask_store.http import conditions
from flask_store.http import presentation
from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import upload
from tests.storages.test_s3 import settings
from tests.support import serving_table
from tests.support.gcs_server import fake_gcs
from tests.support.logins import add_logins
from tests.support.logins import logged_in
from tests.support.logins import WAYS
from tests.support.media_files import JAVASCRIPT
from tests.support.protocol_servers import azurite
from tests.support.protocol_servers import Place
from tests.support.protocol_servers import samba
from tests.support.protocol_servers import webdav
from tests.support.proxy import Proxy
from tests.support.server_contract import started
from tests.support.servers import S3Server
from tests.support.serving_cases import Case
from tests.support.serving_cases import CASES
from tests.support.serving_cases import DATA
from tests.support.serving_cases import Known
from tests.support.serving_cases import SIZE
from tests.support.sftp_server import ssh_server


def make_app(**config: t.Any) -> Flask:
    """An application with one store."""
    app = Flask(__name__)
    app.config.update(SECRET_KEY="a secret of the application", **config)
    Store(app)
    app.before_request(lambda: session.update(seen="today"))
    return app


def store_of(app: Flask) -> FsspecStore:
    """The application's store."""
    return t.cast("FsspecStore", app.extensions["store"].Provider())


def bound(app: Flask) -> FsspecStore:
    """The application's store, without a context around."""
    with app.app_context():
        return store_of(app)


@pytest.fixture(scope="module")
def local_app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """Files on disk."""
    return make_app(STORE_PATH=str(tmp_path_factory.mktemp("local") / "uploads"))


@pytest.fixture(scope="module")
def memory_app() -> Flask:
    """Files in memory, through the generic filesystem API."""
    return make_app(STORE_PATH=f"memory://{uuid.uuid4()}/uploads")


@pytest.fixture(scope="module")
def s3_app(seaweedfs_server: S3Server) -> Flask:
    """Objects, passed on by the application."""
    return make_s3_app(seaweedfs_server, STORE_PATH="/some/place")


def make_s3_app(server: S3Server, **config: t.Any) -> Flask:
    """An application with an empty bucket that it serves itself."""
    given = settings(server, server.make_bucket(), STORE_SERVE="proxy", **config)
    return make_app(STORE_PROVIDER="flask_store.stores.s3.S3Store", **given)


@pytest.fixture(scope="module")
def sftp_app() -> t.Iterator[Flask]:
    """Files on another machine, by SSH."""
    yield from place_app(ssh_server)


@pytest.fixture(scope="module")
def webdav_app() -> t.Iterator[Flask]:
    """Files on a WebDAV server."""
    yield from place_app(webdav)


def place_app(
    server: t.Callable[[], t.ContextManager[Place]], **config: t.Any
) -> t.Iterator[Flask]:
    """An application with a store on a server of its own."""
    with started(server) as place:
        yield make_app(STORE_PATH=place.new(), STORE_OPTIONS=place.options, **config)


@pytest.fixture(scope="module")
def smb_app() -> t.Iterator[Flask]:
    """Files on a Windows share."""
    yield from place_app(samba)


@pytest.fixture(scope="module")
def azure_app() -> t.Iterator[Flask]:
    """Blobs, passed on by the application."""
    yield from place_app(azurite, STORE_SERVE="proxy")


@pytest.fixture(scope="module")
def gcs_app() -> t.Iterator[Flask]:
    """Objects on Google Cloud, passed on by the application."""
    yield from place_app(fake_gcs, STORE_SERVE="proxy")


@pytest.fixture(params=serving_table.STORES, scope="module")
def app(request: pytest.FixtureRequest) -> Flask:
    """An application for each kind of store, with users."""
    app = t.cast(Flask, request.getfixturevalue(f"{request.param}_app"))
    add_logins(app)
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of it."""
    return app.test_client()


@pytest.fixture(scope="module")
def member(app: Flask) -> FlaskClient:
    """A client that has logged in."""
    return logged_in(app)


def save(app: Flask, data: bytes, name: str) -> FileWrapper:
    """Store a file under its very name."""
    with app.app_context():
        return store_of(app).save(upload(data, name), on_conflict="overwrite")


@pytest.fixture
def shows(
    request: pytest.FixtureRequest, app: Flask
) -> t.Callable[[str, int | str], None]:
    """Say which row of the table in docs/serving.rst a test is."""
    store = request.node.callspec.params["app"]

    def said(asked: str, answer: int | str) -> None:
        cell = [store, asked, str(answer)]
        request.node.user_properties.append((serving_table.PROPERTY, cell))

    return said


@pytest.fixture(scope="module")
def known(app: Flask) -> Known:
    """What the first answer says of the file 'photo.jpg', after its first second: a
    date, and on a storage that counts whole seconds a tag, is strong only then."""
    save(app, DATA, "photo.jpg")
    time.sleep(2)
    with app.test_client().get("/flaskstore/photo.jpg") as reply:
        return Known(reply.headers["ETag"], reply.headers["Last-Modified"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_table(
    member: FlaskClient,
    known: Known,
    case: Case,
    shows: t.Callable[[str, int | str], None],
) -> None:
    """Every request has the status, the headers and the bytes that RFC 9110 says, by
    the route, by that of a store with authorize, and by a view with response()."""
    shows(case.name, case.status)
    for way, prefix in WAYS.items():
        reply = member.open(
            f"{prefix}/photo.jpg", method=case.method, headers=case.sent(known)
        )
        caching = CACHING[way]
        case.check(known, reply.status_code, reply.headers, reply.data, caching)


#: What a file may be kept for, which differs on purpose.
CACHING = {
    "route": "no-cache",
    "authorize": "private, no-cache",
    "view": "private, no-cache",
}

#: Each header of a file, and a pattern that it has.
HEADERS = {
    "Accept-Ranges": "bytes",
    "Content-Length": str(SIZE),
    "Content-Type": "image/jpeg",
    "Content-Disposition": 'inline; filename="a .jpg";'
    " filename\\*=UTF-8''a%20%E2%82%AC.jpg",
    "ETag": '"[!-~]+"',
    "Last-Modified": "[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} 2[0-9]{3} [0-9:]{8} GMT",
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; .*; sandbox",
    "Set-Cookie": "",
}


@pytest.mark.parametrize("name", HEADERS)
def test_header(
    app: Flask,
    member: FlaskClient,
    known: Known,
    name: str,
    shows: t.Callable[[str, int | str], None],
) -> None:
    """Every header that the documentation promises, of a name that is not ASCII. No
    shared cache keeps a private file, and a view may set cookies."""
    words = {"Content-Disposition": "Unicode", "ETag": "strong", "Set-Cookie": "none"}
    shows(f"``{name}``", words.get(name, "there"))
    with app.app_context():
        f = store_of(app).file("a €.jpg")
        if not f.exists():
            save(app, DATA, "a €.jpg")
            time.sleep(2)  # as for what is known
    for method, (way, prefix) in itertools.product(("GET", "HEAD"), WAYS.items()):
        expected = CACHING[way] if name == "Cache-Control" else HEADERS[name]
        if (way, name) == ("view", "Set-Cookie"):
            expected = "session=.*"
        with member.open(f"{prefix}/a €.jpg", method=method) as reply:
            assert reply.status_code == 200
            assert re.fullmatch(expected, reply.headers.get(name, "")), way


def test_empty_file(app: Flask, client: FlaskClient) -> None:
    """A file of 0 bytes is served as such, also when its last bytes are asked for."""
    save(app, b"", "empty.txt")
    for headers, status in [({}, 200), ({"Range": "bytes=-5"}, 200)]:
        reply = client.get("/flaskstore/empty.txt", headers=headers)
        assert (reply.status_code, reply.data) == (status, b"")
        assert reply.headers["Content-Length"] == "0"
    assert (
        client.get("/flaskstore/empty.txt", headers={"Range": "bytes=0-"}).status_code
        == 416
    )


@pytest.mark.parametrize(
    "path",
    [
        "no.txt",
        "../secret",
        "%2e%2e/secret",
        ".flask-store/x.part",
        "a%00b",
        "a%5cb",
        "/x",
    ],
)
def test_missing(
    member: FlaskClient, path: str, shows: t.Callable[[str, int | str], None]
) -> None:
    """What is not there, and what cannot be a name, is a 404 that no cache keeps."""
    if path == "no.txt":
        shows("no such file", 404)
    for way, prefix in WAYS.items():
        reply = member.get(f"{prefix}/{path}")
        # A name that no store accepts is a client's error where a view makes the file.
        bad = 400 if way == "view" and path != "no.txt" else 404
        assert reply.status_code in (bad, 404, 308)
        if path == "no.txt":
            assert reply.status_code == 404
            assert reply.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("way", ["authorize", "view"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_anonymous(
    app: Flask,
    client: FlaskClient,
    known: Known,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    method: str,
) -> None:
    """Whoever has not logged in gets no byte and no metadata, whatever is asked, and
    cannot tell a file from one that is not there. The storage is not asked."""
    files = type(bound(app).files)
    for verb in ("info", "get", "open", "cat_file", "on_disk"):
        monkeypatch.setattr(files, verb, ask_nobody)
    replies = [
        client.open(f"{WAYS[way]}/{name}", method=method, headers=case.sent(known))
        for name in ("photo.jpg", "no.txt")
        for case in CASES[::3]
        if case.method == "GET"
    ]
    status = 403 if way == "authorize" else 401
    assert {reply.status_code for reply in replies} == {status}
    assert len({reply.data for reply in replies}) == 1
    assert DATA[:20] not in replies[0].data
    for reply in replies:
        reply.headers.remove("Set-Cookie")  # the session's, which has the time
    told = {"ETag", "Last-Modified", "Accept-Ranges", "Content-Range"}
    assert told.isdisjoint(replies[0].headers.keys())
    assert len({str(reply.headers) for reply in replies}) == 1


def ask_nobody(*args: t.Any) -> t.NoReturn:
    """Stand for a verb of the storage that must not be called."""
    raise AssertionError("the storage was asked")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "MOVE", "COPY"])
def test_only_reading(
    app: Flask,
    client: FlaskClient,
    method: str,
    shows: t.Callable[[str, int | str], None],
) -> None:
    """No method deletes, moves or overwrites a file."""
    shows(method, 405)
    f = save(app, b"here", "kept.txt")
    reply = client.open("/flaskstore/kept.txt", method=method, data=b"gone")
    assert reply.status_code == 405
    assert "GET" in reply.headers["Allow"]
    assert f.read() == b"here"


def test_post_needs_a_token(app: Flask, client: FlaskClient) -> None:
    """A form without a token, or with a made-up one, changes nothing."""
    f = save(app, b"here", "kept.txt")
    # Where the storage takes the forms itself, there is no such route.
    bad = 405 if f.provider.dialect.takes_forms else 403
    for query, status in (("", 405), ("?token=x", bad), ("?token=e30.x", bad)):
        reply = client.post(
            f"/flaskstore/kept.txt{query}", data={"file": (io.BytesIO(b"x"), "x")}
        )
        assert reply.status_code == status
    assert f.read() == b"here"


@pytest.mark.parametrize(
    ("name", "sent", "shown"),
    [
        ("a.jpg", "image/jpeg", "inline"),
        ("a.pdf", "application/pdf", "inline"),
        ("a.mp4", "video/mp4", "inline"),
        ("a.mp3", "audio/mpeg", "inline"),
        ("a.txt", "text/plain; charset=utf-8", "inline"),
        ("a.html", "text/html; charset=utf-8", "attachment"),
        ("a.xhtml", "application/xhtml+xml; charset=utf-8", "attachment"),
        ("a.svg", "image/svg+xml; charset=utf-8", "attachment"),
        ("a.xml", "text/xml; charset=utf-8", "attachment"),
        ("a.js", "application/octet-stream", "attachment"),
        ("a.mjs", "application/octet-stream", "attachment"),
        ("a.css", "application/octet-stream", "attachment"),
        ("a.zip", "application/zip", "attachment"),
        ("noext", "application/octet-stream", "attachment"),
    ],
)
def test_type(
    app: Flask, client: FlaskClient, name: str, sent: str, shown: str
) -> None:
    """What a browser may show is on a list; the rest is saved; code is never code."""
    save(app, b"<script>alert(1)</script>", name)
    headers = client.head(f"/flaskstore/{name}").headers
    assert headers["Content-Type"] == sent
    assert headers["Content-Disposition"] == f'{shown}; filename="{name}"'


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "Rechnung Mai €.pdf",
            'inline; filename="Rechnung Mai .pdf";'
            " filename*=UTF-8''Rechnung%20Mai%20%E2%82%AC.pdf",
        ),
        (
            "фото.jpg",
            "inline; filename=\".jpg\"; filename*=UTF-8''%D1%84%D0%BE%D1%82%D0%BE.jpg",
        ),
        ("100%.txt", "inline; filename=\"100_.txt\"; filename*=UTF-8''100%25.txt"),
    ],
)
def test_unicode_name(app: Flask, client: FlaskClient, name: str, said: str) -> None:
    """A browser saves the file under the name that it has, whatever its letters."""
    f = save(app, b"x", name)
    reply = client.get("/" + f.relative_url())
    assert reply.headers["Content-Disposition"] == said
    assert reply.data == b"x"


def test_stored_type_is_used_and_cannot_break_out() -> None:
    """What a storage calls a file's type is cleaned before it becomes a header."""
    for kind in ("text/html\r\nX: y", "x", "", "text / html", "image/png/../x"):
        sent = presentation.headers("a", kind, presentation.INLINE_TYPES)
        assert sent["Content-Type"] == "application/octet-stream"
        assert sent["Content-Disposition"].startswith("attachment")
    sent = presentation.headers("a", "Image/PNG; x=y", presentation.INLINE_TYPES)
    assert sent["Content-Type"] == "image/png"


def test_inline_types(tmp_path: pathlib.Path) -> None:
    """STORE_INLINE_TYPES takes the default's place; SVG has to be named."""
    app = make_app(
        STORE_PATH=str(tmp_path), STORE_INLINE_TYPES=["image/svg+xml", "text/html"]
    )
    client = app.test_client()
    for name, shown in (("a.svg", "inline"), ("a.html", "inline"), ("a.jpg", "attach")):
        save(app, b"x", name)
        headers = client.head(f"/flaskstore/{name}").headers
        assert headers["Content-Disposition"].startswith(shown)
        assert "sandbox" in headers["Content-Security-Policy"]
        assert "allow-scripts" not in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "kind", [*JAVASCRIPT, "text/css", "text/xsl", "application/wasm"]
)
def test_code_is_never_sent_as_code(kind: str) -> None:
    """A family of types does not show code, and neither does its type in any spelling.
    Named by itself, it is shown as plain text."""
    families = ["text/*", "application/*", "image/*"]
    for spelled in (kind, kind.upper(), f"{kind}; charset=utf-8", f" {kind} ;"):
        sent = presentation.headers("a", spelled, families)
        assert sent["Content-Type"] == "application/octet-stream"
        assert sent["Content-Disposition"].startswith("attachment")
        assert sent["X-Content-Type-Options"] == "nosniff"
        sent = presentation.headers("a", spelled, [*families, kind])
        assert sent["Content-Type"] == "text/plain; charset=utf-8"
        assert sent["Content-Disposition"].startswith("inline")
        sent = presentation.headers("a", spelled, [kind], as_attachment=True)
        assert sent["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize(
    "kind", ["application/xml", "text/xml", "application/xslt+xml"]
)
def test_xml_is_in_no_family(kind: str) -> None:
    """XML, which can carry scripts, is shown only if its very type is named."""
    sent = presentation.headers("a", kind, ["text/*", "application/*"])
    assert sent["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("destination", "status"),
    [
        *(("script", 403), ("style", 403), ("xslt", 403), ("worker", 403)),
        *(("sharedworker", 403), ("serviceworker", 403), ("audioworklet", 403)),
        *(("paintworklet", 403), ("document", 200), ("image", 200), ("empty", 200)),
    ],
)
def test_file_is_not_loaded_as_code(
    tmp_path: pathlib.Path, destination: str, status: int
) -> None:
    """A browser that says that it would run a file, or apply it, gets none."""
    app = make_app(STORE_PATH=str(tmp_path))
    save(app, b"x", "a.txt")
    for send in (app.test_client().get, app.test_client().head):
        reply = send("/flaskstore/a.txt", headers={"Sec-Fetch-Dest": destination})
        assert reply.status_code == status
        assert ("no-store" in reply.headers["Cache-Control"]) == (status == 403)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"STORE_INLINE_TYPES": "png"}, "list of media types"),
        ({"STORE_INLINE_TYPES": ["png"]}, "list of media types"),
        ({"STORE_INLINE_TYPES": 5}, "list of media types"),
        ({"STORE_URL_EXPIRES": "1h"}, "number of seconds"),
        ({"STORE_URL_EXPIRES": 0}, "number of seconds"),
        ({"STORE_SERVE": "redirect"}, "no links of its own"),
        (
            {"STORE_PATH": "memory://x", "STORE_X_ACCEL_REDIRECT": "/files/"},
            "local disk",
        ),
    ],
)
def test_impossible_settings(
    tmp_path: pathlib.Path, config: dict[str, t.Any], words: str
) -> None:
    """A slip in a setting is found when the application starts."""
    with pytest.raises(NotConfiguredError, match=words):
        make_app(**{"STORE_PATH": str(tmp_path), **config})


def test_cache_control(tmp_path: pathlib.Path) -> None:
    """STORE_CACHE_CONTROL is sent with files, and never with an error."""
    app = make_app(STORE_PATH=str(tmp_path), STORE_CACHE_CONTROL="public, max-age=99")
    client = app.test_client()
    save(app, b"12345", "a.txt")
    for headers, said in [
        ({}, "public, max-age=99"),
        ({"If-None-Match": "*"}, "public, max-age=99"),
        ({"Range": "bytes=9-"}, "no-store"),
        ({"If-Match": '"x"'}, "no-store"),
    ]:
        with client.get("/flaskstore/a.txt", headers=headers) as reply:
            assert reply.headers["Cache-Control"] == said
    assert client.get("/flaskstore/no.txt").headers["Cache-Control"] == "no-store"


def test_no_cookie(tmp_path: pathlib.Path) -> None:
    """A file carries no cookie, whatever hooks do to the session; a page does."""
    app = make_app(STORE_PATH=str(tmp_path))

    @app.before_request
    def touch() -> None:
        session.permanent = True
        session["seen"] = "today"

    @app.after_request
    def track(response: Response) -> Response:
        response.set_cookie("tracking", "1")
        return response

    @app.get("/page")
    def page() -> str:
        return "page"

    save(app, b"12345", "a.txt")
    client = app.test_client()
    assert "Set-Cookie" in client.get("/page").headers
    for headers in ({}, {"Range": "bytes=0-1"}, {"If-None-Match": "*"}):
        with client.get("/flaskstore/a.txt", headers=headers) as reply:
            assert reply.status_code in (200, 206, 304)
            assert "Set-Cookie" not in reply.headers
            assert "Cookie" in reply.headers["Vary"]


def test_response_class_of_the_application(tmp_path: pathlib.Path) -> None:
    """An application with a response class of its own gets that, without a cookie."""

    class Mine(Response):
        pass

    app = Flask(__name__)
    app.response_class = Mine
    app.config.update(STORE_PATH=str(tmp_path), SECRET_KEY="x")
    Store(app)
    seen = []
    app.after_request(lambda response: seen.append(response) or response)  # type: ignore
    app.before_request(lambda: session.update(a=1))
    save(app, b"x", "a.txt")
    reply = app.test_client().get("/flaskstore/a.txt")
    assert isinstance(seen[0], Mine)
    assert "Set-Cookie" not in reply.headers
    assert reply.data == b"x"


def test_off(tmp_path: pathlib.Path) -> None:
    """With STORE_SERVE='off' there is no route."""
    app = make_app(STORE_PATH=str(tmp_path), STORE_SERVE="off")
    save(app, b"x", "a.txt")
    assert app.test_client().get("/flaskstore/a.txt").status_code == 404


def test_two_stores_have_a_route_each(tmp_path: pathlib.Path) -> None:
    """A named store serves below a prefix of its own; a shared one is refused."""
    app = make_app(STORE_PATH=str(tmp_path / "one"), AVATARS_STORE_PATH=str(tmp_path))
    avatars = Store(app, name="avatars")
    with app.app_context():
        avatars.Provider().save(upload(b"me", "me.txt"))
    client = app.test_client()
    assert client.get("/flaskstore-avatars/me.txt").data == b"me"
    assert client.get("/flaskstore/me.txt").status_code == 404
    app.config["OTHER_STORE_URL_PREFIX"] = "/flaskstore"
    with pytest.raises(NotConfiguredError, match="STORE_URL_PREFIX"):
        Store(app, name="other")


# -- validators ----------------------------------------------------------------


def test_tag_of_a_coarse_clock_is_weak_at_first() -> None:
    """Where the storage counts whole seconds, a file of this second can change
    unseen: its tag is weak until the second is over."""
    now = dt.datetime(2026, 5, 1, 12, 0, 10, tzinfo=dt.UTC)

    def made(age: float, etag: str | None = None) -> conditions.Validators:
        modified = now - dt.timedelta(seconds=age)
        return conditions.validators(Stat("a", 5, modified, etag, "x/y"), now)

    assert not made(1).strong
    assert made(2).strong
    assert made(0.5).strong  # a clock that counts parts of a second
    assert made(2).etag == made(2).etag != made(3).etag
    assert made(0, "abc") == conditions.Validators("abc", True, now, False)
    assert not made(9, 'W/"abc').strong
    assert made(-60).modified == now  # a clock that is ahead
    nothing = conditions.validators(Stat("a", 5, None, None, "x/y"), now)
    assert nothing == conditions.Validators(None, False, None, False)


def test_date_in_if_range_has_to_be_old_enough() -> None:
    """A date of this very second is no strong validator (RFC 9110, 8.8.2.2)."""
    date = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
    for settled, status in ((True, 206), (False, 200)):
        mine = conditions.Validators("x", True, date, settled)
        request = Request(
            EnvironBuilder(
                headers={"Range": "bytes=0-1", "If-Range": http_date(date)}
            ).get_environ()
        )
        assert conditions.part(request, 10, mine).status == status


# -- what is fetched, and when it is let go -------------------------------------


@pytest.fixture
def counted(seaweedfs_server: S3Server) -> t.Iterator[tuple[Flask, Proxy]]:
    """An application that reaches its bucket through a counting proxy."""
    with Proxy(seaweedfs_server.endpoint_url) as proxy:
        app = make_s3_app(seaweedfs_server)
        app.config["STORE_S3_ENDPOINT_URL"] = proxy.endpoint_url
        app.extensions["store"].init_app(app)
        yield app, proxy


def exchanges(proxy: Proxy) -> list[tuple[str, int, int]]:
    """What was asked of the server: method, status and bytes of each answer."""
    return [(e.method, e.status, e.received) for e in proxy.requests]


def test_requests_to_the_storage(counted: tuple[Flask, Proxy]) -> None:
    """A whole file is one GetObject and nothing else, a range is one of that range, and
    metadata is one HEAD, whoever decides on the request. Who may not read asks for
    nothing."""
    app, proxy = counted
    add_logins(app)
    save(app, DATA, "a.bin")
    client = logged_in(app)
    etag = client.head("/flaskstore/a.bin").headers["ETag"]
    for method, headers, asked in [
        ("GET", {}, [("GET", 200, SIZE)]),
        ("GET", {"If-None-Match": '"x"'}, [("HEAD", 200, 0), ("GET", 200, SIZE)]),
        ("GET", {"Range": "bytes=9-108"}, [("GET", 206, 100)]),
        ("GET", {"Range": "bytes=-100"}, [("GET", 206, 100)]),
        ("GET", {"Range": "bytes=9-", "If-Range": etag}, [("GET", 206, SIZE - 9)]),
        ("GET", {"If-None-Match": etag}, [("HEAD", 200, 0)]),
        ("HEAD", {}, [("HEAD", 200, 0)]),
    ]:
        for way, prefix in WAYS.items():
            proxy.requests.clear()
            client.open(f"{prefix}/a.bin", method=method, headers=headers).get_data()
            assert exchanges(proxy) == asked, way
            if way != "route":
                proxy.requests.clear()
                anonymous = app.test_client()
                anonymous.open(f"{prefix}/a.bin", method=method, headers=headers)
                assert exchanges(proxy) == []
    # What the server says of a range that is not there takes a HEAD to explain.
    proxy.requests.clear()
    assert client.get("/flaskstore/a.bin", headers={"Range": "bytes=99999-"}).status
    assert [(e.method, e.status) for e in proxy.requests] == [
        ("GET", 416),
        ("HEAD", 200),
    ]


def test_range_that_is_not_wanted_any_more(counted: tuple[Flask, Proxy]) -> None:
    """The client's version is gone, so it gets the whole of the new one."""
    app, _ = counted
    save(app, DATA, "a.bin")
    headers = {"Range": "bytes=9-", "If-Range": '"another"'}
    reply = app.test_client().get("/flaskstore/a.bin", headers=headers)
    assert (reply.status_code, reply.data) == (200, DATA)


def test_object_replaced_in_between(
    counted: tuple[Flask, Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object that is replaced after its HEAD is looked at again, so that headers
    and bytes are those of one version."""
    app, _ = counted
    save(app, b"the first version", "a.txt")
    store = type(bound(app))
    stat, replaced = store.stat, []

    def late(self: FsspecStore, name: str) -> Stat:
        found = stat(self, name)
        if not replaced:
            replaced.append(save(app, b"second", "a.txt"))
        return found

    monkeypatch.setattr(store, "stat", late)
    headers = {"Range": "bytes=0-", "If-None-Match": '"x"'}
    reply = app.test_client().get("/flaskstore/a.txt", headers=headers)
    assert replaced
    assert reply.data == b"second"
    assert reply.headers["Content-Range"] == "bytes 0-5/6"
