"""What can be asked of a store: its files, their bytes and what is known of them."""

from __future__ import annotations

import io
import typing as t
from collections.abc import Iterator
from dataclasses import replace

from .. import naming
from .. import usage
from ..bodies import Opened
from ..dialects import Fetched
from ..dialects import pieces
from ..dialects import Span
from ..dialects import Stat
from ..dialects import utc
from ..files import FileWrapper
from ..listing import Listing
from .configured import ConfiguredStore


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
            found = self.background and self.background.find(key)
            file = found[1] if found else self.dialect.open(self.fs, key)
        return file if mode == "rb" else io.TextIOWrapper(file, encoding="utf-8")

    def read(self, name: str) -> bytes:
        """The whole content of a stored file.

        :raises FileNotFound: if it is not there.
        """
        key = self.key(name)
        with self._explained(key):
            waiting = self.background and self.background.find(key)
            if not waiting:
                return self.dialect.read(self.fs, key)
            with waiting[1] as file:
                return file.read()

    def stream(
        self, name: str, start: int = 0, stop: int | None = None
    ) -> Iterator[bytes]:
        """The bytes from *start* up to *stop*, in pieces of at most 1 MiB."""
        key = self.key(name)
        with self._explained(key):
            waiting = self.background and self.background.find(key)
            if waiting:
                yield from _spooled(waiting[1], start, stop)
            else:
                yield from self.dialect.stream(self.fs, key, start, stop)

    def stream_version(self, found: Stat, start: int, stop: int) -> Iterator[bytes]:
        """A part of the very version that *found* describes. It is opened at once,
        so that what goes wrong there is raised here.

        :param found: what :meth:`stat` said.
        :raises VersionGone: if the file has been replaced since.
        """
        key = self.key(found.name)
        with self._explained(key):
            waiting = self.background and self.background.find(key)
            if waiting:
                return Opened(_spooled(waiting[1], start, stop), stop - start)
            if found.name != key:
                found = replace(found, name=key)
            body = self.dialect.stream_version(self.fs, found, start, stop)
            return body if isinstance(body, Opened) else Opened(body, stop - start)

    def fetch(self, name: str, span: Span | None = None) -> Fetched | None:
        """What :meth:`stat` says, and the file, opened, where one request to the
        storage has both.

        :param span: which part of it is wanted; the storage may give another one.
        :return: ``None`` also if there is no such part.
        :raises FileNotFound: if there is no such file.
        """
        key = self.key(name)
        with self._explained(key):
            waiting = self.background and self.background.find(key)
            if waiting:
                waiting[1].close()
                return None
            fetched = self.dialect.fetch(self.fs, key, span)
            if fetched is None:
                return None
            found, start, stop, body = fetched
            if not isinstance(body, Opened):
                body = Opened(body, stop - start)
            if name != key:
                found = replace(found, name=name)
            return Fetched(found, start, stop, body)

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
                return Stat(
                    name, entry.size, utc(entry.saved), None, entry.content_type
                )
            found = self.dialect.stat(self.fs, key)
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
        return usage.measure(self.ls(prefix), prefix, by)

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


def _spooled(file: t.IO[bytes], start: int, stop: int | None) -> Iterator[bytes]:
    with file:
        yield from pieces(file, start, stop)
