"""The uploaders of others, with the lines of docs/uploaders.rst."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import typing as t

import pytest
from flask import Flask
from flask import Response
from playwright.sync_api import Browser
from playwright.sync_api import Page

from flask_store.stores.fsspec import FsspecStore
from tests.conftest import missing
from tests.storages.test_s3 import settings
from tests.support.browser import browser
from tests.support.browser import bundle
from tests.support.documented import documented
from tests.support.servers import NotInstalledError
from tests.support.servers import S3Server
from tests.support.servers import serve

SIZE = 3_000_001
DATA = bytes(n * 7 % 256 for n in range(SIZE))
FILE = f"""
    (name) => {{
        const bytes = Uint8Array.from({{length: {SIZE}}}, (_, n) => n * 7);
        return new File([bytes], name, {{type: "video/mp4", lastModified: 1}});
    }}
"""
#: A promise that is not kept would hang for ever.
LIMITED = """
    async (name) => Promise.race([
        (%s)((%s)(name)),
        new Promise((_, refuse) => {
            setTimeout(() => refuse(new Error("Nothing happened.")), 60000);
        }),
    ])
"""
#: How each uploader is given a file, and tells that it is stored.
UPLOADS = {
    "@uppy/tus": "uppy",
    "@uppy/xhr-upload": "uppy",
    "dropzone": """
        (file) => new Promise((stored, refuse) => {
            dropzone.on("stored", ({stored: {url}}) => stored(url));
            dropzone.on("error", (_, message) => refuse(new Error(message)));
            dropzone.addFile(file);
        })
    """,
    "filepond": """
        (file) => new Promise((stored, refuse) => {
            pond.on("processfile", async (error, {serverId}) => {
                if (error) refuse(new Error(error.body));
                else stored((await post("/uploads", {token: serverId})).url);
            });
            pond.addFile(file);
        })
    """,
    "tus-js-client": "async (file) => (await upload(file)).url",
}
UPPY = """
    async (file) => {
        uppy.addFile({name: file.name, type: file.type, data: file});
        const {successful, failed} = await uppy.upload();
        if (failed.length) throw new Error(failed[0].error);
        return uppy.getFile(successful[0].id).uploadURL;
    }
