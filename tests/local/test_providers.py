"""The API of 0.0.4, and replays of how published applications use it."""

from __future__ import annotations

import base64
import gc
import io
import os
import pathlib
import stat
import tempfile
import typing as t

import pytest
import requests
from flask import Flask
from flask import jsonify
from flask import request
from werkzeug.datastructures import FileStorage

import flask_store
from flask_store import Store
from flask_store.cli import store as commands
from flask_store.exceptions import InvalidName
from flask_store.exceptions import NoFile
from flask_store.exceptions import NotConfiguredError
from flask_store.providers import Provider
from flask_store.providers.local import LocalProvider
from flask_store.providers.s3 import S3GeventProvider
from flask_store.providers.s3 import S3Provider
from flask_store.providers.temp import TemporaryStore
from flask_store.testing import upload
from tests.support.servers import S3Server
from tests.support.servers import serve

LOCAL = "flask_store.providers.local.LocalProvider"
S3 = "flask_store.providers.s3.S3Provider"

Config: t.TypeAlias = dict[str, t.Any]


@pytest.fixture
def local(tmp_path: pathlib.Path) -> Config:
    """How an application of that time configures local files."""
    return {"STORE_PROVIDER": LOCAL, "STORE_PATH": f"{tmp_path}/instance/uploads/"}


@pytest.fixture
def s3(seaweedfs_server: S3Server) -> Config:
    """How an application of that time configures S3, plus the test's endpoint; the
    bucket may be read by anybody, as theirs had to be for their plain URLs."""
    bucket = seaweedfs_server.make_bucket(public=True)
    return {
        "STORE_PROVIDER": S3,
        "STORE_DOMAIN": f"{seaweedfs_server.endpoint_url}/{bucket}/",
        "STORE_S3_REGION": "us-east-1",
        "STORE_S3_BUCKET": bucket,
        "STORE_S3_ACCESS_KEY": seaweedfs_server.access_key,
        "STORE_S3_SECRET_KEY": seaweedfs_server.secret_key,
        "STORE_S3_ENDPOINT_URL": seaweedfs_server.endpoint_url,
    }


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def config(request: pytest.FixtureRequest) -> Config:
    """Both, one after the other."""
    return t.cast(Config, request.getfixturevalue(request.param))


def application(config: Config) -> tuple[Flask, Store]:
    """An application with a store."""
    app = Flask(__name__)
    app.config.update(config)
    return app, Store(app)


@pytest.fixture
def store(config: Config) -> t.Iterator[t.Any]:
    """A store, in an application's context."""
    app, store = application(config)
    with app.app_context():
        yield store


# -- one file -------------------------------------------------------------------


def test_save_and_attributes(store: t.Any, config: Config) -> None:
    """After save the name is the stored one and everything is a plain str."""
    provider = store.Provider(upload(b"first", "my photo.jpg"), location="/2015/may")
    assert provider.filename == "my photo.jpg"
    assert provider.save() is None
    assert provider.filename == "my photo.jpg"
    assert provider.relative_path == "2015/may/my photo.jpg"
    assert provider.relative_url.endswith("2015/may/my%20photo.jpg")
    assert provider.absolute_url.endswith(f"/{provider.relative_url}")
    assert provider.absolute_path == f"{provider.store_path}/my photo.jpg"
    assert provider.store_path.endswith("2015/may")
    assert provider.exists() and provider.exists("my photo.jpg")
    assert not provider.exists("other.jpg")
    with provider.open() as file:
        assert file.read() == b"first"


def test_save_never_overwrites(store: t.Any) -> None:
    """A second file of one name has another filename, which leads to it."""
    first, second = (store.Provider(upload(data, "a.txt")) for data in (b"1", b"2"))
    first.save()
    second.save()
    assert first.filename == "a.txt"
    assert second.filename != "a.txt"
    assert second.filename in second.absolute_url
    with first.open() as one, second.open() as two:
        assert (one.read(), two.read()) == (b"1", b"2")


def test_filename_can_be_set_before_save(store: t.Any) -> None:
    """The application's name counts, cleaned; a folder belongs into location."""
    provider = store.Provider(upload(b"x", "client.txt"), location="users")
    provider.filename = "../7/me.txt"
    assert provider.relative_path == "users/me.txt"
    provider.save()
    assert provider.relative_path == "users/me.txt"
    assert provider.exists()


