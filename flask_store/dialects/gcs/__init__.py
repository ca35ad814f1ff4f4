"""``gs://``: Google Cloud Storage, through gcsfs."""

from __future__ import annotations

import base64
import datetime as dt
import errno
import os
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import aiohttp
import fsspec
import gcsfs.core
import gcsfs.retry
from google.auth import exceptions as google
from google.oauth2.credentials import Credentials
from werkzeug.http import parse_date

from ... import naming
from ...concurrency import ioloop
from ...exceptions import NotConfiguredError
from ...exceptions import StoreError
from ...secrecy import Options
from ...settings import refuse_login
from .. import Fetched
from .. import Location
from .. import Span
from .. import Stat
from .. import TIMEOUT
from .. import Unreachable
from ..errors import NoAnswer
from ..errors import version_gone
from ..extents import Extent
from ..ranged import ranged
from ..records import OutOfSpan
from ..tries import counting
from .http import Headers
from .http import Refused
from .http import TRANSIENT
from .links import check_object
from .tokens import Tokens
from .writing import GCSWriting
from .writing import token_of

NO_TOKEN = (
    "There are no Google credentials. Put token, the path of a service account's JSON"
    " file, into STORE_OPTIONS, or run the server with application default credentials."
)


#: What gcsfs does not take for a token or the path of one.
KINDS = ("google_default", "cache", "cloud", "anon")

#: All the bytes of an object.
ALL = Span(0, None)


class GCSDialect(GCSWriting):
    """One exclusive upload, and whole or ranged downloads."""

    protocols = ("gs", "gcs")
    signs = True
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
        options = Options(config["STORE_OPTIONS"])
        endpoint = options.get("endpoint_url") or gcsfs.core._location()
        refuse_login("The option endpoint_url", endpoint, "See token in STORE_OPTIONS.")
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

    def connect_options(self) -> Options:
        options = super().connect_options()
        token = options["token"]
        if isinstance(token, str) and token not in KINDS and not os.path.exists(token):
            # gcsfs would ask a server about it, by a URL that errors and logs show.
            options["token"] = Credentials(token)
        return options

    def connect(self) -> fsspec.AbstractFileSystem:
        options = self.connect_options()
        options.setdefault("loop", ioloop.get_loop())
        session = {"trace_configs": [counting()], **options.get("session_kwargs", {})}
        options["session_kwargs"] = session
        # Not the class that is registered: that one asks a second server, by another
        # protocol, what kind of bucket this is.
        fs = gcsfs.core.GCSFileSystem(skip_instance_cache=True, **options)
        fs.tokens = Tokens(fs, options["requests_timeout"])
        return ioloop.bridge(fs)

    # -- reading -------------------------------------------------------------

    def stat(self, key: str) -> Stat:
        try:
            found = self._client().ask("GET", self._object(self.path(key)))
        except Refused as exc:
            raise self._missing(exc, key) from exc
        check_object(found, self.absolute_path(key))
        return self._stat(found, key)

    def walk(self, prefix: str) -> Iterator[Stat | Unreachable]:
        folder = self.absolute_path(prefix).rstrip("/")
        skip = len(self.absolute_path(""))
        for found in self._list(f"{folder}/" if folder else ""):
            yield self._stat(found, found["name"][skip:])

    def _list(self, prefix: str) -> Iterator[dict[str, t.Any]]:
        said: dict[str, t.Any] = {"prefix": prefix or None}
        while True:
            try:
                page = self._client().ask("GET", f"b/{self.bucket}/o", said)
            except Refused as exc:
                raise self._no_bucket() if exc.status == 404 else exc from exc
            yield from _items(page, prefix)
            if not page.get("nextPageToken"):
                return
            said["pageToken"] = page["nextPageToken"]

    def open(self, key: str) -> t.IO[bytes]:
        return ranged(self, self.get(key))

    def get(
        self,
        key: str,
        span: Span | None = None,
        found: Stat | None = None,
    ) -> Fetched | None:
        if span and found and not span.meets(found.size):
            return None
        version = {"generation": found.etag} if found and found.etag else {}
        path = self._object(self.path(key))

        def judge(headers: Headers, sent: Extent) -> Stat:
            known = self._received(headers, sent, key)
            if span and not span.meets(sent.size):
                raise OutOfSpan
            if found and found.etag and known.etag != found.etag:
                raise version_gone(key)
            return known

        try:
            # Of all the bytes, the answer to a range tells the size twice.
            return self._client().download(path, version, span or ALL, judge)
        except OutOfSpan:
            if span:
                self.confirm_end(key, span)
            return None
        except Refused as exc:
            if exc.status not in (404, 416):
                raise
            # The error of a download is plain text, which anybody could have sent.
            there = self.stat(key)
            if found and there.etag != found.etag:
                raise version_gone(key) from exc
            if exc.status == 416 and span and not span.meets(there.size):
                return None
            if exc.status == 416 and not there.size:
                return Fetched(there, 0, 0, iter(()))
            raise NoAnswer(
                f"the status is {exc.status}, of a file that is there"
            ) from exc

    def _received(self, headers: Headers, sent: Extent, key: str) -> Stat:
        """What the answer to a download tells of the file."""
        generation = headers.get("X-Goog-Generation")
        if not generation:
            raise NoAnswer("it has no x-goog-generation")
        # There may be one header with both checksums, or two of the same name.
        hashes = ",".join(headers.getall("X-Goog-Hash", [])).split(",")
        found = dict(part.strip().partition("=")[::2] for part in hashes)
        record = self.record(
            {
                "size": sent.size,
                "etag": generation,
                "updated": parse_date(headers.get("Last-Modified")),
                "content_type": headers.get("Content-Type"),
            },
            key,
        )
        return replace(
            record, checksum=_checksum(found.get("md5"), found.get("crc32c"))
        )

    def _stat(self, found: Mapping[str, t.Any], key: str) -> Stat:
        record = self.record(_described(found), key)
        checksum = _checksum(found.get("md5Hash"), found.get("crc32c"))
        return replace(record, checksum=checksum).with_token(token_of(found))

    def is_one_file(self, old: str, new: str) -> bool:
        return old == new

    def delete(self, key: str) -> None:
        try:
            self._client().delete(self._object(self.path(key)))
        except Refused as exc:
            raise self._missing(exc, key) from exc

    def left(self) -> list[dict[str, t.Any]]:
        # What a killed process sent is no object yet; these are forms' and tokens'.
        prefix = self.absolute_path(f"{naming.STAGING}/")
        return [
            {"name": found["name"], **_described(found)} for found in self._list(prefix)
        ]

    def discard(self, path: str) -> None:
        try:
            self._client().delete(self._object(path))
        except Refused as exc:
            if exc.status != 404:
                raise

    # -- what went wrong -----------------------------------------------------

    def _missing(self, exc: Refused, key: str) -> Exception:
        if exc.status != 404:
            return exc
        if "bucket does not exist" in exc.message:
            return self._no_bucket()
        # Not every server says which of the two is missing.
        if not self._bucket_seen:
            said = {"prefix": self.absolute_path(key), "maxResults": 1}
            try:
                self._client().ask("GET", f"b/{self.bucket}/o", said)
            except Refused as again:
                if again.status == 404:
                    return self._no_bucket()
            self._bucket_seen = True
        return FileNotFoundError(key)

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        if isinstance(exc, Refused):
            return self._explain_refused(exc, key)
        if isinstance(exc, google.DefaultCredentialsError):
            return NotConfiguredError(NO_TOKEN)
        if isinstance(exc, google.TransportError | aiohttp.ClientError):
            return super().explain(ConnectionError(), key)
        if isinstance(exc, google.GoogleAuthError | gcsfs.retry.HttpError):
            return super().explain(PermissionError(), key)
        if isinstance(exc, ValueError) and "Token format" in str(exc):
            return NotConfiguredError(NO_TOKEN)
        return super().explain(exc, key)

    def _explain_refused(self, exc: Refused, key: str | None) -> StoreError | None:
        if exc.status in (401, 403):
            return super().explain(PermissionError(), key)
        if exc.status in TRANSIENT:
            return super().explain(ConnectionError(), key)
        if exc.status == 507:
            return super().explain(OSError(errno.ENOSPC, ""), key)
        return StoreError(f"Google refuses {naming.quoted(key)}: {exc}.", key)


