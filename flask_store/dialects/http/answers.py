"""What all responses over HTTP have in common. Pure."""

from __future__ import annotations

import datetime as dt
import re
from contextlib import suppress
from email.utils import parsedate_to_datetime

from ..records import utc

#: The most bytes that the list of a folder may have, which is about 200,000 files.
LIST_LIMIT = 128 * 1024 * 1024

#: An entity tag (RFC 9110, section 8.8.3). Some servers forget the quotes.
_TAG = re.compile(r'"?([\x21\x23-\x7e]+)"?\Z')


class Refused(Exception):
    """A response with an error status.

    :param status: of HTTP.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"the status is {status}")
        self.status = status


def strong(tag: str | None) -> str | None:
    """An entity tag without its quotes; ``None`` if it is weak.

    A weak one may stay the same when the bytes change (RFC 9110, section 8.8.1).
    """
    match = _TAG.match((tag or "").strip())
    return match[1] if match and not match[1].startswith("W/") else None


def date_of(text: str | None) -> dt.datetime | None:
    """A date of HTTP (RFC 9110, section 5.6.7), or ``None`` if it is not one."""
    with suppress(ValueError, TypeError, OverflowError):
        return utc(parsedate_to_datetime(text or ""))
    return None
