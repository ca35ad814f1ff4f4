"""``webdav+https://``: WebDAV (RFC 4918), through webdav4 and httpx."""

from __future__ import annotations

import typing as t
import weakref
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import closing
from urllib.parse import quote
from urllib.parse import unquote
from urllib.parse import urlsplit

import fsspec
import httpx
from webdav4 import client as dav
from webdav4.fsspec import WebdavFileSystem

from .. import naming
from ..exceptions import NotConfiguredError
from ..exceptions import StoreDenied
from ..exceptions import StoreError
from ..exceptions import StoreFull
from ..exceptions import StoreUnavailable
from ..exceptions import VersionGone
from ..sources import CHUNK
from . import Fetched
from . import Location
from . import NOT_A_FILE
from . import options_in
from . import Span
from . import Stat
from . import TIMEOUT
from . import Unreachable
from .answers import extent
from .errors import NoAnswer
from .ranged import ranged
from .webdav_writing import WebDAVWriting


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
        options = {**mine, **options_in(config)}
        return Location("webdav", root.rstrip("/"), options)

    @property
    def uri(self) -> str:
        return f"webdav://{self.root}"

    def connect(self) -> fsspec.AbstractFileSystem:
        fs = WebdavFileSystem(skip_instance_cache=True, **self.location.options)
        # Nobody else closes the connections that the client keeps for later.
        weakref.finalize(fs, fs.client.http.close)
        return fs

    # -- reading -------------------------------------------------------------

    def _info(self, fs: fsspec.AbstractFileSystem, path: str) -> dict[str, t.Any]:
        try:
            found = fs.client.propfind(quote(path), headers={"Depth": "0"})
        except dav.ResourceNotFound as exc:
            raise FileNotFoundError(path) from exc
        for reply in found.responses.values():
            return _described(reply.properties.as_dict(), path)
        raise FileNotFoundError(path)

    def record(self, info: Mapping[str, t.Any], key: str) -> Stat:
        # The server knows no more than the name, which was another at first.
        return super().record({**info, "content_type": None}, key)

    def left(self, fs: fsspec.AbstractFileSystem) -> list[dict[str, t.Any]]:
        try:
            found = fs.client.ls(quote(self.path(naming.STAGING)))
        except dav.ResourceNotFound:
            return []
        return [_described(entry, str(entry["name"])) for entry in found]

    def open(self, fs: fsspec.AbstractFileSystem, key: str) -> t.IO[bytes]:
        return ranged(self, fs, self.get(fs, key))

    def get(
        self,
        fs: fsspec.AbstractFileSystem,
        key: str,
        span: Span | None = None,
        found: Stat | None = None,
    ) -> Fetched | None:
        # A server answers for a folder too, with a page.
        known = self.stat(fs, key)
        if found is not None and known.version != found.version:
            raise VersionGone(f"{naming.quoted(key)} was replaced.", key)
        start, stop = span.within(known.size) if span else (0, known.size)
        if span and start >= stop:
            return None
        headers = {"Accept-Encoding": "identity"}
        if span:
            headers["Range"] = f"bytes={span}"
        request = fs.client.http.build_request(
            "GET", quote(self.path(key)), headers=headers
        )
        reply = fs.client.http.send(request, stream=True)
        try:
            if reply.status_code == httpx.codes.NOT_FOUND:
                raise FileNotFoundError(key)
            reply.raise_for_status()
            sent = extent(reply.status_code, reply.headers, span)
            if sent.size != known.size:
                raise NoAnswer(f"it has {sent.size} bytes in place of {known.size}")
        except BaseException:
            reply.close()
            raise
        return Fetched(known, sent.start, sent.stop, _pieces(reply))

    def walk(
        self, fs: fsspec.AbstractFileSystem, prefix: str
    ) -> Iterator[Stat | Unreachable]:
        top = self.path(prefix) if prefix else self.root
        try:
            found = fs.client.ls(quote(top), allow_listing_resource=False)
        except (dav.ResourceNotFound, dav.IsAResourceError, *NOT_A_FILE):
            return
        for entry in sorted(found, key=lambda entry: str(entry["name"])):
            key = f"/{entry['name'].strip('/')}"[len(self.root) + 1 :]
            if naming.STAGING in key.split("/"):
                continue
            if entry["type"] == "directory":
                yield from self.walk(fs, key)
            else:
                yield self.record(_described(entry, key), key)

    # -- what went wrong -----------------------------------------------------

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        if isinstance(exc, dav.ResourceNotFound):
            return super().explain(FileNotFoundError(), key)
        if isinstance(exc, dav.InsufficientStorage):
            return StoreFull("The storage is full. Nothing was stored.", key)
        if isinstance(exc, dav.BadGatewayError | httpx.TransportError):
            return super().explain(ConnectionError(), key)
        if isinstance(exc, dav.HTTPError | httpx.HTTPStatusError):
            return self._explain_status(exc.response.status_code, key)
        return super().explain(exc, key)

    def _explain_status(self, status: int, key: str | None) -> StoreError | None:
        if status in (401, 403):
            return StoreDenied(
                f"The WebDAV server refuses {naming.quoted(key)} ({status}). Check the"
                f" user and password in {self.settings}, and the permissions.",
                key,
            )
        if status == httpx.codes.INSUFFICIENT_STORAGE:
            return StoreFull("The storage is full. Nothing was stored.", key)
        kind = StoreUnavailable if status >= 500 else StoreError
        return kind(
            f"The WebDAV server answers {status}. Check that STORE_PATH is the address"
            " of a folder that WebDAV serves; the server's log tells more.",
            key,
        )


def _described(properties: Mapping[str, t.Any], name: str) -> dict[str, t.Any]:
    size = properties.get("content_length") or 0
    # RFC 4918, 15.9: what has no resource type is a file.
    return {
        **properties,
        "name": name,
        "size": size,
        "type": properties.get("type") or "file",
    }


def _pieces(reply: httpx.Response) -> Iterator[bytes]:
    with closing(reply):
        yield from reply.iter_raw(CHUNK)
