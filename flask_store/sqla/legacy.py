"""``FlaskStoreType``, the column type of 0.0.4; its value is a provider of 0.0.4."""

from __future__ import annotations

import typing as t

from sqlalchemy import Dialect
from sqlalchemy import Unicode
from sqlalchemy.types import TypeDecorator
from werkzeug.datastructures import FileStorage

from .. import Provider as current_provider
from ..exceptions import NoFile
from ..providers import Provider
from ..providers.temp import TemporaryStore


class FlaskStoreType(TypeDecorator[Provider]):
    """Saves a :class:`~werkzeug.datastructures.FileStorage` when the row is written,
    keeps its relative path, and gives back a provider.

    It does not follow transactions: the file of a row that is rolled back stays. Use
    :class:`StoredFile` for new columns.

    :param max_length: of the path, in characters.
    :param location: the folder inside ``STORE_PATH``.
    :param length: another name for *max_length*, which existing migrations use.
    """

    impl = Unicode
    cache_ok = True

    def __init__(
        self,
        max_length: int = 256,
        location: str | None = None,
        length: int | None = None,
    ) -> None:
        super().__init__(length or max_length)
        self.location = location

    def process_bind_param(self, value: t.Any, dialect: Dialect) -> str | None:
        """The path for the row. This saves an upload."""
        if isinstance(value, TemporaryStore):
            # Applications assign TemporaryStore('') for "no file yet".
            value = value.fp
        if isinstance(value, FileStorage):
            value = self._provider(value, self.location)
        if isinstance(value, Provider) and not value.is_stored:
            try:
                value.save()
            except NoFile:  # a form that was sent without choosing a file
                return None
        return str(value) if value else None

    def process_result_value(
        self, value: str | None, dialect: Dialect
    ) -> Provider | None:
        """The provider of the file, or ``None``."""
        if not value:
            return None
        # The folder in the row counts, even if the column now has another location.
        folder, _, _ = value.rpartition("/")
        return self._provider(value, folder or None)

    def _provider(self, fp: FileStorage | str, location: str | None) -> Provider:
        current: type = current_provider._get_current_object()  # type: ignore
        if issubclass(current, Provider):
            return current(fp, location)
        provider = Provider(fp, location)
        provider._store = current_provider._bound  # type: ignore[assignment]
        return provider
