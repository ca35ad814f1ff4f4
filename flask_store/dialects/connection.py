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
    """The filesystem of a dialect: made on first use, one for each process, or for
    each thread. None survives a fork, nor gevent's patching, after which a thread is
    another thing.

    :param scope: ``"process"`` or ``"thread"``.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.by_process: dict[tuple[int, bool], AbstractFileSystem] = {}
        self.by_thread: dict[bool, threading.local] = {}

    def get(self, connect: Callable[[], AbstractFileSystem]) -> AbstractFileSystem:
        """The filesystem.

        :param connect: makes one, if there is none.
        """
        key, shared = self._shared()
        # setdefault and no lock: a lock that is held during a fork stays locked.
        return shared.get(key) or shared.setdefault(key, _watched(connect()))

    def check(self, alive: Callable[[], bool]) -> bool:
        """Forget a filesystem that has lost its connection. Whether nothing is lost."""
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
        """The key of the filesystem, and what holds it."""
        key = (os.getpid(), patched())
        if self.scope == "process":
            return key, self.by_process
        # A local that was made before the patching tells no greenlets apart.
        local = self.by_thread.get(key[1])
        local = local or self.by_thread.setdefault(key[1], threading.local())
        return key, local.__dict__


# A fork ends all threads but one, and what they alone hold would be closed in the
# child: some libraries then say good-bye over the connection that the parent uses.
_connected: weakref.WeakValueDictionary[int, AbstractFileSystem] = (
    weakref.WeakValueDictionary()
)
_inherited: list[AbstractFileSystem] = []


def _watched(fs: AbstractFileSystem) -> AbstractFileSystem:
    _connected[id(fs)] = fs
    return fs


def _inherit() -> None:
    # Nor may they say it when the child exits: an event loop that nobody runs any
    # more would never answer.
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
