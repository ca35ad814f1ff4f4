"""Every protocol: processes that save the same names at the same moment."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import typing as t

import pytest

from flask_store.stores.fsspec import FsspecStore
from tests.support import protocol_worker
from tests.support.protocol_rows import new
from tests.support.protocol_rows import ROWS
from tests.support.protocol_servers import Place
from tests.support.protocol_worker import NAMES
from tests.support.protocol_worker import THREADS
from tests.support.rounds import rounds
from tests.support.server_contract import contenders
from tests.support.server_contract import EachRow
from tests.support.server_contract import PROCESSES
from tests.support.server_contract import Record

#: How often each row races in one run.
RACES = rounds(3)

#: How many files there must be after one.
EXPECTED = PROCESSES * THREADS * len(NAMES)


class TestRaced(EachRow):
    """Nothing is lost."""

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

                def contend(folder: str) -> list[t.Any]:
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
