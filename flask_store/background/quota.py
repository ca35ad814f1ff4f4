"""How much disk the spool may take.

The lock file of a box has the number of bytes that the files of the box take. So a save
adds up one number for each process, and does not look at the uploads that wait.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import cached_property

from .locks import alone

#: The lock file of a box. The process that owns the box has locked it.
LOCK = "lock"
#: The name of a box: a digest of the store, and a UUID.
BOX = re.compile(r"[0-9a-f]{16}-[A-Za-z0-9]+")
#: The digits of a number in a lock file, so that a new one covers the old one.
WIDTH = 20


class Quota:
    """The bytes that all boxes in a folder may take together.

    A process locks the folder while it adds up and changes the numbers. After a process
    was killed, :meth:`recount` corrects the number of its box.

    :param folder: ``STORE_SPOOL_PATH``.
    :param limit: in bytes.
    """

    def __init__(self, folder: str, limit: int) -> None:
        self.folder = folder
        self.limit = limit

    @cached_property
    def block(self) -> int:
        """The bytes that a file takes at least, if it is not empty."""
        return os.statvfs(self.folder).f_frsize

    def reserve(self, box: str, size: int) -> int | None:
        """Reserve the bytes on disk of an upload of *size* bytes, with its journal,
        before they are written.

        :return: how many these are, or ``None`` if there was no room for them.
        :raises FileNotFoundError: if somebody removed the box.
        """
        cost = -(-size // self.block) * self.block + self.block
        with alone(self.folder):
            if sum(map(_read, boxes(self.folder))) + cost > self.limit:
                return None
            _add(box, cost)
            return cost

    def give_back(self, box: str, size: int) -> None:
        """Reserve *size* bytes less. A negative *size* reserves more, even if there is
        no room."""
        with suppress(OSError), alone(self.folder):
            _add(box, -size)

    def recount(self, box: str, size: int) -> None:
        """Set how many bytes the uploads of a box take."""
        with suppress(OSError), alone(self.folder):
            _add(box, size + self.block - _read(box))


def boxes(folder: str) -> list[str]:
    """The paths of all boxes. Other entries of the folder are ignored, such as the
    ``lost+found`` of a disk."""
    try:
        with os.scandir(folder) as entries:
            return [
                entry.path
                for entry in entries
                if BOX.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read(box: str) -> int:
    try:
        with open(os.path.join(box, LOCK), "rb") as file:
            text = file.read(WIDTH)
    except OSError:  # removed meanwhile, or made by another program
        return 0
    return int(text) if text.isdigit() else 0


def _add(box: str, size: int) -> None:
    """:raises FileNotFoundError: if somebody removed the box."""
    fd = os.open(os.path.join(box, LOCK), os.O_RDWR | os.O_CLOEXEC)
    try:
        text = os.pread(fd, WIDTH, 0)
        used = int(text) if text.isdigit() else 0
        os.pwrite(fd, b"%0*d" % (WIDTH, max(0, used + size)), 0)
    finally:
        os.close(fd)
