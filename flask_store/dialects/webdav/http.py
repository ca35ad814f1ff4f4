"""Requests to a WebDAV server (RFC 4918), over the connections of webdav4.

webdav4 itself takes any 2xx for success, and lists what an answer says without looking
whether that lies in the folder it asked for.
"""

from __future__ import annotations

import datetime as dt
import re
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import quote
from urllib.parse import unquote
from xml.etree import ElementTree

import fsspec
import httpx

from ..errors import NoAnswer
from ..http.answers import date_of
from ..http.answers import LIST_LIMIT
from ..http.answers import Refused
from ..http.answers import strong
from ..records import utc

#: The statuses that say that it is done (RFC 4918, sections 9.3, 9.6, 9.7 and 9.9).
DONE = {"MKCOL": {201}, "PUT": {201, 204}, "MOVE": {201, 204}, "DELETE": {204}}
#: What RFC 9110 allows besides, if a look confirms it: a proxy's page says the same.
PERHAPS = {"PUT", "DELETE"}
#: How much of another answer is read, so that its connection can be used again.
PAGE_LIMIT = 64 * 1024

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/]*", re.IGNORECASE)
_STATUS = re.compile(r"HTTP/\S+ (\d{3})\b")


class Entry(t.NamedTuple):
    """What a server tells of a file or a folder.

    :param path: percent-encoded, without a slash at the end.
    :param info: as fsspec describes files; ``size`` is ``None`` if it is not told.
    """

    path: str
    info: dict[str, t.Any]


class Found(t.NamedTuple):
    """The answer to PROPFIND.

    :param entries: what was asked for and, with depth 1, what is in it.
    :param date: the server's clock, if it tells.
    """

    entries: list[Entry]
    date: dt.datetime | None


def change(
    fs: fsspec.AbstractFileSystem, method: str, path: str, **more: t.Any
) -> bool:
    """Ask for a change.

    :param method: one of :data:`DONE`.
    :param more: arguments of the request.
    :return: whether it is done. If not, the caller has to look.
    :raises FileNotFoundError: if there is nothing to delete.
    :raises Refused: if the server says no.
    :raises NoAnswer: if it says neither yes nor no.
    """
    with _sent(fs, method, path, **more) as reply:
        status = reply.status_code
        if status == 207:
            text = _read(reply, LIST_LIMIT)
        else:
            _leave(reply)
    if status in DONE[method]:
        return True
    if method == "DELETE" and status in (404, 410):
        raise FileNotFoundError(path)
    if status >= 400:
        raise Refused(status)
    if status == 207:
        # RFC 4918, section 9.6.1: it is not done, and why.
        for response in _responses(text):
            _raise_for(_status_of(response))
    if status == 200 and method in PERHAPS:
        return False
    raise NoAnswer(f"the status of {method} is {status}")


def propfind(fs: fsspec.AbstractFileSystem, path: str, depth: int) -> Found:
    """Ask what there is.

    :param path: of a file or a folder.
    :param depth: 0, or 1 for what is in the folder too.
    :raises FileNotFoundError: if there is nothing.
    :raises Refused: if the server says no.
    :raises NoAnswer: if the answer is something else.
    """
    with _sent(fs, "PROPFIND", path, headers={"Depth": str(depth)}) as reply:
        status = reply.status_code
        if status == 207:
            date = date_of(reply.headers.get("Date"))
            responses = _responses(_read(reply, LIST_LIMIT))
            return Found(list(_entries(responses)), date)
        _leave(reply)
    if status in (404, 410):
        raise FileNotFoundError(path)
    if status >= 400:
        raise Refused(status)
    target = _ORIGIN.sub("", reply.headers.get("Location", ""))
    if reply.is_redirect and target == f"{_quoted(path)}/":
        return propfind(fs, f"{path}/", depth)  # some want a slash behind a folder
    raise NoAnswer(f"the status of PROPFIND is {status}")


def begin(
    fs: fsspec.AbstractFileSystem, path: str, headers: Mapping[str, str]
) -> httpx.Response:
    """Ask for the bytes of a file.

    :return: the answer, whatever it is. Its body is not read yet, and it is to be
        closed.
    """
    http = fs.client.http
    request = http.build_request("GET", _quoted(path), headers=headers)
    return t.cast(httpx.Response, http.send(request, stream=True))


def _quoted(path: str) -> str:
    # webdav4 joins paths unquoted, and then httpx trips over '#'.
    return quote(path, errors="surrogateescape")


def _sent(
    fs: fsspec.AbstractFileSystem, method: str, path: str, **more: t.Any
) -> t.ContextManager[httpx.Response]:
    http = fs.client.http
    return t.cast(
        "t.ContextManager[httpx.Response]",
        http.stream(method, _quoted(path), follow_redirects=False, **more),
    )


def _read(reply: httpx.Response, limit: int) -> bytes:
    text = bytearray()
    for piece in reply.iter_bytes():
        text += piece
        if len(text) > limit:
            raise NoAnswer(f"it has more than {limit} bytes")
    return bytes(text)


def _leave(reply: httpx.Response) -> None:
    """Read what nobody needs, so that the connection can be used again."""
    with suppress(httpx.HTTPError, NoAnswer):
        _read(reply, PAGE_LIMIT)


def _responses(text: bytes) -> list[ElementTree.Element]:
    try:
        tree = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError) as exc:
        raise NoAnswer("its XML cannot be read") from exc
    if tree.tag != "{DAV:}multistatus":
        raise NoAnswer("it is not a list of what the server has")
    return tree.findall("{DAV:}response")


def _entries(responses: list[ElementTree.Element]) -> Iterator[Entry]:
    for response in responses:
        status = _status_of(response)
        if status == 404:
            continue  # it vanished while the answer was made
        _raise_for(status)
        href = response.findtext("{DAV:}href", "").strip()
        path = _ORIGIN.sub("", href, count=1)
        if not path.startswith("/"):
            raise NoAnswer(f"it lists {href[:80]!r}, which is no path")
        yield Entry(path.rstrip("/"), _info(response, unquote(path)))


def _status_of(element: ElementTree.Element) -> int:
    """The status inside of an answer; 200 if there is none."""
    text = element.findtext("{DAV:}status")
    if text is None:
        return 200
    match = _STATUS.match(text.strip())
    if match is None:
        raise NoAnswer(f"a status in it is {text[:40]!r}")
    return int(match[1])


def _raise_for(status: int) -> None:
    if status >= 400:
        raise Refused(status)


def _info(response: ElementTree.Element, name: str) -> dict[str, t.Any]:
    properties: dict[str, ElementTree.Element] = {}
    for group in response.iterfind("{DAV:}propstat"):
        if _status_of(group) == 200:
            properties |= {found.tag: found for found in group.iterfind("{DAV:}prop/*")}

    def text(tag: str) -> str:
        element = properties.get(f"{{DAV:}}{tag}")
        return "" if element is None else (element.text or "").strip()

    size = text("getcontentlength")
    if size and not re.fullmatch(r"[0-9]{1,19}", size):
        raise NoAnswer(f"it says that the size is {size[:40]!r}")
    created = None
    with suppress(ValueError):
        created = utc(dt.datetime.fromisoformat(text("creationdate")))
    # RFC 4918, section 15.9: what has no resource type is a file.
    kind = properties.get("{DAV:}resourcetype")
    folder = kind is not None and kind.find("{DAV:}collection") is not None
    return {
        "name": name.rstrip("/"),
        "type": "directory" if folder else "file",
        "size": int(size) if size else None,
        "modified": date_of(text("getlastmodified")),
        "created": created,
        "etag": strong(text("getetag")),
    }
