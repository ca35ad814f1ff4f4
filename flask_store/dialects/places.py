"""Where a store keeps its files, and the settings that say so."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from dataclasses import dataclass

from ..exceptions import NotConfiguredError
from ..secrecy import Options


@dataclass(frozen=True)
class Location:
    """Where a store keeps its files.

    :param protocol: as fsspec registers it.
    :param root: the store's folder in the words of the filesystem.
    :param options: what the filesystem is made with. Holds secrets, and shows none.
    """

    protocol: str
    root: str
    options: Mapping[str, t.Any]

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


def options_in(config: Mapping[str, t.Any], name: str = "STORE_OPTIONS") -> Options:
    """The options that a setting passes on to the filesystem."""
    options = config.get(name) or {}
    if not isinstance(options, Mapping):
        raise NotConfiguredError(
            f"{name} must be a dict of options for the filesystem, not"
            f" {type(options).__name__!r}."
        )
    return Options(options)


def switch_in(config: Mapping[str, t.Any], name: str, default: bool) -> bool:
    """A setting that is on or off. A string such as ``"False"`` is not taken for a
    truth."""
    value = config.get(name)
    if value is None:
        return default
    if value not in (True, False):
        raise NotConfiguredError(f"{name} is {value!r}; it must be True or False.")
    return bool(value)
