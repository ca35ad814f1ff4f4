"""``s3://``: Amazon S3 and the servers that speak like it, through s3fs."""

from __future__ import annotations

import asyncio
import datetime as dt
import importlib.util
import io
import logging
import typing as t
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote
from urllib.parse import urlsplit

import fsspec
import shortuuid

from .. import ioloop
from .. import naming
from ..exceptions import FileNotFound
from ..exceptions import InvalidName
from ..exceptions import NotConfiguredError
from ..exceptions import StoreDenied
from ..exceptions import StoreError
from ..exceptions import StoreFull
from ..exceptions import StoreUnavailable
from ..exceptions import VersionGone
from ..greenlets import patched
from ..sources import CHUNK
from ..sources import Source
from ..sources import Window
from . import Location
from . import Stat
from . import utc
from .s3_links import S3Links
from .s3_options import s3_options

logger = logging.getLogger(__name__)

#: The largest object that one PUT may carry (Amazon S3 User Guide, "Uploading
#: objects"), and with it the largest that can be created exclusively.
SINGLE_PUT_LIMIT = 5 * 1024**3
#: The same page allows 10,000 parts, and 5 MiB as the least size of one.
PART_SIZE = 64 * 1024**2
MAX_PARTS = 10_000

#: The object metadata by which a save knows its own object again.
TOKEN = "flask-store-token"

TAKEN = (409, 412)
REFUSED_KEY = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"}
WRONG_REGION = {
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
}
FULL = {"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage"}


@dataclass
class Staged:
    """An upload that can be read again, and the token of its save."""

    source: Source
    token: str


