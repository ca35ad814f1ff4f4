"""Files and rows where a session believes what the database did not do."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import io
import os
import pathlib
import threading
import typing as t
import weakref

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import column_property
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import make_transient
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from sqlalchemy.orm import Session
from werkzeug.datastructures import FileStorage

from flask_store import FileWrapper
from flask_store.exceptions import FileNotFound
from flask_store.signals import file_committed
from flask_store.signals import file_deleted
from flask_store.signals import file_saved
from flask_store.sqla import rows
from flask_store.sqla import StoredFile
from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import upload
from tests.support import databases

store = databases.store

COVER = "albums/cover.jpg"
NEW = "albums/new.jpg"


class Base(DeclarativeBase):
    """The models of this module."""


class Album(Base):
    """Two files in a row, in the same folder."""

    __tablename__ = "album"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None] = mapped_column(sa.String(50), unique=True)
    cover: Mapped[t.Any] = mapped_column(
        StoredFile("albums", length=180), nullable=True
    )
    back: Mapped[t.Any] = mapped_column(StoredFile("albums", length=180), nullable=True)


class Review(Base):
    """It refers to an album, and shows its cover in three ways."""

    __tablename__ = "review"
    id: Mapped[int] = mapped_column(primary_key=True)
    album_id: Mapped[int | None] = mapped_column(sa.ForeignKey(Album.id))
    photo: Mapped[t.Any] = mapped_column(
        StoredFile("reviews", length=180), nullable=True
    )


def _cover_of(column: t.Any) -> t.Any:
    """A subquery of a review's album."""
    where = Album.id == Review.album_id
    return sa.select(column).where(where).correlate_except(Album).scalar_subquery()


Review.cover = column_property(_cover_of(Album.cover))
Review.last_cover = column_property(_cover_of(sa.func.max(Album.cover)))
Review.shown = column_property(
    sa.func.coalesce(Review.__table__.c.photo, _cover_of(Album.cover))
)


class Ledger(Base):
    """MariaDB keeps it outside of transactions; only created where that is tried."""

    __tablename__ = "ledger"
    __table_args__: t.ClassVar[t.Any] = {"mysql_engine": "MyISAM"}
    id: Mapped[int] = mapped_column(primary_key=True)
    scan: Mapped[t.Any] = mapped_column(StoredFile("ledger", length=180), nullable=True)


#: The others are in the database; a question for all must not fail on the one that
#: is not.
TABLES = [t.cast(sa.Table, Album.__table__), t.cast(sa.Table, Review.__table__)]


@dataclasses.dataclass
class Database:
    """A database with empty tables."""

    kind: str
    url: str

    def engine(self, **options: t.Any) -> sa.Engine:
        """An engine of its own, with transactions as the standard has them."""
        engine = sa.create_engine(self.url, **options)
        if self.kind == "sqlite":

            @event.listens_for(engine, "connect")
            def connect(connection: t.Any, record: t.Any) -> None:
                connection.isolation_level = None

            @event.listens_for(engine, "begin")
            def begin(connection: sa.Connection) -> None:
                connection.exec_driver_sql("BEGIN")

        return engine


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path
) -> t.Iterator[Database]:
    """Each kind of database."""
    yield from _database(request, tmp_path)


@pytest.fixture
def server(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path
) -> t.Iterator[Database]:
    """A kind that the test chooses by ``indirect``."""
    yield from _database(request, tmp_path)


def _database(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path
) -> t.Iterator[Database]:
    kind = request.param
    url = f"sqlite:///{tmp_path / 'test.db'}"
    if kind != "sqlite":
        url = request.getfixturevalue(kind)
    database = Database(kind, url)
    engine = database.engine()
    recover(engine, "ROLLBACK")  # of a test that failed, it would hold its locks
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine, TABLES)
    yield database
    engine.dispose()


def on(*kinds: str) -> pytest.MarkDecorator:
    """The databases that a test of one kind of fault is for."""
    return pytest.mark.parametrize("server", kinds, indirect=True)


