"""Stores that are used before a fork and after it, by many threads."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import time
import traceback
import typing as t
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.local import LocalStore
from flask_store.stores.s3 import S3Store
from tests.conftest import missing
from tests.storages.test_s3 import settings
from tests.support.servers import gunicorn
from tests.support.servers import NotInstalledError
from tests.support.servers import S3Server

UPLOADS = 200
CLIENTS = 16


@pytest.fixture(params=["local", "SeaweedFS"])
def config(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> dict[str, t.Any]:
    """The settings of a store on each backend."""
    if request.param == "local":
        return {"STORE_PATH": str(tmp_path / "uploads")}
    server: S3Server = request.getfixturevalue("seaweedfs_server")
    bucket = request.getfixturevalue("seaweedfs_bucket")
    return settings(server, bucket, STORE_PROVIDER="flask_store.stores.s3.S3Store")


@pytest.fixture
def store(config: dict[str, t.Any]) -> FsspecStore:
    """The store of these settings, in the process of the tests."""
    cls = S3Store if "STORE_S3_BUCKET" in config else LocalStore
    return cls.from_config(config)


def test_gunicorn_preload(
    config: dict[str, t.Any], store: FsspecStore, figures: t.Callable[[str], None]
) -> None:
    """The master has used the store already; its two workers with eight threads each
    take 200 uploads of one name at once without an error, and every file is there."""

    def post(number: int) -> tuple[str, int, bytes]:
        data = f"upload {number};".encode() * 100
        reply = requests.post(
            f"{running.url}/upload", files={"afile": ("one.txt", data)}, timeout=30
        )
        assert reply.status_code == 200, reply.text
        key, worker = reply.json()
        return key, worker, data

    args = ["--preload", "--workers=2", "--threads=8", "--worker-class=gthread"]
    env = {"PREFORK_CONFIG": json.dumps(config)}
    try:
        with gunicorn("tests.support.prefork_app:app", *args, env=env) as running:
            with ThreadPoolExecutor(CLIENTS) as pool:
                started = time.monotonic()
                done = list(pool.map(post, range(UPLOADS)))
                seconds = time.monotonic() - started
            # One worker may have been too quick for the other to get anything.
            while len({worker for _, worker, _ in done}) < 2:
                assert time.monotonic() - started < 60
                done.append(post(len(done)))
            log = running.log.read_text()
    except NotInstalledError as exc:
        missing(str(exc))
    workers = {worker for _, worker, _ in done}
    keys = {key for key, _, _ in done}
    lost = [key for key, _, data in done if store.file(key).read() != data]
    figures(
        f"gunicorn --preload, {type(store).__name__}, {len(workers)} workers x 8"
        f" threads: {UPLOADS} uploads by {CLIENTS} clients in {seconds:.1f} s,"
        f" {len(keys)} distinct names, {len(lost)} lost"
    )
    assert len(keys) == len(done) >= UPLOADS
    assert lost == []
    assert {found.name for found in store.ls()} == keys | {"master.txt"}
    assert "Traceback" not in log


def in_child(work: t.Callable[[], None]) -> int:
    """Fork, do the work in the child, and return the child's exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -signal.SIGKILL


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_fork_after_use(store: FsspecStore) -> None:
    """A child that inherits a store in use saves, reads and forks in its turn; and
    the parent's store works on afterwards."""
    store.save(b"parent", "before.txt")

    def grandchild() -> None:
        assert store.save(b"grandchild", "grandchild.txt").read() == b"grandchild"

    def child() -> None:
        assert store.file("before.txt").read() == b"parent"
        assert store.save(b"child", "before.txt").read() == b"child"
        assert in_child(grandchild) == 0

    assert in_child(child) == 0
    assert store.save(b"parent", "after.txt").read() == b"parent"
    contents = sorted(store.file(found.name).read() for found in store.ls())
    assert contents == [b"child", b"grandchild", b"parent", b"parent"]
