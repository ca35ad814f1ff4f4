"""``zip::`` and ``simplecache::``: another storage, read through what is in between.

Neither can promise that what was saved is stored, so both only read.
"""

from __future__ import annotations

import datetime as dt
import errno
import hashlib
import os
import re
import shutil
import stat
import struct
import tempfile
import typing as t
import weakref
import zipfile
import zlib
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import suppress

import fsspec

from .. import media_types
from .. import naming
from ..exceptions import FileNotFound
from ..exceptions import InvalidName
from ..exceptions import NotConfiguredError
from ..exceptions import StoreDenied
from ..exceptions import StoreError
from ..exceptions import VersionGone
from ..sources import Source
from . import Dialect
from . import Location
from . import options_in
from . import pieces
from . import Stat
from . import utc

if t.TYPE_CHECKING:
    from ..direct import Claim

#: What stands in front of the URL of the storage itself: 'zip::', 'zip://folder::'.
LINK = re.compile(
    r"(?P<protocol>zip|simplecache)(?:://(?P<folder>[^:]*))?::(?P<url>.+)"
)

#: What zipfile and its decompressors raise for bytes that are not what they should be.
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    ValueError,
)

Open = t.Callable[[str, Mapping[str, t.Any]], Dialect]


class ReadOnlyDialect(Dialect):
    """Another storage's files, for reading.

    :param inner: the dialect of that storage.
    """

    read_only = True
    #: Why, and what to do.
    reason: t.ClassVar[str]

    def __init__(self, location: Location, inner: Dialect) -> None:
        options = inner.location.options
        if not isinstance(inner, ReadOnlyDialect):
            options = {inner.uri.partition("://")[0]: options}
        super().__init__(Location(location.protocol, location.root, options))
        self.inner = inner
        self.scope = inner.scope
        self.settings = inner.settings

    def alive(self, fs: fsspec.AbstractFileSystem) -> bool:
        return self.inner.alive(fs.target)

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        return self.inner.explain(exc, key)

    def refuse(self) -> t.NoReturn:
        """:raises StoreDenied: always."""
        raise StoreDenied(f"{self.uri} is read-only: {self.reason}")

    def stage(self, fs: fsspec.AbstractFileSystem, source: Source) -> t.NoReturn:
        self.refuse()

    def delete(self, fs: fsspec.AbstractFileSystem, key: str) -> None:
        self.refuse()

    def upload_form(self, fs: fsspec.AbstractFileSystem, claim: Claim) -> t.NoReturn:
        self.refuse()

    def sweep(
        self, fs: fsspec.AbstractFileSystem, before: dt.datetime, dry_run: bool
    ) -> Iterator[str]:
        return iter(())  # nothing is ever left behind


