"""The files below a folder, requested while iterating, and shown as a table."""

from __future__ import annotations

import itertools
import operator
import typing as t
from collections.abc import Iterable
from collections.abc import Iterator
from functools import cached_property

from .. import naming
from ..dialects import Folder
from ..dialects import Listed
from ..dialects import Stat
from ..dialects import Unreachable
from ..exceptions import InvalidName
from ..files import FileWrapper
from .patterns import Pattern
from .patterns import WILDCARDS
from .table import html_table
from .table import when

if t.TYPE_CHECKING:
    from ..files import FileStore

#: How many files the table in a notebook has.
ROWS = 50
#: The columns of a DataFrame, each a property of a file.
COLUMNS = ("key", "name", "size", "modified", "content_type", "etag")


class Listing:
    """The files below a folder of a store, each a
    :class:`~flask_store.files.FileWrapper` that knows its size, modified, etag and
    content_type without a request of its own.

    Making one does no I/O; every iteration lists the storage anew. It has no length,
    because counting takes a listing of everything: write ``len(list(listing))`` for
    that. ``listing[0]`` and ``listing[:10]`` list no more than they need.

    A listing is complete, or iterating over it raises an error. Every operation takes
    the names of the files that it yields. :attr:`unreachable` has the other names that
    the storage lists.

    :param store: the store that is listed.
    :param prefix: the folder, relative to the store's destination.
    :param pattern: leaves out the files whose names do not match.
    """

    #: Whether the prefix may be a pattern by mistake.
    _may_be_pattern = True

    def __init__(
        self,
        store: FileStore,
        prefix: naming.Name = "",
        pattern: Pattern | None = None,
    ) -> None:
        self.store = store
        self.prefix = naming.text(prefix, "prefix")
        self.pattern = pattern
        self._unreachable: list[Unreachable] = []
        #: The names of the folders in the last listing of one folder.
        self._inner: list[str] = []

    @property
    def unreachable(self) -> list[Unreachable]:
        """The names in the last iteration that no operation can reach, such as the key
        ``a//b`` of a bucket or a link that leads out of the store."""
        return self._unreachable

    @property
    def _folder(self) -> str:
        folder = naming.join(self.store.destination, self.prefix.strip("/"))
        return folder and naming.check(folder)

    def __iter__(self) -> Iterator[FileWrapper]:
        folder, dialect = self._folder, self.store.dialect
        is_flat = self.pattern is not None and self.pattern.is_flat
        with dialect.explained(folder):
            found = dialect.ls(folder) if is_flat else dialect.find(folder)
            yield from self._reachable(found)

    def first_page(self) -> tuple[list[FileWrapper], bool]:
        """The files that one request lists.

        :return: the files, and whether there may be more.
        """
        folder, dialect = self._folder, self.store.dialect
        with dialect.explained(folder):
            entries, more = dialect.first_page(folder)
            return list(self._reachable(entries, more)), more

    def _reachable(
        self, entries: Iterable[Listed], more: bool = False
    ) -> Iterator[FileWrapper]:
        """The files that an operation can reach, and that match.

        :param more: whether there may be files that are not among the entries.
        :raises InvalidName: if there is nothing, and the prefix looks like a pattern.
        """
        self._unreachable, self._inner = [], []
        owner, destination = self.store.at(None), self.store.destination
        skip = len(destination) + 1 if destination else 0  # 1 for the slash behind it
        is_empty, pattern = not more, self.pattern
        for entry in entries:
            is_empty = False
            reason = naming.problem(entry.name)
            if isinstance(entry, Folder):
                self._note_folder(entry.name, reason, skip)
            elif isinstance(entry, Stat) and not reason:
                if pattern is None or pattern.matches(entry.name[skip:]):
                    yield FileWrapper._listed(entry, owner, skip)
            elif naming.is_file(entry.name):
                if isinstance(entry, Stat):
                    entry = Unreachable(entry.name, reason)
                self._unreachable.append(entry)
        if is_empty and self._may_be_pattern and WILDCARDS.search(self.prefix):
            raise InvalidName(
                f"There is no folder {naming.quoted(self.prefix)}. ls() lists a folder"
                f" by its name. For a pattern, write glob({self.prefix!r})."
            )

    def _note_folder(self, key: str, reason: str, skip: int) -> None:
        if reason and naming.STAGING not in key.split("/"):
            # Such as the folder in the key 'a//b', which has no name.
            self._unreachable.append(Unreachable(f"{key}/", reason))
        elif not reason:
            self._inner.append(key[skip:])

    # -- like a list ---------------------------------------------------------

    if not t.TYPE_CHECKING:  # a type checker says by itself that there is none

        def __len__(self) -> int:
            raise TypeError(
                "A listing has no length, because counting asks for everything. Write"
                " len(list(listing)); any(listing) says whether there is a file."
            )

    @t.overload
    def __getitem__(self, index: int) -> FileWrapper: ...

    @t.overload
    def __getitem__(self, index: slice) -> list[FileWrapper]: ...

    def __getitem__(self, index: int | slice) -> FileWrapper | list[FileWrapper]:
        if isinstance(index, slice):
            try:
                return list(itertools.islice(self, index.start, index.stop, index.step))
            except ValueError:
                raise TypeError(_FROM_THE_END) from None
        index = operator.index(index)
        if index < 0:
            raise TypeError(_FROM_THE_END)
        for file in itertools.islice(self, index, index + 1):
            return file
        raise IndexError(f"The listing has no file {index}.")

    # -- for people ----------------------------------------------------------

    def to_frame(self) -> t.Any:
        """A pandas DataFrame with a row for each file, and the columns ``key``,
        ``name``, ``size``, ``modified``, ``content_type`` and ``etag``.

        :raises ImportError: if pandas is not installed.
        """
        import pandas

        rows = ([getattr(file, name) for name in COLUMNS] for file in self)
        return pandas.DataFrame(rows, columns=list(COLUMNS))

    def names(self) -> list[str]:
        """The names that one request lists, for completion; none if that fails."""
        try:
            return [file.name for file in self.first_page()[0]]
        except Exception:
            return []

    def _repr_html_(self) -> str | None:
        try:
            files, more = self.first_page()
        except Exception:
            return None  # IPython shows the repr then
        rows = [(f"{folder}/", "", "", "", "") for folder in self._inner]
        rows += [
            (
                file.name,
                f"{file.size:,}",
                when(file.modified),
                file.content_type,
                file.etag or "",
            )
            for file in files
        ]
        columns = ("name", "size", "modified", "content_type", "etag")
        notes = [
            _not_shown(len(rows) - ROWS, more),
            _unreachable(self.unreachable),
        ]
        return html_table(columns, rows[:ROWS], "; ".join(filter(None, notes)))

    def __repr__(self) -> str:
        place = f" below {self.prefix!r}" if self.prefix else ""
        if self.pattern is not None:
            place = f" that match {self.pattern.text!r}"
        return f"<{type(self).__name__} of {self.store!r}{place}>"


