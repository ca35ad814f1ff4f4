"""``smb://``: Windows and Samba shares, through smbprotocol."""

from __future__ import annotations

import datetime as dt
import errno
import stat
import typing as t
import uuid
import weakref
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import closing
from contextlib import contextmanager

import fsspec
import smbclient
from fsspec.implementations.smb import SMBFileSystem
from smbclient._io import ioctl_request
from smbclient._io import query_info
from smbclient._io import SMBFileTransaction
from smbprotocol import exceptions as smb
from smbprotocol.connection import Connection
from smbprotocol.file_info import FileBasicInformation
from smbprotocol.file_info import FileStandardInformation
from smbprotocol.header import NtStatus
from smbprotocol.ioctl import CtlCode
from smbprotocol.ioctl import IOCTLFlags
from smbprotocol.ioctl import SMB2SrvCopyChunk
from smbprotocol.ioctl import SMB2SrvCopyChunkCopy
from smbprotocol.ioctl import SMB2SrvCopyChunkResponse
from smbprotocol.ioctl import SMB2SrvRequestResumeKey
from smbprotocol.structure import DateTimeField

from .. import naming
from ..exceptions import NotConfiguredError
from ..exceptions import StoreError
from ..exceptions import StoreFull
from ..exceptions import StoreUnavailable
from ..uploads.source import CHUNK
from ..uploads.source import Source
from . import Dialect
from . import Limits
from . import Location
from . import NOT_A_FILE
from . import NotByStorage
from .by_handle import HandleDialect
from .errors import NoAnswer
from .renamed import write_all

#: The start of the dates' count. All are cut to microseconds, as smbprotocol does.
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

#: FILE_ATTRIBUTE_DIRECTORY of [MS-FSCC] 2.6.
DIRECTORY = 0x10

#: How many bytes of a file one chunk copies on the server, and how many chunks one
#: request: as many as Windows allows ([MS-SMB2] 3.3.3).
COPIED = 1024 * 1024
CHUNKS = 16

#: How many attempts to connect there are. Together they have the time limit of one.
ATTEMPTS = 2

#: The built-in errors for statuses without an errno in smbprotocol.
BUILTINS = {
    NtStatus.STATUS_ACCESS_DENIED: PermissionError,
    # A deleted file that somebody has open, or a name that no file can have.
    NtStatus.STATUS_DELETE_PENDING: FileNotFoundError,
    NtStatus.STATUS_OBJECT_NAME_INVALID: FileNotFoundError,
    NtStatus.STATUS_OBJECT_PATH_SYNTAX_BAD: FileNotFoundError,
}

#: The statuses for a request that a server does not know.
UNKNOWN = (NtStatus.STATUS_NOT_SUPPORTED, NtStatus.STATUS_INVALID_DEVICE_REQUEST)

#: The statuses for a name that is taken, or that a deleted file has until it is closed.
TAKEN = (NtStatus.STATUS_OBJECT_NAME_COLLISION, NtStatus.STATUS_DELETE_PENDING)


