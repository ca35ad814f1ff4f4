"""The contract on WebDAV, and what only WebDAV has."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import os
import pathlib
import re
import shutil
import threading
import time
import typing as t
import uuid
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from werkzeug import Request
from werkzeug import Response

from flask_store.background import worker
from flask_store.dialects.webdav import WebDAVDialect
from flask_store.exceptions import FileExists
from flask_store.exceptions import InvalidName
from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import StoreDenied
from flask_store.exceptions import StoreError
from flask_store.exceptions import StoreFull
from flask_store.exceptions import StoreUnavailable
from flask_store.exceptions import VersionGone
from flask_store.stores.fsspec import FsspecStore
from flask_store.sync import Journal
from flask_store.sync import Sync
from flask_store.testing import upload
from tests.local.test_spool import wait_for
from tests.storages.test_http import LIMIT
from tests.storages.test_http import QUICK
from tests.storages.test_http import raw
from tests.storages.test_http import trickling
from tests.support.protocol_servers import Place
from tests.support.protocol_servers import webdav
from tests.support.server_contract import ServerContract
from tests.support.server_contract import started
from tests.support.servers import serve


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
    store.raw_fs.mkdir(dialect._lock(dialect.path("a.txt")))
    assert not store.exists("a.txt")
    f = store.save(upload(b"kept"))
    assert f.filename.startswith("a_")
    assert f.read() == b"kept"


@pytest.mark.parametrize("url", ["webdav://host/x", "dav://host", "webdav+https://"])
def test_url_says_how_to_reach_the_server(url: str) -> None:
    """A URL without a scheme for the transport, or a host, shows the right form."""
    with pytest.raises(NotConfiguredError, match=r"webdav\+https://user@host/folder"):
        FsspecStore.from_url(url)


class Between:
    """A proxy in front of wsgidav that may answer in its place.

    :attr:`before` and :attr:`after` are given the method and the path, and *after*
    the server's answer too; what they return is the answer, if it is not ``None``.
    """

    def __init__(self, place: Place) -> None:
        self.port = place.port
        self.asked: list[str] = []
        self.before: t.Callable[[str, str], Response | None] = lambda *_: None
        self.after: t.Callable[[str, str, Response], Response | None] = lambda *_: None

    def __call__(self, environ: t.Any, start: t.Any) -> t.Any:
        method, path = environ["REQUEST_METHOD"], environ["REQUEST_URI"]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        self.asked.append(method)
        response = self.before(method, path)
        if response is None:
            there = self.ask(method, path, body, Request(environ).headers)
            response = self.after(method, path, there) or there
        return response(environ, start)

    def ask(self, method: str, path: str, body: bytes, headers: t.Any) -> Response:
        """What wsgidav says."""
        names = [name for name in headers.keys() if name != "Connection"]
        server = http.client.HTTPConnection("127.0.0.1", self.port)
        with contextlib.closing(server):
            said = {name: headers[name] for name in names}
            server.request(method, path, body, said)
            reply = server.getresponse()
            data = reply.read()
        passed = [
            (name, value)
            for name, value in reply.getheaders()
            if name not in ("Connection", "Transfer-Encoding")
        ]
        return Response(data, reply.status, passed)


class Both(t.NamedTuple):
    """A folder as its store sees it through the proxy, and as it is."""

    between: Between
    url: str
    store: FsspecStore
    direct: FsspecStore
    folder: pathlib.Path

    def again(self) -> FsspecStore:
        """The store of another process."""
        return FsspecStore.from_url(self.url)

    def contents(self) -> dict[str, bytes]:
        """What is stored."""
        return {found.name: self.direct.read(found.name) for found in self.direct.ls()}

    def private(self) -> list[str]:
        """What lies in the private folder."""
        return os.listdir(self.folder / ".flask-store")


@pytest.fixture
def both(place: Place) -> t.Iterator[Both]:
    """A store that has saved before, and its server's folder."""
    url = place.new()
    between = Between(place)
    with serve(between) as there:
        port = int(there.rpartition(":")[2])
        behind = url.replace(f":{place.port}", f":{port}")
        store, direct = FsspecStore.from_url(behind), FsspecStore.from_url(url)
        store.put("old.txt", b"old")
        assert place.folder
        folder = place.folder / url.partition("/dav/")[2]
        yield Both(between, behind, store, direct, folder)


