"""The proxy itself must be right before its counts and faults prove anything."""

from __future__ import annotations

import http.client
import socket
import threading
import time
import tracemalloc
import typing as t
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer

import pytest

from tests.support.proxy import Exchange
from tests.support.proxy import Proxy


class Origin(BaseHTTPRequestHandler):
    """A server that says how it was asked and remembers the bodies' sizes."""

    protocol_version = "HTTP/1.1"
    seen: t.ClassVar[list[tuple[str, int]]] = []
    continued: t.ClassVar[int] = 0

    def handle_expect_100(self) -> bool:
        """Refuse a body early when the path says so."""
        if self.path == "/refuse":
            self.send_response(412)
            self.send_header("Content-Length", "0")
            self.end_headers()
            self.close_connection = True
            return False
        type(self).continued += 1
        return super().handle_expect_100()

    def do_PUT(self) -> None:
        """Count the body, chunked or not, and answer with the Host that was asked."""
        size = 0
        if self.headers.get("Transfer-Encoding") == "chunked":
            while length := int(self.rfile.readline(), 16):
                size += len(self.rfile.read(length))
                self.rfile.readline()
            self.rfile.readline()
        else:
            left = int(self.headers["Content-Length"])
            while left:
                left -= len(block := self.rfile.read(min(left, 65536)))
                size += len(block)
        self.seen.append((self.path, size))
        self._answer(200, self.headers["Host"].encode())

    def do_GET(self) -> None:
        """Answer in chunks, without a length, or not at all with a body."""
        if self.path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(
                b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: 1\r\n\r\n"
            )
        elif self.path == "/until-close":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"the end is the end")
            self.close_connection = True
        else:
            self.send_response(304)
            self.send_header("ETag", '"1"')
            self.end_headers()

    def do_HEAD(self) -> None:
        """Announce a length without sending that many bytes."""
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def proxy() -> t.Iterator[Proxy]:
    """Put a proxy in front of a fresh origin server."""
    Origin.seen = []
    Origin.continued = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Origin) as origin:
        thread = threading.Thread(target=origin.serve_forever, args=(0.02,))
        thread.start()
        try:
            with Proxy(f"http://127.0.0.1:{origin.server_port}") as proxy:
                yield proxy
        finally:
            origin.shutdown()
            thread.join()


@pytest.fixture
def client(proxy: Proxy) -> t.Iterator[http.client.HTTPConnection]:
    """Open one connection to the proxy, which tests reuse to see it kept alive."""
    client = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
    yield client
    client.close()


def ask(
    client: http.client.HTTPConnection, method: str, path: str, **options: t.Any
) -> tuple[int, bytes]:
    """Send one request and read the whole reply."""
    client.request(method, path, **options)
    reply = client.getresponse()
    return reply.status, reply.read()


def test_one_connection_carries_every_kind_of_body(
    proxy: Proxy, client: http.client.HTTPConnection
) -> None:
    """Framing is understood in both directions, and a kept connection stays in step."""
    assert ask(client, "PUT", "/a?b=c", body=b"12345", headers={"Host": "signed"}) == (
        200,
        b"signed",
    )
    first = client.sock
    assert ask(client, "PUT", "/a", body=iter([b"123", b"", b"45678"]))[0] == 200
    assert ask(client, "GET", "/chunked") == (200, b"hello world")
    assert ask(client, "HEAD", "/head") == (200, b"")
    assert ask(client, "GET", "/unchanged") == (304, b"")
    assert client.sock is first
    assert ask(client, "GET", "/until-close") == (200, b"the end is the end")
    host = len(f"127.0.0.1:{proxy.port}")
    assert proxy.requests == [
        Exchange("PUT", "/a?b=c", 200, 5, 6),
        Exchange("PUT", "/a", 200, 8, host),
        Exchange("GET", "/chunked", 200, 0, 11),
        Exchange("HEAD", "/head", 200, 0, 0),
        Exchange("GET", "/unchanged", 304, 0, 0),
        Exchange("GET", "/until-close", 200, 0, 18),
    ]
    assert proxy.count("GET") == 3


def test_a_large_body_passes_in_bounded_memory(
    proxy: Proxy, client: http.client.HTTPConnection
) -> None:
    """Neither the proxy nor anything around it holds a body of 64 MiB."""
    blocks = (bytes(2**16) for _ in range(1024))
    tracemalloc.start()
    ask(client, "PUT", "/big", body=blocks, headers={"Content-Length": str(2**26)})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert proxy.requests[0].sent == 2**26
    assert peak < 2**21


def test_a_lost_response_is_lost_after_the_server_has_acted(
    proxy: Proxy, client: http.client.HTTPConnection
) -> None:
    """The second next PUT arrives at the server and its sender is left in the dark."""
    proxy.drop_response(2)
    assert ask(client, "PUT", "/1", body=b"1")[0] == 200
    with pytest.raises(http.client.RemoteDisconnected):
        ask(client, "PUT", "/2", body=b"22")
    assert ask(client, "PUT", "/3", body=b"333")[0] == 200
    assert Origin.seen == [("/1", 1), ("/2", 2), ("/3", 3)]
    assert [(e.path, e.status) for e in proxy.requests] == [
        ("/1", 200),
        ("/2", 200),
        ("/3", 200),
    ]


def test_a_black_hole_accepts_and_stays_silent(
    proxy: Proxy, client: http.client.HTTPConnection
) -> None:
    """Connections old and new get no answer until the hole is closed."""
    ask(client, "PUT", "/before", body=b"1")
    proxy.black_hole = True
    assert client.sock is not None
    client.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        ask(client, "PUT", "/during", body=b"1")
    with socket.create_connection(("127.0.0.1", proxy.port)) as fresh:
        fresh.settimeout(0.2)
        with pytest.raises(TimeoutError):
            fresh.recv(1)
    client.close()
    proxy.black_hole = False
    assert ask(client, "PUT", "/after", body=b"1")[0] == 200
    assert Origin.seen == [("/before", 1), ("/after", 1)]


def test_latency_is_added_to_each_request(
    proxy: Proxy, client: http.client.HTTPConnection
) -> None:
    """Two requests on one connection wait twice."""
    proxy.latency_ms = 100
    start = time.monotonic()
    ask(client, "GET", "/chunked")
    ask(client, "GET", "/chunked")
    assert time.monotonic() - start >= 0.2


@pytest.mark.parametrize("path", ["/accept", "/refuse"])
def test_a_body_waits_for_the_servers_word(proxy: Proxy, path: str) -> None:
    """``Expect: 100-continue`` is between client and server; the proxy passes it on."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as sock:
        sock.sendall(
            f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
            "Expect: 100-continue\r\n\r\n".encode()
        )
        reply = sock.recv(1000)
        if path == "/accept":
            assert reply.startswith(b"HTTP/1.1 100")
            sock.sendall(b"abc")
            reply = sock.recv(1000)
            while not reply.endswith(b"\r\n\r\nx"):
                reply += sock.recv(1000)
        status = int(reply.split()[1])
    expected = {"/accept": (200, 3, 1), "/refuse": (412, 0, 0)}[path]
    assert (status, proxy.requests[0].sent, Origin.continued) == expected


def test_leaving_ends_every_connection(
    proxy: Proxy, client: http.client.HTTPConnection
) -> None:
    """An idle client does not keep the proxy, or its threads, alive."""
    ask(client, "GET", "/unchanged")
    assert client.sock is not None
    proxy.__exit__()
    assert client.sock.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
