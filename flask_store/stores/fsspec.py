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

from .. import media_types
from .. import naming
from .. import signals
from ..dialects import Dialect
from ..dialects import pieces
from ..dialects import Stat
from ..dialects import utc
from ..dialects.registry import open_dialect
from ..exceptions import FileExists
from ..exceptions import NotConfiguredError
from ..exceptions import StoreError
from ..files import FileWrapper
from ..greenlets import patched
from ..sources import open_source
from ..sources import Source
from ..sources import Upload
from . import BaseStore

if t.TYPE_CHECKING:
    from flask import Flask
    from fsspec import AbstractFileSystem

    from ..background import Background
    from ..background.upload import Upload as BackgroundUpload

OnConflict: t.TypeAlias = t.Literal["rename", "error", "overwrite"]

#: The folder, in the application's instance folder, for uploads in the background.
SPOOL = "flask-store-spool"

#: A name with a fresh UUID is free. If it is not, something else is wrong.
ATTEMPTS = 5


class Connection:
    """The filesystem of a store: made on first use, one for each process, or for
    each thread where the dialect says so. None survives a fork, nor that gevent
    turns threads into greenlets."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.by_process: dict[tuple[int, bool], AbstractFileSystem] = {}
        self.by_thread: dict[bool, threading.local] = {}

    def get(self) -> AbstractFileSystem:
        key = (os.getpid(), patched())
        mine: dict[t.Any, AbstractFileSystem] = self.by_process
        if self.dialect.scope == "thread":
            # A local that was made before the patching tells no greenlets apart.
            local = self.by_thread.get(key[1])
            local = local or self.by_thread.setdefault(key[1], threading.local())
            mine = local.__dict__
        # setdefault and no lock: a lock that is held during a fork stays locked.
        return mine.get(key) or mine.setdefault(key, self.dialect.connect())


class FsspecStore(BaseStore):
    """A store on any filesystem that fsspec knows, chosen by ``STORE_PATH``."""

    REQUIRED_CONFIGURATION: t.ClassVar[tuple[str, ...]] = ("STORE_PATH",)
    #: Whether uploads always go on in the background, in greenlets.
    in_greenlets: t.ClassVar[bool] = False

    #: The uploads that go on after save(), where STORE_BACKGROUND asks for that.
    background: Background | None = None

    @classmethod
    def defaults(cls, app: Flask) -> dict[str, t.Any]:
        """The spool is private, and not in a folder that anything serves."""
        return {"STORE_SPOOL_PATH": os.path.join(app.instance_path, SPOOL)}

    def attach(self, app: Flask) -> None:
        if self.background is not None:
            self.background.attach(app)

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
        if self.in_greenlets or config.get("STORE_BACKGROUND"):
            from ..background import Background

            self.background = Background(self, config, self.in_greenlets)
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
            key, upload = self.key(name), None
            if self.background is not None and on_conflict == "rename":
                key = naming.unique(key)
                with source.rewindable() as source:
                    upload = self._spool(source, key, content_type)
                    if upload is None:
                        self._store(source, key, "overwrite", content_type)
            else:
                key = self._store(source, key, on_conflict, content_type)
        stored = FileWrapper(key, self.at(None), upload)
        signals.file_saved.send(_application(), file=stored)
        return stored

    def _spool(
        self, source: Source, key: str, content_type: str | None
    ) -> BackgroundUpload | None:
        assert self.background is not None
        kind = content_type or media_types.content_type(key)
        with self._explained(key, source):
            self.dialect.path(key, follow=False)  # refuses before anything is promised
            return self.background.accept(source, key, kind)

    def upload(self, name: str) -> BackgroundUpload | None:
        """The upload of a file that this process still has to do."""
        key = self.key(name)
        return None if self.background is None else self.background.upload(key)

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
        with self.file(str(source)).open() as file:
            return there.save(t.cast("t.IO[bytes]", file), name, on_conflict)

    def move(
        self,
        source: str | FileWrapper,
        target: str,
        on_conflict: OnConflict = "rename",
    ) -> FileWrapper:
        """Copy a file to another name and then delete it under the old one."""
        moved = self.copy(source, target, on_conflict)
        if moved != self.file(str(source)):
            self.delete(str(source))
        return moved

    def delete(self, name: str) -> None:
        """Remove a file.

        :raises FileNotFound: if it is not there.
        """
        key = self.key(name)
        with self._explained(key):
            if self.background is None or not self.background.forget(key):
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
            found = self.background and self.background.find(key)
            file = found[1] if found else self.dialect.open(self.fs, key)
        return file if mode == "rb" else io.TextIOWrapper(file, encoding="utf-8")

    def stream(
        self, name: str, start: int = 0, stop: int | None = None
    ) -> Iterator[bytes]:
        """The bytes from *start* up to *stop*, in pieces of at most 1 MiB."""
        key = self.key(name)
        with self._explained(key):
            found = self.background and self.background.find(key)
            if found:
                with found[1] as file:
                    yield from pieces(file, start, stop)
            else:
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
            waiting = self.background and self.background.find(key)
            if waiting:
                entry, file = waiting
                file.close()
                return Stat(
                    name, entry.size, utc(entry.saved), None, entry.content_type
                )
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
