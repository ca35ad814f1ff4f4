"""A form with one large file, decoded and thrown away, by each parser.

``python -m benchmarks.parsing``, from the project's folder. The form is in memory, in
the pieces of 1 MiB that gunicorn gives; what is left out are the server and the disk.
"""

from __future__ import annotations

import os
import time
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence

from werkzeug.formparser import FormDataParser

from flask_store.uploads.multipart import FormParser

from .client import BOUNDARY
from .client import TAIL
from .measure import arguments
from .measure import Comparison
from .measure import interleaved
from .measure import parsed
from .measure import seconds

BASE = "Werkzeug"
MIB = 1024**2
SIZE, QUICK = 256, 8
#: What is in the file; random bytes have a line end in every 128th place.
CONTENTS = {
    "random bytes": os.urandom(MIB),
    "lines of text": b"a line of text of a usual length\r\n" * (MIB // 34),
    "zeros": bytes(MIB),
}
HEAD = (
    f"--{BOUNDARY}\r\n"
    'Content-Disposition: form-data; name="afile"; filename="a.bin"\r\n\r\n'
).encode()


class Body:
    """The form, as a server hands it over."""

    def __init__(self, data: bytes, count: int) -> None:
        self._pieces: Iterator[bytes] = iter([HEAD, *[data] * count, TAIL])
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Up to so many bytes."""
        piece = self._rest or next(self._pieces, b"")
        piece, self._rest = piece[:size], piece[size:]
        return piece


class Nowhere:
    """A file that keeps only its size."""

    size = 0

    def write(self, data: bytes) -> None:
        """Count."""
        self.size += len(data)

    def seek(self, position: int) -> None:
        """Back to the start, for whoever reads it."""


def flask(parser: type[FormDataParser]) -> Callable[[Body], int]:
    """A parser that Flask may use."""

    def parse(body: Body) -> int:
        make = parser(lambda *args, **kwargs: Nowhere())
        _, _, files = make.parse(
            t.cast("t.IO[bytes]", body),
            "multipart/form-data",
            None,
            {"boundary": BOUNDARY},
        )
        return t.cast(Nowhere, files["afile"].stream).size

    return parse


def in_c(body: Body) -> int:
    """streaming-form-data, which is written in Cython."""
    from streaming_form_data import StreamingFormDataParser
    from streaming_form_data.targets import NullTarget

    file = Nowhere()
    target = NullTarget()
    target.on_data_received = file.write
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    parser = StreamingFormDataParser(headers)
    parser.register("afile", target)
    while data := body.read(MIB):
        parser.data_received(data)
    return file.size


PARSERS = {
    BASE: flask(FormDataParser),
    "streaming-form-data": in_c,
    "Flask-Store": flask(FormParser),
}


def timed(parse: Callable[[Body], int], data: bytes, count: int) -> float:
    """Seconds for a form of so many pieces."""
    begun = time.perf_counter()
    assert parse(Body(data, count)) == count * len(data)
    return time.perf_counter() - begun


def main(args: Sequence[str] | None = None) -> None:
    """Run it as a command."""
    options = parsed(arguments(__doc__), args)
    count = QUICK if options.quick else SIZE
    title = f"Seconds for a form of {count} MiB, and the ratio"
    table = Comparison(title, BASE, seconds)
    for what, data in CONTENTS.items():
        turns: dict[str, Callable[[], float]] = {
            label: lambda parse=parse, data=data: timed(parse, data, count)
            for label, parse in PARSERS.items()
        }
        table.add(what, interleaved(turns, options.rounds))
    table.table().show()


if __name__ == "__main__":
    main()
