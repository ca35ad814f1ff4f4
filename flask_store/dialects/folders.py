"""Folders of a store on disk, held by descriptors so that no symbolic link leads out.

A path that was checked can lead somewhere else when it is used: whoever may write in
the store can exchange a folder for a link in between. So each folder of a key is opened
in the one above it, and none of them may be a link (``openat`` with ``O_NOFOLLOW``,
POSIX.1-2017, open()). What is done then, is done in the folder that is open, whatever
has its name by now.

A link that stays in the store is followed: it is read, and the folders that it names
are opened anew from the root, in the same way.

The root itself is used by its path. It may be a link, and so may what is above it.
Systems without such calls (Windows) look at the path and then use it.
"""

from __future__ import annotations

import errno
import os
import stat
import typing as t
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from contextlib import suppress

from .. import naming
from ..exceptions import InvalidName
from ..uploads.disk import make_folders
from ..uploads.disk import sync_name
from ..uploads.modes import Modes

#: Whether the system opens names in a folder that is open.
HELD = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
#: How many links a name may have at most, as on Linux (path_resolution(7)).
MOST_LINKS = 40
#: What open(2) answers for a link where a folder is wanted.
NO_FOLDER = (errno.ENOTDIR, errno.ELOOP)

FOLDER = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
READ = os.O_RDONLY | FOLDER
#: Who may only pass through a folder, may not open it for reading.
PASS = getattr(os, "O_PATH", os.O_RDONLY) | FOLDER

LEADS_OUT = (
    "leads outside the store through a symbolic link. Move the files into STORE_PATH,"
    " or give their folder a store of its own."
)
PRIVATE_LINK = (
    f"leads through a symbolic link to or from {naming.STAGING!r}, which only"
    " Flask-Store uses. Remove the link."
)


class Place(t.NamedTuple):
    """A name in a folder of the store.

    :param name: the name in the folder, or the whole path if that is not held.
    :param folder: the descriptor of the folder; ``None`` if it is not held.
    :param path: for messages.
    :param found: what has the name, if that was asked for. It is no link.
    """

    name: str
    folder: int | None
    path: str
    found: os.stat_result | None = None

    def stat(self) -> os.stat_result:
        """What has the name, be it a link."""
        return os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)


class _Link(Exception):
    """A folder of a key is a link.

    :param count: how many parts of the key there are up to the link.
    """

    def __init__(self, count: int) -> None:
        self.count = count


@contextmanager
def hold(
    root: str,
    key: str,
    *,
    follow: bool = False,
    make: Modes | None = None,
    durable: bool = False,
) -> Iterator[Place]:
    """Hold the folder of a key.

    :param follow: whether a link in the last place is followed, and it is looked at
        what is there.
    :param make: the permissions of missing folders, which are made then.
    :param durable: whether the names in the folders have to be synced.
    :raises InvalidName: if a link leads out of the store.
    :raises FileNotFoundError: if a folder is missing, or with *follow* the file.
    :raises NotADirectoryError: if something else has the name of a folder.
    :raises OSError: if there are too many links (``ELOOP``), or the disk fails.
    """
    flags = (READ, PASS) if durable else (PASS,)
    parts, known = key.split("/"), 0
    for _ in range(MOST_LINKS):
        try:
            folder = _open(root, parts[:-1], flags, make, durable, known)
        except _Link as link:
            count = link.count
        else:
            try:
                path = os.path.join(root, *parts)
                name = path if folder is None else parts[-1]
                found = None
                if follow:
                    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if found is None or not stat.S_ISLNK(found.st_mode):
                    yield Place(name, folder, path, found)
                    return
            finally:
                if folder is not None:
                    os.close(folder)
            count = len(parts)
        inside = _inside(root, parts[:count], key)
        parts, known = inside + parts[count:], len(inside)
        if not parts:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), key)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), key)


