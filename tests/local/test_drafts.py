"""``store.create``: a file that is published when its block ends."""

from __future__ import annotations

import gc
import io
import os
import pathlib
import typing as t
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from flask import Flask

from flask_store import signals
from flask_store import Store
from flask_store.exceptions import FileExists
from flask_store.exceptions import InvalidName
from flask_store.exceptions import StoreDenied
from flask_store.exceptions import StoreError
from flask_store.exceptions import StoreFull
from flask_store.exceptions import StoreUnavailable
from flask_store.exceptions import WrongType
from flask_store.stores.drafts import Draft
from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import Hangup
from flask_store.uploads.disk import Unnamed
from tests.support.servers import _free_ports

#: More than a draft keeps in memory.
LARGE = 3_000_000


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> FsspecStore:
    """A store whose drafts are its own files, and one whose drafts are temporary."""
    url = {"disk": str(tmp_path / "store"), "memory": f"memory://{tmp_path.name}"}
    return FsspecStore.from_url(url[request.param])


def names(store: FsspecStore) -> list[str]:
    """What is in the store."""
    return sorted(str(found) for found in store.fs.find(""))


@pytest.mark.parametrize("size", [0, 10, LARGE])
def test_published_at_the_end(store: FsspecStore, size: int) -> None:
    """Nobody sees the file before the block ends. Then it is whole, and has a type."""
    with store.create("2026/a.png") as out:
        out.write(b"x" * size)
        assert names(store) == []
        with pytest.raises(StoreError, match="not stored"):
            _ = out.file
    assert out.file.key == "2026/a.png"
    assert out.file.read() == b"x" * size
    assert out.file.content_type == "image/png"
    assert out.closed


@pytest.mark.parametrize("size", [10, LARGE])
@pytest.mark.parametrize("close", [False, True])
@pytest.mark.parametrize("mode", ["w", "wb"])
def test_error_publishes_nothing(
    store: FsspecStore, size: int, close: bool, mode: t.Any
) -> None:
    """Nor does a library publish it that closes its file after an error."""
    with pytest.raises(Hangup), store.create("a.txt", mode) as out:
        out.write("x" * size if mode == "w" else b"x" * size)
        if close:
            out.close()
        raise Hangup
    assert names(store) == []
    with pytest.raises(StoreError, match="not stored"):
        _ = out.file


def test_what_is_dropped_publishes_nothing(store: FsspecStore) -> None:
    """Nothing is published of a block that never ends."""
    stack = ExitStack()
    stack.enter_context(store.create("a.bin")).write(b"x" * LARGE)
    del stack
    gc.collect()
    assert names(store) == []


def test_closing_in_the_block_changes_nothing(store: FsspecStore) -> None:
    """Some libraries close what they have written. The block still decides."""
    with store.create("a.bin") as out:
        out.write(b"whole")
        out.close()
        assert out.closed
        assert names(store) == []
        with pytest.raises(ValueError, match="closed"):
            out.write(b"more")
    assert out.file.read() == b"whole"
    with store.create("b.txt", "w") as text:
        text.write("whole")
        text.close()
    assert text.file.read() == b"whole"


@pytest.mark.parametrize("size", [100, LARGE])
def test_libraries_seek_read_and_cut(store: FsspecStore, size: int) -> None:
    """A draft is a file of io, in memory as on disk."""
    with store.create("a.bin") as out:
        assert isinstance(out, io.BufferedIOBase)
        assert (out.readable(), out.writable(), out.seekable()) == (True, True, True)
        assert (out.name, out.mode) == ("a.bin", "wb")
        assert out.write(memoryview(b"x" * size)) == size
        assert out.tell() == size
        assert out.seek(-1, io.SEEK_END) == size - 1
        out.write(b"end")
        out.seek(0)
        out.write(b"beginning")
        out.seek(0)
        assert out.read(9) == b"beginning"
        buffer = bytearray(3)
        assert out.readinto(buffer) == 3
        out.truncate(size)
        out.truncate(size + 5)
        assert out.seek(0, io.SEEK_END) == size + 5
        out.writelines([b"1", bytearray(b"2"), b""])
        out.flush()
    expected = b"beginning" + b"x" * (size - 10) + b"e" + 5 * b"\0" + b"12"
    assert out.file.read() == expected
    assert out.file.size == len(expected)


def test_what_is_written_through_a_descriptor(store: FsspecStore) -> None:
    """Pillow and others write there after a flush."""
    with store.create("a.bin") as out:
        out.write(b"one ")
        number = out.fileno()
        out.flush()
        os.write(number, b"two ")
        out.seek(0, io.SEEK_END)
        out.write(b"three")
    assert out.file.read() == b"one two three"
    assert out.file.size == len(b"one two three")


def test_text(store: FsspecStore) -> None:
    """Text is UTF-8, and the ends of its lines are as they are written."""
    with store.create("a.csv", mode="w") as out:
        out.write("ä\r\nb\n")
    assert out.file.read() == "ä\r\nb\n".encode()
    with pytest.raises(TypeError), store.create("b.txt", "w") as out:
        out.write(b"bytes")  # type: ignore[arg-type]
    with pytest.raises(TypeError), store.create("c.txt") as binary:
        binary.write("text")
    assert names(store) == ["a.csv"]


