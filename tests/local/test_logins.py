"""Files behind a login: ``file.response()`` and ``store.authorize``, with every feature
that changes how a file is served."""

from __future__ import annotations

import copy
import io
import pathlib
import pickle
import typing as t
import urllib.parse
import uuid

import flask_login
import pytest
from flask import abort
from flask import Blueprint
from flask import current_app
from flask import Flask
from flask import redirect
from flask import request
from flask import Response
from flask import session
from werkzeug.exceptions import Forbidden
from werkzeug.exceptions import Unauthorized

from flask_store import FileWrapper
from flask_store import Store
from flask_store.exceptions import InvalidName
from flask_store.exceptions import NotConfiguredError
from flask_store.http import caching
from flask_store.http.refusals import RETRY_AFTER
from flask_store.stores import BaseStore
from flask_store.stores.fsspec import FsspecStore
from tests.support.logins import add_logins
from tests.support.logins import logged_in
from tests.support.logins import WAYS

DATA = b"0123456789" * 10


def make_app(**config: t.Any) -> Flask:
    """An application without a store."""
    app = Flask(__name__)
    app.config.update(SECRET_KEY="k", STORE_PATH=f"memory://{uuid.uuid4()}", **config)
    return app


def provider(app: Flask, name: str = "store") -> FsspecStore:
    """The store of an application."""
    with app.app_context():
        return t.cast("FsspecStore", app.extensions[name].Provider())


def save(app: Flask, name: str = "a.txt") -> FileWrapper:
    """Store a file."""
    with app.app_context():
        return provider(app).save(DATA, name)


def add_view(app: Flask, **arguments: t.Any) -> None:
    """Add a view that responds with the file that the URL names."""

    @app.route("/view/<path:key>", methods=["GET", "POST"])
    def view(key: str) -> t.Any:
        return provider(current_app).file(key).response(**arguments)


# -- response() ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "name", "disposition"),
    [
        ({}, "a.txt", 'inline; filename="a.txt"'),
        ({"as_attachment": True}, "a.txt", 'attachment; filename="a.txt"'),
        ({"download_name": "b.txt"}, "a.txt", 'inline; filename="b.txt"'),
        (
            {"as_attachment": True, "download_name": "b.txt"},
            "a.txt",
            'attachment; filename="b.txt"',
        ),
        ({"download_name": "b.txt"}, "a.html", 'attachment; filename="b.txt"'),
        ({"download_name": "../a\r\nX: y"}, "a.txt", 'inline; filename="a  X_ y"'),
    ],
)
def test_disposition(arguments: dict[str, t.Any], name: str, disposition: str) -> None:
    """The arguments mean what they mean to Flask's send_file, and a page is saved."""
    app = make_app()
    Store(app)
    add_view(app, **arguments)
    save(app, name)
    headers = app.test_client().get(f"/view/{name}").headers
    assert headers["Content-Disposition"] == disposition
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"cache_control": 3600}, TypeError),
        ({"cache_control": "max-age 60"}, ValueError),
        ({"cache_control": "no-cache\r\nX: y"}, ValueError),
        ({"cache_control": ""}, ValueError),
        ({"download_name": 5}, InvalidName),
    ],
)
def test_wrong_arguments(arguments: dict[str, t.Any], error: type[Exception]) -> None:
    """The caller is told what is wrong, and not the client that there is no file."""
    app = make_app()
    Store(app)
    file = save(app)
    with (
        app.test_request_context(),
        pytest.raises(error, match="cache_control|file name"),
    ):
        file.response(**arguments)


def test_name_without_its_word() -> None:
    """Alone, a name would be taken for as_attachment."""
    app = make_app()
    Store(app)
    file: t.Any = save(app)
    with app.test_request_context(), pytest.raises(TypeError, match="positional"):
        file.response("b.txt")


