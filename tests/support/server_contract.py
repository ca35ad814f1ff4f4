"""What the tests of all protocols with a server have in common."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import typing as t

import pytest

from flask_store.exceptions import NotConfiguredError
from flask_store.stores.fsspec import FsspecStore
from tests.conftest import missing

from .contract import StoreContract
from .contract import upload
from .protocol_rows import ROWS
from .protocol_servers import Place
from .relay import Relay
from .servers import NotInstalledError

#: How long another process may take for all that it does, in seconds.
PATIENCE = 400

#: pytest's record_property, for the table in the documentation.
Record = t.Callable[[str, object], None]


@contextlib.contextmanager
def started(server: t.Callable[[], t.ContextManager[Place]]) -> t.Iterator[Place]:
    """Run a server, or leave the test out and say what it needs."""
    with contextlib.ExitStack() as stack:
        try:
            place = stack.enter_context(server())
        except NotInstalledError as error:
            missing(str(error))
        yield place


class ServerContract(StoreContract):
    """The promises, on a real server."""

    @pytest.fixture
    def store(self, place: Place) -> FsspecStore:
        """An empty folder on the server."""
        return FsspecStore.from_url(place.new(), **place.options)

    def leftovers(self, store: FsspecStore) -> list[str]:
        """What lies in the private folder; there is nowhere else to leave anything."""
        folder = store.dialect.path(".flask-store")
        return store.fs.ls(folder, detail=False) if store.fs.exists(folder) else []


class UuidContract(ServerContract):
    """A protocol on which nothing is exclusive: every name carries a UUID."""

    exclusive = False

    def test_on_conflict_error(self, store: FsspecStore) -> None:
        """'error' cannot be promised, and that is said; nothing is stored."""
        with pytest.raises(NotConfiguredError, match="'rename'"):
            store.save(upload(), on_conflict="error")
        assert list(store.ls()) == []
        assert self.leftovers(store) == []


class EachRow:
    """Tests of every protocol; all of a row run before the next server starts."""

    @pytest.fixture(scope="class", params=list(ROWS))
    @classmethod
    def row(cls, request: pytest.FixtureRequest) -> str:
        """The name of the row."""
        return str(request.param)

    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, row: str) -> t.Iterator[Place]:
        """The server of the row."""
        with started(ROWS[row].server) as running:
            yield running


def served(place: Place) -> None:
    """Leave out what takes a server."""
    if not place.port:
        pytest.skip(f"{place.url.partition('://')[0]} has no server")


def shared(place: Place) -> None:
    """Leave out what takes two processes."""
    if place.url.startswith("memory://"):
        pytest.skip("memory has one process")


@contextlib.contextmanager
def worker(what: str, url: str, place: Place) -> t.Iterator[subprocess.Popen[str]]:
    """Another process that does something with the store."""
    args = [sys.executable, "-m", "tests.support.protocol_worker", what, url]
    process = subprocess.Popen(
        [*args, json.dumps(place.options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    # Whoever waits for its next line then finds that there is none.
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    try:
        yield process
    finally:
        timer.cancel()
        process.kill()
        process.communicate()


def behind(relay: Relay, place: Place) -> Place:
    """The place through a relay."""
    there = place.moved(relay.port)
    if "known_hosts" in there.options:  # the relay's port is not among them
        there.options["known_hosts"] = None
    return there
