"""A variant of a large picture: time, memory and a second look, by several libraries.

``python -m benchmarks.images``, from the project's folder. Each makes a WebP that is
400 pixels wide of a JPEG of 24 megapixels on the local disk, in a process that has made
another one before. Flask-Store makes it in a process of its own, whose start counts.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from collections.abc import Sequence

from PIL import Image

from .makers import CONTENDERS
from .makers import WIDTH
from .measure import arguments
from .measure import Comparison
from .measure import interleaved
from .measure import mebibytes
from .measure import parsed
from .measure import seconds
from .measure import size
from .measure import Table

#: The whole picture in pixels: 24 megapixels, as many cameras have.
WHOLE, QUICK = (6000, 4000), (600, 400)
BASE = "Pillow, thumbnail()"
ROOT = pathlib.Path(__file__).parent.parent


def picture(width: int, height: int, color: int = 0) -> Image.Image:
    """A picture with coarse and fine structure, as a photograph has it.

    :param color: pictures of other numbers have other colors.
    """
    bands = []
    for number in range(3):
        shades = [
            Image.effect_noise(
                (max(2, width // part), max(2, height // part)), 120
            ).resize((width, height), Image.Resampling.BICUBIC)
            for part in (800, 60)
        ]
        shade = Image.blend(*shades, 0.3)
        fine = Image.effect_noise((width, height), 22)
        level = 90 + (color * (37 + 20 * number)) % 80
        flat = Image.new("L", (width, height), level)
        bands.append(Image.blend(Image.blend(shade, flat, 0.3), fine, 0.2))
    return Image.merge("RGB", bands)


def measured(label: str, folder: str, found: list[dict[str, float]]) -> float:
    """Let a contender make a variant, in a folder of its own; the seconds it took."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        for name in ("warm.jpg", "picture.jpg"):
            os.link(f"{folder}/{name}", f"{own}/{name}")
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.makers", label, own]
            + ["warm.jpg", "picture.jpg"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
        )
    figures = json.loads(done.stdout)
    assert figures["width"] == WIDTH, (label, figures)
    found.append(figures)
    return float(figures["make"])


def main(args: Sequence[str] | None = None) -> None:
    """Print the tables."""
    asked = parsed(arguments(__doc__), args)
    whole = QUICK if asked.quick else WHOLE
    found: dict[str, list[dict[str, float]]] = {label: [] for label in CONTENDERS}
    with tempfile.TemporaryDirectory(prefix="flask-store-") as folder:
        picture(*QUICK).save(f"{folder}/warm.jpg", quality=90)
        picture(*whole).save(f"{folder}/picture.jpg", quality=95)
        bytes_of_it = os.path.getsize(f"{folder}/picture.jpg")

        def turn(label: str) -> Callable[[], float]:
            return lambda: measured(label, folder, found[label])

        times = interleaved({label: turn(label) for label in CONTENDERS}, asked.rounds)
    print(f"The JPEG has {whole[0]} x {whole[1]} pixels and {size(bytes_of_it)}.\n")
    made = Comparison("Seconds for the variant, and the ratio", BASE, seconds)
    made.add("first variant", times)
    made.table().show()
    # The first round is the one that warms up.
    kept = {label: rounds[1:] for label, rounds in found.items()}
    peaks = {
        label: [figures["worker"] + figures["child"] for figures in rounds]
        for label, rounds in kept.items()
    }
    memory = Comparison("Peak memory of all processes, and the ratio", BASE, mebibytes)
    memory.add("all processes", peaks)
    memory.table().show()
    parts = Table("Peak memory of each process", "contender", "worker", "child")
    for label, rounds in kept.items():
        middle = sorted(rounds, key=lambda figures: figures["make"])[len(rounds) // 2]
        child = mebibytes(middle["child"]) if middle["child"] else "-"
        parts.add(label, mebibytes(middle["worker"]), child)
    parts.show()
    hits = Comparison("Seconds for a hit, and the ratio", BASE, seconds)
    hits.add("bytes", {x: [f["read"] for f in rounds] for x, rounds in kept.items()})
    hits.table().show()
    urls = Table("Seconds for the URL of a variant that is there", "contender", "URL")
    for label, rounds in kept.items():
        looks = sorted(figures["url"] for figures in rounds if "url" in figures)
        urls.add(label, seconds(looks[len(looks) // 2]) if looks else "-")
    urls.show()


if __name__ == "__main__":
    main()
