"""A server with the little of S3 that a store needs, which gives any answer it is told.

For answers that no real server gives. It keeps objects and their metadata, honours
``If-None-Match: *`` and lists; :attr:`FakeS3.spoil` changes what it sends.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from urllib.parse import parse_qs
from urllib.parse import unquote
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

DATE = "Thu, 26 Nov 2026 10:00:00 GMT"


class Request(t.NamedTuple):
    """What a client asks."""

    method: str
    key: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


class Answer(t.NamedTuple):
    """What it gets: the lines of the head without the empty one, and the body."""

    lines: list[str]
    body: bytes = b""

    @property
    def raw(self) -> bytes:
        """As it goes over the wire."""
        return self.head + self.body

    @property
    def head(self) -> bytes:
        """With the empty line."""
        return "\r\n".join([*self.lines, "", ""]).encode("latin-1")

    def without(self, *names: str) -> Answer:
        """The same without these headers."""
        low = tuple(f"{name.lower()}:" for name in names)
        lines = [line for line in self.lines if not line.lower().startswith(low)]
        return self._replace(lines=lines)

    def having(self, *lines: str) -> Answer:
        """The same with other headers."""
        names = [line.partition(":")[0] for line in lines]
        return self._replace(lines=[*self.without(*names).lines, *lines])


def answer(status: str, body: bytes = b"", *lines: str) -> Answer:
    """An answer with its length."""
    length = f"Content-Length: {len(body)}"
    return Answer([f"HTTP/1.1 {status}", *lines, length], body)


def error(status: str, code: str) -> Answer:
    """An error of S3's own."""
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    return answer(status, body, "Content-Type: application/xml")


#: Gives the pieces to send in place of an answer, before the connection is closed;
#: ``None`` to send the answer.
Spoil: t.TypeAlias = Callable[[Request, Answer], "Iterator[bytes] | list[bytes] | None"]


def healthy(request: Request, answer: Answer) -> None:
    """Spoil nothing."""


class FakeS3:
    """The server, at :attr:`url`, with one bucket named ``bucket``."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.spoil: Spoil = healthy
        #: Set when the server ends: whoever pauses waits for it.
        self.over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> t.Self:
        self._run(self._accept)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.over.set()
        for sock in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for sock in [self._listener, *self._sockets]:
            sock.close()

    def once(self, spoil: Spoil) -> Spoil:
        """Spoil the first answer for which *spoil* gives anything, and no other."""
        left = [True]

        def first(request: Request, answer: Answer) -> t.Any:
            pieces = spoil(request, answer) if left else None
            if pieces is not None:
                left.clear()
            return pieces

        return first

    def slowly(self, data: bytes, pause: float) -> Iterator[bytes]:
        """Byte by byte."""
        for byte in data:
            yield bytes([byte])
            if self.over.wait(pause):
                return

    def silence(self) -> Iterator[bytes]:
        """Nothing, until the server ends."""
        self.over.wait()
        yield b""

    def _run(self, target: Callable[..., None], *args: t.Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets.append(sock)
                self._run(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), sock.makefile("rb") as file:
            while line := file.readline():
                objects = self.objects
                request = self._request(sock, file, line.decode())
                if objects is not self.objects:
                    break  # of an earlier test, which has given it up
                right = self._answer(request)
                if request.method == "HEAD":
                    right = right._replace(body=b"")
                pieces = self.spoil(request, right)
                if pieces is not None:
                    for piece in pieces:
                        sock.sendall(piece)
                    break
                sock.sendall(right.raw)
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    def _request(self, sock: socket.socket, file: t.Any, line: str) -> Request:
        method, target, _ = line.split()
        headers = {}
        while text := file.readline().decode("latin-1").strip():
            name, _, value = text.partition(":")
            headers[name.lower()] = value.strip()
        if "expect" in headers:
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = file.read(int(headers.get("content-length", 0)))
        parts = urlsplit(target)
        key = unquote(parts.path.removeprefix("/bucket").removeprefix("/"))
        query = parse_qs(parts.query, keep_blank_values=True)
        return Request(method, key, query, headers, body)

    def _answer(self, request: Request) -> Answer:
        if request.method == "PUT":
            return self._put(request)
        if request.method == "DELETE":
            self.objects.pop(request.key, None)
            return Answer(["HTTP/1.1 204 No Content"])
        if not request.key:
            return self._list(request)
        found = self.objects.get(request.key)
        if found is None:
            return error("404 Not Found", "NoSuchKey")
        data, meta = found
        return answer(
            "200 OK", data, f"ETag: {etag(data)}", f"Last-Modified: {DATE}"
        ).having(*(f"{name}: {value}" for name, value in meta.items()))

    def _put(self, request: Request) -> Answer:
        if request.key in self.objects and "if-none-match" in request.headers:
            return error("412 Precondition Failed", "PreconditionFailed")
        meta = {
            name: value
            for name, value in request.headers.items()
            if name.startswith("x-amz-meta-") or name == "content-type"
        }
        self.objects[request.key] = request.body, meta
        return answer("200 OK", b"", f"ETag: {etag(request.body)}")

    def _list(self, request: Request) -> Answer:
        prefix = request.query.get("prefix", [""])[0]
        found = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size>"
            f"<LastModified>2026-11-26T10:00:00Z</LastModified>"
            f"<ETag>{etag(data)}</ETag></Contents>"
            for key, (data, _) in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        body = (
            "<ListBucketResult><Name>bucket</Name><IsTruncated>false</IsTruncated>"
            f"{found}</ListBucketResult>"
        )
        return answer("200 OK", body.encode(), "Content-Type: application/xml")


def etag(data: bytes) -> str:
    """As S3 makes it of what came with one PUT."""
    return f'"{hashlib.md5(data).hexdigest()}"'
