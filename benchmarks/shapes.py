"""Forms of odd shapes, in reads of every size, by Werkzeug's parser and by ours.

``python -m benchmarks.shapes``, from the project's folder. A shape is something that
is repeated: in a file, in a field, in the headers of a part, or around the parts. What
a client sends must not cost more than with Werkzeug, whatever it is and however little
of it a server hands over at a time. Files are thrown away.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import statistics
import time
import tracemalloc
import typing as t
from collections.abc import Callable
from collections.abc import Sequence

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from flask_store.uploads.multipart import FormParser
from flask_store.uploads.multipart import StreamingRequest

from .measure import arguments
from .measure import parsed
from .measure import Table
from .parsing import Nowhere

Parser: t.TypeAlias = type[FormDataParser]

KIB = 1024
MIB = 1024**2
#: A server that hands over as much as it is asked for.
WHOLE = 0
#: How many bytes a read returns at most, and how long the form is then. Each read has
#: its price.
READS = {
    1: 8 * KIB,
    7: 48 * KIB,
    60: 256 * KIB,
    1460: MIB,
    8 * KIB: MIB,
    64 * KIB: MIB,
    WHOLE: MIB,
}
#: The sizes of a single file in an application.
UPLOADS = (MIB // 4, MIB, 2 * MIB, 4 * MIB, 16 * MIB, 64 * MIB)

BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
FILE = b'Content-Disposition: form-data; name="afile"; filename="a.bin"\r\n\r\n'
FIELD = b'Content-Disposition: form-data; name="text"\r\n\r\n'


class Reads:
    """A form that a server hands over in reads of at most so many bytes."""

    def __init__(self, body: bytes, most: int) -> None:
        self._body = memoryview(body)
        self._most = most or len(body)
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        """As much as is asked for, or less."""
        start = self._position
        wanted = self._most if size < 0 else min(size, self._most)
        self._position = min(start + wanted, len(self._body))
        return bytes(self._body[start : self._position])


@dataclasses.dataclass(frozen=True)
class Shape:
    """Something that is repeated in a form.

    Between *head*, *unit* and *tail*, ``@`` is the line of a boundary up to its end.

    :param head: what precedes it. The default begins a file.
    :param tail: what follows it. The default ends the part and the form.
    """

    unit: bytes
    head: bytes = b"--@\r\n" + FILE
    tail: bytes = b"\r\n--@--\r\n"
    boundary: str = BOUNDARY

    def body(self, size: int) -> bytes:
        """The form, of about *size* bytes."""
        head, unit, tail = (
            part.replace(b"@", self.boundary.encode())
            for part in (self.head, self.unit, self.tail)
        )
        return head + unit * max(1, size // len(unit)) + tail


IN_A_FIELD = b"--@\r\n" + FIELD
IN_HEADERS = b"--@\r\nContent-Disposition: form-data; "
HEADERS_END = b'name="a"\r\n\r\n\r\n--@--'
A_FORM = b"--@\r\n" + FIELD + b"a\r\n--@--"
PARTS = b"\r\n--@\r\n"
BLANKS = b" \t\v\f"

SHAPES = {
    # What people send.
    "random bytes": Shape(os.urandom(4096)),
    "lines of text": Shape(b"a line of text of a usual length\r\n"),
    "zeros": Shape(b"\0"),
    "text in a field": Shape(b"a line of text\r\n", IN_A_FIELD),
    # Padding after a boundary.
    "spaces after a boundary": Shape(b" ", b"--@\r\n" + FILE + b"\r\n--@"),
    "tabs after a boundary": Shape(b"\t", b"--@\r\n" + FILE + b"\r\n--@"),
    "blanks after a boundary": Shape(BLANKS, b"--@\r\n" + FILE + b"\r\n--@"),
    "in a field": Shape(b" ", IN_A_FIELD + b"\r\n--@"),
    "after the first boundary": Shape(b" ", b"--@"),
    "after the last boundary": Shape(b" ", A_FORM),
    "1,000 spaces, no line end": Shape(b"\r\n--@" + b" " * 1000 + b"x"),
    "4,000 spaces, no line end": Shape(b"\r\n--@" + b" " * 4000 + b"x"),
    "60,000 spaces, no line end": Shape(b"\r\n--@" + b" " * 60_000 + b"x"),
    "64 KiB of spaces, no line end": Shape(b"\r\n--@" + b" " * 64 * KIB + b"x"),
    "200,000 spaces, no line end": Shape(b"\r\n--@" + b" " * 200_000 + b"x"),
    "parts with padded boundaries": Shape(PARTS[:-2] + b" " * 200 + b"\r\n" + FILE),
    "padding in a row": Shape(b"\r\n--@    \t"),
    # Ends of lines.
    "CR": Shape(b"\r"),
    "LF": Shape(b"\n"),
    "CR LF": Shape(b"\r\n"),
    "LF CR": Shape(b"\n\r"),
    "CR LF and two dashes": Shape(b"\r\n--"),
    "blanks and line ends": Shape(b" \t\r\n \r\t\n"),
    # What looks like a boundary.
    "dashes": Shape(b"-"),
    "a boundary but its last byte": Shape(b"\r\n--" + BOUNDARY.encode()[:-1]),
    "a boundary and a letter": Shape(b"\r\n--@x"),
    "a boundary and a dash": Shape(b"\r\n--@-x"),
    "a boundary, 500 zeros": Shape(b"\r\n--@x" + bytes(500)),
    "a boundary, 8,000 zeros": Shape(b"\r\n--@x" + bytes(8000)),
    "a boundary, 60,000 zeros": Shape(b"\r\n--@x" + bytes(60_000)),
    "a boundary, 60,000 line ends": Shape(b"\r\n--@x" + b"\r\n" * 30_000),
    "a boundary within a line": Shape(b"x--@"),
    "boundaries without lines": Shape(b"--@"),
    "a boundary of a dash": Shape(b"-", boundary="-"),
    "a boundary of a dash, lines": Shape(b"\r\n---x", boundary="-"),
    "a boundary of a letter": Shape(b"--x", boundary="x"),
    "70 dashes, in dashes": Shape(b"-", boundary="-" * 70),
    "70 letters, but the last": Shape(b"\r\n--" + b"a" * 69, boundary="a" * 69 + "b"),
    "70 letters, in letters": Shape(b"a", boundary="a" * 69 + "b"),
    "two letters, repeated": Shape(b"ab", boundary="ab" * 34 + "ac"),
    "odd letter near the end": Shape(b"-", boundary="-" * 66 + "x-"),
    "odd letter, boundaries": Shape(
        b"\r\n--@z" + b"-" * 90_000, boundary="-" * 66 + "x-"
    ),
    "odd letter at the start": Shape(b"-", boundary="x" + "-" * 69),
    "odd first letter, boundaries": Shape(
        b"\r\n--@z" + b"-" * 60_000, boundary="x" + "-" * 69
    ),
    # Many parts.
    "files of one byte": Shape(PARTS + FILE + b"a"),
    "files of no bytes": Shape(PARTS + FILE),
    "fields of one byte": Shape(PARTS + FIELD + b"a"),
    "files of 1,000 bytes": Shape(PARTS + FILE + bytes(1000)),
    "fields of 1,000 bytes": Shape(PARTS + FIELD + bytes(1000)),
    "files after LF alone": Shape(
        (PARTS + FILE + b"a").replace(b"\r", b""), b"--@\n" + FILE.replace(b"\r", b"")
    ),
    "files after CR alone": Shape(
        (PARTS + FILE + b"a").replace(b"\n", b""), b"--@\r" + FILE.replace(b"\n", b"")
    ),
    # Headers.
    "a long file name": Shape(
        b"a", IN_HEADERS + b'name="a"; filename="', b'"\r\n\r\n\r\n--@--'
    ),
    "a header that goes on": Shape(b"a;\r\n ", IN_HEADERS, HEADERS_END),
    "many headers": Shape(
        b"\r\nX-Header: value", b"--@\r\n" + FIELD[:-4], b"\r\n\r\na\r\n--@--"
    ),
    "header lines of a letter": Shape(
        b"\r\nx", b"--@\r\n" + FIELD[:-4], b"\r\n\r\na\r\n--@--"
    ),
    "quotes in a header": Shape(b'"\\"; ', IN_HEADERS, HEADERS_END),
    "headers without an end": Shape(b"x", b"--@\r\n", b""),
    "CR LF CR in headers": Shape(b"\r\n\rx", b"--@\r\n", b""),
    # Around the parts.
    "before: letters": Shape(b"x", b"", b"\r\n" + A_FORM),
    "before: CR": Shape(b"\r", b"", b"\r\n" + A_FORM),
    "before: CR LF": Shape(b"\r\n", b"", b"\r\n" + A_FORM),
    "before: dashes": Shape(b"-", b"", b"\r\n" + A_FORM),
    "before: a boundary and a letter": Shape(b"\r\n--@x", b"", b"\r\n" + A_FORM),
    "before: a padded boundary": Shape(
        b"\r\n--@" + b" " * 1000 + b"x", b"", b"\r\n" + A_FORM
    ),
    "before: 60,000 spaces": Shape(
        b"\r\n--@" + b" " * 60_000 + b"x", b"", b"\r\n" + A_FORM
    ),
    "before: 4,000 spaces": Shape(
        b"\r\n--@" + b" " * 4000 + b"x", b"", b"\r\n" + A_FORM
    ),
    "after: letters": Shape(b"x", A_FORM, b""),
    "after: boundaries": Shape(b"\r\n--@--", A_FORM, b""),
}


def found(parser: Parser, shape: Shape, body: bytes, most: int) -> object:
    """What a parser finds: fields, and the names and sizes of files; or its error.

    There are no limits: those of Flask end most shapes before they cost anything.
    """
    make = parser(lambda *args, **kwargs: Nowhere(), silent=False)
    options = {"boundary": shape.boundary}
    try:
        _, form, files = make.parse(
            t.cast("t.IO[bytes]", Reads(body, most)),
            "multipart/form-data",
            None,
            options,
        )
    except (ValueError, RequestEntityTooLarge) as exc:
        return type(exc)
    return list(form.items(multi=True)), [
        (name, file.filename, t.cast(Nowhere, file.stream).size)
        for name, file in files.items(multi=True)
    ]


def seconds_of(parser: Parser, shape: Shape, body: bytes, most: int) -> float:
    """The processor's time for a form."""
    begun = time.process_time()
    found(parser, shape, body, most)
    return time.process_time() - begun


