"""``file://`` and plain paths: the local disk."""

from __future__ import annotations

import errno
import os
import stat
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from contextlib import suppress
from urllib.parse import urlsplit

import fsspec

from .. import media_types
from .. import naming
from ..exceptions import FileExists
from ..exceptions import InvalidName
from ..exceptions import NotConfiguredError
from ..exceptions import VersionGone
from ..sources import CHUNK
from ..sources import Source
from ..unnamed import make_folders
from ..unnamed import MODE
from ..unnamed import probe
from ..unnamed import sync_folder
from ..unnamed import Unnamed
from . import DESTINATION_IS_FILE
from . import Dialect
from . import Fetched
from . import first_of
from . import Location
from . import options_in
from . import Span
from . import Stat
from . import switch_in
from . import Unreachable
from . import utc
from .bodies import FilePart

#: What link(2) answers on a filesystem without hard links, such as FAT.
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class LocalDialect(Dialect):
    """A file without a name, on the same disk, gets one by ``link``.

    ``link`` refuses a name that is taken and shows the file whole or not at all
    (POSIX.1-2017, link()), also over NFS.
    """

    protocols = ("file", "local")
    settings = "STORE_PATH"
    plain_files = True

    def __init__(self, location: Location) -> None:
        options = dict(location.options)
        self._fsync = bool(options.pop("fsync", True))
        super().__init__(Location("file", location.root, options))
        self._nameless: bool | None = None
        self._links: bool | None = None

    @classmethod
    def locate(cls, url: str, config: Mapping[str, t.Any]) -> Location:
        root = url
        if "://" in url:
            parts = urlsplit(url)
            if parts.netloc:
                raise NotConfiguredError(
                    f"STORE_PATH {url!r} names a host where a path on disk belongs."
                    f" Write three slashes: 'file:///{parts.netloc}{parts.path}'."
                )
            root = parts.path
        options = options_in(config)
        options["fsync"] = switch_in(config, "STORE_FSYNC", True)
        return Location("file", os.path.abspath(root), options)

    @property
    def uri(self) -> str:
        return f"file://{self.root}"

    def path(self, key: str, *, follow: bool = True) -> str:
        path = os.path.join(self.root, *key.split("/"))
        if self._leads_out(key, follow):
            raise InvalidName(
                f"{naming.quoted(key)} leads outside the store through a symbolic"
                " link. Move the files into STORE_PATH, or give their folder a store"
                " of its own.",
                key,
            )
        return path

    def _leads_out(self, key: str, follow: bool) -> bool:
        # What has no link below the root cannot lead out of it, wherever the root
        # may lead itself.
        path, linked = self.root, False
        parts = key.split("/")
        for part in parts if follow else parts[:-1]:
            path = os.path.join(path, part)
            linked = linked or os.path.islink(path)
        if not linked:
            return False
        end, root = os.path.realpath(path), os.path.realpath(self.root)
        return end != root and not end.startswith(os.path.join(root, ""))

    # -- writing -------------------------------------------------------------

    def unnamed(self) -> Unnamed:
        """A new file on the disk of the store, for an upload that arrives.

        :raises OSError: if none can be made.
        :raises NotConfiguredError: if ``STORE_PATH`` is no folder.
        """
        try:
            if self._nameless is None:
                self._nameless = probe(self.root, self._private)
            return Unnamed(self.root, self._private, self._nameless, self._fsync)
        except NotADirectoryError as exc:
            raise NotConfiguredError(
                f"STORE_PATH {self.root!r} is, or lies below, a file. It must be a"
                " folder; it is made if it is missing."
            ) from exc

    @contextmanager
    def stage(self, fs: fsspec.AbstractFileSystem, source: Source) -> Iterator[Unnamed]:
        file = source.unnamed(self.root)
        # What was received for the spool is too private for the web server.
        if file is not None and file.mode == MODE:
            self._sync(file)
            yield file
            return
        file = self.unnamed()
        try:
            for data in source.chunks():
                file.write(data)
            self._sync(file)
            yield file
        finally:
            file.close()

    def _sync(self, file: Unnamed) -> None:
        # Not for the file to say: another store may have received it.
        if self._fsync:
            file.sync()

    @property
    def _private(self) -> str:
        # No key leads here, so that path() would refuse it.
        return os.path.join(self.root, naming.STAGING)

    def exclusive(self, fs: fsspec.AbstractFileSystem, staged: Unnamed) -> bool:
        if self._links is None:
            self._links = staged.name is None or _can_link(staged.name)
        return self._links

    def create(
        self,
        fs: fsspec.AbstractFileSystem,
        staged: Unnamed,
        path: str,
        content_type: str,
    ) -> None:
        self._publish(Unnamed.link, staged, path)

    def replace(
        self,
        fs: fsspec.AbstractFileSystem,
        staged: Unnamed,
        path: str,
        content_type: str,
    ) -> None:
        self._publish(Unnamed.replace, staged, path)

    def _publish(
        self, give_name: t.Callable[[Unnamed, str], None], staged: Unnamed, path: str
    ) -> None:
        folder = os.path.dirname(path)
        try:
            try:
                give_name(staged, path)
            except FileNotFoundError:
                make_folders(folder)
                give_name(staged, path)
        except NotADirectoryError as exc:
            key = os.path.relpath(folder, self.root).replace(os.sep, "/")
            message = DESTINATION_IS_FILE.format(naming.quoted(key))
            raise FileExists(message, key) from exc
        except OSError as exc:
            if exc.errno != errno.EXDEV:
                raise
            self._publish_there(give_name, staged, path)
        if self._fsync:
            sync_folder(folder)

    def _publish_there(
        self, give_name: t.Callable[[Unnamed, str], None], staged: Unnamed, path: str
    ) -> None:
        """Publish in a folder of the store that is a disk of its own."""
        folder = os.path.dirname(path)
        private = os.path.join(folder, naming.STAGING)
        near = Unnamed(folder, private, probe(folder, private), self._fsync)
        try:
            with open(staged.fd, "rb", closefd=False) as source:
                source.seek(0)
                while data := source.read(CHUNK):
                    near.write(data)
            self._sync(near)
            give_name(near, path)
        finally:
            near.close()

    # -- reading -------------------------------------------------------------

    def stat(self, fs: fsspec.AbstractFileSystem, key: str) -> Stat:
        return _described(os.stat(self.path(key)), key)

    def get(
        self,
        fs: fsspec.AbstractFileSystem,
        key: str,
        span: Span | None = None,
        found: Stat | None = None,
    ) -> Fetched | None:
        file = open(self.path(key), "rb", opener=_open_at_once)
        try:
            opened = _described(os.fstat(file.fileno()), key)
            if found is not None and opened.etag != found.etag:
                raise VersionGone(f"{naming.quoted(key)} was replaced.", key)
        except BaseException:
            file.close()
            raise
        start, stop = span.within(opened.size) if span else (0, opened.size)
        if span and start >= stop:
            file.close()
            return None
        return Fetched(opened, start, stop, FilePart(file, start, stop))

    def on_disk(self, key: str) -> str:
        return os.path.realpath(self.path(key))

    def walk(
        self, fs: fsspec.AbstractFileSystem, prefix: str
    ) -> Iterator[Stat | Unreachable]:
        # In the order of the disk: to sort a folder is to read all of it first.
        folders = [(prefix, self.path(prefix) if prefix else self.root)]
        while folders:
            folder, path = folders.pop()
            for entry in _entries(path):
                key = f"{folder}/{entry.name}" if folder else entry.name
                # Unlike fsspec's, it does not follow a link out of the store.
                if not entry.is_dir(follow_symlinks=False):
                    with suppress(FileNotFoundError, InvalidName):
                        yield self._listed(fs, key, entry)
                elif entry.name != naming.STAGING:
                    folders.append((key, entry.path))

    def _listed(
        self, fs: fsspec.AbstractFileSystem, key: str, entry: os.DirEntry[str]
    ) -> Stat:
        if entry.is_symlink():
            return self.stat(fs, key)
        # Not entry.stat(), which knows no inode on Windows.
        return _described(os.lstat(entry.path), key)

    def is_one_file(self, fs: fsspec.AbstractFileSystem, old: str, new: str) -> bool:
        return os.path.samefile(old, new)

    def first_page(
        self, fs: fsspec.AbstractFileSystem, prefix: str
    ) -> tuple[list[Stat | Unreachable], bool]:
        files, more = first_of(self.walk(fs, prefix))
        return sorted(files, key=lambda found: found.name), more


def _entries(path: str) -> Iterator[os.DirEntry[str]]:
    """What is in a folder, as it is read; nothing if it cannot be."""
    try:
        entries = os.scandir(path)
    except OSError:
        return
    with entries:
        yield from entries


def _described(found: os.stat_result, key: str) -> Stat:
    if not stat.S_ISREG(found.st_mode):
        raise FileNotFoundError(key)
    return Stat(
        name=key,
        size=found.st_size,
        modified=utc(found.st_mtime),
        etag=_version(found),
        content_type=media_types.content_type(key),
    )


def _open_at_once(path: str, flags: int) -> int:
    # A pipe in the folder would be waited for, for ever.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _version(found: os.stat_result) -> str:
    return f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"


def _can_link(staged: str) -> bool:
    second = f"{staged}.link"
    try:
        os.link(staged, second)
    except OSError as exc:
        if exc.errno in NO_LINKS:
            return False
        raise
    os.unlink(second)
    return True
