"""Locks on files that end with the process that holds them.

A lock of flock(2) belongs to an open file, which a forked child inherits. So the child
closes all of them at once. Otherwise its parent would seem to live as long as it does.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress

from ..concurrency.greenlets import lock

_open_fds: set[int] = set()
#: Held from the opening of a file until its entry above, so that no fork happens then.
_guard = lock()


def hold(path: str) -> int | None:
    """Lock a file, and create it if it is missing.

    :return: the descriptor to pass to :func:`release`, or ``None`` if the file is
        locked already.
    :raises FileNotFoundError: if the folder or the file is removed meanwhile.
    """
    fd = _open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another process may have held it meanwhile, and removed it with its folder.
        if os.path.samestat(os.stat(path), os.fstat(fd)):
            return fd
    except BlockingIOError:
        pass
    except BaseException:
        release(fd)
        raise
    release(fd)
    return None


def is_held(path: str) -> bool:
    """Whether a living process holds the lock of a file."""
    try:
        fd = hold(path)
    except FileNotFoundError:
        return False
    if fd is not None:
        release(fd)
    return fd is None


@contextmanager
def alone(folder: str) -> Iterator[None]:
    """Lock a folder, and wait for the lock. Make no more than a few system calls in
    this context: other processes wait for it, with all their greenlets.

    :raises FileNotFoundError: if there is no such folder.
    """
    fd = _open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        release(fd)


def release(fd: int, remove: str | None = None) -> None:
    """Unlock a file.

    :param remove: the path of the file, to remove it as well.
    """
    with _guard:
        if fd in _open_fds:  # a forked child has closed all that it inherited
            if remove is not None:
                with suppress(FileNotFoundError):
                    os.unlink(remove)
            _open_fds.remove(fd)
            # gevent may close the file later, when its loop runs.
            with suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)


def _open(path: str, flags: int) -> int:
    with _guard:
        fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
        _open_fds.add(fd)
    return fd


def _in_child() -> None:
    while _open_fds:
        os.close(_open_fds.pop())
    _guard.release()


os.register_at_fork(
    before=lambda: _guard.acquire(),
    after_in_parent=lambda: _guard.release(),
    after_in_child=_in_child,
)
