"""Multipart uploads that a browser makes, and those that nobody has finished."""

from __future__ import annotations

import datetime as dt
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import suppress

from ..errors import NoAnswer
from ..parts import Signed
from . import signing
from .account import S3Account
from .additions import Additions
from .answers import META
from .loop import LoopClient

if t.TYPE_CHECKING:
    from ..claims import Claim

#: The least size of a part but the last one, in bytes, and the highest number of a part
#: (Amazon S3 User Guide, "Amazon S3 multipart upload limits").
LEAST = 5 * 1024**2
MOST = 10_000


class S3Parts:
    """:class:`~flask_store.dialects.parts.Parts` on S3.

    :param account: the bucket, its endpoint and its keys.
    :param additions: how new objects are stored, and who pays for requests.
    :param loop: asks S3.
    :param name: the name of the private file in the bucket.
    :param claim: what is agreed about it.
    """

    least = LEAST
    most = MOST

    def __init__(
        self,
        account: S3Account,
        additions: Additions,
        loop: LoopClient,
        name: str,
        claim: Claim,
    ) -> None:
        self.account = account
        self.additions = additions
        self.loop = loop
        self.name = name
        self.claim = claim

    def sign(
        self,
        method: str,
        seconds: int,
        upload_id: str | None = None,
        number: int | None = None,
    ) -> Signed:
        asked, headers = {"uploads": ""}, self._stored_with
        if upload_id is not None:
            asked, headers = {"uploadId": upload_id}, {}
        if number is not None:
            asked["partNumber"] = str(number)
        endpoint = self.account.signed_endpoint()
        url = signing.link(
            endpoint.address(self.name),
            self.account.keys(),
            endpoint.region,
            dt.datetime.now(dt.UTC),
            seconds,
            {**asked, **self.additions.payer},
            endpoint.service,
            method,
            headers,
        )
        return Signed(url, headers)

    @property
    def _stored_with(self) -> dict[str, str]:
        """The headers of the request that creates an upload. S3 takes no other ones
        than those that are signed, if their names begin with ``x-amz-``."""
        return {
            "Content-Type": self.claim.content_type,
            **self.claim.kept.headers(META),
            **self.additions.demanded,
        }

    def begun(self) -> list[str]:
        try:
            found = list(unfinished(self.loop, self.name))
        except FileNotFoundError:
            return []  # rclone's answer when there are none
        return [each["UploadId"] for each in found if each["Key"] == self.name]

    def size(self, upload_id: str) -> int:
        asked: dict[str, t.Any] = {
            "Bucket": self.loop.bucket,
            "Key": self.name,
            "UploadId": upload_id,
        }
        size = marker = 0
        while True:
            page = self.loop.call("list_parts", **asked)
            # Something else than S3 may answer, and an empty list is no proof.
            if page.get("UploadId") != upload_id or "IsTruncated" not in page:
                raise NoAnswer("it is no list of parts")
            size += sum(int(part["Size"]) for part in page.get("Parts") or ())
            if not page["IsTruncated"]:
                return size
            asked["PartNumberMarker"] = int(page.get("NextPartNumberMarker") or 0)
            if asked["PartNumberMarker"] <= marker:
                raise NoAnswer("the list of parts goes on, and does not say where")
            marker = asked["PartNumberMarker"]

    def abort(self, upload_id: str) -> None:
        abort(self.loop, {"Key": self.name, "UploadId": upload_id})


def unfinished(loop: LoopClient, prefix: str) -> Iterator[Mapping[str, t.Any]]:
    """The multipart uploads that are neither complete nor aborted.

    :param prefix: what the names of their objects begin with.
    :return: each by botocore's names, with Key, UploadId and Initiated.
    :raises FileNotFoundError: if there is no bucket; with rclone, also if there are
        none.
    """
    asked: dict[str, t.Any] = {"Bucket": loop.bucket, "Prefix": prefix}
    while True:
        page = loop.call("list_multipart_uploads", **asked)
        yield from page.get("Uploads") or ()
        if not page.get("IsTruncated"):
            return
        asked["KeyMarker"] = page["NextKeyMarker"]
        asked["UploadIdMarker"] = page["NextUploadIdMarker"]


def abort(loop: LoopClient, upload: Mapping[str, t.Any]) -> None:
    """Remove a multipart upload and its parts, if it is there.

    :param upload: with Key and UploadId.
    """
    with suppress(FileNotFoundError):
        loop.call(
            "abort_multipart_upload",
            Bucket=loop.bucket,
            Key=upload["Key"],
            UploadId=upload["UploadId"],
        )
