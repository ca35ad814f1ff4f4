"""Files without a row are swept, and no file of a row is, whatever goes on beside."""

from __future__ import annotations

import datetime as dt
import os
import pathlib
import sys
import typing as t

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import Session
from sqlalchemy.orm import sessionmaker

from flask_store.exceptions import ClientError
from flask_store.exceptions import StoreError
from flask_store.sqla import orphans
from flask_store.sqla import StoredFile
from flask_store.sqla import sweep
from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import upload
from tests.support import databases

store = databases.store

NOW = dt.timedelta(0)
#: The package has a function of the same name.
MODULE = sys.modules["flask_store.sqla.orphans"]


class Base(DeclarativeBase):
    """The models of this module."""


class Post(Base):
    """A draft becomes a picture."""

    __tablename__ = "swept_post"
    id: Mapped[int] = mapped_column(primary_key=True)
    picture: Mapped[t.Any] = mapped_column(StoredFile("p", length=180), nullable=True)
    draft: Mapped[t.Any] = mapped_column(StoredFile("p", length=180), nullable=True)


class Attachment(Base):
    """A file in another table."""

    __tablename__ = "swept_attachment"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[t.Any] = mapped_column(StoredFile("p", length=180), nullable=True)


COLUMNS: list[t.Any] = [Post.picture, Post.draft, Attachment.file]


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def engine(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path
) -> t.Iterator[sa.Engine]:
    """Each kind of database, with empty tables."""
    url = f"sqlite:///{tmp_path / 'test.db'}"
    if request.param != "sqlite":
        url = request.getfixturevalue(request.param)
    engine = sa.create_engine(url)
    if request.param == "sqlite":  # which lets nobody write while somebody reads
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: sa.Engine, store: FsspecStore) -> t.Iterator[Session]:
    """The session that sweeps."""
    with Session(engine) as session:
        yield session


def add(engine: sa.Engine, *rows: object) -> None:
    """Another process commits."""
    with Session(engine) as session:
        session.add_all(rows)
        session.commit()


def names(store: FsspecStore) -> list[str]:
    """The files that there are."""
    return sorted(found.name for found in store.ls())


def test_sweep_removes_what_no_row_has(
    session: Session, engine: sa.Engine, store: FsspecStore
) -> None:
    """The leftovers go, exactly; a dry run only tells."""
    add(engine, Post(id=1, picture=upload(b"1", "a.txt"), draft=upload(b"2", "b.txt")))
    add(engine, Attachment(id=1, file=upload(b"3", "c.txt")))
    store.at("p").save(upload(b"4", "lost.txt"))
    young = store.at("p").save(upload(b"5", "young.txt"))
    for name in names(store):
        if name != young.key:
            os.utime(store.absolute_path(name), (0, 0))
    assert sweep(store, session, COLUMNS, dry_run=True) == ["p/lost.txt"]
    assert len(names(store)) == 5
    assert sweep(store, session, COLUMNS) == ["p/lost.txt"]
    assert names(store) == ["p/a.txt", "p/b.txt", "p/c.txt", "p/young.txt"]
    assert sweep(store.at("p"), session, COLUMNS, NOW) == ["young.txt"]


def test_columns_are_asked_by_one_statement(
    session: Session, engine: sa.Engine, store: FsspecStore
) -> None:
    """A file that goes from one column to another meanwhile is in one of them."""
    add(engine, Post(id=1, draft=upload(b"1", "a.txt")))
    asked: list[str] = []

    @sa.event.listens_for(engine, "after_cursor_execute")
    def hand_over(*args: t.Any) -> None:
        statement = args[2]
        if "SELECT" not in statement or asked:
            return
        asked.append(statement)
        with engine.begin() as connection:
            values = {"picture": Post.draft, "draft": None}
            connection.execute(sa.update(Post).values(values))

    assert list(orphans(store, session, COLUMNS, NOW)) == []
    assert len(asked) == 1
    assert all(column.key in asked[0] for column in COLUMNS)


def test_session_that_has_read_long_ago_sees_new_rows(
    session: Session, engine: sa.Engine, store: FsspecStore
) -> None:
    """A session's transaction shows what was there when it began."""
    assert session.scalars(sa.select(Post)).all() == []
    add(engine, Post(id=1, picture=upload(b"1", "a.txt")))
    assert sweep(store, session, COLUMNS, NOW) == []
    assert names(store) == ["p/a.txt"]


def test_file_of_a_row_that_is_not_committed_yet_stays(
    session: Session, store: FsspecStore
) -> None:
    """An old file that the session itself is giving to a row is in use."""
    assert session.scalars(sa.select(Post)).all() == []
    session.add(Post(id=1, picture=store.put("p/a.txt", b"old")))
    assert sweep(store, session, COLUMNS, NOW) == []
    session.commit()
    assert session.get_one(Post, 1).picture.read() == b"old"


def test_rows_in_a_transaction_of_the_callers_count(
    engine: sa.Engine, store: FsspecStore
) -> None:
    """As in tests that roll everything back: only this connection sees them."""
    with engine.connect() as connection, Session(connection) as session:
        session.add(Post(id=1, picture=upload(b"1", "a.txt")))
        session.flush()
        store.put("p/lost.txt", b"2")
        assert sweep(store, session, COLUMNS, NOW) == ["p/lost.txt"]
        assert session.get_one(Post, 1).picture.read() == b"1"


