"""Whose an upload in the spool is: one living process's, and never two's."""

from __future__ import annotations

import io
import json
import logging
import os
import pathlib
import stat
import subprocess
import sys
import typing as t

import pytest

from flask_store.background.boxes import Box
from flask_store.background.spool import Spool
from flask_store.stores.s3 import S3Store
from flask_store.testing import upload
from flask_store.uploads.disk import Unnamed
from flask_store.uploads.source import Source
from tests.local.test_spool import make
from tests.local.test_spool import proxy
from tests.local.test_spool import settings_for
from tests.local.test_spool import spooled
from tests.local.test_spool import wait_for
from tests.support.background_servers import s3_settings
from tests.support.servers import ROOT
from tests.support.servers import S3Server

__all__ = ["proxy"]


@pytest.fixture
def spool(tmp_path: pathlib.Path) -> Spool:
    """A spool of a store that does not exist."""
    return Spool(str(tmp_path / "spool"), 10**6, "memory://x")


def a_source(data: bytes = b"good") -> Source:
    """An upload in memory."""
    return Source(io.BytesIO(data), None)


def run(script: str, *args: str, **env: str) -> subprocess.Popen[bytes]:
    """A process that is talked to by its standard streams."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *args],
        cwd=ROOT,
        env={**os.environ, **env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


FORK = """
import os, sys, time
from flask_store.background.spool import Spool
spool = Spool(sys.argv[1], 10**6, "memory://x")
mine, taken = spool.make_box(), list(spool.abandoned())
assert len(taken) == 1
if os.fork() == 0:
    print("forked", flush=True)
    time.sleep(20)
    os._exit(0)
sys.stdin.read()
"""


def test_forked_child_keeps_no_lock(spool: Spool) -> None:
    """What a process holds is free when it ends, although a child of it lives on:
    its own box and those of the dead, of which no worker may know yet."""
    killed = run(
        "import sys; from flask_store.background.spool import Spool;"
        "box = Spool(sys.argv[1], 10**6, 'memory://x').make_box();"
        "print(flush=True); sys.stdin.read()",
        spool.folder,
    )
    with killed:
        assert killed.stdout and killed.stdout.readline()
        killed.kill()
    parent = run(FORK, spool.folder)
    assert parent.stdout and parent.stdin
    assert parent.stdout.readline() == b"forked\n"
    assert list(spool.abandoned()) == []
    parent.stdin.close()
    parent.wait(20)
    assert len(list(spool.abandoned())) == 2
    parent.stdout.close()


PATCHED_FORK = """
from gevent import monkey
monkey.patch_all()
import json, os, signal, sys, gevent
from flask_store.stores.s3 import S3GeventStore
store = S3GeventStore.from_config(json.loads(os.environ["SETTINGS"]))
free = gevent.event.Event()
store.background.worker().turns.add(free.wait)
for n in range(3):
    store.save(b"left %d" % n, "left.txt")
parent = os.getpid()
if os.fork():
    monkey.get_original("time", "sleep")(0.5)
    os.kill(parent, signal.SIGKILL)
free.set()
gevent.sleep(3)
print("slept", flush=True)
sys.stdin.read()
os._exit(0)
"""


@pytest.mark.slow
def test_forked_child_does_not_upload_for_its_parent(
    seaweedfs_server: S3Server, seaweedfs_bucket: str, tmp_path: pathlib.Path
) -> None:
    """Under gevent a forked child has the greenlets of its parent. They are not to
    do its work: the parent does, or whoever takes it up."""
    url = seaweedfs_server.endpoint_url
    settings = settings_for(
        "greenlets", url, seaweedfs_server, seaweedfs_bucket, tmp_path
    )
    behind = S3Store.from_config(s3_settings(url, seaweedfs_server, seaweedfs_bucket))
    # One at a time: all wait for what has the only turn when it forks.
    settings["STORE_SPOOL_UPLOADS"] = 1
    process = run(PATCHED_FORK, SETTINGS=json.dumps(settings))
    with process:
        assert process.stdout and process.stdin
        assert process.stdout.readline() == b"slept\n"
        assert len([p for p in spooled(settings) if p.suffix == ".json"]) == 3
        make(settings)[1].background.start()  # type: ignore[union-attr]
        wait_for(lambda: not spooled(settings))
        process.stdin.close()
    assert len(list(behind.ls())) == 3


class Interrupted(io.BytesIO):
    """A stream during whose reading something else happens."""

    def __init__(self, data: bytes, happens: t.Callable[[], None]) -> None:
        super().__init__(data)
        self.happens = happens

    def read(self, size: int | None = -1) -> bytes:
        self.happens()
        return super().read(size)


def test_box_is_held_while_it_is_filled(spool: Spool) -> None:
    """A process that is about to end closes its box. An upload that is on its way
    into it is no rubbish, and the box nobody else's before the process is gone."""
    box = spool.make_box()

    def the_end() -> None:
        box.close()
        assert list(spool.abandoned()) == []

    source = Source(Interrupted(b"late", the_end), None)
    box.add(source, "late.txt", "text/plain")
    assert pathlib.Path(box.files("late.txt").data).read_bytes() == b"late"
    box.close()
    assert list(spool.abandoned()) == []


