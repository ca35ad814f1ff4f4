"""A file on disk that gets its name when it is whole."""

from __future__ import annotations

import errno
import logging
import os
from contextlib import suppress

import shortuuid

from .greenlets import offload

logger = logging.getLogger(__name__)

#: What open(2) answers on a filesystem, or a kernel, without O_TMPFILE.
NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS)
#: What fsync(2) answers for a folder where only files can be synced, as on vboxsf and
#: on some servers and drivers behind CIFS and FUSE.
NO_FOLDER_SYNC = (
    errno.EINVAL,
    errno.EBADF,
    errno.EISDIR,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EPERM,
    errno.EACCES,
)
#: Windows would translate the ends of lines.
BINARY = getattr(os, "O_BINARY", 0)
#: A normal file's under the umask: the web server beside us has to read it.
MODE = 0o644
#: How many bytes wait at most until the disk begins with them.
BEGIN = 8 * 1024**2


class Unnamed:
    """A new, empty file of which nothing is left unless it gets a name.

    Linux keeps a file that has no name at all (``O_TMPFILE``, open(2)) for as long as
    it is open, so that even a killed process leaves nothing. Elsewhere, and on network
    disks, it has a private name until then.

    :param folder: any folder on the disk where the file will get its name.
    :param private: the folder for private names; it is made when it is needed.
    :param nameless: whether the disk is known to do without them; see ``probe``.
    :param durable: whether :meth:`sync` is to follow, and the disk had better begin.
    :param mode: its permissions, from which the umask takes away.
    :param make: whether *folder* is made if it is missing.
    :raises FileNotFoundError: if it is missing and not to be made.
    :raises OSError: if a file cannot be made there.
    """

    def __init__(
        self,
        folder: str,
        private: str,
        nameless: bool,
        durable: bool = True,
        mode: int = MODE,
        make: bool = True,
    ) -> None:
        self._folder = folder
        self._private = private
        self._make = make
        self._durable = durable
        self.mode = mode
        self._end = 0
        self._begun = 0
        self._synced = False
        #: The private name, if there has to be one.
        self.name: str | None = None
        #: Whether it has got a name, and with it become somebody's.
        self.published = False
        if nameless:
            path, flags = folder, os.O_RDWR | os.O_TMPFILE
        else:
            path = self.name = self._private_name()
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | BINARY
        try:
            self.fd = os.open(path, flags, mode)
        except FileNotFoundError:
            self._make_folder(folder if nameless else private)
            self.fd = os.open(path, flags, mode)

    def write(self, data: bytes) -> None:
        """Write all of *data* where the last write ended."""
        view = memoryview(data)
        while view:
            view = view[os.write(self.fd, view) :]
        self._end += len(data)
        self.begin(self._end)

    def begin(self, end: int) -> None:
        """Let the disk begin with the bytes up to *end*, while more of them arrive, so
        that :meth:`sync` has less to wait for."""
        size = end - self._begun
        if self._durable and size >= BEGIN and hasattr(os, "posix_fadvise"):
            # Linux starts to write what is dirty, and drops what is not (fadvise(2)):
            # nothing, as all of it has just been written.
            os.posix_fadvise(self.fd, self._begun, size, os.POSIX_FADV_DONTNEED)
            self._begun = end

    def sync(self) -> None:
        """Wait until the bytes are on the disk, while other greenlets run. Without it
        a cut of the power may leave the name, and bytes that are not there."""
        offload(os.fsync, self.fd)
        self._synced = True

    def is_near(self, folder: str) -> bool:
        """Whether *folder* is on the same disk, so that a name there is possible."""
        if folder == self._folder:
            return True
        try:
            return os.stat(folder).st_dev == os.fstat(self.fd).st_dev
        except FileNotFoundError:
            return False

    def link(self, path: str) -> None:
        """Give it a name that is free. A file that was synced is synced again if it
        had no name: a filesystem without a journal (ext2) has written down that nobody
        needs it, and drops it after a cut of the power, whatever its folder says.

        :raises FileExistsError: if the name is taken.
        :raises FileNotFoundError: if there is no such folder.
        """
        if self.name is None:
            # Any descriptor makes Python call linkat(2), which follows this link.
            os.link(
                f"/proc/self/fd/{self.fd}",
                path,
                src_dir_fd=self.fd,
                follow_symlinks=True,
            )
            if self._synced:
                self.sync()
        else:
            os.link(self.name, path)
        self.published = True

    def replace(self, path: str) -> None:
        """Give it a name, in place of what may be there."""
        if self.name is None:
            self.name, self.published = self._link_privately(), False
        os.replace(self.name, path)
        self.name, self.published = None, True

    def seal(self) -> None:
        """Let nobody who still has the descriptor write through it any more."""
        path = self.name or f"/proc/self/fd/{self.fd}"
        sealed = os.open(path, os.O_RDONLY | BINARY)
        try:
            os.lseek(sealed, os.lseek(self.fd, 0, os.SEEK_CUR), os.SEEK_SET)
            os.dup2(sealed, self.fd, inheritable=False)
        finally:
            os.close(sealed)

    def close(self) -> None:
        """Close it. Without a name, or with a private one, it is gone."""
        os.close(self.fd)
        if self.name is not None:
            os.unlink(self.name)

    def _link_privately(self) -> str:
        """Give it a private name, which is returned."""
        name = self._private_name()
        try:
            self.link(name)
        except FileNotFoundError:
            self._make_folder(self._private)
            self.link(name)
        return name

    def _make_folder(self, folder: str) -> None:
        if self._make:
            make_folders(folder)
        elif folder == self._folder:
            reason = os.strerror(errno.ENOENT)
            raise FileNotFoundError(errno.ENOENT, reason, folder)
        else:
            with suppress(FileExistsError):
                os.mkdir(folder, 0o755)

    def _private_name(self) -> str:
        return os.path.join(self._private, f"{shortuuid.uuid()}.part")


