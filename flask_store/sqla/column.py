"""``StoredFile``: the type of a column of files."""

from __future__ import annotations

import typing as t

from sqlalchemy import Dialect
from sqlalchemy import String
from sqlalchemy.types import TypeDecorator

from .. import current_store
from .. import Store
from ..files import FileWrapper
from ..naming import MAX_KEY
from ..naming import quoted
from ..stores import Destination
from ..stores.fsspec import FsspecStore
from ..uploads import Upload


class StoredFile(TypeDecorator[FileWrapper]):
    """A column that holds a stored file.

    Assign an upload. A flush saves it and writes its path into the row; from then on
    the attribute is a :class:`~flask_store.files.FileWrapper`. A file that is rolled
    back, replaced or deleted with its row is removed when the transaction has ended, if
    the database says that no row holds it.

    A row owns its file: a file of another row is refused.

    :param destination: the folder in the store, or a function that gets what is
        assigned, and returns the folder for it.
    :param store: the store; by default the application's. A
        :class:`~flask_store.extension.Store`, or any store that is configured.
    :param length: of the path, in characters.
    """

    impl = String
    cache_ok = True

    def __init__(
        self,
        destination: Destination | None = None,
        store: Store[t.Any] | FsspecStore | None = None,
        length: int = MAX_KEY,
    ) -> None:
        super().__init__(length)
        self.destination = destination
        self.store = store

    @property
    def current_store(self) -> FsspecStore:
        """The store of this column, in the current application.

        :raises RuntimeError: if there is no current application, and the column has no
            store of its own.
        """
        store = (self.store or current_store).at(None)
        if not isinstance(store, FsspecStore):
            raise TypeError(f"{store!r} is no FsspecStore, which a column needs.")
        return store

    def save(self, upload: Upload | None) -> FileWrapper:
        """Store an upload that was assigned to an attribute. Each row owns its file, so
        that none replaces another one, whatever ``STORE_ON_CONFLICT`` says."""
        store = self.current_store.at(self.destination)
        return store.save(upload, on_conflict="rename")

    def process_bind_param(self, value: t.Any, dialect: Dialect) -> str | None:
        """The path for the row, or for a comparison in a query."""
        if value is None or isinstance(value, str):
            return value
        if not isinstance(value, FileWrapper):
            raise TypeError(
                f"A {type(value).__name__!r} has come to a statement unsaved. An upload"
                " is saved when it is assigned to an object before the flush of that"
                " object. For statements, bulk operations, a default=, a listener of"
                " before_insert or before_update, and a column that a class got after"
                " its mapper was configured, save it first and pass what save()"
                " returns."
            )
        self._check_store(value)
        length = t.cast("String", self.impl_instance).length
        if length is not None and len(value.key) > length:
            # Some databases store only the beginning, and raise no error.
            raise ValueError(
                f"{quoted(value.key)} has {len(value.key)} characters, and the column"
                f" {length}. Give StoredFile() a greater length."
            )
        return value.key

    def process_result_value(
        self, value: str | None, dialect: Dialect
    ) -> FileWrapper | None:
        """The file, or ``None``."""
        return FileWrapper.of_row(value, self.current_store) if value else None

    def _check_store(self, file: FileWrapper) -> None:
        store = self.current_store
        if file._place != store.dialect.place:
            raise ValueError(
                f"{file!r} is of another store than the column's, {store!r}. Assign"
                " file.open(), which is saved there."
            )
