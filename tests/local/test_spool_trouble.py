"""A spool in trouble: full, damaged, removed, or on a disk that is not its own."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import shutil
import stat
import threading
import typing as t

import pytest

from flask_store.background import worker
from flask_store.background.entries import Files
from flask_store.background.entries import name_of
from flask_store.background.locks import hold
from flask_store.exceptions import StoreDenied
from flask_store.exceptions import StoreUnavailable
from flask_store.stores.fsspec import FsspecStore
from tests.local.test_spool import make
from tests.local.test_spool import wait_for


class Storage:
    """What becomes of every try to store a file: an error, until it is taken away."""

    def __init__(self, store: FsspecStore) -> None:
        assert store.background is not None
        self.error: Exception | None = StoreUnavailable("The storage is away.")
        self.tries = 0
        self._send = store.background.send
        store.background.send = self.send  # type: ignore[method-assign]

    def send(self, *args: t.Any) -> bool:
        """One try."""
        self.tries += 1
        if self.error is not None:
            raise self.error
        return self._send(*args)


@pytest.fixture
def settings(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, t.Any]:
    """A folder with a spool, in which a try follows the other at once."""
    monkeypatch.setattr(worker, "FIRST_PAUSE", 0.005)
    monkeypatch.setattr(worker, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(worker, "LONGEST_PARKED", 0.05)
    monkeypatch.setattr(worker, "LOOK_AROUND", 0.02)
    return {
        "STORE_PATH": str(tmp_path / "files"),
        "STORE_BACKGROUND": True,
        "STORE_SPOOL_PATH": str(tmp_path / "spool"),
    }


@pytest.fixture
def store(settings: dict[str, t.Any]) -> t.Iterator[FsspecStore]:
    """A store that uploads in the background."""
    made = make(settings)[1]
    yield made
    assert made.background is not None
    made.background.worker().drain(20)


@pytest.fixture
def storage(store: FsspecStore) -> t.Iterator[Storage]:
    """The storage of the store, which is away."""
    made = Storage(store)
    yield made
    made.error = None


def box_of(store: FsspecStore) -> pathlib.Path:
    """The box of this process."""
    assert store.background is not None
    return pathlib.Path(store.background.worker().box.path)


def test_full_disk_does_not_end_the_tries(
    store: FsspecStore, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal is advice: when it cannot be written, the upload goes on."""

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    f = store.save(b"precious", "a.bin")
    monkeypatch.setattr(Files, "note", full)
    seen = storage.tries
    wait_for(lambda: storage.tries > seen + 2)
    assert f.upload is not None
    assert not f.upload.done
    storage.error = None
    assert f.upload.wait(20)
    assert f.read() == b"precious"


def test_parked_upload_is_tried_again_in_the_same_process(
    store: FsspecStore, storage: Storage
) -> None:
    """Keys are rotated and clocks are mended while a process lives."""
    storage.error = StoreDenied("The key is not good.")
    f = store.save(b"precious", "a.bin")
    upload = f.upload
    assert upload is not None
    wait_for(lambda: upload.state == "parked")
    assert [entry.parked for entry in store.pending()] == [True]
    storage.error = None
    wait_for(lambda: upload.state == "stored")
    assert store.pending() == []
    assert f.read() == b"precious"


def test_next_try_ends_at_once(store: FsspecStore, storage: Storage) -> None:
    """The pause is short, and the thread of the try before it is late: what the later
    try has come to holds."""
    assert store.background is not None
    tries, call_later = store.background.worker(), worker.Worker._call_later
    ended = threading.Event()

    def at_once(seconds: float, call: t.Callable[[], None]) -> None:
        if ended.is_set():
            call_later(tries, seconds, call)
            return
        (upload,) = tries.uploads.values()
        storage.error = None
        call()
        assert upload.wait(20)
        ended.set()

    tries._call_later = at_once  # type: ignore[method-assign]
    f = store.save(b"precious", "a.bin")
    assert ended.wait(30)
    assert f.upload is not None and f.upload.wait(20)
    assert f.read() == b"precious"