@pytest.mark.parametrize("serve", ["auto", "proxy", "off"])
def test_response_needs_no_route(serve: str) -> None:
    """A view serves a store that the application serves, and one that it does not."""
    app = make_app(STORE_SERVE=serve)
    Store(app)
    add_view(app)
    save(app)
    client = app.test_client()
    reply = client.get("/view/a.txt", headers={"Range": "bytes=5-9"})
    assert (reply.status_code, reply.data) == (206, b"56789")
    reply = client.head("/view/a.txt")
    assert (reply.status_code, reply.data) == (200, b"")
    assert reply.headers["Content-Length"] == "100"
    assert (
        client.get("/view/a.txt", headers={"Sec-Fetch-Dest": "script"}).status_code
        == 403
    )


def test_response_of_a_destination() -> None:
    """A provider with a destination responds with its own files."""
    app = make_app()
    store = Store(app)

    @app.get("/avatar/<name>")
    def avatar(name: str) -> t.Any:
        return store.Provider("avatars").response(name)

    with app.app_context():
        store.Provider("avatars").save(b"me", "me.txt")
    assert app.test_client().get("/avatar/me.txt").data == b"me"
    assert app.test_client().get("/avatar/no.txt").status_code == 404


def test_response_to_a_form() -> None:
    """A view that answers a POST sends the whole file, whatever the conditions say."""
    app = make_app()
    Store(app)
    add_view(app)
    save(app)
    for headers in (
        {},
        {"If-None-Match": "*"},
        {"If-Match": '"x"'},
        {"Range": "bytes=0-1"},
    ):
        reply = app.test_client().post("/view/a.txt", headers=headers)
        assert (reply.status_code, reply.data) == (200, DATA)


def test_response_of_an_async_view() -> None:
    """An asynchronous view returns it, too."""
    app = make_app()
    store = Store(app)

    @app.get("/view")
    async def view() -> t.Any:
        return store.Provider().file("a.txt").response()

    save(app)
    assert app.test_client().get("/view").data == DATA


def test_response_class_of_the_application() -> None:
    """The response is of the application's class, so that hooks can rely on it."""

    class Mine(Response):
        pass

    app = make_app()
    app.response_class = Mine
    Store(app)
    add_view(app)
    seen: list[Response] = []
    app.after_request(lambda response: seen.append(response) or response)  # type: ignore
    save(app)
    for _ in range(2):
        assert app.test_client().get("/view/a.txt").data == DATA
    assert isinstance(seen[0], Mine)
    assert type(seen[0]) is type(seen[1])


@pytest.mark.parametrize(
    ("arguments", "config", "said"),
    [
        ({}, {}, "private, no-cache"),
        ({}, {"STORE_CACHE_CONTROL": "public, max-age=60"}, "private, max-age=60"),
        ({}, {"STORE_CACHE_CONTROL": "no-store"}, "private, no-store"),
        ({"cache_control": "private, max-age=5"}, {}, "private, max-age=5"),
        ({"cache_control": "public, max-age=5"}, {}, "public, max-age=5"),
    ],
)
def test_cookies(
    arguments: dict[str, t.Any], config: dict[str, t.Any], said: str
) -> None:
    """A view may set cookies, and a session that is used does not expire. What a shared
    cache may keep has none."""
    app = make_app(**config)
    Store(app)
    add_view(app, **arguments)
    app.before_request(lambda: session.update(seen="today"))
    save(app)
    reply = app.test_client().get("/view/a.txt")
    assert reply.headers["Cache-Control"] == said
    assert ("Set-Cookie" in reply.headers) == said.startswith("private")
    assert "Cookie" in reply.headers["Vary"]


def test_missing_file() -> None:
    """A file that is not there is a 404 of the application, which no cache keeps."""
    app = make_app()
    Store(app)
    add_view(app)
    app.register_error_handler(404, lambda error: ("Nothing here.", 404))
    reply = app.test_client().get("/view/no.txt")
    assert (reply.status_code, reply.text) == (404, "Nothing here.")
    assert reply.headers["Cache-Control"] == "no-store"


