"""Gives an upload to one at a time: a worker, or a write of the same name."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import replace

from ..concurrency.greenlets import flag
from ..exceptions import StoreUnavailable
from ..naming import quoted
from ..uploads.source import CHUNK
from .boxes import is_orphan
from .entries import Entry
from .entries import Files
from .locks import hold
from .locks import release
from .quota import Quota

#: The most seconds that a write waits for a running upload of its name to stop.
PATIENCE = 30.0
#: Seconds between two attempts to lock the upload: at first, and at most.
FIRST_LOOK = 0.002
LONGEST_LOOK = 0.05


@dataclass
class Held:
    """An upload that this process has locked until it calls :meth:`release`.

    The operating system locks a file, so that the lock holds in every process of the
    host and ends with the process.

    :param entry: the journal, read under the lock.
    :param lock_fd: the descriptor of the locked file.
    :param marked: whether that file stays, as a mark that a try did not come to its
        end.
    :param over: whether the upload has ended: it was removed, or its file deleted.
    """

    files: Files
    entry: Entry
    quota: Quota
    lock_fd: int
    marked: bool
    over: bool = False

    @classmethod
    def acquire(cls, files: Files, quota: Quota) -> Held | None:
        """Lock an upload.

        :return: ``None`` if it is locked already.
        :raises FileNotFoundError: if the upload has ended.
        :raises BadJournal: if its journal cannot be read.
        """
        # A holder removes the lock file when it releases the upload. If the file is
        # here and can be locked, its holder was killed.
        marked = os.path.exists(files.lock)
        try:
            lock_fd = hold(files.lock)
        except FileNotFoundError:
            if not os.path.isdir(files.box):
                raise
            return None  # its holder has just removed the lock file
        if lock_fd is None:
            return None
        try:
            entry = files.read()
        except BaseException as exc:
            # An upload that has ended needs no mark.
            stays = marked and not isinstance(exc, FileNotFoundError)
            release(lock_fd, None if stays else files.lock)
            raise
        return cls(files, entry, quota, lock_fd, marked)

    @property
    def may_be_stored(self) -> bool:
        """Whether a try may have stored the file although its answer was lost."""
        was_tried = self.marked or self.entry.attempts or self.entry.tried
        return bool(was_tried) or is_orphan(self.files.box)

    def note(self) -> None:
        """Write the journal anew."""
        self.files.note(self.entry)

    def remove(self) -> None:
        """Remove the upload from the spool."""
        self.files.remove()
        self.over, self.marked = True, False
        self.quota.give_back(self.files.box, self.entry.blocks)

    def digest(self) -> str:
        """The SHA-256 of the bytes, in hexadecimal digits.

        :raises FileNotFoundError: if neither the bytes nor a note of it are there.
        """
        if self.entry.digest is not None:
            return self.entry.digest
        digest = hashlib.sha256()
        with self.files.open() as file:
            while data := file.read(CHUNK):
                digest.update(data)
        return digest.hexdigest()

    def delete(self) -> None:
        """Remove the bytes now, and note that a worker has to remove what a try may
        have stored.

        :raises OSError: if the journal cannot be written; nothing has changed then.
        """
        before = self.entry
        self.entry = replace(
            before, deleted=True, digest=self.digest(), blocks=self.quota.block
        )
        try:
            self.note()
        except BaseException:
            self.entry = before
            raise
        self.over = True
        with suppress(FileNotFoundError):
            os.unlink(self.files.data)
        self.quota.give_back(self.files.box, before.blocks - self.entry.blocks)

    def release(self) -> None:
        """Unlock the upload."""
        release(self.lock_fd, None if self.marked else self.files.lock)


def wait_for(files: Files, quota: Quota) -> Held:
    """Lock an upload. If it is running, ask it to stop and wait until it has.

    :raises FileNotFoundError: if it has ended, or ends meanwhile.
    :raises BadJournal: if its journal cannot be read.
    :raises StoreUnavailable: if it does not stop.
    """
    deadline, pause = time.monotonic() + PATIENCE, FIRST_LOOK
    stop_requested = False
    try:
        while (held := Held.acquire(files, quota)) is None:
            entry = files.read()
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"The upload of {quoted(entry.key)} in the background does not"
                    " stop, so that the file can be neither replaced nor deleted. Try"
                    " again.",
                    entry.key,
                )
            stop_requested = True
            files.ask_to_stop()
            with flag() as never:  # other greenlets run meanwhile
                never.wait(pause)
            pause = min(2 * pause, LONGEST_LOOK)
        return held
    finally:
        if stop_requested:
            files.do_not_ask()
