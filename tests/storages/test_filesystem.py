"""``store.fs`` under the tests that fsspec has for filesystems.

Left out: fsspec's tests for mv, which are of its own local filesystem alone (ours are
in tests/local/test_filesystem.py). And, on servers, patterns: fsspec finds what a
pattern matches in what ``find`` tells, which is the same for all stores.
"""

from __future__ import annotations

import pathlib
import typing as t
import uuid

import pytest
from fsspec.tests import abstract

from flask_store.stores.filesystem import StoreFileSystem
from flask_store.stores.fsspec import FsspecStore
from tests.support.protocol_rows import sftp
from tests.support.protocol_servers import Place
from tests.support.proxy import Proxy
from tests.support.server_contract import started
from tests.support.servers import S3Server

pytestmark = pytest.mark.slow


class Suite(
    abstract.AbstractFixtures,  # type: ignore[misc]
    abstract.AbstractCopyTests,  # type: ignore[misc]
    abstract.AbstractGetTests,  # type: ignore[misc]
    abstract.AbstractPutTests,  # type: ignore[misc]
    abstract.AbstractOpenTests,  # type: ignore[misc]
    abstract.AbstractPipeTests,  # type: ignore[misc]
):
    """All of these tests."""

    @pytest.fixture
    def fs(self, store: FsspecStore) -> StoreFileSystem:
        """What is tested."""
        return store.fs

    @pytest.fixture
    def fs_path(self) -> str:
        """A folder: the root of a store is not copied and not removed."""
        return "suite"

    @pytest.fixture
    def fs_join(self) -> t.Callable[..., str]:
        """Keys have slashes, on any system."""
        return lambda *parts: "/".join(parts)

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        """A folder is there as long as a file is below it."""
        return False


class ServerSuite(Suite):
    """Those that may be another thing on another storage."""

    test_copy_glob_edge_cases = None
    test_get_glob_edge_cases = None
    test_put_glob_edge_cases = None


class TestLocal(Suite):
    """A folder on this disk."""

    @pytest.fixture
    def store(self, tmp_path: pathlib.Path) -> FsspecStore:
        """An empty folder."""
        config = {"STORE_PATH": tmp_path / "store", "STORE_FSYNC": False}
        return FsspecStore.from_config(config)


class TestMemory(Suite):
    """The memory of this process."""

    @pytest.fixture
    def store(self) -> FsspecStore:
        """An empty part of it."""
        return FsspecStore.from_url(f"memory://{uuid.uuid4().hex}")


class TestS3(ServerSuite):
    """SeaweedFS."""

    @pytest.fixture
    def store(self, seaweedfs_server: S3Server, seaweedfs_bucket: str) -> FsspecStore:
        """An empty bucket."""
        return FsspecStore.from_url(
            f"s3://{seaweedfs_bucket}/files",
            endpoint_url=seaweedfs_server.endpoint_url,
            key=seaweedfs_server.access_key,
            secret=seaweedfs_server.secret_key,
        )


@pytest.fixture(scope="module")
def sftp_place() -> t.Iterator[Place]:
    """One SFTP server."""
    with started(lambda: sftp("sshfs")) as place:
        yield place


class TestSFTP(ServerSuite):
    """OpenSSH."""

    @pytest.fixture
    def store(self, sftp_place: Place) -> FsspecStore:
        """An empty folder on the server."""
        return FsspecStore.from_url(sftp_place.new(), **sftp_place.options)


def test_requests(seaweedfs_server: S3Server, seaweedfs_bucket: str) -> None:
    """Each method makes the requests that the store makes, and no others."""
    with Proxy(seaweedfs_server.endpoint_url) as proxy:
        store = FsspecStore.from_url(
            f"s3://{seaweedfs_bucket}/files",
            endpoint_url=proxy.endpoint_url,
            key=seaweedfs_server.access_key,
            secret=seaweedfs_server.secret_key,
        )
        store.save(b"warm", "warm.txt")
        store.exists("no.txt")  # the first 404 is looked into
        fs = store.fs

        def write() -> None:
            with fs.open("x/a.bin", "wb") as file:
                file.write(b"x")

        def create() -> None:
            with store.create("x/b.bin") as out:
                out.write(b"x" * 600_000)

        uses: list[tuple[t.Callable[[], object], list[str]]] = [
            (write, ["PUT"]),
            (create, ["PUT"]),
            (lambda: fs.pipe_file("x/c.bin", b"x", mode="create"), ["PUT"]),
            (lambda: fs.cat_file("x/b.bin"), ["GET"]),
            (lambda: fs.cat_file("x/b.bin", 5, 10), ["GET"]),
            (lambda: fs.info("x/a.bin"), ["HEAD"]),
            (lambda: fs.isdir("x"), ["HEAD", "GET"]),
            (lambda: fs.find(""), ["GET"]),
        ]
        for use, expected in uses:
            proxy.requests.clear()
            use()
            assert [request.method for request in proxy.requests] == expected
