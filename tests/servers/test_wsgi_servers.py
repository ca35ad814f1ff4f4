"""What people do with a store, behind the servers that they run Flask on.

One application (:mod:`tests.support.wsgi_app`), one list of servers
(:mod:`tests.support.wsgi_servers`), and the table in docs/serving.rst is made of what
these tests have shown.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import itertools
import json
import os
import pathlib
import random
import select
import socket
import time
import typing as t
import uuid

import pytest
from PIL import Image

from tests.conftest import missing
from tests.support import servers_table
from tests.support import serving_cases
from tests.support.servers import NotInstalledError
from tests.support.serving_cases import Case
from tests.support.serving_cases import CASES
from tests.support.serving_cases import Known
from tests.support.wsgi_servers import Server
from tests.support.wsgi_servers import SERVERS
from tests.support.wsgi_servers import wsgi_server

SIZE = 500_001
DATA = random.Random(7).randbytes(SIZE)
#: More than the sockets of both sides and the server hold.
LARGE = 4_000_000
#: What would be the next answer on the connection if it was sent.
PLANTED = "HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\n\\r\\nbad"


class Running(t.NamedTuple):
    """A server, its address and the folder that its application serves."""

    name: str
    kind: Server
    address: tuple[str, int]
    folder: pathlib.Path

    def connect(self) -> http.client.HTTPConnection:
        """A connection, which a server that wants to may keep."""
        return http.client.HTTPConnection(*self.address, timeout=20)

    def check_refused(self, response: tuple[int, bytes] | None, status: int) -> bytes:
        """Look at the response to a body that was not read, and return its body."""
        if not self.kind.resets:
            assert response is not None, "the connection ended without a response"
        if response is None or (self.kind.front and response[0] == 502):
            return b""
        assert response[0] == status
        return response[1]

    def check_no_length(
        self, method: str, path: str, body: bytes, headers: t.Mapping[str, str]
    ) -> None:
        """Send a body in chunks where the application refuses that, and look whether
        it says what to do."""
        with Talk(self.address) as talk:
            talk.request(method, path, body, headers, chunked=True)
            said = self.check_refused(talk.response(), 411)
        assert not said or b"Content-Length" in said


@pytest.fixture(scope="module", params=SERVERS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[Running]:
    """Each of the servers."""
    root = tmp_path_factory.mktemp("served")
    folder = root / "files"
    folder.mkdir()
    name = request.param
    try:
        with wsgi_server(name, str(root)) as address:
            yield Running(name, SERVERS[name], address, folder)
    except NotInstalledError as error:
        missing(str(error))


@pytest.fixture
def client(server: Running) -> t.Iterator[http.client.HTTPConnection]:
    """One connection."""
    with contextlib.closing(server.connect()) as connection:
        yield connection


@pytest.fixture
def shows(
    request: pytest.FixtureRequest, server: Running
) -> t.Callable[[str, str], None]:
    """Say which cell of the table in docs/serving.rst a test fills, and with what."""

    def said(column: str, answer: str = "") -> None:
        cell = [server.name, column, answer]
        request.node.user_properties.append((servers_table.PROPERTY, cell))

    return said


class Reply(t.NamedTuple):
    """A response, as far as its headers say that it goes."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


def ask(
    client: http.client.HTTPConnection,
    method: str,
    path: str,
    body: t.Any = None,
    headers: t.Mapping[str, str] | None = None,
    chunked: bool = False,
) -> Reply:
    """The response to a request.

    :param chunked: send the body in chunks of 100 kB, without a length.
    """
    kept = client.sock is not None
    pieces = [body[n : n + 100_000] for n in range(0, len(body or ""), 100_000)]
    sent = iter(pieces) if chunked else body
    try:
        client.request(method, path, sent, dict(headers or {}), encode_chunked=chunked)
        response = client.getresponse()
    except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
        if not kept:
            raise
        # uWSGI closes a connection after each response and does not say so.
        client.close()
        return ask(client, method, path, body, headers, chunked)
    return Reply(response.status, response.headers, response.read())


