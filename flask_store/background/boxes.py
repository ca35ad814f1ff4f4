"""One process's uploads on this host's disk, in a folder that the process locks.

An upload is two files: its bytes, and a journal that says what to do with them. It
exists from the moment the journal has its name. Bytes without a journal belong to a
``save`` that has not returned.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import suppress

import shortuuid

from ..concurrency.greenlets import lock
from ..uploads.copying import copy_into
from ..uploads.disk import Unnamed
from ..uploads.modes import PRIVATE
from ..uploads.properties import NO_PROPERTIES
from ..uploads.source import Source
from .entries import Entry
from .entries import Files
from .entries import name_of
from .entries import pass_over
from .locks import hold
from .locks import is_held
from .locks import release
from .quota import LOCK
from .quota import WIDTH

#: The extensions of files that a killed process may leave without a journal.
TEMPORARY = ("data", "lock", "stop")

#: What the lock file of a box says behind the number, if the process that made the box
#: was killed and another one has adopted it.
ADOPTED = b" adopted"


class Box:
    """The uploads of one process.

    :param path: its folder.
    :param lock_fd: the descriptor of its lock file, which this process has locked.
    :param nameless: whether the disk supports files without a name (``O_TMPFILE``).
    """

    def __init__(self, path: str, lock_fd: int, nameless: bool) -> None:
        self.path = path
        self._lock_fd = lock_fd
        self._nameless = nameless
        self._guard = lock()
        self._adding = 0
        self._closed = False

    @classmethod
    def acquire(cls, path: str, nameless: bool) -> Box | None:
        """Lock the box at *path* for this process.

        :return: ``None`` if a living process has locked it.
        :raises FileNotFoundError: if another process removes it meanwhile.
        """
        lock_fd = hold(os.path.join(path, LOCK))
        return None if lock_fd is None else cls(path, lock_fd, nameless)

    def add(
        self, source: Source, key: str, content_type: str, reserved: int = 0
    ) -> Entry:
        """Write an upload so that it survives a crash of the process or of the host.

        :param reserved: how many bytes of the quota the caller has reserved for it.
        :raises FileNotFoundError: if somebody removed the folder of the box.
        :raises OSError: if the disk refuses; nothing is left behind then.
        """
        files = self.files(key)
        with self._guard:
            if self._closed:
                raise OSError(errno.ENOENT, "the process is about to end", self.path)
            self._adding += 1
        try:
            self._write(source, files.data)
            info = os.stat(files.data)
            entry = Entry(
                key=key,
                size=info.st_size,
                content_type=content_type,
                saved=time.time(),
                token=shortuuid.uuid(),
                properties=(
                    None
                    if source.properties is NO_PROPERTIES
                    else source.properties.as_json()
                ),
                blocks=max(reserved, info.st_blocks * 512 + info.st_blksize),
            )
            files.note(entry)
            # Somebody may have removed the folder meanwhile, and made one of that
            # name without our lock. No process would own the upload there.
            if not self.is_there():
                raise OSError(errno.ENOENT, "it was removed", self.path)
        except BaseException:
            files.remove()
            if not self.is_there():
                with suppress(OSError):
                    os.rmdir(self.path)
            raise
        finally:
            with self._guard:
                self._adding -= 1
        return entry

    def unnamed(self) -> Unnamed:
        """A new private file on this disk, for an upload that arrives.

        :raises FileNotFoundError: if somebody removed the folder of the box.
        :raises OSError: if the disk refuses.
        """
        return Unnamed(self.path, self.path, self._nameless, modes=PRIVATE, make=False)

    def files(self, key: str) -> Files:
        """Where the files of an upload are."""
        return Files(self.path, name_of(key))

    def entries(self) -> Iterator[Entry]:
        """Every upload of the box. Files without a journal are removed. The log names
        files that can be neither read nor removed."""
        names = os.listdir(self.path)
        self._tidy(names, "part", "json.part")
        for name in sorted(names):
            stem, _, extension = name.partition(".")
            if extension == "json":
                entry = Files(self.path, stem).read_or_pass()
                if entry is not None:
                    yield entry

    def adopt(self) -> None:
        """Note in the lock file that the process which made the box was killed."""
        os.pwrite(self._lock_fd, ADOPTED, WIDTH)

    def is_there(self) -> bool:
        """Whether the folder of the box still has the file that this process locks."""
        try:
            info = os.stat(os.path.join(self.path, LOCK))
            return os.path.samestat(info, os.fstat(self._lock_fd))
        except OSError:
            return False

    def close(self) -> None:
        """Remove the box if it is empty. Otherwise this process keeps the lock until it
        ends: another process must not adopt the box while a thread here still uses it.
        """
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
        release(self._lock_fd)

    def _tidy(self, names: list[str], *extensions: str) -> None:
        """Remove the files without a journal, and those with one of *extensions*."""
        present = set(names)
        for name in names:
            stem, _, extension = name.partition(".")
            path = os.path.join(self.path, name)
            has_no_journal = extension in TEMPORARY and f"{stem}.json" not in present
            if has_no_journal or extension in extensions:
                try:
                    os.unlink(path)
                except FileNotFoundError:
                    pass
                except OSError as exc:
                    pass_over(path, exc)

    def _write(self, source: Source, path: str) -> None:
        # The bytes are synced when they have their name, and the name with the journal.
        # Until then nobody takes them for an upload.
        ready = source.unnamed(self.path)
        if ready is not None:
            os.fchmod(ready.fd, 0o600)
            try:
                ready.publish(path)
            except OSError as exc:
                if exc.errno != errno.EXDEV:
                    raise
            else:
                ready.sync()
                return
        file = self.unnamed()
        try:
            copy_into(source, file)
            file.publish(path)
            file.sync()
        finally:
            file.close()


def is_orphan(box: str) -> bool:
    """Whether the process that made a box was killed. Then it is not known which of its
    uploads have reached the storage."""
    path = os.path.join(box, LOCK)
    if not is_held(path):
        return True
    with suppress(FileNotFoundError), open(path, "rb") as file:
        return file.read().endswith(ADOPTED)
    return True
