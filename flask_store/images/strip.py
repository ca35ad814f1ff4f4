"""A picture without its metadata, and with the very same pixels.

A JPEG is a row of segments, PNG and WebP are rows of chunks. The parts that decoders
need are copied as they are, and the others are left out: EXIF with its position and its
small picture, XMP, IPTC, comments, further pictures, and what follows the end. So
nothing is decoded, and the memory in use does not grow with the file.

A part stays only if it is known to say how the pixels look. What a camera invents
tomorrow is left out.
"""

from __future__ import annotations

import re
import typing as t
import zlib
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager

from ..exceptions import BadPicture
from ..exceptions import WrongType
from ..naming import quoted
from ..uploads.source import Source

#: How many segments or chunks a picture has at most. A PNG of 800 MB has as many if
#: each has 8 KB, as libpng writes them. Empty ones take time, and no space.
MOST_PARTS = 100_000
#: How many bytes of EXIF are read. The orientation is among the first ones.
EXIF_READ = 64 * 1024

NOT_KNOWN = (
    "{} is not stored, because it is not a JPEG, PNG or WebP picture. Metadata can be"
    " removed from these only. Pass strip=False to store the file as it is, or use a"
    " store without STORE_STRIP_METADATA."
)
BROKEN = "{} is not stored, because its metadata cannot be removed: {}."
CUT_OFF = "the picture is not complete"

#: What EXIF begins with in a JPEG (Exif 3.0, section 4.7.2).
EXIF = b"Exif\0\0"
#: The tag of the orientation, and the type of its value, a number of 16 bits (TIFF
#: 6.0, sections 2 and 8).
ORIENTATION, SHORT = 0x0112, 3

# -- JPEG: ITU-T T.81, table B.1 ---------------------------------------------

EOI, SOS, COM = 0xD9, 0xDA, 0xFE
APP0, APP1, APP2, APP14, APP15 = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF
#: The headers of a frame. 0xC4 and 0xCC are tables, and 0xC8 is reserved.
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: What decoding needs: the headers, SOS, DHT, DAC, DQT, DNL, DRI, DHP and EXP.
DECODING = FRAMES | {SOS, 0xC4, 0xCC, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF}
#: The markers without a length: TEM and RST0 to RST7.
ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
MARKERS = DECODING | ALONE | {COM, *range(APP0, APP15 + 1)}
#: What ends the data of a scan: a marker, but no byte 0xFF of the data, which has a
#: zero behind it, and no restart.
END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
MARKER = re.compile(rb"\xff[^\x00\xff]")

# -- PNG, third edition, section 11 ------------------------------------------

PNG = b"\x89PNG\r\n\x1a\n"
#: The chunks that stay. Decoders refuse a critical chunk that they do not know.
CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT"})
LOOK = frozenset(
    b"tRNS gAMA cHRM sRGB iCCP sBIT pHYs bKGD hIST sPLT acTL fcTL fdAT cICP mDCV"
    b" cLLI".split()
)
#: The largest length of a chunk.
LONGEST_CHUNK = 2**31 - 1

# -- WebP: RFC 9649, section 2 -----------------------------------------------

#: The chunks that stay as they are.
PIXELS = frozenset({b"VP8 ", b"VP8L", b"ALPH"})
#: The flags in a VP8X chunk.
ANIMATION, EXIF_FLAG, ALPHA, PROFILE = 0x02, 0x08, 0x10, 0x20
#: How many bytes a VP8X chunk has, and an ANMF chunk before the chunks in it.
VP8X_SIZE, FRAME_SIZE = 10, 16
#: The largest size in a header of RIFF.
LONGEST_RIFF = 2**32 - 1


@contextmanager
def stripped(source: Source, key: str, spool: t.IO[bytes]) -> Iterator[Source]:
    """A picture without its metadata, as an upload.

    EXIF with the orientation alone stays, unless it is the usual one. So does the
    colour profile.

    :param source: the picture. All of it is read, also what follows its end.
    :param key: the key for errors.
    :param spool: an empty file for the result, which is closed at the end.
    :raises WrongType: if it is not a JPEG, PNG or WebP picture, as its bytes say.
    :raises BadPicture: if it is not complete, or not as its format has to be.
    """
    with spool:
        parts = _Parts(source.chunks())
        try:
            _copier(parts.peek(12), key)(parts, spool)
        except _Broken as exc:
            raise BadPicture(BROKEN.format(quoted(key), exc), key) from exc
        parts.drain()  # an upload that is cut off behind the picture is not whole
        picture = Source(spool, source.filename)
        picture.properties = source.properties
        picture.report_to(source.callback)
        yield picture


