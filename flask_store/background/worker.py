"""Runs the uploads of one process: tries, pauses, and the exit of the process."""

from __future__ import annotations

import contextvars
import logging
import random
import time
import typing as t
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from ..concurrency.greenlets import lock
from ..concurrency.ioloop import get_loop
from ..exceptions import ClientError
from ..exceptions import FileExists
from ..exceptions import NotConfiguredError
from ..exceptions import StoreDenied
from ..uploads.source import Stopped
from .boxes import Box
from .entries import BadJournal
from .entries import Entry
from .entries import LONGEST_CAUSE
from .entries import pass_over
from .holding import Held
from .runners import Runner
from .sending import DamagedError
from .spool import Spool
from .turns import Turns
from .upload import State
from .upload import Upload

logger = logging.getLogger(__name__)

#: Seconds. The pause before attempt n is random, below FIRST_PAUSE * 2**n ("full
#: jitter"). So not all processes ask a storage at once when it is back.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 300.0
#: After so many seconds an upload is parked, as if the storage had refused it.
GIVE_UP = 24 * 3600.0
#: Seconds between two looks for uploads that killed processes left.
LOOK_AROUND = 60.0
#: The longest pause of a parked upload. The first one is LOOK_AROUND, and each further
#: one is twice as long: somebody may correct a key or a clock while the process lives.
LONGEST_PARKED = 3600.0
#: The pause of an upload that a write in the foreground holds or has stopped. It
#: doubles each time that the upload is stopped again.
BUSY = 0.2
LONGEST_BUSY = 10.0

#: Errors that another try does not cure. The upload is parked.
PERMANENT = (
    ClientError,
    DamagedError,
    FileExists,
    NotConfiguredError,
    StoreDenied,
    BadJournal,
)


@dataclass
class Job:
    """An upload of this process, and where it is kept.

    :param parked: how many tries have failed since it was parked.
    :param stopped: how often it was stopped since the last try that was not.
    """

    entry: Entry
    box: Box
    upload: Upload
    parked: int = 0
    stopped: int = 0


class Outcome(t.NamedTuple):
    """The result of a try.

    :param pause: the seconds until the next one, or ``None`` if there is none.
    """

    state: State
    error: Exception | None = None
    pause: float | None = None


class Store(t.Protocol):
    """What the worker needs of a store."""

    def send(self, job: Job, held: Held) -> bool:
        """Store the file.

        :return: ``False`` if another file has its name.
        """

    def take_back(self, held: Held) -> None:
        """Remove the file from the storage, if it is there."""

    def ended(self, job: Job) -> None:
        """Send a signal to the application."""


