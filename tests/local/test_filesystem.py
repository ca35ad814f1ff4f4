"""``store.fs``: what it promises beyond fsspec's own tests for filesystems."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import io
import multiprocessing
import pathlib
import pickle
import threading
import typing as t
from collections.abc import Callable

import fsspec
import pytest
from flask import Flask
from fsspec.callbacks import Callback
from fsspec.generic import rsync

from flask_store import signals
from flask_store import Store
from flask_store.exceptions import FileExists
from flask_store.exceptions import FileNotFound
from flask_store.exceptions import InvalidName
from flask_store.exceptions import StoreDenied
from flask_store.exceptions import StoreUnavailable
from flask_store.stores.filesystem import StoreFileSystem
from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import Hangup


@pytest.fixture
def store(tmp_path: pathlib.Path) -> FsspecStore:
    """An empty folder."""
    config = {"STORE_PATH": tmp_path / "store", "STORE_FSYNC": False}
    return FsspecStore.from_config(config)


@pytest.fixture
def fs(store: FsspecStore) -> StoreFileSystem:
    """Its filesystem, with a few files."""
    for key in ("a.txt", "x/b.txt", "x/y/c.txt", "xy/d.txt"):
        store.put(key, key.encode())
    return store.fs


# -- looking -----------------------------------------------------------------


def test_paths_are_keys(fs: StoreFileSystem) -> None:
    """With and without the protocol, and a slash at either end."""
    for path in ("x/b.txt", "/x/b.txt", "flaskstore://x/b.txt"):
        assert fs.info(path)["name"] == "x/b.txt"
        assert fs.cat_file(path) == b"x/b.txt"
    assert fs.unstrip_protocol("x/b.txt") == "flaskstore://x/b.txt"
    assert fs._strip_protocol(["/a", "flaskstore://b/"]) == ["a", "b"]


def test_looking(fs: StoreFileSystem) -> None:
    """Folders are those of the names, and a folder is no other that begins alike."""
    everything = ["a.txt", "x/b.txt", "x/y/c.txt", "xy/d.txt"]
    assert fs.ls("", detail=False) == ["a.txt", "x", "xy"]
    assert fs.ls("x", detail=False) == ["x/b.txt", "x/y"]
    assert [info["type"] for info in fs.ls("x")] == ["file", "directory"]
    assert fs.ls("a.txt", detail=False) == ["a.txt"]
    assert fs.find("") == everything
    assert fs.find("x") == ["x/b.txt", "x/y/c.txt"]
    assert fs.find("x", maxdepth=1) == ["x/b.txt"]
    assert fs.find("x", withdirs=True) == ["x", "x/b.txt", "x/y", "x/y/c.txt"]
    assert fs.find("a.txt") == ["a.txt"]
    assert fs.find("no") == []
    assert fs.glob("x*/*.txt") == ["x/b.txt", "xy/d.txt"]
    assert list(fs.walk("")) == [
        ("", ["x", "xy"], ["a.txt"]),
        ("x", ["y"], ["b.txt"]),
        ("x/y", [], ["c.txt"]),
        ("xy", [], ["d.txt"]),
    ]
    assert fs.du("x") == fs.disk_usage("x") == 7 + 9
    assert fs.du("", total=False)["a.txt"] == 5
    assert [fs.isfile(p) for p in ("a.txt", "x", "no", "")] == [True] + 3 * [False]
    assert [fs.isdir(p) for p in ("a.txt", "x", "no", "")] == [False, True, False, True]
    assert [fs.exists(p) for p in ("a.txt", "x", "no", "")] == [True, True, False, True]
    for look in (fs.info, fs.ls, fs.modified, fs.cat_file, fs.open, fs.rm_file):
        with pytest.raises(FileNotFound):
            look("no")
    with pytest.raises(ValueError, match="maxdepth"):
        fs.find("", maxdepth=0)


def test_what_a_file_is(fs: StoreFileSystem, store: FsspecStore) -> None:
    """The facts are those of the store; a version has a key of its own."""
    info = fs.info("x/b.txt")
    assert (info["size"], info["type"]) == (7, "file")
    assert info["ContentType"] == "text/plain"
    assert fs.created("x/b.txt") == fs.modified("x/b.txt") == info["mtime"]
    before = fs.ukey("x/b.txt"), fs.checksum("x/b.txt")
    assert before == (fs.ukey("x/b.txt"), fs.checksum("x/b.txt"))
    fs.pipe_file("x/b.txt", b"another")
    assert fs.ukey("x/b.txt") != before[0]
    assert fs.size("x/b.txt") == 7


def test_private_folder_is_invisible(fs: StoreFileSystem, store: FsspecStore) -> None:
    """As for the store itself."""
    private = pathlib.Path(store.dialect.root, ".flask-store")
    private.mkdir(exist_ok=True)
    (private / "left.part").write_bytes(b"x")
    assert ".flask-store" not in fs.ls("", detail=False)
    assert all(not path.startswith(".flask-store") for path in fs.find(""))
    with pytest.raises(InvalidName):
        fs.cat_file(".flask-store/left.part")


@pytest.mark.parametrize("path", ["../up.txt", "x/../../up.txt", "x//y", "a\0b"])
def test_nothing_leads_outside(fs: StoreFileSystem, path: str) -> None:
    """Whoever reads, writes or deletes."""
    uses: list[Callable[[], object]] = [
        lambda: fs.cat_file(path),
        lambda: fs.open(path, "wb"),
        lambda: fs.pipe_file(path, b""),
        lambda: fs.rm_file(path),
        lambda: fs.cp_file("a.txt", path),
        lambda: fs.mv("a.txt", path),
        lambda: fs.mkdir(path),
        lambda: fs.info(path),
    ]
    for use in uses:
        with pytest.raises(InvalidName):
            use()
    assert fs.cat_file("a.txt") == b"a.txt"


def test_silence_is_no_answer(
    fs: StoreFileSystem, store: FsspecStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unlike fsspec, a storage that does not answer is not a file that is missing."""
    assert list(fs.walk("no")) == []

    def info(self: object, key: str) -> None:
        raise StoreUnavailable("down", key)

    monkeypatch.setattr(type(store.dialect), "info", info)
    for look in (fs.exists, fs.isfile, fs.isdir):
        with pytest.raises(StoreUnavailable):
            look("a.txt")

    def ls(*args: object) -> None:
        raise StoreUnavailable("down")

    monkeypatch.setattr(StoreFileSystem, "_listing", ls)
    for search in (fs.walk, fs.find, fs.ls, fs.glob, fs.du):
        with pytest.raises(StoreUnavailable):
            list(search("x"))


