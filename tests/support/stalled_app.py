"""An application that takes forms, with Flask's Request class or a store's."""

from __future__ import annotations

import os

from flask import Flask
from flask import request

from flask_store import Store

app = Flask(__name__)
if root := os.environ.get("STALLED_ROOT"):
    app.config.update(STORE_PATH=root)
    Store(app)


@app.post("/")
def post() -> str:
    """Wait for the whole form."""
    return str(request.files["afile"].filename)


@app.put("/")
def put() -> str:
    """Answer in turn with the others."""
    return "here"
