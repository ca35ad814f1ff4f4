"""Checks that the response to a GET has the bytes that were requested. Pure."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Mapping

from .bodies import Span
from .errors import NoAnswer

#: Content-Range of a part (RFC 9110, section 14.4).
_PART = re.compile(r"bytes (\d+)-(\d+)/(\d+)\Z")
#: The Content-Range of emulators of Azure and Google for a range that begins at the end
#: of a file, where others send the status 416: 'bytes 5-4/5', or 'bytes 0--1/0' for an
#: empty file.
_NOTHING = re.compile(r"bytes \d+--?\d+/(\d+)\Z")
_NUMBER = re.compile(r"\d{1,19}\Z")


class Extent(t.NamedTuple):
    """Which bytes a response has.

    :param start: the first byte.
    :param stop: the one after the last.
    :param size: of the whole file.
    """

    start: int
    stop: int
    size: int


def extent(status: int, headers: Mapping[str, str], span: Span | None) -> Extent:
    """Which bytes of a file a response has.

    A server may answer a request for a part with 200 and the whole file (RFC 9110,
    section 14.2). It must not send another part, nor a file of unknown length: such a
    response can end at any byte and look complete. Some servers, such as rclone's for
    S3, send a part with the status 200, and name the part in Content-Range.

    :param status: of the response.
    :param headers: of the response; their names in any case that *headers* takes.
    :param span: the part that was requested, or ``None`` for the whole file.
    :raises NoAnswer: if these are not the bytes that were requested.
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
    empty_range = _NOTHING.match(text)
    if span and empty_range and length == 0 and not span.meets(int(empty_range[1])):
        return Extent(0, 0, int(empty_range[1]))
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
    """The size of a file, from the response to HEAD.

    :raises NoAnswer: if the response does not tell it.
    """
    refuse_encoding(headers)
    size = length_of(headers)
    if size is None:
        raise NoAnswer("it has no Content-Length")
    return size


def length_of(headers: Mapping[str, str]) -> int | None:
    """Content-Length, if the response has one.

    :raises NoAnswer: if it is not a number.
    """
    text = headers.get("Content-Length")
    if text is None:
        return None
    if not _NUMBER.match(text.strip()):
        raise NoAnswer(f"Content-Length is {text[:40]!r}")
    return int(text)


def refuse_encoding(headers: Mapping[str, str]) -> None:
    """Refuse a response that a server or proxy has compressed.

    Its ranges and lengths count compressed bytes, and these would be stored.

    :raises NoAnswer: if the response has a Content-Encoding.
    """
    if is_encoded(headers):
        coding = headers["Content-Encoding"]
        raise NoAnswer(f"Content-Encoding is {coding[:40]!r}")


def is_encoded(headers: Mapping[str, str]) -> bool:
    """Whether the headers say that the bytes are compressed."""
    coding = (headers.get("Content-Encoding") or "").strip().lower()
    return coding not in ("", "identity")


def without_encoding(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that say how long a response is, without its Content-Encoding: those
    of bytes that are stored so."""
    names = ("Content-Length", "Content-Range", "ETag")
    return {name: headers[name] for name in names if name in headers}


def whole_size(headers: Mapping[str, str]) -> int | None:
    """The size of the whole file, if the response tells it."""
    match = _PART.match(headers.get("Content-Range") or "")
    return int(match[3]) if match else length_of(headers)
