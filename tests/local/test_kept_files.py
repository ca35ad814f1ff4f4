"""Forms that fail: the file of a good field is kept until the form is sent again."""

from __future__ import annotations

import datetime as dt
import gc
import io
import pathlib
import re
import typing as t
import uuid
import warnings

import pytest
from flask import Flask
from flask import jsonify
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.exc import IntegrityError
from werkzeug.datastructures import FileStorage
from werkzeug.datastructures import MultiDict
from wtforms import FieldList
from wtforms import Form
from wtforms import FormField
from wtforms import StringField
from wtforms.validators import InputRequired
from wtforms.widgets import FileInput

from flask_store import current_store
from flask_store import Store
from flask_store.cli import store as group
from flask_store.direct import marks
from flask_store.exceptions import BadLink
from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import StoreUnavailable
from flask_store.http import links
from flask_store.sqla import StoredFile
from flask_store.stores import fsspec as fsspec_store
from flask_store.stores.fsspec import FsspecStore
from flask_store.validators import FileType
from flask_store.validators import keeping
from flask_store.validators import UploadField
from tests.support.kept_files import EMAIL
from tests.support.kept_files import files
from tests.support.kept_files import GONE
from tests.support.kept_files import KeptFiles
from tests.support.kept_files import make_app
from tests.support.kept_files import OptionalForm
from tests.support.kept_files import OTHER
from tests.support.kept_files import PlainForm
from tests.support.kept_files import PNG
from tests.support.kept_files import private
from tests.support.kept_files import sent
from tests.support.kept_files import show
from tests.support.kept_files import Visitor

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from flask_admin import Admin
    from flask_admin.contrib.sqla import ModelView


@pytest.fixture
def app(tmp_path: pathlib.Path) -> t.Iterator[Flask]:
    """An application with a store on the disk."""
    app = make_app(STORE_PATH=str(tmp_path / "uploads"))
    with app.app_context():
        yield app


@pytest.fixture
def store(app: Flask) -> FsspecStore:
    """Its store."""
    return t.cast("FsspecStore", app.extensions["store"].at(None))


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    """Somebody at the form of WTForms."""
    return Visitor(app.test_client(), "/by_wtforms")


class TestDisk(KeptFiles):
    """The promises, on the disk."""


class TestMemory(KeptFiles):
    """The promises, in memory."""

    copies = False

    @pytest.fixture
    def app(self) -> t.Iterator[Flask]:
        """An application with a store in memory."""
        app = make_app(STORE_PATH=f"memory://{uuid.uuid4()}/uploads")
        with app.app_context():
            yield app


# -- the story --------------------------------------------------------------------


def test_good_form_keeps_nothing(visitor: Visitor, store: FsspecStore) -> None:
    """A form that passes at once costs nothing more than before."""
    answer = visitor.send(email="ann@example.org", photo=(PNG, "me.png"))
    assert answer.text == "photos/me.png"
    assert private(store) == []


def test_wrong_file_is_not_kept(visitor: Visitor, store: FsspecStore) -> None:
    """A field with an error of its own asks for another file."""
    visitor.send(email="ann", photo=(b"<script>", "me.png"))
    assert "is not what its extension says" in visitor.page.text
    assert visitor.kept == {} and private(store) == []


def test_form_that_is_not_rendered(app: Flask, store: FsspecStore) -> None:
    """An API that answers with the errors keeps nothing."""

    @app.post("/api")
    def api() -> t.Any:
        form = PlainForm(sent())
        assert not form.validate()
        return jsonify(form.errors), 400

    answer = Visitor(app.test_client(), "/api").send(photo=(PNG, "me.png"))
    assert list(answer.json) == ["email"]
    assert private(store) == []


def test_form_that_was_not_validated(app: Flask, store: FsspecStore) -> None:
    """Nobody knows whether its file is good."""

    @app.post("/preview")
    def preview() -> t.Any:
        return show(PlainForm(sent()))

    visitor = Visitor(app.test_client(), "/preview")
    visitor.send(photo=(PNG, "me.png"))
    assert visitor.kept == {} and private(store) == []


def test_field_without_a_store(app: Flask, store: FsspecStore) -> None:
    """It is what it was."""

    class Old(Form):
        email = StringField(validators=EMAIL)
        photo = UploadField(validators=[FileType(["png"])])

    with app.test_request_context(
        method="POST",
        data={"photo": (io.BytesIO(PNG), "me.png"), "photo-kept": "token"},
    ):
        form = Old(sent())
        assert not form.validate()
        assert str(form.photo()) == '<input id="photo" name="photo" type="file">'
        assert form.photo.kept is None
    assert private(store) == []


