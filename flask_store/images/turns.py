"""Who makes which variant in this process: one at a time for a key, a few in all."""

from __future__ import annotations

import os
import time
import weakref
from contextlib import suppress

from ..concurrency.greenlets import Flag
from ..concurrency.greenlets import flag
from ..concurrency.greenlets import lock
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
        #: Of those who wait, each once.
        self._flags: list[Flag] = []
        self._lock = lock()

    def begin(self, key: str) -> bool:
        """Wait for a turn to make the variant of a key. Other greenlets run meanwhile.

        :return: whether it is this thread's turn, until it calls :meth:`end`. If not,
            another one has ended just now, and the variant may be there.
        :raises StoreUnavailable: if it takes too long.
        """
        deadline = time.monotonic() + self._patience
        was_busy = False
        while True:
            with flag() as changed:
                with self._lock:
                    if key in self._busy:
                        was_busy = True
                    elif was_busy:
                        return False
                    elif len(self._busy) < self._makers:
                        self._busy.add(key)
                        return True
                    self._flags.append(changed)
                try:
                    if changed.wait(max(0.0, deadline - time.monotonic())):
                        continue
                finally:
                    with self._lock, suppress(ValueError):
                        self._flags.remove(changed)
            raise StoreUnavailable(
                f"{len(self._busy)} variants are being made, and {key!r} has waited"
                f" for {self._patience:g} seconds. STORE_IMAGE_MAKERS says how many a"
                " process makes at a time.",
                key,
            )

    def end(self, key: str) -> None:
        """Let the next one begin."""
        with self._lock:
            self._busy.discard(key)
            flags, self._flags = self._flags, []
        for changed in flags:
            changed.set()


_all: weakref.WeakSet[Turns] = weakref.WeakSet()


def _begin_anew() -> None:
    for turns in list(_all):
        turns.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
