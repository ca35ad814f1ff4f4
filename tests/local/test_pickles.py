"""Stored files and stores in pickles, as sessions, caches and queues make them."""

from __future__ import annotations

import copy
import json
import os
import pathlib
import pickle
import subprocess
import sys
import typing as t

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from sqlalchemy.orm import Session

from flask_store import exceptions
from flask_store import FileWrapper
from flask_store import Store
from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import StoreError
from flask_store.sqla import StoredFile
from flask_store.stores import BaseStore
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.local import LocalStore
from flask_store.stores.s3 import S3Store
from flask_store.uploads import Upload
from tests.storages.test_s3 import settings
from tests.support.secret import SECRET
from tests.support.servers import ROOT
from tests.support.servers import S3Server

PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)


class Shelf(LocalStore):
    """A provider of an application's own, with a setting of its own."""

    REQUIRED_CONFIGURATION = ("STORE_PATH", "STORE_SHELF")

    def configure(self, config: t.Any) -> None:
        """Take the settings."""
        super().configure(config)
        self.label = config["STORE_SHELF"]


class Bare(BaseStore):
    """One that is no FsspecStore."""

    def save(self, file: Upload | None) -> FileWrapper:
        """Keep nothing."""
        return FileWrapper("a.txt", self)

    def read(self, name: str) -> bytes:
        """There is one file."""
        return b"bare"


class Base(DeclarativeBase):
    """The models of this module."""


class Person(Base):
    """Somebody with a picture."""

    __tablename__ = "person"
    id: Mapped[int] = mapped_column(primary_key=True)
    picture: Mapped[t.Any] = mapped_column(StoredFile("pictures"))


def other_process(
    pickled: bytes, config: dict[str, t.Any], where: str, folder: pathlib.Path
) -> list[str]:
    """What a pickle gives in another process, with another working directory."""
    texts = {name: str(value) for name, value in config.items()}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.pickled_app", json.dumps(texts), where],
        input=pickled,
        stdout=subprocess.PIPE,
        check=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return t.cast("list[str]", json.loads(done.stdout))


