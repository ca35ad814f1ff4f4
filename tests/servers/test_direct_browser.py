"""The script of docs/serving.rst, as it stands there, in a real browser."""

from __future__ import annotations

import contextlib
import pathlib
import re
import typing as t

import pytest
from flask import Flask
from flask import Response

from flask_store.stores.fsspec import FsspecStore
from tests.conftest import missing
from tests.storages.test_s3 import settings
from tests.support.documented import documented
from tests.support.gcs_server import account
from tests.support.gcs_server import fake_gcs
from tests.support.nginx_and_chromium import chromium
from tests.support.nginx_and_chromium import Tab
from tests.support.protocol_servers import azurite
from tests.support.server_contract import started
from tests.support.servers import NotInstalledError
from tests.support.servers import S3Server
from tests.support.servers import serve

MAX_SIZE = 1_000_000
#: Bytes of every value, as Python and JavaScript both write them down.
DATA = bytes(n * 7 % 256 for n in range(MAX_SIZE))
SCRIPT = """
(async () => {
    const bytes = Uint8Array.from({length: %d}, (_, n) => n * 7 %% 256);
    const photo = new File([bytes], "фото 1.jpg", {type: "image/jpeg"});
    const fetch = window.fetch;
    try {
        %s
        return (await upload(photo)).url;
    } catch (error) {
        return `refused: ${error.message}`;
    } finally {
        window.fetch = fetch;
    }
})()
"""


def make_app(config: dict[str, t.Any]) -> Flask:
    """The application of the documentation on another store, and a page for its
    script."""
    code = documented("serving.rst", "python", "presign_upload(")
    for old, new in (
        ('STORE_PATH="memory://gallery"', "**config"),
        ("max_size=50_000_000", f"max_size={MAX_SIZE}"),
    ):
        assert old in code
        code = code.replace(old, new)
    namespace: dict[str, t.Any] = {"Flask": Flask, "config": config}
    exec("from flask_store import Store\n" + code, namespace)
    app = t.cast(Flask, namespace["app"])
    script = documented("serving.rst", "javascript", "async function upload(file)")
    page = f"<!doctype html><meta charset=utf-8><script>{script}</script>"
    app.add_url_rule("/", view_func=lambda: page)
    return app


def allow_cross_origin(server: S3Server, bucket: str) -> None:
    """The CORS rule that the documentation asks for."""
    rule = {"AllowedMethods": ["POST"], "AllowedOrigins": ["*"], "AllowedHeaders": []}
    client = server.client(server.admin)
    client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    client.close()


@contextlib.contextmanager
def config_of(
    name: str, request: pytest.FixtureRequest, folder: pathlib.Path
) -> t.Iterator[dict[str, t.Any]]:
    """The settings of one kind of store."""
    if name == "local":
        yield {"STORE_PATH": str(folder)}
    elif name == "s3":
        server: S3Server = request.getfixturevalue("seaweedfs_server")
        bucket = server.make_bucket()
        allow_cross_origin(server, bucket)
        yield settings(server, bucket) | {
            "STORE_PROVIDER": "flask_store.stores.s3.S3Store"
        }
    elif name == "azure":
        with started(azurite) as place:
            yield {"STORE_PATH": place.new(), "STORE_OPTIONS": place.options}
    else:
        token = Response('{"access_token": "x", "expires_in": 3600}')
        with started(fake_gcs) as place, serve(token) as url:
            options = {**place.options, "token": account(url)}
            yield {"STORE_PATH": place.new(), "STORE_OPTIONS": options}


class Page(t.NamedTuple):
    """The page with the script in a browser, and the store behind it."""

    tab: Tab
    store: FsspecStore

    def upload(self, size: int, before: str = "") -> str:
        """Upload a photo; return its address, or what the script has to say."""
        return str(self.tab.evaluate(SCRIPT % (size, before)))


@pytest.fixture(params=["local", "s3", "azure", "gcs"], scope="module")
def page(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[Page]:
    """A browser at the documented page."""
    with contextlib.ExitStack() as stack:
        folder = tmp_path_factory.mktemp("uploads")
        config = stack.enter_context(config_of(request.param, request, folder))
        app = make_app(config)
        url = stack.enter_context(serve(app))
        try:
            browser = stack.enter_context(chromium())
        except NotInstalledError as error:
            missing(str(error))
        tab = stack.enter_context(browser.tab())
        tab.open(url)
        tab.wait_for("typeof upload === 'function'")
        with app.app_context():
            store = t.cast("FsspecStore", app.extensions["store"].Provider("photos"))
        yield Page(tab, store)


def test_upload(page: Page) -> None:
    """The photo arrives, byte for byte, under its name and type."""
    assert not page.upload(MAX_SIZE).startswith("refused")
    (f,) = (page.store.file(found.name) for found in page.store.ls())
    assert f.filename.startswith("фото 1_") and f.filename.endswith(".jpg")
    assert f.read() == DATA
    assert f.content_type == "image/jpeg"
    f.delete()


def test_too_large(page: Page) -> None:
    """A photo that is too large is not sent, and one that is sent is refused, both
    times with words that tell why."""
    said = page.upload(MAX_SIZE + 1)
    assert said == f"refused: фото 1.jpg is larger than {MAX_SIZE} bytes."
    lie = "Object.defineProperty(photo, 'size', {value: 1});"
    said = page.upload(MAX_SIZE + 1, lie)
    # The words are the application's, and S3's own.
    assert re.match(r"refused: .*(larger than the 1000000 bytes|exceeds the max)", said)
    assert list(page.store.ls()) == []


def test_wrong_type(page: Page) -> None:
    """What says another type than agreed is refused, with words that tell why."""
    lie = """
        window.fetch = (url, options) => {
            if (options.body instanceof FormData)
                options.body.set("Content-Type", "text/html");
            return fetch(url, options);
        };
    """
    said = page.upload(10, lie)
    assert re.match(r"refused: .*('image/jpeg' was agreed|according to Policy)", said)
    assert list(page.store.ls()) == []
