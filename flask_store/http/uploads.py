"""HTTP: the form of a direct upload that comes through the application."""

from __future__ import annotations

import typing as t

from flask import abort
from flask import request
from flask import Response
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.wrappers import Response as AnyResponse

from .. import direct
from ..exceptions import BadLink
from ..exceptions import NoLength
from ..exceptions import StoreError
from . import parts
from . import refusals
from .links import REFUSED

if t.TYPE_CHECKING:
    from ..stores.fsspec import FsspecStore

#: Beside the file itself a form carries its fields and the parts' headers.
FORM_OVERHEAD = 64 * 1024

NO_LENGTH = (
    "The form does not say how long it is. Send it with Content-Length, as browsers do."
)


def take(store: FsspecStore, key: str, kind: type[Response]) -> AnyResponse:
    """The answer to the form of a direct upload."""
    token = request.args.get("token")
    if token is None:
        raise MethodNotAllowed(["GET", "HEAD", "OPTIONS"] if store.serves else [])
    try:
        claim = direct.read(store, token)
        if claim.key != key:
            raise BadLink(REFUSED, key)
        if request.is_json:
            return parts.take(store, claim, kind)
        if claim.form:  # which the storage itself takes
            raise BadLink(REFUSED, key)
        # Looked at before the form is read, which takes as much disk as it is long.
        if request.content_length is None:
            raise NoLength(NO_LENGTH)
        if request.content_length > claim.max_size + FORM_OVERHEAD:
            raise direct.too_large(claim)
        direct.check_unused(store, claim)
        file = request.files.get("file")
        if file is None:
            abort(400, description="The form has no file in its field 'file'.")
        direct.receive(store, claim, file, request.form.get("Content-Type"))
    except StoreError as exc:
        raise refusals.of_file(exc) from exc
    return kind("", 204)
