"""Which files FileType takes: real ones of ``tests/media``, and none that lie.

``tests/support/make_media.py`` makes the real ones, with the tools that people use.
"""

from __future__ import annotations

import io
import pathlib
import struct
import zipfile

import puremagic.main
import pytest
from werkzeug.datastructures import FileStorage
from wtforms import FileField
from wtforms import Form

from flask_store import naming
from flask_store.filetypes.contents import _is_text
from flask_store.filetypes.contents import _type
from flask_store.filetypes.documents import LARGEST_DIRECTORY
from flask_store.filetypes.formats import CHECKS
from flask_store.validators import agrees
from flask_store.validators import FileType

MEDIA = sorted((pathlib.Path(__file__).parents[1] / "media").iterdir())
EXTENSIONS = sorted({path.suffix for path in MEDIA})

#: Extensions of one format, or of formats that begin alike.
ALIKE = [
    {".jpg", ".jpeg"},
    {".tif", ".tiff"},
    {".heic", ".heif"},
    {".gz", ".tgz"},
    {".ogg", ".oga", ".ogv", ".opus"},
    {".webm", ".weba"},
    {".wma", ".wmv"},
    {".mp4", ".m4a", ".m4v"},
]
#: The extension of a file -> what it may be called as well.
MORE = {
    ".3gp": {".3g2", ".mp4", ".m4a", ".m4v"},
    ".3g2": {".3gp", ".mp4", ".m4a", ".m4v"},
    # An animated one is a film of ISO/IEC 14496-12 all the same.
    ".avif": {".mp4", ".m4a", ".m4v"},
    **dict.fromkeys(
        (".docx", ".xlsx", ".pptx", ".odt", ".ods", ".odp", ".epub"), {".zip"}
    ),
}


def takes(data: bytes, extension: str) -> bool:
    """Whether the validator takes a file with this extension."""

    class PartForm(Form):
        file = FileField(validators=[FileType([extension])])

    form = PartForm()
    form.file.data = FileStorage(io.BytesIO(data), f"a{extension}")
    return form.validate()


