"""``Store``: the documented API, its settings, contexts, applications and route."""

from __future__ import annotations

import gc
import io
import os
import pathlib
import time
import typing as t
import warnings
from urllib.parse import quote

import flask
import pytest
from flask import Flask

import flask_store
import flask_store.file_wapper
from flask_store import Store
from flask_store.exceptions import InvalidName
from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import StoreUnavailable
from flask_store.files import FileWrapper
from flask_store.signals import file_deleted
from flask_store.signals import file_saved
from flask_store.stores import BaseStore
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.local import LocalStore
from flask_store.stores.s3 import S3Store
from flask_store.testing import HOSTILE
from flask_store.testing import upload
from tests.support.secret import SECRET

Make = t.Callable[..., Flask]


@pytest.fixture
def make(tmp_path: pathlib.Path) -> Make:
    """Makes applications with the settings given, in folders of their own."""
    made: list[Flask] = []

    def app(**config: t.Any) -> Flask:
        folder = tmp_path / f"app{len(made)}"
        made.append(Flask(f"app{len(made)}", instance_path=str(folder / "instance")))
        made[-1].config.update(STORE_PATH=str(folder / "uploads"), **config)
        return made[-1]

    return app


@pytest.fixture
def app(make: Make) -> Flask:
    """One application."""
    return make()


@pytest.fixture
def store(app: Flask) -> Store:
    """Its store."""
    return Store(app)


class Shelf(BaseStore):
    """A provider as 0.0.2 documents them: three methods of its own."""

    files: t.ClassVar[dict[str, bytes]] = {}
    REQUIRED_CONFIGURATION = ("STORE_SHELF",)

    def save(self, file: t.Any) -> FileWrapper:
        name = self.safe_filename(file.filename)
        self.files[self.key(name)] = file.read()
        return FileWrapper(name, self)

    def exists(self, name: str) -> bool:
        return self.key(name) in self.files

    def join(self, *parts: str) -> str:
        return "/".join(parts)


# -- binding -----------------------------------------------------------------


def test_store_binds_at_once(app: Flask) -> None:
    """Store(app) is all there is to it."""
    store = Store(app)
    assert app.extensions["store"] is store
    with app.app_context():
        assert store.Provider().save(upload(b"x")).read() == b"x"


def test_store_says_which_provider_it_has(app: Flask) -> None:
    """A provider of one's own is an argument of the type, which changes nothing."""
    app.config.update(STORE_PROVIDER=Shelf, STORE_SHELF="left")
    store: Store[Shelf] = Store[Shelf](app)
    assert type(store) is Store
    f = store.Provider().save(upload(b"x"))
    assert store.Provider().exists(f.filename)


def test_store_binds_in_a_factory(make: Make) -> None:
    """Store() is made once, init_app in each factory call."""
    store = Store()
    app = make()
    assert store.init_app(app) is None
    assert app.extensions["store"] is store
    with app.app_context():
        assert store.Provider().save(upload(b"x")).read() == b"x"


def test_one_store_serves_two_applications(make: Make) -> None:
    """Each application has its own path, prefix and domain."""
    store = Store()
    one, two = make(STORE_URL_PREFIX="/one"), make(STORE_DOMAIN="https://two.example")
    store.init_app(one)
    store.init_app(two)
    for app in (one, two):
        with app.app_context():
            store.Provider().save(upload(app.name.encode()))
    with one.app_context():
        f = store.Provider().file("a.txt")
        assert (f.absolute_url(), f.read()) == ("/one/a.txt", b"app0")
    with two.app_context():
        f = store.Provider().file("a.txt")
        assert f.absolute_url() == "https://two.example/flaskstore/a.txt"
        assert f.read() == b"app1"
    assert one.test_client().get("/one/a.txt").data == b"app0"
    assert two.test_client().get("/flaskstore/a.txt").data == b"app1"
    assert two.test_client().get("/one/a.txt").status_code == 404


@pytest.mark.parametrize("prefix", [None, "/elsewhere"])
@pytest.mark.parametrize("name", [None, "photos"])
def test_second_store_of_one_name_is_refused(
    app: Flask, prefix: str | None, name: str | None
) -> None:
    """It would take over the route, and the addresses of the first store's files would
    lead to its own. The first one goes on, and so does the configuration."""
    first = Store(app, name=name)
    f = first.Provider().save(upload(b"first"))
    app.config["STORE_PATH"] += "2"
    app.config["STORE_URL_PREFIX"] = app.config["PHOTOS_STORE_URL_PREFIX"] = prefix
    before = dict(app.config)
    with pytest.raises(NotConfiguredError, match=r"Store\(app, name='photos'\)"):
        Store(app, name=name)
    assert app.config == before
    assert app.test_client().get(f.absolute_url()).data == b"first"
    assert first.Provider().file("a.txt") == f


