"""The contract on FTP, and what only FTP has."""

from __future__ import annotations

import datetime as dt
import os
import pathlib
import time
import typing as t

import pytest

from flask_store.dialects.errors import NoAnswer
from flask_store.dialects.ftp.facts import facts
from flask_store.dialects.ftp.facts import listed
from flask_store.exceptions import FileNotFound
from flask_store.exceptions import StoreDenied
from flask_store.exceptions import StoreError
from flask_store.exceptions import StoreFull
from flask_store.exceptions import StoreUnavailable
from flask_store.exceptions import VersionGone
from flask_store.stores.fsspec import FsspecStore
from tests.support.ftp_server import AbstractedFS
from tests.support.ftp_server import serving
from tests.support.ftp_server import without
from tests.support.protocol_servers import ftp
from tests.support.protocol_servers import Place
from tests.support.server_contract import ServerContract
from tests.support.server_contract import started

MB = 1024 * 1024

#: Commands that a server may not know: those of RFC 3659, and what came before it.
OLD = [
    ("MLSD", "MLST"),
    ("MLSD", "MLST", "MDTM"),
    ("REST",),
    ("MLSD", "MLST", "REST"),
]


@pytest.fixture(scope="module")
def place() -> t.Iterator[Place]:
    """One pyftpdlib for the whole module."""
    with started(ftp) as running:
        yield running


class TestFTP(ServerContract):
    """FTP keeps every promise but the client's own name."""

    exclusive = False


@pytest.mark.parametrize("unknown", OLD, ids=" ".join)
def test_server_that_knows_less(tmp_path: pathlib.Path, unknown: tuple[str]) -> None:
    """Files are read, listed, looked at and swept all the same."""
    with serving(tmp_path, proto_cmds=without(*unknown)) as url:
        store = FsspecStore.from_url(f"{url}/up")
        data = os.urandom(3 * MB)
        names = ["a.bin", "b/two words [1].txt", "b/c/ü -> x.txt", "b/c/-la"]
        for name in names:
            store.put(name, data, "overwrite")
        assert sorted(found.name for found in store.ls()) == sorted(names)
        assert {found.size for found in store.ls()} == {len(data)}
        for name in names:
            found = store.stat(name)
            assert found.size == len(data)
            assert (found.modified is None) == ("MDTM" in unknown)
            if found.modified is not None:
                on_disk = int((tmp_path / "up" / name).stat().st_mtime)
                assert found.modified == dt.datetime.fromtimestamp(on_disk, dt.UTC)
            assert store.read(name) == data
            assert b"".join(store.stream(name, MB, MB + 9)) == data[MB : MB + 9]
        assert not store.exists("b") and not store.exists("no")
        assert list(store.ls("no")) == list(store.ls("a.bin")) == []
        (tmp_path / "up" / ".flask-store" / "x.part").write_bytes(b"left")
        swept = store.sweep(dt.timedelta(seconds=-5))
        assert swept == ([] if "MDTM" in unknown else [".flask-store/x.part"])
        store.move("a.bin", "d.bin", "overwrite")
        assert store.read("d.bin") == data
        assert not store.exists("a.bin")


@pytest.mark.parametrize("unknown", [("MLSD", "MLST"), ("MLSD", "MLST", "MDTM")])
@pytest.mark.parametrize("way", [("real", "alias"), ("alias", "real")])
def test_two_names_without_a_number(
    tmp_path: pathlib.Path, unknown: tuple[str], way: tuple[str, str]
) -> None:
    """Where the server has no number for a file, it is tried with another one."""
    (tmp_path / "real").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "alias").symlink_to("real")
    old, new = (f"{folder}/x.bin" for folder in way)
    with serving(tmp_path, proto_cmds=without(*unknown)) as url:
        store = FsspecStore.from_url(url)
        store.put(old, b"precious", "overwrite")
        assert store.move(old, new, "overwrite").read() == b"precious"
        assert (tmp_path / "real" / "x.bin").read_bytes() == b"precious"
        assert store.move(new, "other/x.bin", "overwrite").read() == b"precious"
        assert not store.exists(new)
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert left == ["x.bin"]


class Refusing(AbstractedFS):  # type: ignore[misc]
    """A disk with folders that cannot be read."""

    error: Exception = PermissionError(13, "Permission denied")

    def listdir(self, path: str) -> list[str]:
        if os.path.basename(path) in ("secret", "store"):
            raise self.error
        return t.cast("list[str]", super().listdir(path))


