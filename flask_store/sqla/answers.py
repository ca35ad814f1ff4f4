"""Whether the database has answered all that a transaction asked of it.

A rollback or an error says that no row will come, but only once everything that was
sent before has been answered. A statement goes on in the server after a signal, a time
limit or a broken connection has stopped the wait for it. Under AUTOCOMMIT, or if the
statement commits by itself, its row comes later.
"""

from __future__ import annotations

import contextlib
import typing as t
import weakref

from sqlalchemy import Connection
from sqlalchemy import Engine
from sqlalchemy import event
from sqlalchemy import literal
from sqlalchemy import select
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError


class Answers:
    """What one connection has left unanswered in one transaction."""

    def __init__(self) -> None:
        #: A statement or a ROLLBACK was sent, and no answer came.
        self.lost = False
        #: A COMMIT was sent. An error is an answer.
        self.committing = False
        #: The transaction is prepared, or about to be. Only a ROLLBACK ends that: after
        #: an error it is still prepared.
        self.prepared = False
        self.rolling_back = False

    def may_commit(self, committed: bool) -> bool:
        """Whether the database may still write rows.

        :param committed: whether COMMIT was answered.
        """
        return self.lost or (not committed and (self.committing or self.prepared))

    def listen(self, connection: Connection) -> None:
        """Follow the connection."""
        for moment, listener in self._listeners.items():
            event.listen(connection, moment, listener)
        _followed[connection] = self

    def unlisten(self, connection: Connection) -> None:
        """Leave nothing on a connection that outlives the transaction."""
        for moment, listener in self._listeners.items():
            event.remove(connection, moment, listener)
        _followed.pop(connection, None)

    @property
    def _listeners(self) -> dict[str, t.Callable[..., None]]:
        return {
            "commit": self._commits,
            "prepare_twophase": self._prepares,
            "rollback": self._rolls_back,
            "rollback_twophase": self._rolls_back,
        }

    def _commits(self, connection: Connection) -> None:
        self._ask_again(connection)
        self.committing = True

    def _prepares(self, connection: Connection, xid: t.Any) -> None:
        self.prepared = True

    def _rolls_back(self, connection: Connection, *args: t.Any) -> None:
        self._ask_again(connection)
        self.rolling_back = True
        # Nothing is sent on a connection that was given up.
        if not connection.invalidated:
            self.committing = self.prepared = False

    def _ask_again(self, connection: Connection) -> None:
        """Find out whether what was lost is over: a connection answers in turn.

        COMMIT and ROLLBACK do not tell, as drivers need not send them under AUTOCOMMIT.
        """
        if self.lost and not connection.invalidated:
            with contextlib.suppress(Exception):
                connection.scalar(select(literal(1)))
                self.lost = False

    def fail(self, answered: bool) -> None:
        """Note an error.

        :param answered: whether it is the database's answer.
        """
        if answered and not self.rolling_back:
            self.committing = False
        else:
            self.lost = True


#: What is known of each connection in a transaction that writes files.
_followed: weakref.WeakKeyDictionary[Connection, Answers]
_followed = weakref.WeakKeyDictionary()


@event.listens_for(Engine, "handle_error")
def _failed(context: ExceptionContext) -> None:
    """An error of the database is an answer. One of the connection is none, and neither
    is an exception that stops the wait, or a value that the driver cannot send."""
    answers = _followed.get(context.connection) if context.connection else None
    if answers is not None:
        is_database = isinstance(context.sqlalchemy_exception, DBAPIError)
        answers.fail(is_database and not context.is_disconnect)
