"""Forms of odd shapes cost no more than with Werkzeug's parser, and say the same.

What is compared are counts and the peak of memory, which are the same in every run.
``python -m benchmarks.shapes`` measures the time.
"""

from __future__ import annotations

import re
import typing as t

import pytest
from flask import Request
from werkzeug.formparser import FormDataParser
from werkzeug.sansio.multipart import Event
from werkzeug.sansio.multipart import MultipartDecoder
from werkzeug.sansio.multipart import NeedData

from benchmarks.shapes import found
from benchmarks.shapes import KIB
from benchmarks.shapes import larger
from benchmarks.shapes import memory_of_upload
from benchmarks.shapes import MIB
from benchmarks.shapes import Parser
from benchmarks.shapes import Shape
from benchmarks.shapes import SHAPES
from benchmarks.shapes import WHOLE
from flask_store.uploads import multipart
from flask_store.uploads.multipart import FormParser
from flask_store.uploads.multipart import PADDING
from flask_store.uploads.multipart import StreamingRequest

#: How many bytes a read returns, and how long the form is then.
READS = {
    **{1: 4 * KIB, 7: 16 * KIB, 60: 64 * KIB},
    **{1460: 512 * KIB, 8 * KIB: 512 * KIB, WHOLE: 512 * KIB},
}
#: The same, where each allocation is traced, which takes long.
TRACED = {60: 4 * KIB, 1460: 16 * KIB, WHOLE: 96 * KIB}
#: How many bytes more than twice Werkzeug's our parser may look at: the first piece of
#: a body, and a slice of a decoder.
MORE = 128 * KIB
#: Where the padding is longer than what is waited for.
PADDED = {
    "spaces after a boundary",
    "tabs after a boundary",
    "blanks after a boundary",
    "in a field",
    "after the first boundary",
}


#: How often the memory is measured. Threads that other tests have left allocate too,
#: which can only make the parser look larger than it is.
TRIES = 3


def is_small(shape: Shape, body: bytes, most: int) -> bool:
    """Whether our parser needs at most twice the memory that Werkzeug's needs."""
    return any(larger(shape, body, most) <= 2 for _ in range(TRIES))


class Counts:
    """How many bytes a parser looks at.

    :ivar held: those in the decoder's buffer, each time it finds no end in them.
    :ivar searched: those that a regular expression for a boundary is given.
    """

    def __init__(self) -> None:
        self.held = 0
        self.searched = 0


class Expression:
    """A regular expression that counts what it is given."""

    def __init__(self, expression: re.Pattern[bytes], counts: Counts) -> None:
        self._expression = expression
        self._counts = counts

    def search(self, data: bytes, start: int = 0) -> re.Match[bytes] | None:
        """Count everything from *start*."""
        self._counts.searched += len(data) - start
        return self._expression.search(data, start)

    def match(self, data: bytes, start: int) -> re.Match[bytes] | None:
        """Count the padding, and what follows it."""
        rest = data[start:]
        self._counts.searched += len(rest) - len(rest.lstrip(PADDING)) + 1
        return self._expression.match(data, start)


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    """What the parsers look at from now on."""
    counts = Counts()
    begin, go_on = MultipartDecoder.__init__, MultipartDecoder.next_event

    def counting_init(self: t.Any, *args: t.Any, **kwargs: t.Any) -> None:
        begin(self, *args, **kwargs)
        self.preamble_re = Expression(self.preamble_re, counts)
        self.boundary_re = Expression(self.boundary_re, counts)

    def counting_event(self: t.Any) -> Event:
        held = len(self.buffer) - self._search_position
        event = go_on(self)
        if isinstance(event, NeedData) or getattr(event, "more_data", False):
            counts.held += held
        return event

    monkeypatch.setattr(MultipartDecoder, "__init__", counting_init)
    monkeypatch.setattr(MultipartDecoder, "next_event", counting_event)
    monkeypatch.setattr(
        multipart, "AFTER_MARK", Expression(multipart.AFTER_MARK, counts)
    )
    return counts


def looked_at(
    counts: Counts, parser: Parser, shape: Shape, body: bytes, most: int
) -> tuple[int, int]:
    """What one parser looks at while it reads a form."""
    counts.held = counts.searched = 0
    found(parser, shape, body, most)
    return counts.held, counts.searched


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_looks_at_no_more_than_werkzeug(name: str, counts: Counts) -> None:
    """However little a server hands over at a time."""
    shape = SHAPES[name]
    for most, size in READS.items():
        if len(shape.unit) > size:
            continue
        body = shape.body(size)
        theirs = looked_at(counts, FormDataParser, shape, body, most)
        ours = looked_at(counts, FormParser, shape, body, most)
        assert ours[0] <= 2 * theirs[0] + MORE, most
        assert ours[1] <= 2 * theirs[1] + MORE, most


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_keeps_little_in_memory(name: str) -> None:
    """At most twice what Werkzeug keeps."""
    shape = SHAPES[name]
    for most, size in TRACED.items():
        if len(shape.unit) > size:
            continue
        assert is_small(shape, shape.body(size), most), most


def test_a_small_file_that_is_thrown_away_needs_little_memory() -> None:
    """Reads have grown by then, but not to their full size."""
    for name in ("zeros", "a boundary, 500 zeros"):
        assert is_small(SHAPES[name], SHAPES[name].body(MIB), WHOLE), name


@pytest.mark.parametrize("size", [MIB // 4, MIB, 8 * MIB])
def test_memory_of_a_file_in_an_application(size: int) -> None:
    """It is half a MiB with Flask, until the file goes on on the disk."""
    theirs = memory_of_upload(Request, size)
    assert any(
        memory_of_upload(StreamingRequest, size) <= 2 * theirs for _ in range(TRIES)
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_finds_what_werkzeug_finds(name: str) -> None:
    """In a form that it sees at once, also if a server hands over only a little."""
    shape = SHAPES[name]
    body = shape.body(40 * KIB)
    expected = found(FormDataParser, shape, body, WHOLE)
    for most in (WHOLE,) if name in PADDED else (WHOLE, 4096, 60):
        assert found(FormParser, shape, body, most) == expected, most
