"""The files of a store, some of which wait on this host's disk for their upload."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextlib import contextmanager

from ..dialects import Dialect
from ..dialects import Fetched
from ..dialects import Hold
from ..dialects import Mode
from ..dialects import Original
from ..dialects import Span
from ..dialects import Stat
from ..dialects import Stored
from ..dialects import utc
from ..dialects.bodies import bounds
from ..dialects.bodies import FilePart
from ..dialects.handles import HandleFile
from ..exceptions import StoreError
from ..uploads.disk import Unnamed
from ..uploads.properties import Properties
from ..uploads.source import Source
from . import Background
from .entries import Entry
from .holding import Held


class WaitingFiles:
    """The verbs of a dialect, for files that may still be in the spool.

    A file that waits is read from the spool. A write or a deletion of such a file holds
    its upload until it is done.

    :param stored: the files that are stored.
    :param background: the uploads that wait.
    """

    def __init__(self, stored: Dialect, background: Background) -> None:
        self.stored = stored
        self.background = background

    # -- writing -------------------------------------------------------------

    def stage(self, source: Source) -> AbstractContextManager[t.Any]:
        return self.stored.stage(source)

    def unnamed(self) -> Unnamed | None:
        return self.stored.unnamed()

    def exclusive(self, staged: t.Any) -> bool:
        return self.stored.exclusive(staged)

    def put_file(
        self, staged: t.Any, key: str, content_type: str, mode: Mode
    ) -> Stored | None:
        if mode == "create":
            self.background.make_way(key)
            return self.stored.put_file(staged, key, content_type, mode)
        with self.background.still(key) as held:
            stored = self.stored.put_file(staged, key, content_type, mode)
            if held is not None:
                held.remove()
        return stored

    def stored_by(self, key: str) -> Dialect | None:
        waiting = self.background.find(key)
        if waiting is None:
            return self.stored
        waiting[1].close()
        return None

    def mv(self, original: Original) -> AbstractContextManager[t.Any]:
        return self.stored.mv(original)

    def cp_file(self, original: Original) -> AbstractContextManager[t.Any]:
        return self.stored.cp_file(original)

    @contextmanager
    def hold(self, key: str) -> Iterator[Hold]:
        with self.background.still(key) as held:
            yield WaitingHold(self, key, held)

    def rm_files(self, keys: Sequence[str]) -> Iterator[tuple[str, StoreError | None]]:
        # One at a time: those that wait hold a descriptor each. The others have no
        # upload, and get none, because a file in the spool has a new name.
        stored = []
        for key in keys:
            try:
                with self.stored.explained(key), self.background.still(key) as held:
                    waits = held is not None and self.background.delete(held)
            except StoreError as exc:
                yield key, exc
                continue
            if waits:
                yield key, None
            else:
                stored.append(key)
        if stored:
            yield from self.stored.rm_files(stored)

    # -- reading -------------------------------------------------------------

    def info(self, key: str) -> Stat:
        waiting = self.background.find(key)
        if waiting is None:
            return self.stored.info(key)
        entry, file = waiting
        file.close()
        return _described(entry)

    def get(
        self, key: str, span: Span | None = None, found: Stat | None = None
    ) -> Fetched | None:
        waiting = self.background.find(key)
        if waiting is None:
            return self.stored.get(key, span, found)
        entry, file = waiting
        extent = bounds(span, entry.size)
        if extent is None:
            file.close()
            return None
        return Fetched(_described(entry), *extent, FilePart(file, *extent))

    def confirm_end(self, key: str, span: Span) -> None:
        self.stored.confirm_end(key, span)

    def cat_file(self, key: str) -> bytes:
        waiting = self.background.find(key)
        if waiting is None:
            return self.stored.cat_file(key)
        with waiting[1] as file:
            return file.read()

    def on_disk(self, key: str) -> str | None:
        waiting = self.background.find(key)
        if waiting is None:
            return self.stored.on_disk(key)
        waiting[1].close()
        return None

    def open(self, key: str) -> t.IO[bytes]:
        waiting = self.background.find(key)
        if waiting is None:
            return self.stored.open(key)
        entry, file = waiting
        return t.cast("t.IO[bytes]", HandleFile(file, entry.size))


class SpooledFiles(WaitingFiles):
    """The same files, as ``save`` uses them.

    It puts new files into the spool, and stores a file at once only if the spool does
    not accept it.
    """

    def stage(self, source: Source) -> AbstractContextManager[Source]:
        return source.rewindable(any_thread=False)

    def unnamed(self) -> Unnamed:
        return self.background.unnamed()

    def exclusive(self, staged: Source) -> bool:
        """Always ``False``: every name gets a UUID, so that ``save`` need not ask the
        storage whether a name is free."""
        return False

    def put_file(
        self, staged: Source, key: str, content_type: str, mode: Mode
    ) -> Stored | None:
        self.stored.path(key, follow=False)  # refuses a bad key before it is spooled
        upload = self.background.accept(staged, key, content_type)
        if upload is None:
            with self.stored.stage(staged) as whole:
                return super().put_file(whole, key, content_type, mode)
        return Stored(upload=upload)


class WaitingHold(Hold):
    """A file that may wait in the spool.

    :param held: its upload; ``None`` if this host has none.
    """

    def __init__(self, files: WaitingFiles, key: str, held: Held | None) -> None:
        super().__init__(files.stored, key)
        self._background = files.background
        self._held = held

    def delete(self) -> None:
        if self._held is None or not self._background.delete(self._held):
            super().delete()


def _described(entry: Entry) -> Stat:
    stat = Stat(entry.key, entry.size, utc(entry.saved), None, entry.content_type)
    return stat.keeping(properties=Properties.from_json(entry.properties))
