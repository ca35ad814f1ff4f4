"""What others get: the sdist, the wheel, and an installation of it."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import textwrap
import typing as t
import zipfile
from urllib.parse import urlsplit

import pytest
import requests

from tests.conftest import missing
from tests.support import licences
from tests.support import servers
from tests.support.licences import Licence
from tests.support.servers import ROOT
from tests.support.servers import S3Server

#: What is in a clone and not in the sdist.
NOT_SHIPPED = {".ci", ".git", ".github", ".gitignore", ".pre-commit-config.yaml"}
#: What a clone has after some work in it.
LEFTOVERS = shutil.ignore_patterns(
    *(".git", ".venv*", ".hypothesis", ".*_cache", "__pycache__", "*.egg-info"),
    *("_build", "build", "dist", "instance", ".coverage", "*.py[cod]"),
)
#: Python's own places, which would lead out of the new environment.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PYTHON", "VIRTUAL_ENV", "FLASK", "AWS_"))
}


def uv(*args: str | os.PathLike[str], folder: pathlib.Path) -> None:
    """Run uv, with what it has downloaded for this environment already."""
    program = pathlib.Path(sys.executable).parent / "uv"
    if not program.exists():
        missing("uv (make .venv/test)")
    subprocess.run(
        [program, *args, "--offline", "--quiet"],
        cwd=folder,
        env=ENVIRONMENT,
        check=True,
    )


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The files of the project, in a folder that git does not know."""
    folder = tmp_path_factory.mktemp("package") / "clone"
    return pathlib.Path(shutil.copytree(ROOT, folder, ignore=LEFTOVERS))


@pytest.fixture(scope="module")
def built(clone: pathlib.Path) -> pathlib.Path:
    """A folder with the sdist, and with the wheel that is built from it."""
    folder = clone.parent / "dist"
    uv("build", "--out-dir", folder, folder=clone)
    return folder


@pytest.fixture(scope="module")
def python(built: pathlib.Path) -> pathlib.Path:
    """Python, with nothing but ``Flask-Store[s3]``."""
    (wheel,) = built.glob("*.whl")
    venv = built.parent / "venv"
    uv("venv", "--python", sys.executable, venv, folder=built)
    python = venv / "bin" / "python"
    uv("pip", "install", "--python", python, f"{wheel}[s3]", folder=built)
    return python


def files(folder: pathlib.Path) -> set[str]:
    """The paths of all files below a folder."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in found}


def test_wheel_has_the_package_and_no_more(
    clone: pathlib.Path, built: pathlib.Path
) -> None:
    """Every file of the package, also what is no Python, and no tests."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = files(clone / "flask_store")
    assert names == {f"flask_store/{name}" for name in package}
    assert {
        "py.typed",
        "static/uploader.js",
        "testing/hostile_names.json",
        "images/child.py",
    } <= package


def test_sdist_has_the_project(clone: pathlib.Path, built: pathlib.Path) -> None:
    """With it, somebody can run the tests and build the documentation."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {m.name.partition("/")[2] for m in archive.getmembers() if m.isfile()}
    project = {
        name for name in files(clone) if name.partition("/")[0] not in NOT_SHIPPED
    }
    made = re.compile(r"Flask_Store\.egg-info/|PKG-INFO|setup\.cfg")
    assert {n for n in names if not made.match(n)} == {
        n for n in project if not made.match(n)
    }


def test_licences_leave_applications_free() -> None:
    """Whatever an extra installs, an application may keep the licence that it has."""
    found = licences.licences()
    assert {"Flask", "fsspec", "s3fs", "paramiko", "pillow"} <= {
        x.package for x in found
    }
    assert not [each for each in found if not each.is_allowed]


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("MIT AND PSF-2.0", True),
        ("EPL-2.0 OR GPL-2.0-or-later", True),
        ("BSD License; Apache Software License", True),
        ("GNU Lesser General Public License v2 (LGPLv2)", True),
        ("GPL-3.0-only", False),
        ("AGPL-3.0", False),
        ("MIT AND GPL-2.0-only", False),
        ("GNU General Public License v3 (GPLv3)", False),
        ("unknown", False),
    ],
)
def test_licence_that_would_bind_an_application(text: str, allowed: bool) -> None:
    """It is recognized as such."""
    assert Licence("package", "1.0", text).is_allowed is allowed


def readme(beginning: str) -> str:
    """The code block of the README that begins so."""
    text = (ROOT / "README.rst").read_text(encoding="utf-8")
    blocks = re.findall(
        r"^\.\. code-block:: python\n\n((?:(?: {4}.*)?\n)+)", text, re.M
    )
    (found,) = (b for b in map(textwrap.dedent, blocks) if b.startswith(beginning))
    return str(found)


def upload_to(python: pathlib.Path, folder: pathlib.Path) -> bytes:
    """Serve the application of a folder, upload a file, and get it by its URL."""
    (port,) = servers._free_ports(1)
    args = [python, "-m", "flask", "--app", "app", "run", f"--port={port}"]
    here = f"http://127.0.0.1:{port}"
    with servers._process(args, folder, env={"PYTHONPATH": ""}, grace=5) as running:
        running.wait_until(lambda: servers._answers(here), 30)
        sent = {"afile": ("localfile.jpg", b"\xff\xd8 bytes")}
        answer = requests.post(f"{here}/upload", files=sent, timeout=30)
        assert answer.status_code == 200, answer.text
        path = urlsplit(answer.text).path
        assert path == "/flaskstore/localfile.jpg"
        return requests.get(f"{here}{path}", timeout=30).content


def test_readme_runs_where_it_is_installed(
    python: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """The first lines that people see work as they are."""
    (tmp_path / "app.py").write_text(readme("from flask import Flask"))
    assert upload_to(python, tmp_path) == b"\xff\xd8 bytes"
    (stored,) = tmp_path.rglob("localfile.jpg")
    assert stored.read_bytes() == b"\xff\xd8 bytes"


def test_readme_runs_on_s3(
    python: pathlib.Path,
    tmp_path: pathlib.Path,
    seaweedfs_server: S3Server,
    seaweedfs_bucket: str,
) -> None:
    """The code does not change; the settings are those of the README."""
    settings: dict[str, t.Any] = {}
    exec(readme("STORE_PROVIDER"), settings)
    del settings["__builtins__"]
    settings |= {
        "STORE_S3_BUCKET": seaweedfs_bucket,
        "STORE_S3_ENDPOINT_URL": seaweedfs_server.endpoint_url,
        "STORE_S3_ACCESS_KEY": seaweedfs_server.access_key,
        "STORE_S3_SECRET_KEY": seaweedfs_server.secret_key,
        "STORE_SERVE": "proxy",
    }
    code = readme("from flask import Flask")
    store = "store = Store(app)\n"
    assert store in code
    configured = code.replace(store, f"app.config.update({settings!r})\n{store}")
    (tmp_path / "app.py").write_text(configured)
    assert upload_to(python, tmp_path) == b"\xff\xd8 bytes"
    assert not [*tmp_path.rglob("localfile.jpg")]
