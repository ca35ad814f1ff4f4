"""``s3://``: Amazon S3 and the servers that speak like it, through s3fs."""

from __future__ import annotations

import datetime as dt
import importlib.util
import re
import typing as t
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import unquote
from urllib.parse import urlsplit

import fsspec

from .. import naming
from ..exceptions import NotConfiguredError
from ..exceptions import VersionGone
from ..greenlets import patched
from . import Fetched
from . import Location
from . import Span
from . import Stat
from . import utc
from .ranged import ranged
from .s3_bodies import OutOfRange
from .s3_options import s3_options
from .s3_requests import status_of
from .s3_writing import S3Writing

#: The Content-Range of an answer: its first and last byte, and the size of the whole.
PART = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class S3Dialect(S3Writing):
    """One streamed conditional PUT: it is whole or it is not there."""

    protocols = ("s3", "s3a")
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

    def connect_options(self) -> dict[str, t.Any]:
        options = super().connect_options()
        if patched():
            from .s3_session import PatchedSession

            config = options.get("config_kwargs", {})
            options["config_kwargs"] = {"http_session_cls": PatchedSession, **config}
        return options

    def connect(self) -> fsspec.AbstractFileSystem:
        fs = super().connect()
        fs.retries = 1  # botocore tries again already; both together take minutes
        return fs

    def stat(self, fs: fsspec.AbstractFileSystem, key: str) -> Stat:
        try:
            head = self._head_object(fs, self.path(key))
        except FileNotFoundError:
            self._check_bucket(fs)
            raise
        return self.record({**head, "size": head["ContentLength"]}, key)

    def _check_bucket(self, fs: fsspec.AbstractFileSystem) -> None:
        # A HEAD says 404 for a missing object and for a missing bucket alike.
        if not self._bucket_seen:
            try:
                self._call(fs, "head_bucket", Bucket=self.bucket)
            except FileNotFoundError as exc:
                raise self._no_bucket() from exc
            self._bucket_seen = True

    def stream(
        self, fs: fsspec.AbstractFileSystem, key: str, start: int, stop: int | None
    ) -> Iterator[bytes]:
        yield from self._get(fs, key, start, stop)

    def stream_version(
        self, fs: fsspec.AbstractFileSystem, found: Stat, start: int, stop: int
    ) -> Iterator[bytes]:
        if start == stop:
            return
        condition = {"IfMatch": f'"{found.etag}"'} if found.etag else {}
        last = None if stop == found.size else stop
        try:
            yield from self._get(fs, found.name, start, last, **condition)
        except Exception as exc:
            if status_of(exc) != 412:
                raise
            raise VersionGone(
                f"{naming.quoted(found.name)} was replaced.", found.name
            ) from exc

    def _get(
        self,
        fs: fsspec.AbstractFileSystem,
        key: str,
        start: int,
        stop: int | None,
        **conditions: str,
    ) -> Iterator[bytes]:
        if start or stop is not None:
            last = "" if stop is None else stop - 1
            conditions["Range"] = f"bytes={start}-{last}"
        where = self._where(self.path(key))
        with suppress(OutOfRange):
            _, body = self._get_object(fs, **where, **conditions)
            yield from body

    def fetch(
        self, fs: fsspec.AbstractFileSystem, key: str, span: Span | None
    ) -> Fetched | None:
        asked = {"Range": f"bytes={span}"} if span else {}
        try:
            reply, body = self._get_object(fs, **self._where(self.path(key)), **asked)
        except OutOfRange:
            return None
        part = PART.fullmatch(reply.get("ContentRange") or "")
        if part is None:  # also what a server answers that knows no ranges
            size = reply["ContentLength"]
            start, stop = 0, size
        else:
            start, last, size = map(int, part.groups())
            stop = last + 1
        return Fetched(self.record({**reply, "size": size}, key), start, stop, body)

    def open(self, fs: fsspec.AbstractFileSystem, key: str) -> t.IO[bytes]:
        begun = t.cast(Fetched, self.fetch(fs, key, None))
        return ranged(self, fs, begun.found, begun.body)

    def walk(self, fs: fsspec.AbstractFileSystem, prefix: str) -> Iterator[Stat]:
        for files, _ in self._pages(fs, prefix):
            yield from files

    def first_page(
        self, fs: fsspec.AbstractFileSystem, prefix: str
    ) -> tuple[list[Stat], bool]:
        return next(self._pages(fs, prefix))

    def _pages(
        self, fs: fsspec.AbstractFileSystem, prefix: str
    ) -> Iterator[tuple[list[Stat], bool]]:
        """One request for every 1000 keys, made when its keys are asked for."""
        folder = self._where(self.path(prefix) if prefix else self.root)["Key"]
        asked = {"Bucket": self.bucket, "Prefix": f"{folder}/" if folder else ""}
        more = True
        while more:
            reply = self._call(fs, "list_objects_v2", **asked)
            more = bool(reply.get("IsTruncated"))
            asked["ContinuationToken"] = reply.get("NextContinuationToken", "")
            yield list(self._records(reply.get("Contents", ()))), more

    def _records(self, contents: Iterable[Mapping[str, t.Any]]) -> Iterator[Stat]:
        skip = len(self._prefix) + 1 if self._prefix else 0
        for found in contents:
            key = found["Key"][skip:]
            # Consoles make an empty object with a slash at its end for a folder.
            if not key.endswith("/") and naming.STAGING not in key.split("/"):
                yield self.record({**found, "size": found["Size"]}, key)

    def delete(self, fs: fsspec.AbstractFileSystem, key: str) -> None:
        self.stat(fs, key)  # S3 calls the deletion of nothing a success
        super().delete(fs, key)

    def sweep(
        self, fs: fsspec.AbstractFileSystem, before: dt.datetime, dry_run: bool
    ) -> Iterator[str]:
        """Also multipart uploads that nobody finished, but below our prefix only:
        the bucket may be shared."""
        yield from super().sweep(fs, before, dry_run)
        prefix = f"{self._prefix}/" if self._prefix else ""
        asked: dict[str, t.Any] = {"Bucket": self.bucket, "Prefix": prefix}
        while True:
            try:
                page = self._call(fs, "list_multipart_uploads", **asked)
            except FileNotFoundError:
                self._check_bucket(fs)
                return  # rclone's answer when there are none
            for upload in page.get("Uploads", ()):
                if utc(upload["Initiated"]) < before:  # type: ignore[operator]
                    if not dry_run:
                        self._abort(fs, upload)
                    yield upload["Key"][len(prefix) :]
            if not page.get("IsTruncated"):
                return
            asked["KeyMarker"] = page["NextKeyMarker"]
            asked["UploadIdMarker"] = page["NextUploadIdMarker"]

    def _abort(
        self, fs: fsspec.AbstractFileSystem, upload: Mapping[str, t.Any]
    ) -> None:
        with suppress(FileNotFoundError):
            fs.call_s3(
                "abort_multipart_upload",
                Bucket=self.bucket,
                Key=upload["Key"],
                UploadId=upload["UploadId"],
            )
