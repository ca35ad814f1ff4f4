"""Uploads on this host's disk, on their way to the storage.

Each process keeps its uploads in a box of its own, a folder with a lock that lives
exactly as long as the process. An upload is two files: its bytes, and a journal that
says what is to become of them. It exists from the moment the journal has its name;
bytes without a journal were never promised to anybody.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import time
import typing as t
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from dataclasses import dataclass

import shortuuid

from ..greenlets import offload
from ..sources import Source
from .copying import copy_into

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
    :param lock: the descriptor that holds the lock.
    """

    def __init__(self, path: str, lock: int) -> None:
        self.path = path
        self._lock = lock

    def add(self, source: Source, key: str, content_type: str) -> Entry:
        """Write an upload, durably, so that it survives whatever happens next.

        :raises OSError: if it cannot be written; nothing is left then.
        """
        entry = Entry(key, source.size, content_type, time.time())
        path = self.data(key)
        try:
            with open(_create(path), "wb", buffering=0) as target:
                copy_into(source, target)
                offload(os.fsync, target.fileno())
            self.note(entry, durable=True)
        except BaseException:
            self.remove(key)
            raise
        return entry

    def note(self, entry: Entry, durable: bool = False) -> None:
        """Write the journal anew, in one step."""
        path = self._journal(entry.key)
        part = f"{path}.part"
        with open(_create(part, os.O_TRUNC), "w", encoding="utf-8") as file:
            json.dump(asdict(entry), file)
            file.flush()
            if durable:
                offload(os.fsync, file.fileno())
        os.replace(part, path)
        if durable:
            _sync_folder(self.path)

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
                with suppress(FileNotFoundError):
                    yield read_entry(path)
            elif kind == "json.part" or f"{stem}.json" not in names:
                os.unlink(path)

    def data(self, key: str) -> str:
        """Where the bytes of an upload are."""
        return os.path.join(self.path, f"{name_of(key)}.data")

    def is_unwanted(self, key: str) -> bool:
        """Whether the file was deleted before it was stored."""
        return os.path.exists(_tombstone(self._journal(key)))

    def bury(self, key: str) -> None:
        """Remove the mark of a deleted file."""
        with suppress(FileNotFoundError):
            os.unlink(_tombstone(self._journal(key)))

    def is_empty(self) -> bool:
        """Whether nothing is left to do."""
        return os.listdir(self.path) == [LOCK]

    def close(self) -> None:
        """Remove the box if it is empty, and let go of it in any case."""
        with suppress(OSError):
            if self.is_empty():
                os.unlink(os.path.join(self.path, LOCK))
                os.rmdir(self.path)
        self.leave()

    def leave(self) -> None:
        """Close the lock, as a forked child has to: it belongs to the parent."""
        with suppress(OSError):
            os.close(self._lock)

    def _journal(self, key: str) -> str:
        return os.path.join(self.path, f"{name_of(key)}.json")


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
            with suppress(FileNotFoundError):
                os.close(_create(os.path.join(path, LOCK)))
                box = _hold(path)
                if box is not None:
                    return box

    def abandoned(self) -> Iterator[Box]:
        """The boxes of processes that are gone, now held by this one."""
        for path in self._boxes():
            with suppress(FileNotFoundError):
                box = _hold(path)
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
            mark = _tombstone(journal)
            with suppress(FileNotFoundError):
                os.close(_create(mark, os.O_TRUNC))
                # The journal goes before the mark is looked for. If it is there
                # still, the mark will be seen.
                if os.path.exists(journal):
                    return True
                os.unlink(mark)
        return False

    def _journals(self, key: str) -> Iterator[str]:
        for box in self._boxes():
            journal = os.path.join(box, f"{name_of(key)}.json")
            if os.path.exists(journal) and not os.path.exists(_tombstone(journal)):
                yield journal

    def _boxes(self) -> list[str]:
        return [
            path
            for path in _folders(self.folder)
            if os.path.basename(path).startswith(self.prefix)
        ]


def name_of(key: str) -> str:
    """The name of an upload's files; a key may be longer than a file name."""
    return hashlib.sha256(key.encode()).hexdigest()[:40]


def read_entry(path: str) -> Entry:
    """:raises FileNotFoundError: if the upload is gone meanwhile."""
    with open(path, encoding="utf-8") as file:
        return Entry(**json.load(file))


def _hold(path: str) -> Box | None:
    """The box, if nobody holds it."""
    name = os.path.join(path, LOCK)
    number = os.open(name, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Somebody may have held it, emptied it and taken it away meanwhile.
        if os.path.samestat(os.stat(name), os.fstat(number)):
            return Box(path, number)
    except BlockingIOError:
        pass
    except BaseException:
        os.close(number)
        raise
    os.close(number)
    return None


def _folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as found:
            return [entry.path for entry in found if entry.is_dir()]
    except FileNotFoundError:
        return []


def _tombstone(journal: str) -> str:
    return journal.removesuffix("json") + "deleted"


def _create(path: str, more: int = os.O_EXCL) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | more, 0o600)


def _sync_folder(path: str) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        offload(os.fsync, number)
    finally:
        os.close(number)
