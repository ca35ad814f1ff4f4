"""The bytes of an object, by as few trips to the event loop's thread as may be."""

from __future__ import annotations

import asyncio
import typing as t
from collections.abc import Generator
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import suppress

from werkzeug.http import parse_date

from ...concurrency import ioloop
from ...uploads.source import CHUNK
from .. import extents
from ..errors import NoAnswer
from ..extents import Extent
from ..pace import Patience
from ..pace import Piece
from ..pace import pieces as pieces_of
from ..pace import read_piece
from ..records import OutOfSpan
from ..records import Span
from . import answers
from .answers import headers_of
from .requests import S3Requests
from .requests import status_of

if t.TYPE_CHECKING:
    import urllib3

#: With so many bytes an answer may begin; a smaller object is there as a whole.
FIRST = 64 * 1024
#: What the headers of an object's own metadata begin with.
META = "x-amz-meta-"
#: The parameters of a GetObject as headers.
HEADERS = {"Range": "Range", "IfMatch": "If-Match"}


class Found(t.NamedTuple):
    """An object, or a part of it, as far as it is here.

    :param described: what is known of the object, by botocore's names.
    :param sent: which of its bytes the answer has.
    :param body: these bytes, of which the first are here.
    """

    described: dict[str, t.Any]
    sent: Extent
    body: Generator[bytes]


class S3Bodies(S3Requests):
    """S3, as far as objects are read.

    The direct way is asked first. Where it has no answer, or one that does not answer
    the question, s3fs asks once more, and what it gets is final.
    """

    def read(self, key: str) -> bytes:
        if self._is_direct():
            found = self._get_directly(None, **self._where(self.path(key)))
            if found is not None:
                from .direct import content

                reply, sent = found
                return content(reply, sent.size)
        return super().read(key)

    def _get_object(self, span: Span | None, **asked: str) -> Found:
        """What a GetObject gives.

        :raises OutOfSpan: if there is not one byte of what was asked for.
        :raises NoAnswer: if the answer is not S3's, or to another question.
        """
        if self._is_direct():
            found = self._get_directly(span, **asked)
            if found is not None:
                from .direct import pieces

                body = pieces(found[0], FIRST, CHUNK)
                return Found(_described(found[0]), found[1], body)
        reply, piece = self._get_by_s3fs(asked)
        status = reply["ResponseMetadata"]["HTTPStatusCode"]
        try:
            headers = self._plain_headers(reply, asked["Key"])
            sent = answers.extent(status, headers, span)
        except Exception:
            self.fs.loop.call_soon_threadsafe(reply["Body"].close)
            raise
        return Found(reply, sent, self._pieces(reply["Body"], piece))

    def _all_bytes(self, path: str) -> Iterator[bytes]:
        """The bytes under a name, however many the answer says that they are.

        :raises FileNotFoundError: if there are none.
        :raises NoAnswer: if the answer is not S3's.
        """
        reply, piece = self._get_by_s3fs(self._where(path))
        answers.refuse_foreign(headers_of(reply))
        return self._pieces(reply["Body"], piece)

    def _head_object(self, path: str) -> dict[str, t.Any]:
        """What is known of an object, by botocore's names. It is still to be looked
        at whether the answer is S3's, as far as that is needed.

        :raises FileNotFoundError: if there is no such object, or no bucket.
        """
        if self._is_direct():
            found = self._look_directly(**self._where(path))
            if found is not None:
                return _described(found)
        reply = self._call("head_object", **self._where(path))
        return t.cast("dict[str, t.Any]", reply)

    def _plain_headers(self, reply: Mapping[str, t.Any], key: str) -> dict[str, str]:
        """The headers of an answer about an object, without the Content-Encoding that
        the object was stored with.

        Whoever compresses an answer on its way does not know the listing, which gives
        the size of what is stored.
        """
        headers = headers_of(reply)
        if extents.is_encoded(headers):
            asked = {"Bucket": self.bucket, "Prefix": key}
            listing = self._call("list_objects_v2", MaxKeys=1, **asked)
            for found in listing.get("Contents") or ():
                if found["Key"] == key and found["Size"] == extents.whole_size(headers):
                    del headers["Content-Encoding"]
        return headers

    # -- the direct way ------------------------------------------------------

    def _get_directly(
        self, span: Span | None, **asked: str
    ) -> tuple[urllib3.BaseHTTPResponse, Extent] | None:
        """``None`` if it is left to s3fs."""
        from .direct import rest

        reply = self._ask_directly("GET", **asked)
        if reply is None:
            return None
        if reply.status in (200, 206):
            try:
                return reply, answers.extent(reply.status, reply.headers, span)
            except NoAnswer:
                reply.close()
                return None
        said = rest(reply)
        if reply.status == 416:
            raise OutOfSpan
        if reply.status == 404 and b">NoSuchKey<" in said:
            raise FileNotFoundError(asked["Key"])
        return None

    def _look_directly(self, **asked: str) -> urllib3.BaseHTTPResponse | None:
        """``None`` if it is left to s3fs."""
        from .direct import rest

        reply = self._ask_directly("HEAD", **asked)
        if reply is None:
            return None
        rest(reply)
        if reply.status == 404:
            raise FileNotFoundError(asked["Key"])
        with suppress(NoAnswer):
            if reply.status == 200:
                answers.size_of(reply.headers)
                return reply
        return None

    def _ask_directly(
        self, method: str, *, Bucket: str, Key: str, **asked: str
    ) -> urllib3.BaseHTTPResponse | None:
        headers = {HEADERS[name]: value for name, value in asked.items()}
        url = self._object(Key, self._region, self._endpoint)
        return self._direct.get(url, headers, method)

    # -- the way of s3fs -----------------------------------------------------

    def _get_by_s3fs(self, asked: Mapping[str, str]) -> tuple[dict[str, t.Any], Piece]:
        try:
            return ioloop.run(self.fs.loop, self._begin, asked)
        except Exception as exc:
            if status_of(exc) == 416:
                raise OutOfSpan from exc
            raise

    async def _begin(self, asked: Mapping[str, str]) -> tuple[dict[str, t.Any], Piece]:
        async with asyncio.timeout(self._limit) as timeout:
            reply = await self._asked("get_object", **asked)
            _widen(reply["Body"])
            try:
                patience = Patience(timeout, self._limit)
                return reply, await read_piece(reply["Body"].read, patience, FIRST)
            except BaseException:
                reply["Body"].close()
                raise

    def _pieces(self, body: t.Any, first: Piece) -> Generator[bytes]:
        return pieces_of(self.fs.loop, first, body.read, body.close, self._limit)


def _described(reply: urllib3.BaseHTTPResponse) -> dict[str, t.Any]:
    """The headers of an object, as botocore calls them."""
    said = {name.lower(): value for name, value in reply.headers.items()}
    return {
        "ContentType": said.get("content-type"),
        "ETag": said.get("etag"),
        "LastModified": parse_date(said.get("last-modified")),
        "ServerSideEncryption": said.get("x-amz-server-side-encryption"),
        "SSECustomerAlgorithm": said.get(
            "x-amz-server-side-encryption-customer-algorithm"
        ),
        "Metadata": {
            name.removeprefix(META): value
            for name, value in said.items()
            if name.startswith(META)
        },
        "ResponseMetadata": {"HTTPHeaders": said},
    }


def _widen(body: t.Any) -> None:
    # By default the connection is stopped and started again for every 128 KiB. Older
    # libraries have no such method, or no such body.
    with suppress(AttributeError, RuntimeError):
        body.raw_stream.content.set_read_chunk_size(CHUNK // 2)
