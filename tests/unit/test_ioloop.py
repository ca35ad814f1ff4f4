"""The event loop of our own, and what it reads on the threads beside it."""

from __future__ import annotations

import asyncio
import io
import random
import threading
import time

from flask_store.concurrency import ioloop
from flask_store.concurrency.threads import HELPERS
from flask_store.uploads.source import Source
from flask_store.uploads.source import Window


def test_cancelled_job_of_a_helper_is_not_begun() -> None:
    """A reading that waits for its turn when its request is given up never happens:
    by then the next try reads the same file."""
    gate, begun = threading.Event(), []

    async def crowd() -> None:
        loop = asyncio.get_running_loop()
        busy = [loop.run_in_executor(None, gate.wait) for _ in range(HELPERS)]
        doomed = loop.run_in_executor(None, begun.append, 1)
        await asyncio.sleep(0.1)
        doomed.cancel()
        gate.set()
        await asyncio.gather(*busy)
        await loop.run_in_executor(None, time.sleep, 0.1)

    ioloop.run(ioloop.get_loop(), crowd)
    assert begun == []


class Slow(io.BytesIO):
    """A stream whose threads overtake each other wherever they can."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        found = super().seek(offset, whence)
        time.sleep(random.uniform(0, 0.002))
        return found


def test_two_readers_get_their_own_bytes() -> None:
    """A try that was given up and the next one may read at the same time; neither
    gets what the other has asked for."""
    data = random.randbytes(100_000)
    source = Source(Slow(data), None)
    wrong = []

    def use(number: int) -> None:
        chosen = random.Random(number)
        for _ in range(50):
            start = chosen.randrange(len(data))
            window = Window(source, start)
            if window.read(1000) != data[start : start + 1000]:
                wrong.append(start)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
