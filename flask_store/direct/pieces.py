"""A file that arrives as a chain of private files, each of which is stored at once."""

from __future__ import annotations

import tempfile
import typing as t
from collections.abc import Iterator
from contextlib import contextmanager

from ..dialects.growing import Raced
from ..dialects.records import Stat
from ..exceptions import ClientError
from ..exceptions import FileNotFound
from ..media_types import UNKNOWN
from ..uploads.source import CHUNK
from ..uploads.source import Source
from . import marks

if t.TYPE_CHECKING:
    from ..dialects import Dialect

#: How many bytes a piece has at least, unless the client breaks off. A process that is
#: killed loses as many. Amazon S3 copies no smaller parts than 5 MiB.
PIECE_SIZE = 8 * 1024**2
#: Up to how many bytes it has the hundredth part of a larger file, so that there are
#: not many to be joined. So much disk an upload takes where the application runs.
LARGE_PIECE = 64 * 1024**2
#: How many pieces a file has, unless the client breaks off.
USUAL_PIECES = 1000
#: How many it has at most. Each request looks at the sizes of all of them.
MOST_PIECES = 50_000
#: How many pieces are removed by one request, where the storage takes many.
AT_ONCE = 1000

TOO_MANY = (
    "The upload has come in {} pieces, because each request brought only a few bytes."
    " End it, and send it again with larger requests, of 5 MiB at least."
)


class Pieces:
    """The pieces of one file, each of which is named by the position where it begins.

    A piece is created only if there is none at its position: this is the compare and
    swap of a file's length. A writer has seen a piece end where the next one begins,
    so that there is neither a hole nor an overlap, whoever writes.

    :param name: what the keys of the pieces begin with.
    :param length: of the file, in bytes.
    """

    def __init__(self, dialect: Dialect, name: str, length: int) -> None:
        self._dialect = dialect
        self._name = name
        #: How many bytes a piece has at least, unless the client breaks off.
        self.full = piece_size(length)
        self._parts: list[Stat] = []

    def size(self) -> int:
        sizes = dict(self._found())
        self._parts, position = [], 0
        while size := sizes.get(f"{position:015}", 0):
            self._parts.append(Stat(self._key(position), size, None, None, UNKNOWN))
            position += size
        return position

    @contextmanager
    def writer(self, position: int) -> Iterator[PieceWriter]:
        if len(self._parts) >= MOST_PIECES:
            raise ClientError(TOO_MANY.format(len(self._parts)))
        with tempfile.SpooledTemporaryFile(max_size=CHUNK) as buffer:
            writer = PieceWriter(self, position, t.cast("t.IO[bytes]", buffer))
            try:
                yield writer
            except Raced:
                raise
            except BaseException:
                writer.flush()
                raise
            writer.flush()

    def add(self, position: int, piece: Source) -> None:
        """Add a piece.

        :param position: where the last one ends.
        :raises Raced: if another writer has added one there.
        """
        try:
            marks.put(self._dialect, piece, self._key(position), UNKNOWN)
        except FileExistsError as exc:
            raise Raced from exc

    def parts(self) -> list[Stat]:
        self.size()
        return self._parts

    def remove(self) -> None:
        keys = [f"{self._name}.{ending}" for ending, _ in self._found()]
        for first in range(0, len(keys), AT_ONCE):
            for _, error in self._dialect.rm_files(keys[first : first + AT_ONCE]):
                if error is not None and not isinstance(error, FileNotFound):
                    raise error

    def _key(self, position: int) -> str:
        return f"{self._name}.{position:015}"

    def _found(self) -> Iterator[tuple[str, int]]:
        """How the names of the pieces end, and their sizes."""
        beginning = f"{self._name.rpartition('/')[2]}."
        for name, size in self._dialect.private(beginning):
            yield name[len(beginning) :], size


def piece_size(length: int) -> int:
    """How many bytes a piece has at least, unless the client breaks off.

    :param length: of the file, in bytes.
    """
    usual = min(LARGE_PIECE, length // 100)
    return max(PIECE_SIZE, usual, -(-length // USUAL_PIECES))


class PieceWriter:
    """Collects bytes until they are a piece.

    :param buffer: an empty file.
    """

    def __init__(self, pieces: Pieces, position: int, buffer: t.IO[bytes]) -> None:
        self._pieces = pieces
        self._buffer = buffer
        self._size = 0
        self.position = position

    def write(self, data: bytes) -> None:
        self._buffer.write(data)
        self._size += len(data)
        if self._size >= self._pieces.full:
            self.flush()

    def flush(self) -> None:
        """Store what has been collected.

        :raises Raced: if another writer was quicker.
        """
        if self._size:
            self._pieces.add(self.position, Source(self._buffer, None))
            self.position += self._size
            self._buffer.seek(0)
            self._buffer.truncate()
            self._size = 0
