"""The bytes of an object, by as few trips to the event loop's thread as may be."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import suppress

import fsspec
from werkzeug.http import parse_date

from .. import ioloop
from ..sources import CHUNK
from .answers import Extent
from .answers import extent
from .records import Span
from .s3_requests import S3Requests
from .s3_requests import status_of

if t.TYPE_CHECKING:
    import urllib3

#: With so many bytes an answer may begin; a smaller object is there as a whole.
FIRST = 64 * 1024
#: What the headers of an object's own metadata begin with.
META = "x-amz-meta-"
#: The parameters of a GetObject as headers.
HEADERS = {"Range": "Range", "IfMatch": "If-Match"}


class OutOfRange(Exception):
    """The object has no byte of the range, as an empty one has of none."""


class Piece(t.NamedTuple):
    """Some bytes, and whether they are the last ones."""

    data: bytes
    last: bool


class S3Bodies(S3Requests):
    """S3, as far as objects are read."""

    def read(self, fs: fsspec.AbstractFileSystem, key: str) -> bytes:
        if self._is_direct(fs):
            found = self._get_directly("GET", **self._where(self.path(key)))
            if found is not None:
                from .s3_direct import content

                return content(found, extent(found.status, found.headers, None).size)
        return super().read(fs, key)

    def _get_object(
        self, fs: fsspec.AbstractFileSystem, span: Span | None, **asked: str
    ) -> tuple[dict[str, t.Any], Extent, Iterator[bytes]]:
        """The answer to a GetObject, which of its bytes it has, and these, of which
        the first are here.

        :raises OutOfRange: if there is not one byte of what was asked for.
        """
        if self._is_direct(fs):
            found = self._get_directly("GET", **asked)
            if found is not None:
                from .s3_direct import pieces

                sent = extent(found.status, found.headers, span)
                return _described(found), sent, pieces(found, FIRST, CHUNK)
        try:
            reply, piece = ioloop.run(fs.loop, self._begin, fs, asked)
        except Exception as exc:
            if status_of(exc) == 416:
                raise OutOfRange from exc
            raise
        sent = extent(
            206 if reply.get("ContentRange") else 200, headers_of(reply), span
        )
        return reply, sent, _pieces(fs, reply["Body"], piece)

    def _head_object(
        self, fs: fsspec.AbstractFileSystem, path: str
    ) -> dict[str, t.Any]:
        """:raises FileNotFoundError: if there is no such object, or no bucket."""
        if self._is_direct(fs):
            found = self._get_directly("HEAD", **self._where(path))
            if found is not None:
                return _described(found)
        reply = self._call(fs, "head_object", **self._where(path))
        return t.cast("dict[str, t.Any]", reply)

    def _get_directly(
        self, method: str, *, Bucket: str, Key: str, **asked: str
    ) -> urllib3.BaseHTTPResponse | None:
        headers = {HEADERS[name]: value for name, value in asked.items()}
        url = self._object(Key, self._region, self._endpoint)
        reply = self._direct.get(url, headers, method)
        if reply is None or (reply.status in (200, 206) and method != "HEAD"):
            return reply
        said = reply.read()  # gives the connection back
        if reply.status == 200:
            return reply
        if reply.status == 416:
            raise OutOfRange
        if reply.status == 404 and (method == "HEAD" or b">NoSuchKey<" in said):
            raise FileNotFoundError(Key)
        return None

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


def headers_of(reply: Mapping[str, t.Any]) -> dict[str, str]:
    """The headers of an answer as HTTP calls them, from what botocore makes of them."""
    names = ("ContentEncoding", "ContentLength", "ContentRange")
    return {
        name.replace("Content", "Content-"): str(reply[name])
        for name in names
        if reply.get(name) is not None
    }


def _described(reply: urllib3.BaseHTTPResponse) -> dict[str, t.Any]:
    """The headers of an object, as botocore calls them."""
    said = reply.headers
    return {
        "ContentEncoding": said.get("Content-Encoding"),
        "ContentLength": said.get("Content-Length"),
        "ContentType": said.get("Content-Type"),
        "ETag": said.get("ETag"),
        "LastModified": parse_date(said.get("Last-Modified")),
        "Metadata": {
            name.lower().removeprefix(META): value
            for name, value in said.items()
            if name.lower().startswith(META)
        },
    }


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
