"""Saves the files of the rows that a flush writes, and notes them for
transactions.py."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable

from sqlalchemy import Column
from sqlalchemy import Connection
from sqlalchemy import event
from sqlalchemy import inspect
from sqlalchemy import select
from sqlalchemy.orm import InstanceState
from sqlalchemy.orm import Mapper
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value
from werkzeug.datastructures import FileStorage

from ..exceptions import FileNotFound
from ..files import FileWrapper
from ..naming import quoted
from ..uploads import is_chosen
from .column import StoredFile
from .transactions import is_known
from .transactions import logs_of


@event.listens_for(Mapper, "mapper_configured")
def _follow(mapper: Mapper[t.Any], class_: type) -> None:
    """Listen to the events of every class that has a ``StoredFile`` column."""
    columns: dict[str, Column[t.Any]] = {}
    for prop in mapper.column_attrs:
        column = prop.columns[0]
        # An expression, such as a column_property(), does not own a file.
        if isinstance(column, Column) and isinstance(column.type, StoredFile):
            columns[prop.key] = column
    if not columns:
        return
    rows = _Rows(columns)
    event.listen(mapper, "before_insert", rows.before_insert)
    event.listen(mapper, "after_insert", rows.after_insert)
    event.listen(mapper, "before_update", rows.before_update)
    event.listen(mapper, "after_update", rows.after_update)
    event.listen(mapper, "before_delete", rows.before_delete)
    for key in columns:
        event.listen(getattr(class_, key), "set", _assigned, retval=True)


def _assigned(target: object, value: t.Any, old: t.Any, initiator: t.Any) -> t.Any:
    if _is_empty_field(value):
        # What was there stays: an edit form is mostly sent without a new file.
        present = getattr(target, initiator.key)
        is_needed = not inspect(target).mapper.columns[initiator.key].nullable
        # To save it is an error of the client's, and an INSERT of NULL one of ours.
        return value if present is None and is_needed and value != "" else present
    if isinstance(value, str | bytes):
        raise TypeError(
            f"Cannot take a {type(value).__name__!r} for a file. Assign an upload, such"
            " as request.files['afile'], a pair of bytes and a name, such as"
            " (b'...', 'me.jpg'), or a stored file, such as store.file('me.jpg'). If a"
            " form has sent it, add"
            ' enctype="multipart/form-data" to its <form>; without that a browser sends'
            " only the name of the file."
        )
    return value


def _is_empty_field(value: t.Any) -> bool:
    """Whether a value is what a form has for a file field that was left empty."""
    if isinstance(value, FileStorage):
        return not is_chosen(value)
    return isinstance(value, str) and not value


class _Rows:
    """The listeners for the rows of one class.

    :param columns: the column of each attribute that holds a file.
    """

    def __init__(self, columns: dict[str, Column[t.Any]]) -> None:
        self.columns = columns

    def before_insert(
        self, mapper: Mapper[t.Any], connection: Connection, target: object
    ) -> None:
        """Save the uploads that were assigned."""
        state: InstanceState[t.Any] = inspect(target)
        key = mapper.identity_key_from_instance(target)
        if key in _session(state).identity_map:
            # SQLAlchemy writes the row of a deleted object again, by an UPDATE.
            self._note_lost(mapper, connection, state, key[1], self.columns)
        # Save all columns: an object that was made transient has no history of changes.
        self._save(connection, state, self.columns)

    def before_update(
        self, mapper: Mapper[t.Any], connection: Connection, target: object
    ) -> None:
        """Save the uploads that were assigned, and note the files that they replace."""
        state: InstanceState[t.Any] = inspect(target)
        changed = self._changed(state)
        if changed and state.identity is not None:
            self._note_lost(
                mapper, connection, state, state.identity, changed, key_share=True
            )
            self._save(connection, state, changed)

    def before_delete(
        self, mapper: Mapper[t.Any], connection: Connection, target: object
    ) -> None:
        """Note the files that the row holds."""
        state: InstanceState[t.Any] = inspect(target)
        if state.identity is not None:
            self._note_lost(mapper, connection, state, state.identity, self.columns)

    def after_insert(
        self, mapper: Mapper[t.Any], connection: Connection, target: object
    ) -> None:
        """Note the files that the row holds."""
        self._note_held(mapper, connection, inspect(target), self.columns)

    def after_update(
        self, mapper: Mapper[t.Any], connection: Connection, target: object
    ) -> None:
        """Note the files that the row holds from now on."""
        state: InstanceState[t.Any] = inspect(target)
        self._note_held(mapper, connection, state, self._changed(state))

    def _changed(self, state: InstanceState[t.Any]) -> list[str]:
        return [key for key in self.columns if state.attrs[key].history.has_changes()]

    def _save(
        self, connection: Connection, state: InstanceState[t.Any], keys: Iterable[str]
    ) -> None:
        """Save the uploads, and check that files which were stored before exist."""
        for key in keys:
            value, column = state.dict.get(key), self.columns[key]
            if value is None or isinstance(value, str):
                continue
            session = _session(state)
            if isinstance(value, FileWrapper):
                if not is_known(session, value) and not value.exists():
                    raise FileNotFound(
                        f"{column} cannot hold {quoted(value.key)}, which is not in"
                        " the store. It may have been replaced, deleted or rolled back"
                        " since it was read. Assign an upload or a file that is there.",
                        value.key,
                    )
                continue
            outermost, log = logs_of(session, connection, column)
            file = t.cast("StoredFile", column.type).save(value)
            log.make(file)
            outermost.keep(value, file, state, key)
            # The object may still have a file of this name, if the name has become free
            # since. SQLAlchemy would then see no change, and not write the row.
            set_committed_value(state.obj(), key, None)
            setattr(state.obj(), key, file)

    def _note_held(
        self,
        mapper: Mapper[t.Any],
        connection: Connection,
        state: InstanceState[t.Any],
        keys: Iterable[str],
    ) -> None:
        """Note the files that the row holds after it was written."""
        for key in keys:
            file = state.dict.get(key)
            if isinstance(file, FileWrapper):
                column = self.columns[key]
                row = tuple(mapper.primary_key_from_instance(state.obj()))
                _, log = logs_of(_session(state), connection, column)
                log.hold(file, (column, row))

    def _note_lost(
        self,
        mapper: Mapper[t.Any],
        connection: Connection,
        state: InstanceState[t.Any],
        row: tuple[t.Any, ...],
        keys: Iterable[str],
        key_share: bool = False,
    ) -> None:
        """Note which files the row in the database is about to lose, and which it
        keeps.

        The object may be older than its row, so that this reads the row and locks it
        until the transaction ends. So no two transactions give up, and remove, the same
        file. Otherwise the second one might remove a new file of that name.

        :param row: the primary key.
        :param key_share: whether other transactions may insert rows that refer to this
            one. PostgreSQL's lock forbids that by default.
        """
        lost_columns = {self.columns[key] for key in keys}
        conditions = zip(mapper.primary_key, row, strict=True)
        query = (
            select(*self.columns.values())
            .select_from(mapper.persist_selectable)
            .where(*(column == value for column, value in conditions))
            .with_for_update(key_share=key_share)
        )
        files = connection.execute(query).one_or_none()
        for column, file in zip(self.columns.values(), files or (), strict=False):
            if file is not None:
                _, log = logs_of(_session(state), connection, column)
                log_file = log.give_up if column in lost_columns else log.find
                log_file(file, (column, row))


def _session(state: InstanceState[t.Any]) -> Session:
    session = state.session
    assert session is not None  # it is being flushed
    return session
