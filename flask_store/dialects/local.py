"""``file://`` and plain paths: the local disk."""

from __future__ import annotations

import errno
import io
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
from ..exceptions import StoreDenied
from ..exceptions import StoreError
from ..exceptions import StoreUnavailable
from ..sources import CHUNK
from ..sources import Source
from ..unnamed import BINARY
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
from . import NOT_A_FILE
from . import options_in
from . import Span
from . import Stat
from . import switch_in
from . import Unreachable
from . import utc
from .bodies import FilePart
from .errors import explained
from .errors import version_gone
from .records import bounds

if t.TYPE_CHECKING:
    from ..claims import Claim

#: What link(2) answers on a filesystem without hard links, such as FAT.
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
#: What open(2) answers for a socket, and for a device without a driver.
NO_DATA = (errno.ENXIO, errno.ENODEV)
#: The folder that ext2, ext3 and ext4 keep in the root of a disk, for root alone.
LOST_AND_FOUND = "lost+found"
LEADS_OUT = (
    "leads outside the store through a symbolic link. Move the files into STORE_PATH,"
    " or give their folder a store of its own."
)
GONE = (
    "STORE_PATH {!r} is not there any more: {}. If its disk is not mounted, mount it;"
    " nothing is stored or looked for below the mount point until then."
)


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
        #: The disk that the root was on when this process last saw it.
        self._device: int | None = None

    @classmethod
    def locate(cls, url: str, config: Mapping[str, t.Any]) -> Location:
        root = url
        if "://" in url:
            parts = urlsplit(url)
            if parts.netloc:
                host = parts.netloc.rpartition("@")[2]
                raise NotConfiguredError(
                    f"STORE_PATH {url!r} names a host where a path on disk belongs."
                    f" Write three slashes: 'file:///{host}{parts.path}'."
                )
            root = parts.path
        options = options_in(config)
        options["fsync"] = switch_in(config, "STORE_FSYNC", True)
        return Location("file", os.path.abspath(root), options)

    @property
    def uri(self) -> str:
        return f"file://{self.root}"

    def path(self, key: str, *, follow: bool = True) -> str:
        self._check_root()
        path = os.path.join(self.root, *key.split("/"))
        if self._leads_out(key, follow):
            raise InvalidName(f"{naming.quoted(key)} {LEADS_OUT}", key)
        return path

    def _check_root(self) -> None:
        """Every operation passes here, before anything is looked for or made.

        :raises StoreUnavailable: if the root was there and is gone, or is another disk
            on which no store was.
        """
        known = self._device  # before looking: another thread may make the root now
        try:
            found = os.stat(self.root)
        except (FileNotFoundError, NotADirectoryError) as exc:
            if known is None:
                return
            raise StoreUnavailable(GONE.format(self.root, exc.strerror)) from exc
        if found.st_dev != known:
            # The folder of a store that was looked at only lacks the private one.
            if known is not None and not os.path.isdir(self._private):
                raise StoreUnavailable(GONE.format(self.root, "it is on another disk"))
            self._device = found.st_dev

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
        :raises StoreUnavailable: if ``STORE_PATH`` is not there any more.
        """
        try:
            return self._made()
        except NotADirectoryError as exc:
            raise NotConfiguredError(
                f"STORE_PATH {self.root!r} is, or lies below, a file. It must be a"
                " folder; it is made if it is missing."
            ) from exc

    def _made(self) -> Unnamed:
        if not self._nameless:
            # A private folder would make another disk look like the store's.
            self._check_root()
        try:
            return self._new()
        except FileNotFoundError:
            self._check_root()
            make_folders(self.root, self._fsync)
            self._check_root()
            return self._new()

    def _new(self) -> Unnamed:
        if self._nameless is None:
            self._nameless = probe(self.root, self._private, False)
        return Unnamed(
            self.root, self._private, self._nameless, self._fsync, make=False
        )

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
            source.write_into(file)
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
                make_folders(folder, self._fsync)
                give_name(staged, path)
        except OSError as exc:
            if exc.errno in (errno.ENOTDIR, errno.ELOOP):
                key = os.path.relpath(folder, self.root).replace(os.sep, "/")
                message = DESTINATION_IS_FILE.format(naming.quoted(key))
                raise FileExists(message, key) from exc
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

    def adopt(self, fs: fsspec.AbstractFileSystem, claim: Claim, staged: Stat) -> None:
        old, new = self.path(claim.staged), self.path(claim.key, follow=False)
        folder = os.path.dirname(new)
        try:
            try:
                os.link(old, new)
            except FileNotFoundError:
                os.stat(old)
                make_folders(folder, self._fsync)
                os.link(old, new)
        except FileExistsError:
            # Perhaps by a call that was cut off before the name was safe.
            if not os.path.samefile(old, new):
                raise
        except NotADirectoryError as exc:
            key = claim.key.rpartition("/")[0]
            raise FileExists(
                DESTINATION_IS_FILE.format(naming.quoted(key)), key
            ) from exc
        except OSError as exc:
            if exc.errno not in (errno.EXDEV, *NO_LINKS):
                raise
            super().adopt(fs, claim, staged)
            return
        if self._fsync:
            sync_folder(folder)

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
        file, opened = self._open_file(key)
        if found is not None and opened.etag != found.etag:
            file.close()
            raise version_gone(key)
        where = bounds(span, opened.size)
        if where is None:
            file.close()
            return None
        return Fetched(opened, *where, FilePart(file, *where))

    def open(self, fs: fsspec.AbstractFileSystem, key: str) -> t.IO[bytes]:
        return self._open_file(key)[0]

    def _open_file(self, key: str) -> tuple[t.BinaryIO, Stat]:
        file: t.BinaryIO = io.BufferedReader(
            DiskFile(self.path(key), key, self.explain)
        )
        try:
            return file, _described(os.fstat(file.fileno()), key)
        except BaseException:
            file.close()
            raise

    def on_disk(self, key: str) -> str:
        return os.path.realpath(self.path(key))

    def walk(
        self, fs: fsspec.AbstractFileSystem, prefix: str
    ) -> Iterator[Stat | Unreachable]:
        # In the order of the disk: to sort a folder is to read all of it first.
        self._check_root()
        folders = [(prefix, self.path(prefix) if prefix else self.root)]
        while folders:
            folder, path = folders.pop()
            for entry in self._entries(folder, path):
                if entry.name == naming.STAGING:
                    continue
                key = f"{folder}/{entry.name}" if folder else entry.name
                found = self._listed(key, entry)
                if found is None:
                    continue
                if isinstance(found, str):
                    folders.append((key, found))
                else:
                    yield found
        # With its disk every folder would have vanished, and none was an error.
        self._check_root()

    def _entries(self, folder: str, path: str) -> Iterator[os.DirEntry[str]]:
        """What is in a folder, as it is read; nothing if it has vanished.

        :raises StoreError: if it cannot be read.
        """
        try:
            with os.scandir(path) as entries:
                yield from entries
        except OSError as exc:
            if isinstance(exc, NOT_A_FILE) or exc.errno == errno.ELOOP:
                return
            if isinstance(exc, PermissionError) and self._is_lost_and_found(path):
                return
            raise self._unlisted(exc, folder) from exc

    def _is_lost_and_found(self, path: str) -> bool:
        parent, name = os.path.split(path)
        return name == LOST_AND_FOUND and (
            parent == self.root or os.path.ismount(parent)
        )

    def _listed(
        self, key: str, entry: os.DirEntry[str]
    ) -> Stat | Unreachable | str | None:
        """What an entry of a folder is: a file, something that no key leads to, the
        path of a folder, or ``None`` for what is none of these."""
        try:
            # Unlike fsspec's, it does not follow a link out of the store.
            if entry.is_dir(follow_symlinks=False):
                problem = naming.problem(key)
                return Unreachable(key, problem) if problem else entry.path
            if not entry.is_symlink():
                # Not entry.stat(), which knows no inode on Windows.
                return _described(os.lstat(entry.path), key)
            if self._leads_out(key, follow=True):
                return Unreachable(key, LEADS_OUT)
            return _described(os.stat(entry.path), key)
        except OSError as exc:
            # It has vanished, or is a pipe, a device, or a link that leads nowhere.
            if isinstance(exc, NOT_A_FILE) or exc.errno == errno.ELOOP:
                return None
            raise self._unlisted(exc, key) from exc

    def _unlisted(self, exc: OSError, key: str) -> StoreError:
        """The error for a listing that would not be whole."""
        explained = self.explain(exc, key)
        kind: type[StoreError] = StoreError
        if isinstance(explained, StoreDenied | StoreUnavailable):
            kind = type(explained)
        return kind(
            f"The listing would lack {naming.quoted(key or self.root)}, which cannot"
            f" be read ({exc.strerror}). Check its permissions and its disk, or move it"
            " out of the store.",
            key,
        )

    def is_one_file(self, fs: fsspec.AbstractFileSystem, old: str, new: str) -> bool:
        return os.path.samefile(old, new)

    def first_page(
        self, fs: fsspec.AbstractFileSystem, prefix: str
    ) -> tuple[list[Stat | Unreachable], bool]:
        files, more = first_of(self.walk(fs, prefix))
        return sorted(files, key=lambda found: found.name), more

    def delete(self, fs: fsspec.AbstractFileSystem, key: str) -> None:
        path = self.path(key, follow=False)
        os.remove(path)
        if self._fsync:  # or it would be there again after a cut of the power
            sync_folder(os.path.dirname(path))

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        error = explained(exc, key, self.settings)
        if error is None and isinstance(exc, OSError):
            return StoreError(
                f"The disk refuses {naming.quoted(key)}: {exc.strerror or exc}. Check"
                " it, and the system's log.",
                key,
            )
        return error or super().explain(exc, key)


class DiskFile(io.FileIO):
    """A file on disk, of which what goes wrong while it is read is explained.

    :param explain: makes a :exc:`StoreError` of an error and the key.
    """

    def __init__(
        self,
        path: str,
        key: str,
        explain: t.Callable[[Exception, str], StoreError | None],
    ) -> None:
        self._descriptor = _open_at_once(path)
        # FileIO would warn of one that nobody has closed. Files of other stores do not.
        super().__init__(self._descriptor, "rb", closefd=False)
        self.name: str = path
        self._key = key
        self._explain = explain

    def close(self) -> None:
        if not self.closed:
            super().close()
            with suppress(OSError):  # nothing is lost of a file that was only read
                os.close(self._descriptor)

    def readinto(self, buffer: t.Any) -> int | None:
        try:
            return super().readinto(buffer)
        except OSError as exc:
            raise (self._explain(exc, self._key) or exc) from exc

    def readall(self) -> bytes:
        try:
            return super().readall()
        except OSError as exc:
            raise (self._explain(exc, self._key) or exc) from exc


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


def _open_at_once(path: str) -> int:
    try:
        # A pipe in the folder would be waited for, for ever.
        return os.open(path, os.O_RDONLY | BINARY | getattr(os, "O_NONBLOCK", 0))
    except OSError as exc:
        if exc.errno in NO_DATA:
            raise FileNotFoundError(exc.errno, exc.strerror, path) from exc
        raise


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