def test_location_that_cannot_stay(store: t.Any) -> None:
    """A location with what no folder should have in its name is cleaned, and the
    provider says where the file really is."""
    provider = store.Provider(upload(b"x"), location="a*b")
    provider.save()
    assert provider.location == "a_b"
    assert provider.relative_path == "a_b/a.txt"
    assert store.Provider("a.txt", location="a_b").exists()


def test_provider_of_a_stored_file(store: t.Any) -> None:
    """A name gives the file back; of a path, only the last part is its name."""
    store.Provider(upload(b"x", "a.txt"), location="audio/").save()
    for name in ("a.txt", "audio/a.txt", "/some/where/a.txt"):
        found = store.Provider(name, location="audio/")
        assert found.filename == "a.txt"
        assert found.relative_path == "audio/a.txt"
        with found.open() as file:
            assert file.read() == b"x"
        with pytest.raises(TypeError, match="names a stored file"):
            found.save()


def test_open_of_an_absent_file(store: t.Any) -> None:
    """It is an IOError, as it always was."""
    with pytest.raises(IOError, match="There is no file 'absent.txt'"):
        store.Provider("absent.txt").open()


def test_save_starts_at_the_beginning(store: t.Any) -> None:
    """A file that was just written is stored whole, and stays open where it was."""
    file = FileStorage(io.BytesIO(), "w.txt")
    file.stream.write(b"written")
    provider = store.Provider(file)
    provider.save()
    with provider.open() as stored:
        assert stored.read() == b"written"
    assert file.stream.tell() == 7
    assert not file.stream.closed


@pytest.mark.parametrize("fp", [None, "", upload(b"", "")])
def test_no_file(store: t.Any, fp: t.Any) -> None:
    """Nothing is falsy, does not exist and cannot be saved: Flask answers 400."""
    provider = store.Provider(fp)
    assert not provider
    assert str(provider) == ""
    assert not provider.exists()
    with pytest.raises(NoFile):
        provider.save()


def test_nothing_escapes(store: t.Any) -> None:
    """Neither a location nor a name leads out of the store."""
    for location in ("../..", "a/../../b"):
        with pytest.raises(InvalidName):
            store.Provider(upload(), location=location).save()
        with pytest.raises(InvalidName):
            store.Provider("a.txt", location=location).open()
    assert store.Provider("../../etc/passwd").relative_path == "passwd"


def test_helpers(store: t.Any) -> None:
    """join, safe_filename and the repr."""
    provider = store.Provider(upload(), location="l")
    assert provider.join("a/", "/b", "c.txt") == "a/b/c.txt"
    assert provider.safe_filename("a.txt") == "a.txt"
    provider.save()
    assert provider.safe_filename("a.txt").startswith("a_")
    assert str(provider) == "l/a.txt"
    assert repr(provider).endswith("Provider('a.txt', location='l')")


# -- settings -------------------------------------------------------------------


def test_provider_names() -> None:
    """The names that applications import, and how they are related."""
    assert issubclass(LocalProvider, Provider)
    assert issubclass(S3GeventProvider, S3Provider)
    assert issubclass(TemporaryStore, LocalProvider)
    assert flask_store.Provider is flask_store.StoreProvider


def project(folder: pathlib.Path) -> Flask:
    """An application in a folder, with all that must not leave it."""
    for name in ("app.py", "config.py", ".env", ".git/config", "instance/app.sqlite"):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("SECRET_KEY = 'k'")
    (folder / "photos").mkdir()
    (folder / "photos/old.jpg").write_bytes(b"old")
    return Flask("app", root_path=str(folder), instance_path=str(folder / "instance"))


def served(app: Flask, folder: pathlib.Path) -> list[str]:
    """What of a folder is read over HTTP, below any prefix."""
    client = app.test_client()
    return [
        f"{prefix}/{path.relative_to(folder)}"
        for path in sorted(folder.rglob("*"))
        for prefix in ("/uploads", "/flaskstore")
        if client.get(f"{prefix}/{path.relative_to(folder)}").status_code == 200
    ]


