"""Sends an upload of the spool to the storage, and removes it from there.

It neither replaces nor removes a file that another process has stored under the same
name: that file is newer.
"""

from __future__ import annotations

import enum
import hashlib
import typing as t
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from ..dialects import Stat
from ..dialects import whole
from ..dialects.errors import NoAnswer
from ..exceptions import FileExists
from ..exceptions import StoreError
from ..exceptions import StoreUnavailable
from ..uploads.properties import Properties
from ..uploads.source import CHUNK
from ..uploads.source import Source
from .holding import Held
from .upload import Upload

if t.TYPE_CHECKING:
    from ..dialects import Dialect


class DamagedError(StoreError):
    """The bytes in the spool are not those that ``save`` accepted."""


class Stored(enum.Enum):
    """What the storage has under the name of an upload."""

    NOTHING = enum.auto()
    #: All of the upload: an earlier try stored it, although its answer was lost.
    OURS = enum.auto()
    #: A part of the upload, from a try that was interrupted.
    PART = enum.auto()
    #: Another file.
    FOREIGN = enum.auto()


@dataclass
class Sending:
    """Stores one upload, or removes it again.

    :param dialect: stores the file.
    :param held: the upload, which the caller has locked.
    """

    dialect: Dialect
    held: Held

    def send(self, upload: Upload) -> bool:
        """Store the file, and ask the storage whether it has it.

        :param upload: what shows the progress.
        :return: ``False`` if another file has its name. That file is left alone.
        :raises Stopped: if a write of the same name asks the upload to stop.
        :raises DamagedError: if the bytes in the spool are not whole.
        :raises StoreError: if the storage fails.
        """
        entry, files = self.held.entry, self.held.files
        with files.open() as file:
            source = upload.source = Source(file, None, stop=files.stop)
            if entry.token is not None:
                source.token = entry.token
            if entry.properties:
                source.properties = Properties.from_json(entry.properties)
            if source.size != entry.size:
                raise DamagedError(
                    f"{files.data} has {source.size} bytes in place of {entry.size}."
                    " Something else has written to the spool.",
                    self.held.entry.key,
                )
            with self.dialect.explained(self.held.entry.key, source):
                with self.dialect.stage(source) as staged:
                    if not self._publish(staged):
                        return False
                return self._is_stored()

    def take_back(self) -> None:
        """Remove what a try may have stored, and nothing else.

        :raises StoreError: if the storage fails.
        """
        # Another process may delete it at the same moment.
        with suppress(FileNotFoundError), self.dialect.explained(self.held.entry.key):
            if self._look() in (Stored.OURS, Stored.PART):
                self.dialect.rm_file(self.held.entry.key)

    def is_stored(self) -> bool:
        """Whether what the storage has under the name is this upload.

        :raises StoreError: if the storage fails.
        """
        with self.dialect.explained(self.held.entry.key):
            return self._look() in (Stored.OURS, Stored.PART)

    def _publish(self, staged: t.Any) -> bool:
        """Give the upload its name.

        :return: whether it has the name now, from this try or an earlier one.
        """
        dialect, content_type = self.dialect, self.held.entry.content_type
        if dialect.exclusive(staged):
            try:
                dialect.put_file(staged, self.held.entry.key, content_type, "create")
                return True
            except FileExists:  # one of its folders is a file
                raise
            except FileExistsError as exc:
                state = self._look()
                if state is Stored.NOTHING:
                    if self._is_being_written(exc):
                        raise
                    raise NoAnswer(
                        "it says that a name is taken which is not"
                    ) from None
        else:
            state = self._look()
        if state in (Stored.NOTHING, Stored.PART):
            dialect.put_file(staged, self.held.entry.key, content_type, "overwrite")
        return state is not Stored.FOREIGN

    def _is_being_written(self, exc: FileExistsError) -> bool:
        """Whether the name is refused because another process may be writing it."""
        error = self.dialect.explain(exc, self.held.entry.key)
        return isinstance(error, StoreUnavailable)

    def _is_stored(self) -> bool:
        """Whether the file is there, and not another one of its name.

        :raises NoAnswer: if nothing is there, or not all of the file.
        """
        entry, stat = self.held.entry, self._stat()
        if stat is None:
            raise NoAnswer("it does not have the file that it has taken")
        if None not in (stat.token, entry.token) and stat.token != entry.token:
            return False
        if stat.size != entry.size:
            raise NoAnswer(f"it has {stat.size} bytes of a file of {entry.size} bytes")
        return True

    def _look(self) -> Stored:
        entry, stat = self.held.entry, self._stat()
        if stat is None:
            return Stored.NOTHING
        if None in (stat.token, entry.token):
            return self._compared(stat)
        if stat.token != entry.token:
            return Stored.FOREIGN
        return Stored.OURS if stat.size == entry.size else Stored.PART

    def _stat(self) -> Stat | None:
        """What the storage has under the name, if anything."""
        try:
            return self.dialect.info(self.held.entry.key)
        except FileNotFoundError:
            return None
        except Exception as exc:
            # Some filesystems raise an error of their own for a missing file.
            if isinstance(
                self.dialect.explain(exc, self.held.entry.key), FileNotFoundError
            ):
                return None
            raise

    def _compared(self, stat: Stat) -> Stored:
        """What the storage has, told by the bytes, because it keeps no token."""
        size = self.held.entry.size
        if stat.size == size:
            same = self._digest(stat) == self.held.digest()
            return Stored.OURS if same else Stored.FOREIGN
        # Storages that keep a token store a file in one step.
        may_be_part = self.dialect.token_name is None and self.held.may_be_stored
        if not may_be_part or stat.size > size or self.held.entry.deleted:
            return Stored.FOREIGN
        with self.held.files.open() as file:
            begin = _sha256(_first(file, stat.size))
        return Stored.PART if self._digest(stat) == begin else Stored.FOREIGN

    def _digest(self, stat: Stat) -> str:
        fetched = self.dialect.get(self.held.entry.key, None, stat)
        return _sha256(whole(fetched))


def _first(file: t.BinaryIO, size: int) -> t.Iterator[bytes]:
    """The first *size* bytes of a file."""
    while size and (data := file.read(min(size, CHUNK))):
        size -= len(data)
        yield data


def _sha256(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for data in pieces:
        digest.update(data)
    return digest.hexdigest()
