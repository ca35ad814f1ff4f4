"""Follows the addresses that an application gives, as a browser does."""

from __future__ import annotations

import io
import typing as t
import urllib.parse

import requests
from flask import Flask
from flask import jsonify
from flask import Response
from werkzeug.test import Client

from flask_store import Store
from flask_store.stores.fsspec import FsspecStore

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

DATA = b"an uploaded file"
ADDRESSES = ("absolute_url", "signed_url")


def add_views(app: Flask, store: Store, **where: t.Any) -> None:
    """Views that give addresses: of files, of an upload and of what was confirmed.

    :param where: the host or the subdomain of the views.
    """

    def provider() -> FsspecStore:
        return t.cast("FsspecStore", store.Provider("ü"))

    def files(**host: str) -> Response:
        f = provider().save(DATA, "a b.txt")
        return jsonify({name: getattr(f, name)() for name in ADDRESSES})

    def new(**host: str) -> Response:
        form = provider().presign_upload("d.txt", max_size=100)
        return jsonify(url=form.url, token=form.token, fields=form.fields)

    def confirm(token: str, **host: str) -> Response:
        return jsonify(confirmed=provider().confirm(token).absolute_url())

    for rule, view in (
        ("/files", files),
        ("/new", new),
        ("/confirm/<token>", confirm),
    ):
        app.add_url_rule(rule, view_func=view, **where)


class Browser:
    """A client of one application, which knows the names of its hosts.

    :param app: the application, together with what is in front of it.
    :param here: the address of a page that gives addresses, without a slash at its end.
    """

    def __init__(self, app: WSGIApplication, here: str) -> None:
        self._client = Client(app)
        self.here = here

    def open(self, address: str, method: str = "GET", **how: t.Any) -> t.Any:
        """The response at an address, which is taken relative to the page."""
        url = urllib.parse.urljoin(f"{self.here}/", address)
        host = urllib.parse.urlsplit(url).netloc
        if host.startswith("127.0.0.1"):  # the storage itself
            files = how.pop("data", None)
            fields = files and {k: (None, v) for k, v in files.items() if k != "file"}
            upload = files and {**fields, "file": ("d.txt", files["file"][0])}
            return requests.request(method, url, files=upload, timeout=10)
        path = url.partition(host)[2]
        how["headers"] = {"X-Forwarded-Prefix": "/shop"}
        base = f"{url.partition('//')[0]}//{host}"
        return self._client.open(path, base, method=method, **how)

    def read(self, address: str) -> bytes:
        """What is at an address."""
        reply = self.open(address)
        if reply.status_code == 302:
            reply = self.open(reply.headers["Location"])
        assert reply.status_code == 200, (address, reply.status_code)
        return t.cast(bytes, getattr(reply, "content", None) or reply.data)

    def ask(self, path: str) -> dict[str, t.Any]:
        """The JSON of one of the views."""
        return t.cast("dict[str, t.Any]", self.open(f"{self.here}{path}").json)

    def upload(self, form: dict[str, t.Any]) -> None:
        """Send the form of a direct upload."""
        data = {**form["fields"], "file": (io.BytesIO(DATA), "d.txt")}
        reply = self.open(form["url"], "POST", data=data)
        assert reply.status_code in (200, 201, 204), (form["url"], reply.status_code)

    def follow_all(self) -> dict[str, str]:
        """Follow every address that there is; each has to lead where it should.

        :return: the addresses by their names.
        """
        return {**self.follow_files(), **self.follow_upload()}

    def follow_files(self) -> dict[str, str]:
        """Follow the addresses of a file."""
        found: dict[str, str] = dict(self.ask("/files"))
        for address in found.values():
            assert self.read(address) == DATA
        return found

    def follow_upload(self) -> dict[str, str]:
        """Upload directly, confirm, and follow the address of what was confirmed."""
        form = self.ask("/new")
        self.upload(form)
        confirmed = self.ask(f"/confirm/{form['token']}")["confirmed"]
        assert self.read(confirmed) == DATA
        return {"upload": form["url"], "confirmed": confirmed}
