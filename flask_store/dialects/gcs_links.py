"""Where an object on Google Cloud is for the rest of the world: address and links."""

from __future__ import annotations

import typing as t
from urllib.parse import quote

import fsspec
from google.oauth2 import service_account

from . import Dialect
from . import gcs_signing
from . import Location

if t.TYPE_CHECKING:
    from ..links import Period


class GCSLinks(Dialect):
    """The half of the dialect that never asks the server."""

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        self.bucket, _, self._prefix = self.root.partition("/")

    @property
    def prefix(self) -> str:
        return self._prefix

    def absolute_path(self, key: str) -> str:
        return self.path(key)[len(self.bucket) + 1 :]

    def address(self, key: str) -> str:
        return f"{self.location.options['endpoint_url']}/{quote(self.path(key), '/~')}"

    def sign(
        self,
        fs: fsspec.AbstractFileSystem,
        key: str,
        period: Period,
        disposition: str,
    ) -> str | None:
        # Only a service account's key signs by itself; any other identity has to ask
        # Google, and its files are signed by the application.
        credentials = fs.credentials.credentials
        if not isinstance(credentials, service_account.Credentials):
            return None
        if period.seconds > gcs_signing.LONGEST * 1.25:
            raise ValueError(
                "Google signs for seven days at most: expires is too long."
            )
        return gcs_signing.link(
            self.address(key),
            gcs_signing.Signer(credentials.signer_email, credentials.sign_bytes),
            period.start,
            min(period.seconds, gcs_signing.LONGEST),
            {"response-content-disposition": disposition},
        )
