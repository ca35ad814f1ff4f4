"""Pictures of every format, and files that are to break something.

Each of them makes a variant or is refused as ``BadPicture``, within the limits.
"""

from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
import typing as t

import exifread
import pytest
from PIL import Image
from PIL import ImageCms

from flask_store.exceptions import BadPicture
from flask_store.images import making
from flask_store.images.size import size_of
from tests.support import pictures
from tests.support.pictures import colors
from tests.support.pictures import corners
from tests.support.pictures import encoded
from tests.support.pictures import FORMATS
from tests.support.pictures import GREEN
from tests.support.pictures import LIMITS
from tests.support.pictures import OUTPUTS
from tests.support.pictures import rendered
from tests.support.pictures import SIZE
from tests.support.pictures import UPRIGHT
from tests.support.pictures import variant
from tests.support.servers import ROOT

#: What begins metadata, in any of the formats of variants.
MARKS = (
    *(b"Exif", b"EXIF", b"eXIf", b"xmpmeta", b"XMP ", b"adobe.com", b"Photoshop"),
    *(b"ICC_PROFILE", b"iCCP", b"ICCP", b"tEXt", b"zTXt", b"iTXt", b"prof"),
    pictures.SECRET.encode(),
)
SMALL = LIMITS._replace(max_pixels=1_000_000)


def refused_or_made(data: bytes, **asked: t.Any) -> None:
    """:raises Exception: if it is neither."""
    try:
        rendered(data, **({"width": 32} | asked))
    except BadPicture:
        pass


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_no_metadata(format: str, output: t.Any) -> None:
    """Nothing but pixels, as another library and the bytes say."""
    data = pictures.told(format)
    assert pictures.SECRET.encode() in data
    if format in ("jpeg", "png"):  # of the others it finds not all that is there
        assert exifread.process_file(io.BytesIO(data))
    made = rendered(data, width=64, format=output)
    assert not [mark for mark in MARKS if mark in made]
    assert output != "jpeg" or b"\xff\xfe" not in made  # which begins a comment
    assert not exifread.process_file(io.BytesIO(made))
    assert colors(Image.open(io.BytesIO(made))) == UPRIGHT


@pytest.mark.parametrize("format", ("jpeg", "png", "avif", "heif"))
@pytest.mark.parametrize("orientation", range(2, 9))
def test_upright(format: str, orientation: int) -> None:
    """However the camera was held."""
    data = pictures.turned(format, orientation)
    made = variant(data, width=60, format="png")
    assert (made.size, colors(made)) == ((60, 45), UPRIGHT)
    assert size_of(data) == SIZE


@pytest.mark.parametrize("format", ("heif", "avif"))
def test_tiles(format: str) -> None:
    """Telephones store a picture in tiles, and turn it."""
    made = variant(pictures.grid(format, 2, 2, rotation=3), width=128, format="png")
    assert made.size == (128, 128)
    # Each tile has been turned to the right.
    tile = made.crop((0, 0, 64, 64))
    assert colors(tile) == ["blue", "red", "white", "green"]


def ramp(bits: int) -> Image.Image:
    """All values, from black to white."""
    values = [step * (257 if bits == 16 else 1) for step in range(256)] * 4
    picture = Image.new("I;16" if bits == 16 else "L", (256, 4))
    picture.putdata(values)
    return picture


def test_sixteen_bits() -> None:
    """They become eight; nothing is cut off."""
    made = variant(encoded(ramp(16), "png"), width=256, format="png")
    assert made.mode == "L"
    assert list(made.crop((0, 0, 256, 1)).tobytes()) == list(range(256))
    transparent = corners("LA")
    assert variant(encoded(transparent, "png"), width=64).mode in ("RGB", "RGBA")


@pytest.mark.parametrize("mode", ("1", "L", "LA", "P", "RGBA", "CMYK"))
@pytest.mark.parametrize("output", OUTPUTS)
def test_modes(mode: str, output: t.Any) -> None:
    """Every mode of pixels can be written in every format."""
    format = "jpeg" if mode == "CMYK" else "png"
    picture = corners("RGB").convert(mode)
    made = variant(encoded(picture, format), width=64, format=output)
    assert made.size == (64, 48)
    if mode in ("P", "RGBA", "CMYK"):
        assert colors(made) == UPRIGHT


