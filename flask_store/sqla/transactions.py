"""Removes files after a transaction: those that rows gave up, or that it saved in vain.
Tells the application which files have become those of rows.

Each transaction, and each SAVEPOINT, has a log. When a SAVEPOINT is released, the
transaction around it takes over its log. When it is rolled back, the transaction takes
over only the files that the SAVEPOINT saved, as files that no row holds.

When the outermost transaction has ended, its log tells which files to remove: after a
commit, those that rows gave up; otherwise those that were saved. The session may be
wrong about what the database did. So a new transaction asks the database which of these
files are in a row, and these files stay.
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
from ..signals import file_committed
from ..stores.application import sender
from ..uploads import is_pair
from ..uploads.source import Source
from .answers import Answers
from .holding import columns_of
from .holding import count_rows
from .holding import in_database
from .holding import keys_in_rows_now
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


class Note(t.NamedTuple):
    """A row that holds a file, or no longer holds it.

    :param holder: ``None`` for a file of a SAVEPOINT that was rolled back.
    :param is_read: whether the row was read, and locked, before it was written.
    """

    file: FileWrapper
    holder: Holder | None
    holds: bool
    is_read: bool


@dataclass
class Log:
    """The files of one transaction or SAVEPOINT."""

    #: The files that were stored.
    made: list[FileWrapper] = field(default_factory=list)
    #: What the rows held before and after each write, in order.
    notes: list[Note] = field(default_factory=list)
    #: The files that were saved here, or read from a row that is locked since.
    known: set[FileWrapper] = field(default_factory=set)
    committed: bool = False

    def make(self, file: FileWrapper) -> None:
        """Note that a file was stored."""
        self.made.append(file)
        self.known.add(file)

    def hold(self, file: FileWrapper, holder: Holder) -> None:
        """Note that a row holds the file after it was written."""
        self.notes.append(Note(file, holder, holds=True, is_read=False))

    def find(self, file: FileWrapper, holder: Holder) -> None:
        """Note that a row, which is locked until the end, holds the file."""
        self.notes.append(Note(file, holder, holds=True, is_read=True))
        self.known.add(file)

    def give_up(self, file: FileWrapper, holder: Holder | None = None) -> None:
        """Note that the row, which is locked until the end, loses the file."""
        self.notes.append(Note(file, holder, holds=False, is_read=True))
        self.known.add(file)

    def absorb(self, inner: Log) -> None:
        """Take over the log of a SAVEPOINT."""
        self.made += inner.made
        if inner.committed:
            self.notes += inner.notes
            self.known |= inner.known
        else:
            for file in inner.made:
                self.give_up(file)

    def unheld(self) -> list[FileWrapper]:
        """The files that rows gave up, and that no other row has taken since."""
        return [
            file for file, file_holders in self._holders().items() if not file_holders
        ]

    def _holders(self) -> dict[FileWrapper, set[Holder]]:
        """The rows that hold each file, among the rows that were written."""
        holders: dict[FileWrapper, set[Holder]] = {}
        for file, holder, holds, _ in self.notes:
            file_holders = holders.setdefault(file, set())
            if holder is None:
                continue
            if holds:
                file_holders.add(holder)
            else:
                file_holders.discard(holder)
        return holders

    @property
    def _of_rows(self) -> set[FileWrapper]:
        """The files that rows held before this transaction, which has locked these rows
        since."""
        written: set[tuple[FileWrapper, Holder]] = set()
        found = set()
        for file, holder, _, is_read in self.notes:
            if holder is None:
                continue
            if not is_read:
                written.add((file, holder))
            elif (file, holder) not in written:
                found.add(file)
        return found

    @property
    def taken(self) -> list[FileWrapper]:
        """The files that rows took, and that were stored before this transaction."""
        of_others = self._of_rows.union(self.made)
        return [
            note.file
            for note in self.notes
            if not note.is_read and note.file not in of_others
        ]

    def new(self) -> list[FileWrapper]:
        """The files that rows hold since this transaction, and no row held before."""
        of_rows = self._of_rows
        return [
            file
            for file, file_holders in self._holders().items()
            if file_holders and file not in of_rows
        ]


@dataclass
class Outermost(Log):
    """The files of an outermost transaction."""

    #: The connections, with the ``MetaData`` of the tables that were written there.
    connections: weakref.WeakKeyDictionary[Connection, set[MetaData]] = field(
        default_factory=weakref.WeakKeyDictionary
    )
    #: Whether the session commits after its next flush.
    committing: bool = False
    #: What the database has not answered on each connection.
    answers: weakref.WeakKeyDictionary[Connection, Answers] = field(
        default_factory=weakref.WeakKeyDictionary
    )
    #: The uploads and the files that they became, by the attribute that they were
    #: assigned to. They are dropped with their objects: otherwise an import of many
    #: rows would run out of open files.
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
        """Keep an upload for a second flush, if it can be read a second time."""
        content = upload[0] if is_pair(upload) else upload
        stream = getattr(content, "stream", content)
        if not hasattr(stream, "read") or Source(stream, None).rewinds:
            self.uploads.setdefault(state, {})[attribute] = (file, upload)

    def give_back(self, removed: set[FileWrapper]) -> None:
        """Assign the uploads again to objects that did not become rows. The objects can
        then be added to the session once more."""
        for state, uploads in list(self.uploads.items()):
            target = state.obj()
            if target is None or not state.transient:
                continue
            for attribute, (file, upload) in uploads.items():
                # Not by getattr(), which would load an expired attribute.
                if file in removed and state.dict.get(attribute) is file:
                    setattr(target, attribute, upload)

    def watch(self, connection: Connection, metadata: MetaData) -> None:
        """Begin to note what the database does not answer."""
        if connection not in self.connections:
            self.connections[connection] = set()
            self.answers[connection] = Answers()
            self.answers[connection].listen(connection)
        self.connections[connection].add(metadata)

    def unwatch(self) -> None:
        """Remove the listeners, because the connections outlive the transaction."""
        for connection, answers in self.answers.items():
            answers.unlisten(connection)

    def refuse_shared(self) -> None:
        """:raises ValueError: if a row has taken the file of another row.

        A file of another row can only be handed over. Then this transaction has locked
        that row, so that no other transaction removes the file.
        """
        for file, holders in self._holders().items():
            if len({(column.table, row) for column, row in holders}) > 1:
                raise ValueError(SHARED.format(quoted(file.key)))
        taken_files = self.taken
        for file in (file for file in taken_files if file._is_of_row):
            raise ValueError(SHARED.format(quoted(file.key)))
        for uri, keys in _by_store(taken_files):
            rows: Counter[str] = Counter()
            for connection, metadata in self.connections.items():
                columns = [c for c in columns_of(*metadata) if uri_of(c) == uri]
                columns = in_database(connection, columns)
                rows += count_rows(connection, columns, keys)
            for key in (key for key, count in rows.items() if count > 1):
                raise ValueError(SHARED.format(quoted(key)))

    @property
    def is_callers(self) -> bool:
        """Whether the session is in a transaction of its caller that has not ended. The
        caller may still commit or roll back."""
        return any(
            not connection.closed and connection.get_transaction() is not None
            for connection in self.connections
        )

    def end(self) -> None:
        """Remove the files that no row holds, after the transaction has ended. Send
        ``file_committed`` for those that rows hold from now on."""
        self.unwatch()
        if self.is_callers:
            return
        if not self.committed:
            self._remove(self.made)
            return
        for note in self.notes:
            note.file._is_of_row = True
        self._remove(self.unheld())
        for file in self.new():
            announce(file)

    def _remove(self, files: list[FileWrapper]) -> None:
        """Remove these files, unless the database says that a row holds them."""
        if not files:
            return
        if any(answers.may_commit(self.committed) for answers in self.answers.values()):
            # Rows may still be written after the database was asked. A file without a
            # row can be swept later, but a row without its file stays broken.
            logger.warning(
                "The database has not answered, and may still write rows. These files"
                " are left to be swept: %s",
                [str(file) for file in files],
            )
            return
        unheld = self._held_by_no_row(files)
        for file in unheld:
            remove(file)
        self.give_back(set(unheld))

    def _held_by_no_row(self, files: list[FileWrapper]) -> list[FileWrapper]:
        """The files that no row in the database holds."""
        held_files: set[tuple[str, str]] = set()
        try:
            for uri, keys in _by_store(files):
                for connection, metadata in self.connections.items():
                    columns = columns_of(*metadata)
                    columns = [c for c in columns if uri_of(c) in (uri, None)]
                    held_files |= {
                        (uri, key)
                        for key in keys_in_rows_now(connection, columns, keys)
                    }
        except Exception:
            logger.warning(
                "The database does not say whether a row holds these files, which are"
                " left to be swept: %s",
                [str(file) for file in files],
                exc_info=True,
            )
            return []
        return [
            file for file in files if (file.provider.uri, file.key) not in held_files
        ]


def _by_store(files: list[FileWrapper]) -> Iterable[tuple[str, set[str]]]:
    """The paths of the files by the URI of their store."""
    stores: dict[str, set[str]] = {}
    for file in files:
        stores.setdefault(file.provider.uri, set()).add(file.key)
    return stores.items()


def logs_of(
    session: Session, connection: Connection, column: Column[t.Any]
) -> tuple[Outermost, Log]:
    """The log of the outermost transaction, and that of the innermost one.

    :param column: a column of the table that is written.
    """
    root = session.get_transaction()
    innermost = session.get_nested_transaction() or root
    assert root is not None and innermost is not None  # a flush is in a transaction
    outermost = _outermost(session, root)
    outermost.watch(connection, column.table.metadata)
    if innermost is root:
        return outermost, outermost
    return outermost, _logs(session).setdefault(innermost, Log())


def is_known(session: Session, file: FileWrapper) -> bool:
    """Whether the current transaction has saved the file, or read it from a row that is
    locked since."""
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
    """The log of a transaction, or ``None``: most sessions write no files."""
    if INFO not in session.info or transaction is None:
        return None
    return _logs(session).get(transaction)


@event.listens_for(Session, "before_commit")
def _before_commit(session: Session) -> None:
    """Refuse files that two rows share. Do this only before the commit, because two
    flushes of a transaction may hand a file over from one row to another."""
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
def _after_flush(session: Session, flush: UOWTransaction) -> None:
    log = _log(session, session.get_transaction())
    if isinstance(log, Outermost) and log.committing:
        log.refuse_shared()


@event.listens_for(Session, "after_commit")
def _after_commit(session: Session) -> None:
    log = _log(session, session.get_nested_transaction() or session.get_transaction())
    if log is not None:
        log.committed = True


@event.listens_for(Session, "after_transaction_end")
def _after_end(session: Session, transaction: SessionTransaction) -> None:
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


def announce(file: FileWrapper) -> None:
    """Send ``file_committed``. Errors are logged, because it is too late to roll the
    transaction back, and there may be other files."""
    try:
        file_committed.send(sender(), file=file)
    except Exception:
        logger.warning(
            "A receiver of file_committed failed for %r.", file, exc_info=True
        )


def remove(file: FileWrapper) -> None:
    """Remove a file after the transaction. Errors are logged, because it is too late to
    roll the transaction back."""
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
