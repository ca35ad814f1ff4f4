"""An application that takes the body of a request as the file."""

from __future__ import annotations

import json
import os

import flask

from flask_store import Store

app = flask.Flask(__name__)
app.config.update(json.loads(os.environ["RAW_CONFIG"]))
store = Store(app)


@app.put("/<name>")
def put(name: str) -> str:
    """Store the body under the name."""
    return str(store.Provider().save(flask.request.stream, name))
