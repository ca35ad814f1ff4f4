"""The spool when the disk, the storage or somebody else does what nobody wants."""

from __future__ import annotations

import errno
import io
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time
import typing as t

import pytest

from flask_store.background import entries
from flask_store.background import worker
from flask_store.background.boxes import Box
from flask_store.background.entries import BadJournal
from flask_store.background.entries import Entry
from flask_store.background.entries import Files
from flask_store.background.entries import name_of
from flask_store.background.entries import parse
from flask_store.background.holding import Held
from flask_store.background.locks import hold
from flask_store.background.locks import release
from flask_store.background.quota import Quota
from flask_store.background.spool import Spool
from flask_store.dialects import Mode
from flask_store.exceptions import FileExists
from flask_store.exceptions import FileNotFound
from flask_store.exceptions import StoreDenied
from flask_store.exceptions import StoreUnavailable
from flask_store.exceptions import WrongType
from flask_store.stores.fsspec import FsspecStore
from flask_store.uploads.source import Source
from tests.hard.test_spool_story import directed
from tests.hard.test_spool_story import Owner
from tests.local.test_spool import spooled
from tests.local.test_spool import wait_for
from tests.local.test_spool_locks import run
from tests.support.background_servers import s3_settings
from tests.support.protocol_rows import ROWS
from tests.support.server_contract import started
from tests.support.servers import S3Server
from tests.support.spool_actions import opened


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr(worker, "FIRST_PAUSE", 0.005)
    monkeypatch.setattr(worker, "LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(worker, "LONGEST_PARKED", 0.02)
    monkeypatch.setattr(worker, "LOOK_AROUND", 0.02)
    monkeypatch.setattr(worker, "BUSY", 0.01)


@pytest.fixture
def settings(tmp_path: pathlib.Path) -> dict[str, t.Any]:
    """A store on the local disk."""
    return {
        "STORE_PATH": str(tmp_path / "files"),
        "STORE_BACKGROUND": True,
        "STORE_SPOOL_PATH": str(tmp_path / "spool"),
        "STORE_SPOOL_UPLOADS": 1,
    }


@pytest.fixture
def s3(moto_server: S3Server, tmp_path: pathlib.Path) -> dict[str, t.Any]:
    """A store on S3."""
    return {
        **s3_settings(moto_server.endpoint_url, moto_server, moto_server.make_bucket()),
        "STORE_BACKGROUND": True,
        "STORE_SPOOL_PATH": str(tmp_path / "spool"),
        "STORE_S3_CONDITIONAL_WRITES": True,
    }


@pytest.fixture
def owner(settings: dict[str, t.Any]) -> t.Iterator[Owner]:
    """A store on the local disk, whose tries the test directs."""
    with directed(settings) as made:
        yield made


@pytest.fixture
def spool(tmp_path: pathlib.Path) -> Spool:
    """A spool of a store that does not exist."""
    return Spool(str(tmp_path / "spool"), 10**8, "memory://x")


def without_spool(settings: dict[str, t.Any]) -> FsspecStore:
    """The same storage, as another host sees it."""
    return opened({**settings, "STORE_BACKGROUND": False})


def journals(settings: dict[str, t.Any]) -> list[pathlib.Path]:
    """The journals in the spool."""
    return [path for path in spooled(settings) if path.suffix == ".json"]


def kept(settings: dict[str, t.Any]) -> list[str]:
    """The kinds of files in the spool that are kept, unlike locks."""
    kinds = (".data", ".json")
    return [path.suffix for path in spooled(settings) if path.suffix in kinds]


def end_of(owner: Owner) -> None:
    """What the end of its process does."""
    assert owner.background.worker().turns.finish(20)
    release(owner.background.worker().box._lock_fd)


# -- what others have stored -------------------------------------------------


@pytest.mark.parametrize("kind", ["settings", "s3"])
def test_name_of_somebody_else_is_left_alone(
    kind: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    """Another host replaces the file between two tries. The older upload is dropped:
    neither does it win, nor does anything remove the newer file."""
    settings = request.getfixturevalue(kind)
    owner, there = Owner(settings), without_spool(settings)
    key = owner.save("answer lost", "a.bin")
    upload = owner.store.upload(key)
    there.put(key, b"of another host", "overwrite")
    owner.finish()
    assert there.read(key) == owner.store.read(key) == b"of another host"
    assert upload is not None and upload.state == "deleted"
    assert "another file has its name" in caplog.text
    owner.background.worker().drain(20)


@pytest.mark.parametrize("row", ["abfs", "gs", "webdav+http", "sftp+paramiko", "smb"])
def test_every_protocol_knows_its_own_file(row: str, tmp_path: pathlib.Path) -> None:
    """By a token or by its bytes: what a try has stored is stored already, and can be
    taken back; what somebody else has stored is not ours."""
    with started(ROWS[row].server) as place:
        settings = {
            "STORE_PATH": place.new(),
            "STORE_OPTIONS": place.options,
            "STORE_BACKGROUND": True,
            "STORE_SPOOL_PATH": str(tmp_path / "spool"),
            "STORE_SPOOL_UPLOADS": 1,
        }
        owner, there = Owner(settings), without_spool(settings)
        ours, foreign, gone = (owner.save("answer lost", "a.bin") for _ in range(3))
        upload = owner.store.upload(ours)
        modified = there.stat(ours).modified
        there.put(foreign, b"newer", "overwrite")
        owner.store.delete(gone)
        owner.finish()
        assert upload is not None and upload.state == "stored"
        assert there.stat(ours).modified == modified
        assert there.read(ours).startswith(b"OLD")
        assert there.read(foreign) == b"newer"
        assert not there.exists(gone)
        owner.background.worker().drain(20)


def test_every_try_has_one_token(s3: dict[str, t.Any], moto_server: S3Server) -> None:
    """What a first try has stored is known by its token, and stored once: the second
    try is refused, and the upload is at its end."""
    owner = Owner(s3)
    key = owner.save("answer lost", "a.bin")
    token = json.loads(journals(s3)[0].read_text())["token"]
    client = moto_server.client()
    before = client.head_object(Bucket=s3["STORE_S3_BUCKET"], Key=key)
    assert before["Metadata"] == {"flask-store-token": token}
    upload = owner.store.upload(key)
    owner.finish()
    after = client.head_object(Bucket=s3["STORE_S3_BUCKET"], Key=key)
    assert upload is not None and upload.state == "stored"
    assert (after["ETag"], after["LastModified"], after["Metadata"]) == (
        before["ETag"],
        before["LastModified"],
        before["Metadata"],
    )
    owner.background.worker().drain(20)


def test_own_part_is_replaced(owner: Owner) -> None:
    """What a broken-off try has left of a file, where the storage shows files while
    they grow, is not taken for somebody else's."""
    key = owner.save("failed once", "a.bin")
    whole = owner.store.read(key)
    path = pathlib.Path(owner.store.dialect.path(key))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(whole[:100])
    upload = owner.store.upload(key)
    owner.finish()
    assert upload is not None and upload.state == "stored"
    assert path.read_bytes() == whole


@pytest.mark.parametrize("lie", ["nothing", "short"])
def test_nothing_is_removed_before_it_is_stored(
    owner: Owner, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    """A storage says that it has taken a file and has not, or has not all of it. The
    bytes stay in the spool until what it shows has their size."""
    lies = threading.Event()
    dialect: t.Any = owner.store.dialect
    put_file = dialect.put_file

    def lying(staged: t.Any, key: str, content_type: str, mode: Mode) -> None:
        if lie == "short":
            put_file(staged, key, content_type, mode)
            os.truncate(dialect.path(key), 10)
        lies.set()

    with monkeypatch.context() as patch:
        patch.setattr(dialect, "put_file", lying)
        f = owner.store.save(b"all of these bytes", "a.bin")
        upload = f.upload
        assert upload is not None and lies.wait(20)
        wait_for(lambda: owner.store.pending()[0].cause)
        assert "StoreUnavailable" in str(owner.store.pending()[0].cause)
        assert f.read() == b"all of these bytes"
    assert upload.wait(20)
    assert without_spool_of(owner).read(str(f)) == b"all of these bytes"


def without_spool_of(owner: Owner) -> FsspecStore:
    """The storage of an owner, without the spool."""
    return FsspecStore.from_config({"STORE_PATH": owner.store.dialect.root})


def test_journal_of_an_earlier_version(settings: dict[str, t.Any]) -> None:
    """A journal without a token, and one with fields that nobody knows yet, are
    uploads as all others."""
    owner = Owner(settings)
    names = [owner.save("parked", name) for name in ("old.bin", "new.bin")]
    end_of(owner)
    for name, path in itertools.product(names, journals(settings)):
        found = json.loads(path.read_text())
        if found["key"] != name:
            continue
        if name.startswith("old"):
            kept = ("key", "size", "content_type", "saved", "attempts", "cause")
            found = {field: found[field] for field in (*kept, "parked")}
        path.write_text(json.dumps(found | {"invented_later": [1]}))
    heir = opened(settings)
    assert heir.background is not None
    assert {entry.key for entry in heir.pending()} == set(names)
    heir.background.start()
    wait_for(lambda: not spooled(settings))
    assert {found.name for found in without_spool(settings).ls()} == set(names)


# -- deleting ----------------------------------------------------------------


@pytest.mark.parametrize("state", ["waiting", "failed once", "parked"])
def test_bytes_leave_the_spool_at_once(owner: Owner, state: str) -> None:
    """A file is deleted while its upload waits: nothing of it is in the spool when
    delete() is back, and f.upload says so."""
    key = owner.save(state, "secret.bin")
    upload = owner.store.upload(key)
    owner.store.delete(key)
    assert kept({"STORE_SPOOL_PATH": owner.background.spool.folder}) == []
    assert upload is not None and upload.state == "deleted" and not upload.wait(1)
    owner.finish()
    assert list(without_spool_of(owner).ls()) == []


@pytest.mark.parametrize("successor", [False, True])
@pytest.mark.parametrize("kind", ["settings", "s3"])
def test_storage_is_away_when_a_file_is_deleted(
    kind: str,
    successor: bool,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a try may have stored is removed later then, and nothing else is. The bytes
    leave the spool all the same, and nobody reads the file any more."""
    settings = request.getfixturevalue(kind)
    owner, there = Owner(settings), without_spool(settings)
    key = owner.save("answer lost", "secret.bin")
    assert there.exists(key)
    away: t.Any = StoreUnavailable("as the test wants it")

    def refuse(*args: t.Any) -> None:
        raise away

    taken = threading.Event()
    take_back = owner.background.take_back

    def later(held: t.Any) -> None:
        if not taken.is_set():
            raise away
        take_back(held)

    monkeypatch.setattr(owner.background, "take_back", later)
    with monkeypatch.context() as patch:
        patch.setattr(owner.store.dialect, "info", refuse)
        owner.store.delete(key)
    assert kept(settings) == [".json"]
    assert owner.store.pending() == []
    assert there.exists(key)
    with pytest.raises(FileNotFound):
        owner.store.read(key)
    if successor:
        there.put(key, b"newer", "overwrite")
        assert owner.store.read(key) == b"newer"
    taken.set()
    owner.finish()
    assert there.exists(key) == successor
    if successor:
        assert owner.store.read(key) == b"newer"
    owner.background.worker().drain(20)


def test_name_of_a_deleted_file_is_free(
    settings: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """put() takes back first what a try has stored of a file that was deleted."""
    owner = Owner(settings)
    key = owner.save("answer lost", "a.bin")
    with monkeypatch.context() as patch:
        patch.setattr(owner.background, "take_back", refuses(StoreUnavailable("away")))
        owner.store.delete(key)
        assert without_spool(settings).exists(key)
    owner.store.put(key, b"newer")
    owner.finish()
    assert without_spool(settings).read(key) == b"newer"
    with pytest.raises(FileExists):
        owner.store.put(key, b"newest")
    owner.background.worker().drain(20)


def test_deleted_by_a_process_that_ends(settings: dict[str, t.Any]) -> None:
    """A deletion that waits for the storage outlives the process."""
    owner = Owner(settings)
    key = owner.save("answer lost", "a.bin")
    owner.background.take_back = refuses(  # type: ignore[method-assign]
        StoreUnavailable("away")
    )
    owner.store.delete(key)
    end_of(owner)
    heir = opened(settings)
    assert heir.background is not None and without_spool(settings).exists(key)
    heir.background.start()
    wait_for(lambda: not spooled(settings))
    assert not without_spool(settings).exists(key)


def refuses(error: Exception) -> t.Callable[..., t.NoReturn]:
    """A function that fails."""

    def refuse(*args: t.Any, **kwargs: t.Any) -> t.NoReturn:
        raise error

    return refuse


# -- stopping ----------------------------------------------------------------


@pytest.mark.parametrize("size", [3_000_000, 9_000_000])
def test_running_upload_stops_within_a_mebibyte(
    s3: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """An upload that is in the middle of its body stops when the file is replaced: it
    reads no further than the MiB at which it is."""
    exists = os.path.exists
    begun, answers = threading.Event(), []

    def middle(path: str) -> bool:
        if not path.endswith(".stop"):
            return exists(path)
        if answers:
            begun.set()
            while not exists(path):
                time.sleep(0.01)
        answers.append(exists(path))
        return answers[-1]

    monkeypatch.setattr(os.path, "exists", middle)
    store = opened(s3)
    f = store.save(b"o" * size, "big.bin")
    assert begun.wait(20)
    store.put(str(f), b"newer", "overwrite")
    # What stops a request may be tried once more by s3fs, which is stopped as well.
    assert answers[0] is False and all(answers[1:])
    wait_for(lambda: not spooled(s3))
    assert without_spool(s3).read(str(f)) == f.read() == b"newer"


def test_looks_of_an_upload_that_nobody_stops(
    s3: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks whether to stop once for each MiB, and for each reading of it."""
    looks: list[str] = []
    exists = os.path.exists
    monkeypatch.setattr(
        os.path, "exists", lambda path: (looks.append(path), exists(path))[1]
    )
    f = opened(s3).save(b"x" * 5 * 1024**2, "big.bin")
    assert f.upload is not None and f.upload.wait(30)
    looks = [path for path in looks if path.endswith(".stop")]
    assert 0 < len(looks) <= 2 * (5 + 1)  # it is signed first, and then sent


def test_upload_that_does_not_stop(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write gives up waiting, says so, and has changed nothing."""
    monkeypatch.setattr("flask_store.background.holding.PATIENCE", 0.05)
    key = owner.save("running", "a.bin")
    with monkeypatch.context() as patch:
        patch.setattr(Files, "ask_to_stop", lambda files: None)
        for call in (
            lambda: owner.store.put(key, b"newer", "overwrite"),
            lambda: owner.store.delete(key),
            lambda: owner.store.move(key, "b.bin"),
        ):
            with pytest.raises(StoreUnavailable, match="does not stop"):
                call()
    assert owner.store.read(key).startswith(b"OLD")
    owner.finish()
    assert without_spool_of(owner).read(key).startswith(b"OLD")


def test_failed_overwrite_changes_nothing(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that waits goes on waiting when the storage does not take its
    successor."""
    key = owner.save("failed once", "a.bin")
    with monkeypatch.context() as patch:
        patch.setattr(owner.store.dialect, "put_file", refuses(PermissionError()))
        with pytest.raises(StoreDenied):
            owner.store.put(key, b"newer", "overwrite")
    assert owner.store.read(key).startswith(b"OLD")
    owner.finish()
    assert without_spool_of(owner).read(key).startswith(b"OLD")


GREENLETS = """
from gevent import monkey
monkey.patch_all()
import os, sys
import gevent
from flask_store.stores.fsspec import FsspecStore
store = FsspecStore.from_config({
    "STORE_PATH": sys.argv[1] + "/files", "STORE_BACKGROUND": True,
    "STORE_SPOOL_PATH": sys.argv[1] + "/spool"})
background, ticks, running = store.background, [], []
send, begun, asked = background.send, gevent.event.Event(), gevent.event.Event()

def slow(job, held):
    running.append(held.files)
    begun.set()
    asked.wait(20)
    return send(job, held)

def tick():
    while not os.path.exists(running[0].stop):
        gevent.sleep(0.001)
    while len(ticks) < 20:
        ticks.append(1)
        gevent.sleep(0.001)
    asked.set()

background.send = slow
f = store.save(b"old", "a.bin")
begun.wait(20)
gevent.spawn(tick)
store.put(str(f), b"new", "overwrite")
print(len(ticks), f.upload.state, f.read())
"""


def test_other_greenlets_run_while_a_write_waits(tmp_path: pathlib.Path) -> None:
    """Under gevent a write that waits for an upload to stop holds nobody up."""
    process = run(GREENLETS, str(tmp_path))
    said, _ = process.communicate(timeout=60)
    assert said == b"20 deleted b'new'\n"


# -- a spool that is not as it was -------------------------------------------


GARBAGE: dict[str, bytes] = {
    "empty": b"",
    "cut": b'{"key": "a.b',
    "binary": b"\xfe\xff\x00" * 50,
    "a list": b'[{"key": "x"}]',
    "null": b"null",
    "a number": b"7",
    "deep": b"[" * 50_000,
    "large": b" " * 100_000,
    "key is a number": b'{"key": 5, "size": 1, "content_type": "a/b", "saved": 1}',
    "key leads out": b'{"key": "../x", "size": 1, "content_type": "a/b", "saved": 1}',
    "key is private": b'{"key": ".flask-store/x", "size": 1, "content_type": "a/b",'
    b' "saved": 1}',
    "another key": b'{"key": "y.bin", "size": 1, "content_type": "a/b", "saved": 1}',
    "no size": b'{"key": "x.bin", "content_type": "a/b", "saved": 1}',
    "size is a flag": b'{"key": "x.bin", "size": true, "content_type": "a/b",'
    b' "saved": 1}',
    "size is negative": b'{"key": "x.bin", "size": -1, "content_type": "a/b",'
    b' "saved": 1}',
    "no date": b'{"key": "x.bin", "size": 1, "content_type": "a/b", "saved": 1e400}',
    "two lines": b'{"key": "x.bin", "size": 1, "content_type": "a\\nb", "saved": 1}',
    "attempts are many": b'{"key": "x.bin", "size": 1, "content_type": "a/b",'
    b' "saved": 1, "attempts": "many"}',
    "token is a list": b'{"key": "x.bin", "size": 1, "content_type": "a/b",'
    b' "saved": 1, "token": []}',
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_no_journal(kind: str) -> None:
    """What does not describe an upload is told from what does."""
    good = Entry("x.bin", 1, "a/b", 1)
    text = json.dumps(vars(good)).encode()
    assert parse(text, name_of("x.bin")) == good
    with pytest.raises(BadJournal):
        parse(GARBAGE[kind], name_of("x.bin"))


def test_broken_journals_break_nothing(
    settings: dict[str, t.Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Journals that cannot be read stay where they are and are told of once each. All
    other uploads are listed, found and stored, and so are new ones."""
    owner = Owner(settings)
    names = [owner.save("parked", "x.bin") for _ in GARBAGE]
    good = owner.save("parked", "good.bin")
    end_of(owner)
    broken = [
        path for path in journals(settings) if good not in path.read_text("latin-1")
    ]
    for path, text in zip(broken, GARBAGE.values(), strict=True):
        path.write_bytes(text)
    entries._logged.clear()
    caplog.clear()
    heir = opened(settings)
    assert heir.background is not None
    for _ in range(2):
        assert [entry.key for entry in heir.pending()] == [good]
        for name in names:
            assert not heir.exists(name)
            with pytest.raises(FileNotFound):
                heir.delete(name)
            heir.put(name, b"anew", "overwrite")
            assert heir.read(name) == b"anew"
            heir.delete(name)
    heir.background.start()
    wait_for(lambda: without_spool(settings).exists(good))
    f = heir.save(b"new", "new.bin")
    assert f.upload is not None and f.upload.wait(20)
    for path, text in zip(broken, GARBAGE.values(), strict=True):
        assert path.read_bytes() == text
        assert path.with_suffix(".data").exists()
        assert caplog.text.count(f"{path} cannot be used") == 1
    heir.background.worker().drain(20)


def test_strange_things_in_a_box(settings: dict[str, t.Any]) -> None:
    """What can be neither read nor removed does not keep the rest of a box waiting,
    and a link is not followed."""
    owner = Owner(settings)
    key, linked = (owner.save("parked", name) for name in ("a.bin", "linked.bin"))
    box = owner.background.worker().box
    end_of(owner)
    (pathlib.Path(box.path) / "lost+found").mkdir()
    (pathlib.Path(box.path) / "rubbish.data").mkdir()
    (pathlib.Path(box.path) / "a folder.json").mkdir()
    outside = pathlib.Path(settings["STORE_SPOOL_PATH"]).parent / "outside"
    outside.write_bytes(b"not for the public")
    os.unlink(box.files(linked).data)
    os.symlink(outside, box.files(linked).data)
    heir = opened(settings)
    assert heir.background is not None
    heir.background.start()
    wait_for(lambda: without_spool(settings).exists(key))
    with pytest.raises(FileNotFound):
        heir.read(linked)
    assert [found.name for found in without_spool(settings).ls()] == [key]
    assert [path.name for path in pathlib.Path(box.path).iterdir() if path.is_dir()]
    heir.background.worker().drain(20)


def test_entry_that_cannot_be_removed(
    settings: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is stored and its journal stays: the upload is over, and so are all
    others."""
    real = Files.remove

    def remove(files: Files) -> None:
        if files.name == name_of(str(first)):
            raise OSError(errno.EIO, os.strerror(errno.EIO), files.journal)
        real(files)

    owner = Owner(settings)
    owner.block()
    first, second = (owner.store.save(b"x", name) for name in ("a.bin", "b.bin"))
    uploads = [first.upload, second.upload]
    with monkeypatch.context() as patch:
        patch.setattr(Files, "remove", remove)
        owner._free.set()
        for upload in uploads:
            assert upload is not None and upload.wait(20)
    owner.background.worker().drain(20)


def test_folder_that_is_made_without_its_lock(spool: Spool) -> None:
    """A box that somebody removes while an upload is written into it is none: the
    upload is not promised, and no folder is left that anybody may take."""
    box = spool.make_box()

    class Removing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            shutil.rmtree(spool.folder)
            os.makedirs(box.path, 0o755)
            return super().read(size)

    with pytest.raises(FileNotFoundError):
        box.add(Source(Removing(b"data"), None), "a.txt", "text/plain")
    assert list(pathlib.Path(spool.folder).iterdir()) == []


def test_probes_of_killed_processes_are_removed(
    settings: dict[str, t.Any],
) -> None:
    """A process that was killed while it looked what the disk can do leaves a file,
    which goes when it is old."""
    folder = pathlib.Path(settings["STORE_SPOOL_PATH"])
    folder.mkdir(0o700)
    old, young = folder / "old.part", folder / "young.part"
    for path in (old, young):
        path.touch()
    os.utime(old, (time.time() - 7200,) * 2)
    store = opened(settings)
    assert store.background is not None
    store.background.start()
    wait_for(lambda: not old.exists())
    assert young.exists()
    store.background.worker().drain(20)


def test_parked_upload_is_tried_again(owner: Owner) -> None:
    """Keys are changed while a process lives: a parked upload is stored without a new
    process. The application is told of each once."""
    told: list[str] = []
    owner.background.ended = (  # type: ignore[method-assign]
        lambda job: told.append(job.upload.state)
    )
    upload = owner.store.upload(owner.save("parked", "a.bin"))
    assert upload is not None
    wait_for(lambda: upload.attempts > 3)
    owner.finish()
    wait_for(lambda: len(told) == 2)
    assert (upload.state, told) == ("stored", ["parked", "stored"])


@pytest.mark.parametrize("state", ["failed once", "parked"])
def test_tries_of_months(owner: Owner, state: str) -> None:
    """An upload that was tried thousands of times is tried on."""
    upload = owner.store.upload(owner.save(state, "a.bin"))
    with owner.background.spool.still(str(upload and upload.key)) as held:
        assert held is not None and upload is not None
        held.entry.attempts = 5000
        held.note()
    wait_for(lambda: upload.attempts > 5001)
    owner.finish()
    assert upload.state == "stored"


def test_pauses_grow_to_a_limit() -> None:
    """However often they are doubled."""
    pauses = [worker._doubled(1.0, times, 3600.0) for times in (0, 3, 12, 100_000)]
    assert pauses == [1.0, 8.0, 3600.0, 3600.0]


def test_damaged_bytes_are_parked(owner: Owner) -> None:
    """Bytes that somebody has cut in the spool are not stored as a whole file."""
    owner.block()
    f = owner.store.save(b"all of it", "a.bin")
    upload = f.upload
    os.truncate(owner.background.worker().box.files(str(f)).data, 3)
    owner._free.set()
    assert upload is not None and not upload.wait(20)
    assert "in place of 9" in str(upload.error)
    assert not without_spool_of(owner).exists(str(f))


def test_nothing_unreadable_is_promised(settings: dict[str, t.Any]) -> None:
    """A file whose journal nobody could read is refused before anything is spooled."""
    store = opened(settings)
    with pytest.raises(WrongType):
        store.save(b"x", "a.bin", content_type="text/plain\r\nx: y")
    assert kept(settings) == []
    assert list(without_spool(settings).ls()) == []


def test_lock_of_an_upload_that_ends_meanwhile(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write looks at a running upload, which ends before the write has its lock. No
    file of it is left behind."""
    box = spool.make_box()
    box.add(Source(io.BytesIO(b"x"), None), "a.bin", "text/plain")
    files = box.files("a.bin")
    pathlib.Path(files.lock).touch()

    def ends(path: str) -> int | None:
        box.files("a.bin").remove()
        os.unlink(files.lock)
        return hold(path)

    monkeypatch.setattr("flask_store.background.holding.hold", ends)
    with pytest.raises(FileNotFoundError):
        Held.acquire(files, spool.quota)
    assert os.listdir(box.path) == ["lock"]


# -- the quota ---------------------------------------------------------------


def taken(spool: Spool) -> int:
    """The bytes that the spool's files really take."""
    paths = pathlib.Path(spool.folder).rglob("*")
    return sum(path.stat().st_blocks * 512 for path in paths if path.is_file())


@pytest.mark.parametrize("size", [0, 1, 1000, 70_000, 900_000])
def test_quota_counts_blocks(tmp_path: pathlib.Path, size: int) -> None:
    """Small files take whole blocks, and journals count too."""
    limit = max(200_000, 3 * size)
    spool = Spool(str(tmp_path / "spool"), limit, "memory://x")
    box, count = spool.make_box(), 0
    while spool.add(box, Source(io.BytesIO(b"x" * size), None), f"{count}", "a/b"):
        count += 1
    assert 2 <= count < limit / 4096
    assert taken(spool) <= limit < taken(spool) + size + 3 * 4096


FILL = """
import io, sys
from flask_store.background.spool import Spool
from flask_store.uploads.source import Source
spool = Spool(sys.argv[1], 400_000, "memory://x")
box = spool.make_box()
print("ready", flush=True)
sys.stdin.readline()
count = 0
while spool.add(box, Source(io.BytesIO(b"x" * 5000), None), f"{count}", "a/b"):
    count += 1
print(count, flush=True)
sys.stdin.readline()
"""


def test_quota_holds_across_processes(tmp_path: pathlib.Path) -> None:
    """Processes that fill the spool together do not exceed the quota, and leave no
    room unused."""
    spool = Spool(str(tmp_path / "spool"), 400_000, "memory://x")
    processes = [run(FILL, spool.folder) for _ in range(3)]
    try:
        for process in processes:
            assert process.stdout and process.stdout.readline() == b"ready\n"
        for process in processes:
            tell(process)
        counts = []
        for process in processes:
            assert process.stdout
            counts.append(int(process.stdout.readline()))
        assert taken(spool) <= 400_000 < taken(spool) + 5 * 4096
        # Each of them takes two blocks for the bytes, and one for the journal.
        assert sum(counts) == (400_000 - 3 * 4096) // (3 * 4096)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def tell(process: subprocess.Popen[bytes]) -> None:
    """Let it go on."""
    assert process.stdin
    process.stdin.write(b"\n")
    process.stdin.flush()


def test_room_comes_back(owner: Owner) -> None:
    """What is stored, or deleted by another process, takes no room any more; what a
    killed process had reserved is counted again when its box is taken up."""
    quota = owner.background.spool.quota
    folder = quota.folder
    stored = owner.store.save(b"x" * 50_000, "a.bin")
    assert stored.upload is not None and stored.upload.wait(20)
    box = owner.background.worker().box.path
    empty = [int((pathlib.Path(box) / "lock").read_bytes())]
    key = owner.save("waiting", "b.bin")
    other = Quota(folder, quota.limit)
    assert int((pathlib.Path(box) / "lock").read_bytes()) > empty[0]
    spool = Spool(folder, quota.limit, owner.store.uri)
    assert spool.quota.limit == other.limit
    with spool.still(key) as held:  # as another process does
        assert held is not None
        held.remove()
    assert [int((pathlib.Path(box) / "lock").read_bytes())] == empty


def test_save_does_not_look_at_what_waits(
    tmp_path: pathlib.Path, figures: t.Callable[[str], None]
) -> None:
    """A save opens as many files and lists as many folders with 10,000 uploads in the
    spool as with none."""
    spool = Spool(str(tmp_path / "spool"), 10**9, "memory://x")
    box, seen = spool.make_box(), Seen()
    calls = [seen.of(lambda: add(spool, box, "first"))]
    for number in range(10_000):
        files = box.files(f"{number}.txt")
        pathlib.Path(files.data).write_bytes(b"x")
        pathlib.Path(files.journal).write_text(
            json.dumps(vars(Entry(f"{number}.txt", 1, "text/plain", 1)))
        )
    calls.append(seen.of(lambda: add(spool, box, "second")))
    assert calls[0] == calls[1]
    figures(
        f"a save with 0 and with 10,000 uploads in the spool: {calls[0]} and"
        f" {calls[1]} files opened and folders listed"
    )
    assert calls[0]["os.listdir"] == 0 and calls[0]["os.scandir"] == 1
    found = seen.of(lambda: closed(spool.find("9999.txt")))
    assert found["os.listdir"] == 0 and found["os.scandir"] == 1


def add(spool: Spool, box: Box, name: str) -> None:
    """Save something."""
    assert spool.add(box, Source(io.BytesIO(b"x"), None), name, "text/plain")


def closed(found: tuple[Entry, t.BinaryIO | None] | None) -> None:
    """Close what was found."""
    assert found is not None and found[1] is not None
    found[1].close()


class Seen:
    """What this process opens and lists, by Python's audit events."""

    EVENTS = ("open", "os.listdir", "os.scandir")

    def __init__(self) -> None:
        self._counts: dict[str, int] | None = None
        sys.addaudithook(self._count)

    def of(self, call: t.Callable[[], object]) -> dict[str, int]:
        """How often the call does what."""
        self._counts = counts = dict.fromkeys(self.EVENTS, 0)
        self._mine = threading.get_ident()
        try:
            call()
        finally:
            self._counts = None
        return counts

    def _count(self, event: str, args: t.Any) -> None:
        counts = self._counts
        if counts is not None and event in counts:
            if threading.get_ident() == self._mine:
                counts[event] += 1