@pytest.mark.parametrize("scoped", [False, True])
def test_tables_in_two_databases(
    engine: sa.Engine, store: FsspecStore, tmp_path: pathlib.Path, scoped: bool
) -> None:
    """Each table is looked for where the session has it."""
    other = sa.create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    Attachment.metadata.create_all(other, [t.cast(sa.Table, Attachment.__table__)])
    add(engine, Post(id=1, picture=upload(b"1", "a.txt")))
    add(other, Attachment(id=1, file=upload(b"2", "b.txt")))
    store.put("p/lost.txt", b"3")
    factory = sessionmaker(binds={Post: engine, Attachment: other})
    session = scoped_session(factory) if scoped else factory()
    assert sweep(store, session, COLUMNS, NOW) == ["p/lost.txt"]
    assert names(store) == ["p/a.txt", "p/b.txt"]
    session.close()
    other.dispose()


def test_name_that_is_taken_anew_is_another_file(
    session: Session,
    engine: sa.Engine,
    store: FsspecStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between the look and the removal, the orphan goes and a row has a file of its
    name."""
    lost = store.at("p").save(upload(b"lost", "a.txt"))

    def slow(*args: t.Any) -> t.Iterator[t.Any]:
        for found in list(orphans(*args)):
            lost.delete()
            add(engine, Post(id=1, picture=upload(b"a row's", "a.txt")))
            yield found

    monkeypatch.setattr(MODULE, "orphans", slow)
    assert sweep(store, session, COLUMNS, NOW) == []
    with Session(engine) as other:
        assert other.get_one(Post, 1).picture.read() == b"a row's"


def test_file_that_is_replaced_meanwhile_stays(
    session: Session, store: FsspecStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows yet whose it will be: its row may not be committed."""
    store.put("p/a.txt", b"lost")
    store.put("p/b.txt", b"gone")

    def slow(*args: t.Any) -> t.Iterator[t.Any]:
        for found in list(orphans(*args)):
            if found.name == "p/a.txt":
                store.delete("p/a.txt")
                store.put("p/a.txt", b"of a row that is about to be committed")
            else:
                store.delete("p/b.txt")
            yield found

    monkeypatch.setattr(MODULE, "orphans", slow)
    assert sweep(store, session, COLUMNS, NOW) == []
    assert names(store) == ["p/a.txt"]


# -- rows that hold what no store would have given them --------------------------------

ODD = [
    "a//b",
    "//old/me.txt",
    "C:\\x.txt",
    "../../secret.txt",
    "p/../../../secret.txt",
    "x\x01",
    "/",
]


@pytest.fixture
def odd(engine: sa.Engine, store: FsspecStore, tmp_path: pathlib.Path) -> list[str]:
    """Rows that somebody else has written, and a good one."""
    (tmp_path / "secret.txt").write_text("outside")
    store.put("old/me.txt", b"of 0.0.4")
    paths = ["old/me.txt", *ODD]
    table = Attachment.__table__
    with engine.begin() as connection:
        statement = sa.text(f"INSERT INTO {table.name} (id, file) VALUES (:id, :file)")
        for number, path in enumerate(paths, start=1):
            connection.execute(statement, {"id": number, "file": path})
        connection.execute(statement, {"id": 100, "file": "/old/me.txt"})
    return paths


def test_odd_row_does_not_spoil_a_query(
    session: Session, odd: list[str], store: FsspecStore
) -> None:
    """Every row is read. What cannot be is complained of when it is used, and the
    client is not blamed."""
    found = session.scalars(sa.select(Attachment).order_by(Attachment.id)).all()
    assert len(found) == len(odd) + 1
    assert found[0].file.read() == found[-1].file.read() == b"of 0.0.4"
    for row in found[1:-1]:
        uses: list[t.Callable[[], object]] = [
            *(row.file.read, row.file.exists, row.file.delete, row.file.absolute_url),
            *(row.file.absolute_path, row.file.stat, row.file.open),
            lambda file=row.file: store.copy(file, "copy.txt"),
        ]
        for use in uses:
            with pytest.raises(StoreError, match="row's path") as caught:
                use()
            assert not isinstance(caught.value, ClientError)
        assert repr(row.file)


def test_odd_row_can_be_deleted(
    session: Session,
    engine: sa.Engine,
    odd: list[str],
    store: FsspecStore,
    tmp_path: pathlib.Path,
) -> None:
    """With its row nothing is removed that lies outside of the store."""
    for row in session.scalars(sa.select(Attachment).where(Attachment.id < 100)).all():
        session.delete(row)
    session.commit()
    assert (tmp_path / "secret.txt").read_text() == "outside"
    # Another row has this file, with the slash of 0.0.4.
    assert names(store) == ["old/me.txt"]
    assert sweep(store, session, COLUMNS, NOW) == []
    session.delete(session.get_one(Attachment, 100))
    session.commit()
    assert names(store) == []
