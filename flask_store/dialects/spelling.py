"""Whether fsspec finds a file by its URL."""

from __future__ import annotations

from collections.abc import Sequence

import fsspec

from .. import naming
from ..exceptions import StoreError

#: The characters that have a meaning in a URL, and for some filesystems: those of
#: encoded bytes, a query and a fragment (RFC 3986).
MEANINGFUL = frozenset("%?#")
#: What stands between the links of a chain of fsspec.
CHAIN = "::"


def checked(url: str, key: str, unspeakable: Sequence[str]) -> str:
    """A URL, if fsspec takes the name of the file out of it.

    fsspec knows no escapes. Each filesystem says by ``_strip_protocol`` which path a
    URL has: most take it as it is, and some leave out what looks like a query.

    :param url: of the file.
    :param key: of the file.
    :param unspeakable: the texts with which the filesystem opens no file.
    :raises StoreError: if it does not.
    """
    if CHAIN in url or any(text in key for text in unspeakable):
        raise no_url(key)
    if MEANINGFUL.isdisjoint(key):
        return url
    protocol = url.partition("://")[0]
    cls = fsspec.get_filesystem_class(protocol)
    # In some object stores, "?versionId=b" or "#123" means a version of another file.
    version = cls._get_kwargs_from_urls(url).get("version_aware")
    if version or not cls._strip_protocol(url).endswith(key):
        raise no_url(key)
    return url


def no_url(key: str) -> StoreError:
    """The error for a name that no URL of fsspec can have."""
    return StoreError(
        f"{naming.quoted(key)} cannot be part of a URL that fsspec reads here, because"
        " of a '%', '?', '#' or '::'. Use what open() gives.",
        key,
    )
