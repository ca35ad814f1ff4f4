"""Where a bucket is, for us and for the rest of the world, and who asks for it."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from functools import cached_property
from urllib.parse import quote
from urllib.parse import urlsplit

from ..exceptions import NotConfiguredError
from .s3_signing import Keys


class Place:
    """A bucket, its addresses, and the keys to it.

    :param options: what s3fs is made with.
    :param public: the address of the server for the rest of the world, if it has
        another one there.
    """

    def __init__(
        self, bucket: str, options: Mapping[str, t.Any], public: str | None
    ) -> None:
        self.bucket = bucket
        self.options = options
        self.public = public

    @property
    def endpoint(self) -> str | None:
        """The server; ``None`` for Amazon's, or what the environment names."""
        return t.cast("str | None", self.options.get("endpoint_url"))

    @property
    def acl(self) -> str | None:
        """The ACL of new objects, if they get one."""
        more = self.options.get("s3_additional_kwargs", {})
        return t.cast("str | None", more.get("ACL"))

    def url(self, name: str) -> str:
        """The address to which we send requests for an object."""
        return self._url(name, self.region, self.endpoint)

    def link(self, name: str) -> str:
        """The address of an object for the rest of the world, with the region that
        signatures name."""
        return self._url(name, self.region, self.public or self.endpoint)

    def address(self, name: str) -> str:
        """The address of an object for the rest of the world, as the settings alone
        have it."""
        region = self.options.get("client_kwargs", {}).get("region_name")
        return self._url(name, region, self.public or self.endpoint)

    def _url(self, name: str, region: str | None, endpoint: str | None) -> str:
        name = quote(name)
        if endpoint:
            scheme, host, *_ = urlsplit(endpoint.rstrip("/"))
            style = self.options["config_kwargs"].get("s3", {}).get("addressing_style")
            if style == "virtual":
                return f"{scheme}://{self.bucket}.{host}/{name}"
            return f"{endpoint.rstrip('/')}/{self.bucket}/{name}"
        host = f"s3.{region}.amazonaws.com" if region else "s3.amazonaws.com"
        # A certificate for *.s3.amazonaws.com does not cover a name with dots.
        if "." in self.bucket:
            return f"https://{host}/{self.bucket}/{name}"
        return f"https://{self.bucket}.{host}/{name}"

    @cached_property
    def region(self) -> str:
        """The region that signatures name."""
        region = self.options.get("client_kwargs", {}).get("region_name")
        found = region or self._session.get_config_variable("region")
        return t.cast("str | None", found) or "us-east-1"

    @property
    def trusted(self) -> str | None:
        """A file of certificates to trust, in place of the usual ones."""
        bundle = self._session.get_config_variable("ca_bundle")  # AWS_CA_BUNDLE
        return t.cast("str | None", bundle)

    def keys(self) -> Keys:
        """The keys of the moment.

        :raises NotConfiguredError: if there are none.
        """
        options = self.options
        if options.get("key"):
            return Keys(options["key"], options["secret"], options.get("token"))
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
        return Keys(frozen.access_key, frozen.secret_key, frozen.token)

    @cached_property
    def _session(self) -> t.Any:
        from botocore.session import Session

        return Session(profile=self.options.get("profile"))
