"""Uploads on this host's disk, on their way to the storage: a box for each process."""

from __future__ import annotations

import errno
import hashlib
import os
import typing as t
from collections.abc import Iterator
from contextlib import suppress

import shortuuid

from ..unnamed import probe
from .boxes import Box
from .boxes import Entry
from .boxes import name_of
from .boxes import read_entry
from .boxes import tombstone


class Spool:
    """The boxes of one store on this host.

    :param folder: ``STORE_SPOOL_PATH``.
    :param quota: the bytes that all uploads in the folder may take together.
    :param store: the store's URI; a folder may hold the boxes of several stores.
    """

    def __init__(self, folder: str, quota: int, store: str) -> None:
        self.folder = folder
        self.quota = quota
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
                    return box

    def abandoned(self) -> Iterator[Box]:
        """The boxes of processes that are gone, now held by this one."""
        for path in self._boxes():
            with suppress(FileNotFoundError):
                box = self._take(path)
                if box is not None:
                    yield box

    def room_for(self, size: int) -> bool:
        """Whether the quota allows *size* more bytes."""
        taken = 0
        for box in _folders(self.folder):
            with suppress(FileNotFoundError), os.scandir(box) as files:
                for file in files:
                    with suppress(FileNotFoundError):
                        taken += file.stat().st_size
        return taken + size <= self.quota

    def find(self, key: str) -> tuple[Entry, t.BinaryIO] | None:
        """An upload of any process of this host that is not stored yet."""
        for journal in self._journals(key):
            with suppress(FileNotFoundError):
                data = open(journal.removesuffix("json") + "data", "rb")
                try:
                    return read_entry(journal), data
                except BaseException:
                    data.close()
                    raise
        return None

    def entries(self) -> Iterator[Entry]:
        """Every upload of this store that any process of this host still has."""
        for box in self._boxes():
            with suppress(FileNotFoundError):
                for name in sorted(os.listdir(box)):
                    if name.endswith(".json"):
                        with suppress(FileNotFoundError):
                            yield read_entry(os.path.join(box, name))

    def forget(self, key: str) -> bool:
        """Mark an upload as deleted; whoever uploads it takes care of the rest."""
        for journal in self._journals(key):
            mark = tombstone(journal)
            with suppress(FileNotFoundError):
                os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
                # The journal goes before the mark is looked for. If it is there
                # still, the mark will be seen.
                if os.path.exists(journal):
                    return True
                os.unlink(mark)
        return False

    def _take(self, path: str) -> Box | None:
        if self._nameless is None:
            self._nameless = probe(self.folder, self.folder)
        return Box.take(path, self._nameless)

    def _journals(self, key: str) -> Iterator[str]:
        for box in self._boxes():
            journal = os.path.join(box, f"{name_of(key)}.json")
            if os.path.exists(journal) and not os.path.exists(tombstone(journal)):
                yield journal

    def _boxes(self) -> list[str]:
        return [
            path
            for path in _folders(self.folder)
            if os.path.basename(path).startswith(self.prefix)
        ]


def _folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as found:
            return [entry.path for entry in found if entry.is_dir()]
    except FileNotFoundError:
        return []
