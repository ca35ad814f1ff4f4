"""``gs://``: Google Cloud Storage, through gcsfs."""

from __future__ import annotations

import base64
import datetime as dt
import os
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from urllib.parse import quote
from urllib.parse import urlsplit

import aiohttp
import fsspec
import gcsfs.core
import gcsfs.retry
from google.auth import exceptions as google
from google.cloud import storage
from google.cloud.storage import _signing
from google.oauth2 import service_account
from google.oauth2.credentials import Credentials
from werkzeug.http import parse_date

from ... import naming
from ...concurrency import ioloop
from ...exceptions import NotConfiguredError
from ...exceptions import StoreError
from ...media_types import UNKNOWN
from ...secrecy import Options
from ...settings import refuse_login
from ...uploads.properties import NO_PROPERTIES
from ...uploads.properties import Properties
from ...uploads.source import Source
from .. import Fetched
from .. import Joined
from .. import Limits
from .. import Location
from .. import NotByStorage
from .. import Original
from .. import Span
from .. import Stat
from ..errors import NoAnswer
from ..extents import Extent
from ..objects import ObjectDialect
from ..objects import Page
from ..objects import seconds_of
from ..objects import TOKEN
from ..objects import Unclear
from ..statuses import refusal
from ..statuses import UNABLE
from ..tls import Trust
from ..tries import counting
from . import object_store
from .http import Client
from .http import Headers
from .http import Refused
from .http import stored_in
from .tokens import Tokens

if t.TYPE_CHECKING:
    from ...http.links import Method
    from ...http.links import Period

NO_TOKEN = (
    "There are no Google credentials. Put token, the path of a service account's JSON"
    " file, into STORE_OPTIONS, or run the server with application default credentials."
)


#: What gcsfs does not take for a token or the path of one.
KINDS = ("google_default", "cache", "cloud", "anon")

#: How many objects one request makes one of ("Composite objects").
COMPONENTS = 32
#: All the bytes of an object.
ALL = Span(0, None)

#: The fields of a description of an object, in the JSON API, by ours.
FIELDS = {
    "content_encoding": "contentEncoding",
    "cache_control": "cacheControl",
    "content_disposition": "contentDisposition",
    "content_language": "contentLanguage",
}
#: The fields that a copy has as the original has them.
KEPT = ("storageClass", "customTime")
#: What the headers of an object's own metadata begin with.
META = "x-goog-meta-"


