"""Uploads in parts, straight to S3: what the application signs, and what it never does.

``tests/servers/test_uppy_s3.py`` has the same in a browser, with the real Uppy.
"""

from __future__ import annotations

import datetime as dt
import os
import pathlib
import re
import typing as t
import urllib.parse

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_store import current_store
from flask_store import Store
from flask_store.dialects import s3 as s3_dialect
from flask_store.dialects.s3.loop import LoopClient
from flask_store.dialects.s3.parts import LEAST
from flask_store.dialects.s3.parts import S3Parts
from flask_store.direct import DirectUpload
from flask_store.exceptions import AlreadyConfirmed
from flask_store.exceptions import TooLarge
from flask_store.http import links
from flask_store.stores.fsspec import FsspecStore
from tests.storages.test_direct_uploads import make_app
from tests.storages.test_s3 import settings
from tests.support.servers import S3Server
from tests.support.servers import serve

#: The namespace of the answers (Amazon S3 API Reference), or none.
UPLOAD_ID = re.compile(r"<UploadId>(.*?)</UploadId>")
ETAG = re.compile(r"<PartNumber>(\d+)</PartNumber>.*?<ETag>(.*?)</ETag>")
DONE = (
    "<CompleteMultipartUpload>{}</CompleteMultipartUpload>",
    "<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>",
)


class Site:
    """An application whose store is on S3, and its clients."""

    def __init__(self, server: S3Server, bucket: str, **more: t.Any) -> None:
        self.server = server
        self.s3 = server.client()
        self.bucket = bucket
        config = settings(server, bucket, STORE_PATH="/some/place")
        config["STORE_PROVIDER"] = "flask_store.stores.s3.S3Store"
        self.app = Flask(__name__)
        self.app.config.update(SECRET_KEY="the key", STORE_RESUMABLE=True)
        self.app.config.update({**config, **more})
        self.stores = Store(self.app)
        with self.app.app_context():
            self.store = t.cast(FsspecStore, self.stores.Provider())

    @property
    def client(self) -> FlaskClient:
        """A browser without cookies."""
        return self.app.test_client()

    def presign(self, name: str = "film.mp4", **more: t.Any) -> DirectUpload:
        """What a view gives to a page."""
        with self.app.app_context():
            return self.store.presign_upload(name, **{"max_size": 20_000_000, **more})

    def confirm(self, upload: DirectUpload, **more: t.Any) -> t.Any:
        """What a view does afterwards."""
        with self.app.app_context():
            return self.store.confirm(upload.token, **more)

    def ask(self, upload: DirectUpload, *said: t.Any, **more: t.Any) -> TestResponse:
        """Ask for a signature, with JSON or with what Uppy calls it."""
        assert upload.parts is not None
        return self.client.post(upload.parts, json=said[0] if said else more)

    def sign(self, upload: DirectUpload, **said: t.Any) -> dict[str, t.Any]:
        """A signature."""
        reply = self.ask(upload, **said)
        assert reply.status_code == 200, reply.text
        assert reply.headers["Cache-Control"] == "no-store"
        return t.cast("dict[str, t.Any]", reply.json)

    def send(
        self, upload: DirectUpload, data: bytes = b"", **said: t.Any
    ) -> requests.Response:
        """Send one request to S3 as it is signed."""
        signed = self.sign(upload, **said)
        return requests.request(
            said["method"], signed["url"], data=data, headers=signed["headers"]
        )

    def create(self, upload: DirectUpload) -> str:
        """Begin a multipart upload; return its id."""
        reply = self.send(upload, method="POST", key=upload.key)
        assert reply.status_code == 200, reply.text
        found = UPLOAD_ID.search(reply.text)
        assert found is not None
        return found[1]

    def put(self, upload: DirectUpload, upload_id: str, *parts: bytes) -> None:
        """Send parts, from the first on."""
        for number, data in enumerate(parts, start=1):
            said = {"uploadId": upload_id, "partNumber": number}
            assert self.send(upload, data, method="PUT", **said).status_code == 200

    def complete(self, url: str, parts: requests.Response) -> None:
        """Join the parts of a listing, by a signed address."""
        each = [DONE[1].format(*part) for part in ETAG.findall(_ordered(parts.text))]
        reply = requests.post(url, DONE[0].format("".join(each)))
        assert reply.status_code == 200, reply.text

    def upload(self, upload: DirectUpload, *parts: bytes) -> None:
        """All that a client does."""
        upload_id = self.create(upload)
        self.put(upload, upload_id, *parts)
        listed = self.send(upload, method="GET", uploadId=upload_id)
        signed = self.sign(upload, method="POST", uploadId=upload_id)
        self.complete(signed["url"], listed)

    def unfinished(self) -> list[str]:
        """The objects of all multipart uploads in the bucket."""
        found = self.s3.list_multipart_uploads(Bucket=self.bucket)
        return [each["Key"] for each in found.get("Uploads") or ()]


