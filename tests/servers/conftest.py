"""One browser for each file of tests, and the pages of the uploader."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.conftest import missing
from tests.support.browser import browser
from tests.support.servers import NotInstalledError
from tests.support.uploader_site import Sites


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser."""
    try:
        with browser() as started:
            yield started
    except NotInstalledError as error:
        missing(str(error))


@pytest.fixture
def sites(chromium: Browser, tmp_path: pathlib.Path) -> Iterator[Sites]:
    """Opens pages of the uploader, and closes them all."""
    with contextlib.ExitStack() as stack:
        yield Sites(chromium, tmp_path, stack)