def test_storage_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage that does not answer is a 503, and the client may try again."""
    app = make_app()
    Store(app)
    add_view(app)

    def fail(*args: t.Any) -> t.NoReturn:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(type(provider(app).dialect), "get", fail)
    reply = app.test_client().get("/view/a.txt")
    assert (reply.status_code, reply.headers["Retry-After"]) == (503, str(RETRY_AFTER))
    assert reply.headers["Cache-Control"] == "no-store"
    assert "no route" not in reply.text


def test_name_that_the_client_gave() -> None:
    """The UUID of a name that was taken does not show, whoever serves the file."""
    app = make_app()
    Store(app)
    add_view(app)
    first, second = save(app, "Rechnung.pdf"), save(app, "Rechnung.pdf")
    assert first.key != second.key
    assert first.download_name == second.download_name == "Rechnung.pdf"
    with app.app_context():
        link = second.signed_url()
        other = second.signed_url(download_name="b.pdf")
    client = app.test_client()
    for url in (f"/flaskstore/{second.key}", f"/view/{second.key}", link):
        said = client.get(url).headers["Content-Disposition"]
        assert said == 'inline; filename="Rechnung.pdf"'
    said = client.get(other).headers["Content-Disposition"]
    assert said == 'inline; filename="b.pdf"'


# -- authorize -------------------------------------------------------------------


def authorized(check: t.Any, **config: t.Any) -> Flask:
    """An application with a file, whose store lets a function decide."""
    app = make_app(**config)
    Store(app).authorize(check)
    save(app)
    return app


def returned(result: object) -> Flask:
    """The same with a function that returns one and the same."""
    return authorized(lambda file: result)


def get(app: Flask, path: str = "/flaskstore/a.txt", method: str = "GET") -> t.Any:
    """The response to a request of somebody."""
    return app.test_client().open(path, method=method)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("said", "status"),
    [(True, 200), (False, 403), (Forbidden(), 403), (Unauthorized(), 401)],
)
def test_decision(said: t.Any, status: int, method: str) -> None:
    """The function says yes or no, or answers with an exception of its own."""
    reply = get(returned(said), method=method)
    assert reply.status_code == status
    assert (reply.data == DATA) == (status == 200 and method == "GET")
    caching = "private, no-cache" if status == 200 else "no-store"
    assert reply.headers["Cache-Control"] == caching


def test_function_gets_the_file() -> None:
    """It gets the file with its whole key, and is called once a request."""
    seen: list[str] = []
    app = authorized(lambda file: bool(seen.append(f"{request.method} {file.key}")))
    get(app, "/flaskstore/ü/b%20c.txt")
    get(app, method="HEAD")
    assert get(app, method="OPTIONS").headers["Allow"]
    assert seen == ["GET ü/b c.txt", "HEAD a.txt"]


@pytest.mark.parametrize(
    "answer",
    [
        lambda file: redirect("/login", 301),
        lambda file: abort(redirect("/login", 301)),
        lambda file: ("", 301, {"Location": "/login"}),
    ],
    ids=["returned", "aborted", "tuple"],
)
def test_answer_of_its_own(answer: t.Any) -> None:
    """A redirect to the login, which may set a cookie and which no cache keeps."""

    def check(file: FileWrapper) -> t.Any:
        session["next"] = file.key
        return answer(file)

    reply = get(authorized(check))
    assert (reply.status_code, reply.location) == (301, "/login")
    assert reply.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" in reply.headers


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (None, "no-store"),
        ("public, max-age=60", "private, max-age=60"),
        ("max-age=60", "private, max-age=60"),
        ("private, max-age=60", "private, max-age=60"),
    ],
)
def test_answer_of_its_own_is_private(said: str | None, kept: str) -> None:
    """What the function answers is for one client, at the URL of the file."""
    headers = {} if said is None else {"Cache-Control": said}
    for answer in (
        lambda file: Response("Log in.", headers=headers),
        lambda file: abort(Response("Log in.", headers=headers)),
    ):
        assert get(authorized(answer)).headers["Cache-Control"] == kept


@pytest.mark.parametrize("said", [None, 1, 0, "yes", "", [], object()])
def test_anything_else_is_an_error(said: object) -> None:
    """A function without a return, or with a truth that is none, lets nobody read."""
    app = returned(said)
    with app.test_client() as client:
        reply = client.get("/flaskstore/a.txt")
        assert reply.status_code == 500
        assert DATA not in reply.data and "ETag" not in reply.headers
    app.testing = True
    with pytest.raises(TypeError, match="must return True, False"):
        get(app)


def test_function_that_fails() -> None:
    """An error in it lets nobody read, either."""
    reply = get(authorized(lambda file: 1 / 0))
    assert reply.status_code == 500
    assert DATA not in reply.data


def test_asynchronous_function() -> None:
    """The function may be asynchronous, as a view may."""

    async def check(file: FileWrapper) -> bool:
        return file.key == "a.txt"

    app = authorized(check)
    assert get(app).status_code == 200
    assert get(app, "/flaskstore/b.txt").status_code == 403


def test_denied_as_missing() -> None:
    """With denied=404 nobody can tell a file that is denied from none."""
    app = make_app()
    store = Store(app)

    @store.authorize(denied=404)
    def check(file: FileWrapper) -> bool:
        return "ok" in request.args

    save(app)
    denied, missing = get(app), get(app, "/flaskstore/no.txt?ok")
    assert denied.status_code == missing.status_code == 404
    assert denied.data == missing.data
    assert str(denied.headers) == str(missing.headers)
    assert get(app, "/flaskstore/a.txt?ok").data == DATA


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (None, "private, no-cache"),
        ("public, max-age=60, s-maxage=600", "private, max-age=60"),
        ("PUBLIC", "private, no-cache"),
        ("max-age=60, immutable", "private, max-age=60, immutable"),
        ("no-store", "private, no-store"),
    ],
)
def test_no_shared_cache(setting: str | None, said: str) -> None:
    """Whatever STORE_CACHE_CONTROL says, nobody but the client keeps the file."""
    app = authorized(lambda file: True, STORE_CACHE_CONTROL=setting)
    client = app.test_client()
    for headers in ({}, {"Range": "bytes=0-1"}, {"If-None-Match": "*"}):
        reply = client.get("/flaskstore/a.txt", headers=headers)
        assert reply.status_code in (200, 206, 304)
        assert reply.headers["Cache-Control"] == said


def test_signed_link_is_a_permission() -> None:
    """The function is not asked about a signed link, and no shared cache keeps the file
    of one. A link that is changed is refused."""
    app = authorized(lambda file: False, STORE_CACHE_CONTROL="public, max-age=9")
    with app.app_context():
        link = provider(app).file("a.txt").signed_url()
    reply = get(app, link)
    assert (reply.status_code, reply.data) == (200, DATA)
    assert reply.headers["Cache-Control"] == "private, max-age=9"
    assert get(app, link[:-1]).status_code == 403
    assert get(app).status_code == 403


def test_direct_upload_is_not_asked_about() -> None:
    """The form of a direct upload has a token of its own."""
    app = authorized(lambda file: False)
    with app.app_context():
        form = provider(app).presign_upload("b.txt", max_size=10)
    data = {**form.fields, "file": (io.BytesIO(b"x"), "b.txt")}
    assert app.test_client().post(form.url, data=data).status_code == 204
    with app.app_context():
        assert provider(app).confirm(form.token).read() == b"x"


# -- where and when it is registered ---------------------------------------------


def test_before_and_after_init_app() -> None:
    """One function holds for all applications of a Store, whenever they come."""
    before, after = make_app(), make_app()
    store: Store = Store()
    store.init_app(before)

    @store.authorize
    def check(file: FileWrapper) -> bool:
        return current_app.name == "nobody's"

    store.init_app(after)
    store.init_app(before)  # once more, as a test does that changes a setting
    for app in (before, after):
        save(app)
        assert get(app).status_code == 403


def test_another_store_is_not_asked_about() -> None:
    """Each Store has a function of its own, and one without is public."""
    app = make_app()
    Store(app)
    one, two = Store(app, name="one"), Store(app, name="two")
    one.authorize(lambda file: False)
    two.authorize(lambda file: file.key == "a.txt")
    save(app)
    save(app, "b.txt")
    statuses = [
        get(app, f"/flaskstore{prefix}/{name}").status_code
        for prefix in ("", "-one", "-two")
        for name in ("a.txt", "b.txt")
    ]
    assert statuses == [200, 200, 403, 403, 200, 403]


def test_function_in_a_blueprint() -> None:
    """A module with a blueprint registers it like any other."""
    store: Store = Store()
    pages = Blueprint("pages", __name__, url_prefix="/pages")

    @store.authorize
    def check(file: FileWrapper) -> t.Any:
        return redirect(f"/pages/login?next={urllib.parse.quote(request.path)}")

    @pages.get("/files/<path:key>")
    def show(key: str) -> t.Any:
        return store.Provider().file(key).response()

    app = make_app()
    store.init_app(app)
    app.register_blueprint(pages)
    save(app)
    assert get(app).location == "/pages/login?next=/flaskstore/a.txt"
    assert get(app, "/pages/files/a.txt").data == DATA


def test_pickled_store() -> None:
    """A copy of the Store, or a file from a pickle, is one of the same application."""
    app = authorized(lambda file: False)
    with app.app_context():
        for twin in (copy.deepcopy, lambda found: pickle.loads(pickle.dumps(found))):
            assert twin(app.extensions["store"]) is app.extensions["store"]
            file = twin(provider(app).file("a.txt"))
            assert file.absolute_url() == "/flaskstore/a.txt"
    assert get(app).status_code == 403


def test_one_function_decides() -> None:
    """A second function is a mistake: it would seem to decide, too."""
    store: Store = Store()
    store.authorize(lambda file: True)
    with pytest.raises(NotConfiguredError, match="decides already"):
        store.authorize(lambda file: False)


@pytest.mark.parametrize("wrong", [404, "may_read", object(), None])
def test_no_function(wrong: t.Any) -> None:
    """A status in place of the function is a slip, and the error says how it is
    written."""
    with pytest.raises(TypeError, match="denied=404"):
        Store().authorize(wrong)


def test_no_status() -> None:
    """Other statuses are said by the function itself."""
    store: Store = Store()
    with pytest.raises(ValueError, match="403 or 404"):
        store.authorize(denied=t.cast(t.Any, 401))(lambda file: True)


class Shelf(BaseStore):
    """A provider of an application's own."""

    register_route = True


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"STORE_SERVE": "off"}, "STORE_SERVE 'off'"),
        ({"STORE_SIGNED_URLS": True}, "STORE_SIGNED_URLS"),
        ({"STORE_PATH": "s3://photos"}, "STORE_SERVE 'auto'"),
        ({"STORE_PROVIDER": Shelf}, "has none"),
    ],
)
def test_other_ways_to_the_files(
    config: dict[str, t.Any], words: str, first: bool
) -> None:
    """A store whose files could be read without a question is refused, whichever comes
    first."""
    store: Store = Store()
    app = make_app()
    app.config.update(config)
    before = dict(app.config)

    def check(file: FileWrapper) -> bool:
        return True

    def both() -> None:
        if first:
            store.authorize(check)
        store.init_app(app)
        if not first:
            store.authorize(check)

    with pytest.raises(NotConfiguredError, match=words):
        both()
    if first:
        assert app.config == before
        assert "store" not in app.extensions


