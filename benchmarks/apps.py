"""The same upload view, as each library wants it written: what gunicorn runs.

Every view takes the file in the field ``afile``, stores it under the folder of the
benchmark and answers with the path of what it stored, relative to that folder.
"""

from __future__ import annotations

import json
import os
import typing as t
from collections.abc import Callable

from flask import Flask
from flask import request

if t.TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse
    from _typeshed.wsgi import WSGIApplication
    from _typeshed.wsgi import WSGIEnvironment

BARE = "bare WSGI, nothing parsed"
BASE = "FileStorage.save"
DURABLE = "FileStorage.save, as durable"
OURS = "Flask-Store"


def our_settings() -> dict[str, dict[str, t.Any]]:
    """Flask-Store by the label of its row: its defaults, and what can be set."""
    rows: dict[str, dict[str, t.Any]] = {OURS: {}}
    for setting in ("STORE_STREAM_UPLOADS", "STORE_FSYNC"):
        rows[f"{OURS}, {setting} = False"] = {setting: False}
    return rows


def bare(config: dict[str, t.Any]) -> WSGIApplication:
    """The floor: the body as it comes, into a file."""
    root = config["folder"]
    os.makedirs(root, exist_ok=True)
    numbers = iter(range(10**9))

    def app(environ: WSGIEnvironment, start: StartResponse) -> list[bytes]:
        name = f"{next(numbers)}.bin"
        if environ["REQUEST_METHOD"] == "POST":
            with open(os.path.join(root, name), "wb", buffering=0) as file:
                while data := environ["wsgi.input"].read(64 * 1024):
                    file.write(data)
        body = name.encode()
        start("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    return app


def _flask(save: Callable[[t.Any], str], app: Flask | None = None) -> Flask:
    app = app or Flask(__name__)

    @app.post("/upload")
    def upload() -> str:
        return save(request.files["afile"])

    return app


def werkzeug(config: dict[str, t.Any]) -> Flask:
    """Flask alone, as its documentation shows it ("Uploading Files")."""
    from werkzeug.utils import secure_filename

    os.makedirs(config["folder"], exist_ok=True)

    def save(file: t.Any) -> str:
        name = secure_filename(file.filename)
        file.save(os.path.join(config["folder"], name))
        return name

    return _flask(save)


def durable(config: dict[str, t.Any]) -> Flask:
    """The same, which waits as Flask-Store does until the disk has the file and its
    name."""
    from werkzeug.utils import secure_filename

    os.makedirs(config["folder"], exist_ok=True)

    def save(file: t.Any) -> str:
        name = secure_filename(file.filename)
        save_durably(file, os.path.join(config["folder"], name))
        return name

    return _flask(save)


def save_durably(file: t.Any, path: str) -> None:
    """``FileStorage.save``, then fsync of the file and of its folder."""
    file.save(path)
    for name in (path, os.path.dirname(path)):
        number = os.open(name, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def flask_store(config: dict[str, t.Any]) -> Flask:
    """Flask-Store, with the settings of its row."""
    from flask_store import Store

    app = Flask(__name__)
    app.config.update(STORE_PATH=config["folder"], **config["settings"])
    store = Store(app)
    return _flask(lambda file: store.Provider().save(file).relative_path(), app)


def flask_reuploaded(config: dict[str, t.Any]) -> Flask:
    """Flask-Reuploaded."""
    from flask_uploads import ALL
    from flask_uploads import configure_uploads
    from flask_uploads import UploadSet

    app = Flask(__name__)
    app.config["UPLOADED_FILES_DEST"] = config["folder"]
    files = UploadSet("files", ALL)
    configure_uploads(app, files)
    return _flask(files.save, app)


def flask_storage(config: dict[str, t.Any]) -> Flask:
    """flask-storage."""
    import flask_storage as fs

    app = Flask(__name__)
    app.config.update(FS_ROOT=config["folder"])
    files = fs.Storage("files", fs.ALL)
    fs.init_app(app, files)
    return _flask(lambda file: os.path.join("files", files.save(file)), app)


def django(config: dict[str, t.Any]) -> WSGIApplication:
    """Django's FileSystemStorage, in a Django application."""
    from django.conf import settings
    from django.core.files.storage import FileSystemStorage
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest
    from django.http import HttpResponse
    from django.urls import path

    storage = FileSystemStorage(location=config["folder"])

    def upload(request: HttpRequest) -> HttpResponse:
        file = request.FILES["afile"]
        name = storage.save(file.name, file)
        # Flask says it by itself, and Django in a middleware.
        return HttpResponse(name, headers={"Content-Length": len(name)})

    settings.configure(
        ROOT_URLCONF=type("urls", (), {"urlpatterns": [path("upload", upload)]}),
        ALLOWED_HOSTS=["127.0.0.1"],
        SECRET_KEY="benchmark",
    )
    return t.cast("WSGIApplication", get_wsgi_application())


def s3(config: dict[str, t.Any]) -> Flask:
    """A Flask application that stores in S3 by one of the contenders there."""
    from .s3_contenders import CONTENDERS

    put = CONTENDERS[config["label"]](config["settings"])

    def save(file: t.Any) -> str:
        put(file.stream, file.filename)
        return str(file.filename)

    return _flask(save)


#: Those on the local disk by label; who is not ours, the base or the floor is a peer.
PEERS: dict[str, Callable[[dict[str, t.Any]], WSGIApplication]] = {
    BASE: werkzeug,
    "Flask-Reuploaded": flask_reuploaded,
    "flask-storage": flask_storage,
    "Django FileSystemStorage": django,
}


def create_app() -> WSGIApplication:
    """The application that the environment asks for."""
    config = json.loads(os.environ["BENCHMARK"])
    label = config["label"]
    if "STORE_S3_BUCKET" in config["settings"]:
        return s3(config)
    if label == BARE:
        return bare(config)
    if label == DURABLE:
        return durable(config)
    return PEERS.get(label, flask_store)(config)