def test_second_store_without_a_route(make: Make) -> None:
    """Two stores that the application does not serve are in nobody's way."""
    app = make(STORE_SERVE="off")
    first = Store(app)
    app.config["STORE_PATH"] += "2"
    second = Store(app)
    assert first.Provider().save(upload(b"1")).read() == b"1"
    assert second.Provider().save(upload(b"2")).read() == b"2"
    assert app.extensions["store"] is second


def test_last_init_of_one_store_counts(app: Flask) -> None:
    """init_app reads the settings anew, and forgets the defaults of the time before."""
    store = Store(app)
    assert app.config["STORE_PROVIDER"] == "flask_store.stores.local.LocalStore"
    app.config["STORE_PATH"] = "nosuch://anew"
    with pytest.raises(NotConfiguredError, match="^STORE_PATH names"):
        store.init_app(app)
    app.config["STORE_PATH"] = "memory://anew"
    store.init_app(app)
    assert t.cast(t.Any, app.request_class).stores == (store.Provider._bound,)
    f = store.Provider().save(upload(b"new"))
    assert f.uri == "memory:///anew/a.txt"
    assert app.test_client().get(f.absolute_url()).data == b"new"
    assert app.config["STORE_PROVIDER"] == "flask_store.stores.fsspec.FsspecStore"
    f.delete()


def test_application_that_is_gone_is_forgotten(make: Make) -> None:
    """A store that has seen many applications, as in tests, does not keep them."""
    store = Store(make())
    for _ in range(3):
        store.init_app(Flask("gone", instance_path="/nonexistent/instance"))
    gc.collect()
    assert len(store._providers) <= 1


# -- named stores ------------------------------------------------------------


def test_named_store_has_settings_of_its_own(make: Make, tmp_path: t.Any) -> None:
    """AVATARS_STORE_ settings go before STORE_ ones, which fill the gaps."""
    app = make(
        STORE_DOMAIN="https://example.com", AVATARS_STORE_PATH=str(tmp_path / "av")
    )
    store, avatars = Store(app), Store(app, name="avatars")
    mine = store.Provider().save(upload(b"plain"))
    face = avatars.Provider("faces").save(upload(b"face"))
    assert mine.absolute_url() == "https://example.com/flaskstore/a.txt"
    assert face.absolute_url() == ("https://example.com/flaskstore-avatars/faces/a.txt")
    assert (tmp_path / "av" / "faces" / "a.txt").read_bytes() == b"face"
    assert app.extensions["store"] is store
    assert app.extensions["store.avatars"] is avatars
    client = app.test_client()
    assert client.get("/flaskstore/a.txt").data == b"plain"
    assert client.get("/flaskstore-avatars/faces/a.txt").data == b"face"
    assert client.get("/flaskstore/faces/a.txt").status_code == 404
    with app.app_context():
        assert flask_store.Provider().file("a.txt") == mine


def test_named_store_does_not_change_the_settings(make: Make) -> None:
    """The defaults of a named store are not put into the application's."""
    app = make(AVATARS_STORE_PATH="memory://avatars")
    before = dict(app.config)
    Store(app, name="avatars")
    assert app.config == before


def test_named_store_on_s3_has_the_addresses_of_its_keys(make: Make) -> None:
    """The prefix that keeps two routes apart is not part of an object's address."""
    app = make(
        AVATARS_STORE_PATH="s3://photos/faces",
        AVATARS_STORE_DOMAIN="https://photos.s3.amazonaws.com",
    )
    f = Store(app, name="avatars").Provider().file("me.jpg")
    assert f.absolute_url() == "https://photos.s3.amazonaws.com/faces/me.jpg"


def test_two_stores_cannot_share_a_prefix(make: Make) -> None:
    """The second store is refused, whatever the spelling, and told what to set."""
    app = make(AVATARS_STORE_URL_PREFIX="flaskstore/")
    Store(app)
    with pytest.raises(NotConfiguredError, match="STORE_URL_PREFIX of its own"):
        Store(app, name="avatars")


def test_name_is_part_of_a_setting() -> None:
    """A name that cannot be one is refused at once."""
    with pytest.raises(ValueError, match="'user-avatars'"):
        Store(name="user-avatars")


# -- settings ----------------------------------------------------------------


def test_path_is_made_when_missing(app: Flask, store: Store) -> None:
    """The first save makes STORE_PATH, with all of its parents."""
    f = store.Provider().save(upload(b"x", "localfile.jpg"))
    path = os.path.join(app.config["STORE_PATH"], "localfile.jpg")
    assert f.absolute_path() == path
    assert pathlib.Path(path).read_bytes() == b"x"


