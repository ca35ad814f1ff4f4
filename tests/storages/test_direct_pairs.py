"""Direct uploads beside everything else: other applications, stores and columns."""

from __future__ import annotations

import io
import os
import pathlib
import typing as t

import pytest
import requests
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from flask_sqlalchemy import SQLAlchemy

from flask_store import direct
from flask_store import Store
from flask_store.direct import DirectUpload
from flask_store.exceptions import AlreadyConfirmed
from flask_store.exceptions import BadLink
from flask_store.signals import file_saved
from flask_store.sqla import StoredFile
from flask_store.stores.fsspec import FsspecStore
from tests.storages.test_s3 import settings
from tests.support.servers import S3Server
from tests.support.servers import serve


def make_app(path: object, name: str = "shop", **config: t.Any) -> Flask:
    """An application; all of these have one key."""
    app = Flask(name)
    app.config.update(SECRET_KEY="the key", STORE_PATH=str(path), **config)
    Store(app)
    return app


def provider(
    app: Flask, destination: str | None = None, name: str = "store"
) -> FsspecStore:
    """A provider of one of the application's stores."""
    return t.cast("FsspecStore", app.extensions[name].Provider(destination))


def send(client: FlaskClient, form: DirectUpload, data: bytes = b"data") -> int:
    """Send the form to the application."""
    file = {**form.fields, "file": (io.BytesIO(data), "x")}
    return client.post(form.url, data=file).status_code


def presign(app: Flask, destination: str | None = None) -> DirectUpload:
    """A form of an application."""
    with app.app_context():
        form = provider(app, destination).presign_upload("a.txt", max_size=10_000_000)
    return form


def test_token_is_for_one_application_and_one_place(tmp_path: pathlib.Path) -> None:
    """Applications may share a key, and a place or a name."""
    app = make_app(tmp_path / "a")
    form = presign(app)
    assert send(app.test_client(), form) == 204
    others = [make_app(tmp_path / "a", "admin"), make_app(tmp_path / "b")]
    for other in others:
        assert send(other.test_client(), form) == 403
        with other.app_context(), pytest.raises(BadLink):
            provider(other).confirm(form.token)
    with app.app_context():
        assert provider(app).confirm(form.token).read() == b"data"


def test_signed_link_is_for_one_place(tmp_path: pathlib.Path) -> None:
    """The file of that name in another application's store is not shown by it."""
    apps = [
        make_app(tmp_path / name, STORE_SIGNED_URLS=True) for name in ("ours", "theirs")
    ]
    links = []
    for app in apps:
        with app.app_context():
            links.append(provider(app).save(b"x", "a.txt").absolute_url())
    ours, theirs = (app.test_client() for app in apps)
    assert [ours.get(link).status_code for link in links] == [200, 403]
    assert [theirs.get(link).status_code for link in links] == [403, 200]


def test_token_is_for_one_destination(tmp_path: pathlib.Path) -> None:
    """What was allowed for avatars is no contract."""
    app = make_app(tmp_path)
    form = presign(app, "avatars")
    assert send(app.test_client(), form) == 204
    with app.app_context():
        for destination in ("contracts", None, "avatars/big"):
            with pytest.raises(BadLink, match="'avatars'"):
                provider(app, destination).confirm(form.token)
        assert provider(app, "avatars").confirm(form.token).key == form.key


def test_token_is_for_one_of_the_named_stores(tmp_path: pathlib.Path) -> None:
    """Also where both have the same place."""
    app = make_app(tmp_path)
    Store(app, name="other")
    form = presign(app)
    assert send(app.test_client(), form) == 204
    with app.app_context():
        with pytest.raises(BadLink):
            provider(app, name="store.other").confirm(form.token)
        assert provider(app).confirm(form.token).read() == b"data"


@pytest.mark.parametrize("confirmed", [False, True])
def test_used_token_reads_no_body(tmp_path: pathlib.Path, confirmed: bool) -> None:
    """It is refused before a byte of the form has been asked for."""

    class Untouched(io.BytesIO):
        def read(self, *args: t.Any) -> t.NoReturn:
            raise AssertionError("the body is read")

    app = make_app(tmp_path)
    app.testing = True
    form = presign(app)
    assert send(app.test_client(), form) == 204
    if confirmed:
        with app.app_context():
            provider(app).confirm(form.token)
    reply = app.test_client().post(
        form.url,
        content_type="multipart/form-data; boundary=b",
        environ_overrides={"wsgi.input": Untouched(), "CONTENT_LENGTH": "5000000"},
    )
    assert reply.status_code == 403
    assert reply.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("mode", ["auto", "proxy", "redirect"])
