"""Saving, looking and serving in a folder of 10, 10,000 and 1,000,000 files.

``python -m benchmarks.growth``, from the project's folder. The store is on the local
disk, and all its files lie in one folder. The stores of different size take turns in
one process; a ratio near 1 means that a full store is as fast as an empty one.
"""

from __future__ import annotations

import functools
import itertools
import os
import pathlib
import tempfile
import time
from collections.abc import Callable
from collections.abc import Sequence

from flask import Flask

from flask_store import Store
from flask_store.stores.fsspec import FsspecStore
from tests.support.memory_peak import reset_peak
from tests.support.memory_peak import resident

from .measure import arguments
from .measure import Comparison
from .measure import interleaved
from .measure import KB
from .measure import mebibytes
from .measure import parsed
from .measure import seconds
from .measure import Table

SIZES = (10, 10**4, 10**6)
QUICK = (10, 1000)
#: How many operations one figure is the mean of.
EACH = 200


class Filled:
    """An application with a store that has so many files."""

    def __init__(self, folder: pathlib.Path, files: int) -> None:
        folder.mkdir()
        for number in range(files):
            os.close(os.open(folder / f"{number}.bin", os.O_CREAT | os.O_WRONLY))
        app = Flask(__name__)
        # What is measured is not how long the disk takes to write.
        app.config.update(STORE_PATH=str(folder), STORE_FSYNC=False)
        provider = Store(app).Provider()
        assert isinstance(provider, FsspecStore)
        self.store = provider
        self.client = app.test_client()
        self.names = (f"new-{number}.bin" for number in itertools.count())
        self.data = os.urandom(KB)
        self.store.put("served.bin", self.data)

    def save(self) -> None:
        """Save 1 KB under a name that is free."""
        self.store.save(self.data, next(self.names)).delete()

    def save_taken(self) -> None:
        """Save 1 KB under a name that is taken, and so under another one."""
        self.store.save(self.data, "0.bin").delete()

    def exists(self) -> None:
        """Look for a file, and for one that is not there."""
        assert self.store.exists("0.bin") and not self.store.exists("none.bin")

    def serve(self) -> None:
        """Answer a request for 1 KB by the route."""
        reply = self.client.get("/flaskstore/served.bin")
        assert reply.data == self.data
        reply.close()

    def first(self) -> None:
        """The first file of a listing."""
        files = iter(self.store.ls())
        next(files)

    def page(self) -> None:
        """The first page of a listing, as a notebook shows it."""
        self.store.ls().first_page()


#: What is measured, and how often for one figure.
OPERATIONS: dict[str, tuple[Callable[[Filled], None], int]] = {
    "save and delete, free name": (Filled.save, EACH),
    "save and delete, taken name": (Filled.save_taken, EACH),
    "exists, both answers": (Filled.exists, EACH),
    "serve by the route": (Filled.serve, EACH),
    "first of ls()": (Filled.first, EACH),
    "first page of ls()": (Filled.page, 5),
}


def timed(store: Filled, operation: Callable[[Filled], None], count: int) -> float:
    """Seconds for one operation."""
    begun = time.perf_counter()
    for _ in range(count):
        operation(store)
    return (time.perf_counter() - begun) / count


def listed(store: Filled) -> tuple[float, int]:
    """Seconds for a walk over everything, and by how many bytes the process grows."""
    before = reset_peak()
    begun = time.perf_counter()
    for _ in store.store.ls():
        pass
    return time.perf_counter() - begun, resident("VmHWM") - before


def run(folder: pathlib.Path, sizes: Sequence[int], rounds: int) -> None:
    """Print the times by size, and what a whole listing takes."""
    stores = {f"{n:,} files": Filled(folder / str(n), n) for n in sizes}
    smallest = next(iter(stores))
    table = Comparison("Seconds for an operation, and the ratio", smallest, seconds)
    for title, (operation, count) in OPERATIONS.items():
        turns: dict[str, Callable[[], float]] = {
            label: functools.partial(timed, store, operation, count)
            for label, store in stores.items()
        }
        table.add(title, interleaved(turns, rounds))
    table.by_column().show()
    whole = Table("A whole listing", "files", "seconds", "memory")
    for label, store in stores.items():
        taken, peak = listed(store)
        whole.add(label, seconds(taken), mebibytes(peak))
    whole.show()


def main(args: Sequence[str] | None = None) -> None:
    """Run it as a command."""
    parser = arguments(__doc__)
    parser.add_argument("--folder", help="a folder on the disk to measure")
    options = parsed(parser, args)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        sizes = QUICK if options.quick else SIZES
        run(pathlib.Path(folder), sizes, options.rounds)


if __name__ == "__main__":
    main()
