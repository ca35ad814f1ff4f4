"""``f.upload``: what becomes of an upload that goes on after ``save``."""

from __future__ import annotations

import typing as t

from ..concurrency.greenlets import Flag
from ..concurrency.greenlets import flag
from ..concurrency.greenlets import lock
from ..uploads.source import CHUNK
from ..uploads.source import Source

State: t.TypeAlias = t.Literal["waiting", "running", "stored", "parked", "deleted"]


class Upload:
    """An upload in the background; usable from any thread or greenlet.

    :param key: the file's final name in its store.
    :param size: in bytes.
    """

    def __init__(self, key: str, size: int) -> None:
        self.key = key
        self.size = size
        #: ``"waiting"`` (for its turn, or to be tried again), ``"running"``,
        #: ``"stored"``, ``"parked"`` (it cannot succeed before somebody acts, see
        #: :attr:`error`, and is tried again from time to time) or ``"deleted"`` (the
        #: file was deleted, moved away or replaced before it was stored).
        self.state: State = "waiting"
        #: What the last attempt raised, or ``None``.
        self.error: Exception | None = None
        #: How often it was tried in vain.
        self.attempts = 0
        self._sent = 0
        self._guard = lock()
        self._flags: list[Flag] = []

    @property
    def done(self) -> bool:
        """Whether it has come to an end, for a parked one until somebody acts."""
        return self.state in ("stored", "parked", "deleted")

    @property
    def progress(self) -> float:
        """How much of the file has been read for sending, from 0 to 1."""
        if self.state == "stored":
            return 1.0
        return self._sent / self.size if self.size else 0.0

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end. In a greenlet, the others run meanwhile.

        :param timeout: in seconds; by default as long as it takes.
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

    def source(
        self,
        file: t.BinaryIO,
        token: str | None = None,
        stops: t.Callable[[], bool] = lambda: False,
    ) -> Source:
        """The spooled bytes as a source that this upload learns its progress from.

        :param token: the token to store them with, in place of a fresh one.
        :param stops: whether somebody waits for the reading to stop, which then raises
            :exc:`Stopped`. It is asked once for each MiB.
        """
        self._sent = 0
        source = _Watched(file, self, stops)
        if token is not None:
            source.token = token
        return source

    def settle(self, state: State, error: Exception | None = None) -> None:
        """The end of it, or of one attempt."""
        with self._guard:
            self.state = state
            self.error = error
            flags = self._flags if self.done else []
            if self.done:
                self._flags = []
            for finished in flags:
                finished.set()

    def __repr__(self) -> str:
        return f"<Upload {self.key!r} {self.state}>"


class Stopped(Exception):
    """The upload was asked to stop, by a write of the same name in the foreground."""


class _Watched(Source):
    def __init__(
        self, file: t.BinaryIO, upload: Upload, stops: t.Callable[[], bool]
    ) -> None:
        super().__init__(file, None)
        self.upload = upload
        self._stops = stops
        self._asked_at: int | None = None

    def read_at(self, position: int, size: int) -> bytes:
        self._go_on(position)
        data = super().read_at(position, size)
        self.upload._sent = position + len(data)
        return data

    def chunks(self) -> t.Iterator[bytes]:
        self.upload._sent = 0
        self._go_on(0)
        for data in super().chunks():
            yield data
            self.upload._sent += len(data)
            self._go_on(self.upload._sent)

    def _go_on(self, position: int) -> None:
        """:raises Stopped: if somebody asks for it, from then on always: a client that
        tries again by itself is not to succeed."""
        near = self._asked_at is not None and 0 < position - self._asked_at < CHUNK
        if not near and self.error is None:
            self._asked_at = position
            if self._stops():
                self.error = Stopped()
        if self.error is not None:
            raise self.error
