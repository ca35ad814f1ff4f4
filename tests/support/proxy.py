"""A counting HTTP proxy that breaks on request, to put in front of a real server.

It forwards every head as it came, ``Host`` included, because AWS signatures cover it,
and bodies block by block, so that an upload of any size takes one block of memory.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
import typing as t
from urllib.parse import urlsplit

BLOCK = 64 * 1024
HEAD_LIMIT = 64 * 1024


class Exchange(t.NamedTuple):
    """One request and its reply; the sizes are those of the bodies, without framing."""

    method: str
    path: str
    status: int
    sent: int
    received: int


class _Closed(Exception):
    """The other side hung up."""


class _Head:
    """A start line and its headers, as they stand on the wire."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        start, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        self.start = start.split(" ", 2)
        pairs = (line.partition(":") for line in lines)
        self.headers = {name.lower(): value.strip() for name, _, value in pairs}

    def has(self, name: str, word: str) -> bool:
        return word in self.headers.get(name, "").lower()


class _Wire:
    """A socket with the few ways of reading from it that HTTP needs."""

    def __init__(self, sock: socket.socket) -> None:
        # Heads and bodies are sent apart: Nagle's algorithm would delay each body.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.buffer = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def some(self, limit: int = BLOCK) -> bytes:
        if self.buffer:
            data, self.buffer = self.buffer[:limit], self.buffer[limit:]
            return data
        return self.sock.recv(limit)

    def until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            data = self.sock.recv(BLOCK)
            if not data or len(self.buffer) > HEAD_LIMIT:
                raise _Closed
            self.buffer += data
        end = self.buffer.index(mark) + len(mark)
        data, self.buffer = self.buffer[:end], self.buffer[end:]
        return data

    def head(self) -> _Head:
        return _Head(self.until(b"\r\n\r\n"))

    def exactly(self, size: int) -> t.Iterator[bytes]:
        while size:
            data = self.some(min(size, BLOCK))
            if not data:
                raise _Closed
            size -= len(data)
            yield data

    def body(self, head: _Head, until_close: bool) -> t.Iterator[tuple[bytes, int]]:
        """Yield the pieces of a body and how many bytes of each are not framing."""
        if head.has("transfer-encoding", "chunked"):
            while size := int((line := self.until(b"\r\n")).split(b";")[0], 16):
                yield line, 0
                for data in self.exactly(size):
                    yield data, len(data)
                yield self.until(b"\r\n"), 0
            yield line, 0
            while (line := self.until(b"\r\n")) != b"\r\n":
                yield line, 0
            yield line, 0
        elif "content-length" in head.headers:
            for data in self.exactly(int(head.headers["content-length"])):
                yield data, len(data)
        elif until_close:
            while data := self.some():
                yield data, len(data)


class Proxy:
    """Stand between clients and the server at ``upstream``; count, break on request.

    ``requests`` lists what was answered, in order; it is complete before the client has
    read the end of a reply. The faults are switched while it runs: :attr:`latency_ms`
    delays each request, :attr:`black_hole` accepts and stays silent, and
    :meth:`drop_response` loses a reply.
    """

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        assert parts.scheme == "http" and parts.hostname and parts.port, upstream
        self.upstream = (parts.hostname, parts.port)
        self.requests: list[Exchange] = []
        #: The headers of each of these requests, by their names in lower case.
        self.headers: list[dict[str, str]] = []
        self.latency_ms = 0.0
        self.black_hole = False
        self._drop_in, self._dropped = 0, "PUT"
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.endpoint_url = f"http://127.0.0.1:{self.port}"

    def drop_response(self, n: int = 1, method: str = "PUT") -> None:
        """Let the ``n``-th next PUT reach the server and lose the server's reply."""
        with self._lock:
            self._drop_in, self._dropped = n, method

    def count(self, method: str) -> int:
        """Tell how many requests with this method were answered."""
        return sum(exchange.method == method for exchange in self.requests)

    def __enter__(self) -> t.Self:
        self._acceptor.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopping.set()
        # shutdown() wakes threads that block in accept() or recv(); close() does not.
        with self._lock:
            open_sockets = [self._listener, *self._sockets]
        for sock in open_sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._acceptor.join(10)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(
                target=self._connection, args=(sock,), daemon=True
            )
            self._threads = [*filter(threading.Thread.is_alive, self._threads), thread]
            thread.start()

    def _connection(self, sock: socket.socket) -> None:
        with sock, socket.socket() as onward, self._known(sock, onward):
            self._swallow()
            onward.connect(self.upstream)
            client, server = _Wire(sock), _Wire(onward)
            while not self._stopping.is_set() and self._exchange(client, server):
                pass

    @contextlib.contextmanager
    def _known(self, *sockets: socket.socket) -> t.Iterator[None]:
        """Sockets that whoever stops the proxy ends; how they end is no error."""
        with self._lock:
            self._sockets.update(sockets)
        try:
            # Whoever stops us may have counted the sockets before these came. To use
            # them is an error then.
            if self._stopping.is_set():
                for each in sockets:
                    each.close()
            yield
        except (OSError, _Closed):
            pass
        finally:
            with self._lock:
                self._sockets.difference_update(sockets)

    def _swallow(self) -> None:
        """Never answer this connection if the black hole is open."""
        if self.black_hole:
            while self.black_hole and not self._stopping.wait(0.02):
                pass
            raise _Closed

    def _exchange(self, client: _Wire, server: _Wire) -> bool:
        """Pass on one request and its reply; tell whether the connection stays open."""
        request = client.head()
        method, path, _ = request.start
        self._swallow()
        time.sleep(self.latency_ms / 1000)
        drop = self._is_dropped(method)
        server.send(request.raw)
        early = self._refused_early(client, server, request)
        sent, whole = 0, early is None
        if early is None:
            try:
                for data, size in client.body(request, until_close=False):
                    server.send(data)
                    sent += size
            except OSError:
                # The server answered without reading on, or died: its reply tells.
                whole = False
        reply = early or self._reply(client, server)
        status = int(reply.start[1])
        bodiless = method == "HEAD" or status in (204, 304)
        pieces = iter(()) if bodiless else server.body(reply, until_close=True)
        pending, received = reply.raw, 0
        for data, size in pieces:
            if not drop:
                client.send(pending)
            pending = data
            received += size
        # Counted before the last piece leaves, so that a client that has read the whole
        # reply finds it in the list.
        self.headers.append(request.headers)
        self.requests.append(Exchange(method, path, status, sent, received))
        if drop:
            return False
        client.send(pending)
        framed = bodiless or {"content-length", "transfer-encoding"} & set(
            reply.headers
        )
        closing = any(head.has("connection", "close") for head in (request, reply))
        return whole and bool(framed) and not closing

    def _is_dropped(self, method: str) -> bool:
        with self._lock:
            if method != self._dropped or not self._drop_in:
                return False
            self._drop_in -= 1
            return not self._drop_in

    def _refused_early(
        self, client: _Wire, server: _Wire, request: _Head
    ) -> _Head | None:
        """Wait for the server's word where the client does, before the body."""
        if not request.has("expect", "100-continue") or client.buffer:
            return None
        # A client may also grow tired of waiting and begin, then the body goes first.
        ready, _, _ = select.select([client.sock, server.sock], [], [])
        if server.sock not in ready:
            return None
        reply = server.head()
        if reply.start[1] != "100":
            return reply
        client.send(reply.raw)
        return None

    def _reply(self, client: _Wire, server: _Wire) -> _Head:
        while (reply := server.head()).start[1].startswith("1"):
            client.send(reply.raw)
        return reply
