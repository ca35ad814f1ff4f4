"""How an upload becomes an object: one streamed conditional PUT, or parts."""

from __future__ import annotations

import io
import logging
import os
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass

import shortuuid

from ... import naming
from ...uploads.arriving import arriving
from ...uploads.source import Source
from ...uploads.source import Window
from .. import Location
from .. import Stat
from ..errors import NoAnswer
from ..errors import version_gone
from .answers import headers_of
from .answers import is_stored
from .bodies import META
from .errors import S3Errors
from .requests import status_of

if t.TYPE_CHECKING:
    from ..claims import Claim

logger = logging.getLogger(__name__)

#: The largest object that one PUT may carry (Amazon S3 User Guide, "Uploading
#: objects"), and with it the largest that can be created exclusively.
SINGLE_PUT_LIMIT = 5 * 1024**3
#: The same page allows 10,000 parts, and 5 MiB as the least size of one.
PART_SIZE = 64 * 1024**2
MAX_PARTS = 10_000

#: The object metadata by which a save knows its own object again.
TOKEN = "flask-store-token"

TAKEN = (409, 412)


@dataclass
class Staged:
    """An upload that can be read again, and the token of its save."""

    source: Source
    token: str


class S3Writing(S3Errors):
    """S3, as far as it stores."""

    token_name = TOKEN
    #: Whether the server honours If-None-Match; ``"auto"`` finds out.
    conditional: bool | str

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        #: The names that this process (or its parent, before it forked) is creating.
        self._under_way: dict[tuple[int, str], Staged] = {}
        self._conditional_copies: bool | None = None

    @contextmanager
    def stage(self, source: Source) -> Iterator[Staged]:
        # A body that is signed has to be here as a whole before it can be sent.
        at_once = self._is_direct() and self._direct.encrypts
        with arriving(source) if at_once else source.rewindable() as rewindable:
            yield Staged(rewindable, source.token)

    def exclusive(self, staged: Staged) -> bool:
        if self.conditional == "auto":
            # Amazon's own S3 has had conditional writes since August 2024.
            self.conditional = self._is_amazon() or self._probe()
        return bool(self.conditional) and staged.source.size <= SINGLE_PUT_LIMIT

    def create(
        self,
        staged: Staged,
        key: str,
        content_type: str,
    ) -> None:
        path = self.path(key, follow=False)
        # Servers let writers of one name wait for each other, SeaweedFS in steps of
        # seconds, or refuse all but one with 409, as Amazon's. A name under way here
        # is as good as taken.
        mine = (os.getpid(), path)
        if self._under_way.setdefault(mine, staged) is not staged:
            raise FileExistsError(path)
        try:
            taken = self._put(staged, path, content_type, exclusive=True)
            # A reply may get lost, here or at a proxy. Then the request is sent again
            # and finds the name taken, by ourselves.
            if taken and self._token(path) != staged.token:
                raise FileExistsError(path)
        finally:
            del self._under_way[mine]

    def replace(
        self,
        staged: Staged,
        key: str,
        content_type: str,
    ) -> None:
        path = self.path(key, follow=False)
        if staged.source.size <= SINGLE_PUT_LIMIT:
            self._put(staged, path, content_type)
        else:
            self._put_parts(staged, path, content_type)

    def _put(
        self,
        staged: Staged,
        path: str,
        content_type: str,
        exclusive: bool = False,
    ) -> bool:
        """One PUT. Whether it was refused because the name is taken."""
        if self._is_direct():
            try:
                status = self._put_directly(staged, path, content_type, exclusive)
            except NoAnswer:
                staged.source.complete()
                self._prove(staged, path)
                return False
            if status in (200, *TAKEN):
                return status != 200
        staged.source.complete()
        conditions = {"IfNoneMatch": "*"} if exclusive else {}
        try:
            reply = self._send(
                "put_object",
                Window(staged.source),
                **self._where(path),
                ContentType=content_type,
                Metadata={TOKEN: staged.token},
                **conditions,
            )
        except Exception as exc:
            if not exclusive or status_of(exc) not in TAKEN:
                raise
            return True
        if not is_stored(headers_of(reply)):
            self._prove(staged, path)
        return False

    def _prove(self, staged: Staged, path: str) -> None:
        """Look whether an upload is there that something else than S3 has answered.

        :raises NoAnswer: if it is not.
        """
        token = self._token(path)
        if token == staged.token:
            return
        # A server that keeps no metadata may still have kept the file.
        if token is None and self._has_bytes(staged.source, path):
            return
        raise NoAnswer("an upload is answered by something else than S3")

    def _has_bytes(self, source: Source, path: str) -> bool:
        """Whether there is an object with the very bytes of an upload."""
        position = 0
        try:
            for data in self._all_bytes(path):
                if source.read_at(position, len(data)) != data:
                    return False
                position += len(data)
        except FileNotFoundError:
            return False
        return position == source.size

    def _put_directly(
        self, staged: Staged, path: str, content_type: str, exclusive: bool
    ) -> int | None:
        headers = {"Content-Type": content_type, f"{META}{TOKEN}": staged.token}
        headers |= {f"x-amz-{name}": value for name, value in self._acl().items()}
        if exclusive:
            headers["If-None-Match"] = "*"
        url = self._object(self._where(path)["Key"], self._region, self._endpoint)
        return self._direct.put(url, Window(staged.source), headers)

    def _put_parts(
        self,
        staged: Staged,
        path: str,
        content_type: str,
    ) -> None:
        staged.source.complete()
        where = self._where(path)
        upload = _given(
            self._call(
                "create_multipart_upload",
                **where,
                ContentType=content_type,
                Metadata={TOKEN: staged.token},
            ),
            "UploadId",
        )
        try:
            size = staged.source.size
            step = max(PART_SIZE, -(-size // MAX_PARTS))
            parts = []
            for number, start in enumerate(range(0, size, step), start=1):
                body = Window(staged.source, start, min(step, size - start))
                part = self._send(
                    "upload_part",
                    body,
                    **where,
                    UploadId=upload,
                    PartNumber=number,
                )
                if not is_stored(headers_of(part)):
                    raise NoAnswer("a part is answered by something else than S3")
                parts.append({"PartNumber": number, "ETag": part["ETag"]})
            reply = self._call_slow(
                "complete_multipart_upload",
                **where,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
            )
            if not reply.get("ETag"):
                self._prove(staged, path)
        except BaseException:
            # Parts that nobody completes are invisible, and paid for every month.
            with suppress(Exception):
                self._call("abort_multipart_upload", **where, UploadId=upload)
            raise

    def adopt(self, claim: Claim, staged: Stat) -> None:
        source = self._where(self.path(claim.staged))
        conditions = {}
        if self.exclusive(_probe_of(b"")):
            if not self._copies_exclusively(source):
                super().adopt(claim, staged)
                return
            conditions["IfNoneMatch"] = "*"
        elif self._is_there(self.path(claim.key)):
            raise FileExistsError(claim.key)
        try:
            reply = self._call_slow(
                "copy_object",
                **self._where(self.path(claim.key)),
                CopySource=source,
                CopySourceIfMatch=f'"{staged.etag}"',
                **conditions,
            )
        except Exception as exc:
            if status_of(exc) not in TAKEN:
                raise
            # One of the two conditions, and not every server says which.
            if self._is_there(self.path(claim.key)):
                raise FileExistsError(claim.key) from exc
            raise version_gone(claim.key) from exc
        _given(reply.get("CopyObjectResult") or {}, "ETag")
        self._check_copy(claim, staged)

    def _is_there(self, path: str) -> bool:
        try:
            self._head_object(path)
        except FileNotFoundError:
            return False
        return True

    def _copies_exclusively(self, source: dict[str, str]) -> bool:
        """Whether this server refuses to copy onto a name that is taken, by trying it.
        Some know the condition only for what is uploaded."""
        if self._conditional_copies is None:
            path = self.path(f"{naming.STAGING}/probe-{shortuuid.uuid()}")
            self._put(_probe_of(b"taken"), path, "text/plain")
            try:
                self._conditional_copies = self._refuses_copy(path, source)
            finally:
                self._remove_probe(self._where(path))
        return self._conditional_copies

    def _refuses_copy(self, taken: str, source: dict[str, str]) -> bool:
        from botocore.exceptions import ParamValidationError

        where = self._where(taken)
        try:
            reply = self._call(
                "copy_object", **where, CopySource=source, IfNoneMatch="*"
            )
        except ParamValidationError:
            return False  # an older botocore does not know it
        except Exception as exc:
            status = status_of(exc)
            if status not in (*TAKEN, 400, 501):
                raise
            return status in TAKEN
        _given(reply.get("CopyObjectResult") or {}, "ETag")
        return False

    def _delete_object(self, where: dict[str, str]) -> None:
        reply = self._call("delete_object", **where)
        if reply["ResponseMetadata"]["HTTPStatusCode"] == 204:
            return
        # Some servers say 200, and so does a login page.
        with suppress(FileNotFoundError):
            self._head_object(f"{self.bucket}/{where['Key']}")
            raise NoAnswer("a deletion was answered, and the file is still there")

    # -- whether conditions are honoured -------------------------------------

    def _probe(self) -> bool:
        """Whether this server honours ``If-None-Match``, by trying it."""
        path = self.path(f"{naming.STAGING}/probe-{shortuuid.uuid()}")
        try:
            # The first one is refused if its answer got lost and it was sent again.
            honoured = any(
                self._put(probe, path, "text/plain", exclusive=True)
                for probe in (_probe_of(b"first"), _probe_of(b"second"))
            )
        except TimeoutError:
            raise  # whoever asks a silent server again waits again; sweep has the rest
        except BaseException:
            self._remove_probe(self._where(path))
            raise
        self._remove_probe(self._where(path))
        if not honoured:
            logger.warning(
                "The server ignores If-None-Match: every name in %s will carry a UUID.",
                self.uri,
            )
        return honoured

    def _remove_probe(self, where: dict[str, str]) -> None:
        try:
            self._delete_object(where)
        except Exception as exc:  # keys that may only write are a good habit
            logger.warning("The tiny object %s is not deleted: %s", where["Key"], exc)

    def _token(self, path: str) -> str | None:
        try:
            head = self._head_object(path)
        except FileNotFoundError:  # taken by an upload that is still going on
            return None
        return t.cast("str | None", head["Metadata"].get(TOKEN))


def _probe_of(data: bytes) -> Staged:
    return Staged(Source(io.BytesIO(data), None), shortuuid.uuid())


def _given(reply: Mapping[str, t.Any], name: str) -> str:
    """What every answer of S3 to such a request gives.

    :raises NoAnswer: if it does not.
    """
    if not reply.get(name):
        raise NoAnswer(f"it gives no {name}")
    return str(reply[name])