@pytest.mark.parametrize("path", [None, ".", "given"])
def test_working_directory_is_not_served(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    path: str | None,
) -> None:
    """Without settings: the working directory, whose files are found and saved, and
    have addresses below /uploads. As it may hold the code, nothing of it is served, and
    the log says so."""
    monkeypatch.chdir(tmp_path)
    app = project(tmp_path)
    path = str(tmp_path) if path == "given" else path
    app.config.update(STORE_PROVIDER=LOCAL, STORE_PATH=path)
    Store(app)
    assert "set STORE_PATH" in caplog.text
    assert app.config["STORE_PATH"] == (path or str(tmp_path))
    assert app.config["STORE_URL_PREFIX"] == "/uploads"
    with app.app_context():
        made = t.cast(t.Any, flask_store.Provider)
        provider = made(upload(b"x", "a.txt"))
        provider.save()
        assert (tmp_path / "a.txt").read_bytes() == b"x"
        assert provider.relative_url == "uploads/a.txt"
        assert made("old.jpg", location="photos").open().read() == b"old"
    assert served(app, tmp_path) == []


def test_named_store_of_its_own_folder_is_served(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store with a folder of its own is served, beside one that is not."""
    monkeypatch.chdir(tmp_path)
    app = project(tmp_path)
    app.config.update(STORE_PROVIDER=LOCAL, PHOTOS_STORE_PATH="photos")
    app.config["PHOTOS_STORE_PROVIDER"] = "flask_store.stores.local.LocalStore"
    Store(app), Store(app, name="photos")
    assert app.test_client().get("/flaskstore-photos/old.jpg").data == b"old"
    assert served(app, tmp_path) == []


@pytest.mark.parametrize("where", ["project", "above", "instance", "link"])
@pytest.mark.parametrize("provider", [LOCAL, None])
def test_folder_of_the_application_is_not_served(
    tmp_path: pathlib.Path, where: str, provider: str | None
) -> None:
    """A store whose folder holds the application's own is refused, unless nobody serves
    it; a folder within the application is fine."""
    folder = tmp_path / "project"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    paths = {"project": folder, "above": tmp_path, "instance": folder / "instance"}
    path = str(paths.get(where, tmp_path / "link"))
    app = project(folder)
    app.config.update(STORE_PROVIDER=provider, STORE_PATH=path)
    with pytest.raises(NotConfiguredError, match="nothing but uploads"):
        Store(app)
    assert served(app, folder) == []
    app.config["STORE_SERVE"] = "off"
    Store(app)
    assert served(app, folder) == []
    app = Flask("app", root_path=app.root_path, instance_path=app.instance_path)
    app.config.update(STORE_PROVIDER=provider, STORE_PATH=str(folder / "photos"))
    Store(app)
    assert len(served(app, folder / "photos")) == 1


@pytest.mark.parametrize("path", ["uploads", "uploads/", "./uploads//"])
def test_local_path_may_be_relative(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """A relative path and one with a slash at its end are the folder they name."""
    monkeypatch.chdir(tmp_path)
    app, store = application({"STORE_PROVIDER": LOCAL, "STORE_PATH": path})
    with app.app_context():
        provider = t.cast(t.Any, store.Provider)(upload(), location="l/")
        provider.save()
        assert provider.absolute_path == str(tmp_path / "uploads" / "l" / "a.txt")
        assert provider.store_path == str(tmp_path / "uploads" / "l")


@pytest.mark.parametrize("prefix", ["files", "/files", "files/"])
def test_url_prefix_without_a_slash(local: Config, prefix: str) -> None:
    """The prefix means the same with and without its slashes, for URL and route."""
    domain = "https://s3.example.com/bucket/"
    app, store = application(
        {**local, "STORE_URL_PREFIX": prefix, "STORE_DOMAIN": domain}
    )
    with app.app_context():
        provider = t.cast(t.Any, store.Provider)(upload(b"x"))
        provider.save()
        assert provider.relative_url == "files/a.txt"
        assert provider.absolute_url == f"{domain}files/a.txt"
    assert app.test_client().get("/files/a.txt").data == b"x"


@pytest.mark.parametrize("path", [None, "", "/", "/some/place/"])
def test_s3_path(s3: Config, path: str | None) -> None:
    """Without a path the bucket's root; the domain keeps the bucket it ends in, and
    the URL is where the object really is."""
    app, store = application({**s3, "STORE_PATH": path})
    with app.app_context():
        provider = t.cast(t.Any, store.Provider)(upload(b"x"), location="l")
        provider.save()
        key = f"{path or ''}/l/a.txt".strip("/").replace("//", "/")
        assert provider.absolute_path == key
        assert provider.relative_url == key
        assert provider.absolute_url == f"{s3['STORE_DOMAIN']}{key}"
        assert requests.get(provider.absolute_url, timeout=10).content == b"x"


@pytest.mark.parametrize("key", ["STORE_S3_BUCKET", "STORE_S3_SECRET_KEY"])
def test_s3_missing_setting(s3: Config, key: str) -> None:
    """A missing setting is named at init."""
    with pytest.raises(flask_store.NotConfiguredError, match=key):
        application({**s3, key: None})


def test_gevent_provider(s3: Config, tmp_path: pathlib.Path) -> None:
    """S3GeventProvider has the right filename and address as soon as save returns, and
    the file can be read at once."""
    provider_name = f"{S3[:-10]}S3GeventProvider"
    app, store = application(
        {**s3, "STORE_PROVIDER": provider_name, "STORE_SPOOL_PATH": str(tmp_path)}
    )
    with app.app_context():
        for _ in range(2):
            provider = t.cast(t.Any, store.Provider)(upload())
            provider.save()
        assert provider.filename.startswith("a_")
        assert provider.absolute_url == f"{s3['STORE_DOMAIN']}{provider.filename}"
        with provider.open() as file:
            assert file.read() == b"data"


def test_provider_by_its_class(local: Config) -> None:
    """A provider class works by itself, with the application's settings, whatever
    that application's own provider is."""
    app = Flask(__name__)
    app.config.update(local, STORE_PROVIDER=None)
    Store(app)
    with app.app_context():
        provider = LocalProvider(upload(b"x"))
        provider.save()
        assert provider.absolute_path == f"{local['STORE_PATH']}a.txt"


def test_commands(local: Config) -> None:
    """The commands of ``flask store`` work on the store behind a provider."""
    app, store = application(local)
    with app.app_context():
        t.cast(t.Any, store.Provider)(upload(), location="l").save()
    said = app.test_cli_runner().invoke(commands, ["ls"])
    assert said.exit_code == 0, said.output
    assert "l/a.txt" in said.output


def test_own_provider(local: Config) -> None:
    """A subclass of an application's own still sees its overridden methods called."""

    class Dated(LocalProvider):
        def save(self) -> None:
            self.filename = f"2015-05-01-{self.filename}"
            super().save()

    app, store = application({**local, "STORE_PROVIDER": Dated})
    with app.app_context():
        provider = t.cast(t.Any, store.Provider)(upload())
        provider.save()
        assert isinstance(provider, Dated)
        assert provider.relative_path == "2015-05-01-a.txt"


def test_temporary_store(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A private file in the temporary folder, under a name that nobody can guess,
    without any application."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    provider = TemporaryStore(upload(b"x", "../client.txt"))
    path = provider.save()
    assert path == provider.absolute_path == f"{tmp_path}/{provider.filename}"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert pathlib.Path(path).read_bytes() == b"x"
    assert path.endswith(".txt") and "client" not in path
    with provider.open() as file:
        assert file.read() == b"x"
    assert os.listdir(tmp_path) == [provider.filename]


def test_temporary_store_leaves_nothing_broken(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload that breaks leaves no file, and no file is a client's error."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    closed = io.BytesIO(b"x")
    closed.close()
    with pytest.raises(ValueError, match="closed"):
        TemporaryStore(FileStorage(closed, "a.txt")).save()
    with pytest.raises(NoFile):
        TemporaryStore("").save()
    assert os.listdir(tmp_path) == []


def test_temporary_store_is_never_served(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an application's provider it has no route: the folder is everybody's."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    app, _ = application(
        {"STORE_PROVIDER": "flask_store.providers.temp.TemporaryStore"}
    )
    assert [rule.endpoint for rule in app.url_map.iter_rules()] == ["static"]


# -- replays: what the applications do, over HTTP -------------------------------


def test_replay_digital_assets(config: Config) -> None:
    """An upload view answers with the absolute URL, then fetches it to measure the
    picture (as oldhawaii-metadata does)."""
    app, store = application(config)

    @app.post("/upload/content")
    def content() -> t.Any:
        provider = t.cast(t.Any, store.Provider)(request.files.get("file"))
        provider.save()
        size = len(requests.get(provider.absolute_url, timeout=10).content)
        return jsonify(image_url=provider.absolute_url, size=size)

    with serve(app) as url:
        if config["STORE_PROVIDER"] == LOCAL:
            # Known only now, as the port is.
            bound = t.cast(t.Any, store._provider(app))._bound
            bound.domain = url
        for expected in ("pic.png", "pic_"):
            files = {"file": ("pic.png", b"\x89PNG....")}
            answer = requests.post(f"{url}/upload/content", files=files, timeout=30)
            found = answer.json()
            assert found["size"] == 8
            assert expected in found["image_url"]
        assert requests.post(f"{url}/upload/content", timeout=10).status_code == 400


def test_replay_storage_facade(config: Config) -> None:
    """A facade maps its own settings onto ours, with None and with a prefix that has
    no slash, and uses put, url, path and exists (as pylot does)."""
    app = Flask(__name__)
    app.config.update(
        STORE_PATH=None,
        STORE_URL_PREFIX="files",
        STORE_DOMAIN="https://s3.amazonaws.com//",
        STORE_S3_REGION="us-east-1",
        STORE_S3_BUCKET="",
        STORE_S3_ACCESS_KEY=None,
        STORE_S3_SECRET_KEY=None,
    )
    app.config.update(config)
    store = flask_store.Store(app=app)
    with app.app_context():
        provider = t.cast(t.Any, store.Provider)(upload(b"x", "doc.txt"))
        provider.save()
        name = provider.filename
        again = t.cast(t.Any, store.Provider)(name)
        assert again.exists() is True
        assert t.cast(t.Any, store.Provider)("other").exists() is False
        assert again.relative_url == provider.relative_url == "files/doc.txt"
        assert again.absolute_url == provider.absolute_url
        assert again.relative_path == "doc.txt"
        assert again.absolute_path == provider.absolute_path
        assert provider.absolute_url.endswith("/files/doc.txt")
        if "STORE_DOMAIN" in config:
            assert provider.absolute_url.startswith(config["STORE_DOMAIN"])


def test_replay_store_in_another_module(config: Config) -> None:
    """A Store that is made first and initialised by a factory, in extensions.py, and
    the provider of flask_store inside of the view (as oldhawaii-metadata does)."""
    store = Store()

    def create_app() -> Flask:
        app = Flask(__name__)
        app.config.update(config)
        store.init_app(app)
        return app

    app = create_app()
    with app.test_request_context():
        ours, theirs = store.Provider, flask_store.Provider
        provider = t.cast(t.Any, theirs)(upload(b"x"))
        provider.save()
        assert isinstance(provider, ours)
        assert t.cast(t.Any, store.Provider)(provider.filename).exists()


def test_replay_base64_file_in_the_working_directory(
    config: Config, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture out of a form field is written to disk and saved from the file that
    is still open at its end; its FileStorage has no name but the file's. It can be
    saved elsewhere and closed afterwards (as OurHouse does)."""
    monkeypatch.chdir(tmp_path)
    app, store = application(config)
    with app.test_request_context(), open("house_7.png", "w+b") as file:
        file.write(base64.b64decode(base64.b64encode(b"picture")))
        picture = FileStorage(file)
        provider = t.cast(t.Any, store.Provider)(picture)
        provider.save()
        assert provider.filename == "house_7.png"
        with provider.open() as stored:
            assert stored.read() == b"picture"
        file.seek(0)
        picture.save("test1.png")
        picture.close()
    assert (tmp_path / "test1.png").read_bytes() == b"picture"
    gc.collect()
