"""The route on real WSGI servers: what they send is what the headers announce."""

from __future__ import annotations

import http.client
import pathlib
import random
import socket
import typing as t

import pytest
from flask import Flask

from flask_store import Store
from tests.conftest import missing
from tests.support.servers import NotInstalledError
from tests.support.wsgi_servers import NAMES
from tests.support.wsgi_servers import wsgi_server

SIZE = 500_001
DATA = random.Random(7).randbytes(SIZE)
#: What would be the next answer on the connection if it was sent.
PLANTED = "HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\n\\r\\nbad"


class Server(t.NamedTuple):
    """A server, its address and the folder that its application serves."""

    name: str
    address: tuple[str, int]
    folder: pathlib.Path


@pytest.fixture(scope="module", params=NAMES)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[Server]:
    """Each of the servers."""
    folder = tmp_path_factory.mktemp("served")
    try:
        with wsgi_server(request.param, str(folder)) as address:
            yield Server(request.param, address, folder)
    except NotInstalledError as error:
        missing(str(error))


@pytest.fixture
def file(server: Server) -> str:
    """A file that is served."""
    (server.folder / "a.bin").write_bytes(DATA)
    (server.folder / "empty.bin").write_bytes(b"")
    return "/flaskstore/a.bin"


@pytest.fixture
def client(server: Server) -> t.Iterator[http.client.HTTPConnection]:
    """One connection, which a server that wants to may keep."""
    connection = http.client.HTTPConnection(*server.address, timeout=20)
    yield connection
    connection.close()


def get(
    client: http.client.HTTPConnection, path: str, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    """An answer, as far as its headers say that it goes."""
    client.request("GET", path, headers=headers)
    answer = client.getresponse()
    return answer, answer.read()


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=123456-", 123456, SIZE),
        ("bytes=-1000", SIZE - 1000, SIZE),
        ("bytes=1-9", 1, 10),
        ("bytes=0-99", 0, 100),
        ("bytes=0-", 0, SIZE),
        ("bytes=500000-", SIZE - 1, SIZE),
        (None, 0, SIZE),
    ],
)
def test_range(
    client: http.client.HTTPConnection,
    file: str,
    asked: str | None,
    start: int,
    stop: int,
) -> None:
    """The bytes are those of the range, and the connection is good for the next one."""
    for _ in range(2):
        answer, data = get(client, file, **({"Range": asked} if asked else {}))
        assert answer.status == (206 if asked else 200)
        assert answer.headers["Content-Length"] == str(stop - start)
        assert data == DATA[start:stop]
    assert get(client, "/flaskstore/empty.bin")[1] == b""
    assert get(client, "/flaskstore/none.bin")[0].status == 404


@pytest.mark.parametrize("asked", [None, "bytes=0-", "bytes=400000-", "bytes=-7"])
def test_file_that_grows(
    server: Server, client: http.client.HTTPConnection, file: str, asked: str | None
) -> None:
    """What is appended while a file is served is not sent: it could be the answer to
    the next request on the connection."""
    start = {None: 0, "bytes=0-": 0, "bytes=400000-": 400_000}.get(asked, SIZE - 7)
    headers = {"Range": asked} if asked else {}
    answer, data = get(client, file, **headers, **{"X-Append": PLANTED})
    assert data == DATA[start:]
    assert (server.folder / "a.bin").stat().st_size > SIZE
    answer, data = get(client, "/flaskstore/none.bin")
    assert answer.status == 404 and data != b"bad"


@pytest.mark.parametrize("asked", ["", "Range: bytes=250000-\r\n"])
def test_every_byte_of_the_connection(server: Server, file: str, asked: str) -> None:
    """Nothing follows an answer whose connection is to be closed."""
    with socket.create_connection(server.address, timeout=20) as client:
        client.sendall(
            f"GET {file} HTTP/1.1\r\nHost: x\r\n{asked}"
            f"X-Append: {PLANTED}\r\nConnection: close\r\n\r\n".encode()
        )
        received = b"".join(iter(lambda: client.recv(65536), b""))
    assert received.partition(b"\r\n\r\n")[2] == DATA[250_000 if asked else 0 :]


class Gunicorn20:
    """What gunicorn 20.1 gives as ``wsgi.file_wrapper``, and how it sends one: with
    ``socket.sendfile``, which begins at byte 0 wherever the file stands."""

    def __init__(self, filelike: t.Any, blksize: int = 8192) -> None:
        self.filelike = filelike

    def sent(self, length: int) -> bytes:
        """The bytes on the client's side."""
        near, far = socket.socketpair()
        with near, far:
            near.sendfile(self.filelike, count=length)
            near.shutdown(socket.SHUT_WR)
            self.filelike.close()
            return b"".join(iter(lambda: far.recv(65536), b""))


@pytest.mark.parametrize(
    "asked", [None, "bytes=0-", "bytes=0-3", "bytes=5-", "bytes=-5"]
)
@pytest.mark.parametrize("known", [True, False])
def test_file_wrapper(tmp_path: pathlib.Path, asked: str | None, known: bool) -> None:
    """Only a whole file is handed over, and only to a server that is known to stop."""
    app = Flask(__name__)
    app.config.update(STORE_PATH=str(tmp_path))
    Store(app)
    (tmp_path / "a.bin").write_bytes(b"0123456789")
    environ: dict[str, t.Any] = {"wsgi.file_wrapper": Gunicorn20}
    environ["gunicorn.socket" if known else "uwsgi.version"] = b"2.0"
    started: list[dict[str, str]] = []
    with app.test_request_context(
        "/flaskstore/a.bin",
        environ_overrides=environ,
        headers={"Range": asked} if asked else {},
    ) as context:
        body = app.wsgi_app(
            context.request.environ, lambda _, headers: started.append(dict(headers))
        )
    length = int(started[0]["Content-Length"])
    if isinstance(body, Gunicorn20):
        assert known and length == 10
        sent = body.sent(length)
    else:
        assert not known or asked not in (None, "bytes=0-")
        sent = b"".join(t.cast("t.Iterable[bytes]", body))
    ranges = {"bytes=0-3": slice(4), "bytes=5-": slice(5, 10), "bytes=-5": slice(5, 10)}
    assert sent == b"0123456789"[ranges.get(asked or "", slice(10))]
