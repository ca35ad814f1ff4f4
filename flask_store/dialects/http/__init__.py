"""``https://``: what a web server shows, for reading, through fsspec and aiohttp."""

from __future__ import annotations

import base64
import itertools
import typing as t
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from email.utils import format_datetime
from html.parser import HTMLParser
from urllib.parse import parse_qsl
from urllib.parse import quote
from urllib.parse import unquote
from urllib.parse import urljoin
from urllib.parse import urlsplit

import aiohttp

from ... import naming
from ...exceptions import NotConfiguredError
from ...exceptions import StoreError
from .. import Fetched
from .. import Location
from .. import Span
from .. import Stat
from .. import TIMEOUT
from .. import Unreachable
from ..errors import NoAnswer
from ..errors import version_gone
from ..extents import extent
from ..extents import size_of
from ..ranged import ranged
from ..read_only import ReadOnlyDialect
from ..records import bounds
from .answers import date_of
from .answers import refusal
from .answers import Refused
from .answers import strong
from .requests import Client
from .requests import Redirected

#: What a path may have as it is, with what is percent-encoded already (RFC 3986, 3.3).
WRITTEN = "%/:@!$&'()*+,;=~"
#: How many files of a listing are looked at before the first of them is told.
BATCH = 32
#: How many files a view looks at.
VIEW = 100