def test_validators_read_the_private_file(visitor: Visitor, store: FsspecStore) -> None:
    """What was kept is checked again, and an error of the field ends the story."""
    visitor.send(photo=(PNG, "me.png"))
    (info,) = store.dialect.left()
    path = pathlib.Path(store.dialect.root, ".flask-store", info["name"])
    path.write_bytes(b"<script>" * 10)
    visitor.send(email="a@b")
    assert "is not what its extension says" in visitor.page.text
    assert visitor.kept == {} and files(store) == {}


def test_private_file_that_nobody_closes(app: Flask, store: FsspecStore) -> None:
    """It is closed when the form is gone. Some servers do not remove an open file."""
    claim = keeping.put(store, FileStorage(io.BytesIO(PNG), "me.png"), 60)
    upload = keeping.upload(store, claim, "photo")
    assert upload is not None and upload.read(4) == PNG[:4]
    opened = upload.stream._opened
    del upload
    gc.collect()
    assert opened.closed


# -- what the user does otherwise -------------------------------------------------


def test_another_file_in_place_of_one_that_is_gone(visitor: Visitor) -> None:
    """Nobody needs to hear of the first one then."""
    visitor.send(photo=(PNG, "me.png"))
    answer = visitor.send(
        email="a@b", photo=(OTHER, "you.png"), **{"photo-kept": "garbage"}
    )
    assert answer.text == "photos/you.png"


def test_checkbox_is_cleared(app: Flask, store: FsspecStore) -> None:
    """The form is sent without a file."""
    visitor = Visitor(app.test_client(), "/optional")
    visitor.send(photo=(PNG, "me.png"))
    assert visitor.send(email="a@b", **{"photo-kept": None}).text == "None"
    visitor = Visitor(app.test_client(), "/by_wtforms")
    visitor.send(photo=(PNG, "me.png"))
    visitor.send(email="a@b", **{"photo-kept": None})
    assert "This field is required." in visitor.page.text
    assert files(store) == {}


def test_name_is_escaped(visitor: Visitor) -> None:
    """A name has no HTML, and no characters that reverse the text around it."""
    answer = visitor.send(photo=(PNG, "R&D\u202e'<b onclick=x>.png"))
    assert "<b onclick" not in answer.text and "\u202e" not in answer.text
    assert "<bdi>R&amp;D&#39;_b onclick=x_.png</bdi>" in answer.text
    # That is the name under which the file is stored.
    assert visitor.send(email="a@b").text == "photos/R&D'_b onclick=x_.png"


# -- tokens -----------------------------------------------------------------------


def hostile_tokens(app: Flask, store: FsspecStore, token: str) -> dict[str, str]:
    """Tokens that are good for something else, or for nothing."""
    said = links.read_token(
        store.identity,
        token,
        links.FORM,
        f"{PlainForm.__module__}.{PlainForm.__qualname__} photo",
    )
    other = make_app(STORE_PATH=f"memory://{uuid.uuid4()}", SECRET_KEY="another")
    place = f"{PlainForm.__module__}.{PlainForm.__qualname__} photo"
    with other.app_context():
        foreign_key = links.make_token(store.identity, said, links.FORM, place)
    return {
        "empty": " ",
        "garbage": "garbage",
        "not ASCII": "\u0444\u043e\u0442\u043e",
        "null": "\0",
        "long": "x" * 100_000,
        # Not the last character, some bits of which mean nothing.
        "changed": token[:-9] + ("A" if token[-9] != "A" else "B") + token[-8:],
        "cut": token[:40],
        "foreign form": links.make_token(
            store.identity, said, links.FORM, "module.OtherForm photo"
        ),
        "foreign field": links.make_token(
            store.identity, said, links.FORM, place + "s"
        ),
        "foreign store": links.make_token("elsewhere", said, links.FORM, place),
        "foreign key": foreign_key,
        "direct upload": store.presign_upload("me.png", max_size=1000).token,
        "no purpose": links.make_token(store.identity, said),
    }


def test_hostile_tokens(visitor: Visitor, app: Flask, store: FsspecStore) -> None:
    """None of them gives a file, and the user reads what to do."""
    visitor.send(photo=(PNG, "me.png"))
    page = visitor.page
    (token,) = visitor.kept.values()
    for name, hostile in hostile_tokens(app, store, token).items():
        answer = visitor.send(email="a@b", **{"photo-kept": hostile})
        assert answer.status_code == 422, name
        assert GONE in visitor.page.text, name
        assert visitor.kept == {} and files(store) == {}, name
    visitor.page = page
    assert visitor.send(email="a@b").text == "photos/me.png"