def _ordered(listing: str) -> str:
    """A list of parts in which each has its number first: servers differ."""
    part = re.compile(r"<Part>(.*?)(<PartNumber>\d+</PartNumber>)(.*?)</Part>")
    return part.sub(r"<Part>\2\1\3</Part>", listing)


@pytest.fixture
def site(seaweedfs_server: S3Server, seaweedfs_bucket: str) -> Site:
    """The application on SeaweedFS, which checks every signature."""
    return Site(seaweedfs_server, seaweedfs_bucket)


@pytest.fixture
def moto(moto_server: S3Server, moto_bucket: str) -> Site:
    """The application on moto, which checks none, and keeps what is signed."""
    return Site(moto_server, moto_bucket)


@pytest.fixture(params=["site", pytest.param("moto", marks=pytest.mark.slow)])
def each(request: pytest.FixtureRequest) -> Site:
    """Both."""
    return t.cast(Site, request.getfixturevalue(request.param))


PARTS = (os.urandom(LEAST), os.urandom(LEAST), b"the end")


@pytest.mark.slow
def test_upload(each: Site) -> None:
    """Every byte arrives, with what is agreed, and nothing is left."""
    more = {"cache_control": "max-age=7", "metadata": {"author": "O'Neil  &c"}}
    upload = each.presign("фильм.mp4", folder="films", **more)
    assert upload.resumable
    assert urllib.parse.unquote(str(upload.parts)).split("?")[0].endswith(upload.key)
    each.upload(upload, *PARTS)
    assert not each.store.exists(upload.key)
    f = each.confirm(upload, folder="films")
    assert f.key == upload.key
    assert f.read() == b"".join(PARTS)
    assert (f.content_type, f.cache_control) == ("video/mp4", "max-age=7")
    assert f.metadata == {"author": "O'Neil  &c"}
    assert each.unfinished() == []
    with pytest.raises(AlreadyConfirmed):
        each.confirm(upload, folder="films")
    assert each.ask(upload, method="POST").status_code == 403


@pytest.mark.parametrize(
    "said",
    [
        {"method": "PUT", "partNumber": 1},
        {"method": "GET"},
        {"method": "POST"},
        {"method": "DELETE"},
    ],
    ids=lambda said: said["method"],
)
def test_upload_of_another_token_is_never_signed(
    each: Site, said: dict[str, t.Any]
) -> None:
    """Whatever is to be done with it, and nothing happens to it."""
    upload, other = each.presign(), each.presign()
    each.create(upload)
    reply = each.ask(upload, {**said, "uploadId": each.create(other)})
    assert (reply.status_code, "X-Amz" in reply.text) == (403, False)
    assert "no such upload" in reply.text
    assert reply.headers["Cache-Control"] == "no-store"
    assert len(each.unfinished()) == 2


def test_upload_of_a_longer_name_is_never_signed(site: Site) -> None:
    """A listing has all names that begin with the one of the private file."""
    upload = site.presign()
    address = urllib.parse.urlsplit(site.sign(upload, method="POST")["url"])
    name = address.path.removeprefix(f"/{site.bucket}/")
    assert name.startswith("some/place/.flask-store/")
    longer = {"Bucket": site.bucket, "Key": f"{name}.longer"}
    upload_id = site.s3.create_multipart_upload(**longer)["UploadId"]
    assert site.ask(upload, method="GET", uploadId=upload_id).status_code == 403


def test_other_requests_are_never_signed(site: Site) -> None:
    """Another key, a part that there cannot be, and what is no part of an upload."""
    upload = site.presign()
    upload_id = site.create(upload)
    asked: list[tuple[t.Any, int, str]] = [
        ({"method": "POST", "key": "other.mp4"}, 403, "names another one"),
        ({"method": "DELETE", "key": upload.key}, 403, "never signed"),
        ({"method": "PUT", "uploadId": upload_id, "partNumber": 0}, 413, "1 to 4"),
        ({"method": "PUT", "uploadId": upload_id, "partNumber": 5}, 413, "1 to 4"),
        ({"method": "PUT", "uploadId": upload_id, "partNumber": "1"}, 400, "integer"),
        ("text", 400, "JSON object"),
    ]
    for said, status, words in asked:
        reply = site.ask(upload, said)
        assert (reply.status_code, "X-Amz" in reply.text) == (status, False)
        assert words in reply.text


