"""Requests to S3 through s3fs, and for how long they are waited for."""

from __future__ import annotations

import asyncio
import typing as t
from collections.abc import Generator
from collections.abc import Iterable
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

import fsspec

from ...concurrency import ioloop
from ...uploads.properties import lowered
from ...uploads.properties import Properties
from ...uploads.source import CHUNK
from ...uploads.source import Source
from ...uploads.source import Window
from .. import extents
from ..bodies import OutOfSpan
from ..bodies import Span
from ..errors import NoAnswer
from ..limits import Limits
from ..objects import Replaced
from ..objects import TOKEN
from ..objects import Unclear
from ..pace import Patience
from ..pace import Piece
from ..pace import pieces
from ..pace import read_piece
from .answers import Answer
from .answers import extent
from .answers import FIRST
from .answers import Headers
from .answers import headers_of
from .answers import is_stored
from .answers import size_of
from .errors import code_of
from .errors import is_hidden
from .errors import is_page
from .errors import is_unreadable
from .errors import is_unsaid
from .errors import status_of
from .errors import TAKEN

#: How many requests that copy parts of one object are under way at a time.
AT_ONCE = 8
#: How often the progress of a body is looked at within the limit of one answer.
LOOKS = 32


class LoopClient:
    """A filesystem of s3fs as a client for one bucket. It has an answer to every
    question, and every option of s3fs has its effect.

    botocore tries again after a lost connection, and also after a timeout. So each
    request has a limit of its own: one that is silent must not be waited for twice.

    :param fs: s3fs's filesystem.
    :param limits: how long to wait for the server.
    """

    def __init__(
        self, fs: fsspec.AbstractFileSystem, bucket: str, limits: Limits
    ) -> None:
        self.fs = fs
        self.bucket = bucket
        self.limits = limits
        #: Seconds for a whole answer, with all tries.
        self.limit = limits.answer

    # -- one object ----------------------------------------------------------

    def put(
        self, name: str, source: Source, content_type: str, token: str, new: bool
    ) -> str:
        """Store an object; see :meth:`.ObjectDialect.put`."""
        source.complete()  # another thread reads it
        conditions = {"IfNoneMatch": "*"} if new else {}
        try:
            reply = self.send(
                "put_object",
                Window(source),
                Bucket=self.bucket,
                Key=name,
                **self.described(content_type, token, source.properties),
                **conditions,
            )
        except Exception as exc:
            if new and status_of(exc) in TAKEN:
                raise FileExistsError(name) from exc
            raise
        headers = headers_of(reply)
        if not is_stored(headers):
            raise NoAnswer("an upload is answered by something else than S3")
        return headers["ETag"]

    def described(
        self, content_type: str, token: str, properties: Properties
    ) -> dict[str, t.Any]:
        """What is stored beside an object, by botocore's names, but for the settings
        that s3fs adds.

        :param token: see :meth:`.ObjectDialect.put`.
        """
        settings = self.fs.s3_additional_kwargs.get("Metadata", {})
        metadata = lowered({**settings, **properties.metadata})
        headers = {
            name.title().replace("_", ""): value
            for name, value in properties.named.items()
        }
        return {
            **headers,
            "ContentType": content_type,
            "Metadata": {**metadata, TOKEN: token},
        }

    def get(
        self,
        name: str,
        span: Span | None,
        etag: str | None,
        first: int | None = FIRST,
    ) -> Answer:
        """An object, or a part of it, as far as it is here.

        :param first: is :data:`FIRST` in any case.
        :raises OutOfSpan: if there is not one byte of what was asked for.
        :raises Replaced: if the object is another version.
        :raises NoAnswer: if the answer is not S3's, or to another question.
        """
        asked = {"Bucket": self.bucket, "Key": name}
        if span:
            asked["Range"] = f"bytes={span}"
        if etag:
            asked["IfMatch"] = f'"{etag}"'
        try:
            reply, piece = ioloop.run(self.fs.loop, self._begin, asked)
        except Exception as exc:
            if status_of(exc) == 416 and span:
                if code_of(exc) == "InvalidRange":
                    raise OutOfSpan from exc
                raise Unclear("the status is 416") from exc
            if status_of(exc) == 412 and etag:
                raise Replaced from exc
            raise
        body, status = reply["Body"], reply["ResponseMetadata"]["HTTPStatusCode"]
        try:
            headers = headers_of(reply)
            sent = extent(status, self._as_stored(headers, name), span)
        except Exception:
            self.fs.loop.call_soon_threadsafe(body.close)
            raise
        rest = pieces(self.fs.loop, piece, body.read, body.close, self.limit)
        return Answer(headers, sent, rest)

    def head(self, name: str) -> Answer:
        """What is known of an object.

        :raises FileNotFoundError: if there is no such object, or no bucket.
        :raises NoAnswer: if the answer is not S3's.
        """
        try:
            reply = self.call("head_object", Bucket=self.bucket, Key=name)
        except Exception as exc:
            if not is_unsaid(exc):
                raise
            return self._first_byte(name)
        headers = headers_of(reply)
        size = size_of(self._as_stored(headers, name))
        return Answer(headers, extents.Extent(0, size, size), iter(()))

    def _first_byte(self, name: str) -> Answer:
        """What is known of an object, by a GET, whose errors have a reason.

        :raises NoAnswer: if it has no byte, which HEAD would have answered.
        """
        try:
            answer = self.get(name, Span(0, 0), None)
        except OutOfSpan as exc:
            raise NoAnswer("HEAD is refused, and GET has no byte") from exc
        body = t.cast("Generator[bytes]", answer.body)
        next(body, b"")  # a generator that has not begun would close nothing
        body.close()
        size = answer.sent.size
        return Answer(answer.headers, extents.Extent(0, size, size), iter(()))

    def delete(self, name: str) -> bool:
        """Delete an object. Whether the answer is the one that S3 gives."""
        reply = self.call("delete_object", Bucket=self.bucket, Key=name)
        return bool(reply["ResponseMetadata"]["HTTPStatusCode"] == 204)

    # -- any request ---------------------------------------------------------

    def call(self, method: str, **kwargs: t.Any) -> t.Any:
        """What a server answers at once to a request of botocore's name.

        :raises NoAnswer: if the answer cannot be read.
        """
        return ioloop.run(self.fs.loop, self._limited, method, self.limit, **kwargs)

    def call_slow(self, method: str, **kwargs: t.Any) -> t.Any:
        """What a server answers that may think about it: it has to move a file."""
        return ioloop.run(
            self.fs.loop, self._limited, method, self.limits.copy, **kwargs
        )

    def call_all(self, method: str, each: Iterable[Mapping[str, t.Any]]) -> list[t.Any]:
        """What a server answers to several such requests.

        :param each: their arguments.
        """
        limited = partial(self._limited, method, self.limits.copy)
        return ioloop.run_all(
            self.fs.loop, [partial(limited, **kwargs) for kwargs in each], AT_ONCE
        )

    def send(self, method: str, body: Window, **kwargs: t.Any) -> t.Any:
        """What a server answers to a request with a body."""
        return ioloop.run(self.fs.loop, self._watched, method, body, **kwargs)

    def _as_stored(self, headers: Headers, name: str) -> Mapping[str, str]:
        """The headers of an answer about an object, without a Content-Encoding that the
        object was stored with. Their lengths are those of the object then.

        Whoever compresses an answer on its way does not know the listing, which gives
        the size of what is stored.
        """
        if extents.is_encoded(headers):
            listing = self.call(
                "list_objects_v2", Bucket=self.bucket, Prefix=name, MaxKeys=1
            )
            known = {found["Key"]: found["Size"] for found in _contents(listing)}
            if known.get(name, -1) == extents.whole_size(headers):
                return extents.without_encoding(headers)
        return headers

    # -- on the loop's thread ------------------------------------------------

    async def _client(self) -> t.Any:
        await self.fs.set_session()
        return await self.fs.get_s3(self.bucket)

    async def _ask(self, method: str, **kwargs: t.Any) -> t.Any:
        try:
            return await self.fs._call_s3(method, **kwargs)
        except Exception as exc:
            if is_unreadable(exc) or is_page(exc, method):
                raise NoAnswer("it is not what S3 answers") from exc
            if method == "get_object" and is_hidden(exc):
                raise FileNotFoundError(kwargs["Key"]) from exc
            raise

    async def _limited(self, method: str, limit: float, **kwargs: t.Any) -> t.Any:
        async with asyncio.timeout(limit):
            return await self._ask(method, **kwargs)

    async def _begin(self, asked: Mapping[str, str]) -> tuple[dict[str, t.Any], Piece]:
        async with asyncio.timeout(self.limit) as timeout:
            reply = await self._ask("get_object", **asked)
            body = reply["Body"]
            # By default the connection is stopped and started again for every 128
            # KiB. Older libraries have no such method, or no such body.
            with suppress(AttributeError, RuntimeError):
                body.raw_stream.content.set_read_chunk_size(CHUNK // 2)
            try:
                patience = Patience(timeout, self.limit)
                return reply, await read_piece(body.read, patience, FIRST)
            except BaseException:
                body.close()
                raise

    async def _watched(self, method: str, body: Window, **kwargs: t.Any) -> t.Any:
        """Send a body, and give up when it does not move.

        aiohttp's timeouts begin when a request has been sent. Neither the wait for
        '100 Continue' nor a connection that takes no more bytes ever ends by itself.
        """
        client = await self._client()
        client.meta.events.register("before-send.s3", _send_at_once, "flask-store")
        if body.size <= CHUNK:
            return await self._limited(method, self.limit, Body=body, **kwargs)
        task = asyncio.ensure_future(self._ask(method, Body=body, **kwargs))
        try:
            await self._moving(task, body)
            return task.result()
        finally:
            task.cancel()

    async def _moving(self, task: asyncio.Future[t.Any], body: Window) -> None:
        """Wait for a request while its body moves, and then once for the answer.

        :raises TimeoutError: if the body stands still, or the answer does not come.
        """
        now, look = asyncio.get_running_loop().time, self.limit / LOOKS
        position, moved = body.position, now()
        while not (await asyncio.wait({task}, timeout=look))[0]:
            still = now() - moved
            # botocore begins anew when the server was silent for the read timeout.
            anew = body.position < position and still > self.limit - 2 * look
            if anew or still > self.limit:
                raise TimeoutError(f"A request did not move for {still:.1f} s")
            if body.position != position:
                position, moved = body.position, now()


def _send_at_once(request: t.Any, **kwargs: t.Any) -> None:
    """Spare a small body the round trip of 'Expect: 100-continue', with which
    botocore asks whether it may send; a large one learns in time that it may not."""
    if int(request.headers.get("Content-Length", 0)) <= CHUNK:
        request.headers.pop("Expect", None)


def _contents(listing: Mapping[str, t.Any]) -> list[Mapping[str, t.Any]]:
    return listing.get("Contents") or []