@pytest.mark.parametrize("unknown", [(), ("MLSD", "MLST")], ids=repr)
@pytest.mark.parametrize(
    "error",
    [
        PermissionError(13, "Permission denied"),
        OSError(5, "Input/output error"),
        FileNotFoundError(2, "No such file or directory"),
    ],
    ids=repr,
)
def test_folder_that_cannot_be_listed(
    tmp_path: pathlib.Path, error: Exception, unknown: tuple[str]
) -> None:
    """The listing ends with an error, in whatever way the server refuses; so that a
    backup of the folder is not deleted."""
    kind = type("Disk", (Refusing,), {"error": error})
    members = {"abstracted_fs": kind, "proto_cmds": without(*unknown)}
    for name in ("up/a/1.txt", "up/secret/2.txt", "up/z/3.txt", "store/4.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with serving(tmp_path, **members) as url:
        for folder in ("up", "store"):
            with pytest.raises((StoreDenied, StoreUnavailable)):
                list(FsspecStore.from_url(f"{url}/{folder}").ls())
        assert [f.name for f in FsspecStore.from_url(f"{url}/up").ls("a")] == [
            "a/1.txt"
        ]


class Sized(AbstractedFS):  # type: ignore[misc]
    """A disk that gives files a size of its own."""

    change = 0

    def open(self, filename: str, mode: str) -> t.Any:
        if mode == "rb" and self.change:
            with super().open(filename, "r+b") as file:
                file.truncate(os.path.getsize(filename) + self.change)
        return super().open(filename, mode)


@pytest.mark.parametrize("size", [10, 2 * MB])
@pytest.mark.parametrize("change", [-1, 1])
def test_file_that_changes_when_it_is_opened(
    tmp_path: pathlib.Path, size: int, change: int
) -> None:
    """Its bytes are neither those of the one nor of the other version."""
    with serving(
        tmp_path, abstracted_fs=type("Disk", (Sized,), {"change": change})
    ) as u:
        store = FsspecStore.from_url(u)
        store.put("a.bin", os.urandom(size), "overwrite")
        for use in (
            lambda: store.read("a.bin"),
            lambda: list(store.stream("a.bin")),
            lambda: list(store.stream("a.bin", 3)),
            lambda: store.copy("a.bin", "b.bin", "overwrite"),
        ):
            with pytest.raises((VersionGone, StoreUnavailable)):
                use()
        with pytest.raises(StoreError), store.open("a.bin") as file:
            file.read()
        assert not store.exists("b.bin")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ("452 Insufficient storage space.", StoreFull),
        ("552 Exceeded storage allocation.", StoreFull),
        ("426 Connection closed: No space left on device.", StoreFull),
        ("451 Disk quota exceeded.", StoreFull),
        ("550 Disk full.", StoreFull),
        ("426 Connection closed; transfer aborted.", StoreUnavailable),
        ("451 Local error in processing.", StoreUnavailable),
        ("553 Permission denied.", StoreDenied),
    ],
)
def test_refused_upload(
    tmp_path: pathlib.Path, reply: str, kind: type[StoreError]
) -> None:
    """A reply says why, by its code or by its text, and nothing is left."""

    (tmp_path / ".flask-store").mkdir()

    def refuse(handler: t.Any, file: str, mode: str = "w") -> None:
        pathlib.Path(file).write_bytes(b"part")
        handler.respond(reply)

    with serving(tmp_path, ftp_STOR=refuse) as url:
        store = FsspecStore.from_url(url)
        with pytest.raises(kind):
            store.save(b"x" * MB, "a.bin")
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_upload_that_is_cut(tmp_path: pathlib.Path) -> None:
    """A server that was sent less takes it for the whole; it gets no name."""

    class Cutting(AbstractedFS):  # type: ignore[misc]
        def open(self, filename: str, mode: str) -> t.Any:
            file = super().open(filename, mode)
            if "w" in mode:
                file.write = lambda data: len(data)
            return file

    with serving(tmp_path, abstracted_fs=Cutting) as url:
        store = FsspecStore.from_url(url)
        with pytest.raises(StoreUnavailable, match="it stored 0 bytes of 1000"):
            store.save(b"x" * 1000, "a.bin")
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_versions_of_one_second(tmp_path: pathlib.Path) -> None:
    """The server's own number tells two files of one size and one second apart."""
    with serving(tmp_path) as url:
        store = FsspecStore.from_url(url)
        store.put("a.txt", b"one", "overwrite")
        found = store.stat("a.txt")
        assert found.etag
        assert found.etag == store.ls()[0].etag
        store.put("a.txt", b"two", "overwrite")
        assert found.modified
        moment = found.modified.timestamp()
        os.utime(tmp_path / "a.txt", (moment, moment))
        assert store.stat("a.txt").size == 3
        with pytest.raises(VersionGone):
            store.stream_version(found, 0, 3)


