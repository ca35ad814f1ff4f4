"""Below which addresses an application serves a store, and takes its uploads."""

from __future__ import annotations

import os
import typing as t

from flask import Flask
from werkzeug.wrappers import Response as AnyResponse

from ..exceptions import NotConfiguredError
from . import answers
from . import tus
from . import uploads
from .authorization import Authorization

if t.TYPE_CHECKING:
    from ..stores.fsspec import FsspecStore


def register(
    app: Flask, store: FsspecStore, name: str, authorization: Authorization
) -> None:
    """Serve the files of *store*, and take its direct uploads, as far as the
    application is to do so.

    :param name: the store's name among the application's extensions.
    :param authorization: who may read the files.
    :raises NotConfiguredError: if another store has the prefix already.
    """
    kind = answers.class_of(app.response_class, answers.Bare)

    # Variables of the host or the subdomain come with the key.
    def file(key: str, **host: t.Any) -> AnyResponse:
        return answers.answer(store, key, kind, authorization)

    def upload(key: str, **host: t.Any) -> AnyResponse:
        return uploads.take(store, key, kind)

    def resumable(key: str, **host: t.Any) -> AnyResponse:
        return tus.answer(store, key, kind)

    if store.serves:
        _refuse_own_folders(app, store)
        if store.signed_urls:
            refuse_static(app, store)
        _add(app, store, store.url_prefix, f"flask_{name}.file", file, ["GET"])
    if store.upload_prefix is not None:
        endpoint = f"flask_{name}.upload"
        _add(app, store, store.upload_prefix, endpoint, upload, ["POST"])
    if store.variants_prefix is not None:
        from ..images import serving

        def variant(key: str, **host: t.Any) -> AnyResponse:
            return serving.answer(store, key, kind, authorization)

        endpoint = f"flask_{name}.variant"
        _add(app, store, store.variants_prefix, endpoint, variant, ["GET"])
    if store.resumable_prefix is not None:
        endpoint = f"flask_{name}.resumable"
        _add(app, store, store.resumable_prefix, endpoint, resumable, tus.METHODS)


def _refuse_own_folders(app: Flask, store: FsspecStore) -> None:
    """:raises NotConfiguredError: if the application lies in the store's folder."""
    if store.dialect.location.protocol != "file":
        return
    root = os.path.realpath(store.dialect.root)
    for own in (app.root_path, app.instance_path):
        own = os.path.realpath(own)
        if own == root or own.startswith(os.path.join(root, "")):
            raise NotConfiguredError(
                f"STORE_PATH {store.dialect.root!r} holds {own!r}, a folder of the"
                " application itself: its code, its configuration or its database would"
                " be served. Set STORE_PATH to a folder that holds nothing but uploads."
                " Or set STORE_SERVE to 'off': then the files are stored there and not"
                " served."
            )


def refuse_static(app: Flask, store: FsspecStore) -> None:
    """Refuse a store of private files where Flask has public ones.

    :raises NotConfiguredError: if the store lies in a folder of static files.
    """
    if store.dialect.location.protocol != "file":
        return
    root = os.path.realpath(store.dialect.root)
    for scaffold in (app, *app.blueprints.values()):
        folder = os.path.realpath(scaffold.static_folder or os.devnull)
        if root == folder or root.startswith(os.path.join(folder, "")):
            raise NotConfiguredError(
                f"STORE_PATH {store.dialect.root!r} lies in {folder!r}, a folder of"
                " static files, which everybody may read. The files of this store are"
                " for signed links, or for whom authorize() permits to read them. Set"
                " STORE_PATH to a folder of its own."
            )


def _add(
    app: Flask,
    store: FsspecStore,
    prefix: str,
    endpoint: str,
    view: t.Callable[..., AnyResponse],
    methods: t.Sequence[str],
) -> None:
    rule = f"/{prefix.strip('/')}/<path:key>"
    where = store._mount.rule_options
    here = where.get("host"), where.get("subdomain", app.url_map.default_subdomain)
    others = {
        r.endpoint
        for r in app.url_map.iter_rules()
        if r.rule == rule
        and not (r.methods or set()).isdisjoint(methods)
        and here == (r.host, r.subdomain or app.url_map.default_subdomain)
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
        options = {"provide_automatic_options": False} if "OPTIONS" in methods else {}
        app.add_url_rule(rule, endpoint, view, methods=methods, **options, **where)
