"""Which files the rows of a database hold. Nothing is removed before this is known."""

from __future__ import annotations

import itertools
import typing as t
import weakref
from collections import Counter
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Column
from sqlalchemy import Connection
from sqlalchemy import Engine
from sqlalchemy import inspect
from sqlalchemy import MetaData
from sqlalchemy import or_
from sqlalchemy import select
from sqlalchemy import String
from sqlalchemy import type_coerce
from sqlalchemy import union_all
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import QueryableAttribute

from .column import StoredFile
from .legacy import FlaskStoreType

#: The most values of one statement. Databases limit them, some to 999.
PARAMETERS = 800


def columns_of(*metadata: MetaData) -> list[Column[t.Any]]:
    """Every column of these tables that may hold a file of a store."""
    types = (StoredFile, FlaskStoreType)
    tables = [table for data in metadata for table in data.tables.values()]
    return [c for table in tables for c in table.columns if isinstance(c.type, types)]


def column_of(column: t.Any) -> t.Any:
    """The column of a table behind an attribute such as ``User.avatar``."""
    if isinstance(column, QueryableAttribute):
        return column.property.columns[0]
    return column


def uri_of(column: Column[t.Any]) -> str | None:
    """The URI of the store whose files a column holds; ``None`` if that takes another
    application, or if the column is of 0.0.4."""
    if not isinstance(column.type, StoredFile):
        return None
    try:
        return column.type.current_store.uri
    except Exception:  # the settings of a store may be wrong, too
        return None


def keys_in_rows(
    connection: Connection, columns: Iterable[t.Any], keys: set[str]
) -> set[str]:
    """Which of these paths are in a row, as this connection sees it.

    :param connection: begin its transaction for this question: a snapshot (REPEATABLE
        READ) shows the rows from the time when it began.
    :param columns: columns of tables, or attributes such as ``User.avatar``.
    """
    return set(count_rows(connection, columns, keys))


def keys_in_rows_now(
    ended: Connection, columns: list[Column[t.Any]], keys: set[str]
) -> set[str]:
    """Which of these paths are in a row, after a transaction.

    :param ended: the connection of the transaction, which has ended.
    :raises SQLAlchemyError: if the database does not answer.
    """
    try:
        with _new_transaction(ended) as connection:
            return keys_in_rows(connection, columns, keys)
    except DBAPIError:
        with _new_transaction(ended) as connection:
            columns_here = in_database(connection, columns)
            if len(columns_here) == len(columns):
                raise
            return keys_in_rows(connection, columns_here, keys)


def in_database(
    connection: Connection, columns: list[Column[t.Any]]
) -> list[Column[t.Any]]:
    """The columns whose tables are in this database. A ``MetaData`` may have tables of
    several databases."""
    options = connection.get_execution_options()
    schemas = options.get("schema_translate_map") or {}
    tables = _known_tables.setdefault(connection.engine, set())
    columns_here = []
    for column in columns:
        name, schema = column.table.name, column.table.schema
        table = (name, schemas.get(schema, schema))
        if table not in tables and inspect(connection).has_table(*table):
            tables.add(table)
        if table in tables:
            columns_here.append(column)
    return columns_here


#: The tables that a database is known to have, by name and schema.
_known_tables: weakref.WeakKeyDictionary[Engine, set[tuple[str, str | None]]]
_known_tables = weakref.WeakKeyDictionary()


@contextmanager
def _new_transaction(ended: Connection) -> Iterator[Connection]:
    """A connection with a new transaction, which changes nothing.

    The session has returned its connection to the pool, so that a pool of one
    connection is enough. If the caller has left it open, this uses it, as the pool may
    have no other.
    """
    if not ended.closed:
        with ended.begin() as transaction:
            yield ended
            transaction.rollback()
        return
    with ended.engine.connect() as connection:
        yield connection.execution_options(**kept_options(ended))


def kept_options(connection: Connection) -> dict[str, t.Any]:
    """The options that another connection needs to find the same tables."""
    options = connection.get_execution_options()
    return {
        name: options[name] for name in ("schema_translate_map",) if name in options
    }


def count_rows(
    connection: Connection, columns: Iterable[t.Any], keys: set[str]
) -> Counter[str]:
    """How many rows hold each of these paths. A row with a path in two columns counts
    once.

    One statement asks for all columns. So it sees a file that moves from one column to
    another meanwhile in one of them.
    """
    tables: dict[t.Any, list[t.Any]] = {}
    for column in map(column_of, columns):
        tables.setdefault(column.table, []).append(type_coerce(column, String))
    width = max(map(len, tables.values()), default=1)
    column_count = sum(map(len, tables.values()))
    counts: Counter[str] = Counter()
    for batch in _batches(keys, max(1, PARAMETERS // (2 * column_count or 1))):
        # In rows of 0.0.4, a path may begin with the slash of its location.
        paths = [*batch, *(f"/{key}" for key in batch)]
        queries = [
            # The SELECTs of a UNION must have the same number of columns.
            select(
                *table_columns, *table_columns[:1] * (width - len(table_columns))
            ).where(or_(*(path.in_(paths) for path in table_columns)))
            for table_columns in tables.values()
        ]
        for row in connection.execute(union_all(*queries)):
            counts.update({path.lstrip("/") for path in row if path} & set(batch))
    return counts


def _batches(keys: set[str], size: int) -> Iterator[list[str]]:
    remaining = iter(sorted(keys))
    while batch := list(itertools.islice(remaining, size)):
        yield batch
