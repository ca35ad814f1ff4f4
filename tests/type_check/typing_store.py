"""What an application does with a store, as ``make lint`` has it checked.

Nothing here runs. A line with ``type: ignore`` has to be an error: the checkers
complain of one that is none.
"""

from __future__ import annotations

import csv
import io
import json
import pathlib
import typing as t
import zipfile
from datetime import datetime
from datetime import timedelta

from flask import Flask
from flask import jsonify
from flask import request
from flask import Response
from werkzeug.datastructures import FileStorage

import flask_store
from flask_store import current_store
from flask_store import FileWrapper
from flask_store import NotConfiguredError
from flask_store import Provider
from flask_store import Store
from flask_store import StoreError
from flask_store.dialects import Stat
from flask_store.direct import DirectUpload
from flask_store.exceptions import AlreadyConfirmed
from flask_store.exceptions import BadLink
from flask_store.exceptions import FileExists
from flask_store.exceptions import FileNotFound
from flask_store.exceptions import NoFile
from flask_store.exceptions import StoreUnavailable
from flask_store.file_wapper import FileWrapper as DocumentedFileWrapper
from flask_store.signals import file_deleted
from flask_store.signals import file_saved
from flask_store.signals import upload_failed
from flask_store.signals import upload_finished
from flask_store.stores import Upload
from flask_store.stores.drafts import Draft
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.fsspec import OnConflict
from flask_store.stores.local import LocalStore
from flask_store.stores.s3 import S3GeventStore
from flask_store.stores.s3 import S3Store
from flask_store.views.listing import FolderListing
from flask_store.views.listing import Listing

app = Flask(__name__)
app.config["STORE_DOMAIN"] = "http://127.0.0.1:5000"
app.config["STORE_PATH"] = "uploads"
store = Store(app)
avatars = Store(app, name="avatars")

unbound = Store()
unbound.errorhandler(app)


@avatars.authorize
def may_see(file: FileWrapper) -> bool | Response:
    """Who may read the files of a store, with an answer of its own."""
    return file.key.startswith("public/") or jsonify("Log in.")


@store.authorize(denied=404)
def may_read(file: FileWrapper) -> bool:
    """Who may read those of the other one."""
    return file.filename != "secret.txt"


store.authorize(denied=401)  # type: ignore
store.authorize(404)  # type: ignore
t.assert_type(may_see(store.Provider().file("a")), bool | Response)


@app.get("/mine/<name>")
def mine(name: str) -> Response:
    """A file, after a look at who asks."""
    return store.Provider().file(name).response(as_attachment=True)


def create_app() -> Flask:
    """An application factory."""
    created = Flask(__name__)
    unbound.check_config(created)
    unbound.init_app(created)
    t.assert_type(unbound.Provider, type[FsspecStore])
    return created


# -- the quick start -------------------------------------------------------------------


@app.route("/upload", methods=["POST"])
def upload() -> str:
    """The view of the first page."""
    f = store.save(request.files.get("afile"))
    return f.absolute_url()


def save_everything(path: pathlib.Path) -> list[FileWrapper]:
    """Whatever can be saved, and every argument."""
    provider = avatars.Provider("avatars")
    with path.open("rb") as file:
        return [
            provider.save(request.files["afile"]),
            provider.save(path),
            provider.save(b"a,b\n1,2\n", "table.csv"),
            provider.save(b"...", filename="me.jpg", content_type="image/jpeg"),
            provider.save(bytearray(b"..."), "me.jpg", on_conflict="error"),
            provider.save(memoryview(b"..."), "me.jpg", on_conflict="overwrite"),
            provider.save(file, on_conflict="rename"),
            provider.save(io.BytesIO(b"..."), "me.jpg"),
            provider.save((b"...", "me.jpg"), cache_control="no-cache"),
            provider.save((file, pathlib.Path("me.jpg")), metadata={"by": "me"}),
            provider.save(("me.jpg", b"...")),  # type: ignore[arg-type]
            provider.put("2026/me.jpg", path, on_conflict="overwrite"),
            store.Provider(destination="avatars").save(None),
        ]


