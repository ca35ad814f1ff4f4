"""The column of files: files and rows agree, whatever becomes of a transaction."""

from __future__ import annotations

import collections
import datetime as dt
import io
import logging
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import event
from sqlalchemy import ForeignKey
from sqlalchemy.exc import IntegrityError
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from sqlalchemy.orm import Session

from flask_store import FileWrapper
from flask_store import Store
from flask_store.dialects.local import LocalDialect
from flask_store.exceptions import StoreUnavailable
from flask_store.signals import file_committed
from flask_store.signals import file_deleted
from flask_store.sqla import orphans
from flask_store.sqla import StoredFile
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.s3 import S3Store
from flask_store.testing import upload
from tests.storages.test_s3 import settings
from tests.support.servers import ROOT
from tests.support.servers import S3Server

PLAIN = upload(b"another", "ann.png")
NOW = dt.timedelta(seconds=-60)


class Base(DeclarativeBase):
    """The models of this module."""


class Person(Base):
    """Somebody with a picture, and a second file under another column name."""

    __tablename__ = "person"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(unique=True)
    picture: Mapped[t.Any] = mapped_column(
        StoredFile(destination="pictures"), nullable=True
    )
    letter: Mapped[t.Any] = mapped_column(
        "letter_path", StoredFile("letters"), nullable=True
    )
    kind: Mapped[str] = mapped_column(default="person")
    __mapper_args__: t.ClassVar[t.Any] = {
        "polymorphic_on": "kind",
        "polymorphic_identity": "person",
    }


class Employee(Person):
    """A joined subclass with a file of its own."""

    __tablename__ = "employee"
    id: Mapped[int] = mapped_column(ForeignKey("person.id"), primary_key=True)
    contract: Mapped[t.Any] = mapped_column(StoredFile("contracts"), nullable=True)
    __mapper_args__: t.ClassVar[t.Any] = {"polymorphic_identity": "employee"}


class Pet(Base):
    """Its foreign key is only checked at COMMIT."""

    __tablename__ = "pet"
    id: Mapped[int] = mapped_column(primary_key=True)
    picture: Mapped[t.Any] = mapped_column(StoredFile("pets"), nullable=True)
    owner: Mapped[int | None] = mapped_column(
        ForeignKey("person.id", deferrable=True, initially="DEFERRED")
    )


