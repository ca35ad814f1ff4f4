"""Pictures of every format: ordinary ones, and those that are to break something.

All of them are made here, by Pillow, by pillow-heif and by hand.
"""

from __future__ import annotations

import functools
import io
import random
import re
import struct
import tempfile
import typing as t
import zipfile
import zlib

import pillow_heif
from PIL import Image
from PIL import ImageCms

from flask_store.images.making import Limits
from flask_store.images.making import render
from flask_store.images.spec import Spec

pillow_heif.register_heif_opener()

FORMATS = ("jpeg", "png", "webp", "gif", "avif", "heif")
OUTPUTS = ("webp", "avif", "jpeg", "png")
LIMITS = Limits(FORMATS, 50_000_000, 100 * 1024**2)
#: Width and height of :func:`corners`.
SIZE = (128, 96)
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
#: The orientation in EXIF.
ORIENTATION = 0x0112
#: What no variant may have.
SECRET = "SECRET-PLACE"
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/'
    '22-rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/'
    f'elements/1.1/" dc:creator="{SECRET}"/></rdf:RDF></x:xmpmeta>'
).encode()


def variant(
    data: bytes, limits: Limits = LIMITS, /, **parameters: t.Any
) -> Image.Image:
    """The variant of a picture, decoded."""
    return Image.open(io.BytesIO(rendered(data, limits, **parameters)))


def rendered(data: bytes, limits: Limits = LIMITS, /, **parameters: t.Any) -> bytes:
    """The bytes of the variant of a picture."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        return render(file, Spec(**parameters), limits)


def corners(mode: str = "RGB", size: tuple[int, int] = SIZE) -> Image.Image:
    """A red, a green, a blue and a white quarter, in the order of reading."""
    picture = Image.new("RGB", (2, 2))
    picture.putdata([RED, GREEN, BLUE, WHITE])
    return picture.resize(size, Image.Resampling.NEAREST).convert(mode)


def colors(picture: Image.Image) -> list[str]:
    """What the four quarters of a picture are, as it is told by the main color."""
    picture = picture.convert("RGB")
    names = {0b100: "red", 0b010: "green", 0b001: "blue", 0b111: "white", 0: "black"}
    found = []
    for y in (1, 3):
        for x in (1, 3):
            pixel = picture.getpixel((picture.width * x // 4, picture.height * y // 4))
            bits = sum(
                bit
                for bit, value in zip(
                    (4, 2, 1), t.cast("tuple[int]", pixel), strict=True
                )
                if value > 128
            )
            found.append(names.get(bits, f"{pixel}"))
    return found


UPRIGHT = ["red", "green", "blue", "white"]


def encoded(picture: Image.Image, format: str, **options: t.Any) -> bytes:
    """The file of a picture."""
    output = io.BytesIO()
    picture.save(output, format.upper(), **options)
    return output.getvalue()


def exif(**numbers: int) -> bytes:
    """EXIF with a place, a camera, and perhaps an orientation."""
    tags = Image.Exif()
    tags[0x010F] = SECRET
    tags[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0), 29: SECRET}
    for value in numbers.values():
        tags[ORIENTATION] = value
    return tags.tobytes()


def turned(format: str, orientation: int) -> bytes:
    """:func:`corners`, stored as a camera does that was held otherwise."""
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = corners() if undo is None else corners().transpose(undo)
    return encoded(stored, format, exif=exif(orientation=orientation))


def told(format: str) -> bytes:
    """:func:`corners` with everything that a format can tell beside the pixels."""
    options: dict[str, t.Any] = {"exif": exif(), "xmp": XMP}
    if format == "jpeg":
        options["comment"] = SECRET
    elif format == "png":
        from PIL.PngImagePlugin import PngInfo

        notes = PngInfo()
        notes.add_text("Comment", SECRET)
        notes.add_text("Author", SECRET, zip=True)
        notes.add_itxt("XML:com.adobe.xmp", XMP.decode())
        options = {"exif": exif(), "pnginfo": notes}
    elif format == "gif":
        options = {"comment": SECRET.encode()}
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return encoded(corners(), format, icc_profile=srgb, **options)


def animation(format: str, durations: list[int], **options: t.Any) -> bytes:
    """One color after another."""
    frames = [
        Image.new("RGB", SIZE, (RED, GREEN, BLUE)[number % 3])
        for number in range(len(durations))
    ]
    return encoded(
        frames[0],
        format,
        save_all=True,
        append_images=frames[1:],
        duration=durations,
        **options,
    )


# Profiles of colors (ICC.1:2001-04, sections 6.1 to 6.5)


def _fixed(*numbers: float) -> bytes:
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def _profile(space: bytes, connection: bytes, kind: bytes, **tags: bytes) -> bytes:
    table, content, position = b"", b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += struct.pack(">4sII", name.encode(), position + len(content), len(data))
        content += data
    header = struct.pack(
        ">I4sI4s4s4s12s4s4sI4sIQI12s4s44x",
        position + len(content),
        b"lcms",
        0x02400000,
        kind,
        space,
        connection,
        bytes(12),
        b"acsp",
        b"APPL",
        0,
        bytes(4),
        0,
        0,
        0,
        _fixed(0.9642, 1.0, 0.8249),
        b"test",
    )
    return header + struct.pack(">I", len(tags)) + table + content


def _text(text: bytes) -> bytes:
    return b"text\0\0\0\0" + text + b"\0"


def adobe_profile() -> bytes:
    """Colors of Adobe RGB (1998): there, green of sRGB is (144, 255, 60)."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.19921875 * 256))
    return _profile(
        b"RGB ",
        b"XYZ ",
        b"mntr",
        desc=b"desc\0\0\0\0\0\0\0\x05test\0" + bytes(79),
        cprt=_text(b"none"),
        wtpt=b"XYZ \0\0\0\0" + _fixed(0.9642, 1.0, 0.8249),
        rXYZ=b"XYZ \0\0\0\0" + _fixed(0.60974, 0.31111, 0.01947),
        gXYZ=b"XYZ \0\0\0\0" + _fixed(0.20528, 0.62567, 0.06087),
        bXYZ=b"XYZ \0\0\0\0" + _fixed(0.14919, 0.06322, 0.74457),
        rTRC=curve,
        gTRC=curve,
        bTRC=curve,
    )


