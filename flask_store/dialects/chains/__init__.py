"""Chained URLs: what stands in front of the URL of the storage itself.

Neither an archive nor a cache can promise that what was saved is stored, so both only
read.
"""

from __future__ import annotations

import os
import re
import typing as t
from collections.abc import Mapping
from urllib.parse import unquote

from ... import naming
from ...exceptions import NotConfiguredError
from ...secrecy import Options
from .. import Dialect
from .archive import ZipDialect
from .cache import SimpleCacheDialect

#: What stands in front of the URL of the storage itself: 'zip::', 'zip://folder::'.
LINK = re.compile(
    r"(?P<protocol>zip|simplecache)(?:://(?P<folder>[^:]*))?::(?P<url>.+)"
)

Open = t.Callable[[str, Mapping[str, t.Any]], Dialect]


def open_chained(url: str, config: Mapping[str, t.Any], open_inner: Open) -> Dialect:
    """The dialect for a ``STORE_PATH`` that is a chain.

    :param open_inner: opens the dialect of the URL behind.
    :raises NotConfiguredError: if the chain cannot be a store.
    """
    if url.startswith("zip:///"):
        url = url.replace("zip:///", "zip::file:///", 1)
    link = LINK.fullmatch(url)
    if link is None:
        raise NotConfiguredError(
            "STORE_PATH chains filesystems in a way that is not supported. Write"
            " 'zip::s3://bucket/archive.zip', 'zip:///folder/archive.zip' or"
            " 'simplecache::s3://bucket/folder', or the URL of the storage itself."
        )
    protocol, folder, target = link["protocol"], link["folder"] or "", link["url"]
    if protocol == "simplecache":
        options = Options(config["STORE_OPTIONS"])
        where = options.pop("cache_storage", None)
        inner = open_inner(target, {**config, "STORE_OPTIONS": options})
        return SimpleCacheDialect(inner, where and os.path.abspath(where))
    query = ""
    if target.lower().startswith(("http://", "https://")):
        # There a '?' begins what goes with every request, and '%' is no character.
        target, _, query = target.partition("?")
        place, _, name = target.rpartition("/")
        name, query = unquote(name), query and f"?{query}"
    else:
        place, _, name = target.rpartition("/")
    if not name or place.endswith(":/"):
        raise NotConfiguredError(
            "STORE_PATH names no archive. Write 'zip::s3://bucket/archive.zip' or"
            " 'zip:///folder/archive.zip'."
        )
    folder = naming.check(folder.strip("/")) if folder.strip("/") else ""
    return ZipDialect(
        folder, open_inner(f"{place}/{query}" if place else ".", config), name
    )
