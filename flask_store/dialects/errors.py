"""Turns the errors of filesystems into Flask-Store's, which name the settings."""

from __future__ import annotations

import errno
import re
import socket
import sys
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from .. import naming
from ..exceptions import FileExists
from ..exceptions import FileNotFound
from ..exceptions import InvalidName
from ..exceptions import NotConfiguredError
from ..exceptions import StoreDenied
from ..exceptions import StoreError
from ..exceptions import StoreFull
from ..exceptions import StoreUnavailable
from ..exceptions import VersionGone
from .statuses import error_class

#: The errors for a path with no file: nothing, a folder, or a path below a file.
NOT_A_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)

TOO_MANY_FILES = (
    "Too many files are open to get at {}. Close what open() has given, and the files"
    " that were read in parts (f.close()), or raise the limit of the process"
    " (ulimit -n). It is no fault of {}."
)
#: Parts of the names that HTTP clients and SDKs give to the errors of a connection.
_LOST = re.compile(r"Timeout|Connect|Disconnect|Transport|Payload|Incomplete")
#: The built-in errors for what an HTTP status stands for; any other is a plain OSError.
_BUILTINS: dict[type[StoreError], Callable[[str], OSError]] = {
    StoreDenied: PermissionError,
    StoreFull: partial(OSError, errno.ENOSPC),
}

#: Network errors for which Python has no class.
UNREACHABLE = (
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.EHOSTDOWN,
    errno.EPIPE,
    # A mounted disk has lost its server or its driver.
    errno.ENOTCONN,
    errno.ESTALE,
    errno.ENODEV,
)

#: Errors of a disk for which Python has no class, with their messages. The placeholders
#: stand for the key and the settings.
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
    """A response that cannot be used.

    It is cut off, has another length or another part than it should have, or does not
    come from the storage. The message says what is wrong with it. It begins with a
    small letter and has no full stop.
    """


def version_gone(key: str) -> VersionGone:
    """The error for a file that was replaced since the caller looked at it."""
    return VersionGone(f"{naming.quoted(key)} was replaced.", key)


def explained(exc: Exception, key: str | None, settings: str) -> StoreError | None:
    """The :exc:`StoreError` for a built-in error of Python, if there is one.

    :param settings: the settings that the message names.
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
    if isinstance(exc, UnicodeEncodeError):
        return NotConfiguredError(
            f"The encoding {exc.encoding} of file names has no letters for"
            f" {naming.quoted(key)}. Run the application with a locale of UTF-8, such"
            " as LC_ALL=C.UTF-8, or with PYTHONUTF8=1.",
            key,
        )
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
    """The built-in error of Python that corresponds to an error of a library.

    :return: ``None`` if there is none, or if the error is that there is no file.
    """
    if isinstance(exc, OSError) and not _is_lost(exc):
        missing = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
        is_missing = isinstance(exc, NOT_A_FILE) or exc.errno in missing
        return None if is_missing or isinstance(exc, FileExistsError) else exc
    status = status_of(exc)
    if status is not None:
        found = error_class(status)
        if found is FileNotFound:
            return None
        make = NoAnswer if found is StoreUnavailable else _BUILTINS.get(found, OSError)
        return make(f"the status is {status}")
    if any(_LOST.search(cls.__name__) for cls in type(exc).__mro__):
        return ConnectionError(str(exc))
    return None


def status_of(exc: BaseException) -> int | None:
    """The HTTP status behind an error of a library, if it has one."""
    response = getattr(exc, "response", None)
    for status in (
        getattr(exc, "status", None),
        getattr(exc, "status_code", None),
        getattr(response, "status_code", None),
        getattr(response, "status", None),
    ):
        if isinstance(status, int) and 100 <= status < 600:
            return status
    return None


def _is_lost(exc: OSError) -> bool:
    """Whether this is the OSError of an HTTP client, such as requests, for a lost
    connection."""
    builtin = isinstance(exc, ConnectionError | TimeoutError)
    return exc.errno is None and not builtin and bool(_LOST.search(type(exc).__name__))


@contextmanager
def undisguised() -> Iterator[None]:
    """Raise the error behind a FileNotFoundError, if there is another one.

    Some filesystems raise FileNotFoundError for every error, such as fsspec's for HTTP
    when a server answers with 500. The real error is its cause or its context.
    """
    outside = sys.exception()
    try:
        yield
    except NOT_A_FILE as exc:
        hidden: BaseException | None = exc
        visited: set[t.Any] = {None, outside}
        while hidden not in visited:
            visited.add(hidden)
            assert hidden is not None
            error = as_builtin(hidden)
            if error is not None:
                raise error from None
            implied = None if hidden.__suppress_context__ else hidden.__context__
            hidden = hidden.__cause__ or implied
        raise
