"""The bytes of an answer: there before it begins, as many as promised, then closed."""

from __future__ import annotations

import io
import typing as t
from collections.abc import Iterator

from .exceptions import StoreError

#: How much of a file on disk is read at a time.
BLOCK = 256 * 1024


class Opened:
    """A stream whose first piece has come, so that it is known to work.

    Too few bytes are an error: the server then cuts the connection, where the client
    would wait for the rest. Too many are left out.

    :param pieces: a generator of bytes; closed together with this.
    :param length: how many bytes were promised.
    """

    def __init__(self, pieces: Iterator[bytes], length: int) -> None:
        self._pieces = pieces
        self._left = length
        self._first = next(pieces, b"")

    def __iter__(self) -> t.Self:
        return self

    def __next__(self) -> bytes:
        if not self._left:
            self.close()
            raise StopIteration
        piece, self._first = self._first or next(self._pieces, b""), b""
        if not piece:
            raise StoreError(f"The file ended {self._left} bytes too early.")
        piece = piece[: self._left]
        self._left -= len(piece)
        return piece

    def close(self) -> None:
        """Let go of the storage, also in the middle of a file."""
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()


class FilePart(Opened):
    """A part of an open file on disk, to iterate over or to read.

    It is also a file for a server's ``wsgi.file_wrapper`` (PEP 3333, "Optional
    Platform-Specific File Handling"). :meth:`read` never goes beyond the end of the
    part, also if the file has grown meanwhile: the client would take what follows for
    the next answer on its connection.

    :param file: closed together with this.
    """

    def __init__(self, file: t.BinaryIO, start: int, stop: int) -> None:
        file.seek(start)
        self._file = file
        self._stop = stop
        self._left = stop - start
        self._first = b""
        self._pieces = iter(lambda: file.read(BLOCK), b"")

    def read(self, size: int = -1) -> bytes:
        """Up to *size* bytes; all that are left if it is negative.

        :raises StoreError: if the file has become shorter than the part.
        """
        left = max(0, self._stop - self._file.tell())
        wanted = left if size < 0 else min(size, left)
        data = self._file.read(wanted)
        if wanted and not data:
            raise StoreError(f"The file ended {left} bytes too early.")
        return data

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def fileno(self) -> int:
        """The descriptor, for a server that stops at the announced length."""
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()
