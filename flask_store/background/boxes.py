"""One process's uploads on this host's disk, in a folder that is locked by it.

An upload is two files: its bytes, and a journal that says what is to become of them.
It exists from the moment the journal has its name; bytes without a journal were never
promised to anybody.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import asdict
from dataclasses import dataclass

from ..greenlets import lock
from ..greenlets import offload
from ..sources import Source
from ..unnamed import sync_folder
from ..unnamed import Unnamed
from .copying import copy_into
from .locks import hold
from .locks import release

logger = logging.getLogger(__name__)

LOCK = "lock"


@dataclass
class Entry:
    """One journal.

    :param key: the file's final name in its store.
    :param size: in bytes.
    :param saved: when it was accepted, as a POSIX timestamp.
    :param attempts: how often it was tried in vain.
    :param cause: what the last attempt raised.
    :param parked: whether trying again is pointless until somebody acts.
    """

    key: str
    size: int
    content_type: str
    saved: float
    attempts: int = 0
    cause: str | None = None
    parked: bool = False


class Box:
    """The uploads of one process.

    :param path: its folder.
    :param held: its lock.
    :param nameless: whether the disk is known to do with files that have no name.
    """

    def __init__(self, path: str, held: int, nameless: bool) -> None:
        self.path = path
        self._held = held
        self._nameless = nameless
        self._guard = lock()
        self._adding = 0
        self._closed = False

    @classmethod
    def take(cls, path: str, nameless: bool) -> Box | None:
        """The box at *path*, or ``None`` if a living process has it.

        :raises FileNotFoundError: if it is removed meanwhile.
        """
        held = hold(os.path.join(path, LOCK))
        return None if held is None else cls(path, held, nameless)

    def add(self, source: Source, key: str, content_type: str) -> Entry:
        """Write an upload, durably, so that it survives whatever happens next.

        :raises OSError: if it cannot be written; nothing is left then.
        """
        entry = Entry(key, source.size, content_type, time.time())
        with self._open():
            try:
                self._write(source, self.data(key))
                self.note(entry)
            except BaseException:
                self.remove(key)
                raise
        return entry

    def unnamed(self) -> Unnamed:
        """A new private file on this disk, for an upload that arrives.

        :raises OSError: if none can be made.
        """
        with self._open():
            return Unnamed(self.path, self.path, self._nameless, mode=0o600)

    def note(self, entry: Entry) -> None:
        """Write the journal anew, in one step and durably."""
        path = self._journal(entry.key)
        part = f"{path}.part"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        with open(os.open(part, flags, 0o600), "w", encoding="utf-8") as file:
            json.dump(asdict(entry), file)
            file.flush()
            offload(os.fsync, file.fileno())
        os.replace(part, path)
        sync_folder(self.path)

    def remove(self, key: str) -> None:
        """Forget an upload: it is stored, or not wanted any more."""
        # In this order: bytes without a journal are rubbish, and not the reverse.
        for path in (self._journal(key), self.data(key)):
            with suppress(FileNotFoundError):
                os.unlink(path)

    def entries(self) -> Iterator[Entry]:
        """Every upload that is here; what was never promised is removed."""
        names = set(os.listdir(self.path))
        for name in sorted(names - {LOCK}):
            stem, _, kind = name.partition(".")
            path = os.path.join(self.path, name)
            if kind == "json":
                try:
                    yield read_entry(path)
                except (ValueError, TypeError):
                    logger.exception("The journal %s is left alone.", path)
            elif kind == "json.part" or f"{stem}.json" not in names:
                os.unlink(path)

    def data(self, key: str) -> str:
        """Where the bytes of an upload are."""
        return os.path.join(self.path, f"{name_of(key)}.data")

    def is_unwanted(self, key: str) -> bool:
        """Whether the file was deleted before it was stored."""
        return os.path.exists(tombstone(self._journal(key)))

    def bury(self, key: str) -> None:
        """Remove the mark of a deleted file."""
        with suppress(FileNotFoundError):
            os.unlink(tombstone(self._journal(key)))

    def is_empty(self) -> bool:
        """Whether nothing is left to do."""
        return os.listdir(self.path) == [LOCK]

    def close(self) -> None:
        """Remove the box if it is empty. Otherwise it stays this process's for as long
        as that lives: whoever takes it up must not meet anybody who still works."""
        with self._guard, suppress(OSError):
            if self._closed or self._adding or not self.is_empty():
                return
            self._closed = True
            os.unlink(os.path.join(self.path, LOCK))
            os.rmdir(self.path)
        release(self._held)

    @contextmanager
    def _open(self) -> Iterator[None]:
        with self._guard:
            if self._closed:
                raise OSError(errno.ENOENT, "the process is about to end", self.path)
            self._adding += 1
        try:
            yield
        finally:
            with self._guard:
                self._adding -= 1

    def _write(self, source: Source, path: str) -> None:
        ready = source.unnamed(self.path)
        if ready is not None:
            os.fchmod(ready.fd, 0o600)
            ready.sync()
            try:
                _publish(ready, path)
                return
            except OSError as exc:
                if exc.errno != errno.EXDEV:
                    raise
        file = self.unnamed()
        try:
            copy_into(source, file)
            file.sync()
            _publish(file, path)
        finally:
            file.close()

    def _journal(self, key: str) -> str:
        return os.path.join(self.path, f"{name_of(key)}.json")


def _publish(file: Unnamed, path: str) -> None:
    # The name is free, so that a disk without hard links can do it too.
    if file.name is None:
        file.link(path)
    else:
        file.replace(path)


def name_of(key: str) -> str:
    """The name of an upload's files; a key may be longer than a file name."""
    return hashlib.sha256(key.encode()).hexdigest()[:40]


def read_entry(path: str) -> Entry:
    """:raises FileNotFoundError: if the upload is gone meanwhile."""
    with open(path, encoding="utf-8") as file:
        return Entry(**json.load(file))


def tombstone(journal: str) -> str:
    """The mark that the file of a journal was deleted before it was stored."""
    return journal.removesuffix("json") + "deleted"
