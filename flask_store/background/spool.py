"""Uploads that wait on this host's disk, in a folder (box) for each process."""

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
from ..uploads.modes import PRIVATE
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

#: Age in seconds at which the file of an interrupted probe is removed.
STALE = 3600.0


class Spool:
    """The boxes of one store on this host.

    :param folder: ``STORE_SPOOL_PATH``.
    :param quota: the bytes that all uploads in the folder may take together.
    :param store: the store's place; a folder may hold the boxes of several stores.
    """

    def __init__(self, folder: str, quota: int, store: str) -> None:
        self.folder = folder
        self.quota = Quota(folder, quota)
        self.prefix = f"{hashlib.sha256(store.encode()).hexdigest()[:16]}-"
        self._nameless: bool | None = None

    def make_box(self) -> Box:
        """A new box, which this process locks.

        :raises OSError: if the folder cannot be used.
        """
        os.makedirs(self.folder, 0o700, exist_ok=True)
        info = os.stat(self.folder)
        if info.st_uid != os.geteuid() or info.st_mode & 0o022:
            # Another user could have any file uploaded under any name.
            raise PermissionError(
                errno.EPERM, "other users may write to it, or it is another user's"
            )
        while True:
            path = os.path.join(self.folder, self.prefix + shortuuid.uuid())
            os.mkdir(path, 0o700)
            with suppress(FileNotFoundError):  # another process took it for abandoned
                box = self._acquire_box(path)
                if box is not None:
                    self.quota.recount(path, 0)
                    return box

    def abandoned(self) -> Iterator[Box]:
        """Lock the boxes of processes that have ended, and yield them."""
        for path in self._boxes():
            with suppress(FileNotFoundError):
                box = self._acquire_box(path)
                if box is not None:
                    box.adopt()
                    yield box

    def tidy(self, older_than: float = STALE) -> None:
        """Remove the files of probes that were killed; see
        :func:`~flask_store.uploads.disk.probe`.

        :param older_than: in seconds. A younger file may still be in use.
        """
        with suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
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
        reserved = self.quota.reserve(box.path, source.size)
        if reserved is None:
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
        """The journal and the bytes of an upload, of any process of this host. There
        are no bytes if the file was deleted and a worker has yet to remove it."""
        for files in self._files_of(key):
            entry = files.read_or_pass()
            if entry is None:
                continue
            if entry.deleted:
                return entry, None
            try:
                return entry, files.open()
            except FileNotFoundError:  # it was stored or deleted meanwhile
                continue
            except OSError as exc:
                pass_over(files.data, exc)
        return None

    @contextmanager
    def still(self, key: str) -> Iterator[Held | None]:
        """Hold the upload of a file; ``None`` if there is none.

        :raises StoreUnavailable: if the upload is running and does not stop.
        """
        held = self._wait_for(key)
        try:
            yield held
        finally:
            if held is not None:
                held.release()

    def entries(self) -> Iterator[Entry]:
        """Every upload of this store, of any process of this host."""
        for box in self._boxes():
            with suppress(FileNotFoundError):
                for name in sorted(os.listdir(box)):
                    stem, _, extension = name.partition(".")
                    if extension == "json":
                        entry = Files(box, stem).read_or_pass()
                        if entry is not None and not entry.deleted:
                            yield entry

    def _wait_for(self, key: str) -> Held | None:
        for files in self._files_of(key):
            try:
                return wait_for(files, self.quota)
            except FileNotFoundError:  # it has ended meanwhile
                continue
            except BadJournal as exc:
                pass_over(files.journal, exc)
        return None

    def _acquire_box(self, path: str) -> Box | None:
        if self._nameless is None:
            self._nameless = probe(self.folder, self.folder, modes=PRIVATE)
        return Box.acquire(path, self._nameless)

    def _files_of(self, key: str) -> Iterator[Files]:
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
