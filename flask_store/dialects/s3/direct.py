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
from collections.abc import Generator
from collections.abc import Iterable
from collections.abc import Mapping
from urllib.parse import urlsplit

import urllib3
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from ...secrecy import Options
from ...uploads.properties import NO_PROPERTIES
from ...uploads.source import CHUNK
from ...uploads.source import Source
from ..bodies import OutOfSpan
from ..bodies import Span
from ..errors import NoAnswer
from ..extents import Extent
from ..objects import TOKEN
from . import signing
from .account import S3Account
from .additions import Additions
from .answers import Answer
from .answers import extent
from .answers import FIRST
from .answers import is_stored
from .answers import META
from .answers import size_of
from .errors import is_foreign
from .errors import TAKEN
from .errors import Unanswered
from .wire import Encrypted
from .wire import Plain

#: How much is read of an answer that is no object, such as a page or an error.
LONGEST = 64 * 1024
#: The SHA-256 of a request without a body.
NOTHING = hashlib.sha256().hexdigest()


class DirectClient:
    """The connections to one server, of this process, whichever thread asks.

    Each verb raises :exc:`Unanswered` if there is no answer, or none that it can
    judge; and :exc:`TimeoutError` if the server is silent.

    :param account: where the bucket is, and who asks.
    :param additions: how new objects are stored, and who pays for requests.
    :param connect: the seconds to connect in, and for a piece of a body to be taken.
    :param read: the seconds for an answer, or for every
        :data:`~flask_store.dialects.pace.PROGRESS` bytes of a long one.
    """

    def __init__(
        self, account: S3Account, additions: Additions, connect: float, read: float
    ) -> None:
        self.account = account
        self.endpoint = account.endpoint
        # Whose repr has the names only, as that of the settings.
        self._stored_with = Options(additions.headers)
        self._payer = Options(additions.payer)
        self.timeout = urllib3.Timeout(connect=connect, read=read)
        self._pools: dict[int, urllib3.HTTPConnectionPool] = {}

    def put(
        self, name: str, source: Source, content_type: str, token: str, new: bool
    ) -> str:
        """Store an object; see :meth:`.ObjectDialect.put`."""
        size, digest = source.size, signing.UNSIGNED
        # Signing and sending a small body takes one reading, and a large one two.
        small = [source.read_at(0, size)] if size <= CHUNK else None
        # TLS says already that a body arrives as it is sent.
        if not self.endpoint.is_encrypted:
            digest = _digest(small or source.blocks())
        kept = source.properties
        headers = {
            **self._stored_with,
            **({} if kept is NO_PROPERTIES else kept.headers(META)),
            "Content-Type": content_type,
            "Content-Length": str(size),
            f"{META}{TOKEN}": token,
        }
        if new:
            headers["If-None-Match"] = "*"
        body = small or source.blocks()
        try:
            response = self._request("PUT", name, headers, digest, body)
        except Unanswered:
            if source.error is None:
                raise
            raise source.error from None
        page = rest(response)
        if response.status == 200:
            if page or not is_stored(response.headers):
                raise NoAnswer("an upload is answered by something else than S3")
            return response.headers["ETag"]
        if new and response.status in TAKEN:
            raise FileExistsError(name)
        raise Unanswered(name)

    def get(
        self,
        name: str,
        span: Span | None,
        etag: str | None,
        first: int | None = FIRST,
    ) -> Answer:
        """An object, or a part of it, as far as it is here. Whoever never asks for
        more than the first bytes holds no connection.

        :param first: how many bytes to begin with, or ``None`` for all.
        :raises OutOfSpan: if there is not one byte of what was asked for.
        """
        headers = dict(self._payer)
        if span:
            headers["Range"] = f"bytes={span}"
        if etag:
            headers["If-Match"] = f'"{etag}"'
        response = self._request("GET", name, headers)
        if response.status in (200, 206):
            try:
                sent = extent(response.status, response.headers, span)
            except NoAnswer as exc:
                response.close()
                raise Unanswered(name) from exc
            return Answer(
                response.headers, sent, _body(response, _read(response, first))
            )
        page = rest(response)
        if response.status == 416 and span and b">InvalidRange<" in page:
            raise OutOfSpan
        if response.status == 404 and b">NoSuchKey<" in page:
            raise FileNotFoundError(name)
        raise Unanswered(name)

    def head(self, name: str) -> Answer:
        """What is known of an object.

        :raises FileNotFoundError: if there is no such object, or no bucket.
        """
        response = self._request("HEAD", name, self._payer)
        rest(response)
        if response.status == 404 and not is_foreign(response.headers):
            raise FileNotFoundError(name)
        if response.status != 200:
            raise Unanswered(name)
        try:
            size = size_of(response.headers)
        except NoAnswer as exc:
            raise Unanswered(name) from exc
        return Answer(response.headers, Extent(0, size, size), iter(()))

    def delete(self, name: str) -> bool:
        """Delete an object. Whether the answer is the one that S3 gives."""
        response = self._request("DELETE", name, self._payer)
        rest(response)
        if response.status not in (200, 204):
            raise Unanswered(name)
        return response.status == 204

    def _request(
        self,
        method: str,
        name: str,
        headers: Mapping[str, str],
        digest: str = NOTHING,
        body: Iterable[t.Any] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """The answer, whose body is still to be read."""
        url, keys = self.endpoint.address(name), self.account.keys()
        signed = signing.headers(
            method, url, keys, self.endpoint.region, headers, digest
        )
        # A forked child must not speak over the connections of its parent.
        pool = self._pools.get(os.getpid()) or self._make_pool()
        try:
            return pool.urlopen(
                method,
                urlsplit(url).path,
                t.cast(t.Any, body),
                signed,
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
            raise Unanswered(name) from exc

    def _make_pool(self) -> urllib3.HTTPConnectionPool:
        options = {}
        if self.endpoint.is_encrypted:
            options["ca_certs"] = get_cert_path(self.endpoint.ca_bundle or True)
        pool = urllib3.connection_from_url(
            self.endpoint.url,
            maxsize=64,
            retries=False,
            timeout=self.timeout,
            sending=self.timeout.read_timeout,
            **options,
        )
        pool.ConnectionCls = Encrypted if self.endpoint.is_encrypted else Plain
        return self._pools.setdefault(os.getpid(), pool)


def is_proxied(server: str) -> bool:
    """Whether the environment names a proxy for *server*, which only s3fs uses."""
    return bool(get_environ_proxies(server))


def rest(response: urllib3.BaseHTTPResponse) -> bytes:
    """The body of an answer that is no object, or the beginning of a long one. The
    connection can be used again if that was all.

    :raises TimeoutError: when the server falls silent.
    """
    try:
        return _read(response, LONGEST)
    except ConnectionError:
        return b""  # the status is all that is needed
    finally:
        response.close()


def _body(response: urllib3.BaseHTTPResponse, data: bytes) -> Generator[bytes]:
    """The bytes of an answer, of which some are here.

    :raises ConnectionError: when the server breaks off.
    :raises TimeoutError: when it falls silent.
    """
    try:
        while data:
            yield data
            data = _read(response, CHUNK)
    finally:
        response.close()  # back in the pool by now, unless something is left


def _read(response: urllib3.BaseHTTPResponse, size: int | None) -> bytes:
    try:
        return response.read(size)
    except urllib3.exceptions.TimeoutError as exc:
        raise TimeoutError(str(exc)) from exc
    except urllib3.exceptions.HTTPError as exc:
        raise ConnectionError(str(exc)) from exc


def _digest(chunks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for data in chunks:
        digest.update(data)
    return digest.hexdigest()
