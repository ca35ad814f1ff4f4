"""Addresses of applications that are mounted below a path, or have several hosts."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from flask import Blueprint
from flask import Flask
from flask import url_for
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Response

from flask_store import Store
from flask_store.exceptions import NotConfiguredError
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.local import LocalStore
from tests.support.addresses import add_views
from tests.support.addresses import Browser
from tests.support.addresses import DATA

NOTHING = Response("not the shop", 404)


def make_app(path: pathlib.Path, **more: t.Any) -> Flask:
    """An application with a store in a folder, not yet with the store."""
    settings = {name: more.pop(name) for name in list(more) if name.isupper()}
    app = Flask(__name__, **more)
    app.config.update(SECRET_KEY="k", STORE_PATH=str(path / "uploads"), **settings)
    return app


# -- below a path ----------------------------------------------------------------


@pytest.mark.parametrize("how", ["dispatcher", "proxy", "top"])
@pytest.mark.parametrize("origin", [None, "http://localhost"])
@pytest.mark.parametrize("more", [{}, {"STORE_SIGNED_URLS": True}])
def test_below_a_path(
    tmp_path: pathlib.Path, how: str, origin: str | None, more: dict[str, bool]
) -> None:
    """Every address leads to the file, however the application is mounted. A domain
    stands in place of the path, as it always has."""
    path = {"dispatcher": "/shop", "proxy": "/shop", "top": ""}[how]
    domain = origin and f"{origin}{path}"
    app = make_app(tmp_path, STORE_DOMAIN=domain, **more)
    add_views(app, Store(app))
    mounted: t.Any = app
    if how == "dispatcher":
        mounted = DispatcherMiddleware(NOTHING, {"/shop": app})
    elif how == "proxy":  # nginx takes the prefix off and says so in a header
        proxied = DispatcherMiddleware(NOTHING, {"/shop": without_prefix(app)})
        mounted = proxied
    found = Browser(mounted, f"http://localhost{path}").follow_all()
    begin = f"{domain or path}/flaskstore/%C3%BC/"
    assert all(address.startswith(begin) for address in found.values()), found


def without_prefix(app: Flask) -> t.Any:
    """What a proxy does that hides the prefix from the application's server."""
    fixed = ProxyFix(app, x_prefix=1)

    def run(environ: t.Any, start_response: t.Any) -> t.Any:
        return fixed({**environ, "SCRIPT_NAME": ""}, start_response)

    return run


def test_odd_paths(tmp_path: pathlib.Path) -> None:
    """The path is percent-encoded as the rest is, and no two slashes begin it: a
    browser would take what follows for a host."""
    app = make_app(tmp_path)
    store = Store(app)
    for root, begin in [
        ("/ü b", "/%C3%BC%20b"),
        ("//evil.example", "/evil.example"),
        ("/a/b/", "/a/b"),
        ("/", ""),
        ("", ""),
    ]:
        environ = {"SCRIPT_NAME": root.encode().decode("latin-1")}
        with app.test_request_context("/", environ_overrides=environ):
            f = store.Provider().file("a.txt")
            assert f.absolute_url() == f"{begin}/flaskstore/a.txt"
            assert f.relative_url() == "flaskstore/a.txt"


def test_outside_of_a_request(tmp_path: pathlib.Path) -> None:
    """There the application says where it is mounted."""
    app = make_app(tmp_path, APPLICATION_ROOT="/shop", SERVER_NAME="example.com")
    store, named = Store(app), Store(app, name="named")
    for provider in (store.Provider, named.Provider):
        with app.app_context():
            inside = provider().file("a.txt").absolute_url()
        assert inside == provider().file("a.txt").absolute_url()
        assert inside.startswith("/shop/flaskstore")
    with app.test_request_context("/", base_url="http://example.com/mall"):
        assert store.Provider().absolute_url("a.txt") == "/mall/flaskstore/a.txt"
        assert url_for("flask_store.file", key="a.txt") == "/mall/flaskstore/a.txt"


def test_files_that_the_application_does_not_serve(tmp_path: pathlib.Path) -> None:
    """Whoever serves them does not know where the application is mounted."""
    app = make_app(tmp_path, STORE_SERVE="off", STORE_URL_PREFIX="/static/files")
    store = Store(app)
    with app.test_request_context("/", base_url="http://localhost/shop"):
        assert store.Provider().absolute_url("a.txt") == "/static/files/a.txt"


