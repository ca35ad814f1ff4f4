"""Where an object is for the rest of the world: its address, and what is signed."""

from __future__ import annotations

import datetime as dt
import typing as t
from functools import cached_property
from urllib.parse import quote
from urllib.parse import urlsplit

from ...exceptions import NotConfiguredError
from .. import Dialect
from .. import Location
from . import signing

if t.TYPE_CHECKING:
    from ...http.links import Period
    from ..claims import Claim

#: The largest object that one POST may carry, or one copy make (Amazon S3 User
#: Guide, "Uploading objects" and "Copying objects").
SINGLE_LIMIT = 5 * 1024**3


class S3Links(Dialect):
    """The half of the S3 dialect that never asks the server for an address."""

    takes_forms = True

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        self.bucket, _, self._prefix = self.root.partition("/")
        options = dict(location.options)
        self._public: str | None = options.pop("public_endpoint_url", None)
        self.location = Location("s3", location.root, options)

    @property
    def prefix(self) -> str:
        return self._prefix

    def absolute_path(self, key: str) -> str:
        return self._where(self.path(key))["Key"]

    def address(self, key: str) -> str | None:
        region = self.location.options.get("client_kwargs", {}).get("region_name")
        return self._address(self.absolute_path(key), region)

    def _where(self, path: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": path[len(self.bucket) + 1 :]}

    def _address(self, path: str, region: str | None) -> str:
        """The address of an object for the rest of the world."""
        return self._object(path, region, self._public or self._endpoint)

    @property
    def _endpoint(self) -> str | None:
        return t.cast("str | None", self.location.options.get("endpoint_url"))

    def _object(self, path: str, region: str | None, endpoint: str | None) -> str:
        path = quote(path)
        options = self.location.options
        if endpoint:
            scheme, host, *_ = urlsplit(endpoint.rstrip("/"))
            style = options["config_kwargs"].get("s3", {}).get("addressing_style")
            if style == "virtual":
                return f"{scheme}://{self.bucket}.{host}/{path}"
            return f"{endpoint.rstrip('/')}/{self.bucket}/{path}"
        host = f"s3.{region}.amazonaws.com" if region else "s3.amazonaws.com"
        # A certificate for *.s3.amazonaws.com does not cover a name with dots.
        if "." in self.bucket:
            return f"https://{host}/{self.bucket}/{path}"
        return f"https://{self.bucket}.{host}/{path}"

    # -- links ---------------------------------------------------------------

    def sign(
        self,
        key: str,
        period: Period,
        disposition: str,
        content_type: str,
    ) -> str:
        if period.end - period.start.timestamp() > signing.LONGEST * 1.25:
            raise ValueError("S3 signs for seven days at most: expires is too long.")
        return signing.link(
            self._address(self.absolute_path(key), self._region),
            self._keys(),
            self._region,
            period.start,
            min(period.seconds, signing.LONGEST),
            {
                "response-content-disposition": disposition,
                "response-content-type": content_type,
            },
        )

    # -- uploads -------------------------------------------------------------

    def upload_form(self, claim: Claim) -> tuple[str, dict[str, str]]:
        where = self._where(self.path(claim.staged))
        fields = {"key": where["Key"], "Content-Type": claim.content_type}
        fields |= self._acl()
        return self._address("", self._region).rstrip("/"), signing.form(
            fields,
            [
                {"bucket": where["Bucket"]},
                ["content-length-range", 0, min(claim.max_size, SINGLE_LIMIT)],
            ],
            self._keys(),
            self._region,
            dt.datetime.now(dt.UTC),
            dt.datetime.fromtimestamp(claim.expires, dt.UTC),
        )

    # -- credentials ---------------------------------------------------------

    def _acl(self) -> dict[str, str]:
        more = self.location.options.get("s3_additional_kwargs", {})
        return {"acl": more["ACL"]} if "ACL" in more else {}

    @cached_property
    def _region(self) -> str:
        options = self.location.options
        region = options.get("client_kwargs", {}).get("region_name")
        found = region or self._session.get_config_variable("region")
        return t.cast("str | None", found) or "us-east-1"

    @cached_property
    def _session(self) -> t.Any:
        from botocore.session import Session

        return Session(profile=self.location.options.get("profile"))

    def _keys(self) -> signing.Keys:
        options = self.location.options
        if options.get("key"):
            return signing.Keys(options["key"], options["secret"], options.get("token"))
        # Those of a role are renewed by botocore, which is the only time that a
        # link asks the network for anything.
        found = None if options.get("anon") else self._session.get_credentials()
        if found is None:
            raise NotConfiguredError(
                "There are no S3 credentials to sign with. Set STORE_S3_ACCESS_KEY"
                " and STORE_S3_SECRET_KEY, or give the server AWS credentials"
                " (environment, profile or role)."
            )
        frozen = found.get_frozen_credentials()
        return signing.Keys(frozen.access_key, frozen.secret_key, frozen.token)