@pytest.fixture(params=["disk", "memory", "s3", "named", "own class", "background"])
def config(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> dict[str, t.Any]:
    """The settings of an application."""
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("moto_server")
        bucket: str = request.getfixturevalue("moto_bucket")
        return {
            "STORE_PROVIDER": "flask_store.stores.s3.S3Store",
            **settings(server, bucket),
        }
    place = {"STORE_PATH": str(tmp_path / "files")}
    more: dict[str, dict[str, t.Any]] = {
        "disk": {},
        "memory": {"STORE_PATH": "memory://pickles"},
        "named": {"B_STORE_PATH": str(tmp_path / "b")},
        "own class": {
            "STORE_PROVIDER": "tests.local.test_pickles.Shelf",
            "STORE_SHELF": "the upper shelf",
        },
        "background": {
            "STORE_BACKGROUND": "true",
            "STORE_SPOOL_PATH": str(tmp_path / "spool"),
        },
    }
    return {**place, **more[request.param]}


def bound(config: dict[str, t.Any]) -> tuple[Flask, Store]:
    """An application with these settings, and its last store."""
    app = Flask("app")
    app.config.update(config, SECRET_KEY=SECRET)
    store = Store(app)
    return app, Store(app, name="b") if "B_STORE_PATH" in config else store


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_file_of_an_application(config: dict[str, t.Any], protocol: int) -> None:
    """It has the store of the current application, and no settings in the pickle."""
    app, store = bound(config)
    with app.app_context():
        f = store.Provider("a folder").save(b"x", "a.txt")
        if f.upload is not None:
            assert f.upload.wait(10)
        data = pickle.dumps(f, protocol)
        again = pickle.loads(data)
        assert again == f and hash(again) == hash(f) and again.read() == b"x"
        assert again.provider is store.Provider._bound
        provider = pickle.loads(pickle.dumps(store.Provider("b"), protocol))
        assert provider.destination == "b" and type(provider) is store.Provider
        assert pickle.loads(pickle.dumps(store, protocol)) is store
    for value in (SECRET, *map(str, config.values())):
        assert value.encode() not in data


@pytest.mark.parametrize("config", ["s3", "named"], indirect=True)
def test_another_process(config: dict[str, t.Any], tmp_path: pathlib.Path) -> None:
    """A worker has the file, also if it reads the pickle before it has a context."""
    app, store = bound(config)
    with app.app_context():
        f = store.Provider("in").save(b"x", "a.txt")
        uri = f.provider.uri
        data = pickle.dumps(f)
    *found, shown = other_process(data, config, "before", tmp_path)
    assert found == [str(f), "x", uri]
    assert "of an application" in shown


def test_process_without_the_store(tmp_path: pathlib.Path) -> None:
    """The error says what is missing."""
    config = {"STORE_PATH": tmp_path / "a", "B_STORE_PATH": tmp_path / "b"}
    app, store = bound(config)
    with app.app_context():
        data = pickle.dumps(store.Provider().save(b"x", "a.txt"))
    del config["B_STORE_PATH"]
    name, message = other_process(data, config, "inside", tmp_path)
    assert name == "NotConfiguredError"
    assert "the store 'b'" in message and "Store(app, name='b')" in message


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_file_without_an_application(
    config: dict[str, t.Any], protocol: int, tmp_path: pathlib.Path
) -> None:
    """The pickle has the settings of the store, and no others."""
    cls = {
        "flask_store.stores.s3.S3Store": S3Store,
        "tests.local.test_pickles.Shelf": Shelf,
    }.get(config.get("STORE_PROVIDER", ""), FsspecStore)
    store = cls.from_config({**config, "SECRET_KEY": SECRET}, "in")
    f = store.save(b"x", "a.txt")
    if f.upload is not None:
        assert f.upload.wait(10)
    data = pickle.dumps(f, protocol)
    assert SECRET.encode() not in data
    again = pickle.loads(data)
    assert again == f and again.read() == b"x"
    assert type(again.provider) is cls and again.provider is not f.provider
    provider = pickle.loads(pickle.dumps(store, protocol))
    assert provider.destination == "in" and provider.uri == store.uri
    assert vars(provider).get("label") == vars(store).get("label")
    if protocol == pickle.HIGHEST_PROTOCOL and store.uri.startswith("s3"):
        found = other_process(data, {}, "nowhere", tmp_path)
        assert found[:3] == [str(f), "x", store.uri]


def test_relative_path(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process has another working directory, and the same file."""
    monkeypatch.chdir(tmp_path)
    f = LocalStore.from_config({"STORE_PATH": "files"}).save(b"x", "a.txt")
    (tmp_path / "else").mkdir()
    found = other_process(pickle.dumps(f), {}, "nowhere", tmp_path / "else")
    assert found[:2] == ["a.txt", "x"]


def test_application_s_provider_with_other_settings(tmp_path: pathlib.Path) -> None:
    """It is not the application's store, though its class is."""
    app, store = bound({"STORE_PATH": str(tmp_path / "a")})
    with app.app_context():
        other = store.Provider(None, {"STORE_PATH": str(tmp_path / "b")})
        f = other.save(b"b", "a.txt")
    again = pickle.loads(pickle.dumps(f))
    assert again.read() == b"b" and type(again.provider) is LocalStore


def test_provider_that_is_no_fsspec_store() -> None:
    """Any provider of an application is found by its name."""
    app, store = bound({"STORE_PROVIDER": Bare})
    with app.app_context():
        f = pickle.loads(pickle.dumps(store.Provider().save(None)))
        assert f.read() == b"bare" and isinstance(f.provider, Bare)
    assert pickle.loads(pickle.dumps(Bare.from_config({}).save(None))).read() == b"bare"


def test_pickle_of_a_pickle(tmp_path: pathlib.Path) -> None:
    """A file that nobody has used yet is passed on, outside of an application."""
    app, store = bound({"STORE_PATH": str(tmp_path)})
    with app.app_context():
        data = pickle.dumps(store.Provider().save(b"x", "a.txt"))
    f = pickle.loads(pickle.dumps(pickle.loads(data)))
    assert str(f) == "a.txt" and copy.deepcopy(f).filename == "a.txt"
    with pytest.raises(NotConfiguredError, match="no application is current"):
        f.read()
    with app.app_context():
        assert f.read() == b"x"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies(config: dict[str, t.Any], copied: t.Callable[[t.Any], t.Any]) -> None:
    """They work outside of an application, too, and share the store."""
    app, store = bound(config)
    with app.app_context():
        provider = store.Provider("in")
        f = provider.save(b"x", "a.txt")
    twin = copied({"file": f})["file"]
    assert twin == f and twin.provider is f.provider and twin.upload is f.upload
    assert copied(provider) is provider and copied(store) is store
    assert twin.upload is None or twin.upload.wait(10)


def test_file_of_a_row(tmp_path: pathlib.Path) -> None:
    """An object in a cache has its file, and one with a path that no store takes can
    be pickled."""
    app, store = bound({"STORE_PATH": str(tmp_path / "files")})
    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with app.app_context(), Session(engine) as session:
        person = Person()
        person.picture = store.Provider("pictures").save(b"x", "a.txt")
        session.add(person)
        session.flush()
        _ = person.id
        cached = pickle.dumps(person)
        assert pickle.loads(cached).picture.read() == b"x"
        odd = FileWrapper.of_row("../etc/passwd", store.Provider())
        with pytest.raises(StoreError, match="Correct the row"):
            pickle.loads(pickle.dumps(odd)).read()
        session.rollback()
    engine.dispose()


def test_metadata_with_a_column(tmp_path: pathlib.Path) -> None:
    """SQLAlchemy's tables can be pickled, with the store of a column."""
    app, store = bound({"STORE_PATH": str(tmp_path)})
    table = sa.Table("a", sa.MetaData(), sa.Column("file", StoredFile(store=store)))
    with app.app_context():
        again = pickle.loads(pickle.dumps(table.metadata)).tables["a"]
    assert again.c.file.type.store is store


@pytest.mark.parametrize(
    "error",
    [getattr(exceptions, name) for name in dir(exceptions) if name[0].isupper()],
)
def test_errors(error: t.Any) -> None:
    """A queue gives back what has gone wrong in a worker."""
    if not (isinstance(error, type) and issubclass(error, StoreError)):
        pytest.skip("no error of this package")
    again = pickle.loads(pickle.dumps(error("It is away.", "a.txt")))
    assert type(again) is error and again.key == "a.txt" and "away" in str(again)
