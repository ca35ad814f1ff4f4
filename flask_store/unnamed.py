"""A file on disk that gets its name when it is whole."""

from __future__ import annotations

import errno
import os

import shortuuid

from .greenlets import offload

#: What open(2) answers on a filesystem, or a kernel, without O_TMPFILE.
NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS)
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
    :raises OSError: if a file cannot be made there.
    """

    def __init__(
        self,
        folder: str,
        private: str,
        nameless: bool,
        durable: bool = True,
        mode: int = MODE,
    ) -> None:
        self._folder = folder
        self._private = private
        self._durable = durable
        self.mode = mode
        self._end = 0
        self._begun = 0
        #: The private name, if there has to be one.
        self.name: str | None = None
        #: Whether it has got a name, and with it become somebody's.
        self.published = False
        if nameless:
            self.fd = _open_in(folder, folder, os.O_RDWR | os.O_TMPFILE, mode)
        else:
            self.name = self._private_name()
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
            self.fd = _open_in(private, self.name, flags, mode)

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

    def is_near(self, folder: str) -> bool:
        """Whether *folder* is on the same disk, so that a name there is possible."""
        if folder == self._folder:
            return True
        try:
            return os.stat(folder).st_dev == os.fstat(self.fd).st_dev
        except FileNotFoundError:
            return False

    def link(self, path: str) -> None:
        """Give it a name that is free.

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
        else:
            os.link(self.name, path)
        self.published = True

    def replace(self, path: str) -> None:
        """Give it a name, in place of what may be there."""
        if self.name is None:
            name = self._private_name()
            try:
                self.link(name)
            except FileNotFoundError:
                make_folders(self._private)
                self.link(name)
            self.name, self.published = name, False
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

    def _private_name(self) -> str:
        return os.path.join(self._private, f"{shortuuid.uuid()}.part")


def probe(folder: str, private: str) -> bool:
    """Whether files need no private name on the disk of *folder*, by trying it.

    :raises OSError: if no file can be made there at all.
    """
    if not hasattr(os, "O_TMPFILE"):
        return False
    try:
        file = Unnamed(folder, private, nameless=True)
    except OSError as exc:
        if exc.errno in NO_TMPFILE:
            return False
        raise
    try:
        make_folders(private)
        name = file._private_name()
        file.link(name)
    except OSError:  # /proc is not mounted, or hard links are not allowed
        return False
    finally:
        file.close()
    os.unlink(name)
    return True


def make_folders(folder: str) -> None:
    """Like ``os.makedirs``, with one mode for every folder that is made.

    :raises NotADirectoryError: if something else has the name of one.
    """
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(folder)
    if parent != folder:
        make_folders(parent)
    try:
        os.mkdir(folder, 0o755)
    except FileExistsError as exc:
        if not os.path.isdir(folder):
            reason = os.strerror(errno.ENOTDIR)
            raise NotADirectoryError(errno.ENOTDIR, reason, folder) from exc


def sync_folder(folder: str) -> None:
    """Wait until the names in a folder are on the disk; Windows has no such call."""
    if os.name == "posix":
        number = os.open(folder, os.O_RDONLY)
        try:
            offload(os.fsync, number)
        finally:
            os.close(number)


def _open_in(folder: str, path: str, flags: int, mode: int) -> int:
    try:
        return os.open(path, flags | BINARY, mode)
    except FileNotFoundError:
        make_folders(folder)
        return os.open(path, flags | BINARY, mode)
