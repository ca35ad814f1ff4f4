"""An application for gunicorn whose store is in use before the workers are forked."""

from __future__ import annotations

import json
import os

import flask

from flask_store import Store

app = flask.Flask(__name__)
app.config.update(json.loads(os.environ["PREFORK_CONFIG"]))
store = Store(app)

store.Provider().save(b"master", "master.txt").read()


@app.post("/upload")
def upload() -> str:
    """Store the file and answer with its key and the worker's process."""
    f = store.Provider().save(flask.request.files.get("afile"))
    return flask.json.dumps([str(f), os.getpid()])
