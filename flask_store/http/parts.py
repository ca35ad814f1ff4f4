"""HTTP: signatures for a direct upload that goes to the storage in parts."""

from __future__ import annotations

import typing as t

from flask import current_app
from flask import request
from flask import Response

from ..direct import parts
from ..exceptions import NoLength
from ..exceptions import TooLarge

if t.TYPE_CHECKING:
    from ..dialects.claims import Claim
    from ..stores.fsspec import FsspecStore

#: The longest body of a request for a signature, in bytes. It names a key, of 1,024
#: bytes at most, and an upload.
LONGEST = 16 * 1024

NO_LENGTH = "The request does not say how long it is. Send it with Content-Length."


def take(store: FsspecStore, claim: Claim, kind: type[Response]) -> Response:
    """The answer to a client that asks for a signature.

    :raises StoreError: if it gets none.
    """
    if request.content_length is None:
        raise NoLength(NO_LENGTH)
    if request.content_length > LONGEST:
        raise TooLarge(f"The request is longer than {LONGEST} bytes.")
    try:
        said = request.get_json(silent=True)
    except RecursionError:  # lists in lists, too deep for json
        said = None
    signed = parts.sign(store, claim, said)
    reply = kind(current_app.json.dumps(signed), mimetype="application/json")
    reply.headers["Cache-Control"] = "no-store"
    return reply
