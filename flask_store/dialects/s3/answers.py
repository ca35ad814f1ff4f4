"""Whether an answer is S3's own, and what it says. Pure.

Something in between may answer in its place: a login page with 200, a proxy with an
empty body. S3 gives every object an ETag, and every listing a mark whether it is whole.
"""

from __future__ import annotations

import re
import typing as t
from collections.abc import Mapping

from .. import extents
from ..errors import NoAnswer
from ..records import Span

#: What tells that an ETag is not the MD5 of the content (Amazon S3 API Reference,
#: "Object"): by botocore's name, with the values that do no harm.
ENCRYPTED = {"ServerSideEncryption": (None, "AES256"), "SSECustomerAlgorithm": (None,)}
_MD5 = re.compile(r"[0-9a-f]{32}\Z")


def extent(
    status: int, headers: Mapping[str, str], span: Span | None
) -> extents.Extent:
    """Which bytes of an object an answer to GET has; see
    :func:`flask_store.dialects.extents.extent`.

    :raises NoAnswer: if it cannot be trusted to be S3's answer to that.
    """
    refuse_foreign(headers)
    return extents.extent(status, headers, span)


def size_of(headers: Mapping[str, str]) -> int:
    """The size of an object, as the answer to HEAD gives it.

    :raises NoAnswer: if it cannot be trusted to be S3's answer to that.
    """
    refuse_foreign(headers)
    return extents.size_of(headers)


def refuse_foreign(headers: Mapping[str, str]) -> None:
    """:raises NoAnswer: if an answer about an object cannot be S3's."""
    if not headers.get("ETag"):
        raise NoAnswer("it has no ETag, as every answer of S3 about a file has")


def is_stored(headers: Mapping[str, str]) -> bool:
    """Whether an answer with 200 to PUT is S3's own: it has an ETag and no body."""
    length = (headers.get("Content-Length") or "0").strip()
    return bool(headers.get("ETag")) and length == "0"


def headers_of(reply: Mapping[str, t.Any]) -> dict[str, str]:
    """The headers of an answer as HTTP calls them, from what botocore makes of it."""
    said = reply["ResponseMetadata"]["HTTPHeaders"]
    names = ("Content-Encoding", "Content-Length", "Content-Range", "ETag")
    return {name: said[name.lower()] for name in names if name.lower() in said}


def checksum(reply: Mapping[str, t.Any]) -> str | None:
    """The MD5 of an object, if its ETag is that for sure.

    :param reply: the headers of an answer about the object, by botocore's names.
    """
    etag = (reply.get("ETag") or "").strip('"').lower()
    plain = all(reply.get(name) in known for name, known in ENCRYPTED.items())
    return f"md5:{etag}" if plain and _MD5.match(etag) else None


class Page(t.NamedTuple):
    """A part of a listing.

    :param objects: by botocore's names, each with Key and Size.
    :param more: the token for the next part, if there is one.
    """

    objects: list[Mapping[str, t.Any]]
    more: str | None


def page(reply: Mapping[str, t.Any], asked: Mapping[str, str]) -> Page:
    """What an answer to ListObjectsV2 lists.

    botocore makes a listing of nothing from an empty body, and from every page that
    happens to be XML.

    :param asked: the parameters of the request.
    :raises NoAnswer: if it is no listing, or not the one that was asked for.
    """
    more = None
    if "IsTruncated" not in reply:
        raise NoAnswer("it is no listing: nothing in it says whether it is whole")
    if reply["IsTruncated"]:
        more = reply.get("NextContinuationToken")
        if not more or more == asked.get("ContinuationToken"):
            raise NoAnswer("the listing goes on, and does not say where")
    objects = list(reply.get("Contents") or ())
    for found in objects:
        if not str(found.get("Key", "")).startswith(asked["Prefix"]):
            raise NoAnswer(
                f"it lists {found.get('Key')!r}, which is not below {asked['Prefix']!r}"
            )
        if found.get("Size") is None:
            raise NoAnswer(f"the listing gives {found['Key']!r} no size")
    return Page(objects, more)