def test_closed_box_takes_nothing(spool: Spool) -> None:
    """After the end of the uploads nothing is promised any more."""
    box = spool.make_box()
    box.close()
    assert list(pathlib.Path(spool.folder).iterdir()) == []
    with pytest.raises(OSError, match="about to end"):
        box.add(a_source(), "late.txt", "text/plain")
    with pytest.raises(FileNotFoundError):
        box.unnamed()
    assert list(pathlib.Path(spool.folder).iterdir()) == []


def test_exit_keeps_what_is_tried_again(
    seaweedfs_server: S3Server,
    seaweedfs_bucket: str,
    tmp_path: pathlib.Path,
    proxy: t.Any,
) -> None:
    """An upload that waits for its next try is left to the next process; until then
    this one holds it, and does not try it again by itself."""
    settings = settings_for(
        "threads", proxy.endpoint_url, seaweedfs_server, seaweedfs_bucket, tmp_path
    )
    settings["STORE_S3_OPTIONS"] = {"config_kwargs": {"read_timeout": 0.5}}
    store = make(settings)[1]
    assert store.background is not None
    proxy.black_hole = True
    f = store.save(upload(b"again", "again.txt"))
    waiting = f.upload
    assert waiting is not None
    wait_for(lambda: waiting.attempts >= 1 and waiting.state == "waiting")
    store.background.worker().drain(20)
    asked = len(proxy.requests)
    assert list(store.background.spool.abandoned()) == []
    assert not waiting.wait(5)  # the pause before the second try is 2 seconds at most
    assert len(proxy.requests) == asked
    assert [p.suffix for p in spooled(settings)] == [".data", ".json"]


def test_two_take_one_box(spool: Spool) -> None:
    """A box is taken by one, also within a process."""
    box = spool.make_box()
    box.add(a_source(), "good.txt", "text/plain")
    assert Box.acquire(box.path, nameless=True) is None


def test_box_without_its_lock_file_is_taken_up(spool: Spool) -> None:
    """A process that was killed while it removed its box leaves a folder."""
    (pathlib.Path(spool.folder) / f"{spool.prefix}half").mkdir(parents=True)
    (found,) = spool.abandoned()
    assert list(found.entries()) == []
    found.close()
    assert list(pathlib.Path(spool.folder).iterdir()) == []


def test_broken_journal_does_not_stop_the_others(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    """One that cannot be read stays where it is, and the log says so."""
    box = spool.make_box()
    for name in ("one.txt", "two.txt"):
        box.add(a_source(), name, "text/plain")
    broken = pathlib.Path(box.files("one.txt").data).with_suffix(".json")
    broken.write_text("{")
    with caplog.at_level(logging.ERROR):
        assert [entry.key for entry in box.entries()] == ["two.txt"]
    assert str(broken) in caplog.text
    assert pathlib.Path(box.files("one.txt").data).exists()


# -- no copy -----------------------------------------------------------------


class Staged(io.FileIO):
    """An upload that came as a file without a name, as ours of requests do."""

    def __init__(self, file: Unnamed) -> None:
        super().__init__(file.fd, "rb", closefd=False)
        self.file = file

    def take(self, folder: str) -> Unnamed | None:
        return None if self.file.published else self.file


def test_staged_upload_is_linked(spool: Spool) -> None:
    """What was received into the spool's disk gets its name there; no byte is
    copied, and nobody else may read it."""
    box = spool.make_box()
    file = box.unnamed()
    file.write(b"staged")
    inode = os.fstat(file.fd).st_ino
    box.add(Source(Staged(file), "staged.txt"), "staged.txt", "text/plain")
    found = os.stat(box.files("staged.txt").data)
    assert found.st_ino == inode
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert file.published
    file.close()
    assert pathlib.Path(box.files("staged.txt").data).read_bytes() == b"staged"


@pytest.mark.parametrize("nameless", [True, False])
def test_staged_by_somebody_else(
    spool: Spool, tmp_path: pathlib.Path, nameless: bool
) -> None:
    """A staged file of the same disk is private once it is in the spool, whatever
    mode it had, and with it whether it has a private name."""
    box = spool.make_box()
    elsewhere = str(tmp_path / "elsewhere")
    file = Unnamed(elsewhere, elsewhere, nameless)
    file.write(b"staged")
    box.add(Source(Staged(file), "staged.txt"), "staged.txt", "text/plain")
    file.close()
    assert stat.S_IMODE(os.stat(box.files("staged.txt").data).st_mode) == 0o600
    assert os.listdir(elsewhere) == []


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="there is one disk only")
def test_staged_on_another_disk_is_copied(spool: Spool, tmp_path: pathlib.Path) -> None:
    """A name cannot be given across disks, so the bytes are copied."""
    if os.stat("/dev/shm").st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("there is one disk only")
    box = spool.make_box()
    file = Unnamed("/dev/shm", "/dev/shm", nameless=True)
    file.write(b"far away")
    box.add(Source(Staged(file), "far.txt"), "far.txt", "text/plain")
    file.close()
    assert pathlib.Path(box.files("far.txt").data).read_bytes() == b"far away"


