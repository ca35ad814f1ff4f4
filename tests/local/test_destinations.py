"""A destination that is a path, or that a callable chooses for each upload."""

from __future__ import annotations

import copy
import io
import pathlib
import pickle
import typing as t

import pytest
import sqlalchemy as sa
from flask import Flask
from flask import request
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from sqlalchemy.orm import Session

from flask_store import FileWrapper
from flask_store import Store
from flask_store.exceptions import InvalidName
from flask_store.exceptions import NoFile
from flask_store.sqla import StoredFile
from flask_store.stores import BaseStore
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.local import LocalStore
from flask_store.testing import upload
from flask_store.uploads import Upload


def by_type(file: t.Any) -> str:
    """A folder for the files of each extension."""
    return f"by type/{file.filename.rpartition('.')[2]}"


def kind_of(file: t.Any) -> str:
    """A folder for the files of each type in Python."""
    return type(file).__name__


@pytest.fixture
def root(tmp_path: pathlib.Path) -> FsspecStore:
    """The whole store."""
    return LocalStore.from_config({"STORE_PATH": str(tmp_path / "files")})


def test_path(root: FsspecStore) -> None:
    """It is as good as text, wherever a destination may be."""
    folder = pathlib.PurePosixPath("a/b")
    store = LocalStore.from_config({"STORE_PATH": root.dialect.root}, folder)
    assert store.save(b"data", "c.txt").key == "a/b/c.txt"
    assert root.at(folder).read("c.txt") == b"data"
    assert root.at(pathlib.PurePath()).destination == ""
    assert FsspecStore.from_url("memory://paths", folder).destination == "a/b"


def test_callable_gets_what_is_saved(root: FsspecStore) -> None:
    """Whatever that is, and says where it goes."""
    store = root.at(kind_of)
    saved = [
        store.save(upload(b"1", "a.txt")),
        store.save(b"2", "a.txt"),
        store.save((b"3", "a.txt")),
        store.save(io.BytesIO(b"4"), "a.txt"),
    ]
    assert [f.key for f in saved] == [
        f"{kind}/a.txt" for kind in ("FileStorage", "bytes", "tuple", "BytesIO")
    ]
    assert [f.read() for f in saved] == [b"1", b"2", b"3", b"4"]
    again = store.save(b"5", "a.txt")
    assert again.key.startswith("bytes/a_")
    assert [store.at(None).read(f.key) for f in saved] == [b"1", b"2", b"3", b"4"]


def test_callable_may_look_into_the_upload(root: FsspecStore) -> None:
    """All of it is stored nevertheless."""
    store = root.at(lambda file: "png" if file.read(4) == b"\x89PNG" else "other")
    f = store.save(io.BytesIO(b"\x89PNG data"), "a.png")
    assert (f.key, f.read()) == ("png/a.png", b"\x89PNG data")


def test_there_has_to_be_a_file(root: FsspecStore) -> None:
    """An empty field is the client's error, and no error of the callable."""
    store = root.at(by_type)
    for nothing in (None, upload(b"", "")):
        with pytest.raises(NoFile):
            store.save(nothing)


@pytest.mark.parametrize(
    ("folder", "key"),
    [
        (None, "a.txt"),
        ("", "a.txt"),
        ("/a//b/", "a/b/a.txt"),
        (pathlib.PurePosixPath("a/b"), "a/b/a.txt"),
        ("a?b/c", "a_b/c/a.txt"),
    ],
)
def test_what_it_returns_is_cleaned(root: FsspecStore, folder: t.Any, key: str) -> None:
    """As every destination is."""
    assert root.at(lambda file: folder).save(b"data", "a.txt").key == key


@pytest.mark.parametrize("folder", ["..", "a/../../b", "a/ /b", 5, b"a", by_type])
def test_what_leads_out_is_refused(root: FsspecStore, folder: t.Any) -> None:
    """Nothing is stored then."""
    with pytest.raises(InvalidName):
        root.at(lambda file: folder).save(b"data", "a.txt")
    assert list(root.ls()) == []


def test_without_an_upload_there_is_no_folder(root: FsspecStore) -> None:
    """The error says what to do."""
    root.save(b"data", "a.txt")
    store = root.at(by_type)
    actions: list[t.Callable[[], object]] = [
        lambda: store.destination,
        lambda: list(store.ls()),
        lambda: store.file("a.txt"),
        lambda: store["a.txt"],
        lambda: store.exists("a.txt"),
        lambda: store.open("a.txt"),
        lambda: store.read("a.txt"),
        lambda: store.stat("a.txt"),
        lambda: store.delete("a.txt"),
        lambda: store.usage(),
        lambda: store.put("b.txt", b"data"),
        lambda: store.copy(root.file("a.txt"), "b.txt"),
        lambda: store.move(root.file("a.txt"), "b.txt"),
        lambda: store.safe_filename("a.txt"),
        lambda: store.presign_upload("a.txt", max_size=9),
        lambda: store.absolute_url("a.txt"),
    ]
    for action in actions:
        with pytest.raises(TypeError, match=r"only save\(\) knows one. Use at\("):
            action()
    assert [found.name for found in root.ls()] == ["a.txt"]
    assert "a folder for each upload" in repr(store)
    assert store.uri == root.uri
    assert store.at("a").destination == "a"


