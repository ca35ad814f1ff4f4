"""How an object is written to Google Cloud Storage: one exclusive upload."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import fsspec

from ..exceptions import NotConfiguredError
from ..sources import Source
from .gcs_http import Refused
from .gcs_links import GCSLinks

#: The metadata by which a save knows its own object again.
TOKEN = "flask-store-token"


@dataclass
class Staged:
    """An upload that can be read again, and the token of its save."""

    source: Source
    token: str


class GCSWriting(GCSLinks):
    """One multipart upload, with ``ifGenerationMatch=0``.

    A resumable one would be another primitive, and there is no need of it: nothing but
    patience limits a single request ("Uploads and downloads", Cloud Storage
    documentation), and a file that has to be sent again is still here.
    """

    token_name = TOKEN

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
            self._put(fs, staged, path, content_type, ifGenerationMatch=0)
        except Refused as exc:
            if exc.status != 412:
                raise
            # A reply may get lost. Then the request is sent again and finds the name
            # taken, by ourselves.
            found = self._client(fs).ask("GET", self._object(path))
            if found.get("metadata", {}).get(TOKEN) != staged.token:
                raise FileExistsError(path) from exc

    def replace(
        self,
        fs: fsspec.AbstractFileSystem,
        staged: Staged,
        path: str,
        content_type: str,
    ) -> None:
        self._put(fs, staged, path, content_type)

    def _put(
        self,
        fs: fsspec.AbstractFileSystem,
        staged: Staged,
        path: str,
        content_type: str,
        **conditions: t.Any,
    ) -> None:
        about = {
            "name": path[len(self.bucket) + 1 :],
            # It also goes into a line of its own, which must stay one line.
            "contentType": " ".join(content_type.split()),
            "metadata": {TOKEN: staged.token},
        }
        try:
            self._client(fs).upload(self.bucket, about, staged.source, conditions)
        except Refused as exc:
            if exc.status == 404:
                raise self._no_bucket() from exc
            raise

    def _no_bucket(self) -> NotConfiguredError:
        return NotConfiguredError(
            f"There is no bucket {self.bucket!r}. Create it, or correct STORE_PATH."
            " Flask-Store never creates a bucket."
        )
