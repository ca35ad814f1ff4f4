"""Where the background's work runs: threads, or greenlets of a hub that runs."""

from __future__ import annotations

import threading
import typing as t
from collections.abc import Callable

from ..concurrency.greenlets import current_hub
from ..concurrency.greenlets import lock
from ..concurrency.greenlets import original
from ..concurrency.greenlets import patched
from ..exceptions import NotConfiguredError


class Runner(t.Protocol):
    """Starts work that goes on by itself; may be called from any thread."""

    def start(self, work: Callable[[], None]) -> None:
        """:raises RuntimeError: if the interpreter is about to exit."""


def runner(greenlets: bool) -> Runner:
    """What fits this process, as gevent has or has not patched it.

    :param greenlets: whether greenlets are wanted in an unpatched process too.
    :raises NotConfiguredError: if they are, and gevent is not installed.
    """
    if not patched() and not greenlets:
        return Threads()
    hub = current_hub()
    # A hub of another thread may never run again.
    if patched() and hub is not None and hub.main_hub:
        return Greenlets(hub)
    return Greenlets(_own_hub())


class Threads:
    """One thread for each piece of work."""

    def start(self, work: Callable[[], None]) -> None:
        threading.Thread(target=work, name="flask-store-upload", daemon=True).start()


class Greenlets:
    """One greenlet for each piece of work.

    :param hub: whose loop runs, now or whenever its thread waits.
    """

    def __init__(self, hub: t.Any) -> None:
        self.hub = hub

    def start(self, work: Callable[[], None]) -> None:
        import gevent

        self.hub.loop.run_callback_threadsafe(gevent.spawn, work)


def _own_hub() -> t.Any:
    """The hub of a new thread, which does nothing but run it."""
    require_gevent()
    import gevent

    started = lock()
    started.acquire()
    found: list[t.Any] = []

    def serve() -> None:
        hub = gevent.get_hub()
        # Without it a hub that has nothing to do would end.
        keep = hub.loop.async_()
        keep.start(lambda: None)
        found.append(hub)
        started.release()
        hub.switch()

    original("_thread", "start_new_thread")(serve, ())
    started.acquire()
    return found[0]


def require_gevent() -> None:
    """:raises NotConfiguredError: if gevent is not installed."""
    try:
        import gevent
    except ImportError as exc:
        raise NotConfiguredError(
            "S3GeventStore needs gevent. Install it with: pip install"
            " 'Flask-Store[gevent]'; or use S3Store with STORE_BACKGROUND = True, which"
            " uploads in threads."
        ) from exc
    assert gevent
