"""Which files a transaction made, which it gave up, and what becomes of them.

Each transaction, SAVEPOINTs included, keeps a log. A SAVEPOINT that is released hands
its log to the transaction around it. One that is rolled back hands over only the files
that it made, as files that no row holds.

When the outermost transaction has ended, its log says what may go: after a commit the
files that rows gave up, else the files that were made. What a session believes need not
be what the database did, so the database has the last word. It is asked, in a
transaction that begins now, which of these files a row holds all the same.
"""

from __future__ import annotations

import logging
import typing as t
import weakref
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field

from sqlalchemy import Column
from sqlalchemy import Connection
from sqlalchemy import event
from sqlalchemy import MetaData
from sqlalchemy.orm import InstanceState
from sqlalchemy.orm import Session
from sqlalchemy.orm import SessionTransaction
from sqlalchemy.orm import UOWTransaction

from ..files import FileWrapper
from ..naming import quoted
from ..uploads.source import Source
from .answers import Answers
from .holding import columns_of
from .holding import count_rows
from .holding import held_now
from .holding import in_database
from .holding import uri_of

logger = logging.getLogger(__name__)

SHARED = (
    "{} is the file of another row, or was so when it was read. Each row owns its file:"
    " assign a copy, such as file.open(), or clear the other row, by its object, in the"
    " same transaction."
)

#: Where a session keeps its logs.
INFO = "flask_store.files"

#: What holds a file: a column, and the primary key of the row.
Holder: t.TypeAlias = tuple[Column[t.Any], tuple[t.Any, ...]]


@dataclass
class Log:
    """What happened to files in one transaction or SAVEPOINT."""

    #: The files that were stored.
    made: list[FileWrapper] = field(default_factory=list)
    #: The files of rows that were written, in that order: who holds it, or did so.
    notes: list[tuple[FileWrapper, Holder | None, bool]] = field(default_factory=list)
    #: The files that were made here, or found in a row that is locked since.
    known: set[FileWrapper] = field(default_factory=set)
    committed: bool = False

    def make(self, file: FileWrapper) -> None:
        """Note that a file was stored."""
        self.made.append(file)
        self.known.add(file)

    def hold(self, file: FileWrapper, holder: Holder) -> None:
        """Note that a row was written that holds the file."""
        self.notes.append((file, holder, True))

    def find(self, file: FileWrapper, holder: Holder) -> None:
        """Note that a row holds the file, which is locked until the end."""
        self.hold(file, holder)
        self.known.add(file)

    def give_up(self, file: FileWrapper, holder: Holder | None = None) -> None:
        """Note that the row holds the file no more."""
        self.notes.append((file, holder, False))
        self.known.add(file)

    def absorb(self, inner: Log) -> None:
        """Take over what happened in a SAVEPOINT."""
        self.made += inner.made
        if inner.committed:
            self.notes += inner.notes
            self.known |= inner.known
        else:
            for file in inner.made:
                self.give_up(file)

    def unheld(self) -> list[FileWrapper]:
        """The files that rows gave up and that no row took over since."""
        return [file for file, mine in self._holders().items() if not mine]

    def _holders(self) -> dict[FileWrapper, set[Holder]]:
        """Who holds each of the files of rows that were written."""
        holders: dict[FileWrapper, set[Holder]] = {}
        for file, holder, holds in self.notes:
            mine = holders.setdefault(file, set())
            if holder is None:
                continue
            if holds:
                mine.add(holder)
            else:
                mine.discard(holder)
        return holders

    @property
    def taken(self) -> list[FileWrapper]:
        """The files that rows took, and that were there before."""
        return [f for f, _, holds in self.notes if holds and f not in self.known]