def blue_ink_profile() -> bytes:
    """Inks of which each one is blue, so that one sees whether it has been used."""
    paper, blue = bytes((255, 128, 128)), bytes((75, 196, 20))
    entries = b"".join(blue if number else paper for number in range(16))
    line = bytes(range(256))
    lut = (
        b"mft1\0\0\0\0"
        + bytes((4, 3, 2, 0))
        + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
        + line * 4
        + entries
        + line * 3
    )
    return _profile(
        b"CMYK",
        b"Lab ",
        b"prtr",
        desc=b"desc\0\0\0\0\0\0\0\x05test\0" + bytes(79),
        cprt=_text(b"none"),
        wtpt=b"XYZ \0\0\0\0" + _fixed(0.9642, 1.0, 0.8249),
        A2B0=lut,
    )


# Hostile ones


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def png(width: int, height: int, *chunks: bytes, bits: int = 8, kind: int = 2) -> bytes:
    """A PNG of these chunks, with pixels that are as many as promised if they are
    bits of grey."""
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    squeeze = zlib.compressobj(9)
    row, rows = bytes(1 + (width * bits + 7) // 8), []
    if kind == 0:
        rows = [squeeze.compress(row) for _ in range(height)]
    pixels = b"".join([*rows, squeeze.flush()])
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *chunks,
            chunk(b"IDAT", pixels),
            chunk(b"IEND", b""),
        ]
    )


