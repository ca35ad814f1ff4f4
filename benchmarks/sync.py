"""Files a second of ``flask store sync`` and of rclone: python benchmarks/sync.py [N]

Small files from the local disk to SeaweedFS, each into an empty bucket, in turn.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from flask_store.stores.fsspec import FsspecStore  # noqa: E402
from flask_store.sync import Journal  # noqa: E402
from flask_store.sync import Sync  # noqa: E402
from tests.support import servers  # noqa: E402
from tests.support.rclone_server import rclone_program  # noqa: E402


def ours(server: servers.S3Server, source: pathlib.Path, count: int) -> float:
    """Seconds that our own sync takes, listing and verification included."""
    target = FsspecStore.from_url(
        f"s3://{server.make_bucket()}",
        endpoint_url=server.endpoint_url,
        key=server.access_key,
        secret=server.secret_key,
    )
    begun = time.perf_counter()
    run = Sync(FsspecStore.from_url(f"file://{source}"), target, Journal(None))
    assert [outcome.status for outcome in run.run()] == ["copied"] * count
    return time.perf_counter() - begun


def rclone(server: servers.S3Server, source: pathlib.Path, *options: str) -> float:
    """Seconds that rclone takes."""
    remote = (
        f":s3,provider=Other,endpoint='{server.endpoint_url}',"
        f"access_key_id={server.access_key},secret_access_key={server.secret_key},"
        f"no_check_bucket=true:{server.make_bucket()}"
    )
    command = [rclone_program(), "copy", source, remote, "--checksum", *options]
    begun = time.perf_counter()
    subprocess.run(
        [*command, "--config", os.devnull], check=True, stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - begun


def main() -> None:
    """Print a line for each round."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    with servers.seaweedfs() as server, tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder)
        for number in range(count):
            (source / f"{number}.txt").write_bytes(os.urandom(4000))
        for _ in range(2):
            print(f"sync           {count / ours(server, source, count):7.0f} files/s")
            for options in ((), ("--transfers=16",)):
                speed = count / rclone(server, source, *options)
                print(f"rclone {' '.join(options):14} {speed:7.0f} files/s")


if __name__ == "__main__":
    main()
