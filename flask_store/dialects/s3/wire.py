"""Connections of the direct way, whose answers are whole and come in time."""

from __future__ import annotations

import http.client
import io
import socket
import typing as t

from urllib3.connection import HTTPConnection
from urllib3.connection import HTTPSConnection

from ..pace import PROGRESS
from ..wire import Wire


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

    :param sending: the seconds in which the server takes each piece.
    """

    response_class = Answer

    def __init__(self, *args: t.Any, sending: float, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        self._sending = sending

    #: The head of a request, while it waits for the body.
    _head: bytes | None = None
    _has_body = False

    def request(
        self, method: str, url: str, body: t.Any = None, *args: t.Any, **kwargs: t.Any
    ) -> None:
        self._head, self._has_body = None, body is not None
        if self.sock is not None:
            self._begin_sending()  # the last answer may have left it less time
        super().request(method, url, body, *args, **kwargs)
        if self._head is not None:  # the body is empty
            self.send(b"")

    def connect(self) -> None:
        super().connect()
        self._begin_sending()

    def _begin_sending(self) -> None:
        if self.sock.gettimeout() != self._sending:
            self.sock.settimeout(self._sending)

    def send(self, data: t.Any) -> None:
        if self._has_body:
            self._head, self._has_body = data, False
            return
        view = memoryview(data)
        if self._head is not None:
            super().send(self._head + view[:PROGRESS])
            view, self._head = view[PROGRESS:], None
        for start in range(0, len(view), PROGRESS):
            super().send(view[start : start + PROGRESS])


class Encrypted(Plain, HTTPSConnection):
    """A connection over TLS."""
