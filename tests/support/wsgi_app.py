"""An application that serves files, and takes bodies and forms as files."""

from __future__ import annotations

import os

import flask
from flask import request

from flask_store import Store

ROOT = os.environ["WSGI_ROOT"]

app = flask.Flask(__name__)
app.config.update(STORE_PATH=ROOT)
store = Store(app)


@app.after_request
def grow(response: flask.Response) -> flask.Response:
    """Append to the file after its length was announced and before it is sent."""
    more = request.headers.get("X-Append")
    if more:
        with open(f"{ROOT}/{os.path.basename(request.path)}", "ab") as file:
            file.write(more.encode().decode("unicode_escape").encode("latin-1"))
    return response


@app.put("/stream/<name>")
def put_stream(name: str) -> tuple[str, int]:
    """Store the body under the name."""
    return str(store.Provider().save(request.stream, name)), 201


@app.put("/input/<name>")
def put_input(name: str) -> tuple[str, int]:
    """Store the server's own stream under the name."""
    return str(store.Provider().save(request.environ["wsgi.input"], name)), 201


@app.put("/data/<name>")
def put_data(name: str) -> tuple[str, int]:
    """Store what was read of the body under the name."""
    return str(store.Provider().save(request.get_data(), name)), 201


@app.post("/form")
def post_form() -> tuple[str, int]:
    """Store the file of a form."""
    return str(store.Provider().save(request.files["afile"])), 201
