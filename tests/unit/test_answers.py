"""Answers over HTTP: which are taken for the bytes that were asked for."""

from __future__ import annotations

import typing as t

import pytest

from flask_store.dialects import Span
from flask_store.dialects.bodies import Body
from flask_store.dialects.errors import NoAnswer
from flask_store.dialects.extents import extent
from flask_store.dialects.extents import size_of


@pytest.mark.parametrize(
    ("status", "headers", "span", "expected"),
    [
        (200, {"Content-Length": "17"}, None, (0, 17, 17)),
        (200, {"Content-Length": "0"}, None, (0, 0, 0)),
        (200, {"Content-Length": "17"}, Span(3, 5), (0, 17, 17)),
        (
            200,
            {"Content-Length": "17", "Content-Encoding": "identity"},
            None,
            (0, 17, 17),
        ),
        (206, {"Content-Range": "bytes 3-5/17"}, Span(3, 5), (3, 6, 17)),
        (206, {"Content-Range": "bytes 3-16/17"}, Span(3, None), (3, 17, 17)),
        (206, {"Content-Range": "bytes 15-16/17"}, Span(None, 2), (15, 17, 17)),
        (206, {"Content-Range": "bytes 3-16/17"}, Span(3, 90), (3, 17, 17)),
        (206, {"Content-Range": "bytes 0-16/17"}, None, (0, 17, 17)),
        (
            206,
            {"Content-Range": "bytes 3-5/17", "Content-Length": "3"},
            Span(3, 5),
            (3, 6, 17),
        ),
    ],
)
def test_answer_that_fits(
    status: int,
    headers: dict[str, str],
    span: Span | None,
    expected: tuple[int, int, int],
) -> None:
    """The whole file, or the very part; a server may also ignore the range."""
    assert extent(status, headers, span) == expected


@pytest.mark.parametrize(
    ("status", "headers", "span"),
    [
        (200, {}, None),
        (200, {"Content-Length": "many"}, None),
        (200, {"Content-Length": "-1"}, None),
        (200, {"Content-Length": "9" * 40}, None),
        (200, {"Content-Length": "17", "Content-Encoding": "gzip"}, None),
        (200, {"Content-Length": "17", "Content-Encoding": "BR"}, None),
        (204, {"Content-Length": "0"}, None),
        (302, {"Content-Length": "17"}, None),
        (206, {}, Span(3, 5)),
        (206, {"Content-Length": "3"}, Span(3, 5)),
        (206, {"Content-Range": "bytes 3-5/*"}, Span(3, 5)),
        (206, {"Content-Range": "bytes 0-5/17"}, Span(3, 5)),
        (206, {"Content-Range": "bytes 3-4/17"}, Span(3, 5)),
        (206, {"Content-Range": "bytes 3-6/17"}, Span(3, 5)),
        (206, {"Content-Range": "bytes 3-5/4"}, Span(3, 5)),
        (206, {"Content-Range": "bytes 3-5/17"}, None),
        (206, {"Content-Range": "items 3-5/17"}, Span(3, 5)),
        (206, {"Content-Range": "bytes 3-5/17", "Content-Length": "9"}, Span(3, 5)),
        (
            206,
            {"Content-Range": "bytes 3-5/17", "Content-Encoding": "gzip"},
            Span(3, 5),
        ),
    ],
)
def test_answer_that_does_not_fit(
    status: int, headers: dict[str, str], span: Span | None
) -> None:
    """Another part, another length, a compressed body or a body without an end."""
    with pytest.raises(NoAnswer):
        extent(status, headers, span)


def test_size_is_told_or_it_is_no_answer() -> None:
    """An answer to HEAD without a length says nothing of the file."""
    assert size_of({"Content-Length": "5"}) == 5
    for headers in ({}, {"Content-Length": ""}, {"Content-Encoding": "gzip"}):
        with pytest.raises(NoAnswer):
            size_of(headers)


class Stream:
    """Pieces of bytes as a generator gives them, which knows whether it is closed."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self.pieces = list(pieces)
        self.closed = False

    def __iter__(self) -> t.Self:
        return self

    def __next__(self) -> bytes:
        if not self.pieces:
            raise StopIteration
        piece = self.pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("pieces", "length", "skip", "ends", "expected"),
    [
        ([], 0, 0, True, b""),
        ([b"abc"], 3, 0, True, b"abc"),
        ([b"ab", b"c"], 3, 0, True, b"abc"),
        ([b"abcdef"], 2, 3, False, b"de"),
        ([b"ab", b"cd", b"ef"], 2, 3, False, b"de"),
        ([b"ab", b"cd", b"ef"], 3, 3, True, b"def"),
        ([b"abc", b"def"], 3, 3, True, b"def"),
        ([b"abc", b"def"], 3, 0, False, b"abc"),
    ],
)
def test_body_is_the_part(
    pieces: list[bytes], length: int, skip: int, ends: bool, expected: bytes
) -> None:
    """However the stream is cut into pieces."""
    stream = Stream(*pieces)
    body = Body(stream, length, skip, ends)
    assert b"".join(body) == expected
    assert stream.closed


@pytest.mark.parametrize("skip", [0, 1])
@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([], "too early"),
        ([b"a"], "too early"),
        ([b"ab", b"cd"], "too early"),
        ([b"abcdef" * 2], "more bytes"),
        ([b"abcdef", b"g"], "more bytes"),
    ],
)
def test_body_of_another_length_is_an_error(
    pieces: list[bytes], message: str, skip: int
) -> None:
    """Nobody gets the last bytes of a stream that does not end with them."""
    stream = Stream(*pieces)
    taken = []
    with pytest.raises(NoAnswer, match=message):
        for piece in Body(stream, 6 - skip, skip):
            taken.append(piece)
    assert len(b"".join(taken)) < 6 - skip
    assert stream.closed


def test_body_tells_at_once_that_it_does_not_begin() -> None:
    """What goes wrong first is raised before a response has its headers."""
    stream = Stream(ConnectionError("gone"))
    with pytest.raises(ConnectionError, match="gone"):
        Body(stream, 3)
    assert stream.closed


def test_end_of_the_stream_comes_before_the_last_piece() -> None:
    """A check behind the last byte can still refuse the file."""
    body = Body(Stream(b"abc", b"def", ValueError("replaced")), 6)
    assert next(body) == b"abc"
    with pytest.raises(ValueError, match="replaced"):
        next(body)
