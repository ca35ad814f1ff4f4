"""Whether the answer to a GET over HTTP holds the bytes that were asked for. Pure."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Mapping

from .errors import NoAnswer
from .records import Span

#: Content-Range of a part (RFC 9110, section 14.4).
_PART = re.compile(r"bytes (\d+)-(\d+)/(\d+)\Z")
#: What emulators of Azure and Google say of a range that begins at the end of a file,
#: in the place of the status 416: 'bytes 5-4/5', or 'bytes 0--1/0' of an empty file.
_NOTHING = re.compile(r"bytes \d+--?\d+/(\d+)\Z")
_NUMBER = re.compile(r"\d{1,19}\Z")


class Extent(t.NamedTuple):
    """Which bytes an answer has, and of how many.

    :param start: the first byte.
    :param stop: the one after the last.
    :param size: of the whole file.
    """

    start: int
    stop: int
    size: int


def extent(status: int, headers: Mapping[str, str], span: Span | None) -> Extent:
    """Which bytes of a file an answer has.

    A server may answer a request for a part with 200 and the whole file (RFC 9110,
    section 14.2). It may not answer with another part, nor with a file of unknown
    length: such an answer can end at any byte and look complete. Some servers, as
    rclone's for S3, answer with 200 and a part; they name the part all the same.

    :param status: of the answer.
    :param headers: of the answer; their names in any case that *headers* takes.
    :param span: the part that was asked for, or ``None``.
    :raises NoAnswer: if the answer cannot be trusted to be what was asked for.
    """
    refuse_encoding(headers)
    length = length_of(headers)
    text = headers.get("Content-Range") or ""
    if status == 200:
        if length is None:
            raise NoAnswer("it has no Content-Length")
        if not text:
            return Extent(0, length, length)
    elif status != 206:
        raise NoAnswer(f"the status is {status}")
    nothing = _NOTHING.match(text)
    if span and nothing and length == 0 and not span.meets(int(nothing[1])):
        return Extent(0, 0, int(nothing[1]))
    match = _PART.match(text)
    if match is None:
        raise NoAnswer(f"the status is {status} and Content-Range is {text[:80]!r}")
    first, last, size = map(int, match.groups())
    start, stop = span.within(size) if span else (0, size)
    if (first, last + 1) != (start, stop) or not start < stop <= size:
        wanted = span or "no part"
        raise NoAnswer(f"{wanted} was asked for, and Content-Range is {text[:80]!r}")
    if length not in (None, stop - start):
        raise NoAnswer(
            f"Content-Length is {length}, and Content-Range is {text[:80]!r}"
        )
    return Extent(start, stop, size)


def size_of(headers: Mapping[str, str]) -> int:
    """The size of a file, as the answer to HEAD gives it.

    :raises NoAnswer: if the answer does not give it.
    """
    refuse_encoding(headers)
    size = length_of(headers)
    if size is None:
        raise NoAnswer("it has no Content-Length")
    return size


def length_of(headers: Mapping[str, str]) -> int | None:
    """Content-Length, if the answer has one.

    :raises NoAnswer: if it is no number.
    """
    text = headers.get("Content-Length")
    if text is None:
        return None
    if not _NUMBER.match(text.strip()):
        raise NoAnswer(f"Content-Length is {text[:40]!r}")
    return int(text)


def refuse_encoding(headers: Mapping[str, str]) -> None:
    """Refuse bytes that somebody compressed on the way.

    Ranges and lengths then count the compressed bytes, and these would be stored.

    :raises NoAnswer: if there is another Content-Encoding than none.
    """
    if is_encoded(headers):
        coding = headers["Content-Encoding"]
        raise NoAnswer(f"Content-Encoding is {coding[:40]!r}")


def is_encoded(headers: Mapping[str, str]) -> bool:
    """Whether the bytes of an answer are said to be compressed."""
    coding = (headers.get("Content-Encoding") or "").strip().lower()
    return coding not in ("", "identity")


def whole_size(headers: Mapping[str, str]) -> int | None:
    """The size of the whole file, if the answer gives it."""
    match = _PART.match(headers.get("Content-Range") or "")
    return int(match[3]) if match else length_of(headers)