class S3Dialect(S3Links):
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

    # -- writing -------------------------------------------------------------

    @contextmanager
    def stage(self, fs: fsspec.AbstractFileSystem, source: Source) -> Iterator[Staged]:
        with source.rewindable() as rewindable:
            yield Staged(rewindable, shortuuid.uuid())

    def exclusive(self, fs: fsspec.AbstractFileSystem, staged: Staged) -> bool:
        if self.conditional == "auto":
            # Amazon's own S3 has had conditional writes since August 2024.
            self.conditional = self._is_amazon(fs) or self._probe(fs)
        return bool(self.conditional) and staged.source.size <= SINGLE_PUT_LIMIT

    def create(
        self,
        fs: fsspec.AbstractFileSystem,
        staged: Staged,
        path: str,
        content_type: str,
    ) -> None:
        try:
            self._put(fs, staged, path, content_type, IfNoneMatch="*")
        except Exception as exc:
            if status_of(exc) not in TAKEN:
                raise
            # A reply may get lost, here or at a proxy. Then the request is sent
            # again and finds the name taken, by ourselves.
            if self._token(fs, path) != staged.token:
                raise FileExistsError(path) from exc

    def replace(
        self,
        fs: fsspec.AbstractFileSystem,
        staged: Staged,
        path: str,
        content_type: str,
    ) -> None:
        if staged.source.size <= SINGLE_PUT_LIMIT:
            self._put(fs, staged, path, content_type)
        else:
            self._put_parts(fs, staged, path, content_type)

    def _put(
        self,
        fs: fsspec.AbstractFileSystem,
        staged: Staged,
        path: str,
        content_type: str,
        **conditions: str,
    ) -> None:
        self._send(
            fs,
            "put_object",
            Window(staged.source),
            **self._where(path),
            ContentType=content_type,
            Metadata={TOKEN: staged.token},
            **conditions,
        )

    def _send(
        self, fs: fsspec.AbstractFileSystem, method: str, body: Window, **kwargs: t.Any
    ) -> t.Any:
        return ioloop.run(fs.loop, self._watched, fs, method, body, **kwargs)

    async def _watched(
        self, fs: fsspec.AbstractFileSystem, method: str, body: Window, **kwargs: t.Any
    ) -> t.Any:
        """Send a body, and give up when it does not move.

        aiohttp's timeouts begin when a request has been sent. Neither the wait for
        '100 Continue' nor a connection that takes no more bytes ever ends by itself.
        """
        limit = self.location.options["config_kwargs"]["read_timeout"]
        client = await self._client(fs)
        client.meta.events.register("before-send.s3", _send_at_once, "flask-store")
        task = asyncio.ensure_future(fs._call_s3(method, Body=body, **kwargs))
        try:
            while not task.done():
                before = body.position
                await asyncio.wait({task}, timeout=limit)
                if body.position == before < body.size and not task.done():
                    raise TimeoutError(f"{method} did not move for {limit} s")
            return task.result()
        finally:
            task.cancel()

    def _put_parts(
        self,
        fs: fsspec.AbstractFileSystem,
        staged: Staged,
        path: str,
        content_type: str,
    ) -> None:
        where = self._where(path)
        upload = fs.call_s3(
            "create_multipart_upload",
            **where,
            ContentType=content_type,
            Metadata={TOKEN: staged.token},
        )["UploadId"]
        try:
            size = staged.source.size
            step = max(PART_SIZE, -(-size // MAX_PARTS))
            parts = []
            for number, start in enumerate(range(0, size, step), start=1):
                body = Window(staged.source, start, min(step, size - start))
                part = self._send(
                    fs,
                    "upload_part",
                    body,
                    **where,
                    UploadId=upload,
                    PartNumber=number,
                )
                parts.append({"PartNumber": number, "ETag": part["ETag"]})
            fs.call_s3(
                "complete_multipart_upload",
                **where,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
            )
        except BaseException:
            # Parts that nobody completes are invisible, and paid for every month.
            fs.call_s3("abort_multipart_upload", **where, UploadId=upload)
            raise

    def _is_amazon(self, fs: fsspec.AbstractFileSystem) -> bool:
        # The environment may name another endpoint, so the client itself is asked.
        client = ioloop.run(fs.loop, self._client, fs)
        host = urlsplit(client.meta.endpoint_url).hostname or ""
        return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))

    async def _client(self, fs: fsspec.AbstractFileSystem) -> t.Any:
        await fs.set_session()
        return await fs.get_s3(self.bucket)

    def _probe(self, fs: fsspec.AbstractFileSystem) -> bool:
        """Whether this server honours ``If-None-Match``, by trying it."""
        where = self._where(self.path(f"{naming.STAGING}/probe-{shortuuid.uuid()}"))
        empty = Source(io.BytesIO(), None)
        self._send(fs, "put_object", Window(empty), **where, IfNoneMatch="*")
        try:
            self._send(fs, "put_object", Window(empty), **where, IfNoneMatch="*")
        except Exception as exc:
            if status_of(exc) not in TAKEN:
                raise
            return True
        finally:
            self._remove_probe(fs, where)
        logger.warning(
            "The server ignores If-None-Match: every name in %s will carry a UUID.",
            self.uri,
        )
        return False

    @staticmethod
    def _remove_probe(fs: fsspec.AbstractFileSystem, where: dict[str, str]) -> None:
        try:
            fs.call_s3("delete_object", **where)
        except PermissionError:  # keys that may only write are a good habit
            logger.warning("May not delete the empty object %s.", where["Key"])

    def _token(self, fs: fsspec.AbstractFileSystem, path: str) -> str | None:
        try:
            head = fs.call_s3("head_object", **self._where(path))
        except FileNotFoundError:  # taken by an upload that is still going on
            return None
        return t.cast("str | None", head["Metadata"].get(TOKEN))

    # -- reading -------------------------------------------------------------

    def stat(self, fs: fsspec.AbstractFileSystem, key: str) -> Stat:
        try:
            head = fs.call_s3("head_object", **self._where(self.path(key)))
        except FileNotFoundError:
            self._check_bucket(fs)
            raise
        return self.record({**head, "size": head["ContentLength"]}, key)

    def _check_bucket(self, fs: fsspec.AbstractFileSystem) -> None:
        # A HEAD says 404 for a missing object and for a missing bucket alike.
        if not self._bucket_seen:
            try:
                fs.call_s3("head_bucket", Bucket=self.bucket)
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
        try:
            reply = fs.call_s3("get_object", **where, **conditions)
        except Exception as exc:
            if status_of(exc) != 416:
                raise
            return  # there is nothing from here on, as in an empty file
        yield from self._pieces(fs, reply["Body"])

    def fetch(
        self, fs: fsspec.AbstractFileSystem, key: str
    ) -> tuple[Stat, Iterator[bytes]]:
        reply = fs.call_s3("get_object", **self._where(self.path(key)))
        found = self.record({**reply, "size": reply["ContentLength"]}, key)
        return found, self._pieces(fs, reply["Body"])

    @staticmethod
    def _pieces(fs: fsspec.AbstractFileSystem, body: t.Any) -> Iterator[bytes]:
        try:
            while data := ioloop.run(fs.loop, body.read, CHUNK):
                yield data
        finally:
            fs.loop.call_soon_threadsafe(body.close)

    def open(self, fs: fsspec.AbstractFileSystem, key: str) -> t.IO[bytes]:
        # The default block of 50 MiB would be fetched for the first byte.
        file = fs.open(self.path(key), "rb", block_size=5 * CHUNK)
        if file.details["type"] == "directory":  # a prefix of other keys opens empty
            raise FileNotFoundError(key)
        return t.cast("t.IO[bytes]", file)

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
            reply = fs.call_s3("list_objects_v2", **asked)
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

    # -- what killed processes left ------------------------------------------

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
                page = fs.call_s3("list_multipart_uploads", **asked)
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

    # -- what went wrong -----------------------------------------------------

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        from botocore import exceptions as boto

        # s3fs wraps some of botocore's errors and passes on the others; one of these
        # is an OSError by itself.
        for cause in (exc, exc.__cause__):
            if isinstance(cause, boto.ClientError):
                code = cause.response["Error"].get("Code", "")
                found = self._explain_code(code, key)
            else:
                found = self._explain_client(cause, key)
            if found:
                return found
        return super().explain(exc, key)

    def _explain_client(
        self, exc: BaseException | None, key: str | None
    ) -> StoreError | None:
        from botocore import exceptions as boto

        if isinstance(exc, boto.NoCredentialsError | boto.PartialCredentialsError):
            return NotConfiguredError(
                "There are no S3 credentials. Set STORE_S3_ACCESS_KEY and"
                " STORE_S3_SECRET_KEY, or give the server AWS credentials (environment,"
                " profile or role)."
            )
        if isinstance(exc, boto.HTTPClientError | boto.ConnectionError | TimeoutError):
            endpoint = self.location.options.get("endpoint_url", "Amazon S3")
            return StoreUnavailable(
                f"{endpoint} cannot be reached, or did not answer in time. Check"
                " that it runs, STORE_S3_ENDPOINT_URL and STORE_S3_REGION.",
                key,
            )
        return None

    def _explain_code(self, code: str, key: str | None) -> StoreError | None:
        if code == "NoSuchBucket":
            return self._no_bucket()
        if code == "NoSuchKey":
            return FileNotFound(f"There is no file {naming.quoted(key)}.", key)
        if code in REFUSED_KEY:
            return StoreDenied(
                f"S3 refuses the credentials ({code}). Check STORE_S3_ACCESS_KEY,"
                " STORE_S3_SECRET_KEY and, for temporary ones, STORE_S3_SESSION_TOKEN.",
                key,
            )
        if code == "RequestTimeTooSkewed":
            return StoreDenied(
                "S3 refuses the date of the request: the clock of this machine is"
                " wrong. Set it by NTP.",
                key,
            )
        if code in WRONG_REGION:
            return NotConfiguredError(
                f"The bucket {self.bucket!r} is in another region. Correct"
                " STORE_S3_REGION."
            )
        if code == "KeyTooLongError":
            return InvalidName(f"{naming.quoted(key)} is too long for S3.", key)
        if code in FULL:
            return StoreFull("The bucket is full. Nothing was stored.", key)
        return None

    def _no_bucket(self) -> NotConfiguredError:
        return NotConfiguredError(
            f"There is no bucket {self.bucket!r}. Create it, or correct"
            " STORE_S3_BUCKET (or the bucket in STORE_PATH). Flask-Store never creates"
            " a bucket."
        )


def _send_at_once(request: t.Any, **kwargs: t.Any) -> None:
    """Spare a small body the round trip of 'Expect: 100-continue', with which
    botocore asks whether it may send; a large one learns in time that it may not."""
    if int(request.headers.get("Content-Length", 0)) <= CHUNK:
        request.headers.pop("Expect", None)


def status_of(exc: Exception) -> int | None:
    """The HTTP status behind an error of s3fs.

    s3fs maps a 412 to ``FileExistsError`` or, when the server's reply lacks a
    detail that only Amazon sends, to ``OSError(EINVAL)``.
    """
    for error in (exc, exc.__cause__):
        response = getattr(error, "response", None)
        if isinstance(response, Mapping):
            return t.cast("int | None", response["ResponseMetadata"]["HTTPStatusCode"])
    return None
