"""Formats whose signatures are too short, or too few, in the tables of puremagic."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from functools import partial

#: A file of ISO/IEC 14496-12 begins with the box "ftyp", which is small.
LARGEST_FTYP = 4096
#: The brands of HEIF (ISO/IEC 23008-12, annex B) and of AVIF (av1-avif, section 8).
HEIF = "heic heix heim heis hevc hevx hevm hevs mif1 mif2 msf1".split()
AVIF = "avif avis".split()
#: The brands of MP4, as https://mp4ra.org registers them. Those of video in fragments
#: (ISO/IEC 23000-19) and of cameras and shops are among them.
MP4 = (
    "isom iso2 iso3 iso4 iso5 iso6 iso7 iso8 iso9 isoa isob isoc mp41 mp42 mp71 avc1"
    " hvc1 av01 dash msdh msix cmfc cmf2 M4A M4B M4P M4V M4VH M4VP MSNV mmp4 f4v F4V"
    " XAVC NDAS ndsc NDSM ndsm"
).split()
QUICKTIME = ["qt"]
#: All releases and profiles of 3GPP TS 26.244 and of 3GPP2 C.S0050 begin so.
THIRD_GENERATION = ("3g", "kddi")
#: What QuickTime files began with before they had brands.
QUICKTIME_ATOMS = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")

#: What may stand before the header of a PDF. Readers look for that in the first 1024
#: bytes (ISO 32000-1, annex H); only what says nothing is passed over here.
MARK = b"\xef\xbb\xbf"
SPACE = b"\0\t\n\x0c\r "
PDF_HEADER = 1024

#: The sizes in bytes of the header that follows that of the file (BITMAPCOREHEADER to
#: BITMAPV5HEADER).
BITMAP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
#: The bytes of the header of the file, and of the shortest one that follows.
SMALLEST_BITMAP = 14 + 12

#: TIFF 6.0 and BigTIFF, in both orders of bytes.
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
#: The start of the image, and of the next marker (ITU-T T.81, annex B).
JPEG = (b"\xff\xd8\xff",)
#: A pack of a program stream, or the header of a sequence (ISO/IEC 13818-1 and -2).
MPEG = (b"\0\0\1\xba", b"\0\0\1\xb3")

#: The layers of MPEG audio, as the second byte of a frame has them.
LAYER_3, LAYER_2 = 1, 2


def is_iso(brands: list[str], head: bytes) -> bool:
    """A file of ISO/IEC 14496-12, section 4.3, that is of one of these brands, or is
    compatible with one."""
    return not _brands(head).isdisjoint(brands)


def _brands(head: bytes) -> set[str]:
    size = int.from_bytes(head[:4])
    if head[4:8] != b"ftyp" or not 16 <= size <= LARGEST_FTYP:
        return set()
    # The second one is a version.
    words = [head[8:12], *(head[at : at + 4] for at in range(16, size, 4))]
    return {word.decode("latin-1").rstrip(" \0") for word in words}


def is_heif(head: bytes) -> bool:
    """HEIF with another codec than AV1, whose files have an extension of their own."""
    return is_iso(HEIF, head) and not is_iso(AVIF, head)


def is_third_generation(head: bytes) -> bool:
    """3GP or 3G2."""
    return any(brand.startswith(THIRD_GENERATION) for brand in _brands(head))


def is_quicktime(head: bytes) -> bool:
    """A movie of QuickTime, with brands or from the time before these."""
    size = head[:4]
    is_number = not size.isascii() or min(size, default=255) < 32
    return is_iso(QUICKTIME, head) or (is_number and head[4:8] in QUICKTIME_ATOMS)


def starts(signatures: tuple[bytes, ...], head: bytes) -> bool:
    """A file that begins with one of these."""
    return head.startswith(signatures)


def is_mp3(head: bytes) -> bool:
    """A tag of ID3v2 (id3.org, section 3.1), or a frame of layer III."""
    if head[:3] == b"ID3":
        return len(head) >= 10 and 2 <= head[3] <= 4 and max(head[6:10]) < 128
    return is_mpeg_audio(LAYER_3, head)


def is_mpeg_audio(layer: int, head: bytes) -> bool:
    """A frame of ISO/IEC 11172-3, 13818-3 or of MPEG-2.5, with its header complete."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, found_layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bit_rate, sampling_rate = head[2] >> 4, head[2] >> 2 & 3
    return (
        version != 1
        and found_layer == layer
        and 0 < bit_rate < 15
        and sampling_rate != 3
    )


def is_pdf(head: bytes) -> bool:
    """The header of a PDF, perhaps after a byte order mark and white space."""
    return head[:PDF_HEADER].removeprefix(MARK).lstrip(SPACE).startswith(b"%PDF-")


def is_gif(head: bytes) -> bool:
    """GIF's header and screen, and the first byte of a block (GIF89a, section 18)."""
    if head[:6] not in (b"GIF87a", b"GIF89a") or len(head) < 14:
        return False
    colors = 3 * 2 ** ((head[10] & 7) + 1) if head[10] & 0x80 else 0
    return head[13 + colors : 14 + colors] in (b",", b"!", b";")


def is_bitmap(head: bytes) -> bool:
    """A file of Windows, with the headers complete."""
    size = int.from_bytes(head[14:18], "little")
    return head[:2] == b"BM" and size in BITMAP_HEADERS and len(head) >= SMALLEST_BITMAP


def is_riff(kind: bytes, chunks: tuple[bytes, ...], head: bytes) -> bool:
    """A file of RIFF of this kind, or of RF64, which goes beyond 4 GiB (EBU Tech 3306).

    :param chunks: how its first chunk may begin.
    """
    return (
        head[:4] in (b"RIFF", b"RF64")
        and head[8:12] == kind
        and head[12:].startswith(chunks)
    )


def is_ogg(head: bytes) -> bool:
    """A page of version 0 (RFC 3533, section 6)."""
    return head[:5] == b"OggS\0"


def is_matroska(document: bytes, head: bytes) -> bool:
    """A file of RFC 8794 with this document type, which stands in its first element."""
    return head[:4] == b"\x1aE\xdf\xa3" and document in head[:64]


def _by_extension() -> dict[str, Callable[[bytes], bool]]:
    rows: list[tuple[str, t.Callable[[bytes], bool]]] = [
        (".heic .heif .hif", is_heif),
        (".avif .avifs", partial(is_iso, AVIF)),
        (".mp4 .m4v .m4a .m4b", partial(is_iso, MP4)),
        (".mov .qt", is_quicktime),
        (".3gp .3gpp .3g2 .3gpp2", is_third_generation),
        (".mp3", is_mp3),
        (".mp2", partial(is_mpeg_audio, LAYER_2)),
        (".pdf", is_pdf),
        (".gif", is_gif),
        (".tif .tiff", partial(starts, TIFF)),
        (".jpg .jpeg .jpe .jfif", partial(starts, JPEG)),
        (".mpg .mpeg .mpe .vob", partial(starts, MPEG)),
        (".bmp .dib", is_bitmap),
        (".webp", partial(is_riff, b"WEBP", (b"VP8",))),
        (".wav", partial(is_riff, b"WAVE", (b"",))),
        (".avi", partial(is_riff, b"AVI ", (b"LIST", b"JUNK"))),
        (".ogg .oga .ogv .opus .spx", is_ogg),
        (".webm .weba", partial(is_matroska, b"webm")),
        (".mkv .mka", partial(is_matroska, b"matroska")),
    ]
    return {extension: check for names, check in rows for extension in names.split()}


#: Whether the beginning of a file may be that of one with this extension.
CHECKS: t.Final = _by_extension()
