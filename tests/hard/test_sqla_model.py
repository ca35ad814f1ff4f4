"""Random steps over rows with files: none is without its file or has wrong bytes, and
a sweep removes what is left, exactly.

FLASK_STORE_MODEL_SEED chooses other steps, and FLASK_STORE_ROUNDS how many times longer
each pair of database and store is tried (``make test-long`` takes some minutes).
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing as t
from collections.abc import Callable

import pytest

from tests.support import servers
from tests.support.rounds import TIMES
from tests.support.sqla_model import Report
from tests.support.sqla_model import Run

#: How long each pair of a database and a store is tried.
SECONDS = 4 * TIMES
SEED = os.environ.get("FLASK_STORE_MODEL_SEED", "1")

DATABASES = ["sqlite", "psycopg", "asyncpg", "mariadb"]

Figures: t.TypeAlias = Callable[[str], None]


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str:
    """The URL of a database with the driver to try."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'rows.db'}"
    if request.param == "mariadb":
        return t.cast(str, request.getfixturevalue("mariadb"))
    url: str = request.getfixturevalue("postgresql")
    return url.replace("psycopg", request.param)


@pytest.fixture
def config(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> dict[str, t.Any]:
    """The configuration of a store."""
    if request.param == "folder":
        return {"STORE_PATH": str(tmp_path / "files"), "STORE_FSYNC": False}
    server: servers.S3Server = request.getfixturevalue("seaweedfs_server")
    return {
        "STORE_PATH": f"s3://{request.getfixturevalue('seaweedfs_bucket')}/some/place",
        "STORE_S3_ENDPOINT_URL": server.endpoint_url,
        "STORE_S3_ACCESS_KEY": server.access_key,
        "STORE_S3_SECRET_KEY": server.secret_key,
    }


def show(figures: Figures, name: str, report: Report) -> None:
    """One line about a run."""
    figures(
        f"model on {name}: {report.rounds} rounds, {report.steps} steps,"
        f" {report.commits} commits, {report.kills} kills, {report.files_read} files"
        f" read, {report.swept} swept, {sum(report.errors.values())} errors of the"
        " database"
    )


@pytest.mark.parametrize("config", ["folder", "s3"], indirect=True)
@pytest.mark.parametrize("url", DATABASES, indirect=True)
def test_random_steps(
    request: pytest.FixtureRequest, url: str, config: dict[str, t.Any], figures: Figures
) -> None:
    """Every committed row has its file with its bytes, all the time."""
    report = Run(url, config, SEED).for_seconds(SECONDS)
    show(figures, request.node.callspec.id, report)
    assert report.broken == []
    assert report.commits


@pytest.mark.parametrize("config", ["folder"], indirect=True)
@pytest.mark.parametrize("url", ["sqlite", "psycopg", "mariadb"], indirect=True)
def test_processes_that_are_killed(
    request: pytest.FixtureRequest, url: str, config: dict[str, t.Any], figures: Figures
) -> None:
    """SIGKILL in the middle of the steps leaves files, and no row without one."""
    command = [
        sys.executable,
        "-m",
        "tests.support.sqla_model",
        url,
        json.dumps(config),
    ]
    command += ["--seed", SEED, "--seconds", str(SECONDS / 2), "--kills"]
    done = subprocess.run(
        command,
        cwd=servers.ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=SECONDS + 120,
    )
    report = Report(**json.loads(done.stdout))
    show(figures, f"{request.node.callspec.id} with kills", report)
    assert report.broken == []
    assert report.kills
