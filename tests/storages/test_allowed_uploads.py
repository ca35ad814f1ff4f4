"""Direct uploads to S3 of which confirm() looks into the file."""

from __future__ import annotations

import typing as t

import pytest

from flask_store import direct
from flask_store.exceptions import WrongType
from tests.storages.test_s3_parts import Site
from tests.storages.test_stripped_uploads import by_form
from tests.storages.test_stripped_uploads import by_parts
from tests.storages.test_stripped_uploads import JPEG
from tests.storages.test_stripped_uploads import LARGE
from tests.storages.test_stripped_uploads import Send
from tests.support.servers import S3Server

pytestmark = pytest.mark.slow

HTML = b"<!DOCTYPE html>" + b"<script>alert(1)</script>" * 400_000


@pytest.fixture
def site(seaweedfs_server: S3Server, seaweedfs_bucket: str) -> Site:
    """An application on S3 that takes JPEG."""
    return Site(seaweedfs_server, seaweedfs_bucket, STORE_ALLOW=["jpg"])


@pytest.mark.parametrize("send", [by_form, by_parts])
def test_checked_where_the_application_has_seen_nothing(site: Site, send: Send) -> None:
    """A page is refused however often it is confirmed; a picture is published."""
    refused, taken = send(site, HTML), send(site, LARGE)
    for _ in range(2):
        with pytest.raises(WrongType, match="its content is not"):
            site.confirm(refused)
    f = site.confirm(taken)
    assert f.read() == LARGE
    assert [f.key for f in site.store.ls()] == [taken.key]


def test_version_that_is_checked_is_published(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that is a picture only while somebody looks does not get the key."""
    upload = by_form(site, HTML[:100])
    check = direct._check_content

    def looked_at(*args: t.Any) -> None:
        site.presign = lambda *_, **__: upload  # type: ignore[method-assign]
        by_form(site, JPEG)
        try:
            check(*args)
        finally:
            by_form(site, HTML[:100])

    monkeypatch.setattr(direct, "_check_content", looked_at)
    with pytest.raises(Exception, match="is being sent again|not what its extension"):
        site.confirm(upload)
    assert [*site.store.ls()] == []
