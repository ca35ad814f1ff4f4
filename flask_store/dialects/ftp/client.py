"""The connection to an FTP server: one command, and one transfer, at a time."""

from __future__ import annotations

import ftplib
import io
import re
import socket
import ssl
import typing as t
from collections.abc import Iterator
from contextlib import suppress

from fsspec.implementations.ftp import FTPFileSystem
from fsspec.implementations.ftp import ImplicitFTPTLS
from fsspec.implementations.ftp import SECURITY_PROTOCOL_MAP

from ...uploads.source import CHUNK
from ...uploads.source import Window
from ..errors import NoAnswer
from ..pace import PROGRESS
from ..wire import Wire
from .facts import facts
from .facts import listed

#: Replies of a server that does not know a command (RFC 959, section 4.2.1).
UNKNOWN = ("500", "502", "504")
#: How servers say, in reply 550, that this user may not have the file.
_REFUSED = re.compile(r"denied|permi(t|ssion)|not allowed|privilege", re.IGNORECASE)
_MISSING = re.compile(r"no such|not found|not exist|cannot find", re.IGNORECASE)
#: How servers say that they want TLS (RFC 4217 has reply 534 and no words for it).
_WANTS_TLS = re.compile(r"\b(TLS|SSL|encrypt)", re.IGNORECASE)
#: How servers say that they have no space, in replies with several meanings.
_FULL = re.compile(
    r"no space|disk (is )?full|quota|(not enough|insufficient) .*(space|storage|disk)"
    r"|errno 28\b|errno 122\b",
    re.IGNORECASE,
)


class Connection(ftplib.FTP):
    """A connection on which every reply comes as a whole within the time limit. That of
    :mod:`ftplib` is for a single read, so that a server could send a byte now and then.
    """

    #: How many seconds a reply may take, if not :attr:`timeout`.
    patience: float | None = None
    _wire: Wire | None = None

    def getresp(self) -> str:
        sock = t.cast(socket.socket, self.sock)
        if self._wire is None or self._wire.sock is not sock:  # new, or encrypted now
            t.cast(t.TextIO, self.file).close()
            raw = t.cast(io.RawIOBase, sock.makefile("rb", buffering=0))
            self._wire = Wire(sock, raw)
            buffered = io.BufferedReader(self._wire)
            self.file = io.TextIOWrapper(buffered, encoding=self.encoding)
        self._wire.begin(self.patience or t.cast(float, self.timeout))
        return super().getresp()


class NoTLS(ConnectionError):
    """The server refuses to begin TLS. The message is its reply."""


class EncryptedConnection(Connection, ftplib.FTP_TLS):
    """The same with TLS."""

    def auth(self) -> str:
        try:
            return super().auth()
        except ftplib.Error as exc:
            raise NoTLS(str(exc)) from exc


class ImplicitConnection(Connection, ImplicitFTPTLS):  # type: ignore[misc]
    """The same with TLS from the beginning."""


class PrivateFTPFileSystem(FTPFileSystem):  # type: ignore[misc]
    """fsspec's filesystem, from which a transfer can take the connection.

    Nothing else can use a connection during a transfer (RFC 959, section 5.1). The next
    command makes a new one.
    """

    _ftp: Connection | None = None
    #: Whether the server knows MLST and MLSD; ``None`` until one was tried.
    has_facts: bool | None = None

    @property
    def ftp(self) -> Connection:
        """A connection that waits for a command."""
        if self._ftp is None:
            self._connect()
        return t.cast(Connection, self._ftp)

    @ftp.setter
    def ftp(self, connection: Connection) -> None:
        self._ftp = connection

    def _connect(self) -> None:
        options = {"timeout": self.timeout, "encoding": self.encoding}
        try:
            if not self.tls:
                self._ftp = Connection(**options)
            elif self.tls is True:
                self._ftp = EncryptedConnection(**options)
            else:
                self._ftp = ImplicitConnection(**options)
                self._ftp.ssl_version = SECURITY_PROTOCOL_MAP[self.tls]
            self._ftp.connect(self.host, self.port)
            self._ftp.login(*self.cred)
            if isinstance(self._ftp, EncryptedConnection):
                self._ftp.prot_p()
        except BaseException:
            self.drop()
            raise

    @property
    def idle(self) -> Connection | None:
        """The connection, if there is one."""
        return self._ftp

    def take(self) -> Connection:
        """Take the connection out for a transfer."""
        connection, self._ftp = self.ftp, None
        return connection

    def give_back(self, connection: Connection) -> None:
        """Give back the connection after a transfer."""
        if self._ftp is None:
            self._ftp = connection
        else:
            connection.close()

    def drop(self) -> None:
        """Close the connection, and make a new one for the next command."""
        connection, self._ftp = self._ftp, None
        if connection is not None:
            connection.close()

    def __del__(self) -> None:
        self.drop()

    def info(self, path: str, **kwargs: t.Any) -> dict[str, t.Any]:
        """The info of one path, by MLST. fsspec would list its whole folder."""
        return described(self, self.ftp, path)

    def ls(self, path: str, detail: bool = True, **kwargs: t.Any) -> list[t.Any]:
        """The entries of a folder. fsspec would leave out lines that it cannot
        parse."""
        path = path.rstrip("/")
        infos = [
            {**info, "name": f"{path}/{info['name']}"}
            for info in _entries(self, self.ftp, path or "/")
        ]
        return infos if detail else sorted(info["name"] for info in infos)


