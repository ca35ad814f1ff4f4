"""The base class for SFTP, SMB, WebDAV and FTP: upload under a private name, rename."""

from __future__ import annotations

import io
import logging
import typing as t
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextlib import contextmanager
from contextlib import nullcontext
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote

from .. import naming
from ..exceptions import FileExists
from ..exceptions import StoreError
from ..exceptions import StoreFull
from ..exceptions import StoreUnavailable
from ..uploads.source import Source
from . import DESTINATION_IS_FILE
from . import Dialect
from . import IS_FOLDER
from . import Joined
from . import Mode
from . import NOT_A_FILE
from . import NotByStorage
from . import Original

logger = logging.getLogger(__name__)


@dataclass
class Staged:
    """A complete upload on the server, under a private name.

    :param path: where it is.
    :param is_private: whether it still has this name, and not its final one.
    :param original: the stored file that it is, if it is one that is moved.
    """

    path: str
    is_private: bool = True
    original: Original | None = None


class StagedDialect(Dialect):
    """Sends an upload to the server once, under a private name, and then renames it.

    A protocol has to define :meth:`rename` and :meth:`rename_over`. Whether a rename
    refuses a name that is taken is tried once in each process; where it does not, every
    name carries a UUID.

    The rest goes by the filesystem's own methods: ``open``, ``info``, ``ls``,
    ``mkdir``, ``rmdir``, which has to leave a folder that is not empty, and
    ``rm_file``.
    """

    #: The rename as the log calls it.
    rename_word: t.ClassVar[str] = "rename"
    #: Whether the server copies files by itself, as far as it is known.
    copies: bool = True
    #: Whether it then also copies several files into one.
    joins: t.ClassVar[bool] = False

    def __init__(self, location: t.Any) -> None:
        super().__init__(location)
        self._is_exclusive: bool | None = None

    @property
    def uri(self) -> str:
        host = self.location.options.get("host")
        port = self.location.options.get("port")
        if not host:
            return super().uri
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
        """A new private path. A file that is still there at the end is removed."""
        self.reach()
        staged = Staged(self.staging_path())
        try:
            yield staged
        except BaseException as exc:
            # A server that does not answer is not asked again; that would double the
            # waiting. sweep removes the upload when the server is back.
            if staged.is_private and not self._is_silent(exc):
                self._take_back(staged.path)
            raise
        if staged.is_private:
            self._take_back(staged.path)

    def _take_back(self, path: str) -> None:
        """Remove an upload, so that it takes no space on the server. If this connection
        does not work any more, use a new one."""
        # The error that led here says more than one that is raised here.
        with suppress(Exception):
            try:
                self.discard(path)
            except Exception:
                self.anew().discard(path)

    def exclusive(self, staged: Staged) -> bool:
        if self._is_exclusive is None:
            self._is_exclusive = self._probe()
            if self._is_exclusive is False:
                logger.warning(
                    "The server's %s replaces: every name in %s will carry a UUID.",
                    self.rename_word,
                    self.uri,
                )
        return bool(self._is_exclusive)

    def put_file(self, staged: Staged, key: str, content_type: str, mode: Mode) -> None:
        path = self.path(key, follow=False)
        if staged.original is not None:
            self._move_to(path, staged.original, mode)
            return
        rename = self._rename_new if mode == "create" else self.rename_over
        try:
            self._in_folder(path, lambda: rename(staged.path, path))
        except Exception as exc:
            if mode == "overwrite" and not self._is_lost(exc) and self._is_folder(path):
                raise FileExists(IS_FOLDER.format(naming.quoted(key)), key) from exc
            raise
        staged.is_private = False

    def _is_folder(self, path: str) -> bool:
        try:
            return bool(self._info(path)["type"] == "directory")
        except NOT_A_FILE:
            return False

    def _rename_new(self, old: str, new: str) -> None:
        """Rename a file.

        :raises FileExistsError: if the new name is taken.
        """
        try:
            self.rename(old, new)
        except Exception as exc:
            # Most servers do not say why a rename failed.
            if not self._is_lost(exc) and self._is_there(new):
                raise FileExistsError(new) from exc
            raise

    # -- copying and moving --------------------------------------------------

    def mv(self, original: Original) -> AbstractContextManager[Staged]:
        self.reach()
        return nullcontext(Staged(original.path(follow=False), original=original))

    def _move_to(self, path: str, original: Original, mode: Mode) -> None:
        """Rename a stored file, if the new name is free."""
        old = original.path(follow=False)
        if mode == "overwrite" and self._is_there(path):
            raise NotByStorage
        try:
            self._in_folder(path, lambda: self._rename_new(old, path))
        except FileExistsError as exc:
            if mode == "overwrite":
                raise NotByStorage from exc
            raise
        except StoreError:
            raise
        except Exception as exc:
            if self._is_lost(exc) or not self._is_there(old):
                raise
            raise NotByStorage from exc
        if not self._is_whole(path, original):
            # It was a link, which leads nowhere from its new folder.
            self.rename(path, old)
            raise NotByStorage
        original.renamed = True

    @contextmanager
    def cp_file(self, original: Original) -> Iterator[Staged]:
        if not self.copies:
            raise NotByStorage
        with self._private() as staged:
            self._copy_privately(original, staged.path)
            yield staged

    @contextmanager
    def join(self, joined: Joined) -> Iterator[Staged]:
        if not self.joins:
            raise NotByStorage
        with self.cp_file(joined) as staged:
            yield staged

    def _copy_privately(self, original: Original, path: str) -> None:
        olds = original.paths()
        try:
            self._in_folder(path, lambda: self._copy_on_server(olds, path))
        except NotByStorage:
            self.copies = False
            raise
        except Exception as exc:
            # Whatever else is wrong, reading and writing tells it.
            if self._is_lost(exc) or isinstance(self.explain(exc, None), StoreFull):
                raise
            raise NotByStorage from exc
        if not self._is_whole(path, original):
            raise NotByStorage
        original.check()

    def _is_whole(self, path: str, original: Original) -> bool:
        """Whether a path has a file of the size of the original."""
        try:
            info = self._info(path)
        except NOT_A_FILE:
            return False
        return bool(info["type"] == "file" and info["size"] == original.size)

    def _probe(self) -> bool | None:
        """Try whether a rename refuses a name that is taken, and no other.

        :return: ``None`` if the result is unclear.
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
        """Whether the server renames a file, and reports success."""
        try:
            self.rename(old, new)
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
        """Call a function. If it fails, the folder of *path* may be missing: make it,
        and call the function once more."""
        try:
            call()
        except (FileExistsError, StoreError, NotByStorage):
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
        """Whether the connection to the server is lost, so that another request would
        only wait again."""
        return isinstance(self.explain(exc, None), StoreUnavailable)

    def _is_silent(self, exc: BaseException) -> bool:
        """Whether the server did not answer in time, so that another request would wait
        as long again."""
        error = exc.__cause__ if isinstance(exc, StoreError) else exc
        return any("Timeout" in cls.__name__ for cls in type(error).__mro__)

    def _make_folder(self, folder: str) -> None:
        """Make a folder and those above it.

        :raises FileExists: if one of them is a file.
        """
        try:
            entry_type = self._info(folder)["type"]
        except NOT_A_FILE:
            parent = self.fs._parent(folder)
            if parent != folder:
                self._make_folder(parent)
            try:
                self._mkdir(folder)
            except Exception:
                if not self._is_there(folder):  # another process has made it
                    raise
            return
        if entry_type == "file":
            key = folder[len(self.root) + 1 :]
            raise FileExists(DESTINATION_IS_FILE.format(naming.quoted(key)), key)

    def _is_there(self, path: str) -> bool:
        try:
            self._info(path)
        except NOT_A_FILE:
            return False
        return True

    # -- what a subclass defines ------------------------------------------

    def _upload(self, source: Source, path: str) -> None:
        """Write a new file. If this fails, the caller removes what was written."""
        write_all(self.fs.open(path, "wb"), source)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, in one step, and raise any error if that is taken.

        :param old: a path of the filesystem.
        """
        raise NotImplementedError

    def rename_over(self, old: str, new: str) -> None:
        """Give a file another name, in one step, in place of what may have it."""
        raise NotImplementedError

    def _copy_on_server(self, olds: Sequence[str], new: str) -> None:
        """Let the server copy a file to a private path, which is free.

        :param olds: where the file is; or several files, which become one, if the
            server :attr:`joins`.
        :raises NotByStorage: if it does not copy.
        """
        raise NotByStorage

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

    def info(self, key: str) -> t.Any:
        return self.record(self._file(key), key)

    def _vanished(self, folder: str) -> bool:
        if folder == self.root:
            return not self._is_there(folder)
        return super()._vanished(folder)

    def rm_file(self, key: str) -> None:
        try:
            self._remove(self.path(key, follow=False))
        except Exception:
            self._file(key)  # the reply of a server is the same for a folder
            raise

    def _file(self, key: str) -> dict[str, t.Any]:
        info = self._info(self.path(key))
        if info["type"] != "file":
            raise FileNotFoundError(key)
        return info

    def rm_folder(self, key: str) -> None:
        with suppress(Exception):  # it is not empty, or gone, and does no harm
            self._rmdir(self.path(key))


def write_all(file: t.Any, source: Source) -> None:
    """Write an upload into a file of the server, and close that. The error is that of
    the first part that could not be written, and not that of closing the file then."""
    try:
        source.write_into(file)
    except BaseException:
        with suppress(Exception):
            file.close()
        raise
    file.close()


def unquoted(options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The options of a URL, percent-decoded: '%40' in a password means '@'."""
    return {
        name: unquote(value) if isinstance(value, str) else value
        for name, value in options.items()
    }
