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
    """A read is of the file that is open, whatever its name has meanwhile.

    A protocol says how it opens a file and asks of the open one.
    """

    #: Whether a file must be looked at before it is opened, because a server waits for
    #: ever for somebody to write into a pipe.
    looks_first: t.ClassVar[bool] = True

    def get(
        self,
        key: str,
        span: Span | None = None,
        found: Stat | None = None,
    ) -> Fetched | None:
        handle, known = self._handle(key, found)
        where = bounds(span, known.size)
        if where is None:
            handle.close()
            return None
        return Fetched(known, *where, self._bytes_of(handle, known, *where))

    def open(self, key: str) -> t.IO[bytes]:
        handle, known = self._handle(key, None)
        file = HandleFile(handle, known.size, lambda: self._check(handle, known))
        return t.cast("t.IO[bytes]", file)

    def _handle(self, key: str, found: Stat | None) -> tuple[t.IO[bytes], Stat]:
        """An open file of the server, and what is known of that very file.

        :raises VersionGone: if it is not the version *found*.
        """
        if found is None and self.looks_first:
            self._file(key)
        handle = self._open_handle(self.path(key))
        try:
            info = self._info_of(handle)
            if info["type"] != "file":
                raise FileNotFoundError(key)
            known = self.record(info, key)
            if found is not None and known.version != found.version:
                raise version_gone(key)
        except BaseException:
            with suppress(Exception):
                handle.close()
            raise
        return handle, known

    def _bytes_of(
        self, handle: t.IO[bytes], known: Stat, start: int, stop: int
    ) -> Iterator[bytes]:
        try:
            yield from pieces(handle, start, stop)
            self._check(handle, known)
        finally:
            with suppress(Exception):  # of a connection that is broken
                handle.close()

    def _check(self, handle: t.IO[bytes], known: Stat) -> None:
        """Look whether a file was written while it was read. A save never does that,
        but other programs may write into a file that is there.

        :raises VersionGone: if it was.
        """
        if self.record(self._info_now(handle), known.name).version != known.version:
            raise VersionGone(
                f"{naming.quoted(known.name)} was written while it was read.",
                known.name,
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
