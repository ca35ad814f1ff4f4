"""The verbs of ``Store``: those of the current application's store."""

from __future__ import annotations

import copy
import pathlib
import pickle
import typing as t

import pytest
from flask import Flask

from flask_store import current_store
from flask_store import FileWrapper
from flask_store import Store
from flask_store.exceptions import BadLink
from flask_store.exceptions import InvalidName
from flask_store.extension import Verb
from flask_store.stores import BaseStore
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.local import LocalStore
from flask_store.testing import upload

#: What an application configures, a subclass overrides, or the package calls: no verb.
NO_VERBS = {
    # the making of a store
    "app_defaults",
    "attach",
    "check_config",
    "configure",
    "defaults",
    "from_config",
    "from_url",
    "url",
    # what a class says of itself
    "background",
    "in_greenlets",
    "longest_key",
    "destination",
    "register_route",
    "REQUIRED_CONFIGURATION",
    # what the package asks
    "fetch",
    "identity",
    "public_url",
    "resumable_prefix",
    "resumable_url",
    "storage_link",
    "stream_version",
    "upload",
    "upload_prefix",
    "upload_url",
    "variant_url",
    "variants",
    "variants_prefix",
    "waits",
    "whole_url",
    # of a store with a folder
    "join",
    "relative_path",
}

Make = t.Callable[..., Flask]


@pytest.fixture
def make(tmp_path: pathlib.Path) -> Make:
    """Makes applications with the settings given, each with a folder of its own."""
    made: list[Flask] = []

    def app(**config: t.Any) -> Flask:
        made.append(Flask(f"app{len(made)}", instance_path=str(tmp_path / "instance")))
        path = str(tmp_path / made[-1].name)
        made[-1].config.update({"STORE_PATH": path, "SECRET_KEY": "secret", **config})
        return made[-1]

    return app


@pytest.fixture
def store(make: Make) -> Store:
    """The store of one application."""
    return Store(make())


def test_each_verb_of_a_store_is_one_of_the_extension() -> None:
    """What a store can do, the extension can. A new verb needs a line in one place."""
    public = {name for name in dir(FsspecStore) if not name.startswith("_")}
    verbs = {name for name, value in vars(Store).items() if isinstance(value, Verb)}
    assert verbs <= {*dir(FsspecStore)}
    assert public - verbs - {"at"} == NO_VERBS


def test_verbs_are_those_of_the_store(make: Make) -> None:
    """Each verb is the store's own, with its name and its documentation."""
    app = make()
    store = Store(app)
    with app.app_context():
        inner = store.at(None)
        for name, value in vars(Store).items():
            if isinstance(value, Verb):
                assert getattr(store, name) == getattr(inner, name), name
        assert store.save.__doc__ == FsspecStore.save.__doc__


def test_a_day_in_the_life_of_a_file(store: Store, tmp_path: pathlib.Path) -> None:
    """Save, find, read, list, move, delete: all by the store itself."""
    f = store.save(upload(b"one", "me.jpg"), folder="avatars")
    assert str(f) == "avatars/me.jpg"
    assert store.file(str(f)) == store[str(f)] == f
    assert str(f) in store and "avatars/you.jpg" not in store
    assert store.exists(str(f)) and store.read(str(f)) == b"one"
    assert store.open(str(f), "r").read() == "one"
    assert b"".join(store.stream(str(f), 1)) == b"ne"
    assert store.stat(str(f)).size == 3
    assert store.copy(str(f), "old/me.jpg").key == "old/me.jpg"
    assert sorted(found.name for found in store.ls()) == [
        "avatars/me.jpg",
        "old/me.jpg",
    ]
    assert store.usage().size == 6
    assert store._ipython_key_completions_()
    assert store.move("old/me.jpg", "older/me.jpg").exists()
    store.delete(str(f))
    assert str(f) not in store
    assert store.put("exact/name.txt", b"x").key == "exact/name.txt"
    assert store.absolute_url("a b.txt") == "/flaskstore/a%20b.txt"
    assert store.uri == (tmp_path / "app0").as_uri()


