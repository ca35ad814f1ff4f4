"""``store.errorhandler(app)``: what a view answers to an error that nobody catches."""

from __future__ import annotations

import logging
import typing as t
import uuid

import pytest
from flask import Blueprint
from flask import Flask
from flask import request

from flask_store import exceptions
from flask_store import Store
from flask_store import StoreError
from flask_store.http.refusals import RETRY_AFTER

#: Each error, and its status and words.
ANSWERS: dict[type[StoreError], tuple[int, str, str]] = {
    exceptions.FileNotFound: (404, "Not Found", "not found on the server"),
    exceptions.FileExists: (409, "Conflict", "another file of this name"),
    exceptions.StoreDenied: (502, "Bad Gateway", "See the log"),
    exceptions.StoreUnavailable: (503, "Service Unavailable", "Try again"),
    exceptions.VersionGone: (503, "Service Unavailable", "Try again"),
    exceptions.StoreFull: (507, "Insufficient Storage", "is full"),
    exceptions.NotConfiguredError: (502, "Bad Gateway", "See the log"),
    exceptions.StoreError: (502, "Bad Gateway", "See the log"),
    exceptions.ClientError: (400, "Bad Request", "secret"),
    exceptions.NoFile: (400, "Bad Request", "secret"),
    exceptions.InvalidName: (400, "Bad Request", "secret"),
    exceptions.InvalidProperty: (400, "Bad Request", "secret"),
    exceptions.BadLink: (403, "Forbidden", "secret"),
    exceptions.BadPicture: (422, "Unprocessable Entity", "secret"),
    exceptions.AlreadyConfirmed: (403, "Forbidden", "secret"),
    exceptions.NoLength: (411, "Length Required", "secret"),
    exceptions.TooLarge: (413, "Request Entity Too Large", "secret"),
    exceptions.WrongType: (415, "Unsupported Media Type", "secret"),
    exceptions.WrongOffset: (409, "Conflict", "secret"),
    exceptions.WrongChecksum: (460, "Checksum Mismatch", "secret"),
}


def make_app(error: type[StoreError] = exceptions.FileNotFound) -> Flask:
    """An application with a view that raises an error."""
    app = Flask(__name__)
    app.config["STORE_PATH"] = f"memory://{uuid.uuid4()}"
    app.extensions["the store"] = Store(app)

    @app.get("/view")
    def view() -> t.NoReturn:
        raise error("secret", "a.txt")

    return app


def handled(error: type[StoreError] = exceptions.FileNotFound) -> Flask:
    """The same with the handler."""
    app = make_app(error)
    app.extensions["the store"].errorhandler(app)
    return app


@pytest.mark.parametrize("accept", ["*/*", "application/json"])
@pytest.mark.parametrize("error", ANSWERS, ids=lambda error: error.__name__)
def test_answer(
    error: type[StoreError], accept: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Every error has a status and a text; what is ours to know is one line of the log,
    and no cache keeps the answer."""
    status, name, words = ANSWERS[error]
    reply = handled(error).test_client().get("/view", headers={"Accept": accept})
    assert reply.status_code == status
    assert reply.headers["Cache-Control"] == "no-store"
    retry_after = str(RETRY_AFTER) if status == 503 else None
    assert reply.headers.get("Retry-After") == retry_after
    assert words in reply.text
    assert ("secret" in reply.text) == (words == "secret")
    if accept == "application/json":
        assert reply.json is not None
        said = reply.json["description"]
        assert reply.json == {"code": status, "name": name, "description": said}
    else:
        assert f"<h1>{name}</h1>" in reply.text or status == 507
    lines = [(r.name, r.levelno, r.getMessage()) for r in caplog.records]
    logged = ("flask_store.http.refusals", logging.ERROR, "secret")
    assert lines == ([logged] if status >= 500 else [])


def test_every_error_is_in_the_table() -> None:
    """No error is forgotten here."""
    errors = {e for e in vars(exceptions).values() if isinstance(e, type)}
    assert {e for e in errors if issubclass(e, StoreError)} == {*ANSWERS}


def test_without_the_line() -> None:
    """Without it, Flask answers as it does to any error."""
    assert make_app().test_client().get("/view").status_code == 500


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        ("application/json", True),
        ("application/json, text/plain;q=0.5, */*;q=0.1", True),
        ("text/html, application/json;q=0.9", False),
        ("image/avif,image/webp,*/*;q=0.8", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_json_where_it_is_asked_for(accept: str, is_json: bool) -> None:
    """An error of the route, of response() and of a view is JSON for a client that
    prefers it to HTML."""
    app = handled()
    store = app.extensions["the store"]
    app.add_url_rule("/file", view_func=lambda: store.Provider()["no.txt"].response())
    for url in ("/view", "/file", "/flaskstore/no.txt"):
        reply = app.test_client().get(url, headers={"Accept": accept})
        assert (reply.status_code, reply.is_json) == (404, is_json)
        assert reply.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("handles", [503, exceptions.StoreUnavailable])
def test_pages_of_the_application(handles: int | type[StoreError]) -> None:
    """A handler that the application has for the status, or for the error, is used."""
    app = handled(exceptions.StoreUnavailable)
    app.register_error_handler(
        handles, lambda error: (f"Our {type(error).__name__}", 503)
    )
    reply = app.test_client().get("/view", headers={"Accept": "application/json"})
    name = "ServiceUnavailable" if handles == 503 else "StoreUnavailable"
    assert (reply.status_code, reply.text) == (503, f"Our {name}")
    assert ("Retry-After" in reply.headers) == (handles == 503)


def test_blueprint() -> None:
    """The views of one blueprint have it alone."""
    app = make_app()
    pages = Blueprint("pages", __name__, url_prefix="/pages")
    app.extensions["the store"].errorhandler(pages)
    pages.add_url_rule("/view", view_func=app.view_functions["view"])
    app.register_blueprint(pages)
    client = app.test_client()
    assert client.get("/pages/view").status_code == 404
    assert client.get("/view").status_code == 500


def test_errors_of_the_store() -> None:
    """What a store itself raises: no file, a missing one, a taken name."""
    app = handled()
    store = app.extensions["the store"]

    @app.post("/save")
    def save() -> str:
        stored = store.Provider().save(request.files.get("file"), on_conflict="error")
        return str(stored)

    app.add_url_rule("/read", view_func=lambda: store.Provider().read("no.txt"))
    client = app.test_client()
    assert client.post("/save").status_code == 400
    assert client.get("/read").status_code == 404
    statuses = [
        client.post("/save", data={"file": (__file__, "a.txt")}).status_code
        for _ in range(2)
    ]
    assert statuses == [200, 409]


@pytest.mark.parametrize("wrong", [None, lambda error: ("Oh.", 500), StoreError])
def test_no_application(wrong: t.Any) -> None:
    """It is no decorator, as that of Flask is, and says so."""
    store: Store = Store()
    with pytest.raises(TypeError, match=r"store.errorhandler\(app\)"):
        store.errorhandler(wrong)
