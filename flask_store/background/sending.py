"""How an upload in the background reaches the storage, and is taken back from there.

It never replaces a file that somebody else has stored under its name, and removes no
such file: that one is newer.
"""

from __future__ import annotations

import enum
import hashlib
import typing as t
from collections.abc import Iterable
from contextlib import suppress

from ..dialects import Stat
from ..dialects import whole
from ..dialects.errors import NoAnswer
from ..exceptions import FileExists
from ..exceptions import StoreError
from ..uploads.source import CHUNK
from ..uploads.source import Source
from .holding import Held

if t.TYPE_CHECKING:
    from ..dialects import Dialect


class DamagedError(StoreError):
    """The bytes in the spool are not those that were accepted."""


class Found(enum.Enum):
    """What the storage has under the name of an upload."""

    NOTHING = enum.auto()
    #: All of the upload: an earlier try stored it, although its answer got lost.
    OURS = enum.auto()
    #: A part of the upload, from a try that was broken off.
    PART = enum.auto()
    #: Something else.
    FOREIGN = enum.auto()


class Sending:
    """One upload on its way, or on its way back.

    :param stored: the dialect that has it in the end.
    :param held: the upload, which nobody else works on meanwhile.
    """

    def __init__(self, stored: Dialect, held: Held) -> None:
        self.dialect = stored
        self.held = held
        self.key = held.entry.key

    def send(self, source: Source) -> bool:
        """Store the file, and look whether it is stored.

        :param source: the bytes, with the upload's token.
        :return: false if another file has its name, which is left alone.
        :raises DamagedError: if the bytes in the spool are not whole.
        :raises StoreError: if the storage fails.
        """
        entry, dialect = self.held.entry, self.dialect
        if source.size != entry.size:
            raise DamagedError(
                f"{self.held.files.data} has {source.size} bytes in place of"
                f" {entry.size}. Something else has written to the spool.",
                self.key,
            )
        with self.dialect.explained(self.key, source):
            with dialect.stage(source) as staged:
                if not self._publish(staged):
                    return False
            return self._is_stored()

    def take_back(self) -> None:
        """Remove what a try may have stored, and nothing else.

        :raises StoreError: if the storage fails.
        """
        # Somebody else may delete it at the same moment.
        with suppress(FileNotFoundError), self.dialect.explained(self.key):
            if self._look() in (Found.OURS, Found.PART):
                self.dialect.delete(self.key)

    def is_stored(self) -> bool:
        """Whether what the storage has under the name is this upload.

        :raises StoreError: if the storage fails.
        """
        with self.dialect.explained(self.key):
            return self._look() in (Found.OURS, Found.PART)

    def _publish(self, staged: t.Any) -> bool:
        """Give the upload its name. Whether it has it, now or by an earlier try."""
        dialect, kind = self.dialect, self.held.entry.content_type
        if dialect.exclusive(staged):
            try:
                dialect.create(staged, self.key, kind)
                return True
            except FileExists:  # one of its folders is a file
                raise
            except FileExistsError:
                found = self._look()
                if found is Found.NOTHING:
                    raise NoAnswer(
                        "it says that a name is taken which is not"
                    ) from None
        else:
            found = self._look()
        if found in (Found.NOTHING, Found.PART):
            dialect.replace(staged, self.key, kind)
        return found is not Found.FOREIGN

    def _is_stored(self) -> bool:
        """Whether the file is there; not if it has been replaced already.

        :raises NoAnswer: if it is not there, or not whole.
        """
        entry = self.held.entry
        try:
            found = self._stat()
        except FileNotFoundError as exc:
            raise NoAnswer("it does not have the file that it has taken") from exc
        if _differ(found.token, entry.token):
            return False
        if found.size != entry.size:
            raise NoAnswer(f"it has {found.size} bytes of a file of {entry.size} bytes")
        return True

    def _look(self) -> Found:
        entry = self.held.entry
        try:
            found = self._stat()
        except FileNotFoundError:
            return Found.NOTHING
        if _differ(found.token, entry.token):
            return Found.FOREIGN
        if found.token is not None and entry.token is not None:
            return Found.OURS if found.size == entry.size else Found.PART
        return self._compared(found)

    def _stat(self) -> Stat:
        """:raises FileNotFoundError: if there is no such file."""
        # Not every filesystem has Python's own error for that.
        with self.dialect.explained(self.key):
            return self.dialect.stat(self.key)

    def _compared(self, found: Stat) -> Found:
        """What the storage has, by its bytes: where it keeps no token."""
        size = self.held.entry.size
        if found.size == size:
            same = self._digest(found) == self.held.digest()
            return Found.OURS if same else Found.FOREIGN
        # Storages that keep a token store a file in one step.
        may_be_part = self.dialect.token_name is None and self.held.may_be_stored
        if not may_be_part or found.size > size or self.held.entry.deleted:
            return Found.FOREIGN
        with self.held.files.open() as file:
            begin = _sha256(_first(file, found.size))
        return Found.PART if self._digest(found) == begin else Found.FOREIGN

    def _digest(self, found: Stat) -> str:
        fetched = self.dialect.get(self.key, None, found)
        return _sha256(whole(fetched))


def _differ(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one != other


def _first(file: t.BinaryIO, size: int) -> t.Iterator[bytes]:
    """The first *size* bytes of a file."""
    while size and (data := file.read(min(size, CHUNK))):
        size -= len(data)
        yield data


def _sha256(pieces: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for data in pieces:
        found.update(data)
    return found.hexdigest()