class HTTPDialect(ReadOnlyDialect):
    """One GET for a file or a part of it; listings from the pages of folders."""

    protocols = ("http", "https")
    reason = (
        "a web server only shows files. Let STORE_PATH name the place by a protocol"
        " that can save, such as webdav+https://."
    )

    @classmethod
    def locate(cls, url: str, config: Mapping[str, t.Any]) -> Location:
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host or parts.fragment:
            raise NotConfiguredError(
                "STORE_PATH is no address of a folder on a web server. Write"
                " 'https://host/folder'; a '#' in a folder's name is '%23'."
            )
        options: dict[str, t.Any] = {
            # The addresses are percent-encoded here.
            "encoded": True,
            **config["STORE_OPTIONS"],
        }
        if parts.username is not None:
            user, password = unquote(parts.username), unquote(parts.password or "")
            # RFC 7617. A library would take it for Latin-1, and shows it in its repr.
            login = base64.b64encode(f"{user}:{password}".encode()).decode()
            options["headers"] = {
                "Authorization": f"Basic {login}",
                **options.get("headers", {}),
            }
        if parts.query:
            query = parse_qsl(parts.query, keep_blank_values=True)
            options.setdefault("params", query)
        address = parts.netloc.rpartition("@")[2]
        folder = quote(parts.path.strip("/"), safe=WRITTEN)
        protocol = parts.scheme.lower()
        root = f"{protocol}://{address}/{folder}".rstrip("/")
        return Location(protocol, root, options)

    @property
    def uri(self) -> str:
        return self.root

    def path(self, key: str, *, follow: bool = True) -> str:
        return f"{self.root}/{quote(key)}"

    def _client(self) -> Client:
        limit = self.location.options.get("timeout")
        return Client(self.fs, limit if isinstance(limit, int | float) else TIMEOUT)

    # -- reading -------------------------------------------------------------

    def stat(self, key: str) -> Stat:
        headers = self._client().headers(self.path(key))
        return self._stat(headers, size_of(headers), key)

    def _stat(self, headers: Mapping[str, str], size: int, key: str) -> Stat:
        info = {
            "size": size,
            "etag": strong(headers.get("ETag")),
            "modified": date_of(headers.get("Last-Modified")),
        }
        return self.record(info, key)

    def open(self, key: str) -> t.IO[bytes]:
        return ranged(self, self.get(key))

    def get(
        self,
        key: str,
        span: Span | None = None,
        found: Stat | None = None,
    ) -> Fetched | None:
        asked = {"Range": f"bytes={span}"} if span else {}
        if found is not None and found.etag:
            asked["If-Match"] = f'"{found.etag}"'
        elif found is not None and found.modified:
            asked["If-Unmodified-Since"] = format_datetime(found.modified, usegmt=True)
        status, headers, body = self._client().begin(self.path(key), asked)
        try:
            if status == 412 or (status == 416 and found is not None):
                raise version_gone(key)
            if status == 416:
                size = self.stat(key).size
                if bounds(span, size) is not None:
                    raise NoAnswer(f"it has no bytes {span} of {size}")
                body.close()
                return None
            sent = extent(status, headers, span)
            if bounds(span, sent.size) is None:
                body.close()
                return None
            known = self._stat(headers, sent.size, key)
            if found is not None and known.version != found.version:
                raise version_gone(key)
            return Fetched(known, sent.start, sent.stop, body)
        except BaseException:
            body.close()
            raise

    def walk(self, prefix: str) -> Iterator[Stat | Unreachable]:
        try:
            page = self._page(prefix)
        except FileNotFoundError as exc:
            if not prefix or self._is_linked(prefix):
                raise NoAnswer("there is no page that lists the folder") from exc
            return
        yield from self._files_below(page, set())

    def _is_linked(self, folder: str) -> bool:
        """Whether the page of the folder above has this folder."""
        above = folder.rpartition("/")[0]
        try:
            return f"{folder}/" in self._page(above)
        except FileNotFoundError:
            return not above or self._is_linked(above)

    def first_page(self, prefix: str) -> tuple[list[Stat | Unreachable], bool]:
        files = list(itertools.islice(self.walk(prefix), VIEW + 1))
        return files[:VIEW], len(files) > VIEW

    def _page(self, folder: str) -> list[str]:
        """The keys that the page of a folder links to; those of folders end with a
        slash."""
        url = f"{self.path(folder) if folder else self.root}/"
        kind, text = self._client().page(url)
        if kind not in ("text/html", "application/xhtml+xml"):
            raise NoAnswer(f"the list of the folder is no HTML page, but {kind[:80]!r}")
        page = Page()
        page.feed(text.decode("utf-8", "surrogateescape"))
        keys = sorted({*_below(self.root, url, page.links)})
        name = unquote(urlsplit(url).path).strip("/").rpartition("/")[2]
        if not keys and (name or "/") not in page.heading:
            # It may be a login page. That of an empty folder is about the folder.
            raise NoAnswer(f"the page of {naming.quoted(folder)} links to none of it")
        return keys

    def _files_below(
        self, keys: list[str], seen: set[str]
    ) -> Iterator[Stat | Unreachable]:
        new = [key for key in keys if key not in seen]
        seen.update(new)
        files = [key for key in new if not key.endswith("/")]
        for start in range(0, len(files), BATCH):
            yield from self._described(files[start : start + BATCH])
        for folder in (key.rstrip("/") for key in new if key.endswith("/")):
            if reason := naming.problem(folder):
                yield Unreachable(folder, reason)
                continue
            try:
                deeper = self._page(folder)
            except FileNotFoundError:
                yield Unreachable(folder, "is linked to, and is not there")
            else:
                yield from self._files_below(deeper, seen)

    def _described(self, keys: list[str]) -> Iterator[Stat | Unreachable]:
        """A page tells no sizes: every file is asked for."""
        usable = [key for key in keys if not naming.problem(key)]
        urls = map(self.path, usable)
        answers = dict(zip(usable, self._client().many_headers(urls), strict=True))
        for key in keys:
            answer = answers.get(key)
            if answer is None:
                yield Unreachable(key, naming.problem(key))
            elif isinstance(answer, FileNotFoundError):
                yield Unreachable(key, "is linked to, and is not there")
            elif isinstance(answer, Redirected):
                yield Unreachable(key, "is linked to, and is elsewhere")
            elif isinstance(answer, BaseException):
                raise answer
            elif "Content-Length" not in answer:
                yield Unreachable(key, "has no Content-Length")
            else:
                yield self._stat(answer, size_of(answer), key)

    # -- what went wrong -----------------------------------------------------

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        if isinstance(exc, Refused):
            return refusal(exc.status, key, "web server", self.settings)
        if isinstance(exc, aiohttp.ClientError):
            return super().explain(ConnectionError(), key)
        return super().explain(exc, key)


class Page(HTMLParser):
    """What a page links to, and what it is about."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.heading = ""
        self._in_heading = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_heading = tag in ("title", "h1")
        if tag == "a":
            self.links += [value for name, value in attrs if name == "href" and value]

    def handle_data(self, data: str) -> None:
        if self._in_heading:
            self.heading += data


def _below(root: str, page: str, links: Iterable[str]) -> Iterator[str]:
    """The keys below *root* of what a page in it links to."""
    own = urlsplit(root)
    folder = _names(urlsplit(page).path)[:-1]
    skip = len(_names(own.path))
    for link in links:
        try:
            there = urlsplit(urljoin(page, link.strip()))
        except ValueError:
            continue
        # An index links to itself in another order, by a query.
        if there.query or (there.scheme, there.netloc) != (own.scheme, own.netloc):
            continue
        names = _names(there.path)
        if names[: len(folder)] == folder and any(names[len(folder) :]):
            yield "/".join(names[skip:])


def _names(path: str) -> list[str]:
    """The names in the path of an address."""
    names = (unquote(name, errors="surrogateescape") for name in path.split("/"))
    # No store has a name with a slash in it, nor one with a backslash.
    return [name.replace("/", "\\") for name in names]
