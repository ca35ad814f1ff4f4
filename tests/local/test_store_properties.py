"""A store on disk or in memory is a dict, whatever is done with it."""

from __future__ import annotations

import itertools
import pathlib
import uuid

from flask_store.stores.fsspec import FsspecStore
from tests.support.store_machine import run


def test_disk_is_a_dict(tmp_path: pathlib.Path) -> None:
    """Files on the local disk."""
    numbers = itertools.count()

    def new() -> FsspecStore:
        root = tmp_path / str(next(numbers))
        return FsspecStore.from_config({"STORE_PATH": root, "STORE_FSYNC": False})

    run(new, 12)


def test_memory_is_a_dict() -> None:
    """Files in memory."""
    run(lambda: FsspecStore.from_url(f"memory://{uuid.uuid4().hex}"), 12)
