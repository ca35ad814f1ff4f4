"""An opened file whose errors are those of its store."""

from __future__ import annotations

import io
import typing as t

from ..dialects.bodies import Explained


class OpenedFile(io.RawIOBase):
    """A file of a filesystem, for reading.

    :param file: the file; it is closed together with this.
    :param explained: the context in which it is read.
    """

    def __init__(self, file: t.IO[bytes], explained: Explained) -> None:
        self._file = file
        self._explained = explained

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        with self._explained():
            return self._file.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with self._explained():
            self._file.seek(offset, whence)
            return self._file.tell()  # not every library's seek() tells

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: t.Any) -> int:
        with self._explained():
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        with self._explained():
            return self._file.read()

    def close(self) -> None:
        if not self.closed:
            with self._explained():
                self._file.close()
        super().close()
