"""Uploads of 1 KB to 1 GB through gunicorn onto the local disk, by each library.

``python -m benchmarks.uploads``, from the project's folder. One worker with threads;
the client sends a prepared body over one connection. What has been uploaded is removed,
and the disk left to settle, before the next contender has its turn.
"""

from __future__ import annotations

import os
import pathlib
import tempfile
import time
from collections.abc import Callable
from collections.abc import Sequence

from . import strace
from .apps import BARE
from .apps import BASE
from .apps import DURABLE
from .apps import our_settings
from .apps import OURS
from .apps import PEERS
from .client import Client
from .client import Payload
from .measure import arguments
from .measure import Comparison
from .measure import GB
from .measure import interleaved
from .measure import KB
from .measure import MB
from .measure import parsed
from .measure import seconds
from .measure import size
from .measure import Table
from .served import all_served
from .served import GTHREAD
from .served import Served

#: How many uploads one figure is the mean of, by their size.
SIZES = {KB: 200, MB: 20, 64 * MB: 1, GB: 1}
QUICK = {KB: 5, MB: 2}


def timed(contender: Served, payload: Payload, count: int) -> Callable[[], float]:
    """A turn of one contender: seconds for an upload."""

    def turn() -> float:
        os.sync()
        with Client(contender.port) as client:
            begun = time.perf_counter()
            answers = [client.post(payload) for _ in range(count)]
            taken = (time.perf_counter() - begun) / count
        contender.remove(answers)
        return taken

    return turn


def check(contender: Served, payload: Payload) -> None:
    """One upload whose bytes are compared."""
    with Client(contender.port) as client:
        answer = client.post(payload)
    contender.check(answer, payload)
    contender.remove([answer])


def written(contender: Served, payload: Payload) -> float:
    """Bytes that the worker writes into files for each byte uploaded."""
    with Client(contender.port) as client:
        with strace.attached(contender.worker, *strace.WRITING) as lines:
            answer = client.post(payload)
    contender.remove([answer])
    return strace.bytes_to_files(lines) / payload.size


def run(folder: pathlib.Path, sizes: dict[int, int], rounds: int) -> None:
    """Print what was found for these sizes."""
    ours = our_settings()
    labels = [*PEERS, DURABLE, *ours, BARE]
    settings = {label: ours.get(label, {}) for label in labels}
    comparison = Comparison("Seconds for an upload, and the ratio", BASE, seconds)
    counted = Table("Bytes written into files for each byte uploaded", "contender")
    rows = {label: [label] for label in settings}
    with all_served(settings, folder, *GTHREAD, "--threads=4") as contenders:
        for number, count in sizes.items():
            payload = Payload.make(folder, number)
            turns = {}
            for label, contender in contenders.items():
                check(contender, payload)
                turns[label] = timed(contender, payload, count)
            comparison.add(size(number), interleaved(turns, rounds))
            for label, contender in contenders.items():
                rows[label].append(f"{written(contender, payload):.2f}")
            payload.path.unlink()
    counted.rows[0] += tuple(comparison.columns)
    for row in rows.values():
        counted.add(*row)
    comparison.table().show()
    comparison.show_goal(ours, PEERS)
    as_durable = Table("Flask-Store to FileStorage.save, as durable", "contender")
    as_durable.rows[0] += tuple(comparison.columns)
    ratios = (
        comparison.ratio(column, OURS) / comparison.ratio(column, DURABLE)
        for column in comparison.columns
    )
    as_durable.add(OURS, *(f"{ratio:.2f}" for ratio in ratios))
    as_durable.show()
    counted.show()


def main(args: Sequence[str] | None = None) -> None:
    """Run it as a command."""
    parser = arguments(__doc__)
    parser.add_argument(
        "--folder", help="a folder on the disk to measure; default: a temporary one"
    )
    parser.add_argument("--sizes", type=int, nargs="+", help="in bytes")
    options = parsed(parser, args)
    sizes = QUICK if options.quick else SIZES
    if options.sizes:
        sizes = {number: SIZES.get(number, 1) for number in options.sizes}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        run(pathlib.Path(folder), sizes, options.rounds)


if __name__ == "__main__":
    main()
