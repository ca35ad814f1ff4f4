"""Locks on files, held exactly as long as the process lives that took them.

A lock of flock(2) belongs to what was opened, and a forked child inherits that. So the
child lets go of every one of them at once, or its parent would seem to live on.
"""

from __future__ import annotations

import fcntl
import os

from ..greenlets import lock

_held: set[int] = set()
#: Nobody forks between the opening of a file and its entry above.
_guard = lock()


def hold(path: str) -> int | None:
    """Lock a file, which is made if it is missing.

    :return: what :func:`release` takes, or ``None`` if somebody else holds it.
    :raises FileNotFoundError: if the folder, or the file, is taken away meanwhile.
    """
    with _guard:
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _held.add(number)
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


def release(number: int) -> None:
    """Let go of a lock."""
    with _guard:
        if number in _held:  # a child has let go of all that it inherited
            _held.remove(number)
            os.close(number)


def _in_child() -> None:
    while _held:
        os.close(_held.pop())
    _guard.release()


os.register_at_fork(
    before=lambda: _guard.acquire(),
    after_in_parent=lambda: _guard.release(),
    after_in_child=_in_child,
)