@contextlib.contextmanager
def engine_of(database: Database, **options: t.Any) -> t.Iterator[sa.Engine]:
    """An engine, and all its connections closed at the end."""
    engine = database.engine(**options)
    try:
        yield engine
    finally:
        engine.dispose()


@pytest.fixture
def engine(database: Database, store: FsspecStore) -> t.Iterator[sa.Engine]:
    """An engine of each kind of database."""
    with engine_of(database) as engine:
        yield engine


def cover(text: str = "cover") -> FileStorage:
    """An upload whose name and content are the text."""
    return upload(text.encode(), f"{text}.jpg")


def seed(engine: sa.Engine, title: str = "one", text: str = "cover") -> int:
    """A committed row with a file; its key."""
    with Session(engine) as session:
        album = Album(title=title, cover=cover(text))
        session.add(album)
        session.commit()
        return album.id


def files(store: FsspecStore) -> list[str]:
    """What is stored."""
    return sorted(found.name for found in store.ls())


def paths(engine: sa.Engine) -> list[str]:
    """What is in the rows of the albums, as somebody else sees it."""
    with engine.connect() as connection:
        found = connection.exec_driver_sql(
            "SELECT cover FROM album UNION ALL SELECT back FROM album"
        )
        return sorted(path for path in found.scalars() if path is not None)


def get(session: Session, key: int) -> Album:
    """A row that is there."""
    return session.scalars(sa.select(Album).where(Album.id == key)).one()


def one(session: Session) -> Album:
    """The first row."""
    return session.scalars(sa.select(Album).order_by(Album.id)).first() or Album()


# -- a commit that was none ---------------------------------------------------------


def change(session: Session, how: str) -> None:
    """Replace a file, or delete its row."""
    album = one(session)
    if how == "replaced":
        album.cover = cover("new")
    else:
        session.delete(album)
    session.flush()


ENDS = {
    # PostgreSQL answers COMMIT with ROLLBACK after an error, and no driver minds.
    "postgresql": "INSERT INTO album (title) VALUES ('two')",
    "sqlite": "INSERT OR ROLLBACK INTO album (title) VALUES ('two')",
}


def fail(session: Session) -> None:
    """A statement that fails, takes the transaction along and is forgotten."""
    bind = session.get_bind()
    with pytest.raises(IntegrityError):
        session.execute(sa.text(ENDS[bind.dialect.name]))


@pytest.mark.parametrize("how", ["replaced", "deleted"])
@on("sqlite", "postgresql")
def test_file_stays_when_the_commit_rolls_back_without_a_word(
    server: Database, store: FsspecStore, how: str
) -> None:
    """commit() reports success though a failed statement has ended it all."""
    with engine_of(server) as engine:
        seed(engine)
        seed(engine, "two", "other")
        with Session(engine) as session:
            change(session, how)
            fail(session)
            session.commit()
        assert paths(engine) == [COVER, "albums/other.jpg"]
        assert set(paths(engine)) <= set(files(store))


@pytest.mark.parametrize("how", ["replaced", "deleted"])
@on("postgresql")
def test_the_same_with_asyncpg(server: Database, store: FsspecStore, how: str) -> None:
    """An AsyncSession asks on a connection of the asynchronous engine's."""

    async def run() -> None:
        engine = create_async_engine(server.url.replace("psycopg", "asyncpg"))
        async with AsyncSession(engine) as session:
            await session.run_sync(lambda sync: change(sync, how))
            await session.run_sync(fail)
            await session.commit()
        async with AsyncSession(engine) as session:
            # And what commits, and what rolls back, is cleaned up behind.
            await session.run_sync(lambda sync: change(sync, "replaced"))
            await session.rollback()
            await session.run_sync(lambda sync: change(sync, "deleted"))
            await session.commit()
        await engine.dispose()

    with engine_of(server) as engine:
        seed(engine)
        seed(engine, "two", "other")
        asyncio.run(run())
        assert paths(engine) == ["albums/other.jpg"]
        assert COVER not in files(store)


