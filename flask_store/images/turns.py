"""Who makes which variant in this process: one at a time for a key, a few in all."""

from __future__ import annotations

import os
import threading
import time
import weakref

from ..exceptions import StoreUnavailable


class Turns:
    """The variants that are being made in this process.

    :param makers: how many at a time.
    :param patience: in seconds, for how long somebody waits for a turn.
    """

    def __init__(self, makers: int, patience: float) -> None:
        self._makers = makers
        self._patience = patience
        self.begin_anew()
        _all.add(self)

    def begin_anew(self) -> None:
        """Forget what other threads make: after a fork there are none."""
        self._busy: set[str] = set()
        self._changed = threading.Condition()

    def begin(self, key: str) -> bool:
        """Wait for a turn to make the variant of a key.

        :return: whether it is this thread's turn, until it calls :meth:`end`. If not,
            another one has ended just now, and the variant may be there.
        :raises StoreUnavailable: if it takes too long.
        """
        deadline = time.monotonic() + self._patience
        with self._changed:
            if key in self._busy:
                while key in self._busy:
                    self._wait(deadline, key)
                return False
            while key in self._busy or len(self._busy) >= self._makers:
                self._wait(deadline, key)
            self._busy.add(key)
            return True

    def end(self, key: str) -> None:
        """Let the next one begin."""
        with self._changed:
            self._busy.discard(key)
            self._changed.notify_all()

    def _wait(self, deadline: float, key: str) -> None:
        if not self._changed.wait(max(0.0, deadline - time.monotonic())):
            if time.monotonic() >= deadline:
                raise StoreUnavailable(
                    f"{len(self._busy)} variants are being made, and {key!r} has"
                    f" waited for {self._patience:g} seconds. STORE_IMAGE_MAKERS says"
                    " how many a process makes at a time.",
                    key,
                )


_all: weakref.WeakSet[Turns] = weakref.WeakSet()


def _begin_anew() -> None:
    for turns in list(_all):
        turns.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