def form(file: bytes, fields: t.Mapping[str, str], name: str) -> tuple[bytes, t.Any]:
    """A form and its headers.

    :param name: of the field and of the file.
    """
    lines = [
        f'--limit\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in fields.items()
    ]
    head = (
        f'--limit\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"'
    )
    body = f"{''.join(lines)}{head}\r\n\r\n".encode() + file + b"\r\n--limit--\r\n"
    return body, {"Content-Type": "multipart/form-data; boundary=limit"}


def stored(server: Running) -> set[str]:
    """The files of the store, those included that no name shows."""
    return {name for _, _, names in os.walk(server.folder) for name in names}


# -- files -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def known(server: Running) -> Known:
    """What the first answer says of the file 'photo.jpg'."""
    path = server.folder / "photo.jpg"
    path.write_bytes(serving_cases.DATA)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    with contextlib.closing(server.connect()) as client:
        reply = ask(client, "GET", "/flaskstore/photo.jpg")
    return Known(reply.headers["ETag"], reply.headers["Last-Modified"])


#: Where the files are read, and for how long they may be kept.
WAYS = {
    "/flaskstore": "no-cache",
    "/flaskstore-members": "private, no-cache",
    "/view": "private, no-cache",
}

#: Where nginx, which sends the file then, has an answer of its own.
OF_NGINX = {
    "range of HEAD is ignored": 206,
    "several ranges": 206,
    "many ranges": 206,
    "backward range": 416,
    "no range at all": 416,
    "If-Match goes before the date": 412,
}


def test_table(
    server: Running,
    client: http.client.HTTPConnection,
    known: Known,
    shows: t.Callable[..., None],
) -> None:
    """Every request has the status, the headers and the bytes that RFC 9110 says, on
    one connection if the server keeps it: by the route, by that of a store with
    authorize, and by a view with response()."""
    for case, (prefix, caching) in itertools.product(CASES, WAYS.items()):
        headers = {**case.sent(known), "X-Member": "yes"}
        reply = ask(client, case.method, f"{prefix}/photo.jpg", headers=headers)
        if server.kind.accel:
            check_accel(case, reply, caching)
        else:
            case.check(known, *reply, caching)
    shows("Files", str(len(CASES)))


def check_accel(case: Case, reply: Reply, caching: str) -> None:
    """Compare a response with what it has to be where nginx sends the file."""
    assert reply.status == OF_NGINX.get(case.name, case.status), case
    if reply.status in (200, 206):
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Cache-Control"] == caching
    if reply.status == case.status and reply.status in (200, 206):
        assert reply.body == case.body, case


@pytest.mark.parametrize("prefix", ["/flaskstore-members", "/view"])
def test_nobody_else(
    server: Running, client: http.client.HTTPConnection, known: Known, prefix: str
) -> None:
    """Whoever is no member gets no byte, and cannot tell a file from none."""
    asked = ({}, {"Range": "bytes=0-9"}, {"If-None-Match": known.etag})
    replies = [
        ask(client, "GET", f"{prefix}/{name}", headers=headers)
        for name in ("photo.jpg", "none.jpg")
        for headers in asked
    ]
    assert {reply.status for reply in replies} == {403}
    assert len({reply.body for reply in replies}) == 1
    assert all("ETag" not in reply.headers for reply in replies)
    member = {"X-Member": "yes"}
    assert ask(client, "GET", f"{prefix}/none.jpg", headers=member).status == 404


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=123456-", 123456, SIZE),
        ("bytes=-1000", SIZE - 1000, SIZE),
        ("bytes=1-9", 1, 10),
        ("bytes=0-", 0, SIZE),
        ("bytes=500000-", SIZE - 1, SIZE),
        (None, 0, SIZE),
    ],
)
def test_range(
    server: Running,
    client: http.client.HTTPConnection,
    asked: str | None,
    start: int,
    stop: int,
    shows: t.Callable[..., None],
) -> None:
    """The bytes of a larger file are those of the range, and the connection is good for
    the next request."""
    shows("Large files")
    (server.folder / "a.bin").write_bytes(DATA)
    (server.folder / "empty.bin").write_bytes(b"")
    headers = {"Range": asked} if asked else {}
    for _ in range(2):
        reply = ask(client, "GET", "/flaskstore/a.bin", headers=headers)
        assert reply.status == (206 if asked else 200)
        assert reply.headers["Content-Length"] == str(stop - start)
        assert reply.body == DATA[start:stop]
    assert ask(client, "GET", "/flaskstore/empty.bin").body == b""
    assert ask(client, "GET", "/flaskstore/none.bin").status == 404


