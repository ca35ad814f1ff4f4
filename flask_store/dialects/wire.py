"""What comes over a socket, in time."""

from __future__ import annotations

import io
import socket
import time
import typing as t

from .pace import PROGRESS

#: How many seconds after its time limit a read may end. The socket's own timeout is
#: changed, which costs a system call, only when it differs by more.
SLACK = 0.25


class Waiting:
    """Counts the seconds that were spent waiting for the next :data:`PROGRESS` bytes of
    a response. What its reader does in between does not count."""

    def __init__(self) -> None:
        #: In seconds.
        self.waited = 0.0
        self._received = 0

    def begin(self) -> None:
        """Begin anew, with another response."""
        self.waited, self._received = 0.0, 0

    def add(self, seconds: float, size: int) -> None:
        """Note that *size* bytes have come after so many seconds."""
        self.waited += seconds
        self._received += size
        if self._received >= PROGRESS:
            self.begin()


class Wire(io.RawIOBase):
    """A socket for reading. Every :data:`~flask_store.dialects.pace.PROGRESS` bytes, or
    the rest, have one time limit.

    Only waiting for bytes takes from this time, so that a reader may take as long as
    he likes between them.

    :param sock: where the bytes come from; its timeout is the limit.
    :param raw: what :meth:`socket.socket.makefile` made; closed together with this.
    """

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self.sock = sock
        self._raw = raw
        self._limit = self._timeout = sock.gettimeout() or 0.0
        self._waiting = Waiting()
        #: Whether the server has closed its side, and somebody has noticed.
        self.ended = False

    def begin(self, limit: float) -> None:
        """Begin the limit anew, for another answer.

        :param limit: in seconds.
        """
        self.sock.settimeout(limit)
        self._limit = self._timeout = limit
        self._waiting.begin()

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def readinto(self, buffer: t.Any) -> int:
        """:raises TimeoutError: if the bytes do not come in time."""
        if self._limit:
            left = self._limit - self._waiting.waited
            if left <= 0:
                raise TimeoutError(f"{PROGRESS} bytes take more than {self._limit} s")
            if abs(self._timeout - left) > SLACK:
                self.sock.settimeout(left)
                self._timeout = left
        begun = time.monotonic()
        size = self.sock.recv_into(buffer)
        self._waiting.add(time.monotonic() - begun, size)
        self.ended = not size
        return size

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()
