"""Forms that fail, and what they promise on any store."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import html.parser
import io
import re
import threading
import typing as t
import uuid

import pytest
from flask import Flask
from flask import render_template_string
from flask import request
from flask.testing import FlaskClient
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from flask_wtf.file import FileAllowed
from flask_wtf.file import FileRequired
from flask_wtf.file import FileSize as FlaskFileSize
from werkzeug.datastructures import CombinedMultiDict
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse
from wtforms import Form
from wtforms import StringField
from wtforms.validators import Regexp

from flask_store import current_store
from flask_store import Store
from flask_store.files import FileWrapper
from flask_store.stores.fsspec import FsspecStore
from flask_store.validators import FileSize
from flask_store.validators import FileType
from flask_store.validators import keeping
from flask_store.validators import UploadField

PNG = b"\x89PNG\r\n\x1a\n" + b"picture " * 100
OTHER = b"\x89PNG\r\n\x1a\n" + b"another " * 100

#: What a user reads of a token that is not good, and of one that was used.
GONE = "no longer kept for this form. Choose the file again."
USED = "choose the file again"

EMAIL = [Regexp(".+@.+", message="This is no address.")]
CHECKS = [
    FileRequired(),
    FileAllowed(["png"]),
    FlaskFileSize(10_000),
    FileType(["png"]),
    FileSize(10_000, min_size=10),
]

PAGE = """<!doctype html>
<form method="post" enctype="multipart/form-data">
{{ form.csrf_token }}
{% for field in form if field.name != "csrf_token" %}
  {{ field.label }} {{ field }} {{ field.errors | join(" ") }}
{% endfor %}
<button>Send</button>
</form>
"""


class FlaskWTForm(FlaskForm):
    """A form of Flask-WTF, with its CSRF token."""

    email = StringField(validators=EMAIL)
    photo = UploadField("Photo", CHECKS, store=current_store)


class PlainForm(Form):
    """A form of WTForms."""

    email = StringField(validators=EMAIL)
    photo = UploadField("Photo", CHECKS, store=current_store)


class OptionalForm(Form):
    """A form that may be sent without a file."""

    email = StringField(validators=EMAIL)
    photo = UploadField("Photo", store=current_store)


def sent() -> t.Any:
    """What the form has sent, for WTForms."""
    return CombinedMultiDict([request.files, request.form])


def shown(file: FileWrapper) -> str:
    """The key of a file, without the UUID that every name has on some storages."""
    return file.key.removesuffix(file.filename) + file.download_name


def show(form: t.Any) -> ResponseReturnValue:
    """The page with the form and its errors."""
    return render_template_string(PAGE, form=form), 422


def by_flask_wtf() -> ResponseReturnValue:
    """A view with a form of Flask-WTF."""
    form = FlaskWTForm()
    if not form.validate_on_submit():
        return show(form)
    return shown(current_store.save(form.photo.data, folder="photos"))


def by_wtforms() -> ResponseReturnValue:
    """A view with a form of WTForms."""
    form = PlainForm(sent())
    if request.method == "GET" or not form.validate():
        return show(form)
    return shown(current_store.save(form.photo.data, folder="photos"))


def optional() -> ResponseReturnValue:
    """A view with a form that needs no file."""
    form = OptionalForm(sent())
    if not form.validate():
        return show(form)
    return str(form.photo.data and shown(current_store.save(form.photo.data)))


VIEWS = (by_flask_wtf, by_wtforms, optional)


def make_app(**config: t.Any) -> Flask:
    """An application with a store and the views."""
    app = Flask("app")
    app.config.update({"SECRET_KEY": "the key", "TESTING": True, **config})
    Store(app)
    for view in VIEWS:
        app.add_url_rule(f"/{view.__name__}", view_func=view, methods=["GET", "POST"])
    return app


class Inputs(html.parser.HTMLParser):
    """What a browser sends of a page, as it is."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self.text = ""
        self.required: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: t.Any) -> None:
        found = dict(attrs)
        if tag == "input" and found["type"] not in ("file", "submit"):
            if found["type"] != "checkbox" or "checked" in found:
                self.values[found["name"]] = found.get("value") or ""
        if "required" in found:
            self.required.append(found["name"])

    def handle_data(self, data: str) -> None:
        self.text += data


@dataclasses.dataclass
class Visitor:
    """Somebody with a browser at one form."""

    client: FlaskClient
    address: str
    page: Inputs = dataclasses.field(default_factory=lambda: Inputs(""))
    length: int = 0

    @property
    def kept(self) -> dict[str, str]:
        """The tokens that the page has for files, by the names of their inputs."""
        values = self.page.values.items()
        return {name: value for name, value in values if name.endswith("-kept")}

    def open(self) -> TestResponse:
        """Look at the empty form."""
        return self._at(self.client.get(self.address))

    def send(self, **fields: t.Any) -> TestResponse:
        """Send the form as it is on the page, with these fields changed. A pair of
        bytes and a name is a file. Where no file is chosen, a browser sends an empty
        part."""
        empty = {"photo": (b"", "")} if "photo" not in fields else {}
        data = {
            name: (io.BytesIO(value[0]), value[1])
            if isinstance(value, tuple)
            else value
            for name, value in {**self.page.values, **empty, **fields}.items()
            if value is not None
        }
        answer = self.client.post(
            self.address, data=data, content_type="multipart/form-data"
        )
        self.length = answer.request.content_length or 0
        answer.request.input_stream.close()  # which is a file if the form is large
        return self._at(answer)

    def _at(self, answer: TestResponse) -> TestResponse:
        self.page = Inputs(answer.text)
        return answer


