"""Google's V4 signatures, as far as a link carries them. Pure.

google-cloud-storage signs too, but with the current second, so that no two links to a
file are the same. The algorithm is that of the Cloud Storage documentation: "V4 signing
process with your own program" and "Canonical requests".
"""

from __future__ import annotations

import datetime as dt
import hashlib
import typing as t
from collections.abc import Callable
from collections.abc import Mapping
from urllib.parse import quote
from urllib.parse import urlsplit

ALGORITHM = "GOOG4-RSA-SHA256"
#: The longest that Google lets a signature live: seven days, in seconds.
LONGEST = 7 * 24 * 3600


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
    stamp, scope = (
        f"{start:%Y%m%dT%H%M%SZ}",
        f"{start:%Y%m%d}/auto/storage/goog4_request",
    )
    said = {
        **parameters,
        "X-Goog-Algorithm": ALGORITHM,
        "X-Goog-Credential": f"{signer.email}/{scope}",
        "X-Goog-Date": stamp,
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
    signature = signer.sign(f"{ALGORITHM}\n{stamp}\n{scope}\n{digest}".encode()).hex()
    return f"{url}?{query}&X-Goog-Signature={signature}"


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")
