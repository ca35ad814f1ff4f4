"""Every protocol: processes that race and fork, and what a save costs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import typing as t

import pytest

from flask_store.stores.fsspec import FsspecStore

from . import protocol_worker
from .contract import upload
from .protocol_worker import NAMES
from .protocol_worker import THREADS
from .protocols import behind
from .protocols import EachRow
from .protocols import Record
from .protocols import served
from .protocols import shared
from .protocols import worker
from .relay import Relay
from .rows import new
from .rows import ROWS
from .servers_protocols import Place

PROCESSES = 4
#: How often each row races in one run.
RACES = int(os.environ.get("FLASK_STORE_RACES", "3"))

#: How many files there must be after one.
EXPECTED = PROCESSES * THREADS * len(NAMES)

Saved = list[tuple[str, str]]


@contextlib.contextmanager
def contenders(url: str, place: Place) -> t.Iterator[t.Callable[[str], Saved]]:
    """Processes that save at the same moment, each time below another folder."""
    workers = [worker("race", url, place) for _ in range(PROCESSES)]

    def say(word: str) -> None:
        for process in workers:
            assert process.stdin
            process.stdin.write(f"{word}\n")
            process.stdin.flush()

    def hear() -> list[t.Any]:
        return [json.loads(p.stdout.readline()) for p in workers if p.stdout]

    def contend(folder: str) -> Saved:
        say(folder)
        hear()
        say("go")
        return [saved for done in hear() for saved in done]

    try:
        yield contend
    finally:
        for process in workers:
            process.kill()
            process.communicate()


class TestEachRow(EachRow):
    """The tests whose server answers."""

    def test_race(self, place: Place, row: str, record_property: Record) -> None:
        """4 processes of 16 threads save the same five names: nothing is lost, and
        where creation is exclusive the plain name is given once."""
        if ROWS[row].no_race:
            pytest.skip(ROWS[row].no_race)
        patient = {**place.options, **ROWS[row].patience}
        url = new(place)
        store = FsspecStore.from_url(url, **place.options)
        with contextlib.ExitStack() as stack:
            if place.url.startswith("memory://"):

                def contend(folder: str) -> Saved:
                    threads = PROCESSES * THREADS
                    return protocol_worker.contend(store.at(folder), threads)

            else:
                patient = dataclasses.replace(place, options=patient)
                contend = stack.enter_context(contenders(url, patient))
            for number in range(RACES):
                inside = store.at(f"round-{number}")
                done = contend(inside.destination)
                assert [error for error in done if isinstance(error, str)] == []
                names = [name for name, _ in done]
                assert len(names) == len(set(names)) == EXPECTED
                exclusive = set(NAMES) <= set(names)
                assert exclusive == ROWS[row].exclusive
                assert {found.name for found in inside.ls()} == set(names)
                for name, data in random.sample(done, 40):
                    assert inside.file(name).read() == data.encode()
        record_property("exclusive", "yes" if exclusive else "no")
        record_property("shown", f"{RACES} rounds")

    @pytest.mark.skipif(
        not os.path.exists("/proc/self/clear_refs"),
        reason="this kernel does not count the peak of a process's memory",
    )
    def test_memory(self, place: Place) -> None:
        """A file of 96 MiB that can be read only once takes less than 32 MiB."""
        shared(place)
        process = worker("peak", new(place), place)
        try:
            out, _ = process.communicate(timeout=120)
        finally:
            process.kill()
        assert process.returncode == 0
        assert json.loads(out) < 32 * 1024 * 1024

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
            counts = []
            for use in (
                lambda: store.save(upload(b"x" * 1000, "b.txt")),
                f.stat,
                f.read,
            ):
                before = relay.trips
                use()
                counts.append(relay.trips - before)
        record_property("trips", counts)
        allowed = ROWS[row].trips
        assert allowed
        assert 0 < counts[0] <= allowed.save
        assert 0 < counts[1] <= allowed.stat
        assert 0 < counts[2] <= allowed.read

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
    def test_fork(self, place: Place) -> None:
        """After a fork parent and child both work, and neither waits for the other."""
        shared(place)
        process = worker("fork", new(place), place)
        try:
            out, _ = process.communicate(timeout=90)
        finally:
            process.kill()
        assert process.returncode == 0
        assert json.loads(out) == 0
