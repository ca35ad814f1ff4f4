"""Makes the files of ``tests/media``, with the tools that people make such files with.

``python -m tests.support.make_media`` writes them anew. It needs ``pillow-heif``,
``imageio-ffmpeg``, ``python-docx``, ``openpyxl``, ``python-pptx``, ``odfpy``,
``reportlab`` and ``fpdf2``, and ``Pillow``, which the tests need anyway.
"""

from __future__ import annotations

import gzip
import io
import pathlib
import subprocess
import tarfile
import typing as t
import zipfile

import docx
import fpdf
import imageio_ffmpeg
import odf.opendocument
import openpyxl
import pillow_heif
import pptx
from PIL import Image
from reportlab.pdfgen import canvas

FOLDER = pathlib.Path(__file__).parents[1] / "media"

PICTURE = ("-f", "lavfi", "-i", "color=red:size=64x48:rate=5:duration=0.4")
SOUND = ("-f", "lavfi", "-i", "sine=duration=0.2:sample_rate=44100")
#: Neither a tag nor a first frame that says how many follow.
BARE = ("-id3v2_version", "0", "-write_xing", "0")
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
#: By ffmpeg: the name of the file -> the arguments.
FFMPEG: dict[str, tuple[str, ...]] = {
    **{
        f"rate-{rate}.mp3": (*SOUND, *BARE, "-ar", str(rate), "-b:a", "32k")
        for rate in MP3_RATES
    },
    "tagged.mp3": (*SOUND, "-metadata", "title=A"),
    "xing.mp3": (*SOUND, "-id3v2_version", "0", "-q:a", "5"),
    "mono.mp3": (*SOUND, *BARE, "-ac", "1", "-b:a", "64k"),
    "fast.mp3": (*SOUND, *BARE, "-ac", "2", "-b:a", "320k"),
    "layer-2.mp2": (*SOUND, "-b:a", "64k"),
    "sound.m4a": (*SOUND, "-b:a", "32k"),
    "lossless.m4a": (*SOUND, "-c:a", "alac"),
    "sound.aac": (*SOUND, "-b:a", "32k"),
    "sound.ogg": (*SOUND, "-c:a", "libvorbis", "-q:a", "0"),
    "sound.oga": (*SOUND, "-c:a", "libvorbis", "-q:a", "0"),
    "sound.opus": (*SOUND, "-c:a", "libopus", "-b:a", "16k"),
    "sound.flac": (*SOUND, "-ar", "8000"),
    "sound.wav": (*SOUND, "-ar", "8000"),
    "sound.aiff": (*SOUND, "-ar", "8000"),
    "sound.wma": (*SOUND, "-b:a", "32k"),
    "sound.amr": (*SOUND, "-ar", "8000", "-ac", "1", "-c:a", "libopencore_amrnb"),
    "sound.au": (*SOUND, "-ar", "8000"),
    "sound.weba": (*SOUND, "-c:a", "libopus", "-b:a", "16k", "-f", "webm"),
    "video.mp4": (*PICTURE, "-c:v", "libx264", "-pix_fmt", "yuv420p"),
    "fast-start.mp4": (*PICTURE, "-c:v", "libx264", "-movflags", "+faststart"),
    "fragments.mp4": (*PICTURE, "-c:v", "libx264", "-movflags", "frag_keyframe+dash"),
    "part-4.mp4": (*PICTURE, "-c:v", "mpeg4", "-brand", "mp42"),
    "hevc.mp4": (*PICTURE, "-c:v", "libx265", "-tag:v", "hvc1"),
    "av1.mp4": (*PICTURE, "-c:v", "libaom-av1", "-cpu-used", "8"),
    "video.m4v": (*PICTURE, "-c:v", "libx264", "-f", "ipod"),
    "video.mov": (*PICTURE, "-c:v", "libx264", "-pix_fmt", "yuv420p"),
    "h263.3gp": (*PICTURE, "-s", "128x96", "-c:v", "h263"),
    "video.3gp": (*PICTURE, "-c:v", "libx264", "-pix_fmt", "yuv420p"),
    "video.3g2": (*PICTURE, "-c:v", "mpeg4"),
    "vp8.webm": (*PICTURE, "-c:v", "libvpx"),
    "vp9.webm": (*PICTURE, "-c:v", "libvpx-vp9"),
    "video.mkv": (*PICTURE, "-c:v", "libx264"),
    "video.ogv": (*PICTURE, "-c:v", "libtheora"),
    "video.avi": (*PICTURE, "-c:v", "mpeg4"),
    "video.wmv": (*PICTURE, "-c:v", "wmv2"),
    "video.flv": (*PICTURE, "-c:v", "flv"),
    "video.mpg": (*PICTURE, "-r", "25", "-c:v", "mpeg1video"),
    "dvd.mpg": (*PICTURE, "-r", "25", "-c:v", "mpeg2video", "-f", "vob"),
    "ffmpeg.jpg": (*PICTURE, "-frames:v", "1"),
    "ffmpeg.gif": PICTURE,
}

