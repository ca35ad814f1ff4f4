"""An opened file whose errors are those of its store."""

from __future__ import annotations

import io
import typing as t

from ..dialects.bodies import Explained
from ..dialects.handles import ReadOnlyFile


class OpenedFile(ReadOnlyFile):
    """A file of a filesystem, for reading.

    :param file: the file; it is closed together with this.
    :param key: its key.
    :param explained: the context in which it is read.
    """

    def __init__(self, file: t.IO[bytes], key: str, explained: Explained) -> None:
        self._file = file
        self.name = key
        self._explained = explained

    def seekable(self) -> bool:
        self.check_open()
        with self._explained():
            return self._file.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        # A mistake of the caller is none of the storage, and not explained as such.
        size = getattr(self._file, "size", None)
        if size is not None or whence != io.SEEK_END:
            offset = self.target(offset, whence, self.tell(), size or 0)
            whence = io.SEEK_SET
        with self._explained():
            self._file.seek(offset, whence)
            return self._file.tell()  # not every library's seek() tells

    def tell(self) -> int:
        self.check_open()
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
