"""How a request is sent to S3, and for how long it is waited for."""

from __future__ import annotations

import asyncio
import typing as t
from collections.abc import Mapping
from functools import cached_property
from urllib.parse import urlsplit

from ...concurrency import ioloop
from ...uploads.source import CHUNK
from ...uploads.source import Window
from ..errors import NoAnswer
from .links import S3Links
from .options import is_ordinary

if t.TYPE_CHECKING:
    from .direct import Direct

#: How often the progress of a body is looked at within the limit of one answer.
LOOKS = 32
#: How many times the limit of one answer a server has to copy or to join a file.
SLOW = 10


class S3Requests(S3Links):
    """S3, as far as it takes requests.

    botocore tries again after a lost connection, and also after a timeout. So each
    request has a limit of its own: one that is silent must not be waited for twice.
    """

    #: Whether the options leave nothing to s3fs; ``None`` until somebody asks.
    _ordinary: bool | None = None

    @property
    def _read_timeout(self) -> float:
        return float(self.location.options["config_kwargs"]["read_timeout"])

    @property
    def _limit(self) -> float:
        """Seconds for a whole answer; a little more than one try may take."""
        return self._read_timeout + 0.5

    def _call(self, method: str, **kwargs: t.Any) -> t.Any:
        """A request that a server answers at once."""
        return ioloop.run(self.fs.loop, self._limited, method, **kwargs)

    def _call_slow(self, method: str, **kwargs: t.Any) -> t.Any:
        """A request over which a server may think: it has to move a file."""
        return ioloop.run(self.fs.loop, self._limited, method, SLOW, **kwargs)

    async def _limited(
        self,
        method: str,
        times: int = 1,
        **kwargs: t.Any,
    ) -> t.Any:
        async with asyncio.timeout(self._limit * times):
            return await self._asked(method, **kwargs)

    async def _asked(self, method: str, **kwargs: t.Any) -> t.Any:
        """What the answer says.

        :raises NoAnswer: if it cannot be read.
        """
        try:
            return await self.fs._call_s3(method, **kwargs)
        except Exception as exc:
            if is_unreadable(exc):
                raise NoAnswer("it is not what S3 answers") from exc
            raise

    def _send(self, method: str, body: Window, **kwargs: t.Any) -> t.Any:
        """A request with a body."""
        return ioloop.run(self.fs.loop, self._watched, method, body, **kwargs)

    async def _watched(self, method: str, body: Window, **kwargs: t.Any) -> t.Any:
        """Send a body, and give up when it does not move.

        aiohttp's timeouts begin when a request has been sent. Neither the wait for
        '100 Continue' nor a connection that takes no more bytes ever ends by itself.
        """
        client = await self._client()
        client.meta.events.register("before-send.s3", _send_at_once, "flask-store")
        if body.size <= CHUNK:
            return await self._limited(method, Body=body, **kwargs)
        task = asyncio.ensure_future(self._asked(method, Body=body, **kwargs))
        try:
            await self._moving(task, body)
            return task.result()
        finally:
            task.cancel()

    async def _moving(self, task: asyncio.Future[t.Any], body: Window) -> None:
        """Wait for a request while its body moves, and then once for the answer.

        :raises TimeoutError: if the body stands still, or the answer does not come.
        """
        now, look = asyncio.get_running_loop().time, self._limit / LOOKS
        position, moved = body.position, now()
        while not (await asyncio.wait({task}, timeout=look))[0]:
            still = now() - moved
            # botocore begins anew when the server was silent for the read timeout.
            anew = body.position < position and still > self._read_timeout - 2 * look
            if anew or still > self._limit:
                raise TimeoutError(f"A request did not move for {still:.1f} s")
            if body.position != position:
                position, moved = body.position, now()

    # -- the direct way ------------------------------------------------------

    def _is_direct(self) -> bool:
        """Whether a request is so ordinary that it needs no s3fs to be made."""
        if self._ordinary is None:
            from . import direct

            self._ordinary = (
                is_ordinary(self.location.options)
                and bool(self._endpoint or self._is_amazon())
                and not direct.is_proxied(self._server)
            )
        return self._ordinary and self._direct.may_wait()

    @cached_property
    def _direct(self) -> Direct:
        from .direct import Direct

        config = self.location.options["config_kwargs"]
        times = config["connect_timeout"], config["read_timeout"]
        trusted = self._session.get_config_variable("ca_bundle")  # AWS_CA_BUNDLE
        return Direct(self._server, *times, self._region, self._keys, trusted)

    @property
    def _server(self) -> str:
        return self._object("", self._region, self._endpoint)

    def _is_amazon(self) -> bool:
        # The environment may name another endpoint, so the client itself is asked.
        client = ioloop.run(self.fs.loop, self._client)
        host = urlsplit(client.meta.endpoint_url).hostname or ""
        return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))

    async def _client(self) -> t.Any:
        await self.fs.set_session()
        return await self.fs.get_s3(self.bucket)


def _send_at_once(request: t.Any, **kwargs: t.Any) -> None:
    """Spare a small body the round trip of 'Expect: 100-continue', with which
    botocore asks whether it may send; a large one learns in time that it may not."""
    if int(request.headers.get("Content-Length", 0)) <= CHUNK:
        request.headers.pop("Expect", None)


def is_unreadable(exc: Exception) -> bool:
    """Whether botocore could make nothing of an answer."""
    from botocore.exceptions import BotoCoreError
    from botocore.parsers import ResponseParserError

    if isinstance(exc, ResponseParserError):
        return True
    # A date that is none, bytes that are no text.
    return isinstance(exc, LookupError | ValueError) and not isinstance(
        exc, BotoCoreError
    )


def status_of(exc: Exception) -> int | None:
    """The HTTP status behind an error of s3fs.

    s3fs maps a 412 to ``FileExistsError`` or, when the server's reply lacks a
    detail that only Amazon sends, to ``OSError(EINVAL)``.
    """
    for error in (exc, exc.__cause__):
        response = getattr(error, "response", None)
        if isinstance(response, Mapping):
            return t.cast("int | None", response["ResponseMetadata"]["HTTPStatusCode"])
    return None
