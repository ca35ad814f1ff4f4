"""The validators. Each of them checks every file of a field."""

from __future__ import annotations

import functools
import typing as t
from collections.abc import Iterable
from contextlib import suppress

from werkzeug.datastructures import FileStorage
from wtforms import Field
from wtforms import Form
from wtforms import ValidationError

from .. import naming
from ..exceptions import BadPicture
from ..exceptions import NoFile
from ..filetypes.allowed import can_be_checked
from ..filetypes.allowed import Extensions
from ..filetypes.allowed import is_what_it_says
from ..images.size import size_by
from ..uploads import is_pair
from ..uploads import open_source
from ..uploads.source import Source

NO_UPLOAD = (
    'This is no file. The form needs enctype="multipart/form-data"; without that a'
    " browser sends only the name of the file."
)


class EveryFile:
    """The base class of the validators.

    :param message: replaces the validator's own message.
    """

    def __init__(self, message: str | None = None) -> None:
        self.message = message

    def __call__(self, form: Form, field: Field) -> None:
        """:raises ValidationError: naming the first file that does not pass."""
        if field.data is field.object_data:
            return  # the form has sent no file, and the field has what the object has
        data = field.data
        if is_pair(data) or not isinstance(data, list | tuple):
            data = [data]
        for file in data:
            if file is None or file == "":
                continue
            if not isinstance(file, FileStorage) and not is_pair(file):
                raise ValidationError(NO_UPLOAD)
            # An empty part of a form is not a file.
            with suppress(NoFile), open_source(file) as source:
                self.check(source.filename or "", source)

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
    :raises TypeError: if a size is not a number.
    """

    def __init__(
        self, max_size: int, min_size: int = 0, message: str | None = None
    ) -> None:
        for size in (max_size, min_size):
            if not isinstance(size, int):
                raise TypeError(
                    f"{size!r} is not a number of bytes. Pass one, such as"
                    " 5 * 1024 * 1024."
                )
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
    :raises TypeError: if the extensions are one text.
    :raises ValueError: if there are none.
    """

    def __init__(self, extensions: Iterable[str], message: str | None = None) -> None:
        super().__init__(message)
        self._allowed = Extensions(extensions)
        self.extensions: list[str] = self._allowed.all

    def check(self, name: str, source: Source) -> None:
        """:raises ValidationError: if it has another extension."""
        self.extension_of(name)

    def extension_of(self, name: str) -> str:
        """The allowed extension that a name has.

        :raises ValidationError: if the name has another extension.
        """
        extension = self._allowed.of(name)
        if extension is None:
            self.refuse(name, f"is not a file of these kinds: {self._allowed}")
        return extension


class FileType(FileExtension):
    """Every file has one of these extensions, and begins like a file of that type.

    Text has no signature: it must be Unicode, and must not begin like another type. Of
    a document that is an archive, such as ``.docx``, the list of its files is read as
    well. Types that begin alike, such as ``.zip`` and ``.jar``, cannot be told apart.

    :param extensions: with or without their dots, in any case.
    :param message: replaces ours.
    :raises ValueError: for an extension without a known signature.
    """

    def __init__(self, extensions: Iterable[str], message: str | None = None) -> None:
        super().__init__(extensions, message)
        for ext in self.extensions:
            if not can_be_checked(ext):
                raise ValueError(
                    f"No signature of {ext!r} is known, so its content cannot be"
                    " checked. Use FileExtension for it."
                )

    def check(self, name: str, source: Source) -> None:
        """:raises ValidationError: if it has another extension or another type."""
        if not is_what_it_says(self.extension_of(name), source):
            self.refuse(name, "is not what its extension says it is")


class ImageSize(EveryFile):
    """Every file is a picture with a width and a height within these limits.

    The width and the height are those that a browser shows. They are what the header
    of the file states, and nothing is decoded. This needs
    ``pip install 'Flask-Store[images]'``.

    :param max_pixels: width times height.
    :param min_width: in pixels, as the following ones.
    :param min_height: the least height.
    :param max_width: the largest width.
    :param max_height: the largest height.
    :param message: replaces ours.
    :raises TypeError: if a limit is not a whole number.
    :raises ValueError: if a limit is less than 1, or a minimum is over its maximum.
    """

    def __init__(
        self,
        max_pixels: int | None = None,
        min_width: int | None = None,
        min_height: int | None = None,
        max_width: int | None = None,
        max_height: int | None = None,
        message: str | None = None,
    ) -> None:
        for limit in (max_pixels, min_width, min_height, max_width, max_height):
            if limit is not None and (not isinstance(limit, int) or limit is True):
                raise TypeError(
                    f"{limit!r} is not a number of pixels. Pass one, such as 2000."
                )
            if limit is not None and limit < 1:
                raise ValueError(f"{limit!r} pixels are less than any picture has.")
        for least, most in ((min_width, max_width), (min_height, max_height)):
            if least is not None and most is not None and least > most:
                raise ValueError(
                    f"No picture would pass: the minimum {least} is over the maximum"
                    f" {most}."
                )
        super().__init__(message)
        self.max_pixels = max_pixels
        self.min_width, self.min_height = min_width, min_height
        self.max_width, self.max_height = max_width, max_height

    def check(self, name: str, source: Source) -> None:
        """:raises ValidationError: if it is no picture, too large or too small."""
        try:
            width, height = size_by(functools.partial(source.read_at, 0))
        except BadPicture:
            self.refuse(name, "is not a picture of a known kind")
        for has, least, most, word in (
            (width, self.min_width, self.max_width, "wide"),
            (height, self.min_height, self.max_height, "high"),
            (width * height, None, self.max_pixels, "large in all"),
        ):
            if least is not None and has < least:
                self.refuse(name, f"is {has:,} pixels {word}; the least is {least:,}")
            if most is not None and has > most:
                self.refuse(name, f"is {has:,} pixels {word}; the most is {most:,}")
