"""``file://`` and plain paths: the local disk."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from contextlib import suppress
from urllib.parse import urlsplit

import fsspec
import shortuuid

from .. import media_types
from .. import naming
from ..bodies import FilePart
from ..exceptions import FileExists
from ..exceptions import InvalidName
from ..exceptions import NotConfiguredError
from ..exceptions import VersionGone
from ..sources import CHUNK
from ..sources import Source
from . import DESTINATION_IS_FILE
from . import Dialect
from . import first_of
from . import Location
from . import options_in
from . import Stat
from . import utc

#: What link(2) answers on a filesystem without hard links, such as FAT.
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class LocalDialect(Dialect):
    """A staged file on the same disk gets its name by ``link``.

    ``link`` refuses a name that is taken and shows the file whole or not at all
    (POSIX.1-2017, link()), also over NFS.
    """

    protocols = ("file", "local")
    settings = "STORE_PATH"

    def __init__(self, location: Location) -> None:
        super().__init__(location)
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
        return Location("file", os.path.abspath(root), options_in(config))

    @property
    def uri(self) -> str:
        return f"file://{self.root}"

    def path(self, key: str, *, follow: bool = True) -> str:
        path = os.path.join(self.root, *key.split("/"))
        end = os.path.realpath(path if follow else os.path.dirname(path))
        root = os.path.realpath(self.root)
        if end != root and not end.startswith(os.path.join(root, "")):
            raise InvalidName(
                f"{naming.quoted(key)} leads outside the store through a symbolic"
                " link. Move the files into STORE_PATH, or give their folder a store"
                " of its own.",
                key,
            )
        return path

    # -- writing -------------------------------------------------------------

    @contextmanager
    def stage(self, fs: fsspec.AbstractFileSystem, source: Source) -> Iterator[str]:
        path = self._staging_path()
        try:
            with _new_file(path) as file:
                for data in source.chunks():
                    file.write(data)
                # Without it a power cut may leave the name and not the bytes.
                file.flush()
                os.fsync(file.fileno())
            yield path
        finally:
            with suppress(FileNotFoundError):
                os.unlink(path)

    def _staging_path(self) -> str:
        # No key leads here, so that path() would refuse it.
        folder = os.path.join(self.root, naming.STAGING)
        try:
            _make_folders(folder)
        except (FileExistsError, NotADirectoryError) as exc:
            raise NotConfiguredError(
                f"STORE_PATH {self.root!r} is, or lies below, a file. It must be a"
                " folder; it is made if it is missing."
            ) from exc
        return os.path.join(folder, f"{shortuuid.uuid()}.part")

    def exclusive(self, fs: fsspec.AbstractFileSystem, staged: str) -> bool:
        if self._links is None:
            self._links = _can_link(staged)
        return self._links

    def create(
        self, fs: fsspec.AbstractFileSystem, staged: str, path: str, content_type: str
    ) -> None:
        self._publish(os.link, staged, path)

    def replace(
        self, fs: fsspec.AbstractFileSystem, staged: str, path: str, content_type: str
    ) -> None:
        self._publish(os.replace, staged, path)

    def _publish(
        self, give_name: t.Callable[[str, str], None], staged: str, path: str
    ) -> None:
        self._ready(path)
        try:
            give_name(staged, path)
        except OSError as exc:
            if exc.errno != errno.EXDEV:
                raise
            # A folder of the store is a disk of its own: stage again over there.
            with _restaged(staged, path) as near:
                give_name(near, path)
        _sync_folder(os.path.dirname(path))

    def _ready(self, path: str) -> None:
        folder = os.path.dirname(path)
        try:
            _make_folders(folder)
        except (FileExistsError, NotADirectoryError) as exc:
            key = os.path.relpath(folder, self.root).replace(os.sep, "/")
            message = DESTINATION_IS_FILE.format(naming.quoted(key))
            raise FileExists(message, key) from exc

    # -- reading -------------------------------------------------------------

    def stat(self, fs: fsspec.AbstractFileSystem, key: str) -> Stat:
        found = os.stat(self.path(key))
        if not stat.S_ISREG(found.st_mode):
            raise FileNotFoundError(key)
        return Stat(
            name=key,
            size=found.st_size,
            modified=utc(found.st_mtime),
            etag=_version(found),
            content_type=media_types.content_type(key),
        )

    def stream_version(
        self, fs: fsspec.AbstractFileSystem, found: Stat, start: int, stop: int
    ) -> FilePart:
        file = open(self.path(found.name), "rb")
        if _version(os.fstat(file.fileno())) != found.etag:
            file.close()
            raise VersionGone(f"{naming.quoted(found.name)} was replaced.", found.name)
        return FilePart(file, start, stop)

    def on_disk(self, key: str) -> str:
        return os.path.realpath(self.path(key))

    def walk(self, fs: fsspec.AbstractFileSystem, prefix: str) -> Iterator[Stat]:
        # Unlike fsspec's, os.walk does not follow a link out of the store.
        for folder, folders, files in os.walk(self.path(prefix or ".")):
            folders[:] = sorted(set(folders) - {naming.STAGING})
            for name in sorted(files):
                path = os.path.relpath(os.path.join(folder, name), self.root)
                with suppress(FileNotFoundError, InvalidName):
                    yield self.stat(fs, path.replace(os.sep, "/"))

    def first_page(
        self, fs: fsspec.AbstractFileSystem, prefix: str
    ) -> tuple[list[Stat], bool]:
        return first_of(self.walk(fs, prefix))


def _version(found: os.stat_result) -> str:
    return f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"


def _new_file(path: str) -> t.BinaryIO:
    # The mode is a normal file's under the umask; tempfile would make it private,
    # and then the web server beside us could not read it.
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb")


def _make_folders(folder: str) -> None:
    """Like ``os.makedirs``, with one mode for every folder that is made."""
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(folder)
    if parent != folder:
        _make_folders(parent)
    try:
        os.mkdir(folder, 0o755)
    except FileExistsError:
        if not os.path.isdir(folder):
            raise


def _can_link(staged: str) -> bool:
    probe = f"{staged}.link"
    try:
        os.link(staged, probe)
    except OSError as exc:
        if exc.errno in NO_LINKS:
            return False
        raise
    os.unlink(probe)
    return True


@contextmanager
def _restaged(staged: str, path: str) -> Iterator[str]:
    folder = os.path.join(os.path.dirname(path), naming.STAGING)
    near = os.path.join(folder, os.path.basename(staged))
    _make_folders(folder)
    try:
        with open(staged, "rb") as source, _new_file(near) as target:
            shutil.copyfileobj(source, target, CHUNK)
            target.flush()
            os.fsync(target.fileno())
        yield near
    finally:
        with suppress(FileNotFoundError):
            os.unlink(near)


def _sync_folder(folder: str) -> None:
    # The name itself has to survive a power cut too. Windows has no such call.
    if os.name == "posix":
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
