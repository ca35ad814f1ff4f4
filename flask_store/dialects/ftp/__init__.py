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
from .. import Location
from .. import Span
from .. import Stat
from .. import TIMEOUT
from ..errors import NoAnswer
from ..errors import version_gone
from ..ranged import ranged
from ..records import bounds
from ..records import joined
from ..renamed import Staged
from ..renamed import StagedDialect
from .client import described
from .client import is_full
from .client import is_missing
from .client import PrivateFTPFileSystem
from .client import retrieved
from .client import stored

#: Seconds for which a connection that has just answered is taken to be alive.
FRESH = 5
#: Seconds for its answer otherwise; a firewall may have forgotten the connection.
NOOP_TIMEOUT = 2


class FTPDialect(StagedDialect):
    """Every name carries a UUID: RNTO replaces, and nothing else is any better.

    One connection speaks for one thread (RFC 959 has one transfer at a time).
    """

    protocols = ("ftp",)
    connected = True
    scope = "thread"

    @classmethod
    def locate(cls, url: str, config: Mapping[str, t.Any]) -> Location:
        found = super().locate(url, config)
        return Location("ftp", found.root, {"timeout": TIMEOUT, **found.options})

    def connect(self) -> fsspec.AbstractFileSystem:
        return PrivateFTPFileSystem(skip_instance_cache=True, **self.location.options)

    def alive(self) -> bool:
        fs = self.fs
        connection = fs.idle
        # Without one, the next command connects. Servers hang up on a connection that
        # was idle for some minutes.
        if connection and time.monotonic() - getattr(fs, "answered", 0.0) > FRESH:
            try:
                connection.sock.settimeout(NOOP_TIMEOUT)
                connection.voidcmd("NOOP")
                connection.sock.settimeout(fs.timeout)
            except (ftplib.Error, OSError, EOFError):
                return False
        fs.answered = time.monotonic()
        return True

    @property
    def _marker(self) -> str:
        return "/"  # absolute also at the root of the server, as fsspec lists it

    # -- writing -------------------------------------------------------------

    def exclusive(self, staged: Staged) -> bool:
        return False

    def _upload(self, source: Source, path: str) -> None:
        # A file of this very connection cannot be read while another is written.
        with source.rewindable() as rewindable:
            fs = self.fs
            connection = fs.take()
            try:
                stored(connection, path, Window(rewindable))
                found = described(fs, connection, path)["size"]
            except ftplib.Error:
                fs.give_back(connection)
                raise
            except BaseException:
                connection.close()  # a reply may be on its way
                raise
            fs.give_back(connection)
            # A server takes a connection that is cut for the end of the file.
            if found != rewindable.size:
                raise NoAnswer(f"it stored {found} bytes of {rewindable.size}")

    def _is_silent(self, exc: BaseException) -> bool:
        return False  # some servers forget to reply when their disk is full

    def _take_back(self, path: str) -> None:
        with suppress(Exception):
            fs = self.fs
            if fs.idle is None:
                # A server that has fallen silent is not waited for once more.
                options = {**self.location.options, "timeout": NOOP_TIMEOUT}
                fs = PrivateFTPFileSystem(skip_instance_cache=True, **options)
            fs.ftp.delete(path)

    def _rename(self, old: str, new: str) -> None:
        self.fs.ftp.rename(old, new)

    def _rename_over(self, old: str, new: str) -> None:
        try:
            self.fs.ftp.rename(old, new)
        except ftplib.error_perm:
            # Some servers do not replace; then there is a moment without the file.
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
        # RFC 3659, 7.5.2: 'unique' tells apart what a second and a size do not.
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
        known = self.stat(key)
        if found is not None and known.version != found.version:
            raise version_gone(key)
        where = bounds(span, known.size)
        if where is None:
            return None
        start, stop = where
        body = self._retrieved(known, start, stop)
        if stop - start <= CHUNK:  # then the connection is free again at once
            body = iter([joined(body)])
        return Fetched(known, start, stop, body)

    def _retrieved(self, known: Stat, start: int, stop: int) -> Iterator[bytes]:
        """The bytes of one version, by one RETR on a connection of its own."""
        path, left = self.path(known.name), stop - start
        length = None if stop == known.size else left
        # The last byte may be read on another thread, which has another filesystem.
        fs = self.fs
        connection = fs.take()
        try:
            for piece in retrieved(connection, path, start, length):
                left -= len(piece)
                if left < 0:
                    self._compare(known, fs.ftp)
                    raise NoAnswer("there are more bytes than were announced")
                yield piece
            self._compare(known, connection)
        except BaseException:
            connection.close()  # the server may be sending still
            raise
        fs.give_back(connection)

    def _compare(self, known: Stat, connection: ftplib.FTP) -> None:
        """:raises VersionGone: if the file is not the one that is known."""
        with suppress(FileNotFoundError):
            info = described(self.fs, connection, self.path(known.name))
            if info["type"] == "file":
                if self.record(info, known.name).version == known.version:
                    return
        raise version_gone(known.name)

    def open(self, key: str) -> t.IO[bytes]:
        return ranged(self, self.get(key))

    def left(self) -> list[dict[str, t.Any]]:
        # A server without MLSD lists no date that could be compared.
        return [
            info if info.get("modify") else {**info, **self._info(info["name"])}
            for info in super().left()
        ]

    # -- what went wrong -----------------------------------------------------

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        if is_full(exc):
            return StoreFull("The storage is full. Nothing was stored.", key)
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