class GCSDialect(ObjectDialect):
    """One multipart upload, with ``ifGenerationMatch=0``.

    A resumable one would be another primitive, and there is no need of it: nothing but
    patience limits a single request ("Uploads and downloads", Cloud Storage
    documentation), and a file that has to be sent again is still here.
    """

    is_known = True
    signs_versions = True
    signs = True
    settings = "STORE_PATH and the token in STORE_OPTIONS"
    # Whoever answered was not the storage, or nobody did.
    unsure = (NoAnswer, TimeoutError, aiohttp.ClientError)
    misses = True
    metadata_prefix = META

    @classmethod
    def locate(cls, url: str, config: Mapping[str, t.Any]) -> Location:
        bucket, _, path = url.split("://", 1)[1].partition("/")
        if not bucket or set(bucket) & set("@:#?%"):
            raise NotConfiguredError(
                "STORE_PATH names no bucket. Write 'gs://bucket/folder'; credentials"
                " belong into STORE_OPTIONS."
            )
        options = Options(config["STORE_OPTIONS"])
        endpoint = options.get("endpoint_url") or gcsfs.core._location()
        refuse_login("The option endpoint_url", endpoint, "See token in STORE_OPTIONS.")
        options["endpoint_url"] = endpoint.rstrip("/")
        # Left alone, gcsfs tries one kind after the other and ends with none. A token
        # is not for a connection that everybody can read.
        plain = endpoint.startswith("http://")
        options.setdefault("token", "anon" if plain else "google_default")
        token = options["token"]
        if isinstance(token, str) and token.endswith(".json"):
            if not os.path.exists(token):
                raise NotConfiguredError(
                    f"There is no file {token!r}, which STORE_OPTIONS names as token."
                )
        limits = Limits.of(config)
        options.setdefault("requests_timeout", limits.answer)
        # With a cache, a file that another process wrote or deleted is seen too late.
        options.setdefault("use_listings_cache", False)
        root = "/".join([bucket, *filter(None, path.split("/"))])
        return Location("gs", root, options, limits)

    def connect_options(self) -> Options:
        options = super().connect_options()
        token = options["token"]
        if isinstance(token, str) and token not in KINDS and not os.path.exists(token):
            # gcsfs would ask a server about it, by a URL that errors and logs show.
            options["token"] = Credentials(token)
        return options

    def object_store_options(self) -> dict[str, str]:
        return object_store.options(self.location.options)

    def connect(self) -> fsspec.AbstractFileSystem:
        options = self.connect_options()
        options.setdefault("loop", ioloop.get_loop())
        session = {"trace_configs": [counting()], **options.get("session_kwargs", {})}
        options["session_kwargs"] = session
        # Not the class that is registered: that one asks a second server, by another
        # protocol, what kind of bucket this is.
        fs = gcsfs.core.GCSFileSystem(skip_instance_cache=True, **options)
        fs.tokens = Tokens(fs, options["requests_timeout"])
        return ioloop.bridge(fs)

    def _client(self, within: float | None = None) -> Client:
        usual = self.location.options["requests_timeout"]
        return Client(self.fs, self.fs.tokens, min(usual, within or usual))

    def _object(self, name: str) -> str:
        return _object(self.bucket, name)

    # -- writing -------------------------------------------------------------

    def put(
        self, name: str, source: Source, content_type: str, token: str, new: bool
    ) -> str:
        about = _about(name, content_type, source.properties, token)
        conditions = {"ifGenerationMatch": 0} if new else {}
        try:
            reply = self._client().upload(self.bucket, about, source, conditions)
        except Refused as exc:
            if exc.status == 404:
                raise self.no_bucket() from exc
            if new and exc.status == 412:
                raise FileExistsError(name) from exc
            raise
        check_object(reply, name, source.size)
        return str(reply["generation"])

    def copy(
        self,
        original: Original,
        target: str,
        content_type: str,
        token: str,
        new: bool,
    ) -> Stat:
        bucket, name = self.place_of(original)
        path = f"{_object(bucket, name)}/rewriteTo/{self._object(target)}"
        # It replaces all that the original has beside its bytes.
        about = {
            **original.found.kept,
            **_about(target, content_type, original.properties, token),
        }
        asked: dict[str, t.Any] = {"ifSourceGenerationMatch": original.found.etag}
        if new:
            asked["ifGenerationMatch"] = 0
        while True:
            # Another storage class, or another place, takes more than one request.
            try:
                reply = self._client().ask("POST", path, asked, about)
            except Refused as exc:
                if exc.status == 412:
                    raise FileExistsError(target) from exc
                if exc.status in UNABLE:
                    raise NotByStorage from exc
                raise self._missing(exc, name) from exc
            if reply.get("done") is True:
                return self._stat(target, reply.get("resource"))
            if not isinstance(reply.get("rewriteToken"), str):
                raise NoAnswer("it does not say whether the object has been copied")
            asked["rewriteToken"] = reply["rewriteToken"]

    def can_copy(self) -> bool:
        # Google documents the condition ("Objects: rewrite"). Emulators ignore it.
        return self._is_google or super().can_copy()

    @property
    def _is_google(self) -> bool:
        host = urlsplit(self.location.options["endpoint_url"]).hostname or ""
        return host.endswith(".googleapis.com")

    def concatenate(
        self,
        joined: Joined,
        target: str,
        content_type: str,
        token: str,
        new: bool,
    ) -> Stat:
        names = [self.absolute_path(part.name) for part in joined.parts]
        made: list[str] = []
        try:
            while len(names) > COMPONENTS:
                groups = [
                    names[first : first + COMPONENTS]
                    for first in range(0, len(names), COMPONENTS)
                ]
                names = []
                for group in groups:
                    name = self.name_of(self.staging_path())
                    made.append(name)
                    self._compose(group, _about(name, UNKNOWN, NO_PROPERTIES, token))
                    names.append(name)
            about = _about(target, content_type, joined.properties, token)
            condition = {"ifGenerationMatch": 0} if new else {}
            return self._stat(target, self._compose(names, about, **condition))
        finally:
            self._remove_probes(made)

    def _compose(
        self, names: list[str], about: dict[str, t.Any], **params: t.Any
    ) -> dict[str, t.Any]:
        """Make one object of up to 32 other ones ("Objects: compose").

        :param about: what it will be.
        """
        asked = {
            "destination": about,
            "sourceObjects": [{"name": name} for name in names],
        }
        path = f"{self._object(about['name'])}/compose"
        try:
            return self._client().ask("POST", path, params, asked)
        except Refused as exc:
            if exc.status == 412:
                raise FileExistsError(about["name"]) from exc
            if exc.status in UNABLE:
                raise NotByStorage from exc
            raise self._missing(exc, about["name"]) from exc

    def can_join(self) -> bool:
        return self._is_google or super().can_join()

    # -- reading -------------------------------------------------------------

    def head(self, name: str, within: float | None = None) -> Stat:
        try:
            found = self._client(within).ask("GET", self._object(name))
        except Refused as exc:
            raise self._missing(exc, name) from exc
        return self._stat(name, found)

    def _missing(self, exc: Refused, name: str) -> Exception:
        if exc.status != 404:
            return exc
        if "bucket does not exist" in exc.message:
            return self.no_bucket()
        return FileNotFoundError(name)

    def has_bucket(self) -> bool:
        # Not every server says which of the two is missing.
        asked = {"prefix": self._folder("") or None, "maxResults": 1}
        try:
            self._client().ask("GET", f"b/{self.bucket}/o", asked)
        except Refused as exc:
            return exc.status != 404
        return True

    def pages(self, prefix: str, delimiter: str = "") -> Iterator[Page]:
        asked: dict[str, t.Any] = {
            "prefix": prefix or None,
            "delimiter": delimiter or None,
        }
        while True:
            try:
                page = self._client().ask("GET", f"b/{self.bucket}/o", asked)
            except Refused as exc:
                raise self.no_bucket() if exc.status == 404 else exc from exc
            files = [self._stat(None, found) for found in _items(page, prefix)]
            asked["pageToken"] = page.get("nextPageToken")
            folders = _folders(page, prefix)
            yield Page(files, bool(asked["pageToken"]), folders)
            if not asked["pageToken"]:
                return

    def _stat(self, name: str | None, found: t.Any) -> Stat:
        """What a description tells of an object.

        :param name: of the object, if it is known.
        :raises NoAnswer: if it describes none, or another one.
        """
        check_object(found, name)
        metadata = found.get("metadata")
        if not isinstance(metadata, dict):
            metadata = {}
        try:
            return self.described(
                found["name"],
                int(found["size"]),
                dt.datetime.fromisoformat(found["updated"]),
                # Of one name no two generations are alike, and each can be asked for.
                str(found["generation"]),
                found.get("contentType"),
                _checksum(found.get("md5Hash"), found.get("crc32c")),
                metadata.get(TOKEN),
                Properties.stored(
                    {field: found.get(name) for field, name in FIELDS.items()},
                    [item for item in metadata.items() if item[0] != TOKEN],
                ),
                {field: found[field] for field in KEPT if field in found},
            )
        except (KeyError, ValueError, TypeError) as exc:
            raise NoAnswer(f"it does not describe an object: {exc!r}"[:120]) from exc

    def fetch(self, name: str, span: Span | None, etag: str | None) -> Fetched:
        version = {"generation": etag} if etag else {}
        try:
            # Of all the bytes, the answer to a range tells the size twice.
            return self._client().download(
                self._object(name), version, span or ALL, partial(self._received, name)
            )
        except Refused as exc:
            if exc.status not in (404, 416):
                raise
            # The error of a download is plain text, which anybody could have sent.
            raise Unclear(f"the status is {exc.status}") from exc

    def _received(self, name: str, headers: Headers, sent: Extent) -> Stat:
        """What the answer to a download tells of the file."""
        generation = headers.get("X-Goog-Generation")
        if not generation:
            raise NoAnswer("it has no x-goog-generation")
        # There may be one header with both checksums, or two of the same name.
        hashes = ",".join(headers.getall("X-Goog-Hash", [])).split(",")
        found = dict(part.strip().partition("=")[::2] for part in hashes)
        return self.described(
            name,
            sent.size,
            parse_date(headers.get("Last-Modified")),
            generation,
            headers.get("Content-Type"),
            _checksum(found.get("md5"), found.get("crc32c")),
            properties=_properties(headers),
        )

    def remove(self, name: str) -> None:
        try:
            self._client().delete(self._object(name))
        except Refused as exc:
            raise self._missing(exc, name) from exc

    # -- addresses, and what is signed ---------------------------------------

    def address(self, key: str) -> str:
        return f"{self.location.options['endpoint_url']}/{quote(self.path(key), '/~')}"

    @property
    def _account(self) -> service_account.Credentials | None:
        """The service account whose private key signs. Other identities have none, so
        that the application signs their links."""
        credentials = self.fs.credentials.credentials
        known = isinstance(credentials, service_account.Credentials)
        return credentials if known else None

    def sign(
        self,
        key: str,
        period: Period,
        disposition: str,
        content_type: str,
        method: Method = "GET",
        version_id: str | None = None,
    ) -> str | None:
        account = self._account
        if account is None:
            return None
        # The public function signs the current second, so that no two links to a file
        # are the same, and a browser keeps none.
        link: str = _signing.generate_signed_url_v4(
            account,
            f"/{quote(self.path(key), '/~')}",
            seconds_of(period, "Google"),
            self.location.options["endpoint_url"],
            method,
            response_disposition=disposition,
            response_type=content_type,
            generation=version_id,
            # With it, whoever signs pays for the transfer, if the store is made so.
            query_parameters=self.fs._get_params({}),
            _request_timestamp=f"{period.start:%Y%m%dT%H%M%SZ}",
        )
        return link

    def form(
        self, fields: dict[str, str], conditions: list[t.Any], expires: int
    ) -> tuple[str, dict[str, str]] | None:
        account = self._account
        if account is None:
            return None
        others = {name: fields[name] for name in fields if name != "key"}
        signed = storage.Client("", account).generate_signed_post_policy_v4(
            self.bucket,
            fields["key"],
            dt.datetime.fromtimestamp(expires, dt.UTC),
            conditions,
            others,
        )["fields"]
        return f"{self.location.options['endpoint_url']}/{self.bucket}", signed

    # -- what went wrong -----------------------------------------------------

    @property
    def trust(self) -> Trust:
        return Trust(
            "the option endpoint_url in STORE_OPTIONS",
            # Requests for a token go another way.
            ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"),
            self.location.options["endpoint_url"],
        )

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        if isinstance(exc, Refused):
            settings = self.settings
            return refusal(exc.status, key, "Google server", settings, exc.message)
        if isinstance(exc, google.DefaultCredentialsError):
            return NotConfiguredError(NO_TOKEN)
        if isinstance(exc, google.TransportError | aiohttp.ClientError):
            return super().explain(ConnectionError(), key)
        if isinstance(exc, google.GoogleAuthError | gcsfs.retry.HttpError):
            return super().explain(PermissionError(), key)
        if isinstance(exc, ValueError) and "Token format" in str(exc):
            return NotConfiguredError(NO_TOKEN)
        return super().explain(exc, key)


