"""An application that takes resumable uploads, for the tests that break them.

Its settings are in the environment, as JSON in ``SETTINGS``.
"""

from __future__ import annotations

import json
import os
import typing as t

from flask import Flask
from flask import jsonify
from flask import request
from flask import Response

from flask_store import Store

app = Flask("resumable")
app.config.update(
    SECRET_KEY="the key",
    STORE_RESUMABLE=True,
    **json.loads(os.environ.get("SETTINGS", "{}")),
)
store = Store(app)
store.errorhandler(app)


@app.get("/")
def index() -> str:
    """Which process answers."""
    return str(os.getpid())


@app.post("/new")
def new() -> Response:
    """An upload for a browser."""
    said: dict[str, t.Any] = request.get_json()
    upload = store.presign_upload(said["name"], max_size=said["size"])
    return jsonify(upload)


@app.post("/done")
def done() -> dict[str, t.Any]:
    """Publish an upload."""
    f = store.confirm(request.get_json()["token"])
    return {"key": f.key, "size": f.size}
