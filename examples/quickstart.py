"""The quick start: upload a file, get its URL.

Every ``STORE_`` variable of the environment is a setting, so that the same
application saves elsewhere without a change, for example into memory::

    STORE_PATH=memory://uploads flask --app examples/quickstart.py run
"""

from __future__ import annotations

import os

from flask import Flask
from flask import request

from flask_store import Store

app = Flask(__name__)

for name, value in os.environ.items():
    if name.startswith("STORE_"):
        app.config[name] = value

# This application serves the files itself, whatever the storage, so that the URL works
# for a private bucket too. STORE_SERVE=off gives the object's own address instead.
app.config.setdefault("STORE_SERVE", "proxy")
if app.config["STORE_SERVE"] == "proxy":
    port = os.environ.get("FLASK_RUN_PORT", "5000")
    app.config.setdefault("STORE_DOMAIN", f"http://127.0.0.1:{port}")

store = Store(app)


@app.get("/")
def index() -> str:
    return (
        "<!doctype html><title>Flask-Store</title>"
        '<form action="/upload" method="post" enctype="multipart/form-data">'
        '<input type="file" name="afile"> <button>Upload</button></form>'
    )


@app.post("/upload")
def upload() -> str:
    f = store.save(request.files.get("afile"))
    return f.absolute_url()
