"""The application that gunicorn runs in the tests; its settings come from SETTINGS."""

from __future__ import annotations

import json
import os
import typing as t

from flask import Flask
from flask import request

from flask_store import Store
from flask_store.concurrency.greenlets import patched

app = Flask(__name__, instance_path=os.environ["INSTANCE"])
app.secret_key = "of the tests"
app.config.update(json.loads(os.environ["SETTINGS"]))
store = Store(app)

if os.environ.get("USE_BEFORE_FORK"):
    store.Provider().exists("before")


@app.get("/")
def index() -> str:
    """Say that there is somebody, and who."""
    return str(os.getpid())


@app.post("/save")
def save() -> str:
    """Store the file and answer with its name."""
    return str(store.Provider().save(request.files["afile"]))


@app.get("/operations")
def operations() -> dict[str, t.Any]:
    """Try every operation, in this worker."""
    from tests.support.gevent_cases import every_operation

    found = every_operation(store.Provider(), app)
    return {"patched": patched(), "found": found}