def test_body_that_is_no_request(site: Site) -> None:
    """Broken JSON, a body that is too long, and one whose length nobody knows."""
    upload = site.presign()

    kind = {"Content-Type": "application/json"}
    with serve(site.app) as url:
        for data, status in (
            (b"{", 400),
            (b"[" * 16_000, 400),
            (b"[" * 17_000, 413),
            (iter([b'{"method": "POST"}']), 411),
        ):
            reply = requests.post(f"{url}{upload.parts}", data, headers=kind)
            assert reply.status_code == status


def test_no_parts(site: Site, tmp_path: pathlib.Path) -> None:
    """Where nothing can be signed, or nobody has agreed to it, there is no address, and
    that of the form signs nothing."""
    upload = site.presign(resumable=False)
    assert upload.parts is None
    with site.app.app_context():
        address = f"{site.store.upload_url(upload.key)}?token={upload.token}"
    assert site.client.post(address, json={"method": "POST"}).status_code == 403
    key = {"SSECustomerKey": "k" * 32, "SSECustomerAlgorithm": "AES256"}
    # Known without asking S3.
    known = {"STORE_S3_CONDITIONAL_WRITES": True}
    options = {**known, "STORE_S3_OPTIONS": {"s3_additional_kwargs": key}}
    arn = "arn:aws:s3:us-east-1:123456789012:accesspoint/a"
    for app in (
        Site(site.server, "b", **options).app,
        Site(site.server, arn, **known).app,
        make_app(STORE_PATH=str(tmp_path), STORE_RESUMABLE=True),
    ):
        with app.app_context():
            upload = current_store.presign_upload("film.mp4", max_size=10)
        assert (upload.parts, bool(upload.resumable)) == (None, True)
        reply = app.test_client().post(upload.url, json={"method": "POST"})
        assert (reply.status_code, "in parts" in reply.text) == (403, True)