@pytest.mark.parametrize("format", ("png", "gif", "webp", "avif", "heif"))
def test_transparency(format: str) -> None:
    """What is transparent stays so, also in a palette."""
    picture = corners("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 64, 48))
    made = variant(encoded(picture, format), width=64, format="png")
    alpha = made.convert("RGBA").getchannel("A")
    assert (alpha.getpixel((10, 10)), alpha.getpixel((50, 40))) == (0, 255)
    made = variant(encoded(picture, format), width=64, format="jpeg")
    assert colors(made) == ["white", "green", "blue", "white"]


def test_one_color_of_a_png_is_transparent() -> None:
    """PNG may name one, without a palette."""
    for mode, color in (("RGB", pictures.RED), ("L", 0)):
        picture = Image.new(mode, SIZE, color)
        data = encoded(picture, "png", transparency=color)
        made = variant(data, width=50, format="png")
        assert made.getchannel("A").getextrema() == (0, 0)


def test_wide_colors() -> None:
    """They come out as those of sRGB; a profile that is broken is left out."""
    color = (144, 255, 60)
    picture = Image.new("RGB", SIZE, color)
    for format in ("png", "jpeg", "webp", "avif"):
        data = encoded(picture, format, icc_profile=pictures.adobe_profile())
        made = variant(data, width=50, format="png")
        assert made.getpixel((9, 9)) == pytest.approx(GREEN, abs=8)
    clear = Image.new("RGBA", SIZE, (*color, 100))
    data = encoded(clear, "png", icc_profile=pictures.adobe_profile())
    made = variant(data, width=50, format="png")
    assert made.getpixel((9, 9)) == pytest.approx((*GREEN, 100), abs=8)
    for profile in (b"x", pictures.adobe_profile()[:300], pictures.blue_ink_profile()):
        data = encoded(picture, "png", icc_profile=profile)
        made = variant(data, width=50, format="png")
        assert made.getpixel((9, 9)) == color


def test_inks() -> None:
    """With a profile they are what it says; without one, cyan is cyan."""
    cyan = Image.new("CMYK", SIZE, (255, 0, 0, 0))
    made = variant(encoded(cyan, "jpeg"), width=50, format="png")
    assert made.getpixel((9, 9)) == pytest.approx((0, 255, 255), abs=8)
    data = encoded(cyan, "jpeg", icc_profile=pictures.blue_ink_profile())
    red, green, blue = t.cast(t.Any, variant(data, width=50, format="png")).getpixel(
        (9, 9)
    )
    assert blue > 200 > 60 > max(red, green)


def test_grey_with_a_profile_of_colors() -> None:
    """Cameras store grey pictures with the profile of sRGB."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(Image.new("L", SIZE, 100), "jpeg", icc_profile=srgb)
    made = variant(data, width=50, format="png").convert("L")
    assert made.getpixel((9, 9)) == pytest.approx(100, abs=2)


@pytest.mark.parametrize("format", ("gif", "webp", "png", "avif"))
def test_every_frame(format: str) -> None:
    """An animation stays one; without asking for that, it is the first frame."""
    data = pictures.animation(format, [100, 200, 300])
    made: t.Any = variant(data, width=40, animated=True)
    shown = []
    for number in range(made.n_frames):
        made.seek(number)
        shown.append((colors(made)[0], made.info["duration"]))
    assert shown == [("red", 100), ("green", 200), ("blue", 300)]
    assert made.info["loop"] == (1 if format == "gif" else 0)
    assert colors(variant(data, width=40))[0] == "red"


def test_plays() -> None:
    """GIF says how often it is repeated, and WebP how often it is shown."""
    for format, loop in (("gif", 2), ("webp", 3), ("png", 3)):
        data = pictures.animation(format, [100, 200], loop=loop)
        assert variant(data, width=40, animated=True).info["loop"] == 3


@pytest.mark.parametrize("format", FORMATS)
def test_cut(format: str) -> None:
    """Whatever is missing at the end: it is refused, or hardly anything is missing."""
    data = encoded(corners(), format)
    for piece in pictures.cut(data, 20):
        refused_or_made(piece)
        size_of(piece)
    with pytest.raises(BadPicture):
        rendered(data[: len(data) // 2], width=32)


def test_bombs() -> None:
    """Their header is enough to refuse them: the memory stays that for a small one."""
    peaks = [peak(encoded(corners(), "webp"))]
    for data in pictures.bombs().values():
        peaks.append(peak(data))
    assert max(peaks) < peaks[0] + 100 * 1024


def test_bombs_in_metadata() -> None:
    """They are refused, or unpacked as far as the memory allows."""
    for data in pictures.bombs_in_metadata().values():
        assert peak(data) < 256 * 1024


def test_more_pixels_than_promised() -> None:
    """The process has the memory for those that are promised."""
    for data in pictures.liars().values():
        assert peak(data) < 512 * 1024


PEAK = """
import json, resource, sys
from flask_store.exceptions import BadPicture
from tests.support.pictures import rendered
try:
    rendered(sys.stdin.buffer.read(), width=100)
except BadPicture:
    pass
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak(data: bytes) -> int:
    """The most memory that the process needs for this file, in KiB."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK],
        input=data,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        timeout=60,
        check=True,
    )
    return int(done.stdout)


def test_many_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each scan of a progressive JPEG goes over all pixels. The system ends that."""
    monkeypatch.setattr(making, "COMPUTING", 1)
    with pytest.raises(BadPicture, match="within its limits"):
        rendered(pictures.many_scans(4000), width=100)


def test_many_frames() -> None:
    """They count as pixels if they are asked for, of the source or of the variant."""
    frame = b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x44\1\0"
    start = b"GIF89a\x20\0\x20\0\x80\0\0\0\0\0\xff\xff\xff"
    data = start + frame * 10_000 + b";"
    assert variant(data, width=16).size == (16, 16)
    with pytest.raises(BadPicture, match="10,000 frames have more than 1,000,000 pix"):
        rendered(data, SMALL, width=16, animated=True)
    few = pictures.animation("gif", [100] * 3)
    asked: dict[str, t.Any] = {"width": 1000, "height": 1000, "fit": "fill"}
    with pytest.raises(BadPicture, match="3 frames have more than 1,000,000 pixels"):
        rendered(few, SMALL, animated=True, **asked)
    refused_or_made(data, animated=True)


@pytest.mark.parametrize("name", pictures.polyglots())
def test_polyglots(name: str) -> None:
    """The content decides, and only the picture is in the variant."""
    made = rendered(pictures.polyglots()[name], width=64)
    assert colors(Image.open(io.BytesIO(made))) == UPRIGHT
    assert b"script" not in made and b"alert" not in made


@pytest.mark.parametrize("name", pictures.no_pictures())
def test_no_picture(name: str) -> None:
    """Only the formats of the list are opened, whatever Pillow knows."""
    data = pictures.no_pictures()[name]
    with pytest.raises(BadPicture):
        rendered(data, width=32)
    assert size_of(data) is None


@pytest.mark.parametrize("format", FORMATS)
def test_spoiled(format: str) -> None:
    """Bytes that are wrong break nothing."""
    chance = random.Random(format)
    data = encoded(corners(), format, exif=pictures.exif(orientation=6))
    for _ in range(12):
        refused_or_made(pictures.spoiled(data, chance))
    for _ in range(3000):
        found = size_of(pictures.spoiled(data, chance)[: chance.randrange(2, 700)])
        assert found is None or min(found) > 0


def test_headers_that_take_long() -> None:
    """Headers that promise much work are read to their end all the same."""
    start = b"\0\0\0\x20ftypavif" + bytes(4) + b"avifmif1miaf" + bytes(4)
    places = struct.pack(">IHH", 0, 0, 65535) + b"\0\1\0\0\xff\xff" * 60_000
    for header in (
        b"\xff\xd8\xff" + bytes(4_000_000),
        b"\xff\xd8" + b"\xff\xe1\0\x02" * 1_000_000,
        b"\x89PNG\r\n\x1a\n" + pictures.chunk(b"IHDR", bytes(13)) + bytes(4_000_000),
        start + pictures.box(b"free") * 500_000,
        start + pictures.box(b"meta", bytes(4), pictures.box(b"iloc", places)),
    ):
        assert size_of(header) is None


def test_same_bytes_each_time() -> None:
    """Hosts that make the same variant make the same file."""
    data = encoded(corners(size=(1000, 700)), "jpeg")
    for output in OUTPUTS:
        first = rendered(data, width=300, format=output)
        assert first == rendered(data, width=300, format=output)