def memory_of(parser: Parser, shape: Shape, body: bytes, most: int) -> int:
    """The most bytes in memory beside the form itself, what is found included."""
    return peak_of(lambda: found(parser, shape, body, most))


def peak_of(call: Callable[[], object]) -> int:
    """The most bytes in memory during a call, beyond those before it.

    What other threads of the process allocate meanwhile is a part of it.
    """
    call()  # what is kept for the next form, such as an expression, is no part of it
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.enable()


def larger(shape: Shape, body: bytes, most: int) -> float:
    """How many times as much memory as Werkzeug's our parser takes.

    In reads of few bytes Werkzeug's misses some boundaries, and so does not keep their
    parts. It is then taken at its whole reads.
    """
    ours = found(FormParser, shape, body, most)
    same = ours == found(FormDataParser, shape, body, most)
    theirs = memory_of(FormDataParser, shape, body, most if same else WHOLE)
    return memory_of(FormParser, shape, body, most) / theirs


class Upload:
    """A form with one file of zeros, which nobody keeps."""

    def __init__(self, size: int) -> None:
        self._head = b"--" + BOUNDARY.encode() + b"\r\n" + FILE
        self._tail = b"\r\n--" + BOUNDARY.encode() + b"--"
        self._left = size

    def read(self, size: int) -> bytes:
        """As much as is asked for, but for what is around the file."""
        if self._left:
            head, self._head = self._head, b""
            count = 0 if head else min(size, self._left)
            self._left -= count
            return head or bytes(count)
        tail, self._tail = self._tail, b""
        return tail


