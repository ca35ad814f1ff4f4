"""Uploads that go on after ``save``, and survive the process.

- ``spool.py``: the uploads on this host's disk. ``boxes.py``: those of one process.
  ``entries.py``: one of them. ``locks.py``: how long they are a process's own.
  ``quota.py``: how much disk they take. ``copying.py``: the way there.
- ``worker.py``: one upload, from try to try. ``sending.py``: one try. ``turns.py``:
  whose turn it is. ``runners.py``: in what it runs.
- ``files.py``: the files of a store, some of which wait here.
- ``holding.py``: a write in the foreground of a file that waits.
- ``upload.py``: ``f.upload``.
"""

from __future__ import annotations

import atexit
import logging
import os
import typing as t
import weakref
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from contextlib import ExitStack

from flask import Flask

from .. import signals
from ..concurrency.greenlets import lock
from ..concurrency.greenlets import patched
from ..exceptions import NotConfiguredError
from ..uploads.disk import Unnamed
from ..uploads.source import Source
from .boxes import Box
from .entries import BadJournal
from .entries import Entry
from .holding import Held
from .runners import require_gevent
from .runners import runner
from .sending import Sending
from .spool import Spool
from .upload import Upload
from .worker import Job
from .worker import Worker

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from ..dialects import Dialect
    from ..files import FileWrapper

T = t.TypeVar("T")

logger = logging.getLogger(__name__)


class Background:
    """The uploads of one store, in whichever process.

    :param stored: the dialect that has them in the end.
    :param config: the settings, read and checked.
    :param greenlets: whether they run in greenlets even where gevent has not patched.
    :param uploaded: makes the file for a signal, of its key and its upload.
    :raises NotConfiguredError: if no uploads can wait with these settings.
    """

    def __init__(
        self,
        stored: Dialect,
        config: Mapping[str, t.Any],
        greenlets: bool,
        uploaded: Callable[[str, Upload], FileWrapper],
    ) -> None:
        if greenlets:
            require_gevent()
        self.stored = stored
        self._uploaded = uploaded
        self.greenlets = greenlets
        self.app: Flask | None = None
        self.limit: int = config["STORE_SPOOL_UPLOADS"]
        self.drain: float = config["STORE_SPOOL_DRAIN"]
        folder = _folder(stored, config["STORE_SPOOL_PATH"])
        self.spool = Spool(folder, config["STORE_SPOOL_QUOTA"], stored.uri)
        self._workers: dict[tuple[int, bool], Worker] = {}
        _every.add(self)

    def attach(self, app: Flask) -> None:
        """Send the signals of *app*, and look for leftovers at its first request.

        Not before: an application is imported by processes too that never serve.
        """
        self.app = app
        app.before_request(self.start)

    def start(self) -> None:
        """Take up, in this process, what is left in the spool."""
        try:
            self.worker()
        except (OSError, RuntimeError) as exc:
            logger.warning("%s cannot be used: %s", self.spool.folder, exc)

    def worker(self) -> Worker:
        """The worker of this process, as gevent has or has not patched it."""
        key = (os.getpid(), patched())
        made = None
        if key not in self._workers:
            with _making:  # an original lock: nothing below switches greenlets
                if key not in self._workers:
                    where = runner(self.greenlets)
                    made = Worker(self, self.spool, where, self.limit)
                    self._workers[key] = made
        if made:
            _drain_at_exit()
            made.look_around()
        return self._workers[key]

    def accept(self, source: Source, key: str, content_type: str) -> Upload | None:
        """Spool an upload. ``None`` if there is no room or no way: nothing is
        spooled then, and the caller has to store it by itself."""
        try:
            accepted = self._in_box(
                lambda box: (self.spool.add(box, source, key, content_type), box)
            )
        except BadJournal as exc:
            logger.warning("%r is uploaded in the foreground: %s.", key, exc)
            return None
        except OSError as exc:
            if source.error is not None:
                raise
            logger.warning(
                "%r is uploaded in the foreground: STORE_SPOOL_PATH %r cannot be"
                " written to (%s).",
                key,
                self.spool.folder,
                exc,
            )
            return None
        entry, box = accepted
        if entry is None:
            logger.warning(
                "%r is uploaded in the foreground: STORE_SPOOL_QUOTA (%d bytes) is"
                " reached.",
                key,
                self.spool.quota.limit,
            )
            return None
        return self.worker().put(entry, box)

    def unnamed(self) -> Unnamed:
        """A new private file, for an upload that arrives: :meth:`accept` gives it a
        name where it lies.

        :raises OSError: if none can be made.
        """
        return self._in_box(Box.unnamed)

    def _in_box(self, call: t.Callable[[Box], T]) -> T:
        """Do something with this process's box, in a new one if that was removed."""
        worker = self.worker()
        try:
            return call(worker.box)
        except FileNotFoundError:
            if worker.box.is_there():
                raise
            worker.renew_box()
            return call(worker.box)

    def find(self, key: str) -> tuple[Entry, t.BinaryIO] | None:
        """An upload that this host still has, with its bytes.

        :raises FileNotFoundError: if the file was deleted, and the storage has only
            what is still to be removed.
        """
        found = self.spool.find(key)
        if found is None:
            return None
        entry, file = found
        if file is not None:
            return entry, file
        if self._is_left_over(key):
            raise FileNotFoundError(key)
        return None

    @contextmanager
    def still(self, key: str) -> Iterator[Held | None]:
        """Let nobody work on the upload of a file, for as long as another write of it
        takes. A running one is stopped. ``None`` if this host has none.

        Whoever succeeds has to :meth:`Held.remove` it. Otherwise it goes on.

        :raises StoreUnavailable: if it runs, and does not stop.
        """
        with ExitStack() as stack:
            with self.stored.explained(key):  # the spool's disk may be full
                held = stack.enter_context(self.spool.still(key))
            yield held
        if held is not None and held.over:
            for worker in self._mine():
                upload = worker.uploads.pop(key, None)
                if upload is not None:
                    upload.settle("deleted")

    def delete(self, held: Held) -> bool:
        """Delete a file that waits, and what a try may have stored of it.

        Where the storage cannot be asked now, a worker takes that back later.

        :return: false if the file was deleted already, and another one may be there.
        :raises OSError: if the spool cannot be written; the file is as it was then.
        """
        if held.entry.deleted:
            self.take_back(held)
            held.remove()
            return False
        if held.may_be_stored:
            try:
                self.take_back(held)
            except Exception as exc:
                logger.warning(
                    "%r is deleted, and removed from the storage as soon as that can be"
                    " asked. %s: %s",
                    held.entry.key,
                    type(exc).__name__,
                    exc,
                )
                held.delete()
                return True
        held.remove()
        return True

    def make_way(self, key: str) -> None:
        """Make sure that the spool has nothing of a name that is to be created.

        :raises FileExistsError: if a file of this name waits.
        """
        found = self.spool.find(key)
        if found is None:
            return
        if found[1] is not None:
            found[1].close()
            raise FileExistsError(key)
        with self.still(key) as held:
            if held is not None and held.entry.deleted:
                self.take_back(held)
                held.remove()

    def upload(self, key: str) -> Upload | None:
        """An upload that this process still has to do."""
        for worker in self._mine():
            if key in worker.uploads:
                return worker.uploads[key]
        return None

    def _mine(self) -> list[Worker]:
        """The workers of this process."""
        mine = os.getpid()
        return [
            worker
            for (owner, _), worker in list(self._workers.items())
            if owner == mine
        ]

    def _is_left_over(self, key: str) -> bool:
        with self.spool.still(key) as held:
            return held is not None and self._sending(held).is_stored()

    def _sending(self, held: Held) -> Sending:
        return Sending(self.stored, held)

    # -- what the worker asks for --------------------------------------------

    def send(self, job: Job, held: Held) -> bool:
        with held.files.open() as file:
            source = job.upload.source(
                file, held.entry.token, held.files.is_asked_to_stop
            )
            return self._sending(held).send(source)

    def take_back(self, held: Held) -> None:
        self._sending(held).take_back()

    def ended(self, job: Job) -> None:
        stored = self._uploaded(job.entry.key, job.upload)
        if self.app is None:
            self._tell(stored, job.upload)
        else:
            with self.app.app_context():
                self._tell(stored, job.upload)

    def _tell(self, file: FileWrapper, upload: Upload) -> None:
        if upload.state == "stored":
            signals.upload_finished.send(self.app, file=file)
        else:
            signals.upload_failed.send(self.app, file=file, error=upload.error)


