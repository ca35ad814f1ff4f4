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
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlencode

import aiohttp
import gcsfs.core
import shortuuid
from yarl import URL

from .. import ioloop
from ..sources import CHUNK
from ..sources import Source
from ..sources import Window

#: What is worth a second try ("Retry strategy", Cloud Storage documentation).
TRANSIENT = {408, 429, 500, 502, 503, 504}
#: Seconds until that second try.
PAUSE = 0.5
#: How much is sent at a time; a piece that takes longer than the limit ends it all.
PIECE = 256 * 1024

T = t.TypeVar("T")
Body: t.TypeAlias = Callable[[Callable[[], None]], AsyncIterator[bytes]]


class Refused(Exception):
    """An answer that says no.

    :param status: of HTTP.
    :param message: the server's, if it gave any.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}".strip())
        self.status = status
        self.message = message


class Client:
    """One filesystem's way to its server.

    :param limit: in seconds, for each wait for the server's next word.
    """

    def __init__(self, fs: gcsfs.core.GCSFileSystem, limit: float) -> None:
        self.fs = fs
        self.limit = limit

    def ask(
        self, method: str, path: str, params: Mapping[str, t.Any] | None = None
    ) -> dict[str, t.Any]:
        """What the JSON API answers.

        :param path: behind ``/storage/v1/``, percent-encoded.
        :raises Refused: if it says no.
        """
        url = self._url(f"storage/v1/{path}", params)
        return self._run(lambda: self._answer(method, url))

    def upload(
        self,
        bucket: str,
        about: Mapping[str, t.Any],
        source: Source,
        params: Mapping[str, t.Any],
    ) -> dict[str, t.Any]:
        """Send a file and its description with one request, in constant memory.

        :param about: an object resource of the JSON API; ``contentType`` is needed.
        :raises Refused: if the server says no.
        """
        boundary = shortuuid.uuid()
        head = (
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n"
            f"{json.dumps(about)}\r\n--{boundary}\r\n"
            f"Content-Type: {about['contentType']}\r\n\r\n"
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        headers = {
            "Content-Type": f"multipart/related; boundary={boundary}",
            # Without it a broken body would end like a complete one.
            "Content-Length": str(len(head) + source.size + len(tail)),
        }

        async def body(moved: Callable[[], None]) -> AsyncIterator[bytes]:
            yield head
            window = Window(source)
            while data := window.read(PIECE):
                moved()
                yield data
            moved()
            yield tail

        url = self._url(
            f"upload/storage/v1/b/{bucket}/o", {"uploadType": "multipart", **params}
        )
        return self._run(lambda: self._answer("POST", url, headers, body), source)

    def download(
        self, path: str, params: Mapping[str, t.Any], headers: Mapping[str, str]
    ) -> Iterator[bytes]:
        """The bytes of an object as they are stored, at most 1 MiB at a time.

        :raises Refused: if the server says no.
        """
        url = self._url(f"storage/v1/{path}", {"alt": "media", **params})
        # A compressed object stays what was stored: its size and ranges are those.
        raw = {"Accept-Encoding": "gzip", **headers}
        response = self._run(lambda: self._begin(url, raw))
        try:
            while data := ioloop.run(self.fs.loop, self._piece, response):
                yield data
        finally:
            with suppress(RuntimeError):  # the loop has ended with its process
                self.fs.loop.call_soon_threadsafe(response.close)

    # -- on the loop's thread ------------------------------------------------

    async def _answer(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> dict[str, t.Any]:
        async with asyncio.timeout(self.limit) as patience:

            def moved() -> None:
                # An early answer ends the waiting before the body has ended.
                with suppress(RuntimeError):
                    patience.reschedule(self.fs.loop.time() + self.limit)

            response = await self._send(
                method, url, headers or {}, body(moved) if body else None
            )
            async with response:
                text = await response.read()
        _check(response.status, text)
        return t.cast("dict[str, t.Any]", json.loads(text)) if text else {}

    async def _begin(
        self, url: URL, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        async with asyncio.timeout(self.limit):
            response = await self._send("GET", url, headers, auto_decompress=False)
            if response.status >= 400:
                async with response:
                    _check(response.status, await response.read())
            return response

    async def _piece(self, response: aiohttp.ClientResponse) -> bytes:
        found = bytearray()
        while len(found) < CHUNK:
            async with asyncio.timeout(self.limit):
                data = await response.content.read(CHUNK - len(found))
            if not data:
                break
            found += data
        return bytes(found)

    async def _send(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        data: AsyncIterator[bytes] | None = None,
        **more: t.Any,
    ) -> aiohttp.ClientResponse:
        session: aiohttp.ClientSession = await self.fs._set_session()
        said = {**headers, **await self._authorization()}
        # What is to be waited for is said elsewhere; a large file takes its time.
        forever = aiohttp.ClientTimeout(total=None)
        return await session.request(
            method, url, headers=said, data=data, timeout=forever, **more
        )

    async def _authorization(self) -> dict[str, str]:
        credentials = self.fs.credentials.credentials
        if credentials is None:
            return {}
        if not credentials.valid:
            # It asks another server and blocks meanwhile.
            refresh = self.fs.credentials.maybe_refresh
            await self.fs.loop.run_in_executor(None, refresh)
        said: dict[str, str] = {}
        credentials.apply(said)
        return said

    # -- both ----------------------------------------------------------------

    def _run(
        self,
        work: Callable[[], Coroutine[t.Any, t.Any, T]],
        source: Source | None = None,
    ) -> T:
        async def twice() -> T:
            try:
                return await work()
            except aiohttp.ClientError:
                if source is not None and source.error is not None:
                    raise
            except Refused as exc:
                if exc.status not in TRANSIENT:
                    raise
            await asyncio.sleep(PAUSE)
            return await work()

        return ioloop.run(self.fs.loop, twice)

    def _url(self, path: str, params: Mapping[str, t.Any] | None) -> URL:
        query = urlencode(self.fs._get_params(dict(params or {})))
        return URL(f"{self.fs._location}/{path}?{query}", encoded=True)


def _check(status: int, text: bytes) -> None:
    if status < 400:
        return
    message = text.decode(errors="replace").strip()[:200]
    with suppress(ValueError, KeyError, TypeError):
        message = str(json.loads(text)["error"]["message"])
    raise Refused(status, message)
