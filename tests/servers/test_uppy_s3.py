"""Uppy sends a file in parts straight to S3, as docs/uploaders.rst shows it."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import re
import typing as t
from urllib.parse import parse_qsl
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask import Response
from playwright.sync_api import Page
from playwright.sync_api import Request
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
        code = documented("uploaders.rst", "python", 'Flask("films")')
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
        page = "<!doctype html><script type=module src=/u.js></script>"
        app.add_url_rule("/", "page", lambda: page)
        app.add_url_rule(
            "/u.js", "script", lambda: Response(script, mimetype="text/javascript")
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
def page(site: Site, tab: Page) -> Page:
    """The page anew, without what it has kept, and an empty bucket."""
    tab.evaluate("localStorage.clear()")
    site.store.sweep(dt.timedelta(days=-2))
    for found in site.store.ls():
        site.store.delete(found.name)
    assert site.unfinished() == []
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

    def note(request: Request) -> None:
        query = dict(parse_qsl(urlsplit(request.url).query, keep_blank_values=True))
        if request.method != "OPTIONS" and not request.url.startswith(origin):
            part = query.get("partNumber", "")
            requests.append(f"{request.method} {part}".rstrip())

    origin = page.url
    page.on("request", note)
    yield requests
    page.remove_listener("request", note)


def upload(page: Page, size: int) -> str:
    """Upload a file; return its address, or what Uppy has to say."""
    return str(page.evaluate(UPLOAD, size))


def sha256(data: bytes) -> str:
    """The digest of what is stored."""
    return hashlib.sha256(data).hexdigest()


def test_parts(site: Site, page: Page, sent: list[str]) -> None:
    """Every byte arrives, in parts, under the agreed type; the application sees
    signatures alone, and nothing is left."""
    site.received = 0
    site.asked.clear()
    assert not upload(page, MAX_SIZE).startswith("refused")
    assert sent == ["POST", "PUT 1", "PUT 2", "PUT 3", "PUT 4", "POST"]
    # Two views, and a signature for each request.
    assert site.asked == ["POST"] * 8
    assert site.received < 8 * 1000
    (f,) = (site.store.file(found.name) for found in site.store.ls())
    assert f.filename.startswith("фильм 1_") and f.filename.endswith(".mp4")
    assert (f.content_type, f.size) == ("video/mp4", MAX_SIZE)
    assert sha256(f.read()) == digest(MAX_SIZE)
    assert site.unfinished() == []
    assert page.evaluate("localStorage.length") == 0


@contextlib.contextmanager
def stopped(page: Page, part: int) -> t.Iterator[Route]:
    """Begin to upload a file, up to a part that does not arrive while the block runs;
    yield the request."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    wanted = re.compile(f"partNumber={part}&")
    page.route(wanted, hold)
    page.evaluate(f"(size) => {{ window.result = ({UPLOAD})(size); }}", MAX_SIZE)
    while not held:  # Playwright calls the function while it waits for something
        page.evaluate("0")
    yield held[0]
    page.unroute(wanted)


def test_reload_in_the_middle(site: Site, page: Page, sent: list[str]) -> None:
    """Who comes back with the same file goes on with the part that is missing."""
    with stopped(page, 3):
        reloaded(page)
    assert sent == ["POST", "PUT 1", "PUT 2", "PUT 3"]
    sent.clear()
    assert not upload(page, MAX_SIZE).startswith("refused")
    assert sent == ["GET", "PUT 3", "PUT 4", "POST"]
    (f,) = (site.store.file(found.name) for found in site.store.ls())
    assert sha256(f.read()) == digest(MAX_SIZE)


