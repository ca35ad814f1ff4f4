"""The event loop that asynchronous filesystems run on, and the way to it.

fsspec runs one loop for everybody on a thread that, once gevent has patched, is a
greenlet: every call then fails with "Calling sync() from within a running loop". Ours
has a thread of the operating system, whenever it is made, and touches nothing that
belongs to others.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import os
import typing as t
from collections.abc import Callable
from collections.abc import Coroutine

import fsspec.asyn

from .greenlets import Flag
from .greenlets import flag
from .greenlets import lock
from .greenlets import original
from .greenlets import patched
from .threads import Helpers

T = t.TypeVar("T")


class IOLoop(asyncio.SelectorEventLoop):
    """An event loop that nothing in it can turn into greenlets of another thread.

    Where gevent has patched, the loop waits by a hub of its own thread. It has to:
    the locks of :mod:`logging` are gevent's then, and one that a thread without a
    running hub shares with greenlets loses wake-ups for ever.
    """

    def __init__(self) -> None:
        super().__init__(_selector())
        self._helpers = Helpers()

    def run_in_executor(  # type: ignore[override]
        self, executor: t.Any, func: Callable[..., T], *args: t.Any
    ) -> asyncio.Future[T]:
        """The default executor's threads would be greenlets of a hub nobody runs."""
        if executor is not None:
            return super().run_in_executor(executor, func, *args)
        future: asyncio.Future[T] = self.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if not future.done():
                if error is None:
                    future.set_result(t.cast(T, result))
                else:
                    future.set_exception(error)

        def work() -> None:
            if future.cancelled():  # nobody wants it, or what it reads, any more
                return
            result, error = None, None
            try:
                result = func(*args)
            except BaseException as exc:
                error = exc
            self.call_soon_threadsafe(settle, result, error)

        self._helpers.put(work)
        return future

    async def getaddrinfo(self, host: t.Any, port: t.Any, **kwargs: t.Any) -> t.Any:
        function = original("socket", "getaddrinfo")
        call = functools.partial(function, host, port, **kwargs)
        return await self.run_in_executor(None, call)

    async def getnameinfo(self, sockaddr: t.Any, flags: int = 0) -> t.Any:
        function = original("socket", "getnameinfo")
        return await self.run_in_executor(None, function, sockaddr, flags)


def _selector() -> t.Any:
    if not patched():
        return None
    from gevent.selectors import GeventSelector

    return GeventSelector()


_loops: dict[tuple[int, bool], IOLoop] = {}
_making = lock()


def get_loop() -> IOLoop:
    """The running loop of this process, as gevent has or has not patched it."""
    key = (os.getpid(), patched())
    if key not in _loops:
        _selector()  # import gevent's here, where the import may take its time
        with _making:  # an original lock, so nothing below may switch greenlets
            if key not in _loops:
                _loops[key] = _start()
    return _loops[key]


def _start() -> IOLoop:
    started = lock()
    started.acquire()
    made: list[IOLoop | BaseException] = []

    def run() -> None:
        try:
            loop = IOLoop()
            loop.call_soon(started.release)
            made.append(loop)
        except BaseException as exc:
            made.append(exc)
            started.release()
            return
        asyncio.set_event_loop(loop)
        loop.run_forever()

    original("_thread", "start_new_thread")(run, ())
    started.acquire()
    if isinstance(made[0], BaseException):
        raise made[0]
    return made[0]


def _forget() -> None:
    # The threads did not come along, and the lock may have been held by one.
    global _making
    _loops.clear()
    _making = lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class _Call:
    """A coroutine on its way: started, cancelled and finished on the loop's thread."""

    task: asyncio.Task[t.Any]

    def __init__(self, loop: asyncio.AbstractEventLoop, done: Flag) -> None:
        self.loop = loop
        self.done = done

    def start(self, work: Callable[[], Coroutine[t.Any, t.Any, t.Any]]) -> None:
        self.task = self.loop.create_task(self._guarded(work))
        self.task.add_done_callback(self.finished)

    @staticmethod
    async def _guarded(work: Callable[[], Coroutine[t.Any, t.Any, t.Any]]) -> t.Any:
        return await work()

    def cancel(self) -> None:
        self.task.cancel()

    def finished(self, task: asyncio.Task[t.Any]) -> None:
        if not task.cancelled():
            task.exception()  # looked at, so that nobody complains if we have left
        self.done.set()


def run(
    loop: asyncio.AbstractEventLoop,
    function: Callable[..., Coroutine[t.Any, t.Any, T]],
    *args: t.Any,
    **kwargs: t.Any,
) -> T:
    """Run a coroutine on *loop* and wait for it, from a thread or a greenlet.

    A greenlet lets the others run meanwhile. Whatever ends the waiting, such as
    ``kill()``, ``gevent.Timeout`` or Ctrl-C, ends the coroutine too.

    :raises RuntimeError: on the loop's own thread, which would wait for itself.
    """
    if asyncio._get_running_loop() is loop:
        raise RuntimeError("A store cannot be used from its own event loop.")
    with flag() as done:
        call = _Call(loop, done)
        work = functools.partial(function, *args, **kwargs)
        # The caller's context holds its request, and a connection made now would
        # keep it for as long as it lives.
        loop.call_soon_threadsafe(call.start, work, context=contextvars.Context())
        try:
            done.wait()
        except BaseException:
            loop.call_soon_threadsafe(call.cancel)
            raise
    try:
        return t.cast(T, call.task.result())
    finally:
        del call  # an error's traceback would hold all this until the next collection


_SYNC = fsspec.asyn.sync_wrapper(lambda: None).__code__


#: The attribute in which a filesystem keeps the seconds for one call.
LIMIT = "_flask_store_limit"


def bridge(fs: t.Any, limit: float | None = None) -> t.Any:
    """Let every blocking method of an asynchronous filesystem go through :func:`run`.

    :param fs: an instance of our own, which nobody else sees, or a file of it.
    :param limit: seconds for one call, by default without a limit. Whatever the server
        does, the call then ends with a TimeoutError.
    """
    if limit is not None:
        setattr(fs, LIMIT, limit)
    for name in {*dir(type(fs)), *vars(fs)}:
        method = inspect.getattr_static(fs, name, None)
        if getattr(method, "__code__", None) is _SYNC:
            coroutine = method.__wrapped__
            if not inspect.ismethod(coroutine):
                coroutine = coroutine.__get__(fs)
            setattr(fs, name, _blocking(fs, coroutine))
    return fs


def _blocking(fs: t.Any, coroutine: t.Any) -> t.Any:
    async def limited(*args: t.Any, timeout: float, **kwargs: t.Any) -> t.Any:
        try:
            return await asyncio.wait_for(coroutine(*args, **kwargs), timeout)
        except TimeoutError as exc:
            raise fsspec.asyn.FSTimeoutError from exc

    @functools.wraps(coroutine)
    def method(*args: t.Any, **kwargs: t.Any) -> t.Any:
        # Blocking methods know this keyword, and the coroutines below do not.
        kwargs["timeout"] = kwargs.get("timeout") or getattr(fs, LIMIT, None)
        function = limited if kwargs["timeout"] else coroutine
        if function is coroutine:
            kwargs.pop("timeout", None)
        return run(fs.loop, function, *args, **kwargs)

    return method
