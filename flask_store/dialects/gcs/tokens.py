"""The access token of a Google identity, which is asked for in the background."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import typing as t

import requests
from google.auth import exceptions as google
from google.auth.transport import requests as transport

from ...exceptions import StoreUnavailable
from ..errors import NoAnswer
from ..statuses import error_class

if t.TYPE_CHECKING:
    import gcsfs.core

#: A token that is good for so many seconds more can still be used for a request.
MARGIN = 20


class Tokens:
    """The token of one filesystem.

    Google's library fetches a new token about four minutes before the old one expires,
    with a limit of its own of two minutes, and gcsfs lets everybody wait for it behind
    a lock. Here one helper thread fetches it, and nobody waits while the old one is
    good. Otherwise a request waits, and no longer than for anything else.

    :param limit: in seconds, for the server's next word.
    """

    def __init__(self, fs: gcsfs.core.GCSFileSystem, limit: float) -> None:
        self.fs = fs
        self.limit = limit
        self._fetching: asyncio.Future[None] | None = None
        self._started = 0.0

    async def headers(self) -> dict[str, str]:
        """The headers that a request needs. To be awaited on the filesystem's loop.

        :raises StoreDenied: if the token server refuses the identity.
        :raises ConnectionError: if it gives no usable answer.
        """
        credentials = self.fs.credentials.credentials
        if credentials is None:
            return {}
        if not credentials.valid:
            fetching = self._fetch()
            if not _is_good(credentials):
                # Whoever gives up leaves the others waiting.
                await asyncio.shield(fetching)
        said: dict[str, str] = {}
        credentials.apply(said)
        return said

    def _fetch(self) -> asyncio.Future[None]:
        """The fetching of a token, by one thread for everybody."""
        loop = self.fs.loop
        now = loop.time()
        fetching = self._fetching
        # A server that trickles can hold the thread for longer than anybody waits.
        stuck = now - self._started > self.limit
        if fetching is None or fetching.done() or stuck:
            fetching = loop.run_in_executor(None, self._refresh)
            fetching.add_done_callback(_retrieve)
            self._fetching, self._started = fetching, now
        return fetching

    def _refresh(self) -> None:
        """Fetch a token. It blocks."""
        with requests.Session() as session:
            asking = _Asking(session, self.limit)
            try:
                self.fs.credentials.credentials.refresh(asking)
            except google.TransportError as exc:
                raise ConnectionError(str(exc)) from exc
            except google.GoogleAuthError as exc:
                if asking.problem:
                    raise NoAnswer(asking.problem) from exc
                raise PermissionError(str(exc)) from exc
            except (TypeError, ValueError, KeyError, AttributeError) as exc:
                # What the library makes of an answer that is no token.
                raise NoAnswer(asking.problem or "the token server sent none") from exc


class _Asking(transport.Request):  # type: ignore[misc]
    """A request for a token, with a limit. It notes what is wrong with the answer, if
    the library cannot use it; only a refusal in JSON concerns the identity."""

    def __init__(self, session: requests.Session, limit: float) -> None:
        super().__init__(session)
        self.limit = limit
        self.problem = ""

    def __call__(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        self.problem = "the token server cannot be reached"
        limit = min(self.limit, kwargs.pop("timeout", None) or self.limit)
        reply = super().__call__(*args, **kwargs, timeout=limit)
        self.problem = ""
        if error_class(reply.status) is StoreUnavailable:
            self.problem = f"the token server answers {reply.status}"
        elif not _is_json(reply.data):
            self.problem = "the token server answers with something else than JSON"
        elif reply.status == 200:
            self.problem = "the token server's answer has no token"
        return reply


def _is_json(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _is_good(credentials: t.Any) -> bool:
    """Whether the token can be used for one request more."""
    if not credentials.token or credentials.expiry is None:
        return False
    # Google's library keeps it in UTC, and naive.
    left = credentials.expiry.replace(tzinfo=dt.UTC) - dt.datetime.now(dt.UTC)
    return bool(left > dt.timedelta(seconds=MARGIN))


def _retrieve(fetching: asyncio.Future[None]) -> None:
    # An error that nobody waited for is that of the next request.
    if not fetching.cancelled():
        fetching.exception()
