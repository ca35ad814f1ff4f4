"""An application that serves files, and takes bodies and forms as files."""

from __future__ import annotations

import os
import typing as t

import flask
from flask import request
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from flask_store import FileWrapper
from flask_store import Provider
from flask_store import Store
from flask_store.exceptions import FileNotFound

ROOT = os.environ["WSGI_ROOT"]
#: What the quick start reads. It gives addresses without a host then.
os.environ.update(STORE_PATH=f"{ROOT}/quickstart", STORE_SERVE="auto")

from examples import quickstart  # noqa: E402

views = flask.Blueprint("views", __name__)


@views.after_app_request
def change(response: flask.Response) -> flask.Response:
    """Change the file after its length was announced and before it is sent."""
    path = f"{ROOT}/files/{os.path.basename(request.path)}"
    more, size = request.headers.get("X-Append"), request.headers.get("X-Truncate")
    if more:
        with open(path, "ab") as file:
            file.write(more.encode().decode("unicode_escape").encode("latin-1"))
    if size:
        os.truncate(path, int(size))
    return response


@views.put("/stream/<name>")
def put_stream(name: str) -> tuple[str, int]:
    """Store the body under the name."""
    return str(Provider().save(request.stream, name)), 201


@views.put("/input/<name>")
def put_input(name: str) -> tuple[str, int]:
    """Store the server's own stream under the name."""
    return str(Provider().save(request.environ["wsgi.input"], name)), 201


@views.put("/data/<name>")
def put_data(name: str) -> tuple[str, int]:
    """Store what was read of the body under the name."""
    return str(Provider().save(request.get_data(), name)), 201


@views.post("/form")
def post_form() -> tuple[str, int]:
    """Store the file of a form."""
    return str(Provider().save(request.files["afile"])), 201


@views.put("/refused")
def refuse() -> t.NoReturn:
    """Refuse a body that nobody has read."""
    flask.abort(403)


@views.get("/new")
def new() -> flask.Response:
    """What a browser needs for a direct upload."""
    upload = Provider().presign_upload("direct.bin", max_size=2_000_000, resumable=True)
    return flask.jsonify(upload)


@views.post("/confirm/<token>")
def confirm(token: str) -> str:
    """Take over what a browser has sent."""
    try:
        return Provider().confirm(token).absolute_url()
    except FileNotFound:
        flask.abort(404)


@views.get("/view/<name>")
def view(name: str) -> flask.Response:
    """A file for whoever says that they are a member."""
    if not is_member():
        flask.abort(403)
    return t.cast(flask.Response, Provider().file(name).response())


def is_member(file: FileWrapper | None = None) -> bool:
    """Whether the client says so, in place of a login."""
    return "X-Member" in request.headers


@views.get("/link/<name>")
def link(name: str) -> str:
    """A signed link to a file."""
    return Provider().file(name).signed_url(download_as="ü.bin")


def make_app(**more: t.Any) -> flask.Flask:
    """An application with these views."""
    app = flask.Flask(__name__)
    app.config.update(SECRET_KEY="k", STORE_PATH=f"{ROOT}/files", **more)
    app.config.update(STORE_VARIANTS={"thumb": {"width": 40, "format": "png"}})
    Store(app)
    Store(app, name="members").authorize(is_member)
    app.register_blueprint(views)
    return app


app = DispatcherMiddleware(
    make_app(STORE_X_ACCEL_REDIRECT=os.environ.get("WSGI_ACCEL")),
    {
        # Werkzeug counts the bytes to a limit, and not to their length then.
        "/limited": make_app(MAX_CONTENT_LENGTH=10_000_000),
        "/quickstart": quickstart.app,
    },
)
