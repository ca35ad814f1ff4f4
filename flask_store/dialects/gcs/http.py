"""Requests to Google Cloud Storage, over the session and the credentials of gcsfs.

gcsfs itself holds a whole file in memory to send it, tries a server that is gone six
times, and separates the file from its description by a fixed line that a file may
contain too.
"""

from __future__ import annotations

import asyncio
import json
import typing as t
from collections.abc import AsyncIterator
from collections.abc import Callable
from collections.abc import Coroutine
from collections.abc import Mapping
from urllib.parse import urlencode

import aiohttp
import gcsfs.core
import shortuuid
from multidict import CIMultiDictProxy
from yarl import URL

from ...concurrency import ioloop
from ...uploads.source import Source
from ...uploads.source import Window
from ..bodies import Fetched
from ..bodies import Span
from ..errors import NoAnswer
from ..extents import Extent
from ..extents import extent
from ..objects import Unclear
from ..pace import Patience
from ..pace import Piece
from ..pace import pieces
from ..pace import PROGRESS
from ..pace import read_piece
from ..pace import verified
from ..records import Stat
from ..statuses import TRANSIENT
from ..tries import Tries
from .tokens import Tokens

#: The type of what is sent to the JSON API.
JSON = "application/json; charset=UTF-8"
#: Seconds until that second try.
PAUSE = 0.5
#: The coding in which the bytes of an object are stored, as the answer names it.
STORED_CODING = "X-Goog-Stored-Content-Encoding"
STORED_LENGTH = "X-Goog-Stored-Content-Length"

T = t.TypeVar("T")
Headers: t.TypeAlias = "CIMultiDictProxy[str]"


class Refused(Exception):
    """An answer that says no.

    :param status: of HTTP.
    :param message: the server's, if it gave any.
    :param own: whether it is an error as Google's JSON API writes it, and not the page
        of something in between.
    """

    def __init__(self, status: int, message: str, own: bool = False) -> None:
        super().__init__(f"{status} {message}".strip())
        self.status = status
        self.message = message
        self.own = own


class Attempt(Patience):
    """One of the two times that a request is made, and the time left for both."""

    def __init__(self, timeout: asyncio.Timeout, limit: float) -> None:
        super().__init__(timeout, limit)
        self.tries = Tries()


Body: t.TypeAlias = Callable[[Attempt], AsyncIterator[bytes]]


#: Says what is known of an object, from the headers of the answer that has its bytes,
#: or raises an error.
Judge: t.TypeAlias = Callable[[Headers, Extent], Stat]


