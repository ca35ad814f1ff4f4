"""Time limits for the body of a response: 64 KiB have to come within each."""

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

#: How many bytes of a body have to come, or to go, within each limit. Otherwise a
#: server that sends a byte now and then could occupy a worker for ever.
PROGRESS = 64 * 1024

#: Returns at most so many bytes of a body, and none at its end.
Read: t.TypeAlias = Callable[[int], Awaitable[bytes]]


class Piece(t.NamedTuple):
    """Some bytes, and whether the body has ended with them."""

    data: bytes
    last: bool


class Patience:
    """A time limit that begins anew whenever bytes have moved.

    :param timeout: the timeout that is moved.
    :param limit: in seconds.
    """

    def __init__(self, timeout: asyncio.Timeout, limit: float) -> None:
        self.timeout = timeout
        self.limit = limit

    def moved(self) -> None:
        """Begin the limit anew."""
        with suppress(RuntimeError):  # the timeout has ended already
            now = asyncio.get_running_loop().time()
            self.timeout.reschedule(now + self.limit)


async def read_piece(read: Read, patience: Patience, enough: int = CHUNK) -> Piece:
    """The next bytes of a body: at least *enough*, unless it ends; up to 1 MiB if they
    are there already.

    :param patience: the limit for the first :data:`PROGRESS` bytes. It begins anew with
        every further :data:`PROGRESS` bytes.
    """
    limit = max(enough, CHUNK)
    data = bytearray()
    while len(data) < enough:
        goal = min(enough, len(data) + PROGRESS)
        while len(data) < goal:
            block = await read(limit - len(data))
            if not block:
                return Piece(bytes(data), last=True)
            data += block
        patience.moved()
    return Piece(bytes(data), last=False)


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

    :param first: the piece that has been read already.
    :param close: closes the response. It is called on the loop if the body has not
        ended.
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
    """The bytes of a body, with an error at the end if their checksum is wrong.

    :param checksum: of the file, see :class:`~flask_store.dialects.Stat`; only an MD5
        is compared.
    :raises NoAnswer: if the bytes have another MD5.
    """
    algorithm, _, expected = (checksum or "").partition(":")
    digest = hashlib.md5(usedforsecurity=False)
    try:
        for piece in body:
            digest.update(piece)
            yield piece
    finally:
        body.close()
    if algorithm == "md5" and digest.hexdigest() != expected:
        raise NoAnswer("its bytes have another MD5 than the file")
