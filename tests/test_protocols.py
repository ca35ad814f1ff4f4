"""Every protocol against processes that race, die and fork, and servers that do."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import random
import subprocess
import sys
import time
import typing as t

import pytest

from flask_store.exceptions import StoreUnavailable
from flask_store.stores.fsspec import FsspecStore

from .contract import upload
from .protocol_worker import NAMES
from .protocol_worker import SIZE
from .protocol_worker import THREADS
from .protocols import started
from .proxy import Proxy
from .relay import Relay
from .rows import new
from .rows import ROWS
from .servers_protocols import Place

PROCESSES = 4
#: How often each row races, and how many processes it loses, in one run.
RACES = int(os.environ.get("FLASK_STORE_RACES", "1"))
KILLS = int(os.environ.get("FLASK_STORE_KILLS", "5"))
#: What a server that is dead or silent may cost, in seconds: the promise is 10, and
#: a busy machine gets some more.
LIMIT = 15


@pytest.fixture(scope="module", params=list(ROWS))
def row(request: pytest.FixtureRequest) -> str:
    """The name of the row; all of its tests run before the next server starts."""
    return str(request.param)


@pytest.fixture(scope="module")
def place(row: str) -> t.Iterator[Place]:
    """The server of the row."""
    with started(ROWS[row].server) as running:
        yield running


@pytest.fixture
def store(place: Place) -> FsspecStore:
    """An empty store there."""
    return FsspecStore.from_url(new(place), **place.options)


def worker(what: str, url: str, place: Place) -> subprocess.Popen[str]:
    """Another process that does something with the store."""
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.protocol_worker",
            what,
            url,
            json.dumps(place.options),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_race(place: Place, row: str) -> None:
    """4 processes of 16 threads save the same five names: nothing is lost, and where
    creation is exclusive the plain name is given once."""
    patient = {**place.options, **ROWS[row].patience}
    for _ in range(RACES):
        url = new(place)
        contenders = dataclasses.replace(place, options=patient)
        workers = [worker("race", url, contenders) for _ in range(PROCESSES)]
        done = []
        try:
            for process in workers:
                assert process.stdout and process.stdout.readline()
            for process in workers:
                assert process.stdin
                process.stdin.write("go\n")
                process.stdin.flush()
            for process in workers:
                out, _ = process.communicate(timeout=120)
                done += json.loads(out)
        finally:
            for process in workers:
                process.kill()
                process.communicate()
        assert [error for error in done if isinstance(error, str)] == []
        names = [name for name, _ in done]
        assert len(names) == len(set(names)) == PROCESSES * THREADS * len(NAMES)
        assert (set(NAMES) <= set(names)) == ROWS[row].exclusive
        store = FsspecStore.from_url(url, **place.options)
        assert {found.name for found in store.ls()} == set(names)
        for name, data in random.sample(done, 40):
            assert store.file(name).read() == data.encode()


def test_kill(store: FsspecStore, place: Place, row: str) -> None:
    """A process that is killed in the middle of a save leaves no part of a file under
    a final name, and sweep finds and removes what it left elsewhere."""
    url = place.url + store.dialect.root[-len(new(place)) + len(place.url) :]
    for _ in range(KILLS):
        process = worker("slow", url, place)
        try:
            assert process.stdout and process.stdout.readline()
            time.sleep(random.uniform(0.05, 0.6))
        finally:
            process.kill()
            process.communicate()
        sizes = {found.size for found in store.ls() if found.name != "warm.txt"}
        assert sizes <= {SIZE}
    soon = dt.timedelta(seconds=-5)
    found = store.sweep(soon, dry_run=True)
    assert store.sweep(dt.timedelta(hours=1)) == []
    assert store.sweep(soon) == found
    assert store.sweep(soon) == []
    assert store.file("warm.txt").read() == b"x"
    store.save(upload(b"still works"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_fork(place: Place) -> None:
    """After a fork parent and child both work, and neither waits for the other."""
    process = worker("fork", new(place), place)
    try:
        out, _ = process.communicate(timeout=90)
    finally:
        process.kill()
    assert process.returncode == 0
    assert json.loads(out) == 0


def is_unavailable(store: FsspecStore) -> None:
    """Check that verbs say that the server is gone, soon, and that none of them takes
    it for an empty one."""
    for use in (
        lambda: store.save(upload()),
        lambda: store.exists("a.txt"),
        lambda: list(store.ls()),
    ):
        start = time.monotonic()
        with pytest.raises(StoreUnavailable):
            use()
        assert time.monotonic() - start < LIMIT


def test_dead_server(place: Place, row: str) -> None:
    """A server that does not run is StoreUnavailable."""
    if row == "file":
        pytest.skip("a disk is no server")
    there = place.moved(9)
    is_unavailable(FsspecStore.from_url(new(there), **there.options))


def test_silent_server(place: Place, row: str) -> None:
    """A server that accepts and never answers costs 10 s at most."""
    if row == "file":
        pytest.skip("a disk is no server")
    with Proxy("http://127.0.0.1:9") as proxy:
        proxy.black_hole = True
        there = place.moved(proxy.port)
        store = FsspecStore.from_url(new(there), **there.options)
        start = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.save(upload())
        assert time.monotonic() - start < LIMIT


def test_server_that_falls_silent(place: Place, row: str) -> None:
    """A server that answered before costs no more, and works again afterwards."""
    if row == "file":
        pytest.skip("a disk is no server")
    with Relay(place.port) as relay:
        there = place.moved(relay.port)
        options = dict(there.options)
        if "known_hosts" in options:
            options["known_hosts"] = None  # the relay's port is not among them
        store = FsspecStore.from_url(new(there), **options)
        f = store.save(upload(b"before"))
        relay.silent = True
        start = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.exists("a.txt")
        assert time.monotonic() - start < LIMIT
        relay.silent = False
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                assert f.read() == b"before"
                break
            except StoreUnavailable:
                time.sleep(0.5)
        else:
            pytest.fail("the store never came back")
