"""Every protocol: what a save costs, and what a fork does."""

from __future__ import annotations

import itertools
import json
import os
import typing as t

import pytest

from flask_store.files import FileWrapper
from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import upload
from tests.support.protocol_rows import new
from tests.support.protocol_rows import ROWS
from tests.support.protocol_servers import Place
from tests.support.relay import Relay
from tests.support.requests_table import DELETED
from tests.support.server_contract import behind
from tests.support.server_contract import EachRow
from tests.support.server_contract import Record
from tests.support.server_contract import served
from tests.support.server_contract import shared
from tests.support.server_contract import worker


def trips(relay: Relay, use: t.Callable[[], object]) -> int:
    """How often something waits for the server."""
    before = relay.trips
    use()
    return relay.trips - before


def _delete_each(*files: FileWrapper) -> None:
    for file in files:
        file.delete()


class TestEachRow(EachRow):
    """The tests whose server answers."""

    @pytest.mark.skipif(
        not os.path.exists("/proc/self/clear_refs"),
        reason="this kernel does not count the peak of a process's memory",
    )
    def test_memory(self, place: Place) -> None:
        """A file of 96 MiB that can be read only once, or is written in a block, takes
        less than 32 MiB."""
        shared(place)
        with worker("peak", new(place), place) as process:
            out, _ = process.communicate()
        assert process.returncode == 0
        grown = [json.loads(line) for line in out.splitlines()]
        assert len(grown) == 2
        assert max(grown) < 32 * 1024 * 1024

    def test_exit(self, place: Place) -> None:
        """A process exits, also while files of the store are open."""
        shared(place)
        with worker("leave", new(place), place) as process:
            process.communicate(timeout=60)
        assert process.returncode == 0

    def test_round_trips(self, place: Place, row: str, record_property: Record) -> None:
        """A save, a stat and a read of a small file wait for the server no more often
        than they need to, once there is a connection."""
        served(place)
        with Relay(place.port) as relay:
            there = behind(relay, place)
            store = FsspecStore.from_url(new(there), **there.options)
            f = store.save(upload(b"w" * 1000, "warm.txt"))
            f.stat()
            f.read()
            names = (f"{number}.txt" for number in itertools.count())
            counts = [
                # What a client sends at once may arrive in two pieces, and count twice.
                min(trips(relay, use) for _ in range(3))
                for use in (
                    lambda: store.save(upload(b"x" * 1000, next(names))),
                    f.stat,
                    f.read,
                )
            ]
        record_property("trips", counts)
        allowed = ROWS[row].trips
        assert allowed
        assert 0 < counts[0] <= allowed.save
        assert 0 < counts[1] <= allowed.stat
        assert 0 < counts[2] <= allowed.read

    def test_requests_saved(
        self, place: Place, row: str, record_property: Record
    ) -> None:
        """What a save knew is not asked for, and many files are deleted at once."""
        served(place)
        with Relay(place.port) as relay:
            there = behind(relay, place)
            store = FsspecStore.from_url(new(there), **there.options)
            store.save(upload(b"w" * 1000, "warm.txt")).stat()
            names = (f"{number}.txt" for number in itertools.count())

            def save() -> FileWrapper:
                return store.save(upload(b"x" * 1000, next(names)))

            def ask() -> None:
                f = save()
                shown = store.file(f.key).size, store.file(f.key).content_type
                assert shown == (1000, "text/plain")
                assert f.absolute_url()

            def know() -> None:
                f = save()
                assert (f.size, f.content_type) == (1000, "text/plain")
                assert f.absolute_url()

            counts = [min(trips(relay, use) for _ in range(3)) for use in (ask, know)]
            for delete in (_delete_each, store.delete):
                files = [save() for _ in range(DELETED)]
                counts.append(trips(relay, lambda: delete(*files)))  # noqa: B023
        record_property("saved", counts)
        asked, known, each, together = counts
        assert 0 < known < asked
        assert 0 < together <= each

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
    def test_fork(self, place: Place) -> None:
        """After a fork parent and child both work, and neither waits for the other."""
        shared(place)
        with worker("fork", new(place), place) as process:
            out, _ = process.communicate()
        assert process.returncode == 0
        assert json.loads(out) == 0
