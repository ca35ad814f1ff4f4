"""``s3://``: Amazon S3 and the servers that speak like it, through s3fs."""

from __future__ import annotations

import dataclasses
import datetime as dt
import importlib.util
import io
import logging
import re
import typing as t
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextlib import closing
from contextlib import contextmanager
from contextlib import suppress
from functools import cached_property
from urllib.parse import unquote
from urllib.parse import urlencode
from urllib.parse import urlsplit

import fsspec
import shortuuid
from werkzeug.http import parse_date

from ... import naming
from ...concurrency.greenlets import may_wait
from ...concurrency.greenlets import patched
from ...exceptions import NotConfiguredError
from ...exceptions import StoreError
from ...secrecy import Options
from ...uploads.arriving import arriving
from ...uploads.properties import NO_PROPERTIES
from ...uploads.source import Source
from ...uploads.source import Window
from .. import claims
from .. import Fetched
from .. import Joined
from .. import Limits
from .. import Location
from .. import NotByStorage
from .. import Original
from .. import Span
from .. import Stat
from .. import utc
from ..bodies import joined
from ..errors import NoAnswer
from ..objects import ObjectDialect
from ..objects import Page
from ..objects import runs
from ..objects import seconds_of
from ..objects import Staged
from ..objects import TOKEN
from ..statuses import UNABLE
from ..statuses import UNKNOWN
from ..tls import Trust
from . import object_store
from . import signing
from .account import S3Account
from .account import split_root
from .account import with_shared_loader
from .additions import Additions
from .additions import CUSTOMER
from .additions import STORED
from .answers import Answer
from .answers import checksum
from .answers import deletions
from .answers import headers_of
from .answers import is_stored
from .answers import KEPT
from .answers import META
from .answers import page
from .answers import properties
from .errors import explain
from .errors import explain_deletion
from .errors import status_of
from .errors import TAKEN
from .errors import Unanswered
from .errors import UNSAID
from .loop import LoopClient
from .options import s3_options
from .options import server_config
from .parts import abort
from .parts import S3Parts
from .parts import unfinished
from .redirects import limit_redirects

if t.TYPE_CHECKING:
    from ...http.links import Method
    from ...http.links import Period
    from ..claims import Claim
    from .direct import DirectClient

logger = logging.getLogger(__name__)

#: The largest object that one PUT or one POST may carry, or one copy make (Amazon S3
#: User Guide, "Uploading objects" and "Copying objects"), and with it the largest that
#: can be created exclusively.
SINGLE_LIMIT = 5 * 1024**3
#: How many bytes one request copies of a larger object. It allows 5 GiB at most.
COPIED_PART_SIZE = 512 * 1024**2
#: The same page allows 10,000 parts, and 5 MiB as the least size of one but the last.
PART_SIZE = 64 * 1024**2
LEAST_PART = 5 * 1024**2
MAX_PARTS = 10_000
#: What a key may have and the XML of a request may not (Extensible Markup Language 1.0,
#: section 2.2). No store takes a key with the other ones.
UNSAYABLE = re.compile("[\ufffe\uffff]")


