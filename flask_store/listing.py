"""What lies below a folder: asked for while it is iterated over, shown as a table."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from dataclasses import replace

from . import naming
from .dialects import Unreachable
from .table import html_table
from .table import when

if t.TYPE_CHECKING:
    from .dialects import Stat
    from .stores.fsspec import FsspecStore

#: How many files the table in a notebook has.
ROWS = 50


class Listing:
    """The files below a folder of a store, each a ``Stat`` with name, size, modified,
    etag and content_type.

    Making one does no I/O; every iteration asks the storage anew. A DataFrame of
    pandas or polars can be made of it. It has no length: counting costs a listing
    of everything, which ``len(list(listing))`` says.

    :param store: the store that is listed.
    :param prefix: the folder, relative to the store's destination.
    """

    def __init__(self, store: FsspecStore, prefix: str = "") -> None:
        self.store = store
        self.prefix = prefix

    @property
    def _folder(self) -> str:
        folder = naming.join(self.store.destination, self.prefix.strip("/"))
        return folder and naming.check(folder)

    def _relative(self, found: Stat) -> Stat:
        destination = self.store.destination
        return replace(found, name=found.name[len(destination) + bool(destination) :])

    def __iter__(self) -> Iterator[Stat]:
        folder, store = self._folder, self.store
        with store._explained(folder):
            for found in store.dialect.walk(store.fs, folder):
                if not isinstance(found, Unreachable):
                    yield self._relative(found)

    def first_page(self) -> tuple[list[Stat], bool]:
        """What one request tells.

        :return: the files, and whether there may be more.
        """
        folder, store = self._folder, self.store
        with store._explained(folder):
            files, more = store.dialect.first_page(store.fs, folder)
        return [self._relative(found) for found in files], more

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
        return html_table(head, rows, _rest(len(files) - len(rows), more))

    def __repr__(self) -> str:
        at = f" below {self.prefix!r}" if self.prefix else ""
        return f"<{type(self).__name__} of {self.store!r}{at}>"


def _rest(left: int, more: bool) -> str:
    if more:
        return f"and {left:,} or more" if left else "and more, not counted"
    return f"and {left:,} more" if left else ""
