"""What a file knows without asking its storage, and what it is in JSON."""

from __future__ import annotations

import copy
import io
import json
import pathlib
import pickle
import typing as t

import pytest
import sqlalchemy as sa
from flask import Flask
from flask import jsonify
from flask import request
from flask.json.provider import DefaultJSONProvider
from flask.json.provider import JSONProvider
from sqlalchemy.orm import Session
from werkzeug.test import encode_multipart

from flask_store import FileWrapper
from flask_store import Store
from flask_store.exceptions import FileNotFound
from flask_store.exceptions import InvalidName
from flask_store.signals import file_deleted
from flask_store.stores import BaseStore
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.local import LocalStore
from flask_store.testing import upload
from tests.local.test_sqla import engine_at
from tests.local.test_sqla import Person


class Counted(LocalStore):
    """Counts how often it is asked about a file."""

    asked = 0

    def stat(self, name: t.Any) -> t.Any:
        """Ask the disk."""
        type(self).asked += 1
        return super().stat(name)


@pytest.fixture
def store(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Counted:
    """A store that nobody has asked yet."""
    monkeypatch.setattr(Counted, "asked", 0)
    return Counted.from_config({"STORE_PATH": str(tmp_path / "uploads")})


def application(tmp_path: pathlib.Path, **config: t.Any) -> tuple[Flask, Store]:
    """An application with a store on this disk."""
    app = Flask(__name__)
    app.config.update(STORE_PATH=str(tmp_path / "uploads"), **config)
    return app, Store(app)


# -- what is known -----------------------------------------------------------


def test_file_is_asked_about_once(store: Counted) -> None:
    """Then everything is known, until somebody asks anew."""
    store.put("a.txt", b"12345")
    f = store.file("a.txt")
    for _ in range(2):
        assert (f.size, f.content_type) == (5, "text/plain")
        assert f.etag and f.modified
    assert store.asked == 1
    store.put("a.txt", b"123456", "overwrite")
    assert (f.size, store.asked) == (5, 1)
    assert f.stat().size == f.size == 6
    assert store.asked == 2


def test_save_asks_only_for_what_it_did_not_know(store: Counted) -> None:
    """The ETag of a file on a disk is not known when it is saved."""
    f = store.save(upload(b"12345"))
    assert (f.size, f.content_type, store.asked) == (5, "text/plain", 0)
    assert f.etag
    assert f.modified
    assert store.asked == 1


def test_what_a_storage_has_not_is_not_asked_for_again(
    store: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer without an ETag is an answer."""
    f = store.save(upload(b"12345"))
    f.stat()
    assert f._found is not None
    object.__setattr__(f._found, "etag", None)
    assert (f.etag, store.asked) == (None, 1)


def test_what_was_known_outlives_the_file(store: Counted) -> None:
    """A log may say what was deleted. A question says that it is not there."""
    f = store.save(upload(b"12345"))
    f.delete()
    assert (f.size, f.name) == (5, "a.txt")
    assert not f.exists()
    with pytest.raises(FileNotFound):
        f.stat()
    assert f.size == 5


def test_type_that_a_disk_does_not_keep_is_not_known(store: Counted) -> None:
    """A disk has no place for the type, and tells that of the name."""
    f = store.save(upload(b"x"), content_type="image/png")
    assert f.content_type == f.stat().content_type == "text/plain"


@pytest.mark.parametrize("size", [10, 3_000_000])
@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("looks", [True, False])
def test_size_of_an_upload_is_known(
    tmp_path: pathlib.Path, size: int, streams: bool, looks: bool
) -> None:
    """However it came here, and whatever the view has read of it."""
    app, store = application(tmp_path, STORE_STREAM_UPLOADS=streams)

    @app.post("/")
    def post() -> dict[str, int]:
        file = request.files["afile"]
        if looks:
            file.stream.read(5)
        f = store.Provider("x").save(file)
        return {"known": f.size, "is": f.stat().size}

    # As bytes: the client leaves a form open that it makes itself.
    boundary, body = encode_multipart({"afile": upload(bytes(size), "a.bin")})
    kind = f"multipart/form-data; boundary={boundary}"
    answer = app.test_client().post("/", data=body, content_type=kind)
    assert answer.json == {"known": size, "is": size}


def test_background_knows_what_was_saved(tmp_path: pathlib.Path) -> None:
    """Also while the file is on its way."""
    config = {
        "STORE_PATH": "memory://known-in-the-background",
        "STORE_BACKGROUND": True,
        "STORE_SPOOL_PATH": str(tmp_path / "spool"),
    }
    f = FsspecStore.from_config(config).save(upload(b"12345"))
    assert f.upload is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FsspecStore, "stat", None)
        assert (f.size, f.content_type) == (5, "text/plain")
    assert f.upload.wait(30)


def test_knowledge_is_copied_and_pickled(store: Counted) -> None:
    """A cache of files need not ask for what they knew."""
    store.at("x").save(upload(b"12345"))
    (f,) = store.at("x").ls()
    for twin in (copy.copy(f), copy.deepcopy(f), pickle.loads(pickle.dumps(f))):
        assert twin == f
        assert (twin.name, twin.size, twin.etag) == ("a.txt", 5, f.etag)
    assert store.asked == 0
    store.stat("x/a.txt")
    assert store.asked == 1


def test_file_of_a_row_knows_nothing_until_it_is_asked(tmp_path: pathlib.Path) -> None:
    """Its row has the path alone. A row that is read again gives a new file."""
    app = Flask(__name__)
    config = {"STORE_PATH": str(tmp_path / "uploads"), "STORE_PROVIDER": Counted}
    app.config.update(config)
    ours = Store(app)
    engine = engine_at(tmp_path / "test.db")
    Counted.asked = 0
    with app.app_context(), Session(engine) as session:
        session.add(Person(id=1, picture=upload(b"12345", "me.png")))
        session.commit()
        f = session.scalars(sa.select(Person)).one().picture
        assert (f.size, f.size, f.content_type) == (5, 5, "image/png")
        assert f.name == f.key == "pictures/me.png"
        asked = t.cast("type[Counted]", ours.Provider).asked
        assert asked == 1
        ours.Provider().put(f.key, b"123456", "overwrite")
        assert f.size == 5
        session.expire_all()
        assert session.scalars(sa.select(Person)).one().picture.size == 6
    engine.dispose()


# -- names -------------------------------------------------------------------


def test_name_leads_back_to_the_file(store: Counted) -> None:
    """Of every file that a store gives, at any destination."""
    for place in (store, store.at("x"), store.at("x/y")):
        saved = place.save(upload(b"1"))
        found = [*place.ls(), *place.ls(recursive=False), *place.glob("**")]
        put = place.put("odd/#1 50%.txt", b"", "overwrite")
        copied = place.copy(saved, "b/c.txt")
        for f in (saved, put, copied, place.file("no.txt"), place["a.txt"], *found):
            assert place.file(f.name) == f
            assert f.key == (
                f"{place.destination}/{f.name}" if place.destination else f.name
            )


def test_name_where_each_upload_has_a_folder(store: Counted) -> None:
    """There is nothing to which it could be relative."""
    choosing = store.at(lambda upload: "x")
    f = choosing.save(upload(b"1"))
    assert f.name == f.key == "x/a.txt"
    assert choosing.read(f) == b"1"
    choosing.delete(f, store.file("none.txt"))
    assert f not in choosing


def test_name_in_a_provider_of_ones_own(tmp_path: pathlib.Path) -> None:
    """One that is no FsspecStore joins names as it likes."""

    class Bare(BaseStore):
        pass

    bare = Bare("x", {"STORE_PATH": "x"})
    f = FileWrapper("a.txt", bare)
    assert (f.key, f.name, f.filename) == ("x/a.txt", "a.txt", "a.txt")


def test_files_are_as_good_as_names(store: Counted, tmp_path: pathlib.Path) -> None:
    """For every verb of their store, at any destination. A file of another store is
    refused."""
    f = store.save(upload(b"12345"))
    for place in (store, store.at("x")):
        assert f in place
        assert place.exists(f)
        assert place.read(f) == b"12345"
        assert b"".join(place.stream(f, 1)) == b"2345"
        assert place.stat(f).name == "a.txt"
        with place.open(f) as file:
            assert file.read() == b"12345"
        assert place.upload(f) is None
    other = FsspecStore.from_url(str(tmp_path / "other"))
    for use in (other.read, other.delete, other.exists, other.stat, other.open):
        with pytest.raises(ValueError, match="is no file of.*copy"):
            use(f)
    assert other.copy(f, "a.txt").read() == b"12345"
    store.at("x").delete(f)
    assert f not in store


# -- JSON --------------------------------------------------------------------


def test_file_in_json(tmp_path: pathlib.Path) -> None:
    """In an answer of a view, and in whatever it holds."""
    app, store = application(tmp_path, STORE_SIGNED_URLS=True, SECRET_KEY="secret")

    @app.post("/")
    def post() -> dict[str, t.Any]:
        provider = store.Provider("x")
        f = provider.save(request.files["afile"])
        return {"photo": f, "all": list(provider.ls()), "path": pathlib.Path("a").name}

    @app.get("/one")
    def one() -> t.Any:
        return jsonify(store.Provider().file("x/a b.png"))

    client = app.test_client()
    answer = client.post("/", data={"afile": (io.BytesIO(b"12345"), "a b.png")}).json
    assert answer is not None
    photo = answer["photo"]
    assert "?expires=" in photo["url"] or "?" in photo["url"]
    assert client.get(photo["url"]).data == b"12345"
    assert photo == {
        "key": "x/a b.png",
        "name": "a b.png",
        "url": photo["url"],
        "size": 5,
        "type": "image/png",
    }
    assert answer["all"] == [photo]
    assert client.get("/one").json == photo


def test_own_json_provider_stays(tmp_path: pathlib.Path) -> None:
    """What an application's provider says of other values goes on to hold."""

    class Mine(DefaultJSONProvider):
        def default(self, value: t.Any) -> t.Any:  # type: ignore[override]
            if isinstance(value, complex):
                return [value.real, value.imag]
            return DefaultJSONProvider.default(value)

    class Other(JSONProvider):
        def dumps(self, value: t.Any, **kwargs: t.Any) -> str:
            return json.dumps(value, default=repr)

        def loads(self, text: str | bytes, **kwargs: t.Any) -> t.Any:
            return json.loads(text)

    app = Flask(__name__)
    app.json = Mine(app)
    app.config["STORE_PATH"] = str(tmp_path)
    store = Store(app)
    Store(app, name="second")  # it is installed once
    with app.app_context():
        f = store.Provider().save(b"1", "a.txt")
        said = json.loads(app.json.dumps({"file": f, "number": 1 + 2j}))
        with pytest.raises(TypeError):
            app.json.dumps(object())
    assert (said["file"]["size"], said["number"]) == (1, [1.0, 2.0])
    app = Flask(__name__)
    app.json = Other(app)
    app.config["STORE_PATH"] = str(tmp_path)
    store = Store(app)
    with app.app_context():
        f = store.Provider().file("a.txt")
        assert json.loads(app.json.dumps({"file": f}))["file"] == repr(f)
        assert json.loads(app.json.dumps(f.to_dict()))["size"] == 1


# -- listings ----------------------------------------------------------------


def test_wildcards_in_names_are_letters(store: Counted) -> None:
    """A folder is listed by its name, whatever is in it, also if it is empty. What
    finds nothing is an error that says how a pattern is written."""
    for folder in ("a*b", "[1]", "what?", "plain"):
        store.put(f"{folder}/c.txt", b"")
        assert [f.name for f in store.ls(folder)] == [f"{folder}/c.txt"]
        assert [f.name for f in store.ls(f"{folder}/")] == [f"{folder}/c.txt"]
    assert [f.name for f in store.at("[1]").ls()] == ["c.txt"]
    top = {folder.name: folder for folder in store.ls(recursive=False).folders}
    assert [*top] == ["[1]", "a*b", "plain", "what?"]
    for name, folder in top.items():
        assert [f.name for f in folder] == [f"{name}/c.txt"]
    for pattern in ("*.txt", "p*n", "[12]", "what??"):
        for use in (
            lambda p: list(store.ls(p)),
            lambda p: store.ls(p).first_page(),
            lambda p: len(store.ls(p, recursive=False)),
            lambda p: store.usage(p),
            lambda p: store.delete(p, recursive=True),
        ):
            with pytest.raises(InvalidName, match=r"write glob\("):
                use(pattern)
    assert list(store.ls("no")) == []
    for key in [f.key for f in store.ls()]:
        store.delete(key)
    for folder in store.ls(recursive=False).folders:
        assert (list(folder), folder.folders) == ([], [])


@pytest.mark.parametrize(
    "pattern, matching",
    [
        ("*/x[!a]y", ["k/x[y", "k/xby"]),
        ("*/x[+-9]y", []),
        ("**/x[!z-a]y", ["k/x[y", "k/xby"]),
        ("*/x[[]y", ["k/x[y"]),
        ("*/[]]", ["k/]"]),
        ("k*/*[xy]y", []),
        ("*/x/[^y]", ["k/x/y"]),
    ],
)
def test_no_set_of_a_pattern_matches_a_slash(
    store: Counted, pattern: str, matching: list[str]
) -> None:
    """As in a shell: what is between two slashes is matched by itself."""
    for name in ("k/x/y", "k/xby", "k/x[y", "k/]"):
        store.put(name, b"")
    assert sorted(f.name for f in store.glob(pattern)) == matching


def test_glob_refuses_what_is_no_pattern_of_a_name(store: Counted) -> None:
    """With the way to write one."""
    for pattern in ("", "/etc/*", "2026/", "a**/b", "***/x"):
        with pytest.raises(InvalidName, match=r"2026/\*\*/\*\.csv"):
            store.glob(pattern)
    for pattern in ("../*", "a/../*"):
        with pytest.raises(InvalidName):
            list(store.glob(pattern))


def test_error_of_a_receiver_is_not_one_of_the_storage(store: Counted) -> None:
    """As when one file is deleted, it is raised as it is and says nothing of others."""
    for name in ("a.txt", "b.txt"):
        store.put(name, b"")

    def delete_preview(sender: object, file: FileWrapper) -> None:
        store.delete(f"previews/{file.key}")

    with file_deleted.connected_to(delete_preview):
        with pytest.raises(FileNotFound, match=r"no file 'previews/a\.txt'") as caught:
            store.delete("a.txt", "b.txt")
    assert caught.value.errors == {}


@pytest.mark.parametrize("index", ["a.txt", 1.5, None])
def test_index_of_a_listing_is_a_number(store: Counted, index: t.Any) -> None:
    """As that of a list."""
    store.put("a.txt", b"")
    with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
        store.ls()[index]


def test_listing_is_like_a_list_as_far_as_it_can(store: Counted) -> None:
    """What would list everything is an error that says how to do so."""
    for number in range(5):
        store.put(f"x/{number}.txt", b"")
    listing, folder = store.ls("x"), store.ls("x", recursive=False)
    every = list(listing)
    assert (listing[0], listing[4], listing[1:3]) == (every[0], every[4], every[1:3])
    assert listing[::2] == every[::2]
    with pytest.raises(IndexError):
        listing[5]
    for use in (
        lambda: listing[-1],
        lambda: listing[-2:],
        lambda: listing[::-1],
        lambda: len(listing),  # type: ignore[arg-type]
        lambda: bool(listing),
    ):
        with pytest.raises(TypeError, match=r"list\(listing\)"):
            use()
    assert (len(folder), bool(folder), bool(store.ls("no", recursive=False))) == (
        5,
        True,
        False,
    )
    assert [f.name for f in folder] == [f"x/{number}.txt" for number in range(5)]
    assert (folder[-1].name, len(folder[1:3])) == ("x/4.txt", 2)


def test_folder_is_read_once(store: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a page shows its folders and its files by one look at the disk."""
    store.put("a/b.txt", b"12")
    store.put("c.txt", b"1")
    looks: list[str] = []
    ls = type(store.dialect).ls
    monkeypatch.setattr(
        type(store.dialect),
        "ls",
        lambda self, prefix: looks.append(prefix) or ls(self, prefix),
    )
    page = Flask(__name__).jinja_env.from_string(
        "{% for folder in listing.folders %}{{ folder.name }}/ {% endfor %}"
        "{% for f in listing %}{{ f.name }} {{ f.size }}{% endfor %}"
        " of {{ listing|length }}"
    )
    listing = store.ls(recursive=False)
    assert page.render(listing=listing) == "a/ c.txt 1 of 1"
    html = str(listing._repr_html_())
    assert html.index("<td>a/</td>") < html.index("<td>c.txt</td>")
    assert looks == [""]
    again = pickle.loads(pickle.dumps(listing))
    assert page.render(listing=again) == "a/ c.txt 1 of 1"
    assert looks == [""]
    store.put("d.txt", b"")
    assert len(listing) == 1
    assert len(store.ls(recursive=False)) == 2


def test_private_folder_is_in_no_folder(store: Counted) -> None:
    """Nor is it listed by its name."""
    store.save(upload())
    (pathlib.Path(store.dialect.root) / ".flask-store" / "x").mkdir(parents=True)
    assert store.ls(recursive=False).folders == []
    with pytest.raises(InvalidName, match="private folder"):
        len(store.ls(".flask-store", recursive=False))


# -- deleting many -----------------------------------------------------------


def test_rest_is_deleted_when_one_cannot_be(
    store: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error has each file that is still there, and is of the class of the first."""
    for number in range(6):
        store.put(f"{number}.txt", b"")
    rm_file = type(store.dialect).rm_file

    def refuse(self: t.Any, key: str) -> None:
        if key in ("1.txt", "3.txt"):
            raise PermissionError(13, "denied")
        rm_file(self, key)

    monkeypatch.setattr(type(store.dialect), "rm_file", refuse)
    with pytest.raises(
        PermissionError, match=r"2 of 6 files.*'1.txt', '3.txt'"
    ) as caught:
        store.delete(*[f"{number}.txt" for number in range(6)])
    assert set(caught.value.errors) == {"1.txt", "3.txt"}  # type: ignore[attr-defined]
    assert sorted(f.name for f in store.ls()) == ["1.txt", "3.txt"]


def test_storage_that_goes_away_is_not_asked_on(
    store: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was not asked about is still there, and the error says so."""
    names = [f"{number:04}.txt" for number in range(2500)]
    asked: list[str] = []

    def break_off(self: t.Any, key: str) -> None:
        asked.append(key)
        if len(asked) > 1001:
            raise ConnectionResetError

    monkeypatch.setattr(type(store.dialect), "rm_file", break_off)
    with pytest.raises(
        ConnectionError, match=r"1,499 of 2,500.*and 1,496 more"
    ) as caught:
        store.delete(*names)
    assert list(caught.value.errors) == names[1001:]  # type: ignore[attr-defined]
    assert len(asked) == 1002


def test_unreachable_names_below_a_folder_stay(tmp_path: pathlib.Path) -> None:
    """Everything else is deleted, and the error names what is not."""
    store = FsspecStore.from_url(str(tmp_path))
    store.put("x/a.txt", b"")
    (tmp_path / "x" / "back\\slash").write_bytes(b"")
    with pytest.raises(Exception, match=r"1 names are still there.*back\\\\slash"):
        store.delete("x", recursive=True)
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["back\\slash"]


def test_waiting_files_are_deleted_with_the_others(tmp_path: pathlib.Path) -> None:
    """A file that is on its way to the storage never gets there."""
    config = {
        "STORE_PATH": "memory://deleted-in-the-background",
        "STORE_BACKGROUND": True,
        "STORE_SPOOL_PATH": str(tmp_path / "spool"),
    }
    store = FsspecStore.from_config(config)
    store.put("stored.txt", b"1")
    files = [store.save(upload(b"1")) for _ in range(3)]
    store.delete("stored.txt", *files)
    for f in files:
        assert f.upload is None or f.upload.wait(30) in (True, False)
        assert f not in store
    assert list(store.ls()) == []
    assert store.pending() == []
