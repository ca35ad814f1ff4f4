"""How a stored file looks in a notebook: a picture, its first lines or a card.

A preview never raises an error and makes at most one request. It has no links, and
nothing that a browser would run.
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
    from ..dialects import Stat

#: The largest picture that a notebook shows, in bytes.
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
#: How bytes begin that gzip has compressed (RFC 1952, section 2.3.1). No text does.
GZIP = b"\x1f\x8b"
#: Text that a browser would run, even if only its beginning is shown.
NOT_TEXT = {"text/html", "text/javascript"}


class File(t.Protocol):
    """The methods of a stored file that a preview calls."""

    key: str

    def stream(self, start: int, stop: int) -> t.Iterator[bytes]: ...

    def stat(self) -> Stat: ...


def preview(file: File) -> dict[str, str]:
    """The MIME bundle of a file, as IPython wants it."""
    bundle = {"text/plain": repr(file)}
    try:
        content_type = media_types.content_type(file.key)
        if content_type in PICTURES:
            bundle |= _picture(file, content_type)
        elif _is_text(content_type):
            bundle |= _text(file, content_type)
        else:
            bundle |= _card(file)
    except Exception as exc:
        # Only the class of the error, because its message may contain a secret.
        bundle["text/html"] = html_table(
            (), [("name", file.key), ("error", type(exc).__name__)]
        )
    return bundle


def _is_text(content_type: str) -> bool:
    return content_type in TEXTS or (
        content_type.startswith("text/") and content_type not in NOT_TEXT
    )


def _picture(file: File, content_type: str) -> dict[str, str]:
    data = b"".join(file.stream(0, PICTURE + 1))
    if len(data) > PICTURE:
        rows = [("name", file.key), ("type", content_type), ("size", "more than 1 MiB")]
        return {"text/html": html_table((), rows)}
    if not data.startswith(PICTURES[content_type]):
        rows = [("name", file.key), ("type", content_type), ("size", human(len(data)))]
        return {"text/html": html_table((), rows, "This is no such picture.")}
    return {content_type: base64.b64encode(data).decode()}


def _text(file: File, content_type: str) -> dict[str, str]:
    data = b"".join(file.stream(0, TEXT))
    if data.startswith(GZIP):
        rows = [("name", file.key), ("type", content_type)]
        return {"text/html": html_table((), rows, "It is stored compressed.")}
    lines = data.decode("utf-8", errors="replace").splitlines()
    shown = "\n".join(
        visible(line[:WIDTH].replace("\t", "    ")) + ("…" if len(line) > WIDTH else "")
        for line in lines[:LINES]
    )
    more = "\n…" if len(lines) > LINES or len(data) == TEXT else ""
    card = html_table((), [("name", file.key), ("type", content_type)])
    return {"text/html": f"{card}<pre>{escape(shown + more)}</pre>"}


def _card(file: File) -> dict[str, str]:
    stat = file.stat()
    rows = [
        ("name", file.key),
        ("type", stat.content_type),
        ("size", human(stat.size)),
        ("modified", when(stat.modified)),
    ]
    return {"text/html": html_table((), rows)}
