"""Every dependency has its reason in the documentation."""

from __future__ import annotations

import configparser
import re

from tests.support.servers import ROOT


def test_each_dependency_has_its_reason() -> None:
    """The table has the versions and the extras of setup.cfg, and no others."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    wanted = {
        (text, "") for text in config["options"]["install_requires"].split("\n") if text
    }
    for extra, texts in config["options.extras_require"].items():
        if extra not in ("all", "test", "bench", "docs", "dev"):
            wanted |= {
                (text, extra) for text in texts.split("\n") if text[:1].isalnum()
            }
    page = (ROOT / "docs" / "design.rst").read_text(encoding="utf-8")
    table = page.partition(".. _dependencies:")[2]
    rows = re.findall(r"^    \* - ``(\S+)``\n      -(.*)\n      - \S", table, re.M)
    found = {
        (text, extra)
        for text, extras in rows
        for extra in re.findall(r"``(\w+)``", extras) or [""]
    }
    assert found == wanted
