"""``f.upload``: the state of an upload that goes on after ``save``."""

from __future__ import annotations

import typing as t

from ..concurrency.greenlets import Flag
from ..concurrency.greenlets import flag
from ..concurrency.greenlets import lock
from ..uploads.source import Source

State: t.TypeAlias = t.Literal["waiting", "running", "stored", "parked", "deleted"]

#: The states of an upload that has ended.
ENDED: t.Final = ("stored", "parked", "deleted")


class Upload:
    """An upload in the background; usable from any thread or greenlet.

    :param key: the file's final name in its store.
    :param size: in bytes.
    """

    def __init__(self, key: str, size: int) -> None:
        self.key = key
        self.size = size
        #: ``"waiting"`` (for its turn, or to be tried again), ``"running"``,
        #: ``"stored"``, ``"parked"`` (it cannot succeed before a person changes
        #: something, see :attr:`error`; it is tried again from time to time) or
        #: ``"deleted"`` (the file was deleted, moved or replaced before it was stored).
        self.state: State = "waiting"
        #: The error of the last attempt, or ``None``.
        self.error: Exception | None = None
        #: How many attempts failed.
        self.attempts = 0
        #: The bytes, while they are sent.
        self.source: Source | None = None
        self._guard = lock()
        self._flags: list[Flag] = []

    @property
    def done(self) -> bool:
        """Whether the upload has ended. One that is parked counts as ended."""
        return self.state in ENDED

    @property
    def progress(self) -> float:
        """How much of the file has been read for sending, from 0 to 1."""
        if self.state == "stored":
            return 1.0
        return self.source.position / self.size if self.source and self.size else 0.0

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the upload has ended. Other greenlets run meanwhile.

        :param timeout: in seconds; by default there is no limit.
        :return: whether the file is stored by now.
        """
        with flag() as finished:
            with self._guard:
                waiting = not self.done
                if waiting:
                    self._flags.append(finished)
            if waiting:
                finished.wait(timeout)
            with self._guard:
                if finished in self._flags:
                    self._flags.remove(finished)
        return self.state == "stored"

    def settle(self, state: State, error: Exception | None = None) -> bool:
        """Set the state, and wake those who wait if the upload has ended.

        :return: ``False`` if the file was deleted before. It stays so then.
        """
        with self._guard:
            if self.state == "deleted":
                return False
            self.state = state
            self.error = error
            if state in ENDED:
                for finished in self._flags:
                    finished.set()
                self._flags = []
            return True

    def __repr__(self) -> str:
        return f"<Upload {self.key!r} {self.state}>"
