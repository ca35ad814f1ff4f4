"""From a ``STORE_PATH`` to its dialect."""

from __future__ import annotations

import os
import re
import typing as t
from collections.abc import Mapping
from urllib.parse import urlsplit

import fsspec

from ..exceptions import NotConfiguredError
from . import Dialect
from . import registry

#: The first link of a chain that names no place of its own: 'zip::' in
#: 'zip::s3://bucket/a.zip'.
LINK = re.compile(r"([a-z]\w*)::", re.IGNORECASE)


def protocol_of(url: str) -> str:
    """The protocol of a ``STORE_PATH``, of a chain the first one; ``"file"`` for a path
    on disk."""
    link = LINK.match(url)
    if link:
        return link[1].lower()
    return urlsplit(url).scheme.lower() if "://" in url else "file"


def open_dialect(url: str | os.PathLike[str], config: Mapping[str, t.Any]) -> Dialect:
    """The dialect for a ``STORE_PATH``, at its place.

    :raises NotConfiguredError: if the URL cannot be a store.
    """
    url = os.fspath(url)
    protocol = protocol_of(url)
    registration = registry.find(protocol)
    if registration is None:
        if protocol not in {*fsspec.available_protocols(), *fsspec.registry}:
            raise NotConfiguredError(
                f"STORE_PATH names the protocol {protocol!r}, which fsspec does not"
                " know. Install the package that provides it, or correct the URL."
            )
        return Dialect.from_url(url, config)
    dialect = registration.load()
    if not isinstance(dialect, type) or not issubclass(dialect, Dialect):
        raise NotConfiguredError(
            f"{registration} is no subclass of flask_store.dialects.Dialect. Let the"
            " class inherit from it."
        )
    return dialect.from_url(url, config)
