"""Makes the screenshots of the gallery: ``python docs/gallery_screenshots.py``.

The pictures in them are drawn here, so that anybody may use them.
"""

from __future__ import annotations

import io
import math
import pathlib
import random
import sys
import typing as t

from PIL import Image
from PIL import ImageDraw
from PIL import ImageFilter

DOCS = pathlib.Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS.parent / "examples")]


#: Of each landscape: the sky above and at the horizon, the sun, the hills far and near.
LANDSCAPES = {
    "Morning above the lake.jpg": (
        "#7fb2d9",
        "#fde8c8",
        "#fff6df",
        "#8fb3bd",
        "#1d4b57",
    ),
    "Last light.jpg": ("#3b2a66", "#f58b51", "#ffd98a", "#8e4f7d", "#2a1a3f"),
    "Fog in the valley.jpg": ("#cdd8dc", "#f1f3f0", "#ffffff", "#b8c7c9", "#50676b"),
    "Desert.jpg": ("#4fa3c7", "#fbd9a5", "#fff3c9", "#e4a765", "#8a3d22"),
    "Night walk.jpg": ("#0b1430", "#2c4a78", "#e9efff", "#1f355c", "#060b1c"),
    "Moss.jpg": ("#a7d0c4", "#eef6df", "#fffde9", "#84b38b", "#1c4a33"),
    "Fjord, from the ferry.jpg": (
        "#5d8fb8",
        "#dcebf0",
        "#ffffff",
        "#6c93a8",
        "#12314a",
    ),
}


def landscape(colours: t.Sequence[str], seed: int) -> bytes:
    """A picture of hills behind hills, below a sun, as a JPEG."""
    width, height, chance = 960, 720, random.Random(seed)
    top, horizon, sun, far, near = (_rgb(colour) for colour in colours)
    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)
    for y in range(height):
        draw.line((0, y, width, y), _mix(top, horizon, min(1.0, y / height * 1.6)))
    glow = Image.new("L", image.size)
    x, y, radius = chance.randint(220, 740), chance.randint(150, 300), 52
    for size, light in ((5, 40), (3, 60), (1, 255)):
        box = (
            x - radius * size,
            y - radius * size,
            x + radius * size,
            y + radius * size,
        )
        ImageDraw.Draw(glow).ellipse(box, light)
        glow = glow.filter(ImageFilter.GaussianBlur(30 if size > 1 else 1.5))
    image.paste(Image.new("RGB", image.size, sun), mask=glow)
    draw = ImageDraw.Draw(image)
    hills = 6
    for hill in range(hills):
        base = height * (0.48 + 0.1 * hill)
        waves = [
            (chance.uniform(0.3, 1.1) * 2**n, chance.uniform(0, 7), 46 / 1.7**n)
            for n in range(5)
        ]
        line = [
            (x, base - sum(a * math.sin(x / width * 6 * f + p) for f, p, a in waves))
            for x in range(0, width + 1, 4)
        ]
        colour = _mix(far, near, hill / (hills - 1))
        draw.polygon([(0, height), *line, (width, height)], colour)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def _rgb(text: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(text[1:]))


def _mix(one: tuple[int, ...], other: tuple[int, ...], part: float) -> tuple[int, ...]:
    return tuple(round(a + (b - a) * part) for a, b in zip(one, other, strict=True))
