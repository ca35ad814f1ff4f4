"""The event loop on which asynchronous filesystems run, and calls from other threads.

fsspec runs one loop for the whole process, on a thread. Once gevent has patched, this
thread is a greenlet, and every call fails with "Calling sync() from within a running
loop". Our loop always has a thread of the operating system, and leaves fsspec's alone.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import os
import sys
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
    """An event loop that works even if gevent has patched.

    Once gevent has patched, the loop waits by a hub of its own thread. Otherwise a lock
    of
    :mod:`logging`, which is gevent's then, could lose wake-ups: gevent's locks do not
        work
    between greenlets and a thread without a running hub.
    """

    def __init__(self) -> None:
        super().__init__(_selector())
        self._helpers = Helpers()

    def run_in_executor(  # type: ignore[override]
        self, executor: t.Any, func: Callable[..., T], *args: t.Any
    ) -> asyncio.Future[T]:
        """Run a function in a thread of the operating system. With gevent, the threads
        of the default executor would be greenlets of a hub that does not run."""
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
            if future.cancelled():  # the result is not needed any more
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
_making_lock = lock()


def get_loop() -> IOLoop:
    """The running loop of this process, as gevent has or has not patched it."""
    key = (os.getpid(), patched())
    if key not in _loops:
        _selector()  # imports gevent's selector here, where it may switch greenlets
        with _making_lock:  # an original lock: nothing below switches greenlets
            if key not in _loops:
                _loops[key] = _start()
    return _loops[key]


def _start() -> IOLoop:
    started = lock()
    started.acquire()
    results: list[IOLoop | BaseException] = []

    def run() -> None:
        try:
            loop = IOLoop()
            loop.call_soon(started.release)
            results.append(loop)
        except BaseException as exc:
            results.append(exc)
            started.release()
            return
        asyncio.set_event_loop(loop)
        loop.run_forever()

    original("_thread", "start_new_thread")(run, ())
    started.acquire()
    if isinstance(results[0], BaseException):
        raise results[0]
    return results[0]


def _forget() -> None:
    # A fork copies no threads, and one of them may have held the lock.
    global _making_lock
    _loops.clear()
    _making_lock = lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class _Call:
    """A coroutine that the loop's thread starts, cancels and finishes."""

    task: asyncio.Task[t.Any]

    def __init__(self, loop: asyncio.AbstractEventLoop, finished: Flag) -> None:
        self.loop = loop
        self.finished_flag = finished

    def start(self, work: Callable[[], Coroutine[t.Any, t.Any, t.Any]]) -> None:
        self.task = self.loop.create_task(self._guarded(work))
        self.task.add_done_callback(self.finish)

    @staticmethod
    async def _guarded(work: Callable[[], Coroutine[t.Any, t.Any, t.Any]]) -> t.Any:
        return await work()

    def cancel(self) -> None:
        self.task.cancel()

    def finish(self, task: asyncio.Task[t.Any]) -> None:
        if not task.cancelled():
            task.exception()  # else asyncio logs it if the caller no longer waits
        self.finished_flag.set()


def run(
    loop: asyncio.AbstractEventLoop,
    function: Callable[..., Coroutine[t.Any, t.Any, T]],
    *args: t.Any,
    **kwargs: t.Any,
) -> T:
    """Run a coroutine on *loop* and wait for it, from a thread or a greenlet.

    Other greenlets run while one waits. An exception that ends the wait, such as that
    of ``kill()``, ``gevent.Timeout`` or Ctrl-C, cancels the coroutine.

    :raises RuntimeError: on the loop's own thread, which would wait for itself; and
        when Python exits, because the thread of the loop does not run any more.
    """
    if sys.is_finalizing():
        raise RuntimeError("A store cannot be used when Python exits.")
    if asyncio._get_running_loop() is loop:
        raise RuntimeError("A store cannot be used from its own event loop.")
    with flag() as finished:
        call = _Call(loop, finished)
        work = functools.partial(function, *args, **kwargs)
        # The caller's context holds its request. A connection that is made now would
        # keep that request in memory for as long as it lives.
        loop.call_soon_threadsafe(call.start, work, context=contextvars.Context())
        try:
            finished.wait()
        except BaseException:
            loop.call_soon_threadsafe(call.cancel)
            raise
    try:
        return t.cast(T, call.task.result())
    finally:
        del call  # a traceback would keep it until the next garbage collection


def run_all(
    loop: asyncio.AbstractEventLoop,
    functions: t.Iterable[Callable[[], Coroutine[t.Any, t.Any, T]]],
    at_once: int,
) -> list[T]:
    """Run several coroutines on *loop*, and wait for all of them.

    :param functions: begin one each.
    :param at_once: how many of them run at a time.
    :raises Exception: what the first one raises that fails. The others are cancelled.
    """

    async def all_of_them() -> list[T]:
        turns = asyncio.Semaphore(at_once)

        async def in_turn(function: Callable[[], Coroutine[t.Any, t.Any, T]]) -> T:
            async with turns:
                return await function()

        tasks = [asyncio.ensure_future(in_turn(function)) for function in functions]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    return run(loop, all_of_them)


_SYNC = fsspec.asyn.sync_wrapper(lambda: None).__code__


#: The attribute in which a filesystem keeps the seconds for one call.
LIMIT = "_flask_store_limit"


def bridge(
    fs: t.Any,
    limit: float | None = None,
    give_up: Callable[[], object] | None = None,
) -> t.Any:
    """Replace the blocking methods of an asynchronous filesystem by calls of
    :func:`run`.

    :param fs: an instance that only this package uses, or a file of it.
    :param limit: the seconds after which a call raises TimeoutError; by default there
        is no limit.
    :param give_up: is called on the loop when a call takes longer.
    """
    if limit is not None:
        setattr(fs, LIMIT, limit)
    for name in {*dir(type(fs)), *vars(fs)}:
        method = inspect.getattr_static(fs, name, None)
        if getattr(method, "__code__", None) is _SYNC:
            coroutine = method.__wrapped__
            if not inspect.ismethod(coroutine):
                coroutine = coroutine.__get__(fs)
            setattr(fs, name, _blocking(fs, coroutine, give_up))
    return fs


def bridge_file(file: t.Any, limit: float) -> None:
    """Bridge a file of an asynchronous filesystem, and its cache, which keeps the
    method that fetches bytes as it was when the file was opened.

    :param limit: the seconds after which a call raises TimeoutError.
    """
    bridge(file, limit)
    cache = getattr(file, "cache", None)
    fetch = getattr(file, "_fetch_range", None)
    if cache is not None and fetch is not None:
        cache.fetcher = fetch


def _blocking(
    fs: t.Any, coroutine: t.Any, give_up: Callable[[], object] | None
) -> t.Any:
    async def limited(*args: t.Any, timeout: float, **kwargs: t.Any) -> t.Any:
        try:
            return await asyncio.wait_for(coroutine(*args, **kwargs), timeout)
        except TimeoutError as exc:
            if give_up is not None:
                give_up()
            raise fsspec.asyn.FSTimeoutError from exc

    @functools.wraps(coroutine)
    def method(*args: t.Any, **kwargs: t.Any) -> t.Any:
        # The blocking methods take this keyword, but the coroutines do not.
        kwargs["timeout"] = kwargs.get("timeout") or getattr(fs, LIMIT, None)
        function = limited if kwargs["timeout"] else coroutine
        if function is coroutine:
            kwargs.pop("timeout", None)
        return run(fs.loop, function, *args, **kwargs)

    return method
