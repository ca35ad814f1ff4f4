"""Small private files that say what has been done, to every process on every host."""

from __future__ import annotations

import datetime as dt
import io
import typing as t
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress

import shortuuid

from ..media_types import UNKNOWN
from ..uploads.source import Source

if t.TYPE_CHECKING:
    from ..dialects import Dialect
    from ..dialects import Mode

#: After this time a process that wanted to be alone, and never said that it is done,
#: is taken for dead. It covers the time limits of a few requests.
LEASE = dt.timedelta(minutes=1)


class NotAlone(Exception):
    """Another process does the same at this moment."""


def put(dialect: Dialect, source: Source, name: str, content_type: str) -> None:
    """Store a private file.

    :param name: in the private folder.
    :raises FileExistsError: if the name is taken, where the storage creates in one
        step. Elsewhere the last one counts.
    """
    with dialect.stage(source) as staged:
        exclusive = dialect.exclusive(staged)
        mode: Mode = "create" if exclusive else "overwrite"
        dialect.put_file(staged, name, content_type, mode)


def leave(dialect: Dialect, name: str) -> bool:
    """Leave a mark, in one step where the storage has one.

    :param name: of the mark, in the private folder.
    :return: whether it is this call's. It is not if the mark was there already.
    """
    content = shortuuid.uuid().encode()
    try:
        put(dialect, Source(io.BytesIO(content), None), name, UNKNOWN)
    except Exception as exc:
        # The mark may be there all the same: an answer gets lost, or belongs to a
        # second try of the same request.
        with suppress(Exception):
            return dialect.cat_file(name) == content
        if isinstance(exc, FileExistsError):
            return False
        raise
    return True


@contextmanager
def alone(dialect: Dialect, name: str) -> Iterator[None]:
    """Keep others from the same block on a storage that does nothing in one step,
    until it leaves the mark *name*; where it does, marks suffice.

    Everybody leaves a file and only then looks. Of any two, one at least sees both,
    and steps back. So may both, but never none.

    :raises NotAlone: if another process may be in the block, or has left the mark.
    """
    candidate = f"{name}.{shortuuid.uuid()}"
    exclusive = True  # until it is known
    try:
        with dialect.stage(Source(io.BytesIO(), None)) as staged:
            exclusive = dialect.exclusive(staged)
            if not exclusive:
                dialect.put_file(staged, candidate, UNKNOWN, "overwrite")
        if not exclusive and not _is_alone(dialect, name, candidate):
            raise NotAlone(name)
        yield
    except Exception:
        if not exclusive:
            with suppress(Exception):  # after the lease it counts no more
                dialect.discard(dialect.path(candidate))
        raise
    # It stays for those who are reading the folder just now; sweep removes it.


def _is_alone(dialect: Dialect, name: str, candidate: str) -> bool:
    dialect.fs.invalidate_cache()
    dates = {}
    for info in dialect.left():
        path = str(info["name"]).rstrip("/").rpartition("/")[2]
        size = info.get("size") or 0
        dates[path] = dialect.record({**info, "size": size}, path).modified
    done = name.rpartition("/")[2]
    now = dates.pop(candidate.rpartition("/")[2], None)
    if now is None or done in dates:
        return False
    return all(
        # By the storage's own clock, of which both dates are.
        modified is not None and modified < now - LEASE
        for path, modified in dates.items()
        if path.startswith(f"{done}.")
    )
