"""AWS Signature Version 4, as links, forms and headers carry it. Pure.

Links and forms are signed by :mod:`botocore.auth`, with a moment of our own: botocore
takes the current second, so that no two links to a file are the same and no browser
finds in its cache what it has loaded already. Headers are signed here, for every
request has some: botocore needs 60 us for them, and this needs 10, where a save on
loopback takes 1 ms. The algorithm is that of the Amazon S3 API Reference,
"Authenticating Requests: Using the Authorization Header".
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import hmac
import typing as t
from collections.abc import Mapping
from collections.abc import Sequence
from urllib.parse import urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"
#: In place of the digest of a body that is not signed.
UNSIGNED = "UNSIGNED-PAYLOAD"
#: The port that a client leaves out of the header Host (RFC 9110, section 7.2).
DEFAULT_PORTS = {"http": ":80", "https": ":443"}


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
    service: str = "s3",
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> str:
    """A link to read an object, or for another request about it.

    :param url: the object's address, percent-encoded once.
    :param start: when the link begins to be good, in UTC.
    :param seconds: how long from then on.
    :param parameters: further ones, such as ``response-content-disposition``.
    :param method: the only one that the link is good for.
    :param headers: those that the request has to have.
    """
    from botocore.auth import S3SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.utils import percent_encode_sequence

    auth = S3SigV4QueryAuth(keys, service, region, seconds)
    request = AWSRequest(method, url, headers)
    request.context["timestamp"] = _stamp(start)
    query = {
        **(parameters or {}),
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": auth.scope(request),
        "X-Amz-Date": request.context["timestamp"],
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": auth.signed_headers(auth.headers_to_sign(request)),
    }
    if keys.token:
        query["X-Amz-Security-Token"] = keys.token
    request.url = f"{url}?{percent_encode_sequence(sorted(query.items()))}"
    text = auth.string_to_sign(request, auth.canonical_request(request))
    return f"{request.url}&X-Amz-Signature={auth.signature(text, request)}"


def form(
    fields: Mapping[str, str],
    conditions: Sequence[t.Any],
    keys: Keys,
    region: str,
    until: dt.datetime,
    service: str = "s3",
) -> dict[str, str]:
    """The fields of a form that may POST one object.

    :param fields: what the form has to carry as it is, such as the key.
    :param conditions: further ones of the policy, such as the size.
    :param until: when the form is no longer taken, in UTC.
    """
    from botocore.auth import S3SigV4PostAuth
    from botocore.awsrequest import AWSRequest

    request = AWSRequest("POST")
    signed = request.context["s3-presign-post-fields"] = dict(fields)
    request.context["s3-presign-post-policy"] = {
        "expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "conditions": [*({name: value} for name, value in fields.items()), *conditions],
    }
    S3SigV4PostAuth(keys, service, region).add_auth(request)
    return signed


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
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    host = parts.netloc.lower().removesuffix(DEFAULT_PORTS[parts.scheme])
    headers = {**said, "Host": host, "x-amz-date": stamp}
    headers["x-amz-content-sha256"] = digest
    if keys.token:
        headers["x-amz-security-token"] = keys.token
    # Spaces inside a value count once (the same page, "Task 1").
    signed = {name.lower(): " ".join(headers[name].split()) for name in headers}
    names = ";".join(sorted(signed))
    each = [f"{name}:{signed[name]}" for name in sorted(signed)]
    lines = [method, parts.path, "", *each, "", names, digest]
    hashed = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    text = f"{ALGORITHM}\n{stamp}\n{scope}\n{hashed}"
    key = _key(keys.secret_key, scope)
    headers["Authorization"] = (
        f"{ALGORITHM} Credential={keys.access_key}/{scope}, SignedHeaders={names},"
        f" Signature={hmac.digest(key, text.encode(), 'sha256').hex()}"
    )
    return headers


@functools.lru_cache(maxsize=16)
def _key(secret: str, scope: str) -> bytes:
    """The signing key, which is good for a day."""
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _stamp(moment: dt.datetime) -> str:
    return f"{moment:%Y%m%dT%H%M%SZ}"