class Worker:
    """Runs the uploads of this process, and those that killed processes left.

    :param limit: how many uploads run at a time.
    """

    def __init__(self, store: Store, spool: Spool, runner: Runner, limit: int) -> None:
        self.store = store
        self.spool = spool
        self.turns = Turns(runner, limit)
        self.box = spool.make_box()
        self.uploads: dict[str, Upload] = {}
        #: The boxes of killed processes, with how many uploads each still has.
        self._others: Counter[Box] = Counter()
        self._loop = get_loop()
        self._guard = lock()

    def put(self, entry: Entry, box: Box) -> Upload:
        """Add an upload, which runs when fewer than *limit* others are running."""
        upload = self.uploads[entry.key] = Upload(entry.key, entry.size)
        upload.attempts = entry.attempts
        job = Job(entry, box, upload)
        self.turns.add(lambda: self._attempt(job))
        return upload

    def box_after(self, box: Box) -> Box:
        """The box to use after a file of *box* was not found: a new one, if somebody
        removed its folder.

        :raises OSError: if the spool cannot be written.
        """
        with self._guard:  # nothing in here switches greenlets
            if box is not self.box or box.is_there():
                return self.box
            self.box = self.spool.make_box()
        box.close()
        logger.error("%s was removed. What waited there is lost.", box.path)
        return self.box

    def look_around(self) -> None:
        """Adopt the uploads of killed processes, now and from time to time."""
        self.turns.add(self._adopt)
        self._call_later(LOOK_AROUND, self.look_around)

    def drain(self, timeout: float) -> None:
        """Finish the running uploads within *timeout* seconds. The next process adopts
        the others, and those that wait for another try."""
        if not self.turns.finish(timeout):
            logger.warning(
                "%d uploads are left in %s for the next process.",
                sum(not upload.done for upload in self.uploads.values()),
                self.spool.folder,
            )
            return
        for box in (self.box, *self._others):
            box.close()

    def leave(self) -> None:
        """Drop all work, in a forked child."""
        self.turns.forget()

    # -- one upload ----------------------------------------------------------

    def _adopt(self) -> None:
        try:
            self.spool.tidy()
            for box in self.spool.abandoned():
                try:
                    self._take_up(box)
                except Exception:
                    logger.exception("%s cannot be read.", box.path)
        except Exception:
            logger.exception("%s cannot be read.", self.spool.folder)

    def _take_up(self, box: Box) -> None:
        entries = list(box.entries())
        if not entries:
            box.close()
            return
        logger.info("%d uploads are taken up again.", len(entries))
        self.spool.quota.recount(box.path, sum(entry.blocks for entry in entries))
        with self._guard:
            self._others[box] = len(entries)
        for entry in entries:
            self.put(entry, box)

    def _attempt(self, job: Job) -> None:
        try:
            outcome = self._try(job)
        except Exception as exc:
            logger.exception("The upload of %r failed in the spool.", job.entry.key)
            outcome = self._failed(job, None, exc)
        try:
            if outcome is None:
                self._retry_after(job, BUSY)
            else:
                self._settle(job, outcome)
        except Exception:
            logger.exception("The upload of %r is left alone.", job.entry.key)

    def _try(self, job: Job) -> Outcome | None:
        """:return: ``None`` if a write in the foreground holds the upload."""
        files = job.box.files(job.entry.key)
        try:
            held = Held.acquire(files, self.spool.quota)
        except FileNotFoundError as exc:
            if job.box.is_there():
                return Outcome("deleted")
            return self._lost(job, exc)
        except BadJournal as exc:
            pass_over(files.journal, exc)
            return self._failed(job, None, exc)
        if held is None:
            return None
        try:
            return self._work(job, held)
        finally:
            held.release()

    def _work(self, job: Job, held: Held) -> Outcome:
        # A failed try counts even if the journal could not be written.
        held.entry.attempts = max(held.entry.attempts, job.entry.attempts)
        job.entry = held.entry
        state: State = "deleted"
        try:
            if held.entry.deleted:
                job.upload.settle("deleted")
                self.store.take_back(held)
            else:
                job.upload.settle("running")
                if self.store.send(job, held):
                    state = "stored"
                else:
                    logger.warning(
                        "The upload of %r is dropped: another file has its name.",
                        held.entry.key,
                    )
        except Stopped:
            held.files.do_not_ask()  # whoever still waits asks again
            held.entry.tried = True
            self._note(held)
            pause = _doubled(BUSY, job.stopped, LONGEST_BUSY)
            job.stopped += 1
            return Outcome("waiting", job.upload.error, pause)
        except Exception as exc:
            return self._failed(job, held, exc)
        try:
            held.remove()
        except OSError as exc:
            pass_over(held.files.journal, exc)
        return Outcome(state)

    def _failed(self, job: Job, held: Held | None, exc: Exception) -> Outcome:
        """:param held: the upload, if its journal can be written."""
        entry = job.entry
        job.stopped = 0
        entry.attempts += 1
        entry.cause = f"{type(exc).__name__}: {exc}"[:LONGEST_CAUSE]
        entry.parked = isinstance(exc, PERMANENT) or time.time() - entry.saved > GIVE_UP
        job.upload.attempts = entry.attempts
        if held is not None:
            self._note(held)
        if entry.parked:
            job.parked += 1
            pause = _doubled(LOOK_AROUND, job.parked - 1, LONGEST_PARKED)
            log = logger.error if job.parked == 1 else logger.info
            log("The upload of %r is parked. %s", entry.key, entry.cause)
            return Outcome("parked", exc, pause)
        job.parked = 0
        longest = _doubled(FIRST_PAUSE, entry.attempts, LONGEST_PAUSE)
        pause = random.uniform(0, longest)
        logger.warning(
            "The upload of %r failed and is tried again in %.1f s. %s",
            entry.key,
            pause,
            entry.cause,
        )
        return Outcome("waiting", exc, pause)

    def _note(self, held: Held) -> None:
        """Write the result of a try into the journal, for the next process. If the disk
        is full, this process goes on without it."""
        try:
            held.note()
        except OSError as exc:
            held.marked = True
            logger.warning("%s is not up to date: %s", held.files.journal, exc)

    def _lost(self, job: Job, exc: Exception) -> Outcome:
        logger.error(
            "The upload of %r is lost: its spool %s was removed.",
            job.entry.key,
            job.box.path,
        )
        job.parked = 1
        return Outcome("parked", exc)

    def _settle(self, job: Job, outcome: Outcome) -> None:
        if outcome.pause is None:
            self.uploads.pop(job.entry.key, None)
            self._close_if_empty(job.box)
        upload = job.upload
        if not job.entry.deleted and upload.settle(outcome.state, outcome.error):
            if upload.state == "stored" or (upload.state, job.parked) == ("parked", 1):
                try:
                    self.store.ended(job)
                except Exception:
                    logger.exception(
                        "A receiver of the signal failed for %r.", job.entry.key
                    )
        # The next try may begin at once, and end before this thread goes on. So the
        # state of this one is set already.
        if outcome.pause is not None:
            self._retry_after(job, outcome.pause)

    def _retry_after(self, job: Job, pause: float) -> None:
        self._call_later(pause, lambda: self.turns.add(lambda: self._attempt(job)))

    def _close_if_empty(self, box: Box) -> None:
        with self._guard:
            if box not in self._others:
                return
            self._others[box] -= 1
            if self._others[box]:
                return
            del self._others[box]
        box.close()

    def _call_later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call a function later, unless the process is about to end then."""

        def due() -> None:
            if not self.turns.ending:
                call()

        # The caller's context may hold a request.
        self._loop.call_soon_threadsafe(
            self._loop.call_later, seconds, due, context=contextvars.Context()
        )


def _doubled(pause: float, times: int, longest: float) -> float:
    """*pause*, doubled *times* times, but at most *longest*."""
    return min(longest, pause * 2.0 ** min(times, 60))
