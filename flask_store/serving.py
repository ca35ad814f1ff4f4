"""HTTP: how a request for a stored file is answered."""

from __future__ import annotations

import datetime as dt
import time
import typing as t
from collections.abc import Iterator
from urllib.parse import quote

from flask import current_app
from flask import request
from flask import Response
from werkzeug.wrappers import Response as AnyResponse
from werkzeug.wsgi import wrap_file

from . import conditions
from . import links
from . import presentation
from .bodies import FilePart
from .exceptions import StoreUnavailable
from .exceptions import VersionGone
from .refusals import refusals

if t.TYPE_CHECKING:
    from .dialects import Stat
    from .stores.fsspec import FsspecStore

#: With one of these, it takes a look at the file to tell what will be sent.
CONDITIONS = (
    "Range",
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
)


def answer(store: FsspecStore, key: str, kind: type[Response]) -> AnyResponse:
    """The answer to GET and HEAD."""
    with refusals():
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
