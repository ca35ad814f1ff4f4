"""Whether gevent has patched this process, and locks and flags that work in both cases.

This module neither imports gevent before the application does, nor patches anything.
Each function looks anew whether gevent has patched, because that can happen at any
time: a worker of gunicorn patches after ``--preload`` has imported the application.
"""

from __future__ import annotations

import _thread
import importlib
import sys
import typing as t
from contextlib import suppress

T = t.TypeVar("T")


def _monkey() -> t.Any:
    """The module ``gevent.monkey``, or ``None`` if the application has not imported
    it."""
    if sys.modules.get("gevent.monkey") is None:
        return None
    # Another thread may be importing it. import_module() waits for that.
    return importlib.import_module("gevent.monkey")


def patched() -> bool:
    """Whether gevent has patched, so that threads are greenlets."""
    if "gevent.monkey" not in sys.modules:
        return False
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
    if "gevent.monkey" in sys.modules:
        return original("_thread", "allocate_lock")()
    return _thread.allocate_lock()


class Flag(t.Protocol):
    """Any thread sets it, once. The thread or greenlet that made it waits for it."""

    def __enter__(self) -> t.Self: ...

    def __exit__(self, *exc_info: object) -> None: ...

    def set(self) -> None:
        """Set the flag, and wake the one who waits."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the flag.

        :return: whether it was set within *timeout* seconds.
        """


def flag() -> Flag:
    """A flag for the current greenlet or thread."""
    hub = current_hub()
    return _ThreadFlag() if hub is None else _HubFlag(hub)


class _ThreadFlag:
    """For a thread without a hub: there are no greenlets that the wait could block."""

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
    """For a greenlet: others run while it waits.

    Another thread wakes the hub by the watcher. A hub that has nothing else to do goes
    on as long as it has a watcher.
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
        with self._guard:  # send() must not be called on a closed watcher
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
    """Call a function that waits for the disk, while other greenlets run.

    A greenlet that is killed meanwhile still waits for the end of the call. Otherwise
    it would close a file that is being written, and another file could get its
    descriptor.

    :param function: a system call or two. It must not log.
    """
    hub = current_hub() if "gevent.hub" in sys.modules else None
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
