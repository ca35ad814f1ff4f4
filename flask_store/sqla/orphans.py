"""The files of a store that no row knows."""

from __future__ import annotations

import datetime as dt
import itertools
import typing as t
from collections.abc import Iterable
from collections.abc import Iterator

from sqlalchemy import Column
from sqlalchemy import Connection
from sqlalchemy import inspect
from sqlalchemy.orm import QueryableAttribute
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import Session
from sqlalchemy.pool import SingletonThreadPool
from sqlalchemy.pool import StaticPool

from .. import Store
from ..dialects import Stat
from ..exceptions import FileNotFound
from ..files import FileWrapper
from ..stores.fsspec import FsspecStore
from .holding import column_of
from .holding import kept_options
from .holding import keys_in_rows
from .holding import uri_of

#: How many files one question to the database is about.
BATCH = 400
#: Younger files may belong to a transaction that has not ended.
AGE = dt.timedelta(days=1)

AnySession: t.TypeAlias = "Session | scoped_session[t.Any]"
#: The store of the current application, or any store.
AnyStore: t.TypeAlias = "Store[FsspecStore] | FsspecStore"
#: A column of a table, or the attribute of a class.
AnyColumn: t.TypeAlias = "Column[t.Any] | QueryableAttribute[t.Any]"


def orphans(
    store: AnyStore,
    session: AnySession,
    columns: Iterable[AnyColumn],
    older_than: dt.timedelta = AGE,
) -> Iterator[FileWrapper]:
    """Find the files that are in no row.

    Such files are left behind by bulk and Core deletes, by ``ON DELETE CASCADE`` in
    the database and by a process that dies between a flush and its commit. To remove
    them, use :func:`sweep`.

    :param store: the store to search; ``store.at("pictures")`` is a folder of it.
    :param session: tells which databases have the tables. New connections ask them,
        because the session may have old data. If the session is in a transaction, it is
        asked as well, for rows that only this transaction sees.
    :param columns: every column that may hold a file of this store, such as
        ``[User.avatar, Report.pdf]``. The files of a column that is missing here count
        as orphans.
    :param older_than: leaves out younger files, which may belong to a transaction that
        has not ended. Files without a date are left out, too.
    :return: the files, which know their size and date.
    """
    columns = list(columns)
    if not columns:
        raise ValueError("Without a column, every file would be taken for an orphan.")
    limit = dt.datetime.now(dt.UTC) - older_than
    inner_folders = _inner_folders(store, columns)
    candidates = (
        (file.key, file)
        for file in store.ls()
        if file.modified is not None and file.modified < limit
        if not file.key.startswith(inner_folders)
    )
    # List files before asking for rows, so that a row written in between is seen.
    while batch := dict(itertools.islice(candidates, BATCH)):
        held_keys = _keys_in_rows(session, columns, set(batch))
        yield from (file for key, file in batch.items() if key not in held_keys)


def _inner_folders(store: AnyStore, columns: list[t.Any]) -> tuple[str, ...]:
    """The folders of this store that are themselves the stores of some columns. The
    paths in the rows of those columns are relative to these folders."""
    root = f"{store.uri}/"
    uris = {uri_of(column_of(column)) or "" for column in columns}
    return tuple(f"{uri.removeprefix(root)}/" for uri in uris if uri.startswith(root))


def sweep(
    store: AnyStore,
    session: AnySession,
    columns: Iterable[AnyColumn],
    older_than: dt.timedelta = AGE,
    dry_run: bool = False,
) -> list[str]:
    """Remove the files that are in no row.

    It checks each file again before it removes it. If another file has taken the name
    meanwhile, that file stays.

    :param store: see :func:`orphans`, as for all other parameters.
    :param dry_run: remove nothing, and only return the names.
    :return: the names of the removed files.
    """
    columns = list(columns)
    removed = []
    for file in orphans(store, session, columns, older_than):
        if not dry_run:
            if _keys_in_rows(session, columns, {file.key}):
                continue
            try:
                if not _is_same(store.stat(file), file):
                    continue
                store.delete(file)
            except FileNotFound:  # another process sweeps, too
                continue
        removed.append(file.name)
    return removed


def _is_same(current: Stat, listed: FileWrapper) -> bool:
    """Whether a file is still the one that was listed. Some listings have no ETag, and
    on some storages files with the same bytes have the same ETag."""
    if None not in (current.etag, listed.etag) and current.etag != listed.etag:
        return False
    return (current.modified, current.size) == (listed.modified, listed.size)


def _keys_in_rows(
    session: AnySession, columns: list[t.Any], keys: set[str]
) -> set[str]:
    current_session: Session = (
        session() if isinstance(session, scoped_session) else session
    )
    binds: dict[t.Any, list[t.Any]] = {}
    for column in columns:
        # Some sessions choose the database by the mapper, and others by the table.
        is_attribute = isinstance(column, QueryableAttribute)
        mapper = inspect(column.class_) if is_attribute else None
        bind = current_session.get_bind(mapper=mapper, clause=column_of(column).table)
        binds.setdefault(bind, []).append(column_of(column))
    found_keys: set[str] = set()
    for bind, bind_columns in binds.items():
        for connection in _connections(current_session, bind):
            found_keys |= keys_in_rows(connection, bind_columns, keys)
    return found_keys


def _connections(session: Session, bind: t.Any) -> Iterator[Connection]:
    """A connection with a new transaction, and the session's connection, if the session
    is in a transaction or was made with a connection."""
    # A database in memory may have only one connection. Then nothing else writes.
    single = isinstance(bind.engine.pool, SingletonThreadPool | StaticPool)
    options: dict[str, t.Any] = {}
    if single or session.in_transaction() or isinstance(bind, Connection):
        if session.autoflush:
            session.flush()
        connection = session.connection(bind_arguments={"bind": bind})
        options = kept_options(connection)
        yield connection
    if not single:
        with bind.engine.connect() as connection:
            yield connection.execution_options(**options)
