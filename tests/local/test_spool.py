"""Uploads in the background: at once, durable, retried, and never twice."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import pathlib
import signal
import stat
import subprocess
import sys
import threading
import time
import typing as t

import pytest
from flask import Flask
from flask import has_request_context

from flask_store import FileWrapper
from flask_store import NotConfiguredError
from flask_store import signals
from flask_store import Store
from flask_store.background import worker
from flask_store.background.locks import release
from flask_store.background.runners import Threads
from flask_store.background.spool import Spool
from flask_store.background.turns import Turns
from flask_store.background.upload import Upload
from flask_store.exceptions import FileNotFound
from flask_store.exceptions import StoreDenied
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.s3 import S3Store
from flask_store.testing import DyingSeekable
from flask_store.testing import Hangup
from flask_store.testing import upload
from flask_store.uploads.source import Source
from tests.support.background_servers import restartable_s3
from tests.support.background_servers import s3_settings
from tests.support.proxy import Proxy
from tests.support.servers import ROOT
from tests.support.servers import S3Server

#: Seconds after which nothing is expected any more. A busy machine may need a minute
#: for an upload whose server has to be asked ten times.
PATIENCE = 100
KINDS = {"greenlets": "S3GeventStore", "threads": "S3Store"}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Greenlets on a thread of their own, or threads."""
    return str(request.param)


@pytest.fixture
def proxy(seaweedfs_server: S3Server) -> t.Iterator[Proxy]:
    """What stands between the store and SeaweedFS."""
    with Proxy(seaweedfs_server.endpoint_url) as running:
        yield running


def settings_for(
    kind: str, url: str, server: S3Server, bucket: str, folder: pathlib.Path
) -> dict[str, t.Any]:
    """An S3 store that uploads in the background."""
    return {
        **s3_settings(url, server, bucket),
        "STORE_PROVIDER": f"flask_store.stores.s3.{KINDS[kind]}",
        "STORE_BACKGROUND": True,
        "STORE_SPOOL_PATH": str(folder / "spool"),
        "STORE_S3_OPTIONS": {"config_kwargs": {"read_timeout": 2}},
    }


def make(settings: dict[str, t.Any]) -> tuple[Flask, FsspecStore]:
    """An application, and its store."""
    app = Flask(__name__)
    app.config.update(settings)
    with app.app_context():
        return app, t.cast(FsspecStore, Store(app).Provider())


@pytest.fixture
def settings(
    kind: str,
    proxy: Proxy,
    seaweedfs_server: S3Server,
    seaweedfs_bucket: str,
    tmp_path: pathlib.Path,
) -> dict[str, t.Any]:
    """Background uploads to SeaweedFS, through the proxy."""
    return settings_for(
        kind, proxy.endpoint_url, seaweedfs_server, seaweedfs_bucket, tmp_path
    )


@pytest.fixture
def store(settings: dict[str, t.Any]) -> FsspecStore:
    """A store that uploads in the background."""
    return make(settings)[1]


@pytest.fixture
def behind(seaweedfs_server: S3Server, seaweedfs_bucket: str) -> S3Store:
    """The same bucket, looked at from behind."""
    return S3Store.from_config(
        s3_settings(seaweedfs_server.endpoint_url, seaweedfs_server, seaweedfs_bucket)
    )


def spooled(settings: dict[str, t.Any]) -> list[pathlib.Path]:
    """The journals and the bytes in the spool, from which a worker may remove some."""
    return sorted(
        pathlib.Path(folder, name)
        for folder, _, names in os.walk(settings["STORE_SPOOL_PATH"])
        for name in names
        if name != "lock"
    )


