"""Chains: a URL in front of the URL of the storage itself, as in ``zip::s3://...``.

Nothing imports these dialects. They are registered by entry points, as another package
registers its own; setup.cfg has them. Neither an archive nor a cache can promise that
what was saved is stored, so both only read.
"""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ...exceptions import NotConfiguredError
from ...exceptions import StoreError
from .. import Dialect
from .. import Location
from .. import NO_CHAIN
from ..read_only import ReadOnlyDialect
from ..tls import Trust
from ..urls import open_dialect


def behind(url: str) -> str:
    """The URL behind the first link of a chain: 's3://bucket' in 'dir::s3://bucket'.

    :raises NotConfiguredError: if the link is another one, or nothing is behind it.
    """
    _, _, inner = url.partition("::")
    if not inner or "://" in url.partition("::")[0]:
        raise NotConfiguredError(NO_CHAIN)
    return inner


class DirDialect(Dialect):
    """``dir::`` changes nothing: a store keeps to its folder anyhow."""

    @classmethod
    def from_url(cls, url: str, config: Mapping[str, t.Any]) -> Dialect:
        return open_dialect(behind(url), config)


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

    @property
    def place(self) -> str:
        return f"{self.inner.place} {self.uri}"

    @property
    def trust(self) -> Trust:
        return self.inner.trust

    def alive(self) -> bool:
        return self.inner.check_connection()

    def disconnect(self) -> None:
        super().disconnect()
        self.inner.disconnect()

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        return self.inner.explain(exc, key)
