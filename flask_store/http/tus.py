"""HTTP: the protocol tus 1.0.0 for uploads that can be resumed.

https://tus.io/protocols/resumable-upload, with the extensions *creation*,
*creation-with-upload*, *expiration*, *termination* and *checksum*.

The token in the address says which file may be uploaded. The address is the same for
the creation and for the upload: one token is for one upload.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import tempfile
import typing as t
import zlib
from collections.abc import Iterator
from functools import partial

from flask import after_this_request
from flask import request
from flask import Response
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.http import http_date
from werkzeug.wrappers import Response as AnyResponse
from werkzeug.wsgi import get_input_stream

from .. import direct
from ..direct import resumable
from ..exceptions import BadLink
from ..exceptions import ClientError
from ..exceptions import StoreError
from ..exceptions import WrongChecksum
from ..exceptions import WrongType
from ..uploads.multipart import check_length
from . import refusals
from .links import REFUSED

if t.TYPE_CHECKING:
    from ..dialects.claims import Claim
    from ..direct.resumable import Progress
    from ..stores.fsspec import FsspecStore

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,termination,checksum"
#: The type of the body of a request that has bytes of the file.
BYTES = "application/offset+octet-stream"
METHODS = ("OPTIONS", "POST", "HEAD", "PATCH", "DELETE")
#: How many bytes are read at a time. A process that is killed loses as many on disk.
READ_SIZE = 64 * 1024
#: How many bytes with a checksum are kept in memory, until it is compared.
IN_MEMORY = 1024 * 1024


class Crc32:
    """CRC-32, as hashlib has its digests."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes) -> None:
        """Take further bytes."""
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        """The sum, its most significant byte first."""
        return self._value.to_bytes(4, "big")


ALGORITHMS: t.Final[dict[str, t.Callable[[], t.Any]]] = {
    "sha1": partial(hashlib.sha1, usedforsecurity=False),
    "sha256": hashlib.sha256,
    "crc32": Crc32,
}


class BadRequest(ClientError):
    """A request that tus does not know."""


class WrongVersion(ClientError):
    """A client of another version of tus."""

    code = 412


def answer(store: FsspecStore, key: str, kind: type[Response]) -> AnyResponse:
    """The answer to a request of a tus client."""
    method = request.headers.get("X-HTTP-Method-Override", request.method).upper()
    after_this_request(_described)
    try:
        if method == "OPTIONS":
            return _options(store, key, kind)
        if request.headers.get("Tus-Resumable") != VERSION:
            raise WrongVersion(
                f"This is tus {VERSION}. Send the header 'Tus-Resumable: {VERSION}'."
            )
        claim = _claim(store, key)
        answers = {
            "POST": _create,
            "HEAD": _look,
            "PATCH": _append,
            "DELETE": _end,
        }
        if method not in answers:
            raise MethodNotAllowed(METHODS)
        return answers[method](store, claim, kind)
    except StoreError as exc:
        raise refusals.of_file(exc) from exc


def _described(response: AnyResponse) -> AnyResponse:
    """What every answer has, errors included."""
    response.headers["Tus-Resumable"] = VERSION
    response.headers["Cache-Control"] = "no-store"
    if response.status_code == 412:
        response.headers["Tus-Version"] = VERSION
    return response


def _claim(store: FsspecStore, key: str) -> Claim:
    """What the token in the address allows.

    :raises BadLink: if it is missing, or not good here.
    """
    claim = direct.read(store, request.args.get("token", ""))
    if claim.key != key:
        raise BadLink(REFUSED, key)
    return claim


def _options(store: FsspecStore, key: str, kind: type[Response]) -> AnyResponse:
    response = kind("", 204)
    response.headers["Tus-Version"] = VERSION
    response.headers["Tus-Extension"] = EXTENSIONS
    response.headers["Tus-Checksum-Algorithm"] = ",".join(ALGORITHMS)
    response.headers["Allow"] = ", ".join(METHODS)
    if "token" in request.args:
        response.headers["Tus-Max-Size"] = str(_claim(store, key).max_size)
    return response


