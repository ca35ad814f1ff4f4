"""The form of docs/forms.rst, as it stands there, in a real browser without
JavaScript."""

from __future__ import annotations

import contextlib
import pathlib
import re
import textwrap
import typing as t

import pytest
from flask import Flask
from flask import request
from flask_wtf import FlaskForm
from flask_wtf.file import FileRequired
from playwright.sync_api import Page
from wtforms import StringField

from flask_store import Store
from flask_store.validators import FileType
from flask_store.validators import UploadField
from tests.conftest import missing
from tests.support.browser import browser
from tests.support.kept_files import private
from tests.support.servers import NotInstalledError
from tests.support.servers import ROOT
from tests.support.servers import serve

#: A megabyte, so that a form with the file can be told from one without.
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(1_000_000)


def make_app(folder: pathlib.Path) -> Flask:
    """The application of the documentation, which puts its files into a folder."""
    text = (ROOT / "docs/forms.rst").read_text()
    section = text.partition("A file survives a failed form\n")[2]
    block = re.search(
        r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)", section, re.MULTILINE
    )
    assert block is not None
    code = textwrap.dedent(block[1])
    for old, new in (
        ('STORE_PATH="members"', f"STORE_PATH={str(folder)!r}"),
        ('"change me"', '"the key"'),
    ):
        assert old in code
        code = code.replace(old, new)
    # What the page has imported before.
    names = {
        cls.__name__: cls
        for cls in (
            *(FileRequired, FileType, Flask, FlaskForm, Store, StringField),
            UploadField,
        )
    }
    namespace: dict[str, t.Any] = {"__name__": "members", **names}
    exec(code, namespace)
    return t.cast(Flask, namespace["app"])


@pytest.fixture
def page() -> t.Iterator[Page]:
    """A tab without JavaScript."""
    with contextlib.ExitStack() as stack:
        try:
            chromium = stack.enter_context(browser())
        except NotInstalledError as error:
            missing(str(error))
        context = stack.enter_context(
            chromium.new_context(java_script_enabled=False, locale="en-GB")
        )
        yield context.new_page()


def test_wrong_address(page: Page, tmp_path: pathlib.Path) -> None:
    """A user mistypes an address, and need not upload the picture again."""
    app = make_app(tmp_path / "members")
    picture = tmp_path / "me & you.png"
    picture.write_bytes(PICTURE)
    sizes: list[int] = []

    @app.before_request
    def count() -> None:
        if request.method == "POST":
            sizes.append(request.content_length or 0)

    store = app.extensions["store"].at(None)
    with serve(app) as url:
        page.goto(f"{url}/join")
        assert page.get_by_role("checkbox").count() == 0
        page.get_by_label("E-mail").fill("ann")
        page.get_by_label("Photo").set_input_files(picture)
        page.get_by_role("button", name="Join").click()
        assert page.get_by_role("alert").all_inner_texts() == ["This is no address."]
        checkbox = page.get_by_role("checkbox", name="me & you.png (976.6 KiB)")
        assert checkbox.is_checked()
        assert private(store) == ["upload"] and list(store.ls()) == []
        page.get_by_label("E-mail").fill("ann@example.org")
        page.get_by_role("button", name="Join").click()
        assert page.locator("body").inner_text() == "photos/me & you.png"
    first, second = sizes
    assert first > len(PICTURE) and second < 2000
    assert store.read("photos/me & you.png") == PICTURE
    assert private(store) == ["confirmed"]
