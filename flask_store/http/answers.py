"""HTTP: how a request for a stored file is answered."""

from __future__ import annotations

import datetime as dt
import logging
import time
import typing as t
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from urllib.parse import quote

from flask import abort
from flask import after_this_request
from flask import current_app
from flask import request
from flask import Response
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.http import http_date
from werkzeug.http import quote_etag
from werkzeug.wrappers import Response as AnyResponse
from werkzeug.wsgi import wrap_file

from ..dialects.bodies import BLOCK
from ..dialects.bodies import FilePart
from ..exceptions import ClientError
from ..exceptions import FileNotFound
from ..exceptions import InvalidName
from ..exceptions import StoreError
from ..exceptions import StoreFull
from ..exceptions import StoreUnavailable
from ..exceptions import VersionGone
from . import conditions
from . import links
from . import presentation

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from ..dialects import Fetched
    from ..stores.fsspec import FsspecStore

logger = logging.getLogger(__name__)

#: The seconds after which a client may try again when the storage does not answer. By
#: then a throttled storage takes requests again, and a restarted one is back.
RETRY_AFTER = 30

#: With one of these, it takes a look at the file to tell whether it will be sent.
CONDITIONS = frozenset(
    {
        "HTTP_IF_MATCH",
        "HTTP_IF_NONE_MATCH",
        "HTTP_IF_MODIFIED_SINCE",
        "HTTP_IF_UNMODIFIED_SINCE",
    }
)

#: What the environ of a server has that sends an open file as announced and no more:
#: gunicorn, mod_wsgi and waitress. PEP 3333 asks them to begin where the file stands,
#: and to stop at Content-Length. uWSGI (``uwsgi.version``) does neither: it begins at
#: byte 0 and goes on to the end that the file has by then, so that an upload could
#: contain the next answer on the connection. gunicorn 20.1 begins at byte 0, and sends
#: no empty file. So only a whole file is handed over, and only to a server that is
#: known. Every other one gets the bytes.
SENDERS = frozenset(
    {"gunicorn.socket", "mod_wsgi.version", "waitress.client_disconnected"}
)


class InsufficientStorage(HTTPException):
    """*507*, which Werkzeug has no class for (RFC 4918, section 11.5)."""

    code = 507


class Bare:
    """A response without a cookie: neither the session's nor any other one.

    A file may be kept by a cache that many people share. Flask adds the session's
    cookie after every hook, so that it can only be taken off here.
    """

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        headers: Headers = super().get_wsgi_headers(environ)  # type: ignore[misc]
        headers.remove("Set-Cookie")
        return headers


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
        refuse(503, "The storage does not answer. Try again in a moment.", RETRY_AFTER)
    except StoreFull as exc:
        logger.error("%s", exc)
        refuse(507, "The storage is full. Nothing was stored.")
    except StoreError as exc:
        logger.error("%s", exc)
        refuse(502, "The storage refused, or is not set up. See the log.")


def refuse(
    code: int, text: str | None = None, retry_after: int | None = None
) -> t.NoReturn:
    """Answer with a status, and let no cache keep that.

    :param retry_after: in seconds, when the client may try again (RFC 9110, section
        10.2.3).
    """

    @after_this_request
    def no_store(response: AnyResponse) -> AnyResponse:
        response.headers["Cache-Control"] = "no-store"
        if retry_after is not None:
            response.headers["Retry-After"] = str(retry_after)
        return response

    if code == InsufficientStorage.code:
        raise InsufficientStorage(text)
    abort(code, description=text)


def answer(store: FsspecStore, key: str, kind: type[Response]) -> AnyResponse:
    """The answer to GET and HEAD."""
    if request.headers.get("Sec-Fetch-Dest") in presentation.CODE_DESTINATIONS:
        refuse(403, "What was uploaded is not loaded as the code of a page.")
    with refusals():
        # The last moment of a good link; None if there is none and none is needed.
        until = None
        if store.signed_urls or "signature" in request.args:
            until = links.check(store.identity, key, request.args)
        download_as = request.args.get("download_as") if until else None
        caching = store.cache_control
        if caching is None:
            caching = "no-cache" if until is None else _private(until)
        if store.serve == "redirect":
            method: links.Method = "HEAD" if request.method == "HEAD" else "GET"
            link = store.storage_link(key, None, download_as, method)
            if link is not None:
                return _redirect(link, kind)
        for _ in range(2):
            with suppress(VersionGone):
                return _respond(store, key, kind, caching, download_as)
        raise StoreUnavailable(f"{key!r} is replaced faster than it is read.")