def _items(page: Mapping[str, t.Any], prefix: str) -> list[dict[str, t.Any]]:
    """The objects of one page of a listing.

    :raises NoAnswer: if the page is none, or lists something else.
    """
    items = page.get("items", [])
    if page.get("kind") != "storage#objects" or not isinstance(items, list):
        raise NoAnswer("it is no listing of objects")
    for found in items:
        check_object(found, str(found.get("name")))
        if not found["name"].startswith(prefix):
            raise NoAnswer(f"it lists {naming.quoted(found['name'])}")
    return items


def _described(found: Mapping[str, t.Any]) -> dict[str, t.Any]:
    try:
        return {
            "size": int(found["size"]),
            # Of one name no two generations are alike, and each can be asked for.
            "etag": str(found["generation"]),
            "updated": dt.datetime.fromisoformat(found["updated"]),
            "content_type": found.get("contentType"),
        }
    except (KeyError, ValueError, TypeError) as exc:
        raise NoAnswer(f"it does not describe an object: {exc!r}"[:120]) from exc


def _checksum(md5: str | None, crc32c: str | None) -> str | None:
    """One of Google's checksums, which are in Base64 ("Objects", Cloud Storage JSON
    API). What was composed of several objects has no MD5."""
    if md5:
        with suppress(ValueError):
            return f"md5:{base64.b64decode(md5, validate=True).hex()}"
    return f"crc32c:{crc32c}" if crc32c else None
