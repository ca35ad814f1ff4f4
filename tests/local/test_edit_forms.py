"""Forms that edit a row with a file: what they send, and what the row has then."""

from __future__ import annotations

import html
import io
import pathlib
import typing as t
import warnings

import pytest
from flask import Flask
from flask import request
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import FlaskForm
from flask_wtf.file import FileField as FlaskFileField
from sqlalchemy.orm.exc import DetachedInstanceError
from werkzeug.datastructures import CombinedMultiDict
from werkzeug.datastructures import FileStorage
from wtforms import BooleanField
from wtforms import FileField
from wtforms import Form
from wtforms import StringField

from flask_store import Store
from flask_store.exceptions import NoFile
from flask_store.sqla import StoredFile
from flask_store.validators import FileType
from flask_store.validators import UploadField

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from flask_admin import Admin
    from flask_admin.contrib.sqla import ModelView

#: What a message says to those who forgot the enctype.
ENCTYPE = 'enctype="multipart/form-data"'

db = SQLAlchemy()
store = Store()


class Person(db.Model):  # type: ignore[name-defined, misc]
    """Somebody with a picture."""

    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String)
    picture = db.Column(StoredFile("pictures"))


class Badge(db.Model):  # type: ignore[name-defined, misc]
    """What has to have a picture."""

    id = db.Column(db.Integer, primary_key=True)
    picture = db.Column(StoredFile("badges"), nullable=False)


class PlainForm(Form):
    """One of WTForms."""

    name = StringField()
    picture = FileField()
    no_picture = BooleanField()


class CheckedForm(PlainForm):
    """The same, with a validator."""

    picture = FileField(validators=[FileType(["txt"])])


class OwnForm(PlainForm):
    """The same, with the field of this package."""

    picture = UploadField(validators=[FileType(["txt"])])


class FlaskWTForm(FlaskForm):
    """One of Flask-WTF."""

    name = StringField()
    picture = FlaskFileField(validators=[FileType(["txt"])])
    no_picture = BooleanField()


class OwnFlaskWTForm(FlaskForm):
    """The same, with the field of this package."""

    name = StringField()
    picture = UploadField(validators=[FileType(["txt"])])
    no_picture = BooleanField()


def sent() -> t.Any:
    """What the form has sent, for WTForms."""
    return CombinedMultiDict([request.files, request.form])


# Each of these is the part of a view that changes a row. It gives the errors of the
# form.


def by_populate(person: Person) -> t.Any:
    """A form of WTForms, without validators."""
    form = PlainForm(sent(), obj=person)
    form.populate_obj(person)


def by_populate_checked(person: Person) -> t.Any:
    """With one."""
    form = CheckedForm(sent(), obj=person)
    return form.populate_obj(person) if form.validate() else form.errors


def by_populate_own(person: Person) -> t.Any:
    """With the field of this package, and without the object."""
    form = OwnForm(sent())
    return form.populate_obj(person) if form.validate() else form.errors


def by_data(person: Person) -> t.Any:
    """The data of the field are assigned."""
    form = CheckedForm(sent(), obj=person)
    if not form.validate():
        return form.errors
    person.name, person.picture = form.name.data, form.picture.data


def by_flask_wtf(person: Person) -> t.Any:
    """A form of Flask-WTF."""
    form = FlaskWTForm(obj=person)
    return form.populate_obj(person) if form.validate_on_submit() else form.errors


def by_flask_wtf_data(person: Person) -> t.Any:
    """The data of its field are assigned."""
    form = FlaskWTForm(obj=person)
    if not form.validate_on_submit():
        return form.errors
    person.name, person.picture = form.name.data, form.picture.data


def by_flask_wtf_own(person: Person) -> t.Any:
    """With the field of this package, and without the object."""
    form = OwnFlaskWTForm()
    return form.populate_obj(person) if form.validate_on_submit() else form.errors


def by_request(person: Person) -> t.Any:
    """Without a library for forms."""
    person.name, person.picture = request.form["name"], request.files["picture"]


CHANGES = [
    by_populate,
    by_populate_checked,
    by_populate_own,
    by_data,
    by_flask_wtf,
    by_flask_wtf_data,
    by_flask_wtf_own,
    by_request,
]