@functools.cache
def bombs() -> dict[str, bytes]:
    """Files that say that they have 900 million pixels, or what the format can say."""
    small = {format: encoded(corners(), format) for format in FORMATS}
    lossless = encoded(corners(), "webp", lossless=True)
    gif = bytearray(small["gif"])
    block = gif.index(b"\x2c\0\0\0\0")
    gif[block + 5 : block + 9] = gif[6:10] = struct.pack("<HH", 30000, 30000)
    jpeg = bytearray(small["jpeg"])
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 30000, 30000)
    webp = bytearray(small["webp"])
    webp[26:30] = struct.pack("<HH", 16383, 16383)
    bits = bytearray(lossless)
    bits[21:25] = struct.pack("<I", 16382 | 16382 << 14)
    canvas = bytearray(encoded(corners(), "webp", exif=exif()))
    canvas[24:30] = struct.pack("<I", 16382)[:3] * 2
    boxes = {
        format: re.sub(
            rb"(?s)ispe\0\0\0\0.{8}",
            b"ispe\0\0\0\0" + struct.pack(">II", 30000, 30000),
            small[format],
        )
        for format in ("avif", "heif")
    }
    return {
        "jpeg": bytes(jpeg),
        "png": png(30000, 30000, bits=1, kind=0),
        "gif": bytes(gif),
        "webp": bytes(webp),
        "webp lossless": bytes(bits),
        "webp canvas": bytes(canvas),
        **boxes,
    }


