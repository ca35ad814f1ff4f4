"""A stored file that is to get another name: what a copy, a move and ``confirm()``
store."""

from __future__ import annotations

import io
import typing as t
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator

from ..uploads.source import Source
from ..uploads.source import Streamed

if t.TYPE_CHECKING:
    from .records import Stat


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


def _opened_late(read: Callable[[], Iterable[bytes]]) -> Iterator[bytes]:
    yield from read()
