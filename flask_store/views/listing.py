"""What lies below a folder: asked for while it is iterated over, shown as a table."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import replace

from .. import naming
from ..dialects import Stat
from ..dialects import Unreachable
from .table import html_table
from .table import when

if t.TYPE_CHECKING:
    from ..stores.fsspec import FsspecStore

#: How many files the table in a notebook has.
ROWS = 50


class Listing:
    """The files below a folder of a store, each a ``Stat`` with name, size, modified,
    etag and content_type.

    Making one does no I/O; every iteration asks the storage anew. A DataFrame of
    pandas or polars can be made of it. It has no length: counting costs a listing
    of everything, which ``len(list(listing))`` says.

    A listing is whole, or iterating over it raises an error. Every file that it yields
    can be read, looked at and deleted by its name. What the storage shows besides, and
    no operation can reach, is in :attr:`unreachable`.

    :param store: the store that is listed.
    :param prefix: the folder, relative to the store's destination.
    """

    def __init__(self, store: FsspecStore, prefix: str = "") -> None:
        self.store = store
        self.prefix = prefix
        self._unreachable: list[Unreachable] = []

    @property
    def unreachable(self) -> list[Unreachable]:
        """What the last iteration met and could not yield, such as the key ``a//b`` of
        a bucket or a link that leads out of the store."""
        return self._unreachable

    @property
    def _folder(self) -> str:
        folder = naming.join(self.store.destination, self.prefix.strip("/"))
        return folder and naming.check(folder)

    def __iter__(self) -> Iterator[Stat]:
        folder, store = self._folder, self.store
        self._unreachable = []
        with store.dialect.explained(folder):
            yield from self._reachable(store.dialect.walk(folder))

    def first_page(self) -> tuple[list[Stat], bool]:
        """What one request tells.

        :return: the files, and whether there may be more.
        """
        folder, store = self._folder, self.store
        self._unreachable = []
        with store.dialect.explained(folder):
            entries, more = store.dialect.first_page(folder)
            return list(self._reachable(entries)), more

    def _reachable(self, entries: Iterable[Stat | Unreachable]) -> Iterator[Stat]:
        """The files that every operation takes, by their names in the destination."""
        skip = len(self.store.destination) + bool(self.store.destination)
        for entry in entries:
            if naming.is_file(entry.name):
                if isinstance(entry, Stat):
                    reason = naming.problem(entry.name)
                    if not reason:
                        yield replace(entry, name=entry.name[skip:]) if skip else entry
                        continue
                    entry = Unreachable(entry.name, reason)
                self._unreachable.append(entry)

    def names(self) -> list[str]:
        """The names that one request tells, for completion; none if that fails."""
        try:
            return [found.name for found in self.first_page()[0]]
        except Exception:
            return []

    def _repr_html_(self) -> str | None:
        try:
            files, more = self.first_page()
        except Exception:
            return None  # IPython shows the repr then
        rows = [
            (
                found.name,
                f"{found.size:,}",
                when(found.modified),
                found.content_type,
                found.etag or "",
            )
            for found in files[:ROWS]
        ]
        head = ("name", "size", "modified", "content_type", "etag")
        rest = [_rest(len(files) - len(rows), more), _unreachable(self.unreachable)]
        return html_table(head, rows, "; ".join(filter(None, rest)))

    def __repr__(self) -> str:
        at = f" below {self.prefix!r}" if self.prefix else ""
        return f"<{type(self).__name__} of {self.store!r}{at}>"


def _rest(left: int, more: bool) -> str:
    if more:
        return f"and {left:,} or more" if left else "and more, not counted"
    return f"and {left:,} more" if left else ""


def _unreachable(entries: list[Unreachable]) -> str:
    return f"{len(entries):,} names that cannot be used" if entries else ""
