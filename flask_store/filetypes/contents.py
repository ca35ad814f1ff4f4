"""Whether the beginning of a file agrees with an extension."""

from __future__ import annotations

import codecs
import typing as t
from collections.abc import Iterator

from .. import media_types
from ..exceptions import NotConfiguredError
from . import documents
from .formats import CHECKS
from .formats import is_pdf

#: How many bytes at the start of a file are checked.
HEAD = 8192
#: Shorter signatures, in bytes, also occur in ordinary text.
DISTINCT = 4
#: Types of text other than ``text/*``, ``message/*``, ``*+json`` and ``*+xml``.
TEXT = {
    f"application/{name}"
    for name in ("javascript", "json", "jsonl", "sql", "toml", "xml", "yaml")
}
#: Types whose files begin alike, or that have two names.
ALIKE = {
    "image/heic": "image/heif",
    "audio/mp4": "video/mp4",
    "application/x-matroska": "video/matroska",
}


def is_known(extension: str) -> bool:
    """Whether it can be checked that a file is what this extension says.

    :param extension: in lower case, with its dot.
    """
    rows = _puremagic().magic_header_array
    known_extensions = {row.extension.lower() for row in rows}
    types = {_type(known) for known in known_extensions} - {media_types.UNKNOWN}
    content_type = _type(extension)
    return (
        extension in {*CHECKS, *documents.KNOWN, *known_extensions}
        or content_type in types
        or _is_text(content_type)
    )


def agrees(extension: str, head: bytes) -> bool:
    """Whether a file that begins with *head* may be what its extension says.

    :param extension: in lower case, with its dot.
    """
    if extension in CHECKS:
        return CHECKS[extension](head)
    matches = list(_signatures(head))
    content_type = _type(extension)
    if _is_text(content_type):
        other_types = {
            _type(match.extension) for match in matches if _is_distinct(match)
        }
        return (
            _is_unicode(head)
            and not is_pdf(head)
            and all(_is_text(other) for other in other_types - {media_types.UNKNOWN})
        )
    types = {ALIKE.get(match.mime_type, match.mime_type) for match in matches}
    types |= {_type(match.extension) for match in matches}
    return extension in {match.extension.lower() for match in matches} or (
        content_type != media_types.UNKNOWN and content_type in types
    )


def _puremagic() -> t.Any:
    """:raises NotConfiguredError: if it is not installed."""
    try:
        import puremagic.main
    except ImportError as exc:
        raise NotConfiguredError(
            "The content of files is checked with puremagic. Install it with: pip"
            " install 'Flask-Store[filetypes]'"
        ) from exc
    return puremagic.main


def _signatures(head: bytes) -> Iterator[t.Any]:
    puremagic = _puremagic()
    try:
        matches = puremagic.magic_string(head) if head else []
    except puremagic.PureError:  # there is no known signature
        return
    # Signatures at the end of a file do not count: anybody can append them.
    yield from (match for match in matches if match.offset >= 0)


def _is_distinct(match: t.Any) -> bool:
    return match.offset == 0 and len(match.byte_match) >= DISTINCT


def _type(extension: str) -> str:
    content_type = media_types.content_type(f"x{extension}")
    return ALIKE.get(content_type, content_type)


def _is_text(content_type: str) -> bool:
    return (
        content_type.startswith(("text/", "message/"))
        or content_type.endswith(("+json", "+xml"))
        or content_type in TEXT
    )


def _is_unicode(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):  # what Excel calls "Unicode text"
        encoding = "utf-16"
    elif b"\0" in head:
        return False
    else:
        encoding = "utf-8"
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        # The head of a longer file may end in the middle of a character.
        decoder.decode(head, final=len(head) < HEAD)
    except UnicodeDecodeError:
        return False
    return True
