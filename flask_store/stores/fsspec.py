"""Every operation of a store, on the generic filesystem API."""

from __future__ import annotations

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
from ..bodies import Opened
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

    from ..direct import DirectUpload

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
        self.url_prefix = self.url_prefix or self.dialect.prefix
        self._check_serving()

    def _check_serving(self) -> None:
        if self.serve == "redirect" and type(self.dialect).sign is Dialect.sign:
            raise NotConfiguredError(
                f"STORE_SERVE is 'redirect', but {self.dialect.location.protocol!r}"
                " has no links of its own to redirect to. Use 'proxy'."
            )
        if self.x_accel_redirect and self.dialect.location.protocol != "file":
            raise NotConfiguredError(
                "STORE_X_ACCEL_REDIRECT lets nginx send files from the local disk;"
                f" {self.uri} is none. Remove it."
            )

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
        """What pandas and others want beside a file's
        :attr:`~flask_store.files.FileWrapper.uri`.

        It holds the credentials: do not print it.
        """
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

    def stream_version(self, found: Stat, start: int, stop: int) -> Iterator[bytes]:
        """A part of the very version that *found* describes. It is opened at once,
        so that what goes wrong there is raised here.

        :param found: what :meth:`stat` said.
        :raises VersionGone: if the file has been replaced since.
        """
        key = self.key(found.name)
        with self._explained(key):
            pieces = self.dialect.stream_version(
                self.fs, replace(found, name=key), start, stop
            )
            return (
                pieces if isinstance(pieces, Opened) else Opened(pieces, stop - start)
            )

    def fetch(self, name: str) -> tuple[Stat, Iterator[bytes]] | None:
        """What :meth:`stat` says, and the whole file, opened, where one request to the
        storage has both.

        :raises FileNotFound: if there is no such file.
        """
        key = self.key(name)
        with self._explained(key):
            found = self.dialect.fetch(self.fs, key)
            if found is None:
                return None
            stat, pieces = found
            return replace(stat, name=name), Opened(pieces, stat.size)

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

    # -- addresses and direct uploads ----------------------------------------

    @property
    def identity(self) -> str:
        """What sets this store apart in whatever the application signs for it."""
        return self.url_prefix if self.serves else self.uri

    def public_url(self, name: str) -> str:
        """The URL, unsigned, below the domain or at the application."""
        return super().absolute_url(name)

    def signed_url(
        self,
        name: str,
        expires: float | None = None,
        download_as: str | None = None,
    ) -> str:
        """A link by which anybody may read the file for some time.

        A storage with signatures of its own signs it, everything else the
        application. For a quarter of *expires* the link stays the same, so that
        browsers can keep the file; it is good for that much longer.

        :param expires: in seconds; by default ``STORE_URL_EXPIRES``.
        :param download_as: the name under which a browser is to save the file, even
            if it could show it.
        :raises NotConfiguredError: if the application has to sign and has no
            ``SECRET_KEY``, or nobody serves the file.
        """
        from .. import links

        key = self.key(name)
        link = None
        if self.serve != "proxy":
            link = self.storage_link(name, expires, download_as)
        if link is not None:
            return link
        if not self.serves:
            raise NotConfiguredError(
                f"{self!r} cannot sign links by itself, and with STORE_SERVE"
                f" {self.serve!r} the application does not serve its files. Set"
                " STORE_SERVE to 'proxy'."
            )
        period = links.period(self.url_expires if expires is None else expires)
        query = links.query(self.identity, key, period.end, download_as)
        return f"{self.public_url(name)}?{query}"

    def storage_link(
        self,
        name: str,
        expires: float | None = None,
        download_as: str | None = None,
    ) -> str | None:
        """Like :meth:`signed_url`, but signed by the storage itself, or ``None``."""
        from .. import links
        from .. import presentation

        key = self.key(name)
        shown = presentation.headers(
            key.rpartition("/")[2],
            media_types.content_type(key),
            self.inline_types,
            download_as,
        )
        period = links.period(self.url_expires if expires is None else expires)
        said = shown["Content-Disposition"]
        with self._explained(key):
            return self.dialect.sign(self.fs, key, period, said)

    def presign_upload(
        self,
        filename: str,
        content_type: str | None = None,
        *,
        max_size: int,
        expires: int = 3600,
    ) -> DirectUpload:
        """Let a browser send one file straight to where it will be stored.

        :param filename: as the client calls it; the key gets a UUID.
        :param content_type: by default what the name's extension says.
        :param max_size: in bytes.
        :param expires: in seconds, until when the upload has to be confirmed.
        :return: what to give to the browser.
        """
        from .. import direct

        return direct.presign(self, filename, content_type, max_size, expires)

    def confirm(self, token: str) -> FileWrapper:
        """Take over a file that a browser has sent. Doing it twice gives the same.

        :param token: that of :meth:`presign_upload`.
        :raises BadLink: if the token is not good here, or has expired.
        :raises FileNotFound: if nothing was uploaded.
        :raises TooLarge: if it has more bytes than agreed.
        :raises WrongType: if it is stored as another type than agreed.
        """
        from .. import direct

        return direct.confirm(self, token)

    def absolute_url(self, name: str) -> str:
        if self.signed_urls:
            return self.signed_url(name)
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
