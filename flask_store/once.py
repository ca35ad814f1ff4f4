"""What may be done once: by a mark in the storage, which every host sees."""

from __future__ import annotations

import io
import typing as t
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress

import shortuuid

from .exceptions import BadLink
from .media_types import UNKNOWN
from .sources import Source

if t.TYPE_CHECKING:
    from .stores.fsspec import FsspecStore

DONE = (
    "This upload has been taken already, or is being taken at this moment. A token is"
    " good once: ask for a new one."
)


@contextmanager
def once(store: FsspecStore, name: str, key: str) -> Iterator[None]:
    """Let the block run once, ever and anywhere. If it fails, it may be tried again.

    :param name: of the mark, in the private folder.
    :param key: the file that it is about.
    :raises BadLink: if another one was here before.
    """
    dialect = store.dialect
    with store._explained(key):
        fs = store.fs
        mark = _mark(store, name)
    if mark is None:
        raise BadLink(DONE, key)
    try:
        yield
    except BaseException:
        # Whatever it was, it is more telling than what may happen here.
        with suppress(Exception):
            dialect.discard(fs, dialect.path(mark))
        raise


def _mark(store: FsspecStore, name: str) -> str | None:
    """Leave a mark; tell its name, or ``None`` if there is one already."""
    dialect, fs = store.dialect, store.fs
    with dialect.stage(fs, Source(io.BytesIO(), None)) as staged:
        if dialect.exclusive(fs, staged):
            try:
                dialect.create(fs, staged, dialect.path(name), UNKNOWN)
            except FileExistsError:
                return None
            return name
        mine = f"{name}.{shortuuid.uuid()}"
        dialect.replace(fs, staged, dialect.path(mine), UNKNOWN)
    # Where nothing is created in one step, everybody leaves a mark and looks only then:
    # of any two, one at least sees both. It steps back; so may both, but never none.
    fs.invalidate_cache()
    if any(_is_other(str(found["name"]), name, mine) for found in dialect.left(fs)):
        dialect.discard(fs, dialect.path(mine))
        return None
    return mine


def _is_other(path: str, name: str, mine: str) -> bool:
    found = path.rstrip("/").rpartition("/")[2]
    name, mine = (text.rpartition("/")[2] for text in (name, mine))
    return found.startswith(f"{name}.") and found != mine
