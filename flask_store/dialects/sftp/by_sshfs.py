"""``sftp://`` through sshfs and asyncssh."""

from __future__ import annotations

import asyncio
import contextlib
import os
import typing as t
from collections.abc import Awaitable
from collections.abc import Callable
from collections.abc import Sequence

import asyncssh
import fsspec
import sshfs
from fsspec.asyn import sync_wrapper

from ...concurrency import ioloop
from ...exceptions import StoreError
from .. import Limits
from .. import NotByStorage
from . import SSHDialect
from . import steps

T = t.TypeVar("T")

#: The built-in errors for those of asyncssh; the first that fits counts.
BUILTINS: tuple[tuple[type[Exception], type[Exception] | None], ...] = (
    (asyncssh.SFTPNoSuchFile, FileNotFoundError),
    (asyncssh.SFTPPermissionDenied, PermissionError),
    (asyncssh.PermissionDenied, PermissionError),
    (asyncssh.SFTPNoConnection, ConnectionError),
    (asyncssh.SFTPConnectionLost, ConnectionError),
    (asyncssh.SFTPError, None),
    (asyncssh.Error, ConnectionError),
)


class LoopedSSHFileSystem(sshfs.SSHFileSystem):  # type: ignore[misc]
    """sshfs's filesystem. It connects on the event loop that it is given, and does not
    wait when it is garbage-collected.

    :param limit: in seconds, for each call, also of a file.
    """

    def __init__(self, *args: t.Any, limit: float, **kwargs: t.Any) -> None:
        self._limit = limit
        ioloop.bridge(self, limit)  # now, because the constructor connects
        super().__init__(*args, **kwargs)

    def _open(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        file = super()._open(*args, **kwargs)
        return ioloop.bridge(file, self._limit, self.give_up)

    def give_up(self) -> None:
        """End the connection. Otherwise whoever closes a file would wait as long."""
        self.client.abort()

    async def _connect(
        self, *args: t.Any, connect_args: dict[str, t.Any], **kwargs: t.Any
    ) -> t.Any:
        # sshfs passes all its keywords on to asyncssh, which takes no loop.
        options = {name: connect_args[name] for name in connect_args if name != "loop"}
        return await super()._connect(*args, connect_args=options, **kwargs)

    connect = sync_wrapper(_connect)

    @staticmethod
    def _finalize(loop: asyncio.AbstractEventLoop, pool: t.Any, stack: t.Any) -> None:
        # Garbage may be collected in gevent's hub, which must not wait, or in a forked
        # child, where the loop does not run.
        async def close() -> None:
            with contextlib.suppress(Exception):
                await pool.close()
                await stack.aclose()

        loop.call_soon_threadsafe(lambda: loop.create_task(close()))


class SshfsDialect(SSHDialect):
    """One connection for all threads of a process."""

    is_known = True
    connected = True

    @staticmethod
    def defaults(limits: Limits) -> dict[str, t.Any]:
        return {
            # sshfs would trust any server by default; () means ~/.ssh/known_hosts.
            "known_hosts": (),
            "connect_timeout": limits.answer,
            # A server that is silent misses the answers to two questions, and the
            # time for a third one passes.
            "keepalive_interval": limits.answer / 3,
            "keepalive_count_max": 2,
        }

    def connect(self) -> fsspec.AbstractFileSystem:
        # fsspec's registry might give the filesystem of the other library.
        options = dict(self.location.options)
        if isinstance(options["known_hosts"], str):
            options["known_hosts"] = os.path.expanduser(options["known_hosts"])
        options.setdefault("loop", ioloop.get_loop())
        limit = self.location.limits.call
        fs = LoopedSSHFileSystem(skip_instance_cache=True, limit=limit, **options)
        # Once more, because fsspec adds methods after the constructor.
        return ioloop.bridge(fs, limit, fs.give_up)

    def alive(self) -> bool:
        return not self.fs.client.is_closed()

    def rename(self, old: str, new: str) -> None:
        self._call(lambda channel: channel.rename(old, new))

    def rename_over(self, old: str, new: str) -> None:
        try:
            self._call(lambda channel: channel.posix_rename(old, new))
        except asyncssh.SFTPOpUnsupported:
            self._replaces(old, new)

    def _copy_on_server(self, olds: Sequence[str], new: str) -> None:
        async def copy(channel: t.Any) -> None:
            if not channel.supports_remote_copy:
                raise NotByStorage
            position = 0
            async with channel.open(new, "wb", block_size=0) as target:
                for old in olds:
                    async with channel.open(old, "rb", block_size=0) as source:
                        whole = (await source.stat()).size
                        for start, size in steps(whole):
                            await channel.remote_copy(
                                source, target, start, size, position + start
                            )
                    position += whole

        self._call(copy)

    def _call(self, function: Callable[[t.Any], Awaitable[T]]) -> T:
        fs = self.fs

        async def call() -> T:
            async with fs._pool.get() as channel:
                return await function(channel)

        return ioloop.run(fs.loop, call)

    def _open_handle(self, path: str) -> t.IO[bytes]:
        return t.cast("t.IO[bytes]", self.fs.open(path, "rb"))

    def _info_of(self, handle: t.Any) -> dict[str, t.Any]:
        attributes = ioloop.run(handle.loop, handle._file.stat)
        return t.cast("dict[str, t.Any]", handle.fs._decode_attributes(attributes))

    @staticmethod
    def _is_failure(exc: Exception) -> bool:
        return isinstance(exc, asyncssh.SFTPFailure)

    def _room(self, path: str) -> tuple[int, int]:
        status = self._call(lambda channel: channel.statvfs(path))
        return status.frsize * status.bavail, status.favail

    def _is_silent(self, exc: BaseException) -> bool:
        return super()._is_silent(exc) or "keepalive" in str(exc)

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        if isinstance(exc, asyncssh.HostKeyNotVerifiable):
            return self._bad_host()
        if isinstance(exc, ValueError) and "SFTP connections" in str(exc):
            # sshfs could open no channel, because the server does not answer.
            return t.cast(StoreError, self._explain_ssh(ConnectionError, key))
        for ssh_error, builtin_error in BUILTINS:
            if isinstance(exc, ssh_error):
                return t.cast(StoreError, self._explain_ssh(builtin_error, key))
        return super().explain(exc, key)
