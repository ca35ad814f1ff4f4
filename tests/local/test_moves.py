"""A move deletes the old file only when the new one is there, whole, and another."""

from __future__ import annotations

import os
import pathlib
import typing as t
from dataclasses import replace

import pytest

from flask_store.dialects import Dialect
from flask_store.dialects import Stat
from flask_store.dialects.memory import MemoryDialect
from flask_store.exceptions import StoreError
from flask_store.exceptions import StoreUnavailable
from flask_store.exceptions import VersionGone
from flask_store.files import FileWrapper
from flask_store.signals import file_saved
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.local import LocalStore


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> FsspecStore:
    """An empty store."""
    return FsspecStore.from_url(f"{request.param}://{tmp_path}/store")


@pytest.mark.parametrize(
    "lie",
    [
        lambda found: replace(found, size=found.size - 1),
        lambda found: replace(found, size=0),
        lambda found: replace(found, checksum="md5:other"),
    ],
)
def test_copy_that_is_not_the_same_is_no_reason_to_delete(
    store: FsspecStore,
    monkeypatch: pytest.MonkeyPatch,
    lie: t.Callable[[Stat], Stat],
) -> None:
    """Whatever the storage makes of it: another size, or another checksum."""
    f = store.save(b"precious", "a.txt")
    real = type(store.dialect).info

    def info(self: Dialect, key: str) -> Stat:
        found = replace(real(self, key), checksum="md5:one")
        return lie(found) if key == "b.txt" else found

    monkeypatch.setattr(type(store.dialect), "info", info)
    with pytest.raises(StoreError, match="Nothing was deleted"):
        store.move(f, "b.txt")
    assert f.read() == b"precious"


def test_copy_that_cannot_be_looked_at_is_no_reason_to_delete(
    store: FsspecStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage may go away in the middle."""
    f = store.save(b"precious", "a.txt")
    real = type(store.dialect).info

    def info(self: Dialect, key: str) -> Stat:
        if key == "b.txt":
            raise ConnectionResetError
        return real(self, key)

    monkeypatch.setattr(type(store.dialect), "info", info)
    with pytest.raises(StoreUnavailable):
        store.move(f, "b.txt")
    monkeypatch.undo()
    assert f.read() == b"precious"


def test_checksums_of_two_kinds_are_not_compared() -> None:
    """Only those that begin alike say anything about each other."""
    one = Stat("a", 3, None, None, "text/plain", "md5:1")
    assert one.holds(replace(one, name="b"))
    assert one.holds(replace(one, checksum=None))
    assert one.holds(replace(one, checksum="crc32c:2"))
    assert not one.holds(replace(one, checksum="md5:2"))
    assert not one.holds(replace(one, size=4))


def test_file_that_is_replaced_meanwhile_stays(store: FsspecStore) -> None:
    """Its new content is nowhere else."""
    f = store.save(b"precious", "a.txt")

    def overwrite(sender: object, file: FileWrapper) -> None:
        if file.key == "b.txt":
            store.put("a.txt", b"newer", "overwrite")

    with file_saved.connected_to(overwrite):
        with pytest.raises(StoreError, match="Both 'a.txt' and 'b.txt' are kept"):
            store.move(f, "b.txt")
    assert store.read("a.txt") == b"newer"
    assert store.read("b.txt") == b"precious"


@pytest.mark.parametrize("way", [("real", "alias"), ("alias", "real")])
@pytest.mark.parametrize("kind", ["link", "path"])
def test_two_names_of_one_file(
    tmp_path: pathlib.Path, way: tuple[str, str], kind: str
) -> None:
    """A link within the store makes two, and the only copy stays."""
    (tmp_path / "real").mkdir()
    target = "real" if kind == "link" else str(tmp_path / "real")
    os.symlink(target, tmp_path / "alias")
    store = LocalStore.from_config({"STORE_PATH": str(tmp_path)})
    store.put("real/x.bin", b"precious")
    moved = store.move(f"{way[0]}/x.bin", f"{way[1]}/x.bin", "overwrite")
    assert moved.key == f"{way[1]}/x.bin"
    assert moved.read() == store.read("real/x.bin") == b"precious"


def test_hard_links_are_two_files(tmp_path: pathlib.Path) -> None:
    """One of them gets a file of its own, and then the other is deleted."""
    store = LocalStore.from_config({"STORE_PATH": str(tmp_path)})
    store.put("a.bin", b"precious")
    os.link(tmp_path / "a.bin", tmp_path / "b.bin")
    assert store.move("a.bin", "b.bin", "overwrite").read() == b"precious"
    assert not store.exists("a.bin")


def test_storage_that_ignores_case(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody can tell, spellings that differ in case only mean one file."""
    real = Dialect.path

    def path(self: Dialect, key: str, **options: t.Any) -> str:
        return real(self, key, **options).lower()

    # Also one without dates and tags, so that every version looks the same.
    def record(self: Dialect, info: t.Any, key: str) -> Stat:
        return Stat(key, info["size"], None, None, "text/plain")

    monkeypatch.setattr(Dialect, "path", path)
    monkeypatch.setattr(Dialect, "record", record)
    monkeypatch.delattr(MemoryDialect, "is_one_file")
    store = FsspecStore.from_url(f"memory:/{tmp_path}/store".lower())
    store.put("photo.jpg", b"precious")
    assert store.move("photo.jpg", "Photo.JPG", "overwrite").read() == b"precious"
    assert store.move("photo.jpg", "other.jpg", "overwrite").read() == b"precious"
    assert not store.exists("photo.jpg")


def test_move_to_another_store(tmp_path: pathlib.Path) -> None:
    """A FileWrapper of one store moves into another one."""
    one = FsspecStore.from_url(f"{tmp_path}/one")
    two = FsspecStore.from_url(f"{tmp_path}/two")
    f = one.save(b"precious", "a.txt")
    assert two.move(f, "a.txt").read() == b"precious"
    assert not f.exists()


def test_date_of_a_move_that_a_receiver_has_asked_about(tmp_path: pathlib.Path) -> None:
    """The file gets its date after the signal, and does not tell the old one."""
    store = FsspecStore.from_url(f"{tmp_path}/store")
    store.put("a.txt", b"precious")
    os.utime(tmp_path / "store" / "a.txt", (1, 1))

    def ask(sender: object, file: FileWrapper) -> None:
        assert file.etag

    with file_saved.connected_to(ask):
        moved = store.move("a.txt", "b.txt")
    found = store.stat("b.txt")
    assert (moved.etag, moved.modified) == (found.etag, found.modified)


@pytest.mark.parametrize("verb", ["copy", "put"])
def test_file_that_is_replaced_once_while_it_is_copied(
    store: FsspecStore, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """As one that waits for its upload is, when it arrives. The copy begins anew."""
    at = store.at("folder")
    f = store.put("a.txt", b"one")
    real, replacing = FileWrapper.stat, [b"another", b"the third"]

    def stat(self: FileWrapper) -> Stat:
        found = real(self)
        if replacing:
            store.put("a.txt", replacing.pop(0), "overwrite")
        return found

    monkeypatch.setattr(FileWrapper, "stat", stat)

    def make() -> FileWrapper:
        return at.copy(f, "b.txt") if verb == "copy" else at.put("b.txt", f)

    with pytest.raises(VersionGone):
        make()
    assert [found.key for found in store.ls()] == ["a.txt"]
    replacing.append(b"the fourth")
    made = make()
    assert (made.key, made.read()) == ("folder/b.txt", b"the fourth")
