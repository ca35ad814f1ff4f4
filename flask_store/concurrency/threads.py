"""The threads beside an event loop's own, for what would block it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from .greenlets import lock
from .greenlets import original

#: How many there are at most.
HELPERS = 4


class Helpers:
    """A few threads of the operating system.

    One is there from the start: at the exit of the interpreter, when what is still
    to be uploaded is, no thread can be started any more.
    """

    def __init__(self) -> None:
        self._jobs = original("queue", "SimpleQueue")()
        self._busy = 0
        self._threads = 0
        self._guard = lock()
        self._grow()

    def put(self, job: Callable[[], None]) -> None:
        with self._guard:
            self._busy += 1
            wanted = self._threads < min(self._busy, HELPERS)
        if wanted:
            with contextlib.suppress(RuntimeError):
                self._grow()
        self._jobs.put(job)

    def _grow(self) -> None:
        original("_thread", "start_new_thread")(self._run, ())
        self._threads += 1

    def _run(self) -> None:
        while True:
            self._jobs.get()()
            with self._guard:
                self._busy -= 1