@pytest.mark.parametrize("way", ["signed", "before", "after", "blueprint"])
def test_folder_of_static_files(way: str, tmp_path: pathlib.Path) -> None:
    """Flask would send the files to everybody, by a route of its own."""
    static = tmp_path / "static"
    app = Flask(
        "app", root_path=str(tmp_path), instance_path=str(tmp_path / "instance")
    )
    app.config.update(SECRET_KEY="k", STORE_PATH=static / "uploads")
    store: Store = Store()
    if way == "blueprint":
        app.static_folder = None
        pages = Blueprint("pages", __name__, static_folder=static, url_prefix="/pages")
        app.register_blueprint(pages)
    if way == "signed":
        app.config["STORE_SIGNED_URLS"] = True
    elif way != "after":
        store.authorize(lambda file: True)
    with pytest.raises(NotConfiguredError, match="a folder of static files"):
        store.init_app(app)
        assert way == "after"  # a store of public files may be there
        store.authorize(lambda file: True)
    app.config["STORE_PATH"] = tmp_path / "staticky"
    store.init_app(app)


def test_error_names_the_setting_of_a_named_store() -> None:
    """The message has the settings as the application writes them."""
    app = make_app(AVATARS_STORE_SERVE="off")
    store = Store(app, name="avatars")
    with pytest.raises(NotConfiguredError, match="AVATARS_STORE_SERVE"):
        store.authorize(lambda file: True)