def private(store: FsspecStore) -> list[str]:
    """The kinds of the private files, without their UUIDs and dates."""
    names = (info["name"].rpartition("/")[2] for info in store.dialect.left())
    return sorted(name.split(".")[2] for name in names)


def files(store: FsspecStore) -> dict[str, bytes]:
    """What the store shows."""
    return {shown(f): f.read() for f in store.ls()}


class Killed(BaseException):
    """What no handler of errors catches, as a kill."""


def after(right: t.Callable[..., t.Any], *args: t.Any, **kwargs: t.Any) -> t.NoReturn:
    """Kill the process when something is done."""
    right(*args, **kwargs)
    raise Killed


@contextlib.contextmanager
def killed_after(owner: t.Any, name: str) -> t.Iterator[None]:
    """Kill the process after a step."""
    right = getattr(owner, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, lambda *args, **kw: after(right, *args, **kw))
        with pytest.raises(Killed):
            yield


class KeptFiles:
    """What becomes of a file that is kept. A test class on a store defines ``app``."""

    #: Whether the storage copies files by itself.
    copies = True
    #: Whether it creates a file in one step.
    exclusive = True

    @pytest.fixture
    def store(self, app: Flask) -> FsspecStore:
        """The store of the application."""
        return t.cast("FsspecStore", app.extensions["store"].at(None))

    @pytest.mark.parametrize("view", [by_flask_wtf, by_wtforms])
    def test_file_is_uploaded_once(
        self, view: t.Callable[..., t.Any], app: Flask, store: FsspecStore
    ) -> None:
        """The page shows the name and the size of the file, and the next submit has no
        file. Before that nothing is public, and afterwards only a mark is private."""
        visitor = Visitor(app.test_client(), f"/{view.__name__}")
        visitor.open()
        assert visitor.kept == {} and "photo" in visitor.page.required
        answer = visitor.send(email="ann", photo=(PNG, "me.png"))
        assert "This is no address." in visitor.page.text
        assert re.search(r"me\.png\s*\(808 B\)", visitor.page.text)
        assert visitor.page.required == []
        assert files(store) == {} and private(store) == ["upload"]
        assert visitor.length > len(PNG)
        for _ in range(2):
            answer = visitor.send(email="ann")
            assert answer.status_code == 422 and "me.png" in visitor.page.text
            assert files(store) == {} and private(store).count("upload") == 1
        answer = visitor.send(email="ann@example.org")
        assert (answer.status_code, answer.text) == (200, "photos/me.png")
        assert visitor.length < 2500
        assert files(store) == {"photos/me.png": PNG}
        assert {f.content_type for f in store.ls()} == {"image/png"}
        assert set(private(store)) == {"confirmed"}
        store.sweep(dt.timedelta(hours=-2))
        assert private(store) == []
        assert files(store) == {"photos/me.png": PNG}

    def test_upload_like_any_other(self, app: Flask, store: FsspecStore) -> None:
        """The data of the second submit are a FileStorage that can be read, and saved
        on disk and in another store."""
        seen: list[t.Any] = []
        other = FsspecStore.from_url(f"memory://{uuid.uuid4()}")

        @app.post("/look")
        def look() -> t.Any:
            form = PlainForm(sent())
            if not form.validate():
                return show(form)
            assert form.validate()  # a second time
            file = form.photo.data
            assert isinstance(file, FileStorage) and file
            seen.append((file.filename, file.name, file.content_type, file.mimetype))
            assert file.read(4) == PNG[:4] and file.tell() == 4
            file.seek(0)
            assert file.read() == PNG
            copy = io.BytesIO()
            file.seek(0)
            file.save(copy)
            assert copy.getvalue() == PNG
            assert other.save(file).read() == PNG
            assert store.save(file).read() == PNG
            return shown(store.save(file, "second.png"))

        visitor = Visitor(app.test_client(), "/look")
        visitor.send(photo=(PNG, "фото 1.png"))
        assert visitor.send(email="a@b").text == "second.png"
        assert seen == [("фото 1.png", "photo", "image/png", "image/png")]
        assert sorted(files(store)) == ["second.png", "фото 1.png"]

    def test_storage_copies_the_file(
        self, app: Flask, store: FsspecStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The bytes do not come through the application a second time, unless a
        validator reads them."""

        class Unchecked(Form):
            email = StringField(validators=EMAIL)
            photo = UploadField(validators=[FileSize(10_000)], store=current_store)

        @app.post("/unchecked")
        def unchecked() -> t.Any:
            form = Unchecked(sent())
            if not form.validate():
                return show(form)
            return shown(store.save(form.photo.data))

        visitor = Visitor(app.test_client(), "/unchecked")
        visitor.send(photo=(PNG, "me.png"))

        def refuse(self: object) -> t.NoReturn:
            raise AssertionError("the file is read")

        if self.copies:
            monkeypatch.setattr(keeping.PrivateFile, "open", refuse)
        assert visitor.send(email="a@b").text == "me.png"
        assert files(store) == {"me.png": PNG}

    def test_another_file(self, app: Flask, store: FsspecStore) -> None:
        """A file that is chosen in the second submit wins, and the first is gone."""
        visitor = Visitor(app.test_client(), "/by_wtforms")
        visitor.send(photo=(PNG, "me.png"))
        first = visitor.kept
        visitor.send(photo=(OTHER, "you.png"))
        assert "you.png" in visitor.page.text and "me.png" not in visitor.page.text
        assert private(store).count("upload") == 1
        second = visitor.page
        visitor.send(email="a@b", **first)
        assert USED in visitor.page.text and files(store) == {}
        visitor.page = second
        assert visitor.send(email="a@b").text == "photos/you.png"
        assert files(store) == {"photos/you.png": OTHER}

    def test_used_token(self, app: Flask, store: FsspecStore) -> None:
        """It is good once, also for a submit that has failed."""
        visitor = Visitor(app.test_client(), "/by_wtforms")
        visitor.send(photo=(PNG, "me.png"))
        first = visitor.page
        visitor.send()
        second = visitor.page
        assert first.values != second.values
        visitor.page = first
        visitor.send(email="a@b")
        assert USED in visitor.page.text and "me.png" in visitor.page.text
        assert files(store) == {}
        for status in (200, 422):
            visitor.page = second
            assert visitor.send(email="a@b").status_code == status
            assert files(store) == {"photos/me.png": PNG}
        assert USED in visitor.page.text and visitor.kept == {}

    def test_two_submits_at_once(
        self, app: Flask, store: FsspecStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One gets the file, and the other one a page that says why it did not."""
        visitor = Visitor(app.test_client(), "/by_wtforms")
        visitor.send(photo=(PNG, "me.png"))
        both = threading.Barrier(2, timeout=20)
        use = keeping.use

        def wait(*args: t.Any) -> bool:
            both.wait()  # until the other one has seen the file, too
            return use(*args)

        monkeypatch.setattr(keeping, "use", wait)
        others = [
            Visitor(app.test_client(), visitor.address, visitor.page) for _ in "ab"
        ]
        answers: list[TestResponse] = []
        threads = [
            threading.Thread(target=lambda v=v: answers.append(v.send(email="a@b")))
            for v in others
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        statuses = sorted(answer.status_code for answer in answers)
        if self.exclusive:
            assert statuses == [200, 422]
            assert set(private(store)) == {"confirmed"}
        else:  # each may step back for the other
            assert statuses in ([200, 422], [422, 422])
        assert all(
            USED in answer.text for answer in answers if answer.status_code > 200
        )
        assert list(files(store).values()) == [PNG] * statuses.count(200)

    def test_killed(self, app: Flask, store: FsspecStore) -> None:
        """Whatever is left after a kill is private, and sweep removes it. No file is
        open then, which some servers would not remove."""
        visitor = Visitor(app.test_client(), "/by_wtforms")
        with killed_after(keeping, "put"):
            visitor.send(photo=(PNG, "me.png"))
        assert (files(store), private(store)) == ({}, ["upload"])
        for step in ("upload", "use"):
            visitor.send(photo=(PNG, "me.png"))
            with killed_after(keeping, step):
                visitor.send(email="a@b")
            assert files(store) == {}
        visitor.page = Inputs("")
        visitor.send(photo=(PNG, "me.png"))
        with killed_after(FsspecStore, "_save"):
            visitor.send(email="a@b")
        assert files(store) == {"photos/me.png": PNG}
        # A file that was used is not given a second time.
        visitor.send(email="a@b")
        assert USED in visitor.page.text
        assert files(store) == {"photos/me.png": PNG}
        store.sweep(dt.timedelta(hours=-2))
        assert private(store) == []
        assert files(store) == {"photos/me.png": PNG}

    def test_sweep(self, app: Flask, store: FsspecStore) -> None:
        """A file stays while its token is good, and goes when nobody has come back."""
        visitor = Visitor(app.test_client(), "/by_wtforms")
        visitor.send(photo=(PNG, "me.png"))
        assert store.sweep(dt.timedelta(minutes=-30)) == []
        visitor.send()
        assert "me.png" in visitor.page.text
        store.sweep(dt.timedelta(hours=-2))
        assert private(store) == []
        visitor.send(email="a@b")
        assert USED in visitor.page.text and files(store) == {}
