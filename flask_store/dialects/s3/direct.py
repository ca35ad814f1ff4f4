"""Requests to S3 from a thread that can simply wait for them.

s3fs hands each request to an event loop on another thread, and there it goes through
botocore: right for greenlets and for many requests at a time, and for one PUT more work
than the PUT itself. This is the other way, on :mod:`urllib3`, which botocore brings. It
does what is ordinary and leaves the rest, every error included, to s3fs.
"""

from __future__ import annotations

import hashlib
import os
import typing as t
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from urllib.parse import urlsplit

import urllib3
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from ...concurrency.greenlets import current_hub
from ...concurrency.greenlets import patched
from ...uploads.source import CHUNK
from ...uploads.source import Window
from ..errors import NoAnswer
from . import signing
from .answers import is_stored
from .wire import Encrypted
from .wire import Plain

#: How much is handed to a connection at a time. Each piece has the time of a connect
#: to be taken, so that a slow line is no silent one.
PIECE = 64 * 1024
#: How much is read of an answer that is no object, such as a page or an error.
LONGEST = 64 * 1024
#: The SHA-256 of a request without a body.
NOTHING = hashlib.sha256().hexdigest()


class Direct:
    """The connections to one server, of this process, whichever thread asks.

    :param server: its URL.
    :param connect: the seconds to connect in, and for a piece of a body to be taken.
    :param read: the seconds for an answer, or for every
        :data:`~flask_store.dialects.pace.PROGRESS` bytes of a long one.
    :param keys: gives the keys of the moment; those of a role are renewed.
    :param trusted: a file of certificates to trust, in place of the usual ones.
    """

    def __init__(
        self,
        server: str,
        connect: float,
        read: float,
        region: str,
        keys: Callable[[], signing.Keys],
        trusted: str | None,
    ) -> None:
        #: Whether a body is not signed: TLS says already that it arrives as it is sent.
        self.encrypts = urlsplit(server).scheme == "https"
        self._server = server
        self._timeout = urllib3.Timeout(connect=connect, read=read)
        self._region = region
        self._keys = keys
        self._trusted = trusted
        self._pools: dict[int, urllib3.HTTPConnectionPool] = {}

    def put(self, url: str, body: Window, headers: Mapping[str, str]) -> int | None:
        """Store an object.

        :param url: its address, percent-encoded once.
        :return: the HTTP status; ``None`` if there was none to be had.
        :raises TimeoutError: if the server is silent.
        :raises NoAnswer: if the status is 200, and S3 cannot have said it.
        """
        # Signing and sending a small body takes one reading, and a large one two.
        small = list(_chunks(body)) if body.size <= CHUNK else None
        digest = signing.UNSIGNED
        if not self.encrypts:
            digest = _digest(small or _chunks(body))
        said = {**headers, "Content-Length": str(body.size)}
        pieces = _pieces(small or _chunks(body))
        reply = self._request("PUT", url, said, digest, body=pieces)
        if reply is None and body.source.error is not None:
            raise body.source.error
        if reply is None:
            return None
        page = rest(reply)
        if reply.status == 200 and (page or not is_stored(reply.headers)):
            raise NoAnswer("an upload is answered by something else than S3")
        return reply.status

    def get(
        self, url: str, headers: Mapping[str, str], method: str = "GET"
    ) -> urllib3.BaseHTTPResponse | None:
        """Ask for an object. The body is still to be read, by :func:`pieces`.

        :param url: its address, percent-encoded once.
        :param method: or ``"HEAD"``.
        :return: ``None`` if there was no answer to be had.
        :raises TimeoutError: if the server is silent.
        """
        return self._request(method, url, headers, NOTHING)

    def _request(
        self,
        method: str,
        url: str,
        said: Mapping[str, str],
        digest: str,
        body: Iterable[t.Any] | None = None,
    ) -> urllib3.BaseHTTPResponse | None:
        headers = signing.headers(method, url, self._keys(), self._region, said, digest)
        path = urlsplit(url).path
        try:
            return self._pool.urlopen(
                method,
                path,
                t.cast(t.Any, body),
                headers,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except urllib3.exceptions.TimeoutError as exc:
            raise TimeoutError(str(exc)) from exc
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            # A piece was not taken.
            if any(isinstance(cause, TimeoutError) for cause in exc.args):
                raise TimeoutError(str(exc)) from exc
            return None

    @staticmethod
    def may_wait() -> bool:
        """Whether this thread may simply wait. Where threads are greenlets, or a hub
        serves others, that is for the loop."""
        return not patched() and current_hub() is None

    @property
    def _pool(self) -> urllib3.HTTPConnectionPool:
        # A forked child must not speak over the connections of its parent.
        made = self._pools.get(os.getpid())
        return made or self._pools.setdefault(os.getpid(), self._make_pool())

    def _make_pool(self) -> urllib3.HTTPConnectionPool:
        options = {}
        if self.encrypts:
            options["ca_certs"] = get_cert_path(self._trusted or True)
        pool = urllib3.connection_from_url(
            self._server, maxsize=64, retries=False, timeout=self._timeout, **options
        )
        pool.ConnectionCls = Encrypted if self.encrypts else Plain
        return pool


def is_proxied(server: str) -> bool:
    """Whether the environment names a proxy for *server*, which only s3fs uses."""
    return bool(get_environ_proxies(server))


def rest(reply: urllib3.BaseHTTPResponse) -> bytes:
    """The body of an answer that is no object, or the beginning of a long one. The
    connection can be used again if that was all.

    :raises TimeoutError: when the server falls silent.
    """
    try:
        return _read(reply, LONGEST)
    except ConnectionError:
        return b""  # the status is all that is needed
    finally:
        reply.close()


def content(reply: urllib3.BaseHTTPResponse, size: int) -> bytes:
    """All the bytes of an answer; it raises what :func:`pieces` does.

    :param size: how many there have to be.
    """
    data = _read(reply, None)
    if len(data) != size:
        raise NoAnswer(f"it has {len(data)} bytes in place of {size}")
    return data


def pieces(reply: urllib3.BaseHTTPResponse, first: int, size: int) -> Generator[bytes]:
    """The bytes of an answer, of which the *first* are here already: whoever never
    asks for more holds no connection.

    :param size: how many at a time from then on.
    :raises ConnectionError: when the server breaks off.
    :raises TimeoutError: when it falls silent.
    """
    data = _read(reply, first)
    return _rest(reply, data, size)


def _rest(reply: urllib3.BaseHTTPResponse, data: bytes, size: int) -> Generator[bytes]:
    try:
        while data:
            yield data
            data = _read(reply, size)
    finally:
        reply.close()  # back in the pool by now, unless something is left


def _read(reply: urllib3.BaseHTTPResponse, size: int | None) -> bytes:
    try:
        return reply.read(size)
    except urllib3.exceptions.TimeoutError as exc:
        raise TimeoutError(str(exc)) from exc
    except urllib3.exceptions.HTTPError as exc:
        raise ConnectionError(str(exc)) from exc


def _chunks(body: Window) -> Iterator[bytes]:
    body.seek(0)
    while data := body.read(CHUNK):
        yield data


def _digest(chunks: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for data in chunks:
        found.update(data)
    return found.hexdigest()


def _pieces(chunks: Iterable[bytes]) -> Iterator[t.Any]:
    for data in chunks:
        view = memoryview(data)
        for start in range(0, len(view), PIECE):
            yield view[start : start + PIECE]
