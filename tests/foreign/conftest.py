"""Installs the package of this folder, as far as Python sees that, and without pip."""

from __future__ import annotations

import pathlib
import sys
import tomllib
from collections.abc import Iterator

import fsspec
import pytest

from flask_store.dialects import registry

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="session", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The entry points of pyproject.toml, and the folder to import them from."""
    project = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
    site = tmp_path_factory.mktemp("site")
    info = site / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Name: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {entries[name]}" for name in entries)]
    (info / "entry_points.txt").write_text("\n".join(lines))
    sys.path[:0] = [str(site), str(HERE)]
    registry._entry_points.cache_clear()
    fsspec.process_entries()  # which fsspec does when it is imported
    yield
    sys.path.remove(str(site))
    sys.path.remove(str(HERE))
    registry._entry_points.cache_clear()
