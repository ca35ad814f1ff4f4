"""How slowly the bytes of an answer may come: some of them within each limit."""

from __future__ import annotations

import asyncio
import hashlib
import typing as t
from collections.abc import Awaitable
from collections.abc import Callable
from collections.abc import Generator
from contextlib import suppress

from ..concurrency import ioloop
from ..uploads.source import CHUNK
from .errors import NoAnswer

#: How many bytes of a body have to come, or to go, within each limit. A body that
#: trickles would otherwise hold a worker for as long as the server likes.
PROGRESS = 64 * 1024

#: Gives at most so many bytes of a body, and none at its end.
Read: t.TypeAlias = Callable[[int], Awaitable[bytes]]


class Piece(t.NamedTuple):
    """Some bytes, and whether the body has ended with them."""

    data: bytes
    last: bool


class Patience:
    """How long something may still take; it begins anew whenever bytes have moved.

    :param timeout: what ends it.
    :param limit: in seconds.
    """

    def __init__(self, timeout: asyncio.Timeout, limit: float) -> None:
        self.timeout = timeout
        self.limit = limit

    def moved(self) -> None:
        """Begin the limit anew."""
        with suppress(RuntimeError):  # it has ended already
            now = asyncio.get_running_loop().time()
            self.timeout.reschedule(now + self.limit)


class Waiting:
    """How long an answer has been waited for, since the last :data:`PROGRESS` bytes of
    it. What its reader does in between does not count."""

    def __init__(self) -> None:
        #: In seconds.
        self.waited = 0.0
        self._received = 0

    def begin(self) -> None:
        """Begin anew, with another answer."""
        self.waited, self._received = 0.0, 0

    def add(self, seconds: float, size: int) -> None:
        """Take in that *size* bytes have come after so many seconds."""
        self.waited += seconds
        self._received += size
        if self._received >= PROGRESS:
            self.begin()


async def read_piece(read: Read, patience: Patience, enough: int = CHUNK) -> Piece:
    """The next bytes of a body: so many, or less if it ends; up to 1 MiB if more of
    them are there already.

    :param patience: has to be enough for the first :data:`PROGRESS` bytes, or all. It
        begins anew with every further ones.
    """
    most = max(enough, CHUNK)
    found = bytearray()
    while len(found) < enough:
        mark = min(enough, len(found) + PROGRESS)
        while len(found) < mark:
            data = await read(most - len(found))
            if not data:
                return Piece(bytes(found), last=True)
            found += data
        patience.moved()
    return Piece(bytes(found), last=False)


async def _next_piece(read: Read, limit: float) -> Piece:
    async with asyncio.timeout(limit) as timeout:
        return await read_piece(read, Patience(timeout, limit))


def pieces(
    loop: asyncio.AbstractEventLoop,
    first: Piece,
    read: Read,
    close: Callable[[], object],
    limit: float,
) -> Generator[bytes, None, None]:
    """The bytes of a body that is read on an event loop, at most 1 MiB at a time.

    :param first: what has been read already.
    :param close: ends the answer; called on the loop, if the body has not ended.
    :param limit: in seconds, for every :data:`PROGRESS` bytes, or the rest.
    """
    piece = first
    try:
        while piece.data:
            yield piece.data
            if piece.last:
                break
            piece = ioloop.run(loop, _next_piece, read, limit)
    finally:
        if not piece.last:
            with suppress(RuntimeError):  # the loop has ended with its process
                loop.call_soon_threadsafe(close)


def verified(
    body: Generator[bytes, None, None], checksum: str | None
) -> Generator[bytes, None, None]:
    """The bytes of a body, of which it is an error if they are not the file's.

    :param checksum: of the file, see :class:`~flask_store.dialects.Stat`; only an MD5
        is compared.
    """
    kind, _, wanted = (checksum or "").partition(":")
    digest = hashlib.md5(usedforsecurity=False)
    try:
        for piece in body:
            digest.update(piece)
            yield piece
    finally:
        body.close()
    if kind == "md5" and digest.hexdigest() != wanted:
        raise NoAnswer("its bytes have another MD5 than the file")