def test_network_is_away(site: Site, page: Page, sent: list[str]) -> None:
    """When it is back, the upload goes on by itself."""
    with stopped(page, 3) as route:
        page.context.set_offline(True)
        route.abort("internetdisconnected")
        assert "refused" in page.evaluate("window.result")
    sent.clear()
    page.evaluate(
        """() => {
            window.result = new Promise((resolve) => uppy.once("complete", resolve));
        }"""
    )
    page.context.set_offline(False)
    page.evaluate("window.result")
    assert sent == ["GET", "PUT 3", "PUT 4", "POST"]
    (f,) = (site.store.file(found.name) for found in site.store.ls())
    assert sha256(f.read()) == digest(MAX_SIZE)


def test_too_large(site: Site, page: Page, sent: list[str]) -> None:
    """One byte more than agreed: the parts are not joined, and removed."""
    words = f"refused: The file is larger than the {MAX_SIZE} bytes that were agreed."
    assert upload(page, MAX_SIZE + 1) == words
    assert sent == ["POST", "PUT 1", "PUT 2", "PUT 3", "PUT 4"]
    assert site.unfinished() == []
    assert list(site.store.ls()) == []
    assert page.evaluate("localStorage.length") == 0


@pytest.mark.parametrize("size", [0, 3, 5 * MIB])
def test_small_file(site: Site, page: Page, sent: list[str], size: int) -> None:
    """It goes to S3 as a form."""
    assert not upload(page, size).startswith("refused")
    assert sent == ["POST"]
    (f,) = (site.store.file(found.name) for found in site.store.ls())
    assert sha256(f.read()) == digest(size)


def is_deletion(reply: t.Any) -> bool:
    """Whether a response is one to DELETE."""
    return bool(reply.request.method == "DELETE")


def test_cancelled(site: Site, page: Page, sent: list[str]) -> None:
    """A file that is removed in the middle leaves nothing."""
    with stopped(page, 2), page.expect_response(is_deletion) as deletion:
        page.evaluate("uppy.removeFile(uppy.getFiles()[0].id)")
    assert deletion.value.status == 204
    assert sent == ["POST", "PUT 1", "PUT 2", "DELETE"]
    assert site.unfinished() == []
    assert page.evaluate("localStorage.length") == 0


#: Asks with one token for another key, and for the upload of another token.
FOREIGN = """
    async () => {
        const view = () => post("/uploads/new", {name: "a.mp4"});
        const [mine, other] = [await view(), await view()];
        const {url, headers} = await post(other.parts, {method: "POST"});
        const text = await (await fetch(url, {method: "POST", headers})).text();
        const uploadId = text.match(/<UploadId>(.*?)</)[1];
        const asked = [{method: "POST", key: other.key},
                       {method: "PUT", uploadId, partNumber: 1},
                       {method: "GET", uploadId},
                       {method: "POST", uploadId},
                       {method: "DELETE", uploadId}];
        const said = asked.map((each) =>
            post(mine.parts, each).catch((error) => error.status));
        return Promise.all(said);
    }
"""


def test_foreign_key_and_upload(site: Site, page: Page) -> None:
    """Neither is signed."""
    assert page.evaluate(FOREIGN) == [403] * 5
    assert len(site.unfinished()) == 1
    site.store.sweep(dt.timedelta(hours=-25))


def test_nobody_comes_back(site: Site, page: Page, sent: list[str]) -> None:
    """0 parts are left after a sweep, when the token has expired. Who comes back still
    later begins anew."""
    with stopped(page, 3):
        reloaded(page)
    site.store.sweep(dt.timedelta(hours=-23))
    assert len(site.unfinished()) == 1
    site.store.sweep(dt.timedelta(hours=-25))
    assert site.unfinished() == []
    sent.clear()
    assert upload(page, MAX_SIZE).startswith("refused: S3 returned 404")
    page.evaluate("uppy.retryAll()")
    assert sent == ["GET", "POST", "PUT 1", "PUT 2", "PUT 3", "PUT 4", "POST"]
    (f,) = (site.store.file(found.name) for found in site.store.ls())
    assert sha256(f.read()) == digest(MAX_SIZE)