def answer(
    status: int, *methods: str, body: bytes = b"<html>Sign in</html>"
) -> t.Callable[[str, str], Response | None]:
    """Somebody else's answer to these methods."""

    def before(method: str, path: str) -> Response | None:
        if method not in methods:
            return None
        return Response(body, status, mimetype="text/html")

    return before


LOCKED = b"""<D:multistatus xmlns:D="DAV:"><D:response><D:href>/x</D:href>
<D:status>HTTP/1.1 423 Locked</D:status></D:response></D:multistatus>"""

EMPTY = b'<D:multistatus xmlns:D="DAV:"/>'


@pytest.mark.slow
@pytest.mark.parametrize("method", ["PUT", "MKCOL", "MOVE", "DELETE"])
@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"<html>"), (200, b""), (202, b""), (302, b""), (207, LOCKED), (207, EMPTY)],
)
def test_change_is_done_on_its_own_status_only(
    both: Both, method: str, status: int, body: bytes
) -> None:
    """A page in place of the server's own answer stores and deletes nothing."""
    both.between.before = answer(status, method, body=body)
    uses: list[t.Callable[[], object]] = [lambda: both.store.put("new.txt", b"new")]
    if method != "PUT":
        uses.append(lambda: both.store.move("old.txt", "new.txt"))
    if method != "MKCOL":
        uses.append(lambda: both.store.put("old.txt", b"new", "overwrite"))
    if method == "DELETE":
        uses = [lambda: both.store.delete("old.txt")]
    for use in uses:
        with pytest.raises(StoreUnavailable):
            use()
        assert both.contents() == {"old.txt": b"old"}


def test_status_200_is_believed_after_a_look(both: Both) -> None:
    """PUT and DELETE may be answered with 200 by a server that has done it."""

    def after(method: str, path: str, there: Response) -> Response | None:
        done = method in ("PUT", "DELETE") and there.status_code < 300
        return Response(b"", 200) if done else None

    both.between.after = after
    both.store.put("new.txt", b"new")
    both.store.delete("old.txt")
    assert both.contents() == {"new.txt": b"new"}


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, StoreDenied),
        (403, StoreDenied),
        (400, StoreError),
        (408, StoreUnavailable),
        (423, StoreUnavailable),
        (429, StoreUnavailable),
        (500, StoreUnavailable),
        (502, StoreUnavailable),
        (507, StoreFull),
    ],
)
def test_refusals(both: Both, status: int, error: type[StoreError]) -> None:
    """Every refusal is an error of its kind, and leaves no part."""
    both.between.before = answer(status, "PUT", "PROPFIND", "GET")
    for use in (
        lambda: both.store.save(upload()),
        lambda: both.store.exists("old.txt"),
        lambda: both.store.read("old.txt"),
        lambda: list(both.store.ls()),
    ):
        with pytest.raises(error) as caught:
            use()
        assert error is StoreError or isinstance(caught.value, error)
    both.between.before = answer(status, "MOVE")
    with pytest.raises(error):
        both.store.save(upload())
    assert both.private() == []


# -- reading -----------------------------------------------------------------


def without_etags(method: str, path: str, there: Response) -> Response | None:
    """The answer of a server that has none."""
    there.headers.pop("ETag", None)
    if there.status_code == 207:
        there.set_data(re.sub(rb"<(\w+:)?getetag>[^<]*<[^>]*>", b"", there.get_data()))
    return there


@pytest.mark.parametrize("etags", [True, False])
def test_opened_file_is_of_one_version(both: Both, etags: bool) -> None:
    """A file that is replaced while it is open is VersionGone, and no mixture."""
    if not etags:
        both.between.after = without_etags
    both.direct.put("a.bin", b"a" * 3_000_000)
    with both.store.open("a.bin") as file:
        assert file.read(10) == b"a" * 10
        both.direct.put("a.bin", b"b" * 2_999_999, "overwrite")
        file.seek(2_000_000)
        with pytest.raises(VersionGone):
            file.read(10)