class PersonView(ModelView):  # type: ignore[misc]
    """The page of Flask-Admin, with a field of WTForms."""

    form_overrides: t.ClassVar[t.Any] = {"picture": FileField}
    form_extra_fields: t.ClassVar[t.Any] = {"no_picture": BooleanField()}

    def on_model_change(self, form: t.Any, model: t.Any, is_created: bool) -> None:
        """Remove the picture, if that is wanted."""
        if form.no_picture.data:
            model.picture = None


class OwnPersonView(PersonView):
    """The same with the field of this package."""

    form_overrides: t.ClassVar[t.Any] = {"picture": UploadField}


VIEWS = {"Flask-Admin": PersonView, "Flask-Admin, own field": OwnPersonView}


@pytest.fixture
def app(tmp_path: pathlib.Path) -> t.Iterator[Flask]:
    """An application with a row that has a file."""
    app = Flask("app")
    app.config.update(
        STORE_PATH=str(tmp_path / "files"),
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path}/test.db",
        SECRET_KEY="k",
        WTF_CSRF_ENABLED=False,
    )
    db.init_app(app)
    store.init_app(app)

    @app.errorhandler(TypeError)
    def refused(error: TypeError) -> tuple[str, int]:
        return str(error), 500

    for change in CHANGES:
        app.add_url_rule(
            f"/{change.__name__}/<int:id>",
            change.__name__,
            changed_by(change),
            methods=["POST"],
        )
    admin = Admin(app)
    for number, view in enumerate(VIEWS.values()):
        admin.add_view(view(Person, db, endpoint=f"view{number}"))
    with app.app_context():
        db.create_all()
        db.session.add(Person(name="ann", picture=upload(b"old", "old.txt")))
        db.session.commit()
        yield app
        db.session.remove()
        db.engine.dispose()


def changed_by(change: t.Callable[[Person], t.Any]) -> t.Callable[..., t.Any]:
    """The view that makes or edits a row."""

    def view(id: int) -> t.Any:
        person = db.session.get(Person, id) or Person()
        errors = change(person)
        if errors:
            return errors, 422
        if request.form.get("no_picture"):
            person.picture = None
        db.session.add(person)
        db.session.commit()
        return ""

    return view


def upload(data: bytes, name: str) -> FileStorage:
    """A file part."""
    return FileStorage(io.BytesIO(data), name)


#: What is sent, and the file that the row has then: a new one, the one that it had, or
#: none. An error says what is wrong, and changes nothing.
SENT: dict[str, tuple[dict[str, t.Any], str]] = {
    "file": ({"picture": (b"new", "new.txt")}, "new"),
    "empty": ({"picture": (b"", "")}, "same"),
    "missing": ({"other": (b"", "")}, "same"),
    "urlencoded": ({"picture": "new.txt"}, "error"),
    "urlencoded, empty": ({"picture": ""}, "same"),
    "clear": ({"picture": (b"", ""), "no_picture": "y"}, "none"),
    "clear, urlencoded": ({"picture": "", "no_picture": "y"}, "none"),
}

#: Flask-WTF takes no notice of text, and Flask answers 400 where a file is missing.
OTHERWISE = {
    ("by_flask_wtf", "urlencoded"): "same",
    ("by_flask_wtf_data", "urlencoded"): "same",
    ("by_request", "missing"): "error",
    ("by_request", "urlencoded"): "error",
    ("by_request", "urlencoded, empty"): "error",
    ("by_request", "clear, urlencoded"): "error",
}


