"""Uppy sends a file in parts straight to S3, as docs/uploaders.rst shows it."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import typing as t

import pytest
from flask import Flask
from flask import Response
from playwright.sync_api import expect
from playwright.sync_api import Page
from playwright.sync_api import Route

from flask_store.stores.fsspec import FsspecStore
from tests.conftest import missing
from tests.storages.test_s3 import settings
from tests.support.browser import browser
from tests.support.browser import bundle
from tests.support.documented import documented
from tests.support.servers import NotInstalledError
from tests.support.servers import S3Server
from tests.support.servers import serve

MIB = 1024**2
#: Three parts, and a last one of three bytes.
MAX_SIZE = 15 * MIB + 3
#: A file of this many bytes. Each value follows from its place, so that no part can be
#: taken for another one.
FILE = """
    (size) => {
        const numbers = Uint32Array.from({length: size / 4 + 1}, (_, n) => n * 7);
        const bytes = new Uint8Array(numbers.buffer).subarray(0, size);
        return new File([bytes], "фильм 1.mp4", {type: "text/plain", lastModified: 1});
    }
"""
#: Ends when Uppy does, with the addresses of the files or what went wrong.
UPLOAD = f"""
    async (size) => {{
        const file = ({FILE})(size);
        const id = uppy.addFile({{name: file.name, type: file.type, data: file}});
        const {{successful, failed}} = await uppy.upload();
        return [...successful.map((file) => file.uploadURL),
                ...failed.map((file) => `refused: ${{file.error}}`)].join();
    }}
"""


def digest(size: int) -> str:
    """The SHA-256 of the bytes of the file."""
    digest = hashlib.sha256()
    for start in range(0, size, MIB):
        numbers = range(start // 4, start // 4 + MIB // 4)
        data = b"".join((n * 7).to_bytes(4, "little") for n in numbers)
        digest.update(data[: size - start])
    return digest.hexdigest()


class Site:
    """The application of the documentation, and what goes through it.

    :ivar received: how many bytes the bodies of its requests have had.
    """

    def __init__(self, server: S3Server, bucket: str) -> None:
        self.server = server
        self.bucket = bucket
        self.s3 = server.client()
        self.received = 0
        self.asked: list[str] = []
        self.app = self._make_app()
        with self.app.app_context():
            store = self.app.extensions["store"].Provider("films")
            self.store = t.cast("FsspecStore", store)

    def _make_app(self) -> Flask:
        code = documented("uploaders.rst", "python", "presign_upload(")
        for old, new in (
            ('STORE_PATH="s3://films"', "**config"),
            ("max_size=50 * 1024**3", f"max_size={MAX_SIZE}"),
        ):
            assert old in code
            code = code.replace(old, new)
        config = settings(self.server, self.bucket)
        config["STORE_PROVIDER"] = "flask_store.stores.s3.S3Store"
        namespace: dict[str, t.Any] = {"config": config}
        exec(code, namespace)
        app = t.cast(Flask, namespace["app"])
        parts = ("async function post(", "import AwsS3")
        script = "".join(documented("uploaders.rst", "javascript", p) for p in parts)
        script = bundle(f"{script}\nObject.assign(window, {{uppy, post, known}});")
        page = "<!doctype html><meta charset=utf-8><script type=module src=/uppy.js>"
        app.add_url_rule("/", "page", lambda: page)
        app.add_url_rule(
            "/uppy.js", "script", lambda: Response(script, mimetype="text/javascript")
        )
        wsgi_app = app.wsgi_app

        def counted(environ: t.Any, start_response: t.Any) -> t.Any:
            self.received += int(environ.get("CONTENT_LENGTH") or 0)
            self.asked.append(environ["REQUEST_METHOD"])
            return wsgi_app(environ, start_response)

        app.wsgi_app = counted  # type: ignore[method-assign]
        return app

    def allow_cross_origin(self) -> None:
        """The CORS rule that the documentation asks for."""
        rules = documented("uploaders.rst", "json", "AllowedOrigins")
        assert "https://example.com" in rules
        rules = rules.replace("https://example.com", "*")
        client = self.server.client(self.server.admin)
        client.put_bucket_cors(
            Bucket=self.bucket, CORSConfiguration={"CORSRules": json.loads(rules)}
        )
        client.close()

    def unfinished(self) -> list[str]:
        """The ids of all multipart uploads in the bucket."""
        found = self.s3.list_multipart_uploads(Bucket=self.bucket)
        return [each["UploadId"] for each in found.get("Uploads") or ()]


@pytest.fixture(scope="module")
def site(seaweedfs_server: S3Server) -> Site:
    """One application."""
    site = Site(seaweedfs_server, seaweedfs_server.make_bucket())
    site.allow_cross_origin()
    return site


@pytest.fixture(scope="module")
def tab(site: Site) -> t.Iterator[Page]:
    """A browser at its page."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(serve(site.app))
        try:
            page = stack.enter_context(browser()).new_page()
        except NotInstalledError as error:
            missing(str(error))
        page.goto(url)
        yield page


@pytest.fixture
def page(tab: Page) -> Page:
    """The page anew, without what it has kept."""
    tab.evaluate("localStorage.clear()")
    return reloaded(tab)


def reloaded(page: Page) -> Page:
    """The page when its script has run again."""
    page.reload()
    page.wait_for_function("window.uppy")
    return page


@pytest.fixture
def sent(page: Page) -> t.Iterator[list[str]]:
    """What the page sends to S3: the method and the part, or the kind of request."""
    requests: list[str] = []
