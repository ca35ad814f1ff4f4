"""Save one file in a fresh process and print how far its memory grew, in bytes.

``python -m tests.support.memory_peak '{"STORE_PATH": ...}' SIZE file|pipe``. Linux
only: the kernel keeps the peak, so that no sampling can miss it.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
import tempfile
import threading
import typing as t
from contextlib import contextmanager

from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.local import LocalStore
from flask_store.stores.s3 import S3Store


def resident(field: str, process: int | str = "self") -> int:
    """A field of ``/proc/.../status``: ``VmRSS``, or its peak ``VmHWM``, in bytes."""
    status = pathlib.Path(f"/proc/{process}/status").read_text()
    for line in status.splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def reset_peak(process: int | str = "self") -> int:
    """Set the peak of a process back to what is resident now, and return that."""
    # proc(5): 5 does it.
    pathlib.Path(f"/proc/{process}/clear_refs").write_text("5")
    return resident("VmRSS", process)


@contextmanager
def sparse_file(size: int) -> t.Iterator[t.IO[bytes]]:
    """A file of zeros that takes no space."""
    with tempfile.TemporaryFile() as file:
        file.truncate(size)
        yield file


@contextmanager
def full_pipe(size: int) -> t.Iterator[t.IO[bytes]]:
    """A pipe out of which zeros come: what cannot be read a second time."""
    reader, writer = os.pipe()

    def feed() -> None:
        block = bytes(64 * 1024)
        with open(writer, "wb", buffering=0) as file:
            for _ in range(size // len(block)):
                file.write(block)

    thread = threading.Thread(target=feed, daemon=True)
    with open(reader, "rb") as file:
        thread.start()
        yield file
        thread.join()


def growth(store: FsspecStore, size: int, kind: str) -> int:
    """Save, and return by how much the peak is above what was in use before."""
    # Imports, connections and the probe belong to the process, not to the file.
    store.save(bytes(3 * 1024**2), "warm.bin").delete()
    source = full_pipe if kind == "pipe" else sparse_file
    with source(size) as file:
        before = reset_peak()
        f = store.save(file, "large.bin")
        grown = resident("VmHWM") - before
    assert f.size == size
    f.delete()
    return grown


def growth_of_draft(store: FsspecStore, size: int) -> int:
    """The same, of a file that is written into create()."""
    with store.create("warm.bin") as out:
        out.write(bytes(3 * 1024**2))
    block = bytes(1024**2)
    before = reset_peak()
    with store.create("large.bin") as out:
        for _ in range(size // len(block)):
            out.write(block)
    grown = resident("VmHWM") - before
    assert out.file.size == size
    out.file.delete()
    return grown


if __name__ == "__main__":
    config, size, kind = json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    cls = S3Store if "STORE_S3_BUCKET" in config else LocalStore
    print(growth(cls.from_config(config), size, kind))