def test_missing_and_refused_are_two(tmp_path: pathlib.Path) -> None:
    """The code 550 is both; the text tells."""
    texts = {
        "gone": "550 No such file or directory.",
        "secret": "550 Permission denied.",
        "failed": "550 Could not get file size.",
    }

    def mlst(handler: t.Any, path: str) -> None:
        handler.respond(texts[os.path.basename(path)])

    with serving(tmp_path, ftp_MLST=mlst) as url:
        store = FsspecStore.from_url(url)
        assert not store.exists("gone")
        assert not store.exists("failed")
        with pytest.raises(StoreDenied):
            store.exists("secret")
        with pytest.raises(FileNotFound):
            store.read("gone")


def test_idle_connection(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that the server has closed meanwhile is made anew, in an open file too."""
    data = os.urandom(2 * MB)
    with serving(tmp_path, timeout=1) as url:
        store = FsspecStore.from_url(url)
        store.put("a.bin", data, "overwrite")
        monkeypatch.setattr("flask_store.dialects.ftp.FRESH", 0)
        with store.open("a.bin") as file:
            file.seek(10)
            assert file.read(10) == data[10:20]
            connection = store.raw_fs.idle
            assert connection is not None
            while connection.sock.recv(1):  # it says good-bye and hangs up
                time.sleep(0)
            file.seek(MB)
            assert file.read(10) == data[MB : MB + 10]
        assert store.exists("a.bin")


@pytest.mark.parametrize(
    "line",
    ["", "a.txt", "type=file;size=3;", "size=3;modify=20260101000000; a.txt", "<html>"],
)
def test_entry_that_is_none(line: str) -> None:
    """It is an error, because it might be a file."""
    with pytest.raises(NoAnswer):
        facts(line)


@pytest.mark.parametrize(
    ("line", "name", "kind", "size"),
    [
        ("Type=file;Size=3; a b.txt", "a b.txt", "file", 3),
        ("type=file;  a", " a", "file", None),
        ("size=1;type=dir; a; b=c", "a; b=c", "directory", 1),
        ("type=OS.unix=slink:/x;size=1; a", "a", "link", 1),
        ("type=OS.unix=socket; a", "a", "other", None),
    ],
)
def test_entry_of_mlsd(line: str, name: str, kind: str, size: int | None) -> None:
    """RFC 3659, section 7.2."""
    info = facts(line)
    assert (info["name"], info["type"], info["size"]) == (name, kind, size)


@pytest.mark.parametrize(
    ("line", "name", "kind", "size"),
    [
        ("-rw-r--r--   1 me  us   12 Nov 26 19:08 a  b.txt", "a  b.txt", "file", 12),
        ("-rw-r--r--+  1 1000 1000 0 Jan  1  2024 -x", "-x", "file", 0),
        ("drwxr-xr-t   2 my self users 4096 Nov  6 19:08 d", "d", "directory", 4096),
        ("lrwxrwxrwx   1 me us 4 Nov 26 19:08 l -> a.txt", "l", "link", 4),
        ("prw-r--r--   1 me us 0 Nov 26 19:08 pipe", "pipe", "other", 0),
        ("11-26-26  07:08PM       <DIR>          a b", "a b", "directory", None),
        ("11-26-2026  07:08PM             12,5.txt", "", "", 0),
        ("11-26-26  07:08PM                   12 a.txt", "a.txt", "file", 12),
    ],
)
def test_entry_of_list(line: str, name: str, kind: str, size: int | None) -> None:
    """As Unix and Windows print it; everything else is an error."""
    if not name:
        with pytest.raises(NoAnswer):
            listed(line)
        return
    info = listed(line)
    assert info is not None
    assert (info["name"], info["type"], info["size"]) == (name, kind, size)
    assert listed("total 12") is None
