"""A file of S3 that is opened: no more is asked for than is read, nor more often."""

from __future__ import annotations

import os
import typing as t
from urllib.parse import urlsplit

import pytest

from flask_store.exceptions import VersionGone
from flask_store.stores.s3 import S3Store
from tests.storages.test_s3 import proxy as proxy
from tests.storages.test_s3 import settings
from tests.storages.test_s3 import store as store
from tests.support.proxy import Proxy
from tests.support.relay import Relay
from tests.support.servers import S3Server

MB = 1024**2
DATA = os.urandom(40 * MB + 1)


def asked(proxy: Proxy) -> list[tuple[str, int, int]]:
    """What was asked of the server: method, status and bytes of each answer."""
    return [(e.method, e.status, e.received) for e in proxy.requests]


@pytest.mark.parametrize("step", [100_000, -1])
@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, len(DATA)])
def test_file_is_one_request(
    store: S3Store, proxy: Proxy, size: int, step: int
) -> None:
    """Which gives the file together with what is known of it."""
    store.save(DATA[:size], "a.bin")
    proxy.requests.clear()
    with store.open("a.bin") as file:
        assert b"".join(iter(lambda: file.read(step), b"")) == DATA[:size]
        assert file.seek(0, os.SEEK_END) == size
    assert asked(proxy) == [("GET", 200, size)]


def test_beginning_leaves_the_rest(store: S3Store, proxy: Proxy) -> None:
    """It is on its way, as far as the buffers of the network go."""
    store.save(DATA, "a.bin")
    proxy.requests.clear()
    with store.open("a.bin") as file:
        assert file.read(1000) == DATA[:1000]
    assert store.exists("a.bin")
    assert sum(received for _, _, received in asked(proxy)) < len(DATA) / 2


def test_jump_asks_for_what_is_there(store: S3Store, proxy: Proxy) -> None:
    """As the readers of archives do, who begin at the end."""
    store.save(DATA, "a.bin")
    proxy.requests.clear()
    with store.open("a.bin") as file:
        assert file.seek(-10, os.SEEK_END) == len(DATA) - 10
        assert file.read() == DATA[-10:]
        assert file.seek(20 * MB) == 20 * MB
        assert file.read(1000) == DATA[20 * MB :][:1000]
        assert file.seek(500, os.SEEK_CUR) and file.tell() == 20 * MB + 1500
        assert file.read(3) == DATA[20 * MB + 1500 :][:3]
    assert asked(proxy)[-2:] == [
        ("GET", 206, 10),
        ("GET", 206, 64 * 1024),
    ]


def test_file_that_is_replaced_is_not_mixed(store: S3Store) -> None:
    """What was opened is one version; its rest is gone when that is."""
    store.save(DATA[: 3 * MB], "a.bin")
    with store.open("a.bin") as file:
        assert file.read(10) == DATA[:10]
        store.save(DATA[MB : 4 * MB], "a.bin", on_conflict="overwrite")
        file.seek(2 * MB)
        with pytest.raises(VersionGone):
            file.read(10)


def test_connection_that_breaks_is_made_again(
    seaweedfs_server: S3Server, seaweedfs_bucket: str
) -> None:
    """A server may hang up on whoever takes his time over a file."""
    port = urlsplit(seaweedfs_server.endpoint_url).port
    assert port is not None
    with Relay(port) as relay:
        where = {"STORE_S3_ENDPOINT_URL": f"http://127.0.0.1:{relay.port}"}
        store = S3Store.from_config(
            settings(seaweedfs_server, seaweedfs_bucket, **where)
        )
        store.save(DATA, "a.bin")
        with store.open("a.bin") as file:
            found = file.read(20 * MB)
            relay.hang_up()
            assert found + file.read() == DATA


def test_looking_keeps_the_connection(store: S3Store) -> None:
    """Questions and answers without a body do not cost a handshake each."""
    store.save(b"x", "a.bin")
    direct: t.Any = store.dialect.direct  # type: ignore[attr-defined]
    (pool,) = direct._pools.values()
    before = pool.num_connections
    for _ in range(3):
        assert store.exists("a.bin") and not store.exists("b.bin")
        assert store.open("a.bin").read() == b"x"
    assert pool.num_connections == before