def _redirect(link: str, kind: type[Response]) -> Response:
    response = kind(status=302)
    response.location = link
    # The link is good for longer than this answer should be.
    response.headers["Cache-Control"] = "no-store"
    return response


def _respond(
    store: FsspecStore,
    key: str,
    kind: type[Response],
    caching: str,
    download_as: str | None,
) -> Response:
    front = _front(store, key)
    fetched = None if front else _fetch(store, key)
    found = fetched.found if fetched else store.stat(key)
    name = key.rpartition("/")[2]
    # All of them at once: each that is set later looks through all others.
    headers = {
        "Cache-Control": caching,
        **presentation.headers(
            name,
            found.content_type,
            store.inline_types,
            download_as,
            found.properties.content_encoding,
        ),
        **front,
    }
    if front:
        return kind(headers=headers)
    mine = conditions.validators(found, dt.datetime.now(dt.UTC))
    part = conditions.part(request, found.size, mine)
    headers |= _described(part, mine, found.size)
    if part.status >= 300:  # there are no bytes that it could be about
        headers.pop("Content-Encoding", None)
    response = kind(status=part.status, headers=headers)
    sends = part.status in (200, 206) and request.method == "GET"
    if fetched and not (sends and (part.start, part.stop) == fetched[1:3]):
        fetched.body.close()
        fetched = None
    if sends:
        body = (
            fetched.body
            if fetched
            else store.stream_version(found, part.start, part.stop)
        )
        whole = (part.start, part.stop) == (0, found.size)
        _fill(response, body, whole and found.size > 0)
    return response


def _fetch(store: FsspecStore, key: str) -> Fetched | None:
    """What there is to say of a file together with what will be sent of it, where that
    is most likely known by now and costs no further request."""
    if request.method != "GET" or not CONDITIONS.isdisjoint(request.environ):
        return None
    if "Range" not in request.headers:
        return store.fetch(key)
    span = conditions.span(request)
    return store.fetch(key, span) if span else None


def _described(
    part: conditions.Part, mine: conditions.Validators, size: int
) -> dict[str, str]:
    """The headers that say which bytes are sent, and of which version."""
    said = {"Accept-Ranges": "bytes"}
    if mine.modified is not None:
        said["Last-Modified"] = http_date(mine.modified)
    if mine.etag is not None:
        said["ETag"] = quote_etag(mine.etag, weak=not mine.strong)
    if part.status in (200, 206):
        said["Content-Length"] = str(part.stop - part.start)
    if part.status == 206:
        said["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    if part.status == 416:
        said["Content-Range"] = f"bytes */{size}"
    if part.status >= 400:
        said["Cache-Control"] = "no-store"
    return said


def _fill(response: Response, body: Iterator[bytes], whole: bool) -> None:
    response.response = body
    if whole and isinstance(body, FilePart) and not SENDERS.isdisjoint(request.environ):
        file = t.cast("t.IO[bytes]", body)
        response.response = wrap_file(request.environ, file, BLOCK)
    # A piece goes to the client as it is, and HEAD is handled here.
    response.direct_passthrough = True


def _front(store: FsspecStore, key: str) -> dict[str, str]:
    """The header that lets the web server in front send a file on disk, if it is to:
    X-Accel-Redirect (nginx), or X-Sendfile (Apache, lighttpd). Conditions and ranges
    are then its business, because the ETag is."""
    accel, sendfile = store.x_accel_redirect, current_app.config["USE_X_SENDFILE"]
    if not accel and not sendfile:
        return {}
    path = store.files.on_disk(store.key(key))
    if path is None:  # the server cannot know a file that waits for its upload
        return {}
    if accel:
        return {"X-Accel-Redirect": quote(f"/{accel.strip('/')}/{key}")}
    return {"X-Sendfile": quote(path)}


def _private(until: int) -> str:
    return f"private, max-age={max(0, until - int(time.time()))}"
