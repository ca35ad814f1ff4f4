"""Saving takes the same little memory for a file of any size."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest

from tests.conftest import missing
from tests.storages.test_s3 import settings
from tests.support.servers import ROOT
from tests.support.servers import S3Server

MIB = 1024**2
#: How much a process may grow while it saves, whatever the size of the file.
LIMIT = 32 * MIB


@pytest.fixture(params=["local", "SeaweedFS"])
def backend(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path
) -> tuple[str, dict[str, t.Any]]:
    """A name for the figures, and the settings of a store."""
    if request.param == "local":
        return "local", {"STORE_PATH": str(tmp_path)}
    server: S3Server = request.getfixturevalue("seaweedfs_server")
    return "SeaweedFS", settings(server, request.getfixturevalue("seaweedfs_bucket"))


@pytest.mark.parametrize(
    ("size", "kind"), [(1024 * MIB, "file"), (300 * MIB, "pipe")], ids=["file", "pipe"]
)
def test_memory_does_not_grow_with_the_file(
    backend: tuple[str, dict[str, t.Any]],
    size: int,
    kind: str,
    figures: t.Callable[[str], None],
) -> None:
    """1 GiB, or 300 MiB that can be read only once, cost less than 32 MiB."""
    if not os.path.exists("/proc/self/clear_refs"):
        missing("a kernel that counts the peak of a process's memory (Linux)")
    label, config = backend
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.support.memory_peak",
            json.dumps(config),
            str(size),
            kind,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr
    grown = int(done.stdout)
    figures(
        f"memory, {label}, {size // MIB} MiB from a {kind}: +{grown / MIB:.1f} MiB at"
        f" most (limit {LIMIT // MIB})"
    )
    assert grown < LIMIT