# -- several hosts ---------------------------------------------------------------

WWW, FILES = "www.example.com", "files.example.com:5000"
MATCHING: dict[str, t.Any] = {"host_matching": True, "static_host": WWW}


def views_everywhere(app: Flask) -> None:
    """Views on every host; the store is that of the application."""
    store: Store = app.extensions["store"]
    if app.url_map.host_matching:
        add_views(app, store, host="<anywhere>")
        return
    # A blueprint on a subdomain, and the domain itself.
    shop = Blueprint("shop", __name__, subdomain="shop")
    app.register_blueprint(shop)
    add_views(app, store)
    for rule in list(app.url_map.iter_rules()):
        if rule.endpoint in ("files", "new", "confirm"):
            app.add_url_rule(
                rule.rule,
                f"shop.{rule.endpoint}",
                app.view_functions[rule.endpoint],
                subdomain="shop",
            )


@pytest.mark.parametrize(
    ("more", "here", "begin"),
    [
        (MATCHING, WWW, ""),
        (MATCHING, FILES, f"http://{WWW}"),
        ({**MATCHING, "STORE_HOST": FILES}, FILES, ""),
        ({**MATCHING, "STORE_HOST": FILES}, WWW, f"http://{FILES}"),
        ({**MATCHING, "STORE_HOST": FILES.upper()}, FILES, ""),
        ({**MATCHING, "STORE_HOST": "<host>"}, WWW, ""),
        ({**MATCHING, "STORE_HOST": "<host>"}, FILES, ""),
        ({**MATCHING, "STORE_HOST": "<a>.example.com"}, WWW, ""),
        ({"SERVER_NAME": "Example.com"}, "example.com", ""),
        ({"SERVER_NAME": "example.com"}, "shop.example.com", "http://example.com"),
        (
            {"SERVER_NAME": "example.com", "STORE_SUBDOMAIN": "files"},
            "example.com",
            "http://files.example.com",
        ),
        (
            {"SERVER_NAME": "example.com:5000", "STORE_SUBDOMAIN": "files"},
            "shop.example.com:5000",
            "http://files.example.com:5000",
        ),
        (
            {"SERVER_NAME": "example.com", "STORE_SUBDOMAIN": "shop"},
            "shop.example.com",
            "",
        ),
        (
            {"SERVER_NAME": "example.com", "STORE_SUBDOMAIN": "<any>"},
            "shop.example.com",
            "",
        ),
    ],
)
@pytest.mark.parametrize("path", ["", "/mall"])
def test_hosts(
    tmp_path: pathlib.Path, more: dict[str, t.Any], here: str, begin: str, path: str
) -> None:
    """Every address leads to the host that has the route. Where that is the host of the
    request, the address has none."""
    kinds = {} if "host_matching" in more else {"subdomain_matching": True}
    app = make_app(tmp_path, **more, **kinds)
    Store(app)
    views_everywhere(app)
    mounted: t.Any = app
    if path:
        mounted = DispatcherMiddleware(NOTHING, {path: app})
    found = Browser(mounted, f"http://{here}{path}").follow_all()
    begin = f"{begin}{path}/flaskstore/%C3%BC/"
    assert all(address.startswith(begin) for address in found.values()), found


def test_route_is_only_there(tmp_path: pathlib.Path) -> None:
    """Neither files nor uploads are on the other hosts."""
    app = make_app(tmp_path, STORE_HOST=FILES, **MATCHING)
    store = Store(app)
    with app.app_context():
        f = store.Provider().save(DATA, "a.txt")
        assert f.absolute_url() == f"http://{FILES}/flaskstore/a.txt"
    client = app.test_client()
    for host, status in ((WWW, 404), (FILES, 200)):
        with client.get("/flaskstore/a.txt", base_url=f"http://{host}") as reply:
            assert reply.status_code == status
        reply = client.post("/flaskstore/b.txt?token=x", base_url=f"http://{host}")
        assert reply.status_code == (403 if status == 200 else 404)


