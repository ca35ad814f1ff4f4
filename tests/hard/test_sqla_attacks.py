"""Tries to take the file of a committed row away.

What still succeeds is an expected failure, with the reason. The mark goes when it is
mended.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import pathlib
import signal
import sys
import time
import typing as t

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from sqlalchemy.orm import Session

from flask_store import Store
from flask_store.files import FileWrapper
from flask_store.sqla import StoredFile
from flask_store.sqla import sweep
from flask_store.sqla import transactions
from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import upload
from tests.hard import test_sqla_databases as common
from tests.hard.test_sqla_databases import Album
from tests.hard.test_sqla_databases import COVER
from tests.hard.test_sqla_databases import cover
from tests.hard.test_sqla_databases import Database
from tests.hard.test_sqla_databases import engine_of
from tests.hard.test_sqla_databases import files
from tests.hard.test_sqla_databases import get
from tests.hard.test_sqla_databases import on
from tests.hard.test_sqla_databases import paths
from tests.hard.test_sqla_databases import recover
from tests.hard.test_sqla_databases import Review
from tests.hard.test_sqla_databases import seed
from tests.support import databases
from tests.support.servers import S3Server

server = common.server
store = databases.store

#: Files of the future are old enough, too: the clocks need not agree.
ALL = dt.timedelta(seconds=-5)
COLUMNS: list[t.Any] = [Album.cover, Album.back, Review.photo]
MODULE = sys.modules["flask_store.sqla.orphans"]

#: What does not depend on the database is tried on one.
EVERY = on("postgresql")
SERVERS = on("postgresql", "mariadb")


class OtherBase(DeclarativeBase):
    """Tables of the same database with a ``MetaData`` of their own."""


class Poster(OtherBase):
    """One of them, for files of the same folder."""

    __tablename__ = "poster"
    id: Mapped[int] = mapped_column(primary_key=True)
    sheet: Mapped[t.Any] = mapped_column(
        StoredFile("albums", length=180), nullable=True
    )


def fault(reason: str) -> pytest.MarkDecorator:
    """A try that succeeds."""
    return pytest.mark.xfail(strict=True, reason=reason, raises=AssertionError)


def check(engine: sa.Engine, store: FsspecStore) -> None:
    """Every row has its file."""
    lost = set(paths(engine)) - set(files(store))
    assert not lost, f"rows without a file: {lost}"


def commit(engine: sa.Engine, *rows: object) -> None:
    """Another process commits."""
    with Session(engine) as session:
        session.add_all(rows)
        session.commit()


def let_read_beside(engine: sa.Engine) -> None:
    """SQLite lets nobody write while somebody reads, by default."""
    if engine.dialect.name == "sqlite":
        with contextlib.closing(engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA journal_mode=WAL")


# -- a COMMIT that goes on in the server ------------------------------------------


class Limit(Exception):
    """A task has used up its time; raised by a signal, as Celery's are."""


@contextlib.contextmanager
def interrupted(error: type[BaseException]) -> t.Iterator[None]:
    """Raise after a moment, wherever the program waits."""

    def handler(*args: t.Any) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def slow_commits(engine: sa.Engine) -> t.Iterator[None]:
    """Let a COMMIT of albums wait for a lock, until the end."""
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_advisory_xact_lock(16); RETURN NULL; END $$"
        )
        connection.exec_driver_sql(
            "CREATE CONSTRAINT TRIGGER slow AFTER INSERT OR UPDATE ON album"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()"
        )
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(16)")
        yield
    with engine.begin() as connection:  # the other one has it first
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(16)")


def change(session: Session, key: int) -> None:
    """Replace a file, and add one."""
    get(session, key).cover = cover("new")
    session.add(Album(title="two", back=cover("second")))
    session.flush()


@pytest.mark.parametrize(
    ("error", "rolls_back"),
    [
        (Limit, True),
        (Limit, False),
        (KeyboardInterrupt, True),
    ],
)
@on("postgresql")
def test_client_gives_up_while_the_server_commits(
    server: Database, store: FsspecStore, error: type[BaseException], rolls_back: bool
) -> None:
    """Nobody but the database knows what becomes of it."""
    with engine_of(server) as engine, engine_of(server) as admin:
        key = seed(engine)
        with slow_commits(admin):
            session = Session(engine)
            change(session, key)
            with pytest.raises(error), interrupted(error):
                session.commit()
            if rolls_back:
                session.rollback()
            session.close()
        check(admin, store)