@pytest.mark.parametrize("etags", [True, False])
@pytest.mark.parametrize("during", ["before", "after"])
def test_replaced_while_it_is_read(both: Both, etags: bool, during: str) -> None:
    """Reading gives the old version or the new one, or says VersionGone."""
    both.direct.put("a.bin", b"a" * 3_000_000)
    replaced = iter([True])

    def replace(method: str) -> None:
        if method == "GET" and next(replaced, False):
            both.direct.put("a.bin", b"b" * 2_999_999, "overwrite")

    def before(method: str, path: str) -> Response | None:
        if during == "before":
            replace(method)
        return None

    def after(method: str, path: str, there: Response) -> Response | None:
        if during == "after":
            replace(method)
        return there if etags else without_etags(method, path, there)

    both.between.before, both.between.after = before, after
    found = both.store.stat("a.bin")
    if during == "after" and not etags:
        with pytest.raises(VersionGone):
            both.store.read("a.bin")
    else:
        assert len(set(both.store.read("a.bin"))) == 1
    if (during, etags) != ("after", True):
        with pytest.raises(VersionGone):
            b"".join(both.store.stream_version(found, 10, 20))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda there: (
            there.headers.set("Content-Encoding", "gzip"),
            there.set_data(gzip.compress(there.get_data())),
        ),
        lambda there: there.set_data(there.get_data()[:-1]),
        lambda there: there.set_data(b"<html>Sign in</html>"),
        lambda there: setattr(there, "status_code", 203),
        lambda there: setattr(there, "status_code", 206),
    ],
    ids=["packed", "shorter", "page", "203", "206"],
)
def test_answer_that_is_not_the_file(
    both: Both, spoil: t.Callable[[Response], object]
) -> None:
    """The bytes are those of the file, or there is an error; a move deletes nothing."""

    def after(method: str, path: str, there: Response) -> None:
        if method == "GET":
            spoil(there)

    both.between.after = after
    elsewhere = FsspecStore.from_url(f"memory://{uuid.uuid4()}")
    for use in (
        lambda: both.store.read("old.txt"),
        lambda: both.store.open("old.txt").read(),
        lambda: elsewhere.move(both.store.file("old.txt"), "new.txt"),
    ):
        with pytest.raises(StoreUnavailable):
            use()
    assert both.contents() == {"old.txt": b"old"}


def test_name_that_the_server_would_cut(both: Both) -> None:
    """WsgiDAV takes what follows a '?' for no part of a name: the file would replace
    another one."""
    both.store.put("a", b"mine")
    for use in (
        lambda: both.store.put("a?b", b"x", on_conflict="overwrite"),
        lambda: both.store.copy("old.txt", "a?b/c.txt"),
        lambda: both.store.move("old.txt", "a?b", "overwrite"),
    ):
        with pytest.raises(InvalidName, match="without it"):
            use()
    assert both.contents() == {"a": b"mine", "old.txt": b"old"}


def test_file_stored_compressed(both: Both) -> None:
    """A coding is the file's own if its length is the one that PROPFIND gives."""

    def after(method: str, path: str, there: Response) -> None:
        if method == "GET":
            there.headers.set("Content-Encoding", "gzip")

    both.between.after = after
    fetched = both.store.fetch("old.txt")
    assert fetched is not None
    assert b"".join(fetched.body) == b"old"
    assert fetched.found.content_encoding == "gzip"
    assert b"".join(both.store.stream("old.txt", 1, 2)) == b"l"


# -- listings ----------------------------------------------------------------


def entry(path: str, inside: str = "<D:getcontentlength>3</D:getcontentlength>") -> str:
    """One entry of a listing."""
    return (
        f"<D:response><D:href>{path}</D:href><D:propstat><D:prop>{inside}</D:prop>"
        "<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
    )


COLLECTION = "<D:resourcetype><D:collection/></D:resourcetype>"


