"""Every protocol: servers that are dead or silent, all of them at the same time,
because each costs what it may."""

from __future__ import annotations

import contextlib
import time
import typing as t
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait

import pytest

from flask_store.exceptions import StoreUnavailable
from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import upload
from tests.conftest import missing
from tests.support.protocol_rows import new
from tests.support.protocol_rows import ROWS
from tests.support.protocol_servers import Place
from tests.support.proxy import Proxy
from tests.support.relay import Relay
from tests.support.server_contract import behind
from tests.support.servers import NotInstalledError

#: What a server that is dead or silent may cost, in seconds: the promise is 10, and
#: a busy machine gets some more.
LIMIT = 15

#: The rows that have a server.
SERVED = [name for name, row in ROWS.items() if row.trips]

#: Every row. Those without a server are left out before any server starts.
EACH_ROW = [
    name
    if name in SERVED
    else pytest.param(name, marks=pytest.mark.skip(f"{name} has no server"))
    for name in ROWS
]


@contextlib.contextmanager
def quick() -> t.Iterator[None]:
    """Check that what is done in here fails as it should, and soon."""
    start = time.monotonic()
    with pytest.raises(StoreUnavailable):
        yield
    assert time.monotonic() - start < LIMIT


def dead(place: Place) -> None:
    """Verbs say that the server is gone, and none of them takes it for empty."""
    there = place.moved(9)
    store = FsspecStore.from_url(new(there), **there.options)
    with quick():
        store.save(upload())
    with quick():
        store.exists("a.txt")
    with quick():
        list(store.ls())


def silent(place: Place) -> None:
    """A server accepts and never answers."""
    with Proxy("http://127.0.0.1:9") as proxy:
        proxy.black_hole = True
        there = place.moved(proxy.port)
        store = FsspecStore.from_url(new(there), **there.options)
        with quick():
            store.save(upload())


def falls_silent(place: Place) -> None:
    """A server that answered before does not, and then does again."""
    with Relay(place.port) as relay:
        there = behind(relay, place)
        store = FsspecStore.from_url(new(there), **there.options)
        f = store.save(upload(b"before"))
        relay.silent = True
        with quick():
            store.exists("a.txt")
        relay.silent = False
        deadline = time.monotonic() + 60
        while True:
            try:
                assert f.read() == b"before"
                return
            except StoreUnavailable:
                assert time.monotonic() < deadline, "the store never came back"
                time.sleep(0.5)


@pytest.fixture(scope="module")
def outcome() -> t.Iterator[t.Callable[[str, t.Callable[[Place], None]], None]]:
    """What came of a check of a row."""
    done: dict[tuple[str, t.Any], Future[None]] = {}
    left_out: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(2 * len(SERVED)))
        # Each start waits for a process, so that they start side by side.
        starts = {
            name: pool.submit(stack.enter_context, ROWS[name].server())
            for name in SERVED
        }
        wait(starts.values())
        places = {}
        for name, start in starts.items():
            try:
                places[name] = start.result()
            except NotInstalledError as error:
                left_out[name] = str(error)
        # The first also imports what the libraries need, which takes its time.
        for checks in ([dead], [silent, falls_silent]):
            for name, place in places.items():
                for check in checks:
                    done[name, check] = pool.submit(check, place)
            wait(done.values())

        def outcome(name: str, check: t.Callable[[Place], None]) -> None:
            if name in left_out:
                missing(left_out[name])
            done[name, check].result()

        yield outcome


@pytest.mark.parametrize("row", EACH_ROW)
def test_dead_server(row: str, outcome: t.Callable[..., None]) -> None:
    """A server that does not run is StoreUnavailable."""
    outcome(row, dead)


@pytest.mark.parametrize("row", EACH_ROW)
def test_silent_server(row: str, outcome: t.Callable[..., None]) -> None:
    """A server that accepts and never answers costs 10 s at most."""
    outcome(row, silent)


@pytest.mark.parametrize("row", EACH_ROW)
def test_server_that_falls_silent(row: str, outcome: t.Callable[..., None]) -> None:
    """A server that answered before costs no more, and works again afterwards."""
    outcome(row, falls_silent)