def test_login_page_of_flask_login() -> None:
    """Flask-Login's own answer is a redirect to its login page, with a message."""
    app = make_app()
    store = Store(app)
    logins = flask_login.LoginManager(app)
    logins.login_view = "login"
    logins.user_loader(lambda name: None)
    app.add_url_rule("/login", "login", lambda: "Who are you?")

    @store.authorize
    def check(file: FileWrapper) -> t.Any:
        if not flask_login.current_user.is_authenticated:
            return logins.unauthorized()
        return True

    save(app)
    client = app.test_client()
    reply = client.get("/flaskstore/a.txt")
    assert reply.status_code == 302
    assert reply.location == "/login?next=%2Fflaskstore%2Fa.txt"
    with client.session_transaction() as kept:
        assert kept["_flashes"]


# -- together with what else changes how a file is served -------------------------


def x_accel(reply: t.Any) -> None:
    """nginx sends the file, and the application said the rest."""
    assert reply.headers["X-Accel-Redirect"] == "/private/a.txt"


def x_sendfile(reply: t.Any) -> None:
    """The web server sends the file."""
    assert reply.headers["X-Sendfile"].endswith("/a.txt")


def whole(reply: t.Any) -> None:
    """The application sends the file."""
    assert reply.data == DATA
    assert reply.headers["ETag"]