def listing(*entries: str) -> bytes:
    """A listing of these entries."""
    return f'<D:multistatus xmlns:D="DAV:">{"".join(entries)}</D:multistatus>'.encode()


@pytest.mark.parametrize("folder", ["", "b"])
@pytest.mark.parametrize(
    ("status", "entries"),
    [
        (404, "not found"),
        (200, "<html>"),
        (207, "<D:multistatus"),
        (207, "<other/>"),
        (207, ()),
        (207, ("{own}/",)),
        (207, ("{own}/a.txt",)),
        (207, ("+{own}/", "{own}/../x.txt")),
        (207, ("+{own}/", "{own}/%2e%2e")),
        (207, ("+{own}/", "/elsewhere/x.txt")),
        (207, ("+{own}/", "+{own}/c/", "{own}/c/deep.txt")),
        (207, ("+{own}/", "-{own}/a.txt")),
        (207, ("+{own}/", "?{own}/a.txt")),
    ],
)
def test_listing_that_is_not_whole(
    both: Both,
    folder: str,
    status: int,
    entries: str | tuple[str, ...],
    tmp_path: pathlib.Path,
) -> None:
    """It is an error, and sync deletes nothing for it."""
    for name in ("a/1.txt", "b/2.txt"):
        both.direct.put(name, b"abc")
    copy = FsspecStore.from_url(str(tmp_path))
    assert {found.name for found in both.store.ls()} > {"a/1.txt", "b/2.txt"}
    list(Sync(both.direct, copy, Journal(None)).run())
    own = urlsplit(both.url).path.rstrip("/") + (folder and f"/{folder}")
    kinds = {
        "+": COLLECTION,
        "-": "",
        "?": "<D:getcontentlength>many</D:getcontentlength>",
    }

    def before(method: str, path: str) -> Response | None:
        if method != "PROPFIND" or path.rstrip("/") != own:
            return None
        if isinstance(entries, str):
            return Response(entries, status)
        made = []
        for name in entries:
            kind = kinds.get(name[0])
            name = name.lstrip("+-?").format(own=own)
            made.append(entry(name) if kind is None else entry(name, kind))
        return Response(listing(*made), status)

    both.between.before = before
    with pytest.raises(StoreUnavailable):
        list(both.store.ls())
    with contextlib.suppress(StoreError):
        outcomes = list(Sync(both.store, copy, Journal(None), delete=True).run())
        assert "deleted" not in {outcome.status for outcome in outcomes}
    assert {found.name for found in copy.ls()} >= {"a/1.txt", "b/2.txt", "old.txt"}


def test_folder_that_vanishes_does_not_hide_the_rest(both: Both) -> None:
    """What is deleted while it is listed is left out."""
    for name in ("a/1.txt", "b/2.txt", "c/3.txt"):
        both.direct.put(name, b"abc")

    def before(method: str, path: str) -> None:
        if path.endswith("/b/"):
            shutil.rmtree(both.folder / "b", ignore_errors=True)

    both.between.before = before
    names = {found.name for found in both.store.ls()}
    assert names == {"a/1.txt", "c/3.txt", "old.txt"}


def test_root_that_vanishes_is_no_empty_store(both: Both) -> None:
    """A store that has no folder yet is empty; one whose folder is gone is not."""
    fresh = FsspecStore.from_url(f"{both.url}/none/yet")
    assert list(fresh.ls()) == list(fresh.ls("below")) == []
    both.between.before = answer(404, "PROPFIND")
    for prefix in ("", "below"):
        with pytest.raises(StoreUnavailable):
            list(both.store.ls(prefix))


def test_folder_with_a_slash_behind_it_is_no_file(both: Both) -> None:
    """A server that wants a slash behind folders is asked again with it; one that
    sends to a login page has no answer."""
    both.direct.put("a/1.txt", b"abc")

    def before(method: str, path: str) -> Response | None:
        if path.endswith("/"):
            return None
        return Response(b"", 301, {"Location": f"http://any.example{target or path}/"})

    both.between.before = before
    target = ""
    assert both.store.exists("a") is False
    target = "/login"
    with pytest.raises(StoreUnavailable):
        both.store.exists("a")


