"""A FileWrapper as what libraries read: its content and its position."""

from __future__ import annotations

import copy
import gc
import io
import pathlib
import pickle
import typing as t

import pytest
from flask import Flask
from flask import render_template_string
from flask import send_file
from werkzeug.datastructures import FileStorage

from flask_store.exceptions import FileNotFound
from flask_store.files import FileWrapper
from flask_store.stores.fsspec import FsspecStore

#: Of more lines than one, and longer than a header.
DATA = b"".join(b"line %d\n" % number for number in range(1000))


@pytest.fixture(params=["disk", "memory"])
def f(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> FileWrapper:
    """A stored file."""
    url = {"disk": str(tmp_path / "store"), "memory": f"memory://{tmp_path.name}"}
    return FsspecStore.from_url(url[request.param]).put("a.txt", DATA)


def test_read_is_the_whole_content(f: FileWrapper) -> None:
    """Each time, until somebody uses the file as one that is open."""
    assert f.read() == f.read() == f.read(None) == f.read(-1) == DATA
    assert f.tell() == 0
    f.seek(500)
    f.close()
    assert f.read() == f.read() == DATA


def test_rest_of_the_file(f: FileWrapper) -> None:
    """Somebody who has moved the position gets what follows it, as of an open file."""
    assert f.seek(-5, io.SEEK_END) == len(DATA) - 5
    assert f.read() == DATA[-5:]
    assert f.read() == b""
    f.seek(0)
    assert f.read(100) + f.readline() + f.read(100) + f.read() == DATA
    assert f.read() == b""
    f.seek(0)
    assert f.read() == DATA
    assert f.read() == b""


def test_position(f: FileWrapper) -> None:
    """It moves as that of a file, and is no error at the end."""
    assert f.seek(10) == f.tell() == 10
    assert f.seek(5, io.SEEK_CUR) == 15
    buffer = bytearray(5)
    assert f.readinto(buffer) == 5
    assert (bytes(buffer), f.tell()) == (DATA[15:20], 20)
    assert f.read1(5) == DATA[20:25]
    assert f.readall() == DATA[25:]
    assert f.read(5) == f.read(5) == b""
    f.close()
    assert (f.tell(), f.closed) == (0, False)
    assert f.read(5) == DATA[:5]
    with pytest.raises(ValueError, match="negative"):
        f.seek(-1)


def test_wrappers(f: FileWrapper) -> None:
    """For text and in a buffer, from where the file stands."""
    raw = t.cast(t.Any, f)
    text = io.TextIOWrapper(raw, "utf-8")
    assert text.readline() + text.read() == DATA.decode()
    assert text.read() == ""
    f.close()
    buffered = io.BufferedReader(raw)
    assert buffered.readline() + buffered.read() == DATA
    assert buffered.read() == b""
    text.detach()
    buffered.detach()


def test_lines(f: FileWrapper) -> None:
    """Each loop has all of them, also within another loop, and the position stays."""
    f.seek(3)
    lines = DATA.splitlines(keepends=True)
    assert list(f) == list(f) == lines
    assert [(a, b) for a in list(f)[:2] for b, _ in zip(f, "12", strict=False)] == [
        (a, b) for a in lines[:2] for b in lines[:2]
    ]
    assert f.tell() == 3


def test_it_is_read_only(f: FileWrapper) -> None:
    """As an open file says it."""
    assert (f.readable(), f.seekable(), f.writable()) == (True, True, False)
    assert f.mode == "rb"
    assert not hasattr(f, "write")
    assert not hasattr(f, "fileno")
    assert not hasattr(f, "__len__")
    assert f


def test_it_stays_a_value(f: FileWrapper) -> None:
    """Its position is no part of it, and neither copies nor pickles have it."""
    store = t.cast(FsspecStore, f.provider)
    twin = store.file("a.txt")
    before = hash(f)
    f.seek(10)
    assert (f == twin, hash(f)) == (True, before)
    assert (twin.tell(), copy.copy(f).tell(), copy.deepcopy(f).tell()) == (0, 0, 0)
    assert f.tell() == 10
    if store.uri.startswith("file"):
        again = pickle.loads(pickle.dumps(f))
        assert (again.tell(), again.read(4)) == (0, b"line")


def test_what_is_left_open_is_closed(f: FileWrapper) -> None:
    """With the wrapper, and by close()."""
    mine = f.provider.file(f.key)
    mine.read(10)
    first = t.cast("t.IO[bytes]", mine._opened)
    mine.close()
    assert first.closed
    mine.read(10)
    second = t.cast("t.IO[bytes]", mine._opened)
    assert not second.closed
    del mine
    gc.collect()
    assert second.closed


def test_saving_is_copying(f: FileWrapper) -> None:
    """save() takes a file of a store for its content, and does not move it."""
    store = t.cast(FsspecStore, f.provider)
    f.seek(10)
    for use in (
        lambda: store.save(f),
        lambda: store.at("x").save(f),
        lambda: store.put("y/b.txt", f),
        lambda: store.save(t.cast(t.Any, FileStorage(t.cast(t.Any, f), "c.txt"))),
    ):
        saved = use()
        assert saved != f
        assert saved.read() == DATA
        assert f.tell() == 10
    assert store.at("x").exists("a.txt")
    with pytest.raises(FileNotFound):
        store.save(store.file("no.txt"))


def test_missing_file(f: FileWrapper) -> None:
    """Making the wrapper asks nobody; reading it does."""
    missing = t.cast(FsspecStore, f.provider).file("no.txt")
    for use in (missing.read, lambda: missing.read(1), missing.readline, missing.read1):
        with pytest.raises(FileNotFound):
            use()
    with pytest.raises(FileNotFound):
        list(missing)
    assert missing.tell() == 0


def test_in_flask(f: FileWrapper) -> None:
    """A template loops over lines; send_file sends it."""
    app = Flask(__name__)
    with app.test_request_context():
        template = (
            "{{ f }}{% if f %} has{% endif %} {% for x in f %}{{ 1 }}{% endfor %}"
        )
        assert render_template_string(template, f=f) == f"a.txt has {1000 * '1'}"
        response = send_file(t.cast(t.Any, f), "text/plain")
        response.direct_passthrough = False
        assert response.data == DATA
