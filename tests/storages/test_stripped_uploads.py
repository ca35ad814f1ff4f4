"""Direct uploads to S3 that lose their metadata when they are confirmed."""

from __future__ import annotations

import typing as t
from collections.abc import Callable

import pytest
import requests

from flask_store.direct import DirectUpload
from flask_store.exceptions import AlreadyConfirmed
from flask_store.exceptions import BadPicture
from flask_store.exceptions import FileNotFound
from flask_store.exceptions import WrongType
from tests.local.test_stripped import bare
from tests.storages.test_s3_parts import Site
from tests.support import told
from tests.support.servers import S3Server
from tests.support.told import segment

pytestmark = pytest.mark.slow

JPEG = told.told()["turned 6.jpg"]
#: Of two parts and more.
LARGE = told.jpeg_with(JPEG, *(segment(0xFE, bytes(65_000)) for _ in range(90)))

Send: t.TypeAlias = Callable[[Site, bytes], DirectUpload]


def by_form(site: Site, data: bytes) -> DirectUpload:
    """One request to S3 itself."""
    upload = site.presign("a.jpg", resumable=False)
    assert "policy" in upload.fields
    files = {"file": ("x", data)}
    reply = requests.post(upload.url, data=upload.fields, files=files, timeout=10)
    assert reply.status_code == 204, reply.text
    return upload


def by_parts(site: Site, data: bytes) -> DirectUpload:
    """A multipart upload to S3 itself."""
    upload = site.presign("a.jpg")
    middle = max(5 * 1024**2, len(data) // 2)
    site.upload(upload, *filter(None, (data[:middle], data[middle:])))
    return upload


@pytest.fixture(params=["setting", "call"])
def site(
    request: pytest.FixtureRequest, seaweedfs_server: S3Server, seaweedfs_bucket: str
) -> Site:
    """An application on S3. Either its setting or each confirm() asks for it."""
    by_setting = request.param == "setting"
    site = Site(seaweedfs_server, seaweedfs_bucket, STORE_STRIP_METADATA=by_setting)
    if not by_setting:
        confirm = site.confirm
        site.confirm = lambda upload: confirm(upload, strip=True)  # type: ignore[method-assign]
    return site


@pytest.mark.parametrize("send", [by_form, by_parts])
@pytest.mark.parametrize("data", [JPEG, LARGE], ids=["small", "large"])
def test_confirmed_without_metadata(site: Site, send: Send, data: bytes) -> None:
    """What the application has never seen is stripped all the same, once."""
    upload = send(site, data)
    f = site.confirm(upload)
    assert (f.key, f.read()) == (upload.key, bare(data))
    assert f.content_type == "image/jpeg"
    with pytest.raises(AlreadyConfirmed):
        site.confirm(upload)
    left = site.s3.list_objects_v2(Bucket=site.bucket)["Contents"]
    assert not [each for each in left if each["Key"].endswith(".upload")]
    assert site.unfinished() == []


@pytest.mark.parametrize("send", [by_form, by_parts])
@pytest.mark.parametrize(
    ("data", "error"), [(JPEG[:-9], BadPicture), (b"a text", WrongType)]
)
def test_refused(site: Site, send: Send, data: bytes, error: type[Exception]) -> None:
    """Nothing gets the key, however often it is tried."""
    upload = send(site, data)
    for _ in range(2):
        with pytest.raises(error):
            site.confirm(upload)
    assert [*site.store.ls()] == []


def test_key_that_is_taken(site: Site) -> None:
    """The stripped file replaces none."""
    upload = by_form(site, JPEG)
    site.store.put(upload.key, b"mine", strip=False)
    f = site.confirm(upload)
    assert f.read() == b"mine"


def test_nothing_sent(site: Site) -> None:
    """What has not arrived cannot be stripped."""
    with pytest.raises(FileNotFound, match="has not been uploaded"):
        site.confirm(site.presign("a.jpg"))
