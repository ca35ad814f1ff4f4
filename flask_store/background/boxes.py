"""One process's uploads on this host's disk, in a folder that is locked by it.

An upload is two files: its bytes, and a journal that says what is to become of them.
It exists from the moment the journal has its name; bytes without a journal were never
promised to anybody.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import asdict

import shortuuid

from ..concurrency.greenlets import lock
from ..uploads.disk import Unnamed
from ..uploads.source import Source
from .copying import copy_into
from .entries import Entry
from .entries import Files
from .entries import name_of
from .entries import parse
from .entries import pass_over
from .locks import hold
from .locks import is_held
from .locks import release
from .quota import LOCK
from .quota import WIDTH

#: What is left of a write or a wait that was broken off, and belongs to no journal.
TEMPORARY = ("data", "lock", "stop")


#: What the lock file of a box says, after the number, if its process was killed and
#: another one has taken it up.
ADOPTED = b" adopted"


class BoxGone(FileNotFoundError):
    """The folder of a box was removed, or is about to be."""


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

    def add(
        self, source: Source, key: str, content_type: str, reserved: int = 0
    ) -> Entry:
        """Write an upload, durably, so that it survives whatever happens next.

        :param reserved: the bytes of the quota that are reserved for it.
        :raises BoxGone: if the folder of the box is gone.
        :raises BadJournal: if the content type is not one line.
        :raises OSError: if it cannot be written; nothing is left then.
        """
        files = self.files(key)
        with self._open():
            try:
                self._write(source, files.data)
                found = os.stat(files.data)
                entry = Entry(
                    key=key,
                    size=found.st_size,
                    content_type=content_type,
                    saved=time.time(),
                    token=shortuuid.uuid(),
                    blocks=max(reserved, found.st_blocks * 512 + found.st_blksize),
                )
                # Nothing is promised that no process could read.
                parse(json.dumps(asdict(entry)).encode(), files.name)
                self.note(entry)
                # A folder that was removed meanwhile may have been made again, but not
                # with our lock. Nobody would know whose the upload is.
                self._check_there()
            except BaseException:
                self.remove(key)
                if not self.is_there():
                    with suppress(OSError):
                        os.rmdir(self.path)
                raise
        return entry

    def unnamed(self) -> Unnamed:
        """A new private file on this disk, for an upload that arrives.

        :raises BoxGone: if the folder of the box is gone.
        :raises OSError: if none can be made.
        """
        with self._open():
            return self._new_file()

    def files(self, key: str) -> Files:
        """Where the files of an upload are."""
        return Files(self.path, name_of(key))

    def note(self, entry: Entry) -> None:
        """Write the journal of an upload anew, in one step and durably."""
        self.files(entry.key).note(entry)

    def remove(self, key: str) -> None:
        """Forget an upload: it is stored, or not wanted any more."""
        self.files(key).remove()

    def data(self, key: str) -> str:
        """Where the bytes of an upload are."""
        return self.files(key).data

    def entries(self) -> Iterator[Entry]:
        """Every upload that is here; what was never promised is removed. What can be
        neither read nor removed is left alone, and the log says so."""
        names = os.listdir(self.path)
        self._tidy(names, "part", "json.part")
        for name in sorted(names):
            stem, _, kind = name.partition(".")
            if kind == "json":
                entry = Files(self.path, stem).read_or_pass()
                if entry is not None:
                    yield entry

    def adopt(self) -> None:
        """Note that the box is of a process that was killed."""
        os.pwrite(self._held, ADOPTED, WIDTH)

    def is_there(self) -> bool:
        """Whether the folder of the box is where it was, with this process's lock."""
        try:
            found = os.stat(os.path.join(self.path, LOCK))
            return os.path.samestat(found, os.fstat(self._held))
        except OSError:
            return False

    def close(self) -> None:
        """Remove the box if it is empty. Otherwise it stays this process's for as long
        as that lives: whoever takes it up must not meet anybody who still works."""
        with self._guard, suppress(OSError):
            if self._closed or self._adding:
                return
            if self.is_there():
                self._tidy(os.listdir(self.path), "json.part")
                if os.listdir(self.path) != [LOCK]:
                    return
                os.unlink(os.path.join(self.path, LOCK))
                os.rmdir(self.path)
            self._closed = True
        release(self._held)

    def _tidy(self, names: list[str], *kinds: str) -> None:
        """Remove what belongs to no journal, and what is of one of these kinds."""
        known = set(names)
        for name in names:
            stem, _, kind = name.partition(".")
            path = os.path.join(self.path, name)
            alone = kind in TEMPORARY and f"{stem}.json" not in known
            if alone or kind in kinds:
                try:
                    os.unlink(path)
                except FileNotFoundError:
                    pass
                except OSError as exc:
                    pass_over(path, exc)

    @contextmanager
    def _open(self) -> Iterator[None]:
        with self._guard:
            if self._closed:
                raise OSError(errno.ENOENT, "the process is about to end", self.path)
            self._adding += 1
        try:
            self._check_there()
            yield
        finally:
            with self._guard:
                self._adding -= 1

    def _check_there(self) -> None:
        if not self.is_there():
            raise BoxGone(errno.ENOENT, "it was removed", self.path)

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
        file = self._new_file()
        try:
            copy_into(source, file)
            file.sync()
            _publish(file, path)
        finally:
            file.close()

    def _new_file(self) -> Unnamed:
        return Unnamed(self.path, self.path, self._nameless, mode=0o600)


def is_orphan(box: str) -> bool:
    """Whether the process that made a box was killed, so that nobody knows which of its
    uploads may have reached the storage."""
    path = os.path.join(box, LOCK)
    if not is_held(path):
        return True
    with suppress(FileNotFoundError), open(path, "rb") as file:
        return file.read().endswith(ADOPTED)
    return True


def _publish(file: Unnamed, path: str) -> None:
    # The name is free, so that a disk without hard links can do it too.
    if file.name is None:
        file.link(path)
    else:
        file.replace(path)
