"""Every Python example of README.rst and docs/ runs here.

A page is one session from top to bottom. A block of ``STORE_`` settings alone is what a
configuration file would have, and a store is made from it. An application that takes
uploads gets one, and has to serve it. Other languages, such as ``text``, are not run.
"""

from __future__ import annotations

import ast
import contextvars
import doctest
import io
import os
import pathlib
import re
import textwrap
import typing as t
import urllib.parse

import fsspec
import pytest
from flask import Flask

from flask_store import Store
from flask_store.dialects import registry
from flask_store.settings import KEYS
from flask_store.settings import TABLE
from tests.support.servers import ROOT

PAGES = [ROOT / "README.rst", *sorted((ROOT / "docs").glob("*.rst"))]
BLOCK = re.compile(
    r"^\.\. code-block:: (?P<kind>python|pycon)\n\n(?P<code>(?:(?: {4}.*)?\n)+)", re.M
)
WORDS = re.compile(r"\b(?:AVATARS_)?(STORE_[A-Z0-9_]+[A-Z0-9])\b")


def blocks(page: pathlib.Path) -> list[tuple[int, str, str]]:
    """The examples of a page: line number, kind and code."""
    text = page.read_text(encoding="utf-8") + "\n"
    return [
        (text[: m.start("code")].count("\n"), m["kind"], textwrap.dedent(m["code"]))
        for m in BLOCK.finditer(text)
    ]


@pytest.fixture(autouse=True)
def nothing_left_from_elsewhere(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative paths end in a folder of the test's own, and memory is empty. What a
    page puts into the environment or registers is gone when it is read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    monkeypatch.setattr(fsspec.filesystem("memory").__class__, "store", {})
    monkeypatch.setattr(fsspec.filesystem("memory").__class__, "pseudo_dirs", [""])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page: pathlib.Path) -> None:
    """What a page shows works as it is shown, in the order in which it is read."""
    # A page may push a context; in a copy of ours it stays there.
    contextvars.copy_context().run(read, page)


def read(page: pathlib.Path) -> None:
    """Run the blocks of a page."""
    session: dict[str, t.Any] = {"__name__": "example"}
    for line, kind, code in blocks(page):
        if kind == "pycon":
            run_dialogue(page, line, code, session)
        else:
            run_code(page, line, code, session)


def run_dialogue(
    page: pathlib.Path, line: int, code: str, session: dict[str, t.Any]
) -> None:
    """Type in what follows the prompts and compare the answers."""
    test = doctest.DocTestParser().get_doctest(code, {}, page.name, str(page), line)
    test.globs = session
    said: list[str] = []
    doctest.DocTestRunner().run(test, out=said.append, clear_globs=False)
    assert not said, "".join(said)


def run_code(
    page: pathlib.Path, line: int, code: str, session: dict[str, t.Any]
) -> None:
    """Run a block, then use what it has made."""
    before = session.get("app")
    found = {} if code.startswith("STORE_") else session
    # Without what this module imports from __future__.
    exec(compile("\n" * line + code, str(page), "exec", dont_inherit=True), found)
    if found is not session:
        app = Flask("example")
        app.config.from_mapping(found)
        Store(app).Provider()
    elif session.get("app") is not before and "upload" in session["app"].view_functions:
        use(session["app"])


def use(app: Flask) -> None:
    """Upload a file, get it by its URL, and upload nothing."""
    client = app.test_client()
    data = {"afile": (io.BytesIO(b"\xff\xd8 bytes"), "localfile.jpg")}
    url = client.post("/upload", data=data).text
    assert url == "http://127.0.0.1:5000/flaskstore/localfile.jpg"
    assert client.get(urllib.parse.urlsplit(url).path).data == b"\xff\xd8 bytes"
    assert client.post("/upload").status_code == 400


def test_examples_are_found() -> None:
    """No block of Python escapes by the way in which it is written."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert text.count("code-block:: py") == len(blocks(page)), page.name
        inside = "".join(code for _, _, code in blocks(page))
        assert text.count(">>> ") == inside.count(">>> "), page.name


def test_every_setting_has_its_entry() -> None:
    """The configuration page has the settings that there are, each once."""
    page = (ROOT / "docs" / "config.rst").read_text(encoding="utf-8")
    entries = re.findall(r"^\.\. data:: (\w+)$", page, re.M)
    assert sorted(entries) == sorted(KEYS)


@pytest.mark.parametrize("name", sorted(KEYS))
def test_default_is_the_table_s(name: str) -> None:
    """What the configuration page states is what the store has where nothing is set;
    a default that the provider or the storage chooses is said in words."""
    page = (ROOT / "docs" / "config.rst").read_text(encoding="utf-8")
    entry = page.split(f".. data:: {name}\n")[1].split(".. data::")[0]
    (said,) = re.findall(r"^    Default: ((?:``(.+?)``)?.*)$", entry, re.M)
    default = TABLE[name].default
    if default == {}:
        assert said[0] == "none."
    elif default is not None:
        assert TABLE[name].read({name: ast.literal_eval(said[1])}) == default


def test_kinds_are_the_table_s() -> None:
    """The page on the environment names each setting once, beside its kind."""
    page = (ROOT / "docs" / "environment.rst").read_text(encoding="utf-8")
    table = page.split("      - Settings\n")[1].split("Anything else")[0]
    rows = [row.split("\n      - ") for row in table.split("    * - ")[1:]]
    stated = {
        name: kind for kind, _, settings in rows for name in WORDS.findall(settings)
    }
    assert stated == {name: row.kind.name for name, row in TABLE.items()}
    assert len(WORDS.findall(table)) == len(KEYS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_that_are_named_exist(page: pathlib.Path) -> None:
    """No page names a setting that there is not."""
    assert set(WORDS.findall(page.read_text(encoding="utf-8"))) <= KEYS


def test_readme_and_first_page_begin_with_the_same_sentence() -> None:
    """One sentence says what this is, everywhere."""
    metadata = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    (sentence,) = re.findall(r"^description = (.*)$", metadata, re.M)
    for page in ("README.rst", "docs/index.rst"):
        title, _, _, said = (ROOT / page).read_text(encoding="utf-8").split("\n")[:4]
        assert (title, said) == ("Flask-Store", sentence)


def test_errors_table_is_of_these_rules() -> None:
    """The table of statuses is what the tests of every protocol check."""
    from tests.support import error_table

    text = (ROOT / "docs/errors_table.inc").read_text()
    assert text == "\n".join([*error_table.lines(), ""])


def test_properties_table_is_of_the_dialects() -> None:
    """The table of what each store keeps is what the dialects answer."""
    from tests.support import properties_table

    text = (ROOT / "docs/properties_table.inc").read_text()
    assert text == "\n".join([*properties_table.lines(), ""])


def test_serving_table_is_of_these_tests() -> None:
    """The table of the route has every row, for every store, and each was shown."""
    from tests.storages.test_serving import CASES
    from tests.storages.test_serving import HEADERS
    from tests.support.serving_table import STORES

    text = (ROOT / "docs/serving_table.inc").read_text()
    _, *rows = (entry.split("\n     - ") for entry in text.split("\n   * - ")[1:])
    asked = {name for name, *_ in rows}
    assert asked >= {case.name for case in CASES} | {f"``{name}``" for name in HEADERS}
    for name, _, *cells in rows:
        assert [cell.strip() for cell in cells] == ["yes"] * len(STORES), name