class Client:
    """One filesystem's way to its server.

    :param tokens: of the filesystem.
    :param limit: in seconds, for the whole of an answer in JSON; for a body of bytes,
        for every 64 KiB of it.
    """

    def __init__(
        self, fs: gcsfs.core.GCSFileSystem, tokens: Tokens, limit: float
    ) -> None:
        self.fs = fs
        self.tokens = tokens
        self.limit = limit

    def ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, t.Any] | None = None,
        about: Mapping[str, t.Any] | None = None,
    ) -> dict[str, t.Any]:
        """What the JSON API answers.

        :param path: behind ``/storage/v1/``, percent-encoded.
        :param about: a resource of the JSON API to send.
        :raises Refused: if it says no.
        :raises NoAnswer: if the answer is none of the JSON API.
        """
        url = self._url(f"storage/v1/{path}", params)
        headers = {"Content-Type": JSON} if about else {}

        async def body(attempt: Attempt) -> AsyncIterator[bytes]:
            yield json.dumps(about).encode()

        sent = body if about else None
        _, text = self._run(
            lambda attempt: self._answer(attempt, method, url, headers, sent)
        )
        return _json(text)

    def delete(self, path: str) -> None:
        """Delete an object.

        :param path: see :meth:`ask`.
        :raises Refused: if the server says no; with the status 404 only if nobody can
            have deleted it but another one.
        :raises NoAnswer: if nobody knows whether it is deleted.
        """
        url = self._url(f"storage/v1/{path}", None)
        status, _ = self._run(lambda attempt: self._deletion(attempt, url))
        if status == 204:
            return
        # The only other answer that Google documents is an error. An emulator's 200
        # looks like that of a login page.
        try:
            self.ask("GET", path)
        except Refused as exc:
            if exc.status == 404:
                return
            raise
        raise NoAnswer(f"the status is {status}, and the object is still there")

    def upload(
        self,
        bucket: str,
        about: Mapping[str, t.Any],
        source: Source,
        params: Mapping[str, t.Any],
    ) -> dict[str, t.Any]:
        """Send a file and its description with one request, in constant memory.

        :param about: an object resource of the JSON API; ``contentType`` is needed.
        :return: the object, as the server describes it.
        :raises Refused: if the server says no.
        :raises NoAnswer: if the answer is none of the JSON API.
        """
        boundary = shortuuid.uuid()
        head = (
            f"--{boundary}\r\nContent-Type: {JSON}\r\n\r\n"
            f"{json.dumps(about)}\r\n--{boundary}\r\n"
            f"Content-Type: {about['contentType']}\r\n\r\n"
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        headers = {
            "Content-Type": f"multipart/related; boundary={boundary}",
            # Without it a broken body would end like a complete one.
            "Content-Length": str(len(head) + source.size + len(tail)),
        }

        async def body(attempt: Attempt) -> AsyncIterator[bytes]:
            yield head
            window = Window(source)
            while data := window.read(PROGRESS):
                attempt.moved()
                yield data
            attempt.moved()
            yield tail

        url = self._url(
            f"upload/storage/v1/b/{bucket}/o", {"uploadType": "multipart", **params}
        )
        _, text = self._run(
            lambda attempt: self._answer(attempt, "POST", url, headers, body), source
        )
        return _json(text)

    def download(
        self, path: str, params: Mapping[str, t.Any], span: Span, judge: Judge
    ) -> Fetched:
        """The bytes of an object as they are stored, at most 1 MiB at a time.

        :param path: see :meth:`ask`.
        :param span: which of them.
        :param judge: is asked before the bytes are read.
        :raises Refused: if the server says no.
        :raises NoAnswer: if the answer does not have these bytes.
        """
        url = self._url(f"storage/v1/{path}", {"alt": "media", **params})
        response, found, sent, first = self._run(
            lambda attempt: self._begin(attempt, url, span, judge)
        )
        body = pieces(
            self.fs.loop, first, response.content.read, response.close, self.limit
        )
        if response.status == 200:  # which tells the size only once
            body = verified(body, found.checksum)
        return Fetched(found, sent.start, sent.stop, body)

    # -- on the loop's thread ------------------------------------------------

    async def _answer(
        self,
        attempt: Attempt,
        method: str,
        url: URL,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> tuple[int, bytes]:
        response = await self._send(
            method,
            url,
            headers or {},
            data=body(attempt) if body else None,
            trace_request_ctx=attempt.tries,
        )
        async with response:
            text = await response.read()
        if response.status < 400:
            return response.status, text
        refusal = _refusal(response.status, text)
        if refusal.status == 404 and not refusal.own:
            raise NoAnswer("the status is 404, and the page is not Google's")
        raise refusal

    async def _deletion(self, attempt: Attempt, url: URL) -> tuple[int, bytes]:
        try:
            return await self._answer(attempt, "DELETE", url)
        except Refused as exc:
            if exc.status == 404 and attempt.tries.sent > 1:
                return 204, b""  # an earlier one did it, and its answer was lost
            raise

    async def _begin(
        self,
        attempt: Attempt,
        url: URL,
        span: Span,
        judge: Judge,
        coding: str = "identity",
    ) -> tuple[aiohttp.ClientResponse, Stat, Extent, Piece]:
        headers = {"Accept-Encoding": coding, "Range": f"bytes={span}"}
        response = await self._send("GET", url, headers, auto_decompress=False)
        try:
            if response.status >= 400:
                raise _refusal(response.status, await response.read())
            stored = stored_in(response.headers)
            if stored == "gzip" != coding:
                # Google decompresses it for who does not accept gzip ("Transcoding of
                # gzip-compressed files"). Size, checksum and ranges are of what is
                # stored, and that is asked for.
                response.close()
                return await self._begin(attempt, url, span, judge, stored)
            sent = _extent(response, span, stored)
            if not span.meets(sent.size):
                raise Unclear(f"it has nothing of {span}")
            found = judge(response.headers, sent)
            attempt.moved()
            first = await read_piece(response.content.read, attempt)
        except BaseException:
            response.close()
            raise
        return response, found, sent, first

    async def _send(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        **more: t.Any,
    ) -> aiohttp.ClientResponse:
        session: aiohttp.ClientSession = await self.fs._set_session()
        said = {**headers, **await self.tokens.headers()}
        # What is to be waited for is said elsewhere; a large file takes its time.
        forever = aiohttp.ClientTimeout(total=None)
        # A redirect may lead to a login page. The JSON API has none.
        more |= {"timeout": forever, "allow_redirects": False}
        return await session.request(method, url, headers=said, **more)

    # -- both ----------------------------------------------------------------

    def _run(
        self,
        work: Callable[[Attempt], Coroutine[t.Any, t.Any, T]],
        source: Source | None = None,
    ) -> T:
        """Make a request, and make it once more if it fails in passing."""

        async def twice() -> T:
            async with asyncio.timeout(self.limit) as timeout:
                attempt = Attempt(timeout, self.limit)
                try:
                    return await work(attempt)
                except aiohttp.ClientError:
                    if source is not None and source.error is not None:
                        raise
                except Refused as exc:
                    if exc.status not in TRANSIENT:
                        raise
                await asyncio.sleep(min(PAUSE, self.limit / 8))
                return await work(attempt)

        return ioloop.run(self.fs.loop, twice)

    def _url(self, path: str, params: Mapping[str, t.Any] | None) -> URL:
        query = urlencode(self.fs._get_params(dict(params or {})))
        return URL(f"{self.fs._location}/{path}?{query}", encoded=True)


def stored_in(headers: Headers) -> str:
    """The coding in which the bytes of an object are stored, as an answer names it."""
    return headers.get(STORED_CODING, "identity")


def _refusal(status: int, text: bytes) -> Refused:
    """What is said with an error's status."""
    try:
        return Refused(status, str(json.loads(text)["error"]["message"]), own=True)
    except (ValueError, KeyError, TypeError):
        return Refused(status, text.decode(errors="replace").strip()[:200])


def _json(text: bytes) -> dict[str, t.Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise NoAnswer(f"it is no JSON object but {_shown(text)}")
    return found


def _shown(text: bytes) -> str:
    return repr(text[:40].decode(errors="replace")) if text else "empty"


def _extent(response: aiohttp.ClientResponse, span: Span, stored: str) -> Extent:
    """Which bytes of an object the answer has.

    :param stored: the coding in which the object is stored.
    :raises NoAnswer: if they come in another coding, or are not what was asked for.
    """
    headers = response.headers.copy()
    given = headers.pop("Content-Encoding", "identity") or "identity"
    if given != stored:
        raise NoAnswer(
            f"Content-Encoding is {given[:40]!r} in place of {stored[:40]!r}"
        )
    sent = extent(response.status, headers, span)
    size = headers.get(STORED_LENGTH)
    if size not in (None, str(sent.size)):
        raise NoAnswer(f"it has {sent.size} bytes, and {STORED_LENGTH} is {size[:20]}")
    return sent
