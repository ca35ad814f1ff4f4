"""Locks that let one process at a time give a file its name on a WebDAV server.

A lock is an empty folder in the private folder. Of several clients that send MKCOL for
it, only one succeeds. The folder does not tell who made it. If its maker has died, or
did not get the answer to MKCOL, only the age of the folder tells so.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import time
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress

import fsspec
import httpx

from ..errors import NoAnswer
from ..http.answers import Refused
from ..limits import TIMEOUT
from .http import change
from .http import propfind

#: How many times MKCOL is sent to a server that answers with a status of 500 or more.
ATTEMPTS = 8
#: The seconds to wait between attempts, while another process has the lock.
PAUSES = (0.05, 0.15, 0.3, 0.5)
#: A process holds a lock while it names one file. It gives up after one time limit for
#: the answer to MKCOL and one for the answer to MOVE. After twice that time the lock is
#: abandoned.
LIMITS = 4
#: How many processes may be killed, one after the other, while they take a lock over.
DEPTH = 3


def lock_name(path: str) -> str:
    """The name of the lock on a path."""
    return hashlib.sha256(path.encode()).hexdigest()


def is_lock(name: str) -> bool:
    """Whether a folder in the private folder is a lock, or one on a lock."""
    return re.fullmatch("[0-9a-f]{64}~*", name) is not None


class Locked(FileExistsError):
    """Another process has locked the name, which may still be free.

    :param seconds: after which the lock is abandoned.
    """

    def __init__(self, path: str, seconds: float) -> None:
        super().__init__(path)
        self.seconds = seconds


class Lock:
    """The right to give a file its name.

    :param path: of the lock's folder.
    :param is_name_taken: tells whether a file has the name by now.
    """

    def __init__(
        self,
        fs: fsspec.AbstractFileSystem,
        path: str,
        is_name_taken: Callable[[], bool],
    ) -> None:
        self.fs = fs
        self.path = path
        self.is_name_taken = is_name_taken
        # Other processes may have a longer limit than this one.
        limit = max(fs.client.http.timeout.read or 0, TIMEOUT)
        self.lifetime = dt.timedelta(seconds=LIMITS * limit)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock.

        :raises FileExistsError: if a file has the name.
        :raises Locked: if another process has the lock.
        """
        self._acquire()
        try:
            yield
        except httpx.TimeoutException:
            raise  # another request would wait as long again
        except BaseException:
            self._release()
            raise
        self._release()

    def _acquire(self) -> None:
        for pause in (*PAUSES, None):
            if self._make():
                return
            # Servers may answer with an error while another client moves or deletes.
            with suppress(Refused):
                if self.is_name_taken():
                    raise FileExistsError(self.path)
                if self._is_dead() and self._take_over():
                    return
            if pause is not None:
                time.sleep(pause)
        raise Locked(self.path, self.lifetime.total_seconds())

    def _make(self) -> bool:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return change(self.fs, "MKCOL", self.path)
            except Refused as exc:
                if exc.status == httpx.codes.METHOD_NOT_ALLOWED:  # RFC 4918, 9.3.1
                    return False
                # Servers may answer with an error when two clients ask at once.
                if exc.status < 500 or attempt == ATTEMPTS:
                    raise
        raise AssertionError

    def _age(self) -> dt.timedelta | None:
        """The age of the lock by the server's clock; ``None`` if there is no lock, or
        if the server does not tell."""
        with suppress(FileNotFoundError):
            response = propfind(self.fs, f"{self.path}/", 0)
            info: dict[str, t.Any] = (
                response.entries[0].info if response.entries else {}
            )
            created = info.get("modified") or info.get("created")
            if created and response.date:
                age: dt.timedelta = response.date - created
                return age
        return None

    def _is_dead(self) -> bool:
        age = self._age()
        return age is not None and age > self.lifetime

    def _take_over(self) -> bool:
        """Take the lock over from a process that has died."""
        # Only one process may remove the lock, and it has to look at its age once more.
        # Otherwise a second process would remove the lock that the first one makes.
        outer_lock = Lock(self.fs, f"{self.path}~", lambda: False)
        if outer_lock.path.endswith("~" * (DEPTH + 1)):
            return False
        with suppress(FileExistsError), outer_lock.held():
            if self._is_dead():
                self._release()
            return self._make()
        return False

    def _release(self) -> None:
        # A lock that stays delays other processes, until it counts as abandoned.
        with suppress(httpx.HTTPError, Refused, NoAnswer, FileNotFoundError):
            change(self.fs, "DELETE", f"{self.path}/")
