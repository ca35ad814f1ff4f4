"""A real browser, driven by Playwright, and the scripts of others that run in it."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import subprocess
import typing as t

from playwright.sync_api import Browser
from playwright.sync_api import sync_playwright

from .servers import NotInstalledError
from .servers import ROOT

#: Where ``make .venv/npm/installed`` puts the packages of tests/node/package.json.
NODE_MODULES = ROOT / ".venv" / "npm" / "node_modules"


@contextlib.contextmanager
def browser() -> t.Iterator[Browser]:
    """Run Chromium without a window, and yield it."""
    program = shutil.which("chromium")
    if program is None:
        raise NotInstalledError("Chromium is not installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        # Chromium refuses its sandbox to root, and /dev/shm is small in containers.
        args = ["--no-sandbox", "--disable-dev-shm-usage"]
        started = playwright.chromium.launch(executable_path=program, args=args)
        try:
            yield started
        finally:
            started.close()


def module(path: str) -> pathlib.Path:
    """A file of an npm package, such as ``axe-core/axe.min.js``."""
    file = NODE_MODULES / path
    if not file.exists():
        raise NotInstalledError(f"{path} is not installed (make .venv/npm/installed)")
    return file


def bundle(script: str) -> str:
    """A script together with the npm packages that it imports, as one module."""
    program = module(".bin/esbuild")
    args = [program, "--bundle", "--format=esm", "--log-level=error"]
    done = subprocess.run(
        args, cwd=NODE_MODULES.parent, input=script, stdout=subprocess.PIPE, text=True
    )
    done.check_returncode()
    return done.stdout