def _create(store: FsspecStore, claim: Claim, kind: type[Response]) -> AnyResponse:
    if "Upload-Defer-Length" in request.headers:
        raise BadRequest(
            "The upload has to say how long it is. Send Upload-Length in place of"
            " Upload-Defer-Length.",
            claim.key,
        )
    direct.check_unused(store, claim)
    progress = resumable.begin(store, claim, _number("Upload-Length", claim))
    has_bytes = request.mimetype == BYTES
    if has_bytes and progress.offset == 0:
        progress = _taken(store, claim, 0)
    response = _answer(kind, 201, claim, progress)
    response.headers["Location"] = f"{store.resumable_url(claim.key)}?{_query()}"
    return response


def _query() -> str:
    return request.query_string.decode("ascii", "replace")


def _look(store: FsspecStore, claim: Claim, kind: type[Response]) -> AnyResponse:
    progress = resumable.look(store, claim)
    response = _answer(kind, 200, claim, progress)
    response.headers["Upload-Length"] = str(progress.length)
    return response


def _append(store: FsspecStore, claim: Claim, kind: type[Response]) -> AnyResponse:
    if request.mimetype != BYTES:
        raise WrongType(f"The body of a PATCH has to be {BYTES!r}.", claim.key)
    progress = _taken(store, claim, _number("Upload-Offset", claim))
    return _answer(kind, 204, claim, progress)


def _end(store: FsspecStore, claim: Claim, kind: type[Response]) -> AnyResponse:
    resumable.end(store, claim)
    return kind("", 204)


def _answer(
    kind: type[Response], status: int, claim: Claim, progress: Progress
) -> AnyResponse:
    response = kind("", status)
    response.headers["Upload-Offset"] = str(progress.offset)
    # Also when all bytes are there: until then the upload has to be confirmed.
    response.headers["Upload-Expires"] = http_date(claim.expires)
    return response


def _number(header: str, claim: Claim) -> int:
    """A header that is a number of bytes.

    :raises BadRequest: if it is not there, or something else.
    """
    value = request.headers.get(header, "")
    if re.fullmatch("[0-9]{1,18}", value) is None:
        raise BadRequest(
            f"{header} is {value!r}; it must be a number of bytes.", claim.key
        )
    return int(value)


def _taken(store: FsspecStore, claim: Claim, offset: int) -> Progress:
    """Store the body of the request."""
    check_length(request.environ)
    checksum = request.headers.get("Upload-Checksum")
    if checksum is None:
        announced = request.content_length or 0
        return resumable.append(store, claim, offset, _body(), announced)
    digest, expected = _algorithm(checksum, claim)
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as spool:
        for data in _body():
            digest.update(data)
            spool.write(data)
        if digest.digest() != expected:
            raise WrongChecksum(
                "The checksum is one of other bytes. Nothing of them was stored: send"
                " them again.",
                claim.key,
            )
        spool.seek(0)
        pieces = iter(partial(spool.read, READ_SIZE), b"")
        return resumable.append(store, claim, offset, pieces)


def _body() -> Iterator[bytes]:
    """The body of the request, which no ``MAX_CONTENT_LENGTH`` limits: the token says
    how large the file may be, and no more than a piece is in memory."""
    stream = get_input_stream(request.environ)
    return iter(partial(stream.read, READ_SIZE), b"")


def _algorithm(checksum: str, claim: Claim) -> tuple[t.Any, bytes]:
    """What computes a checksum, and the checksum that is expected.

    :raises BadRequest: if the header is none that is known.
    """
    name, _, encoded = checksum.partition(" ")
    try:
        return ALGORITHMS[name](), base64.b64decode(encoded, validate=True)
    except (KeyError, binascii.Error):
        raise BadRequest(
            "Upload-Checksum has to be the name of an algorithm, a space and the sum in"
            f" Base64. The algorithms are {', '.join(ALGORITHMS)}.",
            claim.key,
        ) from None
