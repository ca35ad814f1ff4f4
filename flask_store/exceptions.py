"""The errors of Flask-Store.

::

    StoreError
    ├── NotConfiguredError (RuntimeError)        a STORE_ setting is missing or wrong
    ├── FileNotFound (FileNotFoundError)         no stored file has that name
    ├── FileExists (FileExistsError)             the name is taken, on_conflict="error"
    ├── StoreDenied (PermissionError)            the storage refuses these credentials
    ├── StoreUnavailable (ConnectionError, TimeoutError)   no answer, or too late
    ├── StoreFull (OSError)                      no space or no quota left
    ├── VersionGone                              the file was replaced while it was read
    └── ClientError (HTTPException)              the client sent what cannot be stored
        ├── NoFile (400)                         no file, or a file part without a name
        ├── InvalidName (ValueError, 400)        a name that cannot be used
        ├── InvalidProperty (ValueError, 400)    metadata that cannot be kept
        ├── BadLink (403)                        a link or token that is not good here
        │   └── AlreadyConfirmed                 an upload that was confirmed before
        ├── NoLength (411)                       a body of which nobody knows the end
        ├── TooLarge (413)                       more bytes than were agreed
        ├── WrongType (415)                      another media type than was agreed
        └── BadPicture (422)                     no picture, a broken or a huge one

Each one is also the builtin that people already catch. A :exc:`ClientError` is a
Werkzeug HTTP exception, so a view need not catch it: Flask answers with its code.
"""

from __future__ import annotations

import errno
import types
import typing as t

from werkzeug.exceptions import HTTPException

from . import secrecy


class StoreError(Exception):
    """Anything that goes wrong in a store.

    :param message: what happened and what to do about it. Addresses in it lose their
        logins and queries.
    :param key: the name of the file concerned, if there is one.
    """

    #: The name of the file concerned, or ``None``.
    key: str | None = None
    #: Of the deletion of many files: why some are still there, by their keys.
    errors: t.Mapping[str, StoreError] = types.MappingProxyType({})

    def __init__(self, message: str = "", key: str | None = None) -> None:
        super().__init__(secrecy.without_logins(message))
        self.key = key


class NotConfiguredError(StoreError, RuntimeError):
    """A setting that the store needs is missing, unknown or contradictory."""


class FileNotFound(StoreError, FileNotFoundError):
    """No stored file has this name."""


class FileExists(StoreError, FileExistsError):
    """The name is taken, and ``on_conflict="error"`` was asked for."""


class StoreDenied(StoreError, PermissionError):
    """The storage was reached and refuses the operation or the credentials."""


class StoreUnavailable(StoreError, ConnectionError, TimeoutError):
    """The storage cannot be reached, or did not answer in time."""


class StoreFull(StoreError, OSError):
    """The storage has no space, or no quota, left. Nothing was stored."""

    def __init__(self, message: str = "", key: str | None = None) -> None:
        super().__init__(message, key)
        self.errno = errno.ENOSPC


class VersionGone(StoreError):
    """The file was replaced between looking at it and reading it."""


class ClientError(StoreError, HTTPException):
    """The client sent something that cannot be stored; Flask answers with
    :attr:`code`."""

    #: The HTTP status.
    code: int = 400

    def __init__(self, message: str = "", key: str | None = None) -> None:
        HTTPException.__init__(self, description=message)
        self.key = key

    def __str__(self) -> str:
        return self.description or self.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.description!r})"


class NoFile(ClientError):
    """There is no file to save: the form had no such field, or it was left empty."""


class InvalidName(ClientError, ValueError):
    """A file name, key or destination that no store accepts."""


class InvalidProperty(ClientError, ValueError):
    """Metadata, or a ``Cache-Control``, that the storage cannot keep with a file."""


class BadLink(ClientError):
    """A signed link or an upload's token that is not good here, or no longer."""

    code = 403


class AlreadyConfirmed(BadLink):
    """A direct upload that was confirmed before.

    :param file: the stored file, a :class:`~flask_store.files.FileWrapper`, as the
        first ``confirm()`` returned it. The process that confirmed it may have been
        killed before it could do anything with the file.
    """

    file: t.Any

    def __init__(
        self,
        message: str = "",
        key: str | None = None,
        file: object = None,
    ) -> None:
        super().__init__(message, key)
        if file is not None:  # pickle passes the message only, and sets it afterwards
            self.file = file


class WrongOffset(ClientError):
    """A resumable upload has more bytes than the client knows of, or fewer."""

    code = 409


class WrongChecksum(ClientError):
    """Other bytes have arrived than were sent, as their checksum says. The status is
    that of tus 1.0.0, section "Checksum"."""

    code = 460


class NoLength(ClientError):
    """A request whose body has no announced length, where that is needed."""

    code = 411


class TooLarge(ClientError):
    """An upload of more bytes than were agreed."""

    code = 413


class WrongType(ClientError):
    """An upload of another media type than was agreed, or with a type that is none."""

    code = 415


class BadPicture(ClientError):
    """A file of which no variant can be made: it is no picture, is broken, or is larger
    than ``STORE_IMAGE_MAX_PIXELS`` or ``STORE_IMAGE_MAX_SIZE`` allow. Or a picture
    whose metadata cannot be removed, because it is broken."""

    code = 422