@pytest.mark.parametrize("asked", [None, "bytes=0-", "bytes=400000-", "bytes=-7"])
def test_file_that_grows(
    server: Running,
    client: http.client.HTTPConnection,
    asked: str | None,
    shows: t.Callable[..., None],
) -> None:
    """What is appended while a file is served is not sent: it could be the answer to
    the next request on the connection."""
    shows("Changed files")
    if server.kind.accel:
        pytest.skip("nginx opens the file after the application has answered")
    (server.folder / "a.bin").write_bytes(DATA)
    start = {None: 0, "bytes=0-": 0, "bytes=400000-": 400_000}.get(asked, SIZE - 7)
    headers = {"Range": asked} if asked else {}
    reply = ask(
        client, "GET", "/flaskstore/a.bin", headers={**headers, "X-Append": PLANTED}
    )
    assert reply.body == DATA[start:]
    assert (server.folder / "a.bin").stat().st_size > SIZE
    reply = ask(client, "GET", "/flaskstore/none.bin")
    assert reply.status == 404 and reply.body != b"bad"


@pytest.mark.parametrize("asked", ["", "Range: bytes=250000-\r\n"])
def test_every_byte_of_the_connection(
    server: Running, asked: str, shows: t.Callable[..., None]
) -> None:
    """Nothing follows an answer whose connection is to be closed."""
    shows("Changed files")
    if server.kind.accel:
        pytest.skip("nginx opens the file after the application has answered")
    (server.folder / "a.bin").write_bytes(DATA)
    with socket.create_connection(server.address, timeout=20) as client:
        client.sendall(
            f"GET /flaskstore/a.bin HTTP/1.1\r\nHost: x\r\n{asked}"
            f"X-Append: {PLANTED}\r\nConnection: close\r\n\r\n".encode()
        )
        received = b"".join(iter(lambda: client.recv(65536), b""))
    assert received.partition(b"\r\n\r\n")[2] == DATA[250_000 if asked else 0 :]


@pytest.mark.parametrize("asked", [None, "bytes=1000-"])
def test_file_that_shrinks(
    server: Running, asked: str | None, shows: t.Callable[..., None]
) -> None:
    """What is cut off while a file is served ends the connection: the client sees that
    bytes are missing, and nothing else comes in their place."""
    shows("Changed files")
    if server.kind.accel:
        pytest.skip("nginx opens the file after the application has answered")
    path = server.folder / "large.bin"
    with path.open("wb") as file:
        file.truncate(LARGE)
    headers = {"X-Truncate": "500000", **({"Range": asked} if asked else {})}
    with contextlib.closing(server.connect()) as client:
        client.request("GET", "/flaskstore/large.bin", headers=headers)
        response = client.getresponse()
        assert response.status == (206 if asked else 200)
        if response.headers["Content-Length"] == "500000":
            assert server.name == "waitress"  # it asks the file once more
            assert len(response.read()) == 500_000
        else:
            with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
                response.read()
    with contextlib.closing(server.connect()) as client:
        assert ask(client, "GET", "/flaskstore/none.bin").status == 404


def test_variant(
    server: Running,
    client: http.client.HTTPConnection,
    tmp_path: pathlib.Path,
    shows: t.Callable[..., None],
) -> None:
    """A variant is made by another process of the right Python, and served."""
    shows("Variants")
    Image.linear_gradient("L").save(tmp_path / "picture.jpg")
    (tmp_path / "picture.jpg").rename(server.folder / "picture.jpg")
    replies = [
        ask(client, method, "/flaskstore-variants/thumb/picture.jpg")
        for method in ("GET", "GET", "HEAD")
    ]
    assert [reply.status for reply in replies] == [200, 200, 200]
    assert {reply.headers["ETag"] for reply in replies} == {replies[0].headers["ETag"]}
    assert {reply.headers["Content-Type"] for reply in replies} == {"image/png"}
    assert [reply.body for reply in replies] == [replies[0].body, replies[0].body, b""]
    assert Image.open(io.BytesIO(replies[0].body)).size == (40, 40)


