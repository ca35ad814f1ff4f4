"""Links that the application signs: to one file, for one purpose, for some time."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
import time
import typing as t
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from flask import current_app
from itsdangerous import BadData
from itsdangerous import Signer
from itsdangerous import URLSafeSerializer

from ..exceptions import BadLink
from ..exceptions import NotConfiguredError

#: What a link is for. A signature for one is none for another.
READ = "read"
UPLOAD = "upload"
FORM = "form"
VARIANT = "variant"

#: What a signature covers of the query of a link.
SIGNED = ("expires", "download_as", "download_name")

#: The methods that read a file. A storage's own signature may be for one of them only.
Method: t.TypeAlias = t.Literal["GET", "HEAD"]

REFUSED = "This link is not valid, or no longer. Ask for a new one."


@dataclass(frozen=True)
class Period:
    """When a link is good.

    :param start: in UTC; never in the future.
    :param seconds: how long from then on.
    """

    start: dt.datetime
    seconds: int

    @property
    def end(self) -> int:
        """The last moment, in POSIX seconds."""
        return int(self.start.timestamp()) + self.seconds


def period(expires: float, now: float | None = None) -> Period:
    """A period of at least *expires* seconds, and at most a quarter more.

    It begins on a grid of a quarter of *expires*, so that the link to a file stays
    the same for a while and a browser need not load the file again.

    :param now: in POSIX seconds; by default the current time.
    :raises ValueError: if *expires* is less than a second.
    """
    check_seconds(expires)
    step = max(1, int(expires) // 4)
    moment = int(time.time() if now is None else now)
    start = dt.datetime.fromtimestamp(moment - moment % step, dt.UTC)
    return Period(start, int(expires) + step)


def check_seconds(expires: float) -> None:
    """Check for how long a link, or a form, is to be good.

    :raises ValueError: if it is no number of seconds, or less than one.
    """
    known = isinstance(expires, int | float) and math.isfinite(expires)
    if not known or expires < 1:
        raise ValueError(
            f"expires is {expires!r}; it must be a number of seconds, 1 at least."
        )


def query(
    store: str,
    key: str,
    end: int,
    download_as: str | None,
    download_name: str | None = None,
) -> str:
    """The query string of a link to read a file.

    :param store: what sets the store apart from the others of the application.
    :param end: the last moment, in POSIX seconds.
    :param download_as: the name under which a browser saves the file, whatever it is.
    :param download_name: the name alone.
    :raises NotConfiguredError: if the application has no SECRET_KEY.
    """
    names = {"download_as": download_as, "download_name": download_name}
    said = {"expires": str(end)}
    said |= {word: name for word, name in names.items() if name is not None}
    signer = Signer(_secrets(), _salt(READ, store), **_KIND)
    signature = signer.get_signature(_text(key, said))
    return urlencode({**said, "signature": signature.decode()})


def check(store: str, key: str, said: Mapping[str, str]) -> int:
    """Check the query of a link to read a file.

    :return: its last moment, in POSIX seconds.
    :raises BadLink: if it is missing, expired, or was made for anything else.
    """
    signature = said.get("signature", "")
    named = {name: said[name] for name in SIGNED if name in said}
    signer = Signer(_secrets(), _salt(READ, store), **_KIND)
    # The date is believed only after the signature.
    good = signature.isascii() and signer.verify_signature(_text(key, named), signature)
    if not good or int(named["expires"]) < time.time():
        raise BadLink(REFUSED, key)
    return int(named["expires"])


def signature(store: str, text: str, purpose: str) -> str:
    """A signature that does not expire.

    :param store: what sets the store apart from the others of the application.
    :raises NotConfiguredError: if the application has no SECRET_KEY.
    """
    signer = Signer(_secrets(), _salt(purpose, store), **_KIND)
    return signer.get_signature(text.encode()).decode()


def is_signed(store: str, text: str, purpose: str, said: str) -> bool:
    """Whether :func:`signature` has made a signature that somebody says."""
    signer = Signer(_secrets(), _salt(purpose, store), **_KIND)
    return said.isascii() and signer.verify_signature(text.encode(), said)


def make_token(store: str, claims: Mapping[str, t.Any], *purpose: str) -> str:
    """What may be uploaded, signed; ``expires`` is its last moment.

    :param purpose: what the token is for. By default it is a direct upload.
    """
    return _tokens(store, *purpose).dumps(dict(claims))


def read_token(store: str, token: str, *purpose: str) -> dict[str, t.Any]:
    """What :func:`make_token` was given.

    :param purpose: that of :func:`make_token`.
    :raises BadLink: if the token is expired, or was made for anything else.
    """
    # A view may pass on what a client has sent as JSON, whatever that is.
    if not isinstance(token, str) or not token.isascii():
        raise BadLink(REFUSED)
    try:
        claims = _tokens(store, *purpose).loads(token)
    except BadData:
        raise BadLink(REFUSED) from None
    if claims["expires"] < time.time():
        raise BadLink(REFUSED, claims["key"])
    return t.cast("dict[str, t.Any]", claims)


# itsdangerous signs with SHA-1 by default, for old signatures' sake.
_KIND: dict[str, t.Any] = {"key_derivation": "hmac", "digest_method": hashlib.sha256}


def _tokens(store: str, *purpose: str) -> URLSafeSerializer:
    keys = _secrets()
    # Applications that share a key, and a store, may trust their clients differently.
    salt = _salt(*(purpose or (UPLOAD,)), store, current_app.name)
    return URLSafeSerializer(keys, salt=salt, signer_kwargs=_KIND)


def _salt(*purpose: str) -> bytes:
    return json.dumps(["flask-store", *purpose]).encode()


def _text(key: str, said: Mapping[str, str]) -> bytes:
    return json.dumps([key, said], sort_keys=True).encode()


def can_sign() -> bool:
    """Whether the application has a key, so that somebody may have a link of it."""
    return bool(current_app and current_app.config.get("SECRET_KEY"))


def _secrets() -> list[str]:
    """The application's keys, the one that signs at the end, as itsdangerous has it.

    :raises NotConfiguredError: if there are none.
    """
    if not can_sign():
        raise NotConfiguredError(
            "A signed link needs the application's SECRET_KEY, and"
            f" {'it is not set' if current_app else 'there is no application'}. Set"
            " SECRET_KEY to a long random value, and make links in a view or in 'with"
            " app.app_context():'."
        )
    config = current_app.config
    return [*reversed(config.get("SECRET_KEY_FALLBACKS") or ()), config["SECRET_KEY"]]
