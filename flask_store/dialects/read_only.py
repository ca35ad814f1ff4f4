"""What the dialects of storages have in common that can only be read."""

from __future__ import annotations

import datetime as dt
import typing as t
from collections.abc import Iterator

from ..exceptions import StoreDenied
from ..exceptions import StoreError
from ..uploads.source import Source
from . import Dialect
from . import Location

if t.TYPE_CHECKING:
    from .claims import Claim


class ReadOnlyDialect(Dialect):
    """A storage that can only be read."""

    read_only = True
    #: Why, and what to do.
    reason: t.ClassVar[str]

    def refuse(self) -> t.NoReturn:
        """:raises StoreDenied: always."""
        raise StoreDenied(f"{self.uri} is read-only: {self.reason}")

    def stage(self, source: Source) -> t.NoReturn:
        self.refuse()

    def delete(self, key: str) -> None:
        self.refuse()

    def upload_form(self, claim: Claim) -> t.NoReturn:
        self.refuse()

    def sweep(self, before: dt.datetime, dry_run: bool) -> Iterator[str]:
        return iter(())  # nothing is ever left behind


class ChainedDialect(ReadOnlyDialect):
    """Another storage's files, for reading.

    :param inner: the dialect of that storage.
    """

    connected = True

    def __init__(self, location: Location, inner: Dialect) -> None:
        options = inner.location.options
        if not isinstance(inner, ChainedDialect):
            options = {inner.uri.partition("://")[0]: options}
        self.inner = inner
        self.scope = inner.scope
        super().__init__(Location(location.protocol, location.root, options))
        self.settings = inner.settings

    def alive(self) -> bool:
        return self.inner.check_connection()

    def disconnect(self) -> None:
        super().disconnect()
        self.inner.disconnect()

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        return self.inner.explain(exc, key)