def archive(*names: str, **contents: str) -> bytes:
    """A zip file with files of these names."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name in names:
            file.writestr(name, contents.get(name, "<a/>"))
    return data.getvalue()


@pytest.mark.lower_bounds
@pytest.mark.parametrize("path", MEDIA, ids=lambda path: path.name)
def test_real_file(path: pathlib.Path) -> None:
    """It is taken as what it is, and as nothing else."""
    data = path.read_bytes()
    assert takes(data, naming.split(path.name)[1])
    others = {path.suffix} | MORE.get(path.suffix, set())
    others = others.union(*(group for group in ALIKE if path.suffix in group))
    assert {e for e in EXTENSIONS if takes(data, e)} <= others


def test_corpus_is_small_and_whole() -> None:
    """It has the formats that people upload."""
    assert sum(path.stat().st_size for path in MEDIA) < 400_000
    assert len(MEDIA) == 95 and len(EXTENSIONS) == 55


HTML = b"<!DOCTYPE html><script>alert(1)</script>"
ISO = b"\0\0\0\x18ftyp%s\0\0\0\0%s"
DOCUMENT = ("[Content_Types].xml", "word/document.xml")
ODF = "application/vnd.oasis.opendocument."


@pytest.mark.parametrize(
    ("extension", "data"),
    [
        (".heic", ISO % (b"mif1", b"heicmif1")),
        (".heif", ISO % (b"msf1", b"hevcmsf1")),
        (".3gp", b"\0\0\0\x20ftyp3gp5\0\0\0\0isom3gp43gp5avc1"),
        (".mp4", ISO % (b"XAVC", b"XAVCmp42")),
        (".mov", b"\0\0\0\x08wide\0\0\1\0mdat"),
        (".mov", b"\0\x12\x34\x56mdat"),
        (".mp3", b"\xff\xe3\x18\xc4" + bytes(100)),
        (".mp3", b"ID3\2\0\0\0\0\0\x7f"),
        (".pdf", b"\xef\xbb\xbf\r\n%PDF-1.4\n%%EOF"),
        (".pdf", b" " * 1000 + b"%PDF-2.0"),
        (".gif", b"GIF87a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff,"),
        (".wav", b"RF64\xff\xff\xff\xffWAVEds64"),
        (".docx", archive("docProps/app.xml", "word/document.xml", DOCUMENT[0])),
        (".docm", archive(*DOCUMENT)),
        (".xlsx", archive("[content_types].xml", "xl\\workbook.xml")),
        (".odt", archive("mimetype", "content.xml", mimetype=f"{ODF}text")),
    ],
)
def test_taken(extension: str, data: bytes) -> None:
    """Files that the corpus does not have."""
    assert takes(data, extension)


@pytest.mark.parametrize(
    ("extension", "data"),
    [
        (".png", HTML),
        (".png", b"\x89PNG" + HTML),
        (".gif", b"GIF89a<script>alert(1)</script>"),
        (".gif", b"GIF89a=1;alert(1)//"),
        (".gif", b"GIF89a"),
        (".bmp", b"BM<script>alert(1)</script>"),
        (".bmp", b"BM=1;alert(1)"),
        (".mp3", b"ID3<script>alert(1)</script>"),
        (".mp3", b"\xff\xfe<\0s\0c\0r\0i\0p\0t\0>\0"),  # UTF-16
        (".mp3", b"\xff\xfb\xf0\x64" + bytes(100)),  # no such bit rate
        (".mp3", b"\xff\xfb\x9c\x64" + bytes(100)),  # no such sampling rate
        (".mp3", b"\xff\xeb\x90\x64" + bytes(100)),  # no such version
        (".mp3", b"\xff\xfd\x90\x64" + bytes(100)),  # layer II
        (".mp3", b"\xff\xf1\x50\x80" + bytes(100)),  # AAC
        (".mp3", b"\xff"),
        (".mp4", b"<!--ftypmp42--><script>alert(1)</script>"),
        (".mp4", b"\0\0\0\x08ftyp" + HTML),
        (".mp4", ISO % (b"heic", b"mif1heic")),
        (".heic", ISO % (b"avif", b"mif1miaf")),
        (".heic", ISO % (b"mp42", b"isommp42")),
        (".avif", ISO % (b"heic", b"mif1heic")),
        (".mov", b"<!--mdat--><script>alert(1)</script>"),
        (".mov", ISO % (b"mp42", b"isommp42")),
        (".3gp", ISO % (b"mp42", b"isommp42")),
        (".webp", b"RIFF<!--WEBP--><script>alert(1)</script>"),
        (".webp", b"RIFF\x24\0\0\0WAVEfmt "),
        (".wav", b"RIFF\x24\0\0\0WEBPVP8 "),
        (".ogg", b"OggS<script>alert(1)</script>"),
        (".webm", b"\x1aE\xdf\xa3\xa3B\x86\x81\1B\x82\x88matroska"),
        (".pdf", HTML + b"%PDF-1.4"),
        (".pdf", b"\n" * 1024 + b"%PDF-1.4"),
        (".pdf", b"x%PDF-1.4"),
        (".txt", b"\n%PDF-1.4\n%%EOF"),
        (".docx", archive("word/document.xml")),
        (".docx", archive("[Content_Types].xml")),
        (".docx", archive("[Content_Types].xml", "xl/workbook.xml")),
        (".docx", archive("a.exe")),
        (".docx", HTML + archive(*DOCUMENT)),
        (".docx", archive(*DOCUMENT)[:-22]),
        (".docx", archive(*DOCUMENT)[:-23] + archive()),
        (".docx", b"PK\3\4" + b"PK\5\6" + b"\xff" * 18),
        (".docx", b"PK\3\4" + bytes(40) + b"PK\5\6"),
        (".xlsx", archive(*DOCUMENT)),
        (".pptx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        (".odt", archive("content.xml", "mimetype", mimetype=f"{ODF}text")),
        (".odt", archive("mimetype", mimetype=f"{ODF}spreadsheet")),
        (".odt", archive("mimetype", mimetype=f"{ODF}text-template")),
        (".odt", archive(*DOCUMENT)),
        (".epub", archive("mimetype", mimetype="application/zip")),
        (".epub", b"PK\3\4"),
    ],
)
def test_refused(extension: str, data: bytes) -> None:
    """What has another type, or only begins a little like one."""
    assert not takes(data, extension)


def test_directory_that_is_too_large() -> None:
    """No more of an archive is read than the directory of a document may have."""
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, LARGEST_DIRECTORY + 1, 0, 0)
    data = b"PK\3\4" + bytes(LARGEST_DIRECTORY) + end
    file = FileStorage(io.BytesIO(data), "a.docx")
    read: list[int] = []
    real = file.stream.read

    class Counted(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            read.append(0 if size is None else size)
            return super().read(size)

    file.stream = Counted(real())
    form = Form()
    field = FileField().bind(form, "file")
    field.process(None)
    field.data = file
    with pytest.raises(Exception, match="is not what its extension says"):
        FileType(["docx"])(form, field)
    assert sum(read) < 100_000


@pytest.mark.parametrize(
    "data",
    [
        HTML * 50,
        b"<script>alert(1)</script>\0\0",
        b"<?php system($_GET[0]); ?>",
        b"#!/bin/sh\nrm -r /\n",
        b"alert(document.cookie)//",
        b'<svg onload="alert(1)" xmlns="http://www.w3.org/2000/svg"/>',
    ],
)
def test_script_is_nothing_else(data: bytes) -> None:
    """Whatever the extension is: only text begins so."""
    extensions = {row.extension.lower() for row in puremagic.main.magic_header_array}
    extensions = {e for e in extensions | {*CHECKS} if not _is_text(_type(e))}
    assert len(extensions) > 500
    assert not [extension for extension in extensions if agrees(extension, data)]
