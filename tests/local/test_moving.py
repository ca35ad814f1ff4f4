"""Applications of other packages move to a store: old files, rows and URLs stay.

The old application runs with the real package. The new one is that of the page.
"""

from __future__ import annotations

import io
import os
import pathlib
import typing as t

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from werkzeug.datastructures import FileStorage

from tests.support.documented import documented

PNG = b"\x89PNG\r\n\x1a\n old"
NEW = b"\x89PNG\r\n\x1a\n new"
#: Names as browsers send them.
NAMES = ("me.png", "me.png", "Größe 1.PNG")


def example(page: str, beginning: str) -> dict[str, t.Any]:
    """What the example of a page defines."""
    found: dict[str, t.Any] = {"__name__": "example"}
    code = documented(page, "python", beginning)
    # Without what this module imports from __future__.
    exec(compile(code, page, "exec", dont_inherit=True), found)
    return found


def upload(data: bytes, name: str) -> FileStorage:
    """An upload as a form gives it."""
    return FileStorage(io.BytesIO(data), name)


def rows(engine: sa.Engine) -> list[t.Any]:
    """The table as the database has it."""
    with engine.connect() as connection:
        return list(connection.execute(sa.text("SELECT * FROM photo ORDER BY id")))


def test_flask_uploads(tmp_path: pathlib.Path) -> None:
    """Without a change in the database."""
    import flask_uploads

    folder, database = str(tmp_path / "photos"), f"sqlite:///{tmp_path / 'rows.db'}"
    old = Flask("old")
    old.config.update(
        SQLALCHEMY_DATABASE_URI=database,
        UPLOADED_PHOTOS_DEST=folder,
        UPLOADS_AUTOSERVE=True,
    )
    photos = flask_uploads.UploadSet("photos", flask_uploads.IMAGES)
    flask_uploads.configure_uploads(old, photos)
    old_db = SQLAlchemy(old)

    class Photo(old_db.Model):  # type: ignore[name-defined,misc]
        id = sa.Column(sa.Integer, primary_key=True)
        filename = sa.Column(sa.String(255), nullable=False)

    with old.test_request_context():
        old_db.create_all()
        for name in NAMES:
            saved = photos.save(upload(PNG, name), folder="ann")
            old_db.session.add(Photo(filename=saved))
        old_db.session.commit()
        urls = [photos.url(photo.filename) for photo in Photo.query.order_by("id")]
        schema = sa.inspect(old_db.engine).get_columns("photo")
        before = rows(old_db.engine)
        old_db.engine.dispose()
    assert urls[0] == "http://localhost/_uploads/photos/ann/me.png"
    served = old.test_client().get(urls[0])
    assert served.data == PNG
    served.close()

    page = example("moving_flask_uploads.rst", "class Photo")
    app = page["create_app"](SQLALCHEMY_DATABASE_URI=database, PHOTOS_STORE_PATH=folder)
    db, client = page["db"], app.test_client()
    with app.test_request_context():
        found = db.session.scalars(sa.select(page["Photo"]).order_by("id")).all()
        assert [(p.id, str(p.filename)) for p in found] == before
        whole = [photo.filename.absolute_url(external=True) for photo in found]
        assert whole == urls
        paths = [photo.filename.absolute_path() for photo in found]
        assert paths == [os.path.join(folder, name) for _, name in before]
        with old.app_context():
            assert paths == [photos.path(name) for _, name in before]
        for photo in found:
            assert photo.filename.exists()
    for url in urls:
        assert client.get(url).data == PNG
    for name, count in ((NAMES[0], 4), ("you.png", 5)):
        answer = client.post("/photos", data={"photo": (io.BytesIO(NEW), name)})
        assert client.get(answer.location).data == NEW
        with app.app_context():
            after = rows(db.engine)
        assert after[: len(before)] == before and len(after) == count
    for data, name in ((b"<html>", "me.png"), (PNG, "me.html"), (PNG, "me.svg")):
        answer = client.post("/photos", data={"photo": (io.BytesIO(data), name)})
        assert answer.status_code == 415
    assert client.post("/photos").status_code == 400
    with app.app_context():
        now = sa.inspect(db.engine).get_columns("photo")
        assert [str(c["type"]) for c in now] == [str(c["type"]) for c in schema]
        table = page["Photo"].__table__
        assert str(table.c.filename.type.compile(db.engine.dialect)) == "VARCHAR(255)"
        db.engine.dispose()


@pytest.mark.parametrize("root", ["FS_ROOT", "AVATARS_FS_ROOT", None])
def test_flask_storage(tmp_path: pathlib.Path, root: str | None) -> None:
    """Names and URLs are the same."""
    import flask_storage

    old = Flask("old", instance_path=str(tmp_path))
    folder = tmp_path / "fs" / "avatars"
    if root is not None:
        old.config[root] = str(folder if root.startswith("AVATARS") else folder.parent)
    old.config["FS_PREFIX"] = "/fs"
    avatars = flask_storage.Storage("avatars", flask_storage.IMAGES)
    flask_storage.init_app(old, avatars)
    with old.test_request_context():
        names = [avatars.save(upload(PNG, name), prefix="2026") for name in NAMES[1:]]
        urls = [avatars.url(name, external=True) for name in names]
        paths = [avatars.path(name) for name in names]
        listed = sorted(avatars.list_files())

    page = example("moving_flask_storage.rst", "AVATARS_STORE_PATH")
    app = page["create_app"](AVATARS_STORE_PATH=str(folder))
    store, client = page["avatars"], app.test_client()
    with app.test_request_context():
        assert [store.absolute_url(name, external=True) for name in names] == urls
        assert [store.absolute_path(name) for name in names] == paths
        assert sorted(f.key for f in store.ls()) == listed == sorted(names)
    for url in urls:
        assert client.get(url).data == PNG
    answer = client.post("/avatars", data={"avatar": (io.BytesIO(NEW), "me.png")}).json
    assert client.get(answer["url"]).data == NEW
    with old.test_request_context():
        assert avatars.read(answer["name"]) == NEW