def test_application(tmp_path: pathlib.Path) -> None:
    """A provider in a view, of a store with a name, too."""
    app = Flask(__name__)
    app.config.update(STORE_PATH=str(tmp_path / "a"), B_STORE_PATH=str(tmp_path / "b"))
    plain, named = Store(app), Store(app, name="b")

    @app.post("/<which>")
    def save(which: str) -> str:
        store = named if which == "b" else plain
        f = store.Provider(by_type).save(request.files.get("afile"))
        return f.absolute_url()

    client = app.test_client()
    for which, prefix in (("a", "/flaskstore"), ("b", "/flaskstore-b")):
        form = {"afile": (io.BytesIO(b"data"), "x.txt")}
        url = client.post(f"/{which}", data=form).text
        assert url == f"{prefix}/by%20type/txt/x.txt"
        with client.get(url) as reply:
            assert reply.data == b"data"
        assert client.post(f"/{which}").status_code == 400
    with app.app_context():
        assert plain.Provider().destination == ""


def test_background(tmp_path: pathlib.Path) -> None:
    """The folder is chosen by save(), and not by the worker."""
    store = FsspecStore.from_config(
        {
            "STORE_PATH": str(tmp_path / "files"),
            "STORE_BACKGROUND": True,
            "STORE_SPOOL_PATH": str(tmp_path / "spool"),
        },
        by_type,
    )
    f = store.save(upload(b"data", "a.txt"))
    assert f.upload is not None and f.upload.wait(30)
    assert f.key.startswith("by type/txt/a_")
    assert f.read() == b"data"


class Bare(BaseStore):
    """A store that is no FsspecStore."""

    def save(self, file: Upload | None) -> FileWrapper:
        """Needs its folder."""
        return FileWrapper(f"{self.destination}/a.txt", self)


def test_store_of_the_application_s_own(tmp_path: pathlib.Path) -> None:
    """One that does not know of callables gets the error."""
    store = Bare.from_config({"STORE_PATH": str(tmp_path)}, by_type)
    with pytest.raises(TypeError, match="a folder for each upload"):
        store.save(b"data")


# -- pickles and rows ------------------------------------------------------------


def test_pickles(root: FsspecStore, tmp_path: pathlib.Path) -> None:
    """A function is pickled by its name, as by pickle in general; one without a name
    is an error of pickle's."""
    store = pickle.loads(pickle.dumps(root.at(by_type)))
    assert store.save(upload(b"1", "a.txt")).key == "by type/txt/a.txt"
    assert pickle.loads(pickle.dumps(store.at("a"))).destination == "a"
    copied = copy.deepcopy(root.at(by_type))
    assert copied.save(upload(b"1", "b.csv")).key == "by type/csv/b.csv"
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(root.at(lambda file: "a"))
    app = Flask(__name__)
    app.config["STORE_PATH"] = str(tmp_path / "app")
    made = Store(app)
    with app.app_context():
        data = pickle.dumps(made.Provider(by_type))
        assert b"STORE_PATH" not in data
        f = pickle.loads(data).save(upload(b"1", "a.txt"))
        assert pickle.loads(pickle.dumps(f)).read() == b"1"


class Base(DeclarativeBase):
    """The models of this module."""


class Person(Base):
    """Somebody with a picture."""

    __tablename__ = "person"
    id: Mapped[int] = mapped_column(primary_key=True)
    picture: Mapped[t.Any] = mapped_column(StoredFile(by_type), nullable=True)
    letter: Mapped[t.Any] = mapped_column(
        StoredFile(lambda file: pathlib.PurePosixPath("letters")), nullable=True
    )


def test_column(tmp_path: pathlib.Path) -> None:
    """Each upload has its folder, rows find their files, and what a row gives up is
    removed."""
    app = Flask(__name__)
    app.config["STORE_PATH"] = str(tmp_path / "files")
    store = Store(app)
    engine = sa.create_engine(f"sqlite:///{tmp_path}/rows.db")
    Base.metadata.create_all(engine)
    with app.app_context(), Session(engine) as session:
        ann = Person(picture=upload(b"1", "a.png"), letter=(b"2", "b.txt"))
        session.add(ann)
        session.commit()
        assert str(ann.picture) == "by type/png/a.png"
        assert str(ann.letter) == "letters/b.txt"
        assert (ann.picture.read(), ann.letter.read()) == (b"1", b"2")
        query = sa.select(Person.id).where(Person.picture == ann.picture)
        assert session.scalar(query) == ann.id
        ann.picture = upload(b"3", "c.gif")
        session.commit()
        assert ann.picture.read() == b"3"
        found = sorted(found.name for found in store.Provider().ls())
        assert found == ["by type/gif/c.gif", "letters/b.txt"]
        session.delete(ann)
        session.commit()
        assert list(store.Provider().ls()) == []
    engine.dispose()
