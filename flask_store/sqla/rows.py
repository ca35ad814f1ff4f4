"""What a flush does with the files of the rows that it writes."""

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

from ..exceptions import FileNotFound
from ..files import FileWrapper
from ..naming import quoted
from .column import StoredFile
from .transactions import is_known
from .transactions import logs_of


@event.listens_for(Mapper, "mapper_configured")
def _follow(mapper: Mapper[t.Any], class_: type) -> None:
    """Follow the objects of every class that has such a column."""
    columns: dict[str, Column[t.Any]] = {}
    for prop in mapper.column_attrs:
        column = prop.columns[0]
        # An expression, as of column_property(), only shows a file of some row.
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
    if value == "":  # an empty field of a form
        return None
    if isinstance(value, str | bytes):
        raise TypeError(
            f"Cannot take a {type(value).__name__!r} for a file. Assign an upload, such"
            " as request.files['afile'], or a stored file, such as"
            " store.Provider().file('me.jpg')."
        )
    return value


class _Rows:
    """What happens to the files when rows are written and deleted.

    :param columns: the column of each attribute that holds a file.
    """

    def __init__(self, columns: dict[str, Column[t.Any]]) -> None:
        self.columns = columns

    def before_insert(
        self, mapper: Mapper[t.Any], connection: Connection, target: object
    ) -> None:
        """Save what was assigned."""
        state: InstanceState[t.Any] = inspect(target)
        key = mapper.identity_key_from_instance(target)
        if key in _session(state).identity_map:
            # The row of a deleted object is written anew, by an UPDATE.
            self._give_up(mapper, connection, state, key[1], self.columns)
        # An object that was a row before, and was made transient, has no changes.
        self._save(connection, state, self.columns)

    def before_update(
        self, mapper: Mapper[t.Any], connection: Connection, target: object
    ) -> None:
        """Save what was assigned; note what it replaces."""
        state: InstanceState[t.Any] = inspect(target)
        changed = self._changed(state)
        if changed and state.identity is not None:
            self._give_up(
                mapper, connection, state, state.identity, changed, key_share=True
            )
            self._save(connection, state, changed)

    def before_delete(
        self, mapper: Mapper[t.Any], connection: Connection, target: object
    ) -> None:
        """Note the files that the row holds."""
        state: InstanceState[t.Any] = inspect(target)
        if state.identity is not None:
            self._give_up(mapper, connection, state, state.identity, self.columns)

    def after_insert(
        self, mapper: Mapper[t.Any], connection: Connection, target: object
    ) -> None:
        """Note the files that the row holds."""
        self._hold(mapper, connection, inspect(target), self.columns)

    def after_update(
        self, mapper: Mapper[t.Any], connection: Connection, target: object
    ) -> None:
        """Note the files that the row holds since."""
        state: InstanceState[t.Any] = inspect(target)
        self._hold(mapper, connection, state, self._changed(state))

    def _changed(self, state: InstanceState[t.Any]) -> list[str]:
        return [key for key in self.columns if state.attrs[key].history.has_changes()]

    def _save(
        self, connection: Connection, state: InstanceState[t.Any], keys: Iterable[str]
    ) -> None:
        """Save the uploads, and look whether the files are there."""
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
            # An old object may remember the very name that has become free since:
            # without this its row would not be written.
            set_committed_value(state.obj(), key, None)
            setattr(state.obj(), key, file)

    def _hold(
        self,
        mapper: Mapper[t.Any],
        connection: Connection,
        state: InstanceState[t.Any],
        keys: Iterable[str],
    ) -> None:
        """Note the files that the row, as it has been written, holds."""
        for key in keys:
            file = state.dict.get(key)
            if isinstance(file, FileWrapper):
                column = self.columns[key]
                row = tuple(mapper.primary_key_from_instance(state.obj()))
                _, log = logs_of(_session(state), connection, column)
                log.hold(file, (column, row))

    def _give_up(
        self,
        mapper: Mapper[t.Any],
        connection: Connection,
        state: InstanceState[t.Any],
        row: tuple[t.Any, ...],
        keys: Iterable[str],
        key_share: bool = False,
    ) -> None:
        """Note which files the row in the database is about to lose.

        The object may be older than its row. What is asked for here stays locked until
        the end, so that no two transactions ever give up, and remove, one file: by the
        second time another row may have a new file of that name.

        :param row: the primary key.
        :param key_share: whether rows that refer to this one may be inserted
            meanwhile, which the lock of PostgreSQL forbids by default.
        """
        columns = [self.columns[key] for key in keys]
        where = zip(mapper.primary_key, row, strict=True)
        query = (
            select(*columns)
            .select_from(mapper.persist_selectable)
            .where(*(column == value for column, value in where))
            .with_for_update(key_share=key_share)
        )
        found = connection.execute(query).one_or_none()
        for column, file in zip(columns, found or (), strict=False):
            if file is not None:
                _, log = logs_of(_session(state), connection, column)
                log.give_up(file, (column, row))


def _session(state: InstanceState[t.Any]) -> Session:
    session = state.session
    assert session is not None  # it is being flushed
    return session