def folder_of(upload: FileStorage) -> pathlib.PurePath | None:
    """A folder for each upload."""
    return pathlib.PurePath("avatars") if upload.filename else None


def choose_folders() -> list[FsspecStore]:
    """A path, or a callable of the upload."""
    return [
        store.Provider(pathlib.Path("avatars")),
        store.Provider(folder_of),
        store.Provider(lambda upload: f"{datetime.now():%Y/%m}"),
        store.Provider().at(folder_of),
        store.at(folder_of),
        store.Provider(lambda: "avatars"),  # type: ignore[arg-type]
        store.Provider(lambda upload: 5),  # type: ignore[arg-type]
    ]


def save_as_told(file: Upload, on_conflict: OnConflict) -> FileWrapper:
    """Both aliases are there for functions like this one."""
    return store.Provider().save(file, on_conflict=on_conflict)


def use_file(f: FileWrapper, folder: pathlib.Path) -> tuple[str, ...]:
    """What a stored file says and does."""
    t.assert_type(f.size, int)
    t.assert_type(f.modified, datetime | None)
    t.assert_type(f.etag, str | None)
    t.assert_type(f.stat(), Stat)
    t.assert_type(f.exists(), bool)
    t.assert_type(f.read(), bytes)
    t.assert_type(f.provider.at("copies").save(f.open(), f.filename), FileWrapper)
    for piece in f.stream(start=10, stop=20):
        t.assert_type(piece, bytes)
    with f.open() as file:
        t.assert_type(file.read(), bytes)
    with f.open("r") as text:
        t.assert_type(text.readline(), str)
    f.delete()
    documented: DocumentedFileWrapper = f
    return (
        documented.filename,
        f.key,
        f.uri,
        f.content_type,
        f.relative_path(),
        f.absolute_path(),
        f.relative_url(),
        f.absolute_url(),
        f.signed_url(),
        f.signed_url(expires=60, download_as="me.jpg"),
        f.signed_url(60, download_name="me.jpg", method="HEAD", version_id="3"),
        f.download(folder),
        str(f),
    )


def use_provider(mode: t.Literal["r", "rb"]) -> int:
    """What a provider does by the name of a file."""
    provider = store.Provider()
    f = provider.file("me.jpg")
    t.assert_type(f, FileWrapper)
    t.assert_type(provider["me.jpg"], FileWrapper)
    t.assert_type(provider.exists("me.jpg"), bool)
    t.assert_type(provider.read("me.jpg"), bytes)
    t.assert_type(provider.open("me.jpg"), t.IO[bytes])
    t.assert_type(provider.open("me.jpg", "rb"), t.IO[bytes])
    t.assert_type(provider.open("me.jpg", "r"), t.IO[str])
    t.assert_type(provider.open("me.jpg", mode=mode), t.IO[bytes] | t.IO[str])
    t.assert_type(list(provider.stream("me.jpg", 0, 10)), list[bytes])
    t.assert_type(provider.copy("me.jpg", "old/me.jpg"), FileWrapper)
    t.assert_type(provider.move(f, "you.jpg", on_conflict="error"), FileWrapper)
    t.assert_type(provider.stat("me.jpg").size, int)
    t.assert_type(provider.at("avatars"), FsspecStore)
    t.assert_type(provider.safe_filename("me.jpg"), str)
    t.assert_type(provider.join("a", "b"), str)
    t.assert_type(provider.absolute_url("me.jpg"), str)
    t.assert_type(provider.signed_url("me.jpg", 60, download_as="you.jpg"), str)
    t.assert_type(provider.sweep(timedelta(days=2), dry_run=True), list[str])
    t.assert_type(provider.destination, str)
    t.assert_type(provider.uri, str)
    for found in provider.ls("avatars"):
        t.assert_type(found, FileWrapper)
    usage = provider.usage(by="type")
    for group in usage:
        t.assert_type(group.name, str)
    provider.delete("me.jpg")
    return usage.size


