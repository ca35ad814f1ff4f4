"""What SFTP, SMB and FTP have in common: upload beside, then rename on the server."""

from __future__ import annotations

import io
import logging
import typing as t
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote

from .. import naming
from ..exceptions import FileExists
from ..exceptions import StoreError
from ..exceptions import StoreFull
from ..exceptions import StoreUnavailable
from ..exceptions import VersionGone
from ..uploads.source import Source
from . import DESTINATION_IS_FILE
from . import Dialect
from . import Fetched
from . import NOT_A_FILE
from . import pieces
from . import Span
from . import Stat
from .errors import version_gone
from .handles import HandleFile
from .records import bounds

if t.TYPE_CHECKING:
    from .claims import Claim

logger = logging.getLogger(__name__)


@dataclass
class Staged:
    """A complete upload on the server, under a private name.

    :param path: where it is.
    :param there: false as soon as it has its final name.
    """

    path: str
    there: bool = True


class StagedDialect(Dialect):
    """The upload goes to the server once; each attempt at a name is a rename.

    A protocol says how it writes, renames and makes one folder.
    """

    #: The rename as the log calls it.
    rename: t.ClassVar[str] = "rename"
    #: Whether a file must be looked at before it is opened, because a server waits for
    #: ever for somebody to write into a pipe.
    looks_first: t.ClassVar[bool] = True

    def __init__(self, location: t.Any) -> None:
        super().__init__(location)
        self._refuses: bool | None = None

    @property
    def uri(self) -> str:
        host = self.location.options["host"]
        port = self.location.options.get("port")
        address = f"{host}:{port}" if port else host
        return f"{self.location.protocol}://{address}{self.root}"

    # -- writing -------------------------------------------------------------

    @contextmanager
    def stage(self, source: Source) -> Iterator[Staged]:
        with self._private() as staged:
            self._upload_into(source, staged.path)
            yield staged

    @contextmanager
    def _private(self) -> Iterator[Staged]:
        """A new private path, at which nothing is left."""
        self.reach()
        staged = Staged(self.staging_path())
        try:
            yield staged
        except BaseException as exc:
            # Of a server that is silent nobody waits for more than one answer; sweep
            # removes the upload when it is back.
            if staged.there and not self._is_silent(exc):
                self._take_back(staged.path)
            raise
        if staged.there:
            self._take_back(staged.path)

    def _take_back(self, path: str) -> None:
        """Remove an upload, so that its bytes do not fill the disk of the server; by a
        new connection if this one is of no use any more."""
        # Whatever happened, it is more telling than what may happen here.
        with suppress(Exception):
            try:
                self.discard(path)
            except Exception:
                self.anew().discard(path)

    def exclusive(self, staged: Staged) -> bool:
        if self._refuses is None:
            self._refuses = self._probe()
            if self._refuses is False:
                logger.warning(
                    "The server's %s replaces: every name in %s will carry a UUID.",
                    self.rename,
                    self.uri,
                )
        return bool(self._refuses)

    def create(
        self,
        staged: Staged,
        key: str,
        content_type: str,
    ) -> None:
        path = self.path(key, follow=False)

        def rename() -> None:
            try:
                self._rename(staged.path, path)
            except Exception as exc:
                # Most servers say no more than that it failed.
                if not self._is_lost(exc) and self._is_there(path):
                    raise FileExistsError(path) from exc
                raise

        self._in_folder(path, rename)
        staged.there = False

    def replace(
        self,
        staged: Staged,
        key: str,
        content_type: str,
    ) -> None:
        path = self.path(key, follow=False)
        self._in_folder(path, lambda: self._rename_over(staged.path, path))
        staged.there = False

    def adopt(self, claim: Claim, staged: Stat) -> None:
        self._give_key(Staged(self.path(claim.staged)), claim)

    def _probe(self) -> bool | None:
        """Whether a rename refuses a name that is taken, and no other, by trying it.

        :return: ``None`` if this try does not tell.
        :raises Exception: if the server does not answer.
        """
        nothing = Source(io.BytesIO(), None)
        with (
            self.stage(nothing) as taken,
            self.stage(nothing) as other,
            self._private() as free,
        ):
            if self._renames(other.path, taken.path):
                return False
            return self._renames(other.path, free.path) or None

    def _renames(self, old: str, new: str) -> bool:
        """Whether the server gives a file another name, and says so."""
        try:
            self._rename(old, new)
        except Exception as exc:
            if self._is_lost(exc):
                raise
            return False
        return not self._is_there(old)

    def _upload_into(self, source: Source, path: str) -> None:
        if source.rewinds:
            self._in_folder(path, lambda: self._upload(source, path), source)
        else:
            self._make_folder(self.fs._parent(path))
            self._upload(source, path)

    def _in_folder(
        self,
        path: str,
        call: t.Callable[[], None],
        source: Source | None = None,
    ) -> None:
        """Do it, and if it fails, perhaps for want of a folder, once more with it."""
        try:
            call()
        except FileExistsError:
            raise
        except Exception as exc:
            error = self.explain(exc, None)
            if isinstance(error, StoreFull) or self._is_lost(exc):
                raise
            if source and source.error:
                raise
            self._make_folder(self.fs._parent(path))
            call()

    def _is_lost(self, exc: Exception) -> bool:
        """Whether the server is gone, so that asking it again would wait again."""
        return isinstance(self.explain(exc, None), StoreUnavailable)

    def _is_silent(self, exc: BaseException) -> bool:
        """Whether the server did not answer in time, and would keep whoever asks it
        again waiting."""
        reason = exc.__cause__ if isinstance(exc, StoreError) else exc
        return any("Timeout" in kind.__name__ for kind in type(reason).__mro__)

    def _make_folder(self, folder: str) -> None:
        """Make a folder and those above it.

        :raises FileExists: if one of them is a file.
        """
        try:
            kind = self._info(folder)["type"]
        except NOT_A_FILE:
            parent = self.fs._parent(folder)
            if parent != folder:
                self._make_folder(parent)
            try:
                self._mkdir(folder)
            except Exception:
                if not self._is_there(folder):  # another process was quicker
                    raise
            return
        if kind == "file":
            key = folder[len(self.root) + 1 :]
            raise FileExists(DESTINATION_IS_FILE.format(naming.quoted(key)), key)

    def _is_there(self, path: str) -> bool:
        try:
            self._info(path)
        except NOT_A_FILE:
            return False
        return True

    # -- what a protocol has to say ------------------------------------------

    def _upload(self, source: Source, path: str) -> None:
        """Write a new file. What is broken stays, and is removed by the caller."""
        with self.fs.open(path, "wb") as file:
            source.write_into(file)

    def _rename(self, old: str, new: str) -> None:
        """Rename, and raise anything if the new name is taken."""
        raise NotImplementedError

    def _rename_over(self, old: str, new: str) -> None:
        """Rename in place of what may be there."""
        raise NotImplementedError

    def _mkdir(self, folder: str) -> None:
        self.fs.mkdir(folder, create_parents=False)

    def _mark(self, path: str) -> None:
        self._upload_into(Source(io.BytesIO(), None), path)

    def _info(self, path: str) -> dict[str, t.Any]:
        """:raises FileNotFoundError: if there is nothing of this name."""
        return t.cast("dict[str, t.Any]", self.fs.info(path))

    def discard(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._remove(path)

    # -- reading -------------------------------------------------------------

    def stat(self, key: str) -> t.Any:
        return self.record(self._file(key), key)

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

    def _vanished(self, folder: str) -> bool:
        if folder == self.root:
            return not self._is_there(folder)
        return super()._vanished(folder)

    def delete(self, key: str) -> None:
        try:
            self._remove(self.path(key, follow=False))
        except Exception:
            self._file(key)  # servers do not tell a folder from a refusal
            raise

    def _file(self, key: str) -> dict[str, t.Any]:
        info = self._info(self.path(key))
        if info["type"] != "file":
            raise FileNotFoundError(key)
        return info


def unquoted(options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What a URL says, without its quoting: '%40' in a password means '@'."""
    return {
        name: unquote(value) if isinstance(value, str) else value
        for name, value in options.items()
    }
