"""The permissions of new files and folders."""

from __future__ import annotations

import os
import stat
import typing as t

from ..exceptions import NotConfiguredError

#: What any program asks for, and the system takes the umask from (open(2), mkdir(2)).
USUAL_FILE = 0o666
USUAL_FOLDER = 0o777
#: The permissions that a umask may take away, as it leaves those of the owner alone.
SHARED = stat.S_IRWXG | stat.S_IRWXO


class Modes(t.NamedTuple):
    """With which permissions files and folders are made.

    The system applies the umask. A process cannot read its umask without changing it
    for a moment, for all of its threads.

    :param file: those of a file, whatever the umask is. ``None`` means those that any
        program gives to a file: 0666 without the bits of the umask, or what the ACL of
        the folder says.
    :param folder: those of a folder; ``None`` means the same with 0777. A folder keeps
        the set-group-ID bit that it gets from the folder above it.
    """

    file: int | None = None
    folder: int | None = None

    def open(self, path: str, flags: int, within: int | None = None) -> int:
        """Make a file, and open it.

        :param flags: as open(2) has them.
        :param within: the descriptor of a folder in which *path* lies.
        :return: its descriptor.
        """
        if self.file is None:
            return os.open(path, flags, USUAL_FILE, dir_fd=within)
        number = os.open(path, flags, self.file, dir_fd=within)
        if self.file & SHARED:
            try:
                _set(number, self.file)
            except BaseException:
                os.close(number)
                raise
        return number

    def mkdir(self, path: str, within: int | None = None) -> None:
        """Make a folder.

        :param within: the descriptor of a folder in which *path* lies.
        :raises FileExistsError: if the name is taken.
        """
        if self.folder is None:
            os.mkdir(path, USUAL_FOLDER, dir_fd=within)
            return
        os.mkdir(path, self.folder, dir_fd=within)
        if self.folder & ~stat.S_IRWXU and hasattr(os, "O_DIRECTORY"):
            # By a descriptor: somebody may have put a link in its place.
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            number = os.open(path, flags, dir_fd=within)
            try:
                inherited = os.fstat(number).st_mode & stat.S_ISGID
                _set(number, self.folder | inherited)
            finally:
                os.close(number)


def _set(number: int, mode: int) -> None:
    if not hasattr(os, "fchmod"):  # on Windows it comes with Python 3.13
        return
    try:
        os.fchmod(number, mode)
    except OSError as exc:
        raise NotConfiguredError(
            f"The disk does not take the permissions {mode:o} ({exc.strerror}). Remove"
            " STORE_FILE_MODE and STORE_FOLDER_MODE; a disk without permissions, such"
            " as FAT, has those that it is mounted with."
        ) from exc


#: Those of any program.
USUAL = Modes()
#: For the owner alone.
PRIVATE = Modes(0o600, 0o700)
