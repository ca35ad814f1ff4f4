"""With which permissions the local disk gets files and folders."""

from __future__ import annotations

import errno
import io
import os
import pathlib
import stat
import typing as t
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from flask import Flask
from flask import request
from werkzeug.datastructures import FileStorage
from werkzeug.datastructures import MultiDict
from werkzeug.test import encode_multipart

from flask_store import Store
from flask_store.exceptions import NotConfiguredError
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.local import LocalStore
from flask_store.sync import Journal
from flask_store.sync import Sync
from flask_store.uploads.modes import Modes

#: More than is kept in memory, so that it is written to the disk of a store.
LARGE = b"x" * 600_000

#: The umask, the settings, and the modes of files and of folders that follow.
CASES: list[tuple[int, dict[str, t.Any], int, int]] = [
    (0o022, {}, 0o644, 0o755),
    (0o002, {}, 0o664, 0o775),
    (0o077, {}, 0o600, 0o700),
    (0o022, {"STORE_FILE_MODE": "640", "STORE_FOLDER_MODE": 0o750}, 0o640, 0o750),
    (0o077, {"STORE_FILE_MODE": 0o664, "STORE_FOLDER_MODE": "2775"}, 0o664, 0o2775),
    (0o002, {"STORE_FILE_MODE": "600", "STORE_FOLDER_MODE": "700"}, 0o600, 0o700),
    (0o002, {"STORE_FILE_MODE": "640"}, 0o640, 0o775),
]


