"""``http://``: nginx, and servers that answer as none should."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import tempfile
import threading
import time
import typing as t

import pytest
from flask import Flask
from werkzeug import Request
from werkzeug import Response

from flask_store import Store
from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import StoreDenied
from flask_store.exceptions import StoreError
from flask_store.exceptions import StoreUnavailable
from flask_store.exceptions import VersionGone
from flask_store.stores.fsspec import FsspecStore
from flask_store.sync import Journal
from flask_store.sync import Sync
from flask_store.testing import FILES
from flask_store.testing import ReaderContract
from tests.storages.test_chained import zipped
from tests.support.nginx_and_chromium import nginx
from tests.support.nginx_and_chromium import proxied
from tests.support.server_contract import started
from tests.support.servers import serve

#: What a silent or slow server may cost in these tests, in seconds.
LIMIT = 10
QUICK = 0.5

LOCATIONS = """
location /files/ {{
    root {folder};
    autoindex on;
    auth_basic off;
}}
location /private/ {{
    root {folder};
    autoindex on;
    auth_basic "Who are you?";
    auth_basic_user_file {folder}/users;
}}
"""


def write(folder: pathlib.Path, files: t.Mapping[str, bytes]) -> None:
    """Put files on the disk."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


@pytest.fixture(scope="module")
def nginx_site() -> t.Iterator[tuple[str, pathlib.Path]]:
    """nginx with an index of each folder, and what it serves."""
    with tempfile.TemporaryDirectory(prefix="flask-store-") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        write(folder / "files", FILES)
        write(folder / "private", FILES)
        (folder / "users").write_text("somebody:{PLAIN}pass#/word\n")
        locations = LOCATIONS.format(folder=folder)
        with started(lambda: nginx(proxied("http://127.0.0.1:9"), locations)) as url:
            yield url, folder


class TestNginx(ReaderContract):
    """The files of nginx, by its index."""

    @pytest.fixture
    def config(self, nginx_site: tuple[str, pathlib.Path]) -> dict[str, t.Any]:
        return {"STORE_PATH": f"{nginx_site[0]}/files"}


class TestNginxWithPassword(ReaderContract):
    """The same behind a password, which is shown nowhere."""

    @pytest.fixture
    def config(self, nginx_site: tuple[str, pathlib.Path]) -> dict[str, t.Any]:
        url = nginx_site[0].replace("://", "://somebody:pass%23%2Fword@")
        return {"STORE_PATH": f"{url}/private?token=quite%20secret"}

    def test_neither_password_nor_query_is_shown(
        self, config: dict[str, t.Any]
    ) -> None:
        """Not in addresses, representations, messages, pages or headers."""
        app = Flask(__name__)
        app.config.update(config, SECRET_KEY="key")
        store = Store(app)
        with app.app_context():
            provider = store.Provider()
            f = provider.file("a.txt")
            shown = [repr(provider), repr(f), provider.uri, f.uri, f.absolute_url()]
            shown += [f.signed_url(), provider.absolute_path("a.txt")]
            shown += [repr(provider.ls()), repr(f.stat())]
            for use in (provider.delete, provider.stat, provider.read):
                with pytest.raises(StoreError) as caught:
                    use("no.txt")
                shown += [str(caught.value), str(caught.value.__cause__)]
        reply = app.test_client().get("/flaskstore/a.txt")
        assert reply.data == FILES["a.txt"]
        shown += [str(reply.headers)]
        for text in shown:
            for secret in ("word", "somebody", "secret"):
                assert secret not in text

    def test_refused_login_is_no_answer(self, config: dict[str, t.Any]) -> None:
        """exists() and ls() with a wrong password are errors."""
        wrong = config["STORE_PATH"].replace("word@", "other@")
        store = FsspecStore.from_url(wrong)
        for use in (lambda: store.exists("a.txt"), lambda: list(store.ls())):
            with pytest.raises(StoreDenied, match="password"):
                use()


def test_archive_on_a_web_server() -> None:
    """The query of a signed address goes along, and is not shown."""
    asked: list[str] = []

    def app(environ: t.Any, start: t.Any) -> t.Any:
        asked.append(environ["REQUEST_URI"])
        response = Response(zipped(FILES))
        response.set_etag("1")
        response.make_conditional(Request(environ), True, len(response.get_data()))
        return response(environ, start)

    with serve(app) as url:
        store = FsspecStore.from_url(f"zip::{url}/x/a%20b.zip?key=hidden/word")
        assert store.read("a.txt") == FILES["a.txt"]
        assert "hidden" not in repr(store) + store.file("a.txt").uri
    assert set(asked) == {"/x/a%20b.zip?key=hidden/word"}


