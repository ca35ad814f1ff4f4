"""``f.upload``: what becomes of an upload that goes on after ``save``."""

from __future__ import annotations

import typing as t

from ..greenlets import Flag
from ..greenlets import flag
from ..greenlets import lock
from ..sources import Source

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
        #: ``"stored"``, ``"parked"`` (it cannot succeed before somebody acts; see
        #: :attr:`error`) or ``"deleted"`` (the file was, before it was stored).
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
        """Whether this process will not try again."""
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

    def source(self, file: t.BinaryIO) -> Source:
        """The spooled bytes as a source that this upload learns its progress from."""
        self._sent = 0
        return _Watched(file, self)

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


class _Watched(Source):
    def __init__(self, file: t.BinaryIO, upload: Upload) -> None:
        super().__init__(file, None)
        self.upload = upload

    def read_at(self, position: int, size: int) -> bytes:
        data = super().read_at(position, size)
        self.upload._sent = position + len(data)
        return data

    def chunks(self) -> t.Iterator[bytes]:
        self.upload._sent = 0
        for data in super().chunks():
            yield data
            self.upload._sent += len(data)
