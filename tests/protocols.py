"""What the tests of all protocols with a server have in common."""

from __future__ import annotations

import contextlib
import typing as t

import pytest

from flask_store.exceptions import NotConfiguredError
from flask_store.stores.fsspec import FsspecStore

from .conftest import missing
from .contract import StoreContract
from .contract import upload
from .servers import NotInstalledError
from .servers_protocols import Place


@contextlib.contextmanager
def started(server: t.Callable[[], t.ContextManager[Place]]) -> t.Iterator[Place]:
    """Run a server, or leave the test out and say what it needs."""
    with contextlib.ExitStack() as stack:
        try:
            place = stack.enter_context(server())
        except NotInstalledError as error:
            missing(str(error))
        yield place


class ServerContract(StoreContract):
    """The promises, on a real server."""

    @pytest.fixture
    def store(self, place: Place) -> FsspecStore:
        """An empty folder on the server."""
        return FsspecStore.from_url(place.new(), **place.options)

    def leftovers(self, store: FsspecStore) -> list[str]:
        """What lies in the private folder; there is nowhere else to leave anything."""
        folder = store.dialect.path(".flask-store")
        return store.fs.ls(folder, detail=False) if store.fs.exists(folder) else []


class UuidContract(ServerContract):
    """A protocol on which nothing is exclusive: every name carries a UUID."""

    exclusive = False

    def test_on_conflict_error(self, store: FsspecStore) -> None:
        """'error' cannot be promised, and that is said; nothing is stored."""
        with pytest.raises(NotConfiguredError, match="'rename'"):
            store.save(upload(), on_conflict="error")
        assert list(store.ls()) == []
        assert self.leftovers(store) == []
