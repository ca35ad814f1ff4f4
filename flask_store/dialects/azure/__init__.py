"""``abfs://``: Azure Blob Storage, through adlfs."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import os
import time
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import closing
from contextlib import suppress
from functools import partial
from urllib.parse import quote

import adlfs
import fsspec
from azure.core import exceptions as azure
from azure.core import MatchConditions
from azure.core.rest import AsyncHttpResponse
from azure.storage.blob import BlobBlock
from azure.storage.blob import BlobSasPermissions
from azure.storage.blob import ContentSettings
from azure.storage.blob import generate_blob_sas
from azure.storage.blob import StandardBlobTier
from azure.storage.blob.aio import BlobPrefix
from werkzeug.http import parse_date

from ... import naming
from ...concurrency import ioloop
from ...exceptions import InvalidProperty
from ...exceptions import NotConfiguredError
from ...exceptions import StoreError
from ...secrecy import Options
from ...uploads.properties import Properties
from ...uploads.source import CHUNK
from ...uploads.source import Source
from ...uploads.source import Window
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
from ..objects import runs
from ..objects import Unclear
from ..pace import pieces
from ..pace import verified
from ..statuses import MISSING
from ..statuses import refusal
from ..statuses import UNABLE
from ..statuses import UNKNOWN
from ..tls import Trust
from ..tries import Tries
from . import object_store
from .http import download
from .http import prepare

if t.TYPE_CHECKING:
    from ...http.links import Method
    from ...http.links import Period

#: The metadata by which a save knows its own blob again; names are C# identifiers.
TOKEN = "flaskstoretoken"

#: Other metadata that an application may not give a blob: with one of them, it is a
#: folder to Azure, or to adlfs.
FOLDERS = ("hdi_isfolder", "is_directory")

#: What the headers of a blob's own metadata begin with.
META = "x-ms-meta-"

#: Azure's limit ("Scalability targets for Blob storage").
MAX_BLOCKS = 50_000

#: Every request is tried twice at most, so that each has half of the time.
LIMITS = ("connection_timeout", "read_timeout")

#: How many blobs are copied into blocks of one at a time, and for how long the links
#: are good by which the service reads them.
AT_ONCE = 8
LINK = dt.timedelta(hours=1)

#: Seconds between two looks at a copy that goes on.
POLL = 0.2

#: How often a blob is replaced that others replace at the same moment.
OVERWRITES = 8

#: All the bytes of a blob. The answer then tells the size twice, and nobody in between
#: compresses it.
ALL = Span(0, None)

#: A code of the service's errors ("Blob service error codes").
CONTAINER_NOT_FOUND = "ContainerNotFound"


class AzureDialect(ObjectDialect):
    """Put Blob, or Put Block List, with ``If-None-Match: *``."""

    is_known = True
    signs_versions = True
    signs = True
    settings = "STORE_PATH and the account's name and key in STORE_OPTIONS"
    token_name = TOKEN
    reserved_metadata = frozenset({TOKEN, *FOLDERS})
    bucket_word = "container"
    # Whoever answered was not the service, or nobody did.
    unsure = (
        NoAnswer,
        TimeoutError,
        azure.ServiceRequestError,
        azure.ServiceResponseError,
    )
    misses = True
    #: Whether the service copies blobs into blocks, as far as it is known.
    _reads_links: bool = True

    @classmethod
    def locate(cls, url: str, config: Mapping[str, t.Any]) -> Location:
        place = url.split("://", 1)[1]
        host, _, path = place.partition("/")
        options = Options(config["STORE_OPTIONS"])
        # The form of Microsoft's tools: container@account.dfs.core.windows.net
        container, _, account = host.partition("@")
        if not container or ":" in host:
            raise NotConfiguredError(
                "STORE_PATH names no container. Write 'abfs://container/folder'; keys"
                " and connection strings belong into STORE_OPTIONS."
            )
        if account:
            options.setdefault("account_name", account.partition(".")[0])
        root = "/".join([container, *filter(None, path.split("/"))])
        # With a cache, a file that another process wrote or deleted is seen too late.
        limits = Limits.of(config)
        mine = {"use_listings_cache": False, **dict.fromkeys(LIMITS, limits.attempt)}
        return Location("abfs", root, {**mine, **options}, limits)

    @property
    def place(self) -> str:
        return f"{_endpoint(self.location.options)} {self.uri}"

    def object_store_options(self) -> dict[str, str]:
        return object_store.options(
            self.location.options, _endpoint(self.location.options)
        )

    def connect(self) -> fsspec.AbstractFileSystem:
        options = {"loop": ioloop.get_loop(), **self.location.options}
        fs = adlfs.AzureBlobFileSystem(skip_instance_cache=True, **options)
        ioloop.run(fs.loop, prepare, fs.service_client, options["read_timeout"])
        return ioloop.bridge(fs)

    def _ask(
        self,
        name: str,
        method: str,
        *args: t.Any,
        within: float | None = None,
        **more: t.Any,
    ) -> t.Any:
        """What a method of the SDK's client of a blob returns.

        :param within: in seconds, if there is less time than usual.
        """
        size = more.get("length") or 0
        limits = {name: self.location.options[name] for name in LIMITS}

        async def asking() -> t.Any:
            blob = self.fs.service_client.get_blob_client(self.bucket, name)
            # These are in memory while they are sent.
            blob._config.max_single_put_size = CHUNK
            blob._config.max_block_size = max(CHUNK, -(-size // MAX_BLOCKS))
            async with asyncio.timeout(within):
                return await getattr(blob, method)(*args, **limits, **more)

        try:
            return ioloop.run(self.fs.loop, asking)
        except azure.ResourceNotFoundError as exc:
            if code_of(exc) == CONTAINER_NOT_FOUND:
                raise self.no_bucket() from exc
            raise FileNotFoundError(name) from exc

    # -- writing -------------------------------------------------------------

    def check_properties(self, properties: Properties) -> None:
        super().check_properties(properties)
        for name in properties.metadata:
            if not name.isidentifier():
                raise InvalidProperty(
                    f"Azure does not take the name {naming.quoted(name)} for metadata."
                    " Use letters, digits and '_', and begin with a letter or '_'."
                )

    def put(
        self, name: str, source: Source, content_type: str, token: str, new: bool
    ) -> str:
        tries = OVERWRITES
        while True:
            tries -= 1
            try:
                reply = self._ask(
                    name,
                    "upload_blob",
                    Window(source),
                    length=source.size,
                    overwrite=not new,
                    metadata={**_named(source.properties.metadata), TOKEN: token},
                    content_settings=ContentSettings(
                        content_type=content_type, **source.properties.named
                    ),
                )
            except azure.ResourceExistsError as exc:
                if new:
                    raise FileExistsError(name) from exc
                raise
            except azure.HttpResponseError as exc:
                # Who replaces a blob throws away what others have sent of theirs ("Put
                # Block List"). Of those who do so at a time one succeeds each time.
                if not new and tries and code_of(exc) == "InvalidBlockList":
                    continue
                if (exc.status_code or 0) < 300:
                    raise NoAnswer(f"it cannot be read ({exc.status_code})") from exc
                raise
            if not reply.get("etag"):
                raise NoAnswer("it has no ETag")
            return str(reply["etag"]).strip('"')

    def copy(
        self,
        original: Original,
        target: str,
        content_type: str,
        token: str,
        new: bool,
    ) -> None:
        bucket, name = self.place_of(original)
        found, kept = original.found, dict(original.found.kept)
        conditions = {"match_condition": MatchConditions.IfMissing} if new else {}
        try:
            if kept.pop("tag_count", None):
                kept["tags"] = original.dialect._ask(name, "get_blob_tags")
            reply = self._ask(
                target,
                "start_copy_from_url",
                # With a shared access signature, if the account is opened with one.
                self.fs.service_client.get_blob_client(bucket, name).url,
                metadata={**_named(original.properties.metadata), TOKEN: token},
                source_etag=f'"{found.etag}"',
                source_match_condition=MatchConditions.IfNotModified,
                **conditions,
                **kept,
            )
        except azure.HttpResponseError as exc:
            if exc.status_code in UNABLE:
                raise NotByStorage from exc
            if exc.status_code not in (409, 412):
                raise
            try:
                self._await_copy(target)
            except FileNotFoundError:
                pass
            raise FileExistsError(target) from exc
        if reply.get("copy_status") != "success":
            self._await_copy(target)
        named = original.properties.named
        if (content_type, named) != (found.content_type, found.properties.named):
            self._describe(target, content_type, original)

    def can_copy(self) -> bool:
        return True  # as documented: "Copy Blob"

    def concatenate(
        self,
        joined: Joined,
        target: str,
        content_type: str,
        token: str,
        new: bool,
    ) -> None:
        many = len(joined.parts) > MAX_BLOCKS
        least = -(-joined.size // (MAX_BLOCKS - 1)) if many else 0
        blocks = list(enumerate(runs(joined.parts, least)))
        links = {
            number: self._signed(self.absolute_path(run[0].name))
            for number, run in blocks
            if len(run) == 1 and self._reads_links
        }
        if None in links.values() or not self._put_links(target, links):
            links = {}
        for number, run in blocks:
            if number not in links:
                with (
                    closing(Joined(joined.found.name, run, self).stream) as stream,
                    Source(stream, None).rewindable() as body,
                ):
                    place = _block(number), Window(body), body.size
                    self._ask(target, "stage_block", *place)
        conditions = {"match_condition": MatchConditions.IfMissing} if new else {}
        try:
            self._ask(
                target,
                "commit_block_list",
                [BlobBlock(_block(number)) for number, _ in blocks],
                metadata={**_named(joined.properties.metadata), TOKEN: token},
                content_settings=ContentSettings(
                    content_type=content_type, **joined.properties.named
                ),
                **conditions,
            )
        except azure.HttpResponseError as exc:
            # Who joins the same blocks and comes first leaves none for the others.
            if exc.status_code in (409, 412) or code_of(exc) == "InvalidBlockList":
                raise FileExistsError(target) from exc
            raise

    def can_join(self) -> bool:
        return True  # as documented: "Put Block List"

    def _put_links(self, target: str, links: Mapping[int, str | None]) -> bool:
        """Let the service copy blobs into blocks of another one, and return whether it
        does.

        :param links: the blobs, by the numbers of the blocks.
        """
        blob = self.fs.service_client.get_blob_client(self.bucket, target)
        limits = {name: self.location.options[name] for name in LIMITS}
        put = partial(blob.stage_block_from_url, **limits)
        try:
            ioloop.run_all(
                self.fs.loop,
                [partial(put, _block(number), links[number]) for number in links],
                AT_ONCE,
            )
        except azure.HttpResponseError as exc:
            if exc.status_code in MISSING:
                raise FileNotFoundError(target) from exc
            if exc.status_code not in UNABLE:
                raise
            self._reads_links = exc.status_code not in UNKNOWN
            return False
        return True

    def _signed(self, name: str) -> str | None:
        """A link to a blob, for the service itself, if the account's key is known or
        the account is opened with a shared access signature."""
        service = self.fs.service_client
        blob = service.get_blob_client(self.bucket, name)
        secret = getattr(service.credential, "account_key", None)
        if secret is None:
            return blob.url if "sig=" in blob.url else None
        signature = generate_blob_sas(
            service.account_name,
            self.bucket,
            name,
            account_key=secret,
            permission=BlobSasPermissions(read=True),
            expiry=dt.datetime.now(dt.UTC) + LINK,
        )
        return f"{blob.url}?{signature}"

    def _describe(self, name: str, content_type: str, original: Original) -> None:
        """Give a copy another type, or other headers, than the original has, which Copy
        Blob cannot."""
        checksum = original.found.checksum or ""
        md5 = bytes.fromhex(checksum.removeprefix("md5:")) or None
        settings = ContentSettings(
            content_type=content_type,
            content_md5=md5,
            **original.properties.named,
        )
        self._ask(name, "set_http_headers", settings)

    def _await_copy(self, name: str) -> None:
        """Wait for a copy that the service goes on with after its answer ("Copy Blob").

        :raises NoAnswer: if it is not done within the time for an answer, or fails.
        """
        end = time.monotonic() + self.location.limits.copy
        while True:
            status = self._ask(name, "get_blob_properties").copy.status
            if status in (None, "success"):  # without one, it was uploaded
                return
            if status != "pending":
                self._ask(name, "delete_blob")  # it has the key, and nothing in it
            if status != "pending" or time.monotonic() > end:
                raise NoAnswer(f"its copy is {status}")
            time.sleep(POLL)

    # -- reading -------------------------------------------------------------

    def head(self, name: str, within: float | None = None) -> Stat:
        found = self._ask(name, "get_blob_properties", within=within)
        if _is_folder(found):
            raise FileNotFoundError(name)
        return self._stat(name, found)

    def pages(self, prefix: str, delimiter: str = "") -> Iterator[Page]:
        container = self.fs.service_client.get_container_client(self.bucket)
        asked = {name: self.location.options[name] for name in LIMITS}
        asked |= {"name_starts_with": prefix or None, "include": ["metadata"]}
        # adlfs takes what follows a '#' for no part of a name.
        if delimiter:
            pages = container.walk_blobs(delimiter=delimiter, **asked).by_page()
        else:
            pages = container.list_blobs(**asked).by_page()

        async def page() -> list[t.Any] | None:
            found = await anext(pages, None)
            return None if found is None else [blob async for blob in found]

        while (blobs := ioloop.run(self.fs.loop, page)) is not None:
            for blob in blobs:
                if not blob.name.startswith(prefix):
                    raise NoAnswer(f"it lists {naming.quoted(blob.name)}")
            folders = [b.name for b in blobs if isinstance(b, BlobPrefix)]
            files = [
                self._stat(blob.name, blob)
                for blob in blobs
                if not isinstance(blob, BlobPrefix) and not _is_folder(blob)
            ]
            yield Page(files, bool(pages.continuation_token), folders)

    def _stat(self, name: str, blob: t.Any) -> Stat:
        settings = blob.content_settings
        return self.described(
            name,
            blob.size,
            blob.last_modified,
            blob.etag,
            settings.content_type,
            _md5(settings.content_md5),
            _metadata(blob).get(TOKEN),
            Properties.stored(vars(settings), _own(blob.metadata)),
            _kept(blob),
        )

    def get(
        self, key: str, span: Span | None = None, found: Stat | None = None
    ) -> Fetched | None:
        if span and span.first is None and found is None:
            found = self.info(key)  # Azure has no range of the last bytes
        return super().get(key, span, found)

    def fetch(self, name: str, span: Span | None, etag: str | None) -> Fetched:
        limit = self.location.options["read_timeout"]
        blob = self.fs.service_client.get_blob_client(self.bucket, name)
        describe = partial(self._received, name)
        try:
            begun = ioloop.run(
                self.fs.loop, download, blob, span or ALL, etag, describe, limit
            )
        except azure.HttpResponseError as exc:
            if code_of(exc) == CONTAINER_NOT_FOUND:
                raise self.no_bucket() from exc
            if exc.status_code not in (404, 412, 416):
                raise
            raise Unclear(f"the status is {exc.status_code}") from exc
        body = pieces(
            self.fs.loop, begun.first, begun.body.read, begun.body.close, limit
        )
        if begun.body.answer.status_code == 200:  # which tells the size only once
            body = verified(body, begun.found.checksum)
        return Fetched(begun.found, begun.sent.start, begun.sent.stop, body)

    def _received(self, name: str, answer: AsyncHttpResponse, sent: Extent) -> Stat:
        """What the answer to a request for bytes tells of the blob."""
        headers = answer.headers
        if headers.get("x-ms-meta-hdi_isfolder"):
            raise FileNotFoundError(name)
        # That of the whole blob, in an answer with a part of it ("Get Blob").
        md5 = headers.get("x-ms-blob-content-md5")
        if answer.status_code == 200:
            md5 = md5 or headers.get("Content-MD5")
        return self.described(
            name,
            sent.size,
            parse_date(headers.get("Last-Modified")),
            headers["ETag"],
            headers.get("Content-Type"),
            _md5(base64.b64decode(md5)) if md5 else None,
            properties=Properties.stored(
                {name.lower().replace("-", "_"): headers[name] for name in headers},
                _own(
                    {
                        name[len(META) :]: value
                        for name, value in headers.items()
                        if name.lower().startswith(META)
                    }
                ),
            ),
        )

    def remove(self, name: str) -> None:
        tries = Tries()
        try:
            self._ask(name, "delete_blob", trace_request_ctx=tries)
        except FileNotFoundError:
            # A first request may have done it, and its answer got lost.
            if tries.sent < 2:
                raise

    # -- addresses, and what is signed ---------------------------------------

    def address(self, key: str) -> str | None:
        endpoint = _endpoint(self.location.options)
        return f"{endpoint}/{quote(self.path(key), '/~')}" if endpoint else None

    def sign(
        self,
        key: str,
        period: Period,
        disposition: str,
        content_type: str,
        method: Method = "GET",
        version_id: str | None = None,
    ) -> str | None:
        # Only the account's key signs by itself; an identity has to ask the service,
        # and its files are signed by the application.
        secret = getattr(self.fs.service_client.credential, "account_key", None)
        if secret is None:
            return None
        name = self.absolute_path(key)
        signature = generate_blob_sas(
            self.fs.service_client.account_name,
            self.bucket,
            name,
            account_key=secret,
            permission=BlobSasPermissions(read=True),
            start=period.start,
            expiry=period.start + dt.timedelta(seconds=period.seconds),
            content_disposition=disposition,
            content_type=content_type,
            version_id=version_id,
        )
        blob = self.fs.service_client.get_blob_client(self.bucket, name)
        # The signature covers the version, and does not name it.
        version = f"versionid={quote(version_id)}&" if version_id else ""
        return f"{blob.url}?{version}{signature}"

    # -- what went wrong -----------------------------------------------------

    @property
    def trust(self) -> Trust:
        return Trust(
            "the address of the account in STORE_OPTIONS",
            ("SSL_CERT_FILE",),
            _endpoint(self.location.options),
        )

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        taken = isinstance(exc, FileExistsError)
        for cause in () if taken else (exc, exc.__cause__):
            if isinstance(cause, azure.AzureError):
                found = self._explain_azure(cause, key)
                if found:
                    return found
        if isinstance(exc, ValueError) and "account" in str(exc):
            return NotConfiguredError(
                "Azure needs an account. Put account_name and account_key, or a"
                " connection_string, into STORE_OPTIONS."
            )
        return super().explain(exc, key)

    def _explain_azure(
        self, exc: azure.AzureError, key: str | None
    ) -> StoreError | None:
        code, status = code_of(exc), getattr(exc, "status_code", None) or 0
        if code == CONTAINER_NOT_FOUND:
            return self.no_bucket()
        if isinstance(exc, azure.ResourceNotFoundError):
            return super().explain(FileNotFoundError(), key)
        if isinstance(exc, azure.DecodeError) or 0 < status < 400:
            return super().explain(NoAnswer(f"it cannot be read ({status})"), key)
        if status:
            return refusal(status, key, "Azure server", self.settings, code)
        if isinstance(exc, azure.ClientAuthenticationError):
            return super().explain(PermissionError(), key)
        if isinstance(exc, azure.ServiceRequestError | azure.ServiceResponseError):
            return super().explain(ConnectionError(), key)
        reason = str(exc).partition("\n")[0][:200]
        return StoreError(f"Azure refuses {naming.quoted(key)}: {reason}.", key)


def _endpoint(options: Mapping[str, t.Any]) -> str | None:
    """The address of the account's blob service, as adlfs will find it, if it says.

    A connection string goes before everything else ("Configure Azure Storage
    connection strings").
    """
    env = os.environ.get
    text = options.get("connection_string") or env("AZURE_STORAGE_CONNECTION_STRING")
    if text:
        said = dict(part.partition("=")[::2] for part in text.split(";"))
        said = {name.strip().lower(): value for name, value in said.items()}
        if "blobendpoint" in said:
            return t.cast(str, said["blobendpoint"]).rstrip("/")
        if "accountname" not in said:
            return None
        suffix = said.get("endpointsuffix", "core.windows.net")
        scheme = said.get("defaultendpointsprotocol", "https")
        return f"{scheme}://{said['accountname']}.blob.{suffix}"
    if options.get("account_host"):
        return f"https://{options['account_host']}"
    account = options.get("account_name") or env("AZURE_STORAGE_ACCOUNT_NAME")
    return f"https://{account}.blob.core.windows.net" if account else None


def code_of(exc: Exception) -> str:
    """The service's code of an error ("Blob service error codes"), or ""."""
    response = getattr(exc, "response", None)
    code = response.headers.get("x-ms-error-code") if response is not None else None
    return str(code or getattr(getattr(exc, "error_code", None), "value", ""))


def _block(number: int) -> str:
    """The identifier of a block; those of one blob have one length ("Put Block")."""
    return f"{number:08}"


def _is_folder(found: t.Any) -> bool:
    # An account with folders shows them as blobs too.
    return bool(_metadata(found).get("hdi_isfolder"))


def _metadata(found: t.Any) -> dict[str, str]:
    # They are headers, of which something in between may change the case.
    return {name.lower(): value for name, value in (found.metadata or {}).items()}


def _kept(found: t.Any) -> dict[str, t.Any]:
    """How many tags a blob has, and its tier, if that is not the account's."""
    tier = None
    if not found.blob_tier_inferred:
        with suppress(ValueError):  # of an account for other blobs
            tier = StandardBlobTier(found.blob_tier)
    kept = {"tag_count": found.tag_count, "standard_blob_tier": tier}
    return {name: value for name, value in kept.items() if value}


def _own(metadata: Mapping[str, str] | None) -> list[tuple[str, str]]:
    """The metadata that an application has given a blob."""
    return [item for item in (metadata or {}).items() if item[0].lower() != TOKEN]


def _named(metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata whose names Azure takes: C# identifiers."""
    return {
        name: value
        for name, value in metadata.items()
        if name.isidentifier() and name.lower() not in FOLDERS
    }


def _md5(digest: bytes | None) -> str | None:
    return f"md5:{bytes(digest).hex()}" if digest else None
