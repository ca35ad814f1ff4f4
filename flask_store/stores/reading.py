"""What can be asked of a store: its files, their bytes and what is known of them."""

from __future__ import annotations

import io
import typing as t
from collections.abc import Iterator
from dataclasses import replace

from .. import naming
from .. import usage
from ..dialects import Fetched
from ..dialects import part
from ..dialects import Span
from ..dialects import Stat
from ..dialects import utc
from ..dialects.bodies import FilePart
from ..dialects.errors import version_gone
from ..dialects.records import bounds
from ..files import FileWrapper
from ..listing import Listing
from ..sources import StoredFile
from ..sources import Streamed
from .configured import ConfiguredStore
from .opened import OpenedFile

if t.TYPE_CHECKING:
    from ..background.entries import Entry


class ReadableStore(ConfiguredStore):
    """A store whose files can be read."""

    def file(self, name: str) -> FileWrapper:
        """A stored file by its name, without looking whether it is there."""
        return FileWrapper(name, self._whole)

    def open(self, name: str, mode: t.Literal["r", "rb"] = "rb") -> t.IO[t.Any]:
        """A stored file, for reading; ``"r"`` reads it as UTF-8 text.

        :raises FileNotFound: if it is not there.
        """
        if mode not in ("r", "rb"):
            raise ValueError(
                f"mode is {mode!r}; open() reads: 'rb' or 'r'. See save()."
            )
        key = self.key(name)
        with self._explained(key):
            waiting = self.background and self.background.find(key)
            file = waiting[1] if waiting else self.dialect.open(key)
        if not waiting and not self.dialect.plain_files:
            file = StoredFile(OpenedFile(file, lambda: self._explained(key)))
        return file if mode == "rb" else io.TextIOWrapper(file, encoding="utf-8")

    def read(self, name: str) -> bytes:
        """The whole content of a stored file.

        :raises FileNotFound: if it is not there.
        """
        key = self.key(name)
        with self._explained(key):
            waiting = self.background and self.background.find(key)
            if not waiting:
                return self.dialect.read(key)
            with waiting[1] as file:
                return file.read()

    def stream(
        self, name: str, start: int = 0, stop: int | None = None
    ) -> Iterator[bytes]:
        """The bytes from *start* up to *stop*, in pieces of at most 1 MiB.

        :raises FileNotFound: if there is no such file, with the first piece.
        :raises StoreUnavailable: if the storage breaks off.
        """
        if start or stop is not None:
            if stop is not None and stop <= start:
                return
            span: Span | None = Span.between(start, stop)
        else:
            span = None
        fetched = self._get(self.key(name), span)
        if fetched is not None:
            try:
                yield from fetched.body
            finally:
                fetched.body.close()

    def stream_version(self, found: Stat, start: int, stop: int) -> Iterator[bytes]:
        """A part of the very version that *found* describes. It is opened at once,
        so that what goes wrong there is raised here.

        :param found: what :meth:`stat` said.
        :raises VersionGone: if the file has been replaced since.
        """
        if start == stop:
            return iter(())
        key = self.key(found.name)
        whole = (start, stop) == (0, found.size)
        span = None if whole else Span.between(start, stop)
        fetched = self._get(key, span, replace(found, name=key))
        if fetched is None or fetched.found.size != found.size:
            raise version_gone(key)
        return t.cast("Iterator[bytes]", fetched.body)

    def _open_version(self, found: Stat) -> t.IO[bytes]:
        """The version of a file that *found* describes, to be read once, from its
        start to its end.

        :param found: what :meth:`stat` said.
        :raises VersionGone: if the file has been replaced since.
        """
        stream = self.stream_version(found, 0, found.size)
        return t.cast("t.IO[bytes]", io.BufferedReader(Streamed(stream)))

    def fetch(self, name: str, span: Span | None = None) -> Fetched | None:
        """What :meth:`stat` says, and the file, opened.

        :param span: which part of it is wanted.
        :return: ``None`` if there is no such part.
        :raises FileNotFound: if there is no such file.
        """
        key = self.key(name)
        fetched = self._get(key, span)
        if fetched is None or name == key:
            return fetched
        return fetched._replace(found=replace(fetched.found, name=name))

    def _get(
        self, key: str, span: Span | None, found: Stat | None = None
    ) -> Fetched | None:
        """The very bytes that *span* asks for, counted and explained."""
        with self._explained(key):
            waiting = self.background and self.background.find(key)
            if waiting:
                return self._spooled(*waiting, span)
            fetched = self.dialect.get(key, span, found)
            if fetched is None:
                return None
            where = bounds(span, fetched.found.size)
            if where is None:
                part(fetched, 0, 0).close()
                self.dialect.confirm_end(key, t.cast(Span, span))
                return None
            body = part(fetched, *where, lambda: self._explained(key))
            return Fetched(fetched.found, *where, body)

    def _spooled(
        self, entry: Entry, file: t.BinaryIO, span: Span | None
    ) -> Fetched | None:
        where = bounds(span, entry.size)
        if where is None:
            file.close()
            return None
        return Fetched(_waiting(entry), *where, FilePart(file, *where))

    def exists(self, name: str) -> bool:
        """Whether there is a file *name*.

        :raises StoreUnavailable: if the storage does not answer; only an answer
            that there is no such file is ``False``.
        """
        try:
            self.stat(name)
        except FileNotFoundError:
            return False
        return True

    def stat(self, name: str) -> Stat:
        """Size, date, ETag and content type.

        :raises FileNotFound: if there is no such file.
        """
        key = self.key(name)
        with self._explained(key):
            waiting = self.background and self.background.find(key)
            if waiting:
                entry, file = waiting
                file.close()
                return replace(_waiting(entry), name=name)
            found = self.dialect.stat(key)
        return found if name == key else replace(found, name=name)

    def ls(self, prefix: str = "") -> Listing:
        """Every file below a folder, as :class:`~flask_store.dialects.Stat`; the
        names are relative to the provider's destination.

        :param prefix: the folder; by default the provider's destination.
        :return: a listing that asks the storage while it is iterated over.
        """
        return Listing(self._whole, prefix)

    def usage(self, prefix: str = "", by: usage.By = "prefix") -> usage.Usage:
        """How much is stored, from the largest group to the smallest.

        :param prefix: the folder; by default the provider's destination.
        :param by: ``"prefix"`` (the folder right below), ``"type"`` or ``"month"``.
        """
        return usage.measure(self.ls(prefix), by)

    # Without it, Python would iterate by store[0], store[1] and so on.
    __iter__: t.ClassVar[None] = None

    def __getitem__(self, name: str) -> FileWrapper:
        return self.file(name)

    def _ipython_key_completions_(self) -> list[str]:
        return self.ls().names()

    def join(self, *parts: str) -> str:
        """The parts of a path, joined with ``/``.

        :raises InvalidName: if a part leads upwards.
        """
        return naming.join(*parts)

    def absolute_path(self, name: str) -> str:
        """The path on disk; for an object store the key with its prefix."""
        return self.dialect.absolute_path(self.key(name))


def _waiting(entry: Entry) -> Stat:
    return Stat(entry.key, entry.size, utc(entry.saved), None, entry.content_type)