def test_too_large(each: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is larger than agreed is refused before it is joined, and removed."""
    monkeypatch.setattr(S3Parts, "least", 5)
    upload = each.presign(max_size=6)
    upload_id = each.create(upload)
    each.put(upload, upload_id, b"12345", b"67")
    reply = each.ask(upload, method="POST", uploadId=upload_id)
    assert (reply.status_code, "X-Amz" in reply.text) == (413, False)
    assert "6 bytes" in reply.text
    assert each.unfinished() == []
    assert each.ask(upload, method="GET", uploadId=upload_id).status_code == 403


@pytest.mark.slow
def test_too_large_after_all(site: Site) -> None:
    """Who has the signature, and sends more behind it, gets no further."""
    upload = site.presign(max_size=6)
    upload_id = site.create(upload)
    site.put(upload, upload_id, b"123456")
    signed = site.sign(upload, method="POST", uploadId=upload_id)
    site.put(upload, upload_id, b"1234567")
    listed = site.send(upload, method="GET", uploadId=upload_id)
    site.complete(signed["url"], listed)
    with pytest.raises(TooLarge):
        site.confirm(upload)
    assert list(site.store.ls()) == []


@pytest.mark.slow
def test_headers_are_signed(site: Site) -> None:
    """The type, and what the bucket demands, are those that are agreed."""
    upload = site.presign(metadata={"by": "me"})
    signed = site.sign(upload, method="POST")
    assert signed["headers"] == {"Content-Type": "video/mp4", "x-amz-meta-by": "me"}
    for change in ({"Content-Type": "text/html"}, {"x-amz-meta-by": "you"}, None):
        headers = {**signed["headers"], **change} if change else {}
        assert requests.post(signed["url"], headers=headers).status_code == 403
    assert site.unfinished() == []


@pytest.mark.slow
def test_settings(moto_server: S3Server, moto_bucket: str) -> None:
    """How the private file is stored before it is confirmed, and how afterwards."""
    site = Site(
        moto_server,
        moto_bucket,
        STORE_S3_SSE="aws:kms",
        STORE_S3_SSE_KMS_KEY_ID="alias/x",
        STORE_S3_STORAGE_CLASS="STANDARD_IA",
        STORE_S3_TAGS={"kind": "a b"},
        STORE_S3_ACL="public-read",
        STORE_S3_REQUESTER_PAYS=True,
    )
    upload = site.presign()
    signed = site.sign(upload, method="POST")
    assert signed["headers"] == {
        "Content-Type": "video/mp4",
        "x-amz-acl": "public-read",
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "alias/x",
        "x-amz-tagging": "kind=a%20b",
    }
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(signed["url"]).query))
    names = query["X-Amz-SignedHeaders"].split(";")
    assert set(names) == {"host", *map(str.lower, signed["headers"])}
    assert query["x-amz-request-payer"] == "requester"
    site.upload(upload, b"data")
    f = site.confirm(upload)
    name = {"Bucket": moto_bucket, "Key": f"some/place/{f.key}"}
    found = site.s3.head_object(**name)
    tags = site.s3.get_object_tagging(**name)["TagSet"]
    assert found["StorageClass"] == "STANDARD_IA"
    assert found["SSEKMSKeyId"] == "alias/x"
    assert tags == [{"Key": "kind", "Value": "a b"}]


@pytest.mark.slow
def test_expiry(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """No signature outlives its token, or an hour."""
    for expires, seconds in ((60, range(58, 61)), (100_000, range(3600, 3601))):
        url = site.sign(site.presign(expires=expires), method="POST")["url"]
        found = re.search(r"X-Amz-Expires=(\d+)", url)
        assert found is not None and int(found[1]) in seconds
    upload = site.presign(expires=60)
    upload_id = site.create(upload)
    later = links.time.time() + 61
    monkeypatch.setattr(links.time, "time", lambda: later)
    for said in ({"method": "POST"}, {"method": "GET", "uploadId": upload_id}):
        reply = site.ask(upload, said)
        assert (reply.status_code, "no longer" in reply.text) == (403, True)


@pytest.mark.slow
def test_token_is_good_once(site: Site) -> None:
    """When the file has arrived, nothing is signed any more, for its parts either."""
    upload = site.presign()
    upload_id = site.create(upload)
    site.put(upload, upload_id, b"once")
    site.complete(
        site.sign(upload, method="POST", uploadId=upload_id)["url"],
        site.send(upload, method="GET", uploadId=upload_id),
    )
    part = {"method": "PUT", "uploadId": upload_id, "partNumber": 1}
    asked: list[dict[str, t.Any]] = [part, {"method": "POST"}, {"method": "PUT"}]
    for said in asked:
        reply = site.ask(upload, said)
        assert (reply.status_code, "arrived already" in reply.text) == (403, True)
    f = site.confirm(upload)
    for said in asked:
        reply = site.ask(upload, said)
        assert (reply.status_code, "confirmed already" in reply.text) == (403, True)
    assert f.read() == b"once"


@pytest.mark.slow
def test_address_of_another_token(site: Site) -> None:
    """A token signs at its own address only, and none is signed without one."""
    one, two = site.presign(), site.presign()
    address = str(one.parts).partition("?")[0]
    for query, status in ((f"?token={two.token}", 403), ("?token=x", 403), ("", 405)):
        reply = site.client.post(address + query, json={"method": "POST"})
        assert reply.status_code == status


@pytest.mark.slow
def test_small_file_is_a_form(site: Site) -> None:
    """A file that is sent as a whole is limited by S3 itself."""
    upload = site.presign(max_size=10)
    signed = site.sign(upload, method="PUT", key=upload.key, contentType="text/html")
    assert signed.keys() == {"url", "fields"}
    for data, status in ((b"x" * 11, range(400, 404)), (b"x" * 10, (204,))):
        reply = requests.post(signed["url"], signed["fields"], files={"file": data})
        assert reply.status_code in status
    assert site.confirm(upload).read() == b"x" * 10


@pytest.mark.slow
def test_one_upload_at_a_time(site: Site) -> None:
    """Who creates a second upload, and uses it, ends the first one."""
    upload, beside = site.presign(), site.presign()
    first, second, other = map(site.create, (upload, upload, beside))
    site.put(upload, first, b"x")
    assert len(site.unfinished()) == 2
    assert site.ask(upload, method="GET", uploadId=second).status_code == 403
    site.put(beside, other, b"x")


@pytest.mark.slow
def test_what_is_asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 is asked whose upload it is once, and for its parts before they are joined."""
    site.sign(site.presign(), method="POST")  # which looks for the bucket, too
    asked: list[str] = []
    call = LoopClient.call

    def counted(self: LoopClient, method: str, **kwargs: t.Any) -> t.Any:
        asked.append(method)
        return call(self, method, **kwargs)

    monkeypatch.setattr(LoopClient, "call", counted)
    upload = site.presign()
    upload_id = site.create(upload)
    site.put(upload, upload_id, b"1", b"2", b"3")
    site.sign(upload, method="POST", uploadId=upload_id)
    assert asked == ["list_multipart_uploads", "list_parts"]


@pytest.mark.slow
def test_sweep(site: Site) -> None:
    """What a token may still need stays, and the rest goes; of others, nothing."""
    short, long = site.presign(expires=60), site.presign(expires=7 * 24 * 3600)
    for upload in (short, long):
        site.put(upload, site.create(upload), b"x")
    # A file may be called as if it were private.
    for key in ("some/place/film.99999999999.upload", "elsewhere/film.mp4"):
        site.s3.create_multipart_upload(Bucket=site.bucket, Key=key)
    # As if all of this were a day and a half ago.
    day = dt.timedelta(days=1, hours=12)
    assert site.store.sweep(dt.timedelta(days=-1, hours=-12), dry_run=True) != []
    swept = site.store.sweep(-day)
    assert len(swept) == 2 and "film.99999999999.upload" in swept
    left = site.unfinished()
    assert len(left) == 2 and "elsewhere/film.mp4" in left
    assert site.store.sweep(dt.timedelta(days=-8)) != []
    assert site.unfinished() == ["elsewhere/film.mp4"]


@pytest.mark.slow
def test_over_the_limit_of_one_copy(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """confirm() copies what is too large for one request in parts."""
    monkeypatch.setattr(s3_dialect, "SINGLE_LIMIT", 5)
    upload = site.presign(metadata={"by": "me"})
    site.upload(upload, b"a film")
    f = site.confirm(upload)
    assert (f.read(), f.metadata) == (b"a film", {"by": "me"})
    assert f.content_type == "video/mp4"
    with pytest.raises(AlreadyConfirmed):
        site.confirm(upload)
    assert site.unfinished() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        {"STORE_BACKGROUND": True},
        {"STORE_PROVIDER": "flask_store.stores.s3.S3GeventStore"},
        {"STORE_SERVE": "proxy"},
        {"STORE_SERVE": "redirect", "STORE_SIGNED_URLS": True},
        {"STORE_S3_CONDITIONAL_WRITES": False},
        {"STORE_S3_PUBLIC_ENDPOINT_URL": "http://localhost:{port}"},
        {"STORE_S3_OPTIONS": {"default_fill_cache": False}},
        {"STORE_PATH": "/"},
    ],
    ids=lambda more: next(reversed(more)),
)
def test_other_settings(
    seaweedfs_server: S3Server,
    seaweedfs_bucket: str,
    tmp_path: pathlib.Path,
    more: dict[str, t.Any],
) -> None:
    """Parts meet the other ways to store and to serve files."""
    public = str(more.get("STORE_S3_PUBLIC_ENDPOINT_URL", ""))
    if public:
        public = public.format(port=seaweedfs_server.port)
        more = {"STORE_S3_PUBLIC_ENDPOINT_URL": public}
    spool = {"STORE_SPOOL_PATH": str(tmp_path)}
    site = Site(seaweedfs_server, seaweedfs_bucket, **spool, **more)
    upload = site.presign(folder="films")
    # Without conditional writes the application cannot take it in several requests.
    assert bool(upload.resumable) is more.get("STORE_S3_CONDITIONAL_WRITES", True)
    url = site.sign(upload, method="POST")["url"]
    assert url.startswith(f"{public or seaweedfs_server.endpoint_url}/")
    site.upload(upload, b"a film")
    f = site.confirm(upload, folder="films")
    assert f.read() == b"a film"
    with pytest.raises(AlreadyConfirmed):
        site.confirm(upload, folder="films")


@pytest.mark.slow
def test_named_stores(seaweedfs_server: S3Server, seaweedfs_bucket: str) -> None:
    """Two stores of one application have tokens and addresses of their own."""
    site = Site(seaweedfs_server, seaweedfs_bucket)
    config = settings(seaweedfs_server, seaweedfs_bucket, STORE_PATH="/films")
    config["STORE_PROVIDER"] = "flask_store.stores.s3.S3Store"
    names = {key.replace("STORE_", "FILMS_"): value for key, value in config.items()}
    site.app.config.update(names, FILMS_RESUMABLE=True)
    films = Store(site.app, name="films")
    with site.app.app_context():
        site.store = t.cast(FsspecStore, films.Provider())
    upload = site.presign()
    site.upload(upload, b"a film")
    assert site.confirm(upload).read() == b"a film"
    with site.app.app_context():
        address = site.stores.Provider().upload_url(upload.key)
    other = f"{address}?token={upload.token}"
    assert site.client.post(other, json={"method": "POST"}).status_code == 403
