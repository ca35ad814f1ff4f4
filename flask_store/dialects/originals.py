"""What is stored already and is to get another name: what a copy, a move and
``confirm()`` store."""

from __future__ import annotations

import io
import typing as t
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import AbstractContextManager

from ..media_types import UNKNOWN
from ..uploads.source import Source
from ..uploads.source import StoredFile
from ..uploads.source import Streamed
from .bodies import part
from .bodies import Span
from .records import Stat

#: What is done to the bytes of a file, whose key it gets for errors, before they are
#: stored: it makes another upload of an upload.
Change: t.TypeAlias = Callable[[Source, str], AbstractContextManager[Source]]


class NotByStorage(Exception):
    """The storage does not copy or rename by itself, or not this file. Nothing has
    changed. The caller goes on in another way, and at last sends the bytes through
    this process, which also tells what is wrong with the file."""


class Original(Source):
    """One version of a stored file, as an upload. Nobody reads it where the storage
    copies or renames the file by itself.

    :param found: what the storage said of the file. Its name is the whole key.
    :param dialect: the dialect that stores the file; ``None`` if no storage has it yet.
    :param read: opens the bytes of this version.
    :param moves: whether its old name is to go.
    :param resumes: whether an earlier call, which was cut off, may have given it the
        very name that it is to get.
    """

    #: Whether it has its new name, and no longer the old one.
    renamed = False
    #: Whether it has both names, and they are two of one file.
    linked = False

    def __init__(
        self,
        found: Stat,
        dialect: t.Any,
        read: Callable[[], Iterable[bytes]],
        moves: bool = False,
        resumes: bool = False,
    ) -> None:
        stream = io.BufferedReader(Streamed(_opened_late(read)))
        super().__init__(t.cast("t.IO[bytes]", stream), None)
        self.found = found
        self.dialect = dialect
        self.moves = moves
        self.resumes = resumes
        self.size = found.size
        self.properties = found.properties

    def path(self, *, follow: bool = True) -> str:
        """Where the file is, in the words of its filesystem.

        :param follow: whether a link in the last place is followed.
        """
        return t.cast(str, self.dialect.path(self.found.name, follow=follow))

    def paths(self) -> list[str]:
        """Where the files are that a copy is made of, in their order."""
        return [self.path()]

    def check(self) -> None:
        """:raises VersionGone: if the storage does not have this version any more."""
        self.dialect._check_version(self.found)


class Joined(Original):
    """Private files that nobody changes, and that are to become one.

    :param name: the private name that stands for the whole.
    :param parts: the files, in their order.
    :param dialect: the dialect that stores them.
    """

    def __init__(self, name: str, parts: Sequence[Stat], dialect: t.Any) -> None:
        size = sum(part.size for part in parts)
        found = Stat(name, size, None, None, UNKNOWN)
        super().__init__(found, dialect, tuple, resumes=True)
        self.parts = parts
        # Unlike other files of a store, it can be read from its start again.
        self.stream = t.cast("t.IO[bytes]", StoredFile(Chain(parts, dialect)))

    def paths(self) -> list[str]:
        return [self.dialect.path(part.name) for part in self.parts]

    def check(self) -> None:
        """One that is gone cannot be read either."""


class Chain(io.RawIOBase):
    """Stored files, one after the other, as one stream that seeks.

    :param parts: the files, in their order.
    :param dialect: the dialect that stores them.
    :param exact: whether the parts say which versions of the files are wanted.
    """

    def __init__(
        self, parts: Sequence[Stat], dialect: t.Any, exact: bool = False
    ) -> None:
        self._parts = parts
        self._dialect = dialect
        self._exact = exact
        self._size = sum(part.size for part in parts)
        self._position = 0
        self._stream: Streamed | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_CUR: self._position, io.SEEK_END: self._size}
        position = max(0, origin.get(whence, 0) + offset)
        if position != self._position:
            self._end()
            self._position = position
        return position

    def readinto(self, buffer: t.Any) -> int:
        if self._stream is None:
            self._stream = Streamed(self._from(self._position))
        count = self._stream.readinto(buffer)
        self._position += count
        return count

    def close(self) -> None:
        self._end()
        super().close()

    def _end(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _from(self, position: int) -> Iterator[bytes]:
        for found in self._parts:
            if position < found.size:
                span = Span.between(position, found.size)
                version = found if self._exact else None
                fetched = self._dialect.get(found.name, span, version)
                yield from part(fetched, position, found.size)
            position = max(0, position - found.size)


def _opened_late(read: Callable[[], Iterable[bytes]]) -> Iterator[bytes]:
    yield from read()