class ZipDialect(ReadOnlyDialect):
    """The files in an archive, by the names in its directory.

    What no store would have is not there: a name that leads out, a link, a device.
    """

    protocols = ("zip",)
    reason = (
        "an archive cannot take a file in one step. Save to another store, or unpack"
        " it and let STORE_PATH name the folder."
    )

    def __init__(self, folder: str, inner: Dialect, name: str) -> None:
        self.name = name
        super().__init__(Location("zip", folder, {}), inner)

    @property
    def archive(self) -> str:
        """The URL of the archive."""
        return self.inner.uri_of(self.name)

    @property
    def uri(self) -> str:
        return f"zip{self.root and '://'}{self.root}::{self.archive}"

    def uri_of(self, key: str) -> str:
        return f"zip://{self.path(key)}::{self.archive}"

    def connect(self) -> fsspec.AbstractFileSystem:
        target = self.inner.connect()
        try:
            file = self.inner.open(target, self.name)
        except Exception as exc:
            error = self.inner.explain(exc, self.name)
            if isinstance(exc, InvalidName) or isinstance(error, FileNotFound):
                raise NotConfiguredError(
                    f"STORE_PATH names the archive {self.archive}, which is not there."
                ) from exc
            raise
        try:
            fs = fsspec.filesystem("zip", fo=file, skip_instance_cache=True)
        except Exception as exc:
            if not _is_broken(exc):
                raise
            raise NotConfiguredError(
                f"STORE_PATH names {self.archive}, which is no ZIP archive or a broken"
                " one. Test it with: python -m zipfile -t"
            ) from exc
        fs.target = target
        return fs

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        error = super().explain(exc, key)
        if error is None and _is_broken(exc):
            return StoreError(
                f"{naming.quoted(key)} cannot be unpacked from {self.archive}: {exc}."
                " Test the archive with: python -m zipfile -t",
                key,
            )
        return error

    def _member(self, fs: fsspec.AbstractFileSystem, key: str) -> zipfile.ZipInfo:
        try:
            info: zipfile.ZipInfo = fs.zip.getinfo(self.path(key))
        except KeyError as exc:
            raise FileNotFoundError(key) from exc
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.is_dir() or kind not in (0, stat.S_IFREG):
            raise FileNotFoundError(key)
        return info

    def stat(self, fs: fsspec.AbstractFileSystem, key: str) -> Stat:
        info = self._member(fs, key)
        modified = None
        with suppress(ValueError):  # a date in an archive may be any number
            modified = utc(dt.datetime(*info.date_time))
        return Stat(
            name=key,
            size=info.file_size,
            modified=modified,
            etag=f"{info.CRC:x}-{info.file_size:x}",
            content_type=media_types.content_type(key),
        )

    def open(self, fs: fsspec.AbstractFileSystem, key: str) -> t.IO[bytes]:
        info = self._member(fs, key)
        if info.flag_bits & 1:
            raise StoreDenied(
                f"{naming.quoted(key)} is encrypted in {self.archive}. Unpack the"
                " archive, or make one without a password.",
                key,
            )
        return t.cast("t.IO[bytes]", fs.zip.open(info))

    def stream(
        self, fs: fsspec.AbstractFileSystem, key: str, start: int, stop: int | None
    ) -> Iterator[bytes]:
        size = self._member(fs, key).file_size
        left = (size if stop is None else min(size, stop)) - start
        for data in super().stream(fs, key, start, stop):
            left -= len(data)
            yield data
        if left > 0:  # of the sizes in a broken archive, not all are checked
            raise zipfile.BadZipFile(f"{left} bytes are missing")

    def walk(self, fs: fsspec.AbstractFileSystem, prefix: str) -> Iterator[Stat]:
        folder = self.path(prefix) if prefix else self.root
        start, skip = f"{folder}/" if folder else "", len(self.root) + bool(self.root)
        for name in sorted(set(fs.zip.namelist())):
            if name.startswith(start):
                with suppress(FileNotFoundError, InvalidName):
                    yield self.stat(fs, naming.check(name[skip:]))


