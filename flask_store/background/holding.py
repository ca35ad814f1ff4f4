"""Who works on an upload: its worker, or a write of the same name in the foreground."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
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

#: Seconds that a write waits at most until a running upload of the same name stops.
PATIENCE = 30.0
#: Seconds between two looks, at first and later on.
FIRST_LOOK = 0.002
LONGEST_LOOK = 0.05


class Held:
    """An upload that nobody else works on until it is released.

    The lock is one of the operating system, on a file: it holds in every process of the
    host, and ends with the process.

    :param entry: what the journal says, read under the lock.
    """

    def __init__(self, files: Files, quota: Quota, number: int, left: bool) -> None:
        self.files = files
        self.entry: Entry
        #: Whether the upload is over: it has been removed, or its file deleted.
        self.over = False
        #: Whether the lock's file stays behind, as a mark that a try was broken off.
        self.marked = left
        self._quota = quota
        self._number = number

    @classmethod
    def take(cls, files: Files, quota: Quota) -> Held | None:
        """Hold an upload, or ``None`` if somebody else does so.

        :raises FileNotFoundError: if the upload is gone.
        :raises BadJournal: if its journal cannot be read.
        """
        # Its holder removes the file, unless it was killed.
        left = os.path.exists(files.lock)
        try:
            number = hold(files.lock)
        except FileNotFoundError:
            if not os.path.isdir(files.box):
                raise
            return None  # it was released at this very moment
        if number is None:
            return None
        held = cls(files, quota, number, left)
        try:
            held.entry = files.read()
        except FileNotFoundError:  # of what is gone, no mark is needed
            held.marked = False
            held.release()
            raise
        except BaseException:
            held.release()
            raise
        return held

    @property
    def may_be_stored(self) -> bool:
        """Whether a try may have stored the file, and its answer got lost."""
        said = self.marked or self.entry.attempts or self.entry.tried
        return bool(said) or is_orphan(self.files.box)

    def note(self) -> None:
        """Write the journal anew."""
        self.files.note(self.entry)

    def remove(self) -> None:
        """Remove the upload from the spool."""
        self.files.remove()
        self.over, self.marked = True, False
        self._quota.give_back(self.files.box, self.entry.blocks)

    def digest(self) -> str:
        """The SHA-256 of the bytes, in hexadecimal digits.

        :raises FileNotFoundError: if they are gone, and nobody noted it.
        """
        if self.entry.digest is not None:
            return self.entry.digest
        found = hashlib.sha256()
        with self.files.open() as file:
            while data := file.read(CHUNK):
                found.update(data)
        return found.hexdigest()

    def delete(self) -> None:
        """Remove the bytes at once, and note that a worker has to remove what it may
        have stored of them.

        :raises OSError: if that cannot be noted; everything is as it was then.
        """
        before = self.entry
        self.entry = replace(
            before, deleted=True, digest=self.digest(), blocks=self._quota.block
        )
        try:
            self.note()
        except BaseException:
            self.entry = before
            raise
        self.over = True
        with suppress(FileNotFoundError):
            os.unlink(self.files.data)
        self._quota.give_back(self.files.box, before.blocks - self.entry.blocks)

    def release(self) -> None:
        """Let others work on it."""
        release(self._number, None if self.marked else self.files.lock)


def wait_for(files: Files, quota: Quota) -> Held:
    """Hold an upload. One that is running is asked to stop, and waited for.

    :raises FileNotFoundError: if it is gone, or ends meanwhile.
    :raises BadJournal: if its journal cannot be read.
    :raises StoreUnavailable: if it does not stop.
    """
    deadline, pause = time.monotonic() + PATIENCE, FIRST_LOOK
    asked = False
    try:
        while (held := Held.take(files, quota)) is None:
            entry = files.read()
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"The upload of {quoted(entry.key)} in the background does not"
                    " stop, so that the file can be neither replaced nor deleted. Try"
                    " again.",
                    entry.key,
                )
            asked = True
            files.ask_to_stop()
            with flag() as never:  # other greenlets run meanwhile
                never.wait(pause)
            pause = min(2 * pause, LONGEST_LOOK)
        return held
    finally:
        if asked:
            files.do_not_ask()
