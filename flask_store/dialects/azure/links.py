"""The addresses of blobs, and links that Azure checks by itself."""

from __future__ import annotations

import datetime as dt
import os
import typing as t
from collections.abc import Mapping
from urllib.parse import quote

from azure.storage.blob import BlobSasPermissions
from azure.storage.blob import generate_blob_sas

from .. import Dialect

if t.TYPE_CHECKING:
    from ...http.links import Period


class AzureLinks(Dialect):
    """A dialect of one container of an account."""

    @property
    def container(self) -> str:
        return self.root.partition("/")[0]

    @property
    def prefix(self) -> str:
        return self.root.partition("/")[2]

    def absolute_path(self, key: str) -> str:
        return self.path(key)[len(self.container) + 1 :]

    def address(self, key: str) -> str | None:
        endpoint = _endpoint(self.location.options)
        return f"{endpoint}/{quote(self.path(key), '/~')}" if endpoint else None

    def sign(
        self,
        key: str,
        period: Period,
        disposition: str,
        content_type: str,
    ) -> str | None:
        # Only the account's key signs by itself; an identity has to ask the service,
        # and its files are signed by the application.
        secret = getattr(self.fs.service_client.credential, "account_key", None)
        if secret is None:
            return None
        name = self.absolute_path(key)
        signature = generate_blob_sas(
            self.fs.service_client.account_name,
            self.container,
            name,
            account_key=secret,
            permission=BlobSasPermissions(read=True),
            start=period.start,
            expiry=period.start + dt.timedelta(seconds=period.seconds),
            content_disposition=disposition,
            content_type=content_type,
        )
        blob = self.fs.service_client.get_blob_client(self.container, name)
        return f"{blob.url}?{signature}"


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
