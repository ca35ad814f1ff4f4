"""``s3_additional_kwargs``, and the settings for it: whichever way a file is stored, it
is stored alike."""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
import pathlib
import re
import typing as t
from urllib.parse import parse_qs
from urllib.parse import urlsplit

import pytest
import requests
from flask import Flask

from flask_store import Store
from flask_store.dialects import s3 as s3_dialect
from flask_store.dialects.s3.additions import Additions
from flask_store.direct import DirectUpload
from flask_store.exceptions import NotConfiguredError
from flask_store.files import FileWrapper
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.s3 import S3Store
from tests.storages.test_s3 import settings
from tests.support.proxy import Proxy
from tests.support.servers import S3Server

#: By botocore's names: what every object is to be stored with, and what HEAD tells.
ROWS: dict[str, tuple[dict[str, t.Any], dict[str, t.Any]]] = {
    "headers, class, tags and a key": (
        {
            "CacheControl": "max-age=9",
            "ContentDisposition": "attachment",
            "ContentEncoding": "identity",
            "ContentLanguage": "de",
            "Metadata": {"by": "me"},
            "ServerSideEncryption": "aws:kms",
            "SSEKMSKeyId": "alias/x",
            "StorageClass": "STANDARD_IA",
            "Tagging": "a=b&c=d%20e",
            "WebsiteRedirectLocation": "/there",
        },
        {
            "CacheControl": "max-age=9",
            "ContentDisposition": "attachment",
            "ContentEncoding": "identity",
            "ContentLanguage": "de",
            "Metadata": {"by": "me"},
            "ServerSideEncryption": "aws:kms",
            "SSEKMSKeyId": "alias/x",
            "StorageClass": "STANDARD_IA",
            "TagCount": 2,
            "WebsiteRedirectLocation": "/there",
        },
    ),
    "acl and encryption": (
        {"ACL": "public-read", "ServerSideEncryption": "AES256"},
        {"Grants": 2, "ServerSideEncryption": "AES256"},
    ),
    "locks": (
        {
            # A request that locks an object has to have a checksum.
            "ChecksumAlgorithm": "CRC32",
            "ObjectLockLegalHoldStatus": "ON",
            "ObjectLockMode": "GOVERNANCE",
            "ObjectLockRetainUntilDate": dt.datetime(2030, 1, 1, tzinfo=dt.UTC),
        },
        {"ObjectLockLegalHoldStatus": "ON", "ObjectLockMode": "GOVERNANCE"},
    ),
}


#: The same by settings.
BY_SETTINGS: dict[str, tuple[dict[str, t.Any], dict[str, t.Any]]] = {
    "encryption": (
        {"STORE_S3_SSE": "AES256", "STORE_S3_ACL": "public-read"},
        {"Grants": 2, "ServerSideEncryption": "AES256"},
    ),
    "two layers": (
        {"STORE_S3_SSE": "aws:kms:dsse"},
        {"ServerSideEncryption": "aws:kms:dsse"},
    ),
    "a key, class and tags": (
        {
            "STORE_S3_SSE": "aws:kms",
            "STORE_S3_SSE_KMS_KEY_ID": "alias/x",
            "STORE_S3_STORAGE_CLASS": "STANDARD_IA",
            "STORE_S3_TAGS": {"kind": "upload", "c": "d e+f=ä"},
            "STORE_S3_REQUESTER_PAYS": True,
        },
        {
            "ServerSideEncryption": "aws:kms",
            "SSEKMSKeyId": "alias/x",
            "StorageClass": "STANDARD_IA",
            "Tags": {"kind": "upload", "c": "d e+f=ä"},
        },
    ),
}
#: An option that only s3fs knows, so that its client makes all requests.
S3FS = {"default_fill_cache": False}


def config_of(server: S3Server, bucket: str, **options: t.Any) -> dict[str, t.Any]:
    """The settings of an application, with options for s3fs."""
    return settings(
        server,
        bucket,
        STORE_PROVIDER="flask_store.stores.s3.S3Store",
        STORE_S3_OPTIONS=options,
        SECRET_KEY="the key",
    )


def send(upload: DirectUpload, app: Flask) -> None:
    """Send the form of a direct upload, as a browser would."""
    if upload.url.startswith("/"):
        data = {**upload.fields, "file": (io.BytesIO(b"data"), "x.txt")}
        assert app.test_client().post(upload.url, data=data).status_code == 204
        return
    files = {"file": ("x.txt", b"data")}
    requests.post(upload.url, upload.fields, files=files, timeout=10).raise_for_status()


