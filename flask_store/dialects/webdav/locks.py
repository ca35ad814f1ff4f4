"""The folders that keep other processes away from a name on a WebDAV server.

A lock is an empty folder in the private one, because MKCOL is the one step that fails
for all but one. It cannot say whose it is, so that a lock whose maker never heard that
it has it, or has died, is told by its age.
"""

from __future__ import annotations

import datetime as dt
import time
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress

import fsspec
import httpx

from .. import TIMEOUT
from ..errors import NoAnswer
from ..http.answers import Refused
from .http import change
from .http import propfind

#: How often a lock is asked for, of a server that answers with an error of its own.
ATTEMPTS = 8
#: How many seconds to wait for whoever has the lock, between looks at the name.
PAUSES = (0.05, 0.15, 0.3, 0.5)
#: A lock is held while one file gets its name. Whoever has it gives up after one limit
#: for the answer to MKCOL and one for that to MOVE; after twice as long it is nobody's.
LIMITS = 4
#: How many of the processes that remove a dead lock may die doing so.
DEPTH = 3


class Locked(FileExistsError):
    """A name that is locked, and may be free.

    :param seconds: after which the lock counts no more.
    """

    def __init__(self, path: str, seconds: float) -> None:
        super().__init__(path)
        self.seconds = seconds


class Lock:
    """The right to give a file its name.

    :param path: of the lock.
    :param taken: tells whether the name is there meanwhile.
    """

    def __init__(
        self, fs: fsspec.AbstractFileSystem, path: str, taken: Callable[[], bool]
    ) -> None:
        self.fs = fs
        self.path = path
        self.taken = taken
        # Others may be more patient than this process.
        limit = max(fs.client.http.timeout.read or 0, TIMEOUT)
        self.lifetime = dt.timedelta(seconds=LIMITS * limit)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have the lock.

        :raises FileExistsError: if the name is there.
        :raises Locked: if another process has the lock.
        """
        self._take()
        try:
            yield
        except httpx.TimeoutException:
            raise  # whoever is silent would be waited for once more
        except BaseException:
            self._release()
            raise
        self._release()

    def _take(self) -> None:
        for pause in (*PAUSES, None):
            if self._make():
                return
            # Servers stumble over what is moved or removed at this moment.
            with suppress(Refused):
                if self.taken():
                    raise FileExistsError(self.path)
                if self._is_dead() and self._bury():
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
                # Servers stumble when two ask at once.
                if exc.status < 500 or attempt == ATTEMPTS:
                    raise
        raise AssertionError

    def _made(self) -> tuple[dt.datetime, dt.timedelta] | None:
        """When the lock was made, and how old it is, by the server's own clock."""
        with suppress(FileNotFoundError):
            found = propfind(self.fs, f"{self.path}/", 0)
            info: dict[str, t.Any] = found.entries[0].info if found.entries else {}
            made = info.get("modified") or info.get("created")
            if made and found.date:
                return made, found.date - made
        return None

    def _is_dead(self) -> bool:
        made = self._made()
        return made is not None and made[1] > self.lifetime

    def _bury(self) -> bool:
        """Take the lock from a process that is gone."""
        # Only one may remove it, and only after another look: a second one would
        # remove the lock that the first one makes in its place.
        grave = Lock(self.fs, f"{self.path}~", lambda: False)
        if grave.path.endswith("~" * (DEPTH + 1)):
            return False
        with suppress(FileExistsError), grave.held():
            if self._is_dead():
                self._release()
            return self._make()
        return False

    def _release(self) -> None:
        # What is left of it costs others the name for a moment only.
        with suppress(httpx.HTTPError, Refused, NoAnswer, FileNotFoundError):
            change(self.fs, "DELETE", f"{self.path}/")
