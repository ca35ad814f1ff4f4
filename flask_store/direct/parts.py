"""Which requests of a browser to the storage the application signs.

A client that sends an upload in parts, straight to the storage, asks for a signature
for every request. What is signed concerns the private file of the token, and nothing
else. A signature cannot limit the length of a part. So the parts are counted before the
request is signed that joins them, and :func:`flask_store.direct.confirm` looks at the
size once more.
"""

from __future__ import annotations

import time
import typing as t
from collections.abc import Mapping
from dataclasses import dataclass

from ..exceptions import BadLink
from ..exceptions import ClientError
from ..exceptions import TooLarge
from ..http import links
from . import check_unused
from . import too_large

if t.TYPE_CHECKING:
    from ..dialects.claims import Claim
    from ..dialects.parts import Parts
    from ..files import FileStore

#: How long a signature is good at most, in seconds. It never outlives its token.
EXPIRES = 3600

Action: t.TypeAlias = t.Literal["form", "create", "part", "list", "complete", "abort"]

#: What a client may say of a request, and as what.
TYPES: dict[str, tuple[type, ...]] = {
    "method": (str,),
    "key": (str, type(None)),
    "uploadId": (str, type(None)),
    "partNumber": (int, type(None)),
}
#: What is signed: the method, whether an upload is named, and whether a part is.
ACTIONS: dict[tuple[str, bool, bool], Action] = {
    ("PUT", False, False): "form",
    ("POST", False, False): "create",
    ("PUT", True, True): "part",
    ("GET", True, False): "list",
    ("POST", True, False): "complete",
    ("DELETE", True, False): "abort",
}
#: The uploads that this process knows to belong to their tokens: the id of the token,
#: and that of the upload. When there are too many, all are forgotten, and found again.
_known: set[tuple[str, str]] = set()
_MOST_KNOWN = 10_000

NO_PARTS = "This upload cannot be sent in parts. 'parts' of presign_upload() is null."
FOREIGN = "This token has no such upload, or the upload has ended. Create another one."
OTHER_KEY = "This token is good for one key, and the request names another one."
NOT_SIGNED = (
    "Such a request is never signed. A token is good to create (POST), list (GET),"
    " complete (POST) and abort (DELETE) a multipart upload, for its parts (PUT), and"
    " for a file as a whole (PUT)."
)
MALFORMED = (
    "Send a JSON object with 'method' and, where they apply, 'key' and 'uploadId' as"
    " text and 'partNumber' as an integer."
)
TOO_MANY = (
    "There is no part {}. A file of at most {} bytes has the parts 1 to {}, each of"
    " {} bytes or more but the last one."
)


@dataclass(frozen=True)
class Request:
    """A request that a client wants to send to the storage.

    :param action: what it does.
    :param method: of HTTP.
    :param upload_id: the multipart upload that it is about.
    :param number: the part that it stores.
    """

    action: Action
    method: str
    upload_id: str | None = None
    number: int | None = None

    @classmethod
    def read(cls, said: object, key: str) -> t.Self:
        """What a client sends as JSON, as Uppy's ``signRequest`` has it.

        :param key: of the token. The request need not name it.
        :raises ClientError: if it is no such JSON.
        :raises BadLink: if it is about another key, or no request of an upload.
        """
        given = said if isinstance(said, Mapping) else {}
        found: dict[str, t.Any] = {name: given.get(name) for name in TYPES}
        if any(type(found[name]) not in types for name, types in TYPES.items()):
            raise ClientError(MALFORMED, key)
        if found["key"] not in (None, key):
            raise BadLink(OTHER_KEY, key)
        method, upload_id = found["method"], found["uploadId"]
        number = found["partNumber"]
        action = ACTIONS.get((method, upload_id is not None, number is not None))
        if action is None:
            raise BadLink(NOT_SIGNED, key)
        return cls(action, method, upload_id, number)


def sign(store: FileStore, claim: Claim, said: object) -> dict[str, t.Any]:
    """Sign one request of a client to the storage.

    :param said: what the client sends as JSON: ``method`` and, where they apply,
        ``key``, ``uploadId`` and ``partNumber``.
    :return: ``url`` and the ``headers`` that the request has to have. A file that is
        sent as a whole gets the ``url`` and the ``fields`` of a form in place of that:
        the storage limits what a form sends.
    :raises BadLink: if nobody may send it with this token.
    :raises TooLarge: if the upload is larger than agreed. Then it is aborted.
    :raises ClientError: if it is not understood.
    """
    if not claim.parts or not store.dialect.takes_parts:
        raise BadLink(NO_PARTS, claim.key)
    request = Request.read(said, claim.key)
    seconds = min(EXPIRES, claim.expires - int(time.time()))
    if seconds < 1:
        raise BadLink(links.REFUSED, claim.key)
    check_unused(store, claim)
    with store.dialect.explained(claim.key):
        if request.action == "form":
            form = store.dialect.upload_form(claim)
            assert form is not None  # as the one that the token came with
            return {"url": form[0], "fields": form[1]}
        parts = store.dialect.parts(claim)
        if request.upload_id is not None:
            _check_upload(parts, claim, request.upload_id)
            if request.action == "complete":
                _check_size(parts, claim, request.upload_id)
        if request.number is not None:
            _check_number(parts, claim, request.number)
        url, headers = parts.sign(
            request.method, seconds, request.upload_id, request.number
        )
    return {"url": url, "headers": headers}


def _check_upload(parts: Parts, claim: Claim, upload_id: str) -> None:
    """:raises BadLink: if a multipart upload is not one of the token's file."""
    if (claim.id, upload_id) in _known:
        return
    begun = parts.begun()
    if upload_id not in begun:
        raise BadLink(FOREIGN, claim.key)
    # The address that creates an upload is good for many, and each takes space.
    for other in begun:
        if other != upload_id:
            parts.abort(other)
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    _known.add((claim.id, upload_id))


def _check_number(parts: Parts, claim: Claim, number: int) -> None:
    """:raises TooLarge: if so large a file may not be sent."""
    most = min(parts.most, -(-claim.max_size // parts.least))
    if not 1 <= number <= most:
        raise TooLarge(
            TOO_MANY.format(number, claim.max_size, most, parts.least), claim.key
        )


def _check_size(parts: Parts, claim: Claim, upload_id: str) -> None:
    """:raises TooLarge: if the parts are larger than agreed. They are removed."""
    if parts.size(upload_id) > claim.max_size:
        parts.abort(upload_id)
        _known.discard((claim.id, upload_id))
        raise too_large(claim)