class Ways:
    """All the ways to store a file, each of which is called with a name."""

    def __init__(
        self, config: dict[str, t.Any], patch: pytest.MonkeyPatch, spool: str
    ) -> None:
        self.patch = patch
        self.app = Flask(__name__)
        self.app.config.update(config)
        with self.app.app_context():
            self.store = t.cast(FsspecStore, Store(self.app).Provider())
        background = {"STORE_BACKGROUND": True, "STORE_SPOOL_PATH": spool}
        self.background = S3Store.from_config({**config, **background})

    def save(self, name: str) -> FileWrapper:
        """An ordinary save."""
        return self.store.save(b"data", name)

    def overwrite(self, name: str) -> FileWrapper:
        """One that replaces another file."""
        self.store.save(b"older", name)
        return self.store.save(b"data", name, on_conflict="overwrite")

    def put(self, name: str) -> FileWrapper:
        """A copy or a backup."""
        return self.store.put(name, b"data")

    def large(self, name: str) -> FileWrapper:
        """A multipart upload."""
        with self.patch.context() as patch:
            patch.setattr(s3_dialect, "SINGLE_LIMIT", 2)
            return self.store.save(b"data", name)

    def in_background(self, name: str) -> FileWrapper:
        """One that goes on after save()."""
        f = self.background.save(b"data", name)
        assert f.upload is not None
        assert f.upload.wait(30)
        return f

    def copy(self, name: str) -> FileWrapper:
        """A copy of a file."""
        return self.store.copy(self.store.save(b"data", f"o-{name}"), name)

    def move(self, name: str) -> FileWrapper:
        """A file that is moved."""
        return self.store.move(self.store.save(b"data", f"o-{name}"), name)

    def direct(self, name: str) -> FileWrapper:
        """A form that goes to the storage."""
        with self.app.test_request_context():
            upload = self.store.presign_upload(name, max_size=10_000)
            assert not upload.url.startswith("/")
            send(upload, self.app)
            return self.store.confirm(upload.token)

    def direct_by_app(self, name: str) -> FileWrapper:
        """A form that goes to the application."""
        dialect = t.cast(s3_dialect.S3Dialect, self.store.dialect)
        self.patch.setattr(dialect, "can_copy", lambda *args: False)
        return self.direct(name)


WAYS = [name for name in vars(Ways) if not name.startswith("_")]


