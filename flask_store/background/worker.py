"""One process's uploads: what becomes of each try, and what is left at the exit."""

from __future__ import annotations

import contextvars
import logging
import random
import time
import typing as t
from collections.abc import Callable
from dataclasses import dataclass

from ..exceptions import ClientError
from ..exceptions import FileExists
from ..exceptions import NotConfiguredError
from ..exceptions import StoreDenied
from ..greenlets import lock
from ..ioloop import get_loop
from .boxes import Box
from .boxes import Entry
from .runners import Runner
from .spool import Spool
from .turns import Turns
from .upload import Upload

logger = logging.getLogger(__name__)

#: Seconds. The pause before attempt n is random below FIRST_PAUSE * 2**n ("full
#: jitter"), so that a storage that comes back is not asked by everybody at once.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 300.0
#: After so many seconds an upload is parked like one that is refused.
GIVE_UP = 24 * 3600.0
#: How often to look for what other processes left behind.
LOOK_AROUND = 60.0

#: What no repetition helps against.
HOPELESS = (ClientError, FileExists, NotConfiguredError, StoreDenied)


@dataclass
class Job:
    """An upload of this process, and where it is kept."""

    entry: Entry
    box: Box
    upload: Upload


class Store(t.Protocol):
    """What the worker needs of a store."""

    def send(self, job: Job, file: t.BinaryIO) -> None:
        """Put the bytes under the file's name."""

    def take_back(self, job: Job) -> None:
        """Remove the file, if it is there."""

    def ended(self, job: Job) -> None:
        """Tell the application."""


class Worker:
    """Uploads what is put, and what dead processes left.

    :param limit: how many uploads run at a time.
    """

    def __init__(self, store: Store, spool: Spool, runner: Runner, limit: int) -> None:
        self.store = store
        self.spool = spool
        self.turns = Turns(runner, limit)
        self.box = spool.make_box()
        self.others: list[Box] = []
        self.uploads: dict[str, Upload] = {}
        self._loop = get_loop()
        self._guard = lock()

    def put(self, entry: Entry, box: Box) -> Upload:
        """Take an upload on; it runs as soon as there is room for it."""
        upload = self.uploads[entry.key] = Upload(entry.key, entry.size)
        upload.attempts = entry.attempts
        job = Job(entry, box, upload)
        self.turns.add(lambda: self._attempt(job))
        return upload

    def look_around(self) -> None:
        """Take up what dead processes left, now and from time to time."""
        self.turns.add(self._adopt)
        self._later(LOOK_AROUND, self.look_around)

    def drain(self, timeout: float) -> None:
        """Finish what can be finished within *timeout* seconds. The rest, and what
        waits to be tried again, is for the next process."""
        if not self.turns.finish(timeout):
            logger.warning(
                "%d uploads are left in %s for the next process.",
                sum(not upload.done for upload in self.uploads.values()),
                self.spool.folder,
            )
            return
        for box in (self.box, *self.others):
            box.close()

    def leave(self) -> None:
        """Do nothing any more, in a forked child."""
        self.turns.forget()

    # -- one upload ----------------------------------------------------------

    def _adopt(self) -> None:
        try:
            for box in self.spool.abandoned():
                entries = list(box.entries())
                if not entries:
                    box.close()
                    continue
                logger.info("%d uploads are taken up again.", len(entries))
                with self._guard:
                    self.others.append(box)
                for entry in entries:
                    self.put(entry, box)
        except Exception:
            logger.exception("%s cannot be read.", self.spool.folder)

    def _attempt(self, job: Job) -> None:
        job.upload.settle("running")
        try:
            self._send(job)
        except Exception as exc:
            try:
                self._failed(job, exc)
            except Exception:
                logger.exception("The upload of %r is left alone.", job.entry.key)
        else:
            unwanted = self._finished(job)
            self._end(job, "deleted" if unwanted else "stored")
            self._close_if_empty(job.box)

    def _send(self, job: Job) -> None:
        key, box = job.entry.key, job.box
        if not box.is_unwanted(key):
            with open(box.data(key), "rb") as file:
                self.store.send(job, file)
        if box.is_unwanted(key):
            self.store.take_back(job)

    def _finished(self, job: Job) -> bool:
        key, box = job.entry.key, job.box
        unwanted = box.is_unwanted(key)
        box.remove(key)
        if not unwanted and (unwanted := box.is_unwanted(key)):
            self.store.take_back(job)
        box.bury(key)
        return unwanted

    def _close_if_empty(self, box: Box) -> None:
        with self._guard:
            if box not in self.others or not box.is_empty():
                return
            self.others.remove(box)
        box.close()

    def _failed(self, job: Job, exc: Exception) -> None:
        entry, upload = job.entry, job.upload
        entry.attempts += 1
        upload.attempts = entry.attempts
        entry.cause = f"{type(exc).__name__}: {exc}"
        entry.parked = isinstance(exc, HOPELESS) or time.time() - entry.saved > GIVE_UP
        job.box.note(entry)
        if entry.parked:
            logger.error("The upload of %r is parked. %s", entry.key, entry.cause)
            self._end(job, "parked", exc)
            return
        pause = random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**entry.attempts))
        logger.warning(
            "The upload of %r failed and is tried again in %.1f s. %s",
            entry.key,
            pause,
            entry.cause,
        )
        upload.settle("waiting", exc)
        self._later(pause, lambda: self.turns.add(lambda: self._attempt(job)))

    def _end(
        self,
        job: Job,
        state: t.Literal["stored", "parked", "deleted"],
        error: Exception | None = None,
    ) -> None:
        self.uploads.pop(job.entry.key, None)
        job.upload.settle(state, error)
        try:
            self.store.ended(job)
        except Exception:
            logger.exception("A receiver of the signal failed for %r.", job.entry.key)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call it, unless the process is about to end by then."""

        def due() -> None:
            if not self.turns.ending:
                call()

        # The caller's context may hold a request.
        self._loop.call_soon_threadsafe(
            self._loop.call_later, seconds, due, context=contextvars.Context()
        )
