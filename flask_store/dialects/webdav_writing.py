"""How a file gets its name on a WebDAV server."""

from __future__ import annotations

import hashlib
import io
import typing as t
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import quote

import fsspec
import httpx

from .. import naming
from ..sources import Source
from . import Location
from .staged import StagedDialect

#: How often a lock is asked for, of a server that answers with an error of its own.
ATTEMPTS = 3


class Body:
    """An upload as httpx takes it: from its start, each time it is asked."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __iter__(self) -> Iterator[bytes]:
        return self.source.chunks()


class WebDAVWriting(StagedDialect):
    """A PUT beside, then a MOVE while an MKCOL keeps others away from the name.

    Servers write a PUT where everybody sees it grow, so that a final name cannot be
    its target. "Overwrite: F" looks first and moves then; MKCOL alone is one mkdir.
    """

    rename = "MOVE with 'Overwrite: F'"

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        self._cuts: bool | None = None

    def _upload(self, fs: fsspec.AbstractFileSystem, source: Source, path: str) -> None:
        with source.rewindable() as rewindable:
            size = {"Content-Length": str(rewindable.size)}
            body = Body(rewindable)
            self._ask(fs, "PUT", path, content=body, headers=size)

    def _rename(self, fs: fsspec.AbstractFileSystem, old: str, new: str) -> None:
        lock = self._lock(new)
        self._take(fs, lock, new)
        try:
            self._move(fs, old, new, "F")
        finally:
            with suppress(httpx.HTTPError):
                self._ask(fs, "DELETE", f"{lock}/")

    def _take(self, fs: fsspec.AbstractFileSystem, lock: str, path: str) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._ask(fs, "MKCOL", lock)
                return
            except httpx.HTTPStatusError as exc:
                status = exc.response.status_code
                # RFC 4918, 9.3.1. Whoever holds it saves under this very name, or
                # died doing so.
                if status == httpx.codes.METHOD_NOT_ALLOWED:
                    raise FileExistsError(path) from exc
                # Servers stumble when two ask at once.
                if status < 500 or attempt == ATTEMPTS:
                    raise

    def _lock(self, path: str) -> str:
        return self.path(
            f"{naming.STAGING}/{hashlib.sha256(path.encode()).hexdigest()}"
        )

    def _rename_over(self, fs: fsspec.AbstractFileSystem, old: str, new: str) -> None:
        self._move(fs, old, new, "T")

    def _move(
        self, fs: fsspec.AbstractFileSystem, old: str, new: str, overwrite: str
    ) -> None:
        target = self.location.options["base_url"] + quote(new)
        if ";" in new.rpartition("/")[2] and self._cuts_destinations(fs):
            target += "/"
        headers = {"Destination": target, "Overwrite": overwrite}
        self._ask(fs, "MOVE", old, headers=headers)

    def _cuts_destinations(self, fs: fsspec.AbstractFileSystem) -> bool:
        """Whether this server takes what follows a ';' for no part of the name, by
        trying it. It then understands a slash behind it, which others might not."""
        if self._cuts is None:
            self._cuts = False
            old, new = self.staging_path(), self.staging_path()
            self._upload(fs, Source(io.BytesIO(), None), old)
            self._move(fs, old, f"{new};x", "F")
            self._cuts = not self._is_there(fs, f"{new};x")
            self._remove(fs, new if self._cuts else f"{new};x")
        return self._cuts

    def _mkdir(self, fs: fsspec.AbstractFileSystem, folder: str) -> None:
        self._ask(fs, "MKCOL", folder)

    def _remove(self, fs: fsspec.AbstractFileSystem, path: str) -> None:
        self._ask(fs, "DELETE", path)

    def delete(self, fs: fsspec.AbstractFileSystem, key: str) -> None:
        self._file(fs, key)  # DELETE takes a folder with all that is in it
        self._remove(fs, self.path(key))

    @staticmethod
    def _ask(
        fs: fsspec.AbstractFileSystem, method: str, path: str, **more: t.Any
    ) -> httpx.Response:
        # webdav4 joins paths unquoted, and then httpx trips over '#'.
        reply = fs.client.http.request(method, quote(path), **more)
        if reply.status_code == httpx.codes.NOT_FOUND:
            raise FileNotFoundError(path)
        return t.cast(httpx.Response, reply.raise_for_status())
