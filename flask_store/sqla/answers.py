"""Whether the database has answered every statement of a transaction.

After a rollback or an error the database writes no more rows, unless a statement before
it has had no answer. The server goes on with a statement after a signal, a time limit
or a broken connection has stopped the client's wait. Under AUTOCOMMIT, or if the
statement commits by itself, the server may write its row later.
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
    """What the database has not answered on one connection in one transaction."""

    def __init__(self) -> None:
        #: A statement or a ROLLBACK was sent, and no answer came.
        self.lost = False
        #: A COMMIT was sent, and no answer came. An error of the database is an answer.
        self.committing = False
        #: The transaction is prepared, or about to be. Only a ROLLBACK ends this: an
        #: error does not.
        self.prepared = False
        self.rolling_back = False

    def may_commit(self, committed: bool) -> bool:
        """Whether the database may still write rows.

        :param committed: whether the database has answered COMMIT.
        """
        return self.lost or (not committed and (self.committing or self.prepared))

    def listen(self, connection: Connection) -> None:
        """Listen to the events of the connection."""
        for event_name, listener in self._listeners.items():
            event.listen(connection, event_name, listener)
        _followed[connection] = self

    def unlisten(self, connection: Connection) -> None:
        """Remove the listeners, because the connection outlives the transaction."""
        for event_name, listener in self._listeners.items():
            event.remove(connection, event_name, listener)
        _followed.pop(connection, None)

    @property
    def _listeners(self) -> dict[str, t.Callable[..., None]]:
        return {
            "commit": self._on_commit,
            "prepare_twophase": self._on_prepare,
            "rollback": self._on_rollback,
            "rollback_twophase": self._on_rollback,
        }

    def _on_commit(self, connection: Connection) -> None:
        self._resolve_lost(connection)
        self.committing = True

    def _on_prepare(self, connection: Connection, xid: t.Any) -> None:
        self.prepared = True

    def _on_rollback(self, connection: Connection, *args: t.Any) -> None:
        self._resolve_lost(connection)
        self.rolling_back = True
        # SQLAlchemy sends nothing on a connection that it has invalidated.
        if not connection.invalidated:
            self.committing = self.prepared = False

    def _resolve_lost(self, connection: Connection) -> None:
        """Find out whether a statement without an answer has ended, by another one: a
        connection answers in order.

        COMMIT and ROLLBACK do not tell, because drivers may not send them under
        AUTOCOMMIT.
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


#: The answers on each connection in a transaction that writes files.
_followed: weakref.WeakKeyDictionary[Connection, Answers]
_followed = weakref.WeakKeyDictionary()


@event.listens_for(Engine, "handle_error")
def _on_error(context: ExceptionContext) -> None:
    """Note an error. Only an error of the database is an answer. Not one are an error
    of the connection, an exception that stops the wait, and a value that the driver
    cannot send."""
    answers = _followed.get(context.connection) if context.connection else None
    if answers is not None:
        is_database = isinstance(context.sqlalchemy_exception, DBAPIError)
        answers.fail(is_database and not context.is_disconnect)
