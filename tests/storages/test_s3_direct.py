"""The direct way to S3: when it is taken, and that nobody can tell but by the time."""

from __future__ import annotations

import os
import socket
import threading
import time
import typing as t

import pytest

from flask_store.dialects.s3.direct import DirectClient
from flask_store.dialects.s3.errors import Unanswered
from flask_store.dialects.s3.loop import LoopClient
from flask_store.exceptions import StoreDenied
from flask_store.exceptions import StoreUnavailable
from flask_store.stores.s3 import S3Store
from flask_store.testing import upload
from tests.storages.test_s3 import proxy as proxy
from tests.storages.test_s3 import settings
from tests.storages.test_s3 import store as store
from tests.support.proxy import Proxy
from tests.support.relay import Relay
from tests.support.servers import S3Server


@pytest.fixture
def puts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has come of each upload on the direct way."""
    answers: list[str] = []
    real = DirectClient.put

    def put(self: DirectClient, *args: t.Any) -> str:
        answers.append("stored")
        try:
            return real(self, *args)
        except (FileExistsError, Unanswered) as exc:
            answers[-1] = "taken" if isinstance(exc, FileExistsError) else "left"
            raise

    monkeypatch.setattr(DirectClient, "put", put)
    return answers


def test_ordinary_upload_takes_it(store: S3Store, puts: list[str]) -> None:
    """A save, one whose name is taken, and one that replaces: one request each."""
    first = store.save(b"one", "a.txt")
    second = store.save(b"two", "a.txt")
    third = store.save(b"three", "a.txt", on_conflict="overwrite")
    assert puts == ["stored", "taken", "stored", "stored"]
    assert second.read() == b"two"
    assert first == third
    assert first.read() == b"three"
    assert first.content_type == "text/plain"


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, 3 * 1024**2 + 1])
def test_every_byte_arrives(store: S3Store, puts: list[str], size: int) -> None:
    """Whatever the pieces."""
    data = os.urandom(size)
    assert store.save(upload(data, "a.bin")).read() == data
    assert puts == ["stored"]


@pytest.mark.parametrize(
    "name", ["a b.txt", "ä+ö.txt", "100%.txt", "~'()!*.txt", "a=b&c"]
)
def test_names_are_signed_as_they_are_sent(
    store: S3Store, puts: list[str], name: str
) -> None:
    """The address is encoded once, and the signature covers that."""
    assert store.put(name, b"x").read() == b"x"
    assert puts == ["stored"]
    assert store.exists(name)


@pytest.mark.parametrize(
    "more",
    [
        {"STORE_S3_OPTIONS": {"config_kwargs": {"tcp_keepalive": True}}},
        {"STORE_S3_OPTIONS": {"client_kwargs": {"use_ssl": False}}},
        {"STORE_S3_OPTIONS": {"s3_additional_kwargs": {"Metadata": {"a": "b"}}}},
        {"STORE_S3_OPTIONS": {"s3_additional_kwargs": {"ContentLanguage": "\xe4"}}},
        {"STORE_S3_OPTIONS": {"default_fill_cache": False}},
    ],
)
def test_what_s3fs_alone_knows_goes_through_it(
    more: dict[str, t.Any],
    seaweedfs_server: S3Server,
    seaweedfs_bucket: str,
    puts: list[str],
) -> None:
    """An option that says anything out of the ordinary is not overlooked."""
    store = S3Store.from_config(settings(seaweedfs_server, seaweedfs_bucket, **more))
    assert store.save(b"x", "a.txt").read() == b"x"
    assert puts == []


def test_proxy_of_the_environment_is_left_to_s3fs(
    seaweedfs_server: S3Server,
    seaweedfs_bucket: str,
    puts: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """botocore knows where a proxy is, and whom it asks for a password."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    store = S3Store.from_config(settings(seaweedfs_server, seaweedfs_bucket))
    with pytest.raises(StoreUnavailable):
        store.save(b"x", "a.txt")
    assert puts == []


def test_timeouts_are_ordinary(
    seaweedfs_server: S3Server, seaweedfs_bucket: str, puts: list[str]
) -> None:
    """They mean the same on both ways."""
    more = {"STORE_S3_OPTIONS": {"config_kwargs": {"read_timeout": 5}}}
    store = S3Store.from_config(settings(seaweedfs_server, seaweedfs_bucket, **more))
    store.save(b"x", "a.txt")
    assert puts[-1] == "stored"


