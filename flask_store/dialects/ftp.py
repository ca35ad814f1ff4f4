"""``ftp://``: a protocol without any way to create exclusively."""

from __future__ import annotations

import datetime as dt
import ftplib
import time
import typing as t
from collections.abc import Mapping
from contextlib import suppress

import fsspec

from .. import naming
from ..exceptions import StoreDenied
from ..exceptions import StoreError
from ..exceptions import StoreFull
from ..exceptions import StoreUnavailable
from ..sources import CHUNK
from ..sources import Source
from ..sources import Window
from . import Location
from . import Stat
from . import TIMEOUT
from .staged import Staged
from .staged import StagedDialect

#: Seconds for which a connection that has just answered is taken to be alive.
FRESH = 5
#: Seconds for its answer otherwise; a firewall may have forgotten the connection.
NOOP_TIMEOUT = 2


class FTPDialect(StagedDialect):
    """Every name carries a UUID: RNTO replaces, and nothing else is any better.

    One connection speaks for one thread (RFC 959 has one transfer at a time).
    """

    protocols = ("ftp",)
    scope = "thread"

    @classmethod
    def locate(cls, url: str, config: Mapping[str, t.Any]) -> Location:
        found = super().locate(url, config)
        mine = {"timeout": TIMEOUT, "use_listings_cache": False}
        return Location("ftp", found.root, {**mine, **found.options})

    def alive(self, fs: fsspec.AbstractFileSystem) -> bool:
        # Servers hang up on a connection that was idle for some minutes.
        if time.monotonic() - getattr(fs, "answered", 0.0) > FRESH:
            try:
                fs.ftp.sock.settimeout(NOOP_TIMEOUT)
                fs.ftp.voidcmd("NOOP")
                fs.ftp.sock.settimeout(fs.timeout)
            except (ftplib.Error, OSError, EOFError):
                return False
        fs.answered = time.monotonic()
        return True

    # -- writing -------------------------------------------------------------

    def exclusive(self, fs: fsspec.AbstractFileSystem, staged: Staged) -> bool:
        return False

    def _upload(self, fs: fsspec.AbstractFileSystem, source: Source, path: str) -> None:
        # A file of this very connection cannot be read while another is written.
        with source.rewindable() as rewindable:
            try:
                fs.ftp.storbinary(f"STOR {path}", Window(rewindable), CHUNK)
            except Exception:
                if rewindable.error is not None:
                    with suppress(ftplib.Error):
                        fs.ftp.voidresp()  # the reply to what was sent so far
                raise

    def _rename(self, fs: fsspec.AbstractFileSystem, old: str, new: str) -> None:
        fs.ftp.rename(old, new)

    def _rename_over(self, fs: fsspec.AbstractFileSystem, old: str, new: str) -> None:
        try:
            fs.ftp.rename(old, new)
        except ftplib.error_perm:
            # Some servers do not replace; then there is a moment without the file.
            if self._info(fs, new)["type"] != "file":
                raise
            fs.ftp.delete(new)
            fs.ftp.rename(old, new)

    def _mkdir(self, fs: fsspec.AbstractFileSystem, folder: str) -> None:
        fs.ftp.mkd(folder)

    def _remove(self, fs: fsspec.AbstractFileSystem, path: str) -> None:
        fs.ftp.delete(path)

    # -- reading -------------------------------------------------------------

    def _info(self, fs: fsspec.AbstractFileSystem, path: str) -> dict[str, t.Any]:
        """One entry by MLST (RFC 3659); fsspec would list its whole folder."""
        try:
            reply = fs.ftp.sendcmd(f"MLST {path}")
        except ftplib.error_perm as exc:
            if str(exc)[:3] == "550":
                raise FileNotFoundError(path) from exc
            return t.cast("dict[str, t.Any]", fs.info(path))
        facts, _, _ = reply.splitlines()[1].strip().partition(" ")
        pairs = (fact.partition("=") for fact in facts.rstrip(";").split(";"))
        info: dict[str, t.Any] = {name.lower(): value for name, _, value in pairs}
        info["type"] = "file" if info["type"].lower() == "file" else "directory"
        return {"name": path, "size": 0, **info}

    def record(self, info: Mapping[str, t.Any], key: str) -> Stat:
        # RFC 3659, 2.3: 'YYYYMMDDHHMMSS', perhaps with a fraction, in UTC.
        modified = None
        with suppress(ValueError):
            stamp = str(info.get("modify", ""))[:14]
            modified = dt.datetime.strptime(stamp, "%Y%m%d%H%M%S")
        return super().record({**info, "modified": modified}, key)

    # -- what went wrong -----------------------------------------------------

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        if isinstance(exc, ftplib.error_perm):
            if str(exc)[:3] == "552":
                return StoreFull("The storage is full. Nothing was stored.", key)
            return StoreDenied(
                f"The FTP server refuses {naming.quoted(key)} ({str(exc)[:3]}). Check"
                f" the permissions, and {self.settings}.",
                key,
            )
        if isinstance(exc, ftplib.error_temp) and str(exc)[:3] == "452":
            return StoreFull("The storage is full. Nothing was stored.", key)
        if isinstance(exc, ftplib.Error | EOFError):
            return StoreUnavailable(
                "The FTP server hangs up, or answers what is no FTP. Check that it"
                f" runs, and {self.settings}.",
                key,
            )
        return super().explain(exc, key)
