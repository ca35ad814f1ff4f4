"""HTTP: the route of a store, and how a file, or the lack of one, is answered."""

from __future__ import annotations

import datetime as dt
import logging
import time
import typing as t
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from flask import abort
from flask import after_this_request
from flask import current_app
from flask import Flask
from flask import request
from flask import Response
from werkzeug.datastructures import Headers
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.wrappers import Response as AnyResponse
from werkzeug.wsgi import wrap_file

from . import conditions
from . import direct
from . import links
from . import presentation
from .bodies import FilePart
from .exceptions import ClientError
from .exceptions import FileNotFound
from .exceptions import InvalidName
from .exceptions import NotConfiguredError
from .exceptions import StoreError
from .exceptions import StoreUnavailable
from .exceptions import VersionGone

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from .dialects import Stat
    from .stores.fsspec import FsspecStore

logger = logging.getLogger(__name__)

#: Beside the file itself a form carries its fields and the parts' headers.
FORM_OVERHEAD = 64 * 1024


#: With one of these, it takes a look at the file to tell what will be sent.
CONDITIONS = (
    "Range",
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
)


class Bare:
    """A response without a cookie: neither the session's nor any other one.

    A file may be kept by a cache that many people share. Flask adds the session's
    cookie after every hook, so that it can only be taken off here.
    """

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        headers: Headers = super().get_wsgi_headers(environ)  # type: ignore[misc]
        headers.remove("Set-Cookie")
        return headers


def register(app: Flask, store: FsspecStore, name: str) -> None:
    """Serve the files of *store* below its URL prefix.

    :param name: the store's name among the application's extensions.
    :raises NotConfiguredError: if another store has the prefix already.
    """
    rule = f"/{store.url_prefix.strip('/')}/<path:key>"
    # Of the application's own class, or Flask would turn it into one.
    kind = type("FileResponse", (Bare, app.response_class), {})

    def file(key: str) -> AnyResponse:
        return answer(store, key, kind)

    def upload(key: str) -> AnyResponse:
        return take(store, key, kind)

    _add(app, rule, f"flask_{name}.file", file, ["GET"])
    _add(app, rule, f"flask_{name}.upload", upload, ["POST"])


def _add(
    app: Flask,
    rule: str,
    endpoint: str,
    view: t.Callable[[str], AnyResponse],
    methods: list[str],
) -> None:
    others = {
        r.endpoint
        for r in app.url_map.iter_rules()
        if r.rule == rule and set(methods) & (r.methods or set())
    }
    if others - {endpoint}:
        raise NotConfiguredError(
            f"{others.pop()!r} serves {rule!r} already. Give this store a"
            " STORE_URL_PREFIX of its own."
        )
    if endpoint in app.view_functions:
        # The same application was given to a Store again: the last one serves.
        app.view_functions[endpoint] = view
    if not others:
        app.add_url_rule(rule, endpoint, view, methods=methods)


# -- reading -----------------------------------------------------------------


def answer(store: FsspecStore, key: str, kind: type[Response]) -> AnyResponse:
    """The answer to GET and HEAD."""
    with _refusals(store):
        until = _check_link(store, key)
        download_as = request.args.get("download_as") if until else None
        if store.serve == "redirect":
            link = store.storage_link(key, download_as=download_as)
            if link is not None:
                return _redirect(link, kind)
        response = None
        for _ in range(2):
            found, whole = _look(store, key)
            try:
                response = _respond(store, found, whole, kind)
            except VersionGone:
                continue
            break
        if response is None:
            raise StoreUnavailable(f"{key!r} is replaced faster than it is read.")
    name = key.rpartition("/")[2]
    response.headers.update(
        presentation.headers(name, found.content_type, store.inline_types, download_as)
    )
    failed = response.status_code >= 400
    response.headers["Cache-Control"] = (
        "no-store" if failed else _cache_control(store, until)
    )
    return response


def _check_link(store: FsspecStore, key: str) -> int | None:
    """The last moment of a good link; ``None`` if there is none and none is needed."""
    if store.signed_urls or "signature" in request.args:
        return links.check(store.identity, key, request.args)
    return None


def _redirect(link: str, kind: type[Response]) -> Response:
    response = kind(status=302)
    response.location = link
    # The link is good for longer than this answer should be.
    response.headers["Cache-Control"] = "no-store"
    return response


