"""Makes pictures in another size, as each library wants it: one process for each.

``python -m benchmarks.makers CONTENDER FOLDER WARM NAME`` makes a WebP 400 pixels wide
of the file WARM in the folder, so that everything is imported, and then of the file
NAME. It prints one line of JSON: what that took, and what another look at it takes.
"""

from __future__ import annotations

import io
import json
import os
import pathlib
import resource
import statistics
import sys
import time
import typing as t
from collections.abc import Callable

from tests.support.memory_peak import resident

WIDTH, QUALITY = 400, 80
OURS = "Flask-Store"
#: How many times a picture that is there is asked for.
HITS = 200


class Contender(t.NamedTuple):
    """What is called with the name of a picture.

    :param make: makes the small picture.
    :param url: gives its address, when it has been made, as a template does.
    :param read: gives its bytes.
    """

    make: Callable[[str], object]
    url: Callable[[str], str] | None
    read: Callable[[str], bytes]


def by_hand(folder: str, whole: bool) -> Contender:
    """Pillow, which stores the result beside the picture.

    :param whole: whether all pixels are decoded. ``thumbnail()`` calls ``draft()``,
        which lets a JPEG be decoded to a half, a quarter or an eighth of its size.
    """
    from PIL import Image

    def make(name: str) -> None:
        with Image.open(f"{folder}/{name}") as picture:
            size = (WIDTH, round(picture.height * WIDTH / picture.width))
            if whole:
                small = picture.resize(size, Image.Resampling.LANCZOS)
            else:
                picture.thumbnail(size, Image.Resampling.LANCZOS)
                small = picture
            small.save(f"{folder}/{name}.webp", quality=QUALITY)

    def read(name: str) -> bytes:
        return pathlib.Path(f"{folder}/{name}.webp").read_bytes()

    return Contender(make, None, read)


def flask_store(folder: str) -> Contender:
    """Flask-Store, in an application."""
    from flask import Flask

    from flask_store import Store

    app = Flask(__name__, root_path="/")
    app.config.update(
        SERVER_NAME="localhost",
        STORE_PATH=folder,
        STORE_VARIANTS={"small": {"width": WIDTH, "quality": QUALITY}},
    )
    store = Store(app).Provider()
    app.app_context().push()
    return Contender(
        lambda name: store.file(name).variant("small").make(),
        lambda name: store.file(name).variant("small").url(),
        lambda name: store.file(name).variant("small").read(),
    )


def _django(folder: str, *apps: str) -> None:
    import django
    from django.conf import settings
    from django.core.management import call_command

    settings.configure(
        INSTALLED_APPS=apps,
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        },
        MEDIA_ROOT=folder,
        MEDIA_URL="/media/",
        SECRET_KEY="of the benchmark",
        THUMBNAIL_FORMAT="WEBP",
        THUMBNAIL_QUALITY=QUALITY,
    )
    django.setup()
    call_command("migrate", verbosity=0)


def sorl(folder: str) -> Contender:
    """sorl-thumbnail, with its tables in SQLite's memory."""
    _django(folder, "sorl.thumbnail")
    from sorl.thumbnail import get_thumbnail

    def of(name: str) -> t.Any:
        return get_thumbnail(name, str(WIDTH))

    return Contender(of, lambda name: str(of(name).url), lambda name: of(name).read())


def imagekit(folder: str) -> Contender:
    """django-imagekit."""
    _django(folder, "imagekit")
    from django.core.files.storage import default_storage
    from imagekit import ImageSpec
    from imagekit.cachefiles import ImageCacheFile
    from imagekit.processors import ResizeToFit

    class Small(ImageSpec):  # type: ignore[misc]
        processors = (ResizeToFit(WIDTH, WIDTH),)
        format = "WEBP"
        options: t.ClassVar = {"quality": QUALITY}

    def of(name: str) -> t.Any:
        source = default_storage.open(name)
        source.name = name
        return ImageCacheFile(Small(source=source))

    def read(name: str) -> bytes:
        with of(name) as file:
            return bytes(file.read())

    return Contender(lambda name: of(name).generate(), lambda n: str(of(n).url), read)


CONTENDERS: dict[str, Callable[[str], Contender]] = {
    "Pillow, thumbnail()": lambda folder: by_hand(folder, whole=False),
    "Pillow, resize()": lambda folder: by_hand(folder, whole=True),
    "sorl-thumbnail": sorl,
    "django-imagekit": imagekit,
    OURS: flask_store,
}


def main(label: str, folder: str, warm: str, name: str) -> None:
    """Measure one contender."""
    os.chdir(folder)
    contender = CONTENDERS[label](folder)
    contender.make(warm)
    contender.read(warm)
    started = time.perf_counter()
    contender.make(name)
    found = {"make": time.perf_counter() - started}
    found["worker"] = resident("VmHWM")
    # In kibibytes, of the child that took most: getrusage(2).
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    found["child"] = usage.ru_maxrss * 1024
    looks = {"url": contender.url, "read": contender.read}
    for word, look in looks.items():
        if look is not None:
            times = []
            for _ in range(HITS):
                started = time.perf_counter()
                look(name)
                times.append(time.perf_counter() - started)
            found[word] = statistics.median(times)
    from PIL import Image

    with Image.open(io.BytesIO(contender.read(name))) as made:
        found["width"] = made.width
        assert made.format == "WEBP"
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
