"""The ten lines by which a package shows that its dialect keeps the promises."""

import pytest

from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import StoreContract


class TestArrow(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return FsspecStore.from_url(f"arrow://{tmp_path}/uploads")
