"""The uploader sends large files straight to S3."""

from __future__ import annotations

import json
import re
import typing as t
from collections.abc import Callable

import pytest
from flask import Flask
from flask import Response
from playwright.sync_api import Response as Answer
from playwright.sync_api import Route

from tests.storages.test_s3 import settings
from tests.support.documented import documented
from tests.support.servers import S3Server
from tests.support.uploader_site import DATA
from tests.support.uploader_site import POLICY
from tests.support.uploader_site import Site
from tests.support.uploader_site import Sites

#: Two parts and a third one of a few bytes.
LARGE = DATA * 56


class Bucket(t.NamedTuple):
    """A bucket that takes parts from pages."""

    server: S3Server
    name: str
    config: dict[str, t.Any]

    def unfinished(self) -> list[str]:
        """The uploads in parts that are neither complete nor aborted."""
        found = self.server.client().list_multipart_uploads(Bucket=self.name)
        return [each["UploadId"] for each in found.get("Uploads") or ()]

    def parts(self) -> list[int]:
        """The sizes of the parts of the one upload that is unfinished."""
        client = self.server.client()
        (upload,) = client.list_multipart_uploads(Bucket=self.name)["Uploads"]
        asked = {"Bucket": self.name, "Key": upload["Key"]}
        found = client.list_parts(**asked, UploadId=upload["UploadId"])
        return [part["Size"] for part in found.get("Parts") or ()]


@pytest.fixture
def bucket(seaweedfs_server: S3Server) -> Bucket:
    """An empty bucket with the CORS rule of the documentation, without ETags."""
    server, name = seaweedfs_server, seaweedfs_server.make_bucket()
    (rule,) = json.loads(documented("uploaders.rst", "json", "AllowedOrigins"))
    rule |= {"AllowedOrigins": ["*"], "ExposeHeaders": []}
    admin = server.client(server.admin)
    admin.put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": [rule]})
    admin.close()
    config = settings(server, name) | {
        "STORE_PROVIDER": "flask_store.stores.s3.S3Store",
        "STORE_PATH": None,
    }
    return Bucket(server, name, config)


def connect_to(bucket: Bucket) -> Callable[[Flask], None]:
    """The policy of a page that sends files to a bucket."""

    def change(app: Flask) -> None:
        @app.after_request
        def allow(response: Response) -> Response:
            policy = POLICY.replace(
                "connect-src 'self'", f"connect-src 'self' {bucket.server.endpoint_url}"
            )
            response.headers["Content-Security-Policy"] = policy
            return response

    return change


def test_parts(sites: Sites, bucket: Bucket) -> None:
    """A large file goes straight to S3, and a small one by tus, under a strict
    policy."""
    here = sites(bucket.config, connect_to(bucket))
    here.pick("film.mp4", data=LARGE)
    here.pick("small.txt")
    here.expect_state("stored", 2)
    assert here.stored() == {"film.mp4": LARGE, "small.txt": DATA}
    assert bucket.unfinished() == []
    assert here.wire.bytes < len(DATA) + 10_000  # what signatures take
    assert here.wrong == []


#: Which requests for a signature come before that of the last part, whichever that is:
#: for the upload, for the list, and for two parts.
BEFORE = 4


def begin_parts(here: Site, bucket: Bucket) -> None:
    """Send two parts of three."""
    here.wire.hold("POST /flaskstore", after=BEFORE)
    parts: list[str] = []

    def is_second(answer: Answer) -> bool:
        if answer.request.method == "PUT":
            parts.append(answer.url)
        return len(parts) == 2

    with here.page.expect_response(is_second):
        here.pick("film.mp4", data=LARGE)
    here.wire.wait()
    assert len(bucket.parts()) == 2


def test_parts_after_a_reload(sites: Sites, bucket: Bucket) -> None:
    """The parts that S3 has are not sent again."""
    here = sites(bucket.config, connect_to(bucket))
    begin_parts(here, bucket)
    here.page.reload()
    here.wire.release()
    sent: list[str] = []
    here.page.on("request", lambda request: sent.append(request.method))
    here.pick("film.mp4")
    here.expect_state("stored")
    assert sent.count("PUT") == 1
    assert here.wire.requests.count("POST /photos/new") == 1
    assert here.stored() == {"film.mp4": LARGE}


def test_parts_cancelled(sites: Sites, bucket: Bucket) -> None:
    """The parts are removed at S3."""
    here = sites(bucket.config, connect_to(bucket))
    begin_parts(here, bucket)
    with here.page.expect_response(lambda answer: answer.request.method == "DELETE"):
        here.page.get_by_role("button", name="Cancel film.mp4").click()
        here.wire.release()
    assert bucket.unfinished() == []
    here.page.wait_for_function("localStorage.length === 0")


def test_parts_broken(sites: Sites, bucket: Bucket) -> None:
    """A part whose connection breaks is sent again. Nothing is when S3 has joined the
    parts and its answer gets lost."""
    here = sites(bucket.config, connect_to(bucket))
    lost: list[str] = []

    def lose(route: Route) -> None:
        if route.request.method == "POST":
            lost.append(route.fetch().text())
            route.abort()
        else:
            route.continue_()

    # Not the parts: Playwright would copy them.
    here.page.route(re.compile(r"\?(?!.*partNumber=).*uploadId="), lose)
    here.page.route(re.compile("partNumber=2"), lambda route: route.abort(), times=1)
    here.pick("film.mp4", data=LARGE)
    here.expect_state("stored")
    assert "CompleteMultipartUploadResult" in lost[0]
    assert here.wire.requests.count("POST /photos/new") == 1
    assert here.stored() == {"film.mp4": LARGE}