@pytest.mark.parametrize("nested", [False, True], ids=["statement", "savepoint"])
@on("mariadb")
def test_file_stays_when_a_deadlock_is_forgotten(
    server: Database, store: FsspecStore, nested: bool
) -> None:
    """InnoDB rolls all of a deadlock's victim back; the smaller transaction is it."""
    with engine_of(server) as engine, Session(engine) as session:
        first, second = seed(engine), seed(engine, "two", "other")
        for number in range(20):
            seed(engine, f"more {number}", f"{number}")
        holds = threading.Event()
        update = sa.update(Album).values(back="")

        def rival() -> None:
            with engine.begin() as connection:
                connection.execute(update.where(Album.id > first))
                holds.set()
                connection.execute(update.where(Album.id == first))

        thread = threading.Thread(target=rival)
        one(session).cover = cover("new")
        session.flush()
        thread.start()
        assert holds.wait(30)
        with pytest.raises(DBAPIError):
            with session.begin_nested() if nested else contextlib.nullcontext():
                session.execute(update.where(Album.id == second))
        thread.join(30)
        session.commit()
        assert COVER in paths(engine)
        assert COVER in files(store)


@on("postgresql")
def test_refused_commit_leaves_nothing_behind(
    server: Database, store: FsspecStore
) -> None:
    """A deferred constraint fails at COMMIT, and ROLLBACK is answered: it is known."""
    deferred = "ALTER TABLE review ALTER CONSTRAINT review_album_id_fkey"
    with engine_of(server) as engine, Session(engine) as session:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"{deferred} DEFERRABLE INITIALLY DEFERRED")
        seed(engine)
        change(session, "replaced")
        session.add(Review(album_id=999, photo=cover("photo")))
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
        assert files(store) == paths(engine) == [COVER]


