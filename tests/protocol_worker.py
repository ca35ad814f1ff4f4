"""What the tests of the protocols do in processes of their own.

``python -m tests.protocol_worker race|slow|fork URL OPTIONS``: what is done goes to
the standard output, one JSON value a line.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import time
import typing as t

from flask_store.stores.fsspec import FsspecStore

NAMES = [f"name-{number}.txt" for number in range(5)]
THREADS = 16
#: The size of the file that a kill interrupts, in bytes.
SIZE = 6 * 1024 * 1024


class Slow(io.BytesIO):
    """A stream that takes its time, so that a kill finds a save in its middle."""

    def read(self, size: int | None = -1) -> bytes:
        time.sleep(0.01)
        return super().read(min(size or 0, 256 * 1024) if size != -1 else -1)


def say(value: t.Any) -> None:
    """Print one line at once."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def race(store: FsspecStore) -> None:
    """Save five names in each of 16 threads, as soon as the parent says so."""
    start = threading.Barrier(THREADS + 1)
    done: list[tuple[str, str] | str] = []

    def save(number: int) -> None:
        start.wait()
        for name in NAMES:
            data = f"{os.getpid()} {number} {name}"
            try:
                f = store.save(data.encode(), filename=name)
                done.append((str(f), data))
            except Exception as exc:
                done.append(f"{type(exc).__name__}: {exc} ({exc.__cause__!r})")

    threads = [threading.Thread(target=save, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    say("ready")
    sys.stdin.readline()
    start.wait()
    for thread in threads:
        thread.join()
    say(done)


def slow(store: FsspecStore) -> None:
    """Save large files one after the other, until the end comes."""
    store.save(b"x", filename="warm.txt", on_conflict="overwrite")
    say("ready")
    while True:
        store.save(Slow(b"k" * SIZE), filename="big.bin")


def fork(store: FsspecStore) -> None:
    """Save in the parent, in the child, in both again, and read each other's."""
    signal.alarm(60)
    store.save(b"before", filename="before.txt", on_conflict="overwrite")
    holders = [threading.Thread(target=hold, args=(store,)) for _ in range(2)]
    for thread in holders:
        thread.start()
    time.sleep(0.5)
    child = os.fork()
    who = "parent" if child else "child"
    for number in range(3):
        f = store.save(who.encode(), filename=f"{who}-{number}.txt")
        assert f.read() == who.encode()
    assert store.file("before.txt").read() == b"before"
    if not child:
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert store.save(b"after", filename="after.txt").read() == b"after"
    for thread in holders:
        thread.join()
    say(status)


def hold(store: FsspecStore) -> None:
    """Have a connection during the fork, and use it after it."""
    store.exists("before.txt")
    time.sleep(1.5)
    assert store.file("before.txt").read() == b"before"


if __name__ == "__main__":
    what, url, options = sys.argv[1:]
    {"race": race, "slow": slow, "fork": fork}[what](
        FsspecStore.from_url(url, **json.loads(options))
    )
