"""A file field for the forms of WTForms, Flask-WTF and Flask-Admin."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence

from werkzeug.datastructures import FileStorage
from wtforms import FileField

from ..uploads import is_chosen
from .checks import NO_UPLOAD


class UploadField(FileField):
    """A file field whose data are an upload, or what the object of the form has.

    A form that was sent without a file changes nothing: ``populate_obj`` leaves the
    attribute as it was. A form without ``enctype="multipart/form-data"`` does not
    validate when a file was chosen.
    """

    def process_formdata(self, valuelist: Sequence[t.Any]) -> None:
        """Take the upload, if there is one.

        :raises ValueError: if the form has only sent the name of a file. WTForms makes
            an error of the field of it.
        """
        for value in valuelist:
            if isinstance(value, FileStorage):
                if is_chosen(value):
                    self.data = value
                    return
            elif value:
                raise ValueError(NO_UPLOAD)

    def populate_obj(self, obj: object, name: str) -> None:
        """Set the attribute, if a file was uploaded."""
        if isinstance(self.data, FileStorage):
            super().populate_obj(obj, name)
