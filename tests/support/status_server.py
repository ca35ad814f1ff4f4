"""A server that has one file, in the words of five protocols, and then one status.

It knows as much of S3, Google Cloud Storage, Azure, WebDAV and plain HTTP as it takes
to look at the file and to read it. :meth:`StatusServer.armed` lets it answer all
requests, or those that change something, with one status.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import json
import random
import re
import socket
import threading
import typing as t
from collections.abc import Iterator
from urllib.parse import unquote
from urllib.parse import urlsplit

#: Large enough that nobody has all of it before it is asked for the rest.
DATA = random.Random(18).randbytes(1_500_000)
NAME = "a.bin"
DATE = "Thu, 26 Nov 2026 10:00:00 GMT"
ETAG = hashlib.md5(DATA).hexdigest()

PAGE = b"<!doctype html><html><title>Sign in</title><h1>Who are you?</h1></html>"

#: The methods that change nothing.
READS = ("GET", "HEAD", "PROPFIND")

#: Who has written an answer: the storage itself, something in front of it, which sends
#: a page, or nobody, so that the body is empty.
By: t.TypeAlias = t.Literal["storage", "page", "nobody"]


class Reply(t.NamedTuple):
    """What is answered to every request.

    :param code: what the storage calls its error.
    :param message: what it says of it.
    """

    status: int
    by: By = "storage"
    code: str = ""
    message: str = "no"

    def written(self, protocol: str) -> tuple[dict[str, str], bytes]:
        """Its headers and its body."""
        if self.by == "page":
            return {"Content-Type": "text/html"}, PAGE
        return WORDS[protocol](self) if self.by == "storage" else ({}, b"")


#: What the storages say if not even the bucket is there.
NO_BUCKET = {
    "s3": {"code": "NoSuchBucket"},
    "google": {"message": "The specified bucket does not exist."},
    "azure": {"code": "ContainerNotFound"},
}


def _s3(reply: Reply) -> tuple[dict[str, str], bytes]:
    code = reply.code or f"Code{reply.status}"
    text = f"<Error><Code>{code}</Code><Message>{reply.message}</Message></Error>"
    headers = {"Content-Type": "application/xml", "x-amz-request-id": "1"}
    if reply.code == "PermanentRedirect":
        headers["x-amz-bucket-region"] = "eu-west-1"
    return headers, text.encode()


def _google(reply: Reply) -> tuple[dict[str, str], bytes]:
    error = {"error": {"code": reply.status, "message": reply.message}}
    return {"Content-Type": "application/json"}, json.dumps(error).encode()


def _azure(reply: Reply) -> tuple[dict[str, str], bytes]:
    text = f"<Error><Code>{reply.code}</Code><Message>{reply.message}</Message></Error>"
    headers = {"Content-Type": "application/xml", "x-ms-request-id": "1"}
    if reply.code:
        headers["x-ms-error-code"] = reply.code
    return headers, text.encode()


def _plain(reply: Reply) -> tuple[dict[str, str], bytes]:
    return {"Content-Type": "text/plain"}, reply.message.encode()


#: How each protocol writes an error.
WORDS = {
    "s3": _s3,
    "google": _google,
    "azure": _azure,
    "webdav": _plain,
    "http": _plain,
}


class StatusServer:
    """The server, at :attr:`url`."""

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol
        self.reply: Reply | None = None
        #: The methods that are answered with :attr:`reply`.
        self.methods: t.Container[str] = ()
        #: The methods and targets of all requests.
        self.seen: list[str] = []
        handler = functools.partial(_Handler, self)
        self._server = _Server(("127.0.0.1", 0), t.cast(t.Any, handler))
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> t.Self:
        run = functools.partial(self._server.serve_forever, poll_interval=0.02)
        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.hang_up()
        self._server.server_close()

    @contextlib.contextmanager
    def armed(self, reply: Reply, methods: t.Container[str]) -> Iterator[None]:
        """Answer such requests with one reply."""
        self.reply, self.methods = reply, methods
        try:
            yield
        finally:
            self.reply, self.methods = None, ()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, *args: t.Any) -> None:
        super().__init__(*args)
        self._sockets: list[socket.socket] = []

    def get_request(self) -> tuple[socket.socket, t.Any]:
        sock, address = super().get_request()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets.append(sock)
        return sock, address

    def hang_up(self) -> None:
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *args: t.Any) -> None:
        """Say nothing of a client that hangs up."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def __init__(self, place: StatusServer, *args: t.Any) -> None:
        self.place = place
        super().__init__(*args)

    def log_message(self, *args: t.Any) -> None:
        pass

    def handle_expect_100(self) -> bool:
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def __getattr__(self, name: str) -> t.Any:
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def answer(self) -> None:
        """Read one request, and answer it."""
        self._skip_body()
        place = self.place
        place.seen.append(f"{self.command} {self.path}")
        reply = place.reply
        if reply is not None and self.command in place.methods:
            headers, body = reply.written(place.protocol)
            if 300 <= reply.status < 400 and reply.by == "page":
                headers["Location"] = f"{place.url}/login"
            self._send(reply.status, headers, body)
        elif self._name().rpartition("/")[2] == NAME:
            self._file()
        elif self.command == "HEAD" and self._name() == "/bucket":
            self._send(200, {}, b"")
        elif self._name().endswith("/b/bucket/o"):
            self._send(200, {}, b'{"kind": "storage#objects"}')
        else:
            missing = Reply(404, code="NoSuchKey", message="no such object")
            self._send(404, *missing.written(place.protocol))

    def _name(self) -> str:
        return unquote(urlsplit(self.path).path).rstrip("/")

    def _skip_body(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _file(self) -> None:
        if self.command == "PROPFIND":
            self._send(207, {"Content-Type": "application/xml"}, self._multistatus())
        elif self.place.protocol == "google" and "alt=media" not in self.path:
            self._send(200, {"Content-Type": "application/json"}, self._resource())
        else:
            self._bytes()

    def _bytes(self) -> None:
        headers = {
            "Content-Type": "application/octet-stream",
            "ETag": f'"{ETAG}"',
            "Last-Modified": DATE,
            "x-ms-request-id": "1",
            "x-ms-blob-type": "BlockBlob",
            "x-goog-generation": "7",
        }
        asked = self.headers.get("Range") or self.headers.get("x-ms-range") or ""
        if self.command == "HEAD" or not asked:
            self._send(200, headers, DATA)
            return
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
        assert match is not None, asked
        start, last = int(match[1]), min(int(match[2] or len(DATA)), len(DATA) - 1)
        headers["Content-Range"] = f"bytes {start}-{last}/{len(DATA)}"
        self._send(206, headers, DATA[start : last + 1])

    def _resource(self) -> bytes:
        return json.dumps(
            {
                "kind": "storage#object",
                "name": NAME,
                "size": str(len(DATA)),
                "updated": "2026-11-26T10:00:00Z",
                "generation": "7",
            }
        ).encode()

    def _multistatus(self) -> bytes:
        properties = (
            f"<D:getcontentlength>{len(DATA)}</D:getcontentlength>"
            f'<D:getetag>"{ETAG}"</D:getetag>'
            f"<D:getlastmodified>{DATE}</D:getlastmodified><D:resourcetype/>"
        )
        return (
            '<?xml version="1.0"?><D:multistatus xmlns:D="DAV:"><D:response>'
            f"<D:href>{urlsplit(self.path).path}</D:href><D:propstat>"
            f"<D:prop>{properties}</D:prop><D:status>HTTP/1.1 200 OK</D:status>"
            "</D:propstat></D:response></D:multistatus>"
        ).encode()

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(OSError):
                self.wfile.write(body)
