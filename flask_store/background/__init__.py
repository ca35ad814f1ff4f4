"""Uploads that go on after ``save``, and survive the process.

- ``spool.py``: the uploads on this host's disk. ``boxes.py``: those of one process.
  ``locks.py``: how long they are its own. ``copying.py``: the way there.
- ``worker.py``: one upload, from try to try. ``turns.py``: whose turn it is.
  ``runners.py``: in what it runs.
- ``upload.py``: ``f.upload``.
"""

from __future__ import annotations

import atexit
import logging
import os
import typing as t
import weakref
from collections.abc import Mapping
from contextlib import suppress

from flask import Flask

from .. import signals
from ..exceptions import NotConfiguredError
from ..files import FileWrapper
from ..greenlets import lock
from ..greenlets import patched
from ..sources import Source
from ..unnamed import Unnamed
from .boxes import Entry
from .runners import require_gevent
from .runners import runner
from .spool import Spool
from .upload import Upload
from .worker import Job
from .worker import Worker

if t.TYPE_CHECKING:
    from ..stores.fsspec import FsspecStore

logger = logging.getLogger(__name__)

#: The bytes that waiting uploads may take, unless STORE_SPOOL_QUOTA says else.
QUOTA = 1024**3
#: How many uploads of a process run at a time.
UPLOADS = 4
#: Seconds that the exit waits for uploads; gunicorn kills a worker after 30.
DRAIN = 10.0


class Background:
    """The uploads of one store, in whichever process.

    :param store: the store that has them in the end.
    :param greenlets: whether they run in greenlets even where gevent has not patched.
    :raises NotConfiguredError: if the settings cannot be.
    """

    def __init__(
        self, store: FsspecStore, config: Mapping[str, t.Any], greenlets: bool
    ) -> None:
        if greenlets:
            require_gevent()
        self.store = store
        self.greenlets = greenlets
        self.app: Flask | None = None
        self.limit = int(config.get("STORE_SPOOL_UPLOADS") or UPLOADS)
        self.drain = float(config.get("STORE_SPOOL_DRAIN") or DRAIN)
        quota = config.get("STORE_SPOOL_QUOTA")
        quota = QUOTA if quota is None else int(quota)
        self.spool = Spool(_folder(store, config), quota, store.uri)
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
            worker = self.worker()
            if not self.spool.room_for(source.size):
                logger.warning(
                    "%r is uploaded in the foreground: STORE_SPOOL_QUOTA (%d bytes) is"
                    " reached.",
                    key,
                    self.spool.quota,
                )
                return None
            entry = worker.box.add(source, key, content_type)
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
        return worker.put(entry, worker.box)

    def unnamed(self) -> Unnamed:
        """A new private file, for an upload that arrives: :meth:`accept` gives it a
        name where it lies.

        :raises OSError: if none can be made.
        """
        return self.worker().box.unnamed()

    def find(self, key: str) -> tuple[Entry, t.BinaryIO] | None:
        """An upload that this host still has, with its bytes."""
        return self.spool.find(key)

    def forget(self, key: str) -> bool:
        """Give up an upload that this host still has."""
        return self.spool.forget(key)

    def upload(self, key: str) -> Upload | None:
        """An upload that this process still has to do."""
        for (process, _), worker in self._workers.items():
            if process == os.getpid() and key in worker.uploads:
                return worker.uploads[key]
        return None

    # -- what the worker asks for --------------------------------------------

    def send(self, job: Job, file: t.BinaryIO) -> None:
        source = job.upload.source(file)
        entry = job.entry
        self.store._store(source, entry.key, "overwrite", entry.content_type)

    def take_back(self, job: Job) -> None:
        store = self.store
        with suppress(FileNotFoundError), store._explained(job.entry.key):
            store.dialect.delete(store.fs, job.entry.key)

    def ended(self, job: Job) -> None:
        upload = job.upload
        if upload.state == "deleted":
            return
        stored = FileWrapper(job.entry.key, self.store.at(None), upload)
        if self.app is None:
            self._tell(stored, upload)
        else:
            with self.app.app_context():
                self._tell(stored, upload)

    def _tell(self, file: FileWrapper, upload: Upload) -> None:
        if upload.state == "stored":
            signals.upload_finished.send(self.app, file=file)
        else:
            signals.upload_failed.send(self.app, file=file, error=upload.error)


def _folder(store: FsspecStore, config: Mapping[str, t.Any]) -> str:
    if os.name != "posix":
        raise NotConfiguredError(
            "Uploads in the background need a POSIX system, such as Linux or macOS."
        )
    path = config.get("STORE_SPOOL_PATH")
    if not path:
        raise NotConfiguredError(
            "Uploads in the background need STORE_SPOOL_PATH, a private folder on this"
            " host's disk. With an application it defaults to its instance folder."
        )
    folder: str = os.path.realpath(path)
    if store.dialect.location.protocol in ("file", "local"):
        root = os.path.realpath(store.dialect.root)
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
