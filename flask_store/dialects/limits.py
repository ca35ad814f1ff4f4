"""How long a store waits for its server: the one place for all protocols."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ..settings import TABLE

#: The default of ``STORE_TIMEOUT``, in seconds. A request that
#: waits occupies a worker.
TIMEOUT: t.Final[float] = TABLE["STORE_TIMEOUT"].default


class Limits(t.NamedTuple):
    """The time limits of a store, all in seconds.

    :param answer: for a response to begin: its head together with the first 64 KiB.
        Then for each further 64 KiB in either direction, or the rest.
    """

    answer: float = TIMEOUT

    @classmethod
    def of(cls, config: Mapping[str, t.Any]) -> Limits:
        """The limits that the settings of a store ask for."""
        return cls(config["STORE_TIMEOUT"])

    @property
    def attempt(self) -> float:
        """For each of two attempts, where a library makes two."""
        return self.answer / 2

    @property
    def look(self) -> float:
        """For one more request when a response is lost: whether the connection still
        works, or whether the file is there after all."""
        return self.answer / 4

    @property
    def call(self) -> float:
        """For a call of a library that does not say how much of it is done."""
        return self.answer * 4

    @property
    def copy(self) -> float:
        """For what the server does with a whole file before it responds."""
        return self.answer * 10