class SimpleCacheDialect(ReadOnlyDialect):
    """Another storage, each file of which is fetched once and read from the disk.

    The storage is still asked for what there is, so that a file which was replaced
    or deleted there is so here. The folder is private to a process and goes with it,
    unless ``STORE_OPTIONS`` names one as ``cache_storage``.
    """

    protocols = ("simplecache",)
    reason = (
        "a cache cannot promise that what was saved is stored. Save to a store whose"
        " STORE_PATH has no 'simplecache::'."
    )

    def __init__(self, inner: Dialect, folder: str | None) -> None:
        super().__init__(Location("simplecache", inner.root, {}), inner)
        self.folder = folder

    @property
    def uri(self) -> str:
        return f"simplecache::{self.inner.uri}"

    def uri_of(self, key: str) -> str:
        return f"simplecache::{self.inner.uri_of(key)}"

    def path(self, key: str, *, follow: bool = True) -> str:
        return self.inner.path(key, follow=follow)

    def connect(self) -> fsspec.AbstractFileSystem:
        folder = self.folder
        if folder is None:
            folder = tempfile.mkdtemp(prefix="flask-store-cache-")
        os.makedirs(folder, 0o700, exist_ok=True)
        target = self.inner.connect()
        fs = fsspec.filesystem(
            "simplecache", fs=target, cache_storage=folder, skip_instance_cache=True
        )
        fs.target = target
        if self.folder is None:
            weakref.finalize(fs, shutil.rmtree, folder, ignore_errors=True)
        return fs

    def stat(self, fs: fsspec.AbstractFileSystem, key: str) -> Stat:
        return self.inner.stat(fs.target, key)

    def walk(self, fs: fsspec.AbstractFileSystem, prefix: str) -> Iterator[Stat]:
        return self.inner.walk(fs.target, prefix)

    def first_page(
        self, fs: fsspec.AbstractFileSystem, prefix: str
    ) -> tuple[list[Stat], bool]:
        return self.inner.first_page(fs.target, prefix)

    def open(self, fs: fsspec.AbstractFileSystem, key: str) -> t.IO[bytes]:
        return self._copy(fs, self.stat(fs, key))

    def stream_version(
        self, fs: fsspec.AbstractFileSystem, found: Stat, start: int, stop: int
    ) -> Iterator[bytes]:
        with self._copy(fs, found) as file:
            yield from pieces(file, start, stop)

    def _copy(self, fs: fsspec.AbstractFileSystem, found: Stat) -> t.IO[bytes]:
        """The version of a file that *found* describes, from the disk."""
        version = repr((self.path(found.name), found.etag, found.modified, found.size))
        folder = fs.storage[-1]
        path = os.path.join(folder, hashlib.sha256(version.encode()).hexdigest())
        with suppress(FileNotFoundError):
            return open(path, "rb")
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            try:
                fetched = self.inner.stream_version(fs.target, found, 0, found.size)
                file.writelines(fetched)
                # Not every storage can be asked for a version, and this one stays.
                if file.tell() != found.size or self.stat(fs, found.name) != found:
                    raise VersionGone(
                        f"{naming.quoted(found.name)} was replaced.", found.name
                    )
                file.close()
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
        return open(path, "rb")


def _is_broken(exc: Exception) -> bool:
    # A wrong offset in an archive may lead to before its beginning.
    wrong_offset = isinstance(exc, OSError) and exc.errno == errno.EINVAL
    return wrong_offset or isinstance(exc, BROKEN)


def open_chained(url: str, config: Mapping[str, t.Any], open_inner: Open) -> Dialect:
    """The dialect for a ``STORE_PATH`` that is a chain.

    :param open_inner: opens the dialect of the URL behind.
    :raises NotConfiguredError: if the chain cannot be a store.
    """
    if url.startswith("zip:///"):
        url = url.replace("zip:///", "zip::file:///", 1)
    link = LINK.fullmatch(url)
    if link is None:
        raise NotConfiguredError(
            "STORE_PATH chains filesystems in a way that is not supported. Write"
            " 'zip::s3://bucket/archive.zip', 'zip:///folder/archive.zip' or"
            " 'simplecache::s3://bucket/folder', or the URL of the storage itself."
        )
    protocol, folder, target = link["protocol"], link["folder"] or "", link["url"]
    if protocol == "simplecache":
        options = options_in(config)
        where = options.pop("cache_storage", None)
        inner = open_inner(target, {**config, "STORE_OPTIONS": options})
        return SimpleCacheDialect(inner, where and os.path.abspath(where))
    place, _, name = target.rpartition("/")
    if not name or place.endswith(":/"):
        raise NotConfiguredError(
            "STORE_PATH names no archive. Write 'zip::s3://bucket/archive.zip' or"
            " 'zip:///folder/archive.zip'."
        )
    folder = naming.check(folder.strip("/")) if folder.strip("/") else ""
    return ZipDialect(folder, open_inner(f"{place}/" if place else ".", config), name)
