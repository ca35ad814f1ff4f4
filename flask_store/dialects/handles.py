"""An open file of a server, of which exactly *size* bytes are read."""

from __future__ import annotations

import io
import typing as t
from collections.abc import Callable
from contextlib import suppress

from ..uploads.source import CHUNK
from .bodies import joined
from .errors import NoAnswer


class HandleFile(io.RawIOBase):
    """A file for reading, which a server or a third party's filesystem has opened.

    :param file: the file object of the library; it is closed together with this.
    :param size: how many bytes the file has.
    :param check: raises an error if the file has changed since it was opened. It is
        called before the last bytes are returned.
    """

    def __init__(
        self, file: t.IO[bytes], size: int, check: Callable[[], None] | None = None
    ) -> None:
        self._file = file
        self._size = size
        self._check = check
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}
        position = max(0, origin[whence] + offset)
        if position != self._position:
            self._file.seek(position)
            self._position = position
        return position

    def readinto(self, buffer: t.Any) -> int:
        remaining = self._size - self._position
        count = min(len(buffer), remaining)
        if count <= 0:
            return 0
        data = self._file.read(count)
        if not data:
            raise NoAnswer(f"the file ended {remaining} bytes too early")
        if len(data) > count:
            raise NoAnswer("there are more bytes than were announced")
        self._position += len(data)
        if self._position == self._size and self._check is not None:
            self._check()
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        return joined(iter(lambda: self.read(CHUNK), b""))

    def close(self) -> None:
        if not self.closed:
            super().close()
            with suppress(Exception):  # the connection may be broken
                self._file.close()
