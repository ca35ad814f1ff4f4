"""Files that are open for reading, and behave as those of :mod:`io` do."""

from __future__ import annotations

import atexit
import io
import os
import typing as t
import weakref
from collections.abc import Callable
from contextlib import suppress

from ..uploads.source import CHUNK
from .bodies import joined
from .errors import NoAnswer


class ReadOnlyFile(io.RawIOBase):
    """A file for reading, whose child says what :meth:`tell`, :meth:`seek` and
    ``readinto`` do. A file that is closed raises :exc:`ValueError`."""

    #: As files on disk have it.
    mode = "rb"

    def readable(self) -> bool:
        self.check_open()
        return True

    def seekable(self) -> bool:
        self.check_open()
        return True

    def check_open(self) -> None:
        """:raises ValueError: if the file is closed."""
        if self.closed:
            raise ValueError("I/O operation on closed file.")

    def target(self, offset: int, whence: int, position: int, size: int) -> int:
        """Where a ``seek`` leads.

        :param position: where the file stands.
        :param size: of the file, in bytes.
        :raises ValueError: if that is before the first byte.
        """
        self.check_open()
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: position, io.SEEK_END: size}
        if whence not in origin:
            raise ValueError(f"whence is {whence!r}; it must be 0, 1 or 2.")
        if origin[whence] + offset < 0:
            raise ValueError(f"negative seek position {origin[whence] + offset}")
        return origin[whence] + offset


class HandleFile(ReadOnlyFile):
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
        self.size = size
        self._check = check
        self._position = 0
        _close_at_exit(self)

    def tell(self) -> int:
        self.check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = self.target(offset, whence, self._position, self.size)
        if position != self._position:
            self._file.seek(position)
            self._position = position
        return position

    def readinto(self, buffer: t.Any) -> int:
        remaining = self.size - self._position
        count = min(len(buffer), remaining)
        if count <= 0:
            return 0
        data = self._file.read(count)
        if not data:
            raise NoAnswer(f"the file ended {remaining} bytes too early")
        if len(data) > count:
            raise NoAnswer("there are more bytes than were announced")
        self._position += len(data)
        if self._position == self.size and self._check is not None:
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


# The garbage collector of a process that exits closes files when the threads do not run
# any more by which some libraries ask their server. It would wait for ever.
_open: weakref.WeakSet[HandleFile] = weakref.WeakSet()


def _close_at_exit(file: HandleFile) -> None:
    """Close a file when the process exits, unless it is closed before."""
    if not _open:
        # Again for the first of several files: what is registered last is called
        # first, and the file is to be closed before its connection.
        atexit.unregister(_close_all)
        atexit.register(_close_all)
    _open.add(file)


def _close_all() -> None:
    for file in list(_open):
        file.close()


if hasattr(os, "register_at_fork"):
    # The files are the parent's.
    os.register_at_fork(after_in_child=_open.clear)
