"""What gevent has done to this process, and how to wait whether it has or not.

Nothing here imports gevent before the application does, nothing patches, and every
question is asked anew: an application may be patched at any time, such as in a worker
of gunicorn, after ``--preload`` imported it unpatched.
"""

from __future__ import annotations

import importlib
import sys
import typing as t
from contextlib import suppress

T = t.TypeVar("T")


def _monkey() -> t.Any:
    """gevent's module, or ``None`` as long as nobody has imported it."""
    if sys.modules.get("gevent.monkey") is None:
        return None
    # Another thread may be at it: an import waits for that, a look does not.
    return importlib.import_module("gevent.monkey")


def patched() -> bool:
    """Whether threads are greenlets by now."""
    monkey = _monkey()
    return bool(monkey and monkey.is_module_patched("threading"))


def original(module: str, name: str) -> t.Any:
    """A function of the standard library as it was before any patching."""
    monkey = _monkey()
    if monkey is not None:
        return monkey.get_original(module, name)
    return getattr(importlib.import_module(module), name)


def current_hub() -> t.Any:
    """The hub that serves other greenlets while this one waits, or ``None``."""
    if "gevent.hub" not in sys.modules:
        return None
    from gevent import getcurrent
    from gevent._hub_local import get_hub_if_exists

    hub = get_hub_if_exists()
    return None if getcurrent() is hub else hub


def may_wait() -> bool:
    """Whether a thread may simply wait: threads are threads, and no hub serves other
    greenlets of this one."""
    # Without the package, which every part of gevent imports first, neither can be.
    return "gevent" not in sys.modules or (not patched() and current_hub() is None)


def lock() -> t.Any:
    """A lock of the operating system. Hold it only across what cannot switch."""
    return original("_thread", "allocate_lock")()


class Flag(t.Protocol):
    """Raised once by anybody, on any thread; waited for by the one who made it."""

    def __enter__(self) -> t.Self: ...

    def __exit__(self, *exc_info: object) -> None: ...

    def set(self) -> None:
        """Raise the flag."""

    def wait(self, timeout: float | None = None) -> bool:
        """Whether the flag was raised within *timeout* seconds."""


def flag() -> Flag:
    """A flag for the greenlet, or the thread, that asks for it."""
    hub = current_hub()
    return _ThreadFlag() if hub is None else _HubFlag(hub)


class _ThreadFlag:
    """For a thread that has no hub, and so no greenlet that could be held up."""

    def __init__(self) -> None:
        self._lock = lock()
        self._lock.acquire()

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def set(self) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        return bool(self._lock.acquire(timeout=-1 if timeout is None else timeout))


class _HubFlag:
    """For a greenlet: the others run meanwhile.

    The watcher is what another thread may wake a hub with, and what tells a hub with
    nothing else to do that something is still to come.
    """

    def __init__(self, hub: t.Any) -> None:
        from gevent.event import Event

        self._event = Event()
        self._guard = lock()
        self._watcher = hub.loop.async_()
        self._watcher.start(self._event.set)

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._guard:  # a watcher that is closed must not be sent to
            watcher, self._watcher = self._watcher, None
        watcher.stop()
        watcher.close()

    def set(self) -> None:
        with self._guard:
            if self._watcher is not None:
                self._watcher.send()

    def wait(self, timeout: float | None = None) -> bool:
        return bool(self._event.wait(timeout))


def offload(function: t.Callable[..., T], *args: t.Any) -> T:
    """Call what blocks on the disk, while other greenlets run.

    A greenlet that is killed meanwhile waits for the call all the same: it would close
    a file that is still written, and the file's number would be another's.

    :param function: a plain system call or two; nothing that could log.
    """
    hub = current_hub()
    if hub is None:
        return function(*args)
    job = hub.threadpool.spawn(function, *args)
    try:
        return t.cast(T, job.get())
    except BaseException:
        while not job.ready():
            with suppress(BaseException):
                job.wait()
        raise
