"""Requests to a web server, over the session of fsspec's HTTP filesystem.

fsspec itself takes every error for a file that is not there.
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
from .answers import LIST_LIMIT
from .answers import Refused

#: How many files are looked at at the same time.
PARALLEL = 8


class Client:
    """One filesystem's way to its server.

    :param limit: in seconds, for the head of an answer and for every 64 KiB of it.
    """

    def __init__(self, fs: fsspec.AbstractFileSystem, limit: float) -> None:
        self.fs = fs
        self.limit = limit

    def headers(self, url: str) -> Mapping[str, str]:
        """What the server tells of a file.

        :raises FileNotFoundError: if there is none.
        :raises Refused: if the server says no.
        :raises NoAnswer: if the answer is something else.
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
        :raises Refused: if the server says no.
        :raises NoAnswer: if the answer is something else.
        """
        return ioloop.run(self.fs.loop, self._page, url)

    def begin(
        self, url: str, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], Pieces]:
        """Ask for the bytes of a file.

        :return: the status, 200, 206, 412 or 416; the headers; and the bytes, which
            are to be closed.
        :raises FileNotFoundError: if there is no such file.
        :raises Refused: if the server says no.
        :raises NoAnswer: if the answer is something else.
        """
        response = ioloop.run(self.fs.loop, self._begin, "GET", url, headers)
        return response.status, response.headers, Pieces(self, response)

    # -- on the loop's thread ------------------------------------------------

    async def _headers(self, url: str) -> Mapping[str, str]:
        found = {}
        for method in ("HEAD", "GET"):
            try:
                response = await self._begin(method, url)
            except Refused as exc:
                # Not every server, nor every signature in a URL, allows HEAD.
                if method == "GET" or exc.status not in (403, 405, 501):
                    raise
                continue
            found = response.headers
            response.close()
            # It may also leave out what takes time to find (RFC 9110, 9.3.2).
            if "Content-Length" in found:
                break
        return found

    async def _many_headers(
        self, urls: list[str]
    ) -> list[Mapping[str, str] | BaseException]:
        turns = asyncio.Semaphore(PARALLEL)

        async def one(url: str) -> Mapping[str, str]:
            async with turns:
                return await self._headers(url)

        return await asyncio.gather(*map(one, urls), return_exceptions=True)

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
        said = {**options.pop("headers", {}), "Accept-Encoding": "identity"}
        options |= {
            "headers": {**said, **(headers or {})},
            # What is to be waited for is said here; a large file takes its time.
            "timeout": aiohttp.ClientTimeout(total=None),
            # Whoever is sent elsewhere, such as to a login page, has no answer yet.
            "allow_redirects": False,
            "auto_decompress": False,
        }
        async with asyncio.timeout(self.limit):
            session: aiohttp.ClientSession = await self.fs.set_session()
            address = self.fs.encode_url(url)
            response = await session.request(method, address, **options)
        try:
            _check(response, address, ranged="Range" in (headers or {}))
        except BaseException:
            response.close()
            raise
        return response

    async def piece(self, response: aiohttp.ClientResponse, size: int) -> bytes:
        """The next bytes of an answer: *size* of them, or less if it ends."""
        async with asyncio.timeout(self.limit) as timeout:
            patience = Patience(timeout, self.limit)
            return (await read_piece(response.content.read, patience, size)).data


class Pieces:
    """The bytes of a file, at most 1 MiB at a time. They are to be closed."""

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
        """Let go of the connection."""
        self._ended = True
        with suppress(RuntimeError):  # the loop has ended with its process
            self._client.fs.loop.call_soon_threadsafe(self._response.close)


class Redirected(NoAnswer):
    """An answer that sends elsewhere."""


def _check(response: aiohttp.ClientResponse, asked: URL, ranged: bool) -> None:
    status = response.status
    if status in (404, 410):
        raise FileNotFoundError(asked.path)
    if status == 412 or (ranged and status == 416):
        return
    if status >= 400:
        raise Refused(status)
    if 300 <= status < 400:
        raise _redirected(response, asked)
    if status not in (200, 206):
        raise NoAnswer(f"the status is {status}")


def _redirected(response: aiohttp.ClientResponse, asked: URL) -> Exception:
    try:
        target = asked.join(URL(response.headers.get("Location", ""), encoded=True))
        # What is asked for is a folder, which has another address.
        if target.path == f"{asked.path}/" and target.origin() == asked.origin():
            return FileNotFoundError(asked.path)
        there = str(target.origin())
    except ValueError:
        there = "another address"
    # The rest of an address may be secret.
    return Redirected(
        f"the status is {response.status}, and it sends to {there}, which is not"
        " followed"
    )
