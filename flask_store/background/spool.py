"""Uploads on this host's disk, on their way to the storage: a box for each process."""

from __future__ import annotations

import errno
import hashlib
import os
import time
import typing as t
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress

import shortuuid

from ..uploads.disk import probe
from ..uploads.source import Source
from .boxes import Box
from .entries import BadJournal
from .entries import Entry
from .entries import Files
from .entries import name_of
from .entries import pass_over
from .holding import Held
from .holding import wait_for
from .quota import boxes
from .quota import Quota

#: Seconds after which a file of a probe that was broken off is removed.
STALE = 3600.0


class Spool:
    """The boxes of one store on this host.

    :param folder: ``STORE_SPOOL_PATH``.
    :param quota: the bytes that all uploads in the folder may take together.
    :param store: the store's URI; a folder may hold the boxes of several stores.
    """

    def __init__(self, folder: str, quota: int, store: str) -> None:
        self.folder = folder
        self.quota = Quota(folder, quota)
        self.prefix = f"{hashlib.sha256(store.encode()).hexdigest()[:16]}-"
        self._nameless: bool | None = None

    def make_box(self) -> Box:
        """A new box, held by this process.

        :raises OSError: if the folder cannot be used.
        """
        os.makedirs(self.folder, 0o700, exist_ok=True)
        found = os.stat(self.folder)
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            # Who may write here may have anything uploaded under any name.
            raise PermissionError(
                errno.EPERM, "other users may write to it, or it is another user's"
            )
        while True:
            path = os.path.join(self.folder, self.prefix + shortuuid.uuid())
            os.mkdir(path, 0o700)
            with suppress(FileNotFoundError):  # who looks around has swept it away
                box = self._take(path)
                if box is not None:
                    self.quota.recount(path, 0)
                    return box

    def abandoned(self) -> Iterator[Box]:
        """The boxes of processes that are gone, now held by this one."""
        for path in self._boxes():
            with suppress(FileNotFoundError):
                box = self._take(path)
                if box is not None:
                    box.adopt()
                    yield box

    def tidy(self, older_than: float = STALE) -> None:
        """Remove what processes left in the folder that were killed while they looked
        what its disk can do.

        :param older_than: in seconds; what is younger may still be in use.
        """
        with suppress(FileNotFoundError), os.scandir(self.folder) as found:
            for entry in found:
                if entry.name.endswith(".part"):
                    with suppress(OSError):
                        age = time.time() - entry.stat(follow_symlinks=False).st_mtime
                        if age > older_than:
                            os.unlink(entry.path)

    def add(
        self, box: Box, source: Source, key: str, content_type: str
    ) -> Entry | None:
        """Write an upload into a box of this process; see :meth:`Box.add`.

        :return: ``None`` if the quota leaves no room for it.
        """
        reserved = self.quota.cost(source.size)
        if not self.quota.take(box.path, reserved):
            return None
        try:
            entry = box.add(source, key, content_type, reserved)
        except BaseException:
            self.quota.give_back(box.path, reserved)
            raise
        if entry.blocks != reserved:
            self.quota.give_back(box.path, reserved - entry.blocks)
        return entry

    def find(self, key: str) -> tuple[Entry, t.BinaryIO | None] | None:
        """An upload of any process of this host that is not stored yet, with its bytes;
        without them, if its file was deleted and is still to be removed."""
        for files in self._places(key):
            entry = files.read_or_pass()
            if entry is None:
                continue
            if entry.deleted:
                return entry, None
            try:
                return entry, files.open()
            except FileNotFoundError:  # it is stored, or deleted, by now
                continue
            except OSError as exc:
                pass_over(files.data, exc)
        return None

    @contextmanager
    def still(self, key: str) -> Iterator[Held | None]:
        """Let nobody work on the upload of a file; ``None`` if there is none.

        :raises StoreUnavailable: if it runs, and does not stop.
        """
        held = self._hold(key)
        try:
            yield held
        finally:
            if held is not None:
                held.release()

    def entries(self) -> Iterator[Entry]:
        """Every upload of this store that any process of this host still has."""
        for box in self._boxes():
            with suppress(FileNotFoundError):
                for name in sorted(os.listdir(box)):
                    stem, _, kind = name.partition(".")
                    if kind == "json":
                        entry = Files(box, stem).read_or_pass()
                        if entry is not None and not entry.deleted:
                            yield entry

    def _hold(self, key: str) -> Held | None:
        for files in self._places(key):
            try:
                return wait_for(files, self.quota)
            except FileNotFoundError:  # it has ended meanwhile
                continue
            except BadJournal as exc:
                pass_over(files.journal, exc)
        return None

    def _take(self, path: str) -> Box | None:
        if self._nameless is None:
            self._nameless = probe(self.folder, self.folder)
        return Box.take(path, self._nameless)

    def _places(self, key: str) -> Iterator[Files]:
        for box in self._boxes():
            files = Files(box, name_of(key))
            if os.path.lexists(files.journal):
                yield files

    def _boxes(self) -> list[str]:
        return [
            path
            for path in boxes(self.folder)
            if os.path.basename(path).startswith(self.prefix)
        ]
