"""What libraries call of a file that they are to read, for a file of a store."""

from __future__ import annotations

import io
import typing as t
import weakref
from collections.abc import Iterator
from contextlib import suppress

#: How many bytes at the start of a file a library looks at, to know what it is.
HEADER = 64


class Readable:
    """A value that libraries can read as they read a file that is open.

    :meth:`read` without a size gives the whole content. Beside that, the value has one
    position, as an open file has: :meth:`read` with a size, :meth:`seek` and the like
    move it, and the next library goes on there. :meth:`close` and ``seek(0)`` lead back
    to the start. ``for line in file``, and each file that :meth:`open` returns, have a
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
    #: Whether somebody is about to read all that follows the position.
    _continues = False

    def open(self) -> t.IO[bytes]:
        """The file, for reading, with a position of its own."""
        raise NotImplementedError

    def _read_all(self) -> bytes:
        """The whole content."""
        raise NotImplementedError

    def read(self, size: int | None = -1) -> bytes:
        """The whole content, each time, wherever the position is.

        Libraries that seek to a place, or look at a header first, read the rest of the
        file in this way. So right after :meth:`seek`, after a read of 64 bytes or less
        from the start, and for a wrapper such as :class:`io.TextIOWrapper`, it is what
        follows the position, if anything does.

        :param size: if it is given, at most so many bytes from the position on, which
            moves; none at the end of the file.
        :raises FileNotFound: if the file is not there.
        """
        if size is not None and size >= 0:
            file = self._file()
            self._continues = size <= HEADER and file.tell() == 0
            return file.read(size)
        rest = self._file().read() if self._continues else b""
        return rest or self._read_all()

    def readall(self) -> bytes:
        """What follows the position, for what wraps the file in a buffer."""
        return self._file().read()

    def read1(self, size: int = -1) -> bytes:
        """At most *size* bytes from the position on, for what wraps the file for
        text."""
        data = t.cast("io.BufferedReader", self._file()).read1(size)
        self._continues = True
        return data

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
        position = self._file().seek(offset, whence)
        self._continues = True
        return position

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
        self._opened, self._continues = None, False
        if self._closing is not None:
            self._closing()

    def __iter__(self) -> Iterator[bytes]:
        """The lines, from the first one on."""
        with self.open() as file:
            yield from file

    def _value(self) -> dict[str, t.Any]:
        """The attributes without the position, for copies and pickles."""
        state = dict(vars(self))
        for name in ("_opened", "_continues", "_closing"):
            state.pop(name, None)
        return state

    def _file(self) -> t.IO[bytes]:
        self._continues = False
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
