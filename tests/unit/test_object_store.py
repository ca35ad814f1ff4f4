"""``store.object_store_options``: a store in the words of another library."""

from __future__ import annotations

import json
import typing as t

import pytest

from flask_store.exceptions import NotConfiguredError
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.s3 import S3Store

KEYS = {"key": "mine", "secret": "of the tests"}
AMAZON = {
    "aws_endpoint": "https://photos.s3.eu-west-1.amazonaws.com",
    "aws_virtual_hosted_style_request": "true",
    "aws_region": "eu-west-1",
    "aws_access_key_id": "mine",
    "aws_secret_access_key": "of the tests",
}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine has set is not looked at."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING", raising=False)


def s3(**settings: t.Any) -> dict[str, str]:
    """The options of a bucket on Amazon S3."""
    config = {
        "STORE_S3_BUCKET": "photos",
        "STORE_S3_REGION": "eu-west-1",
        "STORE_S3_ACCESS_KEY": "mine",
        "STORE_S3_SECRET_KEY": "of the tests",
        **settings,
    }
    return S3Store.from_config(config).object_store_options


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        ({}, {}),
        (
            {"STORE_S3_ADDRESSING_STYLE": "path"},
            {
                "aws_endpoint": "https://s3.eu-west-1.amazonaws.com",
                "aws_virtual_hosted_style_request": "false",
            },
        ),
        ({"STORE_S3_SESSION_TOKEN": "token"}, {"aws_session_token": "token"}),
        ({"STORE_S3_CONDITIONAL_WRITES": True}, {"aws_conditional_put": "etag"}),
        ({"STORE_S3_CONDITIONAL_WRITES": False}, {"aws_conditional_put": "disabled"}),
        (
            {"STORE_S3_OPTIONS": {"requester_pays": True}},
            {"aws_request_payer": "true"},
        ),
        (
            {
                "STORE_S3_OPTIONS": {
                    "s3_additional_kwargs": {
                        "ServerSideEncryption": "aws:kms",
                        "SSEKMSKeyId": "key",
                        "BucketKeyEnabled": True,
                    }
                }
            },
            {
                "aws_server_side_encryption": "aws:kms",
                "aws_sse_kms_key_id": "key",
                "aws_sse_bucket_key_enabled": "true",
            },
        ),
    ],
)
def test_s3(settings: dict[str, t.Any], more: dict[str, str]) -> None:
    """The endpoint has the bucket if its host names it, as the crate wants it."""
    assert s3(**settings) == {**AMAZON, **more}


def test_public_bucket() -> None:
    """Nobody looks for keys."""
    store = FsspecStore.from_url("s3://photos", anon=True)
    options = store.object_store_options
    assert options["aws_skip_signature"] == "true"
    assert not any("key" in name for name in options)


def test_server_of_ones_own() -> None:
    """Over HTTP, which has to be allowed."""
    url = "http://127.0.0.1:9000"
    options = FsspecStore.from_url("s3://photos", endpoint_url=url, **KEYS)
    found = options.object_store_options
    assert (found["aws_endpoint"], found["aws_allow_http"]) == (url, "true")


ACCOUNT = {"account_name": "mine", "account_key": "a2V5"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ACCOUNT,
            {
                "azure_storage_account_name": "mine",
                "azure_storage_account_key": "a2V5",
                "azure_endpoint": "https://mine.blob.core.windows.net",
            },
        ),
        (
            {
                "connection_string": "AccountName=mine; AccountKey=a2V5;"
                "BlobEndpoint=http://127.0.0.1:1/mine"
            },
            {
                "azure_storage_account_name": "mine",
                "azure_storage_account_key": "a2V5",
                "azure_endpoint": "http://127.0.0.1:1/mine",
                "azure_allow_http": "true",
            },
        ),
        (
            {"account_name": "mine", "sas_token": "sv=1", "anon": False},
            {
                "azure_storage_account_name": "mine",
                "azure_storage_sas_key": "sv=1",
                "azure_endpoint": "https://mine.blob.core.windows.net",
            },
        ),
        (
            {"account_name": "mine", "anon": True},
            {
                "azure_storage_account_name": "mine",
                "azure_skip_signature": "true",
                "azure_endpoint": "https://mine.blob.core.windows.net",
            },
        ),
    ],
)
def test_azure(options: dict[str, t.Any], expected: dict[str, str]) -> None:
    """Of the options of adlfs and of a connection string."""
    store = FsspecStore.from_url("abfs://photos", **options)
    assert store.object_store_options == expected


def test_google() -> None:
    """A key may be a file or its content; what the crate finds itself is left out."""
    key = {"type": "service_account", "private_key": "secret"}
    found = {
        name: FsspecStore.from_url("gs://photos", token=token).object_store_options
        for name, token in [
            ("default", "google_default"),
            ("anon", "anon"),
            ("key", key),
        ]
    }
    assert found["default"] == {}
    assert found["anon"] == {"google_skip_signature": "true"}
    assert json.loads(found["key"]["google_service_account_key"]) == key


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("memory://x", {}),
        ("ftp://127.0.0.1/x", {}),
        ("gs://bucket", {"token": "ya29.token"}),
        ("abfs://photos", {"account_name": "a", "credential": object()}),
        ("s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/mine", {}),
        (
            "s3://photos",
            {**KEYS, "s3_additional_kwargs": {"SSECustomerKey": "x"}},
        ),
    ],
)
def test_no_words(url: str, options: dict[str, t.Any]) -> None:
    """Where the crate cannot reach the files, the error says what to do instead."""
    store = FsspecStore.from_url(url, **options)
    with pytest.raises(NotConfiguredError, match="object_store"):
        _ = store.object_store_options


def test_secrets_are_not_shown() -> None:
    """The repr has names only."""
    assert "of the tests" not in repr(s3())
    assert "aws_secret_access_key" in repr(s3())


def test_local_disk(tmp_path: t.Any) -> None:
    """A path says it all."""
    assert FsspecStore.from_url(tmp_path).object_store_options == {}
