"""Preconditions and ranges, against a small reference of RFC 9110."""

from __future__ import annotations

import datetime as dt
import typing as t

from hypothesis import example
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.http import http_date
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from flask_store.http.conditions import Part
from flask_store.http.conditions import part
from flask_store.http.conditions import Validators
from tests.support.properties import examples

NOW = dt.datetime(2026, 7, 1, 12, 0, 0, tzinfo=dt.UTC)
DATES = st.sampled_from([NOW + dt.timedelta(seconds=n) for n in (-3600, -1, 0, 1)])
TAGS = st.sampled_from(["a", "b", "c,d", ""])
SPELLED = st.builds("{}{}".format, st.sampled_from(["", "W/"]), TAGS.map('"{}"'.format))
LISTS = st.one_of(st.just("*"), st.lists(SPELLED, min_size=1, max_size=3))
MINE = st.builds(
    Validators,
    st.one_of(st.none(), TAGS.filter(bool)),
    st.booleans(),
    st.one_of(st.none(), DATES),
    st.booleans(),
)
#: Those of a file that has none.
FREE = Validators(None, False, None, False)
NUMBERS = st.one_of(st.integers(0, 12), st.integers(0, 10**30))
SPANS = st.one_of(
    st.tuples(NUMBERS, st.one_of(st.none(), NUMBERS)),
    st.tuples(st.none(), NUMBERS),
)


class Asked(t.NamedTuple):
    """The headers of a request, as values."""

    match: str | list[str] | None
    none_match: str | list[str] | None
    unmodified: dt.datetime | None
    modified: dt.datetime | None
    range: list[tuple[int | None, int | None]] | None
    if_range: str | dt.datetime | None

    def headers(self) -> dict[str, str]:
        """The same as a client writes them."""
        written = {
            "If-Match": self.match and ", ".join(self.match),
            "If-None-Match": self.none_match and ", ".join(self.none_match),
            "If-Unmodified-Since": self.unmodified and http_date(self.unmodified),
            "If-Modified-Since": self.modified and http_date(self.modified),
            "Range": self.range and f"bytes={', '.join(map(_spelled, self.range))}",
            "If-Range": self.if_range
            if isinstance(self.if_range, str)
            else self.if_range and http_date(self.if_range),
        }
        return {name: value for name, value in written.items() if value is not None}


def _spelled(span: tuple[int | None, int | None]) -> str:
    return "-".join("" if number is None else str(number) for number in span)


ASKED = st.builds(
    Asked,
    st.one_of(st.none(), LISTS),
    st.one_of(st.none(), LISTS),
    st.one_of(st.none(), DATES),
    st.one_of(st.none(), DATES),
    st.one_of(st.none(), st.lists(SPANS, min_size=1, max_size=3)),
    st.one_of(st.none(), SPELLED, DATES),
)


def _strong(mine: Validators, tag: str) -> bool:
    """Section 8.8.3.2: both are strong, and their text is the same."""
    return mine.strong and tag == f'"{mine.etag}"'


def _weak(mine: Validators, tag: str) -> bool:
    return mine.etag is not None and tag.removeprefix("W/") == f'"{mine.etag}"'


def _holds(
    mine: Validators,
    tags: str | list[str],
    equal: t.Callable[[Validators, str], bool],
) -> bool:
    return tags == "*" or any(equal(mine, tag) for tag in tags)


def expected(method: str, asked: Asked, size: int, mine: Validators) -> Part:
    """The steps of section 13.2.2, one after the other."""
    whole = Part(200, 0, size)
    date = mine.modified
    if method not in ("GET", "HEAD"):
        return whole
    if asked.match is not None:  # step 1
        if not _holds(mine, asked.match, _strong):
            return Part(412)
    elif asked.unmodified is not None and date is not None:  # step 2
        if date > asked.unmodified:
            return Part(412)
    if asked.none_match is not None:  # step 3
        if _holds(mine, asked.none_match, _weak):
            return Part(304)
    elif asked.modified is not None and date is not None:  # step 4
        if date <= asked.modified:
            return Part(304)
    if method == "HEAD" or asked.range is None:
        return whole
    if isinstance(asked.if_range, str):  # step 5
        if not _strong(mine, asked.if_range):
            return whole
    elif asked.if_range is not None:
        if not mine.settled or date != asked.if_range:
            return whole
    return _ranged(asked.range, size)


def _ranged(spans: list[tuple[int | None, int | None]], size: int) -> Part:
    """Section 14.1.2, with each position looked at by itself."""
    whole = Part(200, 0, size)
    if any(a is not None and b is not None and b < a for a, b in spans):
        return whole  # invalid, and may be ignored
    asked = [
        [i for i in range(size) if _is_asked(i, first, last, size)]
        for first, last in spans
    ]
    if not any(asked):
        suffix = any(first is None and last for first, last in spans)
        return whole if size == 0 and suffix else Part(416)
    if len(spans) > 1:
        return whole  # several parts may be answered by the whole
    return Part(206, asked[0][0], asked[0][-1] + 1)


def _is_asked(position: int, first: int | None, last: int | None, size: int) -> bool:
    if first is None:
        return last is not None and position >= size - last
    return first <= position and (last is None or position <= last)


@example("GET", Asked(None, None, None, None, [(None, 0), (None, 0)], None), 0, FREE)
@example("GET", Asked(None, None, None, None, [(5, None), (None, 3)], None), 0, FREE)
@given(st.sampled_from(["GET", "HEAD", "POST"]), ASKED, st.integers(0, 10), MINE)
@examples(120)
def test_answer_is_that_of_the_rfc(
    method: str, asked: Asked, size: int, mine: Validators
) -> None:
    """Whatever is asked for in one request, in the order that the RFC gives."""
    environ = EnvironBuilder(method=method, headers=asked.headers()).get_environ()
    assert part(Request(environ), size, mine) == expected(method, asked, size, mine)


@given(
    st.lists(st.sampled_from(["bytes=", *"0129-=, \tb"]), max_size=20).map("".join),
    st.integers(0, 10),
)
@examples(60)
def test_any_header_has_an_answer(header: str, size: int) -> None:
    """Nothing in the header is an error of ours, or a part that is not there."""
    environ = EnvironBuilder().get_environ() | {"HTTP_RANGE": header}
    mine = Validators("a", True, NOW, True)
    found = part(Request(environ), size, mine)
    assert found.status in (200, 206, 416)
    assert 0 <= found.start <= found.stop <= size
    assert found.status != 206 or found.start < found.stop
