"""A stored file that is read by ranges, in place of a library's own file."""

from __future__ import annotations

import io
import typing as t
from collections.abc import Iterator

from ..uploads.source import CHUNK
from ..uploads.source import StoredFile
from . import Dialect
from .bodies import Fetched
from .bodies import joined
from .bodies import part
from .bodies import Span
from .bodies import whole
from .errors import NoAnswer
from .handles import ReadOnlyFile

#: The size of the first range after a seek, in bytes.
BLOCK = 64 * 1024
#: How many times as large each further range is, until the next seek.
GROWTH = 16


def ranged(dialect: Dialect, fetched: Fetched | None) -> StoredFile:
    """A file that reads through :meth:`.Dialect.get`.

    :param fetched: the whole file, which has been asked for already.
    """
    assert fetched is not None
    return StoredFile(RangedFile(dialect, fetched), BLOCK)


class RangedFile(ReadOnlyFile):
    """The raw file behind :func:`ranged`.

    It begins with one response that has the whole file. After a seek it requests 64
    KiB, because the reader may want only a few bytes there. Every further request asks
    for 16 times as much. A response is read as a stream, so that a large one takes no
    more memory. Every range is of the version that was opened, if the protocol can
    tell.
    """

    def __init__(self, dialect: Dialect, fetched: Fetched) -> None:
        self.dialect, self.stat = dialect, fetched.found
        self.position = 0
        # The size of the next range, and the bytes of the current one from the
        # position.
        self._size = self.stat.size
        self._pieces: Iterator[bytes] = whole(fetched)
        self._piece = memoryview(b"")

    @property
    def size(self) -> int:
        """In bytes."""
        return self.stat.size

    def tell(self) -> int:
        self.check_open()
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = self.target(offset, whence, self.position, self.size)
        if position != self.position:
            self.position, self._size = position, BLOCK
            self._close_range()
        return position

    def readinto(self, buffer: t.Any) -> int:
        if self.position >= self.stat.size:
            return 0
        self._piece = self._piece or self._next_piece() or self._request(len(buffer))
        data, self._piece = self._piece[: len(buffer)], self._piece[len(buffer) :]
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)

    def readall(self) -> bytes:
        self._size = self.stat.size
        return joined(iter(lambda: self.read(CHUNK), b""))

    def close(self) -> None:
        self._close_range()
        super().close()

    def _next_piece(self) -> memoryview:
        """The next piece of the current range; empty at its end, and if the server has
        closed the connection because the reader was slow."""
        try:
            return memoryview(next(self._pieces, b""))
        except Exception:
            return memoryview(b"")

    def _request(self, least: int) -> memoryview:
        start, size = self.position, max(self._size, least)
        stop = min(start + size, self.stat.size)
        self._close_range()
        self._size = GROWTH * size
        span = Span.between(start, stop)
        fetched = self.dialect.get(self.stat.name, span, self.stat)
        if fetched is None:
            raise NoAnswer(f"the file ended {self.stat.size - start} bytes too early")
        self._pieces = part(fetched, start, stop)
        return memoryview(next(self._pieces))

    def _close_range(self) -> None:
        pieces, self._pieces = self._pieces, iter(())
        self._piece = memoryview(b"")
        close = getattr(pieces, "close", None)
        if close is not None:
            close()