def use_store(mode: t.Literal["r", "rb"], f: FileWrapper) -> int:
    """The store has the same verbs, with the same types."""
    t.assert_type(store.save(request.files["afile"], folder="avatars"), FileWrapper)
    t.assert_type(store.save(b"...", "me.jpg", on_conflict="error"), FileWrapper)
    t.assert_type(store.put("2026/me.jpg", b"..."), FileWrapper)
    t.assert_type(store.file("me.jpg"), FileWrapper)
    t.assert_type(store["me.jpg"], FileWrapper)
    t.assert_type("me.jpg" in store, bool)
    t.assert_type(store.exists("me.jpg"), bool)
    t.assert_type(store.read("me.jpg"), bytes)
    t.assert_type(store.open("me.jpg"), t.IO[bytes])
    t.assert_type(store.open("me.jpg", "r"), t.IO[str])
    t.assert_type(store.open("me.jpg", mode=mode), t.IO[bytes] | t.IO[str])
    t.assert_type(list(store.stream("me.jpg", 0, 10)), list[bytes])
    t.assert_type(store.copy("me.jpg", "old/me.jpg"), FileWrapper)
    t.assert_type(store.move(f, "you.jpg", on_conflict="error"), FileWrapper)
    t.assert_type(store.signed_url("me.jpg", 60, download_as="you.jpg"), str)
    t.assert_type(store.uri, str)
    t.assert_type(store.storage_options, dict[str, t.Any])
    t.assert_type(store.at("avatars"), FsspecStore)
    for found in store.ls("avatars"):
        t.assert_type(found, FileWrapper)
    t.assert_type(store.ls()[0], FileWrapper)
    t.assert_type(store.glob("*.csv")[:2], list[FileWrapper])
    t.assert_type(store.ls(recursive=f.size > 3), Listing)
    folder = store.ls("avatars", recursive=False)
    t.assert_type(folder, FolderListing)
    t.assert_type(folder.folders[0].folders[0].name, str)
    t.assert_type(len(folder), int)
    t.assert_type(f.to_dict(), dict[str, t.Any])
    t.assert_type((f.name, f.checksum), tuple[str, str | None])
    store.delete(f, "me.jpg", *folder)
    store.delete("avatars", recursive=True)
    token = store.presign_upload("me.mp4", max_size=9, folder="films").token
    t.assert_type(store.confirm(token, folder="films"), FileWrapper)
    t.assert_type(current_store.save(b"...", "me.jpg"), FileWrapper)
    store.delete("me.jpg")
    return store.usage(by="type").size


def wait_for_upload(f: FileWrapper) -> bool:
    """An upload in the background."""
    if f.upload is None:
        return True
    t.assert_type(f.upload.progress, float)
    t.assert_type(f.upload.error, Exception | None)
    return f.upload.wait(timeout=10)


# -- direct uploads --------------------------------------------------------------------


@app.post("/presign")
def presign() -> Response:
    """Give a browser what it needs."""
    form = store.Provider("films").presign_upload(
        request.form["name"], content_type="video/mp4", max_size=1024**3, expires=600
    )
    t.assert_type(form, DirectUpload)
    t.assert_type(form.fields, dict[str, str])
    return jsonify(form)


@app.post("/confirm")
def confirm() -> str:
    """Take over what the browser has sent."""
    try:
        f = store.Provider("films").confirm(request.form["token"])
    except AlreadyConfirmed as exc:
        file: FileWrapper = exc.file
        return file.absolute_url()
    except BadLink as exc:
        return exc.description or ""
    return f.absolute_url()


# -- without the store, and without an application -------------------------------------


def save_elsewhere() -> FileWrapper:
    """The provider of the current application, under its three names."""
    t.assert_type(flask_store.Backend(), FsspecStore)
    t.assert_type(flask_store.StoreProvider(), FsspecStore)
    return Provider("avatars").save(request.files.get("afile"))


