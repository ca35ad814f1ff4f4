"""gunicorn's workers are killed, one after the other, and no answered save is lost."""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import pathlib
import random
import signal
import threading
import time
import typing as t

import pytest
import requests

from flask_store.background.boxes import name_of
from flask_store.stores.s3 import S3Store
from tests.support.background_servers import running
from tests.support.background_servers import settings_of
from tests.support.rounds import rounds
from tests.support.servers import S3Server

#: How often workers are killed.
ROUNDS = rounds(3)

#: "mixed" has what gunicorn sends to a worker that is to stop, and to a silent one.
SIGNALS = {
    "killed": [signal.SIGKILL],
    "mixed": [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT],
}


def content(number: int) -> bytes:
    """What upload *number* of a client sends; it begins with the number."""
    chosen = random.Random(number)
    return b"%08d" % number + chosen.randbytes(chosen.randint(100, 100_000))


class Clients:
    """Threads that upload and remember what was accepted."""

    def __init__(self, url: str, count: int) -> None:
        self.url = url
        #: The numbers of the uploads whose save was answered, by the files' names.
        self.accepted: dict[str, int] = {}
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._upload) for _ in range(count)]

    def __enter__(self) -> t.Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self, count: int) -> None:
        """Let so many be accepted first; a worker may take seconds to start."""
        wanted, deadline = len(self.accepted) + count, time.monotonic() + 20
        while len(self.accepted) < wanted and time.monotonic() < deadline:
            time.sleep(0.02)

    def _upload(self) -> None:
        while not self._stop.is_set():
            number = next(self._numbers)
            files = {"afile": ("file.bin", content(number))}
            try:
                reply = requests.post(f"{self.url}/save", files=files, timeout=20)
            except requests.RequestException:
                continue  # its worker was killed before it answered
            if reply.status_code == 200:
                self.accepted[reply.text] = number


def children(parent: int) -> list[int]:
    """The processes that *parent* started."""
    text = pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(number) for number in text.split()]


def files_in(spool: pathlib.Path, pattern: str) -> list[pathlib.Path]:
    """The spool's files; boxes may vanish while we look."""
    found: list[pathlib.Path] = []
    for box in spool.iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += box.glob(pattern)
    return found


class Found:
    """What is in the bucket and in the spool in the end."""

    def __init__(self, store: S3Store, spool: pathlib.Path, log: str) -> None:
        self.store = store
        self.spool = spool
        self.log = log
        self.bytes = {f.name: store.file(f.name).read() for f in store.ls()}

    def wrong(self, accepted: dict[str, int]) -> dict[str, str]:
        """The accepted files that are not there byte for byte, and what is."""
        return {
            name: self._explained(name, content(number))
            for name, number in accepted.items()
            if self.bytes.get(name) != content(number)
        }

    def doubled(self) -> list[int]:
        """The uploads that are there under more than one name."""
        numbers = collections.Counter(int(data[:8]) for data in self.bytes.values())
        return [number for number, count in numbers.items() if count > 1]

    def _explained(self, name: str, expected: bytes) -> str:
        there = self.bytes.get(name)
        told = [line for line in self.log.splitlines() if name in line]
        left = [p.name for p in files_in(self.spool, f"{name_of(name)}*")]
        if there is None:
            return f"missing; spool: {left}; log: {told}"
        pairs = enumerate(zip(there, expected, strict=False))
        first = next((n for n, (a, b) in pairs if a != b), None)
        dialect = self.store.dialect
        token = dialect.info(name).token
        return (
            f"{len(there)} bytes and not {len(expected)}, first difference at {first},"
            f" token {token}; spool: {left}; log: {told}"
        )


@pytest.mark.parametrize("signals", SIGNALS)
@pytest.mark.parametrize("workers", ["gevent", "gthread"])
def test_killed_workers_lose_nothing(
    workers: str,
    signals: str,
    seaweedfs_server: S3Server,
    seaweedfs_bucket: str,
    tmp_path: pathlib.Path,
) -> None:
    """Workers are killed (-9) at random under load, or also told to stop. In the end
    every file whose save was answered is in S3, once and byte for byte, and the spool
    is empty."""
    settings = settings_of("S3GeventStore", seaweedfs_server, seaweedfs_bucket)
    spool = tmp_path / "instance" / "flask-store-spool"
    with running(workers, settings, tmp_path) as server:
        with Clients(server.url, 6) as clients:
            for _ in range(ROUNDS):
                clients.wait_for_more(10)
                time.sleep(random.uniform(0.1, 1))
                worker = random.choice(children(server.process.pid))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, random.choice(SIGNALS[signals]))
        deadline = time.monotonic() + 100
        while files_in(spool, "*.json") and time.monotonic() < deadline:
            # A worker looks for leftovers at its first request, unless it was told to
            # stop and does not answer any more.
            with contextlib.suppress(requests.RequestException):
                requests.get(server.url, timeout=20)
            time.sleep(0.1)
        left = [path.read_text() for path in files_in(spool, "*.json")]
        log = server.log.read_text()
    found = Found(S3Store.from_config(settings), spool, log)
    wrong = found.wrong(clients.accepted)
    doubled = found.doubled()
    print(
        f"{workers}, {signals}: {ROUNDS} workers, {len(clients.accepted)} accepted,"
        f" {len(found.bytes)} stored, {len(wrong)} lost, {len(doubled)} doubled,"
        f" {len(left)} left"
    )
    assert clients.accepted
    assert (wrong, doubled, left) == ({}, [], [])
    odd = [n for n, data in found.bytes.items() if data != content(int(data[:8]))]
    assert odd == []  # also what nobody was told to be stored is whole
