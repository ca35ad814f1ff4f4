"""Makes one variant, as a program of its own: see ``making.py``, which runs it.

It imports Pillow and nothing of Flask-Store. The picture is its standard input, a file.
Its argument is the job in JSON. To its standard output, a file too, it writes a line of
JSON that says what came of it, and then the bytes of the variant.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
import traceback
import typing as t
import warnings
from contextlib import suppress

if t.TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFile import ImageFile

#: What Pillow calls the formats, and where it keeps what opens them.
PLUGINS = {
    "jpeg": ("JPEG", "PIL.JpegImagePlugin"),
    "png": ("PNG", "PIL.PngImagePlugin"),
    "gif": ("GIF", "PIL.GifImagePlugin"),
    "webp": ("WEBP", "PIL.WebPImagePlugin"),
    "avif": ("AVIF", "PIL.AvifImagePlugin"),
    "heif": ("HEIF", "pillow_heif"),
}
#: How each format is encoded, beside its quality. More effort takes several times as
#: long: WebP gains nothing by it, and AVIF a fifth.
ENCODERS: dict[str, dict[str, t.Any]] = {
    "jpeg": {"progressive": True, "optimize": True},
    "png": {},
    "webp": {"method": 4},
    "avif": {"speed": 6, "max_threads": 1, "autotiling": False},
}
#: The memory of an interpreter with Pillow, and that for each pixel of the source and
#: of the variant, in bytes.
MEMORY, MEMORY_OF_PIXEL = 256 * 1024**2, 24
#: The formats that have frames which follow one another. Others have several pictures.
ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
#: The orientations (EXIF 2.32, tag 274) by the number of the transposition that undoes
#: them, which Pillow calls by the same names; and those that swap width and height.
UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
SWAPPED = (5, 6, 7, 8)

TOO_MUCH_MEMORY = "It takes too much memory."

Size: t.TypeAlias = tuple[int, int]


class Job(t.TypedDict):
    """What :func:`flask_store.images.making.render` asks for."""

    path: list[str]
    formats: list[str]
    max_pixels: int
    seconds: int
    largest: int
    width: int | None
    height: int | None
    fit: str
    format: str
    quality: int | None
    background: str
    animated: bool


class Refused(Exception):
    """The file is no picture of which a variant may be made, and why."""


def limit(job: Job) -> None:
    """Bound the time, the memory and the output of this process, also for what is done
    in C. Windows has no such limits."""
    set_limit("RLIMIT_CORE", 0)
    # With the second one, the system kills; the first one lets it say why.
    set_limit("RLIMIT_CPU", job["seconds"], job["seconds"] + 1)
    set_limit("RLIMIT_FSIZE", job["largest"])
    limit_memory(job["max_pixels"])


def limit_memory(pixels: int) -> None:
    """Bound the memory to what takes a picture of so many pixels."""
    # Not the address space: libraries reserve more of it than they use.
    set_limit("RLIMIT_DATA", MEMORY + MEMORY_OF_PIXEL * pixels)


def set_limit(name: str, most: int, last: int | None = None) -> None:
    """Set one limit of the system, or leave it where it is if that one is lower.

    :param last: the hard limit; by default the same.
    """
    try:
        import resource
    except ImportError:
        return
    what = getattr(resource, name)
    _, hard = resource.getrlimit(what)
    soft, last = (
        number if hard == resource.RLIM_INFINITY else min(number, hard)
        for number in (most, most if last is None else last)
    )
    with suppress(ValueError, OSError):  # macOS does not take each of them
        resource.setrlimit(what, (soft, last))


def open_picture(job: Job) -> ImageFile:
    """Read the header of the picture.

    :raises Refused: if it has too many pixels, or is of another format.
    """
    from PIL import Image
    from PIL import UnidentifiedImageError

    formats = []
    for name in job["formats"]:
        pillow_name, module = PLUGINS[name]
        try:
            plugin: t.Any = importlib.import_module(module)
        except ImportError:
            continue  # it cannot be opened then
        # One thread, so that the number of makers bounds what is used of a machine.
        if name == "heif":
            plugin.register_heif_opener(thumbnails=False, decode_threads=1)
        if name == "avif":
            plugin.DEFAULT_MAX_THREADS = 1
        formats.append(pillow_name)
    # Some decoders look at it before they get memory, and at each frame.
    Image.MAX_IMAGE_PIXELS = job["max_pixels"]
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    try:
        picture = Image.open(open(0, "rb", closefd=False), formats=formats)
    except UnidentifiedImageError:
        names = ", ".join(name.replace("WEBP", "WebP") for name in formats)
        raise Refused(f"It is no picture of these formats: {names}.") from None
    return picture


def orientation_of(picture: ImageFile) -> int:
    """The orientation that a browser heeds, from 1 to 8.

    That is the one in the EXIF of JPEG and PNG. Pillow puts into EXIF what the boxes of
    AVIF say. Chromium heeds neither XMP, nor what ImageMagick writes into PNG, nor the
    EXIF of WebP.
    """
    if picture.format == "WEBP":
        return 1
    for name in ("xmp", "XML:com.adobe.xmp", "Raw profile type exif"):
        picture.info.pop(name, None)
    if picture.format == "PNG":
        picture.load()  # getexif() would, and what is broken is not to be hidden below
    try:
        found = picture.getexif().get(274, 1)
    except Exception:  # EXIF that is broken says nothing
        return 1
    return found if found in UPRIGHT else 1


class Plan(t.NamedTuple):
    """The sizes on the way from a source to a variant, all of them upright.

    :param part: width and height of the part of the source that is used, its middle.
    :param size: what the part is reduced to.
    :param canvas: the size of the variant.
    """

    part: tuple[float, float]
    size: Size
    canvas: Size


def plan(source: Size, job: Job) -> Plan:
    """Nothing is enlarged: a small source makes a small variant."""
    width, height = job["width"], job["height"]
    ratios = [
        asked / has for asked, has in zip((width, height), source, strict=True) if asked
    ]
    if job["fit"] == "cover":
        assert width is not None and height is not None  # as Spec sees to
        scale = max(ratios)
        part = (width / scale, height / scale)
        size = _scaled(part, min(1.0, scale))
        return Plan(part, size, size)
    size = _scaled(source, min(1.0, *ratios))
    if job["fit"] == "fill":
        assert width is not None and height is not None
        return Plan(source, size, (width, height))
    return Plan(source, size, size)


def _scaled(size: tuple[float, float], scale: float) -> Size:
    width, height = (max(1, round(length * scale)) for length in size)
    return width, height


def with_channels(picture: Image.Image) -> Image.Image:
    """The picture in a mode that can be reduced: grey, CMYK, or color with or without
    transparency."""
    if picture.mode.startswith("I"):
        # Pillow would cut 16 bits at 255.
        whole = picture.convert("I")
        return whole.point(lambda value: value * (1 / 257) + 0.5).convert("L")
    if picture.mode in ("CMYK", "LAB"):
        return picture
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    if picture.mode in ("1", "L"):
        return picture.convert("L")
    return picture.convert("RGB")


def reduced(
    picture: Image.Image, planned: Plan, upright: Size, orientation: int
) -> Image.Image:
    """The part of the picture that is used, in its new size, and upright."""
    from PIL import Image

    part, size = planned.part, planned.size
    if orientation in SWAPPED:
        part, size = part[::-1], size[::-1]
        upright = upright[::-1]
    # A JPEG may have been decoded to less than its size.
    across, down = (
        kept * now / full
        for kept, now, full in zip(part, picture.size, upright, strict=True)
    )
    left, top = (picture.width - across) / 2, (picture.height - down) / 2
    box = (max(0.0, left), max(0.0, top), left + across, top + down)
    box = (*box[:2], min(box[2], picture.width), min(box[3], picture.height))
    small = picture.resize(size, Image.Resampling.LANCZOS, box, reducing_gap=2.0)
    if orientation in UPRIGHT:
        small = small.transpose(Image.Transpose[UPRIGHT[orientation]])
    return small


def in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """The picture in sRGB, or grey without a profile. A profile that is broken, or of
    another kind of colors, is left out."""
    color, alpha = picture, None
    if picture.mode == "RGBA":
        color, alpha = picture.convert("RGB"), picture.getchannel("A")
    if profile:
        try:
            color = by_profile(color, profile)
        except Exception:  # it can be broken in any way
            pass
    if color.mode not in ("L", "RGB"):
        color = color.convert("RGB")
    if alpha is not None:
        color = color.convert("RGB")
        color.putalpha(alpha)
    return color


def by_profile(picture: Image.Image, profile: bytes) -> Image.Image:
    """:raises Exception: if the profile is broken, or of another kind of colors."""
    from PIL import ImageCms

    known = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if known.profile.xcolor_space.strip() == "RGB" and picture.mode == "L":
        picture = picture.convert("RGB")
    converted = ImageCms.profileToProfile(
        picture,
        known,
        ImageCms.createProfile("sRGB"),
        ImageCms.Intent.RELATIVE_COLORIMETRIC,  # as browsers do
        "RGB",
    )
    assert converted is not None  # as it is not changed in place
    return converted


def on_background(picture: Image.Image, job: Job, canvas: Size) -> Image.Image:
    """The picture in the middle of its canvas, without transparency where the format
    has none."""
    from PIL import Image

    if job["fit"] != "fill" and (picture.mode != "RGBA" or job["format"] != "jpeg"):
        return picture
    filled = Image.new("RGB", canvas, f"#{job['background']}")
    left, top = canvas[0] - picture.width, canvas[1] - picture.height
    mask = picture if picture.mode == "RGBA" else None
    filled.paste(picture, (left // 2, top // 2), mask)
    return filled


class Frame(t.NamedTuple):
    """A picture of the variant.

    :param duration: how long it is shown, in milliseconds.
    """

    picture: Image.Image
    duration: int


class Variant(t.NamedTuple):
    """What is to be encoded.

    :param plays: how often the frames are shown; 0 is for ever.
    """

    frames: list[Frame]
    plays: int


def decode(job: Job) -> Variant:
    """Read the picture, and bring each frame into the shape of the variant.

    :raises Refused: if the file is no picture of which a variant may be made.
    """
    picture = open_picture(job)
    orientation = orientation_of(picture)
    upright = picture.size[::-1] if orientation in SWAPPED else picture.size
    planned = plan(upright, job)
    numbers = frame_numbers(picture) if job["animated"] else range(1)
    for width, height in (picture.size, planned.canvas):
        if len(numbers) > 1 and len(numbers) * width * height > job["max_pixels"]:
            raise Refused(too_large(job, f"{len(numbers):,} frames have"))
    (width, height), canvas = picture.size, planned.canvas
    limit_memory(width * height + len(numbers) * canvas[0] * canvas[1])
    scale = planned.size[0] / planned.part[0]
    # A JPEG can be decoded to a half, a quarter or an eighth, which is faster.
    picture.draft(None, _scaled(picture.size, min(1.0, 2 * scale)))
    frames = []
    for number in numbers:
        if number:
            picture.seek(number)
        picture.load()
        small = reduced(with_channels(picture), planned, upright, orientation)
        small = in_srgb(small, picture.info.get("icc_profile"))
        small = on_background(small, job, canvas)
        # What is known of the picture beside its pixels would be written, too.
        small.info.clear()
        frames.append(Frame(small, round(picture.info.get("duration", 0))))
    return Variant(frames, plays(picture))


def frame_numbers(picture: ImageFile) -> range:
    """The frames that follow one another. Other formats have several pictures."""
    if picture.format not in ANIMATED:
        return range(1)
    count = getattr(picture, "n_frames", 1)
    # A PNG may have a picture for those that know of no animation.
    return range(int(count > 1 and getattr(picture, "default_image", False)), count)


def plays(picture: ImageFile) -> int:
    """How often an animation is shown; 0 is for ever."""
    loop = picture.info.get("loop")
    if picture.format == "GIF":
        # It says how often it is repeated.
        return 1 if loop is None else loop and loop + 1
    return int(loop or 0)


def encode(variant: Variant, job: Job) -> bytes:
    """The bytes of the variant."""
    output = io.BytesIO()
    options = dict(ENCODERS[job["format"]])
    if job["quality"] is not None:
        options["quality"] = job["quality"]
    first, *others = variant.frames
    if others:
        options |= {
            "save_all": True,
            "append_images": [frame.picture for frame in others],
            "duration": [frame.duration for frame in variant.frames],
            "loop": variant.plays,
        }
    first.picture.save(output, job["format"].upper(), **options)
    return output.getvalue()


def too_large(job: Job, subject: str = "It has") -> str:
    return f"{subject} more than {job['max_pixels']:,} pixels."


def run(job: Job) -> tuple[dict[str, t.Any], bytes]:
    """What came of it, and the bytes of the variant."""
    sys.path[:] = job["path"]
    try:
        from PIL import features
        from PIL import Image
    except ImportError:
        return {"missing": "Pillow"}, b""
    if job["format"] in ("webp", "avif") and not features.check(job["format"]):
        return {"missing": f"a Pillow that writes {PLUGINS[job['format']][0]}"}, b""
    try:
        variant = decode(job)
    except Refused as exc:
        return {"refused": str(exc)}, b""
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return {"refused": too_large(job)}, b""
    except MemoryError:
        return {"refused": TOO_MUCH_MEMORY}, b""
    except Exception as exc:
        if isinstance(exc, OSError) and exc.errno:
            return {"failed": traceback.format_exc()}, b""
        # Decoders raise whatever comes to them.
        return {"refused": f"It is broken: {type(exc).__name__}: {exc}"}, b""
    try:
        made = encode(variant, job)
    except MemoryError:
        return {"refused": TOO_MUCH_MEMORY}, b""
    except Exception:
        return {"failed": traceback.format_exc()}, b""
    return {"made": len(made)}, made


def main() -> None:
    job: Job = json.loads(sys.argv[1])
    limit(job)
    said, variant = run(job)
    with open(1, "wb", closefd=False) as output:
        output.write(json.dumps(said).encode() + b"\n" + variant)
    # What is left to tidy up ends with the process.
    os._exit(0)


if __name__ == "__main__":
    main()
