"""Files of S3 that are read: by a stream, as an open file, and onto the disk.

``python -m benchmarks.reading``, from the project's folder. All contenders read the
same objects of SeaweedFS in this process, every byte of them and 1 MB at a time where
they can, with connections that are open already, near and far.
"""

from __future__ import annotations

import functools
import os
import pathlib
import tempfile
import time
import typing as t
from collections.abc import Callable
from collections.abc import Sequence

from flask_store.stores.s3 import S3Store
from tests.support.servers import S3Server
from tests.support.servers import seaweedfs

from .client import Payload
from .measure import arguments
from .measure import Comparison
from .measure import interleaved
from .measure import KB
from .measure import MB
from .measure import parsed
from .measure import seconds
from .measure import size
from .s3 import bucket
from .s3 import latency
from .s3_contenders import client
from .s3_contenders import s3_filesystem
from .s3_contenders import Settings

#: How many readings one figure is the mean of, by the size of the file.
SIZES = {10 * KB: 20, MB: 5, 64 * MB: 1}
QUICK = {10 * KB: 2, MB: 1}
LATENCIES = (0, 20)
BASE = "boto3 get_object, streamed"

Read = Callable[[str], int]


def drained(file: t.IO[bytes]) -> int:
    """The number of bytes in a file, which is closed then."""
    with file:
        return sum(len(data) for data in iter(lambda: file.read(MB), b""))


def contenders(store: S3Store, settings: Settings, folder: str) -> dict[str, Read]:
    """Those who read; each is given the name of an object."""
    boto3, name = client(settings), settings["STORE_S3_BUCKET"]
    fs = s3_filesystem(settings)

    def streamed(key: str) -> int:
        body = boto3.get_object(Bucket=name, Key=key)["Body"]
        return sum(len(data) for data in body.iter_chunks(MB))

    def whole(key: str) -> int:
        return len(boto3.get_object(Bucket=name, Key=key)["Body"].read())

    def boto3_file(key: str) -> int:
        path = os.path.join(folder, "boto3")
        boto3.download_file(name, key, path)
        return os.path.getsize(path)

    def our_file(key: str) -> int:
        return os.path.getsize(store.file(key).download(os.path.join(folder, "ours")))

    return {
        BASE: streamed,
        "boto3 get_object, read()": whole,
        "boto3 download_file": boto3_file,
        "s3fs open()": lambda key: drained(fs.open(f"{name}/{key}")),
        "Flask-Store f.open()": lambda key: drained(store.open(key)),
        "Flask-Store f.stream()": lambda key: sum(map(len, store.stream(key))),
        "Flask-Store f.read()": lambda key: len(store.file(key).read()),
        "Flask-Store f.download()": our_file,
    }


def timed(read: Read, payload: Payload, count: int) -> float:
    """Seconds for a reading."""
    begun = time.perf_counter()
    for _ in range(count):
        assert read(payload.path.name) == payload.size
    return (time.perf_counter() - begun) / count


def compare(
    server: S3Server, payloads: dict[Payload, int], delay: float, rounds: int
) -> None:
    """Print the times at one distance."""
    where = f"{delay:g} ms round trip" if delay else "loopback"
    table = Comparison(f"Seconds for a reading, {where}, and the ratio", BASE, seconds)
    with (
        tempfile.TemporaryDirectory() as folder,
        latency(server, delay) as endpoint_url,
        bucket(server, endpoint_url) as settings,
    ):
        store = S3Store.from_config(settings)
        readers = contenders(store, settings, folder)
        for payload, count in payloads.items():
            store.save(payload.path)
            turns: dict[str, Callable[[], float]] = {
                label: functools.partial(timed, read, payload, count)
                for label, read in readers.items()
            }
            table.add(size(payload.size), interleaved(turns, rounds))
    table.table().show()


def main(args: Sequence[str] | None = None) -> None:
    """Run it as a command."""
    options = parsed(arguments(__doc__), args)
    sizes = QUICK if options.quick else SIZES
    with tempfile.TemporaryDirectory() as folder, seaweedfs() as server:
        made = {Payload.make(pathlib.Path(folder), n): sizes[n] for n in sizes}
        for delay in (1,) if options.quick else LATENCIES:
            compare(server, made, delay, options.rounds)


if __name__ == "__main__":
    main()
