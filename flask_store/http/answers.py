"""HTTP: how a request for a stored file is answered."""

from __future__ import annotations

import datetime as dt
import time
import typing as t
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from urllib.parse import quote

from flask import current_app
from flask import request
from flask import Response
from werkzeug.datastructures import Headers
from werkzeug.http import http_date
from werkzeug.http import quote_etag
from werkzeug.wrappers import Response as AnyResponse
from werkzeug.wsgi import wrap_file

from .. import naming
from ..dialects.bodies import BLOCK
from ..dialects.bodies import FilePart
from ..exceptions import BadLink
from ..exceptions import StoreError
from ..exceptions import StoreUnavailable
from ..exceptions import VersionGone
from ..uploads.properties import checked_directives
from . import caching
from . import conditions
from . import links
from . import presentation
from . import refusals
from .authorization import Authorization

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from ..dialects import Fetched
    from ..dialects import Files
    from ..dialects import Span
    from ..dialects import Stat
    from ..files import FileWrapper

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


class Bare:
    """A response of the route, without a cookie: neither the session's nor any other.

    A file may be kept by a cache that many people share, and a page with many files
    would get the session that each of these requests began with. Flask adds the
    session's cookie after every hook, so that it can only be taken off here.
    """

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        headers: Headers = super().get_wsgi_headers(environ)  # type: ignore[misc]
        headers.remove("Set-Cookie")
        return headers


class OfView:
    """A response of a view, with the cookies that the application sets, unless a cache
    that many people share may keep it."""

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        headers: Headers = super().get_wsgi_headers(environ)  # type: ignore[misc]
        if not caching.is_private(headers.get("Cache-Control", "")):
            headers.remove("Set-Cookie")
        return headers


class Terms(t.NamedTuple):
    """What is decided about a response before the storage is asked.

    :param name: the one under which a browser saves the file.
    :param as_attachment: whether it saves the file, also if it could show it.
    :param private: whether no shared cache may keep the file.
    :param until: the last moment of the link, in POSIX seconds; ``None`` if it is no
        signed one.
    :param cache_control: in place of what the store says.
    """

    name: str
    as_attachment: bool = False
    private: bool = False
    until: int | None = None
    cache_control: str | None = None


class Served(t.Protocol):
    """What a response asks of a store. It is
    :class:`~flask_store.stores.fsspec.FsspecStore`, which imports this module."""

    serve: str
    signed_urls: bool
    inline_types: tuple[str, ...]
    cache_control: str | None
    x_accel_redirect: str | None
    files: Files

    @property
    def identity(self) -> str: ...

    def key(self, name: str) -> str: ...
    def file(self, name: str) -> FileWrapper: ...
    def waits(self, name: str) -> bool: ...
    def stat(self, name: str) -> Stat: ...
    def fetch(self, name: str, span: Span | None = None) -> Fetched | None: ...
    def stream_version(self, found: Stat, start: int, stop: int) -> Iterator[bytes]: ...
    def storage_link(
        self,
        name: str,
        expires: float | None = None,
        download_name: str | None = None,
        as_attachment: bool = False,
        method: links.Method = "GET",
    ) -> str | None: ...


def class_of(
    response_class: type[Response], kind: type[Bare] | type[OfView]
) -> type[Response]:
    """The class of a response with a file. It is of the application's own class, or
    Flask would turn it into one."""
    return type("FileResponse", (kind, response_class), {})


def answer(
    store: Served, key: str, kind: type[Response], authorization: Authorization
) -> AnyResponse:
    """The answer of the route to GET and HEAD."""
    said, until = request.args, None
    private = authorization.check is not None
    try:
        # A good signature is a permission by itself, and one that is there is checked.
        if store.signed_urls or "signature" in said:
            if not store.signed_urls and not links.can_sign():
                raise BadLink(links.REFUSED, key)
            until = links.check(store.identity, key, said)
        elif private:
            denial = authorization.denial(store.file(key))
            if denial is not None:
                return denial
        # Nobody but whoever has signed the link says how a file is saved.
        named = said if until else {}
        download_as = named.get("download_as")
        name = download_as or named.get("download_name") or _original(key)
        terms = Terms(name, download_as is not None, private, until)
        return respond(store, key, kind, terms)
    except StoreError as exc:
        raise refusals.of_file(exc) from exc