def test_name_that_is_not_readable_is_told(both: Both) -> None:
    """Names that cannot be asked for are counted and do not stop the listing."""
    own = urlsplit(both.url).path.rstrip("/")
    names = ("a%2Fb.txt", "c%0Ad.txt", "e%FF.txt", "fine.txt")
    made = [entry(f"{own}/", COLLECTION), *(entry(f"{own}/{name}") for name in names)]
    both.between.before = answer(207, "PROPFIND", body=listing(*made))
    found = both.store.ls()
    assert [one.name for one in found] == ["fine.txt"]
    assert len(found.unreachable) == 3


# -- limits ------------------------------------------------------------------


HEAD = b"HTTP/1.1 207 Multi\r\nContent-Length: 1000\r\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "start",
    [b"", b"HTTP/1.1 207 Multi\r\nX: ", HEAD + b"\r\n"],
    ids=["", "head", "body"],
)
def test_server_that_trickles(start: bytes) -> None:
    """Silence between the bytes is not the only way to keep a client waiting."""
    with raw(trickling(start)) as url:
        store = FsspecStore.from_url(f"webdav+{url}/x", timeout=QUICK)
        begin = time.monotonic()
        for use in (
            lambda: store.exists("a.txt"),
            lambda: list(store.ls()),
            lambda: store.save(upload()),
        ):
            with pytest.raises(StoreUnavailable):
                use()
        assert time.monotonic() - begin < LIMIT


def test_body_that_trickles(both: Both) -> None:
    """A file that comes byte by byte is given up, however it is read."""

    def before(method: str, path: str) -> Response | None:
        def slowly() -> t.Iterator[bytes]:
            while True:
                yield b"x"
                time.sleep(0.1)

        if method != "GET":
            return None
        return Response(slowly(), headers={"Content-Length": "1000"})

    both.between.before = before
    both.direct.put("old.txt", b"x" * 1000, "overwrite")
    store = FsspecStore.from_url(both.url, timeout=QUICK)
    begin = time.monotonic()
    for use in (lambda: store.read("old.txt"), lambda: list(store.stream("old.txt"))):
        with pytest.raises(StoreUnavailable):
            use()
    assert time.monotonic() - begin < LIMIT


@pytest.mark.slow
def test_slow_reader_is_no_slow_server(both: Both) -> None:
    """Who takes their time with what has arrived is not given up."""
    both.direct.put("a.bin", b"a" * 3_000_000)
    store = FsspecStore.from_url(both.url, timeout=QUICK)
    size = 0
    for piece in store.stream("a.bin"):
        size += len(piece)
        time.sleep(2 * QUICK)
    assert size == 3_000_000


def test_silent_server_is_not_asked_again(both: Both) -> None:
    """A MOVE that nobody answers is the last request of a save."""
    answering = threading.Event()
    store = FsspecStore.from_url(both.url, timeout=QUICK)
    store.save(upload(filename="warm.txt"))

    def before(method: str, path: str) -> None:
        if method == "MOVE":
            both.between.asked.clear()
            answering.wait(LIMIT)

    both.between.before = before
    with pytest.raises(StoreUnavailable):
        store.save(upload())
    asked = list(both.between.asked)
    answering.set()
    assert asked == []


# -- what one fault may cost -------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("number", range(14))
@pytest.mark.parametrize("when", ["before", "after"])
def test_one_fault_does_not_decide_for_ever(both: Both, number: int, when: str) -> None:
    """Whatever fails in the first save of a process, the next one has its name, and
    nothing private is left but perhaps a lock."""
    store = both.again()
    left = iter(range(number + 1))

    hit = ""

    def fault(method: str, *_: object) -> Response | None:
        nonlocal hit
        if next(left, None) != number:
            return None
        hit = method
        return Response(b"", 503)

    if when == "before":
        both.between.before = fault
    else:
        both.between.after = fault
    with contextlib.suppress(StoreUnavailable):
        store.save(upload(filename="a.txt"))
    assert store.put("b.txt", b"b").filename == "b.txt"
    assert store.save(upload(filename="c.txt")).filename == "c.txt"
    parts = [name for name in both.private() if name.endswith(".part")]
    assert parts == [] or (hit == "DELETE" and len(parts) == 1)


