"""``https://``: files of a web server, for reading, through fsspec and aiohttp."""

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

from ... import media_types
from ... import naming
from ...exceptions import NotConfiguredError
from ...exceptions import StoreError
from ...uploads.properties import codings
from ...uploads.properties import Properties
from .. import Fetched
from .. import Folder
from .. import Limits
from .. import Listed
from .. import Location
from .. import Span
from .. import Stat
from .. import Unreachable
from ..bodies import bounds
from ..errors import NoAnswer
from ..errors import version_gone
from ..extents import Extent
from ..extents import extent
from ..extents import is_encoded
from ..extents import size_of
from ..extents import without_encoding
from ..ranged import ranged
from ..read_only import ReadOnlyDialect
from ..statuses import refusal
from ..tls import Trust
from .answers import date_of
from .answers import Refused
from .answers import strong
from .requests import Client
from .requests import Redirected

#: The characters of a path that need no percent-encoding (RFC 3986, section 3.3), and
#: '%', because the path may be percent-encoded already.
WRITTEN = "%/:@!$&'()*+,;=~"
#: All the bytes of a file.
ALL = Span(0, None)
#: How many files of a listing are requested at a time, before the first is yielded.
BATCH = 32
#: How many files a view requests.
VIEW = 100


class HTTPDialect(ReadOnlyDialect):
    """Reads a file or a part of it by one GET, and lists folders from their pages."""

    is_known = True
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
            # This class percent-encodes the addresses itself.
            "encoded": True,
            **config["STORE_OPTIONS"],
        }
        if parts.username is not None:
            user, password = unquote(parts.username), unquote(parts.password or "")
            # RFC 7617. aiohttp's BasicAuth encodes by Latin-1, and its repr has the
            # login.
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
        return Location(protocol, root, options, Limits.of(config))

    @property
    def uri(self) -> str:
        return self.root

    def uri_of(self, key: str) -> str:
        return self.path(key)

    def path(self, key: str, *, follow: bool = True) -> str:
        return f"{self.root}/{quote(key)}"

    def _client(self) -> Client:
        limit = self.location.options.get("timeout")
        if not isinstance(limit, int | float):
            limit = self.location.limits.answer
        return Client(self.fs, limit)

    # -- reading -------------------------------------------------------------

    def info(self, key: str) -> Stat:
        headers = self._client().headers(self.path(key))
        if not is_encoded(headers):
            return self._stat(headers, size_of(headers), key)
        byte = Span(0, 0)
        status, headers, body = self._client().begin(self.path(key), _range(byte))
        body.close()
        return self._stat(headers, _extent(status, headers, byte).size, key)

    def _stat(self, headers: Mapping[str, str], size: int, key: str) -> Stat:
        info = {
            "size": size,
            "etag": strong(headers.get("ETag")),
            "modified": date_of(headers.get("Last-Modified")),
            "content_type": _type(headers, key),
        }
        coding = codings(headers.get("Content-Encoding"))
        return self.record(info, key).keeping(properties=Properties(coding))

    def open(self, key: str) -> t.IO[bytes]:
        return ranged(self, self.get(key))

    def get(
        self,
        key: str,
        span: Span | None = None,
        found: Stat | None = None,
    ) -> Fetched | None:
        request_headers = _range(span) if span else {}
        if found is not None and found.etag:
            request_headers["If-Match"] = f'"{found.etag}"'
        elif found is not None and found.modified:
            request_headers["If-Unmodified-Since"] = format_datetime(
                found.modified, usegmt=True
            )
        status, headers, body = self._client().begin(self.path(key), request_headers)
        try:
            if status == 412 or (status == 416 and found is not None):
                raise version_gone(key)
            if status == 416:
                size = self.info(key).size
                if bounds(span, size) is not None:
                    raise NoAnswer(f"it has no bytes {span} of {size}")
                body.close()
                return None
            if status == 200 and span is None and is_encoded(headers):
                body.close()
                return self.get(key, ALL, found)
            received = _extent(status, headers, span)
            if bounds(span, received.size) is None:
                body.close()
                return None
            stat = self._stat(headers, received.size, key)
            if found is not None and stat.version != found.version:
                raise version_gone(key)
            return Fetched(stat, received.start, received.stop, body)
        except BaseException:
            body.close()
            raise

    def find(self, prefix: str) -> Iterator[Stat | Unreachable]:
        yield from self._files_below(self._linked(prefix), set())

    def ls(self, prefix: str) -> Iterator[Listed]:
        skip = len(prefix) + bool(prefix)
        files, folders = [], set()
        for key in self._linked(prefix):
            name, slash, _ = key[skip:].partition("/")
            if slash:
                folders.add(f"{key[:skip]}{name}")
            else:
                files.append(key)
        yield from self._in_batches(files)
        yield from map(Folder, sorted(folders))

    def _linked(self, folder: str) -> list[str]:
        """What the page of a folder links to; nothing if there is no such folder.

        :raises NoAnswer: if there should be one.
        """
        try:
            return self._page(folder)
        except FileNotFoundError as exc:
            if not folder or self._is_linked(folder):
                raise NoAnswer("there is no page that lists the folder") from exc
            return []

    def _is_linked(self, folder: str) -> bool:
        """Whether the page of the parent folder links to this folder."""
        above = folder.rpartition("/")[0]
        try:
            return f"{folder}/" in self._page(above)
        except FileNotFoundError:
            return not above or self._is_linked(above)

    def first_page(self, prefix: str) -> tuple[list[Stat | Unreachable], bool]:
        files = list(itertools.islice(self.find(prefix), VIEW + 1))
        return files[:VIEW], len(files) > VIEW

    def _page(self, folder: str) -> list[str]:
        """The keys that the page of a folder links to. The key of a folder ends with a
        slash."""
        url = f"{self.path(folder) if folder else self.root}/"
        content_type, text = self._client().page(url)
        if content_type not in ("text/html", "application/xhtml+xml"):
            raise NoAnswer(
                f"the list of the folder is no HTML page, but {content_type[:80]!r}"
            )
        page = Page()
        page.feed(text.decode("utf-8", "surrogateescape"))
        keys = sorted({*_below(self.root, url, page.links)})
        name = unquote(urlsplit(url).path).strip("/").rpartition("/")[2]
        if not keys and (name or "/") not in page.heading:
            # It may be a login page. The page of an empty folder names the folder.
            raise NoAnswer(f"the page of {naming.quoted(folder)} links to none of it")
        return keys

    def _files_below(
        self, keys: list[str], visited: set[str]
    ) -> Iterator[Stat | Unreachable]:
        new = [key for key in keys if key not in visited]
        visited.update(new)
        yield from self._in_batches([key for key in new if not key.endswith("/")])
        for folder in (key.rstrip("/") for key in new if key.endswith("/")):
            if reason := naming.problem(folder):
                yield Unreachable(folder, reason)
                continue
            try:
                inner_keys = self._page(folder)
            except FileNotFoundError:
                yield Unreachable(folder, "is linked to, and is not there")
            else:
                yield from self._files_below(inner_keys, visited)

    def _in_batches(self, files: list[str]) -> Iterator[Stat | Unreachable]:
        for start in range(0, len(files), BATCH):
            yield from self._described(files[start : start + BATCH])

    def _described(self, keys: list[str]) -> Iterator[Stat | Unreachable]:
        """Describe files by HEAD requests, because a page has no sizes."""
        usable = [key for key in keys if not naming.problem(key)]
        urls = map(self.path, usable)
        responses = dict(zip(usable, self._client().many_headers(urls), strict=True))
        for key in keys:
            response = responses.get(key)
            if response is None:
                yield Unreachable(key, naming.problem(key))
            elif isinstance(response, FileNotFoundError):
                yield Unreachable(key, "is linked to, and is not there")
            elif isinstance(response, Redirected):
                yield Unreachable(key, "is linked to, and is elsewhere")
            elif isinstance(response, BaseException):
                raise response
            elif is_encoded(response):
                yield self.info(key)
            elif "Content-Length" not in response:
                yield Unreachable(key, "has no Content-Length")
            else:
                yield self._stat(response, size_of(response), key)

    # -- what went wrong -----------------------------------------------------

    @property
    def trust(self) -> Trust:
        return Trust("STORE_PATH", ("SSL_CERT_FILE",), self.root)

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        if isinstance(exc, Refused):
            return refusal(exc.status, key, "web server", self.settings)
        if isinstance(exc, aiohttp.ClientError):
            return super().explain(ConnectionError(), key)
        return super().explain(exc, key)


