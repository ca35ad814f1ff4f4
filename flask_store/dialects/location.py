"""Where a store keeps its files."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from dataclasses import dataclass

from ..secrecy import Options
from .limits import Limits


@dataclass(frozen=True)
class Location:
    """Where a store keeps its files.

    :param protocol: as fsspec registers it.
    :param root: the store's folder in the words of the filesystem.
    :param options: what the filesystem is made with. Holds secrets, and shows none.
    :param limits: how long to wait for the server.
    """

    protocol: str
    root: str
    options: Mapping[str, t.Any]
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", Options(self.options))

    def __repr__(self) -> str:
        return f"<Location {self.uri!r} {self.options!r}>"

    @property
    def uri(self) -> str:
        """The root as an fsspec URL, without a password that the filesystem may keep
        there."""
        user, at, rest = self.root.partition("@")
        has_password = at and ":" in user and "/" not in user
        return f"{self.protocol}://{rest if has_password else self.root}"