class FolderListing(Listing):
    """One folder of a store: the files and the :attr:`folders` right below it, by
    their names.

    The storage is asked when the first of them is needed. Then they are kept, so that a
    page can show the folders and the files of one request. It has a length, which is
    the number of its files.
    """

    @property
    def name(self) -> str:
        """The folder's name, relative to the store's destination; ``""`` is the
        destination itself. ``store.ls(folder.name, recursive=False)`` lists it."""
        return naming.join(self.prefix.strip("/"))

    @property
    def filename(self) -> str:
        """The last part of the name."""
        return self.name.rpartition("/")[2]

    @property
    def folders(self) -> list[FolderListing]:
        """The folders in this one. They are not listed yet. On a disk and on a server
        with folders, one may be empty."""
        return self._contents[1]

    @cached_property
    def _contents(self) -> tuple[list[FileWrapper], list[FolderListing]]:
        folder, dialect = self._folder, self.store.dialect
        with dialect.explained(folder):
            files = list(self._reachable(dialect.ls(folder)))
        folders = [FolderListing(self.store, name) for name in sorted(self._inner)]
        for inner in folders:
            inner._may_be_pattern = False  # it is there, and may be empty
        return sorted(files, key=lambda file: file.key), folders

    @property
    def unreachable(self) -> list[Unreachable]:
        self._contents  # noqa: B018
        return self._unreachable

    def __iter__(self) -> Iterator[FileWrapper]:
        return iter(self._contents[0])

    def __len__(self) -> int:
        return len(self._contents[0])

    @t.overload
    def __getitem__(self, index: int) -> FileWrapper: ...

    @t.overload
    def __getitem__(self, index: slice) -> list[FileWrapper]: ...

    def __getitem__(self, index: int | slice) -> FileWrapper | list[FileWrapper]:
        return self._contents[0][index]

    def first_page(self) -> tuple[list[FileWrapper], bool]:
        return self._contents[0], False


_FROM_THE_END = (
    "A listing begins at its first file, and does not know its end. Write"
    " list(listing)[...], which reads all of it."
)


def _not_shown(count: int, more: bool) -> str:
    if more:
        return f"and {count:,} or more" if count > 0 else "and more, not counted"
    return f"and {count:,} more" if count > 0 else ""


def _unreachable(entries: list[Unreachable]) -> str:
    return f"{len(entries):,} names that cannot be used" if entries else ""
