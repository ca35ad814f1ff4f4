"""A listing is whole or an error, and every file in it can be reached by its name."""

from __future__ import annotations

import os
import pathlib
import typing as t
from collections.abc import Iterator

import pytest

from flask_store import naming
from flask_store.dialects import Stat
from flask_store.dialects import Unreachable
from flask_store.dialects.memory import MemoryDialect
from flask_store.exceptions import StoreDenied
from flask_store.exceptions import StoreUnavailable
from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import HOSTILE
from tests.local.test_cli import application
from tests.local.test_cli import Shell
from tests.local.test_cli_sync import two_stores

#: What storages list besides files: folders, private files, and names of other tools.
FOLDERS = ["", "folder/", "a/b/"]
PRIVATE = [".flask-store/x.part", "a/.flask-store/y", ".flask-store/mark.sent"]
ODD = ["b//c.txt", "d\\e.txt", "/f.txt", "g/../h.txt", "new\nline", "\udcff.bin", "."]
GOOD = ["a.txt", "a/b.txt", "фото.jpg", "-x", "con.txt", "a b#c?.txt", "100%25.txt"]


class ListingDialect(MemoryDialect):
    """Lists what it is told to."""

    entries: t.ClassVar[list[Stat | Unreachable | Exception]] = []

    def find(self, prefix: str) -> Iterator[Stat | Unreachable]:
        for entry in self.entries:
            if isinstance(entry, Exception):
                raise entry
            yield entry


def entry(name: str) -> Stat:
    """A file of ten bytes."""
    return Stat(name, 10, None, None, "text/plain")


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[t.Any]:
    """What every store in memory lists from now on."""
    entries: list[t.Any] = []
    monkeypatch.setattr(ListingDialect, "entries", entries)
    monkeypatch.setattr(MemoryDialect, "find", ListingDialect.find)
    monkeypatch.setattr(MemoryDialect, "entries", entries, raising=False)
    return entries


def test_listing_yields_what_every_operation_takes(listed: list[t.Any]) -> None:
    """Folders and private files are nobody's; other names are told apart."""
    listed += map(entry, [*FOLDERS, *PRIVATE, *ODD, *GOOD])
    listed.append(Unreachable("out", "leads out."))
    store = FsspecStore.from_url("memory://listing")
    for listing in (store.ls(), store.ls("")):
        assert [found.name for found in listing] == GOOD
        assert [found.name for found in listing.unreachable] == [*ODD, "out"]
        files, _ = listing.first_page()
        assert [found.name for found in files] == GOOD
        assert [found.name for found in listing.unreachable] == [*ODD, "out"]
        assert all(found.reason.endswith(".") for found in listing.unreachable)
        assert f"{len(ODD) + 1} names that cannot be used" in str(listing._repr_html_())


@pytest.mark.parametrize("name", HOSTILE)
def test_gate_is_the_check_of_keys(name: str) -> None:
    """No name passes the one and not the other."""
    if not naming.is_file(name):
        return
    try:
        naming.check(name)
    except naming.InvalidName:
        assert naming.problem(name)
    else:
        assert not naming.problem(name)


def test_usage_tells_what_it_leaves_out(listed: list[t.Any]) -> None:
    """The sum is that of the files; the rest has a number of its own."""
    listed += map(entry, ["a.txt", *FOLDERS, *PRIVATE, "b//c.txt", "d\\e.txt"])
    usage = FsspecStore.from_url("memory://listing").usage()
    assert (usage.files, usage.size, len(usage.unreachable)) == (1, 10, 2)
    assert "2 names that cannot be used" in usage._repr_html_()


def test_commands_tell_and_fail(tmp_path: pathlib.Path, listed: list[t.Any]) -> None:
    """ls and usage show what there is and name the rest; check finds it too."""
    shell = Shell(application(tmp_path, STORE_PATH="memory://listing"))
    listed += map(entry, ["a.txt", "b//c.txt"])
    for command in ("ls", "usage"):
        result = shell(command, code=1)
        assert "a.txt" in result.stdout or "1 files" in result.stdout
        assert "unreachable: b//c.txt has an empty part" in result.stderr
    said = shell("check", code=1).stdout
    assert "FAIL  names" in said
    assert "b//c.txt" in said


@pytest.mark.parametrize("side", ["source", "target"])
def test_sync_deletes_nothing_when_it_cannot_reach_all(
    tmp_path: pathlib.Path, side: str
) -> None:
    """A file that another tool has named is in the way of a whole copy."""
    folders = {name: tmp_path / name for name in ("source", "target")}
    shell = two_stores(
        tmp_path,
        {
            "STORE_PATH": str(folders["source"]),
            "TARGET_STORE_PATH": str(folders["target"]),
        },
    )
    for folder in folders.values():
        folder.mkdir()
        (folder / "a.txt").write_bytes(b"a")
    (folders["target"] / "only-in-the-backup.txt").write_bytes(b"kept")
    (folders[side] / "back\\slash.txt").write_bytes(b"odd")
    result = shell("sync", "default", "target", "--delete", code=1)
    assert "failed: back\\slash.txt" in result.stderr
    assert "deleted 0" in result.stdout
    assert (folders["target"] / "only-in-the-backup.txt").exists()
    (folders[side] / "back\\slash.txt").unlink()
    assert "deleted 1" in shell.says("sync", "default", "target", "--delete")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PermissionError(13, "denied"), StoreDenied),
        (ConnectionResetError(), StoreUnavailable),
        (TimeoutError(), StoreUnavailable),
    ],
)
def test_listing_that_breaks_off_is_an_error(
    tmp_path: pathlib.Path,
    listed: list[t.Any],
    error: Exception,
    kind: type[Exception],
) -> None:
    """What came before it is not the whole; sync deletes nothing then."""
    listed += [entry("a.txt"), error]
    store = FsspecStore.from_url("memory://listing")
    for use in (lambda: list(store.ls()), store.usage):
        with pytest.raises(kind):
            use()
    shell = two_stores(
        tmp_path,
        {"STORE_PATH": "memory://listing", "TARGET_STORE_PATH": str(tmp_path / "to")},
    )
    os.mkdir(tmp_path / "to")
    (tmp_path / "to" / "backup.txt").write_bytes(b"kept")
    shell("sync", "default", "target", "--delete", code=1)
    assert (tmp_path / "to" / "backup.txt").exists()


def test_file_that_is_missing_to_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several files, a missing one is no error; one that is still there is."""
    store = FsspecStore.from_url("memory://one-answer")
    kept, gone = store.save(b"1", "kept.txt"), store.save(b"2", "gone.txt")
    remove = store.dialect.rm_file

    def rm_file(key: str) -> None:
        if key == kept.key:
            raise FileNotFoundError(key)
        remove(key)

    monkeypatch.setattr(store.dialect, "rm_file", rm_file)
    with pytest.raises(StoreUnavailable, match="still there") as info:
        store.delete("kept.txt", "gone.txt", "never.txt")
    assert info.value.errors.keys() == {"kept.txt"}
    assert kept.exists() and not gone.exists()
