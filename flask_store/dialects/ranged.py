"""A stored file that is read by ranges, in place of a library's own file."""

from __future__ import annotations

import io
import typing as t
from collections.abc import Iterator

from ..uploads.source import CHUNK
from ..uploads.source import StoredFile
from . import Dialect
from .errors import NoAnswer
from .records import Fetched
from .records import joined
from .records import part
from .records import Span
from .records import whole

#: The least that is asked for.
BLOCK = 64 * 1024
#: How many times as much every further range is, while nobody jumps.
GROWTH = 16


def ranged(dialect: Dialect, fetched: Fetched | None) -> StoredFile:
    """A file that reads through :meth:`Dialect.get`.

    :param fetched: the whole file, which has been asked for already.
    """
    assert fetched is not None
    return StoredFile(RangedFile(dialect, fetched), BLOCK)


class RangedFile(io.RawIOBase):
    """What is behind :func:`ranged`.

    A reader who jumps may want no more than a few bytes there, and gets 64 KiB. One who
    reads on gets more and more with each request, as a stream of which no more is in
    memory than before. The stream that it begins with is of the whole file. Every
    range is of the version that was opened, where the protocol can tell.
    """

    def __init__(self, dialect: Dialect, fetched: Fetched) -> None:
        self.dialect, self.found = dialect, fetched.found
        self.position = 0
        # The size of the next range, and the one that is read, from the position on.
        self._size = self.found.size
        self._pieces: Iterator[bytes] = whole(fetched)
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        end = self.found.size
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: end}
        position = max(0, origin[whence] + offset)
        if position != self.position:
            self.position, self._size = position, BLOCK
            self._leave()
        return position

    def readinto(self, buffer: t.Any) -> int:
        if self.position >= self.found.size:
            return 0
        self._piece = self._piece or self._next() or self._ask(len(buffer))
        data, self._piece = self._piece[: len(buffer)], self._piece[len(buffer) :]
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)

    def readall(self) -> bytes:
        self._size = self.found.size
        return joined(iter(lambda: self.read(CHUNK), b""))

    def close(self) -> None:
        self._leave()
        super().close()

    def _next(self) -> memoryview:
        """What the range goes on with; nothing if it is at its end, or has broken off
        because the reader took its time."""
        try:
            return memoryview(next(self._pieces, b""))
        except Exception:
            return memoryview(b"")

    def _ask(self, least: int) -> memoryview:
        start, size = self.position, max(self._size, least)
        stop = min(start + size, self.found.size)
        self._leave()
        self._size = GROWTH * size
        span = Span.between(start, stop)
        fetched = self.dialect.get(self.found.name, span, self.found)
        if fetched is None:
            raise NoAnswer(f"the file ended {self.found.size - start} bytes too early")
        self._pieces = part(fetched, start, stop)
        return memoryview(next(self._pieces))

    def _leave(self) -> None:
        pieces, self._pieces = self._pieces, iter(())
        self._piece = memoryview(b"")
        close = getattr(pieces, "close", None)
        if close is not None:
            close()
