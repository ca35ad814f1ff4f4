"""An upload that is sent on while it arrives, and can be sent again all the same."""

from __future__ import annotations

import tempfile
import typing as t
from contextlib import contextmanager

from .source import CHUNK
from .source import Source


class Arriving(Source):
    """A stream that comes once, of a known length, as a source that can rewind.

    What is asked for is read by then, and kept: until :meth:`complete`, only the thread
    that may read the stream may ask.

    :param source: the stream, with its length.
    :param spool: an empty file to keep the bytes in.
    """

    rewinds = True

    def __init__(self, source: Source, spool: t.IO[bytes]) -> None:
        super().__init__(spool, source.filename, source.length)
        self.properties = source.properties
        self.size = source.length or 0
        self._pieces = source.chunks()
        self._arrived = 0

    def read_at(self, position: int, size: int) -> bytes:
        self._wait_for(position + size)
        return super().read_at(position, size)

    def complete(self) -> None:
        self._wait_for(self.size)

    def _wait_for(self, stop: int) -> None:
        while self._arrived < stop:
            if self.error is not None:  # some bytes are lost, so the others are no use
                raise self.error
            self._guarded(self._keep_next)

    def _keep_next(self) -> None:
        self.stream.seek(self._arrived)
        self._arrived += self.stream.write(next(self._pieces))


@contextmanager
def arriving(source: Source) -> t.Iterator[Source]:
    """Like :meth:`Source.rewindable`, without waiting for the end of a stream whose
    length is known."""
    if source.rewinds or source.length is None:
        with source.rewindable() as complete:
            yield complete
    else:
        with tempfile.SpooledTemporaryFile(max_size=CHUNK) as spool:
            yield Arriving(source, t.cast("t.IO[bytes]", spool))
