"""``abfs://``: Azure Blob Storage, through adlfs."""

from __future__ import annotations

import asyncio
import base64
import errno
import time
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace

import adlfs
import fsspec
from azure.core import exceptions as azure
from azure.core import MatchConditions
from azure.core.rest import AsyncHttpResponse
from azure.storage.blob import ContentSettings
from werkzeug.http import parse_date

from ... import naming
from ...concurrency import ioloop
from ...exceptions import NotConfiguredError
from ...exceptions import StoreError
from ...secrecy import Options
from ...uploads.source import CHUNK
from ...uploads.source import Source
from ...uploads.source import Window
from .. import Fetched
from .. import Location
from .. import Span
from .. import Stat
from .. import TIMEOUT
from .. import Unreachable
from ..errors import NoAnswer
from ..errors import version_gone
from ..extents import Extent
from ..pace import pieces
from ..pace import verified
from ..ranged import ranged
from ..records import OutOfSpan
from ..tries import Tries
from .http import BUSY
from .http import Download
from .http import download
from .http import prepare
from .links import AzureLinks

if t.TYPE_CHECKING:
    from ..claims import Claim

#: The metadata by which a save knows its own blob again; names are C# identifiers.
TOKEN = "flaskstoretoken"

#: Azure's limit ("Scalability targets for Blob storage").
MAX_BLOCKS = 50_000

#: Every request is tried twice at most, so that each has half of the time.
LIMITS = ("connection_timeout", "read_timeout")

#: Seconds between two looks at a copy that goes on.
POLL = 0.2

#: Seconds for a look at what an upload without a usable answer has left.
LOOK = 2

#: How often a name is tried that is taken and then has no holder. The service may also
#: keep blocks of an upload that broke off under it, for a week.
TRIES = 2

#: How often a blob is replaced that others replace at the same moment.
OVERWRITES = 8

#: All the bytes of a blob. The answer then tells the size twice, and nobody in between
#: compresses it.
ALL = Span(0, None)

#: Codes of the service's errors ("Blob service error codes").
DENIED = {401, 403}
CONTAINER_NOT_FOUND = "ContainerNotFound"


@dataclass
class Staged:
    """An upload that can be read again, and the token of its save."""

    source: Source
    token: str