# -- links -----------------------------------------------------------------------


def test_link(
    server: Running, client: http.client.HTTPConnection, shows: t.Callable[..., None]
) -> None:
    """A signed link arrives at the application as it was made, and is checked."""
    shows("Links")
    (server.folder / "ü b.bin").write_bytes(DATA)
    link = ask(client, "GET", "/link/%C3%BC%20b.bin").body.decode()
    for method in ("GET", "HEAD", "GET"):
        reply = ask(client, method, link)
        assert reply.status == 200
        assert reply.body == (DATA if method == "GET" else b"")
        assert reply.headers["Content-Length"] == str(SIZE)
        assert "%C3%BC.bin" in reply.headers["Content-Disposition"]
    for bad in (link.replace("ex", "EX"), link.replace("%20b", "%20c")):
        assert ask(client, "GET", bad).status in (403, 404)


# -- uploads ---------------------------------------------------------------------


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [3, 2_000_000])
def test_quick_start(
    server: Running,
    client: http.client.HTTPConnection,
    size: int,
    chunked: bool,
    shows: t.Callable[..., None],
) -> None:
    """The application of the quick start takes a form, and gives an address of it,
    below the path at which it is mounted."""
    takes = server.kind.takes_chunks or not chunked
    column = "Form in chunks" if chunked else "Form"
    shows(column, "" if takes else "411")
    data = os.urandom(size)
    body, headers = form(data, {}, "afile")
    if not takes:
        server.check_no_length("POST", "/quickstart/upload", body, headers)
        return
    reply = ask(client, "POST", "/quickstart/upload", body, headers, chunked)
    assert reply.status == 200
    assert reply.body.startswith(b"/quickstart/flaskstore/afile")
    with contextlib.closing(server.connect()) as other:
        assert ask(other, "GET", reply.body.decode()).body == data


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("way", ["stream", "input", "data", "limited/stream"])
def test_body(
    server: Running,
    client: http.client.HTTPConnection,
    way: str,
    chunked: bool,
    shows: t.Callable[..., None],
) -> None:
    """A body that is the file is stored as it is, or refused; never stored in part or
    empty. The connection is good for the next request, or closed."""
    takes = server.kind.takes_chunks or not chunked
    shows("Body in chunks" if chunked else "Body", "" if takes else "411")
    for size in (0, 3, 1_000_000):
        data, name = os.urandom(size), f"{uuid.uuid4()}.bin"
        if takes:
            reply = ask(client, "PUT", f"/{way}/{name}", data, chunked=chunked)
            assert reply.status == 201, reply.body
            assert (server.folder / name).read_bytes() == data
            assert ask(client, "GET", "/flaskstore/none.bin").status == 404
        else:
            server.check_no_length("PUT", f"/{way}/{name}", data, {})
            assert name not in stored(server)


@pytest.mark.parametrize("way", ["stream", "data"])
def test_empty_body(
    server: Running,
    client: http.client.HTTPConnection,
    way: str,
    shows: t.Callable[..., None],
) -> None:
    """A body that nobody announces is an empty file."""
    shows("Body")
    name = f"{uuid.uuid4()}.bin"
    client.putrequest("PUT", f"/{way}/{name}")
    client.endheaders()
    assert client.getresponse().status == 201
    assert (server.folder / name).read_bytes() == b""


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("way", ["stream", "limited/stream", "form"])
def test_client_that_hangs_up(
    server: Running, way: str, chunked: bool, shows: t.Callable[..., None]
) -> None:
    """Of a body that ends too early nothing is stored, and the next one is."""
    shows("Cut off")
    name = f"{uuid.uuid4()}.bin"
    data, headers = form(bytes(1_000_000), {}, name)
    path = "/form" if way == "form" else f"/{way}/{name}"
    method = "POST" if way == "form" else "PUT"
    lines = [f"{method} {path} HTTP/1.1", "Host: x"]
    lines += [f"{header}: {value}" for header, value in headers.items()]
    lines += ["Transfer-Encoding: chunked"] if chunked else []
    lines += [] if chunked else [f"Content-Length: {len(data)}"]
    piece = data[:300_000]
    if chunked:
        piece = b"%x\r\n%s\r\n" % (len(piece), piece)
    with socket.create_connection(server.address, timeout=20) as client:
        client.sendall("\r\n".join([*lines, "", ""]).encode() + piece)
    with contextlib.closing(server.connect()) as other:
        assert ask(other, "PUT", f"/stream/after-{name}", b"x").status == 201
    # Another thread, process or greenlet may still be at it.
    deadline = time.monotonic() + 60
    while private(server) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not private(server)
    assert name not in stored(server)


