"""The version of a picture, as the names and the addresses of its variants have it."""

from __future__ import annotations

import hashlib
import json
import typing as t

if t.TYPE_CHECKING:
    from ..dialects import Stat
    from ..files import FileWrapper

#: How many hexadecimal digits a version has: 64 bits.
LENGTH = 16


def version_of(found: Stat) -> str:
    """The version that a storage has told of."""
    return digest([str(part) for part in found.version])[:LENGTH]


def known_version(file: FileWrapper) -> str | None:
    """The version of a file, if it is known without asking the storage."""
    etag = file._known_etag
    return None if etag is None else digest([etag])[:LENGTH]


def digest(value: object) -> str:
    """A name for a value of JSON, in hexadecimal digits."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
