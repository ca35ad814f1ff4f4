"""How a stored file looks in a notebook: a picture, its first lines or a card.

A preview never fails, makes at most one request, and shows neither a link nor
anything that a browser would run.
"""

from __future__ import annotations

import base64
import typing as t

from markupsafe import escape

from .. import media_types
from .table import html_table
from .table import human
from .table import visible
from .table import when

if t.TYPE_CHECKING:
    from ..files import FileWrapper

#: The largest picture that is put into a notebook, in bytes.
PICTURE = 1024**2
#: How much of a text is read, in bytes, and how much of it is shown.
TEXT = 64 * 1024
LINES = 20
WIDTH = 200

#: The pictures that every browser shows and none runs, and how their bytes begin.
PICTURES = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
}
TEXTS = {
    "application/geo+json",
    "application/json",
    "application/jsonl",
    "application/sql",
    "application/toml",
    "application/yaml",
}
#: Text that is a program for a browser, even where only its beginning is shown.
NOT_TEXT = {"text/html", "text/javascript"}


def preview(file: FileWrapper) -> dict[str, str]:
    """The MIME bundle of a file, as IPython wants it."""
    bundle = {"text/plain": repr(file)}
    try:
        kind = media_types.content_type(file.key)
        if kind in PICTURES:
            bundle |= _picture(file, kind)
        elif _is_text(kind):
            bundle |= _text(file, kind)
        else:
            bundle |= _card(file)
    except Exception as exc:
        # Only the kind of error: its message may quote what nobody should see.
        bundle["text/html"] = html_table(
            (), [("name", file.key), ("error", type(exc).__name__)]
        )
    return bundle


def _is_text(kind: str) -> bool:
    return kind in TEXTS or (kind.startswith("text/") and kind not in NOT_TEXT)


def _picture(file: FileWrapper, kind: str) -> dict[str, str]:
    data = b"".join(file.stream(0, PICTURE + 1))
    if len(data) > PICTURE:
        rows = [("name", file.key), ("type", kind), ("size", "more than 1 MiB")]
        return {"text/html": html_table((), rows)}
    if not data.startswith(PICTURES[kind]):
        rows = [("name", file.key), ("type", kind), ("size", human(len(data)))]
        return {"text/html": html_table((), rows, "This is no such picture.")}
    return {kind: base64.b64encode(data).decode()}


def _text(file: FileWrapper, kind: str) -> dict[str, str]:
    data = b"".join(file.stream(0, TEXT))
    lines = data.decode("utf-8", errors="replace").splitlines()
    shown = "\n".join(
        visible(line[:WIDTH].replace("\t", "    ")) + ("…" if len(line) > WIDTH else "")
        for line in lines[:LINES]
    )
    more = "\n…" if len(lines) > LINES or len(data) == TEXT else ""
    card = html_table((), [("name", file.key), ("type", kind)])
    return {"text/html": f"{card}<pre>{escape(shown + more)}</pre>"}


def _card(file: FileWrapper) -> dict[str, str]:
    found = file.stat()
    rows = [
        ("name", file.key),
        ("type", found.content_type),
        ("size", human(found.size)),
        ("modified", when(found.modified)),
    ]
    return {"text/html": html_table((), rows)}