def test_names_do_not_leave_the_folder() -> None:
    """What a key has of a URL's own characters reaches the server as a name."""
    asked: list[str] = []

    def app(environ: t.Any, start: t.Any) -> t.Any:
        asked.append(environ["REQUEST_URI"])
        return Response(b"data")(environ, start)

    with serve(app) as url:
        store = FsspecStore.from_url(f"{url}/public%20files/")
        names = ["%2e%2e/x", "..%2fx", "a?b=c", "a#b", "%252e%252e/x", "a;b", "ü /&+"]
        for name in names:
            assert store.file(name).read() == b"data"
            assert store.exists(name)
    assert all(path.startswith("/public%20files/") for path in asked)
    assert not any(set(path) & set("?#") for path in asked)
    assert "/public%20files/%252e%252e/x" in asked
    assert "/public%20files/a%3Fb%3Dc" in asked


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, StoreDenied),
        (403, StoreDenied),
        (404, None),
        (410, None),
        (408, StoreUnavailable),
        (429, StoreUnavailable),
        (500, StoreUnavailable),
        (503, StoreUnavailable),
        (204, StoreUnavailable),
        (302, StoreUnavailable),
    ],
)
def test_only_missing_files_do_not_exist(
    status: int, error: type[Exception] | None
) -> None:
    """exists() is False when the server says so; everything else is an error."""
    headers = {"Location": "https://elsewhere.example/login?key=hidden"}
    with serve(Response(b"", status, headers)) as url:
        store = FsspecStore.from_url(url)
        if error is None:
            assert store.exists("a.txt") is False
            return
        for use in (store.exists, store.read, lambda name: store.open(name).read()):
            with pytest.raises(error) as caught:
                use("a.txt")
            assert "hidden" not in str(caught.value)
        with pytest.raises(error):
            list(store.ls())


