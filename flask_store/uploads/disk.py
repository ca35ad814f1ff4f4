"""A file on disk that gets its name when it is whole."""

from __future__ import annotations

import ctypes
import errno
import functools
import logging
import os
import typing as t
from contextlib import suppress

import shortuuid

from ..concurrency.greenlets import offload
from ..exceptions import StoreDenied
from .modes import Modes
from .modes import USUAL

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
#: What link(2) answers on a filesystem without hard links, such as FAT.
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
#: Windows would translate the ends of lines.
BINARY = getattr(os, "O_BINARY", 0)
#: How many bytes wait at most until the disk begins with them.
BEGIN = 8 * 1024**2
#: Whether the system has descriptors of folders, and gives names by them.
FOLDERS = {os.open, os.link, os.unlink, os.rename} <= os.supports_dir_fd
#: Whether a hard link of a symbolic link has to be one of what that leads to.
FOLLOWS = os.link not in os.supports_follow_symlinks
#: Wait for what is being written, write what is dirty, and wait for it
#: (``SYNC_FILE_RANGE_WAIT_BEFORE``, ``_WRITE`` and ``_WAIT_AFTER`` of linux/fs.h).
PUSH = 1 | 2 | 4
#: The options of a disk that :func:`is_ordered` wants, and those with which nobody has
#: tried it: the second one is what Linux says of a disk with fast commits.
ORDERED = {"rw", "barrier", "data=ordered", "delalloc"}
UNTRIED = {"fast_commit", "fc_debug_force"}
NO_PRIVATE = (
    "{!r} is a symbolic link, or a file, where Flask-Store needs a folder of its own."
    " Remove it."
)


