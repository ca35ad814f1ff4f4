"""Make the screenshots of the gallery, after a change of how it looks: ``python
docs/gallery_screenshots.py``.

What they show is drawn here, so that everybody may use it.
"""

from __future__ import annotations

import base64
import contextlib
import io
import logging
import math
import os
import pathlib
import random
import sys
import tempfile
import typing as t
import wave
from collections.abc import Iterator

from PIL import Image
from PIL import ImageDraw
from PIL import ImageFilter
from playwright.sync_api import Browser
from playwright.sync_api import expect
from playwright.sync_api import Page

DOCS = pathlib.Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS.parent / "examples")]

from gallery import create_app  # noqa: E402
from gallery import store  # noqa: E402

from tests.support.browser import browser  # noqa: E402
from tests.support.servers import serve  # noqa: E402

#: Of each landscape: the sky above and at the horizon, the sun, far and near hills.
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


#: Records two seconds of a picture that moves, as base64.
RECORD = """
async (url) => {
    const picture = new Image();
    picture.src = url;
    await picture.decode();
    const canvas = document.createElement("canvas");
    Object.assign(canvas, {width: 640, height: 480});
    const context = canvas.getContext("2d");
    const stream = canvas.captureStream(25);
    const recorder = new MediaRecorder(stream, {mimeType: "video/webm"});
    const pieces = [];
    recorder.ondataavailable = ({data}) => pieces.push(data);
    const ended = new Promise((resolve) => recorder.onstop = resolve);
    const begin = performance.now();
    recorder.start();
    await new Promise((resolve) => {
        const draw = () => {
            const moved = (performance.now() - begin) / 25;
            context.drawImage(picture, -moved, 0, 800, 600);
            moved < 80 ? requestAnimationFrame(draw) : resolve();
        };
        draw();
    });
    recorder.stop();
    await ended;
    const reader = new FileReader();
    reader.readAsDataURL(new Blob(pieces));
    await new Promise((resolve) => reader.onload = resolve);
    return reader.result.split(",")[1];
}
"""


def video(page: Page, picture: bytes) -> bytes:
    """A short video of a picture that moves, as WebM."""
    url = f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
    return base64.b64decode(page.evaluate(RECORD, url))


def sound() -> bytes:
    """A minute of silence, as WAV."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(bytes([128]) * 8000 * 60)
    return buffer.getvalue()


def fill(page: Page) -> None:
    """Save what a gallery may have, the oldest first."""
    store.save(bytes(18_400), "Timetable.xlsx")
    store.save(bytes(312_000), "Invoice 2026-11.pdf")
    store.save(sound(), "Rain on the tent.wav")
    pictures = {
        name: landscape(named, n) for n, (name, named) in enumerate(LANDSCAPES.items())
    }
    store.save(video(page, pictures["Moss.jpg"]), "Walking through moss.webm")
    for name, picture in pictures.items():
        store.save(picture, name)


@contextlib.contextmanager
def visiting(browser: Browser, url: str, **options: t.Any) -> Iterator[Page]:
    """The gallery in a browser, when all that it shows has been loaded."""
    page = browser.new_page(**{"viewport": {"width": 1280, "height": 800}, **options})
    page.goto(url, wait_until="networkidle")
    page.wait_for_timeout(1500)  # until the controls of a video are at rest
    yield page
    page.close()


def take(page: Page, name: str) -> None:
    """Write a screenshot."""
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shot.save(DOCS / "_static" / f"gallery-{name}.png", optimize=True)


def send(page: Page, folder: pathlib.Path) -> None:
    """Begin to send a picture and a document, over a slow line, of which the second
    is refused."""
    picture, document = folder / "Above the clouds.jpg", folder / "Minutes.docx"
    colours = "#6fa8d6", "#f3e3d3", "#ffffff", "#aebfd0", "#4a5f7c"
    picture.write_bytes(landscape(colours, 40) + bytes(4_000_000))
    document.write_bytes(bytes(24_000))
    full = '{"description": "The storage is full. Nothing was stored."}'
    page.route(
        "**/Minutes*",
        lambda route: route.fulfill(
            status=507, content_type="application/json", body=full
        ),
    )
    client = page.context.new_cdp_session(page)
    line = {"offline": False, "latency": 0, "downloadThroughput": -1}
    client.send("Network.enable")
    client.send(
        "Network.emulateNetworkConditions", {**line, "uploadThroughput": 800_000}
    )
    page.set_input_files("input[type=file]", [picture, document])
    expect(page.locator("[data-state=failed]")).to_have_count(1)
    bar = page.locator("[data-state=sending] progress")
    while bar.evaluate("(bar) => bar.value / bar.max") < 0.6:
        page.wait_for_timeout(50)


#: The fonts of Debian's Chromium are wider than those of most people's systems.
FONTS = """<?xml version="1.0"?>
<fontconfig>
  <include>/etc/fonts/fonts.conf</include>
  <match target="pattern">
    <test qual="all" name="family" compare="not_contains">
      <string>monospace</string>
    </test>
    <edit name="family" mode="prepend" binding="strong">
      <string>Liberation Sans</string>
    </edit>
  </match>
</fontconfig>
"""


def main() -> None:
    """Make all of them."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="gallery-"))
        )
        fonts = folder / "fonts.conf"
        fonts.write_text(FONTS)
        os.environ["FONTCONFIG_FILE"] = str(fonts)
        chromium = stack.enter_context(browser())
        config = {"SECRET_KEY": "a secret", "STORE_PATH": str(folder / "uploads")}
        app = create_app(config)
        with serve(app) as url:
            with visiting(chromium, url) as page:
                take(page, "empty")
            with visiting(chromium, "about:blank") as page, app.app_context():
                fill(page)
            with visiting(chromium, url) as page:
                take(page, "desktop")
            with visiting(chromium, url, color_scheme="dark") as page:
                take(page, "dark")
            with visiting(chromium, url) as page:
                send(page, folder)
                take(page, "error")
            phone = {"width": 390, "height": 780}
            with visiting(
                chromium, url, viewport=phone, is_mobile=True, has_touch=True
            ) as page:
                take(page, "phone")


if __name__ == "__main__":
    main()
