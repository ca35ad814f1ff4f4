"""How the uploader comes into a page: its tags and its addresses."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import pathlib
import re
import typing as t

import pytest
from flask import Flask
from flask import render_template_string

from flask_store import Store
from flask_store.static import SCRIPT
from flask_store.static import STYLE
from flask_store.static import uploader


class Tags(html.parser.HTMLParser):
    """The tags of a page, each with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, dict[str, str | None]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: t.Any) -> None:
        self.found[tag] = dict(attrs)


def make_app(**options: t.Any) -> Flask:
    """An application with a page that loads the uploader."""
    app = Flask(__name__, **options)
    app.register_blueprint(uploader)
    return app


def tags(app: Flask, call: str = "store_uploader()", **request: t.Any) -> Tags:
    """The tags that a template gets in a request."""
    with app.test_request_context(**request):
        return Tags(render_template_string("{{ " + call + " }}"))


def test_tags() -> None:
    """Both files have a hash in their address, are kept, and are what the page
    expects."""
    app = make_app()
    found = tags(app).found
    assert found["script"]["type"] == "module"
    assert found["link"]["rel"] == "stylesheet"
    for tag, name, asset in (("script", "src", SCRIPT), ("link", "href", STYLE)):
        address = found[tag][name]
        assert address and re.search(r"/[0-9a-f]{16}/uploader\.(js|css)\Z", address)
        reply = app.test_client().get(address)
        assert reply.status_code == 200 and reply.data == asset.content
        assert reply.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.content_type == asset.content_type
        digest = base64.b64encode(hashlib.sha384(reply.data).digest()).decode()
        assert found[tag]["integrity"] == f"sha384-{digest}"


def test_other_addresses() -> None:
    """What an older version had, and anything else, is not found."""
    client = make_app().test_client()
    for name in ("uploader.js", "__init__.py", f"{SCRIPT.version}/__init__.py"):
        assert client.get(f"/flaskstore.static/{name}").status_code == 404
        assert client.get(f"/flaskstore.static/{'0' * 16}/{name}").status_code == 404


def test_attributes() -> None:
    """A page gives attributes to both tags. They cannot end a tag."""
    call = """store_uploader(nonce='a"><b>', data_turbo_track="reload", integrity=None,
                             async=True, defer=False)"""
    found = tags(make_app(), call).found
    assert set(found) == {"script", "link"}
    for attributes in found.values():
        assert attributes["nonce"] == 'a"><b>'
        assert attributes["data-turbo-track"] == "reload"
        assert attributes["async"] is None
        assert {"integrity", "defer"}.isdisjoint(attributes)


def test_without_style() -> None:
    """A page may have a style sheet of its own."""
    assert set(tags(make_app(), "store_uploader(style=False)").found) == {"script"}


def test_below_a_path() -> None:
    """The addresses begin where the application is mounted."""
    found = tags(make_app(), base_url="http://localhost/shop").found
    assert str(found["script"]["src"]).startswith("/shop/flaskstore.static/")


def test_several_hosts() -> None:
    """Where hosts are matched, every one has the script of its own pages."""
    app = make_app(host_matching=True, static_host="www.example.com")
    for host in ("www.example.com", "shop.example.com:5000"):
        found = tags(app, base_url=f"http://{host}").found
        address = str(found["script"]["src"])
        assert address.startswith("/flaskstore.static/")
        reply = app.test_client().get(address, base_url=f"http://{host}")
        assert reply.data == SCRIPT.content


def test_subdomain() -> None:
    """A page of a subdomain loads the script of the domain, which CORS allows."""
    app = make_app(subdomain_matching=True)
    app.config["SERVER_NAME"] = "example.com"
    found = tags(app, subdomain="www").found
    address = str(found["script"]["src"])
    assert address.startswith("http://example.com/flaskstore.static/")
    assert found["script"]["crossorigin"] is None
    reply = app.test_client().get(address)
    assert reply.headers["Access-Control-Allow-Origin"] == "*"


def test_prefix() -> None:
    """An application may serve them elsewhere."""
    app = Flask(__name__)
    app.register_blueprint(uploader, url_prefix="/assets")
    address = str(tags(app).found["script"]["src"])
    assert address.startswith("/assets/")
    assert app.test_client().get(address).status_code == 200


@pytest.mark.parametrize("serve", ["auto", "off"])
def test_beside_stores(tmp_path: pathlib.Path, serve: str) -> None:
    """One script serves all stores, also those without a route, and hides no file."""
    app = make_app()
    app.config.update(SECRET_KEY="k", STORE_PATH=str(tmp_path / "a"), STORE_SERVE=serve)
    app.config["STATIC_STORE_PATH"] = str(tmp_path / "b")
    Store(app)
    named = Store(app, name="static")
    found = tags(app).found
    client = app.test_client()
    assert client.get(str(found["script"]["src"])).status_code == 200
    with app.app_context():
        f = named.save(b"a file", filename="uploader.js", folder=SCRIPT.version)
        if serve == "auto":
            assert client.get(f.absolute_url()).data == b"a file"