class AzureDialect(AzureLinks):
    """Put Blob, or Put Block List, with ``If-None-Match: *``."""

    protocols = ("abfs", "abfss", "az")
    signs = True
    settings = "STORE_PATH and the account's name and key in STORE_OPTIONS"
    token_name = TOKEN

    @classmethod
    def locate(cls, url: str, config: Mapping[str, t.Any]) -> Location:
        place = url.split("://", 1)[1]
        host, _, path = place.partition("/")
        options = Options(config["STORE_OPTIONS"])
        # The form of Microsoft's tools: container@account.dfs.core.windows.net
        container, _, account = host.partition("@")
        if not container or ":" in host:
            raise NotConfiguredError(
                "STORE_PATH names no container. Write 'abfs://container/folder'; keys"
                " and connection strings belong into STORE_OPTIONS."
            )
        if account:
            options.setdefault("account_name", account.partition(".")[0])
        root = "/".join([container, *filter(None, path.split("/"))])
        # With a cache, a file that another process wrote or deleted is seen too late.
        mine = {"use_listings_cache": False, **dict.fromkeys(LIMITS, TIMEOUT // 2)}
        return Location("abfs", root, {**mine, **options})

    def connect(self) -> fsspec.AbstractFileSystem:
        options = {"loop": ioloop.get_loop(), **self.location.options}
        fs = adlfs.AzureBlobFileSystem(skip_instance_cache=True, **options)
        ioloop.run(fs.loop, prepare, fs.service_client, options["read_timeout"])
        return ioloop.bridge(fs)

    # -- writing -------------------------------------------------------------

    @contextmanager
    def stage(self, source: Source) -> Iterator[Staged]:
        with source.rewindable() as rewindable:
            yield Staged(rewindable, source.token)

    def exclusive(self, staged: Staged) -> bool:
        return True

    def create(
        self,
        staged: Staged,
        key: str,
        content_type: str,
    ) -> None:
        path = self.path(key, follow=False)
        for _ in range(TRIES):
            try:
                self._put(staged, path, content_type, overwrite=False)
                return
            except azure.ResourceExistsError:
                pass
            # A reply may get lost. Then the request is sent again and finds the name
            # taken, by ourselves. It may also be deleted meanwhile, and is free then.
            try:
                found = self._ask(path, "get_blob_properties")
            except azure.ResourceNotFoundError as exc:
                if code_of(exc) == CONTAINER_NOT_FOUND:
                    raise
                continue
            if _token(found) == staged.token:
                return
            break
        raise FileExistsError(path)

    def replace(
        self,
        staged: Staged,
        key: str,
        content_type: str,
    ) -> None:
        path = self.path(key, follow=False)
        self._put(staged, path, content_type, overwrite=True)

    def _put(
        self,
        staged: Staged,
        path: str,
        content_type: str,
        overwrite: bool,
    ) -> None:
        try:
            self._upload(staged, path, content_type, overwrite)
        except (
            NoAnswer,
            TimeoutError,
            azure.ServiceRequestError,
            azure.ServiceResponseError,
            azure.HttpResponseError,
        ) as exc:
            # Whoever answered was not the service, or nobody did. It may have the blob
            # all the same.
            refused = (getattr(exc, "status_code", None) or 0) >= 300
            mine = staged.source.error is not None
            if refused or mine or not self._is_stored(staged, path):
                raise

    def _upload(
        self,
        staged: Staged,
        path: str,
        content_type: str,
        overwrite: bool,
    ) -> None:
        for again in reversed(range(OVERWRITES)):
            try:
                reply = self._ask(
                    path,
                    "upload_blob",
                    Window(staged.source),
                    length=staged.source.size,
                    overwrite=overwrite,
                    metadata={TOKEN: staged.token},
                    content_settings=ContentSettings(content_type=content_type),
                )
            except azure.HttpResponseError as exc:
                # Who replaces a blob throws away what others have sent of theirs ("Put
                # Block List"). Of those who do so at a time one succeeds each time.
                if not (overwrite and again and code_of(exc) == "InvalidBlockList"):
                    raise
            else:
                if not reply.get("etag"):
                    raise NoAnswer("it has no ETag")
                return

    def adopt(self, claim: Claim, staged: Stat) -> None:
        container = self.fs.service_client.get_container_client(self.container)
        # With a shared access signature, if that is what the account is opened with.
        source = container.get_blob_client(self.absolute_path(claim.staged)).url
        path = self.path(claim.key)
        try:
            reply = self._ask(
                path,
                "start_copy_from_url",
                source,
                source_etag=f'"{staged.etag}"',
                source_match_condition=MatchConditions.IfNotModified,
                match_condition=MatchConditions.IfMissing,
            )
        except azure.ResourceNotFoundError as exc:
            if code_of(exc) == CONTAINER_NOT_FOUND:
                raise
            raise FileNotFoundError(claim.staged) from exc
        except azure.HttpResponseError as exc:
            if exc.status_code not in (409, 412):
                raise
            # One of the two conditions, and it is not said which.
            if not self._is_there(path):
                raise version_gone(claim.key) from exc
            self._await_copy(path)
            raise FileExistsError(claim.key) from exc
        if reply.get("copy_status") != "success":
            self._await_copy(path)
        self._check_copy(claim, staged)

    def _is_there(self, path: str) -> bool:
        try:
            self._ask(path, "get_blob_properties")
        except azure.ResourceNotFoundError:
            return False
        return True

    def _await_copy(self, path: str) -> None:
        """Wait for a copy that the service goes on with after its answer ("Copy Blob").

        :raises NoAnswer: if it is not done within the time for an answer, or fails.
        """
        end = time.monotonic() + TIMEOUT
        while True:
            status = self._ask(path, "get_blob_properties").copy.status
            if status in (None, "success"):  # without one, it was uploaded
                return
            if status != "pending":
                self.discard(path)  # it has the key, and nothing in it
            if status != "pending" or time.monotonic() > end:
                raise NoAnswer(f"its copy is {status}")
            time.sleep(POLL)

    def _is_stored(self, staged: Staged, path: str) -> bool:
        """Whether the blob is the one that was sent, whole."""
        try:
            found = self._ask(path, "get_blob_properties", within=LOOK)
        except Exception:
            return False  # the error of the upload tells more
        return _token(found) == staged.token and found.size == staged.source.size

    def _ask(
        self,
        path: str,
        method: str,
        *args: t.Any,
        within: float | None = None,
        **more: t.Any,
    ) -> t.Any:
        size = more.get("length") or 0
        limits = {name: self.location.options[name] for name in LIMITS}

        async def asking() -> t.Any:
            service = self.fs.service_client
            blob = service.get_blob_client(self.container, path.partition("/")[2])
            # These are in memory while they are sent.
            blob._config.max_single_put_size = CHUNK
            blob._config.max_block_size = max(CHUNK, -(-size // MAX_BLOCKS))
            async with asyncio.timeout(within):
                return await getattr(blob, method)(*args, **limits, **more)

        return ioloop.run(self.fs.loop, asking)

    # -- reading -------------------------------------------------------------

    def stat(self, key: str) -> Stat:
        found = self._ask(self.path(key), "get_blob_properties")
        if _is_folder(found):
            raise FileNotFoundError(key)
        return self._stat(found, key)

    def walk(self, prefix: str) -> Iterator[Stat | Unreachable]:
        # adlfs takes what follows a '#' for no part of a name.
        folder = f"{self.path(prefix) if prefix else self.root}/"
        yield from self._list(folder[len(self.container) + 1 :])

    def _list(self, prefix: str) -> Iterator[Stat]:
        container = self.fs.service_client.get_container_client(self.container)
        limits = {name: self.location.options[name] for name in LIMITS}
        pages = container.list_blobs(
            name_starts_with=prefix or None, include=["metadata"], **limits
        ).by_page()

        async def page() -> list[t.Any] | None:
            found = await anext(pages, None)
            return None if found is None else [blob async for blob in found]

        skip = len(self.absolute_path(""))
        while (blobs := ioloop.run(self.fs.loop, page)) is not None:
            for blob in blobs:
                if not blob.name.startswith(prefix):
                    raise NoAnswer(f"it lists {naming.quoted(blob.name)}")
                if not _is_folder(blob):
                    yield self._stat(blob, blob.name[skip:])

    def _stat(self, blob: t.Any, key: str) -> Stat:
        settings = blob.content_settings
        record = self.record(
            {
                "size": blob.size,
                "etag": blob.etag,
                "last_modified": blob.last_modified,
                "content_type": settings.content_type,
            },
            key,
        )
        record = replace(record, checksum=_md5(settings.content_md5))
        return record.with_token(_token(blob))

    def open(self, key: str) -> t.IO[bytes]:
        return ranged(self, self.get(key))

    def get(
        self,
        key: str,
        span: Span | None = None,
        found: Stat | None = None,
    ) -> Fetched | None:
        if span and span.first is None and found is None:
            found = self.stat(key)  # Azure has no range of the last bytes
        if span and found is not None:
            if not span.meets(found.size):
                return None
            span = Span.between(*span.within(found.size))
        limit = self.location.options["read_timeout"]
        name = self.absolute_path(key)

        def describe(answer: AsyncHttpResponse, sent: Extent) -> Stat:
            known = self._received(answer, sent, key)
            if span and not span.meets(sent.size):
                raise OutOfSpan
            return known

        async def asking() -> Download:
            blob = self.fs.service_client.get_blob_client(self.container, name)
            version = found.etag if found else None
            return await download(blob, span or ALL, version, describe, limit)

        try:
            begun = ioloop.run(self.fs.loop, asking)
        except OutOfSpan:
            if span:
                self.confirm_end(key, span)
            return None
        except azure.HttpResponseError as exc:
            return self._unfetched(key, span, found, exc)
        body = pieces(
            self.fs.loop, begun.first, begun.body.read, begun.body.close, limit
        )
        if begun.body.answer.status_code == 200:  # which tells the size only once
            body = verified(body, begun.found.checksum)
        return Fetched(begun.found, begun.sent.start, begun.sent.stop, body)

    def _unfetched(
        self,
        key: str,
        span: Span | None,
        found: Stat | None,
        exc: azure.HttpResponseError,
    ) -> Fetched | None:
        """What a refused request for bytes comes down to."""
        if exc.status_code not in (404, 412, 416) or (
            code_of(exc) == CONTAINER_NOT_FOUND
        ):
            raise exc
        there = self.stat(key)
        if found is not None and there.etag != found.etag:
            raise version_gone(key) from exc
        if exc.status_code == 416:
            if span and not span.meets(there.size):
                return None
            if not there.size:
                return Fetched(there, 0, 0, iter(()))
        raise NoAnswer(f"the status is {exc.status_code}, of a file that is there")

    def _received(self, answer: AsyncHttpResponse, sent: Extent, key: str) -> Stat:
        """What the answer to a request for bytes tells of the blob."""
        headers = answer.headers
        if headers.get("x-ms-meta-hdi_isfolder"):
            raise FileNotFoundError(key)
        # That of the whole blob, in an answer with a part of it ("Get Blob").
        md5 = headers.get("x-ms-blob-content-md5")
        if answer.status_code == 200:
            md5 = md5 or headers.get("Content-MD5")
        record = self.record(
            {
                "size": sent.size,
                "etag": headers["ETag"],
                "last_modified": parse_date(headers.get("Last-Modified")),
                "content_type": headers.get("Content-Type"),
            },
            key,
        )
        return replace(record, checksum=_md5(base64.b64decode(md5)) if md5 else None)

    def is_one_file(self, old: str, new: str) -> bool:
        return old == new

    def delete(self, key: str) -> None:
        tries = Tries()
        try:
            self._ask(self.path(key), "delete_blob", trace_request_ctx=tries)
        except azure.ResourceNotFoundError as exc:
            # A first request may have done it, and its answer got lost.
            if tries.sent < 2 or code_of(exc) == CONTAINER_NOT_FOUND:
                raise

    def left(self) -> list[dict[str, t.Any]]:
        prefix = self.absolute_path(f"{naming.STAGING}/")
        return [
            {"name": found.name, "size": found.size, "last_modified": found.modified}
            for found in self._list(prefix)
        ]

    def discard(self, path: str) -> None:
        try:
            self._ask(path, "delete_blob")
        except azure.ResourceNotFoundError as exc:
            if code_of(exc) == CONTAINER_NOT_FOUND:
                raise

    # -- what went wrong -----------------------------------------------------

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        taken = isinstance(exc, FileExistsError)
        for cause in () if taken else (exc, exc.__cause__):
            if isinstance(cause, azure.AzureError):
                found = self._explain_azure(cause, key)
                if found:
                    return found
        if isinstance(exc, ValueError) and "account" in str(exc):
            return NotConfiguredError(
                "Azure needs an account. Put account_name and account_key, or a"
                " connection_string, into STORE_OPTIONS."
            )
        return super().explain(exc, key)

    def _explain_azure(
        self, exc: azure.AzureError, key: str | None
    ) -> StoreError | None:
        code, status = code_of(exc), getattr(exc, "status_code", None) or 0
        if code == CONTAINER_NOT_FOUND:
            return NotConfiguredError(
                f"There is no container {self.container!r}. Create it, or correct"
                " STORE_PATH. Flask-Store never creates a container."
            )
        if isinstance(exc, azure.ResourceNotFoundError):
            return super().explain(FileNotFoundError(), key)
        if isinstance(exc, azure.ClientAuthenticationError) or status in DENIED:
            return super().explain(PermissionError(), key)
        if status in BUSY or isinstance(
            exc, azure.ServiceRequestError | azure.ServiceResponseError
        ):
            return super().explain(ConnectionError(), key)
        if status == 507:
            return super().explain(OSError(errno.ENOSPC, ""), key)
        if isinstance(exc, azure.DecodeError) or 200 <= status < 300:
            return super().explain(NoAnswer(f"it cannot be read ({status})"), key)
        reason = code or str(exc).partition("\n")[0][:200]
        return StoreError(f"Azure refuses {naming.quoted(key)}: {reason}.", key)


def code_of(exc: Exception) -> str:
    """The service's code of an error ("Blob service error codes"), or ""."""
    response = getattr(exc, "response", None)
    code = response.headers.get("x-ms-error-code") if response is not None else None
    return str(code or getattr(getattr(exc, "error_code", None), "value", ""))


def _token(found: t.Any) -> str | None:
    return _metadata(found).get(TOKEN)


def _is_folder(found: t.Any) -> bool:
    # An account with folders shows them as blobs too.
    return bool(_metadata(found).get("hdi_isfolder"))


def _metadata(found: t.Any) -> dict[str, str]:
    # They are headers, of which something in between may change the case.
    return {name.lower(): value for name, value in (found.metadata or {}).items()}


def _md5(digest: bytes | None) -> str | None:
    return f"md5:{bytes(digest).hex()}" if digest else None
