"""Names: a client's file name becomes a safe key, and a taken name a new one.

Everything here is pure: text in, text out. Whether a name is free, and where a key
lies on a disk or in a bucket, is for the stores and their dialects to say.
"""

from __future__ import annotations

import os
import re
import typing as t
import unicodedata
from pathlib import PurePath

import shortuuid

from .exceptions import InvalidName
from .media_types import COMPRESSED
from .media_types import content_type
from .media_types import TYPES
from .media_types import UNKNOWN

#: A key, the name of a file or a folder, as an application may give it.
Name: t.TypeAlias = str | os.PathLike[str]

#: The private folder in which unfinished files are kept: part of no key.
STAGING = ".flask-store"
#: The longest component that common filesystems take, in bytes of UTF-8.
MAX_NAME = 255
#: The longest key that S3 takes, in bytes of UTF-8.
MAX_KEY = 1024

# Stands for a replaced character until the name has been judged: a name of nothing
# but these says nothing, while an underscore that the client typed may stay.
_MARK = "\0"
_FORBIDDEN = frozenset('<>:"|?*/\\')
# What looks like a separator without being one in NFKC; then the private-use copies
# of forbidden characters that Cygwin, WSL and SMB turn back into the originals.
_LOOKALIKE = re.compile(
    r"[\u2044\u2215\u2216\u2571\u2572\u27cb\u27cd\u29f5-\u29f9\u2afb\u2afd"
    r"\uf001-\uf07f]"
)
# Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties.txt (UAX #44) as
# far as it is not in category Cf, and the noncharacters U+FDD0..U+FDEF.
_INVISIBLE = re.compile(
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufdd0-\ufdef"
    r"\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
# The space and everything that NFKC turns into dots.
_EDGES = " .\u2024\u2025\u2026\ufe19\ufe30\ufe52\uff0e"
_HEX = re.compile("[0-9A-Fa-f]{2}")
# The same in ASCII, most names by far, where every character has one form only.
_ACTING = re.compile(r"""[<>:"|?*/\\]|%(?=[0-9A-Fa-f]{2})""")
_DRIVE = re.compile("[A-Za-z]:(?!:)")
_SEPARATOR = re.compile(r"[/\\]")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_DEVICES = frozenset({"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}).union(
    f"{port}{number}" for port in ("COM", "LPT") for number in range(10)
)
# 32 bytes with the dot: what is longer is prose, "Mr.Smith and his dog".
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,31}\Z")
# A part that every rule below leaves as it is: it begins with a letter or a digit, does
# not end with a dot or a space, has nothing that acts, and is no device. Most names and
# keys have no other parts, so that one look at them is enough.
_PART = (
    r"(?!(?:con|prn|aux|nul|(?:com|lpt)[0-9]) *(?:[./]|\Z))"
    r"\w(?:[\w. ()-]*[\w()-])?"
)
_PLAIN = re.compile(
    rf"(?=.{{1,{MAX_NAME}}}\Z){_PART}(?:/{_PART})*\Z", re.ASCII | re.IGNORECASE
)
# Reads the UUIDs of unique(), whatever an application does to shortuuid's alphabet.
_UUIDS = shortuuid.ShortUUID()
# What unique() puts behind a stem, if the characters are a UUID.
_UNIQUE = re.compile(rf"(?<=.)_([{_UUIDS.get_alphabet()}]{{22}})\Z", re.DOTALL)
# normalize() is quadratic in a run of combining marks: a name of a megabyte would
# keep a worker busy for minutes. Both ends are kept, the extension is at the last.
_LONGEST_INPUT = 2048


def text(name: object, word: str = "key") -> str:
    """Return a key, a file name or a destination as text. A path of ``pathlib`` has
    slashes on every system, and ``Path()`` is the root.

    :param word: what it is, for the error.
    :raises InvalidName: if it is neither text nor a path.
    """
    if isinstance(name, str):
        return name
    if isinstance(name, PurePath):
        return name.as_posix() if name.parts else ""
    path = os.fspath(name) if isinstance(name, os.PathLike) else None
    if not isinstance(path, str):
        raise InvalidName(f"A {word} is a str or a path, not {type(name).__name__}.")
    return path


def clean(filename: Name, folder: str = "", limit: int = MAX_KEY) -> str:
    """Return a safe, portable and readable file name for what a client sent.

    The directory parts are dropped. A name with nothing to read in it is replaced
    by a UUID that keeps the extension, so there is always a result.

    :param filename: the name as the client sent it; it is not trusted.
    :param folder: the one that it will be in. The stem is shortened if the key would be
        too long.
    :param limit: the longest key, in bytes of UTF-8.
    """
    if not isinstance(filename, str):
        filename = text(filename, "file name")
    part = _SEPARATOR.split(filename)[-1]
    # A character has four bytes at most.
    if _PLAIN.match(part) and len(part) + 4 * len(folder) < limit:
        return part
    name, extension = _portable(part)
    return _fit(name or shortuuid.uuid() + extension, folder, limit)


def clean_destination(destination: Name | None, base: str = "") -> str:
    """Return the safe and portable form of a folder, without slashes at its ends.

    Each part is cleaned as :func:`clean` would. A part with nothing to read in it
    is an error, for a folder with a made-up name could never be found again.

    :param destination: the folder, or ``None`` for *base* itself.
    :param base: the folder that it is in, which is clean; by default the root of the
        store.
    :raises InvalidName: if a part is ``..`` or has nothing to read in it.
    """
    if not destination:
        return base
    if not isinstance(destination, str):
        destination = text(destination, "destination")
    if _PLAIN.match(destination):
        return f"{base}/{destination}" if base else destination
    names = [base]
    for part in _SEPARATOR.split(destination):
        name, _ = _portable(part)
        if not name and part not in ("", "."):
            raise InvalidName(
                f"The destination has the part {quoted(part)}, which cannot name a"
                " folder. Pass folders inside of the store, such as 'avatars/2026'.",
                destination,
            )
        names.append(name)
    key = join(*names)
    return check(key) if key else ""


def split(name: str) -> tuple[str, str]:
    """Split a file name into stem and extension: ``("archive", ".tar.gz")``.

    A compression's extension takes a known one before it along. An extension is of
    ASCII letters and digits; anything else is part of the stem.

    :param name: one component of a key.
    """
    stem, extension = _split_last(name)
    if extension.lower() in COMPRESSED:
        inner_stem, inner = _split_last(stem)
        if inner.lower() in TYPES:
            return inner_stem, inner + extension
    return stem, extension


def unique(name_or_key: str, limit: int = MAX_KEY) -> str:
    """Return the name with a UUID before its extension, and with a shorter stem if the
    key would be too long.

    :param name_or_key: the original name, or a key: only its last component changes.
    :param limit: the longest key, in bytes of UTF-8.
    :raises InvalidName: if its folder leaves no room for a UUID.
    """
    folder, slash, name = name_or_key.rpartition("/")
    room = limit - len(f"{folder}{slash}".encode())
    found = _shorten(name, f"_{shortuuid.uuid()}", min(room, MAX_NAME))
    if len(found.encode()) > room:
        raise InvalidName(
            f"The name {quoted(name)} is taken, and its folder is so deep that a key of"
            f" {limit} bytes has no room for another one. Use a shorter destination.",
            name_or_key,
        )
    return f"{folder}{slash}{found}"


def original(name: str) -> str:
    """Return the name without the UUID that :func:`unique` has put into it.

    A name that has none stays as it is, also if it consists of nothing but a UUID. What
    shortened the stem is not known any more.

    :param name: the last component of a key.
    """
    stem, extension = split(name)
    match = _UNIQUE.search(stem)
    return stem[: match.start()] + extension if match and _is_uuid(match[1]) else name


def check(key: Name, folder: str = "") -> str:
    """Return the key of an existing file unchanged, if it is safe to use.

    Odd names that exist must stay within reach, so nothing is cleaned here and ``*``,
    ``a#frag`` or ``.hidden`` pass.

    :param key: the file's name in the store, such as ``avatars/me.jpg``.
    :param folder: a folder that the name is relative to. It is put in front.
    :raises InvalidName: if the key could mean anything but a file in the store.
    """
    if not isinstance(key, str):
        key = text(key)
    # A name that is absolute would not be seen behind a folder.
    whole = f"{folder}/{key}" if folder else key
    for part in (key, whole) if folder else (key,):
        if not _PLAIN.match(part) and (problem := _problem(part)):
            raise InvalidName(f"The key {quoted(part)} {problem}", part)
    return whole


def problem(key: str) -> str:
    """Say what is wrong with a key that a storage lists, or return "".

    :param key: the file's name in the store.
    """
    return "" if _PLAIN.match(key) else _problem(key)


def is_file(name: str) -> bool:
    """Whether a name that a storage lists means a file of an application.

    An object whose name is empty or ends with a slash stands for a folder, and what is
    in the private folder is no file yet.

    :param name: as the storage has it, without the store's root.
    """
    if not name or name.endswith("/"):
        return False
    return STAGING not in name or STAGING not in name.split("/")


def folded(key: str) -> str:
    """Return what the most forgiving filesystem compares of a key.

    :param key: the file's name in the store, or a path.
    """
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", key).casefold())


def join(*parts: Name) -> str:
    """Join parts of a key with single slashes, and drop the empty ones.

    Unlike :func:`os.path.join`, a later part that starts with a slash does not
    discard the earlier ones. A slash before the first part is kept.

    :param parts: folders and a file name. They are joined, not cleaned.
    :raises InvalidName: if one of them contains ``..``.
    """
    written = [p if isinstance(p, str) else text(p, "part of a path") for p in parts]
    names = [name for part in written for name in part.split("/") if name]
    key = "/".join(names)
    if ".." in _SEPARATOR.split(key):
        raise InvalidName(f"{quoted(key)} contains '..'. Join plain names only.", key)
    return "/" + key if written and written[0].startswith("/") else key


def _portable(part: str) -> tuple[str, str]:
    """Clean a component. If it has nothing to read: "" and its extension."""
    text = _mark(part).rstrip(_EDGES)
    # The "x" makes ".jpg" an extension without a stem, not a hidden file.
    stem, extension = split("x" + text)
    blank = all(char == _MARK or _is_edge(char) for char in stem[1:])
    # ".jpg" was a name lost on the way, ".htaccess" and "..jpg" were meant to hide.
    if blank and (_MARK in stem or ("." not in stem and _is_known(extension))):
        return "", extension
    # Of dots and spaces alone, nothing is left here.
    return _settle(text.replace(_MARK, "_")), ""


def _mark(part: str) -> str:
    """Drop what cannot be seen and put a mark where a character may not stay."""
    if len(part) > _LONGEST_INPUT:
        part = part[: _LONGEST_INPUT // 2] + part[-_LONGEST_INPUT // 2 :]
    name = unicodedata.normalize("NFC", _visible(part))
    if _DRIVE.match(name):
        name = name[2:]
    if name.isascii():
        return _ACTING.sub(_MARK, name)
    # Other systems fold names (NFD on macOS, NFKC in some), so what counts is what
    # a character can become.
    folded = [unicodedata.normalize("NFKD", char) for char in name]
    return "".join(
        _MARK
        if _FORBIDDEN.intersection(forms)
        or _LOOKALIKE.match(char)
        # Something behind us may decode the name once more; "100% sure" is no code.
        or (forms == "%" and _HEX.match("".join(folded[i + 1 : i + 3])))
        else char
        for i, (char, forms) in enumerate(zip(name, folded, strict=True))
    )


def _visible(text: str) -> str:
    """Make a space of white space, and drop what shows nothing."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_seen, text))


def _seen(char: str) -> str:
    """Return a space for white space, "" for what shows nothing, or the character."""
    if char.isspace() or char == "\u2800":  # BRAILLE PATTERN BLANK
        return " "
    if unicodedata.category(char) in ("Cc", "Cf", "Cs") or _INVISIBLE.match(char):
        return ""
    return "" if ord(char) & 0xFFFE == 0xFFFE else char  # noncharacters


def _settle(name: str) -> str:
    """Trim, guard and shorten until nothing changes: each can call for another."""
    while True:
        settled = _shorten(_guard(_trim_start(name)))
        if settled == name:
            return name
        name = settled


def _trim_start(name: str) -> str:
    start = (i for i, char in enumerate(name) if not _is_edge(char))
    return name[next(start, len(name)) :]


def _guard(name: str) -> str:
    """Put "_" before what Windows, a shell or a command's options would act on."""
    folded = unicodedata.normalize("NFKC", name)
    device = folded.partition(".")[0].strip().upper()
    acts = folded.startswith(("-", "~")) or device in _DEVICES
    return f"_{name}" if acts else name


def _shorten(name: str, suffix: str = "", room: int = MAX_NAME) -> str:
    """Put the suffix between stem and extension and cut the stem to fit.

    :param room: in bytes. The suffix and the extension stay whole in any case.
    """
    stem, extension = split(name)
    left = max(0, room - len(suffix) - len(extension))
    cut = stem.encode()[:left].decode(errors="ignore")
    return (stem if cut == stem else cut.rstrip(_EDGES)) + suffix + extension


def _fit(name: str, folder: str, limit: int) -> str:
    """Cut the stem of a clean name, so that its key fits, if it has room for one."""
    room = limit - len(folder.encode()) - 1
    if len(name.encode()) <= room or room <= len(split(name)[1]):
        return name
    shorter = _shorten(name, room=room)
    # The first letter may have more bytes than there are. ".jpg" would become "jpg".
    return name if shorter == split(name)[1] else _settle(shorter)


def _is_uuid(characters: str) -> bool:
    """Whether 22 characters are a random UUID (RFC 9562, section 5.4). One of 80 words
    of that length could be one."""
    try:
        return bool(_UUIDS.decode(characters).version == 4)
    except ValueError:  # more than 128 bits
        return False


def _split_last(name: str) -> tuple[str, str]:
    match = _EXTENSION.search(name)
    if match is None or not name[: match.start()].strip("."):
        return name, ""
    return name[: match.start()], match[0]


def _is_known(extension: str) -> bool:
    return content_type(f"x{extension}") != UNKNOWN


def _is_edge(char: str) -> bool:
    # A mark without a letter would join whatever comes before the name.
    return char in _EDGES or unicodedata.category(char).startswith("M")


def _is_dots(part: str) -> bool:
    # Windows drops spaces and dots at the end, so ".. " is ".." there.
    return not part.strip(" .")


def _is_staging(part: str) -> bool:
    # As the most forgiving filesystem compares: HFS+ ignores case and what cannot be
    # seen, NTFS spaces and dots at the end and the name of a stream.
    seen = unicodedata.normalize("NFKC", _visible(part))
    return seen.partition(":")[0].rstrip(" .").casefold() == STAGING


def _problem(key: str) -> str:
    """Say what is wrong with a key and what to do about it, or return ""."""
    parts = key.split("/")
    if not key:
        return "is empty. Pass the name of a file, such as 'avatars/me.jpg'."
    if _UNPRINTABLE.search(key):
        return "has control characters or lone surrogates. Remove them."
    if "\\" in key:
        return "has a backslash. Separate folders with '/'."
    if key.startswith("/") or _DRIVE.match(key):
        return "is absolute. Pass it relative to the store, without '/' or a drive."
    if "" in parts:
        return "has an empty part. Use single slashes, and none at the end."
    if any(map(_is_dots, parts)):
        return "has a part of dots or spaces. Pass the plain path inside of the store."
    if len(key.encode()) > MAX_KEY:
        return f"is longer than {MAX_KEY} bytes. Shorten it."
    if any(len(part.encode()) > MAX_NAME for part in parts):
        return f"has a part longer than {MAX_NAME} bytes. Shorten it."
    if any(map(_is_staging, parts)):
        return f"leads into the private folder {STAGING!r}. Use another folder."
    return ""


def quoted(text: str | None) -> str:
    """Quote a name for a message: escaped, and about 100 characters at most."""
    found = repr((text or "")[:100])
    return found if len(found) <= 100 else found[:97] + "..."