@on("postgresql")
def test_commit_without_an_answer_leaves_both_files(
    server: Database, store: FsspecStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection is dead: nobody knows what the database has done."""
    with engine_of(server) as engine, Session(engine) as session:
        seed(engine)
        change(session, "replaced")
        kill(engine, number_of(session))
        with pytest.raises(DBAPIError):
            session.commit()
        session.rollback()
        assert files(store) == [COVER, NEW]
        assert "left to be swept: ['albums/new.jpg']" in caplog.text


def number_of(session: Session) -> int:
    """The session's connection, as the server calls it."""
    connection = session.connection()
    names = {"postgresql": "pg_backend_pid", "mysql": "connection_id"}
    query = sa.text(f"SELECT {names[connection.dialect.name]}()")
    return connection.execute(query).scalar_one()


def kill(engine: sa.Engine, number: int) -> None:
    """End a connection, on the server."""
    kills = {
        "postgresql": f"SELECT pg_terminate_backend({number}, 10000)",
        "mysql": f"KILL {number}",
    }
    with engine.connect() as connection:
        connection.exec_driver_sql(kills[engine.dialect.name])


def recover(engine: sa.Engine, verb: str) -> None:
    """End the prepared transactions, as an administrator does."""
    words = {
        "postgresql": ("SELECT gid FROM pg_prepared_xacts", f"{verb} PREPARED"),
        "mysql": ("XA RECOVER", f"XA {verb}"),
    }
    if engine.dialect.name not in words:
        return
    query, end = words[engine.dialect.name]
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as admin:
        for row in admin.exec_driver_sql(query).all():
            xid = row[-1].decode() if isinstance(row[-1], bytes) else row[-1]
            admin.exec_driver_sql(f"{end} '{xid}'")


# -- two-phase commit ---------------------------------------------------------------


@on("postgresql", "mariadb")
def test_two_phases(server: Database, store: FsspecStore) -> None:
    """They end as one does; a prepared transaction can be rolled back. The signal is
    sent after the second one."""
    announced: list[str] = []

    def hear(sender: t.Any, file: FileWrapper) -> None:
        announced.append(file.key)

    with engine_of(server) as engine, Session(engine, twophase=True) as session:
        seed(engine)
        with file_committed.connected_to(hear):
            change(session, "replaced")
            session.prepare()
            session.rollback()
            assert files(store) == [COVER]
            change(session, "replaced")
            session.prepare()
            assert announced == []
            session.commit()
        assert announced == files(store) == paths(engine) == [NEW]


@on("postgresql", "mariadb")
def test_prepared_transaction_keeps_its_files(
    server: Database, store: FsspecStore
) -> None:
    """The connection dies after PREPARE, and the database commits by recovery."""
    with engine_of(server) as engine:
        seed(engine)
        with Session(engine, twophase=True) as session:
            change(session, "replaced")
            number = number_of(session)
            session.prepare()
            kill(engine, number)
            with pytest.raises(DBAPIError):
                session.commit()
            session.rollback()
        recover(engine, "COMMIT")
        assert paths(engine) == [NEW]
        assert files(store) == [COVER, NEW]


# -- a rollback that was none -------------------------------------------------------


def test_session_closed_in_a_transaction_that_is_committed(
    engine: sa.Engine, store: FsspecStore, caplog: pytest.LogCaptureFixture
) -> None:
    """close() says nothing about a transaction of the caller's."""
    with engine.begin() as connection:
        with Session(connection) as session:
            session.add(Album(cover=cover()))
            session.flush()
    assert caplog.records == []
    assert files(store) == paths(engine) == [COVER]


def test_rollback_without_transactions(database: Database, store: FsspecStore) -> None:
    """Under AUTOCOMMIT the rows stay, and so do their files."""
    with engine_of(database, isolation_level="AUTOCOMMIT") as engine:
        seed(engine)
        with Session(engine) as session:
            change(session, "replaced")
            session.add(Album(cover=cover("third")))
            session.flush()
            session.rollback()
        assert set(paths(engine)) <= set(files(store))


def test_commit_by_a_statement(engine: sa.Engine, store: FsspecStore) -> None:
    """text("COMMIT") and a rollback of nothing."""
    with Session(engine) as session:
        session.add(Album(cover=cover()))
        session.flush()
        session.execute(sa.text("COMMIT"))
        if engine.dialect.name == "sqlite":
            session.execute(sa.text("BEGIN"))
        session.rollback()
    assert files(store) == paths(engine) == [COVER]


@on("mariadb")
def test_commit_by_a_definition(server: Database, store: FsspecStore) -> None:
    """CREATE and DROP commit what went on."""
    with engine_of(server) as engine, Session(engine) as session:
        session.add(Album(cover=cover()))
        session.flush()
        session.execute(sa.text("CREATE TABLE passing (number INT)"))
        session.execute(sa.text("DROP TABLE passing"))
        session.rollback()
        assert files(store) == paths(engine) == [COVER]


@on("mariadb")
def test_table_without_transactions(server: Database, store: FsspecStore) -> None:
    """A row of MyISAM stays after a rollback."""
    with engine_of(server) as engine, Session(engine) as session:
        Base.metadata.create_all(engine)
        session.add(Ledger(scan=cover()))
        session.flush()
        session.rollback()
        assert session.scalars(sa.select(Ledger)).one().scan.read() == b"cover"


# -- who holds a file ---------------------------------------------------------------


def test_row_that_shows_a_file_is_deleted(
    engine: sa.Engine, store: FsspecStore
) -> None:
    """An expression has the type of its column, and owns nothing."""
    with Session(engine) as session:
        review = Review(album_id=seed(engine))
        session.add(review)
        session.commit()
        assert {str(review.cover), str(review.last_cover), str(review.shown)} == {COVER}
        session.delete(review)
        session.commit()
    assert files(store) == [COVER]


def test_deleted_object_is_added_again(engine: sa.Engine, store: FsspecStore) -> None:
    """make_transient() makes a new row of it, which has the file."""
    with Session(engine) as session:
        key = seed(engine)
        album = one(session)
        assert album.cover.exists()
        session.delete(album)
        session.flush()
        make_transient(album)
        album.id = key + 7
        session.add(album)
        session.commit()
        assert album.cover.read() == b"cover"


def test_old_state_becomes_a_row_of_its_own(
    engine: sa.Engine, store: FsspecStore
) -> None:
    """Two rows have the file for a moment, between two flushes."""
    with Session(engine) as session:
        key = seed(engine)
        album = one(session)
        assert album.cover.exists()
        session.expunge(album)
        make_transient(album)
        album.id, album.title = key + 70, "before"
        session.add(album)
        session.flush()
        get(session, key).cover = cover("new")
        session.commit()
    assert files(store) == paths(engine) == [COVER, NEW]


def test_one_file_in_two_columns(engine: sa.Engine, store: FsspecStore) -> None:
    """It goes when the row has it in neither."""
    with Session(engine) as session:
        album = get(session, seed(engine))
        album.back = album.cover
        session.commit()
        album.cover = cover("new")
        session.commit()
        assert album.back.read() == b"cover"
        album.back = None
        session.commit()
    assert files(store) == paths(engine) == [NEW]


@pytest.mark.parametrize("back", [False, True], ids=["another", "the same"])
def test_statement_gives_a_file_to_a_row(
    engine: sa.Engine, store: FsspecStore, back: bool
) -> None:
    """What an object gave up, a statement has put into a row since."""
    first, second = seed(engine), seed(engine, "two", "other")
    with Session(engine) as session:
        album = get(session, first)
        file, album.cover = album.cover, None
        session.flush()
        row = Album.id == (first if back else second)
        session.execute(sa.update(Album).where(row).values(back=file))
        session.commit()
    assert COVER in paths(engine)
    assert COVER in files(store)


def test_replaced_object_with_the_same_key(
    engine: sa.Engine, store: FsspecStore
) -> None:
    """A row that is deleted and written anew in one flush is one UPDATE."""
    with Session(engine) as session:
        key = seed(engine)
        session.delete(one(session))
        session.add(Album(id=key, cover=cover("new")))
        session.commit()
    assert files(store) == paths(engine) == [NEW]


def test_row_that_is_loaded_again_is_the_same_row(
    engine: sa.Engine, store: FsspecStore
) -> None:
    """An object that is expunged and loaded again gives up what it took before."""
    with Session(engine) as session:
        album = Album(cover=cover())
        session.add(album)
        session.flush()
        session.expunge_all()
        one(session).cover = cover("new")
        session.commit()
    assert files(store) == paths(engine) == [NEW]


@on("sqlite")
def test_file_of_a_stranger_is_not_removed(
    server: Database, store: FsspecStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default the driver begins at the first change: what is given up was read
    before, and the name has another owner since."""
    plain = sa.create_engine(server.url)
    key = seed(plain)
    note_lost = rows._Rows._note_lost

    def slow(*args: t.Any, **options: t.Any) -> None:
        note_lost(*args, **options)
        monkeypatch.undo()
        with Session(plain) as other:
            get(other, key).cover = cover("second")
            other.commit()
        seed(plain, "stranger")

    monkeypatch.setattr(rows._Rows, "_note_lost", slow)
    with Session(plain) as session:
        get(session, key).cover = cover("third")
        session.commit()
    assert COVER in paths(plain)
    assert set(paths(plain)) <= set(files(store))
    plain.dispose()


# -- files that were there before ---------------------------------------------------


def test_file_that_is_not_there_is_refused(
    engine: sa.Engine, store: FsspecStore
) -> None:
    """A row never gets a file that is gone."""
    with Session(engine) as session:
        session.add(Album(cover=store.file("albums/gone.jpg")))
        with pytest.raises(FileNotFound, match=r"cannot hold 'albums/gone.jpg'"):
            session.commit()
    assert paths(engine) == []


def test_merge_of_an_object_that_has_grown_old(
    engine: sa.Engine, store: FsspecStore
) -> None:
    """From a cache, say: its file is gone, and the row keeps the new one."""
    key = seed(engine)
    with Session(engine) as session:
        old = get(session, key)
    with Session(engine) as session:
        change(session, "replaced")
        session.commit()
        session.merge(old)
        with pytest.raises(FileNotFound):
            session.commit()
    assert files(store) == paths(engine) == [NEW]


def test_merge_does_not_take_the_file_of_a_stranger(
    engine: sa.Engine, store: FsspecStore
) -> None:
    """The old name has become free, and somebody else's upload has got it."""
    key = seed(engine)
    with Session(engine) as session:
        old = get(session, key)
    with Session(engine) as session:
        change(session, "replaced")
        session.commit()
        seed(engine, "stranger")
        session.merge(old)
        with pytest.raises(ValueError, match="the file of another row"):
            session.commit()
    with Session(engine) as session:
        assert get(session, key).cover.read() == b"new"
    assert files(store) == paths(engine) == [COVER, NEW]


@pytest.mark.parametrize("flush", [False, True], ids=["at once", "after a flush"])
def test_file_of_two_rows_is_refused(
    engine: sa.Engine, store: FsspecStore, flush: bool
) -> None:
    """A copy is taken, and so is the file once the other row is without it."""
    seed(engine)
    with Session(engine) as session:
        session.add(Review(photo=one(session).cover))
        if flush:
            session.flush()
        with pytest.raises(ValueError, match="the file of another row"):
            session.commit()
        session.rollback()
        session.add(Review(photo=one(session).cover.open()))
        session.commit()
        review = Review(photo=one(session).cover)
        session.add(review)
        if flush:
            session.flush()
        one(session).cover = None
        session.commit()
        assert review.photo.read() == b"cover"
    assert files(store) == [COVER, "reviews/cover.jpg"]


@on("sqlite")
def test_same_path_in_another_store_is_another_file(
    server: Database, store: FsspecStore, tmp_path: pathlib.Path
) -> None:
    """It keeps nothing, and is no reason to refuse."""

    class Other(DeclarativeBase):
        """Two stores in one row."""

    archive = FsspecStore.from_url(str(tmp_path / "archive"))

    class Paper(Other):
        __tablename__ = "paper"
        id: Mapped[int] = mapped_column(primary_key=True)
        here: Mapped[t.Any] = mapped_column(StoredFile("albums"), nullable=True)
        there: Mapped[t.Any] = mapped_column(StoredFile(store=archive), nullable=True)

    with engine_of(server) as engine, Session(engine) as session:
        Other.metadata.create_all(engine)
        session.add(Paper(there=archive.put(COVER, b"1")))
        paper = Paper(here=store.put(COVER, b"2"))
        session.add(paper)
        session.commit()
        session.delete(paper)
        session.commit()
    assert (files(store), files(archive)) == ([], [COVER])


# -- uploads ------------------------------------------------------------------------


def test_file_of_a_rolled_back_savepoint(engine: sa.Engine, store: FsspecStore) -> None:
    """It goes with the transaction, unless its object is added again before."""
    with Session(engine) as session:
        kept, lost = Album(id=1, cover=cover("kept")), Album(id=2, cover=cover("lost"))
        for album in (kept, lost):
            with session.begin_nested() as savepoint:
                session.add(album)
                session.flush()
                savepoint.rollback()
        session.add(kept)
        session.commit()
        assert files(store) == paths(engine) == ["albums/kept.jpg"]
        session.add(lost)
        session.commit()
        assert lost.cover.read() == b"lost"


@on("sqlite")
def test_upload_that_can_be_read_once_is_not_saved_empty(
    server: Database, store: FsspecStore
) -> None:
    """It is not given back after a rollback; what is said is that the file is gone."""
    reading, writing = os.pipe()
    os.write(writing, b"once")
    os.close(writing)
    with engine_of(server) as engine, Session(engine) as session:
        with os.fdopen(reading, "rb") as stream:
            album = Album(cover=FileStorage(stream, "once.jpg"))
            session.add(album)
            session.flush()
            assert album.cover.read() == b"once"
            session.rollback()
            session.add(album)
            with pytest.raises(FileNotFound, match="rolled back"):
                session.commit()
    assert files(store) == []


@on("sqlite")
def test_upload_goes_with_its_object(server: Database, store: FsspecStore) -> None:
    """An import does not keep all its files open until the commit."""
    with engine_of(server) as engine, Session(engine) as session:
        stream = io.BytesIO(b"...")
        album = Album(cover=FileStorage(stream, "a.jpg"))
        session.add(album)
        session.flush()
        upload = weakref.ref(stream)
        del stream
        gc.collect()
        assert upload() is not None  # for a second try, after a rollback
        session.expunge_all()
        del album
        gc.collect()
        assert upload() is None
        session.rollback()
    assert files(store) == []


# -- locks, connections, listeners --------------------------------------------------


@on("postgresql")
def test_replacement_does_not_wait_for_rows_that_refer_to_its_row(
    server: Database, store: FsspecStore
) -> None:
    """A child row that is not committed locks the key, which does not change."""
    options = {"connect_args": {"options": "-c lock_timeout=2s"}}
    with engine_of(server, **options) as engine, Session(engine) as other:
        other.add(Review(album_id=seed(engine)))
        other.flush()
        with Session(engine) as session:
            change(session, "replaced")
            session.commit()
        other.commit()
    assert files(store) == [NEW]


def test_pool_of_one_connection(database: Database, store: FsspecStore) -> None:
    """The question waits for no connection that the session, or its caller, has."""
    options = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 3}
    with engine_of(database, **options) as engine:
        seed(engine)
        with Session(engine) as session:
            change(session, "replaced")
            session.commit()
            session.add(Album(cover=cover("third")))
            session.flush()
            session.rollback()
        assert files(store) == [NEW]
        with engine.connect() as connection, Session(connection) as session:
            change(session, "deleted")
            session.commit()
            assert files(store) == []


@on("sqlite")
def test_files_of_a_transaction_are_asked_for_together(
    server: Database, store: FsspecStore
) -> None:
    """One statement after the commit is enough for a hundred files."""
    with engine_of(server) as engine, Session(engine) as session:
        Base.metadata.create_all(engine)
        session.add_all(Album(title=f"{n}", cover=cover(f"{n}")) for n in range(100))
        session.commit()
        for album in session.scalars(sa.select(Album)):
            session.delete(album)
        session.flush()
        asked: list[str] = []

        @event.listens_for(engine, "before_cursor_execute")
        def note(*args: t.Any) -> None:
            asked.append(args[2])

        session.commit()
        assert len([statement for statement in asked if "SELECT" in statement]) == 1
    assert files(store) == []


def test_nothing_stays_on_a_connection(engine: sa.Engine, store: FsspecStore) -> None:
    """A caller may keep one for sessions without number."""
    with engine.connect() as connection:
        for number in range(3):
            with Session(connection) as session:
                session.add(Album(title=f"{number}", cover=cover(f"{number}")))
                session.commit()
        listening: t.Any = connection.dispatch
        assert not [*listening.commit, *listening.rollback, *listening.prepare_twophase]


@on("sqlite")
def test_database_that_does_not_answer(
    server: Database, store: FsspecStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The files stay, and the log says so."""
    with engine_of(server, poolclass=sa.NullPool) as engine:
        seed(engine)
        with Session(engine) as session:
            change(session, "deleted")

            @event.listens_for(engine, "do_connect")
            def refuse(*args: t.Any) -> t.NoReturn:
                raise OSError("no route")

            session.commit()
    assert files(store) == [COVER]
    assert "left to be swept: ['albums/cover.jpg']" in caplog.text


@on("postgresql")
def test_tables_in_a_schema_of_the_session(
    server: Database, store: FsspecStore
) -> None:
    """A tenant's tables are asked for, and not those of the same name elsewhere."""
    tenant = {"schema_translate_map": {None: "tenant"}}
    with engine_of(server) as engine:
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA IF EXISTS tenant CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA tenant")
            Base.metadata.create_all(connection.execution_options(**tenant), TABLES)
        with Session(engine) as session:
            session.connection(execution_options=tenant)
            session.add(Album(cover=cover()))
            session.commit()
            session.connection(execution_options=tenant)
            change(session, "replaced")
            with pytest.raises(IntegrityError):
                session.execute(sa.text("INSERT INTO tenant.review (id) SELECT NULL"))
            session.commit()
            session.connection(execution_options=tenant)
            assert one(session).cover.read() == b"cover"


@on("postgresql")
def test_tables_of_one_metadata_in_two_databases(
    server: Database, store: FsspecStore, tmp_path: pathlib.Path
) -> None:
    """Each is asked for the tables that it has."""
    elsewhere = Database("sqlite", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    with engine_of(server) as engine, engine_of(elsewhere) as other:
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE review")
        Base.metadata.create_all(other, TABLES)
        with Session(binds={Album: engine, Review: other}) as session:
            album, review = Album(cover=cover()), Review(photo=cover("photo"))
            session.add_all([album, review])
            session.commit()
            assert files(store) == [COVER, "reviews/photo.jpg"]
            album.cover, review.photo = cover("new"), album.cover
            session.commit()
            assert files(store) == [COVER, NEW]
            session.add_all([Album(cover=cover("2")), Review(photo=cover("2"))])
            session.flush()
            session.rollback()
            assert files(store) == [COVER, NEW]


def test_database_in_memory(store: FsspecStore) -> None:
    """Every connection is the same one, as in the tests of many applications."""
    for options in ({"poolclass": sa.StaticPool}, {}):
        with engine_of(Database("sqlite", "sqlite://"), **options) as engine:
            Base.metadata.create_all(engine)
            seed(engine)
            with Session(engine) as session:
                change(session, "replaced")
                session.commit()
                assert files(store) == [NEW]
                session.add(Album(cover=cover("third")))
                session.flush()
                session.rollback()
                change(session, "deleted")
                session.commit()
            assert files(store) == []


# -- receivers ----------------------------------------------------------------------


@on("sqlite")
def test_receiver_that_refuses_a_file(server: Database, store: FsspecStore) -> None:
    """A scanner, say: what it refuses is not kept, in a row or without one."""

    def refuse(sender: t.Any, file: t.Any) -> t.NoReturn:
        raise PermissionError("a virus")

    with engine_of(server) as engine, Session(engine) as session:
        with file_saved.connected_to(refuse):
            session.add(Album(cover=cover()))
            with pytest.raises(PermissionError):
                session.commit()
            session.rollback()
            with pytest.raises(PermissionError):
                store.save(cover())
            store.put("mine.jpg", b"1")
            with pytest.raises(PermissionError):
                store.save(b"2", "mine.jpg", on_conflict="overwrite")
    assert files(store) == ["mine.jpg"]


@on("sqlite")
def test_receiver_that_uses_the_session(
    server: Database, store: FsspecStore, caplog: pytest.LogCaptureFixture
) -> None:
    """By the time a file is removed, the session can begin anew."""
    with engine_of(server) as engine, Session(engine) as session:
        seed(engine)

        def note(sender: t.Any, file: t.Any) -> None:
            session.add(Album(title=f"no more {file.filename}"))
            session.commit()

        with file_deleted.connected_to(note):
            change(session, "deleted")
            session.commit()
        assert one(session).title == "no more cover.jpg"
        assert caplog.records == []


@on("sqlite")
def test_interrupted_removal_leaves_the_session_usable(
    server: Database, store: FsspecStore
) -> None:
    """A worker's timeout comes up in the middle: the commit has happened."""
    with engine_of(server) as engine, Session(engine) as session:
        seed(engine)

        def interrupt(sender: t.Any, file: t.Any) -> t.NoReturn:
            raise KeyboardInterrupt

        with file_deleted.connected_to(interrupt):
            change(session, "replaced")
            with pytest.raises(KeyboardInterrupt):
                session.commit()
        assert str(one(session).cover) == NEW
        session.commit()


@on("sqlite")
def test_receiver_that_fails_after_the_removal(
    server: Database, store: FsspecStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The log does not say that the file is still there."""
    with engine_of(server) as engine, Session(engine) as session:
        seed(engine)

        def fail(sender: t.Any, file: t.Any) -> t.NoReturn:
            raise RuntimeError

        with file_deleted.connected_to(fail):
            change(session, "deleted")
            session.commit()
    assert "or a receiver of file_deleted did" in caplog.text
    assert files(store) == []
