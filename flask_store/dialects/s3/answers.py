"""Whether an answer is S3's own, and what it says. Pure.

Something in between may answer in its place: a login page with 200, a proxy with an
empty body. S3 gives every object an ETag, and every listing a mark whether it is whole.
"""

from __future__ import annotations

import re
import typing as t
from collections.abc import Generator
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import MutableMapping

from ...uploads.properties import Properties
from .. import extents
from ..bodies import Span
from ..errors import NoAnswer
from ..objects import TOKEN

#: What the headers of an object's own metadata begin with.
META = "x-amz-meta-"
#: The headers that :func:`properties` are made of. Most objects have none.
KEPT = re.compile(
    rf"cache-control|content-(encoding|disposition|language)|{META}(?!{TOKEN}\Z)", re.I
)
#: With so many bytes an answer may begin; a smaller object is there as a whole.
FIRST = 64 * 1024
#: What tells that an ETag is not the MD5 of the content (Amazon S3 API Reference,
#: "Object"): the header, with the values that do no harm.
ENCRYPTED = {
    "x-amz-server-side-encryption": (None, "AES256"),
    "x-amz-server-side-encryption-customer-algorithm": (None,),
}
_MD5 = re.compile(r"[0-9a-f]{32}\Z")

#: The headers of an answer, which may be asked for in any case.
Headers: t.TypeAlias = MutableMapping[str, str]


class Answer(t.NamedTuple):
    """What S3 answers about an object, and its bytes.

    :param headers: of the answer.
    :param sent: which bytes of the object it has, or would have.
    :param body: these bytes, of which the first are here; nothing of a HEAD.
    """

    headers: Headers
    sent: extents.Extent
    body: Generator[bytes] | Iterator[bytes]


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


def headers_of(reply: Mapping[str, t.Any]) -> Headers:
    """The headers of an answer, from what botocore makes of it."""
    from urllib3 import HTTPHeaderDict

    return HTTPHeaderDict(reply["ResponseMetadata"]["HTTPHeaders"])


def properties(headers: Mapping[str, str]) -> Properties:
    """What S3 keeps beside an object.

    :param headers: of an answer about the object.
    """
    low = {name.lower(): value for name, value in headers.items()}
    metadata = [
        (name.removeprefix(META), value)
        for name, value in low.items()
        if name.startswith(META) and name != f"{META}{TOKEN}"
    ]
    return Properties.stored(
        {name.replace("-", "_"): value for name, value in low.items()}, metadata
    )


def checksum(headers: Mapping[str, str]) -> str | None:
    """The MD5 of an object, if its ETag is that for sure.

    :param headers: of an answer about the object.
    """
    etag = (headers.get("ETag") or "").strip('"').lower()
    plain = all(headers.get(name) in known for name, known in ENCRYPTED.items())
    return f"md5:{etag}" if plain and _MD5.match(etag) else None


class Page(t.NamedTuple):
    """A part of a listing.

    :param objects: by botocore's names, each with Key and Size.
    :param more: the token for the next part, if there is one.
    :param folders: the common prefixes, if the request has a delimiter.
    """

    objects: list[Mapping[str, t.Any]]
    more: str | None
    folders: list[str]


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
    folders = [str(found["Prefix"]) for found in reply.get("CommonPrefixes") or ()]
    start, delimiter = asked["Prefix"], asked.get("Delimiter")
    for name in [*(str(found.get("Key", "")) for found in objects), *folders]:
        if not name.startswith(start):
            raise NoAnswer(f"it lists {name!r}, which is not below {start!r}")
        inner = name[len(start) :]
        if delimiter and delimiter in inner[:-1]:
            raise NoAnswer(f"it lists {name!r}, which is in a folder below {start!r}")
    for found in objects:
        if found.get("Size") is None:
            raise NoAnswer(f"the listing gives {found['Key']!r} no size")
    return Page(objects, more, folders)


def deletions(
    reply: Mapping[str, t.Any], names: Iterable[str]
) -> dict[str, Mapping[str, t.Any] | None]:
    """What came of each object that DeleteObjects was to delete: the error, with Code
    and Message, if it is still there. S3 does not tell whether it was there before.

    :param names: the objects of the request.
    :raises NoAnswer: if the answer is about other objects, or not about all of them.
    """
    outcomes: dict[str, Mapping[str, t.Any] | None] = {
        found["Key"]: None for found in reply.get("Deleted") or ()
    }
    outcomes |= {found.get("Key"): found for found in reply.get("Errors") or ()}
    if outcomes.keys() != set(names):
        raise NoAnswer("it does not tell of each file whether it is deleted")
    return outcomes