def test_never_over_another_file(store: FsspecStore) -> None:
    """'rename' renames, 'error' raises at the end, and 'overwrite' replaces."""
    store.put("a.txt", b"first")
    with store.create("a.txt") as out:
        out.write(b"second")
    assert out.file.key != "a.txt"
    assert out.file.read() == b"second"
    with pytest.raises(FileExists), store.create("a.txt", on_conflict="error") as out:
        out.write(b"third")
    assert store.read("a.txt") == b"first"
    with store.create("a.txt", on_conflict="overwrite") as out:
        out.write(b"fourth")
    assert store.read("a.txt") == b"fourth"
    assert len(names(store)) == 2


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda s: s.create("../a.txt"), InvalidName, "key"),
        (lambda s: s.create(".flask-store/a"), InvalidName, "key"),
        (lambda s: s.create("a", "r"), ValueError, "'wb' or 'w'"),
        (lambda s: s.create("a", "ab"), ValueError, "'wb' or 'w'"),
        (lambda s: s.create("a", on_conflict="no"), ValueError, "'rename', 'error'"),
        (lambda s: s.create("a", content_type="é"), WrongType, "ASCII"),
    ],
)
def test_wrong_use_is_refused_before_anything_is_written(
    store: FsspecStore,
    use: Callable[[FsspecStore], t.Any],
    error: type[Exception],
    message: str,
) -> None:
    """Not when an hour of work is to be published."""
    with pytest.raises(error, match=message), use(store):
        pytest.fail("the block must not begin")


def test_read_only_store(tmp_path: pathlib.Path) -> None:
    """The block does not begin there either."""
    (tmp_path / "a.txt").write_bytes(b"a")
    store = FsspecStore.from_url(f"simplecache::file://{tmp_path}")
    with pytest.raises(StoreDenied, match="read-only"), store.create("b.txt"):
        pytest.fail("the block must not begin")


def test_signal(tmp_path: pathlib.Path) -> None:
    """It is that of save, once, and a receiver that raises refuses the file."""
    app = Flask(__name__)
    app.config["STORE_PATH"] = str(tmp_path)
    store = Store(app)
    keys = []

    def receive(sender: Flask, file: t.Any) -> None:
        keys.append(file.key)
        if file.key == "bad.txt":
            raise Hangup

    with signals.file_saved.connected_to(receive, app), app.app_context():
        provider = store.Provider("inner")
        with provider.create("good.txt") as out:
            out.write(b"x")
        assert out.file.key == "inner/good.txt"
        with pytest.raises(Hangup), store.Provider().create("bad.txt") as out:
            out.write(b"x")
    assert keys == ["inner/good.txt", "bad.txt"]
    assert sorted(path.name for path in tmp_path.rglob("*.txt")) == ["good.txt"]


def test_large_draft_is_the_stored_file(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk, its bytes are written once: publishing gives them a name."""
    store = FsspecStore.from_url(tmp_path)
    with store.create("a.bin") as out:
        out.write(b"x" * LARGE)
        before = os.fstat(out.fileno()).st_ino
        monkeypatch.setattr(Unnamed, "write", None)  # what copies would go this way
    assert (tmp_path / "a.bin").stat().st_ino == before


def test_background(tmp_path: pathlib.Path) -> None:
    """The file waits in the spool, as one of save does, and without a copy."""
    app = Flask(__name__)
    app.config.update(
        STORE_PATH=str(tmp_path / "store"),
        STORE_BACKGROUND=True,
        STORE_SPOOL_PATH=str(tmp_path / "spool"),
    )
    store = Store(app)
    with app.app_context():
        with store.Provider().create("a.bin") as out:
            out.write(b"x" * LARGE)
        upload = out.file.upload
        assert upload is None or upload.wait(30)
        assert out.file.size == LARGE
        assert out.file.key.startswith("a_")
        with store.Provider().create("a.bin", on_conflict="error") as out:
            out.write(b"at once")
        assert out.file.key == "a.bin"
        assert (tmp_path / "store" / "a.bin").read_bytes() == b"at once"


def test_full_disk(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails is an error, and so is the end of the block, also if a
    library has gone on."""
    store = FsspecStore.from_url(tmp_path)
    full = open("/dev/full", "rb+", buffering=0)

    def unnamed(self: object) -> Unnamed:
        file = Unnamed(str(tmp_path), str(tmp_path), nameless=False)
        os.dup2(full.fileno(), file.fd)
        return file

    monkeypatch.setattr(type(store.dialect), "unnamed", unnamed)
    with full:
        with pytest.raises(StoreFull), store.create("a.bin") as out:
            out.write(b"x" * LARGE)
        with pytest.raises(StoreError, match="a write has failed"):
            with store.create("a.bin") as out:
                with pytest.raises(StoreFull):
                    out.write(b"x" * LARGE)
    assert list(tmp_path.glob("a*")) == []


def test_dead_server() -> None:
    """The end of the block says so, and out.file that nothing is stored."""
    (port,) = _free_ports(1)
    store = FsspecStore.from_url(f"ftp://127.0.0.1:{port}/x")
    with pytest.raises(StoreUnavailable), store.create("a.bin") as out:
        out.write(b"x" * LARGE)
    with pytest.raises(StoreError, match="not stored"):
        _ = out.file


def test_is_a_draft(store: FsspecStore) -> None:
    """For whoever names the class."""
    with store.create("a") as out:
        assert isinstance(out, Draft)
