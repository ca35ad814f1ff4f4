"""What is asked of Azure's answers, and requests for the bytes of blobs.

The SDK takes any answer with the right status for the service's. Its downloads are
made of many requests, which it tries again up to six times, and of which it believes
that each has what was asked for.
"""

from __future__ import annotations

import asyncio
import typing as t
from collections.abc import AsyncIterator
from collections.abc import Callable
from contextlib import suppress

import aiohttp
from azure.core import exceptions as azure
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline import PipelineResponse
from azure.core.pipeline.policies import AsyncHTTPPolicy
from azure.core.rest import AsyncHttpResponse
from azure.core.rest import HttpRequest
from azure.storage.blob.aio import BlobClient
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.blob.aio import ExponentialRetry

from ..bodies import Span
from ..errors import NoAnswer
from ..extents import Extent
from ..extents import extent
from ..extents import length_of
from ..objects import Unclear
from ..pace import Patience
from ..pace import Piece
from ..pace import PROGRESS
from ..pace import read_piece
from ..records import Stat
from ..tries import counting

#: What only the service itself can know: that there is no such blob, or that a
#: condition is not met.
OWN = (404, 409, 410, 412, 416)


async def prepare(service: BlobServiceClient, limit: float) -> None:
    """Let every client that is made of this one try again soon, judge the answers and
    count its tries.

    :param limit: in seconds, for an answer, or for 64 KiB of a body.
    """
    policies = service._pipeline._impl_policies
    # The client tries again by itself, after 15 s and then some more.
    for policy in policies:
        if isinstance(policy, ExponentialRetry):
            policy.total_retries = 1
            policy.initial_backoff, policy.increment_base = 0.5, 0
            policy.random_jitter_range = 0.2
    # The clients of containers and blobs link these policies anew.
    policies.append(Judge(limit))
    transport = service._pipeline._transport
    transport.connection_config.data_block_size = PROGRESS
    # As the SDK would make it, but for the counting.
    transport.session = aiohttp.ClientSession(
        trust_env=True,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trace_configs=[counting()],
    )


class Judge(AsyncHTTPPolicy):  # type: ignore[misc]
    """The last policy before the transport: a limit for every answer, which has to be
    the service's own.

    :param limit: in seconds, for an answer without its body if that is streamed, or
        with it; for every 64 KiB that are sent, it begins anew.
    """

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    async def send(
        self, request: PipelineRequest[t.Any]
    ) -> PipelineResponse[t.Any, t.Any]:
        asked = request.http_request
        data = asked.data
        try:
            async with asyncio.timeout(self.limit) as timeout:
                if isinstance(data, bytes) and len(data) > PROGRESS:
                    asked.data = _sending(data, Patience(timeout, self.limit))
                reply = await self.next.send(request)
        except TimeoutError as exc:
            raise azure.ServiceResponseError("The answer took too long.") from exc
        finally:
            asked.data = data  # to be sent again, perhaps
        answer = reply.http_response
        try:
            _judge(asked.method, answer)
        except BaseException:
            # Of a stream nothing has been read yet.
            if isinstance(answer, AsyncHttpResponse):
                await answer.close()
            raise
        return reply


async def _sending(data: bytes, patience: Patience) -> AsyncIterator[bytes]:
    for start in range(0, len(data), PROGRESS):
        patience.moved()
        yield data[start : start + PROGRESS]
    patience.moved()


def _judge(method: str, answer: t.Any) -> None:
    """:raises NoAnswer: if the answer comes from something else than the service, or
    does not tell what it always tells ("Get Blob Properties")."""
    status, headers = answer.status_code, answer.headers
    if status == 429:  # the SDK tries the others again by itself
        raise azure.HttpResponseError("The service is busy.", response=answer)
    if status >= 400 and status not in OWN:
        return
    if "x-ms-request-id" not in headers:
        raise NoAnswer(f"the status is {status}, and it has no x-ms-request-id")
    if method == "HEAD" and status == 200:
        if length_of(headers) is None:
            raise NoAnswer("it has no Content-Length")
        if not headers.get("ETag"):
            raise NoAnswer("it has no ETag")


class Body:
    """The body of an answer as the service sends it."""

    def __init__(self, answer: AsyncHttpResponse) -> None:
        self.answer = answer
        self._pieces = answer.iter_raw()

    async def read(self, size: int) -> bytes:
        """Some bytes, about so many at most, and none at the end."""
        return await anext(self._pieces, b"")

    def close(self) -> object:
        """End the answer; to be called on its loop."""
        return asyncio.ensure_future(self.answer.close())


class Download(t.NamedTuple):
    """The answer to a request for a blob's bytes, of which the first are here."""

    found: Stat
    sent: Extent
    first: Piece
    body: Body


#: Says what is known of a blob, from the answer that has its bytes, or raises an error.
Describe: t.TypeAlias = Callable[[AsyncHttpResponse, Extent], Stat]


async def download(
    blob: BlobClient,
    span: Span,
    version: str | None,
    describe: Describe,
    limit: float,
) -> Download:
    """Get some bytes of a blob, with one request.

    :param version: the ETag that the blob must have.
    :param describe: is asked before the bytes are read.
    :param limit: in seconds, see :class:`Judge`.
    :raises NoAnswer: if the answer does not have these bytes.
    """
    # Two tries of the SDK, and its pause.
    async with asyncio.timeout(2 * limit + 1) as timeout:
        patience = Patience(timeout, limit)
        with suppress(azure.ServiceRequestError, azure.ServiceResponseError):
            with suppress(azure.IncompleteReadError):
                return await _begin(blob, span, version, describe, patience)
        return await _begin(blob, span, version, describe, patience)


async def _begin(
    blob: BlobClient,
    span: Span,
    version: str | None,
    describe: Describe,
    patience: Patience,
) -> Download:
    headers = {
        "x-ms-version": blob.api_version,
        "x-ms-range": f"bytes={span}",
        "Accept-Encoding": "identity",
    }
    if version:
        headers["If-Match"] = f'"{version}"'
    request = HttpRequest("GET", blob.url, headers=headers)
    reply = await blob._pipeline.run(request, stream=True)
    answer: AsyncHttpResponse = reply.http_response
    try:
        if answer.status_code >= 400:
            await answer.read()
            kind = azure.HttpResponseError
            if answer.status_code == 404:
                kind = azure.ResourceNotFoundError
            raise kind(response=t.cast(t.Any, answer))
        sent = await _extent(blob, answer, span)
        if not span.meets(sent.size):
            raise Unclear(f"it has nothing of {span}")
        found = describe(answer, sent)
        body = Body(answer)
        patience.moved()
        return Download(found, sent, await read_piece(body.read, patience), body)
    except BaseException:
        await answer.close()
        raise


async def _extent(blob: BlobClient, answer: AsyncHttpResponse, span: Span) -> Extent:
    headers = answer.headers
    if not headers.get("ETag"):
        raise NoAnswer("it has no ETag")
    coding = headers.get("Content-Encoding") or "identity"
    framing = {
        name: headers[name]
        for name in ("Content-Length", "Content-Range")
        if name in headers
    }
    sent = extent(answer.status_code, framing, span)
    if coding == "identity":
        return sent
    # A blob may have been stored with a coding. Its properties tell; a proxy that
    # compresses cannot give the length.
    found = await blob.get_blob_properties()
    stored = found.content_settings.content_encoding
    if (stored, found.size) != (coding, sent.size):
        raise NoAnswer(f"Content-Encoding is {coding[:40]!r}")
    return sent