def _look(store: FsspecStore, key: str) -> tuple[Stat, Iterator[bytes] | None]:
    """What there is to say of a file; with its content, if all of it is sent anyway
    and costs no further request."""
    if request.method == "GET" and not any(n in request.headers for n in CONDITIONS):
        fetched = store.fetch(key)
        if fetched is not None:
            return fetched
    return store.stat(key), None


def _respond(
    store: FsspecStore,
    found: Stat,
    whole: Iterator[bytes] | None,
    kind: type[Response],
) -> Response:
    handed_over = _hand_over(store, found, kind)
    if handed_over is not None:
        return handed_over
    mine = conditions.validators(found, dt.datetime.now(dt.UTC))
    part = conditions.part(request, found.size, mine)
    response = kind(status=part.status)
    if part.status in (200, 206):
        if request.method == "GET":
            body = whole or store.stream_version(found, part.start, part.stop)
            _fill(response, body, ends=part.stop == found.size)
        response.content_length = part.stop - part.start
    if part.status == 206:
        last = part.stop - 1
        response.headers["Content-Range"] = f"bytes {part.start}-{last}/{found.size}"
    if part.status == 416:
        response.headers["Content-Range"] = f"bytes */{found.size}"
    response.accept_ranges = "bytes"
    response.last_modified = mine.modified
    if mine.etag is not None:
        response.set_etag(mine.etag, weak=not mine.strong)
    return response


def _fill(response: Response, body: Iterator[bytes], ends: bool) -> None:
    response.response = body
    # The server may send an open file by itself, and then it does so up to the end.
    if ends and isinstance(body, FilePart) and "wsgi.file_wrapper" in request.environ:
        response.response = wrap_file(request.environ, body.file)
    # A piece goes to the client as it is, and HEAD is handled here.
    response.direct_passthrough = True


def _hand_over(
    store: FsspecStore, found: Stat, kind: type[Response]
) -> Response | None:
    """Let the web server in front send a file on disk: X-Accel-Redirect (nginx), or
    X-Sendfile (Apache, lighttpd). Conditions and ranges are then its business,
    because the ETag is."""
    path = store.dialect.on_disk(found.name)
    accel = store.x_accel_redirect
    if path is None or not (accel or current_app.config["USE_X_SENDFILE"]):
        return None
    response = kind()
    if accel:
        response.headers["X-Accel-Redirect"] = quote(
            f"/{accel.strip('/')}/{found.name}"
        )
    else:
        response.headers["X-Sendfile"] = quote(path)
    return response


def _cache_control(store: FsspecStore, until: int | None) -> str:
    if store.cache_control is not None:
        return store.cache_control
    if until is None:
        return "no-cache"
    return f"private, max-age={max(0, until - int(time.time()))}"


# -- uploads -----------------------------------------------------------------


def take(store: FsspecStore, key: str, kind: type[Response]) -> AnyResponse:
    """The answer to the form of a direct upload."""
    token = request.args.get("token")
    if token is None:
        raise MethodNotAllowed(["GET", "HEAD", "OPTIONS"])
    with _refusals(store):
        claim = direct.read(store, token, key)
        # Looked at before the form is read, which takes as much disk as it is long.
        if request.content_length is None:
            abort(411)
        if request.content_length > claim.max_size + FORM_OVERHEAD:
            raise direct.too_large(claim)
        file = request.files.get("file")
        if file is None:
            abort(400, description="The form has no file in its field 'file'.")
        direct.receive(store, claim, file)
    return kind("", 204)


# -- refusals ----------------------------------------------------------------


@contextmanager
def _refusals(store: FsspecStore) -> Iterator[None]:
    """What goes wrong becomes a short answer that no cache keeps."""
    try:
        yield
    except (FileNotFound, InvalidName):
        _refuse(404)
    except FileExistsError:
        _refuse(409, "This has been uploaded already.")
    except ClientError as exc:
        _refuse(exc.code, exc.description)
    except StoreUnavailable as exc:
        logger.error("%s", exc)
        _refuse(503, "The storage does not answer. Try again in a moment.")
    except StoreError as exc:
        logger.error("%s", exc)
        _refuse(502, "The storage refused, or is not set up. See the log.")


def _refuse(code: int, text: str | None = None) -> t.NoReturn:
    @after_this_request
    def no_store(response: AnyResponse) -> AnyResponse:
        response.headers["Cache-Control"] = "no-store"
        return response

    abort(code, description=text)