@pytest.mark.parametrize("rolls_back", [False, True])
@pytest.mark.parametrize("cancelled", [False, True])
@on("postgresql")
def test_task_is_cancelled_while_the_server_commits(
    server: Database, store: FsspecStore, cancelled: bool, rolls_back: bool
) -> None:
    """The same with asyncpg, by a cancellation or by its own time limit."""

    async def run(key: int) -> None:
        engine = create_async_engine(
            server.url.replace("psycopg", "asyncpg"),
            connect_args={} if cancelled else {"command_timeout": 0.3},
        )
        async with AsyncSession(engine) as session:
            await session.run_sync(lambda sync: change(sync, key))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3 if cancelled else 30):
                    await session.commit()
            if rolls_back:
                await session.rollback()
        await engine.dispose()

    with engine_of(server) as engine:
        key = seed(engine)
        with slow_commits(engine):
            asyncio.run(run(key))
        check(engine, store)


@on("postgresql")
def test_second_phase_is_interrupted(server: Database, store: FsspecStore) -> None:
    """The prepared transaction is committed later, by an administrator."""
    with engine_of(server) as engine, engine_of(server) as admin:
        key = seed(engine)

        @event.listens_for(engine, "commit_twophase")
        def interrupt(*args: t.Any) -> None:
            raise Limit

        with Session(engine, twophase=True) as session:
            get(session, key).cover = cover("new")
            with pytest.raises(Limit):
                session.commit()
            session.rollback()
        recover(admin, "COMMIT")
        check(admin, store)


# -- a statement that goes on in the server ------------------------------------------


@contextlib.contextmanager
def title_is_taken(engine: sa.Engine, title: str) -> t.Iterator[None]:
    """Let whoever writes a row of this title wait, until the end. The title is free
    then, and all statements are over."""
    with engine.connect() as connection:
        connection.execute(sa.insert(Album).values(title=title))
        yield
        connection.rollback()
        active = {
            "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'"
            " AND pid <> pg_backend_pid()",
            "mysql": "SELECT count(*) FROM information_schema.processlist WHERE"
            " command IN ('Query', 'Killed') AND id <> connection_id()",
        }
        deadline = time.monotonic() + 30
        while connection.exec_driver_sql(active[engine.dialect.name]).scalar():
            assert time.monotonic() < deadline, "a statement does not end"
            connection.rollback()


def write(session: Session, key: int, how: str) -> None:
    """Write a row of the title that is taken, with a new file."""
    if how == "insert":
        session.add(Album(title="taken", cover=cover("new")))
    else:
        album = get(session, key)
        album.title, album.cover = "taken", cover("new")
    session.flush()


@pytest.mark.parametrize("how", ["insert", "update"])
@pytest.mark.parametrize("error", [Limit, KeyboardInterrupt])
@SERVERS
def test_client_gives_up_while_a_statement_waits(
    server: Database, store: FsspecStore, error: type[BaseException], how: str
) -> None:
    """Under AUTOCOMMIT the row is there as soon as the statement has ended, which may
    be long after the rollback."""
    with engine_of(server, isolation_level="AUTOCOMMIT") as engine:
        key = seed(engine)
        with engine_of(server) as admin, title_is_taken(admin, "taken"):
            with Session(engine) as session:
                # If the driver cannot roll back, that is what is raised.
                errors = (error, sa.exc.DBAPIError)
                with pytest.raises(errors), interrupted(error):
                    write(session, key, how)
                with contextlib.suppress(sa.exc.DBAPIError):
                    session.rollback()
        check(engine, store)


@pytest.mark.parametrize("sends", [True, False])
@on("mariadb")
def test_answer_is_late(
    server: Database, store: FsspecStore, monkeypatch: pytest.MonkeyPatch, sends: bool
) -> None:
    """The driver gives up, and the server does not notice. Under AUTOCOMMIT a driver
    need not send a ROLLBACK."""
    options = {"isolation_level": "AUTOCOMMIT", "connect_args": {"read_timeout": 0.3}}
    with engine_of(server, **options) as engine:
        if not sends:
            monkeypatch.setattr(engine.dialect, "do_rollback", lambda driver: None)
        seed(engine)
        with engine_of(server) as admin, title_is_taken(admin, "taken"):
            with Session(engine) as session:
                session.add(Album(title="taken", cover=cover("new")))
                with pytest.raises(sa.exc.DBAPIError):
                    session.flush()
                session.rollback()
        check(engine, store)


