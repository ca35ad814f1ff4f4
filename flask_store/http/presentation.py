"""How a browser is told to treat a file: show or save it, and never run it. Pure."""

from __future__ import annotations

import re
import typing as t
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

from werkzeug.http import parse_options_header
from werkzeug.utils import get_content_type

from .. import naming
from ..media_types import UNKNOWN
from ..settings import INLINE_TYPES

#: What a page of the same site could load as its own code, whatever the disposition:
#: JavaScript (WHATWG MIME Sniffing, section 4.6, "JavaScript MIME type"), style sheets
#: and WebAssembly. It is sent as a type that nosniff keeps from being run. JSON, a
#: manifest included, only describes something to a page that asks for it.
CODE = re.compile(
    r"(text|application)/(x-)?(java|ecma|live|j)script[0-9.]*\Z"
    r"|text/(css|xsl)\Z|application/(wasm|xslt\+xml)\Z"
)

#: What a browser is about to do with a file that it takes for code (Fetch, "request
#: destination", as ``Sec-Fetch-Dest`` names it). For XSLT it looks at no type.
CODE_DESTINATIONS = frozenset(
    {
        "audioworklet",
        "paintworklet",
        "script",
        "serviceworker",
        "sharedworker",
        "style",
        "worker",
        "xslt",
    }
)

# A browser shows an image or a video in a page that it makes for it, which has a
# style of its own and loads the file once more.
_SOURCES = (
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; "
)
#: Nothing runs, and nothing has the rights of the site.
SANDBOX = _SOURCES + "sandbox"
#: Chromium loads the video of such a page with CORS, so that it needs an origin. No
#: script may use it.
SANDBOX_MEDIA = _SOURCES + "sandbox allow-same-origin"

_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+\Z")
_CHARSET = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$%&'+^_`~-]{0,39}\Z")
# attr-char of RFC 5987, section 3.2.1, beside letters and digits.
_ATTR_CHAR = "!#$&+-.^_`|~"


def essence(content_type: str) -> str:
    """The type without its parameters; what is none becomes "some bytes"."""
    kind = parse_options_header(content_type)[0].strip().lower()
    return kind if _TYPE.match(kind) else UNKNOWN


def charset(content_type: str) -> str:
    """The charset that a text is stored with; UTF-8 if there is none, or its name
    cannot be that of a charset (RFC 2978, section 2.3)."""
    name = parse_options_header(content_type)[1].get("charset", "")
    return name if _CHARSET.match(name) else "utf-8"


def is_inline(content_type: str, allowed: Iterable[str] = INLINE_TYPES) -> bool:
    """Whether a browser may show this type in place of saving it."""
    return _is_inline(essence(content_type), allowed)


def _is_inline(kind: str, allowed: Iterable[str]) -> bool:
    if kind in allowed:
        return True
    family = f"{kind.partition('/')[0]}/*"
    plain = not kind.endswith(("+xml", "/xml")) and not CODE.match(kind)
    return family in allowed and plain


def headers(
    name: str,
    content_type: str,
    allowed: Iterable[str],
    as_attachment: bool = False,
    content_encoding: str | None = None,
) -> dict[str, str]:
    """The headers that say what a file is and how far it is trusted.

    :param name: its file name, under which a browser saves it.
    :param allowed: the types that may be shown.
    :param as_attachment: save it, whatever it is.
    :param content_encoding: how its bytes are compressed. That changes nothing else: a
        browser judges what it has decompressed by the same type.
    """
    kind = essence(content_type)
    shown = _is_inline(kind, allowed) and not as_attachment
    sent = kind
    if CODE.match(kind):
        sent = "text/plain" if shown else UNKNOWN
    media = kind.startswith(("audio/", "video/"))
    encoded = {"Content-Encoding": content_encoding} if content_encoding else {}
    return {
        **encoded,
        "Content-Type": get_content_type(
            sent, charset(content_type) if ";" in content_type else "utf-8"
        ),
        "Content-Disposition": disposition("inline" if shown else "attachment", name),
        "Content-Security-Policy": SANDBOX_MEDIA if media else SANDBOX,
        "X-Content-Type-Options": "nosniff",
    }


@lru_cache(maxsize=1024)
def disposition(kind: t.Literal["inline", "attachment"], name: str) -> str:
    """A ``Content-Disposition`` with a name of any characters (RFC 6266).

    :param name: cleaned here, so that it names one file on any system.
    """
    name = naming.clean(name)
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    # Of these, appendix D says that browsers differ.
    plain = re.sub(r'[%"\\]', "_", plain)
    if plain == name:
        return f'{kind}; filename="{plain}"'
    encoded = quote(name, safe=_ATTR_CHAR)
    return f"{kind}; filename=\"{plain or 'file'}\"; filename*=UTF-8''{encoded}"
