"""``abfs://``: Azure Blob Storage, through adlfs."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import adlfs
import fsspec
from azure.core import exceptions as azure
from azure.core import MatchConditions
from azure.storage.blob import ContentSettings
from azure.storage.blob.aio import ExponentialRetry

from .. import ioloop
from .. import naming
from ..exceptions import NotConfiguredError
from ..exceptions import StoreError
from ..sources import CHUNK
from ..sources import Source
from ..sources import Window
from . import Fetched
from . import Location
from . import options_in
from . import Span
from . import Stat
from . import TIMEOUT
from . import Unreachable
from .azure_links import AzureLinks
from .ranged import ranged

#: The metadata by which a save knows its own blob again; names are C# identifiers.
TOKEN = "flaskstoretoken"

#: Azure's limit ("Scalability targets for Blob storage").
MAX_BLOCKS = 50_000

#: Every request is tried twice at most, so that each has half of the time.
LIMITS = ("connection_timeout", "read_timeout")

#: Codes of the service's errors ("Blob service error codes").
DENIED = {401, 403}


@dataclass
class Staged:
    """An upload that can be read again, and the token of its save."""

    source: Source
    token: str


class AzureDialect(AzureLinks):
    """Put Blob, or Put Block List, with ``If-None-Match: *``."""

    protocols = ("abfs", "abfss", "az")
    settings = "STORE_PATH and the account's name and key in STORE_OPTIONS"
    token_name = TOKEN

    @classmethod
    def locate(cls, url: str, config: Mapping[str, t.Any]) -> Location:
        place = url.split("://", 1)[1]
        host, _, path = place.partition("/")
        options = options_in(config)
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
        # The client tries again by itself, after 15 s and then some more.
        for policy in fs.service_client._pipeline._impl_policies:
            if isinstance(policy, ExponentialRetry):
                policy.total_retries = 1
                policy.initial_backoff, policy.increment_base = 0.5, 0
                policy.random_jitter_range = 0.2
        return ioloop.bridge(fs)

    # -- writing -------------------------------------------------------------

    @contextmanager
    def stage(self, fs: fsspec.AbstractFileSystem, source: Source) -> Iterator[Staged]:
        with source.rewindable() as rewindable:
            yield Staged(rewindable, source.token)

    def exclusive(self, fs: fsspec.AbstractFileSystem, staged: Staged) -> bool:
        return True

    def create(
        self,
        fs: fsspec.AbstractFileSystem,
        staged: Staged,
        path: str,
        content_type: str,
    ) -> None:
        try:
            self._put(fs, staged, path, content_type, overwrite=False)
        except azure.ResourceExistsError as exc:
            # A reply may get lost. Then the request is sent again and finds the name
            # taken, by ourselves.
            found = self._ask(fs, path, "get_blob_properties")
            if (found.metadata or {}).get(TOKEN) != staged.token:
                raise FileExistsError(path) from exc

    def replace(
        self,
        fs: fsspec.AbstractFileSystem,
        staged: Staged,
        path: str,
        content_type: str,
    ) -> None:
        self._put(fs, staged, path, content_type, overwrite=True)

    def _put(
        self,
        fs: fsspec.AbstractFileSystem,
        staged: Staged,
        path: str,
        content_type: str,
        overwrite: bool,
    ) -> None:
        self._ask(
            fs,
            path,
            "upload_blob",
            Window(staged.source),
            length=staged.source.size,
            overwrite=overwrite,
            metadata={TOKEN: staged.token},
            content_settings=ContentSettings(content_type=content_type),
        )

    def _ask(
        self,
        fs: fsspec.AbstractFileSystem,
        path: str,
        method: str,
        *args: t.Any,
        **more: t.Any,
    ) -> t.Any:
        size = more.get("length") or 0
        limits = {name: self.location.options[name] for name in LIMITS}

        async def asking() -> t.Any:
            service = fs.service_client
            blob = service.get_blob_client(self.container, path.partition("/")[2])
            # These are in memory while they are sent.
            blob._config.max_single_put_size = CHUNK
            blob._config.max_single_get_size = CHUNK
            blob._config.max_chunk_get_size = CHUNK
            blob._config.max_block_size = max(CHUNK, -(-size // MAX_BLOCKS))
            return await getattr(blob, method)(*args, **limits, **more)

        return ioloop.run(fs.loop, asking)

    # -- reading -------------------------------------------------------------

    def stat(self, fs: fsspec.AbstractFileSystem, key: str) -> Stat:
        found = self._ask(fs, self.path(key), "get_blob_properties")
        return self.record(_described(found), key)

    def walk(
        self, fs: fsspec.AbstractFileSystem, prefix: str
    ) -> Iterator[Stat | Unreachable]:
        # adlfs takes what follows a '#' for no part of a name.
        folder = f"{self.path(prefix) if prefix else self.root}/"
        container = fs.service_client.get_container_client(self.container)
        pages = container.list_blobs(
            name_starts_with=folder[len(self.container) + 1 :] or None,
            include=["metadata"],
        ).by_page()

        async def page() -> list[t.Any] | None:
            found = await anext(pages, None)
            return None if found is None else [blob async for blob in found]

        skip = len(self.absolute_path(""))
        while (blobs := ioloop.run(fs.loop, page)) is not None:
            for blob in blobs:
                # An account with folders lists these too.
                if not (blob.metadata or {}).get("hdi_isfolder"):
                    yield self.record(_described(blob), blob.name[skip:])

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
        # The service has no range of nothing.
        body = self._pieces(fs, known, start, stop) if start < stop else iter(())
        return Fetched(known, start, stop, body)

    def _pieces(
        self, fs: fsspec.AbstractFileSystem, found: Stat, start: int, stop: int
    ) -> Iterator[bytes]:
        download = self._ask(
            fs,
            self.path(found.name),
            "download_blob",
            offset=start,
            length=stop - start,
            etag=found.etag,
            match_condition=MatchConditions.IfNotModified,
        )
        pieces = download.chunks()

        async def piece() -> bytes:
            return t.cast(bytes, await anext(pieces, b""))

        while data := ioloop.run(fs.loop, piece):
            yield data

    def is_one_file(self, fs: fsspec.AbstractFileSystem, old: str, new: str) -> bool:
        return old == new

    def delete(self, fs: fsspec.AbstractFileSystem, key: str) -> None:
        self._ask(fs, self.path(key), "delete_blob")

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
        code = str(getattr(exc, "error_code", ""))
        if code == "ContainerNotFound":
            return NotConfiguredError(
                f"There is no container {self.container!r}. Create it, or correct"
                " STORE_PATH. Flask-Store never creates a container."
            )
        if isinstance(exc, azure.ResourceNotFoundError):
            return super().explain(FileNotFoundError(), key)
        if isinstance(exc, azure.ClientAuthenticationError) or (
            getattr(exc, "status_code", None) in DENIED
        ):
            return super().explain(PermissionError(), key)
        if isinstance(exc, azure.ServiceRequestError | azure.ServiceResponseError):
            return super().explain(ConnectionError(), key)
        return StoreError(f"Azure refuses {naming.quoted(key)}: {code or exc}.", key)


def _described(blob: t.Any) -> dict[str, t.Any]:
    return {
        "size": blob.size,
        "etag": blob.etag,
        "last_modified": blob.last_modified,
        "content_type": blob.content_settings.content_type,
        "metadata": blob.metadata,
    }
