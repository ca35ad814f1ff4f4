"""Who may share a filesystem: one for each process or thread, and none after a fork."""

from __future__ import annotations

import os
import threading
import typing as t
import weakref
from collections.abc import Callable

from ..concurrency.greenlets import patched

if t.TYPE_CHECKING:
    from fsspec import AbstractFileSystem

#: Who may share one filesystem.
Scope: t.TypeAlias = t.Literal["process", "thread"]


class Connection:
    """The filesystem of a dialect: made on first use, one for each process or thread.

    After a fork, and after gevent has patched, a new one is made.

    :param scope: ``"process"`` or ``"thread"``.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.by_process: dict[tuple[int, bool], AbstractFileSystem] = {}
        self.by_thread: dict[bool, threading.local] = {}

    def get(self, connect: Callable[[], AbstractFileSystem]) -> AbstractFileSystem:
        """The filesystem of this process or thread.

        :param connect: makes one, if there is none.
        """
        key, shared = self._shared()
        # By setdefault and not under a lock, which a fork could leave locked for ever.
        return shared.get(key) or shared.setdefault(key, _watched(connect()))

    def check(self, alive: Callable[[], bool]) -> bool:
        """Forget the filesystem if it has lost its connection.

        :param alive: tells whether it still has its connection.
        :return: whether it has, or there is no filesystem yet.
        """
        if not self.by_process and not self.by_thread:
            return True
        key, shared = self._shared()
        if key not in shared or alive():
            return True
        shared.pop(key, None)
        return False

    def drop(self) -> None:
        """Forget the filesystem of this thread, if the thread has one of its own."""
        if self.scope == "thread":
            key, shared = self._shared()
            shared.pop(key, None)

    def _shared(self) -> tuple[tuple[int, bool], dict[t.Any, AbstractFileSystem]]:
        """The key of the filesystem, and the dict that has it."""
        key = (os.getpid(), patched())
        if self.scope == "process":
            return key, self.by_process
        # One that was made before the patching is the same for all greenlets.
        thread_local = self.by_thread.get(key[1])
        thread_local = thread_local or self.by_thread.setdefault(
            key[1], threading.local()
        )
        return key, thread_local.__dict__


# After a fork the child has one thread. Python would finalize what only the other
# threads refer to, and some libraries would then send a last message over a connection
# that the parent still uses. So the child keeps all filesystems alive.
_connected: weakref.WeakValueDictionary[int, AbstractFileSystem] = (
    weakref.WeakValueDictionary()
)
_inherited: list[AbstractFileSystem] = []


def _watched(fs: AbstractFileSystem) -> AbstractFileSystem:
    _connected[id(fs)] = fs
    return fs


def _inherit() -> None:
    # They must not send it when the child exits, either: it would wait for an event
    # loop that does not run in the child.
    for fs in _inherited:
        for reference in weakref.getweakrefs(fs):
            if isinstance(reference.__callback__, weakref.finalize):
                reference.__callback__.detach()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _inherited.extend(_connected.values()),
        after_in_parent=_inherited.clear,
        after_in_child=_inherit,
    )
