"""The bytes of a file for a reader: as many as were announced, or an error."""

from __future__ import annotations

import io
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import nullcontext
from contextlib import suppress

from .errors import NoAnswer

#: How much of a file on disk is read at a time, in bytes.
BLOCK = 256 * 1024

#: Makes a context that turns an error of the storage into a StoreError.
Explained: t.TypeAlias = Callable[[], AbstractContextManager[None]]


class Body:
    """A part of a stream of bytes. It counts the bytes while they are read.

    The constructor reads the first piece, and raises the errors that this meets. The
    last piece is yielded only when the stream has ended where it should. So a reader
    who has read everything has read one whole version. Too few bytes are an error, and
    so are too many: the server then closes the connection, where the client would
    otherwise wait for the rest.

    :param pieces: an iterator of bytes; it is closed together with this.
    :param length: how many bytes the part has.
    :param skip: how many bytes of the stream come before the part.
    :param ends: whether the stream ends with the part. If not, the rest is not read.
    :param explained: the context in which the stream is read.
    :raises NoAnswer: if the stream is shorter or longer than it should be.
    """

    def __init__(
        self,
        pieces: Iterator[bytes],
        length: int,
        skip: int = 0,
        ends: bool = True,
        explained: Explained = nullcontext,
    ) -> None:
        self._pieces = pieces
        self._remaining = length
        self._skip = skip
        self._ends = ends
        self.explained = explained
        self._first = self._read()

    def __iter__(self) -> t.Self:
        return self

    def __next__(self) -> bytes:
        piece, self._first = self._first or self._read(), b""
        if not piece:
            self.close()
            raise StopIteration
        return piece

    def _read(self) -> bytes:
        """The next piece of the part; empty at its end."""
        try:
            with self.explained():
                return self._counted()
        except BaseException:
            self.close()
            raise

    def _counted(self) -> bytes:
        piece = b""
        if self._remaining:
            piece = self._skipped()
            if not piece:
                raise NoAnswer(f"the file ended {self._remaining} bytes too early")
        surplus = len(piece) - self._remaining
        self._remaining = max(0, -surplus)
        if not self._ends:
            return piece[: len(piece) - max(0, surplus)]
        if surplus > 0 or (not self._remaining and next(self._pieces, b"")):
            raise NoAnswer("there are more bytes than were announced")
        return piece

    def _skipped(self) -> bytes:
        while piece := next(self._pieces, b""):
            if len(piece) > self._skip:
                piece, self._skip = piece[self._skip :], 0
                break
            self._skip -= len(piece)
        return piece

    def close(self) -> None:
        """Close the stream, also in the middle of a file."""
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()


class FilePart(Body):
    """A part of an open file on disk, which may go on behind it.

    It is also a file for a server's ``wsgi.file_wrapper`` (PEP 3333, "Optional
    Platform-Specific File Handling"). :meth:`read` never goes beyond the end of the
    part, even if the file has grown meanwhile: the client would take further bytes for
    the next response on its connection.

    :param file: closed together with this.
    :param start: the first byte of the part.
    :param stop: the one after its last.
    """

    def __init__(self, file: t.BinaryIO, start: int, stop: int) -> None:
        # A disk is not asked before somebody wants the bytes.
        self.file = file
        file.seek(start)
        self._stop = stop
        self._left = stop - start
        self.explained = nullcontext

    def __next__(self) -> bytes:
        if not self._left:
            self.close()
            raise StopIteration
        try:
            with self.explained():
                piece = self.file.read(min(BLOCK, self._left))
                if not piece:
                    raise NoAnswer(f"the file ended {self._left} bytes too early")
        except BaseException:
            self.close()
            raise
        self._left -= len(piece)
        return piece

    def read(self, size: int = -1) -> bytes:
        """Up to *size* bytes; all that remain if *size* is negative.

        :raises NoAnswer: if the file has become shorter than the part.
        """
        remaining = max(0, self._stop - self.file.tell())
        count = remaining if size < 0 else min(size, remaining)
        with self.explained():
            data = self.file.read(count)
            if count and not data:
                raise NoAnswer(f"the file ended {remaining} bytes too early")
        return data

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def fileno(self) -> int:
        """The descriptor, for a server that stops at the announced length."""
        return self.file.fileno()

    def close(self) -> None:
        with suppress(OSError):  # the file was only read, so no data is lost
            self.file.close()
