"""Which part of a file a request gets, if any: RFC 9110, sections 13 and 14. Pure."""

from __future__ import annotations

import datetime as dt
import re
import typing as t
from dataclasses import dataclass

from werkzeug.http import http_date

from ..dialects.bodies import Span

if t.TYPE_CHECKING:
    from werkzeug.sansio.request import Request

    from ..dialects import Stat

_RANGE = re.compile(r"([0-9]*)-([0-9]*)\Z")
#: Larger than any file, and quick to compare; a header can hold longer numbers.
_HUGE = 10**20

SECOND = dt.timedelta(seconds=1)


@dataclass(frozen=True)
class Validators:
    """What tells one version of a file from another.

    :param etag: without quotes, or ``None`` if there is nothing to make one of.
    :param strong: whether equal tags mean equal bytes (section 8.8.1).
    :param modified: in whole seconds, as the header says it.
    :param settled: whether the date alone is a strong validator (section 8.8.2.2).
    """

    etag: str | None
    strong: bool
    modified: dt.datetime | None
    settled: bool


@dataclass(frozen=True)
class Part:
    """The answer: its status and, for 200 and 206, its bytes."""

    status: int
    start: int = 0
    stop: int = 0


def validators(found: Stat, now: dt.datetime) -> Validators:
    """The validators of a stored file.

    A protocol without tags gets one of the date and the size. While the file is
    younger than the clock of the storage can tell, that one is weak.

    :param now: the current time, in UTC.
    """
    modified = found.modified and min(found.modified, now)
    date = modified and modified.replace(microsecond=0)
    settled = date is not None and now - date > SECOND
    if found.etag:
        strong = not found.etag.startswith("W/")
        return Validators(
            found.etag.removeprefix("W/").strip('"'), strong, date, settled
        )
    if modified is None:
        return Validators(None, False, None, False)
    tag = f"{int(modified.timestamp() * 1_000_000):x}-{found.size:x}"
    return Validators(tag, settled or bool(modified.microsecond), date, settled)


def part(request: Request, size: int, mine: Validators) -> Part:
    """What the preconditions and the range of a GET or HEAD ask for. The response of a
    view to another method is not about the file as it was before, and gets all of it.

    The order is that of section 13.2.2; section 14.2 leaves ranges to GET.

    :param size: of the whole file, in bytes.
    """
    if request.method not in ("GET", "HEAD"):
        return Part(200, 0, size)
    status = _precondition(request, mine)
    if status is not None:
        return Part(status)
    header = request.headers.get("Range")
    if header is None or request.method != "GET" or not _may_continue(request, mine):
        return Part(200, 0, size)
    return _ranged(header, size)


def span(request: Request) -> Span | None:
    """The one range that a request asks for, before anything is known of the file."""
    unit, _, spec = request.headers.get("Range", "").partition("=")
    return _span(spec) if unit.strip().lower() == "bytes" else None


def _precondition(request: Request, mine: Validators) -> int | None:
    """412 if a precondition fails, 304 if the client has this version already."""
    if "If-Match" in request.headers:
        tags = request.if_match
        if not tags.star_tag and (
            mine.etag is None or not mine.strong or not tags.is_strong(mine.etag)
        ):
            return 412
    else:
        date = request.if_unmodified_since
        if date is not None and mine.modified is not None and mine.modified > date:
            return 412
    if "If-None-Match" in request.headers:
        tags = request.if_none_match
        is_current = tags.star_tag or (
            mine.etag is not None and tags.contains_weak(mine.etag)
        )
    else:
        date = request.if_modified_since
        is_current = (
            date is not None and mine.modified is not None and mine.modified <= date
        )
    return 304 if is_current else None


def _may_continue(request: Request, mine: Validators) -> bool:
    """Whether what the client has and what is here are one version (13.1.5)."""
    condition = request.headers.get("If-Range", "").strip()
    if not condition:
        return True
    if condition.startswith(('"', "W/")):
        return mine.strong and condition == f'"{mine.etag}"'
    # The date has to be the very one that we gave out.
    return (
        mine.settled
        and mine.modified is not None
        and condition == http_date(mine.modified)
    )


def _ranged(header: str, size: int) -> Part:
    unit, equals, spec = header.partition("=")
    whole = Part(200, 0, size)
    if unit.strip().lower() != "bytes" or not equals:
        return whole
    written = [_span(text) for text in spec.split(",")]
    spans = [span for span in written if span]
    if len(spans) < len(written):
        return whole  # what is no range at all may be ignored (14.2)
    found = [span.within(size) for span in spans]
    satisfiable = [(start, stop) for start, stop in found if start < stop]
    if not satisfiable:
        # The last bytes of an empty file exist, but no Content-Range can say so.
        return whole if size == 0 and any(map(_is_suffix, spans)) else Part(416)
    # Several ranges would be a multipart body; the whole file is allowed, and no
    # client gets more out of us than it holds.
    return Part(206, *satisfiable[0]) if len(found) == 1 else whole


def _span(text: str) -> Span | None:
    """One range; ``None`` if it is none."""
    match = _RANGE.match(text.strip(" \t"))
    first, last = map(_number, match.groups()) if match else (None, None)
    if first is None:
        return None if last is None else Span(None, last)
    return None if last is not None and last < first else Span(first, last)


def _number(digits: str) -> int | None:
    if not digits:
        return None
    return int(digits) if len(digits) <= 20 else _HUGE


def _is_suffix(span: Span) -> bool:
    """Whether a range asks for at least one byte from the end (14.1.2)."""
    return span.first is None and bool(span.last)
