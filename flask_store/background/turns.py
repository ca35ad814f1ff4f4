"""Runs a limited number of functions at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..concurrency.greenlets import Flag
from ..concurrency.greenlets import flag
from ..concurrency.greenlets import lock
from .runners import Runner


class Turns:
    """Runs the functions that it is given, in order; usable from any thread.

    :param limit: how many run at a time.
    """

    def __init__(self, runner: Runner, limit: int) -> None:
        self.runner = runner
        self.limit = limit
        #: Whether the process is about to end, so that nothing is tried again.
        self.ending = False
        self._work: deque[Callable[[], None]] = deque()
        self._active = 0
        self._idle: list[Flag] = []
        self._guard = lock()

    def add(self, work: Callable[[], None]) -> None:
        """Run *work* as soon as fewer than *limit* functions are running."""
        with self._guard:
            self._work.append(work)
            if self._active >= self.limit:
                return
            self._active += 1
        try:
            self.runner.start(self._run)
        except RuntimeError:
            # Python starts no more threads. The work stays for the next run, or for
            # the next process.
            with self._guard:
                self._stopped()

    def finish(self, timeout: float) -> bool:
        """Try nothing again, and wait until all work is done.

        :return: whether it was done within *timeout* seconds.
        """
        with flag() as idle:
            with self._guard:
                self.ending = True
                busy = self._active > 0
                if busy:
                    self._idle.append(idle)
            return not busy or idle.wait(timeout)

    def forget(self) -> None:
        """Drop all work, in a forked child: it is the parent's. Under gevent the
        parent's greenlets go on in the child, and would do it a second time."""
        self.ending = True
        self._guard = lock()  # a thread that did not come along may have held it
        self._work.clear()

    def _run(self) -> None:
        try:
            while True:
                # Whether there is work, and how many run, is known together. Otherwise
                # add() could leave work to a run that has found none before.
                with self._guard:
                    if not self._work:
                        self._stopped()
                        return
                    work = self._work.popleft()
                work()
        except BaseException:  # its greenlet is killed
            with self._guard:
                self._stopped()
                last = None if self.ending or not self._work else self._work.pop()
            if last is not None:
                self.add(last)  # starts another run
            raise

    def _stopped(self) -> None:
        """Note the end of a run. The caller has the guard."""
        self._active -= 1
        if not self._active:
            for waiting in self._idle:
                waiting.set()
            self._idle.clear()
