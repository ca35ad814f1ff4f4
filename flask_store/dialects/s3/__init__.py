"""``s3://``: Amazon S3 and the servers that speak like it, through s3fs."""

from __future__ import annotations

import datetime as dt
import importlib.util
import typing as t
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from urllib.parse import unquote
from urllib.parse import urlsplit

import fsspec

from ... import naming
from ...concurrency.greenlets import patched
from ...exceptions import NotConfiguredError
from ...secrecy import Options
from .. import Fetched
from .. import Location
from .. import Span
from .. import Stat
from .. import Unreachable
from .. import utc
from ..errors import NoAnswer
from ..errors import version_gone
from ..ranged import ranged
from ..records import OutOfSpan
from .answers import checksum
from .answers import page
from .answers import size_of
from .options import s3_options
from .requests import status_of
from .writing import S3Writing
from .writing import TOKEN


class S3Dialect(S3Writing):
    """One streamed conditional PUT: it is whole or it is not there."""

    protocols = ("s3", "s3a")
    signs = True
    settings = (
        "STORE_S3_ENDPOINT_URL, STORE_S3_REGION, STORE_S3_BUCKET and the keys"
        " STORE_S3_ACCESS_KEY and STORE_S3_SECRET_KEY"
    )

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        options = dict(self.location.options)
        self.conditional = options.pop("conditional_writes", "auto")
        self.location = Location("s3", location.root, options)
        self._bucket_seen = False

    @classmethod
    def locate(cls, url: str, config: Mapping[str, t.Any]) -> Location:
        if importlib.util.find_spec("s3fs") is None:
            raise NotConfiguredError(
                "S3 needs s3fs. Install it with: pip install 'Flask-Store[s3]'"
            )
        parts = urlsplit(url)
        # s3fs would take the whole of 'KEY:SECRET@bucket' for the bucket's name.
        userinfo, _, bucket = parts.netloc.rpartition("@")
        key, _, secret = userinfo.partition(":")
        if not bucket:
            raise NotConfiguredError(
                "STORE_PATH names no bucket. Write 's3://bucket/prefix'."
            )
        # '#' and '?' may stand in a key; urlsplit takes them for its own.
        path = url.split("://", 1)[1].partition("/")[2]
        root = "/".join([bucket, *filter(None, path.split("/"))])
        options = s3_options(config, unquote(key) or None, unquote(secret) or None)
        return Location("s3", root, options)

    def connect_options(self) -> Options:
        options = super().connect_options()
        if patched():
            from .session import PatchedSession

            config = options.get("config_kwargs", {})
            options["config_kwargs"] = {"http_session_cls": PatchedSession, **config}
        return options

    def connect(self) -> fsspec.AbstractFileSystem:
        fs = super().connect()
        fs.retries = 1  # botocore tries again already; both together take minutes
        return fs

    def stat(self, key: str) -> Stat:
        try:
            head = self._head_object(self.path(key))
        except FileNotFoundError:
            self._check_bucket()
            raise
        headers = self._plain_headers(head, self.absolute_path(key))
        return self._recorded(head, size_of(headers), key)

    def _recorded(self, reply: Mapping[str, t.Any], size: int, key: str) -> Stat:
        found = self.record({**reply, "size": size}, key)
        found = replace(found, checksum=checksum(reply))
        return found.with_token((reply.get("Metadata") or {}).get(TOKEN))

    def _check_bucket(self) -> None:
        # A HEAD says 404 for a missing object and for a missing bucket alike.
        if not self._bucket_seen:
            try:
                self._call("head_bucket", Bucket=self.bucket)
            except FileNotFoundError as exc:
                raise self._no_bucket() from exc
            except PermissionError:
                pass  # keys for one prefix: there is a bucket, or it would say 404
            self._bucket_seen = True

    def get(
        self,
        key: str,
        span: Span | None = None,
        found: Stat | None = None,
    ) -> Fetched | None:
        asked = {"Range": f"bytes={span}"} if span else {}
        if found is not None and found.etag:
            asked["IfMatch"] = f'"{found.etag}"'
        try:
            reply, sent, body = self._get_object(
                span, **self._where(self.path(key)), **asked
            )
        except OutOfSpan:
            return None
        except Exception as exc:
            if status_of(exc) != 412:
                raise
            raise version_gone(key) from exc
        known = self._recorded(reply, sent.size, key)
        if found is not None and found.etag not in (None, known.etag):
            body.close()
            raise version_gone(key)
        if found is not None and found.size != known.size:
            body.close()
            raise NoAnswer(
                f"of one version it says {found.size} bytes and {known.size}"
            )
        return Fetched(known, sent.start, sent.stop, body)

    def open(self, key: str) -> t.IO[bytes]:
        return ranged(self, self.get(key))

    def walk(self, prefix: str) -> Iterator[Stat | Unreachable]:
        for files, _ in self._pages(prefix):
            yield from files

    def first_page(self, prefix: str) -> tuple[list[Stat | Unreachable], bool]:
        return next(self._pages(prefix))

    def _pages(self, prefix: str) -> Iterator[tuple[list[Stat | Unreachable], bool]]:
        """One request for every 1000 keys, made when its keys are asked for."""
        folder = self._where(self.path(prefix) if prefix else self.root)["Key"]
        asked = {"Bucket": self.bucket, "Prefix": f"{folder}/" if folder else ""}
        more: str | None = ""
        while more is not None:
            objects, more = page(self._call("list_objects_v2", **asked), asked)
            asked["ContinuationToken"] = more or ""
            yield list(self._records(objects)), more is not None

    def _records(self, contents: Iterable[Mapping[str, t.Any]]) -> Iterator[Stat]:
        skip = len(self._prefix) + 1 if self._prefix else 0
        for found in contents:
            yield self.record({**found, "size": found["Size"]}, found["Key"][skip:])

    def is_one_file(self, old: str, new: str) -> bool:
        return old == new  # an ETag is one of the content

    def delete(self, key: str) -> None:
        self.stat(key)  # S3 calls the deletion of nothing a success
        self._delete_object(self._where(self.path(key)))

    def discard(self, path: str) -> None:
        self._delete_object(self._where(path))

    def left(self) -> list[dict[str, t.Any]]:
        skip = len(naming.STAGING) + 1
        return [
            {"name": entry.name, "size": entry.size, "LastModified": entry.modified}
            for entry in self.walk(naming.STAGING)
            if isinstance(entry, Stat)
            and entry.name[skip:]
            and "/" not in entry.name[skip:]
        ]

    def sweep(self, before: dt.datetime, dry_run: bool) -> Iterator[str]:
        """Also multipart uploads that nobody finished, but below our prefix only:
        the bucket may be shared."""
        yield from super().sweep(before, dry_run)
        prefix = f"{self._prefix}/" if self._prefix else ""
        asked: dict[str, t.Any] = {"Bucket": self.bucket, "Prefix": prefix}
        while True:
            try:
                page = self._call("list_multipart_uploads", **asked)
            except FileNotFoundError:
                self._check_bucket()
                return  # rclone's answer when there are none
            for upload in page.get("Uploads", ()):
                if utc(upload["Initiated"]) < before:  # type: ignore[operator]
                    if not dry_run:
                        self._abort(upload)
                    yield upload["Key"][len(prefix) :]
            if not page.get("IsTruncated"):
                return
            asked["KeyMarker"] = page["NextKeyMarker"]
            asked["UploadIdMarker"] = page["NextUploadIdMarker"]

    def _abort(self, upload: Mapping[str, t.Any]) -> None:
        with suppress(FileNotFoundError):
            self._call(
                "abort_multipart_upload",
                Bucket=self.bucket,
                Key=upload["Key"],
                UploadId=upload["UploadId"],
            )
