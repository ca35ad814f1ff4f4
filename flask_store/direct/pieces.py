"""A file that arrives as a chain of private files, each of which is stored at once."""

from __future__ import annotations

import io
import tempfile
import typing as t
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress

from ..dialects.bodies import whole
from ..dialects.growing import Raced
from ..media_types import UNKNOWN
from ..uploads.source import CHUNK
from ..uploads.source import Source
from ..uploads.source import Streamed
from . import marks

if t.TYPE_CHECKING:
    from ..dialects import Dialect
    from ..dialects.claims import Claim

#: How many bytes a piece has at least, unless the client breaks off. A process that is
#: killed loses as many. Amazon S3 copies no smaller parts than 5 MiB.
PIECE_SIZE = 8 * 1024**2
#: How many pieces a file has at most, unless the client breaks off.
MOST_PIECES = 1000


class Pieces:
    """The pieces of one file, numbered from one.

    A piece is created only if there is none of its number. So of several writers one
    wins, and the next piece follows the last one without a hole: a position is a number
    of pieces that everybody sees alike.

    :param name: what the keys of the pieces begin with.
    :param length: of the file, in bytes.
    """

    def __init__(self, dialect: Dialect, name: str, length: int) -> None:
        self._dialect = dialect
        self._name = name
        self._piece_size = max(PIECE_SIZE, -(-length // MOST_PIECES))
        self._sizes: list[int] = []

    def size(self) -> int:
        found: dict[int, int] = {}
        beginning = f"{self._name.rpartition('/')[2]}."
        for name, size in self._dialect.private(beginning):
            if name[len(beginning) :].isdecimal():
                found[int(name[len(beginning) :])] = size
        self._sizes = []
        while (number := len(self._sizes) + 1) in found:
            self._sizes.append(found[number])
        return sum(self._sizes)

    @contextmanager
    def writer(self, position: int) -> Iterator[PieceWriter]:
        if sum(self._sizes) != position:
            raise Raced
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

    def add(self, piece: Source) -> None:
        """Add the next piece.

        :raises Raced: if another writer has added one.
        """
        try:
            marks.put(self._dialect, piece, self._key(len(self._sizes) + 1), UNKNOWN)
        except FileExistsError as exc:
            raise Raced from exc
        self._sizes.append(piece.size)

    def complete(self, claim: Claim) -> str:
        source = Source(
            t.cast("t.IO[bytes]", io.BufferedReader(Streamed(self._read()), CHUNK)),
            None,
            sum(self._sizes),
        )
        source.properties = claim.kept
        # Another process may have done so just now.
        with suppress(FileExistsError):
            marks.put(self._dialect, source, claim.staged, claim.content_type)
        return claim.staged

    def remove(self) -> None:
        beginning = f"{self._name.rpartition('/')[2]}."
        folder = self._name.rpartition("/")[0]
        for name, _ in list(self._dialect.private(beginning)):
            self._dialect.discard(self._dialect.path(f"{folder}/{name}"))

    @property
    def full(self) -> int:
        """How many bytes a piece has at least, unless the client breaks off."""
        return self._piece_size

    def _key(self, number: int) -> str:
        return f"{self._name}.{number:06}"

    def _read(self) -> Iterator[bytes]:
        for number in range(1, len(self._sizes) + 1):
            yield from whole(self._dialect.get(self._key(number)))


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
            self._pieces.add(Source(self._buffer, None))
            self.position += self._size
            self._buffer.seek(0)
            self._buffer.truncate()
            self._size = 0