"""
#: What a module exports to the page.
EXPORTS = {
    "@uppy/tus": "uppy",
    "@uppy/xhr-upload": "uppy",
    "dropzone": "dropzone",
    "filepond": "pond",
    "tus-js-client": "upload",
}
RESUMING = ["@uppy/tus", "tus-js-client"]


class Site(t.NamedTuple):
    """The application of the documentation, and its store."""

    app: Flask
    store: FsspecStore
    received: list[tuple[str, int]]


def make_site(config: dict[str, t.Any]) -> Site:
    """The application of the documentation, on another store."""
    code = documented("uploaders.rst", "python", 'STORE_PATH="s3://films"')
    code = code.replace('STORE_PATH="s3://films"', "**config")
    namespace: dict[str, t.Any] = {"config": config}
    exec(code, namespace)
    app = t.cast(Flask, namespace["app"])
    received: list[tuple[str, int]] = []
    wsgi_app = app.wsgi_app

    def counted(environ: t.Any, start_response: t.Any) -> t.Any:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        received.append((environ["REQUEST_METHOD"], length))
        return wsgi_app(environ, start_response)

    app.wsgi_app = counted  # type: ignore[method-assign]
    page = "<!doctype html><div id=drop></div><input type=file id=pond>"
    app.add_url_rule(
        "/page/<path:package>",
        "page",
        lambda package: f"{page}<script type=module src='/script/{package}'></script>",
    )
    app.add_url_rule("/script/<path:package>", "script", script)
    with app.app_context():
        return Site(app, app.extensions["store"].Provider("films"), received)


def script(package: str) -> Response:
    """The lines of the documentation for one uploader, and the package itself."""
    post = documented("uploaders.rst", "javascript", "async function post(")
    lines = documented("uploaders.rst", "javascript", f'from "{package}";')
    shown = f"Object.assign(window, {{post, {EXPORTS[package]}}});"
    # A page of Dropzone has its own way to find elements.
    code = bundle(f"{post}\n{lines}\n{shown}")
    return Response(code, mimetype="text/javascript")


@pytest.fixture(scope="module")
def chromium() -> t.Iterator[Browser]:
    """A browser."""
    with contextlib.ExitStack() as stack:
        try:
            yield stack.enter_context(browser())
        except NotInstalledError as error:
            missing(str(error))


@pytest.fixture(scope="module", params=["local", "s3"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Site:
    """Forms that the application takes, and forms that S3 takes."""
    if request.param == "local":
        return make_site({"STORE_PATH": str(tmp_path_factory.mktemp("films"))})
    server: S3Server = request.getfixturevalue("seaweedfs_server")
    bucket = server.make_bucket()
    rule = {"AllowedMethods": ["POST"], "AllowedOrigins": ["*"], "AllowedHeaders": []}
    client = server.client(server.admin)
    client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    client.close()
    provider = {"STORE_PROVIDER": "flask_store.stores.s3.S3Store"}
    return make_site(settings(server, bucket) | provider)


@pytest.fixture(scope="module")
def address(site: Site) -> t.Iterator[str]:
    """Where the site is."""
    with serve(site.app) as url:
        yield url


@pytest.fixture(autouse=True)
def empty(site: Site) -> None:
    """Nothing is stored yet."""
    site.store.delete(*site.store.ls())


@pytest.fixture
def tab(chromium: Browser) -> t.Iterator[Page]:
    """A new tab."""
    context = chromium.new_context()
    yield context.new_page()
    context.close()


def upload(tab: Page, package: str, name: str) -> str:
    """Let an uploader send a file; return its address."""
    how = UPLOADS[package]
    how = UPPY if how == "uppy" else how
    return str(tab.evaluate(LIMITED % (how, FILE), name))


@pytest.mark.parametrize("package", UPLOADS)
def test_uploader(site: Site, address: str, tab: Page, package: str) -> None:
    """It stores a file as it is, and the application only sees what it should."""
    tab.goto(f"{address}/page/{package}", wait_until="networkidle")
    site.received.clear()
    url = upload(tab, package, "фильм 1.mp4")
    (f,) = site.store.ls()
    assert f.read() == DATA
    assert f.absolute_url() == url and f.content_type == "video/mp4"
    through = sum(size for _, size in site.received)
    to_s3 = site.store.dialect.takes_forms and package not in RESUMING
    assert (through < 10_000) if to_s3 else (through >= SIZE)


@pytest.mark.parametrize("package", RESUMING)
def test_goes_on_after_a_reload(
    site: Site, address: str, tab: Page, package: str
) -> None:
    """The page is left in the middle. The same file goes on where it was."""
    tab.goto(f"{address}/page/{package}", wait_until="networkidle")
    # The first request has a third of the file, and then the page is gone.
    tab.evaluate(
        """(size) => {
            const send = XMLHttpRequest.prototype.send;
            XMLHttpRequest.prototype.send = function (body) {
                if (body && body.size > size) {
                    body = body.slice(0, size);
                    this.addEventListener("load", (event) => {
                        event.stopImmediatePropagation();
                        window.reached = true;
                    });
                    this.onload = null;
                    Object.defineProperty(this, "onload", {set() {}});
                }
                return send.call(this, body);
            };
        }""",
        SIZE // 3,
    )
    how = UPLOADS[package]
    how = UPPY if how == "uppy" else how
    tab.evaluate(f"(name) => {{ ({how})(({FILE})(name)); }}", "again.mp4")
    tab.wait_for_function("window.reached")
    tab.reload(wait_until="networkidle")
    site.received.clear()
    upload(tab, package, "again.mp4")
    (f,) = site.store.ls()
    assert f.read() == DATA
    sent = sum(size for method, size in site.received if method == "PATCH")
    assert sent == SIZE - SIZE // 3


def test_tuspy(site: Site, address: str, tmp_path: pathlib.Path) -> None:
    """From another Python program."""
    path = tmp_path / "фильм 2.mp4"
    path.write_bytes(DATA)
    namespace: dict[str, t.Any] = {}
    exec(documented("uploaders.rst", "python", "TusClient"), namespace)
    said = namespace["upload"](address, path)
    (f,) = site.store.ls()
    assert (f.read(), f.absolute_url()) == (DATA, said["url"])


def test_curl(site: Site, address: str, tmp_path: pathlib.Path) -> None:
    """From a shell."""
    for program in ("curl", "jq"):
        if shutil.which(program) is None:
            missing(program)
    (tmp_path / "beach.jpg").write_bytes(DATA)
    script = documented("uploaders.rst", "bash", "Tus-Resumable")
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "SITE": address},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (f,) = site.store.ls()
    assert f.read() == DATA
    assert re.search(r"beach_\w+\.jpg", done.stdout)