def test_storage_that_takes_forms_has_no_route_for_them(
    seaweedfs_server: S3Server, seaweedfs_bucket: str, mode: str
) -> None:
    """What was confirmed is not replaced by way of the application."""
    given = settings(seaweedfs_server, seaweedfs_bucket, STORE_SERVE=mode)
    app = Flask("shop")
    app.config.update(SECRET_KEY="the key", STORE_URL_PREFIX="/files", **given)
    app.config["STORE_PROVIDER"] = "flask_store.stores.s3.S3Store"
    Store(app)
    form = presign(app, "p")
    files = {"file": ("x", b"harmless")}
    assert requests.post(form.url, form.fields, files=files, timeout=10).ok
    with app.app_context():
        f = provider(app, "p").confirm(form.token)
        data = {"file": (io.BytesIO(b"another"), "x")}
        url = f"/files/{form.key}?token={form.token}"
        assert app.test_client().post(url, data=data).status_code in (404, 405)
        files = {"file": ("x", b"another")}
        requests.post(form.url, form.fields, files=files, timeout=10)
        with pytest.raises(AlreadyConfirmed):
            provider(app, "p").confirm(form.token)
        assert f.read() == b"harmless"


@pytest.mark.parametrize("path", ["disk", "memory"])
def test_background_store_takes_it_into_the_storage(
    tmp_path: pathlib.Path, path: str
) -> None:
    """It has arrived when the form is answered, and nothing waits in the spool."""
    place = tmp_path / "files" if path == "disk" else f"memory://{tmp_path.name}/x"
    app = make_app(
        place, STORE_BACKGROUND=True, STORE_SPOOL_PATH=str(tmp_path / "spool")
    )
    form = presign(app, "in")
    assert send(app.test_client(), form) == 204
    with app.app_context():
        f = provider(app, "in").confirm(form.token)
        assert f.upload is None
        assert f.read() == b"data"
        assert provider(app).pending() == []


def test_large_upload_is_named_and_not_copied(tmp_path: pathlib.Path) -> None:
    """A file that was written to the store's disk as it arrived keeps its inode."""
    app = make_app(tmp_path / "files")
    form = presign(app)
    data = os.urandom(3_000_000)
    with serve(app) as site:
        files = {"file": ("x", data)}
        assert requests.post(site + form.url, form.fields, files=files, timeout=10).ok
    (private,) = (tmp_path / "files" / ".flask-store").iterdir()
    inode = private.stat().st_ino
    with app.app_context():
        f = provider(app).confirm(form.token)
        assert f.read() == data
        assert pathlib.Path(f.absolute_path()).stat().st_ino == inode
    assert not private.exists()


def test_receiver_that_raises_undoes_nothing(tmp_path: pathlib.Path) -> None:
    """The upload is confirmed, and the error that says so has the file."""
    app = make_app(tmp_path)
    form = presign(app)
    assert send(app.test_client(), form) == 204

    def scan(sender: Flask, file: t.Any) -> t.NoReturn:
        raise ArithmeticError

    with app.app_context():
        with file_saved.connected_to(scan), pytest.raises(ArithmeticError):
            provider(app).confirm(form.token)
        with pytest.raises(AlreadyConfirmed) as caught:
            provider(app).confirm(form.token)
        assert caught.value.file is not None
        assert caught.value.file.read() == b"data"
    assert send(app.test_client(), form, b"evil") == 403


def test_row_takes_a_confirmed_upload(tmp_path: pathlib.Path) -> None:
    """A rollback leaves it, as the transaction did not make it; its row owns it."""
    app = make_app(tmp_path / "files", SQLALCHEMY_DATABASE_URI="sqlite://")
    db = SQLAlchemy(app)

    class Photo(db.Model):  # type: ignore[name-defined,misc]
        id = db.Column(db.Integer, primary_key=True)
        file = db.Column(StoredFile("photos"))

    form = presign(app, "photos")
    assert send(app.test_client(), form) == 204
    with app.app_context():
        db.create_all()
        f = provider(app, "photos").confirm(form.token)
        db.session.add(Photo(file=f))
        db.session.flush()
        db.session.rollback()
        assert f.read() == b"data"
        db.session.add(Photo(file=f))
        db.session.commit()
        assert db.session.scalars(sa.select(Photo)).one().file.read() == b"data"
        db.session.delete(db.session.scalars(sa.select(Photo)).one())
        db.session.commit()
        assert not f.exists()


def test_server_that_copies_over_what_is_there(
    seaweedfs_server: S3Server, seaweedfs_bucket: str
) -> None:
    """Some servers know the condition for uploads alone. Then the file goes through the
    application, and the key is taken once all the same."""
    app = Flask("shop")
    app.config.update(SECRET_KEY="the key")
    app.config.update(settings(seaweedfs_server, seaweedfs_bucket))
    app.config["STORE_PROVIDER"] = "flask_store.stores.s3.S3Store"
    Store(app)
    with app.app_context():
        store = provider(app, "p")
        dialect = t.cast("t.Any", store.dialect)
        dialect._conditional_copies = False
        form = store.presign_upload("a.json", max_size=10)
        files = {"file": ("x", b"{}")}
        assert requests.post(form.url, form.fields, files=files, timeout=10).ok
        claim = direct.read(store, form.token)
        staged = dialect.info(claim.staged)
        f = store.confirm(form.token)
        assert (f.read(), f.content_type) == (b"{}", "application/json")
        assert requests.post(form.url, form.fields, files=files, timeout=10).ok
        with pytest.raises(FileExistsError):
            dialect.adopt(claim, staged)