# -- reading -----------------------------------------------------------------


def test_reading(fs: StoreFileSystem, tmp_path: pathlib.Path) -> None:
    """Parts, several files, text, and to the disk."""
    assert fs.cat_file("x/b.txt", 2, 5) == b"b.t"
    assert fs.cat_file("x/b.txt", start=-3) == b"txt"
    assert fs.cat_file("x/b.txt", end=-3) == b"x/b."
    assert fs.cat_ranges(["x/b.txt", "a.txt"], [0, 1], [1, None]) == [b"x", b".txt"]
    assert fs.cat(["a.txt", "x/b.txt"]) == {"a.txt": b"a.txt", "x/b.txt": b"x/b.txt"}
    assert (fs.head("a.txt", 2), fs.tail("a.txt", 2)) == (b"a.", b"xt")
    assert fs.read_block("x/y/c.txt", 2, 2) == b"y/"
    with fs.open("a.txt") as file:
        assert (file.size, file.read(1), file.size, file.tell()) == (5, b"a", 5, 1)
    with fs.open("a.txt", "rt") as text:
        assert text.read() == "a.txt"
    fs.get_file("x/b.txt", tmp_path / "new" / "b.txt")
    assert (tmp_path / "new" / "b.txt").read_bytes() == b"x/b.txt"
    buffer = io.BytesIO()
    fs.get_file("x/b.txt", buffer)
    assert buffer.getvalue() == b"x/b.txt"
    fs.get("x", str(tmp_path / "tree"), recursive=True)
    assert (tmp_path / "tree" / "y" / "c.txt").read_bytes() == b"x/y/c.txt"


# -- writing -----------------------------------------------------------------


@pytest.mark.parametrize("mode", ["w", "wt", "wb"])
@pytest.mark.parametrize("size", [5, 1_000_000])
def test_published_when_closed(fs: StoreFileSystem, mode: str, size: int) -> None:
    """A writer shows nothing before, and replaces what is there in one step."""
    data: t.Any = "x" * size if "b" not in mode else b"x" * size
    for path in ("new.txt", "a.txt"):
        before = fs.exists(path)
        with fs.open(path, mode) as file:
            file.write(data)
            assert fs.exists(path) == before
        assert fs.cat_file(path) == b"x" * size
        assert file.closed


