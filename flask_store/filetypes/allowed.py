"""Whether a file has one of a list of extensions, and a content that agrees."""

from __future__ import annotations

import functools
import typing as t
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import contextmanager

from fsspec.callbacks import DEFAULT_CALLBACK as NO_CALLBACK

from .. import naming
from ..exceptions import WrongType
from ..uploads.source import Source
from . import documents
from .contents import agrees
from .contents import HEAD
from .contents import is_known


class Extensions:
    """A list of extensions.

    :param extensions: with or without their dots, in any case.
    :raises TypeError: if they are one text.
    :raises ValueError: if there are none.
    """

    def __init__(self, extensions: Iterable[str]) -> None:
        if isinstance(extensions, str):
            raise TypeError("Pass a list of extensions, such as ['jpg', 'png'].")
        #: Each with its dot, in lower case.
        self.all: list[str] = [f".{ext.lower().lstrip('.')}" for ext in extensions]
        if not self.all:
            raise ValueError("No file would pass. Pass the extensions that may.")

    def of(self, name: str) -> str | None:
        """The one that a file has, or ``None``. A file may have two, such as
        ``.tar.gz``, and either of them may be in the list."""
        _, extension = naming.split(naming.clean(name).lower())
        for candidate in (extension, f".{extension.rpartition('.')[2]}"):
            if candidate in self.all:
                return candidate
        return None

    def __str__(self) -> str:
        return ", ".join(self.all)


def can_be_checked(extension: str) -> bool:
    """Whether the content of a file can be checked against an extension.

    :raises NotConfiguredError: if puremagic is not installed.
    """
    return is_known(_last(extension))


def is_what_it_says(extension: str, source: Source) -> bool:
    """Whether the content of a file agrees with its extension.

    :param extension: one that :func:`can_be_checked`.
    :param source: an upload that can be read from any position.
    """
    extension = _last(extension)
    if extension in documents.KNOWN:
        return documents.is_document(extension, source)
    return agrees(extension, source.read_at(0, HEAD))


def _last(extension: str) -> str:
    return f".{extension.rpartition('.')[2]}"


class Allowed:
    """The files that a store takes.

    :param extensions: as for :class:`Extensions`. Of an extension without a known
        signature, such as ``.go``, the name is all that is checked.
    :raises NotConfiguredError: if puremagic is not installed.
    """

    def __init__(self, extensions: Iterable[str]) -> None:
        self.extensions = Extensions(extensions)
        self._checked = set(filter(can_be_checked, self.extensions.all))

    def check_name(self, key: str) -> str:
        """The extension of a file that is allowed.

        :raises WrongType: if the file has another one.
        """
        extension = self.extensions.of(key.rpartition("/")[2])
        if extension is None:
            raise WrongType(
                f"{naming.quoted(key)} is not stored, because it is not a file of these"
                f" kinds: {self.extensions}.",
                key,
            )
        return extension

    def check(self, key: str, source: Source) -> None:
        """Check the name and the content.

        :param source: an upload that can be read from any position.
        :raises WrongType: if the file is none that is allowed.
        """
        extension = self.check_name(key)
        if extension in self._checked and not is_what_it_says(extension, source):
            raise WrongType(
                f"{naming.quoted(key)} is not stored, because its content is not what"
                " its extension says.",
                key,
            )

    @contextmanager
    def checked(
        self, source: Source, key: str, spool: Callable[[], t.IO[bytes]]
    ) -> Iterator[Source]:
        """An upload that has passed, or a copy of one that can be read only once.

        :param spool: makes an empty file for the copy.
        :raises WrongType: if it is none that is allowed.
        """
        self.check_name(key)  # before a copy is made
        with source.rewindable(any_thread=False, spool=spool) as upload:
            # A look into the file is no progress.
            callback, upload.callback = upload.callback, NO_CALLBACK
            self.check(key, upload)
            upload.callback = callback
            yield upload


def allowed(extensions: Iterable[str]) -> Allowed:
    """The files of a list. See :class:`Allowed`."""
    # The signatures of all types are gone through once for each list.
    return _allowed(extensions if isinstance(extensions, str) else tuple(extensions))


@functools.lru_cache
def _allowed(extensions: tuple[str, ...] | str) -> Allowed:
    return Allowed(extensions)
