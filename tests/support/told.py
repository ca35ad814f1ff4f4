"""Pictures that tell more than they show: where, when, by whom and with what."""

from __future__ import annotations

import functools
import io
import struct
import typing as t
import zlib

from PIL import ExifTags
from PIL import Image
from PIL import ImageCms
from PIL import PngImagePlugin

#: What nobody may find in a picture that has lost its metadata.
WORD = "Planted"
PLANTED = WORD.encode()

#: How many pixels the pictures have.
SIZE = (24, 16)

PNG = b"\x89PNG\r\n\x1a\n"

XMP = (
    f"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/"
    f"02/22-rdf-syntax-ns#'><rdf:Description>{WORD}</rdf:Description></rdf:RDF>"
    f"</x:xmpmeta>"
).encode()


def image(mode: str = "RGB", number: int = 0) -> Image.Image:
    """A picture of which no two sides look alike."""
    across = Image.linear_gradient("L").resize(SIZE)
    along = Image.linear_gradient("L").rotate(90).resize(SIZE)
    dots = Image.new("L", SIZE, 40 * number)
    return Image.merge("RGB", (across, along, dots)).convert(mode)


def written(picture: Image.Image, kind: str, **options: t.Any) -> bytes:
    """The bytes of a file."""
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def exif(orientation: int | None = None) -> Image.Exif:
    """EXIF with a camera and a position."""
    told = Image.Exif()
    told[ExifTags.Base.Make] = WORD
    told[ExifTags.Base.Artist] = WORD * 100
    if orientation is not None:
        told[ExifTags.Base.Orientation] = orientation
    position = told.get_ifd(ExifTags.IFD.GPSInfo)
    position[ExifTags.GPS.GPSLatitudeRef] = "N"
    position[ExifTags.GPS.GPSLatitude] = (52.0, 31.0, 12.0)
    position[ExifTags.GPS.GPSMapDatum] = WORD
    told.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = PLANTED
    return told


def tiff(
    *entries: tuple[int, int, int, int], order: str = ">", more: bytes = b""
) -> bytes:
    """EXIF by hand.

    :param entries: tag, type, count and value.
    """
    begin = b"MM\0*" if order == ">" else b"II*\0"
    body = struct.pack(f"{order}IH", 8, len(entries))
    for tag, kind, count, value in entries:
        packed = "HH" if kind == 3 else "I"
        values = (value, 0) if kind == 3 else (value,)
        body += struct.pack(f"{order}HHI{packed}", tag, kind, count, *values)
    return begin + body + bytes(4) + more


