"""How often a request was sent.

aiohttp sends a DELETE again by itself when the server closes the connection. Whoever
meets 404 then has to know that an earlier request may have done it.
"""

from __future__ import annotations

import typing as t

import aiohttp


class Tries:
    """How often one request was sent; pass it as aiohttp's ``trace_request_ctx``."""

    def __init__(self) -> None:
        self.sent = 0


def counting() -> aiohttp.TraceConfig:
    """What lets a session of aiohttp count."""
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(_count)
    return trace


async def _count(_session: t.Any, context: t.Any, _request: t.Any) -> None:
    if isinstance(context.trace_request_ctx, Tries):
        context.trace_request_ctx.sent += 1
