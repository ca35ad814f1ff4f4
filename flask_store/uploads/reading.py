"""What libraries call of a file that they are to read, for a file of a store."""

from __future__ import annotations

import io
import typing as t
import weakref
from collections.abc import Iterator
from contextlib import suppress


class Readable:
    """A value that libraries can read as they read a file that is open.

    :meth:`read` without a size gives the whole content, each time. As soon as somebody
    reads with a size or seeks, the value has a position, as an open file has: every
    method goes on there, and :meth:`read` gives what follows it. :meth:`close` forgets
    the position. ``for line in file``, and each file that :meth:`open` returns, have a
    position of their own: use these for two readers at once, or in threads. Copies and
    pickles begin at the start.
    """

    #: As a file that is open has it.
    mode: t.Literal["rb"] = "rb"
    #: It can always be read.
    closed: t.Literal[False] = False

    #: The file that has the position, if somebody has moved it.
    _opened: t.IO[bytes] | None = None
    #: Closes it, also when this value is gone.
    _closing: weakref.finalize[..., Readable] | None = None

    def open(self) -> t.IO[bytes]:
        """The file, for reading, with a position of its own."""
        raise NotImplementedError

    def _read_all(self) -> bytes:
        """The whole content."""
        raise NotImplementedError

    def read(self, size: int | None = -1) -> bytes:
        """The whole content or, if somebody has moved the position, what follows it.

        A library leaves the position where it has stopped. :meth:`close` or ``seek(0)``
        leads back to the start.

        :param size: if it is given, at most so many bytes from the position on, which
            moves; none at the end of the file.
        :raises FileNotFound: if the file is not there.
        """
        if self._opened is None and (size is None or size < 0):
            return self._read_all()
        return self._file().read(-1 if size is None else size)

    def readall(self) -> bytes:
        """What follows the position, for what wraps the file in a buffer."""
        return self._file().read()

    def read1(self, size: int = -1) -> bytes:
        """At most *size* bytes from the position on, for what wraps the file for
        text."""
        return t.cast("io.BufferedReader", self._file()).read1(size)

    def readinto(self, buffer: t.Any) -> int:
        """Put bytes from the position on into a buffer.

        :return: how many.
        """
        return t.cast("io.BufferedReader", self._file()).readinto(buffer)

    def readline(self, size: int = -1) -> bytes:
        """The rest of the line at the position."""
        return self._file().readline(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position.

        :return: where it is.
        """
        return self._file().seek(offset, whence)

    def tell(self) -> int:
        """The position."""
        return 0 if self._opened is None else self._opened.tell()

    def readable(self) -> bool:
        """Always ``True``."""
        return True

    def seekable(self) -> bool:
        """Always ``True``."""
        return True

    def writable(self) -> bool:
        """Always ``False``."""
        return False

    def flush(self) -> None:
        """Nothing is written."""

    def close(self) -> None:
        """Go back to the start. The file can be read again."""
        self._opened = None
        if self._closing is not None:
            self._closing()

    def __iter__(self) -> Iterator[bytes]:
        """The lines, from the first one on."""
        with self.open() as file:
            yield from file

    def _value(self) -> dict[str, t.Any]:
        """The attributes without the position, for copies and pickles."""
        state = dict(vars(self))
        for name in ("_opened", "_closing"):
            state.pop(name, None)
        return state

    def _file(self) -> t.IO[bytes]:
        if self._opened is None:
            self._opened = self.open()
            self._closing = weakref.finalize(self, _close, self._opened)
            # What is open at exit is closed before, and not by a process that forked.
            self._closing.atexit = False
        return self._opened


def _close(file: t.IO[bytes]) -> None:
    """Close a file that was only read, whatever has become of its connection."""
    with suppress(Exception):
        file.close()