def test_scheme(tmp_path: pathlib.Path) -> None:
    """It is the request's, and outside of one that which the application prefers."""
    app = make_app(tmp_path, STORE_HOST=FILES, PREFERRED_URL_SCHEME="https", **MATCHING)
    store = Store(app)
    assert store.Provider().absolute_url("a").startswith(f"https://{FILES}/")
    for scheme in ("http", "https"):
        with app.test_request_context("/", base_url=f"{scheme}://{WWW}"):
            assert store.Provider().absolute_url("a").startswith(f"{scheme}://{FILES}/")


def test_url_for(tmp_path: pathlib.Path) -> None:
    """Flask's own function finds the route, with the variables of the host."""
    app = make_app(tmp_path, STORE_HOST="<tenant>.example.com", **MATCHING)
    store = Store(app)
    with app.test_request_context("/", base_url="http://other.org"):
        url = url_for("flask_store.file", key="a b.txt", tenant="shop")
        assert url == "http://shop.example.com/flaskstore/a%20b.txt"
        with pytest.raises(NotConfiguredError, match="each variable in it.*url_for"):
            store.Provider().absolute_url("a.txt")
        with pytest.raises(NotConfiguredError, match="url_for"):
            store.Provider().presign_upload("a.txt", max_size=1)


def test_two_stores_on_two_hosts(tmp_path: pathlib.Path) -> None:
    """Two hosts may have the same path for different stores, and one host may not."""
    app = make_app(tmp_path, STORE_HOST=FILES, **MATCHING)
    app.config.update(
        OTHER_STORE_PATH=str(tmp_path / "other"),
        OTHER_STORE_HOST=WWW,
        OTHER_STORE_URL_PREFIX="/flaskstore",
    )
    store, other = Store(app), Store(app, name="other")
    with app.app_context():
        urls = [
            s.Provider().save(data, "a.txt").absolute_url()
            for s, data in ((store, b"1"), (other, b"2"))
        ]
    browser = Browser(app, f"http://{WWW}")
    assert [browser.read(url) for url in urls] == [b"1", b"2"]
    app.config["THIRD_STORE_URL_PREFIX"] = "/flaskstore"
    with pytest.raises(NotConfiguredError, match="serves '/flaskstore/<path:key>'"):
        Store(app, name="third")


def test_host_that_changes(tmp_path: pathlib.Path) -> None:
    """The last settings count."""
    app = make_app(tmp_path, STORE_HOST=FILES, **MATCHING)
    store = Store(app)
    app.config["STORE_HOST"] = "new.example.com"
    store.init_app(app)
    with app.app_context():
        url = store.Provider().save(DATA, "a.txt").absolute_url()
    assert url == "http://new.example.com/flaskstore/a.txt"
    assert Browser(app, f"http://{WWW}").read(url) == DATA


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"host_matching": True, "static_folder": None}, "Set STORE_HOST to one"),
        ({"STORE_HOST": FILES}, "host_matching=True"),
        ({**MATCHING, "STORE_SUBDOMAIN": "x"}, "Set STORE_HOST instead"),
        ({"STORE_SUBDOMAIN": "x"}, "subdomain_matching=True"),
        ({"STORE_SUBDOMAIN": "x", "subdomain_matching": True}, "set SERVER_NAME"),
        ({"STORE_SUBDOMAIN": "x", "SERVER_NAME": "example.com"}, "subdomain_matching"),
        (
            {**MATCHING, "STORE_HOST": "<tenant.example.com"},
            "STORE_HOST names the host",
        ),
        ({**MATCHING, "STORE_HOST": "<slug:t>.example.com"}, "converter 'slug'"),
        (
            {
                "SERVER_NAME": "example.com",
                "STORE_SUBDOMAIN": "<slug:t>",
                "subdomain_matching": True,
            },
            "STORE_SUBDOMAIN names the host",
        ),
    ],
)
def test_route_that_nothing_would_reach(
    tmp_path: pathlib.Path, more: dict[str, t.Any], message: str
) -> None:
    """It is refused when the application starts, and the error says what to set."""
    app = make_app(tmp_path, **more)
    with pytest.raises(NotConfiguredError, match=message):
        Store(app)
    app.config["STORE_SERVE"] = "off"
    Store(app)  # without a route nothing has to reach it


# -- whole addresses ---------------------------------------------------------------

