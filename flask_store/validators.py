"""Validators for the file fields of WTForms and Flask-WTF.

Each looks at every file of a field: a form that takes several is not safe when only
one of them was looked at (CVE-2023-31047). They leave the files as they found them,
and leave it to Flask-WTF's ``FileRequired`` whether there has to be one.
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

#: How many bytes from the start of a file are looked at.
HEAD = 8192
#: Signatures of fewer bytes happen to be met in ordinary text.
DISTINCT = 4
#: What is text beside ``text/*``, ``message/*``, ``*+json`` and ``*+xml``.
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
    """What the validators have in common.

    :param message: in place of the validator's own.
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
            # A part that was left empty is no file.
            with suppress(NoFile), open_source(file) as source:
                self.check(file.filename or "", source)

    def check(self, name: str, source: Source) -> None:
        """Look at one upload.

        :raises ValidationError: if it does not pass.
        """
        raise NotImplementedError

    def refuse(self, name: str, problem: str) -> t.NoReturn:
        """:raises ValidationError: always."""
        raise ValidationError(self.message or f"{naming.quoted(name)} {problem}.")


class FileSize(EveryFile):
    """Every file has a size within these limits.

    Where the limit is one for the whole request, set Flask's
    ``MAX_CONTENT_LENGTH`` too: it ends the upload, and this looks at it afterwards.

    :param max_size: in bytes.
    :param min_size: in bytes.
    :param message: in place of ours.
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

    What counts is the name that it would be stored under. A name without an extension
    has none of them.

    :param extensions: with or without their dots, in any case.
    :param message: in place of ours.
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
        """The one of the allowed extensions that a name has.

        :raises ValidationError: if it has another.
        """
        _, extension = naming.split(naming.clean(name).lower())
        for found in (extension, f".{extension.rpartition('.')[2]}"):
            if found in self.extensions:
                return found
        allowed = ", ".join(self.extensions)
        self.refuse(name, f"is not a file of these kinds: {allowed}")


class FileType(FileExtension):
    """Every file has one of these extensions, and begins like a file of that type.

    Text has no signature: it must be readable as Unicode and not begin like something
    else. All that begin alike pass for each other, such as ``.docx`` and ``.zip``.

    :param extensions: with or without their dots, in any case.
    :param message: in place of ours.
    :raises ValueError: for an extension of which no signature is known.
    """

    def __init__(self, extensions: Iterable[str], message: str | None = None) -> None:
        super().__init__(extensions, message)
        known = {row.extension.lower() for row in puremagic.main.magic_header_array}
        types = {_type(extension) for extension in known} - {media_types.UNKNOWN}
        for ext in self.extensions:
            last = f".{ext.rpartition('.')[2]}"
            if not (last in known or _type(last) in types or _is_text(_type(last))):
                raise ValueError(
                    f"No signature of {ext!r} is known, so its content cannot be"
                    " checked. Use FileExtension for it."
                )

    def check(self, name: str, source: Source) -> None:
        """:raises ValidationError: if it is not what it is allowed to be."""
        if not agrees(self.extension_of(name), source.read_at(0, HEAD)):
            self.refuse(name, "is not what its extension says it is")


def agrees(extension: str, head: bytes) -> bool:
    """Whether a file that begins with *head* may be what its extension says.

    :param extension: in lower case, with its dot.
    """
    found = list(_signatures(head))
    kind = _type(extension)
    if _is_text(kind):
        others = {_type(match.extension) for match in found if _is_distinct(match)}
        return _is_unicode(head) and all(
            _is_text(other) for other in others - {media_types.UNKNOWN}
        )
    types = {ALIKE.get(match.mime_type, match.mime_type) for match in found}
    types |= {_type(match.extension) for match in found}
    return extension in {match.extension.lower() for match in found} or (
        kind != media_types.UNKNOWN and kind in types
    )


def _signatures(head: bytes) -> Iterator[t.Any]:
    try:
        matches = puremagic.magic_string(head) if head else []
    except puremagic.PureError:  # it knows none
        return
    # What a file ends with, anybody may append.
    yield from (match for match in matches if match.offset >= 0)


def _is_distinct(match: t.Any) -> bool:
    return match.offset == 0 and len(match.byte_match) >= DISTINCT


def _type(extension: str) -> str:
    kind = media_types.content_type(f"x{extension}")
    return ALIKE.get(kind, kind)


def _is_text(kind: str) -> bool:
    return (
        kind.startswith(("text/", "message/"))
        or kind.endswith(("+json", "+xml"))
        or kind in TEXT
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