class Page(HTMLParser):
    """The links and the headings of a page."""

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


def _range(span: Span) -> dict[str, str]:
    return {"Range": f"bytes={span}"}


def _extent(status: int, headers: Mapping[str, str], span: Span | None) -> Extent:
    """Which bytes of a file a response has, which may be stored compressed.

    :raises NoAnswer: if it cannot be told whether they are. Whoever compresses a file
        on its way does not know its size, which an answer to a range gives twice.
    """
    if status == 206:
        headers = without_encoding(headers)
    return extent(status, headers, span)


def _type(headers: Mapping[str, str], key: str) -> str | None:
    """The type that the server says, with its charset, unless the name says another
    one; servers guess."""
    said = headers.get("Content-Type", "")
    named = media_types.content_type(key)
    same = said.partition(";")[0].strip().lower() == named
    return said if said and (same or named == media_types.UNKNOWN) else None


def _below(root: str, page: str, links: Iterable[str]) -> Iterator[str]:
    """The keys of the files and folders below *root* that a page there links to."""
    root_address = urlsplit(root)
    folder = _names(urlsplit(page).path)[:-1]
    skip = len(_names(root_address.path))
    for link in links:
        try:
            address = urlsplit(urljoin(page, link.strip()))
        except ValueError:
            continue
        # An index page links to itself with a query, to sort the files in another way.
        if address.query or (address.scheme, address.netloc) != (
            root_address.scheme,
            root_address.netloc,
        ):
            continue
        names = _names(address.path)
        if names[: len(folder)] == folder and any(names[len(folder) :]):
            yield "/".join(names[skip:])


def _names(path: str) -> list[str]:
    """The names in the path of an address."""
    names = (unquote(name, errors="surrogateescape") for name in path.split("/"))
    # An encoded slash is a part of the name. No key can have one, nor a backslash.
    return [name.replace("/", "\\") for name in names]