def described(
    fs: PrivateFTPFileSystem, connection: Connection, path: str
) -> dict[str, t.Any]:
    """The info of one path.

    :raises FileNotFoundError: if there is nothing of this name.
    """
    if fs.has_facts is not False:
        try:
            lines = connection.sendcmd(f"MLST {path}").splitlines()
        except ftplib.error_perm as exc:
            if is_missing(exc):
                raise FileNotFoundError(path) from exc
            if str(exc)[:3] not in UNKNOWN:
                raise
            fs.has_facts = False
        else:
            fs.has_facts = True
            if len(lines) < 2:
                raise NoAnswer(f"MLST says {lines[0][:80]!r}")
            info = {**facts(lines[1].lstrip(" ")), "name": path}
            if info["type"] != "file" or info["size"] is not None:
                return info
    return _sized(connection, path)


def _sized(connection: Connection, path: str) -> dict[str, t.Any]:
    """The info of a file, by SIZE and MDTM (RFC 3659, sections 3 and 4)."""
    represent(connection, "I")  # so that SIZE counts the bytes that RETR sends
    try:
        size = connection.sendcmd(f"SIZE {path}")
    except ftplib.error_perm as exc:
        if not _is_folder(connection, path):
            if is_missing(exc):
                raise FileNotFoundError(path) from exc
            raise
        return {"name": path, "type": "directory", "size": 0}
    try:
        modify = connection.sendcmd(f"MDTM {path}")
    except ftplib.error_perm:
        modify = ""
    number = size[3:].strip()
    if not number.isdecimal():
        raise NoAnswer(f"SIZE says {size[:80]!r}")
    return {
        "name": path,
        "type": "file",
        "size": int(number),
        "modify": modify[3:].strip(),
    }


def _is_folder(connection: Connection, path: str) -> bool:
    # This changes the working directory, but every path that we send is absolute.
    try:
        connection.sendcmd(f"CWD {path}")
    except ftplib.error_perm:
        return False
    return True


def _entries(
    fs: PrivateFTPFileSystem, connection: Connection, folder: str
) -> Iterator[dict[str, t.Any]]:
    if fs.has_facts is not False:
        try:
            text = _text(fs, connection, f"MLSD {folder}", folder)
        except ftplib.error_perm as exc:
            if str(exc)[:3] == "501":  # no folder (RFC 3659, section 7.2.1)
                raise FileNotFoundError(folder) from exc
            if str(exc)[:3] not in UNKNOWN:
                raise
            fs.has_facts = False
        else:
            fs.has_facts = True
    if fs.has_facts is False:
        # LIST with a name reads '*' and '[' as a pattern and '-' as an option, and
        # lists nothing for a folder that does not exist.
        try:
            connection.sendcmd(f"CWD {folder}")
        except ftplib.error_perm as exc:
            if is_missing(exc):
                raise FileNotFoundError(folder) from exc
            raise
        text = _text(fs, connection, "LIST", folder)
    parse = listed if fs.has_facts is False else facts
    for line in text:
        info = parse(line)
        if info is not None:
            name = info["name"].rstrip("/").rpartition("/")[2]
            if name not in ("", ".", ".."):
                yield {**info, "name": name}


