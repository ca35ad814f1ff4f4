"""``file://`` and plain paths: the local disk."""

from __future__ import annotations

import datetime as dt
import errno
import io
import os
import stat
import sys
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from contextlib import ExitStack
from contextlib import suppress
from urllib.parse import urlsplit

from .. import media_types
from .. import naming
from ..exceptions import FileExists
from ..exceptions import InvalidName
from ..exceptions import NotConfiguredError
from ..exceptions import StoreDenied
from ..exceptions import StoreError
from ..exceptions import StoreUnavailable
from ..secrecy import Options
from ..uploads.copying import OnDisk
from ..uploads.disk import BINARY
from ..uploads.disk import FOLLOWS
from ..uploads.disk import is_ordered
from ..uploads.disk import make_folders
from ..uploads.disk import NO_LINKS
from ..uploads.disk import probe
from ..uploads.disk import sync_name
from ..uploads.disk import Unnamed
from ..uploads.modes import Modes
from ..uploads.source import CHUNK
from ..uploads.source import Source
from . import DESTINATION_IS_FILE
from . import Dialect
from . import Fetched
from . import first_of
from . import Folder
from . import IS_FOLDER
from . import Listed
from . import Location
from . import Mode
from . import NOT_A_FILE
from . import NotByStorage
from . import Original
from . import Span
from . import Stat
from . import Unreachable
from .bodies import bounds
from .bodies import FilePart
from .errors import explained
from .errors import version_gone
from .folders import hold
from .folders import hold_folder
from .folders import LEADS_OUT
from .folders import leads_out
from .folders import Place
from .growing import GrowingFile
from .spelling import CHAIN
from .spelling import MEANINGFUL
from .spelling import no_url

#: What open(2) answers for a socket, and for a device without a driver.
NO_DATA = (errno.ENXIO, errno.ENODEV)
#: What a file is opened with.
OPEN = (
    os.O_RDONLY | BINARY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
)
#: The folder that ext2, ext3 and ext4 keep in the root of a disk, for root alone.
LOST_AND_FOUND = "lost+found"
#: Whether a date can only be set of what a symbolic link leads to.
FOLLOWED = os.utime not in os.supports_follow_symlinks
GONE = (
    "STORE_PATH {!r} is not there any more: {}. If its disk is not mounted, mount it;"
    " nothing is stored or looked for below the mount point until then."
)


