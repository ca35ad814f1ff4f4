"""Uploads that arrive on the disk of the store: written once, and gone if not saved."""

from __future__ import annotations

import io
import logging
import os
import pathlib
import stat
import typing as t

import pytest
from flask import Flask
from flask import Request
from flask import request
from flask_wtf import FlaskForm
from flask_wtf.file import FileField
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.test import encode_multipart
from werkzeug.test import TestResponse

from flask_store import Store
from flask_store.exceptions import NotConfiguredError
from flask_store.stores.local import LocalStore
from flask_store.uploads.disk import Unnamed
from flask_store.uploads.multipart import IN_MEMORY
from flask_store.uploads.multipart import StreamedUpload
from tests.local.test_local import on_a_disk_of_its_own
from tests.local.test_local import staged

#: More than stays in memory, and no multiple of any buffer.
LARGE = os.urandom(IN_MEMORY + 70_001)
SMALL = b"small"

View: t.TypeAlias = t.Callable[[], str]


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder that does not exist yet."""
    return tmp_path / "uploads"


@pytest.fixture
def app(root: pathlib.Path) -> Flask:
    """An application, not bound to a store yet."""
    app = Flask(__name__)
    app.config.update(STORE_PATH=str(root), TESTING=True, WTF_CSRF_ENABLED=False)
    return app


@pytest.fixture
def store(app: Flask) -> Store:
    """The store of the application."""
    return Store(app)


def post(app: Flask, view: View, **files: t.Any) -> str:
    """What a view answers to a form of files."""
    app.add_url_rule("/", view_func=view, methods=["POST"])
    response = send(app, **files)
    assert response.status_code == 200, response.text
    return response.text


def send(app: Flask, **files: t.Any) -> TestResponse:
    """The answer to a form of files."""
    # The test client would leave a large body open in a temporary file of its own.
    boundary, body = encode_multipart(files)
    content_type = f"multipart/form-data; boundary={boundary}"
    return app.test_client().post("/", data=body, content_type=content_type)


@pytest.fixture(params=[False, True], ids=["nameless", "named"])
def named(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the disk of the store, as one of NFS, wants a name for every file."""
    if request.param:
        monkeypatch.setattr(
            "flask_store.dialects.local.probe", lambda *folders, **modes: False
        )
    return bool(request.param)


def part(data: bytes, name: str = "a.bin") -> FileStorage:
    """A file part."""
    return FileStorage(io.BytesIO(data), name)


def inode(number: int) -> int:
    """Which file a descriptor is."""
    return os.fstat(number).st_ino


def test_large_file_is_published_and_not_copied(app: Flask, store: Store) -> None:
    """The file that the parser wrote is the file that is stored."""

    def view() -> str:
        upload = request.files["afile"]
        arrived = inode(upload.stream.fileno())
        stored = store.Provider().save(upload)
        assert os.stat(stored.absolute_path()).st_ino == arrived
        assert stored.read() == LARGE
        assert upload.read() == LARGE  # left where it was, and readable
        return stored.relative_path()

    assert post(app, view, afile=part(LARGE)) == "a.bin"


def test_every_file_of_a_form(app: Flask, store: Store, root: pathlib.Path) -> None:
    """Large, small and empty ones, several of one field, fields in between."""
    sent = [LARGE, SMALL, b"", LARGE[::-1]]

    def view() -> str:
        files = request.files.getlist("many")
        assert request.form["text"] == "field"
        return " ".join(store.Provider().save(f).relative_path() for f in files)

    files = [part(data, f"{i}.bin") for i, data in enumerate(sent)]
    assert post(app, view, many=files, text="field") == "0.bin 1.bin 2.bin 3.bin"
    assert [(root / f"{i}.bin").read_bytes() for i in range(4)] == sent


def test_second_save_is_another_file(app: Flask, store: Store) -> None:
    """A copy, so that the two may be changed and deleted apart."""

    def view() -> str:
        provider = store.Provider()
        one, two = (provider.save(request.files["afile"]) for _ in range(2))
        assert one.read() == two.read() == LARGE
        assert not os.path.samefile(one.absolute_path(), two.absolute_path())
        return "ok"

    post(app, view, afile=part(LARGE))