def _object(bucket: str, name: str) -> str:
    """The path of an object in the JSON API."""
    return f"b/{bucket}/o/{quote(name, safe='')}"


def _about(
    name: str, content_type: str, kept: Properties, token: str
) -> dict[str, t.Any]:
    """An object resource of the JSON API, for a new object."""
    return {
        **{FIELDS[field]: value for field, value in kept.named.items()},
        "name": name,
        "contentType": content_type,
        "metadata": {**kept.metadata, TOKEN: token},
    }


def _items(page: Mapping[str, t.Any], prefix: str) -> list[dict[str, t.Any]]:
    """The objects of one page of a listing.

    :raises NoAnswer: if the page is none, or lists something else.
    """
    items = page.get("items", [])
    if page.get("kind") != "storage#objects" or not isinstance(items, list):
        raise NoAnswer("it is no listing of objects")
    for found in items:
        check_object(found)
        if not found["name"].startswith(prefix):
            raise NoAnswer(f"it lists {naming.quoted(found['name'])}")
    return items


def _folders(page: Mapping[str, t.Any], prefix: str) -> list[str]:
    """What one page of a listing has in place of the objects in folders.

    :raises NoAnswer: if these are no folders below *prefix*.
    """
    folders = [str(name) for name in page.get("prefixes", [])]
    for name in folders:
        if not name.startswith(prefix) or not name.endswith("/"):
            raise NoAnswer(f"it lists {naming.quoted(name)}")
    return folders