@pytest.mark.parametrize("mode", ["w", "wb", "x", "xb"])
def test_error_in_the_block_publishes_nothing(fs: StoreFileSystem, mode: str) -> None:
    """Of text either, whose file fsspec would publish."""
    with pytest.raises(Hangup), fs.open("new.txt", mode) as file:
        file.write("torn" if "b" not in mode else b"torn")
        raise Hangup
    assert not fs.exists("new.txt")
    assert file.closed


@pytest.mark.parametrize("mode", ["w", "wb"])
@pytest.mark.filterwarnings("always::ResourceWarning")
def test_writer_that_is_dropped(fs: StoreFileSystem, mode: str) -> None:
    """It publishes nothing, and Python says so as of any file."""
    file = fs.open("new.txt", mode)
    file.write("torn" if mode == "w" else b"torn")
    with pytest.warns(ResourceWarning, match="'new.txt' was not closed"):
        del file
        gc.collect()
    assert not fs.exists("new.txt")


@pytest.mark.parametrize("size", [4, 100_000])
@pytest.mark.filterwarnings("always::ResourceWarning")
# In its development mode, Python also tells that the wrapper had bytes left.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_wrapper_that_is_dropped(fs: StoreFileSystem, size: int) -> None:
    """The garbage collector closes what a wrapper wraps. That is nobody's end of the
    file."""
    for wrap in (
        io.TextIOWrapper,
        lambda file: io.TextIOWrapper(io.BufferedWriter(file)),
    ):
        file = wrap(fs.open("new.txt", "wb"))
        file.write("x" * size)
        with pytest.warns(ResourceWarning, match="'new.txt' was not closed"):
            del file
            gc.collect()
        assert not fs.exists("new.txt")
        with wrap(fs.open("whole.txt", "wb")) as file:
            file.write("x" * size)
        assert fs.cat_file("whole.txt") == b"x" * size
        fs.rm_file("whole.txt")