def test_copy_of_a_file_that_is_stored_meanwhile(
    store: FsspecStore, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at in the spool, and read from the storage."""
    f = store.save(b"precious", "a.bin")
    upload, real = f.upload, FsspecStore.stat
    assert upload is not None

    def stat(self: FsspecStore, name: str) -> t.Any:
        found = real(self, name)
        storage.error = None
        assert upload.wait(20)
        return found

    monkeypatch.setattr(FsspecStore, "stat", stat)
    copied = store.copy(f, "b.bin", "overwrite")
    assert copied.read() == f.read() == b"precious"


GARBAGE = [
    b"",
    b"{",
    b"\xff\x00\x9f",
    b"[]",
    b"null",
    b'"text"',
    b"[" * 100_000,
    b'{"key": 3}',
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_broken_journal_is_nobody_elses_trouble(
    store: FsspecStore, storage: Storage, garbage: bytes
) -> None:
    """pending(), reading and uploading go on for all others, and the broken one stays
    for somebody to look at."""
    f = store.save(b"precious", "a.bin")
    broken = store.save(b"damaged", "b.bin")
    journal = box_of(store) / f"{name_of(broken.key)}.json"
    assert store.background is not None
    with store.background.still(broken.key):  # no try writes it anew
        journal.write_bytes(garbage)
    wait_for(lambda: [entry.key for entry in store.pending()] == [f.key])
    assert f.read() == b"precious"
    assert not broken.exists()
    storage.error = None
    wait_for(lambda: (box_of(store) / f"{name_of(f.key)}.json").exists() is False)
    assert f.read() == b"precious"
    assert journal.exists() and journal.with_suffix(".data").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"key": "../../out.txt"},
        {"key": "/etc/out.txt"},
        {"key": ".flask-store/out"},
        {"size": -1},
        {"size": True},
        {"saved": "yesterday"},
        {"content_type": "text/plain\r\nX-Other: 1"},
    ],
)
def test_planted_journal_is_not_believed(
    store: FsspecStore,
    storage: Storage,
    change: dict[str, t.Any],
    tmp_path: pathlib.Path,
) -> None:
    """A key that leads out of the store, or a value that cannot be, is no upload."""
    f = store.save(b"precious", "a.bin")
    wait_for(lambda: storage.tries > 1)
    text = (box_of(store) / f"{name_of(f.key)}.json").read_text()
    planted = {**json.loads(text), "key": "planted.bin", **change}
    stem = box_of(store) / name_of(planted["key"])
    stem.with_suffix(".data").write_bytes(b"planted!")
    stem.with_suffix(".json").write_text(json.dumps(planted))
    assert [entry.key for entry in store.pending()] == [f.key]
    storage.error = None
    wait_for(lambda: store.pending() == [])
    found = [path.name for path in (tmp_path / "files").rglob("*") if path.is_file()]
    assert found == [f.filename]


def test_journal_of_another_version_is_read(
    store: FsspecStore, storage: Storage
) -> None:
    """One without today's fields, as earlier versions wrote them, and one with more."""
    f = store.save(b"precious", "a.bin")
    wait_for(lambda: storage.tries > 1)
    journal = box_of(store) / f"{name_of(f.key)}.json"
    old = {"key": f.key, "size": 8, "content_type": "text/plain", "saved": 1e9}
    assert store.background is not None
    with store.background.still(f.key):
        for entry in (old, {**old, "of a later version": 1}):
            journal.write_text(json.dumps(entry))
            assert [found.key for found in store.pending()] == [f.key]


def test_data_that_is_a_link_is_not_followed(
    store: FsspecStore, storage: Storage, tmp_path: pathlib.Path
) -> None:
    """Nobody gets another file of the host published by a link in the spool."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"a secret")
    f = store.save(b"precious", "a.bin")
    wait_for(lambda: storage.tries > 1)
    data = box_of(store) / f"{name_of(f.key)}.data"
    assert store.background is not None
    with store.background.still(f.key):
        data.unlink()
        data.symlink_to(secret)
    storage.error = None
    upload = f.upload
    assert upload is not None
    assert not upload.wait(0.5)
    assert not (tmp_path / "files" / f.filename).exists()
    (box_of(store) / f"{name_of(f.key)}.json").unlink()


def test_what_else_is_on_the_disk_is_left_alone(
    settings: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spool on a disk of its own has lost+found beside it, for root alone."""
    folder = pathlib.Path(settings["STORE_SPOOL_PATH"])
    folder.mkdir(mode=0o700)
    for name in ("lost+found", "another", f"{'0' * 16}-"):
        (folder / name).mkdir(mode=0o700)
    scandir = os.scandir

    def refuse(path: t.Any = ".") -> t.Any:
        if pathlib.Path(os.fsdecode(path)).name in ("lost+found", "another"):
            raise PermissionError(errno.EACCES, "denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    store = make(settings)[1]
    f = store.save(b"precious", "a.bin")
    assert f.upload is not None
    assert f.upload.wait(20)
    assert (folder / "lost+found").is_dir()


def test_spool_that_is_removed_is_made_again(
    store: FsspecStore, storage: Storage, settings: dict[str, t.Any]
) -> None:
    """With its permissions, and with the lock that keeps other processes away."""
    folder = pathlib.Path(settings["STORE_SPOOL_PATH"])
    store.save(b"lost", "a.bin")
    first = box_of(store)
    wait_for(lambda: storage.tries)
    while folder.exists():  # the worker writes a journal at this moment
        shutil.rmtree(folder, ignore_errors=True)
    f = store.save(b"precious", "b.bin")
    second = box_of(store)
    assert second != first
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(second.stat().st_mode) == 0o700
    assert hold(str(second / "lock")) is None
    storage.error = None
    assert f.upload is not None
    assert f.upload.wait(20)


def test_quota_holds_for_saves_at_the_same_moment(
    settings: dict[str, t.Any],
) -> None:
    """So many as there is room for are accepted; the others are stored at once."""
    store = make({**settings, "STORE_SPOOL_QUOTA": 500_000})[1]
    storage = Storage(store)
    barrier = threading.Barrier(16)
    accepted = []

    def save() -> None:
        barrier.wait()
        f = store.save(b"x" * 200_000, "a.bin")
        if f.upload is not None:
            accepted.append(f)

    threads = [threading.Thread(target=save) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(accepted) == 2
    assert len(store.pending()) == 2
    assert len(list(store.ls())) == 14
    storage.error = None
    for f in accepted:
        assert f.upload is not None and f.upload.wait(20)
    # What is stored has given its room back.
    storage.error = StoreUnavailable("away")
    assert store.save(b"x" * 200_000, "a.bin").upload is not None
    storage.error = None


def test_quota_counts_blocks(settings: dict[str, t.Any]) -> None:
    """A small file takes a block of the disk, and its journal another one."""
    block = os.statvfs(os.path.dirname(settings["STORE_SPOOL_PATH"])).f_frsize
    store = make({**settings, "STORE_SPOOL_QUOTA": 9 * block})[1]
    storage = Storage(store)
    uploads = [store.save(b"x", "a.bin").upload for _ in range(8)]
    assert sum(upload is not None for upload in uploads) == 4
    storage.error = None


def test_save_does_not_look_at_what_waits(
    store: FsspecStore, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A save opens and lists as much with many uploads in the spool as with none."""
    monkeypatch.setattr(worker, "FIRST_PAUSE", 3600.0)
    monkeypatch.setattr(worker, "LONGEST_PAUSE", 3600.0)
    monkeypatch.setattr(worker, "LOOK_AROUND", 3600.0)
    me = threading.get_ident()
    calls = {"open": 0, "scandir": 0, "listdir": 0, "stat": 0, "lstat": 0}

    def counted(name: str) -> t.Callable[..., t.Any]:
        real = getattr(os, name)

        def call(*args: t.Any, **kwargs: t.Any) -> t.Any:
            if threading.get_ident() == me:
                calls[name] += 1
            return real(*args, **kwargs)

        return call

    for name in calls:
        monkeypatch.setattr(os, name, counted(name))

    def cost() -> dict[str, int]:
        calls.update(dict.fromkeys(calls, 0))
        assert store.save(b"x", "a.bin").upload is not None
        return dict(calls)

    store.save(b"x", "warm.bin")
    first = cost()
    for _ in range(100):
        store.save(b"x", "a.bin")
    assert cost() == first
