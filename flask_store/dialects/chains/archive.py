"""``zip::``: the files in an archive, which may be in any storage."""

from __future__ import annotations

import datetime as dt
import errno
import re
import stat
import struct
import typing as t
import zipfile
import zlib
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import unquote

import fsspec

from ... import media_types
from ... import naming
from ...exceptions import FileNotFound
from ...exceptions import InvalidName
from ...exceptions import NotConfiguredError
from ...exceptions import StoreDenied
from ...exceptions import StoreError
from .. import Dialect
from .. import first_of
from .. import Folder
from .. import Listed
from .. import Location
from .. import NO_CHAIN
from .. import Stat
from .. import Unreachable
from .. import utc
from ..spelling import CHAIN
from ..spelling import no_url
from ..urls import open_dialect
from . import ChainedDialect

#: 'zip::' or 'zip://folder::', and the URL of the archive.
LINK = re.compile(r"zip(?:://(?P<folder>[^:]*))?::(?P<url>.+)")

#: What zipfile and its decompressors raise for bytes that are not what they should be.
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    ValueError,
)


class ZipDialect(ChainedDialect):
    """The files in an archive, by the names in its directory.

    What no store would have is not there: a name that leads out, a link, a device.
    """

    is_known = True
    reason = (
        "an archive cannot take a file in one step. Save to another store, or unpack"
        " it and let STORE_PATH name the folder."
    )

    @classmethod
    def from_url(cls, url: str, config: Mapping[str, t.Any]) -> ZipDialect:
        if url.startswith("zip:///"):
            url = url.replace("zip:///", "zip::file:///", 1)
        link = LINK.fullmatch(url)
        if link is None:
            raise NotConfiguredError(NO_CHAIN)
        place, name = _divided(link["url"])
        folder = (link["folder"] or "").strip("/")
        folder = naming.check(folder) if folder else ""
        return cls(folder, open_dialect(place, config), name)

    def __init__(self, folder: str, inner: Dialect, name: str) -> None:
        self.name = name
        super().__init__(Location("zip", folder, {}), inner)

    @property
    def archive(self) -> str:
        """The URL of the archive."""
        return self.inner.url_of(self.name)

    @property
    def uri(self) -> str:
        return f"zip{self.root and '://'}{self.root}::{self.archive}"

    def uri_of(self, key: str) -> str:
        if CHAIN in key:
            raise no_url(key)
        return f"zip://{self.path(key)}::{self.inner.uri_of(self.name)}"

    def connect(self) -> fsspec.AbstractFileSystem:
        try:
            file = self.inner.open(self.name)
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
        fs.broken = False
        return fs

    def alive(self) -> bool:
        # What cannot be read may have been replaced: then it is opened anew.
        return not self.fs.broken and super().alive()

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        error = super().explain(exc, key)
        if error is None and _is_broken(exc):
            return StoreError(
                f"{naming.quoted(key)} cannot be unpacked from {self.archive}: {exc}."
                " Test the archive with: python -m zipfile -t",
                key,
            )
        return error

    def _member(self, key: str) -> zipfile.ZipInfo:
        try:
            info: zipfile.ZipInfo = self.fs.zip.getinfo(self.path(key))
        except KeyError as exc:
            raise FileNotFoundError(key) from exc
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.is_dir() or kind not in (0, stat.S_IFREG):
            raise FileNotFoundError(key)
        return info

    def info(self, key: str) -> Stat:
        info = self._member(key)
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

    def _opened(self, key: str) -> t.IO[bytes]:
        info = self._member(key)
        if info.flag_bits & 1:
            raise StoreDenied(
                f"{naming.quoted(key)} is encrypted in {self.archive}. Unpack the"
                " archive, or make one without a password.",
                key,
            )
        return t.cast("t.IO[bytes]", self.fs.zip.open(info))

    def _version(self, known: Stat, start: int, stop: int) -> Iterator[bytes]:
        left = stop - start
        try:
            for data in self._between(known.name, start, stop):
                left -= len(data)
                yield data
            if left > 0:  # of the sizes in a broken archive, not all are checked
                raise zipfile.BadZipFile(f"{left} bytes are missing")
        except Exception as exc:
            self.fs.broken = _is_broken(exc)
            raise

    def find(self, prefix: str) -> Iterator[Stat]:
        for key in self._keys(prefix):
            with suppress(FileNotFoundError):
                yield self.info(key)

    def ls(self, prefix: str) -> Iterator[Listed]:
        skip, folders = len(prefix) + bool(prefix), set()
        for key in self._keys(prefix):
            name, slash, _ = key[skip:].partition("/")
            if slash:
                folders.add(f"{key[:skip]}{name}")
                continue
            with suppress(FileNotFoundError):
                yield self.info(key)
        yield from map(Folder, sorted(folders))

    def _keys(self, prefix: str) -> Iterator[str]:
        """The keys below a folder that a store could have."""
        folder = self.path(prefix) if prefix else self.root
        start, skip = f"{folder}/" if folder else "", len(self.root) + bool(self.root)
        for name in sorted(set(self.fs.zip.namelist())):
            if name.startswith(start):
                with suppress(InvalidName):
                    yield naming.check(name[skip:])

    def first_page(self, prefix: str) -> tuple[list[Stat | Unreachable], bool]:
        return first_of(self.find(prefix))


def _divided(url: str) -> tuple[str, str]:
    """The URL of the folder in which an archive is, and the archive's name.

    :raises NotConfiguredError: if the URL names none.
    """
    query = ""
    is_http = url.lower().startswith(("http://", "https://"))
    if is_http:  # there a '?' begins what goes with every request
        url, mark, query = url.partition("?")
        query = mark + query
    name = url.rpartition("/")[2]
    place = url.removesuffix(name)
    if not name or place.endswith("://"):
        raise NotConfiguredError(
            "STORE_PATH names no archive. Write 'zip::s3://bucket/archive.zip' or"
            " 'zip:///folder/archive.zip'."
        )
    # Nor is '%' a character of a name there.
    return (place or ".") + query, unquote(name) if is_http else name


def _is_broken(exc: Exception) -> bool:
    # A wrong offset in an archive may lead to before its beginning.
    wrong_offset = isinstance(exc, OSError) and exc.errno == errno.EINVAL
    return wrong_offset or isinstance(exc, BROKEN)
