"""64 uploads of 1 MB at once, by threads and by greenlets, onto disk and into S3.

``python -m benchmarks.concurrency``, from the project's folder. Each contender has one
gunicorn worker; a round is so many uploads from each of 64 connections. The memory is
that of the worker: what it had at rest, and the peak of all rounds above it.
"""

from __future__ import annotations

import pathlib
import statistics
import tempfile
import typing as t
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

from tests.support.memory_peak import reset_peak
from tests.support.memory_peak import resident
from tests.support.servers import seaweedfs

from .apps import BASE
from .apps import our_settings
from .apps import PEERS
from .client import burst
from .client import Client
from .client import Payload
from .measure import arguments
from .measure import Comparison
from .measure import interleaved
from .measure import MB
from .measure import mebibytes
from .measure import parsed
from .measure import seconds
from .measure import Table
from .s3 import bucket
from .s3_contenders import BASE as S3_BASE
from .s3_contenders import OURS
from .served import all_served
from .served import GTHREAD
from .served import Served

#: Those that take an open stream, as an upload is one.
S3 = (S3_BASE, "django-storages", "flask-storage", OURS)
WORKERS = {
    "gthread": (*GTHREAD, "--threads=64"),
    "gevent": ("--worker-class=gevent", "--worker-connections=100"),
}


class Crowd:
    """What the uploads to one contender have taken, over all rounds."""

    def __init__(self, contender: Served, payload: Payload, clients: int, each: int):
        self.contender = contender
        self.payload = payload
        self.clients = clients
        self.each = each
        self.latencies: list[float] = []
        self.at_rest = reset_peak(contender.worker)

    def turn(self) -> float:
        """Uploads a second in one round."""
        found = burst(self.contender.port, self.payload, self.clients, self.each)
        self.latencies += found.latencies
        self.contender.remove(found.answers)
        return len(found.answers) / found.elapsed

    @property
    def peak(self) -> int:
        """By how many bytes the worker has grown at most."""
        return resident("VmHWM", self.contender.worker) - self.at_rest


def run(
    title: str,
    crowds: Mapping[str, Crowd],
    base: str,
    ours: Iterable[str],
    rounds: int,
) -> None:
    """Print the rates, and then the latencies and the memory."""
    turns: dict[str, Callable[[], float]] = {k: v.turn for k, v in crowds.items()}
    rates = Comparison(f"{title}: uploads a second, and the ratio", base, _rate, True)
    rates.add("uploads/s", interleaved(turns, rounds))
    rates.table().show()
    rates.show_goal(ours, crowds.keys() - set(ours))
    table = Table(f"{title}: latency and memory", "contender", "p50", "p99", *_MEMORY)
    for label, crowd in crowds.items():
        warm = crowd.latencies[crowd.clients * crowd.each :]
        cuts = statistics.quantiles(warm, n=100, method="inclusive")
        times = seconds(cuts[49]), seconds(cuts[98])
        table.add(label, *times, mebibytes(crowd.at_rest), mebibytes(crowd.peak))
    table.show()


_MEMORY = ("RSS at rest", "peak above it")


def _rate(value: float) -> str:
    return f"{value:.0f}"


def on_disk(
    folder: pathlib.Path, payload: Payload, worker: str, count: tuple[int, int, int]
) -> None:
    """All who store on the local disk."""
    clients, each, rounds = count
    ours = our_settings()
    settings = {label: ours.get(label, {}) for label in [*PEERS, *ours]}
    with all_served(settings, folder, *WORKERS[worker]) as contenders:
        crowds = {}
        for label, contender in contenders.items():
            with Client(contender.port) as client:
                answer = client.post(payload)
            contender.check(answer, payload)
            contender.remove([answer])
            crowds[label] = Crowd(contender, payload, clients, each)
        run(f"Local disk, {worker}", crowds, BASE, ours, rounds)


def in_s3(
    folder: pathlib.Path, payload: Payload, worker: str, count: tuple[int, int, int]
) -> None:
    """Flask with each library for S3 behind it."""
    clients, each, rounds = count
    with seaweedfs() as server, bucket(server) as settings:
        own = dict.fromkeys(S3, settings)
        with all_served(own, folder, *WORKERS[worker]) as contenders:
            crowds = {}
            for label, contender in contenders.items():
                with Client(contender.port) as client:
                    key = client.post(payload)
                _check(server.client(), settings["STORE_S3_BUCKET"], key, payload)
                crowds[label] = Crowd(contender, payload, clients, each)
            run(f"S3, {worker}", crowds, S3_BASE, [OURS], rounds)


def _check(client: t.Any, bucket: str, key: str, payload: Payload) -> None:
    found = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    assert found == payload.data, f"{key} is not what was uploaded"
    client.close()


def main(args: Sequence[str] | None = None) -> None:
    """Run it as a command."""
    options = parsed(arguments(__doc__), args)
    count = (4, 1, 1) if options.quick else (64, 4, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        here = pathlib.Path(folder)
        payload = Payload.make(here, MB)
        # A quick look goes once through each: 14 servers are enough.
        for worker in ("gthread",) if options.quick else WORKERS:
            on_disk(here, payload, worker, count)
        for worker in ("gevent",) if options.quick else WORKERS:
            in_s3(here, payload, worker, count)


if __name__ == "__main__":
    main()