#: What makes an address that an application serves.
ADDRESSES: dict[str, t.Callable[..., str]] = {
    "absolute": lambda f, **more: f.absolute_url(**more),
    "signed": lambda f, **more: f.signed_url(**more),
    "of the store": lambda f, **more: f.store.absolute_url(f.key, **more),
    "signed by the store": lambda f, **more: f.store.signed_url(f.key, **more),
    "variant": lambda f, **more: f.variant("small").url(**more),
    "signed variant": lambda f, **more: f.variant("small").signed_url(**more),
    "srcset": lambda f, **more: f.variant("small").srcset([20], **more),
}
VARIANTS = {"STORE_VARIANTS": {"small": {"width": 40}}}


@pytest.mark.parametrize("kind", ADDRESSES)
@pytest.mark.parametrize("more", [{}, {"STORE_SIGNED_URLS": True}])
def test_external(tmp_path: pathlib.Path, kind: str, more: dict[str, bool]) -> None:
    """It is the usual address behind the host of the request, as url_for() has it."""
    app = make_app(tmp_path, **VARIANTS, **more)
    f = Store(app).at(None).file("ü.png")
    make = ADDRESSES[kind]
    with app.test_request_context(base_url="https://shop.example.com:8443/shop"):
        short, whole = make(f), make(f, external=True)
        assert short.startswith("/shop/flaskstore")
        assert whole == f"https://shop.example.com:8443{short}"
        root = url_for("static", filename="x", _external=True).removesuffix("static/x")
        assert whole.startswith(root)
    with app.app_context(), pytest.raises(NotConfiguredError, match="SERVER_NAME"):
        make(f, external=True)


@pytest.mark.parametrize("kind", ADDRESSES)
def test_external_outside_of_a_request(tmp_path: pathlib.Path, kind: str) -> None:
    """A job in the background has the host of the configuration."""
    app = make_app(
        tmp_path,
        **VARIANTS,
        SERVER_NAME="shop.example.com",
        PREFERRED_URL_SCHEME="https",
        APPLICATION_ROOT="/shop",
    )
    f = Store(app).at(None).file("a.png")
    with app.app_context():
        found = ADDRESSES[kind](f, external=True)
        assert found.startswith("https://shop.example.com/shop/flaskstore")
        assert found.endswith(ADDRESSES[kind](f))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ADDRESSES)
@pytest.mark.parametrize("domain", ["https://cdn.example.com", None])
def test_external_where_there_is_a_host_already(
    tmp_path: pathlib.Path, kind: str, domain: str | None
) -> None:
    """A domain stays, and the host of the route."""
    more = {"STORE_DOMAIN": domain} if domain else {"STORE_HOST": "files.example.com"}
    app = make_app(tmp_path, host_matching=True, static_host="x", **VARIANTS, **more)
    f = Store(app).at(None).file("a.png")
    with app.test_request_context(base_url="https://shop.example.com"):
        made = ADDRESSES[kind]
        assert made(f, external=True) == made(f)
        assert made(f).startswith(domain or "https://files.example.com")


def test_external_of_other_stores(tmp_path: pathlib.Path) -> None:
    """The storage's own address stays, a store without a route is served by a web
    server in front, and one without an application has no host."""
    app = make_app(tmp_path, STORE_SERVE="off")
    app.config["PHOTOS_STORE_PATH"] = "s3://photos"
    f, photo = Store(app).at(None).file("a"), Store(app, "photos").at(None).file("a")
    with app.test_request_context(base_url="https://shop.example.com"):
        assert photo.absolute_url(external=True) == photo.absolute_url()
        assert photo.absolute_url().startswith("https://")
        assert f.absolute_url(external=True) == "https://shop.example.com/flaskstore/a"
    alone = FsspecStore.from_url("memory://whole").file("a")
    with pytest.raises(NotConfiguredError, match="STORE_DOMAIN"):
        alone.absolute_url(external=True)
    assert alone.absolute_url() == "/flaskstore/a"


def test_external_of_a_store_of_ones_own(tmp_path: pathlib.Path) -> None:
    """One whose method knows no such argument has whole addresses, too."""

    class Shelf(LocalStore):
        def absolute_url(self, name: t.Any) -> str:  # type: ignore[override]
            return f"/shelf/{name}"

    app = make_app(tmp_path, STORE_PROVIDER=Shelf)
    f = Store(app).at(None).file("a")
    with app.test_request_context(base_url="https://shop.example.com"):
        assert f.absolute_url(external=True) == "https://shop.example.com/shelf/a"
