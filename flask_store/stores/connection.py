"""Who may share a filesystem: one for each process or thread, and none after a fork."""

from __future__ import annotations

import os
import threading
import typing as t
import weakref

from ..dialects import Dialect
from ..greenlets import patched

if t.TYPE_CHECKING:
    from fsspec import AbstractFileSystem


class Connection:
    """The filesystem of a store: made on first use, one for each process, or for
    each thread where the dialect says so. None survives a fork, nor gevent's
    patching, after which a thread is another thing."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.by_process: dict[tuple[int, bool], AbstractFileSystem] = {}
        self.by_thread: dict[bool, threading.local] = {}

    def get(self) -> AbstractFileSystem:
        key, mine = self._mine()
        fs = mine.get(key)
        if fs is not None and not self.dialect.alive(fs):
            mine.pop(key, None)
            fs = None
        # setdefault and no lock: a lock that is held during a fork stays locked.
        return fs or mine.setdefault(key, self._connect())

    def drop(self) -> None:
        """Forget a connection of this thread that may be in the middle of a reply."""
        if self.dialect.scope == "thread":
            key, mine = self._mine()
            mine.pop(key, None)

    def _mine(self) -> tuple[tuple[int, bool], dict[t.Any, AbstractFileSystem]]:
        key = (os.getpid(), patched())
        if self.dialect.scope == "process":
            return key, self.by_process
        # A local that was made before the patching tells no greenlets apart.
        local = self.by_thread.get(key[1])
        local = local or self.by_thread.setdefault(key[1], threading.local())
        return key, local.__dict__

    def _connect(self) -> AbstractFileSystem:
        fs = self.dialect.connect()
        _connected[id(fs)] = fs
        return fs


# A fork ends all threads but one, and what they alone hold would be closed in the
# child: some libraries then say good-bye over the connection that the parent uses.
_connected: weakref.WeakValueDictionary[int, AbstractFileSystem] = (
    weakref.WeakValueDictionary()
)
_inherited: list[AbstractFileSystem] = []


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
