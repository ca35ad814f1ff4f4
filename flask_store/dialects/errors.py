"""What filesystems raise, in the words of the settings."""

from __future__ import annotations

import errno
import re
import socket
import sys
import typing as t
from collections.abc import Iterator
from contextlib import contextmanager

from .. import naming
from ..exceptions import FileExists
from ..exceptions import FileNotFound
from ..exceptions import InvalidName
from ..exceptions import StoreDenied
from ..exceptions import StoreError
from ..exceptions import StoreFull
from ..exceptions import StoreUnavailable
from ..exceptions import VersionGone

#: What a name gives that is no file: nothing, a folder, or something below a file.
NOT_A_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)

TOO_MANY_FILES = (
    "Too many files are open to get at {}. Close what open() has given, or raise the"
    " limit of the process (ulimit -n). It is no fault of {}."
)
#: What HTTP clients and SDKs call the errors of a server that did not answer, or not to
#: the end.
_LOST = re.compile(r"Timeout|Connect|Disconnect|Transport|Payload|Incomplete")
#: Statuses of HTTP that say that there is no such file (RFC 9110, section 15.5).
_NOT_FOUND = (404, 410)

#: Errors of the network for which Python has no class of their own.
UNREACHABLE = (
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.EHOSTDOWN,
    errno.EPIPE,
    # Of a mounted disk whose server, or whose driver, is gone.
    errno.ENOTCONN,
    errno.ESTALE,
    errno.ENODEV,
)

#: What a disk says for which Python has no class of its own; the key and the settings
#: are filled in.
DISK: dict[int | None, tuple[type[StoreError], str]] = {
    errno.EROFS: (
        StoreDenied,
        "{} cannot be changed, because the disk is mounted read-only. Mount it for"
        " writing; a disk that has failed is remounted so, which the system's log"
        " says. Or check {}.",
    ),
    errno.ENAMETOOLONG: (
        InvalidName,
        "{} is too long for the storage, as a whole or in one of its parts. Choose a"
        " shorter name, or fewer folders. See also {}.",
    ),
    errno.EMFILE: (StoreUnavailable, TOO_MANY_FILES),
    errno.ENFILE: (StoreUnavailable, TOO_MANY_FILES),
    errno.EIO: (
        StoreError,
        "The storage failed in the middle of reading or writing {} (an error of input"
        " or output). Check the disk and the system's log, or {}.",
    ),
}


class NoAnswer(ConnectionError):
    """An answer that does not answer what was asked.

    It is cut, has another length or another part than it should have, or comes from
    something else than the storage. The message says what is wrong with it, without
    a capital and a full stop.
    """


def version_gone(key: str) -> VersionGone:
    """The error for a file that is not the version any more that was looked at."""
    return VersionGone(f"{naming.quoted(key)} was replaced.", key)


def explained(exc: Exception, key: str | None, settings: str) -> StoreError | None:
    """The :exc:`StoreError` for an error of Python's own, if it amounts to one.

    :param settings: which settings to look at.
    """
    if isinstance(exc, NOT_A_FILE):
        return FileNotFound(f"There is no file {naming.quoted(key)}.", key)
    if isinstance(exc, OSError) and exc.errno == errno.ELOOP:
        return FileNotFound(
            f"There is no file {naming.quoted(key)}: a symbolic link there leads to"
            " itself. Remove it.",
            key,
        )
    if isinstance(exc, FileExistsError):
        return FileExists(
            f"{naming.quoted(key)} already exists. Pass on_conflict='rename' for"
            " a free name, or on_conflict='overwrite' to replace it.",
            key,
        )
    if isinstance(exc, PermissionError):
        return StoreDenied(
            f"The storage refuses access to {naming.quoted(key)}. Check the"
            f" permissions, and {settings}.",
            key,
        )
    if isinstance(exc, OSError) and exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull("The storage is full. Nothing was stored.", key)
    if isinstance(exc, OSError) and exc.errno in DISK:
        kind, message = DISK[exc.errno]
        return kind(message.format(naming.quoted(key), settings), key)
    if isinstance(exc, NoAnswer):
        return StoreUnavailable(
            f"The storage gives no usable answer for {naming.quoted(key)}: {exc}."
            " Something in between, such as a proxy or a login page, may cut or change"
            f" its answers. Check that, and {settings}.",
            key,
        )
    if isinstance(exc, ConnectionError | TimeoutError | socket.gaierror) or (
        isinstance(exc, OSError) and exc.errno in UNREACHABLE
    ):
        return StoreUnavailable(
            "The storage cannot be reached, or did not answer in time. Check"
            f" that it runs, and {settings}.",
            key,
        )
    return None


def as_builtin(exc: BaseException) -> OSError | None:
    """The error of Python's own that an error of some library amounts to.

    :return: ``None`` if that cannot be told, or if it says that there is no file.
    """
    if isinstance(exc, OSError) and not _is_lost(exc):
        missing = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
        is_missing = isinstance(exc, NOT_A_FILE) or exc.errno in missing
        return None if is_missing or isinstance(exc, FileExistsError) else exc
    status = getattr(exc, "status", None) or getattr(exc, "status_code", None)
    if status is None:
        status = getattr(getattr(exc, "response", None), "status_code", None)
    if isinstance(status, int) and 100 <= status < 600:
        if status in _NOT_FOUND:
            return None
        if status in (401, 403, 407):
            return PermissionError(f"the status is {status}")
        return NoAnswer(f"the status is {status}")
    if any(_LOST.search(kind.__name__) for kind in type(exc).__mro__):
        return ConnectionError(str(exc))
    return None


def _is_lost(exc: OSError) -> bool:
    """Whether an HTTP client calls a lost connection an OSError, as requests does."""
    builtin = isinstance(exc, ConnectionError | TimeoutError)
    return exc.errno is None and not builtin and bool(_LOST.search(type(exc).__name__))


@contextmanager
def undisguised() -> Iterator[None]:
    """Let an error through that a filesystem shows as a missing file.

    Some filesystems raise FileNotFoundError whatever happens, such as fsspec's for
    HTTP when a server answers 500. What happened is the cause or the context of it.
    """
    outside = sys.exception()
    try:
        yield
    except NOT_A_FILE as exc:
        hidden: BaseException | None = exc
        seen: set[t.Any] = {None, outside}
        while hidden not in seen:
            seen.add(hidden)
            assert hidden is not None
            error = as_builtin(hidden)
            if error is not None:
                raise error from None
            implied = None if hidden.__suppress_context__ else hidden.__context__
            hidden = hidden.__cause__ or implied
        raise
