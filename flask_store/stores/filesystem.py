"""``store.fs``: a store as a filesystem of fsspec, for libraries that write by one.

fsspec's own filesystems publish a file that is half written, overwrite files that were
to be new, and reach the whole storage. This one has the verbs of the store behind
fsspec's methods. The rest of fsspec's methods are built upon these.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import sys
import typing as t
import warnings
from collections.abc import Callable
from collections.abc import Iterator

import fsspec
from fsspec import AbstractFileSystem
from fsspec.callbacks import Callback
from fsspec.callbacks import DEFAULT_CALLBACK as NO_CALLBACK
from fsspec.utils import isfilelike
from fsspec.utils import read_block
from fsspec.utils import tokenize

from ..exceptions import FileExists
from ..exceptions import FileNotFound
from ..exceptions import InvalidName
from ..files import FileStore
from ..files import FileWrapper
from ..naming import quoted
from ..uploads.multipart import Receiver
from ..uploads.source import Source
from ..uploads.source import StoredFile
from ..views.listing import FolderListing
from ..views.listing import Listing
from .drafts import Draft

if t.TYPE_CHECKING:
    import datetime as dt

logger = logging.getLogger(__name__)

#: What fsspec calls a way to write, and what the store calls it.
CONFLICTS: t.Final = {"overwrite": "overwrite", "create": "error"}
#: The modes of a file that is written.
MODES: t.Final = {"wb": "overwrite", "xb": "error"}

ListingT = t.TypeVar("ListingT", bound=Listing)

NOT_A_MODE = (
    "mode is {!r}; a file of a store is read ('rb'), written ('wb') or created ('xb'),"
    " or the same as text. It is never changed in its middle or at its end: write it"
    " anew."
)


class Described(t.Protocol):
    """What a listing and a look at a file tell of it."""

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def modified(self) -> dt.datetime | None: ...
    @property
    def etag(self) -> str | None: ...
    @property
    def content_type(self) -> str: ...


class Storing(FileStore, Receiver, t.Protocol):
    """A store, as its filesystem uses it. It is
    :class:`~flask_store.stores.fsspec.FsspecStore`."""

    def delete(self, *names: str) -> None: ...
    def copy(self, source: str, target: str, on_conflict: t.Any) -> FileWrapper: ...
    def move(self, source: str, target: str, on_conflict: t.Any) -> FileWrapper: ...
    def _new(
        self, key: str, on_conflict: t.Any
    ) -> tuple[str, Callable[[Source], FileWrapper]]: ...
    def _write(
        self,
        key: str,
        file: t.Any,
        on_conflict: t.Any,
        callback: Callback = NO_CALLBACK,
    ) -> FileWrapper: ...


class ReadFile(StoredFile):
    """A stored file that is read."""

    @property
    def size(self) -> int:
        """In bytes, as fsspec's own files have it."""
        position = self.tell()
        try:
            return self.seek(0, io.SEEK_END)
        finally:
            self.seek(position)