def segment(marker: int, content: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpeg_with(data: bytes, *segments: bytes) -> bytes:
    """A JPEG with further segments, at its beginning."""
    return data[:2] + b"".join(segments) + data[2:]


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    checksum = zlib.crc32(kind + content)
    return (
        struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", checksum)
    )


def png_with(data: bytes, before: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG with further chunks before and after its data."""
    start = data.index(b"IDAT") - 4
    end = data.rindex(b"IEND") - 4
    return data[:start] + before + data[start:end] + after + data[end:]


def riff(kind: bytes, content: bytes) -> bytes:
    """A chunk of a WebP."""
    return struct.pack("<4sI", kind, len(content)) + content + bytes(len(content) % 2)


def webp_with(data: bytes, *chunks: bytes) -> bytes:
    """A WebP with further chunks, at its end."""
    content = data[8:] + b"".join(chunks)
    return struct.pack("<4sI", b"RIFF", len(content)) + content


def small_jpeg() -> bytes:
    """A small picture within another one."""
    return jpeg_with(written(image().resize((8, 8)), "JPEG"), segment(0xFE, PLANTED))


def exif_with_small_picture() -> bytes:
    """EXIF whose second directory leads to a picture, as cameras write it."""
    small = small_jpeg()
    first = struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 26)
    second = struct.pack(
        ">HHHIIHHIII", 2, 0x0201, 4, 1, 56, 0x0202, 4, 1, len(small), 0
    )
    return b"Exif\0\0MM\0*" + first + second + small


def jfif_with_small_picture(data: bytes) -> bytes:
    """A JPEG with pixels in its first segment."""
    size = struct.unpack(">H", data[4:6])[0]
    assert data[6:11] == b"JFIF\0"
    pixels = (PLANTED + b"..") * 3  # 3 x 3 pixels of 3 bytes
    return (
        data[:2]
        + segment(0xE0, data[6:18] + b"\3\3" + pixels)
        + segment(0xE0, b"JFXX\0\x13\2\2" + PLANTED)
        + data[4 + size :]
    )


def profile() -> bytes:
    """A colour profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


#: What says how colours are coded (version 100, transform 0).
ADOBE = b"Adobe\0\x64\0\0\0\0\0"
IPTC = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0c\x1c\x02\x50\0\x07" + PLANTED
#: What a phone adds behind a picture, with an end of a picture in it.
MOTION = b"MotionPhoto_Data" + PLANTED + b"ftypmp42\xff\xd9\xff\xd9"


def _jpegs() -> dict[str, bytes]:
    plain = written(image(), "JPEG")
    found = {
        f"turned {turn}.jpg": written(image(), "JPEG", exif=exif(turn))
        for turn in range(1, 9)
    }
    several = io.BytesIO()
    image().save(
        several, "MPO", save_all=True, append_images=[image(number=2)], exif=exif(6)
    )
    found |= {
        "plain.jpg": plain,
        "position.jpg": written(image(), "JPEG", exif=exif()),
        "xmp.jpg": written(image(), "JPEG", xmp=XMP),
        "iptc.jpg": jpeg_with(plain, segment(0xED, IPTC)),
        "comment.jpg": written(image(), "JPEG", comment=PLANTED),
        "exif picture.jpg": jpeg_with(plain, segment(0xE1, exif_with_small_picture())),
        "jfif picture.jpg": jfif_with_small_picture(plain),
        "progressive.jpg": written(image(), "JPEG", progressive=True, exif=exif(3)),
        "restarts.jpg": written(image(), "JPEG", restart_marker_blocks=1, exif=exif(3)),
        "cmyk.jpg": jpeg_with(
            written(image("CMYK"), "JPEG"), segment(0xEE, ADOBE + PLANTED)
        ),
        "grey.jpg": written(image("L"), "JPEG", comment=PLANTED),
        "several.mpo": several.getvalue(),
        "motion.jpg": written(image(), "JPEG", exif=exif(8)) + MOTION,
        "profile.jpg": written(image(), "JPEG", icc_profile=profile(), exif=exif()),
        "two exif.jpg": jpeg_with(
            written(image(), "JPEG", exif=exif(5)),
            segment(0xE1, b"Exif\0\0" + tiff((0x0112, 3, 1, 6), order="<")),
        ),
        "intel.jpg": jpeg_with(
            plain, segment(0xE1, b"Exif\0\0" + tiff((0x0112, 3, 1, 7), order="<"))
        ),
        "between scans.jpg": _between_scans(),
        "fill bytes.jpg": plain[:2] + b"\xff\xff" + plain[2:-2] + b"\xff\xff\xff\xd9",
        "loose bytes.jpg": jpeg_with(plain, segment(0xE1, XMP) + PLANTED),
    }
    return found


def _between_scans() -> bytes:
    """A JPEG with a comment and EXIF behind its first scan."""
    data = written(image(), "JPEG", progressive=True)
    second = data.index(b"\xff\xda", data.index(b"\xff\xda") + 2)
    told = segment(0xFE, PLANTED) + segment(0xE1, exif(6).tobytes())
    return data[:second] + told + data[second:]


def _pngs() -> dict[str, bytes]:
    plain = written(image(), "PNG")
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", WORD)
    text.add_itxt("Title", WORD)
    text.add_text("Comment", WORD * 20, zip=True)
    text.add_text("XML:com.adobe.xmp", XMP.decode())
    told = exif(6).tobytes().removeprefix(b"Exif\0\0")
    palette = image().convert("P", palette=Image.Palette.ADAPTIVE, colors=8)
    frames = [image(number=number) for number in range(1, 4)]
    look = chunk(b"pHYs", struct.pack(">IIB", 2835, 2835, 1))
    look += chunk(b"gAMA", struct.pack(">I", 45455))
    return {
        "plain.png": plain,
        "turned.png": written(image(), "PNG", exif=exif(6)),
        "not turned.png": written(image(), "PNG", exif=exif(1)),
        "turned at the end.png": png_with(plain, after=chunk(b"eXIf", told)),
        "two exif.png": png_with(plain, *2 * (chunk(b"eXIf", told),)),
        "text.png": written(image(), "PNG", pnginfo=text),
        "text at the end.png": png_with(plain, after=chunk(b"tEXt", b"A\0" + PLANTED)),
        "time.png": png_with(plain, chunk(b"tIME", b"\x07\xea" + PLANTED[:5])),
        "own chunk.png": png_with(plain, chunk(b"prVt", PLANTED)),
        "profile.png": written(image(), "PNG", icc_profile=profile(), pnginfo=text),
        "look.png": png_with(plain, look),
        "palette.png": written(palette, "PNG", transparency=3, pnginfo=text),
        "alpha.png": written(image("RGBA"), "PNG", pnginfo=text),
        "16 bits.png": written(image("I;16"), "PNG", pnginfo=text),
        "animated.png": written(
            image(), "PNG", save_all=True, append_images=frames, exif=exif(6)
        ),
        "trailer.png": plain + PLANTED,
        "in its end.png": plain[:-12] + chunk(b"IEND", PLANTED),
    }


def _webps() -> dict[str, bytes]:
    plain = written(image(), "WEBP")
    frames = {"save_all": True, "append_images": [image(number=1), image(number=2)]}
    all_of_it = {"exif": exif(6), "xmp": XMP}
    animated = written(image("RGBA"), "WEBP", **frames, **all_of_it)
    start = animated.index(b"ANMF")
    size = struct.unpack("<I", animated[start + 4 : start + 8])[0]
    frame = animated[start + 8 : start + 8 + size] + riff(b"wOrD", PLANTED)
    own = animated[:start] + riff(b"ANMF", frame) + animated[start + 8 + size :]
    odd = webp_with(written(image(), "WEBP", exif=exif(1)), riff(b"wOrD", PLANTED))
    return {
        "plain.webp": plain,
        "turned.webp": written(image(), "WEBP", exif=exif(6)),
        "not turned.webp": written(image(), "WEBP", exif=exif(1)),
        "xmp.webp": written(image(), "WEBP", xmp=XMP),
        "lossless.webp": written(image(), "WEBP", lossless=True, **all_of_it),
        "alpha.webp": written(image("RGBA"), "WEBP", **all_of_it),
        "profile.webp": written(image(), "WEBP", icc_profile=profile(), **all_of_it),
        "animated.webp": animated,
        "own chunk in a frame.webp": webp_with(own),
        "own chunk.webp": odd,
        "simple with a chunk.webp": webp_with(plain, riff(b"EXIF", PLANTED)),
        "trailer.webp": plain + PLANTED,
    }


@functools.cache
def told() -> dict[str, bytes]:
    """The pictures, by their names."""
    return _jpegs() | _pngs() | _webps()


#: The names, for the tests to be named after them.
NAMES = sorted(told())
