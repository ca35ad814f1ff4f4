"""``StoredFile``: a column of files, as one with the transaction of its rows."""

from __future__ import annotations

import typing as t

from sqlalchemy import Connection
from sqlalchemy import Dialect
from sqlalchemy import event
from sqlalchemy import inspect
from sqlalchemy import select
from sqlalchemy import String
from sqlalchemy.orm import InstanceState
from sqlalchemy.orm import Mapper
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.types import TypeDecorator

from .. import Provider as current_provider
from .. import Store
from ..files import FileWrapper
from ..naming import MAX_KEY
from ..stores.fsspec import FsspecStore
from .transactions import GivenUp
from .transactions import Held
from .transactions import Holder
from .transactions import log_of
from .transactions import Made


class StoredFile(TypeDecorator[FileWrapper]):
    """A column that holds a stored file.

    Assign an upload; it is saved when the row is written, and the attribute is a
    :class:`~flask_store.files.FileWrapper` from then on. The row keeps the file's
    path. A file that is rolled back, replaced or deleted with its row goes when its
    row has gone for good.

    A row owns its file: do not give one file to two rows.

    :param destination: the folder in the store.
    :param store: the store; by default the application's. A
        :class:`~flask_store.extension.Store`, or any store that is configured.
    :param length: of the path, in characters.
    """

    impl = String
    cache_ok = True

    def __init__(
        self,
        destination: str | None = None,
        store: Store | FsspecStore | None = None,
        length: int = MAX_KEY,
    ) -> None:
        super().__init__(length)
        self.destination = destination
        self.store = store

    @property
    def current_store(self) -> FsspecStore:
        """The store of this column, in the current application.

        :raises RuntimeError: if it takes an application to tell, and there is none.
        """
        if isinstance(self.store, FsspecStore):
            return self.store.at(self.destination)
        provider = self.store.Provider if self.store else current_provider
        bound = provider._bound
        if not isinstance(bound, FsspecStore):
            raise TypeError(f"{bound!r} is no FsspecStore, which a column needs.")
        return bound.at(self.destination)

    def save(self, upload: t.Any) -> FileWrapper:
        """Store an upload that was assigned to an attribute."""
        return self.current_store.save(upload)

    def process_bind_param(self, value: t.Any, dialect: Dialect) -> str | None:
        """The path that goes into the row, or that a query compares with."""
        if value is None or isinstance(value, str):
            return value
        if not isinstance(value, FileWrapper):
            raise TypeError(
                f"A {type(value).__name__!r} is saved when an object with it is"
                " flushed. For statements and bulk operations, save it first and pass"
                " what save() returns."
            )
        self._check_store(value)
        return value.key

    def process_result_value(
        self, value: str | None, dialect: Dialect
    ) -> FileWrapper | None:
        """The file, or ``None``."""
        return self.current_store.at(None).file(value) if value else None

    def _check_store(self, file: FileWrapper) -> None:
        mine = self.current_store
        if file.provider.uri != mine.uri:
            raise ValueError(
                f"{file!r} is of another store than the column's, {mine!r}. Assign"
                " file.open(), which is saved there."
            )


@event.listens_for(Mapper, "mapper_configured")
def _follow(mapper: Mapper[t.Any], class_: type) -> None:
    """Follow the objects of every class that has such a column."""
    types = {prop.key: prop.columns[0].type for prop in mapper.column_attrs}
    columns = {key: kind for key, kind in types.items() if isinstance(kind, StoredFile)}
    if not columns:
        return
    rows = _Rows(columns)
    event.listen(mapper, "before_insert", rows.before_write)
    event.listen(mapper, "before_update", rows.before_write)
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

    :param columns: the type of each attribute that holds a file.
    """

    def __init__(self, columns: dict[str, StoredFile]) -> None:
        self.columns = columns

    def before_write(
        self, mapper: Mapper[t.Any], connection: Connection, target: object
    ) -> None:
        """Save what was assigned; note what it replaces."""
        state: InstanceState[t.Any] = inspect(target)
        changed = [
            key for key in self.columns if state.attrs[key].history.has_changes()
        ]
        if state.has_identity:
            self._give_up(mapper, connection, state, changed)
        for key in changed:
            value = getattr(target, key)
            if value is None:
                continue
            log, holder = log_of(_session(state), connection), Holder(state, key)
            if not isinstance(value, FileWrapper):
                upload, value = value, self.columns[key].save(value)
                log.entries.append(Made(value, holder, upload))
                # An old object may remember the very name that has become free since:
                # without this its row would not be written.
                set_committed_value(target, key, None)
                setattr(target, key, value)
            log.entries.append(Held(value, holder))

    def before_delete(
        self, mapper: Mapper[t.Any], connection: Connection, target: object
    ) -> None:
        """Note the files that the row holds."""
        self._give_up(mapper, connection, inspect(target), list(self.columns))

    def _give_up(
        self,
        mapper: Mapper[t.Any],
        connection: Connection,
        state: InstanceState[t.Any],
        keys: list[str],
    ) -> None:
        """Note which files the row in the database is about to lose.

        The object may be older than its row. What is asked for here stays locked until
        the end, so that no two transactions ever give up, and remove, one file: by the
        second time another row may have a new file of that name.
        """
        if not keys or state.identity is None:
            return
        columns = [mapper.column_attrs[key].columns[0] for key in keys]
        where = zip(mapper.primary_key, state.identity, strict=True)
        query = (
            select(*columns)
            .select_from(mapper.persist_selectable)
            .where(*(column == value for column, value in where))
            .with_for_update()
        )
        row = connection.execute(query).one_or_none()
        for key, file in zip(keys, row or (), strict=False):
            if file is not None:
                log = log_of(_session(state), connection)
                log.entries.append(GivenUp(file, Holder(state, key)))


def _session(state: InstanceState[t.Any]) -> Session:
    session = state.session
    assert session is not None  # it is being flushed
    return session
