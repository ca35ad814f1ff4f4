"""Which files the rows of a database hold: the question that is asked before a file
is removed."""

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

#: How many values one statement may have; databases limit them, some to 999.
PARAMETERS = 800


def columns_of(*metadata: MetaData) -> list[Column[t.Any]]:
    """Every column of these tables that may hold a file of a store."""
    kinds = (StoredFile, FlaskStoreType)
    tables = [table for one in metadata for table in one.tables.values()]
    return [c for table in tables for c in table.columns if isinstance(c.type, kinds)]


def column_of(column: t.Any) -> t.Any:
    """The column of a table behind an attribute such as ``User.avatar``."""
    if isinstance(column, QueryableAttribute):
        return column.property.columns[0]
    return column


def uri_of(column: Column[t.Any]) -> str | None:
    """The URI of the store whose files a column holds, or ``None``: an application that
    is not here knows it, or the column is of 0.0.4."""
    if not isinstance(column.type, StoredFile):
        return None
    try:
        return column.type.current_store.uri
    except Exception:  # an application's store may be configured wrongly, too
        return None


def held(connection: Connection, columns: Iterable[t.Any], keys: set[str]) -> set[str]:
    """Which of these paths are in a row, as this connection sees it.

    :param connection: its transaction has to be as young as the answer has to be: a
        snapshot (REPEATABLE READ) shows what was there when it began.
    :param columns: columns of tables, or attributes such as ``User.avatar``.
    """
    return set(count_rows(connection, columns, keys))


def held_now(
    ended: Connection, columns: list[Column[t.Any]], keys: set[str]
) -> set[str]:
    """Which of these paths are in a row, after a transaction.

    :param ended: the connection of the transaction, which has ended.
    :raises SQLAlchemyError: if the database does not say.
    """
    try:
        with _fresh(ended) as connection:
            return held(connection, columns, keys)
    except DBAPIError:
        with _fresh(ended) as connection:
            here = in_database(connection, columns)
            if len(here) == len(columns):
                raise
            return held(connection, here, keys)


def in_database(
    connection: Connection, columns: list[Column[t.Any]]
) -> list[Column[t.Any]]:
    """The columns whose tables are there: one metadata may be of several databases."""
    options = connection.get_execution_options()
    schemas = options.get("schema_translate_map") or {}
    found = _tables.setdefault(connection.engine, set())
    here = []
    for column in columns:
        name, schema = column.table.name, column.table.schema
        place = (name, schemas.get(schema, schema))
        if place not in found and inspect(connection).has_table(*place):
            found.add(place)
        if place in found:
            here.append(column)
    return here


#: The tables that were found in a database, by name and schema.
_tables: weakref.WeakKeyDictionary[Engine, set[tuple[str, str | None]]]
_tables = weakref.WeakKeyDictionary()


@contextmanager
def _fresh(ended: Connection) -> Iterator[Connection]:
    """A connection in a transaction that begins now, and changes nothing.

    The session has given its own back to the pool, so that a pool of one will do. One
    that the caller has left open is used itself; the pool may have no other.
    """
    if not ended.closed:
        with ended.begin() as transaction:
            yield ended
            transaction.rollback()
        return
    with ended.engine.connect() as connection:
        yield connection.execution_options(**kept_options(ended))


def kept_options(connection: Connection) -> dict[str, t.Any]:
    """What another connection needs to find the same tables."""
    options = connection.get_execution_options()
    return {
        name: options[name] for name in ("schema_translate_map",) if name in options
    }


def count_rows(
    connection: Connection, columns: Iterable[t.Any], keys: set[str]
) -> Counter[str]:
    """How many rows hold each of these paths; one with a path in two of its columns
    counts once.

    All columns are asked by one statement, so that a file that goes from one column to
    another meanwhile is seen in the one or in the other.
    """
    tables: dict[t.Any, list[t.Any]] = {}
    for column in map(column_of, columns):
        tables.setdefault(column.table, []).append(type_coerce(column, String))
    width = max(map(len, tables.values()), default=1)
    asked = sum(map(len, tables.values()))
    found: Counter[str] = Counter()
    for batch in _batches(keys, max(1, PARAMETERS // (2 * asked or 1))):
        # Rows that 0.0.4 wrote may begin with the slash of their location.
        paths = [*batch, *(f"/{key}" for key in batch)]
        queries = [
            # Each SELECT of a UNION has as many columns as the others.
            select(*own, *own[:1] * (width - len(own))).where(
                or_(*(path.in_(paths) for path in own))
            )
            for own in tables.values()
        ]
        for row in connection.execute(union_all(*queries)):
            found.update({path.lstrip("/") for path in row if path} & set(batch))
    return found


def _batches(keys: set[str], size: int) -> Iterator[list[str]]:
    rest = iter(sorted(keys))
    while batch := list(itertools.islice(rest, size)):
        yield batch