@on("mariadb")
def test_driver_that_need_not_roll_back_is_interrupted(
    server: Database, store: FsspecStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing tells that the connection is of no use any more."""
    with engine_of(server, isolation_level="AUTOCOMMIT") as engine:
        monkeypatch.setattr(engine.dialect, "do_rollback", lambda driver: None)
        key = seed(engine)
        with engine_of(server) as admin, title_is_taken(admin, "taken"):
            with Session(engine) as session:
                with pytest.raises(Limit), interrupted(Limit):
                    write(session, key, "update")
                session.rollback()
        check(engine, store)


@on("mariadb")
def test_statement_waits_for_a_table_without_transactions(
    server: Database, store: FsspecStore
) -> None:
    """Not even a ROLLBACK would take this row back."""
    with engine_of(server) as engine, engine_of(server) as admin:
        common.Ledger.metadata.create_all(engine)
        with title_is_taken(admin, "unused"), admin.connect() as connection:
            connection.exec_driver_sql("LOCK TABLES ledger READ")
            with Session(engine) as session:
                session.add(common.Ledger(scan=cover()))
                with pytest.raises(Limit), interrupted(Limit):
                    session.flush()
                with contextlib.suppress(sa.exc.DBAPIError):
                    session.rollback()
            connection.exec_driver_sql("UNLOCK TABLES")
        with Session(engine) as session:
            for row in session.scalars(sa.select(common.Ledger)):
                assert row.scan.exists()


@pytest.mark.parametrize("error", [Limit, KeyboardInterrupt])
@on("postgresql")
def test_client_gives_up_while_a_statement_commits(
    server: Database, store: FsspecStore, error: type[BaseException]
) -> None:
    """text("COMMIT") is a statement for the session."""
    with engine_of(server) as engine, engine_of(server) as admin:
        key = seed(engine)
        with slow_commits(admin), Session(engine) as session:
            change(session, key)
            with pytest.raises(error), interrupted(error):
                session.execute(sa.text("COMMIT"))
            with contextlib.suppress(sa.exc.DBAPIError):
                session.rollback()
        check(admin, store)


@on("postgresql")
def test_second_phase_is_refused(server: Database, store: FsspecStore) -> None:
    """What is prepared stays so, and an administrator commits it later."""
    with engine_of(server, poolclass=sa.NullPool) as engine:
        key = seed(engine)

        @event.listens_for(engine, "commit_twophase")
        def become_nobody(connection: sa.Connection, *args: t.Any) -> None:
            driver: t.Any = connection.connection.dbapi_connection
            driver.pgconn.exec_(b"SET ROLE pg_monitor")

        with Session(engine, twophase=True) as session:
            change(session, key)
            with pytest.raises(sa.exc.DBAPIError, match="permission"):
                session.commit()
            session.rollback()
        recover(engine, "COMMIT")
        check(engine, store)


@pytest.mark.parametrize("options", [{}, {"isolation_level": "AUTOCOMMIT"}])
@on("sqlite", "postgresql", "mariadb")
def test_value_that_the_driver_cannot_send(
    server: Database, store: FsspecStore, options: dict[str, t.Any]
) -> None:
    """Nothing was asked, so nothing is left unanswered: no file stays behind."""
    with engine_of(server, **options) as engine, Session(engine) as session:
        session.add(Album(title="\ud800", cover=cover()))
        with pytest.raises((UnicodeEncodeError, sa.exc.DBAPIError)):
            session.commit()
        session.rollback()
        assert files(store) == paths(engine) == []


# -- one moves a file, another removes it ------------------------------------------


@pytest.mark.parametrize("expires", [True, False])
@SERVERS
def test_file_is_replaced_while_it_is_handed_over(
    server: Database, store: FsspecStore, expires: bool
) -> None:
    """Its new row is written, and its old one not yet."""
    with engine_of(server) as engine:
        commit(engine, Album(id=50, title="two"))
        with (
            Session(engine, expire_on_commit=expires) as mover,
            Session(engine) as other,
        ):
            one, two = Album(id=1, cover=cover()), get(mover, 50)
            mover.add(one)
            mover.commit()
            two.cover = one.cover
            mover.flush()
            get(other, 1).cover = cover("new")
            other.commit()
            one.cover = None
            with contextlib.suppress(ValueError, FileNotFoundError):
                mover.commit()
        check(engine, store)


@pytest.mark.parametrize(
    "how", ["object", pytest.param("name", marks=fault("nothing locks a name"))]
)
@on("postgresql")
def test_file_is_deleted_while_another_row_takes_it(
    server: Database, store: FsspecStore, how: str
) -> None:
    """This is forbidden, and would be refused if the row were still there."""
    with engine_of(server) as engine:
        first = seed(engine)
        commit(engine, Album(id=50, title="two"))
        with Session(engine) as taker, Session(engine) as other:
            file = get(taker, first).cover
            get(taker, 50).cover = file if how == "object" else store.file(COVER)
            taker.flush()
            other.delete(get(other, first))
            other.commit()
            with contextlib.suppress(ValueError, FileNotFoundError):
                taker.commit()
        check(engine, store)


@SERVERS
def test_file_is_taken_after_a_savepoint_has_let_go_of_it(
    server: Database, store: FsspecStore
) -> None:
    """ROLLBACK TO SAVEPOINT gives the row its file back, and unlocks it."""
    with engine_of(server) as engine:
        first = seed(engine)
        commit(engine, Album(id=50, title="two"))
        with Session(engine) as taker:
            one, two = get(taker, first), get(taker, 50)
            file = one.cover
            with taker.begin_nested() as savepoint:
                one.cover = None
                taker.flush()
                savepoint.rollback()
            two.cover = file
            with pytest.raises(ValueError, match="the file of another row"):
                taker.commit()
        assert paths(engine) == [COVER]


@EVERY
def test_file_is_taken_to_another_database(
    server: Database, store: FsspecStore, tmp_path: pathlib.Path
) -> None:
    """By two sessions, of which the second does not know of the first."""
    other = sa.create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    Album.metadata.create_all(other, common.TABLES)
    with engine_of(server) as engine:
        key = seed(engine)
        with Session(engine) as giver, Session(other) as taker:
            taker.add(Album(title="copy", cover=get(giver, key).cover))
            with pytest.raises(ValueError, match="the file of another row"):
                taker.commit()
            taker.rollback()
            taker.add(Album(title="copy", cover=get(giver, key).cover.open()))
            taker.commit()
            get(giver, key).cover = None
            giver.commit()
        check(other, store)
    other.dispose()


@EVERY
def test_one_row_keeps_a_file_that_another_takes(
    server: Database, store: FsspecStore
) -> None:
    """The row is locked for a change of its other column."""
    with engine_of(server) as engine:
        key = seed(engine)
        with Session(engine) as session:
            album = get(session, key)
            file, album.back = album.cover, cover("back")
            session.add(Review(photo=file))
            with pytest.raises(ValueError, match="the file of another row"):
                session.commit()
        assert paths(engine) == [COVER]


# -- one file of two rows ------------------------------------------


@EVERY
def test_file_of_this_transaction_is_given_to_two_rows(
    server: Database, store: FsspecStore
) -> None:
    """It is refused as any other, or two transactions remove it, one after another."""
    with engine_of(server) as engine, Session(engine) as session:
        one, two = Album(title="one", cover=cover()), Album(title="two")
        session.add_all([one, two])
        session.flush()
        two.cover = one.cover
        with contextlib.suppress(ValueError):
            session.commit()
        assert paths(engine) in ([], [COVER])


@on("mariadb")
def test_old_file_whose_name_is_taken_is_put_back(
    server: Database, store: FsspecStore
) -> None:
    """In a session that has read before: MariaDB's default isolation hides what was
    committed since."""
    with engine_of(server) as engine:
        key = seed(engine)
        with Session(engine) as session:
            old = get(session, key).cover
        with Session(engine) as session:
            session.scalars(sa.select(Review)).all()
            with Session(engine) as other:
                get(other, key).cover = cover("new")
                other.commit()
            commit(engine, Album(title="stranger", cover=cover()))
            get(session, key).back = old
            with contextlib.suppress(ValueError):
                session.commit()
        assert paths(engine).count(COVER) == 1


@pytest.mark.parametrize(
    "how",
    [
        "object",
        pytest.param("statement", marks=fault("only the MetaData of objects is asked")),
        "two rows",
    ],
)
@EVERY
def test_file_goes_to_tables_of_another_metadata(
    server: Database, store: FsspecStore, how: str
) -> None:
    """Two declarative bases may share a database."""
    with engine_of(server) as engine:
        OtherBase.metadata.drop_all(engine)
        OtherBase.metadata.create_all(engine)
        key = seed(engine)
        commit(engine, Poster(id=1))
        with Session(engine) as session:
            file = get(session, key).cover
            if how == "statement":
                session.execute(sa.update(Poster).values(sheet=file))
            else:
                session.get_one(Poster, 1).sheet = file
            if how != "two rows":
                get(session, key).cover = None
            with contextlib.suppress(ValueError):
                session.commit()
        with Session(engine) as session:
            session.delete(get(session, key))
            session.commit()
        with Session(engine) as session:
            file = session.get_one(Poster, 1).sheet
            assert file is None or file.exists()


# -- sweeps ------------------------------------------


@fault("the file that a commit removes is told by its name alone")
@EVERY
def test_name_is_swept_and_taken_between_a_commit_and_its_removal(
    server: Database, store: FsspecStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the commit on, a sweep takes the replaced file for an orphan."""
    with engine_of(server) as engine:
        key = seed(engine)
        os.utime(store.absolute_path(COVER), (0, 0))
        remove = transactions.remove

        def remove_late(file: FileWrapper) -> None:
            monkeypatch.undo()
            with Session(engine) as sweeper:
                assert sweep(store, sweeper, COLUMNS) == [COVER]
            commit(engine, Album(title="stranger", cover=cover()))
            remove(file)

        monkeypatch.setattr(transactions, "remove", remove_late)
        with Session(engine) as session:
            get(session, key).cover = cover("new")
            session.commit()
        check(engine, store)


@EVERY
def test_name_is_taken_for_the_same_bytes_while_it_is_swept(
    server: Database,
    moto_server: S3Server,
    moto_bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A row goes, and its file comes again for another, which is not yet committed."""
    bucket = FsspecStore.from_url(
        f"s3://{moto_bucket}",
        endpoint_url=moto_server.endpoint_url,
        key=moto_server.access_key,
        secret=moto_server.secret_key,
    )

    class Local(DeclarativeBase):
        pass

    class Icon(Local):
        __tablename__ = "icon"
        id: Mapped[int] = mapped_column(primary_key=True)
        image: Mapped[t.Any] = mapped_column(StoredFile("icons", bucket, length=180))

    with engine_of(server) as engine:
        let_read_beside(engine)
        Local.metadata.drop_all(engine)
        Local.metadata.create_all(engine)
        commit(engine, Icon(id=1, image=upload(b"same", "a.png")))
        with Session(engine) as sweeper, Session(engine) as writer:
            asked = t.cast("t.Any", MODULE)._keys_in_rows

            def ask_late(*args: t.Any) -> t.Any:
                monkeypatch.undo()
                with Session(engine) as other:
                    other.delete(other.get_one(Icon, 1))
                    other.commit()
                time.sleep(1.1)  # S3's dates have seconds
                writer.add(Icon(id=2, image=upload(b"same", "a.png")))
                writer.flush()
                return asked(*args)

            monkeypatch.setattr(MODULE, "_keys_in_rows", ask_late)
            assert sweep(bucket, sweeper, [Icon.image], ALL) == []
            writer.commit()


@EVERY
def test_store_within_another_keeps_its_files(
    server: Database, tmp_path: pathlib.Path
) -> None:
    """All columns are named, and the stores share a folder."""
    app = Flask(__name__)
    app.config["STORE_PATH"] = str(tmp_path / "uploads")
    app.config["SCANS_STORE_PATH"] = str(tmp_path / "uploads/scans")
    outer, inner = Store(app), Store(app, name="scans")

    class Local(DeclarativeBase):
        pass

    class Scan(Local):
        __tablename__ = "scan"
        id: Mapped[int] = mapped_column(primary_key=True)
        page: Mapped[t.Any] = mapped_column(StoredFile(store=inner, length=180))

    with app.app_context(), engine_of(server) as engine:
        Local.metadata.drop_all(engine)
        Local.metadata.create_all(engine)
        commit(engine, Scan(id=1, page=cover()))
        with Session(engine) as session:
            store = t.cast("FsspecStore", outer.Provider())
            assert sweep(store, session, [Scan.page], ALL) == []


@pytest.fixture
def tenant(server: Database) -> t.Iterator[None]:
    """A schema with tables of its own; those of the default one are empty."""
    with engine_of(server) as engine:
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA tenant")
            for table in ("album", "review"):
                sql = f"CREATE TABLE tenant.{table} (LIKE public.{table})"
                connection.exec_driver_sql(sql)
        yield
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA tenant CASCADE")


@pytest.mark.parametrize("how", ["option", "connection", "search_path"])
@on("postgresql")
@pytest.mark.usefixtures("tenant")
def test_sweep_looks_where_the_session_looks(
    server: Database, store: FsspecStore, how: str
) -> None:
    """A tenant's schema is in options, in the connection or in a setting of it."""
    options = {"schema_translate_map": {None: "tenant"}}
    with engine_of(server) as engine, engine.connect() as connection:
        with Session(connection if how == "connection" else engine) as session:
            if how == "option":
                session.connection(execution_options=options)
            elif how == "connection":
                connection.execution_options(**options)
            else:
                session.execute(sa.text("SET search_path TO tenant"))
            session.add(Album(id=1, title="one", cover=cover()))
            session.commit()
            if how == "option":
                session.connection(execution_options=options)
            elif how == "search_path":
                session.execute(sa.text("SET search_path TO tenant"))
            assert sweep(store, session, COLUMNS, ALL) == []


@EVERY
def test_sweep_asks_the_database_that_the_session_routes_to(
    server: Database, store: FsspecStore, tmp_path: pathlib.Path
) -> None:
    """SQLAlchemy's manual routes by the mapper, in get_bind()."""
    other = sa.create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    with engine_of(server) as engine, contextlib.closing(other.raw_connection()):
        Album.metadata.create_all(other, common.TABLES)

        class Routing(Session):
            def get_bind(self, mapper: t.Any = None, **kw: t.Any) -> sa.Engine:
                return engine if mapper and mapper.class_ is Album else other

        with Routing() as session:
            session.add(Album(title="one", cover=cover()))
            session.commit()
            assert sweep(store, session, COLUMNS, ALL) == []
    other.dispose()


@EVERY
def test_sweep_with_a_pool_of_one(server: Database, store: FsspecStore) -> None:
    """The session has read, and has the only connection: the pool says so. Without a
    transaction of the session's one is enough."""
    with engine_of(server, pool_size=1, max_overflow=0, pool_timeout=0.3) as engine:
        seed(engine)
        with Session(engine) as session:
            session.scalars(sa.select(Album)).all()
            with pytest.raises(sa.exc.TimeoutError):
                sweep(store, session, COLUMNS, ALL)
            session.close()
            assert sweep(store, session, COLUMNS, ALL) == []


@EVERY
def test_old_file_that_is_assigned_is_young(
    server: Database, store: FsspecStore, tmp_path: pathlib.Path
) -> None:
    """The date of an upload is that of its saving, or it would be swept at once."""
    old = tmp_path / "old.jpg"
    old.write_bytes(b"old")
    os.utime(old, (0, 0))
    with engine_of(server) as engine:
        let_read_beside(engine)
        with Session(engine) as session, Session(engine) as sweeper:
            session.add(Album(title="one", cover=old))
            session.flush()
            assert sweep(store, sweeper, COLUMNS) == []
            session.commit()


@on("mariadb")
def test_path_is_cut_short(server: Database, store: FsspecStore) -> None:
    """A path that is longer than its column is refused by the others."""
    with engine_of(server) as engine:

        @event.listens_for(engine, "connect")
        def connect(connection: t.Any, record: t.Any) -> None:
            connection.cursor().execute("SET sql_mode=''")

        with contextlib.suppress(sa.exc.StatementError):
            commit(engine, Album(title="one", cover=upload(b"1", "n" * 190 + ".jpg")))
        check(engine, store)