def stores_of_a_script() -> list[FsspecStore]:
    """Each class makes a store of its own kind."""
    t.assert_type(LocalStore.from_url("uploads", destination="avatars"), LocalStore)
    t.assert_type(S3Store.from_url("s3://photos/2026", anon=True), S3Store)
    t.assert_type(S3GeventStore.from_config({"STORE_S3_BUCKET": "b"}), S3GeventStore)
    t.assert_type(FsspecStore.from_config({"STORE_PATH": "uploads"}), FsspecStore)
    return [LocalStore.from_url("uploads"), S3Store.from_url("s3://photos")]


# -- signals and errors ----------------------------------------------------------------


@file_saved.connect
def saved(sender: Flask | None, file: FileWrapper) -> None:
    """A receiver."""
    print(file.absolute_url())


@file_deleted.connect_via(app)
def deleted(sender: Flask, file: FileWrapper, **extra: object) -> None:
    """A receiver of one application."""
    print(file.key)


def failed(sender: Flask, file: FileWrapper, error: Exception) -> None:
    """A receiver with the cause."""
    print(file.key, error)


upload_finished.connect(saved, app)
upload_failed.connect(failed)


def explain(name: str) -> str:
    """An error is a StoreError, and the builtin one that people catch already."""
    try:
        return store.Provider().read(name).decode()
    except FileNotFound as exc:
        builtin: FileNotFoundError = exc
        return f"{exc.key} {builtin.errno}"
    except (FileExists, StoreUnavailable, NotConfiguredError) as exc:
        return exc.key or ""
    except NoFile as exc:
        t.assert_type(exc.code, int)
        return str(exc.get_response().status_code)
    except StoreError as exc:
        return str(exc)


# -- what has to be an error -----------------------------------------------------------


def wrong(f: FileWrapper, path: pathlib.Path) -> None:
    """Each of these lines is a mistake that a checker finds."""
    provider = store.Provider()
    provider.save(path, on_conflict="replace")  # type: ignore[arg-type]
    provider.save(42)  # type: ignore[arg-type]
    provider.save(io.StringIO("text"), "a.txt")  # type: ignore[arg-type]
    provider.open("me.jpg", "w")  # type: ignore[call-overload]
    provider.usage(by="year")  # type: ignore[arg-type]
    provider.presign_upload("me.jpg")  # type: ignore[call-arg]
    provider.saev(path)  # type: ignore[attr-defined]
    f.open("r").read().decode()  # type: ignore[attr-defined]
    f.absolute_url.startswith("/")  # type: ignore[attr-defined]
    f.size = 1  # type: ignore[misc]
    store.Provider(location="avatars")  # type: ignore[call-arg]
    len(provider.ls())  # type: ignore[arg-type]
    for _ in provider:  # type: ignore[misc]
        pass
    store.save(path, on_conflict="replace")  # type: ignore[arg-type]
    store.save(io.StringIO("text"), "a.txt")  # type: ignore[arg-type]
    store.open("me.jpg", "w")  # type: ignore[call-overload]
    store.presign_upload("me.jpg")  # type: ignore[call-arg]
    store.saev(path)  # type: ignore[attr-defined]
    store.from_url("uploads")  # type: ignore[attr-defined]
    for _ in store:  # type: ignore[misc]
        pass


# -- files as data ---------------------------------------------------------------------


def as_data(stored: FsspecStore, file: FileWrapper) -> FileWrapper:
    """What libraries get, typed as they ask for it."""
    with stored.create("2026/a.zip", on_conflict="error", content_type="a/b") as out:
        t.assert_type(out, Draft)
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("a", b"b")
    with stored.create("2026/a.csv", mode="w") as text:
        csv.writer(text).writerow([1])
    stored.create("a", "ab")  # type: ignore
    t.assert_type(file.read(), bytes)
    t.assert_type(file.read(10), bytes)
    t.assert_type(file.seek(1), int)
    t.assert_type(json.load(file), t.Any)
    for line in file:
        t.assert_type(line, bytes)
    stored.save(file)
    t.assert_type(stored.object_store_options, dict[str, str])
    t.assert_type(stored.fs.fsid, str)
    t.assert_type(text.file, FileWrapper)
    return out.file