def lose_lock(both: Both) -> str:
    """Let the answer to the next MKCOL be lost, and tell what it made."""

    def after(method: str, path: str, there: Response) -> Response | None:
        return Response(b"", 504) if method == "MKCOL" else None

    both.between.after = after
    with pytest.raises(StoreUnavailable):
        both.store.put("invoice.pdf", b"1")
    both.between.after = lambda *_: None
    (lock,) = both.private()
    return lock


def grow_old(both: Both, lock: str) -> None:
    """Let a lock be older than any save."""
    long_ago = time.time() - 3600
    os.utime(both.folder / ".flask-store" / lock, (long_ago, long_ago))


@pytest.mark.slow
def test_lost_lock_is_taken_over(both: Both) -> None:
    """A name whose lock nobody holds is free again when the lock is old enough."""
    lock = lose_lock(both)
    with pytest.raises(StoreUnavailable, match="Try again in 32 s"):
        both.store.put("invoice.pdf", b"1")
    assert both.again().save(upload(filename="invoice.pdf")).filename != "invoice.pdf"
    grow_old(both, lock)
    assert both.store.put("invoice.pdf", b"1").filename == "invoice.pdf"
    with pytest.raises(FileExists):
        both.store.put("invoice.pdf", b"2")
    assert both.private() == []


@pytest.mark.slow
def test_upload_in_the_background_waits_for_a_lost_lock(
    both: Both, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again until the lock is old enough, and says meanwhile what it waits
    for."""
    monkeypatch.setattr(worker, "FIRST_PAUSE", 0.005)
    monkeypatch.setattr(worker, "LONGEST_PAUSE", 0.05)
    store = FsspecStore.from_config(
        {
            "STORE_PATH": both.url,
            "STORE_BACKGROUND": True,
            "STORE_SPOOL_PATH": str(tmp_path / "spool"),
        }
    )
    first = store.save(upload(b"first")).upload
    assert first is not None and first.wait(30)

    def after(method: str, path: str, there: Response) -> Response | None:
        return Response(b"", 504) if method == "MKCOL" else None

    both.between.after = after
    file = store.save(upload(b"kept", "invoice.pdf"))
    waiting = file.upload
    assert waiting is not None
    wait_for(lambda: waiting.attempts)
    both.between.after = lambda *_: None
    reason = "is being saved by another process"
    wait_for(lambda: any(reason in str(entry.cause) for entry in store.pending()))
    (lock,) = (name for name in both.private() if not name.endswith(".part"))
    grow_old(both, lock)
    assert waiting.wait(30)
    assert both.store.read(str(file)) == b"kept"
    assert both.private() == []


def test_lock_of_a_dead_heir_is_taken_over(both: Both) -> None:
    """Who dies while they take over a lock leaves one that is taken over too."""
    lock = lose_lock(both)
    for name in (lock, f"{lock}~"):
        (both.folder / ".flask-store" / name).mkdir(exist_ok=True)
        grow_old(both, name)
    assert both.store.put("invoice.pdf", b"1").filename == "invoice.pdf"
    assert both.private() == []


@pytest.mark.slow
def test_one_heir_only(both: Both) -> None:
    """Many that find an old lock at the same moment give the name once."""
    lock = lose_lock(both)
    grow_old(both, lock)
    stores = [FsspecStore.from_url(both.url) for _ in range(8)]
    ready = threading.Barrier(len(stores))

    def save(store: FsspecStore) -> str:
        ready.wait()
        return store.save(upload(filename="invoice.pdf")).filename

    with ThreadPoolExecutor(len(stores)) as pool:
        names = list(pool.map(save, stores))
    assert names.count("invoice.pdf") == 1
    assert len(set(names)) == len(stores)
    assert set(both.contents()) == {*names, "old.txt"}