class _Broken(Exception):
    """The picture is not as its format has to be."""


class _Parts:
    """The bytes of a picture, which are read once from the start to the end.

    :param pieces: the bytes.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = b""
        self._position = 0
        self._count = 0

    def count(self) -> None:
        """Count one segment or chunk.

        :raises _Broken: if there are too many.
        """
        self._count += 1
        if self._count > MOST_PARTS:
            raise _Broken(f"it has more than {MOST_PARTS} segments or chunks")

    def peek(self, size: int) -> bytes:
        """The next bytes, which are still to be read; less at the end."""
        while len(self._piece) - self._position < size and self._more():
            pass
        return self._piece[self._position : self._position + size]

    def read(self, size: int) -> bytes:
        """So many bytes. They are kept in memory, so that *size* is a small number.

        :raises _Broken: if there are fewer.
        """
        data = self.peek(size)
        if len(data) < size:
            raise _Broken(CUT_OFF)
        self._position += size
        return data

    def copy(self, size: int, write: Callable[[bytes], object] | None = None) -> None:
        """Copy so many bytes, or skip them.

        :raises _Broken: if there are fewer.
        """
        while size:
            if self._position == len(self._piece) and not self._more():
                raise _Broken(CUT_OFF)
            data = self._piece[self._position : self._position + size]
            self._position += len(data)
            size -= len(data)
            if write is not None:
                write(data)

    def copy_to(
        self,
        marker: re.Pattern[bytes],
        write: Callable[[bytes], object] | None = None,
    ) -> int:
        """Copy the bytes before a marker, or skip them, and read the marker.

        :param marker: two bytes, the first of which is 0xFF.
        :return: the second one.
        :raises _Broken: if there is no marker.
        """
        while not (found := marker.search(self._piece, self._position)):
            # The first byte of the marker may be the last one that has been read.
            end = len(self._piece) - self._piece.endswith(b"\xff")
            self.copy(max(0, end - self._position), write)
            if not self._more():
                raise _Broken(CUT_OFF)
        self.copy(found.start() - self._position, write)
        return self.read(2)[1]

    def drain(self) -> None:
        """Read the rest."""
        self._piece, self._position = b"", 0
        for _ in self._pieces:
            pass

    def _more(self) -> bool:
        """Have further bytes in memory, beside those that are still to be read."""
        piece = next(self._pieces, b"")
        self._piece = self._piece[self._position :] + piece
        self._position = 0
        return bool(piece)


def _copier(beginning: bytes, key: str) -> Callable[[_Parts, t.IO[bytes]], None]:
    """What copies a picture without its metadata.

    :param beginning: its first 12 bytes.
    :raises WrongType: if it is of no format that is known here.
    """
    if beginning.startswith(b"\xff\xd8\xff"):
        return _copy_jpeg
    if beginning.startswith(PNG):
        return _copy_png
    if beginning[:4] == b"RIFF" and beginning[8:] == b"WEBP":
        return _copy_webp
    raise WrongType(NOT_KNOWN.format(quoted(key)), key)


# -- the orientation ---------------------------------------------------------


def _orientation(exif: bytes) -> int:
    """The orientation that EXIF says, from 1 to 8. It is 1 if there is none, or none
    that can be read: a picture need not be refused for that.

    :param exif: from the header of TIFF on. The end may be missing.
    """
    order: t.Literal["big", "little"] = "big" if exif[:2] == b"MM" else "little"
    if exif[:4] not in (b"MM\0*", b"II*\0"):
        return 1
    start = int.from_bytes(exif[4:8], order)
    count = int.from_bytes(exif[start : start + 2], order)
    for position in range(start + 2, start + 2 + 12 * count, 12):
        entry = exif[position : position + 12]
        if len(entry) < 12:
            break
        tag, kind = (int.from_bytes(entry[i : i + 2], order) for i in (0, 2))
        if tag == ORIENTATION and kind == SHORT:
            value = int.from_bytes(entry[8:10], order)
            return value if 1 <= value <= 8 else 1
    return 1


def _exif_of(orientation: int) -> bytes:
    """EXIF that says the orientation and nothing else, from the header of TIFF on."""
    entry = b"".join(
        number.to_bytes(size, "big")
        for number, size in ((ORIENTATION, 2), (SHORT, 2), (1, 4), (orientation, 2))
    )
    # The directory begins at byte 8, has one entry, and no other one follows.
    return b"MM\0*\0\0\0\x08\0\x01" + entry + bytes(2 + 4)


# -- JPEG --------------------------------------------------------------------


def _copy_jpeg(parts: _Parts, out: t.IO[bytes]) -> None:
    out.write(parts.read(2))
    has_frame = has_scan = has_exif = False
    marker = parts.copy_to(MARKER)
    while marker != EOI:
        parts.count()
        if marker not in MARKERS:
            raise _Broken(f"it has a segment of an unknown kind, 0x{marker:02X}")
        content = b"" if marker in ALONE else _segment(parts)
        has_frame = has_frame or marker in FRAMES
        has_scan = has_scan or marker == SOS
        if has_scan and not has_frame:
            raise _Broken("its data begin before their header")
        if marker == APP1 and content.startswith(EXIF[:5]):
            # Decoders look for the first one, before the data.
            orientation = _orientation(content[len(EXIF) :])
            if orientation != 1 and not has_exif and not has_scan:
                _write_segment(out, marker, EXIF + _exif_of(orientation))
            has_exif = True
        elif marker in DECODING:
            _write_segment(out, marker, content)
        elif kept := _kept(marker, content):
            _write_segment(out, marker, kept)
        if marker == SOS:
            marker = parts.copy_to(END_OF_SCAN, out.write)
        else:
            # Decoders skip what is between two segments and belongs to none of them.
            marker = parts.copy_to(MARKER)
    if not has_scan:
        raise _Broken(CUT_OFF)
    out.write(bytes((0xFF, EOI)))


def _segment(parts: _Parts) -> bytes:
    """The content of a segment, 65,533 bytes at most."""
    size = int.from_bytes(parts.read(2), "big")
    if size < 2:  # it counts itself
        raise _Broken("a segment has an impossible length")
    return parts.read(size - 2)


def _write_segment(out: t.IO[bytes], marker: int, content: bytes) -> None:
    size = (2 + len(content)).to_bytes(2, "big")
    out.write(bytes((0xFF, marker)) + size + content)


def _kept(marker: int, content: bytes) -> bytes:
    """What stays of a segment that is for applications; nothing for most."""
    if marker == APP0 and content.startswith(b"JFIF\0") and len(content) >= 14:
        return content[:12] + b"\0\0"  # and no small picture (JFIF 1.02)
    if marker == APP2 and content.startswith(b"ICC_PROFILE\0"):
        return content
    if marker == APP14 and content.startswith(b"Adobe"):
        return content[:12]  # how colours are coded
    return b""


# -- PNG ---------------------------------------------------------------------


def _copy_png(parts: _Parts, out: t.IO[bytes]) -> None:
    out.write(parts.read(len(PNG)))
    kind, has_data, has_exif = b"", False, False
    while kind != b"IEND":
        parts.count()
        is_first = not kind
        header = parts.read(8)
        size, kind = int.from_bytes(header[:4], "big"), header[4:]
        if size > LONGEST_CHUNK:
            raise _Broken("a chunk has an impossible length")
        if is_first != (kind == b"IHDR"):
            raise _Broken("it does not begin with its header, or has another one")
        if kind == b"eXIf":
            content = parts.read(min(size, EXIF_READ))
            parts.copy(size - len(content) + 4)
            orientation = _orientation(content)
            if orientation != 1 and not has_exif:
                _write_chunk(out, kind, _exif_of(orientation))
            has_exif = True
        elif kind == b"IEND":
            parts.copy(size + 4)  # it is to be empty
            _write_chunk(out, kind, b"")
        elif kind in CRITICAL | LOOK:
            has_data = has_data or kind == b"IDAT"
            _copy_chunk(parts, out, header, size)
        elif kind[:1].isupper():
            raise _Broken(f"it has a chunk of an unknown kind, {kind!r}")
        else:
            parts.copy(size + 4)
    if not has_data:
        raise _Broken(CUT_OFF)


def _copy_chunk(parts: _Parts, out: t.IO[bytes], header: bytes, size: int) -> None:
    out.write(header)
    checksum = zlib.crc32(header[4:])

    def write(data: bytes) -> None:
        nonlocal checksum
        checksum = zlib.crc32(data, checksum)
        out.write(data)

    parts.copy(size, write)
    found = parts.read(4)
    if int.from_bytes(found, "big") != checksum:
        raise _Broken("a checksum is wrong")
    out.write(found)


def _write_chunk(out: t.IO[bytes], kind: bytes, content: bytes) -> None:
    checksum = zlib.crc32(kind + content).to_bytes(4, "big")
    out.write(len(content).to_bytes(4, "big") + kind + content + checksum)


# -- WebP --------------------------------------------------------------------


def _copy_webp(parts: _Parts, out: t.IO[bytes]) -> None:
    size = int.from_bytes(parts.read(12)[4:8], "little")
    out.write(b"RIFF\0\0\0\0WEBP")
    webp = _WebP(parts, out)
    webp.copy_chunks(size - 4)
    webp.end()


class _WebP:
    """A WebP picture while it is copied. Sizes and flags are known at the end only."""

    def __init__(self, parts: _Parts, out: t.IO[bytes]) -> None:
        self._parts = parts
        self._out = out
        #: The flags of the VP8X chunk, and where they are in the copy.
        self._flags, self._flags_at = 0, 0
        self._has_pixels = self._has_profile = False
        self._has_exif = self._has_orientation = False

    def copy_chunks(self, left: int, in_frame: bool = False) -> None:
        """Copy the chunks that stay.

        :param left: how many bytes all of them have.
        :param in_frame: whether they are a frame of an animation.
        """
        is_first = not in_frame
        while left:
            self._parts.count()
            if left < 8:
                raise _Broken("a chunk has an impossible length")
            header = self._parts.read(8)
            kind, size = header[:4], int.from_bytes(header[4:], "little")
            left -= 8 + size
            if left < 0:
                raise _Broken("a chunk has an impossible length")
            if is_first and kind not in (b"VP8X", b"VP8 ", b"VP8L"):
                raise _Broken("it does not begin with its header")
            if kind in PIXELS:
                self._has_pixels = self._has_pixels or kind != b"ALPH"
                self._copy(kind, size)
            elif in_frame:
                self._parts.copy(size)
            elif kind == b"VP8X" and is_first:
                self._copy_header(size)
            elif kind == b"ANMF":
                self._copy_frame(size)
            elif kind == b"EXIF":
                self._copy_orientation(size)
            elif kind in (b"ANIM", b"ICCP"):
                self._has_profile = self._has_profile or kind == b"ICCP"
                self._copy(kind, size)
            else:
                self._parts.copy(size)
            is_first = False
            # Some encoders forget the byte that makes the last size even.
            if size % 2 and left:
                self._parts.copy(1)
                left -= 1

    def end(self) -> None:
        """Write what is known at the end only."""
        if not self._has_pixels:
            raise _Broken(CUT_OFF)
        size = self._out.tell() - 8
        if size > LONGEST_RIFF:
            raise _Broken("it is larger than its format allows")
        if self._flags_at:
            flags = self._flags & (ANIMATION | ALPHA)
            flags |= PROFILE * self._has_profile
            flags |= EXIF_FLAG * self._has_orientation
            self._out.seek(self._flags_at)
            self._out.write(bytes((flags,)))
        self._out.seek(4)
        self._out.write(size.to_bytes(4, "little"))

    def _copy(self, kind: bytes, size: int) -> None:
        self._out.write(kind + size.to_bytes(4, "little"))
        self._parts.copy(size, self._out.write)
        self._out.write(bytes(size % 2))

    def _copy_header(self, size: int) -> None:
        if size < VP8X_SIZE:
            raise _Broken("its header is too short")
        content = self._parts.read(VP8X_SIZE)
        self._parts.copy(size - VP8X_SIZE)
        self._flags, self._flags_at = content[0], self._out.tell() + 8
        header = b"VP8X" + VP8X_SIZE.to_bytes(4, "little")
        # The three bytes behind the flags are reserved, and zero.
        self._out.write(header + bytes(4) + content[4:])

    def _copy_frame(self, size: int) -> None:
        if size < FRAME_SIZE:
            raise _Broken("a frame is too short")
        start = self._out.tell()
        self._out.write(b"ANMF" + bytes(4) + self._parts.read(FRAME_SIZE))
        self.copy_chunks(size - FRAME_SIZE, in_frame=True)
        end = self._out.tell()
        self._out.seek(start + 4)
        self._out.write((end - start - 8).to_bytes(4, "little"))
        self._out.seek(end)

    def _copy_orientation(self, size: int) -> None:
        content = self._parts.read(min(size, EXIF_READ))
        self._parts.copy(size - len(content))
        # Some encoders begin it as in a JPEG.
        orientation = _orientation(content.removeprefix(EXIF))
        # Decoders look for the first one, if a flag says that it is there.
        is_first, self._has_exif = not self._has_exif, True
        if orientation != 1 and is_first and self._flags & EXIF_FLAG:
            self._has_orientation = True
            exif = _exif_of(orientation)
            self._out.write(b"EXIF" + len(exif).to_bytes(4, "little") + exif)
