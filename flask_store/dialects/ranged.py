"""A stored file that is read by ranges, in place of a library's own file."""

from __future__ import annotations

import io
import typing as t

import fsspec

from ..sources import CHUNK
from ..sources import StoredFile
from . import Dialect


def ranged(
    dialect: Dialect, fs: fsspec.AbstractFileSystem, key: str, size: int
) -> t.IO[bytes]:
    """A file that asks for 1 MiB at a time, through the dialect's ``stream``."""
    raw = RangedFile(dialect, fs, key, size)
    return t.cast("t.IO[bytes]", StoredFile(raw, CHUNK))


class RangedFile(io.RawIOBase):
    """What is behind :func:`ranged`; each read is one request."""

    def __init__(
        self, dialect: Dialect, fs: fsspec.AbstractFileSystem, key: str, size: int
    ) -> None:
        self.dialect, self.fs, self.key, self.size = dialect, fs, key, size
        self.position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}
        self.position = max(0, origin[whence] + offset)
        return self.position

    def readinto(self, buffer: t.Any) -> int:
        stop = min(self.position + len(buffer), self.size)
        if stop <= self.position:
            return 0
        pieces = self.dialect.stream(self.fs, self.key, self.position, stop)
        data = b"".join(pieces)
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)
