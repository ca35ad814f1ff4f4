"""A TCP relay in front of any server, which can fall silent in the middle."""

from __future__ import annotations

import functools
import socket
import threading
import time
import typing as t
from contextlib import suppress

BLOCK = 64 * 1024


class Relay:
    """Passes on bytes both ways, until :attr:`silent` is set, and counts.

    :param pause: how long to wait for each 64 KiB that a client sends, in seconds.

    :attr:`sent` is the number of bytes that clients sent. :attr:`trips` is how often
    they had to wait for a reply: how often one spoke, as the first or after the
    server had spoken, on all connections together. :attr:`passed` is the number of
    bytes both ways.
    """

    def __init__(self, port: int, pause: float = 0) -> None:
        self.upstream = ("127.0.0.1", port)
        self.silent = False
        self.pause = pause
        self.sent = 0
        self.trips = 0
        self.passed = 0
        #: After so many bytes more every connection is broken; ``None`` for never.
        self.left: int | None = None
        self._asking: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        if pause:  # or the system's buffers would take a whole file at once
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BLOCK)
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> t.Self:
        self._run(self._accept)
        return self

    def __exit__(self, *exc_info: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self.hang_up()
        for thread in self._threads:
            thread.join(10)
        for sock in [self._listener, *self._sockets]:
            sock.close()

    def hang_up(self) -> None:
        """Break every connection that there is; new ones may come."""
        for sock in self._sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _let_through(self, data: bytes) -> bytes:
        """What passes of some bytes."""
        with self._lock:
            passing = data[: self.left]
            self.passed += len(passing)
            if self.left is not None:
                self.left -= len(passing)
        return passing

    def _run(self, target: t.Callable[..., None], *args: t.Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            onward = socket.create_connection(self.upstream)
            self._sockets += [sock, onward]
            self._run(self._pump, sock, onward, functools.partial(self._asked, sock))
            self._run(self._pump, onward, sock, functools.partial(self._told, sock))

    def _asked(self, client: socket.socket, size: int) -> None:
        with self._lock:
            self.sent += size
            self.trips += client not in self._asking
            self._asking.add(client)
        if self.pause:
            time.sleep(self.pause * size / BLOCK)

    def _told(self, client: socket.socket, size: int) -> None:
        with self._lock:
            self._asking.discard(client)

    def _pump(
        self,
        source: socket.socket,
        target: socket.socket,
        count: t.Callable[[int], None],
    ) -> None:
        try:
            while data := source.recv(BLOCK):
                count(len(data))
                passing = self._let_through(data)
                if not self.silent:
                    target.sendall(passing)
                if self.left == 0:
                    self.left = None
                    self.hang_up()
            if not self.silent:
                target.shutdown(socket.SHUT_WR)
        except OSError:
            pass
