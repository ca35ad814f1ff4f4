"""A Google store in the words of the Rust crate ``object_store``.

Its source calls them ``GoogleConfigKey``.
"""

from __future__ import annotations

import json
import typing as t
from collections.abc import Mapping

from ...exceptions import NotConfiguredError

#: Where the crate goes by itself.
USUAL = "https://storage.googleapis.com"


def options(given: Mapping[str, t.Any]) -> dict[str, str]:
    """The options for a store.

    :param given: what gcsfs is made with.
    :raises NotConfiguredError: if gcsfs gets a token that is an object, or finds one in
        a way of its own.
    """
    found = {}
    endpoint, token = given["endpoint_url"], given["token"]
    if endpoint != USUAL:
        found["google_base_url"] = endpoint
    if endpoint.startswith("http://"):
        found["allow_http"] = "true"
    if token == "anon":
        found["google_skip_signature"] = "true"
    elif isinstance(token, Mapping):
        found["google_service_account_key"] = json.dumps(dict(token))
    elif isinstance(token, str) and token.endswith(".json"):
        found["google_service_account"] = token
    elif token != "google_default":  # which the crate looks for, too
        raise NotConfiguredError(
            "Libraries on object_store, such as polars and obstore, cannot use this"
            " token of STORE_OPTIONS. Use the JSON file of a service account, or"
            " application default credentials."
        )
    return found