def test_token_that_is_no_text(app: Flask, store: FsspecStore) -> None:
    """JSON may have anything."""
    with app.test_request_context():
        for token in (1, ["x"], {"x": 1}, None, True):
            form = OptionalForm(MultiDict([("email", "a@b"), ("photo-kept", token)]))
            assert form.validate() is (token is None)


def test_token_of_a_form_is_no_direct_upload(
    visitor: Visitor, app: Flask, store: FsspecStore
) -> None:
    """It can be neither confirmed nor sent to the route for uploads."""
    visitor.send(photo=(PNG, "me.png"))
    (token,) = visitor.kept.values()
    with pytest.raises(BadLink):
        store.confirm(token)
    answer = visitor.client.post(
        f"/flaskstore/me.png?token={token}", data={"file": (io.BytesIO(PNG), "me.png")}
    )
    assert answer.status_code == 403
    assert files(store) == {}


def test_expired_token(
    visitor: Visitor, store: FsspecStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an hour the file has to be chosen again."""
    visitor.send(photo=(PNG, "me.png"))
    later = links.time.time() + 3602
    monkeypatch.setattr(links.time, "time", lambda: later)
    visitor.send(email="a@b")
    assert GONE in visitor.page.text and visitor.kept == {}


# -- kills, faults and sweeps -----------------------------------------------------


def test_sweep_of_the_terminal(
    visitor: Visitor, app: Flask, store: FsspecStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``flask store sweep`` removes what was forgotten, a day after its time."""
    visitor.send(photo=(PNG, "me.png"))
    runner = app.test_cli_runner()
    for hours, left in ((0, ["upload"]), (24.9, ["upload"]), (25.1, [])):
        later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=hours)
        monkeypatch.setattr(fsspec_store, "dt", Clock(later))
        result = runner.invoke(group, ["sweep", "--yes"])
        assert result.exit_code == 0, result.output
        assert private(store) == left


class Clock:
    """The module ``datetime`` at another time."""

    UTC = dt.UTC
    timedelta = dt.timedelta

    def __init__(self, now: dt.datetime) -> None:
        self.datetime = self
        self._now = now

    def now(self, zone: t.Any) -> dt.datetime:
        return self._now


