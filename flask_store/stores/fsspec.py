"""Every operation of a store, on the generic filesystem API."""

from __future__ import annotations

import io
import os
import threading
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import replace

from flask import current_app
from fsspec.callbacks import Callback
from fsspec.callbacks import DEFAULT_CALLBACK as NO_CALLBACK

from .. import media_types
from .. import naming
from .. import signals
from .. import usage
from ..dialects import Dialect
from ..dialects import Stat
from ..dialects.registry import open_dialect
from ..exceptions import FileExists
from ..exceptions import NotConfiguredError
from ..exceptions import StoreError
from ..files import FileWrapper
from ..listing import Listing
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
        process = os.getpid()
        mine: dict[t.Any, AbstractFileSystem] = self.by_process
        if self.dialect.scope == "thread":
            mine = self.by_thread.__dict__
        # setdefault and no lock: a lock that is held during a fork stays locked.
        return mine.get(process) or mine.setdefault(process, self.dialect.connect())


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
        callback: Callback = NO_CALLBACK,
    ) -> FileWrapper:
        """Store a file, whole or not at all, and never over another one.

        :param file: a :class:`~werkzeug.datastructures.FileStorage`, a path, bytes
            or a binary file. It is read from its start, and left open where it was.
        :param filename: the name to store it under, instead of the one that came
            with the file. It is cleaned; folders belong into the destination.
        :param on_conflict: what to do when the name is taken: ``"rename"`` puts a
            short UUID into the name, ``"error"`` raises, ``"overwrite"`` replaces.
        :param content_type: by default what the stored name's extension says.
        :param callback: an fsspec callback that is told the bytes as they are read,
            such as :class:`fsspec.callbacks.TqdmCallback`.
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
            source.report_to(callback)
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
        fs, dialect = self.fs, self.dialect

        def publish(write: t.Callable[..., None], key: str) -> str:
            kind = content_type or media_types.content_type(key)
            write(fs, staged, dialect.path(key, follow=False), kind)
            return key

        with self._explained(key, source), dialect.stage(fs, source) as staged:
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

    def put(
        self,
        key: str,
        file: Upload,
        on_conflict: t.Literal["error", "overwrite"] = "error",
        content_type: str | None = None,
    ) -> FileWrapper:
        """Store a file under exactly this name, as :meth:`save` would not: the name
        is checked but not cleaned, may have folders, and no signal is sent. For
        copies and backups; a name that a client chose belongs to :meth:`save`.

        :raises InvalidName: if the name could mean anything but a file in the store.
        :raises FileExists: if the name is taken, with ``on_conflict="error"``.
        :raises NotConfiguredError: if the storage cannot tell in one step that a name
            is free, with ``on_conflict="error"``.
        """
        key = self.key(key)
        with open_source(file) as source:
            self._store(source, key, on_conflict, content_type)
        return FileWrapper(key, self.at(None))

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

    def ls(self, prefix: str = "") -> Listing:
        """Every file below a folder, as :class:`~flask_store.dialects.Stat`; the
        names are relative to the provider's destination.

        :param prefix: the folder; by default the provider's destination.
        :return: a listing that asks the storage while it is iterated over.
        """
        return Listing(self, prefix)

    def usage(self, prefix: str = "", by: usage.By = "prefix") -> usage.Usage:
        """How much is stored, from the largest group to the smallest.

        :param prefix: the folder; by default the provider's destination.
        :param by: ``"prefix"`` (the folder right below), ``"type"`` or ``"month"``.
        """
        return usage.measure(self.ls(prefix), prefix, by)

    def __getitem__(self, name: str) -> FileWrapper:
        return self.file(name)

    # Without it, Python would iterate by store[0], store[1] and so on.
    __iter__: t.ClassVar[None] = None

    def _ipython_key_completions_(self) -> list[str]:
        return self.ls().names()

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
