"""What SFTP and SMB have in common: the file that is open tells of itself."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from contextlib import suppress

from .. import naming
from ..exceptions import VersionGone
from . import Fetched
from . import pieces
from . import Span
from . import Stat
from .bodies import bounds
from .errors import version_gone
from .handles import HandleFile
from .renamed import StagedDialect


class HandleDialect(StagedDialect):
    """Reads the file that it has opened, also if another file gets its name meanwhile.

    A protocol says how it opens a file, and how it asks the server about an open one.
    """

    #: Whether to look at a file before it is opened. A server that opens a pipe waits
    #: for ever for another program to write into it.
    looks_first: t.ClassVar[bool] = True

    def get(
        self,
        key: str,
        span: Span | None = None,
        found: Stat | None = None,
    ) -> Fetched | None:
        handle, stat = self._handle(key, found)
        extent = bounds(span, stat.size)
        if extent is None:
            handle.close()
            return None
        return Fetched(stat, *extent, self._bytes_of(handle, stat, *extent))

    def open(self, key: str) -> t.IO[bytes]:
        handle, stat = self._handle(key, None)
        file = HandleFile(handle, stat.size, lambda: self._check(handle, stat))
        return t.cast("t.IO[bytes]", file)

    def _handle(self, key: str, found: Stat | None) -> tuple[t.IO[bytes], Stat]:
        """An open file of the server, and its description.

        :raises VersionGone: if it is not the version *found*.
        """
        if found is None and self.looks_first:
            self._file(key)
        handle = self._open_handle(self.path(key))
        try:
            info = self._info_of(handle)
            if info["type"] != "file":
                raise FileNotFoundError(key)
            stat = self.record(info, key)
            if found is not None and stat.version != found.version:
                raise version_gone(key)
        except BaseException:
            with suppress(Exception):
                handle.close()
            raise
        return handle, stat

    def _bytes_of(
        self, handle: t.IO[bytes], stat: Stat, start: int, stop: int
    ) -> Iterator[bytes]:
        try:
            yield from pieces(handle, start, stop)
            self._check(handle, stat)
        finally:
            with suppress(Exception):  # the connection may be broken
                handle.close()

    def _check(self, handle: t.IO[bytes], stat: Stat) -> None:
        """Check that nothing was written into a file while it was read. A save never
        writes into an existing file, but other programs may.

        :raises VersionGone: if the file has changed.
        """
        if self.record(self._info_now(handle), stat.name).version != stat.version:
            raise VersionGone(
                f"{naming.quoted(stat.name)} was written while it was read.",
                stat.name,
            )

    def _open_handle(self, path: str) -> t.IO[bytes]:
        """A file of the server, open for reading."""
        raise NotImplementedError

    def _info_of(self, handle: t.IO[bytes]) -> dict[str, t.Any]:
        """What the server says of a file that has just been opened."""
        raise NotImplementedError

    def _info_now(self, handle: t.IO[bytes]) -> dict[str, t.Any]:
        """What it says of the file later."""
        return self._info_of(handle)
