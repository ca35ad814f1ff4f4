"""Validators for the file fields of WTForms and Flask-WTF.

Each validator checks every file of a field. A form that takes several files is not safe
if only one of them is checked (CVE-2023-31047). The validators do not change the
position of a file. Flask-WTF's ``FileRequired`` checks that there is a file.
"""

from __future__ import annotations

import codecs
import typing as t
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import suppress

import puremagic.main
from werkzeug.datastructures import FileStorage
from wtforms import Field
from wtforms import Form
from wtforms import ValidationError

from . import media_types
from . import naming
from .exceptions import NoFile
from .uploads import open_source
from .uploads.source import Source

#: How many bytes at the start of a file are checked.
HEAD = 8192
#: Shorter signatures, in bytes, also occur in ordinary text.
DISTINCT = 4
#: Types of text other than ``text/*``, ``message/*``, ``*+json`` and ``*+xml``.
TEXT = {
    f"application/{name}"
    for name in ("javascript", "json", "jsonl", "sql", "toml", "xml", "yaml")
}
#: Types whose files begin alike, or that have two names.
ALIKE = {
    "image/heic": "image/heif",
    "audio/mp4": "video/mp4",
    "application/x-matroska": "video/matroska",
}


class EveryFile:
    """The base class of the validators.

    :param message: replaces the validator's own message.
    """

    def __init__(self, message: str | None = None) -> None:
        self.message = message

    def __call__(self, form: Form, field: Field) -> None:
        """:raises ValidationError: naming the first file that does not pass."""
        data = field.data if isinstance(field.data, list | tuple) else [field.data]
        for file in data:
            if file is None or file == "":
                continue
            if not isinstance(file, FileStorage):
                raise ValidationError(
                    "This is no upload. Is the form sent as multipart/form-data?"
                )
            # An empty part of a form is not a file.
            with suppress(NoFile), open_source(file) as source:
                self.check(file.filename or "", source)

    def check(self, name: str, source: Source) -> None:
        """Check one upload.

        :raises ValidationError: if it does not pass.
        """
        raise NotImplementedError

    def refuse(self, name: str, problem: str) -> t.NoReturn:
        """:raises ValidationError: always."""
        raise ValidationError(self.message or f"{naming.quoted(name)} {problem}.")


class FileSize(EveryFile):
    """Every file has a size within these limits.

    Set Flask's ``MAX_CONTENT_LENGTH`` as well, to limit the whole request: it stops the
    upload, while this validator checks the files afterwards.

    :param max_size: in bytes.
    :param min_size: in bytes.
    :param message: replaces ours.
    """

    def __init__(
        self, max_size: int, min_size: int = 0, message: str | None = None
    ) -> None:
        super().__init__(message)
        self.max_size = max_size
        self.min_size = min_size

    def check(self, name: str, source: Source) -> None:
        """:raises ValidationError: if it is too large or too small."""
        if source.size > self.max_size:
            self.refuse(name, f"is larger than {self.max_size:,} bytes")
        if source.size < self.min_size:
            self.refuse(name, f"is smaller than {self.min_size:,} bytes")


class FileExtension(EveryFile):
    """Every file has one of these extensions.

    This checks the name under which the file would be stored. A name without an
    extension does not pass.

    :param extensions: with or without their dots, in any case.
    :param message: replaces ours.
    """

    def __init__(self, extensions: Iterable[str], message: str | None = None) -> None:
        if isinstance(extensions, str):
            raise TypeError("Pass a list of extensions, such as ['jpg', 'png'].")
        super().__init__(message)
        self.extensions: list[str] = [
            f".{ext.lower().lstrip('.')}" for ext in extensions
        ]

    def check(self, name: str, source: Source) -> None:
        """:raises ValidationError: if it has another extension."""
        self.extension_of(name)

    def extension_of(self, name: str) -> str:
        """The allowed extension that a name has.

        :raises ValidationError: if the name has another extension.
        """
        _, extension = naming.split(naming.clean(name).lower())
        for candidate in (extension, f".{extension.rpartition('.')[2]}"):
            if candidate in self.extensions:
                return candidate
        allowed = ", ".join(self.extensions)
        self.refuse(name, f"is not a file of these kinds: {allowed}")


class FileType(FileExtension):
    """Every file has one of these extensions, and begins like a file of that type.

    Text has no signature: it must be Unicode, and must not begin like another type.
    Types that begin alike, such as ``.docx`` and ``.zip``, cannot be told apart.

    :param extensions: with or without their dots, in any case.
    :param message: replaces ours.
    :raises ValueError: for an extension without a known signature.
    """

    def __init__(self, extensions: Iterable[str], message: str | None = None) -> None:
        super().__init__(extensions, message)
        known_extensions = {
            row.extension.lower() for row in puremagic.main.magic_header_array
        }
        types = {_type(extension) for extension in known_extensions} - {
            media_types.UNKNOWN
        }
        for ext in self.extensions:
            last = f".{ext.rpartition('.')[2]}"
            if not (
                last in known_extensions
                or _type(last) in types
                or _is_text(_type(last))
            ):
                raise ValueError(
                    f"No signature of {ext!r} is known, so its content cannot be"
                    " checked. Use FileExtension for it."
                )

    def check(self, name: str, source: Source) -> None:
        """:raises ValidationError: if it has another extension or another type."""
        if not agrees(self.extension_of(name), source.read_at(0, HEAD)):
            self.refuse(name, "is not what its extension says it is")


def agrees(extension: str, head: bytes) -> bool:
    """Whether a file that begins with *head* may be what its extension says.

    :param extension: in lower case, with its dot.
    """
    matches = list(_signatures(head))
    content_type = _type(extension)
    if _is_text(content_type):
        other_types = {
            _type(match.extension) for match in matches if _is_distinct(match)
        }
        return _is_unicode(head) and all(
            _is_text(other) for other in other_types - {media_types.UNKNOWN}
        )
    types = {ALIKE.get(match.mime_type, match.mime_type) for match in matches}
    types |= {_type(match.extension) for match in matches}
    return extension in {match.extension.lower() for match in matches} or (
        content_type != media_types.UNKNOWN and content_type in types
    )


def _signatures(head: bytes) -> Iterator[t.Any]:
    try:
        matches = puremagic.magic_string(head) if head else []
    except puremagic.PureError:  # there is no known signature
        return
    # Signatures at the end of a file do not count: anybody can append them.
    yield from (match for match in matches if match.offset >= 0)


def _is_distinct(match: t.Any) -> bool:
    return match.offset == 0 and len(match.byte_match) >= DISTINCT


def _type(extension: str) -> str:
    content_type = media_types.content_type(f"x{extension}")
    return ALIKE.get(content_type, content_type)


def _is_text(content_type: str) -> bool:
    return (
        content_type.startswith(("text/", "message/"))
        or content_type.endswith(("+json", "+xml"))
        or content_type in TEXT
    )


def _is_unicode(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):  # what Excel calls "Unicode text"
        encoding = "utf-16"
    elif b"\0" in head:
        return False
    else:
        encoding = "utf-8"
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        # The head of a longer file may end in the middle of a character.
        decoder.decode(head, final=len(head) < HEAD)
    except UnicodeDecodeError:
        return False
    return True
