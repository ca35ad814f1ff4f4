"""Locks on files, held exactly as long as the process lives that took them.

A lock of flock(2) belongs to what was opened, and a forked child inherits that. So the
child lets go of every one of them at once, or its parent would seem to live on.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress

from ..concurrency.greenlets import lock

_held: set[int] = set()
#: Nobody forks between the opening of a file and its entry above.
_guard = lock()


def hold(path: str) -> int | None:
    """Lock a file, which is made if it is missing.

    :return: what :func:`release` takes, or ``None`` if somebody else holds it.
    :raises FileNotFoundError: if the folder, or the file, is taken away meanwhile.
    """
    number = _open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Somebody may have held it, emptied its folder and removed it meanwhile.
        if os.path.samestat(os.stat(path), os.fstat(number)):
            return number
    except BlockingIOError:
        pass
    except BaseException:
        release(number)
        raise
    release(number)
    return None


def is_held(path: str) -> bool:
    """Whether a living process holds the lock of a file."""
    try:
        number = hold(path)
    except FileNotFoundError:
        return False
    if number is not None:
        release(number)
    return number is None


@contextmanager
def alone(folder: str) -> Iterator[None]:
    """Wait until nobody else is in here with this folder. Do no more than a few system
    calls within: whole processes wait for it, with all their greenlets.

    :raises FileNotFoundError: if there is no such folder.
    """
    number = _open(folder, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        release(number)


def release(number: int, remove: str | None = None) -> None:
    """Let go of a lock.

    :param remove: the path of its file, if nobody needs that any more.
    """
    with _guard:
        if number in _held:  # a child has let go of all that it inherited
            if remove is not None:
                with suppress(FileNotFoundError):
                    os.unlink(remove)
            _held.remove(number)
            # gevent may close it later, when its loop runs.
            with suppress(OSError):
                fcntl.flock(number, fcntl.LOCK_UN)
            os.close(number)


def _open(path: str, flags: int) -> int:
    with _guard:
        number = os.open(path, flags | os.O_CLOEXEC, 0o600)
        _held.add(number)
    return number


def _in_child() -> None:
    while _held:
        os.close(_held.pop())
    _guard.release()


os.register_at_fork(
    before=lambda: _guard.acquire(),
    after_in_parent=lambda: _guard.release(),
    after_in_child=_in_child,
)