def check_object(
    found: object, name: str | None = None, size: int | None = None
) -> None:
    """Check that this describes an object as Google's JSON API does ("Objects", Cloud
    Storage JSON API).

    :param name: of the object, in its bucket, if it is known.
    :param size: in bytes, if it is known.
    :raises NoAnswer: if it does not, or is about another object.
    """
    if not isinstance(found, dict) or not found.get("generation"):
        raise NoAnswer("it describes no object")
    if not found.get("name") or name not in (None, found["name"]):
        raise NoAnswer(f"it describes {str(found.get('name'))[:80]!r}")
    if size is not None and str(found.get("size")) != str(size):
        raise NoAnswer(f"it tells of {str(found.get('size'))[:20]} bytes, not {size}")


def _properties(headers: Headers) -> Properties:
    """What an answer with an object's bytes tells of what is kept beside it."""
    low = {name.lower(): value for name, value in headers.items()}
    metadata = [
        (name.removeprefix(META), value)
        for name, value in low.items()
        if name.startswith(META) and name != f"{META}{TOKEN}"
    ]
    fields = {name.replace("-", "_"): value for name, value in low.items()}
    fields["content_encoding"] = stored_in(headers)
    return Properties.stored(fields, metadata)


def _checksum(md5: str | None, crc32c: str | None) -> str | None:
    """One of Google's checksums, which are in Base64 ("Objects", Cloud Storage JSON
    API). What was composed of several objects has no MD5."""
    if md5:
        with suppress(ValueError):
            return f"md5:{base64.b64decode(md5, validate=True).hex()}"
    return f"crc32c:{crc32c}" if crc32c else None
