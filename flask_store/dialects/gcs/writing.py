"""How an object is written to Google Cloud Storage: one exclusive upload."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp

from ...exceptions import NotConfiguredError
from ...uploads.source import Source
from ..errors import NoAnswer
from .http import Client
from .http import Refused
from .links import check_object
from .links import GCSLinks

#: The metadata by which a save knows its own object again.
TOKEN = "flask-store-token"
#: How often a name is tried that is taken and then has no holder.
TRIES = 2
#: Seconds for a look at what an upload without a usable answer has left.
LOOK = 2


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
                self._put(staged, path, content_type, ifGenerationMatch=0)
                return
            except Refused as exc:
                if exc.status != 412:
                    raise
            # A reply may get lost. Then the request is sent again and finds the name
            # taken, by ourselves. It may also be deleted meanwhile, and is free then.
            holder = self._holder(self._client(), path)
            if holder is not None:
                if token_of(holder) == staged.token:
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
        self._put(staged, path, content_type)

    def _put(
        self,
        staged: Staged,
        path: str,
        content_type: str,
        **conditions: t.Any,
    ) -> None:
        name = path[len(self.bucket) + 1 :]
        about = {
            "name": name,
            # It also goes into a line of its own, which must stay one line.
            "contentType": " ".join(content_type.split()),
            "metadata": {TOKEN: staged.token},
        }
        try:
            reply = self._client().upload(self.bucket, about, staged.source, conditions)
            check_object(reply, name, staged.source.size)
        except Refused as exc:
            if exc.status == 404:
                raise self._no_bucket() from exc
            raise
        except (NoAnswer, TimeoutError, aiohttp.ClientError):
            # Whoever answered was not the storage, or nobody did. It may have the
            # object all the same.
            if staged.source.error is not None or not self._is_stored(staged, path):
                raise

    def _is_stored(self, staged: Staged, path: str) -> bool:
        """Whether the object is the one that was sent, whole."""
        try:
            found = self._holder(self._client(LOOK), path)
        except Exception:
            return False  # the error of the upload tells more
        return (
            found is not None
            and token_of(found) == staged.token
            and found.get("size") == str(staged.source.size)
        )

    def _holder(self, client: Client, path: str) -> dict[str, t.Any] | None:
        """The object of that name, if there is one."""
        try:
            return client.ask("GET", self._object(path))
        except Refused as exc:
            if exc.status == 404:
                return None
            raise

    def _no_bucket(self) -> NotConfiguredError:
        return NotConfiguredError(
            f"There is no bucket {self.bucket!r}. Create it, or correct STORE_PATH."
            " Flask-Store never creates a bucket."
        )


def token_of(found: t.Mapping[str, t.Any]) -> str | None:
    metadata = found.get("metadata")
    return metadata.get(TOKEN) if isinstance(metadata, dict) else None
