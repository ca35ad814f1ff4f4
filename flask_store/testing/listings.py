"""What is promised of listings and of the deletion of many files, step by step."""

from __future__ import annotations

import typing as t

import pytest

from ..exceptions import FileNotFound
from ..exceptions import InvalidName
from ..exceptions import StoreError
from ..signals import file_deleted
from ..stores.fsspec import FsspecStore

if t.TYPE_CHECKING:
    from ..files import FileWrapper

#: Keys with every kind of place: beside, below, deep, and in a folder that looks like a
#: pattern.
KEYS = ("a.txt", "f/[1]/c.txt", "f/b.txt", "f/d/e.txt", "f/d/g/h.txt", "f_/i.txt")


def fill(store: FsspecStore) -> None:
    """Put a file under each of :data:`KEYS`, with its key in it."""
    for key in KEYS:
        store.put(key, key.encode(), "overwrite")


def names(files: t.Iterable[FileWrapper]) -> list[str]:
    """The names of files, sorted."""
    return sorted(file.name for file in files)


def check_known(file: FileWrapper) -> None:
    """What is known of a file without a request is what the storage tells."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FsspecStore, "stat", _asked)
        known = file.size, file.content_type
        try:
            etag, modified = file.etag, file.modified
        except AssertionError:  # of a file that has just been saved
            etag = modified = None
    found = file.stat()
    assert known == (found.size, found.content_type)
    assert etag in (None, found.etag)
    # Some servers give seconds in one of the two, and minutes or less in the other.
    assert modified is None or found.modified is not None


def _asked(*args: object) -> t.NoReturn:
    raise AssertionError("the storage was asked")


def check_listed(store: FsspecStore) -> None:
    """A listing gives files that know what the storage has told of them."""
    fill(store)
    assert names(store.ls()) == list(KEYS)
    below = store.at("f")
    for listing in (store.ls(), below.ls(), store.ls("f", recursive=False)):
        for file in listing:
            assert listing.store.file(file.name) == file == store.file(file.key)
            assert listing.store.exists(file.name)
            assert file.read() == file.key.encode()
            check_known(file)
    assert names(below.ls()) == ["[1]/c.txt", "b.txt", "d/e.txt", "d/g/h.txt"]
    assert store.ls()[0] in set(store.ls())
    assert len(store.ls()[:2]) == 2
    with pytest.raises(TypeError, match="len\\(list"):
        len(t.cast("t.Sized", store.ls()))


def check_folders(store: FsspecStore) -> None:
    """One folder has its files and its folders, each of which can be listed."""
    fill(store)
    top = store.ls(recursive=False)
    assert names(top) == ["a.txt"]
    assert [folder.name for folder in top.folders] == ["f", "f_"]
    folder = top.folders[0]
    assert (len(folder), names(folder)) == (1, ["f/b.txt"])
    assert folder[0] == store.file("f/b.txt")
    inner = folder.folders
    assert [(each.name, each.filename) for each in inner] == [
        ("f/[1]", "[1]"),
        ("f/d", "d"),
    ]
    assert [names(each) for each in inner] == [["f/[1]/c.txt"], ["f/d/e.txt"]]
    assert names(store.ls("f/[1]", recursive=False)) == ["f/[1]/c.txt"]
    below = store.at("f").ls(recursive=False)
    assert [each.name for each in below.folders] == ["[1]", "d"]
    assert names(below) == ["b.txt"]
    nothing = store.ls("f/no", recursive=False)
    assert (len(nothing), nothing.folders, nothing.unreachable) == (0, [], [])


def check_patterns(store: FsspecStore) -> None:
    """glob takes patterns, and ls takes names, whatever is in them."""
    fill(store)
    assert names(store.glob("*.txt")) == ["a.txt"]
    assert names(store.glob("f/*.txt")) == ["f/b.txt"]
    assert names(store.glob("f/?/*")) == ["f/d/e.txt"]
    assert names(store.glob("**/[c-h].txt")) == [
        "f/[1]/c.txt",
        "f/d/e.txt",
        "f/d/g/h.txt",
    ]
    assert names(store.at("f").glob("[[]1]/*")) == ["[1]/c.txt"]
    assert names(store.glob("f/*.csv")) == []
    assert names(store.ls("f/[1]")) == ["f/[1]/c.txt"]
    for pattern in ("*.txt", "f/?", "f/[2]"):
        for recursive in (True, False):
            with pytest.raises(InvalidName, match="glob"):
                list(store.ls(pattern, recursive))


def check_deletion(store: FsspecStore, other: FsspecStore) -> None:
    """Many files are deleted at once, or all below a folder, and nothing else.

    :param other: a store of other files.
    """
    fill(store)
    told: list[str] = []

    def tell(sender: object, file: FileWrapper) -> None:
        told.append(file.key)

    with file_deleted.connected_to(tell):
        store.delete()
        store.delete("a.txt", store.file("f/b.txt"), "f/no.txt", "a.txt")
        assert set(told) - {"f/no.txt"} == {"a.txt", "f/b.txt"}
        assert names(store.ls()) == [k for k in KEYS if k not in ("a.txt", "f/b.txt")]
        told.clear()
        store.at("f").delete("d", recursive=True)
        assert sorted(told) == ["f/d/e.txt", "f/d/g/h.txt"]
    assert names(store.ls()) == ["f/[1]/c.txt", "f_/i.txt"]
    assert "f_/i.txt" in store
    for missing in ("no", "f_/i.txt", "f/d"):
        with pytest.raises(FileNotFound, match="below"):
            store.delete(missing, recursive=True)
    for whole in ("", "/"):
        with pytest.raises(InvalidName, match="every file"):
            store.delete(whole, recursive=True)
    with pytest.raises(ValueError, match="another|no file of"):
        store.delete(other.file("f_/i.txt"), "f/[1]/c.txt")
    store.delete("f", "f_", recursive=True)
    assert list(store.ls()) == []


def check_refused(store: FsspecStore, keys: list[str]) -> None:
    """Where nothing can be deleted, the error has each of the files."""
    with pytest.raises(StoreError) as caught:
        store.delete(*keys)
    assert set(caught.value.errors) == set(keys)
    assert f"{len(keys)} of {len(keys)} files are not deleted" in str(caught.value)
