"""Random steps over rows with files, checked against a truth that is in the rows.

The text of each file is also in a plain column beside it. So whatever the database has
committed says which files must be there, and with which bytes.

A run consists of rounds, each with a seed of its own, so that one can be repeated::

    python -m tests.support.sqla_model sqlite:////tmp/rows.db \\
        '{"STORE_PATH": "/tmp/files"}' --seed 1 --seconds 60

``--kills`` runs the rounds in processes that are killed in their middle by SIGKILL.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import datetime as dt
import io
import json
import os
import pathlib
import random
import signal
import sys
import tempfile
import time
import traceback
import typing as t
import warnings
from collections import Counter
from collections import deque
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import SAWarning
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import declarative_base
from sqlalchemy.orm import make_transient
from sqlalchemy.orm import Session
from sqlalchemy.orm import SessionTransaction
from sqlalchemy.orm.attributes import flag_modified
from werkzeug.datastructures import FileStorage

from flask_store.dialects.local import LocalDialect
from flask_store.files import FileWrapper
from flask_store.signals import file_committed
from flask_store.sqla import orphans
from flask_store.sqla import StoredFile
from flask_store.sqla import sweep
from flask_store.stores.fsspec import FsspecStore

TABLE = "model_row"
#: The columns of files; the text of each is in a column of this name and ``_text``.
FILES = ("picture", "thumb")
#: How many steps a round has, and after how many of them all rows are looked at.
STEPS = 100
CHECK = 8
#: Few, so that a name that has become free is soon taken again.
NAMES = ["a.jpg", "b.jpg", "c.png"]
#: Older than everything, whatever the clock of the storage says.
NOW = dt.timedelta(seconds=-5)

#: The steps, and how often each comes up.
STEPS_OF_OBJECTS = {
    "new": 7,
    "replace": 6,
    "replace_thumb": 3,
    "clear": 2,
    "delete": 3,
    "flush": 6,
    "load": 4,
    "begin_savepoint": 6,
    "release_savepoint": 2,
    "roll_back_to_savepoint": 4,
    "commit": 7,
    "rollback": 1,
    "close": 1,
    "expunge": 1,
    "expire": 1,
    "refresh": 1,
    "swap": 1,
    "hand_over": 1,
    "share_in_row": 1,
    "change_and_take_back": 1,
    "revive": 1,
    "break_unique": 1,
    "break_foreign_key": 1,
    "break_check": 1,
    "merge": 1,
    "toggle_autoflush": 1,
    "add_again": 2,
    "sweep": 1,
}
#: Those after which files may be left, as documented, or the session is mistaken.
ROUGH_STEPS = {
    "swallow_error": 1,
    "insert_statement": 1,
    "update_statement": 1,
    "delete_statement": 1,
    "bulk_delete": 1,
    "kill_backend": 1,
}


class Broken(Exception):
    """A promise was broken."""


@dataclasses.dataclass
class Report:
    """What a run has done and found."""

    rounds: int = 0
    steps: int = 0
    commits: int = 0
    kills: int = 0
    files_read: int = 0
    swept: int = 0
    errors: Counter[str] = dataclasses.field(default_factory=Counter)
    done: Counter[str] = dataclasses.field(default_factory=Counter)
    broken: list[str] = dataclasses.field(default_factory=list)


# -- the database -------------------------------------------------------------------


def sync_url(url: str) -> str:
    """The same database by a driver that is not asynchronous."""
    return url.replace("+asyncpg", "+psycopg")


def options_of(url: str) -> dict[str, t.Any]:
    """What :func:`sqlalchemy.create_engine` is given. One thread plays all sessions:
    it must not wait for itself."""
    kind = sa.make_url(url)
    arguments: dict[str, t.Any] = {
        "postgresql+psycopg": {"options": "-c lock_timeout=20ms"},
        "postgresql+asyncpg": {"server_settings": {"lock_timeout": "20ms"}},
        "mysql+pymysql": {"init_command": "SET innodb_lock_wait_timeout=0"},
        "sqlite": {"timeout": 0},
    }
    return {"connect_args": arguments[kind.drivername]}


@contextlib.contextmanager
def engine_of(url: str, **options: t.Any) -> Iterator[sa.Engine]:
    """An engine, and all its connections closed at the end."""
    engine = sa.create_engine(url, **options)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def connect(connection: t.Any, record: t.Any) -> None:
            connection.isolation_level = None
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=OFF")

        @event.listens_for(engine, "begin")
        def begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql("BEGIN")

    try:
        yield engine
    finally:
        engine.dispose()


def row_class(store: FsspecStore, backend: str) -> t.Any:
    """A class of rows with two files, whose texts are beside them."""
    refers = [sa.ForeignKey(f"{TABLE}.id", deferrable=True, initially="DEFERRED")]
    namespace: dict[str, t.Any] = {
        "__tablename__": TABLE,
        "id": sa.Column(sa.Integer, primary_key=True),
        "name": sa.Column(sa.String(40), unique=True),
        "amount": sa.Column(sa.Integer, sa.CheckConstraint("amount >= 0"), default=0),
        # InnoDB looks at once.
        "parent": sa.Column(sa.Integer, *([] if backend == "mysql" else refers)),
    }
    for attribute in FILES:
        namespace[attribute] = sa.Column(StoredFile(f"{attribute}s", store, length=180))
        namespace[f"{attribute}_text"] = sa.Column(sa.String(80))
    return type("Row", (declarative_base(),), namespace)


def wait_until_alone(engine: sa.Engine) -> None:
    """Wait until the database has noticed that a process is dead: what it had sent may
    still be committed."""
    queries = {
        "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE backend_type ="
        " 'client backend' AND pid <> pg_backend_pid()",
        "mysql": "SELECT count(*) FROM information_schema.processlist WHERE id <>"
        " connection_id() AND db = database()",
        "sqlite": "SELECT 0",
    }
    query, deadline = queries[engine.dialect.name], time.monotonic() + 20
    with engine.connect() as connection:
        while connection.exec_driver_sql(query).scalar():
            connection.rollback()
            if time.monotonic() > deadline:
                raise TimeoutError("The database does not notice a dead client.")
            time.sleep(0.005)


# -- what must be true --------------------------------------------------------------


class Truth:
    """What the database has committed, and what the store has.

    :param engine: of connections that are in no transaction of a session.
    """

    def __init__(self, engine: sa.Engine, store: FsspecStore, report: Report) -> None:
        self.engine = engine
        self.store = store
        self.report = report
        self.row = row_class(store, engine.dialect.name)
        self.columns = [getattr(self.row, attribute) for attribute in FILES]

    def create(self) -> None:
        """Make the table anew."""
        self.row.metadata.drop_all(self.engine)
        self.row.metadata.create_all(self.engine)

    def clear(self) -> None:
        """Delete all rows, by a statement, and sweep up their files."""
        with Session(self.engine) as session:
            session.execute(sa.delete(self.row))
            session.commit()
            sweep(self.store, session, self.columns, NOW)
        if files := self.files():
            raise Broken(f"A sweep without rows leaves {files}")

    def files(self) -> set[str]:
        """The paths of all files."""
        return {found.name for found in self.store.ls()}

    def check(self) -> set[str]:
        """Look at every row.

        :return: the paths that rows hold.
        :raises Broken: if a row has no file, another's, or wrong bytes.
        """
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(self.row.__table__)).mappings().all()
        owners: dict[str, int] = {}
        for row in rows:
            for attribute in FILES:
                file, text = row[attribute], row[f"{attribute}_text"]
                where = f"row {row['id']}, {attribute} {file}"
                if (file is None) != (text is None):
                    raise Broken(f"half a row: {where}, text {text}")
                if file is None:
                    continue
                if owners.setdefault(file.key, row["id"]) != row["id"]:
                    raise Broken(f"two rows have one file: {where}")
                try:
                    found = file.read().decode()
                except FileNotFoundError:
                    raise Broken(f"row without its file: {where}") from None
                if found != text:
                    raise Broken(f"wrong bytes: {where} has {found}, not {text}")
                self.report.files_read += 1
        return set(owners)

    def check_announced(self, announced: Counter[str], whole: bool) -> None:
        """Compare the signals that were sent with the rows.

        :param whole: whether the sessions know of all that was committed.
        :raises Broken: if a file of a row was not announced, or one was twice.
        """
        columns = [getattr(self.row, f"{attribute}_text") for attribute in FILES]
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(*columns)).all()
        texts = {text for row in rows for text in row if text is not None}
        if whole and not texts <= {*announced}:
            raise Broken(f"not announced: {sorted(texts - {*announced})}")
        if twice := [text for text, count in announced.items() if count > 1]:
            raise Broken(f"announced more than once: {twice}")

    def check_sweep(self, quiet: bool) -> None:
        """Sweep, when nothing else goes on.

        :param quiet: whether nothing has happened that may leave files.
        :raises Broken: if anything but the files without a row goes, or one stays.
        """
        held = self.check()
        left = self.files() - held
        if quiet and left:
            raise Broken(f"files are left: {sorted(left)}")
        with Session(self.engine) as session:
            found = {f.name for f in orphans(self.store, session, self.columns, NOW)}
            removed = set(sweep(self.store, session, self.columns, NOW))
        if not left == found == removed or self.files() != held:
            raise Broken(f"of {left} were found {found}, removed {removed}")
        self.check()
        self.report.swept += len(left)


# -- the steps ----------------------------------------------------------------------


class Round:
    """One round: one session, or two whose steps take turns.

    :param rough: whether there are steps that may leave files.
    :param make_session: of the driver that is tried.
    :param tell: called after each step.
    """

    def __init__(
        self,
        seed: str,
        rough: bool,
        truth: Truth,
        make_session: Callable[[], Session],
        folder: pathlib.Path,
        tell: Callable[[], object] = lambda: None,
    ) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.truth = truth
        self.report = truth.report
        self.store = truth.store
        self.row = truth.row
        self.make_session = make_session
        self.folder = folder
        self.tell = tell
        self.rough = rough
        weights = STEPS_OF_OBJECTS | (ROUGH_STEPS if rough else {})
        if truth.engine.dialect.name == "sqlite":
            weights.pop("kill_backend", None)
        self.steps, self.weights = list(weights), list(weights.values())
        self.sessions = [make_session() for _ in range(self.random.choice([1, 2]))]
        #: Has read before, and sees what there was then.
        self.old_session = make_session()
        self.session = self.sessions[0]
        self.savepoints: dict[Session, list[SessionTransaction]] = {}
        #: What an object got, by the object's and the upload's id; and loaded rows,
        #: which sessions hold weakly.
        self.texts: dict[int, tuple[t.Any, str]] = {}
        self.rows: dict[Session, deque[t.Any]] = {}
        for session in self.sessions:
            self.savepoints[session], self.rows[session] = [], deque(maxlen=20)
        #: How often file_committed was sent, by the text of the file.
        self.announced: Counter[str] = Counter()
        #: Files that were there on a quiet day, by their names.
        self.aged: set[str] = set()
        self.number = 0
        self.last: deque[str] = deque(maxlen=25)

    def run(self, steps: int = STEPS) -> None:
        """Do the steps, and sweep at the end.

        :raises Broken: if a promise is broken.
        """
        try:
            self.old_session.scalars(sa.select(self.row)).all()
            file_committed.connect(self._hear)
            for number in range(steps):
                self._step(number)
                self.tell()
            for session in self.sessions:
                self._end(session)
            self._end(self.old_session)
            self.truth.check_sweep(quiet=not self.rough)
        except Broken as error:
            raise Broken(
                f"seed {self.seed}: {error}; after {list(self.last)}"
            ) from None
        finally:
            file_committed.disconnect(self._hear)
            for session in [*self.sessions, self.old_session]:
                self._end(session)

    def _hear(self, sender: object, file: FileWrapper) -> None:
        self.announced[file.read().decode()] += 1

    def _step(self, number: int) -> None:
        self.session = self.random.choice(self.sessions)
        (step,) = self.random.choices(self.steps, self.weights)
        self.report.steps += 1
        self.report.done[step] += 1
        self.last.append(f"{self.sessions.index(self.session)} {step}")
        try:
            getattr(self, f"_{step}")()
        except Broken:
            raise
        except SQLAlchemyError as error:
            self.report.errors[type(error).__name__] += 1
            self.last[-1] += f": {type(error).__name__}"
            self._recover(step)
        except Exception as error:
            self.last[-1] += f": {error!r}"
            raise Broken(f"odd error:\n{traceback.format_exc()}") from None
        if step == "commit" or number % CHECK == 0:
            self.truth.check()
            self.truth.check_announced(self.announced, whole=not self.rough)

    def _recover(self, step: str) -> None:
        """What a view does about an error."""
        savepoints = self.savepoints[self.session]
        if savepoints and step != "commit" and self.random.random() < 0.6:
            with contextlib.suppress(SQLAlchemyError):
                savepoints[0].rollback()
                savepoints.clear()
                return
        self._end(self.session, close=False)

    def _end(self, session: Session, close: bool = True) -> None:
        """Roll back, and close. Where the backend or a SAVEPOINT is gone, SQLAlchemy
        raises once for each SAVEPOINT around, and wants to be asked again."""
        if not self._succeeds(session.rollback) or close:
            while not self._succeeds(session.close):
                pass
        self.savepoints.get(session, []).clear()

    def _succeeds(self, end: Callable[[], None]) -> bool:
        try:
            end()
        except SQLAlchemyError as error:
            self.report.errors[f"{type(error).__name__} of {end.__name__}"] += 1
            return False
        return True

    # - choices

    def _upload(self) -> tuple[t.Any, str]:
        """An upload of some kind, and its text."""
        self.number += 1
        text = f"{self.seed}-{self.number}-{os.getpid()}"
        name, kind = self.random.choice(NAMES), self.random.random()
        data = io.BytesIO(text.encode())
        upload: t.Any = FileStorage(data, name)
        if kind < 0.15:
            data.name = name
            upload = data
        elif kind < 0.3:
            folder = self.folder / text
            folder.mkdir()
            upload = folder / name
            upload.write_text(text)
        self.texts[id(upload)] = (upload, text)
        return upload, text

    def _fill(self, row: t.Any, attribute: str = "picture") -> None:
        """Assign an upload, and its text beside."""
        upload, text = self._upload()
        setattr(row, attribute, upload)
        setattr(row, f"{attribute}_text", text)

    def _new_row(self, name: str, **values: t.Any) -> t.Any:
        row = self.row(name=name, **values)
        self._fill(row)
        if self.random.random() < 0.3:
            self._fill(row, "thumb")
        self.rows[self.session].append(row)
        return row

    def _some(self, count: int = 1, pending: bool = True) -> list[t.Any]:
        """Rows of the session; none if it has not so many.

        :param pending: whether those will do that are no rows yet.
        """
        gone, new = self.session.deleted, self.session.new
        rows = [
            row
            for row in self.session
            if row not in gone and (pending or row not in new)
        ]
        return self.random.sample(rows, count) if len(rows) >= count else []

    def _lock(self, rows: list[t.Any]) -> list[t.Any]:
        """Rows as they are now, which nobody else changes until the end."""
        self.session.flush()
        for row in sorted(rows, key=lambda row: t.cast(int, row.id)):
            self.session.refresh(row, with_for_update=True)
        return rows

    # - objects

    def _new(self) -> None:
        self.session.add(self._new_row(f"n{self.random.randrange(60)}"))

    def _replace(self) -> None:
        for row in self._some():
            self._fill(row)

    def _replace_thumb(self) -> None:
        for row in self._some():
            self._fill(row, "thumb")

    def _clear(self) -> None:
        attribute = self.random.choice(FILES)
        for row in self._some():
            setattr(row, attribute, None)
            setattr(row, f"{attribute}_text", None)

    def _delete(self) -> None:
        for row in self._some(pending=False):
            self.session.delete(row)

    def _swap(self) -> None:
        rows = self._some(2)
        if rows:
            one, two = self._lock(rows)
            if one.picture != one.thumb and two.picture != two.thumb:
                one.picture, two.picture = two.picture, one.picture
                texts = one.picture_text, two.picture_text
                two.picture_text, one.picture_text = texts
                self.session.flush()

    def _hand_over(self) -> None:
        rows = self._some(2)
        if rows:
            one, two = self._lock(rows)
            if one.picture != one.thumb:
                two.thumb, two.thumb_text = one.thumb, one.thumb_text
                one.thumb = one.thumb_text = None
                self.session.flush()

    def _share_in_row(self) -> None:
        for row in self._lock(self._some()):
            row.thumb, row.thumb_text = row.picture, row.picture_text
            self.session.flush()

    def _change_and_take_back(self) -> None:
        for row in self._lock(self._some()):
            before = row.picture, row.picture_text
            self._fill(row)
            self.session.flush()
            row.picture, row.picture_text = before
            self.session.flush()

    def _revive(self) -> None:
        for row in self._lock(self._some()):
            self.session.delete(row)
            self.session.flush()
            make_transient(row)
            self.session.add(row)

    def _merge(self) -> None:
        for row in self._some(pending=False):
            values = {"id": row.id, "name": row.name, "thumb": None, "thumb_text": None}
            other = self.row(**values)
            self._fill(other)
            self.session.merge(other)

    def _add_again(self) -> None:
        """Objects whose rows were rolled back have their uploads back."""
        rows = [row for row in self.rows[self.session] if sa.inspect(row).transient]
        for row in rows[-1:]:
            row.name = f"again {self.report.steps}"
            for attribute in FILES:
                value = row.__dict__.get(attribute)
                if value is None or isinstance(value, FileWrapper):
                    setattr(row, attribute, None)
                    setattr(row, f"{attribute}_text", None)
                else:
                    _, text = self.texts[id(value)]
                    setattr(row, f"{attribute}_text", text)
                    # Else SQLAlchemy leaves it out where the row of an object that
                    # was deleted is written anew, as it was flushed before.
                    flag_modified(row, f"{attribute}_text")
                    self.report.done["given back"] += 1
            self.session.add(row)

    # - the session

    def _flush(self) -> None:
        self.session.flush()

    def _load(self) -> None:
        query = sa.select(self.row).order_by(self.row.id)
        some = query.offset(self.random.randrange(10)).limit(5)
        self.rows[self.session].extend(self.session.scalars(some).all())

    def _begin_savepoint(self) -> None:
        savepoints = self.savepoints[self.session]
        if len(savepoints) < 3:
            savepoints.append(self.session.begin_nested())

    def _release_savepoint(self) -> None:
        savepoints = self.savepoints[self.session]
        if savepoints:
            savepoints[-1].commit()
            savepoints.pop()

    def _roll_back_to_savepoint(self) -> None:
        savepoints = self.savepoints[self.session]
        if savepoints:
            number = self.random.randrange(len(savepoints))
            savepoints[number].rollback()
            del savepoints[number:]

    def _commit(self) -> None:
        self.session.commit()
        self.savepoints[self.session].clear()
        self.report.commits += 1

    def _rollback(self) -> None:
        self.session.rollback()
        self.savepoints[self.session].clear()

    def _close(self) -> None:
        self.session.close()
        self.savepoints[self.session].clear()

    def _expunge(self) -> None:
        for row in self._some(pending=False):
            if row not in self.session.dirty:
                self.session.expunge(row)

    def _expire(self) -> None:
        """All rows, or one; what was not flushed is forgotten with its text."""
        if self.random.random() < 0.3:
            self.session.expire_all()
            return
        for row in self._some(pending=False):
            self.session.expire(row)

    def _refresh(self) -> None:
        for row in self._some(pending=False):
            self.session.refresh(row)

    def _toggle_autoflush(self) -> None:
        self.session.autoflush = not self.session.autoflush

    # - errors

    def _break_unique(self) -> None:
        self.session.add(self._new_row("n1"))
        self.session.flush()

    def _break_foreign_key(self) -> None:
        """An error that comes up when the transaction is committed."""
        self.session.add(self._new_row(f"f{self.report.steps}", parent=999_999))

    def _break_check(self) -> None:
        for row in self._some():
            self._fill(row)
            row.amount = -1
            self.session.flush()

    def _swallow_error(self) -> None:
        """The commit reports success, and need not have happened."""
        self.session.flush()
        how = "OR ROLLBACK" if self.truth.engine.dialect.name == "sqlite" else ""
        statement = f"INSERT {how} INTO {TABLE} (amount) VALUES (-1)"
        with contextlib.suppress(SQLAlchemyError):
            self.session.execute(sa.text(statement))
        self._commit()

    def _kill_backend(self) -> None:
        kinds = {
            "postgresql": (
                "SELECT pg_backend_pid()",
                "SELECT pg_terminate_backend({})",
            ),
            "mysql": ("SELECT connection_id()", "KILL {}"),
        }
        who, kill = kinds[self.truth.engine.dialect.name]
        if self.session.in_transaction():
            number = self.session.execute(sa.text(who)).scalar_one()
            with self.truth.engine.connect() as connection:
                connection.exec_driver_sql(kill.format(number))
            self.report.kills += 1

    # - statements, of which a session knows nothing

    def _saved(self) -> dict[str, t.Any]:
        """Values for a statement: a file that was saved before, and its text."""
        upload, text = self._upload()
        return {
            "picture": self.store.at("pictures").save(upload),
            "picture_text": text,
        }

    def _insert_statement(self) -> None:
        values = {"name": f"i{self.report.steps}", "amount": 0, **self._saved()}
        self.session.execute(sa.insert(self.row).values(values))

    def _update_statement(self) -> None:
        for row in self._some(pending=False):
            how = self.random.choice(["evaluate", "fetch"])
            self.session.execute(
                sa.update(self.row).where(self.row.id == row.id).values(self._saved()),
                execution_options={"synchronize_session": how},
            )

    def _delete_statement(self) -> None:
        for row in self._some(pending=False):
            self.session.execute(
                sa.delete(self.row).where(self.row.id == row.id),
                execution_options={"synchronize_session": "fetch"},
            )

    def _bulk_delete(self) -> None:
        name = f"n{self.random.randrange(60)}"
        self.session.query(self.row).filter(self.row.name == name).delete()

    # - a sweep beside it all

    def _sweep(self) -> None:
        """Sweep what is older than a day, whatever the sessions are doing."""
        if self.random.random() < 0.5:
            for session in self.sessions:
                self._end(session)
            self._age()
        held = self.truth.check()
        left = {name for name in self.aged if self._is_aged(name)} - held
        old = self.random.random() < 0.5
        session = self.old_session if old else self.make_session()
        removed = set(sweep(self.store, session, self.truth.columns))
        if not old:
            session.close()
        # An old session may still see the rows of files that are left since.
        if not removed <= left or (not old and removed != left):
            raise Broken(f"of {left} were removed {removed}")
        self.aged -= removed
        self.report.swept += len(removed)
        self.truth.check()

    def _age(self) -> None:
        """Let a day go by. No object store would let us."""
        if isinstance(self.store.dialect, LocalDialect):
            for name in self.truth.files():
                path = self.store.absolute_path(name)
                long_ago = os.stat(path).st_mtime - 2 * 86400
                os.utime(path, (long_ago, long_ago))
                self.aged.add(name)

    def _is_aged(self, name: str) -> bool:
        try:
            modified = os.stat(self.store.absolute_path(name)).st_mtime
        except FileNotFoundError:
            return False
        return modified < time.time() - 86400


# -- runs ---------------------------------------------------------------------------


@dataclasses.dataclass
class Run:
    """Rounds on one database and one store.

    :param url: of the database.
    :param config: of the store.
    """

    url: str
    config: Mapping[str, t.Any]
    seed: str = "1"
    report: Report = dataclasses.field(default_factory=Report)

    @contextlib.contextmanager
    def truth(self) -> Iterator[Truth]:
        """What is checked against. It waits for locks: a connection that was killed may
        take a moment to roll back."""
        with engine_of(sync_url(self.url)) as engine:
            yield Truth(engine, FsspecStore.from_config(self.config), self.report)

    def rounds(
        self, more: Callable[[int], bool], tell: Callable[[], object] = lambda: None
    ) -> None:
        """Run one round after the other.

        :param more: whether there is to be a round of this number.
        :param tell: called after each step.
        """
        if "+asyncpg" in self.url:
            asyncio.run(self._asynchronous_rounds(more, tell))
            return
        with engine_of(self.url, **options_of(self.url)) as engine:
            self._rounds(lambda: Session(engine), more, tell)

    async def _asynchronous_rounds(
        self, more: Callable[[int], bool], tell: Callable[[], object]
    ) -> None:
        engine = create_async_engine(self.url, **options_of(self.url))

        def make_session() -> Session:
            return AsyncSession(engine).sync_session

        async with AsyncSession(engine) as session:
            await session.run_sync(lambda _: self._rounds(make_session, more, tell))
        await engine.dispose()

    def _rounds(
        self,
        make_session: Callable[[], Session],
        more: Callable[[int], bool],
        tell: Callable[[], object],
    ) -> None:
        number = 0
        with self.truth() as truth, warnings.catch_warnings():
            warnings.simplefilter("ignore", SAWarning)  # many steps deserve one
            while more(number):
                with tempfile.TemporaryDirectory(prefix="flask-store-") as folder:
                    seed, rough = f"{self.seed}-{number}", number % 2 == 0
                    place = pathlib.Path(folder)
                    try:
                        truth.clear()
                        Round(seed, rough, truth, make_session, place, tell).run()
                    except Broken as error:
                        self.report.broken.append(str(error))
                number += 1
                self.report.rounds += 1

    def create(self) -> None:
        """Make the table."""
        with self.truth() as truth:
            truth.create()

    def for_seconds(self, seconds: float) -> Report:
        """Run rounds for some time, one at least."""
        deadline = time.monotonic() + seconds
        self.create()
        self.rounds(lambda number: number == 0 or time.monotonic() < deadline)
        return self.report

    def with_kills(self, more: Callable[[int], bool]) -> Report:
        """Run rounds in processes that are killed in their middle. Forks: only for a
        process without threads."""
        self.create()
        moments, number = random.Random(self.seed), 0
        while more(number):
            self._killed(number, moments.randrange(3, 70))
            number += 1
        return self.report

    def _killed(self, number: int, steps: int) -> None:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.close(reading)
                self.seed = f"{self.seed}-killed-{number}"
                unbroken = self.report.broken.copy()
                self.rounds(
                    lambda _: self.report.broken == unbroken,
                    lambda: os.write(writing, b"."),
                )
                print(self.report.broken, file=sys.stderr, flush=True)
            finally:
                os._exit(1)
        os.close(writing)
        told = 0
        while told < steps and (step := os.read(reading, 1)):
            told += len(step)
        # Somewhere in the step that goes on, too.
        time.sleep(random.random() * 0.01)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
        seed = f"{self.seed}-killed-{number}"
        if told < steps:
            self.report.broken.append(f"seed {seed} ended by itself after {told} steps")
        self.report.kills += 1
        self.report.rounds += 1
        self.report.steps += told
        with self.truth() as truth:
            try:
                wait_until_alone(truth.engine)
                truth.check_sweep(quiet=False)
            except Broken as error:
                self.report.broken.append(f"seed {seed}, killed after {told}: {error}")


def main() -> int:
    """Run what the command line says, and print the report as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database", help="a URL for SQLAlchemy")
    parser.add_argument("store", type=json.loads, help="its configuration, as JSON")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--seconds", default=10, type=float)
    parser.add_argument("--kills", action="store_true")
    args = parser.parse_args()
    run = Run(args.database, args.store, args.seed)
    deadline = time.monotonic() + args.seconds
    if args.kills:
        run.with_kills(lambda number: number == 0 or time.monotonic() < deadline)
    else:
        run.for_seconds(args.seconds)
    json.dump(vars(run.report), sys.stdout)
    return bool(run.report.broken)


if __name__ == "__main__":
    sys.exit(main())