class ImpatientConnection(Connection):  # type: ignore[misc]
    """Ends when the server is silent. Otherwise whoever closes a file, and the
    connection, would wait as long again."""

    #: Seconds for an answer. There is no other limit for a server that stops answering.
    limit: float

    def send(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        with self._given_up():
            return super().send(*args, **kwargs)

    def send_compound(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        with self._given_up():
            return super().send_compound(*args, **kwargs)

    def receive(
        self, request: t.Any, wait: bool = True, timeout: t.Any = None, **kwargs: t.Any
    ) -> t.Any:
        with self._given_up():
            return super().receive(request, wait, timeout or self.limit, **kwargs)

    @contextmanager
    def _given_up(self) -> Iterator[None]:
        try:
            yield
        except (smb.SMBException, TimeoutError) as exc:
            if timed_out(exc):
                self.transport.close()
                # Nobody can close these files any more.
                for session in self.session_table.values():
                    for opened in session.open_table.values():
                        opened._connected = False
            raise


class Connections(dict[str, t.Any]):
    """The connections of one filesystem, by their servers.

    In place of one that is lost, smbclient makes a new one and logs in as nobody. The
    server then refuses everything, until the filesystem is made anew.
    """

    def get(self, server: str, default: t.Any = None) -> t.Any:
        """:raises ConnectionError: if the connection is lost."""
        connection = super().get(server, default)
        if connection is not None and not connection.transport.connected:
            raise ConnectionError(f"The connection to {server} is lost.")
        return connection


def timed_out(exc: BaseException) -> bool:
    """Whether an error says that the server did not answer in time."""
    silent = isinstance(exc, smb.SMBException) and "timeout" in str(exc)
    return silent or isinstance(exc, TimeoutError)


class PrivateSMBFileSystem(SMBFileSystem):  # type: ignore[misc]
    """fsspec's filesystem, with a connection for each instance.

    smbclient keeps one connection for the whole process. Several threads would use up
    its credits, and after a fork parent and child would read each other's replies.
    """

    def _connect(self) -> None:
        self.connections = Connections()
        self.smbclient_options = {
            "port": self._port,
            "connection_cache": self.connections,
        }
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._log_in(self.timeout / ATTEMPTS)
                break
            except smb.SMBException as exc:
                # Samba sometimes does not answer one of many clients that log in at
                # once.
                if attempt == ATTEMPTS or not timed_out(exc):
                    raise
                self.connections.clear()
        # Not at exit: in a forked process the connection is the parent's.
        close = weakref.finalize(
            self,
            smbclient.reset_connection_cache,
            fail_on_error=False,
            connection_cache=self.connections,
        )
        close.atexit = False

    def _log_in(self, timeout: float) -> None:
        connection = ImpatientConnection(uuid.uuid4(), self.host, self._port)
        connection.limit = timeout
        connection.connect(timeout=timeout)
        # Without it, who sends to a server that does not read waits for ever.
        connection.transport._sock.settimeout(self.timeout)
        self.connections[f"{self.host.lower()}:{self._port}"] = connection
        smbclient.register_session(
            self.host,
            username=self.username,
            password=self.password,
            encrypt=self.encrypt,
            **self.smbclient_options,
        )
        connection.limit = self.timeout

    def unc(self, path: str) -> str:
        return f"\\\\{self.host}" + path.replace("/", "\\")

    def info(self, path: str, **kwargs: t.Any) -> dict[str, t.Any]:
        with _builtin(path):
            status = smbclient.stat(self.unc(path), **self.smbclient_options)
        types = {stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
        return {
            "name": path,
            "size": status.st_size,
            "type": types.get(stat.S_IFMT(status.st_mode), "file"),
            "mtime": EPOCH + dt.timedelta(microseconds=status.st_mtime_ns // 1000),
        }

    def ls(self, path: str, detail: bool = True, **kwargs: t.Any) -> list[t.Any]:
        with _builtin(path):
            # Before smbprotocol 1.17, the iterator was no context manager.
            with closing(
                smbclient.scandir(self.unc(path), **self.smbclient_options)
            ) as entries:
                infos = [_described(path, entry) for entry in entries]
        return infos if detail else sorted(entry["name"] for entry in infos)

    def mkdir(self, path: str, create_parents: bool = True, **kwargs: t.Any) -> None:
        with _builtin(path):
            super().mkdir(path, create_parents, connection_cache=self.connections)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        with _builtin(path):
            smbclient.makedirs(
                self.unc(path), exist_ok=exist_ok, **self.smbclient_options
            )

    def rmdir(self, path: str) -> None:
        with _builtin(path):
            smbclient.rmdir(self.unc(path), **self.smbclient_options)

    def mv(self, path1: str, path2: str, **kwargs: t.Any) -> None:
        smbclient.rename(self.unc(path1), self.unc(path2), **self.smbclient_options)

    def link(self, path1: str, path2: str) -> None:
        """Give a file a second name, which must be free."""
        try:
            smbclient.link(self.unc(path1), self.unc(path2), **self.smbclient_options)
        except smb.SMBOSError as exc:
            # A deleted file that is still open has its name until it is closed.
            if exc.ntstatus in TAKEN:
                raise FileExistsError(path2) from exc
            raise

    def replace(self, path1: str, path2: str) -> None:
        with _builtin(path2):
            smbclient.replace(
                self.unc(path1), self.unc(path2), **self.smbclient_options
            )

    def rm_file(self, path: str) -> None:
        with _builtin(path):
            smbclient.remove(self.unc(path), **self.smbclient_options)

    _rm = rm_file

    def _open(self, path: str, mode: str = "rb", **kwargs: t.Any) -> t.Any:
        kwargs["connection_cache"] = self.connections
        with _builtin(path):
            return super()._open(path, mode, **kwargs)


class SMBDialect(HandleDialect):
    """Names an upload by a hard link without ReplaceIfExists ([MS-FSCC] 2.4.21.2).

    Samba's rename first looks whether the name is free, and then calls rename(2), which
    replaces. Of two renames at the same moment, both succeed. Samba makes a hard link
    by link(2), which never replaces.
    """

    is_known = True
    connected = True
    scope = "thread"
    looks_first = False
    rename_word = "link without ReplaceIfExists"
    joins = True

    @classmethod
    def locate(cls, url: str, config: Mapping[str, t.Any]) -> Location:
        location = super().locate(url, config)
        if not location.options.get("host") or len(location.root) < 2:
            raise NotConfiguredError(
                "STORE_PATH names no host or no share. Write"
                " 'smb://user@host/share/folder'."
            )
        limits = Limits.of(config)
        options = {"timeout": limits.answer, **location.options}
        return Location("smb", location.root, options, limits)

    def connect(self) -> fsspec.AbstractFileSystem:
        return PrivateSMBFileSystem(skip_instance_cache=True, **self.location.options)

    def alive(self) -> bool:
        return all(c.transport.connected for c in self.fs.connections.values())

    def _upload(self, source: Source, path: str) -> None:
        write_all(self.fs.open(path, "wb", block_size=CHUNK), source)

    def rename(self, old: str, new: str) -> None:
        self.fs.link(old, new)
        try:
            self.fs.rm_file(old)
        except Exception as exc:
            # The file has its name. If a private name stays, sweep removes it.
            if f"/{naming.STAGING}/" not in old:
                raise StoreError(
                    f"{naming.quoted(new)} has been stored, but the server does not"
                    f" remove {naming.quoted(old)}: {exc}. Remove one of them."
                ) from exc

    def rename_over(self, old: str, new: str) -> None:
        self.fs.replace(old, new)

    def _copy_on_server(self, olds: Sequence[str], new: str) -> None:
        fs, position = self.fs, 0
        # Another one may copy the same files, or remove them, at this moment.
        options = {**fs.smbclient_options, "share_access": "rwd", "buffering": 0}
        try:
            with smbclient.open_file(fs.unc(new), mode="wb", **options) as target:
                for old in olds:
                    with smbclient.open_file(
                        fs.unc(old), mode="rb", **options
                    ) as source:
                        _copy_into(target, position, source)
                        position += source.fd.end_of_file
        except smb.SMBException as exc:
            if getattr(exc, "status", getattr(exc, "ntstatus", None)) in UNKNOWN:
                raise NotByStorage from exc
            raise

    def _open_handle(self, path: str) -> t.IO[bytes]:
        # By default nobody else could open the file while it is read.
        file = self.fs.open(path, "rb", block_size=CHUNK, share_access="rwd")
        return t.cast("t.IO[bytes]", file)

    def _info_of(self, handle: t.Any) -> dict[str, t.Any]:
        # From the response to CREATE ([MS-SMB2] 2.2.14). It refuses a folder.
        opened = handle.raw.fd
        return _file_info(opened.end_of_file, opened.last_write_time)

    def _info_now(self, handle: t.Any) -> dict[str, t.Any]:
        with SMBFileTransaction(handle.raw) as transaction:
            query_info(transaction, FileBasicInformation)
            query_info(transaction, FileStandardInformation)
        times, sizes = transaction.results
        ticks = times["last_write_time"].get_value() - DateTimeField.EPOCH_FILETIME
        modified = EPOCH + dt.timedelta(microseconds=ticks // 10)
        return _file_info(sizes["end_of_file"].get_value(), modified)

    def is_one_file(self, old: str, new: str, theirs: Dialect) -> bool:
        # Windows and Samba have numbers for their files; other servers send 0.
        try:
            with _builtin(old):
                old_status = smbclient.stat(
                    theirs.fs.unc(old), **theirs.fs.smbclient_options
                )
        except NOT_A_FILE:
            return False
        new_status = smbclient.stat(self.fs.unc(new), **self.fs.smbclient_options)
        if old_status.st_ino and new_status.st_ino:
            return (old_status.st_dev, old_status.st_ino) == (
                new_status.st_dev,
                new_status.st_ino,
            )
        return super().is_one_file(old, new, theirs)

    def _is_silent(self, exc: BaseException) -> bool:
        return timed_out(exc) or super()._is_silent(exc)

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        if isinstance(exc, smb.SMBAuthenticationError | smb.LogonFailure):
            return super().explain(PermissionError(), key)
        if isinstance(exc, smb.SMBResponseException):
            # Reading and writing raise the bare status; other calls raise SMBOSError.
            exc = smb.SMBOSError(exc.status, key or "")
        if isinstance(exc, smb.SMBOSError):
            if exc.ntstatus == NtStatus.STATUS_END_OF_FILE:
                return super().explain(NoAnswer("the file ended too early"), key)
            if exc.ntstatus == NtStatus.STATUS_SHARING_VIOLATION:
                return StoreUnavailable(
                    f"Another client of the share has {naming.quoted(key)} open. Try"
                    " again when it has closed it.",
                    key,
                )
            if exc.ntstatus == NtStatus.STATUS_DISK_FULL:
                return StoreFull("The share is full. Nothing was stored.", key)
            return super().explain(_as_builtin(exc), key) or StoreError(str(exc), key)
        # smbprotocol raises ValueError when no server listens.
        if isinstance(exc, smb.SMBException | ValueError):
            return super().explain(ConnectionError(), key)
        # Closing a file after the connection was lost uses a closed socket.
        if isinstance(exc, OSError) and exc.errno == errno.EBADF:
            return super().explain(ConnectionError(), key)
        return super().explain(exc, key)


def _as_builtin(exc: t.Any) -> OSError:
    error_class = BUILTINS.get(exc.ntstatus)
    return (
        error_class(exc.filename) if error_class else OSError(exc.errno, exc.strerror)
    )


@contextmanager
def _builtin(path: str) -> Iterator[None]:
    """Turn smbprotocol's errors for a missing file into Python's."""
    try:
        yield
    except smb.SMBOSError as exc:
        error = _as_builtin(exc)
        if isinstance(error, NOT_A_FILE):
            raise error from None  # or undisguised() would take the cause for another
        raise


def _copy_into(target: t.Any, position: int, source: t.Any) -> None:
    """Let the server copy an open file into another one ([MS-SMB2] 3.3.5.15.6)."""
    said = _controlled(source, CtlCode.FSCTL_SRV_REQUEST_RESUME_KEY, 32)
    key = SMB2SrvRequestResumeKey()
    key.unpack(said)
    chunks = []
    for start in range(0, source.fd.end_of_file, COPIED):
        chunk = SMB2SrvCopyChunk()
        chunk["source_offset"] = start
        chunk["target_offset"] = position + start
        chunk["length"] = min(COPIED, source.fd.end_of_file - start)
        chunks.append(chunk)
    for first in range(0, len(chunks), CHUNKS):
        asked = SMB2SrvCopyChunkCopy()
        asked["source_key"] = key["resume_key"].get_value()
        asked["chunks"] = chunks[first : first + CHUNKS]
        said = _controlled(target, CtlCode.FSCTL_SRV_COPYCHUNK_WRITE, 12, asked)
        done = SMB2SrvCopyChunkResponse()
        done.unpack(said)
        if done["chunks_written"].get_value() != len(chunks[first : first + CHUNKS]):
            raise NotByStorage


def _controlled(file: t.Any, code: int, size: int, asked: t.Any = b"") -> bytes:
    """What the server answers to a request about an open file.

    :param code: of the request.
    :param size: of the answer, in bytes.
    """
    with SMBFileTransaction(file) as transaction:
        ioctl_request(
            transaction,
            code,
            flags=IOCTLFlags.SMB2_0_IOCTL_IS_FSCTL,
            output_size=size,
            input_buffer=asked,
        )
    return t.cast(bytes, transaction.results[0])


def _described(folder: str, entry: t.Any) -> dict[str, t.Any]:
    info = entry.smb_info
    return {
        "name": f"{folder.rstrip('/')}/{entry.name}",
        "size": info.end_of_file,
        "type": "directory" if info.file_attributes & DIRECTORY else "file",
        "mtime": info.last_write_time,
        "unique": info.file_id,
    }


def _file_info(size: int, modified: t.Any) -> dict[str, t.Any]:
    return {"type": "file", "size": size, "mtime": modified}
