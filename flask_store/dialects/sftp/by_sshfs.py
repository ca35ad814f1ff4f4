"""``sftp://`` through sshfs and asyncssh."""

from __future__ import annotations

import asyncio
import contextlib
import os
import typing as t
from collections.abc import Awaitable
from collections.abc import Callable

import asyncssh
import fsspec
import sshfs
from fsspec.asyn import sync_wrapper

from ...concurrency import ioloop
from ...exceptions import StoreError
from .. import TIMEOUT
from . import SSHDialect

T = t.TypeVar("T")

#: asyncssh's errors as the builtins they amount to; the first that fits counts.
MEANING: tuple[tuple[type[Exception], type[Exception] | None], ...] = (
    (asyncssh.SFTPNoSuchFile, FileNotFoundError),
    (asyncssh.SFTPPermissionDenied, PermissionError),
    (asyncssh.PermissionDenied, PermissionError),
    (asyncssh.SFTPNoConnection, ConnectionError),
    (asyncssh.SFTPConnectionLost, ConnectionError),
    (asyncssh.SFTPError, None),
    (asyncssh.Error, ConnectionError),
)


class LoopedSSHFileSystem(sshfs.SSHFileSystem):  # type: ignore[misc]
    """sshfs's, but it connects on the event loop that it is given, and waits for
    nothing when it goes."""

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        ioloop.bridge(self)  # now, because the constructor connects
        super().__init__(*args, **kwargs)

    async def _connect(
        self, *args: t.Any, connect_args: dict[str, t.Any], **kwargs: t.Any
    ) -> t.Any:
        # sshfs hands all its keywords on, and asyncssh has a loop already.
        found = {name: connect_args[name] for name in connect_args if name != "loop"}
        return await super()._connect(*args, connect_args=found, **kwargs)

    connect = sync_wrapper(_connect)

    @staticmethod
    def _finalize(loop: asyncio.AbstractEventLoop, pool: t.Any, stack: t.Any) -> None:
        # A collection may happen in gevent's hub, which must not wait, or in a child
        # of a fork, where nobody runs the loop.
        async def close() -> None:
            with contextlib.suppress(Exception):
                await pool.close()
                await stack.aclose()

        loop.call_soon_threadsafe(lambda: loop.create_task(close()))


class SshfsDialect(SSHDialect):
    """One connection for all threads of a process."""

    protocols = ("sftp", "ssh")
    connected = True
    defaults = {
        # sshfs by itself would trust any server; () is ~/.ssh/known_hosts.
        "known_hosts": (),
        "connect_timeout": TIMEOUT,
        # Nothing else ends a wait for a server that has fallen silent.
        "keepalive_interval": 3,
        "keepalive_count_max": 2,
    }

    def connect(self) -> fsspec.AbstractFileSystem:
        # By its name, fsspec would give either library's filesystem.
        options = dict(self.location.options)
        if isinstance(options["known_hosts"], str):
            options["known_hosts"] = os.path.expanduser(options["known_hosts"])
        options.setdefault("loop", ioloop.get_loop())
        return LoopedSSHFileSystem(skip_instance_cache=True, **options)

    def alive(self) -> bool:
        return not self.fs.client.is_closed()

    def _rename(self, old: str, new: str) -> None:
        self._ask(lambda channel: channel.rename(old, new))

    def _rename_over(self, old: str, new: str) -> None:
        try:
            self._ask(lambda channel: channel.posix_rename(old, new))
        except asyncssh.SFTPOpUnsupported:
            self._replaces(old, new)

    def _ask(self, ask: Callable[[t.Any], Awaitable[T]]) -> T:
        fs = self.fs

        async def asking() -> T:
            async with fs._pool.get() as channel:
                return await ask(channel)

        return ioloop.run(fs.loop, asking)

    def _open_handle(self, path: str) -> t.IO[bytes]:
        return t.cast("t.IO[bytes]", self.fs.open(path, "rb"))

    def _info_of(self, handle: t.Any) -> dict[str, t.Any]:
        found = ioloop.run(handle.loop, handle._file.stat)
        return t.cast("dict[str, t.Any]", handle.fs._decode_attributes(found))

    @staticmethod
    def _is_failure(exc: Exception) -> bool:
        return isinstance(exc, asyncssh.SFTPFailure)

    def _room(self, path: str) -> tuple[int, int]:
        found = self._ask(lambda channel: channel.statvfs(path))
        return found.frsize * found.bavail, found.favail

    def _is_silent(self, exc: BaseException) -> bool:
        return super()._is_silent(exc) or "keepalive" in str(exc)

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        if isinstance(exc, asyncssh.HostKeyNotVerifiable):
            return self._bad_host()
        for kind, meaning in MEANING:
            if isinstance(exc, kind):
                return t.cast(StoreError, self._explain_ssh(meaning, key))
        return super().explain(exc, key)
