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
from .. import Limits
from .. import Location
from .. import Span
from .. import Stat
from ..bodies import bounds
from ..errors import NoAnswer
from ..errors import version_gone
from ..extents import Extent
from ..extents import extent
from ..http.answers import date_of
from ..http.answers import Refused
from ..http.answers import strong
from ..ranged import ranged
from ..statuses import MISSING
from ..statuses import no_place
from ..statuses import refusal
from ..tls import Trust
from .http import begin
from .limits import limit_waiting
from .locks import Locked
from .writing import WebDAVWriting

#: How many attempts a read has, if the file is replaced after PROPFIND described it.
ATTEMPTS = 3


class WebDAVDialect(WebDAVWriting):
    """Reads files and parts of files; see the base classes for writing and listing."""

    is_known = True
    # webdav4 neither encodes these, nor finds what is encoded.
    unspeakable = ("%", "?", "#")

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
        limits = Limits.of(config)
        default_options: dict[str, t.Any] = {
            "base_url": f"{scheme}://{address}",
            "timeout": limits.answer,
            "retry": False,
        }
        if parts.username is not None:
            default_options["auth"] = (
                unquote(parts.username),
                unquote(parts.password or ""),
            )
        root = "/" + unquote(parts.path).strip("/")
        options = {**default_options, **config["STORE_OPTIONS"]}
        instead = "They belong into STORE_PATH, as 'webdav+https://user:password@host'."
        refuse_login("The option base_url", options["base_url"], instead)
        return Location("webdav", root.rstrip("/"), options, limits)

    @property
    def uri(self) -> str:
        return f"webdav://{self.root}"

    def connect(self) -> fsspec.AbstractFileSystem:
        fs = WebdavFileSystem(skip_instance_cache=True, **self.location.options)
        limit_waiting(fs.client.http)
        # webdav4 does not close the connections that its client keeps.
        weakref.finalize(fs, fs.client.http.close)
        return fs

    # -- reading -------------------------------------------------------------

    def record(self, info: Mapping[str, t.Any], key: str) -> Stat:
        # A folder has no size. The server tells the content type by the name, and the
        # private name of the upload was another one.
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
            # A GET of a folder has a page, so that PROPFIND has to come first.
            stat = self.info(key)
            if found is not None and stat.version != found.version:
                break
            if bounds(span, stat.size) is None:
                return None
            try:
                return self._fetch(stat, span)
            except (VersionGone, FileNotFoundError):
                # The file was replaced after stat() had described it.
                if found is not None or attempt == ATTEMPTS:
                    raise
        raise version_gone(key)

    def _fetch(self, stat: Stat, span: Span | None) -> Fetched:
        headers = {"Accept-Encoding": "identity"}
        if span:
            headers["Range"] = f"bytes={span}"
        if stat.etag:
            headers["If-Match"] = f'"{stat.etag}"'
        response = begin(self.fs, self.path(stat.name), headers)
        try:
            received = _checked_extent(response, stat, span)
        except BaseException:
            response.close()
            raise
        body = self._read_body(response, stat)
        return Fetched(stat, received.start, received.stop, body)

    def _read_body(self, response: httpx.Response, stat: Stat) -> Iterator[bytes]:
        with closing(response):
            yield from response.iter_raw(CHUNK)
        # Only an ETag tells which version this was. Dates have whole seconds.
        if not (stat.etag and strong(response.headers.get("ETag")) == stat.etag):
            try:
                after = self.info(stat.name)
            except FileNotFoundError as exc:
                raise version_gone(stat.name) from exc
            if after.version != stat.version:
                raise version_gone(stat.name)

    # -- what went wrong -----------------------------------------------------

    @property
    def trust(self) -> Trust:
        return Trust(
            "STORE_PATH", ("SSL_CERT_FILE",), self.location.options["base_url"]
        )

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        if isinstance(exc, Refused) and exc.status == 409:
            # RFC 4918, sections 9.3.1, 9.7.1 and 9.9.4: there is no folder for it.
            return no_place(key, "WebDAV server (409)")
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


def _checked_extent(response: httpx.Response, stat: Stat, span: Span | None) -> Extent:
    """Which bytes a response has.

    :raises VersionGone: if they are not of the version *stat*.
    """
    status = response.status_code
    if status in MISSING:
        raise FileNotFoundError(stat.name)
    # stat() has seen the file, and it had bytes of the span. So it was replaced.
    if status in (412, 416):
        raise version_gone(stat.name)
    if status >= 400:
        raise Refused(status)
    received = extent(status, response.headers, span)
    etag = strong(response.headers.get("ETag"))
    modified = date_of(response.headers.get("Last-Modified"))
    if etag and stat.etag:
        same = etag == stat.etag
    else:
        # Compare the dates, if both are known.
        undated = not (modified and stat.modified)
        same = received.size == stat.size and (undated or modified == stat.modified)
    if not same:
        raise version_gone(stat.name)
    if received.size != stat.size:
        raise NoAnswer(f"it has {received.size} bytes in place of {stat.size}")
    return received