def wait_for(condition: t.Callable[[], t.Any]) -> None:
    """Wait until it holds, or fail."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


# -- accepting ---------------------------------------------------------------


def test_save_does_not_wait_for_the_storage(
    store: FsspecStore, proxy: Proxy, settings: dict[str, t.Any], behind: S3Store
) -> None:
    """save() returns without one request; the file is read from the spool until it
    is stored, and from the storage after that."""
    proxy.black_hole = True
    data = os.urandom(300_000)
    f = store.at("folder").save(upload(data, "photo.jpg"))
    assert proxy.requests == []
    assert f.filename.startswith("photo_") and f.filename.endswith(".jpg")
    assert f.upload is not None
    assert not f.upload.wait(0.2)
    with f.open() as file:
        assert f.read() == file.read() == data
    assert b"".join(f.stream(5, 10)) == data[5:10]
    assert (f.size, f.content_type) == (300_000, "image/jpeg")
    assert f.exists() and store.exists(str(f))
    assert not behind.exists(str(f))
    proxy.black_hole = False
    assert f.upload.wait(30)
    assert (f.upload.state, f.upload.progress, f.upload.error) == ("stored", 1.0, None)
    assert behind.file(str(f)).read() == f.read() == data
    assert behind.file(str(f)).content_type == "image/jpeg"
    assert spooled(settings) == []


def test_spool_is_private(
    store: FsspecStore, proxy: Proxy, settings: dict[str, t.Any]
) -> None:
    """Nobody else may look into the spool, and it holds no secret."""
    proxy.black_hole = True
    store.save(upload(b"secret", "s.txt"))
    top = pathlib.Path(settings["STORE_SPOOL_PATH"])
    for path in (top, *top.rglob("*")):
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected
    journal = next(path for path in spooled(settings) if path.suffix == ".json")
    assert settings["STORE_S3_SECRET_KEY"] not in journal.read_text()
    proxy.black_hole = False


def test_request_is_over_when_the_upload_ends(settings: dict[str, t.Any]) -> None:
    """The signals come with the application's context and never the request's,
    and the caller's file may be closed as soon as save() is back."""
    app, store = make(settings)
    told: list[t.Any] = []

    @signals.upload_finished.connect_via(app)
    def finished(sender: Flask, file: FileWrapper) -> None:
        told.append((sender, str(file), has_request_context(), file.read()))

    with app.test_request_context("/"):
        stream = io.BytesIO(b"mine")
        f = store.save(stream, "mine.txt")
        stream.close()
    wait_for(lambda: told)
    assert told == [(app, str(f), False, b"mine")]


def test_broken_source_is_not_accepted(
    store: FsspecStore, settings: dict[str, t.Any]
) -> None:
    """A stream that breaks raises its own error and leaves nothing in the spool."""
    with pytest.raises(Hangup):
        store.save(DyingSeekable(b"x" * 4_000_000), "broken.bin")
    assert spooled(settings) == []


