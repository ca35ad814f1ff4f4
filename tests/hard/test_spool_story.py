"""A file has one story: what is done to it while it waits for its upload counts."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pathlib
import subprocess
import sys
import threading
import typing as t

import pytest

from flask_store.background import worker
from flask_store.background.holding import Held
from flask_store.background.upload import Upload
from flask_store.exceptions import StoreDenied
from flask_store.exceptions import StoreUnavailable
from flask_store.stores.fsspec import FsspecStore
from tests.local.test_spool import PATIENCE
from tests.local.test_spool import spooled
from tests.local.test_spool import wait_for
from tests.support.background_servers import s3_settings
from tests.support.protocol_servers import ftp
from tests.support.protocol_servers import Place
from tests.support.server_contract import started
from tests.support.servers import ROOT
from tests.support.servers import S3Server
from tests.support.spool_actions import act
from tests.support.spool_actions import ACTIONS
from tests.support.spool_actions import opened
from tests.support.spool_actions import seen

OLD = b"OLD" * 1000
STORES = ["s3", "s3, unconditional", "s3, greenlets", "local", "ftp"]
STATES = ["waiting", "running", "failed once", "answer lost", "parked"]


class Owner:
    """A store whose worker tries to store what waits as often as the test allows.

    :param mode: what becomes of a try: "hold" (it waits until it is asked to stop),
        "away", "denied", "lost" (it is stored, and that is not known) or "ok".
    """

    def __init__(self, settings: dict[str, t.Any]) -> None:
        self.store = opened(settings)
        assert self.store.background is not None
        self.background = self.store.background
        self.mode = "ok"
        self.tried = threading.Event()
        self.blocked = threading.Event()
        self.uploads: list[Upload] = []
        self._free = threading.Event()
        self._send = self.background.send
        self.background.send = self.send  # type: ignore[method-assign]

    def send(self, job: worker.Job, held: Held) -> bool:
        """One try."""
        while self.mode == "hold" and not os.path.exists(held.files.stop):
            self.tried.set()
            self._free.wait(0.002)
        if self.mode in ("away", "denied"):
            self.tried.set()
            error = StoreUnavailable if self.mode == "away" else StoreDenied
            raise error("as the test wants it")
        done = self._send(job, held)
        if self.mode == "lost":
            self.mode = "away"
            self.tried.set()
            raise StoreUnavailable("the answer is lost")
        return done

    def block(self) -> None:
        """Let no upload begin."""
        self._free.clear()
        self.blocked.clear()

        def wait() -> None:
            self.blocked.set()
            self._free.wait(PATIENCE)

        self.background.worker().turns.add(wait)
        assert self.blocked.wait(PATIENCE)

    def save(self, state: str, name: str) -> str:
        """A file that is in this state on its way."""
        self.tried.clear()
        self._free.clear()
        if state == "waiting":
            self.block()
        modes = {"running": "hold", "failed once": "away", "parked": "denied"}
        self.mode = modes.get(state, "lost" if state == "answer lost" else "ok")
        f = self.store.save(OLD, name)
        upload = f.upload
        assert upload is not None
        self.uploads.append(upload)
        if state != "waiting":
            assert self.tried.wait(PATIENCE)
        if state == "parked":
            wait_for(lambda: upload.state in ("parked", "running"))
        elif state in ("failed once", "answer lost"):
            wait_for(lambda: upload.attempts)
        return str(f)

    def finish(self) -> None:
        """Let everything go its way, and wait until nothing is left to do. An upload
        learns of its end after its files have left the spool."""
        self.mode = "ok"
        self._free.set()
        spool = {"STORE_SPOOL_PATH": self.background.spool.folder}
        wait_for(lambda: not spooled(spool))
        for upload in self.uploads:
            upload.wait(PATIENCE)


@contextlib.contextmanager
def directed(settings: dict[str, t.Any]) -> t.Iterator[Owner]:
    """An owner, which ends with all its uploads stored."""
    made = Owner(settings)
    yield made
    made.mode = "ok"
    made._free.set()
    made.background.worker().drain(PATIENCE)


class Other:
    """Another process with the same store and spool."""

    def __init__(self, settings: dict[str, t.Any]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.spool_actions"],
            cwd=ROOT,
            env={**os.environ, "SETTINGS": json.dumps(settings)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def act(self, action: str, key: str) -> tuple[str | None, str | None]:
        """Do it there, and return what is seen there, and the other file."""
        self.tell(action, key)
        assert self.process.stdout
        found, other = json.loads(self.process.stdout.readline())
        return found, other

    def tell(self, action: str, key: str) -> None:
        """Begin with it."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps([action, key]) + "\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """Stop the process."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def ftp_place() -> t.Iterator[Place]:
    """An FTP server: nothing on it is exclusive."""
    with started(ftp) as place:
        yield place


@pytest.fixture
def settings(
    request: pytest.FixtureRequest,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, t.Any]:
    """The settings of a store that uploads in the background, one at a time."""
    monkeypatch.setattr(worker, "FIRST_PAUSE", 0.005)
    monkeypatch.setattr(worker, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(worker, "LONGEST_PARKED", 0.05)
    monkeypatch.setattr(worker, "LOOK_AROUND", 0.02)
    monkeypatch.setattr(worker, "BUSY", 0.01)
    found: dict[str, t.Any]
    if request.param == "local":
        found = {"STORE_PATH": str(tmp_path / "files")}
    elif request.param == "ftp":
        place = request.getfixturevalue("ftp_place")
        found = {"STORE_PATH": place.new(), "STORE_OPTIONS": place.options}
    else:
        server: S3Server = request.getfixturevalue("moto_server")
        found = s3_settings(server.endpoint_url, server, server.make_bucket())
        found["STORE_S3_CONDITIONAL_WRITES"] = "unconditional" not in request.param
        if "greenlets" in request.param:
            found["STORE_PROVIDER"] = "flask_store.stores.s3.S3GeventStore"
    return {
        **found,
        "STORE_BACKGROUND": True,
        "STORE_SPOOL_PATH": str(tmp_path / "spool"),
        "STORE_SPOOL_UPLOADS": 1,
    }


@pytest.fixture
def owner(settings: dict[str, t.Any]) -> t.Iterator[Owner]:
    """The process that has the uploads: this one."""
    with directed(settings) as made:
        yield made


@pytest.fixture
def behind(settings: dict[str, t.Any]) -> FsspecStore:
    """The storage, looked at without the spool."""
    provider = str(settings.get("STORE_PROVIDER", "")).replace("Gevent", "")
    plain = {**settings, "STORE_BACKGROUND": False}
    return opened({**plain, "STORE_PROVIDER": provider} if provider else plain)


@pytest.mark.parametrize("settings", STORES, indirect=True)
@pytest.mark.parametrize("process", ["same", "other"])
def test_pairs(
    process: str,
    settings: dict[str, t.Any],
    owner: Owner,
    behind: FsspecStore,
    figures: t.Callable[[str], None],
    request: pytest.FixtureRequest,
) -> None:
    """Whatever is done to a file that waits, in whichever process: that is what is
    seen at once, and what the storage has in the end. Nothing is lost, no older bytes
    come back, and no newer file is deleted."""
    other = Other(settings) if process == "other" else None
    pairs = 0
    try:
        for state, (action, expected) in itertools.product(STATES, ACTIONS.items()):
            case = f"{action}, {state}"
            key = owner.save(state, "photo.bin")
            if other is not None:
                found, more = other.act(action, key)
            else:
                more = act(owner.store, action, key)
                found = seen(owner.store, key)
            assert (case, found) == (case, expected)
            assert (case, seen(owner.store, key)) == (case, expected)
            owner.finish()
            assert (case, seen(behind, key)) == (case, expected)
            if more is not None:
                assert (case, behind.read(more)) == (case, OLD)
            pairs += 1
    finally:
        if other is not None:
            other.end()
    assert pairs == len(STATES) * len(ACTIONS)
    figures(
        f"{request.node.callspec.id}: {pairs} pairs of a file that waits and what is"
        " done to it, 0 lost, 0 with older bytes, 0 newer files deleted"
    )


@pytest.mark.parametrize("settings", ["s3", "local", "ftp"], indirect=True)
@pytest.mark.parametrize("state", ["waiting", "answer lost"])
@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("killed before a put", {"old"}),
        ("killed in a put", {"new"}),
        ("killed in a delete", {"old", None}),
    ],
)
def test_killed_while_it_settles(
    state: str,
    action: str,
    expected: set[str | None],
    settings: dict[str, t.Any],
    owner: Owner,
    behind: FsspecStore,
) -> None:
    """A process that is killed (-9) while it replaces or deletes a file that waits
    leaves the file as it was, or as it was to be."""
    key = owner.save(state, "photo.bin")
    other = Other(settings)
    with contextlib.suppress(ValueError):  # a file that was never tried is only removed
        other.act(action, key)
    other.end()
    assert seen(owner.store, key) in {*expected, "old"}
    owner.finish()
    assert seen(behind, key) in expected
    owner.store.put(key, b"again", "overwrite")
    assert behind.read(key) == b"again"
