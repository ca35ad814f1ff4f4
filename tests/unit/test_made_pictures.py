"""Variants of pictures: their size, and what becomes of colors and transparency.

``tests/hard/test_hard_pictures.py`` has every format, and the hostile ones.
"""

from __future__ import annotations

import io
import os
import pathlib
import subprocess
import sys
import tempfile
import typing as t

import pytest
from PIL import Image
from PIL import ImageOps

from flask_store.exceptions import BadPicture
from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import StoreError
from flask_store.exceptions import StoreUnavailable
from flask_store.images import making
from flask_store.images.child import plan
from flask_store.images.size import size_of
from flask_store.stores.fsspec import FsspecStore
from tests.support.pictures import animation
from tests.support.pictures import BLUE
from tests.support.pictures import bombs
from tests.support.pictures import chunk
from tests.support.pictures import colors
from tests.support.pictures import corners
from tests.support.pictures import encoded
from tests.support.pictures import FORMATS
from tests.support.pictures import grid
from tests.support.pictures import LIMITS
from tests.support.pictures import png
from tests.support.pictures import rendered
from tests.support.pictures import SIZE
from tests.support.pictures import turned
from tests.support.pictures import UPRIGHT
from tests.support.pictures import variant


def test_broken_in_its_middle() -> None:
    """Pillow reads the pixels of a PNG when it is asked for the orientation. Whatever
    it raises there counts: the pixels that were not read would be black."""
    buffer = io.BytesIO()
    Image.effect_noise((300, 300), 100).save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    data[1000:2000] = b"\xff" * 1000
    with pytest.raises(BadPicture, match="broken data stream"):
        rendered(bytes(data), width=30)


def planned(source: tuple[int, int], **asked: t.Any) -> t.Any:
    job: t.Any = {"width": None, "height": None, "fit": "contain", **asked}
    return plan(source, job)


@pytest.mark.parametrize(
    ("source", "asked", "size"),
    [
        ((400, 300), {"width": 200}, (200, 150)),
        ((400, 300), {"height": 30}, (40, 30)),
        ((400, 300), {"width": 200, "height": 30}, (40, 30)),
        ((400, 300), {"width": 800}, (400, 300)),
        ((5000, 2), {"width": 100}, (100, 1)),
        ((1, 1), {"width": 8192, "height": 1}, (1, 1)),
    ],
)
def test_contained(
    source: tuple[int, int], asked: dict[str, int], size: tuple[int, int]
) -> None:
    """The whole picture in its proportion, at least a pixel wide, never enlarged."""
    assert planned(source, **asked) == (source, size, size)


@pytest.mark.parametrize(
    ("source", "size", "part", "made"),
    [
        ((400, 300), (100, 100), (300, 300), (100, 100)),
        ((300, 400), (100, 50), (300, 150), (100, 50)),
        ((50, 40), (100, 100), (40, 40), (40, 40)),
        ((50, 400), (100, 100), (50, 50), (50, 50)),
    ],
)
def test_covered(
    source: tuple[int, int],
    size: tuple[int, int],
    part: tuple[int, int],
    made: tuple[int, int],
) -> None:
    """The middle, in the proportion that was asked for. What is small stays small."""
    found = planned(source, width=size[0], height=size[1], fit="cover")
    assert found.part == pytest.approx(part)
    assert (found.size, found.canvas) == (made, made)


def test_filled() -> None:
    """The canvas is as large as asked for, and the picture as large as fits in."""
    found = planned((400, 300), width=100, height=100, fit="fill")
    assert found == ((400, 300), (100, 75), (100, 100))
    found = planned((40, 30), width=100, height=100, fit="fill")
    assert found == ((40, 30), (40, 30), (100, 100))


def test_turned_and_cut() -> None:
    """A camera was held otherwise: the upright picture is cut, not the stored one."""
    made = variant(turned("jpeg", 6), width=40, height=60, fit="cover", format="png")
    assert (made.size, colors(made)) == ((40, 60), UPRIGHT)


def test_transparent_behind_background() -> None:
    """JPEG has no transparency, so there is a color behind the picture."""
    clear = encoded(Image.new("RGBA", SIZE, (255, 0, 0, 0)), "png")
    made = variant(clear, width=50, format="jpeg", background="0000ff")
    assert made.getpixel((5, 5)) == pytest.approx(BLUE, abs=3)
    made = variant(clear, width=50)
    assert made.mode == "RGBA" and made.getchannel("A").getextrema() == (0, 0)


def test_filled_around() -> None:
    """The background is at the sides, and the picture in the middle."""
    made = variant(
        encoded(corners(), "png"),
        width=100,
        height=300,
        fit="fill",
        format="png",
        background="000000",
    )
    assert made.size == (100, 300)
    assert made.getpixel((50, 100)) == (0, 0, 0) == made.getpixel((50, 200))
    assert colors(made.crop((0, 113, 100, 188))) == UPRIGHT


def test_not_a_picture() -> None:
    """The client sent it, so it is a 422."""
    with pytest.raises(BadPicture, match="no picture of these formats: JPEG, PNG.$"):
        rendered(b"GIF89a", LIMITS._replace(formats=("jpeg", "png")), width=10)
    assert BadPicture.code == 422


def test_too_many_pixels_or_bytes() -> None:
    """Nothing is decoded then."""
    with pytest.raises(BadPicture, match="more than 50,000,000 pixels"):
        rendered(bombs()["png"], width=10)
    with pytest.raises(BadPicture, match="has 11 bytes; no more than 10 are"):
        rendered(b"x" * 11, LIMITS._replace(max_size=10), width=10)


