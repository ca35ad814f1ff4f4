"""AWS Signature Version 4, as links, forms and headers carry it. Pure.

botocore signs too, but with the current second, so that no two links to a file are
the same and no browser finds in its cache what it has loaded already. The algorithm is
that of the Amazon S3 API Reference: "Authenticating Requests: Using Query Parameters",
"Using the Authorization Header" and "Browser-Based Uploads Using POST".
"""

from __future__ import annotations

import base64
import datetime as dt
import functools
import hashlib
import hmac
import json
import typing as t
from collections.abc import Mapping
from collections.abc import Sequence
from urllib.parse import quote
from urllib.parse import urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"
#: The longest that Amazon lets a signature live: seven days, in seconds.
LONGEST = 7 * 24 * 3600
#: In place of the digest of a body that is not signed.
UNSIGNED = "UNSIGNED-PAYLOAD"


class Keys(t.NamedTuple):
    """An access key, its secret and, for temporary ones, the session's token."""

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return "<Keys>"


def link(
    url: str,
    keys: Keys,
    region: str,
    start: dt.datetime,
    seconds: int,
    parameters: Mapping[str, str] | None = None,
) -> str:
    """A link to GET an object.

    :param url: the object's address, percent-encoded once.
    :param start: when the link begins to be good, in UTC.
    :param seconds: how long from then on.
    :param parameters: further ones, such as ``response-content-disposition``.
    """
    parts, stamp = urlsplit(url), _stamp(start)
    said = {
        **(parameters or {}),
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{keys.access_key}/{_scope(stamp, region)}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": "host",
    }
    if keys.token:
        said["X-Amz-Security-Token"] = keys.token
    query = "&".join(
        f"{name}={value}"
        for name, value in sorted((_quoted(n), _quoted(v)) for n, v in said.items())
    )
    lines = ["GET", parts.path, query, f"host:{parts.netloc}", "", "host", UNSIGNED]
    signature = _signature(keys, stamp, region, _text(lines, stamp, region))
    return f"{url}?{query}&X-Amz-Signature={signature}"


def headers(
    method: str,
    url: str,
    keys: Keys,
    region: str,
    said: Mapping[str, str],
    digest: str,
) -> dict[str, str]:
    """The headers of a request, signed as of now.

    :param url: the object's address, percent-encoded once, without a query.
    :param said: the headers of the request, such as ``Content-Type``.
    :param digest: the SHA-256 of the body in hexadecimal, or :data:`UNSIGNED`.
    """
    parts, stamp = urlsplit(url), _stamp(dt.datetime.now(dt.UTC))
    found = {**said, "Host": parts.netloc, "x-amz-date": stamp}
    found["x-amz-content-sha256"] = digest
    if keys.token:
        found["x-amz-security-token"] = keys.token
    signed = {name.lower(): value.strip() for name, value in found.items()}
    names = ";".join(sorted(signed))
    each = [f"{name}:{signed[name]}" for name in sorted(signed)]
    lines = [method, parts.path, "", *each, "", names, digest]
    signature = _signature(keys, stamp, region, _text(lines, stamp, region))
    found["Authorization"] = (
        f"{ALGORITHM} Credential={keys.access_key}/{_scope(stamp, region)},"
        f" SignedHeaders={names}, Signature={signature}"
    )
    return found


def form(
    fields: Mapping[str, str],
    conditions: Sequence[t.Any],
    keys: Keys,
    region: str,
    now: dt.datetime,
    until: dt.datetime,
) -> dict[str, str]:
    """The fields of a form that may POST one object.

    :param fields: what the form has to carry as it is, such as the key.
    :param conditions: further ones of the policy, such as the size.
    :param until: when the form is no longer taken, in UTC.
    """
    stamp = _stamp(now)
    said = {
        **fields,
        "x-amz-algorithm": ALGORITHM,
        "x-amz-credential": f"{keys.access_key}/{_scope(stamp, region)}",
        "x-amz-date": stamp,
    }
    if keys.token:
        said["x-amz-security-token"] = keys.token
    policy = {
        "expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "conditions": [*({name: value} for name, value in said.items()), *conditions],
    }
    text = base64.b64encode(json.dumps(policy).encode()).decode()
    signature = _signature(keys, stamp, region, text)
    return {**said, "policy": text, "x-amz-signature": signature}


def _text(lines: Sequence[str], stamp: str, region: str) -> str:
    """The string to sign of a canonical request."""
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return f"{ALGORITHM}\n{stamp}\n{_scope(stamp, region)}\n{digest}"


def _signature(keys: Keys, stamp: str, region: str, text: str) -> str:
    key = _key(keys.secret_key, _scope(stamp, region))
    return hmac.digest(key, text.encode(), "sha256").hex()


@functools.lru_cache(maxsize=16)
def _key(secret: str, scope: str) -> bytes:
    """The signing key, which is good for a day."""
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _scope(stamp: str, region: str) -> str:
    return f"{stamp[:8]}/{region}/s3/aws4_request"


def _stamp(moment: dt.datetime) -> str:
    return f"{moment:%Y%m%dT%H%M%SZ}"


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")
