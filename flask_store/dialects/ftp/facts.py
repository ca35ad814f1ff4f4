"""What an FTP server says of its files, as fsspec's infos. Pure."""

from __future__ import annotations

import re
import typing as t

from ..errors import NoAnswer

#: A line of LIST as Unix prints it: mode, links, owner, group, size, date and name.
_UNIX = re.compile(
    r"(?P<kind>[-a-z])[-rwxsStTlL]{9}\S*\s+\d+\s+.*?\s(?P<size>\d+)\s+"
    r"[A-Za-z]{3}\s+\d{1,2}\s+(?:\d{4}|\d{1,2}:\d{2})\s(?P<name>.+)"
)
#: The same as Windows prints it: date, time, size or <DIR>, and name.
_WINDOWS = re.compile(
    r"[-\d/]{8,10}\s+\d{1,2}:\d{2}\s*(?:[AaPp][Mm])?\s+(?:<DIR>|(?P<size>\d+))\s(?P<name>.+)"
)
#: What the letter of a mode stands for; everything else is neither.
_KINDS = {"-": "file", "d": "directory", "l": "link"}


def facts(line: str) -> dict[str, t.Any]:
    """An entry of MLST or MLSD (RFC 3659, section 7.2).

    :return: the facts by their names in lower case, with ``name``, ``type`` and
        ``size`` as fsspec has them. The size is ``None`` if the server does not tell.
    :raises NoAnswer: if the line is no such entry.
    """
    text, space, name = line.partition(" ")
    pairs = (fact.partition("=") for fact in text.split(";") if fact)
    info: dict[str, t.Any] = {fact.lower(): value for fact, _, value in pairs}
    if not space or not name or not info.get("type"):
        raise NoAnswer(f"the listing has the line {line[:80]!r}")
    kind = info["type"].lower()
    if kind in ("dir", "cdir", "pdir"):
        kind = "directory"
    elif "link" in kind:  # 'OS.unix=slink:/target'
        kind = "link"
    elif kind != "file":
        kind = "other"
    size = info.get("size", "")
    return {**info, "name": name, "type": kind, "size": _number(size)}


def listed(line: str) -> dict[str, t.Any] | None:
    """A line of LIST, which has no format of its own (RFC 959, section 4.1.3).

    :return: name, type and size, or ``None`` if the line is about no entry.
    :raises NoAnswer: if the line has a form that nobody knows.
    """
    if not line.strip() or re.fullmatch(r"total \d+", line):
        return None
    match = _UNIX.fullmatch(line)
    if match is not None:
        kind, name = _KINDS.get(match["kind"], "other"), match["name"]
        if kind == "link":
            name = name.partition(" -> ")[0]
        # The date has no year or no time, and no zone.
        return {"name": name, "type": kind, "size": int(match["size"])}
    match = _WINDOWS.fullmatch(line)
    if match is not None:
        name, size = match["name"].lstrip(), match["size"]
        kind = "directory" if size is None else "file"
        return {"name": name, "type": kind, "size": _number(size)}
    raise NoAnswer(f"the listing has the line {line[:80]!r}")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
