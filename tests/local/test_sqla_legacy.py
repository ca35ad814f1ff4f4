"""FlaskStoreType, the column of 0.0.4, and both columns in migrations."""

from __future__ import annotations

import datetime as dt
import io
import os
import pathlib
import typing as t

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.autogenerate import produce_migrations
from alembic.autogenerate import render_python_code
from alembic.migration import MigrationContext
from alembic.operations import Operations
from flask import Flask
from flask import jsonify
from flask import request
from flask_sqlalchemy import SQLAlchemy
from werkzeug.datastructures import FileStorage

import flask_store
from flask_store import Store
from flask_store.providers import Provider
from flask_store.providers.temp import TemporaryStore
from flask_store.sqla import FlaskStoreType
from flask_store.sqla import orphans
from flask_store.sqla import render_item
from flask_store.sqla import StoredFile
from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import upload
from tests.local.test_providers import Config
from tests.local.test_providers import config as config
from tests.local.test_providers import local as local
from tests.local.test_providers import s3 as s3

db = SQLAlchemy()


class Recording(db.Model):  # type: ignore[name-defined, misc]
    """A row that may have a file."""

    id = db.Column(db.Integer, primary_key=True)
    file_storage = db.Column(FlaskStoreType(location="audio/"), nullable=True)
    text = db.Column(db.Text)

    def file_url(self) -> str | None:
        """The URL, if there is a file."""
        return self.file_storage.absolute_url if self.file_storage else None


class Photo(db.Model):  # type: ignore[name-defined, misc]
    """A row with a file at the root of the store."""

    id = db.Column(db.Integer, primary_key=True)
    path = db.Column(FlaskStoreType())


@pytest.fixture
def app(config: Config) -> t.Iterator[Flask]:
    """An application of that time, in its context, with an empty database."""
    app = Flask(__name__)
    app.config.update(config, SQLALCHEMY_DATABASE_URI="sqlite://")
    db.init_app(app)
    Store(app)
    with app.app_context():
        db.create_all()
        yield app
        db.session.remove()
        db.engine.dispose()


def stored() -> list[str | None]:
    """The paths that are in the rows."""
    query = sa.text("SELECT file_storage FROM recording ORDER BY id")
    return list(db.session.execute(query).scalars())


def add(value: t.Any) -> Recording:
    """A committed row with this file."""
    recording = Recording(file_storage=value)
    db.session.add(recording)
    db.session.commit()
    return recording


@pytest.mark.lower_bounds
def test_upload_becomes_a_provider(app: Flask) -> None:
    """The file is saved with the row, which keeps its path and gives a provider."""
    recording = add(upload(b"sound", "a.mp3"))
    assert stored() == ["audio/a.mp3"]
    provider = recording.file_storage
    assert isinstance(provider, Provider)
    assert provider.filename == "a.mp3"
    assert provider.relative_path == "audio/a.mp3"
    with provider.open() as file:
        assert file.read() == b"sound"
    again = add(upload(b"other", "a.mp3"))
    assert again.file_storage.filename != "a.mp3"
    assert again.file_storage.exists()


@pytest.mark.parametrize(
    "value", [None, "", TemporaryStore(""), upload(b"", ""), upload(b"", None)]
)
def test_nothing_is_null(app: Flask, value: t.Any) -> None:
    """What is no file is NULL, and NULL is None."""
    recording = add(value)
    assert stored() == [None]
    assert recording.file_storage is None
    assert recording.file_url() is None


def test_empty_text_is_no_file(app: Flask) -> None:
    """A row that another program wrote with '' has no file either."""
    db.session.execute(sa.text("INSERT INTO recording (file_storage) VALUES ('')"))
    assert db.session.scalars(sa.select(Recording)).one().file_storage is None


