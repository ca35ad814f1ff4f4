"""A gallery of uploads: ``make demo`` runs it. Copy what you need of it.

It needs Flask-Store with Pillow, and a browser without JavaScript is enough. Every
variable of the environment that begins with ``STORE_`` is a setting of the store::

    STORE_PATH=memory://gallery make demo
"""

from __future__ import annotations

import itertools
import os
import pathlib
import secrets
import tempfile
import typing as t
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urljoin
from urllib.parse import urlsplit

from flask import abort
from flask import Blueprint
from flask import current_app
from flask import flash
from flask import Flask
from flask import g
from flask import jsonify
from flask import redirect
from flask import render_template
from flask import request
from flask import Response
from flask import url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import SecurityError

from flask_store import FileWrapper
from flask_store import Store
from flask_store.exceptions import AlreadyConfirmed
from flask_store.static import uploader

#: How many files a page shows: full rows of two, three, four and six cards.
PER_PAGE = 48
#: How many names a page reads to show the newest files first: ten requests on S3. With
#: more files, ask a database for a page of them: see "SQLAlchemy" in the docs.
LISTED = 10_000
#: For how many seconds a link may be good.
EXPIRIES = {600: "10 minutes", 3600: "an hour", 86_400: "a day", 604_800: "a week"}
#: What a page may load: what is ours, and what other_origins() adds.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src {0};"
    " img-src {0} blob:; media-src {0}; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'"
)

store = Store()
pages = Blueprint("gallery", __name__)


def create_app(config: Mapping[str, t.Any] | None = None) -> Flask:
    """The application.

    :param config: settings that differ from those below and from the environment's.
    """
    app = Flask(__name__)
    app.config.from_mapping(
        MAX_CONTENT_LENGTH=10 * 1024**3,  # how large a file may be
        SESSION_COOKIE_SAMESITE="Strict",
        # An upload that was interrupted goes on where it stopped.
        STORE_RESUMABLE=True,
        # Cards show small variants of pictures. They are made once, and stored.
        STORE_VARIANTS={"thumb": {"width": 480, "height": 360, "fit": "cover"}},
        # The application serves the files, so that a bucket can be private.
        STORE_SERVE="proxy",
        # A page of another site could give its own name to this machine, and read the
        # answers. Put the name of your host here.
        TRUSTED_HOSTS=["127.0.0.1", "localhost"],
    )
    app.config.from_prefixed_env()  # FLASK_SECRET_KEY and so on
    app.config.update(s for s in os.environ.items() if s[0].startswith("STORE_"))
    app.config.update(config or {})
    if not app.config["SECRET_KEY"]:
        app.config["SECRET_KEY"] = secret_key(pathlib.Path(app.instance_path))

    store.init_app(app)
    store.errorhandler(app)
    app.register_error_handler(HTTPException, refused)
    app.before_request(refuse_other_sites)
    app.after_request(restrict)
    app.register_blueprint(pages)
    app.register_blueprint(uploader)
    return app


def secret_key(folder: pathlib.Path) -> str:
    """The key that signs links and tokens. It is made once, so that every worker has
    the same one, and what was signed is still good after a restart."""
    path = folder / "secret_key"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=folder) as new:
        new.write(secrets.token_hex())
        new.flush()
        with suppress(FileExistsError):
            os.link(new.name, path)
    return path.read_text()


# -- what holds for every request --------------------------------------------


def refuse_other_sites() -> None:
    """Refuse what the page of another site makes a browser send here.

    A browser says in ``Origin`` which site a POST comes from, and no script can change
    that. So forms need no token, and scripts and curl, which send no such header, need
    nothing either. With a login, browsers from before 2020 need a token in each form.
    """
    origin = request.headers.get("Origin", request.host_url)
    reads = request.method in ("GET", "HEAD", "OPTIONS")
    if not reads and urlsplit(origin).netloc != request.host:
        abort(403, "This is a form of another site. Use the one in the gallery.")


def restrict(response: Response) -> Response:
    """Let a page load what is ours. Responses with a file have stricter headers."""
    policy = POLICY.format(" ".join(["'self'", *g.get("origins", ())]))
    response.headers.setdefault("Content-Security-Policy", policy)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    # With "no-referrer", a form would be sent with "Origin: null".
    response.headers.setdefault("Referrer-Policy", "same-origin")
    return response