@dataclass
class Outermost(Log):
    """What happened in an outermost transaction."""

    #: The connections, with the metadata of the tables that were written there.
    connections: weakref.WeakKeyDictionary[Connection, set[MetaData]] = field(
        default_factory=weakref.WeakKeyDictionary
    )
    #: Whether the session is to be committed after its next flush.
    committing: bool = False
    #: What the database has left unanswered on each connection.
    answers: weakref.WeakKeyDictionary[Connection, Answers] = field(
        default_factory=weakref.WeakKeyDictionary
    )
    #: The uploads by the attribute that they were assigned to, with what was made of
    #: them. They go with their objects: an import would run out of open files.
    uploads: weakref.WeakKeyDictionary[
        InstanceState[t.Any], dict[str, tuple[FileWrapper, t.Any]]
    ] = field(default_factory=weakref.WeakKeyDictionary)

    def keep(
        self,
        upload: t.Any,
        file: FileWrapper,
        state: InstanceState[t.Any],
        attribute: str,
    ) -> None:
        """Keep an upload for a second try, if it can be read a second time."""
        stream = getattr(upload, "stream", upload)
        if not hasattr(stream, "read") or Source(stream, None).rewinds:
            self.uploads.setdefault(state, {})[attribute] = (file, upload)

    def give_back(self, removed: set[FileWrapper]) -> None:
        """Objects that did not become rows have their uploads back: they may be added
        to the session once more."""
        for state, uploads in list(self.uploads.items()):
            target = state.obj()
            if target is None or not state.transient:
                continue
            for attribute, (file, upload) in uploads.items():
                # Not by getattr, which would ask the database for what has expired.
                if file in removed and state.dict.get(attribute) is file:
                    setattr(target, attribute, upload)

    def watch(self, connection: Connection, metadata: MetaData) -> None:
        """Notice from here on what the database leaves unanswered."""
        if connection not in self.connections:
            self.connections[connection] = set()
            self.answers[connection] = Answers()
            self.answers[connection].listen(connection)
        self.connections[connection].add(metadata)

    def unwatch(self) -> None:
        """Leave nothing on connections that outlive the transaction."""
        for connection, answers in self.answers.items():
            answers.unlisten(connection)

    def refuse_shared(self) -> None:
        """:raises ValueError: if a row has taken the file of another row.

        A file that was read from a row can only be handed over, since the lock of that
        row keeps other transactions from removing it.
        """
        for file, holders in self._holders().items():
            if len({(column.table, row) for column, row in holders}) > 1:
                raise ValueError(SHARED.format(quoted(file.key)))
        taken = self.taken
        for file in (file for file in taken if file._is_of_row):
            raise ValueError(SHARED.format(quoted(file.key)))
        for uri, keys in _by_store(taken):
            rows: Counter[str] = Counter()
            for connection, metadata in self.connections.items():
                columns = [c for c in columns_of(*metadata) if uri_of(c) == uri]
                columns = in_database(connection, columns)
                rows += count_rows(connection, columns, keys)
            for key in (key for key, count in rows.items() if count > 1):
                raise ValueError(SHARED.format(quoted(key)))

    @property
    def is_callers(self) -> bool:
        """Whether the session was put into a transaction of its caller's, which goes
        on: nothing is decided yet."""
        return any(
            not connection.closed and connection.get_transaction() is not None
            for connection in self.connections
        )

    def end(self) -> None:
        """Remove what is not needed any more, now that the transaction has ended."""
        self.unwatch()
        if self.is_callers:
            return
        if self.committed:
            for file, _, _ in self.notes:
                file._is_of_row = True
        files = self.unheld() if self.committed else self.made
        if not files:
            return
        if any(one.may_commit(self.committed) for one in self.answers.values()):
            # Rows may come after the question. A file without a row can be swept up, a
            # row without a file cannot be mended.
            logger.warning(
                "The database has not answered, and may still write rows. These files"
                " are left to be swept: %s",
                [str(file) for file in files],
            )
            return
        unheld = self._not_in_the_database(files)
        for file in unheld:
            remove(file)
        self.give_back(set(unheld))

    def _not_in_the_database(self, files: list[FileWrapper]) -> list[FileWrapper]:
        """Those of the files that no row holds, as the database says."""
        kept: set[tuple[str, str]] = set()
        try:
            for uri, keys in _by_store(files):
                for connection, metadata in self.connections.items():
                    columns = columns_of(*metadata)
                    columns = [c for c in columns if uri_of(c) in (uri, None)]
                    kept |= {(uri, key) for key in held_now(connection, columns, keys)}
        except Exception:
            logger.warning(
                "The database does not say whether a row holds these files, which are"
                " left to be swept: %s",
                [str(file) for file in files],
                exc_info=True,
            )
            return []
        return [file for file in files if (file.provider.uri, file.key) not in kept]