def test_loaded_value_keeps_its_path(app: Flask) -> None:
    """A provider that was loaded can be written again, to its row or to another,
    and is not saved anew."""
    first = add(upload(b"sound", "a.mp3"))
    assert first.file_storage.exists()
    sa.orm.attributes.flag_modified(first, "file_storage")
    first.text = "changed"
    db.session.commit()
    first.file_storage = first.file_storage
    db.session.commit()
    add(first.file_storage)
    assert stored() == ["audio/a.mp3"] * 2
    store = t.cast(FsspecStore, first.file_storage.store)
    assert [found.name for found in store.ls()] == ["audio/a.mp3"]


def test_providers_can_be_assigned(app: Flask) -> None:
    """One that is saved keeps its place, one that is not is saved, and a temporary
    file is stored like an upload. A path is taken as it is."""
    provider = t.cast(t.Any, flask_store.Provider)
    saved = provider(upload(filename="saved.mp3"), location="elsewhere")
    saved.save()
    for value in (
        saved,
        provider(upload(filename="new.mp3"), location="there"),
        TemporaryStore(upload(filename="temp.mp3")),
        "by/path.mp3",
    ):
        add(value)
    assert stored() == [
        "elsewhere/saved.mp3",
        "there/new.mp3",
        "audio/temp.mp3",
        "by/path.mp3",
    ]
    assert provider("saved.mp3", location="elsewhere").exists()


def test_the_row_says_where_the_file_is(app: Flask) -> None:
    """A row from before the column's location was changed is still right, and so is
    one whose location began with a slash."""
    provider = t.cast(t.Any, flask_store.Provider)(upload(b"x"), location="old/place")
    provider.save()
    for path in ("old/place/a.txt", "/old/place/a.txt"):
        sql = sa.text("INSERT INTO recording (file_storage) VALUES (:path)")
        db.session.execute(sql, {"path": path})
    for recording in db.session.scalars(sa.select(Recording)):
        assert recording.file_storage.relative_path == "old/place/a.txt"
        assert recording.file_storage.exists()
    db.session.execute(sa.text("DELETE FROM recording WHERE id = 1"))
    sweep = orphans(
        provider.store,
        db.session,
        [Recording.file_storage],
        older_than=dt.timedelta(seconds=-60),
    )
    assert list(sweep) == []


def test_queries(app: Flask) -> None:
    """A path, and a provider, find the row."""
    recording = add(upload(b"sound", "a.mp3"))
    for value in ("audio/a.mp3", recording.file_storage):
        query = sa.select(Recording).where(Recording.file_storage == value)
        assert db.session.scalars(query).one() is recording


def test_column_on_a_store_of_today(tmp_path: pathlib.Path) -> None:
    """An application that has dropped STORE_PROVIDER keeps its models as they are."""
    app = Flask(__name__)
    app.config["STORE_PATH"] = str(tmp_path)
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    db.init_app(app)
    Store(app)
    with app.app_context():
        db.create_all()
        recording = add(upload(b"sound", "a.mp3"))
        assert recording.file_url() == "/flaskstore/audio/a.mp3"
        assert (tmp_path / "audio" / "a.mp3").read_bytes() == b"sound"
        db.session.remove()
        db.engine.dispose()


def test_length() -> None:
    """By position, by keyword, and by the keyword of migrations."""
    assert FlaskStoreType().impl.length == 256
    assert FlaskStoreType(128, location="/some/where").impl.length == 128
    assert FlaskStoreType(max_length=64).impl.length == 64
    assert FlaskStoreType(length=32).impl.length == 32


# -- migrations -------------------------------------------------------------------


class Reports(db.Model):  # type: ignore[name-defined, misc]
    """A row with a file as it is done today."""

    id = db.Column(db.Integer, primary_key=True)
    pdf = db.Column(StoredFile("reports"))