def test_verbs_are_of_the_current_application(make: Make) -> None:
    """One Store serves two applications, each with its own files."""
    store = Store()
    one, two = make(), make()
    store.init_app(one)
    store.init_app(two)
    with one.app_context():
        f = store.save(b"one", "a.txt")
    with two.app_context():
        assert "a.txt" not in store
        assert store.save(b"two", "a.txt").key == "a.txt"
    assert f.read() == b"one"


def test_verbs_outside_of_a_context(make: Make) -> None:
    """With one application it is clear which one is meant; with none or two, not."""
    store = Store()
    with pytest.raises(RuntimeError, match="has 0 applications, and no application is"):
        store.save(b"", "a.txt")
    one, two = make(), make()
    store.init_app(one)
    assert store.save(b"x", "a.txt").read() == b"x"
    store.init_app(two)
    with pytest.raises(RuntimeError, match=r"2 applications.* app\.app_context\(\)"):
        store.file("a.txt")
    with pytest.raises(RuntimeError, match="2 applications"):
        _ = "a.txt" in store


def test_verbs_of_an_application_without_this_store(make: Make, store: Store) -> None:
    """As with Provider(), the error says what was forgotten."""
    with make().app_context(), pytest.raises(RuntimeError, match="forget to call"):
        store.save(b"", "a.txt")


def test_verbs_of_a_named_store(make: Make) -> None:
    """Each store of an application has its own files."""
    app = make(AVATARS_STORE_PATH="memory://verbs-of-a-named-store")
    store, avatars = Store(app), Store(app, name="avatars")
    avatars.save(b"x", "a.txt")
    assert "a.txt" in avatars and "a.txt" not in store


def test_current_store(make: Make) -> None:
    """The application's store, for code that cannot import it."""
    app = make()
    with pytest.raises(RuntimeError, match="no current application"):
        current_store.save(b"x", "a.txt")
    with app.app_context():
        with pytest.raises(RuntimeError, match="has no Store"):
            current_store.save(b"x", "a.txt")
        store = Store(app)
        f = current_store.save(b"x", "a.txt", folder="b")
        assert store["b/a.txt"] == current_store["b/a.txt"] == f
        assert "b/a.txt" in current_store


def test_store_is_no_list(store: Store) -> None:
    """A loop over a store has an error, and asks no storage for a file '0'."""
    with pytest.raises(TypeError, match="not iterable"):
        iter(store)  # type: ignore[call-overload]


# -- folders ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "key"),
    [
        (None, "me.jpg"),
        ("", "me.jpg"),
        ("avatars", "avatars/me.jpg"),
        ("/avatars/2026/", "avatars/2026/me.jpg"),
        (r"avatars\2026", "avatars/2026/me.jpg"),
        (pathlib.PurePosixPath("avatars/2026"), "avatars/2026/me.jpg"),
        ("Ä ö/con", "Ä ö/_con/me.jpg"),
    ],
)
def test_folder_is_cleaned(store: Store, folder: t.Any, key: str) -> None:
    """A folder is what a destination is, also where a client has named it."""
    f = store.save(upload(b"x", "me.jpg"), folder=folder)
    assert f.key == key
    assert f == store.at(folder).file("me.jpg") and f.read() == b"x"


def test_folder_is_below_the_destination(store: Store) -> None:
    """A store with a destination has folders of its own."""
    people = store.at("people")
    assert people.save(b"x", "me.jpg", folder="ann").key == "people/ann/me.jpg"
    assert people.save(b"x", "me.jpg", folder="Ä/b").key == "people/Ä/b/me.jpg"
    assert people.exists("ann/me.jpg")


@pytest.mark.parametrize("folder", ["..", "../x", "a/../../x", "a/\0/b"])
def test_folder_does_not_lead_out(store: Store, folder: str) -> None:
    """Not out of the store, and not out of the destination."""
    for inner in (store.at(None), store.at("people")):
        with pytest.raises(InvalidName):
            inner.save(b"x", "me.jpg", folder=folder)
    assert not list(store.ls())


def test_name_keeps_no_folder(store: Store) -> None:
    """A client's name cannot choose the folder."""
    assert store.save(b"x", "a/b/me.jpg", folder="c").key == "c/me.jpg"


