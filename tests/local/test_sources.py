"""What can be saved, beyond what the contract asks of every store."""

from __future__ import annotations

import io
import os
import pathlib
import tempfile
import typing as t

import pytest
from flask import Flask
from werkzeug.datastructures import FileStorage

from flask_store.exceptions import NoFile
from flask_store.uploads import open_source
from flask_store.uploads.source import CHUNK
from flask_store.uploads.source import Source
from flask_store.uploads.source import Window


class Drip(io.RawIOBase):
    """A stream that gives less than it is asked for, such as a socket."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        given, self.rest = self.rest[:3], self.rest[3:]
        return given


class Plain:
    """The least that people call a file: no seekable(), no IOBase, no return value
    of seek()."""

    def __init__(self, data: bytes) -> None:
        self.inner = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self.inner.read(size)

    def seek(self, offset: int, whence: int = 0) -> None:
        self.inner.seek(offset, whence)

    def tell(self) -> int:
        return self.inner.tell()


@pytest.mark.parametrize(
    "data", [b"bytes", bytearray(b"bytes"), memoryview(b"xbytesx")[1:-1]]
)
def test_buffers(data: bytes) -> None:
    """Everything that is bytes can be saved; it has no name."""
    with open_source(data) as source:
        assert b"".join(source.chunks()) == b"bytes"
        assert (source.size, source.filename) == (5, None)


def test_path_is_opened_and_closed(tmp_path: pathlib.Path) -> None:
    """A path brings its own name, and its file is closed afterwards."""
    path = tmp_path / "report.csv"
    path.write_bytes(b"a,b")
    for given in (path, str(path)):
        with open_source(given) as source:
            assert (source.filename, source.size) == ("report.csv", 3)
        assert source.stream.closed


def test_path_that_is_not_there(tmp_path: pathlib.Path) -> None:
    """A missing path is the caller's own error and not one of a store."""
    with pytest.raises(FileNotFoundError) as caught:
        with open_source(tmp_path / "no.txt"):
            pass
    assert type(caught.value) is FileNotFoundError


