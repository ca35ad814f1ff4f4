"""An Azure store in the words of the Rust crate ``object_store``.

Its source calls them ``AzureConfigKey``.
"""

from __future__ import annotations

import os
import typing as t
from collections.abc import Mapping

from ...exceptions import NotConfiguredError

#: The options of adlfs, by the words of the crate; then the parts of a connection
#: string ("Configure Azure Storage connection strings"); then the variables that adlfs
#: reads.
WORDS = {
    "azure_storage_account_name": (
        "account_name",
        "accountname",
        "AZURE_STORAGE_ACCOUNT_NAME",
    ),
    "azure_storage_account_key": (
        "account_key",
        "accountkey",
        "AZURE_STORAGE_ACCOUNT_KEY",
    ),
    "azure_storage_sas_key": (
        "sas_token",
        "sharedaccesssignature",
        "AZURE_STORAGE_SAS_TOKEN",
    ),
    "azure_storage_client_id": ("client_id", None, "AZURE_STORAGE_CLIENT_ID"),
    "azure_storage_client_secret": (
        "client_secret",
        None,
        "AZURE_STORAGE_CLIENT_SECRET",
    ),
    "azure_storage_tenant_id": ("tenant_id", None, "AZURE_STORAGE_TENANT_ID"),
}


def options(given: Mapping[str, t.Any], endpoint: str | None) -> dict[str, str]:
    """The options for a store.

    :param given: what adlfs is made with.
    :param endpoint: the address of the account's blob service.
    :raises NotConfiguredError: if adlfs gets a credential that is an object.
    """
    if given.get("credential") is not None and not isinstance(given["credential"], str):
        raise NotConfiguredError(
            "Libraries on object_store, such as polars and obstore, cannot use the"
            " credential in STORE_OPTIONS, which is an object of Python. Use an account"
            " key, a SAS token, or client_id, client_secret and tenant_id."
        )
    text = given.get("connection_string") or os.environ.get(
        "AZURE_STORAGE_CONNECTION_STRING", ""
    )
    parts = dict(part.strip().partition("=")[::2] for part in text.split(";"))
    parts = {name.lower(): value for name, value in parts.items()}
    found = {}
    for word, (option, part, variable) in WORDS.items():
        value = parts.get(part or "")
        if not text:
            value = given.get(option) or os.environ.get(variable)
        if value:
            found[word] = str(value)
    if endpoint:
        found["azure_endpoint"] = endpoint
        if endpoint.startswith("http://"):
            found["azure_allow_http"] = "true"
    if given.get("anon"):
        found["azure_skip_signature"] = "true"
    return found
