"""The files of a store that no row knows."""

from __future__ import annotations

import datetime as dt
import itertools
import typing as t
from collections.abc import Iterable
from collections.abc import Iterator

from sqlalchemy import Column
from sqlalchemy import MetaData
from sqlalchemy import select
from sqlalchemy import String
from sqlalchemy import type_coerce
from sqlalchemy.orm import Session

from ..dialects import Stat
from ..stores.fsspec import FsspecStore
from .column import StoredFile
from .legacy import FlaskStoreType

#: How many names one query asks for; databases limit it, some to 1000.
BATCH = 400


def columns_of(metadata: MetaData) -> list[Column[t.Any]]:
    """Every column of these tables that may hold a file of a store."""
    kinds = (StoredFile, FlaskStoreType)
    tables = metadata.tables.values()
    return [c for table in tables for c in table.columns if isinstance(c.type, kinds)]


def orphans(
    store: FsspecStore,
    session: Session,
    columns: Iterable[t.Any],
    older_than: dt.timedelta = dt.timedelta(days=1),
) -> Iterator[Stat]:
    """Find the files that are in no row.

    Such files are left behind by bulk and Core deletes, by ``ON DELETE CASCADE`` in
    the database and by a process that dies between a flush and its commit.

    :param store: where to look: all of it, or its destination.
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
    old = (f for f in store.ls() if f.modified is not None and f.modified < limit)
    # Files are listed before rows are asked for: a row written in between is seen.
    while batch := list(itertools.islice(old, BATCH)):
        keys = {store.key(found.name) for found in batch}
        held = set(_held(session, columns, keys))
        yield from (found for found in batch if store.key(found.name) not in held)


def _held(session: Session, columns: list[t.Any], keys: set[str]) -> Iterator[str]:
    # Rows that 0.0.4 wrote may begin with the slash of their location.
    asked = [*keys, *(f"/{key}" for key in keys)]
    for column in columns:
        path = type_coerce(column, String)
        for held in session.scalars(select(path).where(path.in_(asked))):
            yield held.lstrip("/")
