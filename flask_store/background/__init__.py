"""Uploads that go on after ``save``, and survive the process.

- ``spool.py``: all uploads on this host's disk. ``boxes.py``: those of one process.
  ``entries.py``: the files of one upload. ``locks.py``: locks that end with their
  process. ``quota.py``: how much disk the uploads take.
- ``worker.py``: one upload, from try to try. ``sending.py``: one try. ``turns.py``: how
  many run at a time. ``runners.py``: the threads or greenlets that they run in.
- ``files.py``: the files of a store, some of which wait here.
- ``holding.py``: lets one worker, or one write of the same name, have an upload.
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
from contextlib import nullcontext

from flask import Flask

from .. import signals
from ..concurrency.greenlets import lock
from ..concurrency.greenlets import patched
from ..exceptions import NotConfiguredError
from ..uploads.disk import Unnamed
from ..uploads.source import Source
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

logger = logging.getLogger(__name__)


class Background:
    """The uploads of one store, in every process of this host.

    :param stored: the dialect that stores the files.
    :param config: the settings, read and checked.
    :param greenlets: whether uploads run in greenlets even if gevent has not patched.
    :param uploaded: makes the file that a signal carries, of a key and, by name, an
        upload.
    :raises NotConfiguredError: if no uploads can wait with these settings.
    """

    def __init__(
        self,
        stored: Dialect,
        config: Mapping[str, t.Any],
        greenlets: bool,
        uploaded: Callable[..., FileWrapper],
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
        self.spool = Spool(folder, config["STORE_SPOOL_QUOTA"], stored.place)
        self._workers: dict[tuple[int, bool], Worker] = {}
        _backgrounds.add(self)

    def attach(self, app: Flask) -> None:
        """Send the signals of *app*, and look for leftovers at its first request.

        Not before: processes that never serve a request import an application too.
        """
        self.app = app
        app.before_request(self.start)

    def start(self) -> None:
        """Upload, in this process, what killed processes left in the spool."""
        if self._workers:
            return
        try:
            self.worker()
        except (OSError, RuntimeError) as exc:
            logger.warning("%s cannot be used: %s", self.spool.folder, exc)

    def worker(self) -> Worker:
        """The worker of this process, as gevent has or has not patched it."""
        key = (os.getpid(), patched())
        new_worker = None
        if key not in self._workers:
            with _making_lock:  # an original lock: nothing below switches greenlets
                if key not in self._workers:
                    new_worker = Worker(
                        self, self.spool, runner(self.greenlets), self.limit
                    )
                    self._workers[key] = new_worker
        if new_worker:
            _drain_at_exit()
            new_worker.look_around()
        return self._workers[key]

    def accept(self, source: Source, key: str, content_type: str) -> Upload | None:
        """Write an upload into the spool, and begin to send it.

        :return: ``None`` if the spool is full or cannot be written. Nothing is spooled
            then, and the caller stores the file itself.
        """
        try:
            worker = self.worker()
            box = worker.box
            try:
                entry = self.spool.add(box, source, key, content_type)
            except FileNotFoundError:
                box = worker.box_after(box)
                entry = self.spool.add(box, source, key, content_type)
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
        if entry is None:
            logger.warning(
                "%r is uploaded in the foreground: STORE_SPOOL_QUOTA (%d bytes) is"
                " reached.",
                key,
                self.spool.quota.limit,
            )
            return None
        return worker.put(entry, box)

    def unnamed(self) -> Unnamed:
        """A new private file, for an upload that arrives. :meth:`accept` links it into
        the spool, without copying it.

        :raises OSError: if the spool cannot be written.
        """
        worker = self.worker()
        box = worker.box
        try:
            return box.unnamed()
        except FileNotFoundError:
            return worker.box_after(box).unnamed()

    def find(self, key: str) -> tuple[Entry, t.BinaryIO] | None:
        """The journal and the bytes of an upload that this host still has.

        :raises FileNotFoundError: if the file was deleted, and a worker has yet to
            remove what a try stored of it.
        """
        waiting = self.spool.find(key)
        if waiting is None:
            return None
        entry, file = waiting
        if file is not None:
            return entry, file
        if self._is_left_over(key):
            raise FileNotFoundError(key)
        return None

    @contextmanager
    def still(self, key: str) -> Iterator[Held | None]:
        """Hold the upload of a file while the caller writes the file in another way.

        An upload that is running stops first. A caller that has written the file calls
        :meth:`Held.remove`. Otherwise the upload goes on afterwards. The value is
        ``None`` if this host has no upload of the file.

        :raises StoreUnavailable: if the upload is running and does not stop.
        """
        with ExitStack() as stack:
            with self.stored.explained(key):  # the spool's disk may be full
                held = stack.enter_context(self.spool.still(key))
            yield held
        if held is not None and held.over:
            for worker in self._own_workers():
                upload = worker.uploads.pop(key, None)
                if upload is not None:
                    upload.settle("deleted")

    def delete(self, held: Held) -> bool:
        """Delete a file that waits, and what a try may have stored of it.

        If the storage does not answer, a worker removes that later.

        :return: ``False`` if this file was deleted before, so that another one may have
            its name.
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
        """Make sure that the spool has no upload of a name, before a file gets it.

        :raises FileExistsError: if a file of this name waits.
        """
        waiting = self.spool.find(key)
        if waiting is None:
            return
        if waiting[1] is not None:
            waiting[1].close()
            raise FileExistsError(key)
        with self.still(key) as held:
            if held is not None and held.entry.deleted:
                self.take_back(held)
                held.remove()

    def upload(self, key: str) -> Upload | None:
        """The upload of a file that this process has yet to finish."""
        for worker in self._own_workers():
            if key in worker.uploads:
                return worker.uploads[key]
        return None

    def _own_workers(self) -> list[Worker]:
        """The workers of this process."""
        process = os.getpid()
        return [
            worker
            for (owner, _), worker in list(self._workers.items())
            if owner == process
        ]

    def _is_left_over(self, key: str) -> bool:
        with self.spool.still(key) as held:
            return held is not None and Sending(self.stored, held).is_stored()

    # -- what the worker calls --------------------------------------------

    def send(self, job: Job, held: Held) -> bool:
        return Sending(self.stored, held).send(job.upload)

    def take_back(self, held: Held) -> None:
        Sending(self.stored, held).take_back()

    def ended(self, job: Job) -> None:
        upload = job.upload
        file = self._uploaded(job.entry.key, upload=upload)
        with nullcontext() if self.app is None else self.app.app_context():
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


_making_lock = lock()
_backgrounds: weakref.WeakSet[Background] = weakref.WeakSet()
_registered: list[int] = []


def _drain_at_exit() -> None:
    """Drain the workers of this process when it exits, before the filesystems close
    their sessions.

    Filesystems close their sessions by ``weakref.finalize``. Python registers these
    finalizers with ``atexit`` when the first one is made, and ``atexit`` calls last
    what was registered first. So a finalizer is made before ours is registered.
    """
    if os.getpid() not in _registered:
        _registered.append(os.getpid())
        weakref.finalize(_backgrounds, _do_nothing)
        atexit.register(_drain_all, os.getpid())


def _do_nothing() -> None:
    pass


def _drain_all(process: int) -> None:
    if process != os.getpid():  # a forked child inherits the parent's registration
        return
    for background in list(_backgrounds):
        for (owner, _), worker in list(background._workers.items()):
            if owner == process:
                worker.drain(background.drain)


def _forget_workers() -> None:
    # The workers are the parent's.
    global _making_lock
    _making_lock = lock()
    for background in list(_backgrounds):
        for worker in background._workers.values():
            worker.leave()
        background._workers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)