@pytest.mark.parametrize(
    "text",
    ["some text", "", "a/b.txt", "line\nline", "x" * 5000, "\0", "a.txt/b"],
)
def test_text_is_a_path(
    text: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no such file, the error says so, and what to do with text."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"text\.encode\(\)") as caught:
        with open_source(text):
            pass
    assert type(caught.value) is FileNotFoundError
    assert "A str is the path of a file" in str(caught.value)
    assert len(str(caught.value)) < 400


def test_other_errors_of_a_path_stay(tmp_path: pathlib.Path) -> None:
    """A folder is there, and is no file."""
    with pytest.raises(IsADirectoryError):
        with open_source(str(tmp_path)):
            pass


def test_text_in_a_request() -> None:
    """It never chooses a file of the server, and text is bytes there, too."""
    with Flask(__name__).test_request_context():
        with pytest.raises(TypeError, match=r"text\.encode\(\)"):
            with open_source("some text"):
                pass
        with pytest.raises(TypeError, match=r"request\.files"):
            with open_source(("some text", "a.txt")):
                pass


@pytest.mark.parametrize("name", ["me.jpg", pathlib.PurePosixPath("me.jpg")])
def test_pair(name: t.Any, tmp_path: pathlib.Path) -> None:
    """Whatever can be saved, with the name that counts."""
    path = tmp_path / "other.csv"
    path.write_bytes(b"data")
    upload = FileStorage(io.BytesIO(b"data"), "other.csv")
    stream = io.BytesIO(b"data")
    for content in (b"data", bytearray(b"data"), path, str(path), stream, upload):
        with open_source((content, name)) as source:
            assert source.filename == "me.jpg"
            assert b"".join(source.chunks()) == b"data"
    assert stream.tell() == 0


def test_pair_without_a_file() -> None:
    """A name does not make a file of an empty field."""
    for content in (None, FileStorage(io.BytesIO(), "")):
        with pytest.raises(NoFile):
            with open_source((content, "me.jpg")):  # type: ignore[arg-type]
                pass


@pytest.mark.parametrize(
    "file",
    [
        (),
        (b"data",),
        ("me.jpg", b"data"),
        (b"data", b"me.jpg"),
        (b"data", None),
        (b"data", "me.jpg", "image/jpeg"),
        ((b"data", "a.jpg"), "me.jpg"),
    ],
)
def test_what_is_no_pair(file: t.Any) -> None:
    """The error shows the order."""
    with pytest.raises(TypeError, match=r"\(b'\.\.\.', 'me\.jpg'\)"):
        with open_source(file):
            pass


@pytest.mark.parametrize("file", [42, object(), ["a.txt"], {"afile": b""}])
def test_what_is_no_file(file: t.Any) -> None:
    """A TypeError names the type and what can be saved."""
    with pytest.raises(TypeError, match=f"'{type(file).__name__}'.*FileStorage"):
        with open_source(file):
            pass


def test_text_mode_is_refused(tmp_path: pathlib.Path) -> None:
    """A file opened without 'b' says so, before a byte of it is stored."""
    path = tmp_path / "a.txt"
    path.write_text("text")
    with path.open() as file, open_source(t.cast(t.Any, file)) as source:
        with pytest.raises(TypeError, match="'rb'"):
            list(source.chunks())
        assert source.error is not None


def test_name_of_an_open_file() -> None:
    """A file brings the name of its path; a descriptor's number is none."""
    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        with open_source(t.cast(t.Any, file)) as source:
            assert source.filename == os.path.basename(file.name)
    with tempfile.TemporaryFile() as file, open_source(file) as source:
        assert source.filename is None


def test_stream_is_put_back_after_an_error() -> None:
    """A view that catches the error of a save finds its stream where it was."""
    stream = io.BytesIO(b"0123456789")
    stream.seek(7)
    with pytest.raises(ZeroDivisionError):
        with open_source(stream) as source:
            list(source.chunks())
            raise ZeroDivisionError
    assert stream.tell() == 7


def test_stream_that_was_closed_meanwhile() -> None:
    """A stream that is closed while it is saved is left closed."""
    stream = io.BytesIO(b"x")
    with open_source(stream):
        stream.close()
    assert stream.closed


def test_part_without_a_name_is_a_file_if_it_has_content() -> None:
    """JavaScript can send a file without a name; that is not the empty part."""
    with open_source(FileStorage(io.BytesIO(b"x"), filename="")) as source:
        assert source.filename == ""
    with pytest.raises(NoFile):
        with open_source(FileStorage(io.BytesIO(b""), filename="")):
            pass
    with open_source(FileStorage(io.BytesIO(b""), filename="a.txt")) as source:
        assert source.size == 0


def test_chunks_are_bounded_and_complete() -> None:
    """No piece is larger than 1 MiB, and short reads end nothing early."""
    data = os.urandom(2 * CHUNK + 5)
    pieces = list(Source(io.BytesIO(data), None).chunks())
    assert [len(piece) for piece in pieces] == [CHUNK, CHUNK, 5]
    assert b"".join(Source(Drip(b"0123456789"), None).chunks()) == b"0123456789"


def test_stream_that_cannot_rewind_is_copied_once() -> None:
    """What can be read only once becomes what can be read again, of a known size."""
    source = Source(Drip(b"0123456789"), "d.txt")
    assert not source.rewinds
    with source.rewindable() as again:
        assert (again.filename, again.size) == ("d.txt", 10)
        assert b"".join(again.chunks()) == b"".join(again.chunks()) == b"0123456789"
    plain = Source(t.cast(t.Any, Plain(b"0123456789")), None)
    assert (plain.rewinds, plain.size) == (True, 10)
    with plain.rewindable() as same:
        assert same is plain


def test_source_keeps_the_error_of_its_stream() -> None:
    """So that a store can tell the client's hangup from its storage's failure."""

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise ConnectionResetError("the client has gone")

    source = Source(Broken(b"x"), None)
    with pytest.raises(ConnectionResetError) as caught:
        list(source.chunks())
    assert source.error is caught.value


def test_window_is_a_file_of_its_own() -> None:
    """A window begins and ends where it was told, seeks, and does not go beyond."""
    stream = io.BytesIO(b"0123456789")
    window = Window(Source(stream, None), 2, 5)
    assert (len(window), window.read()) == (5, b"23456")
    assert window.read() == b""
    assert window.seek(-2, os.SEEK_END) == 3
    assert window.read(10) == b"56"
    assert window.seek(1) == 1
    assert window.read(2) == b"34"
    assert window.seek(1, os.SEEK_CUR) == 4
    buffer = bytearray(4)
    assert window.readinto(buffer) == 1
    assert bytes(buffer) == b"6\0\0\0"
    assert window.seek(99) == 99
    assert window.read() == b""
    assert io.BufferedReader(Window(Source(stream, None), 8)).read() == b"89"


def test_closing_a_window_leaves_the_stream() -> None:
    """HTTP clients close what they send; the caller's stream stays open."""
    stream = io.BytesIO(b"x")
    with Window(Source(stream, None)) as window:
        assert window.read() == b"x"
    assert window.closed
    assert not stream.closed


def test_window_on_short_reads() -> None:
    """Exactly what was asked for comes, though the stream gives it bit by bit."""

    class SeekableDrip(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(3, size) if size and size > 0 else 3)

    window = Window(Source(SeekableDrip(b"0123456789"), None), 1)
    assert window.read(7) == b"1234567"
    assert window.read() == b"89"