@pytest.mark.usefixtures("named")
def test_stored_file_cannot_be_changed_through_the_upload(
    app: Flask, store: Store
) -> None:
    """What a view writes into its upload after the save stays outside of the store."""

    def view() -> str:
        upload = request.files["afile"]
        stored = store.Provider().save(upload)
        with pytest.raises(OSError):
            upload.stream.write(b"changed")
            upload.stream.flush()
        return stored.relative_path()

    post(app, view, afile=part(LARGE))
    assert store.Provider().file("a.bin").read() == LARGE


def test_view_may_change_the_upload_first(app: Flask, store: Store) -> None:
    """What is saved is what the stream has at that moment."""

    def view() -> str:
        stream = request.files["afile"].stream
        stream.seek(0)
        stream.write(b"changed")
        stream.truncate(IN_MEMORY + 1)
        stream.seek(3)
        return store.Provider().save(request.files["afile"]).relative_path()

    post(app, view, afile=part(LARGE))
    changed = b"changed" + LARGE[7 : IN_MEMORY + 1]
    assert store.Provider().file("a.bin").read() == changed


def test_overwrite_and_error(app: Flask, store: Store, root: pathlib.Path) -> None:
    """A taken name is replaced in one step, or refused and the upload kept."""

    def view() -> str:
        provider = store.Provider()
        provider.save(b"before", "a.bin")
        with pytest.raises(FileExistsError):
            provider.save(request.files["afile"], on_conflict="error")
        provider.save(request.files["afile"], on_conflict="overwrite")
        return "ok"

    post(app, view, afile=part(LARGE))
    assert (root / "a.bin").read_bytes() == LARGE
    assert staged(root) == []


def test_upload_that_is_not_saved_is_gone(
    named: bool, app: Flask, store: Store, root: pathlib.Path
) -> None:
    """At the end of the request, however the disk kept it."""
    open_before = len(os.listdir("/proc/self/fd"))

    def view() -> str:
        assert request.files["afile"].stream.read() == LARGE
        assert len(staged(root)) == named
        return "ok"

    post(app, view, afile=part(LARGE))
    assert staged(root) == []
    assert list(store.Provider().ls()) == []
    assert len(os.listdir("/proc/self/fd")) == open_before


@pytest.mark.usefixtures("named")
def test_client_that_hangs_up(app: Flask, store: Store, root: pathlib.Path) -> None:
    """Half a body stores nothing and leaves nothing."""

    @app.post("/")
    def view() -> str:
        return store.Provider().save(request.files["afile"]).relative_path()

    head = b'--x\r\nContent-Disposition: form-data; name="afile"; filename="a.bin"\r\n'
    body = head + b"\r\n" + LARGE
    response = app.test_client().post(
        "/",
        input_stream=io.BytesIO(body),
        content_length=2 * len(body),
        content_type="multipart/form-data; boundary=x",
    )
    assert response.status_code == 400
    del response
    assert staged(root) == []
    assert list(store.Provider().ls()) == []


@pytest.mark.parametrize(
    ("setting", "value", "fields"),
    [
        ("MAX_CONTENT_LENGTH", len(LARGE), {}),
        ("MAX_FORM_PARTS", 2, {"one": "1", "two": "2"}),
        ("MAX_FORM_MEMORY_SIZE", 1000, {"long": "x" * 1001}),
    ],
)
def test_limits_of_flask_hold(
    setting: str, value: int, fields: dict[str, str], app: Flask, store: Store
) -> None:
    """Each is answered with 413, and its absence is not."""

    def view() -> str:
        return store.Provider().save(request.files["afile"]).relative_path()

    post(app, view, afile=part(LARGE), **fields)
    app.config[setting] = value
    files = {"afile": part(LARGE), **fields}
    response = send(app, **files)
    assert response.status_code == RequestEntityTooLarge.code


