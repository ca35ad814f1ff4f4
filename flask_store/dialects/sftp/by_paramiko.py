"""``sftp://`` through fsspec's own filesystem and paramiko."""

from __future__ import annotations

import os
import stat
import threading
import typing as t
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager

import fsspec
import paramiko
from fsspec.implementations.sftp import SFTPFileSystem
from paramiko.sftp import CMD_EXTENDED
from paramiko.sftp import int64

from ...exceptions import StoreError
from ...uploads.source import Source
from .. import Limits
from .. import NotByStorage
from .. import Original
from ..renamed import write_all
from . import SSHDialect
from . import steps


class ImpatientClient(paramiko.SFTPClient):  # type: ignore[misc]
    """Ends the connection when the server is silent. Otherwise whoever closes a file
    would wait as long again."""

    def _read_all(self, n: int) -> bytes:
        with self._limited():
            return t.cast(bytes, super()._read_all(n))

    def _write_all(self, out: bytes) -> None:
        with self._limited():
            super()._write_all(out)

    @contextmanager
    def _limited(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            self.get_channel().get_transport().close()
            raise


class CheckedSFTPFileSystem(SFTPFileSystem):  # type: ignore[misc]
    """fsspec's filesystem, with known hosts and time limits."""

    def _connect(self) -> None:
        options = dict(self.ssh_kwargs)
        known_hosts = options.pop("known_hosts", ())
        self.client = paramiko.SSHClient()
        if known_hosts is None:
            self.client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        elif known_hosts:
            # Load the keys before connecting, so that the server is asked for these.
            self.client.load_host_keys(os.path.expanduser(known_hosts))
        else:
            self.client.load_system_host_keys()
        limit = options["timeout"]
        # paramiko has no limit for some of the answers.
        timer = threading.Timer(limit, self._give_up)
        timer.start()
        try:
            self.client.connect(self.host, **options)
            channel = self.client.get_transport().open_session()
            channel.settimeout(limit)
            channel.invoke_subsystem("sftp")
            self.ftp = ImpatientClient(channel)
        except BaseException:
            self.client.close()
            raise
        finally:
            timer.cancel()

    def _give_up(self) -> None:
        transport = self.client.get_transport()
        if transport is not None:
            transport.close()

    @staticmethod
    def _decode_stat(
        attributes: t.Any, parent_path: str | None = None
    ) -> dict[str, t.Any]:
        info: dict[str, t.Any] = SFTPFileSystem._decode_stat(attributes, parent_path)
        if info["type"] == "file" and not stat.S_ISREG(attributes.st_mode):
            info["type"] = "other"  # a pipe, a device
        return info


class ParamikoDialect(SSHDialect):
    """Makes a connection for each thread. Threads that share one wait for ever."""

    is_known = True
    connected = True
    scope = "thread"

    @staticmethod
    def defaults(limits: Limits) -> dict[str, t.Any]:
        names = ("timeout", "banner_timeout", "auth_timeout", "channel_timeout")
        return dict.fromkeys(names, limits.answer)

    def connect(self) -> fsspec.AbstractFileSystem:
        return CheckedSFTPFileSystem(skip_instance_cache=True, **self.location.options)

    def alive(self) -> bool:
        transport = self.fs.client.get_transport()
        return transport is not None and bool(transport.is_active())

    def _send(self, source: Source, path: str) -> None:
        file = self.fs.open(path, "wb")
        # Do not wait for an answer to every 32 KiB. close() raises the first error. Who
        # reads a file meanwhile takes the answers to writes away, which paramiko then
        # waits for.
        file.set_pipelined(not self._reads(source))
        write_all(file, source)

    def _reads(self, source: Source) -> bool:
        """Whether an upload may be read by the connection that it goes to."""
        if isinstance(source, Original) and source.dialect is not None:
            return source.dialect.connection is self.connection
        return source.is_stored

    def rename(self, old: str, new: str) -> None:
        self.fs.ftp.rename(old, new)

    def rename_over(self, old: str, new: str) -> None:
        try:
            self.fs.ftp.posix_rename(old, new)
        except OSError as exc:
            if exc.errno is not None or not self._is_there(old):
                raise
            self._replaces(old, new)

    def _copy_on_server(self, olds: Sequence[str], new: str) -> None:
        position = 0
        with self.fs.ftp.open(new, "wb") as target:
            for old in olds:
                with self.fs.ftp.open(old, "rb") as source:
                    position += self._copy_into(target, position, source)

    def _copy_into(self, target: t.Any, position: int, source: t.Any) -> int:
        """Copy an open file into another one, and return its size."""
        whole = int(source.stat().st_size)
        for start, size in steps(whole):
            place = source.handle, int64(start), int64(size), target.handle
            to = int64(position + start)
            try:
                # paramiko has no method for it; see _room().
                self.fs.ftp._request(CMD_EXTENDED, "copy-data", *place, to)
            except OSError as exc:
                if exc.errno is None and not self._is_failure(exc):
                    raise NotByStorage from exc  # it does not know the request
                raise
        return whole

    def _remove(self, path: str) -> None:
        self.fs.ftp.remove(path)

    def _open_handle(self, path: str) -> t.IO[bytes]:
        return t.cast("t.IO[bytes]", self.fs.ftp.open(path, "rb"))

    def _info_of(self, handle: t.Any) -> dict[str, t.Any]:
        return CheckedSFTPFileSystem._decode_stat(handle.stat())

    @staticmethod
    def _is_failure(exc: Exception) -> bool:
        return isinstance(exc, OSError) and exc.args == ("Failure",)

    def _room(self, path: str) -> tuple[int, int]:
        # paramiko has no method for it; this is how it sends posix-rename@openssh.com.
        _, reply = self.fs.ftp._request(CMD_EXTENDED, "statvfs@openssh.com", path)
        numbers = [reply.get_int64() for _ in range(8)]
        # PROTOCOL of OpenSSH, section 4.4: f_frsize, f_bavail and f_favail.
        return numbers[1] * numbers[4], numbers[7]

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        if isinstance(exc, paramiko.BadHostKeyException) or (
            isinstance(exc, paramiko.SSHException) and "known_hosts" in str(exc)
        ):
            return self._bad_host()
        # paramiko says so, too, of a server that falls silent or hangs up meanwhile.
        broken = "timeout" in str(exc) or "transport shut down" in str(exc)
        if isinstance(exc, paramiko.AuthenticationException) and not broken:
            return t.cast(StoreError, self._explain_ssh(PermissionError, key))
        lost = (
            paramiko.SSHException,
            paramiko.ssh_exception.NoValidConnectionsError,
            paramiko.SFTPError,
            EOFError,
        )
        if isinstance(exc, lost) or exc.args == ("Socket is closed",):
            return t.cast(StoreError, self._explain_ssh(ConnectionError, key))
        if self._is_failure(exc):
            return t.cast(StoreError, self._explain_ssh(None, key))
        return super().explain(exc, key)
