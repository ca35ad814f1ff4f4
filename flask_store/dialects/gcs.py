"""``gs://``: Google Cloud Storage, through gcsfs."""

from __future__ import annotations

import datetime as dt
import os
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping

import aiohttp
import fsspec
import gcsfs.core
import gcsfs.retry
from google.auth import exceptions as google

from .. import ioloop
from .. import naming
from ..exceptions import NotConfiguredError
from ..exceptions import StoreError
from ..exceptions import VersionGone
from . import Fetched
from . import Location
from . import options_in
from . import Span
from . import Stat
from . import TIMEOUT
from . import Unreachable
from .gcs_http import Refused
from .gcs_http import TRANSIENT
from .gcs_writing import GCSWriting
from .ranged import ranged

NO_TOKEN = (
    "There are no Google credentials. Put token, the path of a service account's JSON"
    " file, into STORE_OPTIONS, or run the server with application default credentials."
)


class GCSDialect(GCSWriting):
    """One exclusive upload, and whole or ranged downloads."""

    protocols = ("gs", "gcs")
    settings = "STORE_PATH and the token in STORE_OPTIONS"

    #: Whether a request has found the bucket, so that a 404 is about an object.
    _bucket_seen = False

    @classmethod
    def locate(cls, url: str, config: Mapping[str, t.Any]) -> Location:
        bucket, _, path = url.split("://", 1)[1].partition("/")
        if not bucket or set(bucket) & set("@:#?%"):
            raise NotConfiguredError(
                "STORE_PATH names no bucket. Write 'gs://bucket/folder'; credentials"
                " belong into STORE_OPTIONS."
            )
        options = options_in(config)
        endpoint = options.get("endpoint_url") or gcsfs.core._location()
        options["endpoint_url"] = endpoint.rstrip("/")
        # Left alone, gcsfs tries one kind after the other and ends with none. A token
        # is not for a connection that everybody can read.
        plain = endpoint.startswith("http://")
        options.setdefault("token", "anon" if plain else "google_default")
        token = options["token"]
        if isinstance(token, str) and token.endswith(".json"):
            if not os.path.exists(token):
                raise NotConfiguredError(
                    f"There is no file {token!r}, which STORE_OPTIONS names as token."
                )
        options.setdefault("requests_timeout", TIMEOUT)
        # With a cache, a file that another process wrote or deleted is seen too late.
        options.setdefault("use_listings_cache", False)
        return Location(
            "gs", "/".join([bucket, *filter(None, path.split("/"))]), options
        )

    def connect(self) -> fsspec.AbstractFileSystem:
        options = self.connect_options()
        options.setdefault("loop", ioloop.get_loop())
        # Not the class that is registered: that one asks a second server, by another
        # protocol, what kind of bucket this is.
        return ioloop.bridge(
            gcsfs.core.GCSFileSystem(skip_instance_cache=True, **options)
        )

    # -- reading -------------------------------------------------------------

    def stat(self, fs: fsspec.AbstractFileSystem, key: str) -> Stat:
        try:
            found = self._client(fs).ask("GET", self._object(self.path(key)))
        except Refused as exc:
            raise self._missing(fs, exc, key) from exc
        return self.record(_described(found), key)

    def walk(
        self, fs: fsspec.AbstractFileSystem, prefix: str
    ) -> Iterator[Stat | Unreachable]:
        folder = self.absolute_path(prefix).rstrip("/")
        skip = len(self.absolute_path(""))
        for found in self._list(fs, f"{folder}/" if folder else ""):
            yield self.record(_described(found), found["name"][skip:])

    def _list(
        self, fs: fsspec.AbstractFileSystem, prefix: str
    ) -> Iterator[dict[str, t.Any]]:
        said: dict[str, t.Any] = {"prefix": prefix or None}
        while True:
            try:
                page = self._client(fs).ask("GET", f"b/{self.bucket}/o", said)
            except Refused as exc:
                raise self._no_bucket() if exc.status == 404 else exc from exc
            yield from page.get("items", [])
            if not page.get("nextPageToken"):
                return
            said["pageToken"] = page["nextPageToken"]

    def open(self, fs: fsspec.AbstractFileSystem, key: str) -> t.IO[bytes]:
        return ranged(self, fs, self.get(fs, key))

    def get(
        self,
        fs: fsspec.AbstractFileSystem,
        key: str,
        span: Span | None = None,
        found: Stat | None = None,
    ) -> Fetched | None:
        known = found or self.stat(fs, key)
        start, stop = span.within(known.size) if span else (0, known.size)
        if span and start >= stop:
            return None
        headers = {"Range": f"bytes={start}-{stop - 1}"} if span else {}
        version = {"generation": known.etag}
        path = self._object(self.path(key))
        try:
            body = self._client(fs).download(path, version, headers)
        except Refused as exc:
            if exc.status != 404:
                raise
            raise VersionGone(f"{naming.quoted(key)} was replaced.", key) from exc
        return Fetched(known, start, stop, body)

    def is_one_file(self, fs: fsspec.AbstractFileSystem, old: str, new: str) -> bool:
        return old == new

    def delete(self, fs: fsspec.AbstractFileSystem, key: str) -> None:
        try:
            self._client(fs).ask("DELETE", self._object(self.path(key)))
        except Refused as exc:
            raise self._missing(fs, exc, key) from exc

    def left(self, fs: fsspec.AbstractFileSystem) -> list[dict[str, t.Any]]:
        # What a killed process sent is no object yet; these are forms' and tokens'.
        prefix = self.absolute_path(f"{naming.STAGING}/")
        return [
            {"name": found["name"], **_described(found)}
            for found in self._list(fs, prefix)
        ]

    def discard(self, fs: fsspec.AbstractFileSystem, path: str) -> None:
        try:
            self._client(fs).ask("DELETE", self._object(path))
        except Refused as exc:
            if exc.status != 404:
                raise

    # -- what went wrong -----------------------------------------------------

    def _missing(
        self, fs: fsspec.AbstractFileSystem, exc: Refused, key: str
    ) -> Exception:
        if exc.status != 404:
            return exc
        if "bucket does not exist" in exc.message:
            return self._no_bucket()
        # Not every server says which of the two is missing.
        if not self._bucket_seen:
            said = {"prefix": self.absolute_path(key), "maxResults": 1}
            try:
                self._client(fs).ask("GET", f"b/{self.bucket}/o", said)
            except Refused as again:
                if again.status == 404:
                    return self._no_bucket()
            self._bucket_seen = True
        return FileNotFoundError(key)

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        if isinstance(exc, Refused):
            if exc.status in (401, 403):
                return super().explain(PermissionError(), key)
            if exc.status in TRANSIENT:
                return super().explain(ConnectionError(), key)
            return StoreError(f"Google refuses {naming.quoted(key)}: {exc}.", key)
        if isinstance(exc, google.DefaultCredentialsError):
            return NotConfiguredError(NO_TOKEN)
        if isinstance(exc, google.TransportError | aiohttp.ClientError):
            return super().explain(ConnectionError(), key)
        if isinstance(exc, google.GoogleAuthError | gcsfs.retry.HttpError):
            return super().explain(PermissionError(), key)
        if isinstance(exc, ValueError) and "Token format" in str(exc):
            return NotConfiguredError(NO_TOKEN)
        return super().explain(exc, key)


def _described(found: Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {
        "size": found.get("size"),
        # Of one name no two generations are alike, and each can be asked for.
        "etag": found.get("generation"),
        "updated": dt.datetime.fromisoformat(found["updated"]),
        "content_type": found.get("contentType"),
        "metadata": found.get("metadata"),
    }