def test_default_path_is_in_the_instance_folder(tmp_path: pathlib.Path) -> None:
    """Without STORE_PATH files are kept where no code is and nobody serves it."""
    app = Flask("app", instance_path=str(tmp_path / "instance"))
    f = Store(app).Provider().save(upload())
    expected = str(tmp_path / "instance" / "uploads")
    assert app.config["STORE_PATH"] == expected
    assert f.absolute_path() == os.path.join(expected, "a.txt")


def test_app_defaults_keep_what_is_set(make: Make) -> None:
    """A provider's defaults fill the gaps of the configuration and no more."""
    app = make()
    given = app.config["STORE_PATH"]
    LocalStore.app_defaults(app)
    assert app.config["STORE_PATH"] == given
    app.config["STORE_PATH"] = None
    LocalStore.app_defaults(app)
    assert app.config["STORE_PATH"] == os.path.join(app.instance_path, "uploads")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {},
            {
                "STORE_PROVIDER": "flask_store.stores.local.LocalStore",
                "STORE_PATH": "instance/uploads",
                "STORE_URL_PREFIX": "/flaskstore",
                "STORE_DOMAIN": None,
            },
        ),
        (
            {"STORE_PATH": "memory://x", "STORE_URL_PREFIX": ""},
            {
                "STORE_PROVIDER": "flask_store.stores.fsspec.FsspecStore",
                "STORE_PATH": "memory://x",
                "STORE_URL_PREFIX": "/flaskstore",
                "STORE_DOMAIN": None,
            },
        ),
        (
            {"STORE_PROVIDER": S3Store, "STORE_S3_BUCKET": "b"},
            {
                "STORE_PROVIDER": S3Store,
                "STORE_PATH": "/",
                "STORE_URL_PREFIX": "",
                "STORE_DOMAIN": None,
            },
        ),
        (
            {"STORE_PROVIDER": Shelf, "STORE_SHELF": "top"},
            {"STORE_PROVIDER": Shelf, "STORE_URL_PREFIX": "", "STORE_DOMAIN": None},
        ),
    ],
)
def test_configuration_has_the_defaults(
    tmp_path: pathlib.Path, config: dict[str, t.Any], expected: dict[str, t.Any]
) -> None:
    """After init_app the application finds there what its store uses."""
    app = Flask("app", instance_path=str(tmp_path / "instance"))
    app.config.update(config)
    Store(app)
    if expected.get("STORE_PATH") == "instance/uploads":
        expected = {**expected, "STORE_PATH": str(tmp_path / "instance" / "uploads")}
    assert {key: app.config[key] for key in expected} == expected


def test_defaults_of_one_store_are_not_those_of_another(make: Make) -> None:
    """What was put into the configuration for the store without a name is no setting
    that a named one falls back to."""
    app = make(
        AVATARS_STORE_PATH="memory://avatars",
        PHOTOS_STORE_PROVIDER=S3Store,
        PHOTOS_STORE_S3_BUCKET="b",
    )
    app.config["STORE_PATH"] = None
    Store(app)
    avatars, photos = Store(app, name="avatars"), Store(app, name="photos")
    assert avatars.Provider().uri == "memory:///avatars"
    assert photos.Provider().uri == "s3://b"


def test_init_that_fails_changes_no_setting(make: Make) -> None:
    """So that the next try begins where this one did."""
    app = make(STORE_SERVE="never")
    app.config["STORE_PATH"] = None
    before = dict(app.config)
    with pytest.raises(NotConfiguredError, match="STORE_SERVE"):
        Store(app)
    assert app.config == before
    app.config["STORE_SERVE"] = "off"
    Store(app)


