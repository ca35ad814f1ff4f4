"""``webdav+https://``: WebDAV (RFC 4918), through webdav4 and httpx."""

from __future__ import annotations

import typing as t
import weakref
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import closing
from urllib.parse import unquote
from urllib.parse import urlsplit

import fsspec
import httpx
from webdav4.fsspec import WebdavFileSystem

from ... import naming
from ...exceptions import NotConfiguredError
from ...exceptions import StoreError
from ...exceptions import StoreUnavailable
from ...exceptions import VersionGone
from ...settings import refuse_login
from ...uploads.source import CHUNK
from .. import Fetched
from .. import Location
from .. import Span
from .. import Stat
from .. import TIMEOUT
from ..errors import NoAnswer
from ..errors import version_gone
from ..extents import Extent
from ..extents import extent
from ..http.answers import date_of
from ..http.answers import refusal
from ..http.answers import Refused
from ..http.answers import strong
from ..ranged import ranged
from ..records import bounds
from .http import begin
from .limits import limit_waiting
from .locks import Locked
from .writing import WebDAVWriting

#: How often a read begins anew, when the file is replaced since it was looked at.
ATTEMPTS = 3


class WebDAVDialect(WebDAVWriting):
    """Staged uploads that get their names on the server, and ranged reads."""

    protocols = ("webdav+https", "webdav+http")

    @classmethod
    def locate(cls, url: str, config: Mapping[str, t.Any]) -> Location:
        parts = urlsplit(url)
        scheme = parts.scheme.lower().partition("+")[2]
        if not scheme or not parts.hostname:
            raise NotConfiguredError(
                f"STORE_PATH with {parts.scheme}:// does not say how to reach the"
                " server. Write 'webdav+https://user@host/folder' (or webdav+http)."
            )
        address = parts.netloc.rpartition("@")[2]
        mine: dict[str, t.Any] = {
            "base_url": f"{scheme}://{address}",
            "timeout": TIMEOUT,
            "retry": False,
        }
        if parts.username is not None:
            mine["auth"] = (unquote(parts.username), unquote(parts.password or ""))
        root = "/" + unquote(parts.path).strip("/")
        options = {**mine, **config["STORE_OPTIONS"]}
        instead = "They belong into STORE_PATH, as 'webdav+https://user:password@host'."
        refuse_login("The option base_url", options["base_url"], instead)
        return Location("webdav", root.rstrip("/"), options)

    @property
    def uri(self) -> str:
        return f"webdav://{self.root}"

    def connect(self) -> fsspec.AbstractFileSystem:
        fs = WebdavFileSystem(skip_instance_cache=True, **self.location.options)
        limit_waiting(fs.client.http)
        # Nobody else closes the connections that the client keeps for later.
        weakref.finalize(fs, fs.client.http.close)
        return fs

    # -- reading -------------------------------------------------------------

    def record(self, info: Mapping[str, t.Any], key: str) -> Stat:
        # A folder has no size. The server knows no content type but what the name
        # says, which was another at first.
        size = 0 if info["type"] == "directory" else info["size"]
        return super().record({**info, "size": size, "content_type": None}, key)

    def open(self, key: str) -> t.IO[bytes]:
        return ranged(self, self.get(key))

    def get(
        self,
        key: str,
        span: Span | None = None,
        found: Stat | None = None,
    ) -> Fetched | None:
        for attempt in range(1, ATTEMPTS + 1):
            # A server answers for a folder too, with a page.
            known = self.stat(key)
            if found is not None and known.version != found.version:
                break
            if bounds(span, known.size) is None:
                return None
            try:
                return self._fetch(known, span)
            except (VersionGone, FileNotFoundError):
                # It was replaced since it was looked at.
                if found is not None or attempt == ATTEMPTS:
                    raise
        raise version_gone(key)

    def _fetch(self, known: Stat, span: Span | None) -> Fetched:
        headers = {"Accept-Encoding": "identity"}
        if span:
            headers["Range"] = f"bytes={span}"
        if known.etag:
            headers["If-Match"] = f'"{known.etag}"'
        reply = begin(self.fs, self.path(known.name), headers)
        try:
            sent = _sent(reply, known, span)
        except BaseException:
            reply.close()
            raise
        body = self._pieces(reply, known)
        return Fetched(known, sent.start, sent.stop, body)

    def _pieces(self, reply: httpx.Response, known: Stat) -> Iterator[bytes]:
        with closing(reply):
            yield from reply.iter_raw(CHUNK)
        # Dates are of whole seconds, and only an ETag says which version this was.
        if not (known.etag and strong(reply.headers.get("ETag")) == known.etag):
            try:
                after = self.stat(known.name)
            except FileNotFoundError as exc:
                raise version_gone(known.name) from exc
            if after.version != known.version:
                raise version_gone(known.name)

    # -- what went wrong -----------------------------------------------------

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        if isinstance(exc, Refused):
            return refusal(exc.status, key, "WebDAV server", self.settings)
        if isinstance(exc, Locked):
            return StoreUnavailable(
                f"{naming.quoted(key)} is being saved by another process, or one that"
                f" did so has died. Try again in {exc.seconds:.0f} s.",
                key,
            )
        if isinstance(exc, httpx.HTTPError | httpx.StreamError):
            return super().explain(ConnectionError(), key)
        return super().explain(exc, key)


def _sent(reply: httpx.Response, known: Stat, span: Span | None) -> Extent:
    """Which bytes an answer has, if they are of the version that is known."""
    status = reply.status_code
    if status in (404, 410):
        raise FileNotFoundError(known.name)
    # What was asked for is there, in the version that is known.
    if status in (412, 416):
        raise version_gone(known.name)
    if status >= 400:
        raise Refused(status)
    sent = extent(status, reply.headers, span)
    etag = strong(reply.headers.get("ETag"))
    modified = date_of(reply.headers.get("Last-Modified"))
    if etag and known.etag:
        same = etag == known.etag
    else:
        # Dates are of whole seconds.
        undated = not (modified and known.modified)
        same = sent.size == known.size and (undated or modified == known.modified)
    if not same:
        raise version_gone(known.name)
    if sent.size != known.size:
        raise NoAnswer(f"it has {sent.size} bytes in place of {known.size}")
    return sent