@pytest.mark.parametrize("row", ["new", "edited"])
@pytest.mark.parametrize("what", SENT)
@pytest.mark.parametrize("how", [*(change.__name__ for change in CHANGES), *VIEWS])
def test_form(how: str, what: str, row: str, app: Flask) -> None:
    """An empty field leaves the row as it was, and nothing else removes a file than the
    wish to."""
    fields, expected = SENT[what]
    expected = OTHERWISE.get((how, what), expected)
    data = {
        name: (io.BytesIO(value[0]), value[1]) if isinstance(value, tuple) else value
        for name, value in fields.items()
    }
    if how in VIEWS:
        prefix = f"/admin/view{list(VIEWS).index(how)}"
        address = f"{prefix}/new/" if row == "new" else f"{prefix}/edit/?id=1"
    else:
        address = f"/{how}/{0 if row == 'new' else 1}"
    with app.test_client() as client:
        answer = client.post(address, data={"name": "bob", **data})
        text = html.unescape(answer.text).replace('\\"', '"')
    db.session.rollback()
    db.session.expire_all()
    bob = db.session.execute(db.select(Person).filter_by(name="bob")).scalar()
    files = sorted(f.name for f in store.Provider().ls())
    if expected == "error":
        assert answer.status_code in ((200,) if how in VIEWS else (400, 422, 500))
        if how != "by_request":
            assert "sends only the name of the file" in text and ENCTYPE in text
        assert bob is None and files == ["pictures/old.txt"]
        return
    assert answer.status_code == (302 if how in VIEWS else 200), text
    assert bob is not None
    old = [] if row == "new" else ["pictures/old.txt"]
    then = {"new": ["pictures/new.txt"], "same": old, "none": []}[expected]
    assert [str(bob.picture)] * (bob.picture is not None) == then
    ann = ["pictures/old.txt"] if row == "new" else []
    assert files == sorted({*ann, *then})


def test_own_field_shows_what_the_row_has(app: Flask) -> None:
    """Its data are the stored file, until another one is sent."""
    ann = db.session.get(Person, 1)
    with app.test_request_context(method="POST", data={"name": "ann"}):
        form = OwnFlaskWTForm(obj=ann)
        assert form.validate() and form.picture.data == ann.picture


def test_name_of_a_stored_file_is_no_upload(app: Flask) -> None:
    """A column of text has the name of the file; an edit form without a new file
    passes the validators, and leaves it."""

    class Row:
        name = "ann"
        picture = "pictures/old.txt"

    for cls in (FlaskWTForm, OwnFlaskWTForm):
        with app.test_request_context(
            method="POST", data={"name": "ann", "picture": (io.BytesIO(), "")}
        ):
            row = Row()
            form = cls(obj=row)
            assert form.validate_on_submit(), form.errors
            form.populate_obj(row)
            assert row.picture == "pictures/old.txt"


def test_row_that_is_not_loaded(app: Flask) -> None:
    """What an expired object has, is asked of the database."""
    ann = db.session.get(Person, 1)
    db.session.commit()  # all of its attributes expire
    ann.picture = upload(b"", "")
    assert str(ann.picture) == "pictures/old.txt"
    db.session.commit()
    assert ann.picture.read() == b"old"


def test_row_of_no_session(app: Flask) -> None:
    """Nobody knows what such a row has, so that it cannot stay as it was."""
    ann = db.session.get(Person, 1)
    db.session.commit()
    db.session.expunge(ann)
    with pytest.raises(DetachedInstanceError):
        ann.picture = upload(b"", "")


def test_pending_upload_stays(app: Flask) -> None:
    """An empty field does not take back what was assigned before."""
    bob = Person(name="bob", picture=upload(b"new", "new.txt"))
    bob.picture = upload(b"", "")
    bob.picture = ""
    db.session.add(bob)
    db.session.commit()
    assert str(bob.picture) == "pictures/new.txt"
    bob.picture = None
    bob.picture = upload(b"", "")
    db.session.commit()
    assert bob.picture is None


def test_empty_field_for_a_needed_file(app: Flask) -> None:
    """A new row without the file that it needs is a 400, and an old one keeps its
    own."""
    db.session.add(Badge(picture=upload(b"", "")))
    with pytest.raises(NoFile):
        db.session.commit()
    db.session.rollback()
    badge = Badge(picture=upload(b"x", "a.txt"))
    db.session.add(badge)
    db.session.commit()
    badge.picture = upload(b"", "")
    db.session.commit()
    assert badge.picture.read() == b"x"


def test_upload_without_a_name_is_a_file(app: Flask) -> None:
    """It has content, so that it was chosen; so was a file without content."""
    ann = db.session.get(Person, 1)
    ann.picture = upload(b"content", "")
    db.session.commit()
    assert ann.picture.read() == b"content"
    ann.picture = upload(b"", "nothing.txt")
    db.session.commit()
    assert str(ann.picture) == "pictures/nothing.txt"
    assert ann.picture.read() == b""
