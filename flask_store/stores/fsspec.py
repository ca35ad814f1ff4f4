"""Every operation of a store, on the generic filesystem API."""

from __future__ import annotations

import datetime as dt
import io
import os
import threading
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from contextlib import ExitStack
from dataclasses import replace
from weakref import WeakValueDictionary

from flask import current_app

from .. import media_types
from .. import naming
from .. import signals
from ..dialects import Dialect
from ..dialects import Stat
from ..dialects.registry import open_dialect
from ..exceptions import FileExists
from ..exceptions import NotConfiguredError
from ..exceptions import StoreError
from ..exceptions import StoreUnavailable
from ..files import FileWrapper
from ..sources import open_source
from ..sources import Source
from ..sources import Upload
from . import BaseStore

if t.TYPE_CHECKING:
    from fsspec import AbstractFileSystem

OnConflict: t.TypeAlias = t.Literal["rename", "error", "overwrite"]

#: A name with a fresh UUID is free. If it is not, something else is wrong.
ATTEMPTS = 5


class Connection:
    """The filesystem of a store: made on first use, one for each process, or for
    each thread where the dialect says so. None survives a fork."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.by_process: dict[int, AbstractFileSystem] = {}
        self.by_thread = threading.local()

    def get(self) -> AbstractFileSystem:
        process, mine = os.getpid(), self._mine()
        fs = mine.get(process)
        if fs is not None and not self.dialect.alive(fs):
            mine.pop(process, None)
            fs = None
        # setdefault and no lock: a lock that is held during a fork stays locked.
        return fs or mine.setdefault(process, self._connect())

    def drop(self) -> None:
        """Forget a connection of this thread that may be in the middle of a reply."""
        if self.dialect.scope == "thread":
            self._mine().pop(os.getpid(), None)

    def _mine(self) -> dict[t.Any, AbstractFileSystem]:
        shared = self.dialect.scope == "process"
        return self.by_process if shared else self.by_thread.__dict__

    def _connect(self) -> AbstractFileSystem:
        fs = self.dialect.connect()
        _connected[id(fs)] = fs
        return fs


# A fork ends all threads but one, and what they alone hold would be closed in the
# child: some libraries then say good-bye over the connection that the parent uses.
_connected: WeakValueDictionary[int, AbstractFileSystem] = WeakValueDictionary()
_inherited: list[AbstractFileSystem] = []

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _inherited.extend(_connected.values()),
        after_in_parent=_inherited.clear,
    )


class FsspecStore(BaseStore):
    """A store on any filesystem that fsspec knows, chosen by ``STORE_PATH``."""

    REQUIRED_CONFIGURATION: t.ClassVar[tuple[str, ...]] = ("STORE_PATH",)

    @classmethod
    def from_url(
        cls, url: str, destination: str | None = None, **options: t.Any
    ) -> t.Self:
        """A store with no application, for scripts and notebooks.

        :param url: as ``STORE_PATH``, such as ``s3://photos/2026``.
        :param options: as ``STORE_OPTIONS``: what the filesystem is made with.
        """
        config = {"STORE_PATH": url, "STORE_OPTIONS": options}
        return cls.from_config(config, destination)

    def configure(self, config: Mapping[str, t.Any]) -> None:
        self.check_config(config)
        self.dialect = open_dialect(self.url(config), config)
        self.connection = Connection(self.dialect)
        # A storage that gives its objects an address serves them by itself.
        self.register_route = self.dialect.address("") is None
        super().configure(config)
        if not self.serves and not config.get("STORE_URL_PREFIX"):
            self.url_prefix = self.dialect.prefix

    @classmethod
    def url(cls, config: Mapping[str, t.Any]) -> str | os.PathLike[str]:
        """The place of the store as one URL or path."""
        return t.cast("str | os.PathLike[str]", config["STORE_PATH"])

    @property
    def fs(self) -> AbstractFileSystem:
        """The real fsspec filesystem, of this process."""
        return self.connection.get()

    @property
    def uri(self) -> str:
        """The store's root as an fsspec URL, without credentials."""
        return self.dialect.uri

    @property
    def storage_options(self) -> dict[str, t.Any]:
        """What pandas and others want beside a file's :attr:`~FileWrapper.uri`.
        Holds the credentials: do not print it."""
        return dict(self.dialect.location.options)

    # -- saving --------------------------------------------------------------

    def save(
        self,
        file: Upload | None,
        filename: str | None = None,
        on_conflict: OnConflict = "rename",
        content_type: str | None = None,
    ) -> FileWrapper:
        """Store a file, whole or not at all, and never over another one.

        :param file: a :class:`~werkzeug.datastructures.FileStorage`, a path, bytes
            or a binary file. It is read from its start, and left open where it was.
        :param filename: the name to store it under, instead of the one that came
            with the file. It is cleaned; folders belong into the destination.
        :param on_conflict: what to do when the name is taken: ``"rename"`` puts a
            short UUID into the name, ``"error"`` raises, ``"overwrite"`` replaces.
        :param content_type: by default what the stored name's extension says.
        :raises NoFile: if there is no file; Flask answers with 400.
        :raises FileExists: with ``on_conflict="error"``.
        :raises StoreError: if the storage fails; nothing is stored then.
        """
        if on_conflict not in t.get_args(OnConflict):
            raise ValueError(
                f"on_conflict is {on_conflict!r}; it must be 'rename', 'error' or"
                " 'overwrite'."
            )
        with open_source(file) as source:
            name = naming.clean(_filename(filename, source))
            key = self._store(source, self.key(name), on_conflict, content_type)
        stored = FileWrapper(key, self.at(None))
        signals.file_saved.send(_application(), file=stored)
        return stored

    def _store(
        self,
        source: Source,
        key: str,
        on_conflict: OnConflict,
        content_type: str | None,
    ) -> str:
        """Publish under *key* or, if it is taken, under a name of its own."""
        dialect = self.dialect

        def publish(write: t.Callable[..., None], key: str) -> str:
            kind = content_type or media_types.content_type(key)
            write(fs, staged, dialect.path(key, follow=False), kind)
            return key

        with ExitStack() as stack:
            # Connecting can fail too, and then has to be explained.
            stack.enter_context(self._explained(key, source))
            fs = self.fs
            staged = stack.enter_context(dialect.stage(fs, source))
            if on_conflict == "overwrite":
                return publish(dialect.replace, key)
            if dialect.exclusive(fs, staged):
                return self._create(publish, key, on_conflict)
            if on_conflict == "error":
                raise NotConfiguredError(
                    f"{self!r} cannot tell in one step that a name is free, so"
                    " on_conflict='error' cannot be kept. Use 'rename' (every name"
                    " gets a UUID) or 'overwrite'."
                )
            return publish(dialect.replace, naming.unique(key))

    def _create(
        self, publish: t.Callable[..., str], key: str, on_conflict: OnConflict
    ) -> str:
        candidate = key
        for _ in range(ATTEMPTS):
            try:
                return publish(self.dialect.create, candidate)
            except FileExists:
                raise
            except FileExistsError:
                if on_conflict == "error":
                    raise
                candidate = naming.unique(key)
        raise FileExists(f"No free name was found for {naming.quoted(key)}.", key)

    def copy(
        self,
        source: str | FileWrapper,
        target: str,
        on_conflict: OnConflict = "rename",
    ) -> FileWrapper:
        """Copy a file to another name, which may lead into another folder.

        :return: the copy; its name is the target's unless that was taken.
        :raises FileNotFound: if there is no such file.
        """
        folder, _, name = naming.check(target).rpartition("/")
        there = self.at(naming.join(self.destination, folder))
        with self._wrapped(source).open() as file:
            return there.save(t.cast("t.IO[bytes]", file), name, on_conflict)

    def move(
        self,
        source: str | FileWrapper,
        target: str,
        on_conflict: OnConflict = "rename",
    ) -> FileWrapper:
        """Copy a file to another name and then delete it under the old one."""
        moved = self.copy(source, target, on_conflict)
        if moved != self._wrapped(source):
            self._wrapped(source).delete()
        return moved

    def _wrapped(self, source: str | FileWrapper) -> FileWrapper:
        # A FileWrapper knows its whole key; a name is relative to the destination.
        return source if isinstance(source, FileWrapper) else self.file(source)

    def delete(self, name: str) -> None:
        """Remove a file.

        :raises FileNotFound: if it is not there.
        """
        key = self.key(name)
        with self._explained(key):
            self.dialect.delete(self.fs, key)
        signals.file_deleted.send(_application(), file=FileWrapper(key, self.at(None)))

    def sweep(
        self,
        older_than: dt.timedelta = dt.timedelta(days=1),
        dry_run: bool = False,
    ) -> list[str]:
        """Remove what killed processes left behind: unfinished uploads, which no
        name shows. The files of the store are never touched.

        :param older_than: what is younger may still be written, and stays.
        :param dry_run: remove nothing, and only tell.
        :return: the private names of what was removed.
        """
        before = dt.datetime.now(dt.UTC) - older_than
        with self._explained(naming.STAGING):
            return list(self.dialect.sweep(self.fs, before, dry_run))

    # -- reading -------------------------------------------------------------

    def file(self, name: str) -> FileWrapper:
        """A stored file by its name, without looking whether it is there."""
        return FileWrapper(name, self)

    def open(self, name: str, mode: t.Literal["r", "rb"] = "rb") -> t.IO[t.Any]:
        """A stored file, for reading; ``"r"`` reads it as UTF-8 text.

        :raises FileNotFound: if it is not there.
        """
        if mode not in ("r", "rb"):
            raise ValueError(
                f"mode is {mode!r}; open() reads: 'rb' or 'r'. See save()."
            )
        key = self.key(name)
        with self._explained(key):
            file = self.dialect.open(self.fs, key)
        return file if mode == "rb" else io.TextIOWrapper(file, encoding="utf-8")

    def stream(
        self, name: str, start: int = 0, stop: int | None = None
    ) -> Iterator[bytes]:
        """The bytes from *start* up to *stop*, in pieces of at most 1 MiB."""
        key = self.key(name)
        with self._explained(key):
            yield from self.dialect.stream(self.fs, key, start, stop)

    def exists(self, name: str) -> bool:
        """Whether there is a file *name*.

        :raises StoreUnavailable: if the storage does not answer; only an answer
            that there is no such file is ``False``.
        """
        try:
            self.stat(name)
        except FileNotFoundError:
            return False
        return True

    def stat(self, name: str) -> Stat:
        """Size, date, ETag and content type.

        :raises FileNotFound: if there is no such file.
        """
        key = self.key(name)
        with self._explained(key):
            found = self.dialect.stat(self.fs, key)
        return replace(found, name=name)

    def ls(self, prefix: str = "") -> Iterator[Stat]:
        """Every file below a folder, as :class:`~flask_store.dialects.Stat`; the
        names are relative to the provider's destination.

        :param prefix: the folder; by default the provider's destination.
        """
        folder = naming.join(self.destination, prefix.strip("/"))
        skip = len(self.destination) + 1 if self.destination else 0
        with self._explained(folder):
            for found in self.dialect.walk(self.fs, folder and naming.check(folder)):
                yield replace(found, name=found.name[skip:])

    def join(self, *parts: str) -> str:
        """The parts of a path, joined with ``/``.

        :raises InvalidName: if a part leads upwards.
        """
        return naming.join(*parts)

    def absolute_path(self, name: str) -> str:
        """The path on disk; for an object store the key with its prefix."""
        return self.dialect.absolute_path(self.key(name))

    def absolute_url(self, name: str) -> str:
        if self.domain is None and not self.serves:
            address = self.dialect.address(self.key(name))
            if address is not None:
                return address
        return super().absolute_url(name)

    @contextmanager
    def _explained(self, key: str, source: Source | None = None) -> Iterator[None]:
        """What the filesystem raises becomes a :exc:`StoreError`; what the caller's
        own stream raises stays as it is."""
        try:
            yield
        except Exception as exc:
            if source is not None and source.error is not None:
                raise source.error from None
            explained = isinstance(exc, StoreError)
            error = None if explained else self.dialect.explain(exc, key)
            if error is None:
                raise
            if isinstance(error, StoreUnavailable):
                self.connection.drop()
            raise error from exc

    def __repr__(self) -> str:
        folder = f"/{self.destination}" if self.destination else ""
        return f"<{type(self).__name__} {self.uri + folder!r}>"


def _filename(filename: str | None, source: Source) -> str:
    name = filename if filename is not None else source.filename
    if name is None:
        raise TypeError(
            "What you save has no name of its own. Pass filename='...'; a name without"
            " a stem, such as '.jpg', gets a UUID."
        )
    return name


def _application() -> t.Any:
    # The signal's receivers compare the sender itself, not the proxy.
    return current_app._get_current_object() if current_app else None  # type: ignore