def test_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install is said in a line to paste."""
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(
        NotConfiguredError, match=r"Pillow.*pip install 'Flask-Store\[images\]'"
    ):
        rendered(encoded(corners(), "png"), width=10)


def test_no_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within uWSGI the executable is uWSGI, and Python is looked for."""
    monkeypatch.setattr(sys, "executable", "/usr/bin/uwsgi")
    making.interpreter.cache_clear()
    found = making.interpreter()
    version = subprocess.check_output([found, "--version"], text=True)
    assert version.split()[1] == sys.version.split()[0]
    monkeypatch.setattr(sys, "exec_prefix", "/nowhere")
    monkeypatch.setattr(sys, "base_exec_prefix", "/nowhere")
    making.interpreter.cache_clear()
    with pytest.raises(NotConfiguredError, match="Set sys.executable to its path"):
        making.interpreter()
    making.interpreter.cache_clear()


def test_process_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not the picture's fault, so it is no BadPicture, which is remembered."""
    picture = encoded(corners(), "png")
    for name, error in (("/nowhere", "cannot be started"), ("false", "with status 1")):
        monkeypatch.setattr(making, "interpreter", lambda name=name: name)
        with pytest.raises(StoreError, match=error) as caught:
            rendered(picture, width=10)
        assert not isinstance(caught.value, BadPicture)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_as_shown(format: str, orientation: int) -> None:
    """Chromium heeds the orientation of some formats. Pillow tells it of each."""
    data = turned(format, orientation)
    stored = Image.open(io.BytesIO(data))
    shown = stored if format in ("webp", "gif") else ImageOps.exif_transpose(stored)
    assert size_of(data) == shown.size
    assert size_of(data[:8]) is None


def test_size_of_what_imagesize_gets_wrong() -> None:
    """The sizes of GIF are unsigned, those of WebP have two bits more than the size,
    tiles and cropping are usual in HEIF, and an orientation may be in a PNG."""
    assert size_of(bombs()["gif"][:20]) == (30000, 30000)
    assert size_of(b"GIF89a" + b"\xff" * 4 + bytes(20)) == (65535, 65535)
    webp = bytearray(encoded(corners(), "webp"))
    webp[27] |= 0xC0
    assert size_of(bytes(webp)) == SIZE
    assert size_of(encoded(corners(size=(65, 67)), "heif")) == (65, 67)
    assert size_of(grid("heif", 2, 3, rotation=1)) == (128, 192)
    assert size_of(grid("avif", 2, 3, (190, 100))) == (190, 100)
    late = chunk(b"tEXt", b"a\0b"), chunk(b"eXIf", b"II*\0\x08\0\0\0\0\0")
    assert size_of(png(30, 20, *late)) == (30, 20)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='10' height='10'/>",
        b"P6 10 10 255\n" + bytes(300),
        b"BM" + bytes(16) + b"\x0a\0\0\0\x0a\0\0\0" + bytes(100),
        b"II*\0\x08\0\0\0" + bytes(100),
        b"\0\0\0\x20ftypisom" + bytes(100),
    ],
)
def test_size_of_no_picture(data: bytes) -> None:
    """What is no picture of a known kind has none, not even an SVG."""
    assert size_of(data) is None


def test_size_of_a_stored_file(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes one request, and a second one where the header is long. The store needs
    no setting for it."""
    store = FsspecStore.from_url(str(tmp_path))
    reads = []
    stream = FsspecStore.stream

    def counted(self: FsspecStore, *args: t.Any) -> t.Iterator[bytes]:
        reads.append(args)
        return stream(self, *args)

    monkeypatch.setattr(FsspecStore, "stream", counted)
    file = store.save(io.BytesIO(turned("jpeg", 6)), "a.jpg")
    assert (file.image_size(), reads) == (SIZE, [("a.jpg", 0, 65536)])
    reads.clear()
    long = encoded(corners(), "jpeg", icc_profile=os.urandom(70_000))
    file = store.save(io.BytesIO(long), "b.jpg")
    assert (file.image_size(), len(reads)) == (SIZE, 2)
    file = store.save(io.BytesIO(b"\xff\xd8\xff" + bytes(100)), "c.jpg")
    with pytest.raises(BadPicture, match="does not begin like a picture in JPEG"):
        file.image_size()


def test_nothing_is_left(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a file nor a process nor a descriptor, whatever came of it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    picture = encoded(corners(), "png")
    before = len(os.listdir("/dev/fd"))
    rendered(picture, width=10)
    with pytest.raises(BadPicture):
        rendered(picture[:-40], width=10)
    monkeypatch.setattr(making, "TIMEOUT", 0)
    with pytest.raises(StoreUnavailable, match="within 0 seconds"):
        rendered(picture, width=10)
    assert len(os.listdir("/dev/fd")) == before
    assert not os.listdir(tmp_path)


def test_animated() -> None:
    """All frames, on request, as long as they were shown."""
    data = animation("gif", [120, 300, 70], loop=0)
    assert getattr(variant(data, width=50), "n_frames", 1) == 1
    made: t.Any = variant(data, width=50, animated=True)
    durations = []
    for number in range(made.n_frames):
        made.seek(number)
        made.load()
        durations.append(made.info["duration"])
    assert durations == [120, 300, 70]
    assert made.info["loop"] == 0
    with pytest.raises(BadPicture, match="3 frames have more than 20,000 pixels"):
        rendered(data, LIMITS._replace(max_pixels=20_000), width=5, animated=True)
