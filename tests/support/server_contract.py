"""What the tests of all protocols with a server have in common."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import typing as t

import pytest

from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import StoreContract
from tests.conftest import missing

from .protocol_rows import ROWS
from .protocol_servers import Place
from .relay import Relay
from .servers import NotInstalledError

#: How long another process may take for all that it does, in seconds.
PATIENCE = 400

#: How many processes do the same at the same moment.
PROCESSES = 4

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


@contextlib.contextmanager
def contenders(
    url: str, place: Place, what: str = "race"
) -> t.Iterator[t.Callable[[str], list[t.Any]]]:
    """Processes that do something at the same moment, each time below another folder.

    :param what: see :mod:`tests.support.protocol_worker`.
    """
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(worker(what, url, place)) for _ in range(PROCESSES)
        ]

        def say(word: str) -> None:
            for process in workers:
                assert process.stdin
                process.stdin.write(f"{word}\n")
                process.stdin.flush()

        def hear() -> list[t.Any]:
            return [json.loads(p.stdout.readline()) for p in workers if p.stdout]

        def contend(folder: str) -> list[t.Any]:
            say(folder)
            hear()
            say("go")
            return [saved for done in hear() for saved in done]

        yield contend
