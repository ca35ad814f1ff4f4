"""What the dialects of storages have in common that can only be read."""

from __future__ import annotations

import datetime as dt
import typing as t
from collections.abc import Iterator

import fsspec

from ..exceptions import StoreDenied
from ..exceptions import StoreError
from ..sources import Source
from . import Dialect
from . import Location

if t.TYPE_CHECKING:
    from ..claims import Claim


class ReadOnlyDialect(Dialect):
    """A storage that can only be read."""

    read_only = True
    #: Why, and what to do.
    reason: t.ClassVar[str]

    def refuse(self) -> t.NoReturn:
        """:raises StoreDenied: always."""
        raise StoreDenied(f"{self.uri} is read-only: {self.reason}")

    def stage(self, fs: fsspec.AbstractFileSystem, source: Source) -> t.NoReturn:
        self.refuse()

    def delete(self, fs: fsspec.AbstractFileSystem, key: str) -> None:
        self.refuse()

    def upload_form(self, fs: fsspec.AbstractFileSystem, claim: Claim) -> t.NoReturn:
        self.refuse()

    def sweep(
        self, fs: fsspec.AbstractFileSystem, before: dt.datetime, dry_run: bool
    ) -> Iterator[str]:
        return iter(())  # nothing is ever left behind


class ChainedDialect(ReadOnlyDialect):
    """Another storage's files, for reading.

    :param inner: the dialect of that storage.
    """

    def __init__(self, location: Location, inner: Dialect) -> None:
        options = inner.location.options
        if not isinstance(inner, ChainedDialect):
            options = {inner.uri.partition("://")[0]: options}
        super().__init__(Location(location.protocol, location.root, options))
        self.inner = inner
        self.scope = inner.scope
        self.settings = inner.settings

    def alive(self, fs: fsspec.AbstractFileSystem) -> bool:
        return self.inner.alive(fs.target)

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        return self.inner.explain(exc, key)
