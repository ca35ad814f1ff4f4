"""Serving when the storage is slow, far, large or gone."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import time
import typing as t
import uuid

import pytest
import requests
from flask import Flask

from flask_store import Store
from flask_store.dialects import Fetched
from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import upload
from tests.storages.test_s3 import settings
from tests.support.proxy import Proxy
from tests.support.servers import gunicorn
from tests.support.servers import S3Server
from tests.support.servers import serve

MB = 1024 * 1024
#: Where gunicorn finds the application.
WHERE = "tests.servers.test_serving_storage:create_app()"


def create_app() -> Flask:
    """The application of the tests that run gunicorn; its settings come from the
    environment as FLASK_STORE_..."""
    app = Flask(__name__)
    app.config.from_prefixed_env()
    Store(app)
    app.add_url_rule("/", view_func=lambda: str(os.getpid()))
    return app


def s3_app(server: S3Server, bucket: str, **more: t.Any) -> Flask:
    """An application that passes a bucket on."""
    app = Flask(__name__)
    app.config.update(
        STORE_PROVIDER="flask_store.stores.s3.S3Store",
        **(settings(server, bucket, STORE_SERVE="proxy") | more),
    )
    Store(app)
    return app


def provider(app: Flask) -> FsspecStore:
    """Its store."""
    with app.app_context():
        return t.cast("FsspecStore", app.extensions["store"].Provider())


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"STORE_S3_ENDPOINT_URL": "http://127.0.0.1:9"}, 503),
        ({"STORE_S3_SECRET_KEY": "wrong"}, 502),
        ({"STORE_S3_BUCKET": "not-there"}, 502),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_storage_that_fails(
    seaweedfs_server: S3Server,
    seaweedfs_bucket: str,
    more: dict[str, str],
    status: int,
    method: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What cannot be reached is a 503, what refuses a 502: short, kept by no cache,
    without a word of the settings, which the log has."""
    app = s3_app(seaweedfs_server, seaweedfs_bucket, **more)
    reply = app.test_client().open("/flaskstore/a.txt", method=method)
    assert reply.status_code == status
    assert reply.headers["Cache-Control"] == "no-store"
    assert len(reply.data) < 400
    assert "STORE_" not in reply.text and "127.0.0.1" not in reply.text
    assert "STORE_S3_" in caplog.text


