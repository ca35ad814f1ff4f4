"""The same in gunicorn: worker after worker is killed, and nothing is lost."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import random
import signal
import threading
import time
import typing as t

import pytest
import requests

from flask_store.stores.s3 import S3Store

from . import servers
from .proxy import Proxy
from .servers import S3Server
from .test_gevent import azure
from .test_gevent import azure_server
from .test_gevent import local
from .test_gevent import OPERATIONS
from .test_gevent import s3
from .test_gevent import s3_background
from .test_gevent import s3_settings
from .test_gevent import sftp
from .test_gevent import sftp_server

__all__ = [
    "azure",
    "azure_server",
    "local",
    "s3",
    "s3_background",
    "sftp",
    "sftp_server",
]

#: How often workers are killed; set it to 100 for the whole story.
ROUNDS = int(os.environ.get("FLASK_STORE_KILL_ROUNDS", "3"))
#: How many saves are timed; the median of them counts.
SAVES = int(os.environ.get("FLASK_STORE_TIMED_SAVES", "3"))
WORKERS = {
    "gevent": ("-k", "gevent", "-w", "2"),
    "gevent_preload": ("-k", "gevent", "-w", "2", "--preload"),
    "gthread": ("-k", "gthread", "-w", "2", "--threads", "8"),
}


@contextlib.contextmanager
def running(
    workers: str, settings: dict[str, t.Any], folder: pathlib.Path, **env: str
) -> t.Iterator[servers.Gunicorn]:
    """The test application, in gunicorn."""
    environment = {
        "SETTINGS": json.dumps(settings),
        "INSTANCE": str(folder / "instance"),
        **env,
    }
    with servers.gunicorn(
        "tests.background_app:app",
        "--graceful-timeout=20",
        *WORKERS[workers],
        env=environment,
    ) as server:
        yield server


def settings_of(
    provider: str, server: S3Server, bucket: str, url: str | None = None
) -> dict[str, t.Any]:
    """The settings of a store on SeaweedFS."""
    address = url or f"http://localhost:{server.port}"
    path = f"flask_store.stores.s3.{provider}"
    return {**s3_settings(address, server, bucket), "STORE_PROVIDER": path}


#: The rest of the pairs would be modes that test_gevent runs without gunicorn.
PAIRS = [
    ("gevent", "s3_background"),
    ("gthread", "s3_background"),
    ("gevent_preload", "s3_background"),
    ("gevent_preload", "local"),
    ("gevent_preload", "s3"),
    ("gevent_preload", "sftp"),
    ("gevent_preload", "azure"),
]


@pytest.mark.parametrize(("workers", "kind"), PAIRS)
def test_every_operation(
    workers: str, kind: str, request: pytest.FixtureRequest, tmp_path: pathlib.Path
) -> None:
    """Every operation works in real workers, and these end when they are told to;
    with --preload the store was used before the fork, and patching came after it."""
    settings = request.getfixturevalue(kind)
    preload = "--preload" in WORKERS[workers]
    env = {"USE_BEFORE_FORK": "1"} if preload else {}
    with running(workers, settings, tmp_path, **env) as server:
        for _ in range(3):
            reply = requests.get(f"{server.url}/operations", timeout=60)
            assert reply.status_code == 200, server.log.read_text()
            answer = reply.json()
            assert answer["patched"] is (workers != "gthread")
            assert answer["found"].keys() == OPERATIONS
            assert all(answer["found"].values()), answer
        server.process.terminate()
        # Under --preload, gunicorn's gevent worker often uses up its graceful
        # timeout by itself, with an empty application too.
        assert server.process.wait(45) == 0


class Clients:
    """Threads that upload and remember what was accepted."""

    def __init__(self, url: str, count: int) -> None:
        self.url = url
        self.accepted: dict[str, str] = {}
        self.sent: set[str] = set()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._upload) for _ in range(count)]

    def __enter__(self) -> t.Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _upload(self) -> None:
        while not self._stop.is_set():
            data = os.urandom(random.randint(100, 100_000))
            digest = hashlib.sha256(data).hexdigest()
            self.sent.add(digest)
            files = {"afile": ("file.bin", data)}
            try:
                reply = requests.post(f"{self.url}/save", files=files, timeout=20)
            except requests.RequestException:
                continue  # its worker was killed before it answered
            if reply.status_code == 200:
                self.accepted[reply.text] = digest


def children(parent: int) -> list[int]:
    """The processes that *parent* started."""
    text = pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(number) for number in text.split()]


@pytest.mark.parametrize("workers", ["gevent", "gthread"])
def test_killed_workers_lose_nothing(
    workers: str,
    seaweedfs_server: S3Server,
    seaweedfs_bucket: str,
    tmp_path: pathlib.Path,
) -> None:
    """Workers are killed (-9) at random under load. In the end every file whose
    save was answered is in S3, once and byte for byte, and the spool is empty."""
    settings = settings_of("S3GeventStore", seaweedfs_server, seaweedfs_bucket)
    spool = tmp_path / "instance" / "flask-store-spool"
    with running(workers, settings, tmp_path) as server:
        with Clients(server.url, 6) as clients:
            for _ in range(ROUNDS):
                time.sleep(random.uniform(0.5, 2))
                os.kill(random.choice(children(server.process.pid)), signal.SIGKILL)
        deadline = time.monotonic() + 100
        while any(spool.rglob("*.json")) and time.monotonic() < deadline:
            # A worker looks for leftovers at its first request.
            requests.get(server.url, timeout=20)
            time.sleep(0.1)
        left = len(list(spool.rglob("*.json")))
    store = S3Store.from_config(settings)
    stored = {f.name: hashlib.sha256(store.file(f.name).read()) for f in store.ls()}
    digests = [found.hexdigest() for found in stored.values()]
    lost = [
        name
        for name, digest in clients.accepted.items()
        if name not in stored or stored[name].hexdigest() != digest
    ]
    doubled = len(digests) - len(set(digests))
    print(
        f"{workers}: {ROUNDS} kills, {len(clients.accepted)} accepted,"
        f" {len(stored)} stored, {len(lost)} lost, {doubled} doubled, {left} left"
    )
    assert clients.accepted
    assert (lost, doubled, left) == ([], 0, 0)
    assert set(digests) <= clients.sent


@pytest.mark.parametrize("workers", ["gevent_preload", "gthread"])
def test_graceful_stop_loses_nothing(
    workers: str,
    seaweedfs_server: S3Server,
    seaweedfs_bucket: str,
    tmp_path: pathlib.Path,
) -> None:
    """SIGTERM right after the uploads: gunicorn's workers finish what they can,
    and what is left is in the spool."""
    settings = settings_of("S3GeventStore", seaweedfs_server, seaweedfs_bucket)
    with running(workers, settings, tmp_path) as server:
        names = [
            requests.post(
                f"{server.url}/save",
                files={"afile": ("a.bin", os.urandom(1000))},
                timeout=20,
            ).text
            for _ in range(50)
        ]
        server.process.terminate()
        server.process.wait(30)
    store = S3Store.from_config(settings)
    spool = tmp_path / "instance" / "flask-store-spool"
    left = len(list(spool.rglob("*.json")))
    stored = {found.name for found in store.ls()} & set(names)
    print(f"{workers}: {len(stored)} stored, {left} left in the spool")
    assert len(stored) + left >= 50


def test_time_of_a_save(
    seaweedfs_server: S3Server, seaweedfs_bucket: str, tmp_path: pathlib.Path
) -> None:
    """10 MB with 80 ms to the storage: the client of S3GeventStore waits less."""
    seconds = {}
    with Proxy(seaweedfs_server.endpoint_url) as proxy:
        proxy.latency_ms = 80
        for provider in ("S3Store", "S3GeventStore"):
            settings = settings_of(
                provider, seaweedfs_server, seaweedfs_bucket, proxy.endpoint_url
            )
            with running("gevent", settings, tmp_path) as server:
                times = []
                for _ in range(SAVES):
                    data = os.urandom(10_000_000)
                    started = time.monotonic()
                    files = {"afile": ("film.mp4", data)}
                    requests.post(f"{server.url}/save", files=files, timeout=60)
                    times.append(time.monotonic() - started)
                    time.sleep(1)
                seconds[provider] = sorted(times)[len(times) // 2]
    print({name: f"{value * 1000:.0f} ms" for name, value in seconds.items()})
    assert seconds["S3GeventStore"] < seconds["S3Store"]
