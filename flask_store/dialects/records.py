"""A stored file, described alike for every protocol, and its bytes."""

from __future__ import annotations

import datetime as dt
import itertools
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from types import MappingProxyType

from ..uploads.properties import NO_PROPERTIES
from ..uploads.properties import Properties

#: The most files that a view counts, which is also what S3 lists with one request.
PAGE = 1000


@dataclass(frozen=True)
class Stat:
    """One stored file, described alike whatever the protocol.

    :param name: the file's key.
    :param size: in bytes.
    :param modified: when it was last written, in UTC, or ``None`` if unknown.
    :param etag: changes whenever the content does; without quotes; ``None`` if the
        protocol has none.
    :param content_type: as stored, else as the name suggests.
    :param checksum: of the content, such as ``"md5:<hex>"``; ``None`` if the storage
        has none. Two checksums of the same algorithm can be compared.
    """

    name: str
    size: int
    modified: dt.datetime | None
    etag: str | None
    content_type: str
    checksum: str | None = field(default=None, compare=False)
    #: The token of the save that stored the file, if the storage keeps it. It is not a
    #: field, so that tables of files do not show it.
    token: t.ClassVar[str | None] = None
    #: What else the storage keeps beside the file, which a listing does not tell.
    properties: t.ClassVar[Properties] = NO_PROPERTIES
    #: How the storage keeps the file, such as its storage class, in the words of the
    #: storage. A copy that the storage makes is kept alike. Only ``head`` tells.
    kept: t.ClassVar[Mapping[str, t.Any]] = MappingProxyType({})

    @property
    def content_encoding(self) -> str | None:
        """How the bytes are compressed that the storage has and gives, such as
        ``"gzip"`` (RFC 9110, section 8.4); ``None`` if they are not, or if the storage
        keeps no such header. A listing does not tell."""
        return self.properties.content_encoding

    @property
    def cache_control(self) -> str | None:
        """The ``Cache-Control`` that is stored with the file (RFC 9111, section 5.2);
        ``None`` if there is none. A listing does not tell."""
        return self.properties.cache_control

    @property
    def metadata(self) -> dict[str, str]:
        """What the application has stored with the file, by names in lower case. A
        listing does not tell."""
        return dict(self.properties.metadata)

    def keeping(
        self,
        token: str | None = None,
        properties: Properties = NO_PROPERTIES,
        kept: Mapping[str, t.Any] | None = None,
    ) -> Stat:
        """Set what is no field, and return this record."""
        object.__setattr__(self, "token", token)
        object.__setattr__(self, "properties", properties)
        if kept:
            object.__setattr__(self, "kept", kept)
        return self

    @property
    def version(self) -> tuple[object, ...]:
        """A value that changes when the file is written, as far as the storage
        tells."""
        return (self.etag,) if self.etag else (self.modified, self.size)

    def holds(self, other: Stat) -> bool:
        """Whether this can be a copy of *other*: it has the same size and, if both have
        a checksum of the same algorithm, the same checksum."""
        if self.size != other.size:
            return False
        checksum, other_checksum = self.checksum or "", other.checksum or ""
        if checksum.partition(":")[0] != other_checksum.partition(":")[0]:
            return True
        return checksum == other_checksum


@dataclass(frozen=True)
class Unreachable:
    """A name that a storage lists, and that no operation of a store can reach.

    :param name: as the storage has it, without the store's root.
    :param reason: why not, as the end of a sentence that begins with the name.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Folder:
    """A folder that a storage lists.

    :param name: its key, without a slash at the end. Of an object store it may be any
        text before a slash, also none.
    """

    name: str


#: What is right below a folder.
Listed: t.TypeAlias = Stat | Unreachable | Folder


def first_of(
    entries: Iterator[Stat | Unreachable],
) -> tuple[list[Stat | Unreachable], bool]:
    """The first page of a walk that costs no requests."""
    files = list(itertools.islice(entries, PAGE + 1))
    return files[:PAGE], len(files) > PAGE


def first(info: Mapping[str, t.Any], *names: str) -> t.Any:
    """The value of the first of these names that has one which is not empty."""
    return next((info[name] for name in names if info.get(name)), None)


def utc(moment: object) -> dt.datetime | None:
    """A POSIX timestamp, or a naive or aware datetime, as an aware datetime in UTC."""
    if isinstance(moment, int | float):
        return dt.datetime.fromtimestamp(moment, dt.UTC)
    if isinstance(moment, dt.datetime):
        if moment.tzinfo is None:
            return moment.replace(tzinfo=dt.UTC)
        return moment.astimezone(dt.UTC)
    return None
