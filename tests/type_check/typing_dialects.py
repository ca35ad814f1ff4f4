"""What a package with a dialect of its own writes."""

from __future__ import annotations

import os
import pathlib

import pytest

from flask_store.dialects import Dialect
from flask_store.dialects import Location
from flask_store.dialects import register
from flask_store.dialects.renamed import StagedDialect
from flask_store.dialects.urls import open_dialect
from flask_store.settings import Settings
from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import StoreContract


class ShelfDialect(StagedDialect):
    protocols = ("shelf",)
    scope = "thread"

    def rename(self, old: str, new: str) -> None:
        os.link(old, new)
        os.unlink(old)

    def rename_over(self, old: str, new: str) -> None:
        os.replace(old, new)


class TestShelf(StoreContract):
    exclusive = False

    @pytest.fixture
    def store(self, tmp_path: pathlib.Path) -> FsspecStore:
        return FsspecStore.from_url(f"shelf://{tmp_path}")


register("shelf", f"{__name__}:ShelfDialect")
register("shelf", f"{__name__}:ShelfDialect", install="shelves[wood]")
register("shelf", ShelfDialect)  # type: ignore[arg-type]

inner: Dialect = open_dialect("shelf://x", Settings({}))
location: Location = inner.location
