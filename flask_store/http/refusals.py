"""HTTP: how an error of a store is answered, in the route and in any view."""

from __future__ import annotations

import logging
import typing as t

from flask import after_this_request
from flask import current_app
from flask import request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from ..exceptions import ClientError
from ..exceptions import FileExists
from ..exceptions import FileNotFound
from ..exceptions import InvalidName
from ..exceptions import StoreError
from ..exceptions import StoreFull
from ..exceptions import StoreUnavailable
from ..exceptions import VersionGone

if t.TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

logger = logging.getLogger(__name__)

#: The seconds after which a client may try again when the storage does not answer. By
#: then a throttled storage takes requests again, and a restarted one is back.
RETRY_AFTER = 30

#: The status of each error, and what the client is told; ``None`` is Werkzeug's own
#: description. A :exc:`ClientError` has both itself.
STATUSES: t.Final[dict[type[Exception], tuple[int, str | None]]] = {
    FileNotFound: (404, None),
    FileExists: (409, "There is another file of this name."),
    StoreUnavailable: (503, "The storage does not answer. Try again in a moment."),
    VersionGone: (503, "The file was replaced at this moment. Try again."),
    StoreFull: (507, "The storage is full. Nothing was stored."),
    StoreError: (502, "The storage refused, or is not set up. See the log."),
}


class InsufficientStorage(HTTPException):
    """*507*, which Werkzeug has no class for (RFC 4918, section 11.5)."""

    code = 507


class ChecksumMismatch(HTTPException):
    """*460*, which tus 1.0.0 has for it, section "Checksum"."""

    code = 460

    @property
    def name(self) -> str:
        return "Checksum Mismatch"


#: What Werkzeug has no classes for.
OWN: t.Final[dict[int, type[HTTPException]]] = {
    error.code: error for error in (InsufficientStorage, ChecksumMismatch)
}


def of(exc: StoreError) -> HTTPException:
    """The HTTP exception for an error; what is ours to know goes into the log."""
    if isinstance(exc, ClientError):
        return refusal(exc.code, exc.description)
    classes = type(exc).__mro__
    code, text = next(STATUSES[cls] for cls in classes if cls in STATUSES)
    if code >= 500:
        logger.error("%s", exc)
    return refusal(code, text, RETRY_AFTER if code == 503 else None)


def of_file(exc: StoreError) -> HTTPException:
    """The same for a request whose URL names the file: where no file can have a name,
    there is none."""
    return refusal(404) if isinstance(exc, InvalidName) else of(exc)


def handle(exc: StoreError) -> ResponseReturnValue:
    """An error handler for Flask: what :func:`of` says, as a handler or a page of the
    application shows this status."""
    return current_app.handle_http_exception(of(exc))


def refusal(
    code: int, text: str | None = None, retry_after: int | None = None
) -> HTTPException:
    """The HTTP exception for a status, which no cache keeps. It has the class that the
    application's error handlers know, and is JSON for a client that asks for that.

    :param text: what the client is told; by default what Werkzeug says.
    :param retry_after: in seconds, when the client may try again (RFC 9110, section
        10.2.3).
    """

    @after_this_request
    def no_store(response: AnyResponse) -> AnyResponse:
        response.headers["Cache-Control"] = "no-store"
        if retry_after is not None:
            response.headers["Retry-After"] = str(retry_after)
        return response

    known: dict[int, type[HTTPException]] = current_app.aborter.mapping
    error = (OWN.get(code) or known[code])(text)
    accepted = request.accept_mimetypes
    if accepted.best_match(["text/html", "application/json"]) == "application/json":
        error.response = current_app.json.response(
            code=code, name=error.name, description=error.description
        )
        error.response.status_code = code
    return error
