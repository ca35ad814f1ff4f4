"""HTTP: how a stored file is answered."""

from __future__ import annotations

import typing as t

from flask import abort
from flask import Flask
from flask import request
from flask import Response

from .exceptions import FileNotFound
from .exceptions import InvalidName
from .exceptions import NotConfiguredError

if t.TYPE_CHECKING:
    from .stores.fsspec import FsspecStore

#: The types that a browser may show; every other one it is told to download, so
#: that an uploaded page cannot run as the site that hosts it.
INLINE = ("image/", "audio/", "video/")
INLINE_EXACTLY = {"application/pdf", "text/plain"}
NEVER_INLINE = {"image/svg+xml"}


def register(app: Flask, store: FsspecStore, name: str) -> None:
    """Serve the files of *store* below its URL prefix.

    :param name: the store's name among the application's extensions.
    :raises NotConfiguredError: if another store has the prefix already.
    """
    rule = f"/{store.url_prefix.strip('/')}/<path:key>"
    endpoint = f"flask_{name}.file"
    others = {r.rule: r.endpoint for r in app.url_map.iter_rules()}
    if others.get(rule, endpoint) != endpoint:
        raise NotConfiguredError(
            f"{others[rule]!r} serves {rule!r} already. Give this store a"
            " STORE_URL_PREFIX of its own."
        )

    def view(key: str) -> Response:
        return answer(store, key)

    if endpoint in app.view_functions:
        # The same application was given to a Store again: the last one serves.
        app.view_functions[endpoint] = view
    if rule not in others:
        app.add_url_rule(rule, endpoint, view)


def answer(store: FsspecStore, key: str) -> Response:
    """The file as a response, streamed."""
    try:
        stat = store.stat(key)
    except (FileNotFound, InvalidName):
        abort(404)
    body = store.stream(key) if request.method == "GET" else ()
    response = Response(body, content_type=stat.content_type)
    response.content_length = stat.size
    response.last_modified = stat.modified
    if stat.etag:
        response.set_etag(stat.etag)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    if not is_inline(stat.content_type):
        response.headers["Content-Disposition"] = "attachment"
    return response


def is_inline(content_type: str) -> bool:
    """Whether a browser may show this type in place of downloading it."""
    if content_type in NEVER_INLINE:
        return False
    return content_type.startswith(INLINE) or content_type in INLINE_EXACTLY
