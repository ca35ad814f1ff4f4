"""The same in gunicorn, which is told to stop, and the time of a save."""

from __future__ import annotations

import os
import pathlib
import time
import typing as t

import pytest
import requests

from flask_store.stores.s3 import S3Store
from tests.servers.test_gevent import azure
from tests.servers.test_gevent import azure_server
from tests.servers.test_gevent import gcs
from tests.servers.test_gevent import gcs_server
from tests.servers.test_gevent import local
from tests.servers.test_gevent import OPERATIONS
from tests.servers.test_gevent import s3
from tests.servers.test_gevent import s3_background
from tests.servers.test_gevent import s3_tls
from tests.servers.test_gevent import sftp
from tests.servers.test_gevent import sftp_server
from tests.support.background_servers import running
from tests.support.background_servers import settings_of
from tests.support.background_servers import WORKERS
from tests.support.gevent_table import PROPERTY
from tests.support.gevent_table import STORES
from tests.support.proxy import Proxy
from tests.support.servers import S3Server

__all__ = [
    "azure",
    "azure_server",
    "gcs",
    "gcs_server",
    "local",
    "s3",
    "s3_background",
    "s3_tls",
    "sftp",
    "sftp_server",
]

#: How many saves are timed; the median of them counts.
SAVES = int(os.environ.get("FLASK_STORE_TIMED_SAVES", "3"))
#: The rest of the pairs would be modes that test_gevent runs without gunicorn.
PAIRS = [
    ("gevent", "s3_background"),
    ("gthread", "s3_background"),
    *(("gevent_preload", kind) for kind in STORES),
]


@pytest.mark.parametrize(("workers", "kind"), PAIRS)
def test_every_operation(
    workers: str,
    kind: str,
    request: pytest.FixtureRequest,
    tmp_path: pathlib.Path,
    record_property: t.Callable[[str, object], None],
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
            record_property(PROPERTY, (kind, workers, answer["found"]))
            assert all(answer["found"].values()), answer
        server.process.terminate()
        # Under --preload, gunicorn's gevent worker often uses up its graceful
        # timeout by itself, with an empty application too.
        assert server.process.wait(45) == 0


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
