"""The files below a folder, requested while iterating, and shown as a table."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable
from collections.abc import Iterator

from .. import naming
from ..dialects import Stat
from ..dialects import Unreachable
from .table import html_table
from .table import when

if t.TYPE_CHECKING:
    from ..files import FileStore

#: How many files the table in a notebook has.
ROWS = 50


class Listing:
    """The files below a folder of a store, each a ``Stat`` with name, size, modified,
    etag and content_type.

    Making one does no I/O; every iteration lists the storage anew. pandas and polars
    can make a DataFrame of it. It has no length, because counting takes a listing of
    everything: write ``len(list(listing))`` for that.

    A listing is complete, or iterating over it raises an error. Every operation takes
    the names of the files that it yields. :attr:`unreachable` has the other names that
    the storage lists.

    :param store: the store that is listed.
    :param prefix: the folder, relative to the store's destination.
    """

    def __init__(self, store: FileStore, prefix: naming.Name = "") -> None:
        self.store = store
        self.prefix = naming.text(prefix, "prefix")
        self._unreachable: list[Unreachable] = []

    @property
    def unreachable(self) -> list[Unreachable]:
        """The names in the last iteration that no operation can reach, such as the key
        ``a//b`` of a bucket or a link that leads out of the store."""
        return self._unreachable

    @property
    def _folder(self) -> str:
        folder = naming.join(self.store.destination, self.prefix.strip("/"))
        return folder and naming.check(folder)

    def __iter__(self) -> Iterator[Stat]:
        folder, store = self._folder, self.store
        self._unreachable = []
        with store.dialect.explained(folder):
            yield from self._reachable(store.dialect.find(folder))

    def first_page(self) -> tuple[list[Stat], bool]:
        """The files that one request lists.

        :return: the files, and whether there may be more.
        """
        folder, store = self._folder, self.store
        self._unreachable = []
        with store.dialect.explained(folder):
            entries, more = store.dialect.first_page(folder)
            return list(self._reachable(entries)), more

    def _reachable(self, entries: Iterable[Stat | Unreachable]) -> Iterator[Stat]:
        """The files that an operation can reach, by their names in the destination."""
        destination = self.store.destination
        skip = len(destination) + 1 if destination else 0  # 1 for the slash behind it
        for entry in entries:
            if naming.is_file(entry.name):
                if isinstance(entry, Stat):
                    reason = naming.problem(entry.name)
                    if not reason:
                        yield entry.named(entry.name[skip:]) if skip else entry
                        continue
                    entry = Unreachable(entry.name, reason)
                self._unreachable.append(entry)

    def names(self) -> list[str]:
        """The names that one request lists, for completion; none if that fails."""
        try:
            return [stat.name for stat in self.first_page()[0]]
        except Exception:
            return []

    def _repr_html_(self) -> str | None:
        try:
            files, more = self.first_page()
        except Exception:
            return None  # IPython shows the repr then
        rows = [
            (
                stat.name,
                f"{stat.size:,}",
                when(stat.modified),
                stat.content_type,
                stat.etag or "",
            )
            for stat in files[:ROWS]
        ]
        columns = ("name", "size", "modified", "content_type", "etag")
        notes = [
            _not_shown(len(files) - len(rows), more),
            _unreachable(self.unreachable),
        ]
        return html_table(columns, rows, "; ".join(filter(None, notes)))

    def __repr__(self) -> str:
        place = f" below {self.prefix!r}" if self.prefix else ""
        return f"<{type(self).__name__} of {self.store!r}{place}>"


def _not_shown(count: int, more: bool) -> str:
    if more:
        return f"and {count:,} or more" if count else "and more, not counted"
    return f"and {count:,} more" if count else ""


def _unreachable(entries: list[Unreachable]) -> str:
    return f"{len(entries):,} names that cannot be used" if entries else ""
