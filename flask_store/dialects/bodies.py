"""The bytes of a file for a reader: which of them, as many as were announced, or an
error."""

from __future__ import annotations

import io
import os
import typing as t
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import nullcontext
from contextlib import suppress

from ..uploads.source import CHUNK
from .errors import NoAnswer

if t.TYPE_CHECKING:
    from .records import Stat

#: How much of a file on disk is read at a time, in bytes.
BLOCK = 256 * 1024

#: Makes a context that turns an error of the storage into a StoreError.
Explained: t.TypeAlias = Callable[[], AbstractContextManager[None]]


class Span(t.NamedTuple):
    """The bytes that a request asks for, which may not know the size of the file (RFC
    9110, section 14.1.2): those from *first* to *last*, or to the end if *last* is
    ``None``. If *first* is ``None``, the last *last* bytes.
    """

    first: int | None
    last: int | None

    @classmethod
    def between(cls, start: int, stop: int | None) -> Span:
        """The bytes from *start* up to *stop*, which is greater."""
        return cls(start, None if stop is None else stop - 1)

    def within(self, size: int) -> tuple[int, int]:
        """Where the span starts and stops in a file of *size* bytes. If the file has no
        byte of it, the start is not less than the stop."""
        if self.first is None:
            return max(0, size - (self.last or 0)), size
        return self.first, size if self.last is None else min(size, self.last + 1)

    def meets(self, size: int) -> bool:
        """Whether a file of *size* bytes has any byte of the span."""
        start, stop = self.within(size)
        return start < stop

    def __str__(self) -> str:
        return "-".join("" if end is None else str(end) for end in self)


def bounds(span: Span | None, size: int) -> tuple[int, int] | None:
    """Where a span starts and stops in a file.

    :param span: which bytes, or ``None`` for all.
    :param size: of the file.
    :return: ``None`` if the file has no byte of the span.
    """
    if span is None:
        return 0, size
    return span.within(size) if span.meets(size) else None


class OutOfSpan(Exception):
    """The file has no byte of the span. An empty file has none of any span."""


class Fetched(t.NamedTuple):
    """Bytes of a file, and the description of that file.

    :param found: the whole file, in the version that the bytes are of.
    :param start: the first byte of *body*.
    :param stop: the one after its last.
    :param body: an iterator of bytes, which is to be closed; see
        :class:`~flask_store.dialects.bodies.Body`.
    """

    found: Stat
    start: int
    stop: int
    body: t.Any


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

    :param file: that stands at its start; closed together with this.
    :param start: the first byte of the part.
    :param stop: the one after its last.
    """

    def __init__(self, file: t.BinaryIO, start: int, stop: int) -> None:
        # A disk is not asked before somebody wants the bytes.
        self.file = file
        if start:
            file.seek(start)
        self._stop = stop
        self._left = stop - start
        self._lent = False
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
        self._lent = True
        return self.file.fileno()

    def close(self) -> None:
        """Close the file.

        :raises NoAnswer: if a server has sent it by its descriptor and the file has
            become shorter than the part. gunicorn would keep the connection, and its
            client would take the next response for the rest of the file.
        """
        lent, self._lent = self._lent, False
        try:
            if lent:
                with self.explained():
                    self._check_size()
        finally:
            with suppress(OSError):  # the file was only read, so no data is lost
                self.file.close()

    def _check_size(self) -> None:
        size = os.fstat(self.file.fileno()).st_size
        if size < self._stop:
            raise NoAnswer(f"the file ended {self._stop - size} bytes too early")


def part(
    fetched: Fetched,
    start: int,
    stop: int,
    explained: Explained = nullcontext,
) -> Body:
    """The bytes from *start* up to *stop* of what was fetched.

    :param explained: the context in which they are read.
    :raises NoAnswer: if there are more or fewer bytes.
    """
    body = fetched.body
    if isinstance(body, FilePart):
        body.explained = explained
        return body
    return Body(
        body,
        stop - start,
        skip=start - fetched.start,
        ends=stop == fetched.stop,
        explained=explained,
    )


def whole(fetched: Fetched | None) -> Body:
    """All the bytes of a file that was fetched without a span."""
    assert fetched is not None
    return part(fetched, 0, fetched.found.size)


def joined(pieces: Iterable[bytes]) -> bytes:
    """All the bytes of a stream. Unlike ``b"".join()``, it does not keep every piece
    until all are there."""
    rest = iter(pieces)
    found = io.BytesIO(next(rest, b""))  # which copies nothing if that is all
    found.seek(0, io.SEEK_END)
    found.writelines(rest)
    return found.getvalue()


def pieces(file: t.IO[bytes], start: int, stop: int | None) -> Iterator[bytes]:
    """The bytes of an open file from *start* up to *stop*, at most 1 MiB each."""
    file.seek(start)
    while stop is None or start < stop:
        data = file.read(CHUNK if stop is None else min(CHUNK, stop - start))
        if not data:
            break
        start += len(data)
        yield data