def private(server: Running) -> set[str]:
    """The unfinished uploads of the store. Beside them is the folder of variants."""
    folder = server.folder / ".flask-store"
    return {path.name for path in folder.glob("*") if not path.is_dir()}


# -- direct uploads --------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "chunked"), [(3, False), (1_500_000, False), (1_500_000, True)]
)
def test_direct_upload(
    server: Running,
    client: http.client.HTTPConnection,
    size: int,
    chunked: bool,
    shows: t.Callable[..., None],
) -> None:
    """A form with a token is taken through the application and confirmed. One whose
    length the server does not say is refused."""
    takes = server.kind.measures_chunks or not chunked
    column = "Direct in chunks" if chunked else "Direct upload"
    shows(column, "" if takes else "411")
    told = json.loads(ask(client, "GET", "/new").body)
    data = os.urandom(size)
    body, headers = form(data, told["fields"], "file")
    confirm = f"/confirm/{told['token']}"
    with contextlib.closing(server.connect()) as other:
        if takes:
            reply = ask(client, "POST", told["url"], body, headers, chunked)
            assert reply.status == 204
            reply = ask(other, "POST", confirm)
            assert ask(other, "GET", reply.body.decode()).body == data
            assert ask(other, "POST", confirm).status == 403
        else:
            server.check_no_length("POST", told["url"], body, headers)
            assert ask(other, "POST", confirm).status == 404


@pytest.mark.parametrize("chunked", [False, True])
def test_resumable_upload(
    server: Running,
    client: http.client.HTTPConnection,
    chunked: bool,
    shows: t.Callable[..., None],
) -> None:
    """A client hangs up in the middle. What the server has passed on is stored, and the
    upload goes on from there."""
    takes = server.kind.takes_chunks or not chunked
    shows("Resumable", "" if takes else "411")
    data = os.urandom(1_500_000)
    told = json.loads(ask(client, "GET", "/new").body)
    url, tus = told["resumable"], {"Tus-Resumable": "1.0.0"}
    length = {**tus, "Upload-Length": str(len(data))}
    assert ask(client, "POST", url, headers=length).status == 201
    sent = {**tus, "Content-Type": "application/offset+octet-stream"}
    if not takes:
        headers = {**sent, "Upload-Offset": "0"}
        server.check_no_length("PATCH", url, data[:1000], headers)
        return
    with Talk(server.address) as talk:
        lines = [f"PATCH {url} HTTP/1.1", "Host: x", f"Content-Length: {len(data)}"]
        sent |= {"Upload-Offset": "0"}
        lines += [f"{name}: {value}" for name, value in sent.items()]
        talk.send("\r\n".join([*lines, "", ""]).encode() + data[:700_000])
    with contextlib.closing(server.connect()) as other:
        offset = offset_of(other, url, 0 if server.kind.buffers else 600_001)
        assert offset == 0 if server.kind.buffers else offset <= 700_000
        sent |= {"Upload-Offset": str(offset)}
        reply = ask(other, "PATCH", url, data[offset:], sent, chunked)
        assert reply.status == 204
        reply = ask(other, "POST", f"/confirm/{told['token']}")
        assert ask(other, "GET", reply.body.decode()).body == data


