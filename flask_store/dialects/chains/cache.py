"""``simplecache::``: another storage, whose files are fetched once."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import typing as t
import weakref
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import closing
from contextlib import suppress

import fsspec

from ...secrecy import Options
from .. import Dialect
from .. import Fetched
from .. import Listed
from .. import Location
from .. import Span
from .. import Stat
from .. import Unreachable
from .. import whole
from ..bodies import bounds
from ..bodies import FilePart
from ..errors import version_gone
from ..handles import HandleFile
from ..urls import open_dialect
from . import behind
from . import ChainedDialect


class SimpleCacheDialect(ChainedDialect):
    """Another storage, each file of which is fetched once and read from the disk.

    The storage is still asked for what there is, so that a file which was replaced
    or deleted there is so here. The folder is private to a process and goes with it,
    unless ``STORE_OPTIONS`` names one as ``cache_storage``.
    """

    is_known = True
    reason = (
        "a cache cannot promise that what was saved is stored. Save to a store whose"
        " STORE_PATH has no 'simplecache::'."
    )

    @classmethod
    def from_url(cls, url: str, config: Mapping[str, t.Any]) -> SimpleCacheDialect:
        options = Options(config["STORE_OPTIONS"])
        folder = options.pop("cache_storage", None)
        inner = open_dialect(behind(url), {**config, "STORE_OPTIONS": options})
        return cls(inner, folder and os.path.abspath(folder))

    def __init__(self, inner: Dialect, folder: str | None) -> None:
        super().__init__(Location("simplecache", inner.root, {}), inner)
        self.folder = folder

    @property
    def uri(self) -> str:
        return f"simplecache::{self.inner.uri}"

    def url_of(self, key: str) -> str:
        return f"simplecache::{self.inner.url_of(key)}"

    def uri_of(self, key: str) -> str:
        return f"simplecache::{self.inner.uri_of(key)}"

    def path(self, key: str, *, follow: bool = True) -> str:
        return self.inner.path(key, follow=follow)

    def connect(self) -> fsspec.AbstractFileSystem:
        folder = self.folder
        if folder is None:
            folder = tempfile.mkdtemp(prefix="flask-store-cache-")
        os.makedirs(folder, 0o700, exist_ok=True)
        fs = fsspec.filesystem(
            "simplecache",
            fs=self.inner.fs,
            cache_storage=folder,
            skip_instance_cache=True,
        )
        if self.folder is None:
            weakref.finalize(fs, shutil.rmtree, folder, ignore_errors=True)
        return fs

    def info(self, key: str) -> Stat:
        return self.inner.info(key)

    def find(self, prefix: str) -> Iterator[Stat | Unreachable]:
        return self.inner.find(prefix)

    def ls(self, prefix: str) -> Iterator[Listed]:
        return self.inner.ls(prefix)

    def first_page(self, prefix: str) -> tuple[list[Stat | Unreachable], bool]:
        return self.inner.first_page(prefix)

    def open(self, key: str) -> t.IO[bytes]:
        stat = self.info(key)
        return t.cast("t.IO[bytes]", HandleFile(self._copy(stat), stat.size))

    def get(
        self,
        key: str,
        span: Span | None = None,
        found: Stat | None = None,
    ) -> Fetched | None:
        stat = found or self.info(key)
        extent = bounds(span, stat.size)
        if extent is None:
            return None
        file = self._copy(stat)
        return Fetched(stat, *extent, FilePart(file, *extent))

    def _copy(self, found: Stat) -> t.BinaryIO:
        """The version of a file that *found* describes, from the disk."""
        version = repr((self.path(found.name), found.etag, found.modified, found.size))
        folder = self.fs.storage[-1]
        path = os.path.join(folder, hashlib.sha256(version.encode()).hexdigest())
        with suppress(FileNotFoundError):
            return open(path, "rb")
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            try:
                # A disk that is full ends this in the middle of the body.
                with closing(whole(self.inner.get(found.name, None, found))) as body:
                    file.writelines(body)
                # Not every storage can be asked for a version, and this one stays.
                if self.info(found.name) != found:
                    raise version_gone(found.name)
                file.close()
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
        return open(path, "rb")
