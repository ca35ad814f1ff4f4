"""The base classes of dialects for storages that can only be read."""

from __future__ import annotations

import datetime as dt
import typing as t
from collections.abc import Iterator

from ..exceptions import StoreDenied
from ..uploads.source import Source
from . import Dialect

if t.TYPE_CHECKING:
    from .claims import Claim


class ReadOnlyDialect(Dialect):
    """A storage that can only be read."""

    read_only = True
    #: Why, and what to do instead; a part of the error's message.
    reason: t.ClassVar[str]

    def refuse(self) -> t.NoReturn:
        """:raises StoreDenied: always."""
        raise StoreDenied(f"{self.uri} is read-only: {self.reason}")

    def check_writable(self) -> None:
        self.refuse()

    def stage(self, source: Source) -> t.NoReturn:
        self.refuse()

    def hold(self, key: str) -> t.NoReturn:
        self.refuse()  # before a move copies what it cannot delete

    def rm_file(self, key: str) -> None:
        self.refuse()

    def upload_form(self, claim: Claim) -> t.NoReturn:
        self.refuse()

    def sweep(self, before: dt.datetime, dry_run: bool) -> Iterator[str]:
        return iter(())  # nothing is ever left behind