def other_origins() -> set[str]:
    """The bucket, to which a browser sends large files by itself, and STORE_DOMAIN."""
    form = store.presign_upload("name", max_size=1, resumable=False)
    urls = urlsplit(form.url), urlsplit(current_app.config["STORE_DOMAIN"] or "")
    return {f"{url.scheme}://{url.netloc}" for url in urls if url.netloc}


def refused(error: HTTPException) -> ResponseReturnValue:
    """Say what is wrong, in JSON or on a page with a way on."""
    # It has its response, such as a redirect, or the host is none of ours.
    if error.response is not None or isinstance(error, SecurityError):
        return error
    code = error.code or 500
    if request.accept_mimetypes.best == "application/json":
        return {"description": error.description}, code
    return render_template("error.html", error=error, files=waiting_files()), code


# -- the pages ---------------------------------------------------------------


def waiting_files() -> list[FileWrapper]:
    """What this host has yet to send to the storage, with ``STORE_BACKGROUND``."""
    return [store.file(entry.key) for entry in store.pending() if not entry.deleted]


@pages.get("/")
def index() -> str:
    """The newest files, or those with a word in their name, one page of them."""
    word = request.args.get("q", "").strip()
    number = max(1, request.args.get("page", 1, int))
    g.origins = other_origins()
    listing = iter(store.ls())
    found = {f.key: f for f in itertools.islice(listing, LISTED)}
    found |= {f.key: f for f in waiting_files()}
    files = [f for f in found.values() if word.lower() in f.download_name.lower()]
    files.sort(key=lambda f: f.modified.timestamp() if f.modified else 0, reverse=True)
    start = (number - 1) * PER_PAGE
    return render_template(
        "index.html",
        files=files[start : start + PER_PAGE],
        total=len(files),
        start=start,
        number=number,
        word=word,
        limit=LISTED if next(listing, None) else None,
        uri=store.uri,
    )


@pages.get("/files/<path:key>/download")
def download(key: str) -> Response:
    """The file, which a browser saves under the name that it had."""
    return store.file(key).response(as_attachment=True)


@pages.get("/files/<path:key>/link")
def link(key: str) -> str:
    """A link that is good for some time, and a form for another time."""
    f = store.file(key)
    expires = request.args.get("expires", 3600, int)
    if expires not in EXPIRIES:
        abort(400, "Choose one of the times for which a link can be good.")
    signed = f.signed_url(expires, download_name=f.download_name)
    url = urljoin(request.host_url, signed)
    return render_template("link.html", f=f, url=url, expires=expires, choice=EXPIRIES)


@pages.route("/files/<path:key>/delete", methods=["GET", "POST"])
def delete(key: str) -> ResponseReturnValue:
    """A form that asks whether the file is really to be deleted, and the deletion."""
    f = store.file(key)
    if request.method == "GET":
        return render_template("delete.html", f=f)
    f.delete()
    flash(f"{f.download_name} is deleted.")
    return redirect(url_for(".index"), 303)


# -- uploads -----------------------------------------------------------------


@pages.post("/")
def save() -> ResponseReturnValue:
    """The form of the page, from a browser without JavaScript."""
    uploads = [upload for upload in request.files.getlist("files") if upload.filename]
    for upload in uploads:
        flash(f"{store.save(upload).download_name} is stored.")
    if not uploads:
        flash("Choose a file first.", "error")
    return redirect(url_for(".index"), 303)


@pages.post("/upload")
def upload() -> str:
    """The form of the quick start: ``curl -F afile=@photo.jpg .../upload``."""
    f = store.save(request.files.get("afile"))
    return urljoin(request.host_url, f.absolute_url())


@pages.post("/uploads")
def new_upload() -> Response:
    """What the uploader needs to send one file."""
    limit = current_app.config["MAX_CONTENT_LENGTH"]
    return jsonify(store.presign_upload(request.get_json()["name"], max_size=limit))


@pages.post("/uploads/confirm")
def confirm() -> ResponseReturnValue:
    """What the uploader calls when a file has arrived. The page gets its card."""
    try:
        f = store.confirm(request.get_json()["token"])
    except AlreadyConfirmed as error:  # the answer to an earlier request was lost
        f = error.file
    return {"html": render_template("card.html", f=f)}
