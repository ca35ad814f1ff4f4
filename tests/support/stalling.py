"""A TCP relay in front of any server, which stalls as slow servers and networks do."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import typing as t
from contextlib import suppress

BLOCK = 64 * 1024
#: The reply of an FTP server that names the port of a transfer (RFC 959, section 4.2).
PASSIVE = re.compile(rb"227 [^(]*\((?:\d+,){4}(\d+),(\d+)\)[^\n]*\n")


class StallingRelay:
    """Passes on bytes both ways, until somebody says how it is to stall.

    :param port: of the server.
    """

    def __init__(self, port: int) -> None:
        self.upstream = ("127.0.0.1", port)
        #: How many more bytes of the server pass, before it is silent or drips.
        self.passing: int | None = None
        #: After so many seconds each, single bytes of the server come then.
        self.drip: float | None = None
        #: How many more bytes of clients are read; the server never sees those behind.
        self.reading: int | None = None
        self._over = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> t.Self:
        self.port = self._listen(self.upstream[1])
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        for sock in self._sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for sock in self._sockets:
            sock.close()

    def _run(self, target: t.Callable[..., None], *args: t.Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self, port: int) -> int:
        """The port at which clients reach a port of the server."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        # Else the system's buffers take a whole file.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BLOCK)
        self._sockets.append(listener)
        self._run(self._accept, listener, (self.upstream[0], port))
        return int(listener.getsockname()[1])

    def _accept(self, listener: socket.socket, upstream: tuple[str, int]) -> None:
        while not self._over.is_set():
            try:
                client, _ = listener.accept()
                server = socket.create_connection(upstream)
            except OSError:
                return
            self._sockets += [client, server]
            self._run(self._asked, client, server)
            self._run(self._told, server, client)

    def _asked(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(BLOCK):
                if self.reading is not None:
                    self.reading -= len(data)
                    if self.reading < 0:
                        self._over.wait()
                        return
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _told(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(BLOCK):
                if match := PASSIVE.fullmatch(data):
                    port = self._listen(int(match[1]) * 256 + int(match[2]))
                    high, low = divmod(port, 256)
                    data = f"227 Passive (127,0,0,1,{high},{low}).\r\n".encode()
                at_once = len(data)
                if self.passing is not None:
                    at_once = min(at_once, max(self.passing, 0))
                    self.passing -= at_once
                client.sendall(data[:at_once])
                self._drip(data[at_once:], client)
            client.shutdown(socket.SHUT_WR)

    def _drip(self, data: bytes, client: socket.socket) -> None:
        for position in range(len(data)):
            if self._over.wait(self.drip):
                return
            client.sendall(data[position : position + 1])


@contextlib.contextmanager
def full() -> t.Iterator[int]:
    """A port at which the system lets nobody in: whoever connects waits."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(4):  # Linux lets in one more than it was told
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(address)
        yield int(address[1])
