"""What answers over HTTP have in common, whoever gives them. Pure."""

from __future__ import annotations

import datetime as dt
import re
from contextlib import suppress
from email.utils import parsedate_to_datetime

from ... import naming
from ...exceptions import StoreDenied
from ...exceptions import StoreError
from ...exceptions import StoreFull
from ...exceptions import StoreUnavailable
from ..records import utc

#: Statuses below 500 that ask to try again later (RFC 9110, section 15.5.9, and RFC
#: 6585, section 4).
BUSY = (408, 429)
#: How many bytes the list of a folder may have; that is about 200,000 files.
LIST_LIMIT = 128 * 1024 * 1024

#: An entity tag (RFC 9110, section 8.8.3). Some servers forget the quotes.
_TAG = re.compile(r'"?([\x21\x23-\x7e]+)"?\Z')


class Refused(Exception):
    """An answer that says no.

    :param status: of HTTP.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"the status is {status}")
        self.status = status


def refusal(status: int, key: str | None, server: str, settings: str) -> StoreError:
    """The error for a status of 400 and more.

    :param server: as a sentence calls it.
    :param settings: which settings to look at.
    """
    if status in (401, 403):
        return StoreDenied(
            f"The {server} refuses {naming.quoted(key)} ({status}). Check the user and"
            f" password in {settings}, and the permissions.",
            key,
        )
    if status == 423:  # RFC 4918, section 11.3
        return StoreUnavailable(
            f"Another client of the {server} has locked {naming.quoted(key)}. Try"
            " again when it has finished.",
            key,
        )
    if status == 507:  # RFC 4918, section 11.5
        return StoreFull("The storage is full. Nothing was stored.", key)
    kind = StoreUnavailable if status >= 500 or status in BUSY else StoreError
    return kind(
        f"The {server} answers {naming.quoted(key)} with {status}. Check that"
        " STORE_PATH is the address of a folder that it serves; its log tells more.",
        key,
    )


def strong(tag: str | None) -> str | None:
    """An entity tag without its quotes; ``None`` if it is weak.

    A weak one stays as it is when the bytes change a little (RFC 9110, section 8.8.1).
    """
    match = _TAG.match((tag or "").strip())
    return match[1] if match and not match[1].startswith("W/") else None


def date_of(text: str | None) -> dt.datetime | None:
    """A date of HTTP (RFC 9110, section 5.6.7), if it is one."""
    with suppress(ValueError, TypeError, OverflowError):
        return utc(parsedate_to_datetime(text or ""))
    return None
