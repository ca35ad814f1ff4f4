"""The names of all settings."""

from __future__ import annotations

import difflib
import typing as t
from collections.abc import Mapping

from .exceptions import NotConfiguredError
from .secrecy import has_login

#: Every ``STORE_S3_`` key there is; another one is an error, so that a slip in a
#: security setting does not pass in silence.
S3_KEYS = frozenset(
    f"STORE_S3_{name}"
    for name in (
        "ACCESS_KEY",
        "ACL",
        "ADDRESSING_STYLE",
        "BUCKET",
        "CONDITIONAL_WRITES",
        "ENDPOINT_URL",
        "OPTIONS",
        "PUBLIC_ENDPOINT_URL",
        "REGION",
        "SECRET_KEY",
        "SESSION_TOKEN",
    )
)

#: Every setting; another ``STORE_`` key is a warning if it looks like one of these.
KEYS = S3_KEYS | {
    "STORE_BACKGROUND",
    "STORE_CACHE_CONTROL",
    "STORE_DOMAIN",
    "STORE_FSYNC",
    "STORE_INLINE_TYPES",
    "STORE_OPTIONS",
    "STORE_PATH",
    "STORE_PROVIDER",
    "STORE_SERVE",
    "STORE_SIGNED_URLS",
    "STORE_SPOOL_DRAIN",
    "STORE_SPOOL_PATH",
    "STORE_SPOOL_QUOTA",
    "STORE_SPOOL_UPLOADS",
    "STORE_STREAM_UPLOADS",
    "STORE_URL_EXPIRES",
    "STORE_URL_PREFIX",
    "STORE_X_ACCEL_REDIRECT",
}


def refuse_unknown(config: Mapping[str, t.Any]) -> None:
    """:raises NotConfiguredError: naming the nearest key there is."""
    for name in config:
        if name.startswith("STORE_S3_") and name not in S3_KEYS:
            near = difflib.get_close_matches(name, S3_KEYS, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise NotConfiguredError(f"There is no setting {name}.{hint}")


def refuse_login(setting: str, address: object, instead: str) -> None:
    """Refuse an address that is shown in links and messages, if it has a login.

    :param instead: where the login belongs.
    :raises NotConfiguredError: if it names a user or a password.
    """
    if isinstance(address, str) and has_login(address):
        raise NotConfiguredError(
            f"{setting} has a user or a password in it, and links and messages would"
            f" show it. Write 'https://host' alone. {instead}"
        )
