"""``STORE_ON_CONFLICT``: what a store does with a name that is taken."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from sqlalchemy.orm import Session

from flask_store import Store
from flask_store.exceptions import FileExists
from flask_store.exceptions import NotConfiguredError
from flask_store.sqla import FlaskStoreType
from flask_store.sqla import StoredFile
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.local import LocalStore
from flask_store.stores.s3 import S3GeventStore
from flask_store.testing import upload


def made(root: pathlib.Path, on_conflict: str) -> FsspecStore:
    """A store with this default, and one file in it."""
    settings = {"STORE_PATH": str(root), "STORE_ON_CONFLICT": on_conflict}
    store = LocalStore.from_config(settings)
    store.save(b"old", "a.txt")
    store.save(b"other", "b.txt")
    return store


def test_rename_is_the_default(tmp_path: pathlib.Path) -> None:
    """Of a store for which nobody has set anything."""
    store = LocalStore.from_config({"STORE_PATH": str(tmp_path)})
    assert store.on_conflict == "rename"
    assert store.save(b"1", "a.txt") != store.save(b"2", "a.txt")


def test_overwrite(tmp_path: pathlib.Path) -> None:
    """By save(), copy() and move(); an argument counts for more."""
    store = made(tmp_path, "overwrite")
    assert store.save(b"new", "a.txt").key == "a.txt"
    assert store.read("a.txt") == b"new"
    assert store.copy("b.txt", "a.txt").key == "a.txt"
    assert store.read("a.txt") == b"other"
    assert store.save(b"third", "a.txt", on_conflict="rename").key != "a.txt"
    with pytest.raises(FileExists):
        store.save(b"third", "a.txt", on_conflict="error")
    with pytest.raises(FileExists):
        store.put("a.txt", b"third")
    assert store.move("b.txt", "a.txt").key == "a.txt"
    assert store.move("a.txt", "a.txt").read() == b"other"


def test_error(tmp_path: pathlib.Path) -> None:
    """The file that is there stays."""
    store = made(tmp_path, "error")
    for use in (
        lambda: store.save(b"new", "a.txt"),
        lambda: store.copy("b.txt", "a.txt"),
        lambda: store.move("b.txt", "a.txt"),
    ):
        with pytest.raises(FileExists):
            use()
    assert store.read("a.txt") == b"old"
    assert store.save(b"new", "c.txt").key == "c.txt"
    assert store.save(b"new", "a.txt", on_conflict="overwrite").read() == b"new"


def test_storage_that_cannot_tell() -> None:
    """The error of a save names the setting, too."""
    config = {"STORE_PATH": "webhdfs://127.0.0.1:1/a", "STORE_ON_CONFLICT": "error"}
    store = FsspecStore.from_config(config)
    with pytest.raises(NotConfiguredError, match="STORE_ON_CONFLICT"):
        store.save(b"data", "a.txt")


def test_each_store_has_its_own(tmp_path: pathlib.Path) -> None:
    """A store with a name has the plain setting unless it has one of its own."""
    app = Flask(__name__)
    app.config.update(
        STORE_PATH=str(tmp_path / "a"),
        STORE_ON_CONFLICT="error",
        PHOTOS_STORE_PATH=str(tmp_path / "b"),
        PHOTOS_STORE_ON_CONFLICT="overwrite",
        SCANS_STORE_PATH=str(tmp_path / "c"),
    )
    stores = [Store(app), Store(app, name="photos"), Store(app, name="scans")]
    with app.app_context():
        found = [store.Provider().on_conflict for store in stores]
    assert found == ["error", "overwrite", "error"]


@pytest.mark.parametrize("on_conflict", ["error", "overwrite"])
def test_background_has_to_rename(on_conflict: str, tmp_path: pathlib.Path) -> None:
    """Otherwise no upload would ever go on in the background."""
    config: dict[str, t.Any] = {
        "STORE_PATH": str(tmp_path),
        "STORE_SPOOL_PATH": str(tmp_path / "spool"),
        "STORE_ON_CONFLICT": on_conflict,
    }
    with pytest.raises(NotConfiguredError, match="STORE_ON_CONFLICT"):
        LocalStore.from_config({**config, "STORE_BACKGROUND": True})
    with pytest.raises(NotConfiguredError, match="STORE_ON_CONFLICT"):
        S3GeventStore.from_config({**config, "STORE_PATH": "s3://bucket"})


# -- rows ----------------------------------------------------------------------


class Base(DeclarativeBase):
    """The models of this module."""


class Person(Base):
    """A row with a file in each of the two columns."""

    __tablename__ = "person"
    id: Mapped[int] = mapped_column(primary_key=True)
    picture: Mapped[t.Any] = mapped_column(StoredFile("pictures"))
    legacy: Mapped[t.Any] = mapped_column(FlaskStoreType(location="old"))


@pytest.mark.parametrize("on_conflict", ["error", "overwrite"])
def test_no_row_replaces_the_file_of_another(
    on_conflict: str, tmp_path: pathlib.Path
) -> None:
    """Two rows that save the same name have two files."""
    app = Flask(__name__)
    app.config.update(STORE_PATH=str(tmp_path / "files"), STORE_ON_CONFLICT=on_conflict)
    Store(app)
    engine = sa.create_engine(f"sqlite:///{tmp_path}/rows.db")
    Base.metadata.create_all(engine)
    with app.app_context(), Session(engine) as session:
        people = [
            Person(picture=upload(data, "me.jpg"), legacy=upload(data, "me.jpg"))
            for data in (b"one", b"two")
        ]
        session.add_all(people)
        session.commit()
        assert [person.picture.read() for person in people] == [b"one", b"two"]
        assert [person.legacy.open().read() for person in people] == [b"one", b"two"]
    engine.dispose()