@pytest.mark.parametrize("mode", ["w", "wb"])
def test_closed_because_of_an_error(
    store: FsspecStore,
    fs: StoreFileSystem,
    mode: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As by fsspec.open(), pandas and pyarrow, which call no __exit__."""
    data: t.Any = "torn" if mode == "w" else b"torn"
    with (
        pytest.raises(Hangup),
        fsspec.open("flaskstore://a.txt", mode, store=store) as file,
    ):
        file.write(data)
        raise Hangup
    assert fs.cat_file("a.txt") == b"a.txt"
    assert "'a.txt' is not stored, because it was closed while Hangup" in caplog.text
    fs2 = store.fs
    with (
        pytest.raises(Hangup),
        fs2.transaction,
        contextlib.closing(fs2.open("b", mode)),
    ):
        raise Hangup
    assert not fs.exists("b")


@pytest.mark.parametrize("mode", ["w", "wb"])
def test_written_because_of_an_error(fs: StoreFileSystem, mode: str) -> None:
    """What somebody writes in place of what has failed is whole."""
    data: t.Any = "x" if mode == "w" else b"x"

    def steps() -> t.Iterator[None]:
        with fs.open("later.txt", mode) as file:
            file.write(data)
            yield

    begun = steps()
    next(begun)
    try:
        raise Hangup
    except Hangup:
        with fs.open("block.txt", mode) as file:
            file.write(data)
        file = fs.open("closed.txt", mode)
        file.write(data)
        file.close()
        assert next(begun, "end") == "end"
    for path in ("block.txt", "closed.txt", "later.txt"):
        assert fs.cat_file(path) == b"x"


def test_exclusive(fs: StoreFileSystem) -> None:
    """At once for who looks, and in one step with the writing for who comes first."""
    for use in (
        lambda: fs.open("a.txt", "xb"),
        lambda: fs.open("a.txt", "x"),
        lambda: fs.pipe_file("a.txt", b"x", mode="create"),
        lambda: fs.put_file(__file__, "a.txt", mode="create"),
        lambda: fs.touch("a.txt", truncate=False),
    ):
        with pytest.raises(FileExists):
            use()
    first, second = fs.open("new.txt", "xb"), fs.open("new.txt", "xb")
    first.write(b"first")
    second.write(b"second")
    second.close()
    with pytest.raises(FileExists):
        first.close()
    assert fs.cat_file("new.txt") == b"second"
    assert fs.cat_file("a.txt") == b"a.txt"


def test_one_of_many_creates(fs: StoreFileSystem) -> None:
    """Of 8 threads that create one file, one does."""
    start = threading.Barrier(8)
    done = []

    def create(number: int) -> None:
        start.wait()
        try:
            fs.pipe_file("one.txt", str(number).encode(), mode="create")
            done.append(number)
        except FileExistsError:
            pass

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(create, range(8)))
    assert [str(number).encode() for number in done] == [fs.cat_file("one.txt")]


@pytest.mark.parametrize("mode", ["ab", "a", "r+b", "w+b", "rw", ""])
def test_other_modes_are_refused(fs: StoreFileSystem, mode: str) -> None:
    """A stored file is never changed."""
    with pytest.raises(ValueError, match="never changed"):
        fs.open("a.txt", mode)
    assert fs.cat_file("a.txt") == b"a.txt"


def test_wrong_use(fs: StoreFileSystem) -> None:
    """What cannot be promised is refused, and says what to do."""
    with pytest.raises(ValueError, match=r"gzip\.open"):
        fs.open("a.gz", "wb", compression="gzip")
    with pytest.raises(ValueError, match="'overwrite' or 'create'"):
        fs.pipe_file("a.txt", b"", mode="append")


def test_putting(fs: StoreFileSystem, tmp_path: pathlib.Path) -> None:
    """Files, open ones and folders of the disk, with their progress."""
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "e.txt").write_bytes(b"x" * 10)
    callback = Callback()
    fs.put_file(tmp_path / "tree" / "sub" / "e.txt", "e.txt", callback)
    assert (callback.size, callback.value) == (10, 10)
    fs.put_file(io.BytesIO(b"open"), "f.txt")
    fs.put(str(tmp_path / "tree"), "tree", recursive=True)
    fs.pipe({"g.txt": b"g", "h.txt": b"h"})
    fs.touch("empty.txt")
    assert fs.cat(["e.txt", "f.txt", "g.txt", "tree/sub/e.txt", "empty.txt"]) == {
        "e.txt": b"x" * 10,
        "f.txt": b"open",
        "g.txt": b"g",
        "tree/sub/e.txt": b"x" * 10,
        "empty.txt": b"",
    }


# -- transactions ------------------------------------------------------------


def test_transaction(store: FsspecStore, fs: StoreFileSystem) -> None:
    """All files of a transaction are published at its end, or none."""
    with store.fs.transaction:
        with store.fs.open("1.txt", "w") as file:
            file.write("1")
        fs.pipe_file("2.txt", b"2")
        fs.put_file(io.BytesIO(b"3"), "3.txt")
        with pytest.raises(Hangup), fs.open("torn.txt", "wb") as torn:
            torn.write(b"torn")
            raise Hangup
        assert fs.glob("?.txt") == ["a.txt"]
    assert fs.cat("?.txt") == {
        "1.txt": b"1",
        "2.txt": b"2",
        "3.txt": b"3",
        "a.txt": b"a.txt",
    }
    assert not fs.exists("torn.txt")
    with pytest.raises(Hangup), fs.transaction:
        fs.pipe_file("4.txt", b"4")
        fs.pipe_file("a.txt", b"4")
        raise Hangup
    assert not fs.exists("4.txt")
    assert fs.cat_file("a.txt") == b"a.txt"
    fs.pipe_file("5.txt", b"5")
    assert fs.exists("5.txt")


@pytest.mark.parametrize("mode", ["w", "wb"])
@pytest.mark.filterwarnings("always::ResourceWarning")
def test_open_at_the_end_of_a_transaction(fs: StoreFileSystem, mode: str) -> None:
    """It is not whole: text waits in its buffer."""
    with pytest.warns(ResourceWarning, match="'new.txt' was not closed"):  # noqa: PT031
        with fs.transaction:
            fs.pipe_file("1.txt", b"1")
            file = fs.open("new.txt", mode)
            file.write("torn" if mode == "w" else b"torn")
    assert fs.exists("1.txt")
    assert not fs.exists("new.txt")
    assert file.closed


def test_next_thread_has_no_transaction_of_an_ended_one(store: FsspecStore) -> None:
    """It may have its number."""
    seen = []
    for _ in range(5):
        thread = threading.Thread(target=lambda: seen.append(store.fs))
        thread.start()
        thread.join()
    assert len({id(fs) for fs in seen}) == 5


def test_threads_have_transactions_of_their_own(store: FsspecStore) -> None:
    """What another thread writes is not held back."""
    with store.fs.transaction, concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: store.fs.pipe_file("other.txt", b"x")).result()
        store.fs.pipe_file("mine.txt", b"x")
        assert store.fs.find("") == ["other.txt"]
    assert store.fs.find("") == ["mine.txt", "other.txt"]


# -- copying and deleting ----------------------------------------------------


def test_copying_and_moving(fs: StoreFileSystem) -> None:
    """By the store, over what is there; a folder with its files."""
    fs.cp_file("a.txt", "x/b.txt")
    assert fs.cat_file("x/b.txt") == b"a.txt"
    fs.mv("a.txt", "moved/a.txt")
    assert not fs.exists("a.txt")
    fs.mv("x", "z", recursive=True)
    assert fs.find("") == ["moved/a.txt", "xy/d.txt", "z/b.txt", "z/y/c.txt"]
    fs.mv("z/b.txt", "z/b.txt")
    fs.cp("z", "copy", recursive=True)
    assert fs.find("copy") == ["copy/b.txt", "copy/y/c.txt"]
    for use in (fs.cp_file, fs.mv, fs.copy):
        with pytest.raises(FileNotFound):
            use("no.txt", "b.txt")


def test_deleting(fs: StoreFileSystem) -> None:
    """A folder only with all that is in it, and only when that is meant."""
    fs.rm("a.txt")
    with pytest.raises(FileNotFound):
        fs.rm("x")
    fs.rm("x", recursive=True)
    assert fs.find("") == ["xy/d.txt"]
    with pytest.raises(FileNotFoundError):
        fs.rm("no")
    with pytest.raises(FileNotFoundError):
        fs.rm("no", recursive=True)
    for root in ("", "/", "flaskstore://"):
        with pytest.raises(InvalidName, match="root"):
            fs.rm(root, recursive=True)
    assert fs.find("") == ["xy/d.txt"]
    fs.rm("xy/*")
    assert fs.find("") == []
    fs.pipe({"a/b": b"", "c": b""})
    fs.rm(fs.ls("", detail=False), recursive=True)
    assert fs.find("") == []
    fs.pipe({"a/b": b"", "a/c/d": b"", "e": b""})
    fs.rm("**", recursive=True)  # the folders, and what is in them
    assert fs.find("") == []


def test_folders(fs: StoreFileSystem) -> None:
    """They are there as long as a file is below them."""
    fs.mkdir("new")
    fs.makedirs("new/deep", exist_ok=True)
    assert not fs.exists("new")
    fs.makedirs("x", exist_ok=True)
    for use in (
        lambda: fs.mkdir("x"),
        lambda: fs.makedirs("x"),
        lambda: fs.mkdir("a.txt"),
        lambda: fs.makedirs("a.txt", exist_ok=True),
    ):
        with pytest.raises(FileExists):
            use()
    with pytest.raises(FileExists, match="recursive=True"):
        fs.rmdir("x")
    with pytest.raises(FileNotFound):
        fs.rmdir("new")


def test_read_only_store(tmp_path: pathlib.Path) -> None:
    """It is read, and refuses everything else."""
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.txt").write_bytes(b"a")
    fs = FsspecStore.from_url(f"simplecache::file://{tmp_path}").fs
    assert fs.cat_file("x/a.txt") == b"a"
    assert fs.find("") == ["x/a.txt"]
    for use in (
        lambda: fs.open("b.txt", "wb"),
        lambda: fs.pipe_file("b.txt", b""),
        lambda: fs.put_file(__file__, "b.txt"),
        lambda: fs.touch("b.txt"),
        lambda: fs.rm_file("x/a.txt"),
        lambda: fs.rm("x", recursive=True),
        lambda: fs.cp_file("x/a.txt", "b.txt"),
        lambda: fs.mv("x/a.txt", "b.txt"),
        lambda: fs.mkdir("b"),
        lambda: fs.makedirs("x", exist_ok=True),
        lambda: fs.rmdir("x"),
    ):
        with pytest.raises(StoreDenied, match="read-only"):
            use()


# -- which store -------------------------------------------------------------


def test_destination(store: FsspecStore) -> None:
    """It is the root of its filesystem."""
    fs = store.at("users/7").fs
    fs.pipe_file("a.txt", b"x")
    assert store.read("users/7/a.txt") == b"x"
    assert fs.find("") == ["a.txt"]
    assert fs.ls("", detail=False) == ["a.txt"]
    assert fs.info("a.txt")["name"] == "a.txt"
    assert fs.ls("a.txt", detail=False) == ["a.txt"]
    assert fs.find("a.txt", detail=True)["a.txt"]["name"] == "a.txt"
    fs.mv("a.txt", "b/c.txt")
    assert store.fs.find("") == ["users/7/b/c.txt"]
    with pytest.raises(InvalidName):
        fs.cat_file("../8/a.txt")
    assert fs != store.fs
    assert fs.fsid == store.at("users/7").fs.fsid


def test_same_for_a_while(store: FsspecStore) -> None:
    """One thread has one filesystem as long as somebody uses it, and none after it."""
    assert store.fs is store.fs or store.fs == store.fs
    fs = store.fs
    assert store.fs is fs
    assert store.at("x").fs is not fs
    del fs
    gc.collect()
    assert len(store._filesystems) == 0


def test_signals(tmp_path: pathlib.Path) -> None:
    """What is written and deleted sends the signals of the store."""
    app = Flask(__name__)
    app.config["STORE_PATH"] = str(tmp_path)
    store = Store(app)
    sent = []

    def saved(sender: Flask, file: t.Any) -> None:
        sent.append(("saved", file.key))

    def deleted(sender: Flask, file: t.Any) -> None:
        sent.append(("deleted", file.key))

    with (
        app.app_context(),
        signals.file_saved.connected_to(saved, app),
        signals.file_deleted.connected_to(deleted, app),
    ):
        fs = store.Provider().fs
        with fs.open("a.txt", "wb") as file:
            file.write(b"x")
        fs.pipe_file("b.txt", b"x")
        fs.rm_file("a.txt")
    assert sent == [("saved", "a.txt"), ("saved", "b.txt"), ("deleted", "a.txt")]


def read_elsewhere(fs: StoreFileSystem) -> bytes:
    """What another process reads."""
    return t.cast(bytes, fs.cat_file("a.txt"))


def test_another_process(fs: StoreFileSystem) -> None:
    """A pickle has the store, so that workers read the same files."""
    twin = pickle.loads(pickle.dumps(fs))
    assert twin == fs
    assert hash(twin) == hash(fs)
    assert twin is not fs
    with concurrent.futures.ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn")
    ) as pool:
        assert pool.submit(read_elsewhere, fs).result() == b"a.txt"


def test_named_store(tmp_path: pathlib.Path) -> None:
    """The filesystem of an application's store is pickled by the store's name."""
    app = Flask(__name__)
    app.config["AVATARS_STORE_PATH"] = str(tmp_path)
    store = Store(app, name="avatars")
    with app.app_context():
        fs = store.Provider("x").fs
        fs.pipe_file("a.txt", b"x")
        pickled = pickle.dumps(fs)
        assert str(tmp_path).encode() not in pickled
        assert pickle.loads(pickled).cat_file("a.txt") == b"x"


def test_url(fs: StoreFileSystem, store: FsspecStore) -> None:
    """fsspec finds the filesystem by its protocol, with the store as an option."""
    with fsspec.open("flaskstore://x/b.txt", store=store) as file:
        assert file.read() == b"x/b.txt"
    found, path = fsspec.url_to_fs("flaskstore://x", store=store)
    assert (found, path) == (fs, "x")


def test_rsync(fs: StoreFileSystem, store: FsspecStore, tmp_path: pathlib.Path) -> None:
    """fsspec's rsync copies into a store and out of it."""
    (tmp_path / "from" / "sub").mkdir(parents=True)
    (tmp_path / "from" / "sub" / "e.txt").write_bytes(b"e")
    options = {"flaskstore": {"store": store}}
    how = {"default_method": "options", "storage_options": options}
    rsync(f"file://{tmp_path}/from", "flaskstore://into", inst_kwargs=how)
    assert fs.cat_file("into/sub/e.txt") == b"e"
    rsync("flaskstore://x", f"file://{tmp_path}/to", inst_kwargs=how)
    assert (tmp_path / "to" / "y" / "c.txt").read_bytes() == b"x/y/c.txt"


def test_link(tmp_path: pathlib.Path) -> None:
    """sign() gives the link that the store gives."""
    app = Flask(__name__, static_folder=None)
    app.config.update(STORE_PATH=str(tmp_path), SECRET_KEY="x" * 32)
    store = Store(app)
    with app.test_request_context():
        fs = store.Provider().fs
        fs.pipe_file("a.txt", b"x")
        assert "a.txt?" in fs.sign("a.txt", 60)
