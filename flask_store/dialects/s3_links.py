"""Where an object is for the rest of the world: its address, and what is signed."""

from __future__ import annotations

import datetime as dt
import re
import typing as t
from functools import cached_property

import fsspec

from ..secrecy import Options
from . import Dialect
from . import Location
from . import s3_signing
from .s3_account import S3Account
from .s3_account import with_shared_loader
from .s3_options import server_config

if t.TYPE_CHECKING:
    from ..claims import Claim
    from ..links import Period

#: The largest object that one POST may carry, or one copy make (Amazon S3 User
#: Guide, "Uploading objects" and "Copying objects").
SINGLE_LIMIT = 5 * 1024**3
#: The name of an access point (Service Authorization Reference, "Resource types defined
#: by Amazon S3" and "... by Amazon S3 on Outposts"). It has slashes, or colons.
_ARN = re.compile(
    r"arn:[^/]*?:(outpost[:/][^:/]+[:/])?(accesspoint|bucket)[:/][^:/]+(?=/|\Z)"
)


class S3Links(Dialect):
    """The half of the S3 dialect that never asks the server for an address."""

    #: Known without asking botocore, which takes a while.
    has_addresses = True

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        self.bucket, self._prefix = split_root(self.root)
        # botocore makes none for an access point. The application takes the uploads.
        self.takes_forms = not self.bucket.startswith("arn:")
        options = dict(location.options)
        self._public_url: str | None = options.pop("public_endpoint_url", None)
        self.location = Location("s3", location.root, options)

    @cached_property
    def account(self) -> S3Account:
        """Where the bucket is, and who asks."""
        return S3Account(self.bucket, self.location.options, self._public_url)

    @property
    def prefix(self) -> str:
        return self._prefix

    def absolute_path(self, key: str) -> str:
        return self._where(self.path(key))["Key"]

    def address(self, key: str) -> str | None:
        return self.account.public_endpoint.address(self.absolute_path(key))

    def _where(self, path: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": path[len(self.bucket) + 1 :]}

    def connect_options(self) -> Options:
        options = super().connect_options()
        if not self.account.endpoint.is_amazon:
            config = {**server_config(), **options["config_kwargs"]}
            options["config_kwargs"] = config
        return options

    def connect(self) -> fsspec.AbstractFileSystem:
        fs = super().connect()
        if fs.session is None:
            from aiobotocore.session import AioSession

            fs.session = with_shared_loader(AioSession(**fs.kwargs))
        return fs

    # -- links ---------------------------------------------------------------

    def sign(
        self,
        key: str,
        period: Period,
        disposition: str,
        content_type: str,
    ) -> str:
        if period.end - period.start.timestamp() > s3_signing.LONGEST * 1.25:
            raise ValueError("S3 signs for seven days at most: expires is too long.")
        endpoint = self.account.signed_endpoint()
        return s3_signing.link(
            endpoint.address(self.absolute_path(key)),
            self.account.keys(),
            endpoint.region,
            period.start,
            min(period.seconds, s3_signing.LONGEST),
            {
                "response-content-disposition": disposition,
                "response-content-type": content_type,
            },
            endpoint.service,
        )

    # -- uploads -------------------------------------------------------------

    def upload_form(self, claim: Claim) -> tuple[str, dict[str, str]] | None:
        if not self.takes_forms:
            return None
        where = self._where(self.path(claim.staged))
        fields = {"key": where["Key"], "Content-Type": claim.content_type}
        fields |= self._acl()
        endpoint = self.account.signed_endpoint()
        return endpoint.url, s3_signing.form(
            fields,
            [
                {"bucket": where["Bucket"]},
                ["content-length-range", 0, min(claim.max_size, SINGLE_LIMIT)],
            ],
            self.account.keys(),
            endpoint.region,
            dt.datetime.fromtimestamp(claim.expires, dt.UTC),
            endpoint.service,
        )

    def _acl(self) -> dict[str, str]:
        more = self.location.options.get("s3_additional_kwargs", {})
        return {"acl": more["ACL"]} if "ACL" in more else {}

    # -- the account, for whoever makes requests ------------------------------

    def _object(self, path: str, region: str | None, endpoint: str | None) -> str:
        """The address of an object for requests."""
        return self.account.endpoint.address(path)

    @property
    def _endpoint(self) -> str:
        return self.account.endpoint.url

    @property
    def _region(self) -> str:
        return self.account.endpoint.region

    @property
    def _session(self) -> t.Any:
        return self.account.session()

    def _keys(self) -> s3_signing.Keys:
        return self.account.keys()


def split_root(root: str) -> tuple[str, str]:
    """The bucket, or the whole ARN of an access point, and the prefix behind it."""
    arn = _ARN.match(root)
    bucket = arn.group() if arn else root.partition("/")[0]
    return bucket, root[len(bucket) + 1 :]
