"""Every operation of a store, on the generic filesystem API."""

from __future__ import annotations

import datetime as dt
import io
import os
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from contextlib import ExitStack
from dataclasses import replace

from flask import current_app
from fsspec.callbacks import Callback
from fsspec.callbacks import DEFAULT_CALLBACK as NO_CALLBACK

from .. import media_types
from .. import naming
from .. import signals
from .. import usage
from ..bodies import Opened
from ..dialects import Dialect
from ..dialects import pieces
from ..dialects import Stat
from ..dialects import utc
from ..dialects.registry import open_dialect
from ..exceptions import FileExists
from ..exceptions import NotConfiguredError
from ..exceptions import StoreError
from ..exceptions import StoreUnavailable
from ..files import FileWrapper
from ..listing import Listing
from ..sources import open_source
from ..sources import Source
from ..sources import Upload
from . import BaseStore
from .connection import Connection

if t.TYPE_CHECKING:
    from flask import Flask
    from fsspec import AbstractFileSystem

    from ..background import Background
    from ..background.upload import Upload as BackgroundUpload
    from ..direct import DirectUpload

OnConflict: t.TypeAlias = t.Literal["rename", "error", "overwrite"]

#: The folder, in the application's instance folder, for uploads in the background.
SPOOL = "flask-store-spool"

#: A name with a fresh UUID is free. If it is not, something else is wrong.
ATTEMPTS = 5


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
        self.url_prefix = self.url_prefix or self.dialect.prefix
        self._check_serving()
        if self.in_greenlets or config.get("STORE_BACKGROUND"):
            from ..background import Background

            self.background = Background(self, config, self.in_greenlets)

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
            if self.background is None or not self.background.forget(key):
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
            found = self.background and self.background.find(key)
            file = found[1] if found else self.dialect.open(self.fs, key)
        return file if mode == "rb" else io.TextIOWrapper(file, encoding="utf-8")

    def stream(
        self, name: str, start: int = 0, stop: int | None = None
    ) -> Iterator[bytes]:
        """The bytes from *start* up to *stop*, in pieces of at most 1 MiB."""
        key = self.key(name)
        with self._explained(key):
            waiting = self.background and self.background.find(key)
            if waiting:
                yield from _spooled(waiting[1], start, stop)
            else:
                yield from self.dialect.stream(self.fs, key, start, stop)

    def stream_version(self, found: Stat, start: int, stop: int) -> Iterator[bytes]:
        """A part of the very version that *found* describes. It is opened at once,
        so that what goes wrong there is raised here.

        :param found: what :meth:`stat` said.
        :raises VersionGone: if the file has been replaced since.
        """
        key = self.key(found.name)
        with self._explained(key):
            waiting = self.background and self.background.find(key)
            if waiting:
                return Opened(_spooled(waiting[1], start, stop), stop - start)
            body = self.dialect.stream_version(
                self.fs, replace(found, name=key), start, stop
            )
            return body if isinstance(body, Opened) else Opened(body, stop - start)

    def fetch(self, name: str) -> tuple[Stat, Iterator[bytes]] | None:
        """What :meth:`stat` says, and the whole file, opened, where one request to the
        storage has both.

        :raises FileNotFound: if there is no such file.
        """
        key = self.key(name)
        with self._explained(key):
            waiting = self.background and self.background.find(key)
            if waiting:
                waiting[1].close()
                return None
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
            waiting = self.background and self.background.find(key)
            if waiting:
                entry, file = waiting
                file.close()
                return Stat(
                    name, entry.size, utc(entry.saved), None, entry.content_type
                )
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


def _spooled(file: t.IO[bytes], start: int, stop: int | None) -> Iterator[bytes]:
    with file:
        yield from pieces(file, start, stop)


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
