"""The edges that every store shares: of a range, of an opened file, of an argument."""

from __future__ import annotations

import io
import pathlib
import typing as t

import pytest

from ..exceptions import FileNotFound
from ..exceptions import InvalidName
from ..exceptions import WrongType

if t.TYPE_CHECKING:
    from ..files import FileWrapper
    from ..stores.fsspec import FsspecStore

#: Where ranges of a short file begin and end. They mean what they mean in a slice.
BOUNDS: t.Final[list[tuple[int, int | None]]] = [
    (0, 0),
    (0, 1),
    (3, 3),
    (3, 2),
    (3, 10_000),
    (9_999, None),
    (9_999, 10_000),
    (-1, None),
    (-3, -1),
    (0, -1),
    (-10_000, 2),
    (2, -10_000),
]

#: What is no content type: other letters than those of ASCII, more than one line, and
#: more characters than any type has.
NO_TYPES: t.Final = ["text/\u4e2d", "text/\xe9", "a/b\r\nX-A: b", "a/\0", "a" * 256]


def check_ranges(file: FileWrapper, data: bytes) -> None:
    """A range of a stored file is the slice of its bytes.

    :param data: what is in the file, 4 to 9,000 bytes.
    """
    for start, stop in BOUNDS:
        found = b"".join(file.stream(start, stop))
        assert found == data[start:stop], (start, stop)


def check_opened(file: FileWrapper, data: bytes) -> None:
    """An opened file behaves as one of :mod:`io` does, and has the key as its name.

    :param data: what is in the file, 4 to 9,000 bytes.
    """
    with file.open() as opened:
        assert (opened.name, opened.mode) == (file.key, "rb")
        assert (opened.readable(), opened.seekable()) == (True, True)
        assert (opened.writable(), opened.closed) == (False, False)
        assert opened.read(2) == data[:2]
        for offset, whence in ((-1, io.SEEK_SET), (-3, io.SEEK_CUR)):
            with pytest.raises(ValueError, match="negative"):
                opened.seek(offset, whence)
        with pytest.raises((ValueError, OSError)):
            opened.seek(-len(data) - 1, io.SEEK_END)
        assert opened.tell() == 2
        assert opened.read() == data[2:]
        assert opened.seek(-1, io.SEEK_CUR) == len(data) - 1
        assert opened.read() == data[-1:]
        assert opened.seek(-2, io.SEEK_END) == len(data) - 2
        assert opened.read() == data[-2:]
        assert opened.seek(len(data) + 5) == opened.tell() == len(data) + 5
        assert opened.read() == b""
        with pytest.raises((OSError, TypeError)):
            opened.write(b"x")
    assert opened.closed
    for use in (opened.read, opened.readable, opened.tell, lambda: opened.seek(0)):
        with pytest.raises(ValueError, match="closed"):
            use()
    with file.open("r") as text:
        assert text.name == file.key


def check_paths(store: FsspecStore, file: FileWrapper) -> None:
    """A path of :mod:`pathlib` is as good as text, for a key and for a destination.
    What is neither is an error that says so."""
    key = pathlib.PurePosixPath(file.key)
    for path in (key, pathlib.Path(file.key)):
        assert store.file(path) == file
        assert store.exists(path)
        assert store.stat(path).name == file.key
        assert store.absolute_url(path) == file.absolute_url()
        assert store.at(path.parent).exists(path.name)
        assert [f.name for f in store.ls(path.parent)].count(file.key) == 1
    for wrong in (b"bytes", 7, None, pathlib.Path("/absolute")):
        with pytest.raises(InvalidName, match="key"):
            store.exists(t.cast(str, wrong))
    for wrong in (b"bytes", 7):
        with pytest.raises(InvalidName, match="destination"):
            store.at(t.cast(str, wrong))
    with pytest.raises(FileNotFound):
        store.stat(key / "below")


def check_types(store: FsspecStore) -> None:
    """A content type that no header can have is an error that says so."""
    for kind in NO_TYPES:
        with pytest.raises(WrongType, match="one line of ASCII"):
            store.save(b"data", "a.txt", content_type=kind)
        with pytest.raises(WrongType, match="one line of ASCII"):
            store.put("a.txt", b"data", content_type=kind)
