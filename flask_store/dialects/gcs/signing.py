"""Google's V4 signatures, as far as a link or a form carries them. Pure.

google-cloud-storage signs too, but with the current second, so that no two links to a
file are the same. The algorithm is that of the Cloud Storage documentation: "V4 signing
process with your own program", "Canonical requests" and "Policy document".
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import typing as t
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from urllib.parse import quote
from urllib.parse import urlsplit

ALGORITHM = "GOOG4-RSA-SHA256"


class Signer(t.NamedTuple):
    """A service account: its address, and what signs with its private key."""

    email: str
    sign: Callable[[bytes], bytes]


def link(
    url: str,
    signer: Signer,
    start: dt.datetime,
    seconds: int,
    parameters: Mapping[str, str],
) -> str:
    """A link to GET an object.

    :param url: the object's address, percent-encoded once.
    :param start: when the link begins to be good, in UTC.
    :param seconds: how long from then on.
    :param parameters: further ones, such as ``response-content-disposition``.
    """
    parts = urlsplit(url)
    said = {
        **parameters,
        "X-Goog-Algorithm": ALGORITHM,
        "X-Goog-Credential": f"{signer.email}/{_scope(start)}",
        "X-Goog-Date": _stamp(start),
        "X-Goog-Expires": str(seconds),
        "X-Goog-SignedHeaders": "host",
    }
    query = "&".join(
        f"{name}={value}"
        for name, value in sorted((_quoted(n), _quoted(v)) for n, v in said.items())
    )
    lines = ["GET", parts.path, query, f"host:{parts.netloc}", "", "host"]
    request = "\n".join([*lines, "UNSIGNED-PAYLOAD"])
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"{ALGORITHM}\n{_stamp(start)}\n{_scope(start)}\n{digest}"
    return f"{url}?{query}&X-Goog-Signature={signer.sign(text.encode()).hex()}"


def form(
    fields: Mapping[str, str],
    conditions: Sequence[t.Any],
    signer: Signer,
    now: dt.datetime,
    until: dt.datetime,
) -> dict[str, str]:
    """The fields of a form that may POST one object.

    :param fields: what the form has to carry as it is, such as the key.
    :param conditions: further ones of the policy, such as the size.
    :param until: when the form is no longer taken, in UTC.
    """
    said = {
        **fields,
        "x-goog-algorithm": ALGORITHM,
        "x-goog-credential": f"{signer.email}/{_scope(now)}",
        "x-goog-date": _stamp(now),
    }
    policy = {
        "expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "conditions": [*({name: value} for name, value in said.items()), *conditions],
    }
    text = base64.b64encode(json.dumps(policy).encode()).decode()
    signature = signer.sign(text.encode()).hex()
    return {**said, "policy": text, "x-goog-signature": signature}


def _scope(moment: dt.datetime) -> str:
    return f"{moment:%Y%m%d}/auto/storage/goog4_request"


def _stamp(moment: dt.datetime) -> str:
    return f"{moment:%Y%m%dT%H%M%SZ}"


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")