@contextmanager
def hold_folder(root: str, key: str) -> Iterator[int | str]:
    """A folder to be listed: its descriptor, or its path if it is not held.

    :param key: without one, the root is meant.
    :raises OSError: as :func:`hold`.
    """
    parts = key.split("/") if key else []
    for _ in range(MOST_LINKS):
        try:
            folder = _open(root, parts, (READ,), None, False, 0)
        except _Link as link:
            parts = _inside(root, parts[: link.count], key) + parts[link.count :]
            continue
        if folder is None:
            yield os.path.join(root, *parts)
            return
        try:
            yield folder
        finally:
            os.close(folder)
        return
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), key)


def leads_out(root: str, key: str, follow: bool) -> bool:
    """Whether the path of a key leads out of the store, as it is now.

    :param follow: whether a link in the last place counts.
    """
    # What has no link below the root cannot lead out of it, wherever the root may lead
    # itself.
    path, linked = root, False
    parts = key.split("/")
    for part in parts if follow else parts[:-1]:
        path = os.path.join(path, part)
        linked = linked or os.path.islink(path)
    return linked and _relative(root, path) is None


def _relative(root: str, path: str) -> list[str] | None:
    """The parts of a real path below the root; ``None`` if it is not there."""
    end, root = os.path.realpath(path), os.path.realpath(root)
    if end == root:
        return []
    start = os.path.join(root, "")
    return end[len(start) :].split(os.sep) if end.startswith(start) else None


def _inside(root: str, parts: Sequence[str], key: str) -> list[str]:
    """What a link stands for. It is only a name: the folders in it are opened as any
    others are, and what is raced here is noticed there."""
    found = _relative(root, os.path.join(root, *parts))
    if naming.STAGING in parts or naming.STAGING in (found or ()):
        raise InvalidName(f"{naming.quoted(key)} {PRIVATE_LINK}", key)
    if found is None:
        raise InvalidName(f"{naming.quoted(key)} {LEADS_OUT}", key)
    return found


def _open(
    root: str,
    parts: Sequence[str],
    flags: Sequence[int],
    make: Modes | None,
    durable: bool,
    known: int,
) -> int | None:
    """Open a folder of the store, from the root downwards.

    :param flags: to be tried in turn for the last one, if there is no permission.
    :param known: how many of the parts a link has led to: they are not made.
    :return: ``None`` for the root, and where no folder is held.
    :raises _Link: if one of them is a link.
    """
    if not HELD:
        _look(root, parts, make, durable)
        return None
    folder: int | None = None
    try:
        for count, part in enumerate(parts, 1):
            # The first one lies in the root, which is not to be exchanged.
            name = part if folder is not None else os.path.join(root, part)
            ways = flags if count == len(parts) else (PASS,)
            try:
                below = os.open(name, ways[0], dir_fd=folder)
            except PermissionError:
                below = os.open(name, ways[-1], dir_fd=folder)
            except FileNotFoundError as exc:
                if make is None:
                    raise
                if count <= known:
                    reason = os.strerror(errno.ENOTDIR)
                    raise NotADirectoryError(errno.ENOTDIR, reason, name) from exc
                _make(name, folder, make, durable)
                below = os.open(name, ways[0], dir_fd=folder)
            except OSError as exc:
                if exc.errno in NO_FOLDER and _is_link(name, folder):
                    raise _Link(count) from exc
                raise
            if folder is not None:
                os.close(folder)
            folder = below
    except BaseException:
        if folder is not None:
            os.close(folder)
        raise
    return folder


def _is_link(name: str, folder: int | None) -> bool:
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    # It may have become a folder meanwhile; then it is tried again.
    return stat.S_ISLNK(found.st_mode) or stat.S_ISDIR(found.st_mode)


def _make(name: str, folder: int | None, modes: Modes, durable: bool) -> None:
    with suppress(FileExistsError):
        modes.mkdir(name, folder)
    if durable:
        sync_name(name, within=folder)


def _look(root: str, parts: Sequence[str], make: Modes | None, durable: bool) -> None:
    """Look at the folders of a key, where they cannot be held."""
    path = root
    for count, part in enumerate(parts, 1):
        path = os.path.join(path, part)
        if os.path.islink(path):
            raise _Link(count)
    if make is not None:
        make_folders(path, make, durable)