def test_refusal_is_explained_by_s3fs(
    seaweedfs_server: S3Server, seaweedfs_bucket: str, puts: list[str]
) -> None:
    """What is neither stored nor taken is asked once more, for its reason."""
    wrong = {"STORE_S3_SECRET_KEY": "wrong", "STORE_S3_CONDITIONAL_WRITES": True}
    store = S3Store.from_config(settings(seaweedfs_server, seaweedfs_bucket, **wrong))
    with pytest.raises(StoreDenied, match="STORE_S3_SECRET_KEY"):
        store.save(b"x", "a.txt")
    assert puts == ["left"]


def test_lost_connection_stores_once(
    store: S3Store, proxy: Proxy, puts: list[str]
) -> None:
    """The object was stored, the answer was lost, and s3fs finds it."""
    proxy.drop_response()
    store.save(upload(b"mine", "lost.txt"))
    assert puts == ["left"]
    assert sorted(found.name for found in store.ls()) == ["lost.txt", "warm.txt"]


def test_server_that_takes_nothing_more(seaweedfs_server: S3Server) -> None:
    """A connection that is open and stands still costs a timeout, once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepted: list[socket.socket] = []

        def accept() -> None:
            try:
                while True:
                    accepted.append(listener.accept()[0])
            except OSError:
                pass

        thread = threading.Thread(target=accept)
        thread.start()
        store = S3Store.from_config(
            settings(
                seaweedfs_server,
                "bucket",
                STORE_S3_ENDPOINT_URL=f"http://127.0.0.1:{listener.getsockname()[1]}",
                STORE_S3_CONDITIONAL_WRITES=True,
                STORE_TIMEOUT=2,
            )
        )
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="did not answer in time"):
            store.save(bytes(64 * 1024**2), "large.bin")
        assert time.monotonic() - started < 10
        assert len(accepted) == 1
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        for sock in accepted:
            sock.close()


def test_connections_are_not_inherited(store: S3Store) -> None:
    """A forked child speaks over connections of its own, and its parent goes on."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = store.save(b"child", "child.txt").read() != b"child"
        finally:
            os._exit(code)
    files = [store.save(b"%d" % i, f"{i}.txt") for i in range(20)]
    assert os.waitpid(child, 0)[1] == 0
    assert [f.read() for f in files] == [b"%d" % i for i in range(20)]
    assert store.file("child.txt").read() == b"child"


def test_reading_takes_it(
    store: S3Store, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole file, a range and a look are one request each, and s3fs makes none."""
    data = os.urandom(3 * 1024**2 + 1)
    f = store.save(upload(data, "a.bin"))
    assert not store.exists("none")  # asks once whether there is such a bucket
    monkeypatch.setattr(LoopClient, "_limited", None)
    proxy.requests.clear()
    assert f.read() == data
    assert b"".join(f.stream(100, 200)) == data[100:200]
    found = store.stat("a.bin")
    assert (found.size, found.content_type) == (len(data), f.content_type)
    assert f.modified == found.modified  # which a save does not know
    assert found.modified is not None
    assert abs(found.modified.timestamp() - time.time()) < 60
    assert not store.exists("none")
    with pytest.raises(FileNotFoundError):
        store.file("none").read()
    assert [(r.method, r.status) for r in proxy.requests[:4]] == [
        ("GET", 200),
        ("GET", 206),
        ("HEAD", 200),
        ("HEAD", 200),
    ]


def test_deletion_takes_it(
    store: S3Store, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One look, because S3 calls the deletion of nothing a success, and one request."""
    f = store.save(b"x", "a.txt")
    monkeypatch.setattr(LoopClient, "_limited", None)
    proxy.requests.clear()
    f.delete()
    assert [(r.method, r.status) for r in proxy.requests] == [
        ("HEAD", 200),
        ("DELETE", 204),
    ]


def test_reader_who_leaves_gives_the_connection_up(store: S3Store) -> None:
    """One who read the first bytes, or none, of a large file."""
    f = store.save(upload(bytes(8 * 1024**2), "large.bin"))
    small = store.save(upload(b"x", "small.bin"))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        stream = f.stream()
        next(stream)
        stream.close()
        small.stream()
    assert len(os.listdir("/proc/self/fd")) <= before
    assert small.read() == b"x"


def test_answer_that_breaks_off(
    seaweedfs_server: S3Server, seaweedfs_bucket: str
) -> None:
    """Half a file is an error, and never taken for a whole one."""
    with Relay(seaweedfs_server.port) as relay:
        endpoint = {"STORE_S3_ENDPOINT_URL": f"http://127.0.0.1:{relay.port}"}
        store = S3Store.from_config(
            settings(seaweedfs_server, seaweedfs_bucket, **endpoint)
        )
        stream = store.save(bytes(64 * 1024**2), "large.bin").stream()
        next(stream)
    with pytest.raises(StoreUnavailable):
        list(stream)
