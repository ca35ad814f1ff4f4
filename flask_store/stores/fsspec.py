"""``FsspecStore``: what changes a store, on the generic filesystem API."""

from __future__ import annotations

import datetime as dt
import typing as t
from contextlib import AbstractContextManager
from contextlib import ExitStack
from contextlib import nullcontext
from contextlib import suppress

from flask import current_app
from fsspec.callbacks import Callback
from fsspec.callbacks import DEFAULT_CALLBACK as NO_CALLBACK

from .. import media_types
from .. import naming
from .. import signals
from ..accepting import open_source
from ..accepting import Upload
from ..exceptions import FileExists
from ..exceptions import NotConfiguredError
from ..exceptions import StoreError
from ..exceptions import VersionGone
from ..files import FileWrapper
from ..sources import Source
from ..unnamed import Unnamed
from .addresses import AddressedStore

if t.TYPE_CHECKING:
    from ..background.entries import Entry
    from ..background.holding import Held
    from ..background.upload import Upload as BackgroundUpload
    from ..dialects import Stat


OnConflict: t.TypeAlias = t.Literal["rename", "error", "overwrite"]

#: A name with a fresh UUID is free. If it is not, something else is wrong.
ATTEMPTS = 5


class FsspecStore(AddressedStore):
    """A store on any filesystem that fsspec knows, chosen by ``STORE_PATH``."""

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
                with source.rewindable(any_thread=False) as source:
                    upload = self._spool(source, key, content_type)
                    if upload is None:
                        self._store(source, key, "overwrite", content_type)
            else:
                key = self._store(source, key, on_conflict, content_type)
        stored = FileWrapper(key, self.at(None), upload)
        try:
            signals.file_saved.send(_application(), file=stored)
        except BaseException:
            # The caller never gets to know the name of a file that was refused. One
            # that was overwritten had its name before.
            if on_conflict != "overwrite":
                with suppress(StoreError, OSError):
                    stored.delete()
            raise
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

    def _unnamed(self) -> Unnamed | None:
        """A new file that :meth:`save` can publish without copying it, for an upload
        that arrives; ``None`` where the store has no disk.

        :raises StoreError: if none can be made.
        :raises OSError: if the spool cannot be written.
        """
        if self.background is not None:
            return self.background.unnamed()
        with self._explained(naming.STAGING):
            return self.dialect.unnamed()

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
                with self._still(key) as waiting:
                    publish(dialect.replace, key)
                    if waiting is not None:
                        waiting.remove()
                return key
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
                if self.background is not None:
                    self.background.make_way(candidate)
                return publish(self.dialect.create, candidate)
            except FileExists:
                raise
            except FileExistsError:
                if on_conflict == "error":
                    raise
                candidate = naming.unique(key)
        raise FileExists(f"No free name was found for {naming.quoted(key)}.", key)

    def _still(self, key: str) -> AbstractContextManager[Held | None]:
        """Hold what the spool has of a file, while the file is written or deleted."""
        return nullcontext() if self.background is None else self.background.still(key)

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
        :raises VersionGone: if the file is replaced twice meanwhile; nothing is stored
            then.
        """
        old = self._wrapped(source)
        # A file that waited for its upload is another version as soon as it is stored.
        with suppress(VersionGone):
            return self._copy(old, old.stat(), target, on_conflict)
        return self._copy(old, old.stat(), target, on_conflict)

    def _copy(
        self, old: FileWrapper, found: Stat, target: str, on_conflict: OnConflict
    ) -> FileWrapper:
        """Copy the version of a file that *found* describes, all of it or nothing."""
        folder, _, name = naming.check(target).rpartition("/")
        there = self.at(naming.join(self.destination, folder))
        with old.provider._open_version(found) as file:
            return there.save(file, name, on_conflict)

    def move(
        self,
        source: str | FileWrapper,
        target: str,
        on_conflict: OnConflict = "rename",
    ) -> FileWrapper:
        """Copy a file to another name and then delete it under the old one.

        The old name is deleted only when the copy is there with the same size and,
        where the storage tells one, the same checksum. Where both names turn out to
        mean one file, nothing is deleted: two spellings on a disk that ignores case,
        or a link within the store.

        :return: the file under its new name, which is the target's unless that was
            taken.
        :raises FileNotFound: if there is no such file.
        :raises StoreError: if the copy is not whole, or the file is replaced
            meanwhile; nothing is deleted then.
        """
        old = self._wrapped(source)
        if on_conflict == "overwrite" and old == self.file(target):
            old.stat()
            return old
        with old.provider._still(old.key) as waiting:
            before = old.stat()
            new = self._copy(old, before, target, on_conflict)
            if new != old:
                self._delete_moved(old, before, new, waiting)
        return new

    def _delete_moved(
        self, old: FileWrapper, before: Stat, new: FileWrapper, waiting: Held | None
    ) -> None:
        """Delete a file that has been copied, if its copy is another file."""
        copied, after = new.stat(), old.stat()
        if not copied.holds(before):
            raise StoreError(
                f"The copy {naming.quoted(new.key)} is not the same as"
                f" {naming.quoted(old.key)}: it has {copied.size} bytes in place of"
                f" {before.size}. Nothing was deleted. Delete the copy, and try again.",
                old.key,
            )
        if self._is_one_file(old, after, new, copied):
            return
        if after.version != before.version:
            raise StoreError(
                f"{naming.quoted(old.key)} was replaced while it was moved. Both"
                f" {naming.quoted(old.key)} and {naming.quoted(new.key)} are kept.",
                old.key,
            )
        old.provider._delete(old.key, waiting)

    def _is_one_file(
        self, old: FileWrapper, after: Stat, new: FileWrapper, copied: Stat
    ) -> bool:
        theirs, mine = old.provider.dialect, self.dialect
        if after.version != copied.version or type(theirs) is not type(mine):
            return False
        with self._explained(old.key):
            return mine.is_one_file(self.fs, theirs.path(old.key), mine.path(new.key))

    def _wrapped(self, source: str | FileWrapper) -> FileWrapper:
        # A FileWrapper knows its whole key; a name is relative to the destination.
        return source if isinstance(source, FileWrapper) else self.file(source)

    def delete(self, name: str) -> None:
        """Remove a file.

        :raises FileNotFound: if it is not there.
        """
        key = self.key(name)
        with self._still(key) as waiting:
            self._delete(key, waiting)

    def _delete(self, key: str, waiting: Held | None) -> None:
        """:param waiting: what the spool has of the file, held."""
        with self._explained(key):
            spool = self.background
            if spool is None or waiting is None or not spool.delete(waiting):
                self.dialect.delete(self.fs, key)
        signals.file_deleted.send(_application(), file=FileWrapper(key, self.at(None)))

    def pending(self) -> list[Entry]:
        """The background uploads of this host that are not stored yet, those that
        are parked with their cause included."""
        return list(self.background.spool.entries()) if self.background else []

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
