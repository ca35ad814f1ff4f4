"""Which files a transaction made, and which it gave up.

Each transaction, SAVEPOINTs included, keeps a log. A SAVEPOINT that is released hands
its log to the transaction around it. One that is rolled back loses it, and the files
that it made. The outermost commit removes the files that no row holds any more.
"""

from __future__ import annotations

import logging
import typing as t
import weakref
from dataclasses import dataclass
from dataclasses import field

from sqlalchemy import Connection
from sqlalchemy import event
from sqlalchemy.orm import InstanceState
from sqlalchemy.orm import Session
from sqlalchemy.orm import SessionTransaction

from ..files import FileWrapper

logger = logging.getLogger(__name__)

#: Where a session keeps its logs.
INFO = "flask_store.files"


@dataclass(frozen=True)
class Holder:
    """The row that a file belongs to: an object, and the name of its attribute."""

    state: InstanceState[t.Any]
    attribute: str


@dataclass
class Made:
    """A file was stored for a row, from this upload."""

    file: FileWrapper
    holder: Holder
    upload: t.Any

    def undo(self) -> None:
        """Remove the file. An object that did not become a row has its upload back:
        it may be added to the session once more."""
        remove(self.file)
        state, attribute = self.holder.state, self.holder.attribute
        # Not by getattr, which would ask the database for what has expired.
        if state.transient and state.dict.get(attribute) is self.file:
            setattr(state.obj(), attribute, self.upload)


@dataclass
class Held:
    """A row was written that holds the file."""

    file: FileWrapper
    holder: Holder


@dataclass
class GivenUp:
    """The row holds the file no more."""

    file: FileWrapper
    holder: Holder


@dataclass
class Log:
    """What happened in one transaction, in the order in which it happened."""

    entries: list[Made | Held | GivenUp] = field(default_factory=list)
    connections: weakref.WeakSet[Connection] = field(default_factory=weakref.WeakSet)
    #: Whether the database was asked to commit, whatever came of it.
    asked: bool = False

    def watch(self, connection: Connection) -> None:
        """Notice the moment from which nobody but the database knows the outcome."""
        if connection not in self.connections:
            self.connections.add(connection)
            event.listen(connection, "commit", self._commit_begins)

    def _commit_begins(self, connection: Connection) -> None:
        self.asked = True

    @property
    def is_final(self) -> bool:
        """Whether a commit of the session really was one: in a transaction of the
        caller's own, into which the session was put, nothing is decided yet."""
        return not any(
            connection.in_transaction()
            for connection in self.connections
            if not connection.closed
        )

    def unheld(self) -> list[FileWrapper]:
        """The files that rows gave up and that no row took over since."""
        holders: dict[FileWrapper, set[Holder]] = {}
        given_up: dict[FileWrapper, None] = {}  # a set that keeps the order
        for entry in self.entries:
            if isinstance(entry, Held):
                holders.setdefault(entry.file, set()).add(entry.holder)
            elif isinstance(entry, GivenUp):
                holders.setdefault(entry.file, set()).discard(entry.holder)
                given_up[entry.file] = None
        return [file for file in given_up if not holders[file]]

    @property
    def made(self) -> list[Made]:
        """The files that were stored."""
        return [entry for entry in self.entries if isinstance(entry, Made)]


def log_of(session: Session, connection: Connection) -> Log:
    """The log of the transaction, or of the SAVEPOINT, that goes on."""
    root = session.get_transaction()
    innermost = session.get_nested_transaction() or root
    assert root is not None and innermost is not None  # a flush is in one
    logs = _logs(session)
    logs.setdefault(root, Log()).watch(connection)
    return logs.setdefault(innermost, Log())


def _logs(
    session: Session,
) -> weakref.WeakKeyDictionary[SessionTransaction, Log]:
    return t.cast(
        "weakref.WeakKeyDictionary[SessionTransaction, Log]",
        session.info.setdefault(INFO, weakref.WeakKeyDictionary()),
    )


@event.listens_for(Session, "after_commit")
def _committed(session: Session) -> None:
    nested = session.get_nested_transaction()
    current = nested or session.get_transaction()
    if INFO not in session.info or current is None:
        return
    logs = _logs(session)
    log = logs.pop(current, None)
    if log is None:
        return
    if nested is not None:
        outer = nested.parent
        while outer is not None and not (outer.nested or outer.parent is None):
            outer = outer.parent
        assert outer is not None  # a SAVEPOINT is in a transaction
        logs.setdefault(outer, Log()).entries += log.entries
    elif log.is_final:
        for file in log.unheld():
            remove(file)


@event.listens_for(Session, "after_transaction_end")
def _ended(session: Session, transaction: SessionTransaction) -> None:
    """What ends with its log still there was not committed."""
    if INFO not in session.info:
        return
    log = _logs(session).pop(transaction, None)
    if log is None:
        return
    if log.asked:
        # The connection may have died while the database committed. A file without a
        # row can be swept up, a row without a file cannot be mended.
        logger.warning(
            "COMMIT failed; these files are left to be swept: %s",
            [str(made.file) for made in log.made],
        )
    else:
        for made in log.made:
            made.undo()


def remove(file: FileWrapper) -> None:
    """Remove a file after the transaction; what fails is logged, as nothing can be
    undone any more."""
    try:
        file.delete()
    except FileNotFoundError:
        pass
    except Exception:
        logger.warning(
            "%r could not be removed and is left to be swept.", file, exc_info=True
        )
