"""The examples of the documentation, for tests that run them elsewhere."""

from __future__ import annotations

import re
import textwrap

from tests.support.servers import ROOT


def documented(page: str, language: str, beginning: str) -> str:
    """The one code block of a page in docs/ that has these words."""
    text = (ROOT / "docs" / page).read_text()
    blocks = re.findall(
        rf"^\.\. code-block:: {language}\n\n((?:    .*\n|\n)+)", text, re.MULTILINE
    )
    (found,) = (block for block in blocks if beginning in block)
    return textwrap.dedent(found)
