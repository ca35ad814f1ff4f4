"""How a stored file looks in a notebook: a picture, its first lines or a card.

A preview never raises an error. It makes one request, and more for a picture that has
to be made smaller. It has no links, and nothing that a browser would run.
"""

from __future__ import annotations

import base64
import importlib.util
import tempfile
import typing as t

from markupsafe import escape

from .. import media_types
from ..exceptions import BadPicture
from ..exceptions import NotConfiguredError
from ..settings import IMAGE_FORMATS
from .table import html_table
from .table import human
from .table import visible
from .table import when

if t.TYPE_CHECKING:
    from ..dialects import Stat

#: The largest picture that a notebook shows as it is, in bytes.
PICTURE = 1024**2
#: The largest one that is read to make it smaller, in bytes; its most pixels; and how
#: wide and how high it is then.
LARGEST = 32 * 1024**2
MAX_PIXELS = 50_000_000
SMALL = 640
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
#: The pictures that notebooks do not show, but a variant of them: files in the ISO Base
#: Media File Format, with its first box at their beginning.
IN_BOXES = ("image/avif", "image/heic", "image/heif")
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

    @property
    def store(self) -> t.Any: ...

    def stream(self, start: int, stop: int) -> t.Iterator[bytes]: ...

    def stat(self) -> Stat: ...


def preview(file: File) -> dict[str, str]:
    """The MIME bundle of a file, as IPython wants it."""
    bundle = {"text/plain": repr(file)}
    try:
        content_type = media_types.content_type(file.key)
        if content_type in PICTURES or content_type in IN_BOXES:
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
    size = human(len(data)) if len(data) <= PICTURE else "more than 1 MiB"
    rows = [("name", file.key), ("type", content_type), ("size", size)]
    if not _is_picture(data, content_type):
        return {"text/html": html_table((), rows, "This is no such picture.")}
    if len(data) <= PICTURE and content_type in PICTURES:
        return {content_type: base64.b64encode(data).decode()}
    try:
        return {"image/jpeg": base64.b64encode(_small(file, data)).decode()}
    except NotConfiguredError:
        return {"text/html": html_table((), rows)}
    except BadPicture:
        return {"text/html": html_table((), rows, "It cannot be made smaller.")}


def _is_picture(data: bytes, content_type: str) -> bool:
    if content_type in IN_BOXES:
        return data[4:8] == b"ftyp"
    return data.startswith(PICTURES[content_type])


def _small(file: File, beginning: bytes) -> bytes:
    """A small JPEG of a picture: the variant, if its store has variants.

    :param beginning: what has been read of the file.
    :raises NotConfiguredError: if the store has none and Pillow is not installed.
    :raises BadPicture: if it cannot be decoded, or is larger than :data:`LARGEST`.
    """
    from ..images import making
    from ..images.spec import Spec
    from ..images.variant import Variant

    spec = Spec(width=SMALL, height=SMALL, format="jpeg")
    # A store of a class of one's own need not have variants.
    if getattr(file.store, "variants", None) is not None:
        return Variant(file, spec).read()
    if importlib.util.find_spec("PIL") is None:
        raise NotConfiguredError("Pillow is not installed.")  # nothing is read then
    with tempfile.TemporaryFile() as copy:
        copy.write(beginning)
        if len(beginning) > PICTURE:
            for data in file.stream(len(beginning), LARGEST + 1):
                copy.write(data)
        copy.seek(0)
        limits = making.Limits(IMAGE_FORMATS, MAX_PIXELS, LARGEST)
        return making.render(copy, spec, limits)


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
