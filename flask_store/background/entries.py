"""The files of one upload in the spool: its bytes, its journal and its lock."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import hashlib
import json
import logging
import os
import stat
import typing as t
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import fields

from .. import naming
from ..concurrency.greenlets import offload
from ..uploads.disk import sync_name

logger = logging.getLogger(__name__)

#: The most bytes that a journal may have, and the most characters of its cause.
LARGEST = 64 * 1024
LONGEST_CAUSE = 2000
#: Errors that are about this process and not about the file.
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)

#: The journals and files that the log has already named.
_logged: set[str] = set()


class BadJournal(ValueError):
    """A journal that does not describe an upload. Its files are left alone."""


@dataclass
class Entry:
    """One journal.

    :param key: the file's final name in its store.
    :param size: in bytes.
    :param saved: when ``save`` accepted it, as a POSIX timestamp.
    :param attempts: how many attempts failed.
    :param cause: the error of the last attempt.
    :param parked: whether it cannot succeed before a person changes something.
    :param token: what the storage keeps in the file's metadata, if it can. It is the
        same for every try of this upload, and differs from that of any other upload.
    :param tried: whether a try was stopped that may have reached the storage.
    :param deleted: whether the file was deleted. A worker then removes what a try may
        have stored.
    :param digest: the SHA-256 of the deleted bytes, in hexadecimal digits.
    :param blocks: how many bytes it takes on the disk, as the quota counts them.
    """

    key: str
    size: int
    content_type: str
    saved: float
    attempts: int = 0
    cause: str | None = None
    parked: bool = False
    token: str | None = None
    tried: bool = False
    deleted: bool = False
    digest: str | None = None
    blocks: int = 0


#: The Python types that a field may have, by its annotation.
TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str | None": (str, type(None)),
}


def parse(text: bytes, name: str) -> Entry:
    """The entry that a journal describes. Fields of later versions are ignored.

    :param name: the common name of the upload's files.
    :raises BadJournal: if it does not describe an upload.
    """
    try:
        record = json.loads(text)
        known_fields = {
            f.name: record[f.name] for f in fields(Entry) if f.name in record
        }
        entry = Entry(**known_fields)
        for field in fields(Entry):
            value = getattr(entry, field.name)
            # In Python, a bool is an int too.
            types, is_flag = TYPES[str(field.type)], isinstance(value, bool)
            if not isinstance(value, types) or (is_flag and bool not in types):
                raise TypeError(f"{field.name} is {type(value).__name__}")
        naming.check(entry.key)
        if name_of(entry.key) != name:
            raise ValueError("it belongs to another file")
        dt.datetime.fromtimestamp(entry.saved, dt.UTC)
        if min(entry.size, entry.attempts, entry.blocks) < 0:
            raise ValueError("a number is negative")
        if not entry.content_type.isprintable():
            raise ValueError("the content type is not one line")
    except (ValueError, TypeError, OverflowError, OSError, RecursionError) as exc:
        raise BadJournal(str(exc)) from exc
    return entry


class Files:
    """The paths of the files of one upload, and what is done with these files.

    :param box: the folder.
    :param name: see :func:`name_of`.
    """

    def __init__(self, box: str, name: str) -> None:
        self.box = box
        self.name = name
        stem = os.path.join(box, name)
        self.journal = f"{stem}.json"
        self.data = f"{stem}.data"
        #: The worker or the write that has the upload locks this file, and removes it.
        self.lock = f"{stem}.lock"
        #: Exists while a write waits for a running upload to stop.
        self.stop = f"{stem}.stop"

    def read(self) -> Entry:
        """The entry in the journal.

        :raises FileNotFoundError: if the upload has ended meanwhile.
        :raises BadJournal: if the journal cannot be used.
        """
        try:
            with _open(self.journal) as file:
                text = file.read(LARGEST + 1)
        except FileNotFoundError:
            raise
        except OSError as exc:
            if exc.errno in EXHAUSTED:
                raise
            raise BadJournal(str(exc)) from exc
        if len(text) > LARGEST:
            raise BadJournal("it is too large")
        return parse(text, self.name)

    def read_or_pass(self) -> Entry | None:
        """The entry in the journal; ``None`` if there is none that can be used. The log
        names a journal that cannot be read, once."""
        try:
            return self.read()
        except FileNotFoundError:
            return None
        except BadJournal as exc:
            pass_over(self.journal, exc)
            return None

    def open(self) -> t.BinaryIO:
        """Open the bytes for reading.

        :raises FileNotFoundError: if the upload has ended meanwhile.
        """
        return _open(self.data)

    def note(self, entry: Entry) -> None:
        """Write the journal anew, in one step and durably."""
        part = f"{self.journal}.part"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        with open(os.open(part, flags, 0o600), "w", encoding="utf-8") as file:
            json.dump(asdict(entry), file)
            file.flush()
            offload(os.fsync, file.fileno())
        os.replace(part, self.journal)
        sync_name(self.journal)

    def remove(self) -> None:
        """Remove the files of the upload, which is stored or no longer wanted."""
        # The journal goes first. If the process is killed in between, the bytes remain
        # without a journal, and the next process removes them.
        for path in (self.journal, self.data, self.stop):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def ask_to_stop(self) -> None:
        """Ask a running upload to stop before it reads the next bytes."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        with contextlib.suppress(
            OSError
        ):  # the caller then waits for the end of the upload
            os.close(os.open(self.stop, flags, 0o600))

    def do_not_ask(self) -> None:
        """Withdraw :meth:`ask_to_stop`."""
        with contextlib.suppress(OSError):
            os.unlink(self.stop)


def name_of(key: str) -> str:
    """The common name of an upload's files. A key may be too long for a file name."""
    return hashlib.sha256(key.encode()).hexdigest()[:40]


def pass_over(path: str, exc: Exception) -> None:
    """Log once that a file of the spool is left alone, and why.

    :raises OSError: if the error is about this process and not about the file.
    """
    if isinstance(exc, OSError) and exc.errno in EXHAUSTED:
        raise exc
    if path not in _logged:
        _logged.add(path)
        logger.error("%s cannot be used and is left alone: %s", path, exc)


def _open(path: str) -> t.BinaryIO:
    """Open a plain file of the spool. Links are not followed, and pipes are refused."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    number = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(errno.EINVAL, "it is no plain file", path)
    return open(number, "rb")