@pytest.mark.slow
@pytest.mark.parametrize("row", list(ROWS))
def test_every_way_stores_alike(
    row: str,
    moto_server: S3Server,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What HEAD tells is the same for each of them."""
    given, expected = ROWS[row]
    client = moto_server.client()
    bucket = f"additions-{re.sub('[^a-z]', '-', row)}"
    client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    config = config_of(moto_server, bucket, s3_additional_kwargs=given)
    ways = Ways(config, monkeypatch, str(tmp_path / "spool"))
    # moto keeps no lock of a multipart upload.
    ways_kept = [way for way in WAYS if (row, way) != ("locks", "large")]
    found = heads_of(ways, ways_kept, moto_server, bucket, expected)
    assert found == dict.fromkeys(ways_kept, expected)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, S3FS], ids=["direct", "s3fs client"])
@pytest.mark.parametrize("row", list(BY_SETTINGS))
def test_settings_reach_every_way(
    row: str,
    options: dict[str, t.Any],
    moto_server: S3Server,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By both clients: what HEAD tells is the same for each way."""
    given, expected = BY_SETTINGS[row]
    bucket = moto_server.make_bucket()
    config = config_of(moto_server, bucket, **options) | given
    ways = Ways(config, monkeypatch, str(tmp_path / "spool"))
    dialect = t.cast(s3_dialect.S3Dialect, ways.store.dialect)
    assert dialect.is_direct == (options == {})
    found = heads_of(ways, WAYS, moto_server, bucket, expected)
    assert found == dict.fromkeys(WAYS, expected)


def heads_of(
    ways: Ways,
    names: list[str],
    server: S3Server,
    bucket: str,
    expected: dict[str, t.Any],
) -> dict[str, dict[str, t.Any]]:
    """What the server tells of a file that is stored in each of these ways."""
    client, found = server.client(), {}
    for way in names:
        key = getattr(ways, way)(f"{way}.txt").key
        head = client.head_object(Bucket=bucket, Key=key)
        head["Metadata"] = {
            name: value
            for name, value in head["Metadata"].items()
            if name != "flask-store-token"
        }
        if "Grants" in expected:
            acl = client.get_object_acl(Bucket=bucket, Key=key)
            head["Grants"] = len(acl["Grants"])
        if "Tags" in expected:
            tags = client.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
            head["Tags"] = {tag["Key"]: tag["Value"] for tag in tags}
        found[way] = {name: head.get(name) for name in expected}
        assert head["ContentType"] == "text/plain"
    return found


#: What every request that makes an object has, and what every request has.
SENT = {
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-server-side-encryption-aws-kms-key-id": "alias/x",
    "x-amz-storage-class": "STANDARD_IA",
    "x-amz-tagging": "c=d%20e",
}
PAYER = {"x-amz-request-payer": "requester"}


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, S3FS], ids=["direct", "s3fs client"])
def test_every_request_has_them(
    options: dict[str, t.Any],
    moto_server: S3Server,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All ways, the probe of conditions, reading, listing, deleting and sweep: what
    pays is in each of them, and the rest in those that make an object."""
    bucket = moto_server.make_bucket()
    with Proxy(moto_server.endpoint_url) as proxy:
        config = config_of(moto_server, bucket, **options) | {
            "STORE_S3_ENDPOINT_URL": proxy.endpoint_url,
            "STORE_S3_SSE": "aws:kms",
            "STORE_S3_SSE_KMS_KEY_ID": "alias/x",
            "STORE_S3_STORAGE_CLASS": "STANDARD_IA",
            "STORE_S3_TAGS": {"c": "d e"},
            "STORE_S3_REQUESTER_PAYS": True,
        }
        ways = Ways(config, monkeypatch, str(tmp_path / "spool"))
        for way in WAYS:
            f = getattr(ways, way)(f"{way}.txt")
            assert f.read() == b"data"
        assert b"".join(f.stream(1, 3)) == b"at"
        assert ways.store.ls().names()
        moto_server.client().create_multipart_upload(Bucket=bucket, Key="left")
        ways.store.sweep(older_than=dt.timedelta(days=-1))
        f.delete()
        store_link = f.signed_url()
    assert "x-amz-request-payer=requester" in store_link
    made = 0
    for sent, headers in zip(proxy.requests, proxy.headers, strict=True):
        part = "partNumber" in sent.path
        begins = sent.method == "POST" and sent.path.endswith("?uploads")
        if (sent.method == "PUT" and not part) or begins:
            assert headers.items() >= SENT.items(), sent
            made += 1
        form = sent.method == "POST" and "?" not in sent.path
        bucket_alone = sent.method == "HEAD" and sent.path.strip("/") == bucket
        if not form and not bucket_alone:
            assert headers.items() >= PAYER.items(), sent
    methods = {sent.method for sent in proxy.requests}
    assert methods == {"DELETE", "GET", "HEAD", "POST", "PUT"}
    assert made > len(WAYS)


def test_server_that_knows_some_of_it(
    seaweedfs_server: S3Server, seaweedfs_bucket: str
) -> None:
    """SeaweedFS keeps classes and tags, by the direct client."""
    config = config_of(seaweedfs_server, seaweedfs_bucket) | {
        "STORE_S3_STORAGE_CLASS": "STANDARD_IA",
        "STORE_S3_TAGS": {"kind": "upload"},
        "STORE_S3_REQUESTER_PAYS": True,
    }
    store = S3Store.from_config(config)
    key = store.save(b"data", "a.txt").key
    assert t.cast(s3_dialect.S3Dialect, store.dialect).is_direct
    where = {"Bucket": seaweedfs_bucket, "Key": store.absolute_path(key)}
    client = seaweedfs_server.client()
    assert client.head_object(**where)["StorageClass"] == "STANDARD_IA"
    tags = client.get_object_tagging(**where)["TagSet"]
    assert tags == [{"Key": "kind", "Value": "upload"}]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"STORE_S3_SSE_KMS_KEY_ID": "alias/x"}, "Set STORE_S3_SSE to 'aws:kms'"),
        (
            {"STORE_S3_SSE": "AES256", "STORE_S3_SSE_KMS_KEY_ID": "alias/x"},
            "STORE_S3_SSE is 'AES256'. Set STORE_S3_SSE to 'aws:kms'",
        ),
        (
            {"STORE_S3_SSE": "AES256", "kwargs": {"ServerSideEncryption": "aws:kms"}},
            "STORE_S3_SSE is set, and s3_additional_kwargs .* another Server",
        ),
        (
            {"STORE_S3_TAGS": {"a": "b"}, "kwargs": {"Tagging": "a=c"}},
            "STORE_S3_TAGS is set, and s3_additional_kwargs",
        ),
        (
            {"STORE_S3_STORAGE_CLASS": "GLACIER", "kwargs": {"StorageClass": "x"}},
            "STORE_S3_STORAGE_CLASS is set, and s3_additional_kwargs",
        ),
        (
            {"STORE_S3_ACL": "private", "kwargs": {"ACL": "public-read"}},
            "STORE_S3_ACL is set, and s3_additional_kwargs",
        ),
        (
            {"STORE_S3_SSE": "AES256", "kwargs": {"SSECustomerKey": "k" * 32}},
            "the key of a customer",
        ),
    ],
)
def test_contradictions_are_refused(given: dict[str, t.Any], words: str) -> None:
    """When the application starts; the error names the setting, and no value that may
    be secret. A store with a name has its own settings."""
    kwargs = given.pop("kwargs", {})
    options = {"STORE_S3_OPTIONS": {"s3_additional_kwargs": kwargs}}
    with pytest.raises(NotConfiguredError, match=words) as caught:
        S3Store.from_config({"STORE_S3_BUCKET": "b", **given, **options})
    assert "kkk" not in str(caught.value)
    app = Flask(__name__)
    app.config.update({f"PHOTOS_{name}": value for name, value in given.items()})
    app.config["PHOTOS_STORE_PATH"] = "s3://b"
    app.config["PHOTOS_STORE_S3_OPTIONS"] = options["STORE_S3_OPTIONS"]
    with pytest.raises(NotConfiguredError, match="PHOTOS_STORE_S3_"):
        Store(app, name="photos")


def test_setting_and_option_that_agree() -> None:
    """They are no contradiction, and one may complete the other."""
    store = S3Store.from_config(
        {
            "STORE_S3_BUCKET": "b",
            "STORE_S3_SSE_KMS_KEY_ID": "alias/x",
            "STORE_S3_TAGS": '{"a": "b"}',
            "STORE_S3_OPTIONS": {
                "s3_additional_kwargs": {
                    "ServerSideEncryption": "aws:kms",
                    "Tagging": "a=b",
                }
            },
        }
    )
    assert store.storage_options["s3_additional_kwargs"] == {
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "alias/x",
        "Tagging": "a=b",
    }


def policy_of(fields: t.Mapping[str, str]) -> list[t.Any]:
    """The conditions of a form."""
    policy = json.loads(base64.b64decode(fields["policy"]))
    return t.cast("list[t.Any]", policy["conditions"])


def test_form_carries_what_a_bucket_may_demand(
    seaweedfs_server: S3Server, seaweedfs_bucket: str
) -> None:
    """Its fields, each of which its policy has too, and no more than that."""
    given = {
        "ACL": "bucket-owner-full-control",
        "BucketKeyEnabled": True,
        "CacheControl": "max-age=9",
        "ObjectLockLegalHoldStatus": "ON",
        "ServerSideEncryption": "aws:kms",
        "SSEKMSEncryptionContext": "e30=",
        "SSEKMSKeyId": "alias/x",
        "StorageClass": "GLACIER",
        "Tagging": "a=b&c=%3Cd%3E",
    }
    options = {"s3_additional_kwargs": given, "requester_pays": True}
    app = Flask(__name__)
    app.config.update(config_of(seaweedfs_server, seaweedfs_bucket, **options))
    with app.app_context():
        fields = Store(app).Provider().presign_upload("a.txt", max_size=9).fields
    mine = {
        "Content-Type": "text/plain",
        "acl": "bucket-owner-full-control",
        "tagging": (
            "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag>"
            "<Tag><Key>c</Key><Value>&lt;d&gt;</Value></Tag></TagSet></Tagging>"
        ),
        "x-amz-request-payer": "requester",
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "alias/x",
        "x-amz-server-side-encryption-bucket-key-enabled": "true",
        "x-amz-server-side-encryption-context": "e30=",
    }
    signed = {"policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date"}
    assert fields.keys() - mine.keys() == {*signed, "x-amz-signature", "key"}
    conditions = policy_of(fields)
    for name, value in mine.items():
        assert fields[name] == value
        assert {name: value} in conditions


@pytest.mark.parametrize(
    "options",
    [
        {"requester_pays": True},
        {"s3_additional_kwargs": {"RequestPayer": "requester"}},
    ],
    ids=["s3fs", "botocore"],
)
def test_link_says_who_pays(
    seaweedfs_server: S3Server, seaweedfs_bucket: str, options: dict[str, t.Any]
) -> None:
    """The signature covers it, and every other request says so, too."""
    config = config_of(seaweedfs_server, seaweedfs_bucket, **options)
    store = S3Store.from_config(config)
    f = store.save(b"data", "a.txt")
    query = parse_qs(urlsplit(f.signed_url()).query)
    assert query["x-amz-request-payer"] == ["requester"]
    assert requests.get(f.signed_url(), timeout=10).content == b"data"
    asked = store.dialect.location.options["s3_additional_kwargs"]
    assert asked["RequestPayer"] == "requester"
    assert t.cast(s3_dialect.S3Dialect, store.dialect).is_direct


@pytest.mark.slow
def test_key_of_the_customer_stays_here(moto_server: S3Server) -> None:
    """No browser gets it: uploads and links go through the application, or not at
    all."""
    bucket = moto_server.make_bucket()
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    config = config_of(moto_server, bucket, s3_additional_kwargs=key)
    app = Flask(__name__)
    app.config.update(config, STORE_SERVE="proxy")
    with app.test_request_context():
        store = Store(app).Provider()
        f = store.save(b"data", "a.txt")
        assert (f.read(), f.size) == (b"data", 4)
        assert store.copy(f, "b.txt").read() == b"data"
        upload = store.presign_upload("c.txt", max_size=10_000)
        assert upload.url.startswith("/")
        send(upload, app)
        assert store.confirm(upload.token).read() == b"data"
        link = f.signed_url()
        assert link.startswith("/")
        assert "kkk" not in repr(store.dialect.additions) + link + str(upload.fields)
        assert app.test_client().get(link).data == b"data"
    with pytest.raises(NotConfiguredError, match="'proxy'"):
        S3Store.from_config(config).signed_url("a.txt")
    with pytest.raises(NotConfiguredError, match="Use 'proxy'"):
        S3Store.from_config({**config, "STORE_SERVE": "redirect"})


def test_nothing_is_added_by_default() -> None:
    """Neither to links nor to forms."""
    nothing = Additions({})
    assert (nothing.fields, nothing.payer, nothing.headers) == ({}, {}, {})
    assert "s3_additional_kwargs" not in S3Store.from_url("s3://b").storage_options


@pytest.mark.slow
def test_copy_is_stored_as_the_original_is(
    moto_server: S3Server, moto_bucket: str
) -> None:
    """The class, the encryption and the tags of the original, unless the settings of
    the store that copies name others. In place of another file the storage copies."""
    kept = {
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "alias/x",
        "StorageClass": "STANDARD_IA",
        "Tagging": "a=b",
        "WebsiteRedirectLocation": "/there",
    }
    others = {
        "ServerSideEncryption": "AES256",
        "StorageClass": "GLACIER_IR",
        "Tagging": "c=d",
    }
    client = moto_server.client()

    def stores(**added: str) -> FsspecStore:
        config = config_of(moto_server, moto_bucket, s3_additional_kwargs=added)
        return FsspecStore.from_config(
            {**config, "STORE_PATH": f"s3://{moto_bucket}/in"}
        )

    def told(f: FileWrapper) -> dict[str, t.Any]:
        place = {"Bucket": moto_bucket, "Key": f"in/{f.key}"}
        tags = client.get_object_tagging(**place)["TagSet"]
        head = client.head_object(**place)
        found = {name: head.get(name) for name in kept}
        return {**found, "Tagging": "&".join(f"{t['Key']}={t['Value']}" for t in tags)}

    f = stores(**kept).put("a.txt", b"data", "overwrite")
    copy = stores().copy(f, "b.txt", "overwrite")
    assert told(copy) == told(f) == kept
    changed = stores(**others).copy(f, "c.txt", "overwrite")
    assert told(changed) == {**kept, "SSEKMSKeyId": None, **others}