@pytest.mark.parametrize("limit", [None, 1, 7, 500_000, 10**9])
def test_pieces_fit_the_memory_of_the_form(
    limit: int | None, app: Flask, store: Store
) -> None:
    """A body in larger pieces is refused no earlier than Werkzeug would."""
    app.config["MAX_FORM_MEMORY_SIZE"] = limit
    bare = Flask("bare")
    bare.config["MAX_FORM_MEMORY_SIZE"] = limit

    def view() -> str:
        return str(len(request.files["afile"].read()))

    answers = []
    for each in (app, bare):
        each.add_url_rule("/", view_func=view, methods=["POST"])
        response = send(each, afile=part(LARGE))
        answers.append((response.status_code, response.text))
    assert answers[0] == answers[1] or answers[0] == (200, str(len(LARGE)))


def test_form_of_flask_wtf(app: Flask, store: Store) -> None:
    """A form's field is the same upload."""
    app.secret_key = "key"

    class Form(FlaskForm):  # type: ignore[misc]
        afile = FileField()

    def view() -> str:
        form = Form()
        assert form.validate_on_submit()
        arrived = inode(form.afile.data.stream.fileno())
        stored = store.Provider().save(form.afile.data)
        assert os.stat(stored.absolute_path()).st_ino == arrived
        return "ok"

    post(app, view, afile=part(LARGE))


def test_own_request_class_stays_what_it_is(app: Flask) -> None:
    """The application's subclass is extended, not replaced."""

    class Own(Request):
        extra = "own"

    app.request_class = Own
    store = Store(app)

    def view() -> str:
        assert isinstance(request._get_current_object(), Own)  # type: ignore
        assert request.extra == "own"  # type: ignore[attr-defined]
        return type(store.Provider().save(request.files["afile"]).read()).__name__

    post(app, view, afile=part(LARGE))
    assert issubclass(app.request_class, Own)
    assert app.request_class.__name__ == "Own"


def test_own_way_with_files_stays(app: Flask) -> None:
    """An application that says where files go is not overruled, and its files save."""

    class Own(Request):
        def _get_file_stream(self, *args: t.Any, **kwargs: t.Any) -> t.IO[bytes]:
            return io.BytesIO()

    app.request_class = Own
    store = Store(app)

    def view() -> str:
        assert isinstance(request.files["afile"].stream, io.BytesIO)
        return store.Provider().save(request.files["afile"]).relative_path()

    post(app, view, afile=part(LARGE))
    assert app.request_class is Own
    assert store.Provider(None).file("a.bin").size == len(LARGE)


@pytest.mark.parametrize("off", [False, "False"])
def test_can_be_switched_off(app: Flask, off: bool | str) -> None:
    """Then the application's requests are not touched."""
    app.config["STORE_STREAM_UPLOADS"] = off
    Store(app)
    assert app.request_class is Request


def test_other_stores_of_the_application_copy(
    app: Flask, store: Store, tmp_path: pathlib.Path
) -> None:
    """A form does not say where its files will go; every store takes them."""
    app.config["MEMORY_STORE_PATH"] = "memory://streamed"
    app.config["OTHER_STORE_PATH"] = str(tmp_path / "other")
    stores = [Store(app, name="memory"), Store(app, name="other"), store]

    def view() -> str:
        upload = request.files["afile"]
        files = [each.Provider().save(upload) for each in stores]
        assert [f.read() for f in files] == [LARGE] * 3
        return "ok"

    post(app, view, afile=part(LARGE))