class Unnamed:
    """A new, empty file of which nothing is left unless it gets a name.

    Linux keeps a file that has no name at all (``O_TMPFILE``, open(2)) for as long as
    it is open, so that even a killed process leaves nothing. Elsewhere, and on network
    disks, it has a private name until then.

    :param folder: any folder on the disk where the file will get its name.
    :param private: the folder for private names; it is made when it is needed.
    :param nameless: whether the disk is known to do without them; see ``probe``.
    :param durable: whether :meth:`sync` is to follow, and the disk had better begin.
    :param modes: its permissions, and those of a folder that is made for it.
    :param make: whether *folder* is made if it is missing.
    :param within: the descriptor of a folder in which *folder* and *private* lie, if
        they are no absolute paths. It stays open until this is closed.
    :param ordered: whether the disk is known to write a name down only after the bytes
        that are pushed to it before; see ``is_ordered``. With a private name this
        is of no use.
    :raises FileNotFoundError: if it is missing and not to be made.
    :raises StoreDenied: if the private folder is a link: it might lead anywhere.
    :raises OSError: if a file cannot be made there.
    """

    def __init__(
        self,
        folder: str,
        private: str,
        nameless: bool,
        durable: bool = True,
        modes: Modes = USUAL,
        make: bool = True,
        within: int | None = None,
        ordered: bool = False,
    ) -> None:
        self._within = within
        #: Whether one sync, when it has its name, is one of the bytes, the name and the
        #: folder.
        self.ordered = ordered and nameless
        #: The descriptor of the private folder, while there is a private name.
        self._home: int | None = None
        self._folder = folder
        self._private = private
        self._make = make
        self._durable = durable
        self.modes = modes
        #: How many bytes it has.
        self.end = 0
        #: Up to where the disk has begun with the bytes.
        self.begun = 0
        self._synced = False
        #: The private name, if there has to be one.
        self.name: str | None = None
        #: Whether it has got a name, and with it become somebody's.
        self.published = False
        if nameless:
            flags = os.O_RDWR | os.O_TMPFILE
            try:
                self.fd = modes.open(folder, flags, within)
            except FileNotFoundError:
                self._make_folder(folder)
                self.fd = modes.open(folder, flags, within)
            return
        self._hold_private()
        self.name = self._private_name()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | BINARY
        try:
            self.fd = modes.open(self._short(self.name), flags, self._home)
        except BaseException:
            self._let_go()
            raise

    def write(self, data: bytes) -> None:
        """Write all of *data* where the last write ended."""
        view = memoryview(data)
        while view:
            view = view[os.write(self.fd, view) :]
        self.end += len(data)
        if self.end - self.begun >= BEGIN:
            self.begin(self.end)

    def begin(self, end: int) -> None:
        """Let the disk begin with the bytes up to *end*, while more of them arrive, so
        that :meth:`sync` has less to wait for. That pays from ``BEGIN`` bytes on.
        """
        if self._durable and hasattr(os, "posix_fadvise"):
            # Linux starts to write what is dirty, and drops what is not (fadvise(2)):
            # nothing, as all of it has just been written.
            size = end - self.begun
            os.posix_fadvise(self.fd, self.begun, size, os.POSIX_FADV_DONTNEED)
        self.begun = end

    def sync(self) -> None:
        """Wait until the disk has the bytes, while other greenlets run. Without it a
        cut of the power may leave the name, and bytes that are not there.

        An ordered disk may have them in its cache only. It writes the name down after
        them, and :meth:`link` or :meth:`replace` waits for both.
        """
        if self.ordered:
            offload(push, self.fd)
        else:
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

    def link(self, path: str, folder: int | None = None) -> None:
        """Give it a name that is free. A file that was synced is synced again if it
        had no name. That is the only sync on an ordered disk. A filesystem without a
        journal (ext2) has written down that nobody needs the file, and drops it after a
        cut of the power, whatever its folder says.

        :param folder: the descriptor of a folder in which *path* lies.
        :raises FileExistsError: if the name is taken.
        :raises FileNotFoundError: if there is no such folder.
        """
        if self.name is None:
            # Any descriptor makes Python call linkat(2), which follows this link.
            os.link(
                f"/proc/self/fd/{self.fd}",
                path,
                src_dir_fd=self.fd,
                dst_dir_fd=folder,
                follow_symlinks=True,
            )
            if self._synced:
                offload(os.fsync, self.fd)
        else:
            self._link_named(path, folder)
        self.published = True

    def replace(self, path: str, folder: int | None = None) -> None:
        """Give it a name, in place of what may be there.

        :param folder: the descriptor of a folder in which *path* lies.
        """
        if self.name is None:
            self.name, self.published = self._link_privately(), False
        os.replace(
            self._short(self.name), path, src_dir_fd=self._home, dst_dir_fd=folder
        )
        if self.ordered and self._synced:
            offload(os.fsync, self.fd)
        self.name, self.published = None, True
        if self._home is not None:
            self._let_go()

    def publish(self, path: str) -> None:
        """Give it a name that nobody else takes, also on a disk without hard links.
        See :meth:`link`."""
        if self.name is None:
            self.link(path)
        else:
            self.replace(path)

    def can_link(self) -> bool:
        """Whether its disk has hard links."""
        if self.name is None:
            return True
        second = f"{self._short(self.name)}.link"
        try:
            self._link_named(second, self._home)
        except OSError as exc:
            if exc.errno in NO_LINKS:
                return False
            raise
        os.unlink(second, dir_fd=self._home)
        return True

    def seal(self) -> None:
        """Let nobody who still has the descriptor write through it any more."""
        flags = os.O_RDONLY | BINARY
        if self.name is None:
            sealed = os.open(f"/proc/self/fd/{self.fd}", flags)
        else:
            flags |= getattr(os, "O_NOFOLLOW", 0)
            sealed = os.open(self._short(self.name), flags, dir_fd=self._home)
        try:
            os.lseek(sealed, os.lseek(self.fd, 0, os.SEEK_CUR), os.SEEK_SET)
            os.dup2(sealed, self.fd, inheritable=False)
        finally:
            os.close(sealed)

    def close(self) -> None:
        """Close it. Without a name, or with a private one, it is gone."""
        os.close(self.fd)
        try:
            if self.name is not None:
                os.unlink(self._short(self.name), dir_fd=self._home)
        finally:
            if self._home is not None:
                self._let_go()

    def _link_named(self, path: str, folder: int | None) -> None:
        assert self.name is not None
        os.link(
            self._short(self.name),
            path,
            src_dir_fd=self._home,
            dst_dir_fd=folder,
            follow_symlinks=FOLLOWS,
        )

    def _link_privately(self) -> str:
        """Give it a private name, which is returned."""
        self._hold_private()
        name = self._private_name()
        try:
            self.link(self._short(name), self._home)
        except BaseException:
            self._let_go()
            raise
        return name

    def _hold_private(self) -> None:
        """Hold the private folder, and make it if it is missing."""
        try:
            self._home = self._open_private()
        except FileNotFoundError:
            self._make_folder(self._private)
            self._home = self._open_private()

    def _open_private(self) -> int | None:
        if not FOLDERS:
            os.stat(self._private)
            return None
        flags = os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)
        if self._private != self._folder:  # the application's choice, which may be one
            flags |= os.O_NOFOLLOW
        try:
            return os.open(self._private, flags, dir_fd=self._within)
        except OSError as exc:
            if exc.errno in (errno.ENOTDIR, errno.ELOOP) and self._private_is_odd():
                raise StoreDenied(NO_PRIVATE.format(self._private)) from exc
            raise

    def _private_is_odd(self) -> bool:
        # Otherwise the store itself is no folder.
        try:
            os.stat(self._private, dir_fd=self._within, follow_symlinks=False)
        except OSError:
            return False
        return True

    def _let_go(self) -> None:
        home, self._home = self._home, None
        if home is not None:
            os.close(home)

    def _short(self, name: str) -> str:
        """A private name, as the private folder has it if that is held."""
        return name if self._home is None else os.path.basename(name)

    def _make_folder(self, folder: str) -> None:
        if self._make:
            make_folders(folder, self.modes)
        elif folder == self._folder:
            reason = os.strerror(errno.ENOENT)
            raise FileNotFoundError(errno.ENOENT, reason, folder)
        else:
            with suppress(FileExistsError):
                self.modes.mkdir(folder, self._within)

    def _private_name(self) -> str:
        return os.path.join(self._private, f"{shortuuid.uuid()}.part")


