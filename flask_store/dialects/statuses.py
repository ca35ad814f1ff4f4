"""What the status of an HTTP response means for a store, in any protocol. Pure."""

from __future__ import annotations

from .. import naming
from ..exceptions import FileNotFound
from ..exceptions import StoreDenied
from ..exceptions import StoreError
from ..exceptions import StoreFull
from ..exceptions import StoreUnavailable

#: The file is not there (RFC 9110, sections 15.5.5 and 15.5.11).
MISSING = (404, 410)
#: The credentials or the rights do not suffice (RFC 9110, sections 15.5.2, 15.5.4 and
#: 15.5.8).
DENIED = (401, 403, 407)
#: There is no space left (RFC 4918, section 11.5).
FULL = 507
#: Statuses that may be gone with the very next request. Clients try it once more.
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
#: Statuses below 500 for what passes: the server waited for too long, somebody else is
#: at work on the file or has locked it, or there are too many requests (RFC 9110,
#: sections 15.5.9 and 15.5.10; RFC 4918, section 11.3; RFC 8470, section 5.2; RFC
#: 6585, section 4).
BUSY = (408, 409, 423, 425, 429)
#: Statuses of a request that the server does not understand, or that this user may not
#: make. What it is for may be done in another way (RFC 9110, sections 15.5.1, 15.5.4,
#: 15.5.6 and 15.6.2).
UNABLE = (400, 403, 405, 501)
#: Of these, what a server answers to every such request.
UNKNOWN = (405, 501)
#: Statuses above 500 for what does not pass (RFC 9110, sections 15.6.2 and 15.6.6).
NEVER = (501, 505)


def error_class(status: int) -> type[StoreError]:
    """The class of the error for a response with this status.

    A status below 400 stands for a response that no storage gives in that place.
    """
    if status in MISSING:
        return FileNotFound
    if status in DENIED:
        return StoreDenied
    if status == FULL:
        return StoreFull
    passes = status >= 500 and status not in NEVER
    return StoreUnavailable if passes or status in BUSY or status < 400 else StoreError


def refusal(
    status: int, key: str | None, server: str, settings: str, reason: str = ""
) -> StoreError:
    """The error for a response that refuses a request.

    :param status: of 400 and more.
    :param server: its name in a sentence.
    :param settings: the settings that the message names.
    :param reason: what the server says, if it says anything.
    """
    name, error = naming.quoted(key), error_class(status)
    cause = f"{status}, {reason}" if reason else str(status)
    if error is StoreDenied:
        message = (
            f"The {server} refuses {name} ({cause}). Check the permissions, and the"
            f" user and password, key or token: {settings}."
        )
    elif error is StoreFull:
        message = "The storage is full. Nothing was stored."
    elif status == 423:
        message = (
            f"Another client of the {server} has locked {name}. Try again when it has"
            " finished."
        )
    elif error is StoreUnavailable:
        message = (
            f"The {server} cannot answer for {name} now ({cause}). Try again later; if"
            f" it goes on, check the server and its log, and {settings}."
        )
    elif status in MISSING:
        return no_place(key, f"{server} ({cause})")
    elif status == 413:
        message = (
            f"{name} is too large for the {server}, or for a proxy in front of it"
            f" ({cause}). Raise its limit, such as client_max_body_size of nginx."
        )
    else:
        message = (
            f"The {server} refuses the request for {name} ({cause}). Check that"
            f" {settings} are right; the log of the server, and of a proxy in front of"
            " it, tells more."
        )
    return error(message, key)


def no_place(key: str | None, server: str) -> StoreError:
    """The error for a file that cannot be written, because its place is missing.

    :param server: its name in a sentence.
    """
    return StoreError(
        f"The {server} has no place for {naming.quoted(key)}. Check that STORE_PATH"
        " names a folder that is there; the log of the server tells more.",
        key,
    )