def engine_at(path: pathlib.Path) -> sa.Engine:
    """A SQLite database with transactions as the standard has them: by itself the
    driver begins too late for SAVEPOINT (SQLAlchemy's manual, SQLite dialect)."""
    engine = sa.create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def connect(connection: t.Any, record: t.Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    Base.metadata.create_all(engine)
    return engine


@pytest.fixture
def engine(tmp_path: pathlib.Path) -> t.Iterator[sa.Engine]:
    """An empty database."""
    engine = engine_at(tmp_path / "test.db")
    yield engine
    engine.dispose()


@pytest.fixture
def config(tmp_path: pathlib.Path) -> dict[str, t.Any]:
    """The settings of the store."""
    return {"STORE_PATH": str(tmp_path / "uploads")}


@pytest.fixture
def store(config: dict[str, t.Any]) -> t.Iterator[FsspecStore]:
    """The store of the current application."""
    app = Flask(__name__)
    app.config.update(config)
    ours = Store(app)
    with app.app_context():
        yield t.cast(FsspecStore, ours.Provider())


@pytest.fixture
def session(engine: sa.Engine, store: FsspecStore) -> t.Iterator[Session]:
    """A session, in an application's context."""
    with Session(engine) as session:
        yield session


def files(store: FsspecStore) -> list[str]:
    """What is stored."""
    return sorted(found.name for found in store.ls())


def rows(engine: sa.Engine) -> list[str]:
    """The paths that are in committed rows, each as often as it is there."""
    sql = """SELECT picture FROM person UNION ALL SELECT letter_path FROM person
    UNION ALL SELECT contract FROM employee UNION ALL SELECT picture FROM pet"""
    with engine.connect() as connection:
        found = connection.exec_driver_sql(sql).scalars()
        return sorted(path for path in found if path is not None)


COLUMNS = (Person.picture, Person.letter, Employee.contract, Pet.picture)


def swept(store: FsspecStore, session: Session) -> list[str]:
    """Remove the orphans; return what was removed."""
    found = [o.name for o in orphans(store, session, COLUMNS, older_than=NOW)]
    for name in found:
        store.delete(name)
    return sorted(found)


def person(name: str = "ann", data: bytes = b"1", **more: t.Any) -> Person:
    """Somebody whose picture is yet to be saved."""
    return Person(name=name, picture=upload(data, f"{name}.png"), **more)


@pytest.fixture
def ann(session: Session) -> Person:
    """Somebody whose row and picture are committed."""
    ann = person()
    session.add(ann)
    session.commit()
    return ann


# -- the matrix: what happens x files left, rows left ---------------------------


class Left(t.NamedTuple):
    """What is to be left: committed rows, and orphans that a sweep removes; and what
    file_committed is sent for, by default the files of the rows that are new."""

    rows: list[str]
    orphans: list[str] = []
    new: list[str] | None = None


Case: t.TypeAlias = t.Callable[[Session, Person], Left]


def commit(session: Session, ann: Person) -> Left:
    """A new row and a new file."""
    session.add(person("bob"))
    session.commit()
    return Left(["pictures/ann.png", "pictures/bob.png"])


def rollback(session: Session, ann: Person) -> Left:
    """A new row, a replacement and a removal, all taken back after a flush."""
    session.add(person("bob"))
    ann.picture = upload(b"2", "new.png")
    session.flush()
    ann.picture = None
    session.flush()
    session.rollback()
    return Left(["pictures/ann.png"])


def close(session: Session, ann: Person) -> Left:
    """A session that is closed without a commit."""
    session.add(person("bob"))
    session.delete(ann)
    session.flush()
    session.close()
    return Left(["pictures/ann.png"])


def failed_flush(session: Session, ann: Person) -> Left:
    """A file is saved, and then the database refuses the row."""
    session.add(person("ann"))
    with pytest.raises(IntegrityError):
        session.commit()
    session.rollback()
    return Left(["pictures/ann.png"])


def failed_savepoint(session: Session, ann: Person) -> Left:
    """Only what the SAVEPOINT saved is removed, and what it removed stays."""
    session.add(person("bob"))
    with pytest.raises(IntegrityError), session.begin_nested():
        ann.picture = None
        session.flush()
        session.add(person("bob", b"again"))
    session.add(person("cid"))
    session.commit()
    return Left(["pictures/ann.png", "pictures/bob.png", "pictures/cid.png"])


def rolled_back_savepoint(session: Session, ann: Person) -> Left:
    """The same with an explicit rollback, and a SAVEPOINT in the SAVEPOINT."""
    outer = session.begin_nested()
    session.add(person("bob"))
    with session.begin_nested():
        session.add(person("cid"))
        ann.picture = upload(b"2", "new.png")
    outer.rollback()
    session.add(person("dan"))
    session.commit()
    return Left(["pictures/ann.png", "pictures/dan.png"])


def released_savepoint(session: Session, ann: Person) -> Left:
    """What a released SAVEPOINT did counts as soon as the whole is committed."""
    with session.begin_nested():
        session.add(person("bob"))
        with session.begin_nested():
            ann.picture = upload(b"2", "new.png")
    session.commit()
    return Left(["pictures/bob.png", "pictures/new.png"])


def released_savepoint_in_a_rollback(session: Session, ann: Person) -> Left:
    """It does not count if the whole is rolled back."""
    with session.begin_nested():
        session.add(person("bob"))
        session.delete(ann)
    session.rollback()
    return Left(["pictures/ann.png"])


def replace(session: Session, ann: Person) -> Left:
    """The replaced file goes, though the attribute was not even loaded."""
    session.expire(ann)
    ann.picture = upload(b"2", "new.png")
    session.commit()
    return Left(["pictures/new.png"])


def replace_twice(session: Session, ann: Person) -> Left:
    """So does one that was never committed."""
    ann.picture = upload(b"2", "new.png")
    session.flush()
    ann.picture = upload(b"3", "newer.png")
    session.commit()
    return Left(["pictures/newer.png"])


def replace_with_nothing(session: Session, ann: Person) -> Left:
    """None removes the file and keeps the row."""
    ann.picture = None
    session.commit()
    return Left([])


def delete(session: Session, ann: Person) -> Left:
    """The file goes with its row, though the row was not even loaded."""
    session.expire(ann)
    session.delete(ann)
    session.commit()
    return Left([])


def delete_what_was_replaced(session: Session, ann: Person) -> Left:
    """A pending replacement is not saved for a row that goes."""
    ann.picture = upload(b"2", "new.png")
    session.delete(ann)
    session.commit()
    return Left([])


def made_and_deleted(session: Session, ann: Person) -> Left:
    """A row that came and went within one transaction leaves nothing."""
    bob = person("bob")
    session.add(bob)
    session.flush()
    session.delete(bob)
    session.commit()
    return Left(["pictures/ann.png"])


def handed_over(session: Session, ann: Person) -> Left:
    """A file that moves to another row stays, in whichever order they are written."""
    session.add(Pet(picture=ann.picture))
    ann.picture = None
    session.commit()
    return Left(["pictures/ann.png"])


def bulk_delete(session: Session, ann: Person) -> Left:
    """A statement knows no objects: its files are the sweep's."""
    session.execute(sa.delete(Person))
    session.commit()
    return Left([], ["pictures/ann.png"])


def stale_sessions(session: Session, ann: Person) -> Left:
    """Two sessions replace one file that both have loaded: each gives up what the row
    holds by then, and not what has got the free name since."""
    assert ann.picture.exists()
    session.commit()
    with Session(session.get_bind(), expire_on_commit=False) as other:
        stale = other.scalars(sa.select(Person)).one()
        other.commit()
        ann.picture = upload(b"2", "second.png")
        session.commit()
        session.add(Pet(picture=stale.picture.provider.at("pictures").save(PLAIN)))
        session.commit()
        stale.picture = upload(b"3", "third.png")
        other.commit()
    new = ["pictures/second.png", "pictures/ann.png", "pictures/third.png"]
    return Left(["pictures/ann.png", "pictures/third.png"], new=new)


def stale_name(session: Session, ann: Person) -> Left:
    """An old object gets a new file under the name that it remembers, which has become
    free since: its row is written all the same."""
    assert ann.picture.exists()
    session.commit()
    with Session(session.get_bind(), expire_on_commit=False) as other:
        stale = other.scalars(sa.select(Person)).one()
        other.commit()
        ann.picture = upload(b"2", "second.png")
        session.commit()
        stale.picture = upload(b"3", "ann.png")
        other.commit()
    return Left(["pictures/ann.png"], new=["pictures/second.png", "pictures/ann.png"])


def stale_delete(session: Session, ann: Person) -> Left:
    """The same when the row is deleted twice."""
    assert ann.picture.exists()
    session.commit()
    with Session(session.get_bind(), expire_on_commit=False) as other:
        stale = other.scalars(sa.select(Person)).one()
        other.commit()
        session.delete(ann)
        session.commit()
        session.add(Pet(picture=stale.picture.provider.at("pictures").save(PLAIN)))
        session.commit()
        other.delete(stale)
        with pytest.warns(sa.exc.SAWarning, match="0 were matched"):
            other.commit()
    return Left(["pictures/ann.png"], new=["pictures/ann.png"])


def two_sessions(session: Session, ann: Person) -> Left:
    """What one session rolls back is no business of the other's."""
    session.commit()  # SQLite locks: one writes after the other
    with Session(session.get_bind()) as other:
        other.add(person("bob"))
        other.flush()
        session.expunge(ann)
        other.rollback()
        session.add(person("cid"))
        session.flush()
        other.close()
    session.commit()
    return Left(["pictures/ann.png", "pictures/cid.png"])


def failed_commit(session: Session, ann: Person) -> Left:
    """When the database refuses the COMMIT and answers the ROLLBACK, the outcome is
    known."""
    session.add(Pet(picture=upload(b"2", "rex.png"), owner=999))
    ann.picture = None
    with pytest.raises(IntegrityError):
        session.commit()
    session.rollback()
    return Left(["pictures/ann.png"])


def subclass(session: Session, ann: Person) -> Left:
    """The files of an inherited and of an own column, each once."""
    eve = Employee(
        name="eve", picture=upload(b"2", "eve.png"), contract=upload(b"3", "eve.pdf")
    )
    session.add(eve)
    session.commit()
    eve.contract = upload(b"4", "new.pdf")
    session.commit()
    new = ["pictures/eve.png", "contracts/eve.pdf", "contracts/new.pdf"]
    return Left(["contracts/new.pdf", "pictures/ann.png", "pictures/eve.png"], new=new)


def same_name(session: Session, ann: Person) -> Left:
    """A replacement of the same name does not take its own file along."""
    ann.picture = upload(b"2", "ann.png")
    session.commit()
    assert ann.picture.read() == b"2"
    assert ann.picture.key != "pictures/ann.png"
    return Left([ann.picture.key])


def saved_before(session: Session, ann: Person) -> Left:
    """A file that the application has saved itself becomes that of a row."""
    store = t.cast("FsspecStore", ann.picture.store)
    session.add(Pet(picture=store.save(PLAIN, "rex.png", folder="pets")))
    session.flush()
    session.commit()
    return Left(["pets/rex.png", "pictures/ann.png"])


def two_columns(session: Session, ann: Person) -> Left:
    """A file in two columns of one row is one file."""
    bob = person("bob")
    session.add(bob)
    session.flush()
    bob.letter = bob.picture
    session.commit()
    bob.letter = None
    session.commit()
    return Left(["pictures/ann.png", "pictures/bob.png"])


def two_flushes(session: Session, ann: Person) -> Left:
    """A new row that is written twice has one new file, and another one."""
    bob = person("bob")
    session.add(bob)
    session.flush()
    bob.letter = upload(b"2", "bob.pdf")
    session.flush()
    session.expire(bob)
    bob.name = "Bob"
    session.commit()
    return Left(["letters/bob.pdf", "pictures/ann.png", "pictures/bob.png"])


def put_back(session: Session, ann: Person) -> Left:
    """A row that lets go of its file and takes it again has nothing new."""
    before = ann.picture
    ann.picture = upload(b"2", "new.png")
    session.flush()
    ann.picture = before
    session.commit()
    return Left(["pictures/ann.png"])


def insert_statement(session: Session, ann: Person) -> Left:
    """No signal is sent for what no object has given to a row."""
    f = ann.picture.store.save(PLAIN, "rex.png", folder="pets")
    session.execute(sa.insert(Pet).values(picture=f))
    session.commit()
    session.execute(sa.delete(Pet))
    session.commit()
    return Left(["pictures/ann.png"], ["pets/rex.png"])


CASES: list[Case] = [
    commit,
    rollback,
    close,
    failed_flush,
    failed_savepoint,
    rolled_back_savepoint,
    released_savepoint,
    released_savepoint_in_a_rollback,
    replace,
    replace_twice,
    replace_with_nothing,
    delete,
    delete_what_was_replaced,
    made_and_deleted,
    handed_over,
    bulk_delete,
    two_sessions,
    stale_sessions,
    stale_name,
    stale_delete,
    failed_commit,
    subclass,
    same_name,
    saved_before,
    two_columns,
    two_flushes,
    put_back,
    insert_statement,
]


@pytest.mark.lower_bounds
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_matrix(
    case: Case, session: Session, ann: Person, engine: sa.Engine, store: FsspecStore
) -> None:
    """Every row has its file; every file has its row, at the latest after a sweep."""
    before, announced = rows(engine), list[str]()

    def announce(sender: t.Any, file: FileWrapper) -> None:
        assert file.exists()
        announced.append(file.key)

    with file_committed.connected_to(announce):
        left = case(session, ann)
        session.close()
    assert rows(engine) == left.rows
    new = [key for key in left.rows if key not in before]
    assert sorted(announced) == sorted(left.new or new)
    assert files(store) == sorted(left.rows + left.orphans)
    assert swept(store, session) == left.orphans
    assert files(store) == left.rows


class TestOnS3:
    """The same where a file is an object."""

    @pytest.fixture
    def config(
        self, seaweedfs_server: S3Server, seaweedfs_bucket: str
    ) -> dict[str, t.Any]:
        """A bucket, with a prefix."""
        more = {"STORE_PATH": "/some/place"}
        return settings(seaweedfs_server, seaweedfs_bucket, **more) | {
            "STORE_PROVIDER": S3Store
        }

    test_matrix = staticmethod(test_matrix)


CRASH = """
import pathlib, sys
from flask import Flask
from flask_store import Store
from tests.local.test_sqla import *
engine = engine_at(pathlib.Path(sys.argv[1]))
app = Flask(__name__)
app.config["STORE_PATH"] = sys.argv[2]
Store(app)
with app.app_context(), Session(engine) as session:
    ann = session.scalars(sa.select(Person)).one()
    ann.picture = upload(b"2", "new.png")
    session.add(person("bob"))
    session.flush()
    {0}
    os._exit(3)
"""


@pytest.mark.parametrize(
    ("then", "kept", "swept_up"),
    [
        ("", ["pictures/ann.png"], ["pictures/bob.png", "pictures/new.png"]),
        (
            "FileWrapper.delete = lambda self: os._exit(3); session.commit()",
            ["pictures/bob.png", "pictures/new.png"],
            ["pictures/ann.png"],
        ),
    ],
    ids=["before the commit", "after the commit"],
)
def test_matrix_of_a_crash(
    session: Session,
    ann: Person,
    engine: sa.Engine,
    store: FsspecStore,
    tmp_path: pathlib.Path,
    then: str,
    kept: list[str],
    swept_up: list[str],
) -> None:
    """A process that dies leaves no row without its file, and files to be swept."""
    session.close()
    paths = [str(tmp_path / "test.db"), str(tmp_path / "uploads")]
    command = [sys.executable, "-c", CRASH.format(then), *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (3, "")
    assert rows(engine) == kept
    assert files(store) == sorted(kept + swept_up)
    assert swept(store, session) == swept_up
    assert files(store) == kept


# -- the signal of a commit ------------------------------------------------------


def test_receiver_of_a_commit_that_fails(
    session: Session,
    ann: Person,
    engine: sa.Engine,
    store: FsspecStore,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The commit is done: the other files are announced, and old ones are removed."""
    heard = []

    def fail(sender: t.Any, file: FileWrapper) -> None:
        heard.append(file.key)
        raise RuntimeError("no queue")

    ann.picture = upload(b"2", "new.png")
    session.add(person("bob"))
    with file_committed.connected_to(fail):
        session.commit()
    assert sorted(heard) == rows(engine) == files(store)
    assert (
        caplog.text.count("A receiver of file_committed failed for <FileWrapper") == 2
    )
    assert "RuntimeError: no queue" in caplog.text


def test_sender_of_a_commit(config: dict[str, t.Any], engine: sa.Engine) -> None:
    """It is the application, or None outside of one."""
    senders = []

    def hear(sender: t.Any, file: FileWrapper) -> None:
        senders.append(sender)

    app = Flask("here")
    app.config.update(config)
    Store(app)
    scans = FsspecStore.from_config(config)
    table = type("Scan", (DeclarativeBase,), {})

    class Scan(table):  # type: ignore[misc, valid-type]
        __tablename__ = "scan"
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[t.Any] = mapped_column(StoredFile(store=scans))

    Scan.metadata.create_all(engine)
    with file_committed.connected_to(hear):
        with app.app_context(), Session(engine) as session, session.begin():
            session.add(person("bob"))
        with Session(engine) as session, session.begin():
            session.add(Scan(file=upload()))
    assert senders == [app, None]


def test_receiver_that_begins_a_transaction(
    session: Session, engine: sa.Engine
) -> None:
    """It may use the session, which has ended its transaction."""

    def note(sender: t.Any, file: FileWrapper) -> None:
        row = session.scalars(sa.select(Person).where(Person.picture == file)).one()
        row.name = f"{row.name} with a picture"
        session.commit()

    with file_committed.connected_to(note):
        session.add(person("bob"))
        session.commit()
    assert session.scalars(sa.select(Person.name)).all() == ["bob with a picture"]


def test_old_files_are_removed_before_the_signal(session: Session, ann: Person) -> None:
    """A receiver that is interrupted cannot keep them from it."""
    told = []

    def hear(sender: t.Any, file: FileWrapper) -> None:
        told.append(file.key)

    def interrupt(sender: t.Any, file: FileWrapper) -> t.NoReturn:
        raise KeyboardInterrupt

    ann.picture = upload(b"2", "new.png")
    with file_deleted.connected_to(hear), file_committed.connected_to(interrupt):
        with pytest.raises(KeyboardInterrupt):
            session.commit()
    assert told == ["pictures/ann.png"]
    assert ann.picture.key == "pictures/new.png"


def test_transaction_of_the_caller_sends_nothing(
    engine: sa.Engine, store: FsspecStore
) -> None:
    """The caller may still roll back."""
    heard: list[FileWrapper] = []

    def hear(sender: t.Any, file: FileWrapper) -> None:
        heard.append(file)

    with file_committed.connected_to(hear), engine.connect() as connection:
        with connection.begin() as transaction, Session(connection) as session:
            session.add(person("bob"))
            session.commit()
            assert heard == []
            transaction.rollback()
    assert heard == []


def test_file_that_is_taken_stays_watched(
    session: Session, ann: Person, store: FsspecStore
) -> None:
    """A second flush of its row does not hide that it is the file of another row."""
    bob = Person(name="bob", letter=store.file(ann.picture.key))
    session.add(bob)
    session.flush()
    bob.picture = upload(b"2", "bob.png")
    session.flush()
    with pytest.raises(ValueError, match="is the file of another row"):
        session.commit()


# -- values ----------------------------------------------------------------------


def test_value_is_a_file(session: Session, ann: Person, engine: sa.Engine) -> None:
    """From the flush on the attribute is a FileWrapper, and the row has its path."""
    assert isinstance(ann.picture, FileWrapper)
    assert ann.picture.read() == b"1"
    assert ann.picture.absolute_url() == "/flaskstore/pictures/ann.png"
    assert ann.letter is None
    assert rows(engine) == ["pictures/ann.png"]
    session.expunge_all()
    again = session.scalars(sa.select(Person)).one()
    assert again.picture == ann.picture


def test_flush_turns_the_upload_into_the_file(session: Session) -> None:
    """No commit and no refresh is needed to use the file."""
    bob = person("bob")
    session.add(bob)
    session.flush()
    assert bob.picture.relative_path() == "pictures/bob.png"


def test_unchanged_row_keeps_its_file(session: Session, ann: Person) -> None:
    """Neither another change, nor the same value once more, touches the file."""
    before = ann.picture
    ann.name = "Ann"
    session.commit()
    ann.picture = ann.picture
    session.commit()
    ann.picture = before.provider.file(before.key)
    session.commit()
    assert ann.picture == before
    assert ann.picture.exists()


def test_what_can_be_assigned(
    session: Session, store: FsspecStore, tmp_path: pathlib.Path
) -> None:
    """An upload, a path, an open file, a pair, a stored file, '' and None."""
    (tmp_path / "a.csv").write_text("a,b")
    stored = store.save(upload(b"s", "s.txt"))
    with open(tmp_path / "a.csv", "rb") as file:
        pair = io.BytesIO(b"p"), "pair.txt"
        values = [upload(), tmp_path / "a.csv", file, stored, "", None, pair]
        people = [Person(picture=value) for value in values]
        session.add_all(people)
        session.commit()
    read = [p.picture and p.picture.read() for p in people]
    assert read == [b"data", b"a,b", b"a,b", b"s", None, None, b"p"]
    assert people[3].picture == stored
    assert people[6].picture.key == "pictures/pair.txt"


def test_stream_without_a_name(session: Session) -> None:
    """The error names a way that a column has."""
    session.add(Person(picture=io.BytesIO(b"data")))
    with pytest.raises(TypeError, match="Pass a pair") as caught:
        session.commit()
    assert "filename=" not in str(caught.value)


def test_pair_is_given_back(session: Session, ann: Person) -> None:
    """If its stream can be read once more; of another one, the second try says so."""
    reader, writer = os.pipe()
    os.write(writer, b"pipe")
    os.close(writer)
    with open(reader, "rb") as pipe:
        twin = Person(name="ann", picture=(io.BytesIO(b"twin"), "twin.png"))
        other = Person(name="cid", picture=(pipe, "pipe.png"))
        session.add_all([twin, other])
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
        twin.name = "bob"
        session.add(twin)
        session.commit()
        assert twin.picture.read() == b"twin"
        assert isinstance(other.picture, FileWrapper)


def test_folder_by_a_function(engine: sa.Engine, store: FsspecStore) -> None:
    """It gets what is assigned; a folder may be a path, too."""

    class Own(DeclarativeBase):
        """Tables of this test."""

    def by_extension(upload: t.Any) -> str:
        return f"{upload.filename.rpartition('.')[2]}/2026"

    class Scan(Own):
        __tablename__ = "scan"
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[t.Any] = mapped_column(StoredFile(by_extension))
        back: Mapped[t.Any] = mapped_column(StoredFile(pathlib.Path("a", "b")))

    Own.metadata.create_all(engine)
    with Session(engine) as session:
        scan = Scan(file=upload(b"1", "a.pdf"), back=upload(b"2", "b.pdf"))
        session.add(scan)
        session.commit()
        assert (scan.file.key, scan.back.key) == ("pdf/2026/a.pdf", "a/b/b.pdf")
        assert scan.file.read() == b"1"
        scan.file = upload(b"3", "../c.x")
        session.commit()
        assert scan.file.key == "x/2026/c.x"
    assert files(store) == ["a/b/b.pdf", "x/2026/c.x"]


@pytest.mark.parametrize("value", ["pictures/of/somebody/else.png", b"data"])
def test_text_is_no_file(store: FsspecStore, value: t.Any) -> None:
    """What may come from a text field never names a file."""
    with pytest.raises(TypeError, match=r"request\.files"):
        Person(picture=value)


def test_statements(session: Session, ann: Person) -> None:
    """Queries compare with a file or its path; an upload in a statement is refused
    before it could be stored without a transaction."""
    query = sa.select(Person.name)
    for value in (ann.picture, "pictures/ann.png"):
        assert session.scalar(query.where(Person.picture == value)) == "ann"
    like = query.where(Person.picture.like("pictures/%"))
    assert session.scalar(like) == "ann"
    statement = sa.insert(Person).values(picture=upload())
    with pytest.raises(StatementError, match="save it first"):
        session.execute(statement)


def test_file_of_another_store(session: Session, tmp_path: pathlib.Path) -> None:
    """It is refused: its path would mean another file here."""
    other = FsspecStore.from_url(str(tmp_path / "other"))
    session.add(Person(picture=other.save(upload())))
    with pytest.raises(StatementError, match="another store"):
        session.commit()


def test_rolled_back_object_can_be_added_again(
    session: Session, ann: Person, engine: sa.Engine, store: FsspecStore
) -> None:
    """The object has its upload back, so that a second try stores the file anew."""
    twin = person("ann", b"twin")
    session.add(twin)
    with pytest.raises(IntegrityError):
        session.commit()
    session.rollback()
    twin.name = "bob"
    session.add(twin)
    session.commit()
    assert twin.picture.read() == b"twin"
    session.close()
    assert rows(engine) == files(store)


def test_upload_is_given_back_from_a_savepoint(
    session: Session, ann: Person, store: FsspecStore
) -> None:
    """So it is when everything is rolled back from within a SAVEPOINT; the name that
    another file has got in the meantime stays that one's."""
    bob = person("bob")
    session.begin_nested()
    session.add(bob)
    session.flush()
    session.rollback()
    assert files(store) == ["pictures/ann.png"]
    other = store.at("pictures").save(upload(b"other", "bob.png"))
    session.add(bob)
    session.commit()
    assert bob.picture.read() == b"1"
    assert other.read() == b"other"


def test_the_store_of_a_column(engine: sa.Engine, tmp_path: pathlib.Path) -> None:
    """A column may have a named Store, or a store without any application."""
    app = Flask(__name__)
    app.config["STORE_PATH"] = str(tmp_path / "default")
    app.config["SCANS_STORE_PATH"] = str(tmp_path / "scans")
    Store(app)
    by_name = StoredFile(store=Store(app, name="scans"))
    by_itself = StoredFile("d", store=FsspecStore.from_url(str(tmp_path / "own")))
    assert by_itself.save(upload()).absolute_path() == str(tmp_path / "own/d/a.txt")
    with app.app_context():
        assert by_name.save(upload()).absolute_path() == str(tmp_path / "scans/a.txt")
        assert StoredFile().save(upload()).key == "a.txt"
    with pytest.raises(RuntimeError, match="no current application"):
        StoredFile().save(upload())


def test_every_key_fits(store: FsspecStore) -> None:
    """The column takes the longest path that a store accepts."""
    assert StoredFile().impl.length == 1024
    assert StoredFile(length=300).impl.length == 300


# -- when things go wrong ---------------------------------------------------------


def test_storage_that_is_down(
    session: Session, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flush fails with the storage's own error and the row is not written."""

    def down(*args: t.Any) -> t.NoReturn:
        raise ConnectionError

    monkeypatch.setattr(LocalDialect, "put_file", down)
    session.add(person("bob"))
    with pytest.raises(StoreUnavailable):
        session.commit()
    session.rollback()
    assert session.scalar(sa.select(sa.func.count(Person.id))) == 1


def test_cleanup_that_fails(
    session: Session,
    ann: Person,
    store: FsspecStore,
    engine: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged and not raised: the commit has happened. A sweep finds the file."""

    def refuse(*args: t.Any) -> t.NoReturn:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(LocalDialect, "rm_file", refuse)
        session.delete(ann)
        session.commit()
    assert rows(engine) == []
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert "'pictures/ann.png'" in caplog.text
    assert swept(store, session) == ["pictures/ann.png"]


def test_file_that_is_missing_already(
    session: Session, ann: Person, engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """The removal of what is gone is neither an error nor worth a line."""
    ann.picture.delete()
    session.delete(ann)
    session.commit()
    assert rows(engine) == []
    assert caplog.records == []


def test_session_in_a_transaction_of_the_caller(
    engine: sa.Engine, ann: Person, store: FsspecStore, session: Session
) -> None:
    """What its commit replaces stays: the caller may still roll all of it back, as
    test suites do."""
    session.close()
    with engine.connect() as connection, connection.begin() as transaction:
        with Session(connection, join_transaction_mode="create_savepoint") as inner:
            found = inner.scalars(sa.select(Person)).one()
            found.picture = upload(b"2", "new.png")
            inner.commit()
        transaction.rollback()
    assert rows(engine) == ["pictures/ann.png"]
    assert files(store) == ["pictures/ann.png", "pictures/new.png"]
    assert swept(store, session) == ["pictures/new.png"]


def test_many_sessions_keep_nothing(session: Session, ann: Person) -> None:
    """Logs go with their transactions: a session of long standing does not grow."""
    for number in range(20):
        with session.begin_nested():
            ann.picture = upload(b"%d" % number, "p.png")
        session.commit()
    assert [len(log) for log in session.info.values()] == [0]


# -- orphans ----------------------------------------------------------------------


def test_orphans_keep_their_age(
    session: Session, ann: Person, store: FsspecStore
) -> None:
    """A young file may belong to a transaction that goes on, and is no orphan yet."""
    old = store.save(upload(b"", "old.txt"))
    store.save(upload(b"", "young.txt"))
    os.utime(old.absolute_path(), (0, 0))
    found = list(orphans(store, session, COLUMNS))
    assert [orphan.name for orphan in found] == ["old.txt"]


def test_orphans_of_a_destination(session: Session, store: FsspecStore) -> None:
    """Names are relative to the destination that was asked for."""
    session.add(person("ann"))
    session.commit()
    store.at("pictures").save(upload())
    store.at("elsewhere").save(upload())
    found = list(orphans(store.at("pictures"), session, COLUMNS, older_than=NOW))
    assert [orphan.name for orphan in found] == ["a.txt"]


def test_orphans_need_columns(session: Session, store: FsspecStore) -> None:
    """Without columns everything would be one."""
    with pytest.raises(ValueError, match="every file"):
        list(orphans(store, session, []))


def test_orphans_ask_in_batches(
    session: Session, store: FsspecStore, engine: sa.Engine
) -> None:
    """A thousand files cost a few queries, and none is too long."""
    memory = FsspecStore.from_url("memory://orphans-in-batches")
    for number in range(1000):
        memory.save(b"", f"{number}.txt")
    asked = collections.Counter[str]()

    @event.listens_for(engine, "before_cursor_execute")
    def count(c: t.Any, cursor: t.Any, sql: str, params: t.Any, *more: t.Any) -> None:
        asked[sql.split()[0]] += 1
        assert len(params) <= 900

    found = list(orphans(memory, session, [Person.picture], older_than=NOW))
    assert len(found) == 1000
    assert asked["SELECT"] == 3
    for orphan in found:
        memory.delete(orphan.name)
