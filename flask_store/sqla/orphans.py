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

from ..dialects import Stat
from ..exceptions import FileNotFound
from ..stores.fsspec import FsspecStore
from .holding import column_of
from .holding import held
from .holding import kept_options
from .holding import uri_of

#: How many files are looked for in the rows at a time.
BATCH = 400
#: What is younger may belong to a transaction that goes on.
AGE = dt.timedelta(days=1)

AnySession: t.TypeAlias = "Session | scoped_session[t.Any]"
#: A column of a table, or the attribute of a class.
AnyColumn: t.TypeAlias = "Column[t.Any] | QueryableAttribute[t.Any]"


def orphans(
    store: FsspecStore,
    session: AnySession,
    columns: Iterable[AnyColumn],
    older_than: dt.timedelta = AGE,
) -> Iterator[Stat]:
    """Find the files that are in no row.

    Such files are left behind by bulk and Core deletes, by ``ON DELETE CASCADE`` in
    the database and by a process that dies between a flush and its commit. To remove
    them, use :func:`sweep`.

    :param store: where to look: all of it, or its destination.
    :param session: says which databases have the tables. They are asked by connections
        of their own: what the session has seen before may be old. If it is in a
        transaction, it is asked as well, for what only this transaction has written.
    :param columns: every column that may hold a file of this store, such as
        ``[User.avatar, Report.pdf]``. What is in a column that you forget is taken for
        an orphan.
    :param older_than: leaves out what is younger, as it may belong to a transaction
        that goes on. Files without a date are left out too.
    :return: the files, by their names in the store's destination.
    """
    columns = list(columns)
    if not columns:
        raise ValueError("Without a column, every file would be taken for an orphan.")
    limit = dt.datetime.now(dt.UTC) - older_than
    inner = _inner_folders(store, columns)
    old = (
        (store.key(found.name), found)
        for found in store.ls()
        if found.modified is not None and found.modified < limit
    )
    mine = ((key, found) for key, found in old if not key.startswith(inner))
    # Files are listed before rows are asked for: a row written in between is seen.
    while batch := dict(itertools.islice(mine, BATCH)):
        kept = _held(session, columns, set(batch))
        yield from (found for key, found in batch.items() if key not in kept)


def _inner_folders(store: FsspecStore, columns: list[t.Any]) -> tuple[str, ...]:
    """The folders, in this store, that are stores of some of the columns. Their rows
    have other paths for their files."""
    root = f"{store.uri}/"
    uris = {uri_of(column_of(column)) or "" for column in columns}
    return tuple(f"{uri.removeprefix(root)}/" for uri in uris if uri.startswith(root))


def sweep(
    store: FsspecStore,
    session: AnySession,
    columns: Iterable[AnyColumn],
    older_than: dt.timedelta = AGE,
    dry_run: bool = False,
) -> list[str]:
    """Remove the files that are in no row.

    Each of them is looked at again before it is removed. A name may be free for a
    moment and then belong to another file: that one stays.

    :param store: see :func:`orphans`, as for all other parameters.
    :param dry_run: remove nothing, and only tell.
    :return: the names of what was removed.
    """
    columns = list(columns)
    removed = []
    for found in orphans(store, session, columns, older_than):
        if not dry_run:
            if _held(session, columns, {store.key(found.name)}):
                continue
            try:
                if not _is_same(store.stat(found.name), found):
                    continue
                store.delete(found.name)
            except FileNotFound:  # somebody else sweeps, too
                continue
        removed.append(found.name)
    return removed


def _is_same(now: Stat, listed: Stat) -> bool:
    """Whether a file is the one that was listed. Not every listing has an ETag, and on
    some storages the same bytes have the same one."""
    if None not in (now.etag, listed.etag) and now.etag != listed.etag:
        return False
    return (now.modified, now.size) == (listed.modified, listed.size)


def _held(session: AnySession, columns: list[t.Any], keys: set[str]) -> set[str]:
    own: Session = session() if isinstance(session, scoped_session) else session
    binds: dict[t.Any, list[t.Any]] = {}
    for column in columns:
        # Some sessions choose by the mapper, and some by the table.
        attribute = isinstance(column, QueryableAttribute)
        mapper = inspect(column.class_) if attribute else None
        bind = own.get_bind(mapper=mapper, clause=column_of(column).table)
        binds.setdefault(bind, []).append(column_of(column))
    found: set[str] = set()
    for bind, there in binds.items():
        for connection in _connections(own, bind):
            found |= held(connection, there, keys)
    return found


def _connections(session: Session, bind: t.Any) -> Iterator[Connection]:
    """One in a transaction that begins now, and the session's, if it is in one or has
    been given one."""
    # There may be one connection only, as of a database in memory. Nobody else writes.
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