class Pair(t.NamedTuple):
    """A feature that meets a login.

    :param settings: of the application.
    :param check: what looks at the response.
    :param base_url: the beginning of URLs.
    :param options: of ``Flask``.
    :param where: the host or the subdomain of the views.
    """

    settings: dict[str, t.Any]
    check: t.Callable[[t.Any], None] = whole
    base_url: str = "http://localhost"
    options: dict[str, t.Any] = {}
    where: dict[str, str] = {}


DISK = {"STORE_PATH": "{tmp_path}/files"}
PAIRS = {
    "local disk": Pair(DISK),
    "proxy": Pair({"STORE_SERVE": "proxy"}),
    "X-Accel-Redirect": Pair({**DISK, "STORE_X_ACCEL_REDIRECT": "/private/"}, x_accel),
    "X-Sendfile": Pair({**DISK, "USE_X_SENDFILE": True}, x_sendfile),
    "public caching": Pair({"STORE_CACHE_CONTROL": "public, max-age=60"}),
    "CDN": Pair({"STORE_DOMAIN": "https://cdn.example.com"}),
    "SCRIPT_NAME": Pair({}, base_url="http://localhost/shop"),
    "APPLICATION_ROOT": Pair(
        {"APPLICATION_ROOT": "/shop"}, base_url="http://localhost/shop"
    ),
    "STORE_HOST": Pair(
        {"STORE_HOST": "files.example.com"},
        base_url="https://files.example.com",
        options={"host_matching": True, "static_host": "www.example.com"},
        where={"host": "files.example.com"},
    ),
    "STORE_SUBDOMAIN": Pair(
        {"STORE_SUBDOMAIN": "files", "SERVER_NAME": "example.com"},
        base_url="https://files.example.com",
        options={"subdomain_matching": True},
        where={"subdomain": "files"},
    ),
    "background": Pair({"STORE_BACKGROUND": True, "STORE_SPOOL_PATH": "{tmp_path}/s"}),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("way", ["authorize", "view"])
def test_pairs(way: str, pair: Pair, tmp_path: pathlib.Path) -> None:
    """Whatever else is set, whoever is not logged in gets nothing, and whoever is gets
    the file, which no shared cache keeps."""
    app = Flask(__name__, **pair.options)
    given = {
        "STORE_PATH": f"memory://{uuid.uuid4()}",
        "SECRET_KEY": "k",
        **pair.settings,
    }
    for name, value in given.items():
        app.config[name] = (
            value.format(tmp_path=tmp_path) if isinstance(value, str) else value
        )
    Store(app)
    add_logins(app, **pair.where)
    file = save(app)
    if file.upload is not None:
        file.upload.wait(30)
    client, url = app.test_client(), f"{WAYS[way]}/{file.key}"
    denied = client.get(url, base_url=pair.base_url)
    assert denied.status_code == (403 if way == "authorize" else 401)
    assert DATA not in denied.data
    told = {"ETag", "Last-Modified", "X-Accel-Redirect", "X-Sendfile"}
    assert told.isdisjoint(denied.headers.keys())
    assert client.post("/login/ada", base_url=pair.base_url).status_code == 200
    reply = client.get(url, base_url=pair.base_url)
    assert reply.status_code == 200
    assert reply.headers["Cache-Control"].startswith("private")
    pair.check(reply)


def test_file_that_waits_in_the_spool(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may read a file can do so while it waits for its upload, and nobody
    else."""
    app = make_app(STORE_BACKGROUND=True, STORE_SPOOL_PATH=str(tmp_path))
    Store(app)
    monkeypatch.setattr(type(provider(app).dialect), "put_file", fail_to_store)
    add_logins(app)
    file = save(app)
    assert provider(app).waits(file.key)
    member, anonymous = logged_in(app), app.test_client()
    for way in ("authorize", "view"):
        assert member.get(f"{WAYS[way]}/{file.key}").data == DATA
        assert anonymous.get(f"{WAYS[way]}/{file.key}").status_code in (401, 403)
    file.delete()
    assert not provider(app).waits(file.key)
    assert member.get(f"/view/{file.key}").status_code == 404


def fail_to_store(*args: t.Any) -> t.NoReturn:
    """Stand for a storage that is down."""
    raise ConnectionError


# -- Cache-Control ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "setting", "private", "remaining", "said"),
    [
        (None, None, False, None, "no-cache"),
        (None, "public, max-age=9", False, None, "public, max-age=9"),
        ("max-age=5", "public, max-age=9", False, None, "max-age=5"),
        ("public, max-age=5", None, True, None, "private, max-age=5"),
        ("max-age=5", "no-store", True, None, "private, max-age=5"),
        ("public", "max-age=9", True, None, "private, no-cache"),
        (
            "max-age=5, stale-while-revalidate=99, stale-if-error=99",
            None,
            True,
            None,
            "private, max-age=5",
        ),
        ("s-maxage=9, max-age=junk", None, True, None, "private, max-age=junk"),
        (None, None, False, 7, "private, max-age=7"),
        (None, "public, max-age=9", False, 7, "public, max-age=9"),
        (None, "public, max-age=9", True, 7, "private, max-age=7"),
        (None, "public, max-age=5", True, 7, "private, max-age=5"),
        ("public, max-age=9", "public, max-age=8", False, 7, "private, max-age=7"),
        ("no-store", None, False, 7, "private, no-store"),
        ("no-cache", None, False, 7, "private, no-cache"),
        ("immutable", None, False, 7, "private, immutable, max-age=7"),
        ('private="x", max-age=5', None, True, None, "private, max-age=5"),
    ],
)
def test_cache_control(
    stored: str | None,
    setting: str | None,
    private: bool,
    remaining: int | None,
    said: str,
) -> None:
    """What a file says goes before the setting. Neither makes a private one public, nor
    lets a file be kept for longer than its link is good."""
    assert caching.cache_control(stored, setting, private, remaining) == said


@pytest.mark.parametrize(
    ("said", "private"),
    [
        ("private, max-age=5", True),
        ("Private", True),
        ("no-store", True),
        ("public", False),
        ("max-age=5", False),
        ("no-cache", False),
        ('private="Set-Cookie", max-age=5', False),
        ("", False),
    ],
)
def test_private(said: str, private: bool) -> None:
    """Only these keep a response out of a cache that people share (RFC 9111, 5.2.2)."""
    assert caching.is_private(said) == private
