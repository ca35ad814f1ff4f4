"""What goes wrong with a file or an upload, as a short answer that no cache keeps."""

from __future__ import annotations

import logging
import typing as t
from collections.abc import Iterator
from contextlib import contextmanager

from flask import abort
from flask import after_this_request
from werkzeug.wrappers import Response as AnyResponse

from ..exceptions import ClientError
from ..exceptions import FileNotFound
from ..exceptions import InvalidName
from ..exceptions import StoreError
from ..exceptions import StoreUnavailable

logger = logging.getLogger(__name__)


@contextmanager
def refusals() -> Iterator[None]:
    """Answer a :exc:`StoreError` with a status; what is ours to know goes into the
    log."""
    try:
        yield
    except (FileNotFound, InvalidName):
        refuse(404)
    except ClientError as exc:
        refuse(exc.code, exc.description)
    except StoreUnavailable as exc:
        logger.error("%s", exc)
        refuse(503, "The storage does not answer. Try again in a moment.")
    except StoreError as exc:
        logger.error("%s", exc)
        refuse(502, "The storage refused, or is not set up. See the log.")


def refuse(code: int, text: str | None = None) -> t.NoReturn:
    """Answer with a status, and let no cache keep that."""

    @after_this_request
    def no_store(response: AnyResponse) -> AnyResponse:
        response.headers["Cache-Control"] = "no-store"
        return response

    abort(code, description=text)