def offset_of(client: http.client.HTTPConnection, url: str, least: int) -> int:
    """How far an upload is, when the server has read what has reached it.

    :param least: how many bytes that are at least. A busy machine takes its time.
    """
    offset, before, deadline = 0, -1, time.monotonic() + 60
    while offset != before or offset < least:
        assert time.monotonic() < deadline, f"{offset} bytes have come"
        time.sleep(0.2)
        reply = ask(client, "HEAD", url, headers={"Tus-Resumable": "1.0.0"})
        offset, before = int(reply.headers["Upload-Offset"]), offset
    return offset


# -- refused before the body has come ------------------------------------------------


class Talk:
    """A connection whose client reads while it sends, as curl and browsers do."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, timeout=20)
        self._socket.setblocking(False)
        self._received = b""
        #: Whether the server takes nothing more.
        self.closed = False

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send all of it, unless the server closes the connection."""
        rest = memoryview(data)
        while rest and not self.closed:
            readable, writable, _ = select.select(
                [self._socket], [self._socket], [], 20
            )
            assert readable or writable, "the server neither reads nor answers"
            if readable:
                self._receive()
            if writable and not self.closed:
                try:
                    rest = rest[self._socket.send(rest[:65536]) :]
                except (BrokenPipeError, ConnectionResetError):
                    self._drain()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(65536)
        except ConnectionResetError:
            data = b""
        self.closed = self.closed or not data
        self._received += data

    def _drain(self) -> None:
        """Read what had come before the server closed the connection."""
        while not self.closed:
            if select.select([self._socket], [], [], 20)[0]:
                self._receive()
        self.closed = True

    def response(self) -> tuple[int, bytes] | None:
        """The next response; ``None`` if the connection ends before it."""
        while True:
            head, found, rest = self._received.partition(b"\r\n\r\n")
            if found:
                lines = head.decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines[1:])
                if "content-length" not in headers:  # it ends with the connection
                    self._drain()
                    rest = self._received.partition(b"\r\n\r\n")[2]
                length = int(headers.get("content-length", len(rest)))
                self.closed = self.closed or headers.get("connection") == "close"
                if len(rest) >= length:
                    self._received = rest[length:]
                    return int(lines[0].split()[1]), rest[:length]
            if self.closed:
                return None
            assert select.select([self._socket], [], [], 20)[0], "no response"
            self._receive()

    def request(
        self,
        method: str,
        path: str,
        body: bytes,
        headers: t.Mapping[str, str],
        chunked: bool,
    ) -> None:
        """Send a request, as far as the server takes it."""
        length = f"Content-Length: {len(body)}"
        if chunked:
            length = "Transfer-Encoding: chunked"
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        lines = [f"{method} {path} HTTP/1.1", "Host: x", length]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([*lines, "", ""]).encode() + body)


@pytest.mark.parametrize(
    ("method", "path", "status", "chunked"),
    [
        ("PUT", "/refused", 403, False),
        ("POST", "/flaskstore/a.bin?token=x", 403, False),
        ("POST", "/flaskstore/a.bin?token=x", 403, True),
        ("POST", "direct", 413, False),
        ("POST", "direct", 413, True),
    ],
)
def test_refused_early(
    server: Running,
    method: str,
    path: str,
    status: int,
    chunked: bool,
    shows: t.Callable[..., None],
) -> None:
    """The client of a large body gets to know why it is refused, and on the connection
    the rest of the body is never taken for another request."""
    if path == "direct":
        with contextlib.closing(server.connect()) as other:
            path = json.loads(ask(other, "GET", "/new").body)["url"]
        status = 411 if chunked and not server.kind.measures_chunks else status
    # Each line of the body is a request that would be answered with 200.
    body = b"GET /quickstart/ HTTP/1.1\r\nHost: x\r\n\r\n" * (LARGE // 41)
    with Talk(server.address) as talk:
        talk.request(method, path, body, {}, chunked)
        server.check_refused(talk.response(), status)
        talk.send(b"GET /flaskstore/none.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        second = talk.response()
        shows("Refused", "misread" if chunked and server.kind.misreads_chunks else "")
        if chunked and server.kind.misreads_chunks:
            return  # uWSGI answers what is in the body
        assert second is None or second[0] in (400, 404)