class LocalDialect(Dialect):
    """A file without a name, on the same disk, gets one by ``link``.

    ``link`` refuses a name that is taken and shows the file whole or not at all
    (POSIX.1-2017, link()), also over NFS.
    """

    is_known = True
    settings = "STORE_PATH"
    plain_files = True

    def __init__(self, location: Location) -> None:
        options = dict(location.options)
        self._fsync = bool(options.pop("fsync", True))
        self._modes = Modes(
            options.pop("file_mode", None), options.pop("folder_mode", None)
        )
        super().__init__(Location("file", location.root, options))
        # No key leads here, so that path() would refuse it.
        self._private = os.path.join(self.root, naming.STAGING)
        #: What is there as long as the disk is. A private store lies in the folder of
        #: another store, and may be removed to free its space.
        self._base = self.root.partition(f"{os.sep}{naming.STAGING}{os.sep}")[0]
        self._base = self._base or os.sep
        self._nameless: bool | None = None
        self._ordered = False
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
            root = url.partition("://")[2]  # as fsspec reads it, with '#' and '?'
        options = Options(config["STORE_OPTIONS"])
        options["fsync"] = config["STORE_FSYNC"]
        options["file_mode"] = config["STORE_FILE_MODE"]
        options["folder_mode"] = config["STORE_FOLDER_MODE"]
        return Location("file", os.path.abspath(root), options)

    @property
    def uri(self) -> str:
        return f"file://{self.root}"

    def url_of(self, key: str) -> str:
        path = f"{self.root}/{key}"
        # pandas and pyarrow decode a file:// URL (RFC 8089), and fsspec does not. Of a
        # path they all take every character as it is.
        return path if MEANINGFUL.intersection(path) else f"file://{path}"

    def uri_of(self, key: str) -> str:
        url = self.url_of(key)
        if CHAIN in url:
            raise no_url(key)
        return url

    def object_store_options(self) -> dict[str, str]:
        return {}  # a path says it all

    def path(self, key: str, *, follow: bool = True) -> str:
        # Every operation looks again, when it opens the folders.
        self._check_root()
        path = os.path.join(self.root, *key.split("/"))
        if leads_out(self.root, key, follow):
            raise InvalidName(f"{naming.quoted(key)} {LEADS_OUT}", key)
        return path

    def _check_root(self) -> None:
        """Every operation passes here, before anything is looked for or made.

        :raises StoreUnavailable: if the root was there and is gone, or is another disk
            on which no store was.
        """
        known = self._device  # before looking: another thread may make the root now
        try:
            found = os.stat(self._base)
        except (FileNotFoundError, NotADirectoryError) as exc:
            if known is None:
                return
            raise StoreUnavailable(GONE.format(self._base, exc.strerror)) from exc
        if found.st_dev != known:
            # The folder of a store that was looked at only lacks the private one.
            private = os.path.join(self._base, naming.STAGING)
            if known is not None and not os.path.isdir(private):
                raise StoreUnavailable(GONE.format(self._base, "it is on another disk"))
            if known is not None:  # nothing is known of this disk
                self._nameless, self._ordered = None, False
            self._device = found.st_dev

    def _key(self, path: str) -> str:
        """The key of a path that :meth:`path` gave."""
        return path[len(os.path.join(self.root, "")) :].replace(os.sep, "/")

    # -- writing -------------------------------------------------------------

    def unnamed(self) -> Unnamed:
        """A new file on the disk of the store, for an upload that arrives.

        :raises OSError: if none can be made.
        :raises NotConfiguredError: if ``STORE_PATH`` is no folder.
        :raises StoreUnavailable: if ``STORE_PATH`` is not there any more.
        """
        try:
            if not self._nameless:
                # A private folder would make another disk look like the store's.
                self._check_root()
            try:
                return self._new()
            except FileNotFoundError:
                self._check_root()
                make_folders(self.root, self._modes, self._fsync)
                self._check_root()
                return self._new()
        except NotADirectoryError as exc:
            raise NotConfiguredError(
                f"STORE_PATH {self.root!r} is, or lies below, a file. It must be a"
                " folder; it is made if it is missing."
            ) from exc

    def _new(self) -> Unnamed:
        if self._nameless is None:
            self._ordered = is_ordered(self.root)
            self._nameless = probe(self.root, self._private, False, modes=self._modes)
        return Unnamed(
            self.root,
            self._private,
            self._nameless,
            self._fsync,
            self._modes,
            make=False,
            ordered=self._ordered,
        )

    @contextmanager
    def stage(self, source: Source) -> Iterator[Unnamed]:
        file = source.unnamed(self.root)
        # What was received for the spool is too private for the web server.
        if file is not None and file.modes.file == self._modes.file:
            # Not for the file to say: another store may have received it.
            if self._fsync:
                file.sync()
            yield file
            return
        file = self.unnamed()
        try:
            source.write_into(file)
            if self._fsync:
                file.sync()
            yield file
        finally:
            file.close()

    def exclusive(self, staged: Unnamed | Linked) -> bool:
        if self._links is None:
            self._links = staged.can_link()
        return self._links

    def put_file(
        self, staged: Unnamed | Linked, key: str, content_type: str, mode: Mode
    ) -> None:
        give_name = staged.link if mode == "create" else staged.replace
        self._check_root()
        try:
            with hold(self.root, key, make=self._modes, durable=self._fsync) as place:
                try:
                    give_name(place.name, place.folder)
                    in_one = staged.ordered
                except OSError as exc:
                    if exc.errno != errno.EXDEV or isinstance(staged, Linked):
                        raise
                    self._publish_there(mode, staged, place)
                    in_one = False
                if self._fsync and not in_one:
                    sync_name(place.path, place.folder)
        except FileExistsError:
            raise
        except OSError as exc:
            self._check_folder(exc, key)
            raise

    def _check_folder(self, exc: OSError, key: str) -> None:
        """See whether the folder of a new file is to blame for an error.

        :raises FileExists: if it is, or lies below, a file; or if the file itself would
            replace a folder.
        :raises StoreUnavailable: if the whole store is gone.
        """
        if exc.errno == errno.EISDIR:
            raise FileExists(IS_FOLDER.format(naming.quoted(key)), key) from exc
        if isinstance(exc, FileNotFoundError):
            self._check_root()
        elif exc.errno in (errno.ENOTDIR, errno.ELOOP):
            folder = key.rpartition("/")[0]
            message = DESTINATION_IS_FILE.format(naming.quoted(folder))
            raise FileExists(message, folder) from exc

    def _publish_there(self, mode: Mode, staged: Unnamed, place: Place) -> None:
        """Publish in a folder of the store that is a disk of its own."""
        within = place.folder
        folder = os.path.dirname(place.path) if within is None else "."
        private = os.path.join(folder, naming.STAGING)
        nameless = probe(folder, private, False, within, self._modes)
        near = Unnamed(
            folder,
            private,
            nameless,
            self._fsync,
            self._modes,
            make=False,
            within=within,
        )
        try:
            with open(staged.fd, "rb", closefd=False) as source:
                source.seek(0)
                while data := source.read(CHUNK):
                    near.write(data)
            if self._fsync:
                near.sync()
            give_name = near.link if mode == "create" else near.replace
            give_name(place.name, within)
        finally:
            near.close()

    # -- copying and moving --------------------------------------------------

    @contextmanager
    def mv(self, original: Original) -> Iterator[Linked]:
        theirs: LocalDialect = original.dialect
        # The file stays as it is: what it is to be kept with, it has to be kept with.
        alike = theirs._modes == self._modes and theirs._fsync >= self._fsync
        if not alike or not self._has_links():
            raise NotByStorage
        theirs._check_root()
        with ExitStack() as stack:
            try:
                place = stack.enter_context(hold(theirs.root, original.found.name))
                found = place.stat()
                now = _described(found, original.found.name)  # it is no link
            except OSError as exc:
                raise NotByStorage from exc
            if now.etag != original.found.etag:
                raise version_gone(original.found.name)
            yield Linked(place, found, original)

    def touch(self, key: str) -> None:
        # The file may be another user's, which may be read and renamed all the same.
        with suppress(OSError), hold(self.root, key) as place:
            os.utime(place.name, dir_fd=place.folder, follow_symlinks=FOLLOWED)

    @contextmanager
    def cp_file(self, original: Original) -> Iterator[Unnamed]:
        try:
            file, opened = original.dialect._open_file(original.found.name)
        except OSError as exc:
            raise NotByStorage from exc
        with file:
            if opened.etag == original.found.etag:
                with self.stage(OnDisk(file, None)) as staged:
                    # Another program may write into it meanwhile.
                    now = _described(os.fstat(file.fileno()), opened.name)
                    if now.etag == opened.etag:
                        yield staged
                        return
        raise version_gone(original.found.name)

    def _has_links(self) -> bool:
        """Whether the disk has hard links."""
        if self._links is None:
            file = self.unnamed()
            try:
                self._links = file.can_link()
            finally:
                file.close()
        return self._links

    # -- reading -------------------------------------------------------------

    def info(self, key: str) -> Stat:
        self._check_root()
        with hold(self.root, key, follow=True) as place:
            return _described(place.found, key)

    def get(
        self,
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
        return Fetched(opened, *where, FilePart(t.cast("t.BinaryIO", file), *where))

    def open(self, key: str) -> t.IO[bytes]:
        return t.cast("t.IO[bytes]", io.BufferedReader(self._open_file(key)[0]))

    def _open_file(self, key: str) -> tuple[DiskFile, Stat]:
        self._check_root()
        with hold(self.root, key, follow=True) as place:
            if place.found is None or not stat.S_ISREG(place.found.st_mode):
                raise FileNotFoundError(key)
            try:
                # A pipe that has taken the name would be waited for, for ever.
                number = os.open(place.name, OPEN, dir_fd=place.folder)
            except OSError as exc:
                if exc.errno in NO_DATA:
                    raise FileNotFoundError(exc.errno, exc.strerror, key) from exc
                raise
        file = DiskFile(number, key, self.explain)
        try:
            return file, _described(os.fstat(number), key)
        except BaseException:
            file.close()
            raise

    def on_disk(self, key: str) -> str:
        return os.path.realpath(self.path(key))

    def find(self, prefix: str) -> Iterator[Stat | Unreachable]:
        # In the order of the disk: to sort a folder is to read all of it first.
        self._check_root()
        folders = [prefix]
        while folders:
            folder = folders.pop()
            try:
                for entry, place in self._entries(folder):
                    found = self._listed(entry, place)
                    if isinstance(found, Folder):
                        folders.append(found.name)
                    elif found is not None:
                        yield found
            except InvalidName:
                # It was a folder when its name was read.
                if folder == prefix:
                    raise
                yield Unreachable(folder, LEADS_OUT)
        # With its disk every folder would have vanished, and none was an error.
        self._check_root()

    def ls(self, prefix: str) -> Iterator[Listed]:
        self._check_root()
        for entry, place in self._entries(prefix):
            found = self._listed(entry, place)
            if found is not None:
                yield found
        self._check_root()

    def _entries(self, folder: str) -> Iterator[tuple[os.DirEntry[str], Place]]:
        """What is in a folder, as it is read; nothing if it has vanished.

        :raises StoreError: if it cannot be read.
        """
        try:
            with (
                hold_folder(self.root, folder) as where,
                os.scandir(where) as entries,
            ):
                for entry in entries:
                    if entry.name != naming.STAGING:
                        key = f"{folder}/{entry.name}" if folder else entry.name
                        number = where if isinstance(where, int) else None
                        # Of a folder that is open, entry.path is the name alone.
                        yield entry, Place(entry.path, number, key)
        except OSError as exc:
            if isinstance(exc, NOT_A_FILE) or exc.errno == errno.ELOOP:
                return
            if isinstance(exc, PermissionError) and self._is_lost_and_found(folder):
                return
            raise self._unlisted(exc, folder) from exc

    def _is_lost_and_found(self, folder: str) -> bool:
        parent, _, name = folder.rpartition("/")
        return name == LOST_AND_FOUND and (
            not parent or os.path.ismount(os.path.join(self.root, parent))
        )

    def _listed(self, entry: os.DirEntry[str], place: Place) -> Listed | None:
        """What an entry of a folder is: a file, something that no key leads to, a
        folder, or ``None`` for what is none of these."""
        key = place.path
        try:
            # Unlike fsspec's, it does not follow a link out of the store.
            if entry.is_dir(follow_symlinks=False):
                problem = naming.problem(key)
                return Unreachable(key, problem) if problem else Folder(key)
            if not entry.is_symlink():
                # Not entry.stat(), which knows no inode on Windows.
                return _described(place.stat(), key)
            with hold(self.root, key, follow=True) as target:
                return _described(target.found, key)
        except InvalidName:
            return Unreachable(key, LEADS_OUT)
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

    def is_one_file(self, old: str, new: str, theirs: Dialect) -> bool:
        return os.path.samefile(old, new)

    def first_page(self, prefix: str) -> tuple[list[Stat | Unreachable], bool]:
        files, more = first_of(self.find(prefix))
        return sorted(files, key=lambda found: found.name), more

    def rm_folder(self, key: str) -> None:
        # It is not empty, or somebody else has been quicker.
        with suppress(OSError), hold(self.root, key) as place:
            os.rmdir(place.name, dir_fd=place.folder)

    def rm_file(self, key: str) -> None:
        self._check_root()
        with hold(self.root, key, durable=self._fsync) as place:
            os.remove(place.name, dir_fd=place.folder)
            if self._fsync:  # or it would be there again after a cut of the power
                sync_name(place.path, place.folder)

    def left(self) -> list[dict[str, t.Any]]:
        self._check_root()
        found = []
        try:
            with (
                hold_folder(self.root, naming.STAGING) as where,
                os.scandir(where) as entries,
            ):
                for entry in entries:
                    with suppress(FileNotFoundError):
                        is_file = entry.is_file(follow_symlinks=False)
                        seen = entry.stat(follow_symlinks=False)
                        if is_file:
                            size, mtime = seen.st_size, seen.st_mtime
                            found.append(
                                {"name": entry.name, "size": size, "mtime": mtime}
                            )
        except NOT_A_FILE:
            return []
        return found

    def growing(self, key: str) -> GrowingFile | None:
        # Windows has no flock(2).
        if sys.platform == "win32":
            return None
        return GrowingFile(self.root, key, self._modes, self._fsync)

    def discard(self, path: str) -> None:
        with (
            suppress(FileNotFoundError),
            hold(self.root, self._key(path)) as place,
        ):
            os.remove(place.name, dir_fd=place.folder)

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        error = explained(exc, key, self.settings)
        if error is None and isinstance(exc, OSError):
            return StoreError(
                f"The disk refuses {naming.quoted(key)}: {exc.strerror or exc}. Check"
                " it, and the system's log.",
                key,
            )
        return error or super().explain(exc, key)


class Linked:
    """A file of a store that gets a second name, before the first one is removed.

    Whoever is killed in between leaves both.

    :param place: where it is.
    :param found: the file.
    """

    #: See :attr:`.Unnamed.ordered`. Its bytes are on the disk already.
    ordered = False

    def __init__(self, place: Place, found: os.stat_result, original: Original) -> None:
        self._place = place
        self._found = found
        self._original = original

    def can_link(self) -> bool:
        """Whether its disk has hard links. Otherwise there is no such object."""
        return True

    def link(self, path: str, folder: int | None = None) -> None:
        """Give it a name that is free; see :meth:`.Unnamed.link`.

        :raises NotByStorage: if that is on another disk, or the system forbids it.
        """
        try:
            os.link(
                self._place.name,
                path,
                src_dir_fd=self._place.folder,
                dst_dir_fd=folder,
                follow_symlinks=FOLLOWS,
            )
        except FileExistsError:
            # Perhaps by a call that was cut off before the name was safe.
            taken = os.stat(path, dir_fd=folder, follow_symlinks=False)
            if not self._original.resumes or not os.path.samestat(taken, self._found):
                raise
        except OSError as exc:
            if exc.errno in (errno.EXDEV, *NO_LINKS):
                raise NotByStorage from exc
            raise
        # It has one more name than before, so that the old one is not the only one.
        now = os.stat(path, dir_fd=folder, follow_symlinks=False)
        self._original.linked = now.st_nlink > self._found.st_nlink

    def replace(self, path: str, folder: int | None = None) -> None:
        """Give it a name, if that is free; see :meth:`.Dialect.mv`.

        :raises NotByStorage: also if it is taken.
        """
        try:
            self.link(path, folder)
        except FileExistsError as exc:
            raise NotByStorage from exc


class DiskFile(io.FileIO):
    """A file on disk, of which what goes wrong while it is read is explained.

    :param explain: makes a :exc:`StoreError` of an error and the key.
    """

    def __init__(
        self,
        descriptor: int,
        key: str,
        explain: t.Callable[[Exception, str], StoreError | None],
    ) -> None:
        self._descriptor = descriptor
        # FileIO would warn of one that nobody has closed. Files of other stores do not.
        super().__init__(self._descriptor, "rb", closefd=False)
        self.name: str = key
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
            raise (self._explain(exc, self.name) or exc) from exc

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return super().seek(offset, whence)
        except OSError as exc:
            if exc.errno != errno.EINVAL:
                raise (self._explain(exc, self.name) or exc) from exc
            # What io says of every other file that has no such byte.
            raise ValueError(f"negative seek position {offset}") from exc

    def readall(self) -> bytes:
        try:
            return super().readall()
        except OSError as exc:
            raise (self._explain(exc, self.name) or exc) from exc


def _described(found: os.stat_result | None, key: str) -> Stat:
    if found is None or not stat.S_ISREG(found.st_mode):
        raise FileNotFoundError(key)
    return Stat(
        name=key,
        size=found.st_size,
        modified=dt.datetime.fromtimestamp(found.st_mtime, dt.UTC),
        etag=f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}",
        content_type=media_types.content_type(key),
    )
