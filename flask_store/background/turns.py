"""Whose turn it is: a bounded number of pieces of work at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress

from ..concurrency.greenlets import Flag
from ..concurrency.greenlets import flag
from ..concurrency.greenlets import lock
from .runners import Runner


class Turns:
    """Runs what it is given, in order; usable from any thread.

    :param limit: how many pieces of work run at a time.
    """

    def __init__(self, runner: Runner, limit: int) -> None:
        self.runner = runner
        self.limit = limit
        #: Whether what has to be done again is for the next process.
        self.ending = False
        self._work: deque[Callable[[], None]] = deque()
        self._active = 0
        self._idle: list[Flag] = []
        self._guard = lock()

    def add(self, work: Callable[[], None]) -> None:
        """Do it as soon as there is room for it."""
        with self._guard:
            self._work.append(work)
            if self._active >= self.limit:
                return
            self._active += 1
        try:
            self.runner.start(self._run)
        except RuntimeError:  # no thread starts any more: it is left in the spool
            self._stopped()

    def finish(self, timeout: float) -> bool:
        """Begin to end, and whether all is done within *timeout* seconds."""
        with flag() as idle:
            with self._guard:
                self.ending = True
                busy = self._active > 0
                if busy:
                    self._idle.append(idle)
            return not busy or idle.wait(timeout)

    def forget(self) -> None:
        """In a forked child: none of it is its own. Under gevent the parent's
        greenlets run on in it, and would do the work a second time."""
        self.ending = True
        self._guard = lock()  # a thread that did not come along may have held it
        self._work.clear()

    def _run(self) -> None:
        try:
            while (work := self._next()) is not None:
                work()
        finally:
            self._stopped()

    def _next(self) -> Callable[[], None] | None:
        with self._guard:
            return self._work.popleft() if self._work else None

    def _stopped(self) -> None:
        with self._guard:
            self._active -= 1
            # Work may have come since we looked for it, when we still counted.
            again = bool(self._work) and not self._active and not self.ending
            idle = [] if again or self._active else self._idle
            for waiting in idle:
                waiting.set()
            idle.clear()
            self._active += again
        if again:
            with suppress(RuntimeError):
                self.runner.start(self._run)