def probe(folder: str, private: str, make: bool = True) -> bool:
    """Whether files need no private name on the disk of *folder*, by trying it.

    :param make: whether *folder* is made if it is missing.
    :raises OSError: if no file can be made there at all.
    """
    if not hasattr(os, "O_TMPFILE"):
        return False
    try:
        file = Unnamed(folder, private, nameless=True, make=make)
    except OSError as exc:
        if exc.errno in NO_TMPFILE:
            return False
        raise
    try:
        name = file._link_privately()
    except OSError:  # /proc is not mounted, or hard links are not allowed
        return False
    finally:
        file.close()
    os.unlink(name)
    return True


def make_folders(folder: str, durable: bool = False) -> None:
    """Like ``os.makedirs``, with one mode for every folder that is made.

    :param durable: whether to wait until the new names are on the disk.
    :raises NotADirectoryError: if something else has the name of one.
    """
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(folder)
    if parent != folder:
        make_folders(parent, durable)
    try:
        os.mkdir(folder, 0o755)
    except FileExistsError as exc:
        if not os.path.isdir(folder):
            reason = os.strerror(errno.ENOTDIR)
            raise NotADirectoryError(errno.ENOTDIR, reason, folder) from exc
    if durable:
        sync_folder(parent)


def sync_folder(folder: str) -> None:
    """Wait until the names in a folder are on the disk; Windows has no such call.

    Where that is not possible it is only logged: the names are there, and an error
    would make the client send again what is stored.

    :raises OSError: if the disk fails, so that the names may not be on it.
    """
    if os.name != "posix":
        return
    try:
        number = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:  # somebody has removed it, with all that was in it
        return
    except OSError as exc:
        logger.warning(UNSYNCED, folder, exc.strerror)
        return
    try:
        offload(os.fsync, number)
    except OSError as exc:
        if exc.errno not in NO_FOLDER_SYNC:
            raise
        # Once for each disk: it will say so after every save.
        device = os.fstat(number).st_dev
        if device not in _told:
            _told.add(device)
            logger.warning(UNSYNCED, folder, exc.strerror)
    finally:
        os.close(number)


UNSYNCED = (
    "The folder %s cannot be synced (%s). What is stored in it is there, but a cut of"
    " the power in the next seconds may take it away."
)
#: The disks of which it was said that their folders cannot be synced.
_told: set[int] = set()
