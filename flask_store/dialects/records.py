"""What is known of a stored file, alike for every protocol, and its bytes."""

from __future__ import annotations

import datetime as dt
import io
import itertools
import typing as t
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass

from ..sources import CHUNK

#: How many files a view counts at most; also what S3 lists with one request.
PAGE = 1000


@dataclass(frozen=True)
class Stat:
    """One stored file, described alike whatever the protocol.

    :param name: the file's name, relative to whom was asked.
    :param size: in bytes.
    :param modified: when it was last written, in UTC, or ``None`` if unknown.
    :param etag: changes whenever the content does; without quotes; ``None`` if the
        protocol has none.
    :param content_type: as stored, else as the name suggests.
    """

    name: str
    size: int
    modified: dt.datetime | None
    etag: str | None
    content_type: str


@dataclass(frozen=True)
class Unreachable:
    """What lies in a storage and is no file of the store: no key leads to it.

    :param name: its path below the root, as the storage spells it.
    :param reason: why no key can lead there.
    """

    name: str
    reason: str


class Span(t.NamedTuple):
    """The bytes that a request asks for while nobody knows the size (RFC 9110, section
    14.1.2): from *first* to *last*, or up to the end; without *first*, the last ones.
    """

    first: int | None
    last: int | None

    def within(self, size: int) -> tuple[int, int]:
        """Where they start and stop in so many bytes; if that is nowhere, the start
        is not before the stop."""
        if self.first is None:
            return max(0, size - (self.last or 0)), size
        return self.first, size if self.last is None else min(size, self.last + 1)

    def __str__(self) -> str:
        return "-".join("" if end is None else str(end) for end in self)


class Fetched(t.NamedTuple):
    """A file with its bytes, or with some of them, as one request gives both.

    :param found: what is known of the whole file.
    :param start: the first byte of the body.
    :param stop: the one after its last.
    """

    found: Stat
    start: int
    stop: int
    body: t.Any


def joined(pieces: Iterable[bytes]) -> bytes:
    """All the bytes of a stream. Unlike ``b"".join()``, it does not keep every piece
    until all are there."""
    found = io.BytesIO()
    found.writelines(pieces)
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


def first_of(found: Iterator[Stat | Unreachable]) -> tuple[list[Stat], bool]:
    """The first page of a walk that costs no requests."""
    files = list(itertools.islice((f for f in found if isinstance(f, Stat)), PAGE + 1))
    return files[:PAGE], len(files) > PAGE


def first(info: Mapping[str, t.Any], *names: str) -> t.Any:
    """The first of these entries that is there and not empty."""
    return next((info[name] for name in names if info.get(name)), None)


def utc(moment: object) -> dt.datetime | None:
    """A POSIX timestamp or a date of either kind as an aware date in UTC."""
    if isinstance(moment, int | float):
        return dt.datetime.fromtimestamp(moment, dt.UTC)
    if isinstance(moment, dt.datetime):
        if moment.tzinfo is None:
            return moment.replace(tzinfo=dt.UTC)
        return moment.astimezone(dt.UTC)
    return None