def test_each_store_syncs_as_it_is_told(
    app: Flask, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever received the file: a store that waits for the disk waits for it."""
    app.config.update(STORE_FSYNC=False, SAFE_STORE_FSYNC=True)
    app.config["SAFE_STORE_PATH"] = str(tmp_path / "safe")
    Store(app)
    safe = Store(app, name="safe")
    synced: list[int] = []
    real = os.fsync

    def record(fd: int) -> None:
        synced.append(inode(fd))
        real(fd)

    monkeypatch.setattr(os, "fsync", record)

    def view() -> str:
        safe.Provider().save(b"makes the folder", "first.bin")
        upload = request.files["afile"]
        arrived = inode(upload.stream.fileno())
        stored = safe.Provider().save(upload)
        assert os.stat(stored.absolute_path()).st_ino == arrived
        assert arrived in synced
        return "ok"

    post(app, view, afile=part(LARGE))


def test_store_that_is_no_disk(app: Flask) -> None:
    """Its uploads are ordinary temporary files, for there is no name yet."""
    app.config["STORE_PATH"] = "memory://no-disk"
    store = Store(app)

    def view() -> str:
        upload = request.files["afile"]
        assert os.fstat(upload.stream.fileno()).st_size == len(LARGE)
        return store.Provider().save(upload).relative_path()

    post(app, view, afile=part(LARGE))
    assert store.Provider(None).file("a.bin").read() == LARGE


def test_disk_that_refuses(
    app: Flask,
    store: Store,
    root: pathlib.Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The form is parsed all the same, the log says why, and save() raises."""
    root.write_text("no folder")

    def view() -> str:
        assert request.files["afile"].read() == LARGE
        with pytest.raises(NotConfiguredError, match="STORE_PATH"):
            store.Provider().save(request.files["afile"])
        return "ok"

    with caplog.at_level(logging.WARNING, "flask_store.uploads.multipart"):
        post(app, view, afile=part(LARGE))
    assert "not streamed into" in caplog.text
    assert "must be a folder" in caplog.text


def test_full_disk(root: pathlib.Path) -> None:
    """It is StoreFull while the body arrives, and nothing stays."""
    root.mkdir()
    script = f"""
import io, os
from flask import Flask, request
from flask_store import Store
from flask_store.exceptions import StoreFull
app = Flask("app")
app.config["STORE_PATH"] = {str(root)!r}
Store(app)
@app.errorhandler(StoreFull)
def full(error):
    return str(error), 507
@app.post("/")
def view():
    return request.files["afile"].filename
form = {{"afile": (io.BytesIO(bytes(900_000)), "a")}}
answer = app.test_client().post("/", data=form)
print(answer.status_code, answer.text)
del answer
disk = os.statvfs({str(root)!r})
print(os.listdir({str(root)!r}), disk.f_bfree == disk.f_blocks)
"""
    printed = on_a_disk_of_its_own(root, script)
    assert printed == (
        "507 The storage is full. Nothing was stored.\n['.flask-store'] True\n"
    )


def test_upload_outside_of_a_request(store: Store, app: Flask) -> None:
    """One that is made by hand is published like any other, and closed by hand."""
    stores = app.request_class.stores  # type: ignore[attr-defined]
    upload = StreamedUpload(stores)
    upload.write(LARGE)
    file = upload._staged
    assert isinstance(file, Unnamed)
    with app.app_context():
        stored = store.Provider().save(FileStorage(t.cast("t.IO[bytes]", upload), "a"))
    assert file.published
    upload.close()
    with pytest.raises(OSError):
        os.fstat(file.fd)
    assert stored.read() == LARGE


def test_crash_leaves_what_sweep_removes(root: pathlib.Path) -> None:
    """Where a file has to have a name, that of a dead process is found."""
    store = LocalStore.from_config({"STORE_PATH": str(root)})
    private = root / ".flask-store"
    upload = Unnamed(str(root), str(private), nameless=False)
    upload.write(LARGE)
    os.close(upload.fd)  # as the kernel does for a killed process
    (left,) = staged(root)
    os.utime(left, (1, 1))
    assert len(store.sweep()) == 1
    assert staged(root) == []


def test_upload_for_the_spool_is_linked_there(app: Flask, root: pathlib.Path) -> None:
    """A store in the background names the file in its spool, where it is private."""
    spool = root.parent / "spool"
    app.config.update(STORE_PATH="memory://spooled", STORE_BACKGROUND=True)
    app.config["STORE_SPOOL_PATH"] = str(spool)
    store = Store(app)
    linked: list[int] = []
    real = Unnamed.link

    def link(self: Unnamed, path: str) -> None:
        real(self, path)
        linked.append(os.stat(path).st_ino)

    def view() -> str:
        upload = request.files["afile"]
        arrived = inode(upload.stream.fileno())
        assert stat.S_IMODE(os.fstat(upload.stream.fileno()).st_mode) == 0o600
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Unnamed, "link", link)
            stored = store.Provider().save(upload)
        assert linked == [arrived]
        assert stored.upload is not None
        assert stored.upload.wait(10)
        return stored.relative_path()

    name = post(app, view, afile=part(LARGE))
    assert store.Provider(None).file(name).read() == LARGE