def memory_of_upload(request: type[Request], size: int) -> int:
    """The most bytes in memory while a request parses a form with one large file."""

    def parse() -> None:
        environ = {
            "REQUEST_METHOD": "POST",
            "CONTENT_TYPE": f"multipart/form-data; boundary={BOUNDARY}",
            "wsgi.input": Upload(size),
            "wsgi.input_terminated": True,
        }
        with contextlib.closing(request(environ)) as made:
            assert made.files["afile"].seek(0, os.SEEK_END) in (None, size)

    return peak_of(parse)


def slower(shape: Shape, body: bytes, most: int, rounds: int) -> float:
    """How many times as long as Werkzeug's our parser takes, by the medians."""
    times: dict[Parser, list[float]] = {FormDataParser: [], FormParser: []}
    for _ in range(rounds):
        for parser, taken in times.items():
            taken.append(seconds_of(parser, shape, body, most))
    ours, theirs = (statistics.median(times[p]) for p in (FormParser, FormDataParser))
    return ours / theirs


def main(args: Sequence[str] | None = None) -> None:
    """Run it as a command."""
    options = parsed(arguments(__doc__), args)
    columns = [f"{most:,} B" if most else "whole" for most in READS]
    title = "{} of a form, as a multiple of Werkzeug's, by the bytes of a read"
    times = Table(title.format("Processor time"), "shape", *columns)
    peaks = Table(title.format("Peak memory"), "shape", *columns)
    worst_time = worst_peak = 0.0
    for name, shape in SHAPES.items():
        bodies = {
            most: shape.body(4 * KIB if options.quick else size)
            for most, size in READS.items()
        }
        time_ratios = [
            slower(shape, body, most, options.rounds) for most, body in bodies.items()
        ]
        peak_ratios = [larger(shape, body, most) for most, body in bodies.items()]
        worst_time = max(worst_time, *time_ratios)
        worst_peak = max(worst_peak, *peak_ratios)
        times.add(name, *(f"{ratio:.2f}" for ratio in time_ratios))
        peaks.add(name, *(f"{ratio:.2f}" for ratio in peak_ratios))
    times.show()
    peaks.show()
    print(f"The worst is {worst_time:.2f} in time and {worst_peak:.2f} in memory.\n")
    uploads = Table("Peak memory of a form with one file", "file", "Flask", "ours", "")
    for size in [MIB] if options.quick else UPLOADS:
        theirs, ours = (
            memory_of_upload(request, size) for request in (Request, StreamingRequest)
        )
        uploads.add(
            f"{size / MIB:g} MiB",
            f"{theirs // KIB:,} KiB",
            f"{ours // KIB:,} KiB",
            f"{ours / theirs:.2f}",
        )
    uploads.show()


if __name__ == "__main__":
    main()