def _text(
    fs: PrivateFTPFileSystem, connection: Connection, command: str, folder: str
) -> list[str]:
    """The lines that a command lists."""
    represent(connection, "A")
    try:
        reply, data = _received(connection, command)
    except ftplib.error_perm as exc:
        if is_missing(exc):
            raise FileNotFoundError(folder) from exc
        raise
    if "failed" in reply:  # vsftpd: '226 Transfer done (but failed to open directory).'
        raise PermissionError(folder)
    # The store reports a name that cannot be decoded as unreachable.
    lines = data.decode(fs.encoding, "surrogateescape").split("\n")
    if lines.pop():
        raise NoAnswer("the listing ends in the middle of a line")
    return [line.rstrip("\r") for line in lines]


def _received(connection: Connection, command: str) -> tuple[str, bytes]:
    with connection.transfercmd(command) as data, _reader(data) as file:
        text = file.read()
        _shut(data)
    return connection.voidresp(), text


def retrieved(
    connection: Connection, path: str, start: int, length: int | None
) -> Iterator[bytes]:
    """The bytes of a file from *start*, by one RETR, in pieces of at most 1 MiB.

    :param length: how many to read, or ``None`` for all. With ``None``, the server may
        send more or less bytes than the file has.
    :raises FileNotFoundError: if there is no such file.
    """
    represent(connection, "I")
    skip = 0
    try:
        data = connection.transfercmd(f"RETR {path}", start or None)
    except ftplib.error_perm as exc:
        if is_missing(exc):
            raise FileNotFoundError(path) from exc
        if not start:
            raise
        # It may know no REST (RFC 3659, section 5).
        data, skip = connection.transfercmd(f"RETR {path}"), start
    with data, _reader(data) as file:
        while skip and (piece := file.read(min(CHUNK, skip))):
            skip -= len(piece)
        remaining = length
        while remaining is None or remaining:
            piece = file.read(CHUNK if remaining is None else min(CHUNK, remaining))
            if not piece:
                break
            if remaining is not None:
                remaining -= len(piece)
            yield piece
        if remaining is None:
            _shut(data)
    try:
        connection.voidresp()
    except ftplib.Error:
        # A server replies 426 or 451 because we did not read the rest.
        if length is None:
            raise


def _reader(data: socket.socket) -> io.BufferedReader:
    """What comes over a connection of data, in time."""
    raw = t.cast(io.RawIOBase, data.makefile("rb", buffering=0))
    return io.BufferedReader(Wire(data, raw), CHUNK)


def stored(
    connection: Connection, path: str, window: Window, reply_limit: float
) -> None:
    """Send a file, by one STOR.

    :param reply_limit: how many seconds to wait for the reply to a transfer that the
        server has broken off already.
    :raises ftplib.Error: if the server refuses or aborts the transfer.
    """
    represent(connection, "I")
    with connection.transfercmd(f"STOR {path}") as data:
        try:
            while piece := window.read(PROGRESS):
                data.sendall(piece)
            _shut(data)
        except TimeoutError:
            raise
        except Exception:
            # The reply of the server says more than the error of the socket.
            data.close()
            connection.patience = reply_limit
            with suppress(OSError, EOFError):
                connection.voidresp()
                connection.patience = None
            raise
    connection.voidresp()


def represent(connection: Connection, representation: str) -> None:
    """Set how bytes are sent: ``"I"`` as they are, ``"A"`` as lines of text."""
    if getattr(connection, "represents", None) != representation:
        connection.voidcmd(f"TYPE {representation}")
        connection.represents = representation  # type: ignore[attr-defined]


def _shut(data: t.Any) -> None:
    # A TLS connection that an attacker cuts does not have this regular end.
    if isinstance(data, ssl.SSLSocket):
        data.unwrap()


def is_missing(exc: Exception) -> bool:
    """Whether a reply says that there is no such file. The code 550 may also mean that
    access is denied (RFC 959, section 4.2.2)."""
    text = str(exc)
    if not isinstance(exc, ftplib.error_perm) or text[:3] != "550":
        return False
    return not _REFUSED.search(text) or bool(_MISSING.search(text))


def wants_tls(exc: Exception) -> bool:
    """Whether a reply says that the server speaks with nobody in plain text."""
    return isinstance(exc, ftplib.error_perm) and bool(_WANTS_TLS.search(str(exc)))


def is_full(exc: Exception) -> bool:
    """Whether a reply says that there is no space (RFC 959, section 4.2.2)."""
    text = str(exc)
    if not isinstance(exc, ftplib.Error):
        return False
    return text[:3] in ("452", "552") or bool(_FULL.search(text))
