"""Documents that are archives, and say which in their directory or at their start."""

from __future__ import annotations

import io
import zipfile

from ..uploads.source import Source

#: The folder of the content in a document of Office Open XML, by extension.
OFFICE_OPEN_XML = {
    **dict.fromkeys((".docx", ".docm", ".dotx", ".dotm"), "word/"),
    **dict.fromkeys((".xlsx", ".xlsm", ".xltx", ".xltm", ".xlsb"), "xl/"),
    **dict.fromkeys((".pptx", ".pptm", ".potx", ".potm", ".ppsx", ".ppsm"), "ppt/"),
}
#: What every one of them has (ECMA-376-2, section 10.1.2).
CONTENT_TYPES = "[content_types].xml"

#: The type that stands in the first file of an archive (OpenDocument 1.3, part 2,
#: section 3.3; EPUB 3.3, section 4.3.2).
FIRST_FILE = {
    ".epub": "application/epub+zip",
    **{
        f".{extension}": f"application/vnd.oasis.opendocument.{kind}"
        for extension, kind in (
            ("odt", "text"),
            ("ott", "text-template"),
            ("odm", "text-master"),
            ("ods", "spreadsheet"),
            ("ots", "spreadsheet-template"),
            ("odp", "presentation"),
            ("otp", "presentation-template"),
            ("odg", "graphics"),
            ("otg", "graphics-template"),
            ("odf", "formula"),
        )
    },
}

#: The extensions that are known here.
KNOWN = frozenset({*OFFICE_OPEN_XML, *FIRST_FILE})

FILE, END = b"PK\3\4", b"PK\5\6"
#: The record at the end of an archive has 22 bytes, and a comment of at most 64 KiB
#: (APPNOTE.TXT, section 4.3.16).
END_SIZE, LONGEST_END = 22, 22 + 65535
#: The largest directory that is read, in bytes. It has some 10,000 names.
LARGEST_DIRECTORY = 1024 * 1024


def is_document(extension: str, source: Source) -> bool:
    """Whether an archive is a document of this kind.

    :param extension: one of :data:`KNOWN`.
    """
    start = source.read_at(0, 128)
    if not start.startswith(FILE):
        return False
    if extension in FIRST_FILE:
        # Its name, its extra field and its content, which is not compressed.
        content = 30 + int.from_bytes(start[26:28], "little")
        name = start[30:content]
        content += int.from_bytes(start[28:30], "little")
        expected = FIRST_FILE[extension].encode() + b"PK"
        return name == b"mimetype" and start[content:].startswith(expected)
    names = {name.replace("\\", "/").lower() for name in _names(source)}
    folder = OFFICE_OPEN_XML[extension]
    return CONTENT_TYPES in names and any(name.startswith(folder) for name in names)


def _names(source: Source) -> list[str]:
    """The names of the files in an archive; none if its directory cannot be read, or is
    too large for a document."""
    tail_size = min(source.size, LONGEST_END)
    tail = source.read_at(source.size - tail_size, tail_size)
    found = tail.rfind(END)
    if found < 0 or len(tail) - found < END_SIZE:
        return []
    end = tail[found:]
    directory_size = int.from_bytes(end[12:16], "little")
    position = source.size - len(end) - directory_size
    if directory_size > LARGEST_DIRECTORY or position < 0:
        return []
    directory = source.read_at(position, directory_size)
    try:
        with zipfile.ZipFile(io.BytesIO(directory + end)) as archive:
            return archive.namelist()
    except Exception:  # zipfile raises many, and none means more than another here
        return []