def many_scans(count: int, size: tuple[int, int] = (3000, 3000)) -> bytes:
    """A progressive JPEG of which the last scan is there again and again."""
    data = encoded(corners(size=size), "jpeg", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def cut(data: bytes, places: int) -> t.Iterator[bytes]:
    """The beginnings of a file, each a bit longer, and none of them whole."""
    for place in range(places):
        yield data[: max(1, len(data) * place // places)]


def box(kind: bytes, *content: bytes) -> bytes:
    """A box of the ISO Base Media File Format."""
    data = b"".join(content)
    return struct.pack(">I", 8 + len(data)) + kind + data


def grid(
    format: str,
    rows: int,
    columns: int,
    size: tuple[int, int] | None = None,
    rotation: int = 0,
) -> bytes:
    """A picture of many tiles, as telephones make it. Each tile is the same
    :func:`corners`.

    :param size: what the file says that it has.
    :param rotation: how often a quarter to the left.
    """
    tile = encoded(corners(size=(64, 64)), format)
    brand, kind, config = {
        "heif": (b"heic", b"hvc1", b"hvcC"),
        "avif": (b"avif", b"av01", b"av1C"),
    }[format]
    at = tile.index(config) - 4
    settings = tile[at : at + int.from_bytes(tile[at : at + 4])]
    pixels = tile[tile.index(b"mdat") + 4 :]
    count = rows * columns
    width, height = size or (64 * columns, 64 * rows)
    infos = [
        box(b"infe", struct.pack(">IHH", 0x02000000, number + 1, 0), kind, b"\0")
        for number in range(count)
    ]
    primary = count + 1
    infos.append(box(b"infe", struct.pack(">IHH", 0x02000000, primary, 0), b"grid\0"))
    tiles = struct.pack(f">{count}H", *range(1, primary))
    shape = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
    known = box(
        b"ipco",
        settings,
        box(b"ispe", struct.pack(">III", 0, 64, 64)),
        box(b"ispe", struct.pack(">III", 0, width, height)),
        box(b"irot", bytes([rotation])),
    )
    owned = b"".join(
        struct.pack(">HBBB", number + 1, 2, 0x81, 2) for number in range(count)
    )
    owned += struct.pack(">HBBB", primary, 2, 3, 0x84)
    properties = box(
        b"iprp", known, box(b"ipma", struct.pack(">II", 0, count + 1), owned)
    )

    def file(start: int) -> bytes:
        """:param start: where the pixels of the tile are."""
        places = b"".join(
            struct.pack(">HHHHII", number + 1, 0, 0, 1, start, len(pixels))
            for number in range(count)
        )
        places += struct.pack(">HHHHII", primary, 1, 0, 1, 0, len(shape))
        meta = box(
            b"meta",
            bytes(4),
            box(b"hdlr", bytes(8), b"pict", bytes(13)),
            box(b"pitm", struct.pack(">IH", 0, primary)),
            box(b"iloc", struct.pack(">IHH", 0x01000000, 0x4400, count + 1), places),
            box(b"iinf", struct.pack(">IH", 0, count + 1), *infos),
            box(
                b"iref",
                bytes(4),
                box(b"dimg", struct.pack(">HH", primary, count), tiles),
            ),
            properties,
            box(b"idat", shape),
        )
        head = box(b"ftyp", brand, bytes(4), b"mif1", brand, b"miaf")
        return head + meta + box(b"mdat", pixels)

    return file(len(file(0)) - len(pixels))


def bombs_in_metadata() -> dict[str, bytes]:
    """PNGs whose metadata is a few KiB, and 128 MiB or more when it is unpacked."""
    squeeze = zlib.compressobj(9)
    zeros = b"".join([squeeze.compress(bytes(1024**2)) for _ in range(128)])
    packed = zeros + squeeze.flush()
    few = zlib.compress(bytes(1024**2), 9)
    chunks = {
        "iCCP": [chunk(b"iCCP", b"a\0\0" + packed)],
        "zTXt": [chunk(b"zTXt", b"a\0\0" + packed)],
        "iTXt": [chunk(b"iTXt", b"a\0\1\0\0\0" + packed)],
        "many zTXt": [chunk(b"zTXt", b"a\0\0" + few)] * 1000,
    }
    return {name: png(64, 64, *bomb, bits=1, kind=0) for name, bomb in chunks.items()}


def liars() -> dict[str, bytes]:
    """Files that have more pixels than they say at first."""
    boxes = re.sub(
        rb"(?s)ispe\0\0\0\0.{8}",
        b"ispe\0\0\0\0" + struct.pack(">II", 64, 64),
        encoded(Image.new("L", (4000, 4000)), "avif", speed=10),
    )
    first = bytearray(encoded(corners(), "gif"))
    at = first.index(b"\x2c\0\0\0\0")
    first[at + 5 : at + 9] = struct.pack("<HH", 60000, 60000)
    second = bytearray(animation("gif", [10, 10]))
    at = second.rindex(b"\x2c\0\0\0\0")
    second[at + 5 : at + 9] = struct.pack("<HH", 60000, 60000)
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100 * 1024**2), 9)
    return {
        "avif": boxes,
        "gif": bytes(first),
        "second frame of gif": bytes(second),
        "png": b"".join(
            [
                b"\x89PNG\r\n\x1a\n",
                chunk(b"IHDR", header),
                chunk(b"IDAT", pixels),
                chunk(b"IEND", b""),
            ]
        ),
        "grid": grid("heif", 50, 50, (64, 64)),
        "grid of avif": grid("avif", 50, 50, (64, 64)),
        "large grid": grid("heif", 100, 100),
    }


def polyglots() -> dict[str, bytes]:
    """Pictures that are something else, too."""
    gif, jpeg = encoded(corners(), "gif"), encoded(corners(), "jpeg")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.html", "<script>alert(1)</script>")
    return {
        "script": gif + b"*/=1;alert(1)",
        "zip": jpeg + archive.getvalue(),
        "page": jpeg[:2] + b"\xff\xfe\0\x20<script>alert(1)</script>     " + jpeg[2:],
        "two": jpeg + encoded(corners(), "png"),
    }


def no_pictures() -> dict[str, bytes]:
    """Files that are pictures of other kinds, or none."""
    return {
        "empty": b"",
        "one byte": b"\xff",
        "text": b"This is no picture.\n",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n",
        "tiff": encoded(corners(), "tiff"),
        "bmp": encoded(corners(), "bmp"),
        "ppm": encoded(corners(), "ppm"),
        "pdf": encoded(corners(), "pdf"),
        "jpeg in pdf": b"%PDF-1.4\n" + encoded(corners(), "jpeg"),
        "jpeg2000": encoded(corners(), "jpeg2000"),
        "psd": b"8BPS\0\1" + bytes(200),
        "film": b"\0\0\0\x20ftypisom" + bytes(200),
    }


def spoiled(data: bytes, chance: random.Random) -> bytes:
    """A file with a few bytes that are other ones, many of them in its header."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 2, 8))):
        end = chance.choice((min(200, len(data)), len(data)))
        changed[chance.randrange(end)] = chance.choice((0, 1, 127, 128, 255))
    return bytes(changed)
