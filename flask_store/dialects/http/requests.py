"""Requests to a web server, over the session of fsspec's HTTP filesystem.

fsspec itself reports every error as a missing file.
"""

from __future__ import annotations

import asyncio
import typing as t
from collections.abc import Iterable
from collections.abc import Mapping
from contextlib import suppress

import aiohttp
import fsspec
from yarl import URL

from ...concurrency import ioloop
from ...uploads.source import CHUNK
from ..errors import NoAnswer
from ..extents import length_of
from ..extents import refuse_encoding
from ..pace import Patience
from ..pace import read_piece
from ..statuses import MISSING
from .answers import LIST_LIMIT
from .answers import Refused

#: The conditions of a request that the status 412 may be about.
CONDITIONS = frozenset({"If-Match", "If-Unmodified-Since"})
#: How many HEAD requests run at a time.
PARALLEL = 8


class Client:
    """Sends the requests of one filesystem.

    :param limit: in seconds, for the headers of a response and for every 64 KiB of it.
    """

    def __init__(self, fs: fsspec.AbstractFileSystem, limit: float) -> None:
        self.fs = fs
        self.limit = limit

    def headers(self, url: str) -> Mapping[str, str]:
        """The headers of a file.

        :raises FileNotFoundError: if there is none.
        :raises Refused: if the status is an error.
        :raises NoAnswer: if the response cannot be used.
        """
        return ioloop.run(self.fs.loop, self._headers, url)

    def many_headers(
        self, urls: Iterable[str]
    ) -> list[Mapping[str, str] | BaseException]:
        """The same for many files at once, in their order."""
        return ioloop.run(self.fs.loop, self._many_headers, list(urls))

    def page(self, url: str) -> tuple[str, bytes]:
        """The content type and the text of a page.

        :raises FileNotFoundError: if there is none.
        :raises Refused: if the status is an error.
        :raises NoAnswer: if the response cannot be used.
        """
        return ioloop.run(self.fs.loop, self._page, url)

    def begin(
        self, url: str, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], Pieces]:
        """Request the bytes of a file.

        :return: the status, 200, 206, 412 or 416; the headers; and the bytes, which
            the caller closes.
        :raises FileNotFoundError: if there is no such file.
        :raises Refused: if the status is an error.
        :raises NoAnswer: if the response cannot be used.
        """
        response = ioloop.run(self.fs.loop, self._begin, "GET", url, headers)
        return response.status, response.headers, Pieces(self, response)

    # -- on the loop's thread ------------------------------------------------

    async def _headers(self, url: str) -> Mapping[str, str]:
        headers = {}
        for method in ("HEAD", "GET"):
            try:
                response = await self._begin(method, url)
            except Refused as exc:
                # Some servers do not allow HEAD, nor do some signed URLs.
                if method == "GET" or exc.status not in (403, 405, 501):
                    raise
                continue
            headers = response.headers
            response.close()
            # A response to HEAD may leave out headers (RFC 9110, section 9.3.2).
            if "Content-Length" in headers:
                break
        return headers

    async def _many_headers(
        self, urls: list[str]
    ) -> list[Mapping[str, str] | BaseException]:
        semaphore = asyncio.Semaphore(PARALLEL)

        async def headers_of(url: str) -> Mapping[str, str]:
            async with semaphore:
                return await self._headers(url)

        return await asyncio.gather(*map(headers_of, urls), return_exceptions=True)

    async def _page(self, url: str) -> tuple[str, bytes]:
        response = await self._begin("GET", url)
        async with response:
            length = length_of(response.headers)
            if length is None and "Transfer-Encoding" not in response.headers:
                raise NoAnswer("it has no Content-Length, and may be cut")
            refuse_encoding(response.headers)
            text = await self.piece(response, LIST_LIMIT + 1)
        if len(text) > LIST_LIMIT:
            raise NoAnswer(f"it has more than {LIST_LIMIT} bytes")
        if response.status != 200 or length not in (None, len(text)):
            raise NoAnswer(f"it is a part of a page (status {response.status})")
        return response.content_type, text

    async def _begin(
        self, method: str, url: str, headers: Mapping[str, str] | None = None
    ) -> aiohttp.ClientResponse:
        options = dict(self.fs.kwargs)
        default_headers = {**options.pop("headers", {}), "Accept-Encoding": "identity"}
        options |= {
            "headers": {**default_headers, **(headers or {})},
            # This class has its own time limits. A large file may take longer.
            "timeout": aiohttp.ClientTimeout(total=None),
            # A redirect may lead to a login page, which is not the file.
            "allow_redirects": False,
            "auto_decompress": False,
        }
        async with asyncio.timeout(self.limit):
            session: aiohttp.ClientSession = await self.fs.set_session()
            address = self.fs.encode_url(url)
            response = await session.request(method, address, **options)
        try:
            _refuse_status(response, address, headers or {})
        except BaseException:
            response.close()
            raise
        return response

    async def piece(self, response: aiohttp.ClientResponse, size: int) -> bytes:
        """The next *size* bytes of a response, or less if it ends."""
        async with asyncio.timeout(self.limit) as timeout:
            patience = Patience(timeout, self.limit)
            return (await read_piece(response.content.read, patience, size)).data


class Pieces:
    """The bytes of a file, at most 1 MiB at a time. The caller closes them."""

    def __init__(self, client: Client, response: aiohttp.ClientResponse) -> None:
        self._client = client
        self._response = response
        self._ended = False

    def __iter__(self) -> t.Self:
        return self

    def __next__(self) -> bytes:
        if self._ended:
            raise StopIteration
        client = self._client
        data = ioloop.run(client.fs.loop, client.piece, self._response, CHUNK)
        if not data:
            self._ended = True
            raise StopIteration
        return data

    def close(self) -> None:
        """Close the response."""
        self._ended = True
        with suppress(RuntimeError):  # the loop has ended with its process
            self._client.fs.loop.call_soon_threadsafe(self._response.close)


class Redirected(NoAnswer):
    """A redirect, which is not followed."""


def _refuse_status(
    response: aiohttp.ClientResponse, url: URL, asked: Mapping[str, str]
) -> None:
    status = response.status
    if status in MISSING:
        raise FileNotFoundError(url.path)
    if status == 412 and not CONDITIONS.isdisjoint(asked):
        return
    if status == 416 and "Range" in asked:
        return
    if status >= 400:
        raise Refused(status)
    if 300 <= status < 400:
        raise _redirected(response, url)
    if status not in (200, 206):
        raise NoAnswer(f"the status is {status}")


def _redirected(response: aiohttp.ClientResponse, url: URL) -> Exception:
    try:
        target = url.join(URL(response.headers.get("Location", ""), encoded=True))
        # The address is that of a folder, and not of a file.
        if target.path == f"{url.path}/" and target.origin() == url.origin():
            return FileNotFoundError(url.path)
        origin = str(target.origin())
    except ValueError:
        origin = "another address"
    # The rest of the address may be secret.
    return Redirected(
        f"the status is {response.status}, and it sends to {origin}, which is not"
        " followed"
    )
