"""An open file of a server: no more and no less of it is read than it has."""

from __future__ import annotations

import io
import typing as t
from collections.abc import Callable
from contextlib import suppress

from ..uploads.source import CHUNK
from .errors import NoAnswer
from .records import joined


class HandleFile(io.RawIOBase):
    """A file that is open on a server, or a third party's file, for reading.

    :param file: the library's file; it is closed together with this.
    :param size: how many bytes it has.
    :param check: raises an error if the file is another one than when it was opened.
        It is asked before the last bytes are given out.
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
        left = self._size - self._position
        wanted = min(len(buffer), left)
        if wanted <= 0:
            return 0
        data = self._file.read(wanted)
        if not data:
            raise NoAnswer(f"the file ended {left} bytes too early")
        if len(data) > wanted:
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
            with suppress(Exception):  # of a connection that is broken
                self._file.close()
