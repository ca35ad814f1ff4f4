"""A private file that grows from request to request, whichever process writes."""

from __future__ import annotations

import os
import sys
import typing as t
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import contextmanager
from contextlib import suppress

from ..concurrency.greenlets import offload
from ..media_types import UNKNOWN
from ..uploads.disk import BINARY
from ..uploads.disk import sync_name
from ..uploads.modes import Modes
from .folders import hold
from .records import Stat

if sys.platform != "win32":
    import fcntl


class Raced(Exception):
    """The file has grown meanwhile, by another writer."""


class Writer(t.Protocol):
    """What appends to a growing file.

    :param position: up to where the file is stored.
    """

    position: int

    def write(self, data: bytes) -> None:
        """Take some bytes.

        :raises Raced: if another writer was quicker. Nothing of *data* is stored then.
        """


class Growing(t.Protocol):
    """A private file that grows. Of several writers at one position, one wins."""

    def size(self) -> int:
        """How many bytes it has."""

    def writer(self, position: int) -> AbstractContextManager[Writer]:
        """What appends from a position. At the end of the block all bytes are stored
        that it was given, also if the block ends by an exception.

        :param position: in bytes, where the caller believes that the file ends.
        :raises Raced: if it does not end there, here or at the end of the block.
        """

    def parts(self) -> list[Stat]:
        """The private files that it consists of, in their order. Nobody changes them
        once it is whole."""

    def remove(self) -> None:
        """Remove it, as far as it is there."""


class GrowingFile:
    """A file on disk, whose size says how much has arrived.

    A write looks at the size and appends under one lock of the file, so that a writer
    that was taken for dead and wakes up finds that the file has grown, and stops. The
    system releases the lock of a process that dies (flock(2)).

    :param root: of the store.
    :param key: of the private file.
    :param durable: whether the bytes have to be on the disk at the end of a block.
    """

    def __init__(self, root: str, key: str, modes: Modes, durable: bool) -> None:
        self._root = root
        self._key = key
        self._modes = modes
        self._durable = durable

    def size(self) -> int:
        try:
            with hold(self._root, self._key) as place:
                return place.stat().st_size
        except FileNotFoundError:
            return 0

    @contextmanager
    def writer(self, position: int) -> Iterator[FileWriter]:
        new = os.O_CREAT if position == 0 else 0
        try:
            descriptor = self._open(os.O_RDWR | new)
        except FileNotFoundError as exc:
            raise Raced from exc  # it was published, or ended
        try:
            writer = FileWriter(descriptor, position)
            try:
                yield writer
            finally:
                if self._durable and writer.position > position:
                    offload(os.fsync, descriptor)
        finally:
            os.close(descriptor)

    def parts(self) -> list[Stat]:
        try:
            descriptor = self._open(os.O_RDWR)
        except FileNotFoundError:
            return []
        try:
            if self._durable:
                offload(os.fsync, descriptor)
            size = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        return [Stat(self._key, size, None, None, UNKNOWN)] if size else []

    def remove(self) -> None:
        with suppress(FileNotFoundError), hold(self._root, self._key) as place:
            os.remove(place.name, dir_fd=place.folder)

    def _open(self, flags: int) -> int:
        flags |= getattr(os, "O_NOFOLLOW", 0) | BINARY
        make = self._modes if flags & os.O_CREAT else None
        with hold(self._root, self._key, make=make, durable=self._durable) as place:
            descriptor = self._modes.open(place.name, flags, place.folder)
            if self._durable and flags & os.O_CREAT:
                sync_name(place.path, place.folder)
        return descriptor


class FileWriter:
    """Appends to a file on disk."""

    def __init__(self, descriptor: int, position: int) -> None:
        self._descriptor = descriptor
        self.position = position

    def write(self, data: bytes) -> None:
        # Nothing in here lets other greenlets run, which would wait for the lock.
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            found = os.fstat(self._descriptor)
            # One without a name was ended.
            if found.st_size != self.position or not found.st_nlink:
                raise Raced
            view = memoryview(data)
            while view:
                written = os.pwrite(self._descriptor, view, self.position)
                self.position += written
                view = view[written:]
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
