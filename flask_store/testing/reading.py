"""What a store promises that can only be read."""

from __future__ import annotations

import pathlib
import random
import typing as t
import warnings

import fsspec
import pytest
from flask import Flask

from ..exceptions import FileNotFound
from ..exceptions import InvalidName
from ..exceptions import NotConfiguredError
from ..exceptions import StoreDenied
from ..extension import Store
from ..secrecy import secrets_in
from ..stores.fsspec import FsspecStore
from .edges import check_opened
from .edges import check_paths
from .edges import check_ranges
from .listings import check_known
from .listings import check_refused
from .listings import names
from .names import HOSTILE
from .promises import holds
from .promises import Promise
from .streams import upload

#: What is in the store: names and contents.
FILES: dict[str, bytes] = {
    "a.txt": b"data",
    "folder/below/t.txt": "zwei\nfünf\n".encode(),
    "folder/r.bin": random.Random(0).randbytes(2_500_000),
    "folder/фото 50% #1.jpg": b"photo",
    "sibling/of/folder": b"",
}


class ReaderContract:
    """The promises of a store that can only be read, for a test class to inherit.

    The class says by the fixture ``config`` how a store is made in which FILES are.
    """

    @pytest.fixture
    def config(self, tmp_path: pathlib.Path) -> dict[str, t.Any]:
        """The settings of a store in which FILES are."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, config: dict[str, t.Any]) -> FsspecStore:
        """A store in which FILES are."""
        return FsspecStore.from_config(config)

    @holds(Promise.CONTENT)
    @pytest.mark.parametrize("name", list(FILES))
    def test_read(self, store: FsspecStore, name: str) -> None:
        """Every file comes back byte for byte, and once more."""
        f = store.file(name)
        assert f.exists()
        assert f.read() == FILES[name]
        assert f.read() == FILES[name]

    @holds(Promise.CONTENT)
    def test_read_from_and_to(self, store: FsspecStore) -> None:
        """A range is that range, in pieces of 1 MiB at most."""
        f, data = store.file("folder/r.bin"), FILES["folder/r.bin"]
        for start, stop in [(0, 1), (5, 1_500_000), (2_499_990, None), (0, None)]:
            assert b"".join(f.stream(start, stop)) == data[start:stop]
        assert all(len(piece) <= 1024 * 1024 for piece in f.stream())

    @holds(Promise.CONTENT)
    def test_open(self, store: FsspecStore) -> None:
        """A file opens for bytes and for text, seeks, and has one position each."""
        f = store.file("folder/below/t.txt")
        with f.open() as one, f.open() as two:
            one.seek(5)
            assert one.read() == "fünf\n".encode()
            assert two.read(4) == b"zwei"
        with f.open("r") as text:
            assert list(text) == ["zwei\n", "fünf\n"]

    @holds(Promise.CONTENT)
    def test_edges_of_reading(self, store: FsspecStore) -> None:
        """A range is a slice, an opened file is one of io's, a path is as good as
        text."""
        f = store.file("folder/below/t.txt")
        check_ranges(f, FILES[f.key])
        check_opened(f, FILES[f.key])
        check_paths(store, f)

    @holds(Promise.CONTENT)
    def test_stat(self, store: FsspecStore) -> None:
        """Size, date, type and an ETag of its own for each content."""
        found = store.stat("folder/r.bin")
        assert (found.name, found.size) == ("folder/r.bin", 2_500_000)
        assert found.modified is not None
        assert store.stat("a.txt").content_type == "text/plain"
        assert found.etag != store.stat("a.txt").etag

    @holds(Promise.CONTENT)
    def test_ls(self, store: FsspecStore) -> None:
        """Everything is listed, and a folder without its siblings."""
        assert sorted(found.name for found in store.ls()) == sorted(FILES)
        below = [name for name in FILES if name.startswith("folder/")]
        assert sorted(found.name for found in store.ls("folder")) == sorted(below)
        assert list(store.ls("fold")) == []
        inside = store.at("folder/below")
        assert [found.name for found in inside.ls()] == ["t.txt"]
        assert inside.exists("t.txt")
        for file in store.ls():
            check_known(file)

    @holds(Promise.CONTENT)
    def test_one_folder(self, store: FsspecStore) -> None:
        """A folder is listed with its folders; a pattern finds what it matches."""
        folder = store.ls("folder", recursive=False)
        assert names(folder) == ["folder/r.bin", "folder/фото 50% #1.jpg"]
        assert [inner.name for inner in folder.folders] == ["folder/below"]
        assert names(folder.folders[0]) == ["folder/below/t.txt"]
        top = store.ls(recursive=False)
        assert names(top) == ["a.txt"]
        assert [inner.name for inner in top.folders] == ["folder", "sibling"]
        assert names(store.glob("*.txt")) == ["a.txt"]
        assert names(store.glob("**/?.txt")) == ["a.txt", "folder/below/t.txt"]
        with pytest.raises(InvalidName, match="glob"):
            list(store.ls("*.txt"))

    @holds(Promise.REFUSES_TO_WRITE)
    def test_no_file_is_deleted(self, store: FsspecStore) -> None:
        """Of many files, the error has each."""
        check_refused(store, ["a.txt", "folder/r.bin"])
        check_refused(store, names(store.ls()))

    @holds(Promise.CONTENT)
    def test_filesystem(self, store: FsspecStore) -> None:
        """Libraries read through the filesystem of the store, and write nothing."""
        fs = store.fs
        assert fs.find("") == sorted(FILES)
        assert fs.ls("folder/below", detail=False) == ["folder/below/t.txt"]
        assert (fs.isdir("folder"), fs.isfile("a.txt")) == (True, True)
        assert fs.cat_file("folder/r.bin", 5, 10) == FILES["folder/r.bin"][5:10]
        with fs.open("a.txt") as file:
            assert (file.size, file.read()) == (4, b"data")
        f = store.file("folder/below/t.txt")
        f.seek(5)
        assert f.read() == "fünf\n".encode()
        with pytest.raises(StoreDenied), store.create("new.txt"):
            pass
        for use in (
            lambda: fs.open("new.txt", "wb"),
            lambda: fs.pipe_file("a.txt", b"x"),
            lambda: fs.rm("a.txt"),
        ):
            with pytest.raises(StoreDenied):
                use()

    @holds(Promise.CONTENT)
    def test_route(self, config: dict[str, t.Any]) -> None:
        """The application serves the files, ranges and conditions included, by the
        route and by a view of its own."""
        app = Flask(__name__)
        app.config.update(config)
        store = Store(app)
        app.add_url_rule(
            "/view/<path:name>",
            view_func=lambda name: store.Provider().file(name).response(),
        )
        with app.app_context():
            url = store.Provider().file("folder/r.bin").absolute_url()
            odd = store.Provider().file("folder/фото 50% #1.jpg").absolute_url()
        client, data = app.test_client(), FILES["folder/r.bin"]
        assert client.get(odd).data == b"photo"
        for where in (url, "/view/folder/r.bin"):
            reply = client.get(where)
            assert (reply.status_code, reply.data) == (200, data)
            part = client.get(where, headers={"Range": "bytes=1000000-1000009"})
            assert (part.status_code, part.data) == (206, data[1_000_000:1_000_010])
            again = client.get(where, headers={"If-None-Match": reply.headers["ETag"]})
            assert again.status_code == 304
            assert client.get(f"{where}.no").status_code == 404

    @holds(Promise.CONTENT)
    def test_download(self, store: FsspecStore, tmp_path: pathlib.Path) -> None:
        """A file is copied to a path."""
        store.file("folder/r.bin").download(tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == FILES["folder/r.bin"]

    @holds(Promise.CONTENT)
    def test_missing_file(self, store: FsspecStore) -> None:
        """What is not there, and what is a folder, is FileNotFound."""
        for name in ("no.txt", "folder", "a.txt/below"):
            assert store.exists(name) is False
            for use in (store.stat, lambda name: store.file(name).read()):
                with pytest.raises(FileNotFound, match=f"'{name}'"):
                    use(name)

    @holds(Promise.NOTHING_ESCAPES)
    def test_hostile_keys_do_not_escape(self, store: FsspecStore) -> None:
        """Reading and asking by a hostile key finds nothing or refuses."""
        for name in set(HOSTILE) - set(FILES):
            for use in (store.exists, store.open, store.stat):
                with pytest.raises((InvalidName, FileNotFound)):
                    if use(name) is False:
                        raise FileNotFound(name)

    @holds(Promise.CONTENT)
    def test_uri_opens_with_fsspec(self, store: FsspecStore) -> None:
        """The URI and the store's options open the same file, as in pandas."""
        f = store.file("folder/below/t.txt")
        with warnings.catch_warnings():
            # fsspec leaves the archive itself open.
            warnings.simplefilter("ignore", ResourceWarning)
            with fsspec.open(f.uri, **store.storage_options) as file:
                assert file.read() == FILES[str(f)]

    @holds(Promise.NOTHING_ESCAPES)
    def test_secrets_are_not_shown(
        self, store: FsspecStore, config: dict[str, t.Any]
    ) -> None:
        """Neither a representation nor a refusal shows a secret."""
        secrets = {*secrets_in(config), *secrets_in(store.storage_options)}
        with pytest.raises(StoreDenied) as caught:
            store.save(upload())
        shown = [repr(store), store.uri, store.file("a.txt").uri, str(caught.value)]
        assert not any(secret in text for text in shown for secret in secrets)

    @holds(Promise.REFUSES_TO_WRITE)
    @pytest.mark.parametrize(
        "write",
        [
            lambda store: store.save(upload()),
            lambda store: store.save(upload(), on_conflict="overwrite"),
            lambda store: store.save(upload(), on_conflict="error"),
            lambda store: store.put("a.txt", b"x", on_conflict="overwrite"),
            lambda store: store.copy("a.txt", "b.txt"),
            lambda store: store.move("a.txt", "b.txt"),
            lambda store: store.delete("a.txt"),
            lambda store: store.delete("a.txt", "folder/r.bin"),
            lambda store: store.delete("folder", recursive=True),
            lambda store: store.presign_upload("b.txt", max_size=10),
        ],
        ids=[
            "save",
            "overwrite",
            "error",
            "put",
            "copy",
            "move",
            "delete",
            "many",
            "below",
            "presign",
        ],
    )
    def test_writes_are_refused(
        self, config: dict[str, t.Any], write: t.Callable[[t.Any], None]
    ) -> None:
        """Nothing can be changed, and the message says what to do instead."""
        app = Flask(__name__)
        app.config.update(config, SECRET_KEY="secret")
        with app.app_context():
            store = Store(app).Provider()
            with pytest.raises(StoreDenied, match="is read-only.*STORE_PATH"):
                write(store)
            assert sorted(found.name for found in store.ls()) == sorted(FILES)
            assert store.sweep() == []

    @holds(Promise.REFUSES_TO_WRITE)
    def test_background_is_refused(
        self, config: dict[str, t.Any], tmp_path: pathlib.Path
    ) -> None:
        """Uploads in the background are refused when the settings are read."""
        spool = {"STORE_BACKGROUND": True, "STORE_SPOOL_PATH": str(tmp_path / "spool")}
        with pytest.raises(NotConfiguredError, match="STORE_BACKGROUND.*read-only"):
            FsspecStore.from_config({**config, **spool})
