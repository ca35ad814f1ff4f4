"""How much disk the spool may take.

The lock file of a box says how many bytes the files of the box take. So a save adds up
one number for each process, and never looks at the uploads that wait.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress

from .locks import alone

#: The lock file of a box, which is held by the process that has the box.
LOCK = "lock"
#: The name of a box: a digest of the store, and a UUID.
BOX = re.compile(r"[0-9a-f]{16}-[A-Za-z0-9]+")
#: The digits of a number in a lock file, so that a new one covers the old one.
WIDTH = 20


class Quota:
    """The bytes that all boxes in a folder may take together.

    They are added up and changed by one process at a time, for which the folder is
    locked. What a killed process did not give back is found by :meth:`recount`.

    :param folder: ``STORE_SPOOL_PATH``.
    :param limit: in bytes.
    """

    def __init__(self, folder: str, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self._block = 0

    def cost(self, size: int) -> int:
        """The bytes on disk of an upload of *size* bytes, with its journal."""
        return -(-size // self.block) * self.block + self.block

    @property
    def block(self) -> int:
        """The least that a file with anything in it takes, in bytes."""
        if not self._block:
            self._block = os.statvfs(self.folder).f_frsize
        return self._block

    def take(self, box: str, size: int) -> bool:
        """Reserve *size* bytes for a box, before they are written.

        :return: whether there was room for them.
        :raises FileNotFoundError: if the box is gone.
        """
        with alone(self.folder):
            mine = _read(box)
            if sum(map(_read_or_zero, boxes(self.folder))) + size > self.limit:
                return False
            _write(box, mine + size)
            return True

    def give_back(self, box: str, size: int) -> None:
        """Let others have what was reserved; a negative *size* takes more, whether
        there is room or not."""
        with suppress(OSError), alone(self.folder):
            _write(box, max(0, _read(box) - size))

    def recount(self, box: str, size: int) -> None:
        """Say how many bytes the uploads of a box take."""
        with suppress(OSError), alone(self.folder):
            _write(box, size + self.block)


def boxes(folder: str) -> list[str]:
    """The paths of all boxes. Whatever else is in the folder is left alone, such as
    the ``lost+found`` of a disk."""
    try:
        with os.scandir(folder) as found:
            return [
                entry.path
                for entry in found
                if BOX.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read(box: str) -> int:
    with open(os.path.join(box, LOCK), "rb") as file:
        text = file.read(WIDTH)
    return int(text) if text.isdigit() else 0


def _read_or_zero(box: str) -> int:
    try:
        return _read(box)
    except OSError:  # removed meanwhile, or none of ours
        return 0


def _write(box: str, size: int) -> None:
    number = os.open(os.path.join(box, LOCK), os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(number, b"%0*d" % (WIDTH, size), 0)
    finally:
        os.close(number)