@contextmanager
def under(umask: int) -> Iterator[None]:
    """Run with another umask."""
    before = os.umask(umask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture(params=[True, False], ids=["no name", "private name"])
def nameless(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Disks with files that have no name, and others."""
    if not request.param:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)


def modes_below(root: pathlib.Path) -> dict[str, int]:
    """The mode of everything in a folder, and of the folder itself."""
    paths = [root, *root.rglob("*")]
    return {
        str(path.relative_to(root)): stat.S_IMODE(path.stat().st_mode) for path in paths
    }


def save(store: FsspecStore) -> None:
    """In the root, in a folder, over another file."""
    store.save(b"x", "a.txt")
    store.at("deep/down").save(b"x", "a.txt")
    store.at("deep").save(b"x", "a.txt", on_conflict="overwrite")
    store.put("kept/as/it/is.txt", b"x")


def copy_and_move(store: FsspecStore) -> None:
    """To folders that are made for it."""
    f = store.save(b"x", "a.txt")
    store.copy(f, "copies/b.txt")
    store.move(f, "moved/c.txt")


def by_sync(store: FsspecStore) -> None:
    """From another store."""
    source = FsspecStore.from_url("memory://modes")
    f = source.at("from").save(b"x", "a.txt")
    assert [result.status for result in Sync(source, store, Journal(None)).run()] == [
        "copied"
    ]
    f.delete()


def post(app: Flask, files: dict[str, t.Any]) -> int:
    """Send a form, and give the status of the answer."""
    # The test client would leave a large body open in a temporary file of its own.
    boundary, body = encode_multipart(MultiDict(files))
    content_type = f"multipart/form-data; boundary={boundary}"
    return app.test_client().post("/", data=body, content_type=content_type).status_code


def by_form(store: FsspecStore) -> None:
    """A large part of a form, and a small one."""
    app = Flask("app")
    app.config.update(config_of(store))
    extension = Store(app)

    @app.post("/")
    def view() -> str:
        for file in request.files.getlist("file"):
            extension.Provider("form").save(file)
        return ""

    files = [
        FileStorage(io.BytesIO(data), "a.bin", name="file") for data in (LARGE, b"x")
    ]
    assert post(app, {"file": files}) == 200


def by_direct_upload(store: FsspecStore) -> None:
    """Through the application; the mark of it as well."""
    app = Flask("app")
    app.config.update(config_of(store), SECRET_KEY="k")
    extension = Store(app)
    with app.test_request_context():
        provider = extension.Provider("direct")
        upload = provider.presign_upload("a.txt", max_size=10)
        data = {**upload.fields, "file": (io.BytesIO(b"x"), "a.txt")}
        answer = app.test_client().post(upload.url, data=data)
        assert answer.status_code < 300
        provider.confirm(upload.token)


def in_the_background(store: FsspecStore) -> None:
    """What waits in the spool is private."""
    root = pathlib.Path(store.dialect.root)
    spool = root.parents[1] / "spool"
    there = LocalStore.from_config(
        config_of(store) | {"STORE_BACKGROUND": True, "STORE_SPOOL_PATH": spool}
    )
    f = there.at("later").save(b"x", "a.txt")
    modes = modes_below(spool)
    assert f.upload is not None and f.upload.wait(10)
    files = {mode for name, mode in modes.items() if (spool / name).is_file()}
    assert files <= {0o600} and set(modes.values()) <= {0o600, 0o700}


def config_of(store: FsspecStore) -> dict[str, t.Any]:
    """The settings of a store that another one is to have as well."""
    modes: Modes = t.cast("t.Any", store.dialect)._modes
    return {
        "STORE_PATH": store.dialect.root,
        "STORE_FILE_MODE": modes.file,
        "STORE_FOLDER_MODE": modes.folder,
    }


@pytest.mark.usefixtures("nameless")
@pytest.mark.parametrize(("umask", "settings", "file", "folder"), CASES)
@pytest.mark.parametrize(
    "write",
    [save, copy_and_move, by_sync, by_form, by_direct_upload, in_the_background],
)
def test_modes(
    write: t.Callable[[FsspecStore], None],
    umask: int,
    settings: dict[str, t.Any],
    file: int,
    folder: int,
    tmp_path: pathlib.Path,
) -> None:
    """They are those of any program, or those of the settings, whatever wrote them."""
    root = tmp_path / "new" / "files"
    with under(umask):
        write(LocalStore.from_config({"STORE_PATH": root, **settings}))
    modes = modes_below(root.parent)
    assert len(modes) > 2
    for name, mode in modes.items():
        expected = folder if (root.parent / name).is_dir() else file
        assert oct(mode) == oct(expected), name


def test_group_of_a_folder_is_passed_on(tmp_path: pathlib.Path) -> None:
    """The set-group-ID bit of a folder stays, which a plain chmod would take away."""
    root = tmp_path / "shared"
    root.mkdir()
    root.chmod(0o2775)
    LocalStore.from_config({"STORE_PATH": root, "STORE_FOLDER_MODE": "750"}).at(
        "a"
    ).save(b"x", "a.txt")
    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o2750


def test_upload_for_a_store_with_other_modes(tmp_path: pathlib.Path) -> None:
    """A form is written to the disk of one store, and saved in another one."""
    app = Flask("app")
    app.config.update(STORE_PATH=tmp_path / "a", B_STORE_PATH=tmp_path / "b")
    app.config["B_STORE_FILE_MODE"] = "600"
    first, second = Store(app), Store(app, name="b")

    @app.post("/")
    def view() -> str:
        first.Provider().save(request.files["one"])
        second.Provider().save(request.files["two"])
        return ""

    files = {name: FileStorage(io.BytesIO(LARGE), name) for name in ("one", "two")}
    with under(0o002):
        assert post(app, files) == 200
    assert stat.S_IMODE((tmp_path / "a/one").stat().st_mode) == 0o664
    assert stat.S_IMODE((tmp_path / "b/two").stat().st_mode) == 0o600


def test_disk_without_modes(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAT refuses to change them; the error names the settings, and nothing is left."""

    def refuse(*args: t.Any) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fchmod", refuse)
    LocalStore.from_config({"STORE_PATH": tmp_path}).save(b"x", "a.txt")
    store = LocalStore.from_config({"STORE_PATH": tmp_path, "STORE_FILE_MODE": "640"})
    opened = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NotConfiguredError, match="640.*Remove STORE_FILE_MODE"):
        store.save(b"x", "b.txt")
    assert len(os.listdir("/proc/self/fd")) == opened
    assert [f.name for f in store.ls()] == ["a.txt"]
