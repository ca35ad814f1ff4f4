"""FTP, SFTP and SMB: what is on the disk of the server, and what happens to it."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import pathlib
import shutil
import subprocess
import threading
import typing as t
import uuid

import pytest

from flask_store.dialects import Unreachable
from flask_store.exceptions import FileNotFound
from flask_store.exceptions import StoreDenied
from flask_store.exceptions import StoreError
from flask_store.exceptions import StoreFull
from flask_store.exceptions import StoreUnavailable
from flask_store.exceptions import VersionGone
from flask_store.stores.fsspec import FsspecStore
from tests.conftest import missing
from tests.support.protocol_rows import ROWS
from tests.support.protocol_servers import Place
from tests.support.relay import Relay
from tests.support.server_contract import behind
from tests.support.server_contract import started
from tests.support.servers import IN_CI

MB = 1024 * 1024


@pytest.fixture(scope="module", params=["ftp", "sftp+sshfs", "sftp+paramiko", "smb"])
def place(request: pytest.FixtureRequest) -> t.Iterator[Place]:
    """A server, for all tests before the next one."""
    with started(ROWS[request.param].server) as running:
        yield running


class There(t.NamedTuple):
    """A store on a server, and its folder on the disk of the server."""

    store: FsspecStore
    folder: pathlib.Path


def make(place: Place) -> There:
    """An empty store on the server."""
    assert place.folder is not None
    name = uuid.uuid4().hex
    store = FsspecStore.from_url(f"{place.url}/{name}", **place.options)
    folder = place.folder / name
    folder.mkdir()
    return There(store, folder)


@pytest.fixture
def there(place: Place) -> There:
    """An empty store on the server."""
    return make(place)


def private(folder: pathlib.Path) -> list[str]:
    """The files in private folders."""
    found = folder.rglob("*")
    return [
        str(path) for path in found if path.is_file() and ".flask-store" in str(path)
    ]


# -- one version -------------------------------------------------------------


@pytest.mark.parametrize("way", ["read", "stream", "version", "open"])
def test_file_that_is_replaced_while_it_is_read(place: Place, way: str) -> None:
    """What comes is one whole version, or an error; never a mixture."""
    store, _ = make(place)
    data = {letter: letter.encode() * (3 * MB + ord(letter)) for letter in "abcd"}
    store.put("x.bin", data["a"], "overwrite")
    done = threading.Event()
    failed: list[Exception] = []

    def write() -> None:
        number = 0
        while not done.is_set():
            number += 1
            try:
                store.put("x.bin", data["abcd"[number % 4]], "overwrite")
            except StoreError as error:
                failed.append(error)

    def read() -> bytes:
        if way == "read":
            return store.read("x.bin")
        if way == "stream":
            return b"".join(store.stream("x.bin"))
        if way == "version":
            found = store.stat("x.bin")
            return b"".join(store.stream_version(found, 0, found.size))
        with store.open("x.bin") as file:
            return b"".join(iter(lambda: file.read(100_000), b""))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            with contextlib.suppress(VersionGone, FileNotFound):
                assert read() in data.values()
    finally:
        done.set()
        writer.join()
    assert not failed
    assert read() in data.values()


def test_file_that_is_written_in_place_while_it_is_read(there: There) -> None:
    """Another program may do so; then there is no version that could be read."""
    store, folder = there
    store.put("x.bin", b"a" * 3 * MB, "overwrite")
    changes = [b"b" * MB, b"b" * 4 * MB]
    if store.dialect.location.protocol != "smb":  # Samba keeps the date of an open file
        changes.append(b"b" * 3 * MB)
    for change in changes:
        (folder / "x.bin").write_bytes(b"a" * 3 * MB)
        os.utime(folder / "x.bin", (1e9, 1e9))
        stream = store.stream("x.bin")
        next(stream)
        (folder / "x.bin").write_bytes(change)
        with pytest.raises((VersionGone, StoreUnavailable)):
            list(stream)
        (folder / "x.bin").write_bytes(b"a" * 3 * MB)
        os.utime(folder / "x.bin", (1e9, 1e9))
        with store.open("x.bin") as file:
            file.read(1)
            (folder / "x.bin").write_bytes(change)
            with pytest.raises((VersionGone, StoreUnavailable)):
                file.read()


def test_version_that_is_gone(there: There) -> None:
    """A file that was replaced since it was looked at is not taken for the other."""
    store, folder = there
    store.put("x.bin", b"old version", "overwrite")
    os.utime(folder / "x.bin", (1e9, 1e9))
    found = store.stat("x.bin")
    assert b"".join(store.stream_version(found, 0, found.size)) == b"old version"
    assert b"".join(store.stream_version(found, 4, 7)) == b"ver"
    store.put("x.bin", b"new version", "overwrite")
    with pytest.raises(VersionGone):
        store.stream_version(found, 0, found.size)


def test_other_work_while_a_file_is_read(there: There) -> None:
    """A body takes its time; the thread that reads it does other things meanwhile."""
    store, _ = there
    data = os.urandom(6 * MB)
    store.put("a.bin", data, "overwrite")
    store.put("b.bin", b"b" * 2 * MB, "overwrite")
    first, second = store.stream("a.bin"), store.stream("b.bin")
    found = [next(first), next(second)]
    with store.open("a.bin") as file:
        head = file.read(10)
        with store.open("b.bin") as other:
            store.put("c.bin", other, "overwrite")
        file.seek(5 * MB)
        assert file.read(10) == data[5 * MB :][:10]
    assert sorted(f.name for f in store.ls()) == ["a.bin", "b.bin", "c.bin"]
    assert found[0] + b"".join(first) == data
    assert head == data[:10]
    second.close()  # type: ignore[attr-defined]
    assert store.read("c.bin") == b"b" * 2 * MB


def test_reading_that_is_given_up(there: There) -> None:
    """Whoever has seen enough hangs up, and goes on with something else."""
    store, _ = there
    store.put("a.bin", b"a" * 8 * MB, "overwrite")
    for _ in range(3):
        stream = store.stream("a.bin")
        next(stream)
        stream.close()  # type: ignore[attr-defined]
        assert b"".join(store.stream("a.bin", MB, MB + 10)) == b"a" * 10
        assert store.exists("a.bin")


@contextlib.contextmanager
def far(place: Place) -> t.Iterator[tuple[FsspecStore, pathlib.Path, Relay]]:
    """An empty store behind a relay, and its folder on the disk of the server."""
    assert place.folder is not None
    with Relay(place.port) as relay:
        there = make(behind(relay, place))
        yield *there, relay


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_server_that_hangs_up_while_it_is_read(place: Place) -> None:
    """The library's own error does not come out, wherever it comes up."""
    with far(place) as (store, _, relay):
        store.put("a.bin", b"a" * 8 * MB, "overwrite")
        stream = store.stream("a.bin")
        next(stream)
        relay.hang_up()
        with pytest.raises(StoreError):
            list(stream)
        with store.open("a.bin") as file:
            file.read(10)
            relay.hang_up()
            # FTP connects again and goes on.
            with contextlib.suppress(StoreError):
                assert len(file.read()) == 8 * MB - 10
        assert store.read("a.bin") == b"a" * 8 * MB
    gc.collect()  # smbprotocol warns of files that it could not close


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_server_that_hangs_up_while_it_is_written(place: Place) -> None:
    """That is StoreUnavailable, and the unfinished upload is removed by another
    connection."""

    class Cutting(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if 3 * MB <= self.tell() < 4 * MB:
                relay.hang_up()
            return super().read(size)

    with far(place) as (store, folder, relay):
        store.put("a.bin", b"old", "overwrite")
        with pytest.raises(StoreUnavailable):
            store.put("a.bin", Cutting(b"a" * 8 * MB), "overwrite")
        assert private(folder) == []
        assert store.read("a.bin") == b"old"
        store.put("a.bin", b"a" * 8 * MB, "overwrite")
    gc.collect()


# -- two names ---------------------------------------------------------------


@pytest.mark.parametrize("way", [("real", "alias"), ("alias", "real")])
def test_move_to_another_name_of_the_same_file(
    there: There, way: tuple[str, str]
) -> None:
    """A link of the server makes two names; the only copy stays."""
    store, folder = there
    (folder / "real").mkdir()
    (folder / "alias").symlink_to("real")
    store.put(f"{way[0]}/x.bin", b"precious", "overwrite")
    moved = store.move(f"{way[0]}/x.bin", f"{way[1]}/x.bin", "overwrite")
    assert moved.key == f"{way[1]}/x.bin"
    assert moved.read() == (folder / "real" / "x.bin").read_bytes() == b"precious"
    assert private(folder) == []
    assert sorted(path.name for path in folder.rglob("x*")) == ["x.bin"]


def test_moves_within_one_second(there: There) -> None:
    """Files that look alike are two, and the old one goes; in the same folder, in
    another one, and under a name that differs in its case."""
    store, folder = there
    store.put("x.bin", b"precious", "overwrite")
    store.put("other/x.bin", b"another!", "overwrite")
    for old, new in (
        ("x.bin", "y.bin"),
        ("y.bin", "a/y.bin"),
        ("a/y.bin", "b/y.bin"),
        ("b/y.bin", "other/x.bin"),
    ):
        assert store.move(old, new, "overwrite").read() == b"precious"
    assert [found.name for found in store.ls()] == ["other/x.bin"]
    assert private(folder) == []


@pytest.mark.parametrize(("old", "new"), [("x.bin", "X.bin"), ("é.bin", "é.bin")])
def test_move_to_another_spelling(there: There, old: str, new: str) -> None:
    """Whether the server tells them apart or not, one whole file is left."""
    store, folder = there
    store.put(old, b"precious", "overwrite")
    with contextlib.suppress(StoreError):
        assert store.move(old, new, "overwrite").read() == b"precious"
    names = [found.name for found in store.ls()]
    assert names
    assert all(store.read(name) == b"precious" for name in names)
    assert private(folder) == []


def test_file_is_saved_from_its_own_reading(there: There) -> None:
    """The old bytes are read while the new ones are written elsewhere."""
    store, _ = there
    data = os.urandom(3 * MB)
    store.put("a.bin", data, "overwrite")
    for _ in range(2):
        with store.open("a.bin") as file:
            # Samba replaces no file that the same connection has open.
            with contextlib.suppress(StoreDenied):
                store.save(file, "a.bin", on_conflict="overwrite")
        assert store.read("a.bin") == data
    store.copy("a.bin", "a.bin", "overwrite")
    store.move("a.bin", "a.bin", "overwrite")
    assert store.read("a.bin") == data


# -- what lies on the disk ---------------------------------------------------


def test_listing_has_files_only(there: There) -> None:
    """A link is the file that it leads to. What is no file is told apart, and nothing
    of it is opened, which might take for ever."""
    store, folder = there
    store.put("a/b.txt", b"four", "overwrite")
    if store.dialect.location.protocol == "sftp":  # others show a pipe as a file
        os.mkfifo(folder / "pipe")
    (folder / "link.txt").symlink_to("a/b.txt")
    (folder / "dead").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    (folder / "up").symlink_to(".")
    listing = store.ls()
    found = {f.name: f.size for f in listing}
    assert found.pop("a/b.txt") == 4
    assert set(found) <= {"link.txt", "up/link.txt", "up/a/b.txt"}
    assert set(found.values()) <= {4}
    for name in found:
        assert store.read(name) == b"four"
    for entry in listing.unreachable:
        assert isinstance(entry, Unreachable)
        assert not store.exists(entry.name)
    for name in ("pipe", "dead", "loop", "up", "a"):
        assert not store.exists(name)
        with pytest.raises(FileNotFound):
            store.read(name)
        with pytest.raises(FileNotFound):
            store.open(name)


def test_folder_that_vanishes_while_it_is_listed(there: There) -> None:
    """It is left out, and what comes behind it is not."""
    store, folder = there
    for name in "abcde":
        store.put(f"{name}/x/file", b"x", "overwrite")
    names = []
    for found in store.ls():
        names.append(found.name[0])
        for path in folder.glob("[a-e]"):
            if path.name not in (*names, "e"):
                shutil.rmtree(path)
    assert {names[0], "e"} <= set(names)
    assert list(store.ls("no/such")) == list(store.ls("e/x/file")) == []


# -- a disk that is full -----------------------------------------------------


@pytest.fixture(
    scope="module", params=["ftp", "sftp+sshfs", "sftp+paramiko", "smb", "webdav+http"]
)
def small(request: pytest.FixtureRequest) -> t.Iterator[Place]:
    """A server whose disk has 3 MiB."""
    with started(ROWS[request.param].server) as running:
        assert running.folder is not None
        command = ["mount", "-t", "tmpfs", "-o", "size=3m,mode=777", "tmpfs"]
        done = subprocess.run(
            [*command, running.folder], capture_output=True, text=True
        )
        if done.returncode:
            if IN_CI:
                pytest.fail(done.stderr)
            missing(f"no filesystem can be mounted here: {done.stderr}")
        try:
            yield running
        finally:
            subprocess.run(["umount", "-l", running.folder], check=True)


def test_save_that_does_not_fit(small: Place) -> None:
    """It is StoreFull, the old file stays, and what fits is stored afterwards."""
    store, folder = make(small)
    store.put("old.bin", b"old" * 100, "overwrite")
    large = os.urandom(5 * MB)
    for save in (
        lambda: store.save(large, "large.bin"),
        lambda: store.put("old.bin", large, "overwrite"),
        lambda: store.save(io.BytesIO(large), "large.bin"),
    ):
        with pytest.raises(StoreError) as caught:
            save()
        # wsgidav says no more than 500, and pyftpdlib "426 None".
        if small.url.startswith(("sftp", "smb")):
            assert isinstance(caught.value, StoreFull)
        assert private(folder) == []
        assert store.read("old.bin") == b"old" * 100
        if small.url.startswith("webdav"):
            continue  # wsgidav keeps what is deleted open, until some time later
        assert store.save(b"x" * MB, "fits.bin").read() == b"x" * MB
        for found in list(store.ls()):
            if found.name != "old.bin":
                store.delete(found.name)