def _by_store(files: list[FileWrapper]) -> Iterable[tuple[str, set[str]]]:
    """The paths of the files by the URI of their store."""
    stores: dict[str, set[str]] = {}
    for file in files:
        stores.setdefault(file.provider.uri, set()).add(file.key)
    return stores.items()


def logs_of(
    session: Session, connection: Connection, column: Column[t.Any]
) -> tuple[Outermost, Log]:
    """The log of the outermost transaction, and that of the one that goes on.

    :param column: one whose table is written there.
    """
    root = session.get_transaction()
    innermost = session.get_nested_transaction() or root
    assert root is not None and innermost is not None  # a flush is in one
    outermost = _outermost(session, root)
    outermost.watch(connection, column.table.metadata)
    if innermost is root:
        return outermost, outermost
    return outermost, _logs(session).setdefault(innermost, Log())


def is_known(session: Session, file: FileWrapper) -> bool:
    """Whether the file was made, or found in a row that is locked since, in the
    transaction that goes on."""
    current = session.get_nested_transaction() or session.get_transaction()
    while current is not None:
        log = _log(session, current)
        if log is not None and file in log.known:
            return True
        current = current.parent
    return False


def _logs(
    session: Session,
) -> weakref.WeakKeyDictionary[SessionTransaction, Log]:
    return t.cast(
        "weakref.WeakKeyDictionary[SessionTransaction, Log]",
        session.info.setdefault(INFO, weakref.WeakKeyDictionary()),
    )


def _outermost(session: Session, root: SessionTransaction) -> Outermost:
    return t.cast("Outermost", _logs(session).setdefault(root, Outermost()))


def _log(session: Session, transaction: SessionTransaction | None) -> Log | None:
    """The log of a transaction, if there is one: most sessions write no files."""
    if INFO not in session.info or transaction is None:
        return None
    return _logs(session).get(transaction)


@event.listens_for(Session, "before_commit")
def _commits(session: Session) -> None:
    """Look for files of two rows in the last moment in which a commit can be refused:
    within the transaction a file may go from one row to another by two flushes."""
    root = session.get_transaction()
    if root is None or session.in_nested_transaction():
        return
    if session.new or session.dirty or session.deleted:
        _outermost(session, root).committing = True
        return
    log = _log(session, root)
    if isinstance(log, Outermost):
        log.refuse_shared()


@event.listens_for(Session, "after_flush_postexec")
def _flushed(session: Session, flush: UOWTransaction) -> None:
    log = _log(session, session.get_transaction())
    if isinstance(log, Outermost) and log.committing:
        log.refuse_shared()


@event.listens_for(Session, "after_commit")
def _committed(session: Session) -> None:
    log = _log(session, session.get_nested_transaction() or session.get_transaction())
    if log is not None:
        log.committed = True


@event.listens_for(Session, "after_transaction_end")
def _ended(session: Session, transaction: SessionTransaction) -> None:
    log = _log(session, transaction)
    if log is None:
        return
    del _logs(session)[transaction]
    if isinstance(log, Outermost):
        log.end()
        return
    outer = transaction.parent
    while outer is not None and not (outer.nested or outer.parent is None):
        outer = outer.parent
    assert outer is not None  # a SAVEPOINT is in a transaction
    _logs(session).setdefault(outer, Log()).absorb(log)


def remove(file: FileWrapper) -> None:
    """Remove a file after the transaction; what fails is logged, as nothing can be
    undone any more."""
    try:
        file.delete()
    except FileNotFoundError:
        pass
    except Exception:
        logger.warning(
            "The removal of %r failed, or a receiver of file_deleted did. If the file"
            " is still there, it is left to be swept.",
            file,
            exc_info=True,
        )
