"""A form of WTForms with the validators, as ``make lint`` has it checked."""

from __future__ import annotations

import typing as t

from flask import Flask
from flask import request
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import CombinedMultiDict
from wtforms import Field
from wtforms import FileField
from wtforms import Form
from wtforms import MultipleFileField
from wtforms import ValidationError

from flask_store import Store
from flask_store.uploads.source import Source
from flask_store.validators import EveryFile
from flask_store.validators import FileExtension
from flask_store.validators import FileSize
from flask_store.validators import FileType
from flask_store.validators import ImageSize
from flask_store.validators import KeptFile
from flask_store.validators import UploadField

app = Flask(__name__)
store = Store(app)


class NotEmpty(EveryFile):
    """A validator of the application's own."""

    def check(self, name: str, source: Source) -> None:
        if not source.read_at(0, 1):
            self.refuse(name, "is empty")


class ReportForm(Form):
    """One file, and several."""

    report = FileField(validators=[FileType(["pdf"]), NotEmpty()])
    photos = MultipleFileField(
        "Photos",
        validators=(FileExtension({"jpg", "png"}), FileSize(5 * 1024**2, min_size=1)),
    )

    picture = UploadField(
        "Picture",
        [FileType(["png"]), ImageSize(20_000_000, min_width=200)],
        store=store,
        expires=600,
    )
    other = UploadField(store=store.at("others"), render_kw={"accept": "image/png"})

    def validate_report(self, field: Field) -> None:
        """A validator as a method, which calls one of ours."""
        try:
            FileSize(1024, message="Too large.")(self, field)
        except ValidationError as exc:
            raise ValidationError("Send less.") from exc


@app.post("/reports")
def reports() -> ResponseReturnValue:
    """The view of the page on forms."""
    sent: CombinedMultiDict[str, t.Any]
    sent = CombinedMultiDict([request.files, request.form])
    form = ReportForm(sent)
    if not form.validate():
        kept: KeptFile | None = form.picture.kept
        return {"errors": form.errors, "kept": kept and kept.name}, 400
    files = [form.report.data, *(form.photos.data or [])]
    saved = [store.save(file, folder="reports") for file in files]
    return [f.absolute_url() for f in saved]


FileSize("5 MB")  # type: ignore[arg-type]
ImageSize(min_width="200")  # type: ignore[arg-type]
FileType(None)  # type: ignore[arg-type]
UploadField(store="uploads")  # type: ignore[arg-type]
