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
from ..uploads.disk import sync_folder

logger = logging.getLogger(__name__)

#: The bytes that a journal may have. A cause is cut to leave room for the rest.
LARGEST = 64 * 1024
LONGEST_CAUSE = 2000
#: Errors that say something of this process and nothing of the file.
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)

#: The journals and files that the log has named already.
_told: set[str] = set()


class BadJournal(ValueError):
    """A journal from which no upload can be made. It is left alone."""


@dataclass
class Entry:
    """One journal.

    :param key: the file's final name in its store.
    :param size: in bytes.
    :param saved: when it was accepted, as a POSIX timestamp.
    :param attempts: how often it was tried in vain.
    :param cause: what the last attempt raised.
    :param parked: whether trying again is pointless until somebody acts.
    :param token: what the storage keeps beside the file, where it can: the same for
        every try of this upload, and for no other upload.
    :param tried: whether a try was broken off that may have reached the storage.
    :param deleted: whether the file was deleted, and only what a try may have stored
        is still to be removed.
    :param digest: of the bytes that are deleted, by SHA-256, in hexadecimal digits.
    :param blocks: the bytes that it takes on the disk, as the quota counts them.
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


#: The types of JSON that each kind of field may have.
KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str | None": (str, type(None)),
}


def parse(text: bytes, name: str) -> Entry:
    """The entry that a journal describes. Fields of a later version are passed over.

    :param name: the name that the files of the upload have.
    :raises BadJournal: if it describes none.
    """
    try:
        found = json.loads(text)
        given = {f.name: found[f.name] for f in fields(Entry) if f.name in found}
        entry = Entry(**given)
        for field in fields(Entry):
            value = getattr(entry, field.name)
            # In Python, a bool is an int too.
            kinds, is_flag = KINDS[str(field.type)], isinstance(value, bool)
            if not isinstance(value, kinds) or (is_flag and bool not in kinds):
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
    """Where the files of one upload are.

    :param box: the folder.
    :param name: see :func:`name_of`.
    """

    def __init__(self, box: str, name: str) -> None:
        self.box = box
        self.name = name
        stem = os.path.join(box, name)
        self.journal = f"{stem}.json"
        self.data = f"{stem}.data"
        #: Locked by whoever works on the upload, and there only as long.
        self.lock = f"{stem}.lock"
        #: There while somebody wants a running upload to stop.
        self.stop = f"{stem}.stop"

    def read(self) -> Entry:
        """What the journal says.

        :raises FileNotFoundError: if the upload is gone meanwhile.
        :raises BadJournal: if it says nothing that can be used.
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
        """What the journal says; ``None`` if that is nothing. The log names a journal
        that cannot be read, once."""
        try:
            return self.read()
        except FileNotFoundError:
            return None
        except BadJournal as exc:
            pass_over(self.journal, exc)
            return None

    def open(self) -> t.BinaryIO:
        """The bytes.

        :raises FileNotFoundError: if the upload is gone meanwhile.
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
        sync_folder(self.box)

    def remove(self) -> None:
        """Forget the upload: it is stored, or not wanted any more."""
        # In this order: bytes without a journal are rubbish, and not the reverse.
        for path in (self.journal, self.data, self.stop):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def ask_to_stop(self) -> None:
        """Let a running upload stop as soon as it reads on."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        with contextlib.suppress(OSError):  # then its end is waited for
            os.close(os.open(self.stop, flags, 0o600))

    def do_not_ask(self) -> None:
        """Take :meth:`ask_to_stop` back."""
        with contextlib.suppress(OSError):
            os.unlink(self.stop)

    def is_asked_to_stop(self) -> bool:
        """Whether somebody waits for a running upload to stop."""
        return os.path.exists(self.stop)


def name_of(key: str) -> str:
    """The name of an upload's files; a key may be longer than a file name."""
    return hashlib.sha256(key.encode()).hexdigest()[:40]


def pass_over(path: str, exc: Exception) -> None:
    """Say once that a file of the spool is left alone, and why.

    :raises OSError: if the file cannot be blamed for it.
    """
    if isinstance(exc, OSError) and exc.errno in EXHAUSTED:
        raise exc
    if path not in _told:
        _told.add(path)
        logger.error("%s cannot be used and is left alone: %s", path, exc)


def _open(path: str) -> t.BinaryIO:
    """A plain file of the spool; not what a link leads to, and no pipe."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    number = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(errno.EINVAL, "it is no plain file", path)
    return open(number, "rb")
