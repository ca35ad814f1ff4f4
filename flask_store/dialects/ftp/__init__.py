"""``ftp://``: a protocol without any way to create exclusively."""

from __future__ import annotations

import datetime as dt
import ftplib
import time
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import suppress

import fsspec

from ... import naming
from ...exceptions import StoreDenied
from ...exceptions import StoreError
from ...exceptions import StoreFull
from ...exceptions import StoreUnavailable
from ...uploads.source import CHUNK
from ...uploads.source import Source
from ...uploads.source import Window
from .. import Fetched
from .. import Limits
from .. import Location
from .. import Span
from .. import Stat
from ..bodies import bounds
from ..bodies import joined
from ..errors import NoAnswer
from ..errors import version_gone
from ..ranged import ranged
from ..renamed import Staged
from ..renamed import StagedDialect
from .client import Connection as FTPConnection
from .client import described
from .client import is_full
from .client import is_missing
from .client import NoTLS
from .client import PrivateFTPFileSystem
from .client import retrieved
from .client import stored
from .client import wants_tls

#: Seconds after its last answer for which a connection counts as alive.
FRESH = 5


class FTPDialect(StagedDialect):
    """Gives every name a UUID, because no command of FTP refuses a name that is taken.

    Each thread has a connection, because RFC 959 allows one transfer at a time.
    """

    is_known = True
    connected = True
    scope = "thread"
    copies = False

    @classmethod
    def locate(cls, url: str, config: Mapping[str, t.Any]) -> Location:
        location = super().locate(url, config)
        limits = Limits.of(config)
        options = {"timeout": limits.answer, **location.options}
        return Location("ftp", location.root, options, limits)

    def connect(self) -> fsspec.AbstractFileSystem:
        return PrivateFTPFileSystem(skip_instance_cache=True, **self.location.options)

    def alive(self) -> bool:
        fs = self.fs
        connection = fs.idle
        # If there is no connection, the next command makes one. Servers close a
        # connection that was idle for some minutes.
        if connection and time.monotonic() - getattr(fs, "answered", 0.0) > FRESH:
            # A firewall may have dropped the connection without a word.
            connection.patience = self.location.limits.look
            try:
                connection.voidcmd("NOOP")
            except (ftplib.Error, OSError, EOFError):
                return False
            connection.patience = None
        fs.answered = time.monotonic()
        return True

    @property
    def _marker(self) -> str:
        return "/"  # absolute also at the root of the server, as fsspec lists it

    # -- writing -------------------------------------------------------------

    def exclusive(self, staged: Staged) -> bool:
        return False

    def _upload(self, source: Source, path: str) -> None:
        # The source may be a file on this connection, which has one transfer at a time.
        with source.rewindable() as rewindable:
            fs = self.fs
            connection = fs.take()
            try:
                stored(connection, path, Window(rewindable), self.location.limits.look)
                size = described(fs, connection, path)["size"]
            except ftplib.Error:
                fs.give_back(connection)
                raise
            except BaseException:
                connection.close()  # a reply may be on its way
                raise
            fs.give_back(connection)
            # For a server, a lost connection is the end of the file.
            if size != rewindable.size:
                raise NoAnswer(f"it stored {size} bytes of {rewindable.size}")

    def _is_silent(self, exc: BaseException) -> bool:
        return False  # some servers forget to reply when their disk is full

    def _take_back(self, path: str) -> None:
        with suppress(Exception):
            fs = self.fs
            if fs.idle is None:
                # Do not wait as long again for a server that stopped answering.
                look = self.location.limits.look
                options = {**self.location.options, "timeout": look}
                fs = PrivateFTPFileSystem(skip_instance_cache=True, **options)
            fs.ftp.delete(path)

    def rename(self, old: str, new: str) -> None:
        self.fs.ftp.rename(old, new)

    def rename_over(self, old: str, new: str) -> None:
        try:
            self.fs.ftp.rename(old, new)
        except ftplib.error_perm:
            # Some servers do not replace. For a moment there is no file then.
            if self._info(new)["type"] != "file":
                raise
            self.fs.ftp.delete(new)
            self.fs.ftp.rename(old, new)

    def _mkdir(self, folder: str) -> None:
        self.fs.ftp.mkd(folder)

    def _rmdir(self, folder: str) -> None:
        self.fs.ftp.rmd(folder)

    def _remove(self, path: str) -> None:
        self.fs.ftp.delete(path)

    def discard(self, path: str) -> None:
        try:
            self._remove(path)
        except ftplib.error_perm as exc:
            if not is_missing(exc):
                raise

    # -- reading -------------------------------------------------------------

    def record(self, info: Mapping[str, t.Any], key: str) -> Stat:
        # RFC 3659, 2.3: 'YYYYMMDDHHMMSS', perhaps with a fraction, in UTC.
        modified = None
        with suppress(ValueError):
            stamp = str(info.get("modify", ""))[:14]
            modified = dt.datetime.strptime(stamp, "%Y%m%d%H%M%S")
        # RFC 3659, 7.5.2: 'unique' differs for files of the same second and size.
        unique = info.get("unique")
        etag = f"{unique}-{info['modify']}-{info['size']}" if unique else None
        return super().record({**info, "modified": modified, "etag": etag}, key)

    def get(
        self,
        key: str,
        span: Span | None = None,
        found: Stat | None = None,
    ) -> Fetched | None:
        if not self.alive():
            self.fs.drop()
        stat = self.info(key)
        if found is not None and stat.version != found.version:
            raise version_gone(key)
        extent = bounds(span, stat.size)
        if extent is None:
            return None
        start, stop = extent
        body = self._retrieved(stat, start, stop)
        if stop - start <= CHUNK:  # so that the connection is free at once
            body = iter([joined(body)])
        return Fetched(stat, start, stop, body)

    def _retrieved(self, stat: Stat, start: int, stop: int) -> Iterator[bytes]:
        """The bytes of one version, by one RETR on a connection of its own."""
        path, remaining = self.path(stat.name), stop - start
        length = None if stop == stat.size else remaining
        # Another thread may read the last byte, and has another filesystem.
        fs = self.fs
        connection = fs.take()
        try:
            for piece in retrieved(connection, path, start, length):
                remaining -= len(piece)
                if remaining < 0:
                    self._compare(stat, fs.ftp)
                    raise NoAnswer("there are more bytes than were announced")
                yield piece
            self._compare(stat, connection)
        except BaseException:
            connection.close()  # the server may still be sending
            raise
        fs.give_back(connection)

    def _compare(self, stat: Stat, connection: FTPConnection) -> None:
        """:raises VersionGone: if the file is not the version *stat*."""
        with suppress(FileNotFoundError):
            info = described(self.fs, connection, self.path(stat.name))
            if info["type"] == "file":
                if self.record(info, stat.name).version == stat.version:
                    return
        raise version_gone(stat.name)

    def open(self, key: str) -> t.IO[bytes]:
        return ranged(self, self.get(key))

    def left(self) -> list[dict[str, t.Any]]:
        # Without MLSD, a listing has no exact date to compare.
        return [
            info if info.get("modify") else {**info, **self._info(info["name"])}
            for info in super().left()
        ]

    # -- what went wrong -----------------------------------------------------

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        if is_full(exc):
            return StoreFull("The storage is full. Nothing was stored.", key)
        if isinstance(exc, NoTLS):
            return StoreUnavailable(
                f"The FTP server refuses TLS ({str(exc)[:80]}). Let it speak TLS; or"
                " remove 'tls' from STORE_OPTIONS, if everybody in between may read the"
                " files and the password.",
                key,
            )
        if wants_tls(exc):
            return StoreDenied(
                f"The FTP server wants TLS ({str(exc)[:80]}). Set 'tls' to True in"
                " STORE_OPTIONS.",
                key,
            )
        if isinstance(exc, ftplib.error_perm):
            return StoreDenied(
                f"The FTP server refuses {naming.quoted(key)} ({str(exc)[:3]}). Check"
                f" the permissions, and {self.settings}.",
                key,
            )
        if isinstance(exc, ftplib.error_temp) and str(exc)[:3] in ("426", "451"):
            return StoreUnavailable(
                f"The FTP server breaks off the transfer of {naming.quoted(key)}"
                f" ({str(exc)[:80]}). Its disk may be full; its log tells.",
                key,
            )
        if isinstance(exc, ftplib.Error | EOFError):
            return StoreUnavailable(
                "The FTP server hangs up, or answers what is no FTP. Check that it"
                f" runs, and {self.settings}.",
                key,
            )
        if isinstance(exc, UnicodeError):
            return StoreError(
                "The FTP server does not speak UTF-8. Name its encoding, such as"
                " 'latin-1', in STORE_OPTIONS['encoding'].",
                key,
            )
        return super().explain(exc, key)