def test_disk_without_nameless_files(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where files cannot be without a name, and no hard links are, they are moved."""

    def refuses(*args: t.Any, **kwargs: t.Any) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", refuses)
    box = spool.make_box()
    box.add(a_source(b"plain"), "plain.txt", "text/plain")
    assert pathlib.Path(box.files("plain.txt").data).read_bytes() == b"plain"
    assert len(os.listdir(box.path)) == 3  # with its journal and the lock


@pytest.mark.parametrize("nameless", [True, False])
def test_bytes_are_on_the_disk_before_the_journal(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, nameless: bool
) -> None:
    """One sync of the bytes when they have their name, one of the journal before it has
    its own, and one of the folder with both names."""
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE")
    box = spool.make_box()
    files = box.files("a.txt")
    steps: list[str | int] = []
    calls = {name: getattr(os, name) for name in ("fsync", "link", "replace")}

    def sync(number: int) -> None:
        steps.append(os.fstat(number).st_ino)
        calls["fsync"](number)

    def link(source: str, target: str, **options: t.Any) -> None:
        steps.append(target)
        calls["link"](source, target, **options)

    def replace(source: str, target: str, **options: t.Any) -> None:
        steps.append(target)
        calls["replace"](source, target, **options)

    with monkeypatch.context() as patch:
        for call in (sync, link, replace):
            patch.setattr(os, call.__name__.replace("sync", "fsync"), call)
        box.add(a_source(), "a.txt", "text/plain")
    data, journal, folder = (
        os.stat(path).st_ino for path in (files.data, files.journal, box.path)
    )
    assert steps == [files.data, data, journal, files.journal, folder]


def test_staged_upload_is_linked_by_a_save(tmp_path: pathlib.Path) -> None:
    """save() hands a received file on as it is, and ``unnamed`` makes one for it."""
    config = {
        "STORE_PATH": str(tmp_path / "files"),
        "STORE_BACKGROUND": True,
        "STORE_SPOOL_PATH": str(tmp_path / "spool"),
    }
    store = make(config)[1]
    assert store.background is not None
    file = store.background.unnamed()
    file.write(b"staged")
    f = store.save(t.cast("t.IO[bytes]", Staged(file)), "staged.txt")
    assert file.published
    file.close()
    assert f.upload is not None and f.upload.wait(10)
    assert (tmp_path / "files" / f.filename).read_bytes() == b"staged"


def test_staged_upload_in_the_foreground(tmp_path: pathlib.Path) -> None:
    """What was received for the spool, and has no room there, is a normal file in
    the store all the same: the web server has to read it."""
    config = {
        "STORE_PATH": str(tmp_path / "files"),
        "STORE_BACKGROUND": True,
        "STORE_SPOOL_PATH": str(tmp_path / "spool"),
        "STORE_SPOOL_QUOTA": 3,
    }
    store = make(config)[1]
    assert store.background is not None
    file = store.background.unnamed()
    file.write(b"staged")
    f = store.save(t.cast("t.IO[bytes]", Staged(file)), "staged.txt")
    file.close()
    assert f.upload is None
    other = store.save(b"in memory", "other.txt")
    modes = [os.stat(tmp_path / "files" / n.filename).st_mode for n in (f, other)]
    assert modes[0] == modes[1]
    assert f.read() == b"staged"