class S3Dialect(ObjectDialect):
    """One streamed conditional PUT: it is whole or it is not there."""

    is_known = True
    signs_versions = True
    #: Known without asking botocore, which takes a while.
    has_addresses = True
    split_root = staticmethod(split_root)
    settings = (
        "STORE_S3_ENDPOINT_URL, STORE_S3_REGION, STORE_S3_BUCKET and the keys"
        " STORE_S3_ACCESS_KEY and STORE_S3_SECRET_KEY"
    )
    bucket_setting = "STORE_S3_BUCKET (or the bucket in STORE_PATH)"
    largest_form = SINGLE_LIMIT
    metadata_prefix = META
    # Who finds a name taken, and then nobody there, has met an upload that goes on.
    tries = 1

    #: Whether the options leave nothing to s3fs; ``None`` until somebody asks.
    _ordinary: bool | None = None

    def __init__(self, location: Location) -> None:
        options = dict(location.options)
        #: Whether the server honours If-None-Match; ``"auto"`` finds out.
        self.conditional: bool | str = options.pop("conditional_writes", "auto")
        public_url = options.pop("public_endpoint_url", None)
        super().__init__(dataclasses.replace(location, options=options))
        #: Where the bucket is, and who asks for it.
        self.account = S3Account(self.bucket, self.location.options, public_url)
        #: How new objects are stored, and who pays for requests.
        self.additions = Additions(options.get("s3_additional_kwargs", {}))
        # A browser would have to be given the key of the customer.
        self.signs = not self.additions.has_customer_key
        # botocore makes none for an access point. The application takes the uploads.
        self.takes_forms = self.signs and not self.bucket.startswith("arn:")
        self.takes_parts = self.takes_forms

    @classmethod
    def locate(cls, url: str, config: Mapping[str, t.Any]) -> Location:
        if importlib.util.find_spec("s3fs") is None:
            raise NotConfiguredError(
                "S3 needs s3fs. Install it with: pip install 'Flask-Store[s3]'"
            )
        parts = urlsplit(url)
        # s3fs would take the whole of 'KEY:SECRET@bucket' for the bucket's name.
        userinfo, _, bucket = parts.netloc.rpartition("@")
        key, _, secret = userinfo.partition(":")
        if not bucket:
            raise NotConfiguredError(
                "STORE_PATH names no bucket. Write 's3://bucket/prefix'."
            )
        # '#' and '?' may stand in a key; urlsplit takes them for its own.
        path = url.split("://", 1)[1].partition("/")[2]
        root = "/".join([bucket, *filter(None, path.split("/"))])
        options = s3_options(config, unquote(key) or None, unquote(secret) or None)
        return Location("s3", root, options, Limits.of(config))

    def connect_options(self) -> Options:
        options = super().connect_options()
        config = options["config_kwargs"]
        if not self.account.endpoint.is_amazon:
            config = {**server_config(), **config}
        if patched():
            from .session import PatchedSession

            config = {"http_session_cls": PatchedSession, **config}
        options["config_kwargs"] = config
        return options

    def connect(self) -> fsspec.AbstractFileSystem:
        fs = super().connect()
        fs.retries = 1  # botocore tries again already; both together take minutes
        if fs.session is None:
            from aiobotocore.session import AioSession

            fs.session = limit_redirects(with_shared_loader(AioSession(**fs.kwargs)))
        return fs

    def object_store_options(self) -> dict[str, str]:
        return object_store.options(
            self.account, self.location.options, self.conditional
        )

    # -- who makes a request -------------------------------------------------

    def _ask(self, verb: str, name: str, *args: t.Any) -> t.Any:
        """Put, get, head or delete one object.

        The direct way is asked first, where it is open. Where it has no answer, or one
        that does not answer the question, s3fs asks once more, and what it gets is
        final.
        """
        if self.is_direct:
            try:
                return getattr(self.direct, verb)(name, *args)
            except Unanswered:
                pass
        return getattr(self.loop, verb)(name, *args)

    @property
    def is_direct(self) -> bool:
        """Whether a request is so ordinary that it needs no s3fs to be made, and this
        thread may wait for it."""
        if self._ordinary is None:
            from .direct import is_proxied

            account = self.account
            self._ordinary = account.is_ordinary and not is_proxied(
                account.endpoint.url
            )
        return self._ordinary and may_wait()

    @cached_property
    def direct(self) -> DirectClient:
        """The client of a thread that has nothing else to do than to wait."""
        from .direct import DirectClient

        config = self.location.options["config_kwargs"]
        limits = config["connect_timeout"], config["read_timeout"]
        return DirectClient(self.account, self.additions, *limits)

    @property
    def loop(self) -> LoopClient:
        """The client that knows every option and every request, and greenlets."""
        timeout = self.location.options["config_kwargs"]["read_timeout"]
        limits = Limits(float(timeout))
        return LoopClient(self.fs, self.bucket, limits)

    # -- writing -------------------------------------------------------------

    def body(self, source: Source) -> AbstractContextManager[Source]:
        # A body that is signed has to be here as a whole before it can be sent.
        if self.account.endpoint.is_encrypted and self.is_direct:
            return arriving(source)
        return source.rewindable()

    def exclusive(self, staged: Staged) -> bool:
        if self.conditional == "auto":
            # Amazon's own S3 has had conditional writes since August 2024.
            self.conditional = self.account.endpoint.is_amazon or self._probe()
        # What is joined is completed under the condition, whatever its size.
        fits = staged.source.size <= SINGLE_LIMIT or isinstance(staged.original, Joined)
        return bool(self.conditional) and fits

    def put(
        self, name: str, source: Source, content_type: str, token: str, new: bool
    ) -> str:
        if source.size > SINGLE_LIMIT:
            etag = self._put_parts(name, source, content_type, token)
        else:
            etag = self._ask("put", name, source, content_type, token, new)
        return etag.strip('"')

    def _put_parts(
        self, name: str, source: Source, content_type: str, token: str
    ) -> str:
        source.complete()
        about = self.loop.described(content_type, token, source.properties)

        def send(part: dict[str, t.Any]) -> Iterator[str]:
            for number, start, size in _steps(source.size, PART_SIZE):
                window = Window(source, start, size)
                yield self._put_part(window, {**part, "PartNumber": number})

        return self._in_parts(name, about, send)

    def _put_part(self, body: Window, part: dict[str, t.Any]) -> str:
        reply = self.loop.send("upload_part", body, **part)
        if not is_stored(headers_of(reply)):
            raise NoAnswer("a part is answered by something else than S3")
        return str(reply["ETag"])

    def _in_parts(
        self,
        name: str,
        about: dict[str, t.Any],
        send: Callable[[dict[str, t.Any]], Iterable[str]],
        **conditions: str,
    ) -> str:
        """Store an object in parts.

        :param about: what is stored beside it, by botocore's names.
        :param send: stores the parts, each of which has these arguments and its number,
            from one on, and gives their ETags in this order.
        :param conditions: under which the object is made of them.
        :return: the ETag of the object.
        """
        loop, where = self.loop, {"Bucket": self.bucket, "Key": name}
        begun = loop.call("create_multipart_upload", **where, **about)
        where["UploadId"] = _given(begun, "UploadId")
        try:
            parts = [
                {"PartNumber": number, "ETag": etag}
                for number, etag in enumerate(send(where), start=1)
            ]
            done = loop.call_slow(
                "complete_multipart_upload",
                **where,
                **conditions,
                MultipartUpload={"Parts": parts},
            )
            return _given(done, "ETag")
        except BaseException:
            # Parts that nobody completes are invisible, and paid for every month.
            with suppress(Exception):
                loop.call("abort_multipart_upload", **where)
            raise

    # -- copying -------------------------------------------------------------

    def _access(self) -> dict[str, t.Any]:
        access = super()._access()
        given = access.pop("s3_additional_kwargs", {})
        # How new objects are stored says nothing of who asks. The key of a customer
        # does, without which the original cannot be read.
        return {**access, **{name: given.get(name) for name in CUSTOMER}}

    def copy(
        self,
        original: Original,
        target: str,
        content_type: str,
        token: str,
        new: bool,
    ) -> Stat | None:
        bucket, name = self.place_of(original)
        found, loop = original.found, self.loop
        source = {
            "CopySource": {"Bucket": bucket, "Key": name},
            "CopySourceIfMatch": f'"{found.etag}"',
            **self.additions.source,
        }
        about = loop.described(content_type, token, original.properties)
        about |= self.additions.kept(found.kept)
        with self._copying(target):
            if original.size > SINGLE_LIMIT:
                self._copy_parts(target, original.size, source, about)
                return None
            reply = loop.call_slow(
                "copy_object",
                Bucket=self.bucket,
                Key=target,
                **source,
                **self.additions.copying,
                **about,
                **({"IfNoneMatch": "*"} if new else {}),
            )
        etag = _given(reply.get("CopyObjectResult") or {}, "ETag").strip('"')
        # An ETag is one of the content, so that the copy has all of it.
        return found if etag == found.etag else None

    @contextmanager
    def _copying(self, target: str) -> Iterator[None]:
        """What the refusal of a copy means."""
        from botocore.exceptions import ParamValidationError

        try:
            yield
        except ParamValidationError as exc:
            raise NotByStorage from exc  # an older botocore knows no such condition
        except Exception as exc:
            status = status_of(exc)
            if status in TAKEN:
                raise FileExistsError(target) from exc
            if status in UNABLE:
                self.copies = status not in UNKNOWN
                raise NotByStorage from exc
            raise

    def _copy_parts(
        self,
        target: str,
        size: int,
        source: dict[str, t.Any],
        about: dict[str, t.Any],
    ) -> None:
        """Copy an object that is too large for one request."""

        def send(part: dict[str, t.Any]) -> list[str]:
            return self._copied(
                {
                    **part,
                    **source,
                    "PartNumber": number,
                    "CopySourceRange": f"bytes={start}-{start + size - 1}",
                }
                for number, start, size in _steps(size, COPIED_PART_SIZE)
            )

        about |= self._tags(source["CopySource"])
        self._in_parts(target, about, send)

    def _copied(self, each: Iterable[dict[str, t.Any]]) -> list[str]:
        """Copy parts of objects, and return their ETags."""
        return [
            _given(reply.get("CopyPartResult") or {}, "ETag")
            for reply in self.loop.call_all("upload_part_copy", each)
        ]

    def concatenate(
        self,
        joined: Joined,
        target: str,
        content_type: str,
        token: str,
        new: bool,
    ) -> None:
        about = self.loop.described(content_type, token, joined.properties)
        least = max(LEAST_PART, -(-joined.size // (MAX_PARTS - 1)))

        def send(part: dict[str, t.Any]) -> list[str]:
            copies, etags = {}, {}
            for number, run in enumerate(runs(joined.parts, least), start=1):
                place = {**part, "PartNumber": number}
                if len(run) == 1:
                    name = self.absolute_path(run[0].name)
                    source = {"Bucket": self.bucket, "Key": name}
                    copies[number] = {**place, "CopySource": source}
                    continue
                # What is too small to be a part is read, and sent with what follows.
                with (
                    closing(Joined(joined.found.name, run, self).stream) as stream,
                    Source(stream, None).rewindable() as body,
                ):
                    etags[number] = self._put_part(Window(body), place)
            each = [{**copy, **self.additions.source} for copy in copies.values()]
            etags |= zip(copies, self._copied(each), strict=True)
            return [etags[number] for number in sorted(etags)]

        with self._copying(target):
            self._in_parts(target, about, send, **({"IfNoneMatch": "*"} if new else {}))

    def _tags(self, place: Mapping[str, str]) -> dict[str, str]:
        """The tags of an object, for a copy in parts, which does not take them over."""
        if self.additions.has_tags:
            return {}
        try:
            tags = self.loop.call("get_object_tagging", **place).get("TagSet") or []
        except Exception as exc:
            if status_of(exc) in UNABLE:
                raise NotByStorage from exc
            raise
        return {"Tagging": urlencode([(t["Key"], t["Value"]) for t in tags])}

    # -- whether conditions are honoured -------------------------------------

    def _probe(self) -> bool:
        """Whether this server honours ``If-None-Match``, by trying it."""
        with self._probes(1) as (name,):
            # The first one is refused if its answer got lost and it was sent again.
            honoured = any(
                self._is_refused(name, data) for data in (b"first", b"second")
            )
        if not honoured:
            logger.warning(
                "The server ignores If-None-Match: every name in %s will carry a UUID.",
                self.uri,
            )
        return honoured

    def _is_refused(self, name: str, data: bytes) -> bool:
        staged = Staged(Source(io.BytesIO(data), None), shortuuid.uuid())
        try:
            self._put(staged, name, "text/plain", new=True)
        except FileExistsError:
            return True
        return False

    # -- reading -------------------------------------------------------------

    def head(self, name: str, within: float | None = None) -> Stat:
        answer = self._ask("head", name)
        headers = answer.headers
        kept = {n: headers[h] for h, n in STORED.items() if h in headers}
        return self._stat(name, answer, kept)

    def fetch(self, name: str, span: Span | None, etag: str | None) -> Fetched:
        answer = self._ask("get", name, span, etag)
        stat = self._stat(name, answer)
        return Fetched(stat, answer.sent.start, answer.sent.stop, answer.body)

    def cat_file(self, key: str) -> bytes:
        answer = self._ask("get", self.absolute_path(key), None, None, None)
        data = joined(answer.body)
        if len(data) != answer.sent.size:
            raise NoAnswer(f"it has {len(data)} bytes in place of {answer.sent.size}")
        return data

    def _stat(
        self, name: str, answer: Answer, kept: Mapping[str, str] | None = None
    ) -> Stat:
        headers = answer.headers
        has_properties = any(map(KEPT.match, headers))
        return self.described(
            name,
            answer.sent.size,
            parse_date(headers.get("Last-Modified")),
            headers.get("ETag"),
            headers.get("Content-Type"),
            checksum(headers),
            headers.get(f"{META}{TOKEN}"),
            properties(headers) if has_properties else NO_PROPERTIES,
            kept,
        )

    def pages(self, prefix: str, delimiter: str = "") -> Iterator[Page]:
        asked = {"Bucket": self.bucket, "Prefix": prefix}
        if delimiter:
            asked["Delimiter"] = delimiter
        more: str | None = ""
        while more is not None:
            reply = self.loop.call("list_objects_v2", **asked)
            objects, more, folders = page(reply, asked)
            asked["ContinuationToken"] = more or ""
            files = [
                self.described(
                    found["Key"],
                    found["Size"],
                    found.get("LastModified"),
                    found.get("ETag"),
                    None,
                )
                for found in objects
            ]
            yield Page(files, more is not None, folders)

    def has_bucket(self) -> bool:
        # A HEAD says 404 for a missing object and for a missing bucket alike.
        try:
            self.loop.call("head_bucket", Bucket=self.bucket)
        except FileNotFoundError:
            return False
        except Exception as exc:
            # Such as with keys for one prefix. No bucket would be a 404.
            if status_of(exc) not in UNSAID:
                raise
        return True

    # -- deleting ------------------------------------------------------------

    def remove(self, name: str) -> None:
        if not self._ask("delete", name):
            # Some servers say 200, and so does a login page.
            with suppress(FileNotFoundError):
                self._ask("head", name)
                raise NoAnswer("a deletion was answered, and the file is still there")

    def rm_files(self, keys: Sequence[str]) -> Iterator[tuple[str, StoreError | None]]:
        names = {self.absolute_path(key): key for key in keys}
        unsayable = [key for name, key in names.items() if UNSAYABLE.search(name)]
        if unsayable:
            yield from super().rm_files(unsayable)
            names = {n: key for n, key in names.items() if not UNSAYABLE.search(n)}
        if not names:
            return
        reply = self.loop.call_slow(
            "delete_objects",
            Bucket=self.bucket,
            Delete={"Objects": [{"Key": name} for name in names]},
        )
        outcomes = deletions(reply, names)
        for name, key in names.items():
            error = outcomes[name]
            yield key, explain_deletion(self, error, key) if error else None

    def sweep(self, before: dt.datetime, dry_run: bool) -> Iterator[str]:
        """Also multipart uploads that nobody finished, but below our prefix only:
        the bucket may be shared."""
        yield from super().sweep(before, dry_run)
        prefix = self._folder("")
        try:
            for upload in unfinished(self.loop, prefix):
                key = upload["Key"][len(prefix) :]
                folder, _, name = key.rpartition("/")
                private = name if folder == naming.STAGING else ""
                if claims.is_over(private, utc(upload["Initiated"]), before):
                    if not dry_run:
                        abort(self.loop, upload)
                    yield key
        except FileNotFoundError:
            self.check_bucket()  # if there is one, it is rclone's word for none

    # -- addresses, and what is signed ---------------------------------------

    def address(self, key: str) -> str | None:
        return self.account.public_endpoint.address(self.absolute_path(key))

    def sign(
        self,
        key: str,
        period: Period,
        disposition: str,
        content_type: str,
        method: Method = "GET",
        version_id: str | None = None,
    ) -> str | None:
        if not self.signs:
            return None
        seconds = seconds_of(period, "S3")
        endpoint = self.account.signed_endpoint()
        version = {"versionId": version_id} if version_id else {}
        return signing.link(
            endpoint.address(self.absolute_path(key)),
            self.account.keys(),
            endpoint.region,
            period.start,
            seconds,
            {
                "response-content-disposition": disposition,
                "response-content-type": content_type,
                **self.additions.payer,
                **version,
            },
            endpoint.service,
            method,
        )

    def form(
        self, fields: dict[str, str], conditions: list[t.Any], expires: int
    ) -> tuple[str, dict[str, str]] | None:
        if not self.takes_forms:
            return None
        fields = {**fields, **self.additions.fields}
        endpoint = self.account.signed_endpoint()
        return endpoint.url, signing.form(
            fields,
            [{"bucket": self.bucket}, *conditions],
            self.account.keys(),
            endpoint.region,
            dt.datetime.fromtimestamp(expires, dt.UTC),
            endpoint.service,
        )

    def parts(self, claim: Claim) -> S3Parts:
        name = self.absolute_path(claim.staged)
        return S3Parts(self.account, self.additions, self.loop, name, claim)

    # -- what went wrong -----------------------------------------------------

    @property
    def trust(self) -> Trust:
        address = None
        with suppress(NotConfiguredError):
            address = self.account.endpoint.url
        return Trust("STORE_S3_ENDPOINT_URL", ("AWS_CA_BUNDLE",), address)

    def explain(self, exc: Exception, key: str | None) -> StoreError | None:
        return explain(self, self.account, exc, key) or super().explain(exc, key)


def _steps(size: int, part_size: int) -> Iterator[tuple[int, int, int]]:
    """The number of each part of an object, its start and its size.

    :param size: of the object.
    """
    step = max(part_size, -(-size // MAX_PARTS))
    for number, start in enumerate(range(0, size, step), start=1):
        yield number, start, min(step, size - start)


def _given(reply: Mapping[str, t.Any], name: str) -> str:
    """What every answer of S3 to such a request gives.

    :raises NoAnswer: if it does not.
    """
    if not reply.get(name):
        raise NoAnswer(f"it gives no {name}")
    return str(reply[name])
