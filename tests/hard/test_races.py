"""Many processes and threads that save one name at once: nothing may get lost.

Every process opens the store by itself, as the workers of a server do.
"""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import threading
import typing as t
from concurrent.futures import ThreadPoolExecutor

import pytest

from flask_store.stores import BaseStore
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.local import LocalStore
from flask_store.stores.s3 import S3Store
from tests.storages.test_s3 import settings
from tests.support.servers import S3Server

PROCESSES = 4
THREADS = 16
#: Seconds after which a run is taken for hung; it needs five.
PATIENCE = 60

Config = dict[str, t.Any]
Saved = list[tuple[str, bytes]]


def contend(
    cls: type[FsspecStore],
    config: Config,
    names: list[str],
    start: t.Any,
    queue: t.Any,
) -> None:
    """Save each of the names from every thread, and report what was stored where."""
    store = cls.from_config(config)
    saved: Saved = []
    errors: list[str] = []

    def save(thread: int) -> None:
        start.wait(PATIENCE)
        for name in names:
            # Of a length of its own, so that a mixture of two files would show.
            data = f"{os.getpid()} {thread} {name};".encode() * (thread + 1)
            try:
                saved.append((store.save(data, name).relative_path(), data))
            except Exception as exc:
                errors.append(f"{type(exc).__name__}: {exc}")

    threads = [threading.Thread(target=save, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    queue.put((saved, errors))


def race(cls: type[FsspecStore], config: Config, names: list[str]) -> Saved:
    """Let all processes loose and return what they have stored."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(PROCESSES * THREADS)
    queue = context.Queue()
    processes = [
        context.Process(
            target=contend, args=(cls, config, names, start, queue), daemon=True
        )
        for _ in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    try:
        reports = [queue.get(timeout=PATIENCE) for _ in processes]
        for process in processes:
            process.join(PATIENCE)
    finally:
        for process in processes:
            process.kill()
        queue.close()
    assert [error for _, errors in reports for error in errors] == []
    return [found for saved, _ in reports for found in saved]


def lost(store: BaseStore, saved: Saved) -> list[str]:
    """The keys whose file is missing or holds other bytes than were saved."""
    assert isinstance(store, FsspecStore)

    def is_lost(found: tuple[str, bytes]) -> bool:
        key, data = found
        try:
            return store.file(key).read() != data
        except FileNotFoundError:
            return True

    with ThreadPoolExecutor(8) as pool:
        flags = list(pool.map(is_lost, saved))
    return [key for (key, _), flag in zip(saved, flags, strict=True) if flag]


@pytest.fixture(params=["local", "SeaweedFS"])
def backend(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path
) -> tuple[str, type[FsspecStore], Config]:
    """A name for the figures, and how each process opens the store."""
    if request.param == "local":
        return "local", LocalStore, {"STORE_PATH": str(tmp_path / "uploads")}
    server: S3Server = request.getfixturevalue("seaweedfs_server")
    config = settings(server, request.getfixturevalue("seaweedfs_bucket"))
    return "SeaweedFS", S3Store, config


@pytest.mark.parametrize(
    "names",
    [["one.txt"], ["a.txt", "b.tar.gz", "c", "фото.jpg", "e f.csv"]],
    ids=["one name", "five names"],
)
def test_race_loses_nothing(
    backend: tuple[str, type[FsspecStore], Config],
    names: list[str],
    figures: t.Callable[[str], None],
) -> None:
    """Every save of every process gets a name of its own, under which its own bytes
    are found; each name itself is used once, and nothing else is in the store."""
    label, cls, config = backend
    saved = race(cls, config, names)
    store = cls.from_config(config)
    keys = {key for key, _ in saved}
    gone = lost(store, saved)
    figures(
        f"race, {label}, {PROCESSES} processes x {THREADS} threads, {len(names)}"
        f" name(s): {len(saved)} saves, {len(keys)} distinct names, {len(gone)} lost"
    )
    assert len(saved) == PROCESSES * THREADS * len(names)
    assert len(keys) == len(saved)
    assert gone == []
    assert keys.issuperset(names)
    assert {found.name for found in store.ls()} == keys