def test_one_pass_over_the_settings(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider is found once, and what it requires is checked once."""
    calls: list[str] = []

    class Counted(LocalStore):
        @classmethod
        def check_config(cls, config: t.Mapping[str, t.Any]) -> None:
            calls.append("check")
            super().check_config(config)

        def configure(self, config: t.Mapping[str, t.Any]) -> None:
            calls.append("configure")
            super().configure(config)

    find = Store.provider

    def provider(self: Store, app: Flask) -> type[BaseStore]:
        calls.append("provider")
        return find(self, app)

    monkeypatch.setattr(Store, "provider", provider)
    Store(make(STORE_PROVIDER=Counted))
    assert calls == ["provider", "check", "configure"]
    calls.clear()
    Counted.from_config({"STORE_PATH": "uploads"})
    assert calls == ["check", "configure"]


@pytest.mark.parametrize(
    ("name", "config", "words"),
    [
        (
            "photos",
            {"PHOTOS_STORE_SPOOL_UPLOADS": "1G"},
            "^PHOTOS_STORE_SPOOL_UPLOADS ",
        ),
        ("photos", {"STORE_SPOOL_UPLOADS": "1G"}, "^STORE_SPOOL_UPLOADS "),
        ("photos", {"PHOTOS_STORE_PATH": "nosuch://x"}, "^PHOTOS_STORE_PATH names"),
        (
            "photos",
            {"PHOTOS_STORE_PATH": "s3://"},
            "^PHOTOS_STORE_PATH names no bucket",
        ),
        ("photos", {"PHOTOS_STORE_S3_BUKET": "b"}, "^PHOTOS_STORE_S3_BUKET is no"),
        (
            "photos",
            {"PHOTOS_STORE_PROVIDER": S3Store},
            "^S3Store needs PHOTOS_STORE_S3_BUCKET",
        ),
        (
            "photos",
            {"PHOTOS_STORE_PATH": "s3://b", "PHOTOS_STORE_S3_ACCESS_KEY": "AK"},
            "PHOTOS_STORE_S3_SECRET_KEY is missing",
        ),
        (
            "photos",
            {"PHOTOS_STORE_URL_PREFIX": "https://example.com/x"},
            "^PHOTOS_STORE_URL_PREFIX is .* into PHOTOS_STORE_DOMAIN",
        ),
        (None, {"STORE_SPOOL_QUOTA": -1}, "^STORE_SPOOL_QUOTA is -1"),
    ],
)
def test_error_names_the_setting_as_it_was_written(
    make: Make, name: str | None, config: dict[str, t.Any], words: str
) -> None:
    """An error of a named store has the key with its prefix, unless the plain key is
    what is set."""
    app = make()
    app.config.update(config)
    with pytest.raises(NotConfiguredError, match=words):
        Store(app, name=name)
    with pytest.raises(NotConfiguredError, match=words):
        Store(name=name).init_app(app)


def test_provider_that_is_no_class(make: Make) -> None:
    """A module is none, and a number cannot be its name."""
    for wrong in ("flask_store.stores.s3", 5):
        with pytest.raises(NotConfiguredError, match="STORE_PROVIDER is .* class"):
            Store(make(STORE_PROVIDER=wrong))


def test_path_may_be_an_object(make: Make, tmp_path: pathlib.Path) -> None:
    """STORE_PATH may be a pathlib.Path."""
    app = make()
    app.config["STORE_PATH"] = tmp_path / "by" / "path"
    f = Store(app).Provider().save(upload())
    assert f.absolute_path() == str(tmp_path / "by" / "path" / "a.txt")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/srv/uploads", LocalStore),
        ("uploads", LocalStore),
        ("file:///srv/uploads", LocalStore),
        ("memory://uploads", FsspecStore),
        ("s3://bucket/prefix", FsspecStore),
    ],
)
def test_path_chooses_the_provider(
    app: Flask, path: str, expected: type[BaseStore]
) -> None:
    """provider() returns the class: by a URL, FsspecStore."""
    app.config["STORE_PATH"] = path
    assert Store().provider(app) is expected
    assert issubclass(Store(app).Provider, expected)


@pytest.mark.parametrize(
    "provider", [S3Store, "flask_store.stores.s3.S3Store"], ids=["class", "path"]
)
def test_provider_by_class_and_by_path(make: Make, provider: t.Any) -> None:
    """STORE_PROVIDER is a class or its dotted path."""
    app = make(STORE_PROVIDER=provider, STORE_S3_BUCKET="b")
    assert Store().provider(app) is S3Store
    assert issubclass(Store(app).Provider, S3Store)


@pytest.mark.parametrize(
    "path", ["no.such.module.Store", "flask_store.stores.local.NoSuchStore", "Nothing"]
)
def test_provider_that_cannot_be_imported(make: Make, path: str) -> None:
    """ImportError, which names the path, as documented; also from init_app."""
    app = make(STORE_PROVIDER=path)
    for call in (Store().provider, Store().init_app):
        with pytest.raises(ImportError, match=path):
            call(app)


def test_check_config_names_what_is_missing(make: Make) -> None:
    """The documented NotConfiguredError, from check_config and from init_app."""
    app = make(STORE_PROVIDER="flask_store.stores.s3.S3Store")
    for call in (Store().check_config, Store().init_app):
        with pytest.raises(NotConfiguredError, match="STORE_S3_BUCKET") as caught:
            call(app)
        assert isinstance(caught.value, RuntimeError)
    assert "store" not in app.extensions


def test_check_config_passes_what_is_there(make: Make) -> None:
    """A complete configuration is fine, before init_app too."""
    assert Store().check_config(make()) is None
    assert Store().check_config(Flask("app")) is None


def test_unknown_s3_setting_is_an_error(make: Make) -> None:
    """A slip in a security setting must not pass; the nearest key is named."""
    app = make(STORE_PROVIDER=S3Store, STORE_S3_BUCKET="b", STORE_S3_ACESS_KEY="x")
    with pytest.raises(NotConfiguredError, match="STORE_S3_ACCESS_KEY"):
        Store(app)


@pytest.mark.parametrize(
    ("key", "near"),
    [("STORE_PATHS", "STORE_PATH"), ("STORE_URL_PREFX", "STORE_URL_PREFIX")],
)
def test_near_miss_is_a_warning(make: Make, key: str, near: str) -> None:
    """A key that looks like one of ours is pointed out, at the caller's line."""
    warned = pytest.warns(UserWarning, match=f"{key} .* Did you mean {near}?")
    with warned as caught:
        Store(make(**{key: "x"}))
        Store().init_app(make(**{key: "x"}))
        Store().check_config(make(**{key: "x"}))
        LocalStore.from_config({"STORE_PATH": "uploads", key: "x"})
    assert [warning.filename for warning in caught] == [__file__] * 4
    with pytest.warns(UserWarning, match=f"AVATARS_{key} .* mean .*{near}?"):
        Store(make(**{f"AVATARS_{key}": "x"}), name="avatars")


def test_other_peoples_settings_are_left_alone(make: Make) -> None:
    """A shop may well have a STORE_CURRENCY."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Store(make(STORE_CURRENCY="EUR", STORE_NAME="Corner Shop"))


def test_options_reach_the_filesystem(make: Make) -> None:
    """STORE_OPTIONS is what the filesystem is made with."""
    app = make(STORE_OPTIONS={"marker": 1})
    app.config["STORE_PATH"] = "memory://options"
    provider = Store(app).Provider()
    assert provider.storage_options == {"marker": 1}
    assert provider.raw_fs.storage_options["marker"] == 1


def test_settings_that_change_later_are_not_seen(app: Flask, store: Store) -> None:
    """The configuration is read once, in init_app."""
    before = app.config["STORE_PATH"]
    app.config.update(
        STORE_PATH="/elsewhere", STORE_DOMAIN="https://x.example", STORE_SERVE="off"
    )
    f = store.Provider().save(upload())
    assert f.absolute_path() == os.path.join(before, "a.txt")
    assert f.absolute_url() == "/flaskstore/a.txt"


def test_application_starts_while_s3_is_down(make: Make) -> None:
    """init_app does not ask the network; the first save says what is wrong."""
    app = make(
        STORE_PROVIDER=S3Store,
        STORE_S3_BUCKET="b",
        STORE_S3_ENDPOINT_URL="http://127.0.0.1:9",
        STORE_S3_ACCESS_KEY="AK",
        STORE_S3_SECRET_KEY=SECRET,
    )
    started = time.monotonic()
    store = Store(app)
    provider = store.Provider("folder")
    assert provider.file("a.txt").absolute_url().endswith("/folder/a.txt")
    assert time.monotonic() - started < 5
    with pytest.raises(StoreUnavailable, match="STORE_S3_ENDPOINT_URL"):
        provider.save(upload())


# -- the provider ------------------------------------------------------------


def test_provider_is_a_class(store: Store) -> None:
    """store.Provider is a subclass of the configured one, made for every use."""
    assert isinstance(store.Provider, type)
    assert issubclass(store.Provider, LocalStore)
    assert store.Provider is store.Provider
    assert isinstance(store.Provider(), LocalStore)
    assert store.Provider.__name__ == "LocalStore"


def test_provider_with_a_destination(app: Flask, store: Store) -> None:
    """Provider(destination=...) saves into a folder of the store."""
    f = store.Provider(destination="/users//7/").save(upload(b"me", "me.jpg"))
    assert f.relative_path() == "users/7/me.jpg"
    assert f.absolute_path() == f"{app.config['STORE_PATH']}/users/7/me.jpg"
    assert f.relative_url() == "flaskstore/users/7/me.jpg"
    assert f.absolute_url() == "/flaskstore/users/7/me.jpg"
    assert store.Provider().destination == ""
    with pytest.raises(InvalidName):
        store.Provider(destination="../up")


def test_provider_outside_of_a_context(make: Make) -> None:
    """It works with one application, and says why it cannot with two or none."""
    store = Store()
    with pytest.raises(RuntimeError, match="<Store> has 0 applications"):
        _ = store.Provider
    one = make()
    store.init_app(one)
    assert store.Provider().save(upload(b"x")).read() == b"x"
    two = make()
    store.init_app(two)
    with pytest.raises(RuntimeError, match="has 2 applications.*app_context"):
        _ = store.Provider
    with two.app_context():
        assert not store.Provider().exists("a.txt")


def test_provider_of_another_application(make: Make, store: Store) -> None:
    """In the context of an application it does not know, a store does not guess."""
    other = make()
    with other.app_context():
        with pytest.raises(RuntimeError, match="'app1' is not registered.*init_app"):
            store.Provider()


@pytest.mark.parametrize("name", ["Provider", "Backend", "StoreProvider"])
def test_module_provider_is_the_current_application_s(make: Make, name: str) -> None:
    """flask_store.Provider and its other names follow the current application."""
    proxy = getattr(flask_store, name)
    apps = [make(), make()]
    store = Store()
    for app in apps:
        store.init_app(app)
    for app in apps:
        with app.app_context():
            assert proxy == store.Provider
            provider = proxy(destination="x")
            assert isinstance(provider, LocalStore)
            f = provider.save(upload(b"x"))
            assert f.absolute_path() == f"{app.config['STORE_PATH']}/x/a.txt"


def test_module_provider_says_what_is_missing(make: Make) -> None:
    """No context and no Store are two different mistakes."""
    with pytest.raises(RuntimeError, match="no current application.*app_context"):
        flask_store.Provider()
    with make().app_context():
        with pytest.raises(RuntimeError, match="'app0' has no Store.*init_app"):
            flask_store.Provider()


def test_file_wapper_is_the_documented_module() -> None:
    """The spelling of 0.0.2's documentation is kept."""
    assert flask_store.file_wapper.FileWrapper is FileWrapper


# -- a provider of one's own -------------------------------------------------


def test_custom_provider(make: Make) -> None:
    """save, exists and join are all that a provider needs to have."""
    app = make(
        STORE_PROVIDER=Shelf, STORE_SHELF="top", STORE_DOMAIN="https://s.example"
    )
    store = Store(app)
    with app.app_context():
        provider = store.Provider(destination="books")
        first = provider.save(upload(b"one", "../moby dick.txt"))
        second = provider.save(upload(b"two", "moby dick.txt"))
    assert first.relative_path() == str(first) == "books/moby dick.txt"
    assert second.filename.startswith("moby dick_")
    assert first.absolute_url() == "https://s.example/books/moby%20dick.txt"
    assert first.exists()
    assert provider.exists(second.filename)
    assert provider.join("a", "b") == "a/b"
    assert first != second
    assert first == FileWrapper("moby dick.txt", t.cast(t.Any, provider))
    assert "moby" in repr(first)
    assert {rule.endpoint for rule in app.url_map.iter_rules()} == {"static"}


def test_custom_provider_states_what_it_requires(make: Make) -> None:
    """REQUIRED_CONFIGURATION is checked by the names that are missing."""
    with pytest.raises(NotConfiguredError, match="Shelf needs STORE_SHELF"):
        Store(make(STORE_PROVIDER=Shelf))


def test_base_store_names_what_is_not_implemented() -> None:
    """The documented NotImplementedError, for each of the three."""
    provider = BaseStore(config={})
    for call, args in (
        (provider.save, (upload(),)),
        (provider.exists, ("a.txt",)),
        (provider.join, ("a", "b")),
        (provider.safe_filename, ("a.txt",)),
    ):
        with pytest.raises(NotImplementedError, match="BaseStore does not implement"):
            call(*args)
    assert BaseStore.register_route is False


def test_provider_without_a_store(make: Make) -> None:
    """A provider class by itself reads the current application's settings."""
    with make().app_context():
        f = LocalStore(destination="x").save(upload(b"x"))
    assert f.read() == b"x"


# -- what is shown -----------------------------------------------------------


def test_repr_with_and_without_a_context(make: Make) -> None:
    """Every repr works anywhere, says what it is and shows no secret."""
    app = make(
        STORE_OPTIONS={"key": "AK", "secret": SECRET},
        PHOTOS_STORE_S3_BUCKET="b",
        PHOTOS_STORE_PROVIDER=S3Store,
        PHOTOS_STORE_S3_ACCESS_KEY="AK",
        PHOTOS_STORE_S3_SECRET_KEY=SECRET,
        PHOTOS_STORE_PATH="/2026",
    )
    app.config["STORE_PATH"] = f"s3://AK:{SECRET}@bucket/prefix"
    store, photos = Store(app), Store(app, name="photos")
    assert (repr(store), repr(photos)) == ("<Store>", "<Store 'photos'>")
    assert repr(Store()) == "<Store>"

    def shown() -> list[str]:
        return [
            repr(found)
            for made in (store, photos)
            for found in (
                made,
                made.Provider,
                made.Provider(),
                made.Provider("x"),
                made.Provider().file("a.txt"),
            )
        ]

    outside = shown()
    with app.app_context():
        assert shown() == outside
        assert SECRET not in repr(flask_store.Provider)
    assert outside[3] == "<FsspecStore 's3://bucket/prefix/x'>"
    assert outside[8] == "<S3Store 's3://b/2026/x'>"
    assert not any(SECRET in text for text in outside)


# -- the view ----------------------------------------------------------------


def test_text_field_is_not_a_path(app: Flask, store: Store) -> None:
    """During a request a str may be the client's: it never names a server's file."""

    @app.post("/")
    def view() -> str:
        with pytest.raises(TypeError, match="pathlib.Path"):
            store.Provider().save(flask.request.form["afile"])
        return str(store.Provider().save(pathlib.Path(__file__)))

    reply = app.test_client().post("/", data={"afile": "/etc/passwd"})
    assert reply.text == "test_extension.py"


@pytest.mark.parametrize("data", [{}, {"other": "x"}, {"afile": (io.BytesIO(b""), "")}])
def test_missing_file_part_is_a_400(
    app: Flask, store: Store, data: dict[str, t.Any]
) -> None:
    """No such part, another one and an empty one are the client's mistake."""

    @app.post("/")
    def view() -> str:
        return str(store.Provider().save(flask.request.files.get("afile")))

    reply = app.test_client().post("/", data=data, content_type="multipart/form-data")
    assert reply.status_code == 400
    assert "There is no file to save" in reply.text
    assert not os.path.exists(app.config["STORE_PATH"])


def test_signals(app: Flask, store: Store) -> None:
    """The sender is the application itself, so that a receiver can choose it."""
    told: list[tuple[str, t.Any, FileWrapper]] = []

    def saved(sender: t.Any, file: FileWrapper) -> None:
        told.append(("saved", sender, file))

    def deleted(sender: t.Any, file: FileWrapper) -> None:
        told.append(("deleted", sender, file))

    with (
        file_saved.connected_to(saved, sender=app),
        file_deleted.connected_to(deleted, sender=app),
        app.app_context(),
    ):
        f = store.Provider("x").save(upload())
        f.delete()
        with pytest.raises(FileNotFoundError):
            f.delete()
        with pytest.raises(Exception, match="no file"):
            store.Provider().save(None)
    assert told == [("saved", app, f), ("deleted", app, f)]
    with file_saved.connected_to(saved):
        store.Provider().save(upload())
    assert told[-1][:2] == ("saved", None)


# -- the route ---------------------------------------------------------------


def test_route_serves_the_file(app: Flask, store: Store) -> None:
    """GET has the bytes and HEAD the same headers; neither lets a browser guess."""
    f = store.Provider("ü b").save(upload(b"\x89PNG" * 1000, "50% #1?.png"))
    client = app.test_client()
    got = client.get(f.absolute_url())
    assert (got.status_code, got.data) == (200, b"\x89PNG" * 1000)
    assert got.content_type == "image/png"
    assert got.content_length == 4000
    assert got.headers["ETag"] == f'"{f.etag}"'
    assert got.last_modified is not None
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in got.headers["Content-Security-Policy"]
    assert got.headers["Content-Disposition"].startswith("inline")
    head = client.head(f.absolute_url())
    assert head.data == b""
    volatile = {"Date"}
    assert {k: v for k, v in head.headers if k not in volatile} == {
        k: v for k, v in got.headers if k not in volatile
    }


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_route_only_reads(app: Flask, store: Store, method: str) -> None:
    """No other method reaches a file."""
    f = store.Provider().save(upload())
    assert app.test_client().open(f.absolute_url(), method=method).status_code == 405
    assert f.exists()


@pytest.mark.parametrize("name", ["a.html", "a.svg", "a.xhtml", "a.js", "a.xml", "a"])
def test_route_does_not_show_what_could_act(
    app: Flask, store: Store, name: str
) -> None:
    """A page or script that somebody uploaded is downloaded, never run as ours."""
    f = store.Provider().save(upload(b"<script>alert(1)</script>", name))
    with app.test_client().get(f.absolute_url()) as got:
        assert got.headers["Content-Disposition"].startswith("attachment")
        assert got.headers["X-Content-Type-Options"] == "nosniff"


ESCAPES = [
    "../secret.txt",
    "%2e%2e/secret.txt",
    "..%2fsecret.txt",
    "%2e%2e%2fsecret.txt",
    "..%5csecret.txt",
    "x/..%2f..%2fsecret.txt",
    "%252e%252e%252fsecret.txt",
    "%2fetc%2fpasswd",
    "/etc/passwd",
    "a.txt%00",
    "a.txt/",
    "x",
    ".flask-store/a.part",
    "%2eflask-store%2fa.part",
    "no.txt",
]


@pytest.mark.parametrize("path", ESCAPES)
def test_route_answers_404_for_what_is_no_file(
    app: Flask, store: Store, path: str
) -> None:
    """Nothing outside of the store is reached, however it is written."""
    store.Provider("x").save(upload())
    store.Provider().save(upload())
    root = pathlib.Path(app.config["STORE_PATH"])
    (root.parent / "secret.txt").write_text(SECRET)
    (root / ".flask-store" / "a.part").write_text(SECRET)
    for method in ("GET", "HEAD"):
        got = app.test_client().open(f"/flaskstore/{path}", method=method)
        if got.status_code in (301, 308):  # Werkzeug merges slashes first
            got = app.test_client().open(got.location, method=method)
        assert got.status_code == 404
        assert SECRET not in got.text


def test_route_survives_the_corpus(app: Flask, store: Store) -> None:
    """No hostile key is more than a 404."""
    store.Provider().save(upload(filename="stored.bin"))
    client = app.test_client()
    for name in HOSTILE:
        path = quote(name.encode("utf-8", "replace"), safe="")
        got = client.get(f"/flaskstore/{path}", follow_redirects=True)
        assert got.status_code == 404, name


def test_route_has_the_prefix_that_is_set(make: Make) -> None:
    """STORE_URL_PREFIX moves the route and the addresses; slashes do not matter."""
    for prefix in ("/up/loads", "up/loads/"):
        app = make(STORE_URL_PREFIX=prefix)
        f = Store(app).Provider().save(upload(b"x"))
        assert f.relative_url() == "up/loads/a.txt"
        assert app.test_client().get("/up/loads/a.txt").data == b"x"
        assert app.test_client().get("/flaskstore/a.txt").status_code == 404


def test_route_can_be_left_out(make: Make) -> None:
    """STORE_SERVE = "off" leaves the files to another server."""
    app = make(STORE_SERVE="off", STORE_URL_PREFIX="/flaskstore")
    f = Store(app).Provider().save(upload())
    assert f.absolute_url() == "/flaskstore/a.txt"
    assert app.test_client().get("/flaskstore/a.txt").status_code == 404


def test_route_serves_other_storages(make: Make) -> None:
    """What has no address of its own is served here too, and so is S3 if asked."""
    app = make()
    app.config["STORE_PATH"] = "memory://route"
    store = Store(app)
    f = store.Provider().save(upload(b"x"))
    assert app.test_client().get(f.absolute_url()).data == b"x"
    f.delete()


def test_quick_start_url(make: Make) -> None:
    """The very URL that the documentation of 0.0.2 promises."""
    app = make(STORE_DOMAIN="http://127.0.0.1:5000")
    store = Store(app)

    @app.route("/upload", methods=["POST"])
    def view() -> str:
        file = flask.request.files.get("afile")
        provider = store.Provider()
        f = provider.save(file)
        return f.absolute_url()

    client = app.test_client()
    sent = {"afile": (io.BytesIO(b"\xff\xd8 a picture"), "localfile.jpg")}
    reply = client.post("/upload", data=sent)
    assert reply.text == "http://127.0.0.1:5000/flaskstore/localfile.jpg"
    assert client.get(reply.text).data == b"\xff\xd8 a picture"


def test_bucket_without_a_provider_is_warned_of(app: Flask) -> None:
    """A bucket alone does not choose S3, and files on the disk are a surprise."""
    app.config["STORE_S3_BUCKET"] = "photos"
    with pytest.warns(UserWarning, match="STORE_PROVIDER to 'flask_store.stores.s3"):
        Store(app)


def test_prefix_with_a_domain_is_refused(app: Flask) -> None:
    """The domain has a setting of its own."""
    app.config["STORE_URL_PREFIX"] = "https://cdn.example.com/x"
    with pytest.raises(NotConfiguredError, match="STORE_DOMAIN"):
        Store(app)


def test_address_stays_when_a_web_server_serves(app: Flask) -> None:
    """STORE_SERVE 'off' registers no route and keeps the documented address."""
    app.config["STORE_SERVE"] = "off"
    store = Store(app)
    assert store.Provider().file("a.txt").absolute_url() == "/flaskstore/a.txt"
    assert not [r for r in app.url_map.iter_rules() if "flaskstore" in r.rule]
