"""How views write: an HTML table of plain cells, sizes and dates. Everything that
goes into HTML is escaped here."""

from __future__ import annotations

import datetime as dt
import unicodedata
from collections.abc import Iterable
from collections.abc import Sequence

from markupsafe import escape

#: How many bytes a unit is (IEC 80000-13).
UNITS = {
    unit: 1024**power for power, unit in enumerate(("B", "KiB", "MiB", "GiB", "TiB"))
}


def html_table(
    head: Sequence[str], rows: Iterable[Sequence[object]], below: str = ""
) -> str:
    """A table and, below it, a line.

    :param head: the names of the columns; with none there is no head.
    """
    lines = [_row("th", head)] if head else []
    lines += [_row("td", row) for row in rows]
    note = f"<p>{escape(below)}</p>" if below else ""
    return f"<table>{''.join(lines)}</table>{note}"


def _row(tag: str, cells: Sequence[object]) -> str:
    inner = "".join(f"<{tag}>{escape(visible(str(cell)))}</{tag}>" for cell in cells)
    return f"<tr>{inner}</tr>"


def visible(text: str) -> str:
    """The text with what cannot be seen, or would steer a terminal, spelled out.

    A name may hold the code that turns the order of letters around, and a bucket
    that others write to may hold any name.
    """
    return "".join(
        char.encode("unicode_escape").decode()
        if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else char
        for char in text
    )


def when(moment: dt.datetime | None) -> str:
    """A date to the minute, in UTC."""
    return f"{moment:%Y-%m-%d %H:%M}" if moment else ""


def human(size: int) -> str:
    """A number of bytes in the unit that suits it: ``1.5 MiB``."""
    unit = max(
        (u for u in UNITS if UNITS[u] <= size), key=UNITS.__getitem__, default="B"
    )
    return f"{size} B" if unit == "B" else f"{size / UNITS[unit]:.1f} {unit}"