def _folder(stored: Dialect, path: str | None) -> str:
    if os.name != "posix":
        raise NotConfiguredError(
            "Uploads in the background need a POSIX system, such as Linux or macOS."
        )
    if not path:
        raise NotConfiguredError(
            "Uploads in the background need STORE_SPOOL_PATH, a private folder on this"
            " host's disk. With an application it defaults to its instance folder."
        )
    folder = os.path.realpath(path)
    if stored.location.protocol in ("file", "local"):
        root = os.path.realpath(stored.root)
        if os.path.commonpath([root, folder]) == root:
            raise NotConfiguredError(
                "STORE_SPOOL_PATH lies inside STORE_PATH, where its files would be"
                " served. Choose a folder outside."
            )
    return folder


_making = lock()
_every: weakref.WeakSet[Background] = weakref.WeakSet()
_registered: list[int] = []


def _drain_at_exit() -> None:
    """Registered late, because what is registered last is called first: the
    filesystems close their sessions by ``weakref.finalize``, whose own hook has to
    be there before ours."""
    if os.getpid() not in _registered:
        _registered.append(os.getpid())
        weakref.finalize(_every, lambda: None)
        atexit.register(_drain_all, os.getpid())


def _drain_all(process: int) -> None:
    if process != os.getpid():  # a child inherits what its parent registered
        return
    for background in list(_every):
        for (owner, _), worker in list(background._workers.items()):
            if owner == process:
                worker.drain(background.drain)


def _forget_workers() -> None:
    # They are the parent's.
    global _making
    _making = lock()
    for background in list(_every):
        for worker in background._workers.values():
            worker.leave()
        background._workers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)
