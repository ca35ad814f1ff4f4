"""The bytes of an object, by as few trips to the event loop's thread as may be."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from contextlib import suppress

import fsspec

from .. import ioloop
from ..sources import CHUNK
from .s3_requests import S3Requests

#: With so many bytes an answer may begin; a smaller object is there as a whole.
FIRST = 64 * 1024


class Piece(t.NamedTuple):
    """Some bytes, and whether they are the last ones."""

    data: bytes
    last: bool


class S3Bodies(S3Requests):
    """S3, as far as objects are read."""

    def _get_object(
        self, fs: fsspec.AbstractFileSystem, **asked: str
    ) -> tuple[dict[str, t.Any], Iterator[bytes]]:
        """The answer to a GetObject, and its bytes, of which the first are here."""
        reply, piece = ioloop.run(fs.loop, self._begin, fs, asked)
        return reply, _pieces(fs, reply["Body"], piece)

    async def _begin(
        self, fs: fsspec.AbstractFileSystem, asked: dict[str, str]
    ) -> tuple[dict[str, t.Any], Piece]:
        reply = await self._limited(fs, "get_object", **asked)
        _widen(reply["Body"])
        try:
            return reply, await _piece(reply["Body"], FIRST)
        except BaseException:
            reply["Body"].close()
            raise


def _pieces(
    fs: fsspec.AbstractFileSystem, body: t.Any, piece: Piece
) -> Iterator[bytes]:
    try:
        while piece.data:
            yield piece.data
            if piece.last:
                break
            piece = ioloop.run(fs.loop, _piece, body, CHUNK)
    finally:
        if not piece.last:
            fs.loop.call_soon_threadsafe(body.close)


def _widen(body: t.Any) -> None:
    # By default the connection is stopped and started again for every 128 KiB. Older
    # libraries have no such method, or no such body.
    with suppress(AttributeError, RuntimeError):
        body.raw_stream.content.set_read_chunk_size(CHUNK // 2)


async def _piece(body: t.Any, enough: int) -> Piece:
    found, size, data = [], 0, b""
    while size < enough and (data := await body.read(CHUNK - size)):
        found.append(data)
        size += len(data)
    return Piece(b"".join(found), last=not data)
