"""The width and the height of a picture, from its header."""

from __future__ import annotations

import functools
import io
import struct
import typing as t
from collections.abc import Iterator

from ..exceptions import BadPicture
from ..exceptions import NotConfiguredError

#: How many bytes are read at first, and how many if the header has not ended there. A
#: camera may put a large preview into the header of a JPEG.
READS = (64 * 1024, 4 * 1024**2)
#: How many boxes of a file in the ISO Base Media File Format are looked at.
MOST_BOXES = 1000
#: The orientations that swap the width and the height (EXIF 2.32, tag 274).
SWAPPED = (5, 6, 7, 8)
#: What a still picture in boxes calls itself; others are films.
BRANDS = frozenset((b"avif", b"heic", b"heix", b"mif1"))
KNOWN = "JPEG, PNG, WebP, GIF, AVIF or HEIF"

Size: t.TypeAlias = tuple[int, int]


class Streamed(t.Protocol):
    """What is asked of a file, such as :class:`~flask_store.files.FileWrapper`."""

    def stream(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]: ...


def image_size(file: Streamed) -> Size:
    """The width and the height of a picture, in pixels, as a browser shows it: upright.

    Nothing is decoded. It takes one request for the first 64 KiB of the file, or a
    second one for its first 4 MiB.

    :raises BadPicture: if it is no picture of a known kind.
    :raises NotConfiguredError: if imagesize is not installed.
    :raises StoreError: if the file cannot be read.
    """
    return size_by(functools.partial(_head, file))


def size_by(read: t.Callable[[int], bytes]) -> Size:
    """The same of anything that can be read.

    :param read: returns that many bytes from the beginning, or all if there are less.
    :raises BadPicture: if it is no picture of a known kind.
    :raises NotConfiguredError: if imagesize is not installed.
    """
    for most in READS:
        head = read(most)
        size = size_of(head)
        if size is not None:
            return size
        if len(head) < most:
            break
    raise BadPicture(f"The file does not begin like a picture in {KNOWN}.")


def _head(file: Streamed, most: int) -> bytes:
    return b"".join(file.stream(0, most))


def size_of(head: bytes) -> Size | None:
    """The size that the beginning of a file tells.

    :return: ``None`` if it is no picture of a known kind, or if it is cut off too
        early.
    """
    try:
        width, height = _stated(head)
    except NotConfiguredError:
        raise
    except Exception:  # a header may lie in any way, and imagesize has no error for it
        return None
    return (width, height) if width > 0 and height > 0 else None


def _stated(head: bytes) -> Size:
    """:raises Exception: if the header is none, is broken, or is cut off."""
    if head.startswith((b"GIF87a", b"GIF89a")):
        return _pair(struct.unpack_from("<HH", head, 6))
    if head[4:8] == b"ftyp":
        return _size_of_boxes(head)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        size = _by_imagesize(head)
        return size[::-1] if _orientation_of_png(head) in SWAPPED else size
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        width, height = _by_imagesize(head)
        if head[12:16] == b"VP8 ":
            # Two bits of each say how it could be enlarged (RFC 6386, section 9.1).
            return width & 0x3FFF, height & 0x3FFF
        return width, height
    if head.startswith(b"\xff\xd8\xff"):
        return _by_imagesize(head)
    raise ValueError("This is no picture of a known kind.")


def _pair(numbers: tuple[int, ...]) -> Size:
    width, height = numbers
    return width, height


def _info(head: bytes) -> t.Any:
    """What imagesize tells of a file."""
    try:
        import imagesize
    except ImportError as exc:
        raise NotConfiguredError(
            "The size of a picture is read with imagesize. Install it with: pip install"
            " 'Flask-Store[images]'"
        ) from exc
    return imagesize.get_info(io.BytesIO(head), dpi=False, colors=False, channels=False)


def _by_imagesize(head: bytes) -> Size:
    info = _info(head)
    return info.width, info.height


def _orientation_of_png(head: bytes) -> int:
    """The orientation in the ``eXIf`` chunk, which imagesize knows of JPEG only."""
    position = 8
    while True:
        length, kind = struct.unpack_from(">L4s", head, position)
        if kind in (b"IDAT", b"IEND"):
            return 1
        if kind == b"eXIf":
            break
        position += 12 + length
    exif = b"Exif\0\0" + head[position + 8 : position + 8 + length]
    frame = struct.pack(">HHBHHB", 0xFFC0, 8, 8, 1, 1, 0)
    jpeg = struct.pack(">HHH", 0xFFD8, 0xFFE1, 2 + len(exif)) + exif + frame
    return int(_info(jpeg).rotation)


class Box(t.NamedTuple):
    """A box of the ISO Base Media File Format (ISO/IEC 14496-12, section 4.2)."""

    kind: bytes
    content: bytes


def _boxes(data: bytes) -> Iterator[Box]:
    """The first boxes of a file or of a box. The last one may be cut off."""
    position = 0
    for _ in range(MOST_BOXES):
        if position + 8 > len(data):
            return
        length, kind = struct.unpack_from(">L4s", data, position)
        start = position + 8
        if length == 1:
            length, start = struct.unpack_from(">Q", data, start)[0], start + 8
        end = position + length if length else len(data)
        if end < start:
            raise ValueError("A box ends before it begins.")
        yield Box(kind, data[start:end])
        position = end


def _child(data: bytes, kind: bytes) -> bytes:
    return next(box.content for box in _boxes(data) if box.kind == kind)


def _size_of_boxes(head: bytes) -> Size:
    """The size of an AVIF or HEIF picture (ISO/IEC 23008-12, section 6.5).

    imagesize does not know how to crop and to rotate these.
    """
    brands = _child(head, b"ftyp")
    if BRANDS.isdisjoint(brands[at : at + 4] for at in range(0, len(brands), 4)):
        raise ValueError("This is a film, or another kind of file.")
    meta = _child(head, b"meta")[4:]
    primary = _child(meta, b"pitm")
    item = int.from_bytes(primary[4:6] if primary[0] == 0 else primary[4:8])
    properties = _child(meta, b"iprp")
    known = list(_boxes(_child(properties, b"ipco")))
    size = (0, 0)
    for number in _properties_of(item, _child(properties, b"ipma")):
        kind, content = known[number - 1]
        if kind == b"ispe":
            size = _pair(struct.unpack_from(">LL", content, 4))
        elif kind == b"clap" and brands[:4] not in (b"avif", b"avis"):
            # Decoders of AVIF, and browsers, do not crop.
            width, by, height, by_too = struct.unpack_from(">4L", content)
            size = (round(width / by), round(height / by_too))
        elif kind == b"irot" and content[0] % 2:
            size = size[::-1]
    return size


def _properties_of(item: int, ipma: bytes) -> Iterator[int]:
    """The numbers of an item's properties, from 1 on."""
    wide_item, wide_index = ipma[0] > 0, ipma[3] & 1
    data = io.BytesIO(ipma[4:])
    for _ in range(int.from_bytes(data.read(4))):
        found = data.read(4 if wide_item else 2)
        if not found:
            return
        size = 2 if wide_index else 1
        numbers = data.read(size * data.read(1)[0])
        if int.from_bytes(found) == item:
            for at in range(0, len(numbers), size):
                number = int.from_bytes(numbers[at : at + size])
                yield number & (0x7FFF if wide_index else 0x7F)
            return
