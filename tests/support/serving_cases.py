"""One table of requests for a stored file, and how each is answered."""

from __future__ import annotations

import datetime as dt
import re
import typing as t

from werkzeug.http import http_date
from werkzeug.http import parse_date

DATA = bytes(range(256)) * 40
SIZE = len(DATA)


class Known(t.NamedTuple):
    """What a client knows after its first GET."""

    etag: str
    modified: str

    def date(self, seconds: int) -> str:
        """The date of the file, moved."""
        base = parse_date(self.modified)
        assert base is not None
        return http_date(base + dt.timedelta(seconds=seconds))


class Case(t.NamedTuple):
    """One row of the table: a request, the status and the bytes that answer it."""

    name: str
    headers: dict[str, str]
    status: int
    body: bytes = b""
    method: str = "GET"

    def sent(self, known: Known) -> dict[str, str]:
        """The headers of the request."""
        words = {
            "etag": known.etag,
            "modified": known.modified,
            "earlier": known.date(-60),
            "later": known.date(60),
        }
        return {name: value.format(**words) for name, value in self.headers.items()}

    def check(
        self,
        known: Known,
        status: int,
        headers: t.Mapping[str, str],
        body: bytes,
        cache_control: str = "no-cache",
    ) -> None:
        """Compare a response with what it has to be."""
        assert status == self.status
        assert body == self.body
        assert headers["Accept-Ranges"] == "bytes"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in headers["Content-Security-Policy"]
        if status == 200:
            assert headers["Content-Length"] == str(SIZE)
        if status in (200, 206):
            assert headers["Last-Modified"] == known.modified
            assert headers["Content-Type"] == "image/jpeg"
            assert headers["Content-Disposition"] == 'inline; filename="photo.jpg"'
        if status == 206:
            numbers = re.findall("[0-9]+", headers["Content-Range"])
            start, stop, size = map(int, numbers)
            assert (DATA[start : stop + 1], size) == (body, SIZE)
            assert headers["Content-Length"] == str(len(body))
        if status == 416:
            assert headers["Content-Range"] == f"bytes */{SIZE}"
        if status < 400:
            assert headers["ETag"] == known.etag
            assert headers["Cache-Control"] == cache_control
        else:
            assert headers["Cache-Control"] == "no-store"


WHOLE = DATA
CASES = [
    Case("GET", {}, 200, WHOLE),
    Case("HEAD", {}, 200, method="HEAD"),
    Case("range", {"Range": "bytes=100-199"}, 206, DATA[100:200]),
    Case("first byte", {"Range": "bytes=0-0"}, 206, DATA[:1]),
    Case("last byte", {"Range": f"bytes={SIZE - 1}-{SIZE - 1}"}, 206, DATA[-1:]),
    Case("open range", {"Range": "bytes=10000-"}, 206, DATA[10000:]),
    Case("range past the end", {"Range": "bytes=10000-99999"}, 206, DATA[10000:]),
    Case("suffix range", {"Range": "bytes=-100"}, 206, DATA[-100:]),
    Case("suffix longer than the file", {"Range": "bytes=-99999"}, 206, WHOLE),
    Case("unit in capitals", {"Range": "Bytes=0-9"}, 206, DATA[:10]),
    Case("range of HEAD is ignored", {"Range": "bytes=0-9"}, 200, method="HEAD"),
    Case("several ranges", {"Range": "bytes=0-1,5-6"}, 200, WHOLE),
    Case("many ranges", {"Range": "bytes=" + "0-0," * 500 + "1-1"}, 200, WHOLE),
    Case("unknown unit", {"Range": "lines=0-1"}, 200, WHOLE),
    Case("backward range", {"Range": "bytes=5-2"}, 200, WHOLE),
    Case("no range at all", {"Range": "bytes=abc"}, 200, WHOLE),
    Case("after the end", {"Range": f"bytes={SIZE}-"}, 416),
    Case("far after the end", {"Range": f"bytes={'9' * 5000}-"}, 416),
    Case("last zero bytes", {"Range": "bytes=-0"}, 416),
    Case("If-None-Match, same", {"If-None-Match": "{etag}"}, 304),
    Case("If-None-Match, weak", {"If-None-Match": "W/{etag}"}, 304),
    Case("If-None-Match, list", {"If-None-Match": '"x", {etag}'}, 304),
    Case("If-None-Match, any", {"If-None-Match": "*"}, 304),
    Case("If-None-Match, other", {"If-None-Match": '"x"'}, 200, WHOLE),
    Case("If-None-Match of HEAD", {"If-None-Match": "{etag}"}, 304, method="HEAD"),
    Case(
        "If-None-Match and Range",
        {"If-None-Match": "{etag}", "Range": "bytes=0-9"},
        304,
    ),
    Case(
        "If-None-Match goes before the date",
        {"If-None-Match": '"x"', "If-Modified-Since": "{later}"},
        200,
        WHOLE,
    ),
    Case("If-Modified-Since, same", {"If-Modified-Since": "{modified}"}, 304),
    Case("If-Modified-Since, earlier", {"If-Modified-Since": "{earlier}"}, 200, WHOLE),
    Case("If-Modified-Since, nonsense", {"If-Modified-Since": "x"}, 200, WHOLE),
    Case("If-Match, same", {"If-Match": "{etag}"}, 200, WHOLE),
    Case("If-Match, any", {"If-Match": "*"}, 200, WHOLE),
    Case("If-Match, other", {"If-Match": '"x"'}, 412),
    Case("If-Match, weak", {"If-Match": "W/{etag}"}, 412),
    Case("If-Match, other, and Range", {"If-Match": '"x"', "Range": "bytes=0-"}, 412),
    Case(
        "If-Unmodified-Since, same", {"If-Unmodified-Since": "{modified}"}, 200, WHOLE
    ),
    Case("If-Unmodified-Since, earlier", {"If-Unmodified-Since": "{earlier}"}, 412),
    Case(
        "If-Match goes before the date",
        {"If-Match": "{etag}", "If-Unmodified-Since": "{earlier}"},
        200,
        WHOLE,
    ),
    Case(
        "If-Range, same", {"If-Range": "{etag}", "Range": "bytes=0-9"}, 206, DATA[:10]
    ),
    Case(
        "If-Range, same date",
        {"If-Range": "{modified}", "Range": "bytes=0-9"},
        206,
        DATA[:10],
    ),
    Case("If-Range, other", {"If-Range": '"x"', "Range": "bytes=0-9"}, 200, WHOLE),
    Case("If-Range, weak", {"If-Range": "W/{etag}", "Range": "bytes=0-9"}, 200, WHOLE),
    Case(
        "If-Range, later date",
        {"If-Range": "{later}", "Range": "bytes=0-9"},
        200,
        WHOLE,
    ),
    Case(
        "If-Range, other, unsatisfiable",
        {"If-Range": '"x"', "Range": "bytes=99999-"},
        200,
        WHOLE,
    ),
]