#: By Pillow: the name of the file -> the arguments of save().
PILLOW: dict[str, dict[str, t.Any]] = {
    "picture.jpg": {},
    "progressive.jpg": {"progressive": True, "quality": 30},
    "exif.jpeg": {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"},
    "picture.png": {},
    "picture.gif": {},
    "lossy.webp": {},
    "lossless.webp": {"lossless": True},
    "picture.avif": {},
    "little.tiff": {},
    "big-endian.tif": {"big": True},
    "jpeg.tif": {"compression": "jpeg"},
    "picture.bmp": {},
    "picture.ico": {"sizes": [(16, 16)]},
    "picture.jp2": {},
    "picture.ppm": {},
    "picture.pdf": {},
    "animated.png": {"save_all": True},
    "animated.webp": {"save_all": True},
    "animated.avif": {"save_all": True},
}


def main() -> None:
    """Write every file."""
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.iterdir():
        path.unlink()
    by_pillow()
    by_ffmpeg()
    by_zip()
    by_offices()
    by_pdf()
    sizes = sorted((path.stat().st_size, path.name) for path in FOLDER.iterdir())
    print(f"{len(sizes)} files, {sum(size for size, _ in sizes):,} bytes")
    print(sizes[-5:])


def by_pillow() -> None:
    """Pictures; those of HEIF by pillow-heif."""
    pillow_heif.register_heif_opener()
    picture = Image.new("RGB", (32, 24), "red")
    for name, options in PILLOW.items():
        options = dict(options)
        if options.pop("big", False):
            data = io.BytesIO()
            picture.save(data, "TIFF", big_tiff=True)
            (FOLDER / "big.tif").write_bytes(data.getvalue())
            big_endian = Image.new("I;16B", (8, 8))
            big_endian.save(FOLDER / name)
            continue
        if options.get("save_all"):
            options["append_images"] = [Image.new("RGB", (32, 24), "blue")]
        picture.save(FOLDER / name, **options)
    picture.save(FOLDER / "one.heic", quality=50)
    picture.save(FOLDER / "one.heif", quality=50)
    picture.save(
        FOLDER / "two.heic",
        save_all=True,
        append_images=[Image.new("RGB", (64, 48), "blue")],
    )


def by_ffmpeg() -> None:
    """Sound and video."""
    for name, arguments in FFMPEG.items():
        command = [
            *(imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error"),
            *arguments,
            *("-fflags", "+bitexact", "-flags", "+bitexact", "-y", FOLDER / name),
        ]
        subprocess.run(command, check=True)


def by_zip() -> None:
    """Archives, by the standard library."""
    with zipfile.ZipFile(FOLDER / "plain.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "text")
    with zipfile.ZipFile(FOLDER / "empty.zip", "w"):
        pass
    with zipfile.ZipFile(FOLDER / "book.epub", "w") as archive:
        archive.writestr("mimetype", "application/epub+zip")
        archive.writestr("META-INF/container.xml", "<container/>")
    text = FOLDER / "text.txt"
    text.write_text("A line.\n")
    for name, mode, form in (
        ("ustar.tar", "w", tarfile.USTAR_FORMAT),
        ("gnu.tar", "w", tarfile.GNU_FORMAT),
        ("pax.tar", "w", tarfile.PAX_FORMAT),
        ("folder.tar.gz", "w:gz", tarfile.PAX_FORMAT),
        ("folder.tgz", "w:gz", tarfile.PAX_FORMAT),
        ("folder.tar.bz2", "w:bz2", tarfile.PAX_FORMAT),
        ("folder.tar.xz", "w:xz", tarfile.PAX_FORMAT),
    ):
        with tarfile.open(FOLDER / name, mode, format=form) as tar:  # type: ignore[call-overload]
            tar.add(text, "text.txt")
    (FOLDER / "text.gz").write_bytes(gzip.compress(b"text"))


def by_offices() -> None:
    """Documents of offices."""
    document = docx.Document()
    document.add_paragraph("Text")
    document.save(str(FOLDER / "text.docx"))
    openpyxl.Workbook().save(FOLDER / "table.xlsx")
    pptx.Presentation().save(str(FOLDER / "slides.pptx"))
    for name, kind in (("text.odt", "Text"), ("table.ods", "Spreadsheet")):
        made = getattr(odf.opendocument, f"OpenDocument{kind}")()
        made.save(FOLDER / name)
    odf.opendocument.OpenDocumentPresentation().save(FOLDER / "slides.odp")


def by_pdf() -> None:
    """PDF by several makers, and with something before its header."""
    page = canvas.Canvas(str(FOLDER / "reportlab.pdf"))
    page.drawString(100, 100, "Text")
    page.save()
    other = fpdf.FPDF()
    other.add_page()
    data = bytes(other.output())
    (FOLDER / "fpdf2.pdf").write_bytes(data)
    # ISO 32000-1, Annex H: readers look for the header in the first 1024 bytes.
    for name, before in (
        ("after-mark.pdf", b"\xef\xbb\xbf"),
        ("after-line.pdf", b"\n"),
        ("after-lines.pdf", b"\r\n\r\n"),
    ):
        (FOLDER / name).write_bytes(before + data)


if __name__ == "__main__":
    main()
