"""The connection to an FTP server: one command, and one transfer, at a time."""

from __future__ import annotations

import ftplib
import re
import socket
import ssl
import typing as t
from collections.abc import Iterator
from contextlib import suppress

from fsspec.implementations.ftp import FTPFileSystem

from ...uploads.source import CHUNK
from ...uploads.source import Window
from ..errors import NoAnswer
from .facts import facts
from .facts import listed

#: Replies of a server that does not know a command (RFC 959, section 4.2.1).
UNKNOWN = ("500", "502", "504")
#: Seconds for the reply to a transfer that the server has broken off already.
REPLY_TIMEOUT = 2
#: How servers say, in reply 550, that something is there and not for this user.
_REFUSED = re.compile(r"denied|permi(t|ssion)|not allowed|privilege", re.IGNORECASE)
_MISSING = re.compile(r"no such|not found|not exist|cannot find", re.IGNORECASE)
#: How they say that they have no space, in replies that mean other things too.
_FULL = re.compile(
    r"no space|disk (is )?full|quota|(not enough|insufficient) .*(space|storage|disk)"
    r"|errno 28\b|errno 122\b",
    re.IGNORECASE,
)


class PrivateFTPFileSystem(FTPFileSystem):  # type: ignore[misc]
    """fsspec's, whose connection can be taken away for a transfer that lasts.

    Nothing else can use a connection in the middle of a transfer (RFC 959, section
    5.1). The next command then gets a new one.
    """

    _ftp: ftplib.FTP | None = None
    #: Whether the server knows MLST and MLSD; ``None`` until one was tried.
    has_facts: bool | None = None

    @property
    def ftp(self) -> ftplib.FTP:
        """A connection that waits for a command."""
        if self._ftp is None:
            self._connect()
        return t.cast(ftplib.FTP, self._ftp)

    @ftp.setter
    def ftp(self, connection: ftplib.FTP) -> None:
        self._ftp = connection

    def _connect(self) -> None:
        try:
            super()._connect()
            if self.tls is True:
                t.cast(ftplib.FTP_TLS, self.ftp).prot_p()
        except BaseException:
            self.drop()
            raise

    @property
    def idle(self) -> ftplib.FTP | None:
        """The connection, if there is one."""
        return self._ftp

    def take(self) -> ftplib.FTP:
        """A connection for a transfer, which nobody else gets meanwhile."""
        connection, self._ftp = self.ftp, None
        return connection

    def give_back(self, connection: ftplib.FTP) -> None:
        """Let the connection of a transfer that has ended be used again."""
        if self._ftp is None:
            self._ftp = connection
        else:
            connection.close()

    def drop(self) -> None:
        """Forget a connection that is of no use any more."""
        connection, self._ftp = self._ftp, None
        if connection is not None:
            connection.close()

    def __del__(self) -> None:
        self.drop()

    def info(self, path: str, **kwargs: t.Any) -> dict[str, t.Any]:
        """One entry, by MLST; fsspec would list its whole folder."""
        return described(self, self.ftp, path)

    def ls(self, path: str, detail: bool = True, **kwargs: t.Any) -> list[t.Any]:
        """The entries of a folder; fsspec would leave out what it cannot read."""
        path = path.rstrip("/")
        found = [
            {**info, "name": f"{path}/{info['name']}"}
            for info in _entries(self, self.ftp, path or "/")
        ]
        return found if detail else sorted(info["name"] for info in found)


def described(
    fs: PrivateFTPFileSystem, connection: ftplib.FTP, path: str
) -> dict[str, t.Any]:
    """What the server says of one name.

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


def _sized(connection: ftplib.FTP, path: str) -> dict[str, t.Any]:
    """What SIZE and MDTM (RFC 3659, sections 3 and 4) say of a file."""
    represent(connection, "I")  # the size is that of the bytes which RETR sends
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


def _is_folder(connection: ftplib.FTP, path: str) -> bool:
    # Every path that is sent is absolute, so it does not matter where this leads.
    try:
        connection.sendcmd(f"CWD {path}")
    except ftplib.error_perm:
        return False
    return True


def _entries(
    fs: PrivateFTPFileSystem, connection: ftplib.FTP, folder: str
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
        # LIST alone takes '*' and '[' in a name for a pattern, and an option for a
        # name; and it says nothing of a folder that is not there.
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
    fs: PrivateFTPFileSystem, connection: ftplib.FTP, command: str, folder: str
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
    # A name that is not in the encoding is told apart by the store.
    lines = data.decode(fs.encoding, "surrogateescape").split("\n")
    if lines.pop():
        raise NoAnswer("the listing ends in the middle of a line")
    return [line.rstrip("\r") for line in lines]


def _received(connection: ftplib.FTP, command: str) -> tuple[str, bytes]:
    with connection.transfercmd(command) as data, data.makefile("rb") as file:
        found = file.read()
        _shut(data)
    return connection.voidresp(), found


def retrieved(
    connection: ftplib.FTP, path: str, start: int, length: int | None
) -> Iterator[bytes]:
    """The bytes of a file from *start*, by one RETR, in pieces of at most 1 MiB.

    :param length: how many are wanted, or ``None`` for all. Of these the server may
        send more or less than it should.
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
    with data, data.makefile("rb", CHUNK) as file:
        while skip and (piece := file.read(min(CHUNK, skip))):
            skip -= len(piece)
        left = length
        while left is None or left:
            piece = file.read(CHUNK if left is None else min(CHUNK, left))
            if not piece:
                break
            if left is not None:
                left -= len(piece)
            yield piece
        if left is None:
            _shut(data)
    try:
        connection.voidresp()
    except ftplib.Error:
        # A server says 426 or 451 when it cannot send the rest, which nobody wanted.
        if length is None:
            raise


def stored(connection: ftplib.FTP, path: str, window: Window) -> None:
    """Send a file, by one STOR.

    :raises ftplib.Error: what the server says about it.
    """
    represent(connection, "I")
    with connection.transfercmd(f"STOR {path}") as data:
        try:
            while piece := window.read(CHUNK):
                data.sendall(piece)
            _shut(data)
        except TimeoutError:
            raise
        except Exception:
            # What the server says to a part tells more than that it hung up.
            data.close()
            sock = t.cast(socket.socket, connection.sock)
            sock.settimeout(REPLY_TIMEOUT)
            with suppress(OSError, EOFError):
                connection.voidresp()
                sock.settimeout(connection.timeout)
            raise
    connection.voidresp()


def represent(connection: ftplib.FTP, kind: str) -> None:
    """Set how bytes are sent: ``"I"`` as they are, ``"A"`` as lines of text."""
    if getattr(connection, "represents", None) != kind:
        connection.voidcmd(f"TYPE {kind}")
        connection.represents = kind  # type: ignore[attr-defined]


def _shut(data: t.Any) -> None:
    # Whoever cuts a connection with TLS cannot fake its end.
    if isinstance(data, ssl.SSLSocket):
        data.unwrap()


def is_missing(exc: Exception) -> bool:
    """Whether a reply says that there is no such file. The code 550 may also mean that
    it is refused (RFC 959, section 4.2.2)."""
    text = str(exc)
    if not isinstance(exc, ftplib.error_perm) or text[:3] != "550":
        return False
    return not _REFUSED.search(text) or bool(_MISSING.search(text))


def is_full(exc: Exception) -> bool:
    """Whether a reply says that there is no space (RFC 959, section 4.2.2)."""
    text = str(exc)
    if not isinstance(exc, ftplib.Error):
        return False
    return text[:3] in ("452", "552") or bool(_FULL.search(text))
