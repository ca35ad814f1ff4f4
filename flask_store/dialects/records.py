"""A stored file, described alike for every protocol, and its bytes."""

from __future__ import annotations

import datetime as dt
import io
import itertools
import typing as t
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from dataclasses import field

from ..uploads.source import CHUNK
from .bodies import Body
from .bodies import Explained
from .bodies import FilePart

#: The most files that a view counts, which is also what S3 lists with one request.
PAGE = 1000


@dataclass(frozen=True)
class Stat:
    """One stored file, described alike whatever the protocol.

    :param name: the file's name, relative to the store or the destination asked.
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

    def with_token(self, token: str | None) -> Stat:
        """Set the token of the save that stored the file, and return this record."""
        object.__setattr__(self, "token", token)
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


class Span(t.NamedTuple):
    """The bytes that a request asks for, which may not know the size of the file (RFC
    9110, section 14.1.2): those from *first* to *last*, or to the end if *last* is
    ``None``. If *first* is ``None``, the last *last* bytes.
    """

    first: int | None
    last: int | None

    @classmethod
    def between(cls, start: int, stop: int | None) -> Span:
        """The bytes from *start* up to *stop*, which is greater."""
        return cls(start, None if stop is None else stop - 1)

    def within(self, size: int) -> tuple[int, int]:
        """Where the span starts and stops in a file of *size* bytes. If the file has no
        byte of it, the start is not less than the stop."""
        if self.first is None:
            return max(0, size - (self.last or 0)), size
        return self.first, size if self.last is None else min(size, self.last + 1)

    def meets(self, size: int) -> bool:
        """Whether a file of *size* bytes has any byte of the span."""
        start, stop = self.within(size)
        return start < stop

    def __str__(self) -> str:
        return "-".join("" if end is None else str(end) for end in self)


def bounds(span: Span | None, size: int) -> tuple[int, int] | None:
    """Where a span starts and stops in a file.

    :param span: which bytes, or ``None`` for all.
    :param size: of the file.
    :return: ``None`` if the file has no byte of the span.
    """
    if span is None:
        return 0, size
    return span.within(size) if span.meets(size) else None


class OutOfSpan(Exception):
    """The file has no byte of the span. An empty file has none of any span."""


class Fetched(t.NamedTuple):
    """Bytes of a file, and the description of that file.

    :param found: the whole file, in the version that the bytes are of.
    :param start: the first byte of *body*.
    :param stop: the one after its last.
    :param body: an iterator of bytes, which is to be closed; see
        :class:`~flask_store.dialects.bodies.Body`.
    """

    found: Stat
    start: int
    stop: int
    body: t.Any


def part(
    fetched: Fetched,
    start: int,
    stop: int,
    explained: Explained = nullcontext,
) -> Body:
    """The bytes from *start* up to *stop* of what was fetched.

    :param explained: the context in which they are read.
    :raises NoAnswer: if there are more or fewer bytes.
    """
    body = fetched.body
    if isinstance(body, FilePart):
        body.explained = explained
        return body
    return Body(
        body,
        stop - start,
        skip=start - fetched.start,
        ends=stop == fetched.stop,
        explained=explained,
    )


def whole(fetched: Fetched | None) -> Body:
    """All the bytes of a file that was fetched without a span."""
    assert fetched is not None
    return part(fetched, 0, fetched.found.size)


def joined(pieces: Iterable[bytes]) -> bytes:
    """All the bytes of a stream. Unlike ``b"".join()``, it does not keep every piece
    until all are there."""
    rest = iter(pieces)
    found = io.BytesIO(next(rest, b""))  # which copies nothing if that is all
    found.seek(0, io.SEEK_END)
    found.writelines(rest)
    return found.getvalue()


def pieces(file: t.IO[bytes], start: int, stop: int | None) -> Iterator[bytes]:
    """The bytes of an open file from *start* up to *stop*, at most 1 MiB each."""
    file.seek(start)
    while stop is None or start < stop:
        data = file.read(CHUNK if stop is None else min(CHUNK, stop - start))
        if not data:
            break
        start += len(data)
        yield data


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