def test_storage_that_fails(
    visitor: Visitor,
    store: FsspecStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If the file cannot be kept, the user gets the page all the same."""

    def fail(*args: t.Any) -> t.NoReturn:
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(marks, "put", fail)
    answer = visitor.send(photo=(PNG, "me.png"))
    assert answer.status_code == 422 and "This is no address." in visitor.page.text
    assert visitor.kept == {}
    assert caplog.messages == ["The upload of a form is not kept: no answer"]


def test_upload_that_the_view_has_closed(app: Flask, store: FsspecStore) -> None:
    """It cannot be kept, and the page is shown."""

    @app.post("/closed")
    def closed() -> t.Any:
        form = PlainForm(sent())
        assert not form.validate()
        form.photo.data.close()
        return show(form)

    visitor = Visitor(app.test_client(), "/closed")
    assert visitor.send(photo=(PNG, "me.png")).status_code == 422
    assert visitor.kept == {} and private(store) == []


# -- stores -----------------------------------------------------------------------


def test_named_store(app: Flask, tmp_path: pathlib.Path) -> None:
    """The file is kept in the store of the field, and saved in any other one."""
    app.config["AVATARS_STORE_PATH"] = str(tmp_path / "avatars")
    avatars = Store(app, name="avatars")

    class AvatarForm(Form):
        email = StringField(validators=EMAIL)
        photo = UploadField(store=avatars)

    @app.post("/avatars")
    def view() -> t.Any:
        form = AvatarForm(sent())
        return (
            current_store.save(form.photo.data).key if form.validate() else show(form)
        )

    visitor = Visitor(app.test_client(), "/avatars")
    visitor.send(photo=(PNG, "me.png"))
    assert private(avatars.at(None)) == ["upload"]
    assert private(current_store.at(None)) == []
    assert visitor.send(email="a@b").text == "me.png"
    assert files(current_store.at(None)) == {"me.png": PNG}
    assert private(avatars.at(None)) == ["confirmed"]


def test_store_in_the_background(tmp_path: pathlib.Path) -> None:
    """What is kept is in the storage before the page is shown."""
    app = make_app(
        STORE_PATH=str(tmp_path / "uploads"),
        STORE_BACKGROUND=True,
        STORE_SPOOL_PATH=str(tmp_path / "spool"),
    )

    @app.post("/background")
    def view() -> t.Any:
        form = OptionalForm(sent())
        return show(form) if not form.validate() else store.save(form.photo.data).key

    with app.app_context():
        store = current_store.at(None)
        visitor = Visitor(app.test_client(), "/background")
        visitor.send(photo=(PNG, "me.png"))
        assert private(store) == ["upload"] and store.pending() == []
        key = visitor.send(email="a@b").text
        # The storage has copied it, so that nothing waits.
        assert store.pending() == []
        assert store.read(key) == PNG


def test_large_file_that_streams_to_disk(tmp_path: pathlib.Path) -> None:
    """A file that arrives on the disk of the store is kept as it lies there."""
    app = make_app(STORE_PATH=str(tmp_path / "uploads"), STORE_STREAM_UPLOADS=True)

    class LargeForm(Form):
        email = StringField(validators=EMAIL)
        photo = UploadField(store=current_store)

    @app.post("/large")
    def view() -> t.Any:
        form = LargeForm(sent())
        return (
            current_store.save(form.photo.data).key if form.validate() else show(form)
        )

    data = bytes(range(256)) * 8192
    with app.app_context():
        visitor = Visitor(app.test_client(), "/large")
        visitor.send(photo=(data, "large.bin"))
        assert "large.bin (2.0 MiB)" in visitor.page.text
        assert visitor.send(email="a@b").text == "large.bin"
        assert files(current_store.at(None)) == {"large.bin": data}


def render(**config: t.Any) -> None:
    """Show an empty form."""
    app = make_app(**config)
    app.test_client().get("/by_wtforms")


def test_read_only_store(tmp_path: pathlib.Path) -> None:
    """The first page says that nothing can be kept there."""
    with pytest.raises(NotConfiguredError, match="read-only. Pass a store that takes"):
        render(STORE_PATH="http://127.0.0.1:9/files", STORE_SERVE="off")


def test_no_secret_key(tmp_path: pathlib.Path) -> None:
    """The first page says that the application needs one."""
    with pytest.raises(NotConfiguredError, match="Set SECRET_KEY to a long random"):
        render(STORE_PATH=str(tmp_path / "uploads"), SECRET_KEY=None)


def test_wrong_arguments(app: Flask) -> None:
    """They are errors of the form."""
    for arguments, error in (
        ({"store": "uploads"}, "store is 'uploads', which is no store"),
        ({"store": True}, "store is True, which is no store"),
        (
            {"store": current_store, "widget": FileInput(multiple=True)},
            r"use FieldList\(UploadField\(store=store\)\)",
        ),
        ({"store": current_store, "expires": 0}, "must be a number of seconds"),
    ):

        class Wrong(Form):
            photo = UploadField(**arguments)

        with pytest.raises((TypeError, ValueError), match=error):
            Wrong()


# -- other forms ------------------------------------------------------------------


class Inner(Form):
    """A form in a form."""

    photo = UploadField(validators=[InputRequired()], store=current_store)


class Album(Form):
    """Files with all kinds of names."""

    title = StringField(validators=[InputRequired()])
    photos = FieldList(UploadField(store=current_store), min_entries=2)
    cover = FormField(Inner)
    more = FieldList(FormField(Inner), min_entries=1)


def test_lists_and_forms_in_forms(app: Flask, store: FsspecStore) -> None:
    """Each of several files of a form is kept by itself."""

    @app.post("/album")
    def album() -> t.Any:
        form = Album(sent(), prefix="album")
        if not form.validate():
            return show(form)
        uploads = [
            *(entry.data for entry in form.photos if entry.data),
            form.cover.photo.data,
            *(entry.photo.data for entry in form.more),
        ]
        return jsonify([store.save(upload).key for upload in uploads])

    names = ["album-photos-0", "album-photos-3", "album-cover-photo"]
    names += ["album-more-0-photo"]
    visitor = Visitor(app.test_client(), "/album")
    visitor.send(
        **{name: (PNG + name.encode(), f"{name}.png") for name in names},
        photo=None,
    )
    assert len(visitor.kept) == 4, visitor.page.text
    assert private(store) == ["upload"] * 4
    # The script of a page numbers the entries again when one of them is removed.
    page = visitor.page.values
    (moved,) = (n for n in page if re.fullmatch("album-photos-[13]-kept", n))
    page["album-photos-0-kept"] = page.pop(moved)
    empty = {name: (b"", "") for name in names if not name.endswith("-3")}
    answer = visitor.send(**{"album-title": "Us"}, **empty, photo=None)
    left = [f"{name}.png" for name in names[1:]]
    assert answer.json == left, visitor.page.text
    assert sorted(files(store)) == sorted(left)


def test_two_forms_of_a_page(app: Flask) -> None:
    """A token of one form is not good in the other one."""
    visitor = Visitor(app.test_client(), "/by_wtforms")
    visitor.send(photo=(PNG, "me.png"))
    visitor.address = "/optional"
    visitor.send(email="a@b")
    assert GONE in visitor.page.text


db = SQLAlchemy()


class Person(db.Model):  # type: ignore[name-defined, misc]
    """Somebody with a picture."""

    id = db.Column(db.Integer, primary_key=True)
    email = db.Column(db.String, unique=True)
    photo = db.Column(StoredFile("people"))


@pytest.fixture
def database(app: Flask, tmp_path: pathlib.Path) -> t.Iterator[None]:
    """A table of people, and a form for them."""
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/test.db"
    db.init_app(app)

    @app.post("/people/<int:id>")
    def edit(id: int) -> t.Any:
        person = db.session.get(Person, id) or Person()
        form = OptionalForm(sent(), obj=person)
        if not form.validate():
            return show(form)
        form.populate_obj(person)
        db.session.add(person)
        try:
            db.session.commit()
        except IntegrityError:
            db.session.rollback()
            form.email.errors = [*form.email.errors, "Somebody else has this address."]
            return show(form)
        return str(person.photo)

    admin = Admin(app)
    admin.add_view(PersonView(Person, db, endpoint="people"))
    db.create_all()
    db.session.add(Person(email="ann@x", photo=FileStorage(io.BytesIO(OTHER), "a.png")))
    db.session.commit()
    yield
    db.session.remove()
    db.engine.dispose()


class PersonView(ModelView):  # type: ignore[misc]
    """The page of Flask-Admin."""

    form_overrides: t.ClassVar[t.Any] = {"photo": UploadField}
    form_args: t.ClassVar[t.Any] = {
        "email": {"validators": EMAIL},
        "photo": {"store": current_store},
    }


@pytest.mark.usefixtures("database")
def test_column(app: Flask, store: FsspecStore) -> None:
    """A row gets the file that was kept. An error that the view finds when it writes
    the row keeps the file, too, also one that was kept before."""
    visitor = Visitor(app.test_client(), "/people/0")
    for _ in range(2):
        visitor.send(email="ann@x", photo=(PNG, "me.png"))
        assert "Somebody else" in visitor.page.text and "me.png" in visitor.page.text
    for _ in range(3):
        visitor.send(email="ann@x")
        assert "Somebody else" in visitor.page.text and "me.png" in visitor.page.text
    assert files(store) == {"people/a.png": OTHER}
    assert visitor.send(email="bob@x").text == "people/me.png"
    assert files(store) == {"people/a.png": OTHER, "people/me.png": PNG}
    # An edit form that is sent without a file.
    visitor = Visitor(app.test_client(), "/people/1")
    visitor.send(email="ann")
    assert visitor.kept == {}
    assert visitor.send(email="ann@y").text == "people/a.png"
    visitor.send(email="ann", photo=(PNG, "new.png"))
    assert visitor.send(email="ann@z").text == "people/new.png"
    assert files(store) == {"people/me.png": PNG, "people/new.png": PNG}


@pytest.mark.usefixtures("database")
def test_flask_admin(app: Flask, store: FsspecStore) -> None:
    """Its forms show the file, and take it."""
    visitor = Visitor(app.test_client(), "/admin/people/new/")
    visitor.open()
    visitor.send(email="cat", photo=(PNG, "cat.png"))
    assert "This is no address." in visitor.page.text
    assert re.search(r"cat\.png\s*\(808 B\)", visitor.page.text)
    assert visitor.send(email="cat@x").status_code == 302
    assert files(store) == {"people/a.png": OTHER, "people/cat.png": PNG}
    visitor = Visitor(app.test_client(), "/admin/people/edit/?id=1")
    visitor.open()
    visitor.send(email="ann", photo=(PNG, "ann.png"))
    assert visitor.send(email="ann@x").status_code == 302
    assert files(store) == {"people/ann.png": PNG, "people/cat.png": PNG}
