"""The contract on ``memory://``."""

from __future__ import annotations

import uuid

import pytest

from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import HOSTILE
from flask_store.testing import StoreContract


@pytest.mark.lower_bounds
class TestMemory(StoreContract):
    """``memory://`` keeps every promise."""

    hostile = HOSTILE

    @pytest.fixture
    def store(self) -> FsspecStore:
        """A folder of its own, because the memory is one for the whole process."""
        return FsspecStore.from_url(f"memory://{uuid.uuid4()}/uploads")


@pytest.mark.parametrize("url", ["memory://", "memory:///"])
def test_root_of_the_memory(url: str) -> None:
    """A store may be all of it. What is above the root is not looked at without end."""
    store = FsspecStore.from_url(url)
    for name in (f"{uuid.uuid4()}.txt", f"{uuid.uuid4()}/a.txt"):
        assert store.put(name, b"x").read() == b"x"
        store.delete(name)