class WrittenFile(Draft):
    """A file that is stored when it is closed, whole.

    Nothing is stored if its ``with`` block ends with an error, if nobody closes it, or
    if it is closed because of an error: :meth:`close` is called while an exception is
    handled that was none when the file was opened.

    :param autocommit: whether to store it when it is closed. In a transaction of
        fsspec, :meth:`commit` stores it.
    """

    def __init__(
        self,
        store: Storing,
        key: str,
        save: Callable[[Source], FileWrapper],
        autocommit: bool,
    ) -> None:
        self.autocommit = autocommit
        self._handled = sys.exception()
        super().__init__(store, key, save)

    def close(self) -> None:
        """Store the file, unless a transaction is to do that."""
        # A library that cleans up after an error calls no __exit__.
        error = sys.exception()
        if self.closed or error is None or error is self._handled:
            self._end()
            return
        logger.warning(
            "%s is not stored, because it was closed while %s was handled.",
            quoted(self.name),
            type(error).__name__,
        )
        self.discard()

    def _end(self) -> None:
        if not self.closed:
            super().close()
            if self.autocommit:
                self.publish()

    def commit(self) -> None:
        """Store the file, at the end of a transaction. One whose own block ended with
        an error is not stored, nor is one that nobody has closed: what wraps it may
        still have bytes of it."""
        if not self.closed:
            self.abandon()
        elif not self.discarded:
            self.publish()

    def __exit__(self, kind: t.Any, *exc_info: t.Any) -> None:
        if kind is None:
            self._end()
        else:
            self.discard()

    def __del__(self) -> None:
        # The one of io would close it, and that would store it.
        self.abandon()

    def _dealloc_warn(self, wrapper: object) -> None:
        # What io calls on a file when the garbage collector has found what wraps it,
        # such as a TextIOWrapper, before that closes it.
        self.abandon()

    def abandon(self) -> None:
        """Store nothing of a file that nobody has closed."""
        if not self.closed:
            warnings.warn(
                f"{quoted(self.name)} was not closed, and is not stored.",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
        self.discard()


class WrittenText(io.TextIOWrapper):
    """The same, for text.

    :param file: the file for its bytes.
    :param options: ``encoding``, ``errors`` and ``newline``.
    """

    def __init__(self, file: WrittenFile, **options: t.Any) -> None:
        self._file = file
        super().__init__(file, **options)

    def __exit__(self, kind: t.Any, *exc_info: t.Any) -> None:
        if kind is not None:
            self._file.discard()
        elif not self.closed:
            self.flush()
            self._file._end()

    def __del__(self) -> None:
        self._file.abandon()


class StoreFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """A store, or a destination in one, as a filesystem of fsspec.

    Its paths are keys, relative to the destination. ``with fs.open(path, "wb") as
    file`` stores a file when the block ends, whole, and nothing if it ends with an
    error. ``"xb"``, and ``mode="create"`` of the other methods, never overwrite a file.
    What is written and deleted sends the signals of the store.

    A folder is there as long as a file is below it: ``mkdir`` makes none.

    :param store: the store. A pickle of the filesystem has what a pickle of the store
        has.
    """

    protocol = "flaskstore"
    # fsspec would take two stores of one address for the same.
    cachable = False

    def __init__(self, store: Storing, **options: t.Any) -> None:
        super().__init__(use_listings_cache=False, **options)
        self.store = store

    # -- what it is ----------------------------------------------------------

    @property
    def fsid(self) -> str:
        """The place of the store, also of its server and user, and the destination."""
        return f"{self.protocol}:{self.store.dialect.place}:{self.store.destination}"

    @property
    def _fs_token(self) -> str:
        # The same in each thread and process, unlike fsspec's own.
        return t.cast(str, tokenize(self.fsid))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.store!r}>"

    @classmethod
    def _strip_protocol(cls, path: t.Any) -> t.Any:
        path = super()._strip_protocol(path)
        return path.lstrip("/") if isinstance(path, str) else path

    # -- looking -------------------------------------------------------------

    def _below(self, folder: str) -> Iterator[FileWrapper]:
        """The files below a folder."""
        yield from self._listing(Listing, folder)

    def _listing(self, cls: type[ListingT], folder: str) -> ListingT:
        """A listing of a folder, in whose name every character counts as it is."""
        listing = cls(self.store, folder)
        listing._may_be_pattern = False
        return listing

    def _is_folder(self, folder: str) -> bool:
        """Whether there is a file below a folder."""
        return next(self._below(folder), None) is not None

    def info(self, path: str, **options: t.Any) -> dict[str, t.Any]:
        path = self._strip_protocol(path)
        if not path:
            return _folder(path)
        try:
            return self._file_info(path)
        except FileNotFoundError:
            if not self._is_folder(path):
                raise
            return _folder(path)

    def _file_info(self, path: str) -> dict[str, t.Any]:
        """The info of a file.

        :raises FileNotFound: if there is none.
        """
        # The store tells the whole key, and paths are relative to the destination.
        return {**_described(self.store.stat(path)), "name": path}

    def exists(self, path: str, **options: t.Any) -> bool:
        """Whether there is a file or a folder.

        :raises StoreUnavailable: if the storage does not answer.
        """
        return self._type(path) is not None

    lexists = exists

    def isfile(self, path: str) -> bool:
        return self._type(path) == "file"

    def isdir(self, path: str) -> bool:
        return self._type(path) == "directory"

    def _type(self, path: str) -> str | None:
        # fsspec takes every error for an answer.
        try:
            return t.cast(str, self.info(path)["type"])
        except FileNotFoundError:
            return None

    def ls(self, path: str, detail: bool = True, **options: t.Any) -> list[t.Any]:
        path = self._strip_protocol(path)
        listing = self._listing(FolderListing, path)
        infos = [_described(file) for file in listing]
        # A disk may have empty ones, and so has the disk behind some servers of S3.
        infos += [
            _folder(inner.name)
            for inner in listing.folders
            if self._is_folder(inner.name)
        ]
        if path and not infos:
            infos = [self._file_info(path)]
        infos.sort(key=lambda info: str(info["name"]))
        return infos if detail else [info["name"] for info in infos]

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        **options: t.Any,
    ) -> t.Any:
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        path = self._strip_protocol(path)
        above = f"{path}/" if path else ""
        found: dict[str, dict[str, t.Any]] = {}
        for stat in self._below(path):
            parts = stat.name[len(above) :].split("/")
            if withdirs:
                for depth in range(1, min(len(parts), (maxdepth or len(parts)) + 1)):
                    name = above + "/".join(parts[:depth])
                    found.setdefault(name, _folder(name))
                if path:
                    found.setdefault(path, _folder(path))
            if maxdepth is None or len(parts) <= maxdepth:
                found[stat.name] = _described(stat)
        if path and not found:
            try:
                found[path] = self._file_info(path)
            except FileNotFoundError:
                pass
        return dict(sorted(found.items())) if detail else sorted(found)

    def walk(
        self,
        path: str,
        maxdepth: int | None = None,
        topdown: bool = True,
        on_error: t.Any = "omit",
        **options: t.Any,
    ) -> Iterator[t.Any]:
        """The folders from one on, each with the folders and the files in it.

        :param on_error: ``"omit"`` leaves out a folder that is not there; otherwise as
            fsspec has it.
        :raises StoreUnavailable: if the storage does not answer.
        """
        on_error = _raise_unless_missing if on_error == "omit" else on_error
        walk = super().walk(path, maxdepth, topdown, on_error, **options)
        return t.cast("Iterator[t.Any]", walk)

    def du(
        self,
        path: str,
        total: bool = True,
        maxdepth: int | None = None,
        withdirs: bool = False,
        **options: t.Any,
    ) -> int | dict[str, int]:
        # fsspec's own asks once more for each file.
        found = self.find(path, maxdepth, withdirs, detail=True)
        sizes = {name: info["size"] for name, info in found.items()}
        return sum(sizes.values()) if total else sizes

    def created(self, path: str) -> dt.datetime | None:
        return self.modified(path)  # a file is never changed, but written anew

    def modified(self, path: str) -> dt.datetime | None:
        return self.store.stat(self._strip_protocol(path)).modified

    def ukey(self, path: str) -> str:
        """What changes when the file is written."""
        version = self.store.stat(self._strip_protocol(path)).version
        return hashlib.sha256(repr(version).encode()).hexdigest()

    def checksum(self, path: str) -> int:
        return int(self.ukey(path), 16)

    def sign(self, path: str, expiration: float | None = None, **options: t.Any) -> str:
        """A link by which anybody may read the file for some time.

        :param expiration: in seconds; by default ``STORE_URL_EXPIRES``.
        """
        return self.store.signed_url(self._strip_protocol(path), expiration)

    # -- reading -------------------------------------------------------------

    def cat_file(
        self,
        path: str,
        start: int | None = None,
        end: int | None = None,
        **options: t.Any,
    ) -> bytes:
        path = self._strip_protocol(path)
        if start is None and end is None:
            return self.store.read(path)
        return b"".join(self.store.stream(path, start or 0, end))

    def read_block(
        self, fn: str, offset: int, length: int | None, delimiter: bytes | None = None
    ) -> bytes:
        with self.open(fn) as file:
            return t.cast(bytes, read_block(file, offset, length, delimiter))

    def get_file(
        self,
        rpath: str,
        lpath: t.Any,
        callback: Callback = NO_CALLBACK,
        outfile: t.Any = None,
        **options: t.Any,
    ) -> None:
        """Copy a file to the local disk, whole or not at all.

        :param lpath: the local path, or a file that is open for writing.
        """
        rpath = self._strip_protocol(rpath)
        outfile = lpath if isfilelike(lpath) else outfile
        if outfile is not None:
            for data in self.store.stream(rpath):
                outfile.write(data)
                callback.relative_update(len(data))
            return
        found = self.info(rpath)
        if found["type"] == "directory":
            os.makedirs(lpath, exist_ok=True)
            return
        callback.set_size(found["size"])
        os.makedirs(os.path.dirname(os.path.abspath(lpath)), exist_ok=True)
        self.store.file(rpath).download(lpath, callback)

    # -- writing -------------------------------------------------------------

    def open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: t.Any = None,
        compression: str | None = None,
        **options: t.Any,
    ) -> t.Any:
        """A file, for reading or for writing.

        :param mode: ``"rb"``; ``"wb"``, which overwrites; ``"xb"``, which does not; or
            the same as text, which is UTF-8 unless ``encoding`` is another one.
        :raises FileExists: if there is such a file, with ``"xb"``.
        :raises ValueError: for another mode.
        """
        bare = mode.replace("t", "").replace("b", "")
        if bare not in ("r", "w", "x"):
            raise ValueError(NOT_A_MODE.format(mode))
        if "b" in mode:
            if compression is not None and bare != "r":
                raise ValueError(
                    "A file of a store is not compressed while it is written here. Wrap"
                    " it: gzip.open(file, 'wb')."
                )
            return super().open(
                path, mode, block_size, cache_options, compression, **options
            )
        text: dict[str, t.Any] = {"encoding": "utf-8"}
        for name in ("encoding", "errors", "newline"):
            if options.get(name) is not None:
                text[name] = options[name]
            options.pop(name, None)
        file = self.open(
            path, f"{bare}b", block_size, cache_options, compression, **options
        )
        wrapper = io.TextIOWrapper if bare == "r" else WrittenText
        return wrapper(file, **text)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: t.Any = None,
        **options: t.Any,
    ) -> t.IO[bytes]:
        if mode == "rb":
            return ReadFile(self.store.open(path).detach())
        key, save = self._new(path, MODES[mode])
        return WrittenFile(self.store, key, save, autocommit)

    def _new(
        self, path: str, on_conflict: str
    ) -> tuple[str, Callable[[Source], FileWrapper]]:
        """The key of a new file, and what saves it.

        :raises FileExists: if it is to be new and is there already. The save itself
            looks, too, in one step with the writing.
        """
        new = self.store._new(path, on_conflict)
        if on_conflict == "error":
            self._check_free(path)
        return new

    def _check_free(self, path: str) -> None:
        if self.store.exists(path):
            raise FileExists(f"{quoted(path)} already exists.", path)

    def pipe_file(
        self, path: str, value: bytes, mode: str = "overwrite", **options: t.Any
    ) -> None:
        """Write a file.

        :param mode: ``"create"`` does not overwrite a file.
        """
        self._put(path, value, mode, NO_CALLBACK)

    def put_file(
        self,
        lpath: t.Any,
        rpath: str,
        callback: Callback = NO_CALLBACK,
        mode: str = "overwrite",
        **options: t.Any,
    ) -> None:
        """Copy a file of the local disk into the store.

        :param mode: ``"create"`` does not overwrite a file.
        """
        if isinstance(lpath, str | os.PathLike) and os.path.isdir(lpath):
            self.makedirs(rpath, exist_ok=True)
            return
        if isfilelike(lpath):
            self._put(rpath, lpath, mode, callback)
            return
        with open(lpath, "rb") as file:
            self._put(rpath, file, mode, callback)

    def _put(self, path: str, file: t.Any, mode: str, callback: Callback) -> None:
        if mode not in CONFLICTS:
            raise ValueError(f"mode is {mode!r}; it must be 'overwrite' or 'create'.")
        path = self._strip_protocol(path)
        if not self._intrans:
            self.store._write(path, file, CONFLICTS[mode], callback)
            return
        # The transaction stores it, when it ends.
        with self.open(path, "wb" if mode == "overwrite" else "xb") as out:
            if isinstance(file, bytes | bytearray | memoryview):
                out.write(file)
            else:
                Source(file, None).write_into(out)

    def touch(self, path: str, truncate: bool = True, **options: t.Any) -> None:
        """Write an empty file.

        :param truncate: if ``False``, a file that is there is an error: its date cannot
            be set.
        """
        self.pipe_file(path, b"", "overwrite" if truncate else "create")

    # -- copying and deleting ------------------------------------------------

    def cp_file(
        self, path1: str, path2: str, move: bool = False, **options: t.Any
    ) -> None:
        """Copy a file over what is there; a folder is copied with its files.

        :param move: whether to delete the original then.
        """
        path1, path2 = self._strip_protocol(path1), self._strip_protocol(path2)
        try:
            verb = self.store.move if move else self.store.copy
            verb(path1, path2, "overwrite")
        except FileNotFoundError:
            if not self.isdir(path1):
                raise

    def mv(
        self,
        path1: t.Any,
        path2: t.Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        **options: t.Any,
    ) -> None:
        """Move files. Each is deleted when its own copy is there, so that none is lost
        that comes meanwhile."""
        self.copy(path1, path2, recursive, maxdepth, on_error="raise", move=True)

    def rm_file(self, path: str) -> None:
        self.store.delete(self._strip_protocol(path))

    def rm(
        self, path: t.Any, recursive: bool = False, maxdepth: int | None = None
    ) -> None:
        """Delete files.

        :param path: one, or several, or a pattern.
        :param recursive: whether to delete all files of a folder, too.
        :raises InvalidName: for the root, which would be the whole store.
        """
        paths = self.expand_path(path)
        if "" in paths:
            raise InvalidName(
                "rm() does not delete the root, which has all files. Delete what is"
                " in it: rm(fs.ls('', detail=False), recursive=True)."
            )
        if not recursive:
            for found in paths:
                self.store.delete(found)
            return
        # A pattern may match a folder and what is in it, and a bucket may have a file
        # of the same name as a folder.
        names: dict[str, None] = {}
        for found in paths:
            below = self.find(found, maxdepth)
            names.update(dict.fromkeys(below))
            if not below or self.store.exists(found):
                names[found] = None
        self.store.delete(*names)

    # -- folders -------------------------------------------------------------

    def mkdir(self, path: str, create_parents: bool = True, **options: t.Any) -> None:
        """Only look whether there could be a folder: its files make it.

        :raises FileExists: if there is such a file or folder.
        """
        self._check_folder(path, exist_ok=False)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """The same, also if there is such a folder."""
        self._check_folder(path, exist_ok)

    def _check_folder(self, path: str, exist_ok: bool) -> None:
        path = self._strip_protocol(path)
        self.store.dialect.check_writable()
        if path:
            self.store.key(path)
        found = self._type(path)
        if found == "file" or (found == "directory" and not exist_ok):
            raise FileExists(f"{quoted(path)} already exists.", path)

    def rmdir(self, path: str) -> None:
        """:raises FileExists: as a folder is not empty (POSIX.1-2017, rmdir()).
        :raises FileNotFound: if there is no such folder."""
        path = self._strip_protocol(path)
        self.store.dialect.check_writable()
        if self.isdir(path):
            message = f"The folder {quoted(path)} is not empty. Use rm(recursive=True)."
            raise FileExists(message, path)
        raise FileNotFound(f"There is no folder {quoted(path)}.", path)


def _described(stat: Described) -> dict[str, t.Any]:
    """What fsspec calls an info, of a file."""
    return {
        "name": stat.name,
        "size": stat.size,
        "type": "file",
        "mtime": stat.modified,
        "LastModified": stat.modified,
        "ETag": stat.etag,
        "ContentType": stat.content_type,
    }


def _raise_unless_missing(error: OSError) -> None:
    # fsspec takes every error for an empty folder.
    if not isinstance(error, FileNotFoundError):
        raise error


def _folder(name: str) -> dict[str, t.Any]:
    """The same of a folder."""
    return {"name": name, "size": 0, "type": "directory"}


# So that fsspec.open("flaskstore://...", store=store) and fsspec.generic find it.
fsspec.register_implementation(StoreFileSystem.protocol, StoreFileSystem)