def test_storage_that_goes_away_in_between(
    seaweedfs_server: S3Server,
    seaweedfs_bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A storage that dies between the HEAD and the GET is a 503 too, because the
    answer begins only when its first bytes are there."""
    app = s3_app(seaweedfs_server, seaweedfs_bucket)
    store = provider(app)
    store.save(upload(b"x"))
    dialect = type(store.dialect)

    def gone(*args: t.Any, **kwargs: t.Any) -> t.NoReturn:
        raise ConnectionError

    monkeypatch.setattr(dialect, "fetch", gone)
    headers = {"Range": "bytes=0-", "If-None-Match": '"x"'}
    reply = app.test_client().get("/flaskstore/a.txt", headers=headers)
    assert reply.status_code == 503


def test_body_of_another_length_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that becomes shorter or longer while it is sent breaks the connection,
    where the client would wait for the rest or take it for the whole file."""
    app = Flask(__name__)
    app.config["STORE_PATH"] = f"memory://{uuid.uuid4()}"
    Store(app)
    store = provider(app)
    f = store.save(upload(b"0123456789"))
    found = store.stat("a.txt")
    with serve(app) as url:
        for pieces in ([b"01234", b"5678"], [b"01234", b"56789x"]):
            monkeypatch.setattr(
                type(store.dialect),
                "get",
                lambda *args, p=pieces: Fetched(found, 0, 10, iter(p)),
            )
            with pytest.raises(requests.RequestException):
                requests.get(f"{url}/{f.relative_url()}", timeout=5)
            monkeypatch.undo()
            reply = requests.get(f"{url}/{f.relative_url()}", timeout=5)
            assert reply.content == b"0123456789"


def test_range_of_a_large_object(
    seaweedfs_server: S3Server, seaweedfs_bucket: str, tmp_path: pathlib.Path
) -> None:
    """1,000 bytes out of 200 MB are 1,000 bytes from the server."""
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(200 * MB)
        file.seek(123_456_789)
        file.write(bytes(range(250)) * 4)
    with Proxy(seaweedfs_server.endpoint_url) as proxy:
        app = s3_app(seaweedfs_server, seaweedfs_bucket)
        f = provider(app).save(path)
        app = s3_app(
            seaweedfs_server,
            seaweedfs_bucket,
            STORE_S3_ENDPOINT_URL=proxy.endpoint_url,
        )
        reply = app.test_client().get(
            "/flaskstore/" + f.filename, headers={"Range": "bytes=123456789-123457788"}
        )
        assert reply.data == bytes(range(250)) * 4
        assert sum(exchange.received for exchange in proxy.requests) == 1000
        assert [e.method for e in proxy.requests] == ["GET"]


def resident(pid: int) -> int:
    """The memory of a process that is in use, in bytes."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def test_memory_is_constant(
    seaweedfs_server: S3Server,
    seaweedfs_bucket: str,
    tmp_path: pathlib.Path,
    figures: t.Callable[[str], None],
) -> None:
    """1 GiB goes through the application in at most 16 MiB of its memory."""
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(1024 * MB)
    app = s3_app(seaweedfs_server, seaweedfs_bucket)
    store = provider(app)
    for source in (path, tmp_path / "small.bin"):
        if source != path:
            source.write_bytes(bytes(8 * MB))
        store.save(source)
    path.unlink()
    args = ["--worker-class=gthread", "--threads=4", "--timeout=200"]
    with gunicorn(
        "tests.servers.test_serving_storage:create_app()", *args, env=environment(app)
    ) as server:
        pid = int(requests.get(server.url, timeout=10).text)
        requests.get(f"{server.url}/flaskstore/small.bin", timeout=60)
        before = highest = resident(pid)
        total = 0
        with requests.get(
            f"{server.url}/flaskstore/large.bin", stream=True, timeout=60
        ) as reply:
            for data in reply.iter_content(4 * MB):
                total += len(data)
                highest = max(highest, resident(pid))
    assert total == 1024 * MB
    figures(f"serving 1 GiB of S3: {(highest - before) / MB:+.1f} MiB of memory")
    assert highest - before <= 16 * MB, (before, highest)


#: How each worker of gunicorn is run; none has a thread or a greenlet to spare.
WORKERS = {
    "gthread": ["--worker-class=gthread", "--threads=2"],
    "gevent": ["--worker-class=gevent", "--worker-connections=2"],
}


def environment(app: Flask) -> dict[str, str]:
    """The settings of an application for :func:`create_app`."""
    given = {
        name: value
        for name, value in app.config.items()
        if "STORE_" in name and value is not None
    }
    return {f"FLASK_{name}": str(value) for name, value in given.items()}


def open_files(pid: int, name: str) -> int:
    """How often a process has a file of this name open."""
    found = 0
    for entry in os.scandir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            found += os.readlink(entry.path).endswith(name)
    return found


@pytest.mark.parametrize("worker", WORKERS)
@pytest.mark.parametrize("kind", ["local", "S3"])
def test_clients_that_go_away(
    worker: str,
    kind: str,
    seaweedfs_server: S3Server,
    seaweedfs_bucket: str,
    tmp_path: pathlib.Path,
) -> None:
    """However many clients hang up in the middle, no source stays open and no thread
    is held: whoever comes next is served."""
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(200 * MB)
    with Proxy(seaweedfs_server.endpoint_url) as proxy:
        if kind == "S3":
            app = s3_app(seaweedfs_server, seaweedfs_bucket)
            provider(app).save(path)
            app.config["STORE_S3_ENDPOINT_URL"] = proxy.endpoint_url
        else:
            app = Flask(__name__)
            app.config["STORE_PATH"] = str(tmp_path)
        with gunicorn(WHERE, *WORKERS[worker], env=environment(app)) as server:
            port = int(server.url.rpartition(":")[2])
            pid = int(requests.get(server.url, timeout=10).text)

            def sources() -> int:
                return len(proxy._sockets) + open_files(pid, "large.bin")

            for _ in range(5):
                with socket.create_connection(("127.0.0.1", port), 20) as client:
                    client.sendall(b"GET /flaskstore/large.bin HTTP/1.0\r\n\r\n")
                    assert client.recv(1000).startswith(b"HTTP/1")
                    assert sources()
            deadline = time.monotonic() + 60
            while sources() and time.monotonic() < deadline:
                time.sleep(0.05)
            assert sources() == 0
            assert requests.get(server.url, timeout=20).text == str(pid)
    # What was asked for was never sent to its end.
    assert [e for e in proxy.requests if e.received] == []