def test_direct_upload_has_its_folder(make: Make) -> None:
    """A token is good for the folder that it was made for."""
    app = make()
    store = Store(app)
    with app.app_context():
        form = store.presign_upload("film.mp4", max_size=10, folder="films")
        assert form.key.startswith("films/film_")
        data = {**form.fields, "file": (upload(b"film").stream, "film.mp4")}
        assert app.test_client().post(form.url, data=data).status_code == 204
        with pytest.raises(BadLink, match="made for the folder 'films'.* same folder"):
            store.confirm(form.token)
        with pytest.raises(BadLink, match="confirmed for 'photos'"):
            store.confirm(form.token, folder="photos")
        assert store.confirm(form.token, "films").read() == b"film"


# -- classes of one's own --------------------------------------------------------------


class Shelf(BaseStore):
    """What 0.0.2 documents: three methods."""

    files: t.ClassVar[dict[str, bytes]] = {}

    def save(self, file: t.Any) -> FileWrapper:
        """Keep an upload."""
        self.files[self.key(file.filename)] = file.read()
        return FileWrapper(file.filename, self)

    def exists(self, name: str) -> bool:
        """Whether it is there."""
        return self.key(name) in self.files

    def join(self, *parts: str) -> str:
        """One path."""
        return "/".join(parts)


class Counted(LocalStore):
    """A store with one verb more."""

    def count(self) -> int:
        """How many files there are."""
        return len(list(self.ls()))


def test_class_of_ones_own_has_its_verbs(make: Make) -> None:
    """What the class has works; what it lacks is named."""
    store: Store[t.Any] = Store(make(STORE_PROVIDER=Shelf))
    f = store.save(upload(b"x", "a.txt"))
    assert f.key == "a.txt"
    assert store.exists("a.txt") and store.at("b").relative_path("c") == "b/c"
    with pytest.raises(
        AttributeError, match=r"'Shelf', the class in STORE_PROVIDER, .*"
    ):
        store.ls()
    with pytest.raises(TypeError, match="no '__contains__'"):
        _ = "a.txt" in store
    with pytest.raises(TypeError, match="no '__getitem__'"):
        _ = store["a.txt"]
    assert not hasattr(store, "storage_options")


def test_attribute_that_a_class_sets_in_configure(make: Make) -> None:
    """A setting is read there, so that the class itself has no such attribute."""

    class Named(Shelf):
        def configure(self, config: t.Any) -> None:
            super().configure(config)
            self.uri = "shelf://left"

    store: Store[t.Any] = Store(make(STORE_PROVIDER=Named))
    assert store.uri == "shelf://left"


def test_error_in_a_verb_is_its_own(make: Make) -> None:
    """An attribute is looked up at the class: a property is not asked twice."""

    class Broken(LocalStore):
        @property
        def uri(self) -> str:
            raise AttributeError("broken")

    with pytest.raises(AttributeError, match="^broken$"):
        _ = Store(make(STORE_PROVIDER=Broken)).uri


def test_subclass_has_more_verbs_by_at(make: Make) -> None:
    """What only the class has, is there with its type."""
    store: Store[Counted] = Store(make(STORE_PROVIDER=Counted))
    store.save(b"x", "a.txt")
    assert store.at(None).count() == 1


@pytest.mark.parametrize("module", ["local.LocalProvider", "temp.TemporaryStore"])
def test_class_of_0_0_4_has_a_store(make: Make, module: str) -> None:
    """Both spellings work in one application, so that it can change view by view."""
    app = make(STORE_PROVIDER=f"flask_store.providers.{module}")
    store: Store[t.Any] = Store(app)
    with app.app_context():
        f = store.save(upload(b"x", "verbs-of-0.0.4.txt"))
        try:
            provider = store.Provider(f.key)
            assert provider.exists() and f.key in store
            assert provider.absolute_path == f.absolute_path()
        finally:
            f.delete()


# -- copies and pickles ----------------------------------------------------------------


def test_pickles_of_a_store_and_of_its_verbs(make: Make) -> None:
    """A pool of processes takes a store, and a verb, of the current application."""
    app = make()
    store = Store(app)
    with app.app_context():
        store.save(b"x", "a.txt")
        assert pickle.loads(pickle.dumps(store)) is store
        assert copy.deepcopy(store) is copy.copy(store) is store
        read = pickle.loads(pickle.dumps(store.read))
        assert read("a.txt") == b"x"
        assert pickle.loads(pickle.dumps(store.at("b").save))(b"x", "c").key == "b/c"