def test_dead_server_is_no_answer() -> None:
    """Nobody there is not an empty folder."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    store = FsspecStore.from_url(url)
    for use in (lambda: store.exists("a"), lambda: list(store.ls())):
        with pytest.raises(StoreUnavailable):
            use()


@contextlib.contextmanager
def raw(answer: t.Callable[[socket.socket], None]) -> t.Iterator[str]:
    """A server that answers every connection with a function."""

    def accept() -> None:
        while True:
            try:
                sock, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve_one, args=(sock,), daemon=True).start()

    def serve_one(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            sock.recv(65536)
            answer(sock)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def trickling(start: bytes) -> t.Callable[[socket.socket], None]:
    """An answer that goes on with a byte every tenth of a second."""

    def answer(sock: socket.socket) -> None:
        sock.sendall(start)
        while True:
            sock.sendall(b"x")
            time.sleep(0.1)

    return answer


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1000\r\n"


@pytest.mark.parametrize(
    "start", [b"", b"HTTP/1.1 200 OK\r\nX: ", HEAD + b"\r\n"], ids=["", "head", "body"]
)
def test_server_that_trickles(start: bytes) -> None:
    """Silence between the bytes is not the only way to keep a client waiting."""
    with raw(trickling(start)) as url:
        store = FsspecStore.from_url(url, timeout=QUICK)
        begin = time.monotonic()
        for use in (lambda: store.read("a.txt"), lambda: list(store.ls())):
            with pytest.raises(StoreUnavailable):
                use()
        assert time.monotonic() - begin < LIMIT


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + b"\r\n" + b"x" * 999,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 1000,
        HEAD + b"Content-Encoding: gzip\r\n\r\n" + b"x" * 1000,
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 206 Partial\r\nContent-Length: 2\r\n\r\nxx",
    ],
    ids=["cut", "no length", "packed", "cut head", "part"],
)
def test_answer_that_is_not_the_file(answer: bytes) -> None:
    """A body is whole, of known length and as it is stored."""
    with raw(lambda sock: sock.sendall(answer)) as url:
        store = FsspecStore.from_url(url)
        for use in (
            lambda: store.read("a.txt"),
            lambda: store.open("a.txt").read(),
            lambda: list(store.stream("a.txt", 5, 10)),
            lambda: list(store.ls()),
        ):
            with pytest.raises(StoreUnavailable):
                use()


class Versions:
    """A server that has a new version for each request, and can serve ranges.

    :param etags: whether it tells versions apart by ETags, or by dates only.
    """

    def __init__(self, etags: bool, ranges: bool) -> None:
        self.etags, self.ranges = etags, ranges
        self.number = 0

    def __call__(self, environ: t.Any, start: t.Any) -> t.Any:
        self.number += 1
        data = bytes([65 + self.number % 26]) * 3_000_000
        request, response = Request(environ), Response(data)
        response.last_modified = 1_000_000_000 + self.number  # type: ignore[assignment]
        if self.etags:
            response.set_etag(str(self.number))
        if self.ranges:
            response.make_conditional(request, True, len(data))
        return response(environ, start)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("etags", [True, False])
def test_replaced_while_it_is_read(etags: bool, ranges: bool) -> None:
    """One version or VersionGone, however the file is read."""
    with serve(Versions(etags, ranges)) as url:
        store = FsspecStore.from_url(url)
        assert len(set(store.read("a.bin"))) == 1
        with pytest.raises(VersionGone):
            b"".join(store.stream_version(store.stat("a.bin"), 10, 20))
        with store.open("a.bin") as file:
            assert file.read(10)
            file.seek(2_000_000)
            with pytest.raises(VersionGone):
                file.read(10)


def test_part_behind_the_end(nginx_site: tuple[str, pathlib.Path]) -> None:
    """A range that the file does not have is empty."""
    store = FsspecStore.from_url(f"{nginx_site[0]}/files")
    assert b"".join(store.stream("a.txt", 100)) == b""
    assert b"".join(store.stream("sibling/of/folder", 0, 5)) == b""


def page(*links: str, title: str = "Index") -> Response:
    """A page that links to something."""
    anchors = "".join(f'<p><a class=x href="{link}">{link}</a>' for link in links)
    text = f"<html><title>{title}</title>{anchors}</html>"
    return Response(text, mimetype="text/html")


def pages(answers: t.Mapping[str, Response]) -> t.Any:
    """A server of these pages; every other file has three bytes."""

    @Request.application
    def app(request: Request) -> Response:
        other = Response(b"abc", 404 if request.path.endswith("/") else 200)
        return answers.get(request.path, other)

    return app


def test_listing_of_links() -> None:
    """Names below the folder, each once; what leads elsewhere is none of it."""
    links = ("?C=N;O=D", "../", "/", "/top/", "//evil.example/top/x", "a%20b.txt")
    links += ("/top/a%20b.txt", "sub/", "mailto:x@y", "#x", "sub/deep.txt", "c&amp;d")
    links += ("../elsewhere.txt", "http://[", "x%2Fy", "gone", "secret/../e.txt")
    answers = {
        "/top/": page(*links),
        "/top/sub/": page("deep.txt", "empty/", "./"),
        "/top/sub/empty/": page("../", title="Index of /top/sub/empty/"),
        "/top/gone": Response(b"", 404),
    }
    with serve(pages(answers)) as url:
        listing = FsspecStore.from_url(f"{url}/top").ls()
        found = {found.name: found.size for found in listing}
        assert found == dict.fromkeys(["a b.txt", "c&d", "e.txt", "sub/deep.txt"], 3)
        assert {entry.name for entry in listing.unreachable} == {"x\\y", "gone"}


@pytest.mark.parametrize(
    "answer",
    [
        page("/login"),
        page(),
        Response(b"{}", mimetype="application/json"),
        Response(b"", 404),
        Response(b"", 500),
        Response(b"", 302, {"Location": "/login"}),
    ],
    ids=["login", "empty", "json", "404", "500", "redirect"],
)
@pytest.mark.parametrize("path", ["/top/", "/top/sub/"])
def test_listing_that_is_not_whole(
    path: str, answer: Response, tmp_path: pathlib.Path
) -> None:
    """A folder without a list of its own is not empty: nothing is deleted for it."""
    answers = {"/top/": page("a.txt", "sub/"), "/top/sub/": page("b.txt")}
    here = FsspecStore.from_url(str(tmp_path))
    with serve(pages(answers)) as url:
        list(Sync(FsspecStore.from_url(f"{url}/top"), here, Journal(None)).run())
    assert {found.name for found in here.ls()} == {"a.txt", "sub/b.txt"}
    with serve(pages({**answers, path: answer})) as url:
        there = FsspecStore.from_url(f"{url}/top")
        with contextlib.suppress(StoreError):
            outcomes = list(Sync(there, here, Journal(None), delete=True).run())
            assert {outcome.status for outcome in outcomes} == {"present", "failed"}
    assert {found.name for found in here.ls()} == {"a.txt", "sub/b.txt"}


@pytest.mark.parametrize("url", ["http://", "https:///x", "http://h:x/", "http://h/#a"])
def test_url_names_a_folder(url: str) -> None:
    """A URL that cannot be the address of a folder shows the right form."""
    with pytest.raises(NotConfiguredError, match="https://host/folder"):
        FsspecStore.from_url(url)