def probe(
    folder: str,
    private: str,
    make: bool = True,
    within: int | None = None,
    modes: Modes = USUAL,
) -> bool:
    """Whether files need no private name on the disk of *folder*, by trying it.

    :param make: whether *folder* is made if it is missing.
    :param within: the descriptor of a folder in which both lie.
    :param modes: the permissions of the folders that are made.
    :raises StoreDenied: if the private folder is a link.
    :raises OSError: if no file can be made there at all.
    """
    if not hasattr(os, "O_TMPFILE"):
        return False
    try:
        file = Unnamed(
            folder, private, nameless=True, make=make, within=within, modes=modes
        )
    except OSError as exc:
        if exc.errno in NO_TMPFILE:
            return False
        raise
    try:
        file.name = file._link_privately()
    except StoreDenied:  # somebody has put a link there
        raise
    except OSError:  # /proc is not mounted, or hard links are not allowed
        return False
    finally:
        file.close()
    return True


def is_ordered(folder: str) -> bool:
    """Whether the disk of *folder* writes a name down only after the bytes of the file,
    if :func:`push` has given it the bytes before, so that one sync does for both.

    ext4 does, with a journal of its own, ``data=ordered`` and ``barrier``, as it has by
    default: "All data are forced directly out to the main file system prior to its
    metadata being committed to the journal" (Linux, admin-guide/ext4.rst). What was
    pushed has its place on the disk, so that the size and the place of the bytes are in
    the journal no later than the name, and a sync of the file commits the change that
    gave it the name, which is one of its folder too.

    ``tests/hard/test_power_cuts.py`` cuts the power at every write to such disks.
    Nothing is believed of any other one.
    """
    if _sync_file_range() is None:
        return False
    try:
        opened = os.open(folder, os.O_RDONLY)
        try:
            push(opened)  # a sandbox may forbid it
            device = os.fstat(opened).st_dev
        finally:
            os.close(opened)
        number = f"{os.major(device)}:{os.minor(device)}"
        name = os.path.basename(os.readlink(f"/sys/dev/block/{number}"))
        with open(f"/proc/fs/ext4/{name}/options") as file:
            options = set(file.read().split())
    except OSError:
        return False
    # Its inode has the number 8, if it is on the same disk.
    own = os.path.isdir(f"/proc/fs/jbd2/{name}-8")
    return own and ORDERED <= options and not options & UNTRIED


def push(number: int) -> None:
    """Wait until the disk has taken the bytes of a file, be it into its cache.

    :param number: the descriptor of the file.
    :raises OSError: if it has not.
    """
    call = _sync_file_range()
    assert call is not None
    if call(number, 0, 0, PUSH):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


@functools.cache
def _sync_file_range() -> t.Any:
    """sync_file_range(2), which Python does not have; ``None`` where it is missing."""
    try:
        call = ctypes.CDLL(None, use_errno=True).sync_file_range
    except (OSError, TypeError, AttributeError):
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return call


def make_folders(folder: str, modes: Modes, durable: bool = False) -> None:
    """Like ``os.makedirs``, with the same permissions for every folder that is made.

    :param durable: whether to wait until the new names are on the disk.
    :raises NotADirectoryError: if something else has the name of one.
    """
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(folder)
    if parent != folder:
        make_folders(parent, modes, durable)
    try:
        modes.mkdir(folder)
    except FileExistsError as exc:
        if not os.path.isdir(folder):
            reason = os.strerror(errno.ENOTDIR)
            raise NotADirectoryError(errno.ENOTDIR, reason, folder) from exc
    if durable:
        sync_name(folder)


def sync_name(path: str, folder: int | None = None, within: int | None = None) -> None:
    """Wait until a name is on the disk; Windows has no such call.

    Where that is not possible it is only logged: the name is there, and an error would
    make the client send again what is stored.

    :param path: the name, in its folder.
    :param folder: the descriptor of this folder, if it is open for reading.
    :param within: the descriptor of a folder in which *path* lies.
    :raises OSError: if the disk fails, so that the name may not be on it.
    """
    if os.name != "posix":
        return
    place = os.path.dirname(path) or "."
    number = folder
    try:
        if number is None:
            number = os.open(place, os.O_RDONLY, dir_fd=within)
    except FileNotFoundError:  # somebody has removed it, with all that was in it
        return
    except OSError as exc:
        logger.warning(UNSYNCED, place, exc.strerror)
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
            logger.warning(UNSYNCED, place, exc.strerror)
    finally:
        if folder is None:
            os.close(number)


UNSYNCED = (
    "The folder %s cannot be synced (%s). What is stored in it is there, but a cut of"
    " the power in the next seconds may take it away."
)
#: The disks of which it was said that their folders cannot be synced.
_told: set[int] = set()
