"""The ten lines for an object store, whose names may be files and folders at once."""

import pytest

from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import StoreContract


class TestBucket(StoreContract):
    flat = True

    @pytest.fixture
    def store(self, moto_server, moto_bucket):
        return FsspecStore.from_url(
            f"bucket://{moto_bucket}/uploads",
            endpoint_url=moto_server.endpoint_url,
            key=moto_server.access_key,
            secret=moto_server.secret_key,
        )
