"""PUTs of 10 KB to 512 MB into SeaweedFS, near and far, by each library.

``python -m benchmarks.s3``, from the project's folder. All contenders take turns in
this process, with connections that are open already, and read one file on disk. Then
the requests for each file are counted, and how far the memory of a process grows.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence

from tests.support.proxy import Proxy
from tests.support.servers import ROOT
from tests.support.servers import S3Server
from tests.support.servers import seaweedfs

from .client import Payload
from .measure import arguments
from .measure import Comparison
from .measure import GB
from .measure import interleaved
from .measure import KB
from .measure import MB
from .measure import mebibytes
from .measure import parsed
from .measure import seconds
from .measure import size
from .measure import Table
from .relay import distant
from .s3_contenders import BASE
from .s3_contenders import client
from .s3_contenders import CONTENDERS
from .s3_contenders import FLOOR
from .s3_contenders import OURS
from .s3_contenders import Put
from .s3_contenders import Settings

#: How many files one figure is the mean of, by their size.
SIZES = {10 * KB: 20, MB: 5, 64 * MB: 1, 512 * MB: 1}
QUICK = {10 * KB: 2, MB: 1}
#: Round trips in milliseconds; 0 is loopback without a relay.
LATENCIES = (0, 1, 20, 80)

Clock = Callable[[], float]

_keys = (f"upload-{number:06}.bin" for number in itertools.count())


@contextlib.contextmanager
def bucket(server: S3Server, endpoint_url: str | None = None) -> Iterator[Settings]:
    """The settings for a new bucket, which is gone with its files afterwards."""
    name = server.make_bucket()
    yield {
        "STORE_S3_ENDPOINT_URL": endpoint_url or server.endpoint_url,
        "STORE_S3_REGION": server.region,
        "STORE_S3_BUCKET": name,
        "STORE_S3_ACCESS_KEY": server.access_key,
        "STORE_S3_SECRET_KEY": server.secret_key,
    }
    # SeaweedFS gives the room of a deleted file back later, and that of a bucket now.
    server.client(server.admin).delete_bucket(Bucket=name)


@contextlib.contextmanager
def latency(server: S3Server, milliseconds: float) -> Iterator[str]:
    """The address of the server at this distance."""
    if not milliseconds:
        yield server.endpoint_url
        return
    with distant(server.port, milliseconds / 1000) as port:
        yield f"http://127.0.0.1:{port}"


def timed(put: Put, payload: Payload, count: int, clock: Clock) -> float:
    """Seconds for a file."""
    begun = clock()
    for _ in range(count):
        with payload.path.open("rb") as file:
            put(file, next(_keys))
    return (clock() - begun) / count


def check(put: Put, settings: Settings, payload: Payload) -> None:
    """One file, and a look at what has become of it."""
    key = next(_keys)
    with payload.path.open("rb") as file:
        put(file, key)
    found = client(settings).get_object(Bucket=settings["STORE_S3_BUCKET"], Key=key)
    digest = hashlib.sha256()
    for data in found["Body"].iter_chunks(MB):
        digest.update(data)
    assert digest.hexdigest() == payload.sha256, key


def compare(
    server: S3Server,
    payloads: dict[Payload, int],
    delay: float,
    rounds: int,
    clock: Clock = time.perf_counter,
) -> None:
    """Print the times at one distance."""
    kind = "Processor seconds" if clock is time.process_time else "Seconds"
    where = f"{delay:g} ms round trip" if delay else "loopback"
    table = Comparison(f"{kind} for a PUT, {where}, and the ratio", BASE, seconds)
    with latency(server, delay) as endpoint_url:
        for payload, count in payloads.items():
            with bucket(server, endpoint_url) as settings:
                turns: dict[str, Callable[[], float]] = {}
                for label, make in CONTENDERS.items():
                    put = make(settings)
                    check(put, settings, payload)
                    turns[label] = functools.partial(timed, put, payload, count, clock)
                table.add(size(payload.size), interleaved(turns, rounds))
    table.table().show()
    table.show_goal([OURS], CONTENDERS.keys() - {OURS, FLOOR})


def count_requests(server: S3Server, payloads: t.Iterable[Payload]) -> None:
    """Print the requests for a file, with a warm connection."""
    table = Table("Requests for a file", "contender", *(size(p.size) for p in payloads))
    with Proxy(server.endpoint_url) as proxy, bucket(server, proxy.endpoint_url) as s:
        for label, make in CONTENDERS.items():
            put, row = make(s), [label]
            for payload in payloads:
                timed(put, payload, 1, time.perf_counter)
                proxy.requests.clear()
                timed(put, payload, 1, time.perf_counter)
                row.append(str(len(proxy.requests)))
            table.add(*row)
    table.show()


def memory(server: S3Server, number: int, labels: t.Iterable[str]) -> None:
    """Print how far the memory of a process grows while it sends one file."""
    table = Table("Growth of a process's memory", "contender", size(number))
    for label in labels:
        with bucket(server) as settings:
            command = [sys.executable, "-m", "benchmarks.s3_contenders", label]
            done = subprocess.run(
                [*command, json.dumps(settings), str(number)],
                cwd=ROOT,
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
        table.add(label, mebibytes(int(done.stdout)))
    table.show()


def main(args: Sequence[str] | None = None) -> None:
    """Run it as a command."""
    parser = arguments(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", help="in bytes")
    parser.add_argument(
        "--latencies", type=float, nargs="+", default=LATENCIES, metavar="MS"
    )
    options = parsed(parser, args)
    sizes = QUICK if options.quick else SIZES
    if options.sizes:
        sizes = {number: SIZES.get(number, 1) for number in options.sizes}
    with tempfile.TemporaryDirectory() as folder, seaweedfs() as server:
        made = {Payload.make(pathlib.Path(folder), n): sizes[n] for n in sizes}
        for delay in (1,) if options.quick else options.latencies:
            compare(server, made, delay, options.rounds)
        compare(server, made, 0, options.rounds, time.process_time)
        count_requests(server, made)
        if options.quick:
            memory(server, 32 * MB, (BASE, OURS))
        else:
            memory(server, GB, CONTENDERS)


if __name__ == "__main__":
    main()