@pytest.mark.parametrize("obstacle", ["quota", "file", "writable"])
def test_full_or_unusable_spool_means_foreground(
    settings: dict[str, t.Any],
    behind: S3Store,
    obstacle: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without a place to keep it, the file is stored before save() returns, and the
    log says why."""
    path = pathlib.Path(settings["STORE_SPOOL_PATH"])
    if obstacle == "quota":
        settings["STORE_SPOOL_QUOTA"] = 1000
    elif obstacle == "file":
        path.write_text("in the way")
    else:
        path.mkdir()
        path.chmod(0o777)
    store = make(settings)[1]
    f = store.save(upload(b"x" * 2000, "big.bin"))
    assert f.upload is None
    assert behind.exists(str(f))
    setting = "STORE_SPOOL_QUOTA" if obstacle == "quota" else "STORE_SPOOL_PATH"
    assert setting in caplog.text


@pytest.mark.parametrize("on_conflict", ["error", "overwrite"])
def test_what_needs_an_answer_is_not_in_the_background(
    store: FsspecStore, behind: S3Store, on_conflict: t.Any
) -> None:
    """Only the storage knows whether a name is taken, so it is asked."""
    f = store.save(upload(b"x", "name.txt"), on_conflict=on_conflict)
    assert f.filename == "name.txt"
    assert behind.exists("name.txt")


# -- failing -----------------------------------------------------------------


def test_wrong_key_is_parked_with_its_cause(
    settings: dict[str, t.Any], behind: S3Store
) -> None:
    """What no repetition helps against is kept, and said by upload_failed; the
    next process, with the right key, stores it."""
    app, store = make(settings | {"STORE_S3_SECRET_KEY": "wrong"})
    told: list[t.Any] = []

    @signals.upload_failed.connect_via(app)
    def failed(sender: Flask, file: FileWrapper, error: Exception) -> None:
        told.append((str(file), error))

    f = store.save(upload(b"x", "x.txt"))
    assert f.upload is not None
    assert not f.upload.wait(30)
    wait_for(lambda: told)
    assert f.upload.state == "parked"
    assert told == [(str(f), f.upload.error)]
    assert isinstance(f.upload.error, StoreDenied)
    journal = next(path for path in spooled(settings) if path.suffix == ".json")
    assert "STORE_S3_SECRET_KEY" in json.loads(journal.read_text())["cause"]
    assert f.read() == b"x"
    assert store.background is not None
    release(store.background.worker().box._lock_fd)  # as the end of its process does
    make(settings)[1].background.start()  # type: ignore[union-attr]
    wait_for(lambda: not spooled(settings))
    assert behind.file(str(f)).read() == b"x"


def test_progress_of_an_upload() -> None:
    """How far the sending is, also when it begins anew."""
    waiting = Upload("key", 10)
    source = waiting.source = Source(io.BytesIO(b"0123456789"), None)
    source.read_at(0, 5)
    assert (waiting.progress, waiting.done) == (0.5, False)
    waiting.source = Source(io.BytesIO(b"0123456789"), None)
    assert waiting.progress == 0.0


def test_unreachable_storage_is_tried_again(
    proxy: Proxy, behind: S3Store, settings: dict[str, t.Any]
) -> None:
    """An upload that fails waits and is tried again until it is stored."""
    settings["STORE_S3_OPTIONS"] = {"config_kwargs": {"read_timeout": 0.5}}
    store = make(settings)[1]
    proxy.black_hole = True
    f = store.save(upload(b"again", "again.txt"))
    assert f.upload is not None
    # There is none while the next try runs.
    wait_for(lambda: f.upload and f.upload.attempts >= 1 and f.upload.error)
    proxy.black_hole = False
    assert f.upload.wait(60)
    assert behind.file(str(f)).read() == b"again"


def test_deleted_before_it_is_stored(
    store: FsspecStore, proxy: Proxy, behind: S3Store, settings: dict[str, t.Any]
) -> None:
    """A file that is deleted meanwhile is gone at once, and stays away. What a try may
    have stored is looked for later."""
    proxy.black_hole = True
    f = store.save(upload(b"x", "x.txt"))
    waiting = f.upload
    f.delete()
    assert [path for path in spooled(settings) if path.suffix == ".data"] == []
    proxy.black_hole = False
    assert waiting is not None
    assert not waiting.wait(60)
    assert waiting.state == "deleted"
    wait_for(lambda: spooled(settings) == [])
    assert list(behind.ls()) == []
    with pytest.raises(FileNotFound):
        f.read()


#: How long SeaweedFS is away, in seconds.
OUTAGE = float(os.environ.get("FLASK_STORE_OUTAGE", "3"))


@pytest.mark.slow
def test_restart_of_the_server(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SeaweedFS stops during uploads and starts again: everything arrives."""
    monkeypatch.setattr(worker, "LONGEST_PAUSE", 2.0)
    with restartable_s3() as s3:
        bucket = s3.server.make_bucket()
        settings = settings_for(
            "greenlets", s3.server.endpoint_url, s3.server, bucket, tmp_path
        )
        store = make(settings)[1]
        files = [store.save(upload(bytes([n]) * 50_000, "f.bin")) for n in range(20)]
        s3.stop()
        files += [store.save(upload(bytes([n]) * 50_000, "f.bin")) for n in range(20)]
        time.sleep(OUTAGE)
        s3.start()
        for number, f in enumerate(files):
            assert f.upload is None or f.upload.wait(60)
            assert f.read() == bytes([number % 20]) * 50_000
        assert spooled(settings) == []
        assert len(list(store.ls())) == 40


# -- processes ---------------------------------------------------------------

ACCEPT = """
import json, os, signal, sys, time
from flask_store.stores.s3 import S3GeventStore
store = S3GeventStore.from_config(json.loads(os.environ["SETTINGS"]))
names = [str(store.save(b"left %d" % n, "left.txt")) for n in range(5)]
print(json.dumps(names), flush=True)
if "fork" in sys.argv:
    if os.fork() == 0:
        print("forked", flush=True)
        time.sleep(20)
        os._exit(0)
sys.stdin.read()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("forked", [False, True], ids=["alone", "with_a_child"])
def test_killed_process_leaves_nothing_undone(
    settings: dict[str, t.Any], proxy: Proxy, behind: S3Store, forked: bool
) -> None:
    """While a process lives, its uploads are its own; after kill -9 they are the
    next one's, although a child of it lives on."""
    proxy.black_hole = True
    process = subprocess.Popen(
        [sys.executable, "-c", ACCEPT, *(["fork"] if forked else [])],
        cwd=ROOT,
        env={**os.environ, "SETTINGS": json.dumps(settings)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout and process.stdin
        names = json.loads(process.stdout.readline())
        if forked:  # until it runs, the child has not let go of what it inherited
            assert process.stdout.readline() == b"forked\n"
        store = make(settings)[1]
        assert store.background is not None
        assert list(store.background.spool.abandoned()) == []
        assert [store.file(name).read() for name in names] == [
            b"left %d" % n for n in range(5)
        ]
        process.stdin.close()
        assert process.wait(20) == -signal.SIGKILL
        proxy.black_hole = False
        store.background.start()
        wait_for(lambda: not spooled(settings))
        process.stdout.close()
    assert sorted(found.name for found in behind.ls()) == sorted(names)


def test_half_written_upload_is_swept(tmp_path: pathlib.Path) -> None:
    """Bytes without a journal were promised to nobody, and go."""
    spool = Spool(str(tmp_path / "spool"), 10**6, "memory://x")
    box = spool.make_box()
    box.add(Source(io.BytesIO(b"good"), None), "good.txt", "text/plain")
    pathlib.Path(box.files("half.txt").data).write_bytes(b"ha")
    assert list(spool.abandoned()) == []
    release(box._lock_fd)  # as the end of its process does
    (found,) = spool.abandoned()
    assert [entry.key for entry in found.entries()] == ["good.txt"]
    assert not os.path.exists(found.files("half.txt").data)


def test_spools_of_two_stores_do_not_mix(tmp_path: pathlib.Path) -> None:
    """A store takes up what is its own only, also from a folder they share."""
    one = Spool(str(tmp_path / "spool"), 10**6, "s3://one")
    release(one.make_box()._lock_fd)
    other = Spool(str(tmp_path / "spool"), 10**6, "s3://other")
    assert list(other.abandoned()) == []
    assert len(list(one.abandoned())) == 1


def test_hosts_keep_to_their_own_spools(
    settings: dict[str, t.Any], proxy: Proxy, tmp_path: pathlib.Path
) -> None:
    """Another host, with the same storage, neither sees what waits on this one nor
    takes it up."""
    proxy.black_hole = True
    here = make(settings)[1]
    f = here.save(upload(b"mine", "mine.txt"))
    assert here.background is not None and f.upload is not None
    release(here.background.worker().box._lock_fd)  # dead; who may, takes it up
    there = make(settings | {"STORE_SPOOL_PATH": str(tmp_path / "there")})[1]
    assert there.background is not None
    there.background.start()
    assert list(there.background.spool.abandoned()) == there.pending() == []
    assert [entry.key for entry in here.pending()] == [str(f)]
    proxy.black_hole = False
    assert f.upload.wait(60)


EXIT = """
import json, os, sys, logging
if "patched" in sys.argv:
    from gevent import monkey
    monkey.patch_all()
logging.basicConfig(level=logging.INFO)
from flask_store.stores.s3 import S3GeventStore, S3Store
settings = json.loads(os.environ["SETTINGS"])
store = (S3GeventStore if "S3Gevent" in settings["STORE_PROVIDER"] else S3Store)
store = store.from_config(settings)
for n in range(20):
    store.save(b"exit" * 10_000, "exit.txt")
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["patched", "unpatched"])
def test_exit_finishes_what_is_waiting(
    settings: dict[str, t.Any], behind: S3Store, mode: str
) -> None:
    """A normal exit waits for the uploads, also when no connection was open yet."""
    done = subprocess.run(
        [sys.executable, "-c", EXIT, mode],
        cwd=ROOT,
        env={**os.environ, "SETTINGS": json.dumps(settings)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert len(list(behind.ls())) == 20, done.stderr
    assert list(pathlib.Path(settings["STORE_SPOOL_PATH"]).iterdir()) == []


def test_exit_does_not_wait_for_ever(settings: dict[str, t.Any], proxy: Proxy) -> None:
    """What the storage does not take in time is left to the next process."""
    proxy.black_hole = True
    started = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", EXIT],
        cwd=ROOT,
        env={
            **os.environ,
            "SETTINGS": json.dumps(settings | {"STORE_SPOOL_DRAIN": 1}),
        },
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert time.monotonic() - started < 30
    assert len([p for p in spooled(settings) if p.suffix == ".json"]) == 20


def test_so_many_at_a_time() -> None:
    """As many uploads run at once as are allowed, and no more; each runs once."""
    running: list[int] = []
    seen: list[tuple[int, int]] = []
    turns, together = Turns(Threads(), 3), threading.Barrier(3)

    def work(number: int) -> None:
        running.append(number)
        together.wait(20)
        seen.append((number, len(running)))
        running.remove(number)

    for number in range(21):
        turns.add(functools.partial(work, number))
    assert turns.finish(60)
    assert sorted(number for number, _ in seen) == list(range(21))
    assert max(count for _, count in seen) == 3


class Tired(Threads):
    """A runner whose process has no thread left for some time."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    def start(self, work: t.Callable[[], None]) -> None:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("can't start new thread")
        super().start(work)


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_no_thread_is_left(failures: int) -> None:
    """What could not begin then begins with what comes afterwards."""
    turns, done = Turns(Tired(failures), 1), list[int]()
    for number in range(failures + 1):
        turns.add(functools.partial(done.append, number))
    assert turns.finish(20)
    assert done == list(range(failures + 1))


class Mortal(Threads):
    """A runner whose threads end without a word, as killed greenlets do."""

    def start(self, work: t.Callable[[], None]) -> None:
        def run() -> None:
            with contextlib.suppress(SystemExit):
                work()

        super().start(run)


def test_run_that_is_killed() -> None:
    """Another one goes on with what was behind it, in order."""
    turns, done = Turns(Mortal(), 1), list[int]()
    free, ended = threading.Event(), threading.Event()

    def killed() -> None:
        free.wait(PATIENCE)
        raise SystemExit

    turns.add(killed)
    for number in range(3):
        turns.add(functools.partial(done.append, number))
    turns.add(ended.set)
    free.set()
    assert ended.wait(PATIENCE)
    assert turns.finish(PATIENCE)
    assert done == [0, 1, 2]


class Gate:
    """A lock that calls a function when it is released the next time."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.then: t.Callable[[], object] | None = None

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()
        then, self.then = self.then, None
        if then is not None:
            then()


def test_work_comes_when_a_run_has_found_none() -> None:
    """It begins at once, and does not wait for another run, which may take long."""
    turns, gate = Turns(Threads(), 2), Gate()
    turns._guard = gate
    begun, free = threading.Event(), threading.Event()
    turns.add(lambda: free.wait(60))

    def last() -> None:
        # The next that this thread does is to look for more work.
        gate.then = lambda: turns.add(begun.set)

    turns.add(last)
    assert begun.wait(20)
    free.set()
    assert turns.finish(20)


# -- settings ----------------------------------------------------------------


def test_any_store_by_a_setting(tmp_path: pathlib.Path) -> None:
    """STORE_BACKGROUND is all that a store needs, and the spool is in the instance
    folder."""
    app = Flask(__name__, instance_path=str(tmp_path / "instance"))
    app.config.update(STORE_PATH=str(tmp_path / "files"), STORE_BACKGROUND=True)
    f = Store(app).Provider().save(upload(b"data", "a.txt"))
    assert f.upload is not None and f.upload.wait(10)
    assert (tmp_path / "files" / f.filename).read_bytes() == b"data"
    assert (tmp_path / "instance" / "flask-store-spool").is_dir()


@pytest.mark.parametrize(
    "config", [{"STORE_X_ACCEL_REDIRECT": "/private/"}, {"USE_X_SENDFILE": True}]
)
def test_waiting_file_is_sent_by_the_application(
    tmp_path: pathlib.Path, config: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The web server in front sends what is in the store. It would answer 404 for a
    file that waits in the spool."""
    app = Flask(__name__, instance_path=str(tmp_path / "instance"))
    app.config.update(STORE_PATH=str(tmp_path / "files"), STORE_BACKGROUND=True)
    app.config.update(config)
    provider = Store(app).Provider()
    is_free, put_file = threading.Event(), provider.dialect.put_file

    def put_when_free(*args: t.Any) -> None:
        is_free.wait(20)
        put_file(*args)

    monkeypatch.setattr(provider.dialect, "put_file", put_when_free)
    f = provider.save(upload(b"data", "a.txt"))
    reply = app.test_client().get(f.absolute_url())
    is_free.set()
    assert (reply.status_code, reply.data) == (200, b"data")
    assert f.upload is not None and f.upload.wait(20)
    reply = app.test_client().get(f.absolute_url())
    assert reply.data == b""
    assert {"X-Accel-Redirect", "X-Sendfile"} & {*reply.headers.keys()}
    assert app.test_client().get(f"{f.absolute_url()}.txt").status_code == 404


def test_spool_is_not_served(tmp_path: pathlib.Path) -> None:
    """A spool inside the folder of stored files is refused."""
    config = {
        "STORE_PATH": str(tmp_path),
        "STORE_BACKGROUND": True,
        "STORE_SPOOL_PATH": str(tmp_path / "spool"),
    }
    with pytest.raises(NotConfiguredError, match="STORE_SPOOL_PATH lies inside"):
        make(config)


def test_gevent_is_asked_for(
    settings: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without gevent, S3GeventStore says how to install it."""
    monkeypatch.setitem(sys.modules, "gevent", None)
    if "Gevent" in settings["STORE_PROVIDER"]:
        with pytest.raises(NotConfiguredError, match="pip install"):
            make(settings)
    else:
        make(settings)
