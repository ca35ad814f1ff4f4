"""An S3 store in the words of the Rust crate ``object_store``.

Its source calls them ``AmazonS3ConfigKey``.
"""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from urllib.parse import urlsplit

from ...exceptions import NotConfiguredError
from .account import S3Account

#: What new objects are stored with, by botocore's names.
ADDITIONS = {
    "ServerSideEncryption": "aws_server_side_encryption",
    "SSEKMSKeyId": "aws_sse_kms_key_id",
    "BucketKeyEnabled": "aws_sse_bucket_key_enabled",
}
NO_WORDS = (
    "Libraries on object_store, such as polars and obstore, cannot use {}. Give them"
    " store.fs, or a file: pl.read_parquet(file)."
)


def options(
    account: S3Account, given: Mapping[str, t.Any], conditional: bool | str
) -> dict[str, str]:
    """The options for a store.

    :param account: the bucket, its endpoint and its keys.
    :param given: what s3fs is made with.
    :param conditional: whether the server honours ``If-None-Match``, if that is known.
    :raises NotConfiguredError: if the crate has no words for the settings.
    """
    additions = given.get("s3_additional_kwargs", {})
    endpoint = account.endpoint
    if "SSECustomerKey" in additions:
        raise NotConfiguredError(NO_WORDS.format("an encryption key of your own"))
    if account.bucket.startswith("arn:") or not endpoint.takes_sigv4:
        raise NotConfiguredError(NO_WORDS.format(f"the bucket {account.bucket}"))
    by_path = f"/{account.bucket}"
    is_virtual = not urlsplit(endpoint.url).path.endswith(by_path)
    found = {
        # With the bucket, if the host names it.
        "aws_endpoint": endpoint.url.removesuffix("" if is_virtual else by_path),
        "aws_virtual_hosted_style_request": _text(is_virtual),
        "aws_region": endpoint.region,
    }
    if given.get("anon"):
        found["aws_skip_signature"] = "true"
    else:
        keys = account.keys()
        found["aws_access_key_id"] = keys.access_key
        found["aws_secret_access_key"] = keys.secret_key
        if keys.token:
            found["aws_session_token"] = keys.token
    if not endpoint.is_encrypted:
        found["aws_allow_http"] = "true"
    if isinstance(conditional, bool):
        found["aws_conditional_put"] = "etag" if conditional else "disabled"
    if additions.get("RequestPayer"):
        found["aws_request_payer"] = "true"
    for name, word in ADDITIONS.items():
        if additions.get(name) is not None:
            found[word] = _text(additions[name])
    return found


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
