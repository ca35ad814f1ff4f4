"""Addresses of a mounted application, on every protocol and in every serving mode."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.wrappers import Response

from flask_store import Store
from flask_store.exceptions import NotConfiguredError
from flask_store.stores.fsspec import FsspecStore
from tests.support.addresses import add_views
from tests.support.addresses import Browser
from tests.support.protocol_servers import Place
from tests.support.server_contract import EachRow

#: Whose own addresses may be read by nobody but those who have a link.
PRIVATE = {"STORE_SIGNED_URLS": True}
MODES: dict[str, dict[str, t.Any]] = {
    "auto": PRIVATE,
    "proxy": {"STORE_SERVE": "proxy"},
    "redirect": {"STORE_SERVE": "redirect"},
}


class TestMounted(EachRow):
    """Whatever goes through the application is below its path; the rest is not."""

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("domain", [None, "http://localhost/shop"])
    def test_addresses(
        self, row: str, place: Place, mode: str, domain: str | None
    ) -> None:
        """Every address leads to the file, and the form to the upload."""
        app = Flask(__name__)
        app.config.update(
            SECRET_KEY="k",
            STORE_PATH=place.new(),
            STORE_OPTIONS=place.options,
            STORE_DOMAIN=domain,
            **MODES[mode],
        )
        try:
            store = Store(app)
        except NotConfiguredError as error:
            assert mode == "redirect" and "has no links of its own" in str(error)
            return
        add_views(app, store)
        mounted = DispatcherMiddleware(Response(status=404), {"/shop": app})
        browser = Browser(mounted, "http://localhost/shop")
        provider = t.cast("FsspecStore", store.Provider())
        signs = provider.storage_link("a.txt") is not None
        found: dict[str, str] = {}
        if provider.serves or signs:  # nobody signs for the emulator of Google
            found |= browser.follow_files()
        if row != "s3 (rclone)":  # which takes no forms
            if found:
                found |= browser.follow_upload()
            else:
                form = browser.ask("/new")
                browser.upload(form)
                found["upload"] = form["url"]
        ours = f"{domain or '/shop'}/flaskstore/"
        # The domain of what the application does not serve is not where the form goes.
        upload = ours if provider.serves else "/shop/flaskstore/"
        expected = {
            "upload": (provider.dialect.takes_forms, upload),
            "signed_url": (signs and mode != "proxy", ours),
        }
        for name, address in found.items():
            by_storage, begin = expected.get(name, (not provider.serves, ours))
            assert address.startswith(begin) is not by_storage, (name, address)