def view(
    store: Served,
    key: str,
    as_attachment: bool,
    download_name: str | None,
    cache_control: str | None,
) -> Response:
    """The response of a view of the application, to whatever request there is."""
    terms = terms_of_view(_original(key), as_attachment, download_name, cache_control)
    try:
        return in_view(store, key, terms)
    except StoreError as exc:
        raise refusals.of_file(exc) from exc


def terms_of_view(
    name: str,
    as_attachment: bool,
    download_name: str | None,
    cache_control: str | None,
) -> Terms:
    """What a view says about its response. What is wrong with it is the fault of the
    application, and not of the URL.

    :param name: the name of the file, if the view says none.
    """
    if download_name:
        name = naming.text(download_name, "file name")
    if cache_control is not None:
        cache_control = checked_directives(cache_control)
    return Terms(name, as_attachment, True, None, cache_control)


def in_view(store: Served, key: str, terms: Terms) -> Response:
    """A response of a view.

    :raises StoreError: if there is none.
    """
    # To mypy, the class has the hash of its instances, which is none.
    kind = _class_of_view(current_app.response_class)  # type: ignore[arg-type]
    return respond(store, key, kind, terms)


def respond(store: Served, key: str, kind: type[Response], terms: Terms) -> Response:
    """A response with a file, or a redirect to it.

    :raises StoreError: if there is none.
    """
    if request.headers.get("Sec-Fetch-Dest") in presentation.CODE_DESTINATIONS:
        text = "What was uploaded is not loaded as the code of a page."
        raise refusals.refusal(403, text)
    # The storage cannot know a file that waits for its upload.
    if store.serve == "redirect" and not store.waits(key):
        method: links.Method = "HEAD" if request.method == "HEAD" else "GET"
        link = store.storage_link(key, None, terms.name, terms.as_attachment, method)
        if link is not None:
            return _redirect(link, kind)
    for _ in range(2):
        with suppress(VersionGone):
            return _respond(store, key, kind, terms)
    raise StoreUnavailable(f"{key!r} is replaced faster than it is read.")


@lru_cache
def _class_of_view(response_class: type[Response]) -> type[Response]:
    return class_of(response_class, OfView)


@lru_cache(maxsize=1024)
def _original(key: str) -> str:
    return naming.original(key.rpartition("/")[2])


def _redirect(link: str, kind: type[Response]) -> Response:
    # After 302 and a POST, what the next request is depends on the client.
    response = kind(status=302 if request.method in ("GET", "HEAD") else 303)
    response.location = link
    # The link is good for longer than this answer should be.
    response.headers["Cache-Control"] = "no-store"
    return response


def _respond(store: Served, key: str, kind: type[Response], terms: Terms) -> Response:
    front = _front(store, key)
    fetched = None if front else _fetch(store, key)
    found = fetched.found if fetched else store.stat(key)
    stored = found.properties
    remaining = terms.until and max(0, terms.until - int(time.time()))
    # All of them at once: each that is set later looks through all others.
    headers = {
        "Cache-Control": terms.cache_control
        or caching.cache_control(
            stored.cache_control, store.cache_control, terms.private, remaining
        ),
        **presentation.headers(
            terms.name,
            found.content_type,
            store.inline_types,
            terms.as_attachment,
            stored.content_encoding,
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
    sends = part.status in (200, 206) and request.method != "HEAD"
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


def _fetch(store: Served, key: str) -> Fetched | None:
    """What there is to say of a file together with what will be sent of it, where that
    is most likely known by now and costs no further request."""
    if request.method == "HEAD" or not CONDITIONS.isdisjoint(request.environ):
        return None
    if "Range" not in request.headers or request.method != "GET":
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


def _front(store: Served, key: str) -> dict[str, str]:
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
