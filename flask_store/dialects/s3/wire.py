"""Connections of the direct way, whose answers are whole and come in time."""

from __future__ import annotations

import http.client
import io
import socket
import time
import typing as t

from urllib3.connection import HTTPConnection
from urllib3.connection import HTTPSConnection

from ..pace import PROGRESS

#: How many bytes of a body are sent at a time. Each piece has the time of a connect to
#: be sent, so that a slow line is not taken for a silent one.
PIECE = 64 * 1024
#: How many seconds after its time limit a read may end. The socket's own timeout is
#: changed, which costs a system call, only when it differs by more.
SLACK = 0.25


class Wire(io.RawIOBase):
    """An answer on its way. Every :data:`~flask_store.dialects.pace.PROGRESS` bytes of
    it, its head included, have one time limit.

    Only waiting for bytes takes from this time, so that a reader may take as long as
    he likes between them.

    :param sock: where the bytes come from; its timeout is the limit.
    :param raw: what :meth:`socket.socket.makefile` made; closed together with this.
    """

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._sock = sock
        self._raw = raw
        self._limit = self._timeout = sock.gettimeout() or 0.0
        # How many seconds the last of these bytes have been waited for.
        self._waited, self._received = 0.0, 0
        #: Whether the server has closed its side, and somebody has noticed.
        self.ended = False

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def readinto(self, buffer: t.Any) -> int:
        """:raises TimeoutError: if the bytes do not come in time."""
        if self._limit:
            left = self._limit - self._waited
            if left <= 0:
                raise TimeoutError(f"{PROGRESS} bytes take more than {self._limit} s")
            if abs(self._timeout - left) > SLACK:
                self._sock.settimeout(left)
                self._timeout = left
        begun = time.monotonic()
        size = self._sock.recv_into(buffer)
        self._waited += time.monotonic() - begun
        self._received += size
        if self._received >= PROGRESS:
            self._waited, self._received = 0.0, 0
        self.ended = not size
        return size

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class Answer(http.client.HTTPResponse):
    """An answer that is none if it breaks off before the empty line behind its headers.

    :mod:`http.client` takes the end of the connection for that line, and then knows
    of no Content-Length.
    """

    def __init__(self, sock: socket.socket, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._wire = Wire(sock, self.fp.detach())
        self.fp = io.BufferedReader(self._wire)

    def begin(self) -> None:
        """:raises ConnectionError: if the answer breaks off."""
        super().begin()
        # Nobody reads on behind a line that is there.
        if self._wire.ended:
            raise ConnectionError("the answer broke off within its headers")


class Plain(HTTPConnection):
    """A connection over TCP.

    It sends the head of a request together with the first piece of the body. That
    saves a system call, and the server wakes up once.
    """

    response_class = Answer
    #: The head of a request, while it waits for the body.
    _head: bytes | None = None
    _has_body = False

    def request(
        self, method: str, url: str, body: t.Any = None, *args: t.Any, **kwargs: t.Any
    ) -> None:
        self._head, self._has_body = None, body is not None
        super().request(method, url, body, *args, **kwargs)
        if self._head is not None:  # the body is empty
            self.send(b"")

    def send(self, data: t.Any) -> None:
        if self._has_body:
            self._head, self._has_body = data, False
            return
        view = memoryview(data)
        if self._head is not None:
            super().send(self._head + view[:PIECE])
            view, self._head = view[PIECE:], None
        for start in range(0, len(view), PIECE):
            super().send(view[start : start + PIECE])


class Encrypted(Plain, HTTPSConnection):
    """A connection over TLS."""