def migrated(**options: t.Any) -> tuple[str, list[t.Any]]:
    """Autogenerate a migration, run it, and compare again."""
    with sa.create_engine("sqlite://").connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, **options}
        )
        script = produce_migrations(context, db.metadata)
        imports: set[str] = set()
        code = render_python_code(
            script.upgrade_ops,
            render_item=options.get("render_item"),
            imports=imports,
            migration_context=context,
        )
        lines = code.splitlines()
        source = "\n".join(["def upgrade():", *(f"    {line}" for line in lines)])
        names = {"sa": sa, "op": Operations(context)}
        exec("\n".join(["import flask_store.sqla", *imports, source]), names)
        t.cast(t.Any, names["upgrade"])()
        found = code, compare_metadata(context, db.metadata)
    connection.engine.dispose()
    return found


def test_migration_with_the_types() -> None:
    """Alembic names the types as they are imported, with an argument that they take;
    the next run finds nothing to change."""
    code, changes = migrated()
    assert "flask_store.sqla.FlaskStoreType(length=256)" in code
    assert "flask_store.sqla.StoredFile(length=1024)" in code
    assert changes == []


def test_migration_without_the_types() -> None:
    """With render_item, a migration needs nothing but SQLAlchemy."""
    code, changes = migrated(render_item=render_item)
    assert "flask_store" not in code
    assert "sa.Column('file_storage', sa.Unicode(length=256)" in code
    assert "sa.Column('pdf', sa.String(length=1024)" in code
    assert changes == []


# -- replays ----------------------------------------------------------------------


def test_replay_recordings(app: Flask) -> None:
    """A new recording has a file whose name the view makes up, or a dummy; older
    ones without a file get a dummy too (as call-power does)."""

    @app.post("/upload")
    def record() -> t.Any:
        recording = Recording()
        file_storage = request.files.get("file_storage")
        if file_storage:
            file_storage.filename = f"campaign_1_msg_{len(stored()) + 1}.mp3"
            recording.file_storage = file_storage
            recording.text = ""
        else:
            recording.file_storage = TemporaryStore("")
            recording.text = request.form["text"]
        db.session.add(recording)
        with db.session.no_autoflush:
            others = db.session.scalars(sa.select(Recording)).all()
        for other in others:
            empty = other.file_storage is None
            if empty or type(other.file_storage) is TemporaryStore:
                other.file_storage = TemporaryStore("")
            db.session.add(other)
        db.session.commit()
        return jsonify(url=recording.file_url(), text=recording.text)

    client = app.test_client()
    answer = client.post("/upload", data={"text": "Hello"}).json
    assert answer == {"url": None, "text": "Hello"}
    for number in (2, 3):
        data = {"file_storage": (io.BytesIO(b"sound"), "../blob")}
        answer = client.post("/upload", data=data).json
        assert answer["url"].endswith(f"/audio/campaign_1_msg_{number}.mp3")
    client.post("/upload", data={"text": "Bye"})
    assert stored() == [
        None,
        "audio/campaign_1_msg_2.mp3",
        "audio/campaign_1_msg_3.mp3",
        None,
    ]


def test_replay_photos(
    app: Flask, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture is written to the working directory and saved from that file, which
    is still open; a view lists the absolute URLs (as OurHouse does)."""
    monkeypatch.chdir(tmp_path)
    urls = []
    for _ in range(2):
        with open("house_7.png", "w+b") as file:
            file.write(b"picture")
            picture = FileStorage(file)
            photo = Photo(path=picture)
            db.session.add(photo)
            db.session.commit()
            picture.save("test1.png")
            picture.close()
        urls.append(photo.path.absolute_url)
        with photo.path.open() as found:
            assert found.read() == b"picture"
    photos = db.session.scalars(sa.select(Photo).order_by(Photo.id)).all()
    assert [photo.path.absolute_url for photo in photos] == urls
    assert len(set(urls)) == 2
    domain = app.config.get("STORE_DOMAIN") or "/uploads/"
    assert urls[0] == f"{domain}house_7.png"
    assert os.path.exists("test1.png")
