"""The files of a store some of which wait for their upload on this host's disk."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import contextmanager

from ..dialects import Dialect
from ..dialects import Fetched
from ..dialects import Hold
from ..dialects import Span
from ..dialects import Stat
from ..dialects import utc
from ..dialects.bodies import FilePart
from ..dialects.records import bounds
from ..uploads.disk import Unnamed
from ..uploads.source import Source
from . import Background
from .entries import Entry
from .holding import Held
from .upload import Upload


class WaitingFiles:
    """A dialect behind the spool: a file that waits is read from there, and whatever
    writes or deletes it holds its upload meanwhile.

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

    def create(self, staged: t.Any, key: str, content_type: str) -> None:
        self.background.make_way(key)
        self.stored.create(staged, key, content_type)

    def replace(self, staged: t.Any, key: str, content_type: str) -> Upload | None:
        with self.background.still(key) as held:
            self.stored.replace(staged, key, content_type)
            if held is not None:
                held.remove()
        return None

    @contextmanager
    def hold(self, key: str) -> Iterator[Hold]:
        with self.background.still(key) as held:
            yield WaitingHold(self, key, held)

    # -- reading -------------------------------------------------------------

    def stat(self, key: str) -> Stat:
        waiting = self.background.find(key)
        if waiting is None:
            return self.stored.stat(key)
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
        where = bounds(span, entry.size)
        if where is None:
            file.close()
            return None
        return Fetched(_described(entry), *where, FilePart(file, *where))

    def confirm_end(self, key: str, span: Span) -> None:
        self.stored.confirm_end(key, span)

    def read(self, key: str) -> bytes:
        waiting = self.background.find(key)
        if waiting is None:
            return self.stored.read(key)
        with waiting[1] as file:
            return file.read()

    def open(self, key: str) -> t.IO[bytes]:
        waiting = self.background.find(key)
        return self.stored.open(key) if waiting is None else waiting[1]


class SpooledFiles(WaitingFiles):
    """The same files, for what arrives: it is stored after ``save`` has returned, or at
    once where the spool does not take it."""

    def stage(self, source: Source) -> AbstractContextManager[Source]:
        return source.rewindable(any_thread=False)

    def unnamed(self) -> Unnamed:
        return self.background.unnamed()

    def exclusive(self, staged: Source) -> bool:
        """Nobody asks the storage which names are free: each gets a UUID."""
        return False

    def replace(self, staged: Source, key: str, content_type: str) -> Upload | None:
        self.stored.path(key, follow=False)  # refuses before anything is promised
        upload = self.background.accept(staged, key, content_type)
        if upload is None:
            with self.stored.stage(staged) as whole:
                super().replace(whole, key, content_type)
        return upload


class WaitingHold(Hold):
    """A file that may wait.

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
    return Stat(entry.key, entry.size, utc(entry.saved), None, entry.content_type)
