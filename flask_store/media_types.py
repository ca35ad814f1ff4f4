"""Media types: which one the extension of a stored name stands for. Pure."""

from __future__ import annotations

import mimetypes
import re

#: For what nothing is known of.
UNKNOWN = "application/octet-stream"

#: What may be a content type in a header of any storage: one line of printable ASCII.
#: A type and a subtype have 127 characters each at most (RFC 6838, section 4.2).
_LINE = re.compile(r"[!-~]([ -~]{0,253}[!-~])?\Z")


def _table(text: str) -> dict[str, str]:
    pairs = (pair.split("=") for pair in text.split())
    return {f".{extension}": kind for extension, kind in pairs}


#: What compressed files are, whatever is in them.
COMPRESSED = _table("""
    br=application/x-brotli bz2=application/x-bzip2 gz=application/gzip
    lz4=application/x-lz4 lzma=application/x-lzma svgz=application/gzip
    tbz2=application/x-bzip2 tgz=application/gzip txz=application/x-xz
    xz=application/x-xz z=application/x-compress zst=application/zstd
""")
# An instance of our own, because the module's tables are the machine's; then, of what
# people upload, what Python 3.11 lacks or its successors name otherwise: hosts with
# other systems and other Pythons answer alike.
TYPES = mimetypes.MimeTypes().types_map[True] | _table("""
    arrow=application/vnd.apache.arrow.file epub=application/epub+zip
    docx=application/vnd.openxmlformats-officedocument.wordprocessingml.document
    pptx=application/vnd.openxmlformats-officedocument.presentationml.presentation
    xlsx=application/vnd.openxmlformats-officedocument.spreadsheetml.sheet
    odp=application/vnd.oasis.opendocument.presentation geojson=application/geo+json
    ods=application/vnd.oasis.opendocument.spreadsheet ipynb=application/x-ipynb+json
    odt=application/vnd.oasis.opendocument.text 7z=application/x-7z-compressed
    jsonl=application/jsonl ndjson=application/jsonl rar=application/vnd.rar
    parquet=application/vnd.apache.parquet feather=application/vnd.apache.arrow.file
    sql=application/sql sqlite=application/vnd.sqlite3 toml=application/toml
    xhtml=application/xhtml+xml yaml=application/yaml yml=application/yaml
    flac=audio/flac m4a=audio/mp4 mid=audio/midi midi=audio/midi oga=audio/ogg
    ogg=audio/ogg wav=audio/wav weba=audio/webm otf=font/otf ttf=font/ttf
    woff=font/woff woff2=font/woff2 avif=image/avif heic=image/heic heif=image/heif
    jfif=image/jpeg jxl=image/jxl psd=image/vnd.adobe.photoshop webp=image/webp
    glb=model/gltf-binary gltf=model/gltf+json stl=model/stl ics=text/calendar
    js=text/javascript log=text/plain markdown=text/markdown md=text/markdown
    mjs=text/javascript rst=text/x-rst rtf=text/rtf srt=text/plain vtt=text/vtt
    avi=video/vnd.avi m4v=video/mp4 mkv=video/matroska ogv=video/ogg
""")


def content_type(name: str) -> str:
    """Return the content type that a name's extension stands for.

    A compressed file has the type of its compression: a browser told of the type
    within would unpack ``archive.tar.gz`` while saving it.

    :param name: a file name or key.
    """
    stem, dot, extension = name.rpartition("/")[2].rpartition(".")
    if not stem.strip("."):
        return UNKNOWN
    extension = dot + extension.lower()
    return COMPRESSED.get(extension) or TYPES.get(extension) or UNKNOWN


def is_storable(content_type: str) -> bool:
    """Whether every storage can keep this as the content type of a file."""
    return bool(_LINE.match(content_type))
