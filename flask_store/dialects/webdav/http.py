"""Requests to a WebDAV server (RFC 4918), over the connections of webdav4.

webdav4 itself takes any 2xx for success, and lists all entries of a response, even if
they are not in the folder that was requested.
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
from ..statuses import MISSING

#: The statuses for success (RFC 4918, sections 9.3 and 9.6 to 9.9).
DONE = {
    "MKCOL": {201},
    "PUT": {201, 204},
    "COPY": {201, 204},
    "MOVE": {201, 204},
    "DELETE": {204},
}
#: RFC 9110 allows 200 for these methods, too. A proxy's own page may also have this
#: status, so that the caller has to look whether the change was made.
PERHAPS = {"PUT", "DELETE"}
#: How much of an unneeded body is read, so that the connection can be used again.
PAGE_LIMIT = 64 * 1024

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/]*", re.IGNORECASE)
_STATUS = re.compile(r"HTTP/\S+ (\d{3})\b")


class Entry(t.NamedTuple):
    """A file or a folder in a response.

    :param path: percent-encoded, without a slash at the end.
    :param info: as fsspec describes files; ``size`` is ``None`` if it is unknown.
    """

    path: str
    info: dict[str, t.Any]


class Multistatus(t.NamedTuple):
    """The response to PROPFIND.

    :param entries: the resource that was requested and, with depth 1, what is in it.
    :param date: the Date header, which is the server's clock, or ``None``.
    """

    entries: list[Entry]
    date: dt.datetime | None


def change(
    fs: fsspec.AbstractFileSystem, method: str, path: str, **arguments: t.Any
) -> bool:
    """Send a request that changes something.

    :param method: one of :data:`DONE`.
    :param arguments: more arguments of the request.
    :return: whether the change was made. If not, the caller has to look.
    :raises FileNotFoundError: if there is nothing to delete.
    :raises Refused: if the status is an error.
    :raises NoAnswer: if the status means neither success nor an error.
    """
    with _request(fs, method, path, **arguments) as reply:
        status = reply.status_code
        if status == 207:
            text = _read(reply, LIST_LIMIT)
        else:
            _skip(reply)
    if status in DONE[method]:
        return True
    if method == "DELETE" and status in MISSING:
        raise FileNotFoundError(path)
    if status >= 400:
        raise Refused(status)
    if status == 207:
        # RFC 4918, section 9.6.1: the change was not made, for these reasons.
        for response in _responses(text):
            _raise_for(_status_of(response))
    if status == 200 and method in PERHAPS:
        return False
    raise NoAnswer(f"the status of {method} is {status}")


def propfind(fs: fsspec.AbstractFileSystem, path: str, depth: int) -> Multistatus:
    """Describe a file or a folder.

    :param path: of the file or the folder.
    :param depth: 0, or 1 for the entries of the folder, too.
    :raises FileNotFoundError: if there is neither.
    :raises Refused: if the status is an error.
    :raises NoAnswer: if the response cannot be used.
    """
    with _request(fs, "PROPFIND", path, headers={"Depth": str(depth)}) as reply:
        status = reply.status_code
        if status == 207:
            date = date_of(reply.headers.get("Date"))
            responses = _responses(_read(reply, LIST_LIMIT))
            return Multistatus(list(_entries(responses)), date)
        _skip(reply)
    if status in MISSING:
        raise FileNotFoundError(path)
    if status >= 400:
        raise Refused(status)
    target = _ORIGIN.sub("", reply.headers.get("Location", ""))
    if reply.is_redirect and target == f"{_quoted(path)}/":
        return propfind(
            fs, f"{path}/", depth
        )  # some servers require a slash behind a folder
    raise NoAnswer(f"the status of PROPFIND is {status}")


def begin(
    fs: fsspec.AbstractFileSystem, path: str, headers: Mapping[str, str]
) -> httpx.Response:
    """Request the bytes of a file.

    :return: the response, with any status. Its body has not been read. The caller
        closes it.
    """
    http = fs.client.http
    request = http.build_request("GET", _quoted(path), headers=headers)
    return t.cast(httpx.Response, http.send(request, stream=True))


def _quoted(path: str) -> str:
    # webdav4 does not encode paths, and httpx would end them at a '#'.
    return quote(path, errors="surrogateescape")


def _request(
    fs: fsspec.AbstractFileSystem, method: str, path: str, **arguments: t.Any
) -> t.ContextManager[httpx.Response]:
    http = fs.client.http
    return t.cast(
        "t.ContextManager[httpx.Response]",
        http.stream(method, _quoted(path), follow_redirects=False, **arguments),
    )


def _read(reply: httpx.Response, limit: int) -> bytes:
    text = bytearray()
    for piece in reply.iter_bytes():
        text += piece
        if len(text) > limit:
            raise NoAnswer(f"it has more than {limit} bytes")
    return bytes(text)


def _skip(reply: httpx.Response) -> None:
    """Read the body of a response that is not needed, so that the connection can be
    used again."""
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
            continue  # it was deleted while the server listed the folder
        _raise_for(status)
        href = response.findtext("{DAV:}href", "").strip()
        path = _ORIGIN.sub("", href, count=1)
        if not path.startswith("/"):
            raise NoAnswer(f"it lists {href[:80]!r}, which is no path")
        yield Entry(path.rstrip("/"), _info(response, unquote(path)))


def _status_of(element: ElementTree.Element) -> int:
    """The status of a part of a response; 200 if there is none."""
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
            properties |= {prop.tag: prop for prop in group.iterfind("{DAV:}prop/*")}

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
    resource_type = properties.get("{DAV:}resourcetype")
    is_folder = (
        resource_type is not None and resource_type.find("{DAV:}collection") is not None
    )
    return {
        "name": name.rstrip("/"),
        "type": "directory" if is_folder else "file",
        "size": int(size) if size else None,
        "modified": date_of(text("getlastmodified")),
        "created": created,
        "etag": strong(text("getetag")),
    }
