"""What a real browser makes of stored files, and how nginx sends them."""

from __future__ import annotations

import contextlib
import pathlib
import time
import typing as t

import pytest
import requests
from flask import Flask
from flask import request
from flask import Response

from flask_store import media_types
from flask_store import Store
from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import upload
from tests.conftest import missing
from tests.support import media_files
from tests.support.media_files import JAVASCRIPT
from tests.support.nginx_and_chromium import Chromium
from tests.support.nginx_and_chromium import chromium
from tests.support.nginx_and_chromium import nginx
from tests.support.nginx_and_chromium import proxied
from tests.support.servers import NotInstalledError
from tests.support.servers import serve

ALARM = "fetch('/alarm', {method: 'POST', mode: 'no-cors'})"
HOSTILE = {
    "page.html": f'<script>{ALARM}</script><img src=x onerror="{ALARM}">',
    "page.xhtml": "<html xmlns='http://www.w3.org/1999/xhtml'>"
    f"<script>{ALARM}</script></html>",
    "drawing.svg": "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'"
    f' onload="{ALARM}"><script>{ALARM}</script></svg>',
    "data.xml": "<x xmlns:h='http://www.w3.org/1999/xhtml'>"
    f"<h:script>{ALARM}</h:script></x>",
    "script.js": ALARM,
    "module.mjs": ALARM,
    # Both at once: the size of the picture is "/*", and "=" makes it an assignment.
    "image.gif": f"GIF89a/*{'x' * 20}*/=1;{ALARM}",
    "picture.jpg": f"<script>{ALARM}</script>",
    "notes.txt": f"<script>{ALARM}</script>",
    "noextension": f"<script>{ALARM}</script>",
}


class Site(t.NamedTuple):
    """A running site with a store, and what was asked of it."""

    url: str
    store: FsspecStore
    alarms: list[str]
    ranges: list[str]
    seen: set[str]


@pytest.fixture(scope="module")
def browser() -> t.Iterator[Chromium]:
    """One browser for all tests."""
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(chromium())
        except NotInstalledError as error:
            missing(str(error))
        yield running


@pytest.fixture
def site(tmp_path: pathlib.Path) -> t.Iterator[Site]:
    """A site that rings an alarm when a script of an upload runs."""
    app = Flask(__name__)
    # SVG and pages as pages, too: the sandbox has to hold by itself.
    app.config.update(STORE_PATH=str(tmp_path / "safe"))
    app.config.update(
        BOLD_STORE_PATH=str(tmp_path / "bold"),
        BOLD_STORE_INLINE_TYPES=[
            "text/html",
            "application/xhtml+xml",
            "image/svg+xml",
            "text/xml",
            "image/gif",
            "image/jpeg",
        ],
    )
    store, bold = Store(app), Store(app, name="bold")
    alarms: list[str] = []
    ranges: list[str] = []
    seen: set[str] = set()

    @app.post("/alarm")
    def alarm() -> str:
        alarms.append(request.headers.get("Referer", "?"))
        return ""

    @app.get("/host/<path:name>")
    def host(name: str) -> Response:
        """A page of the site that uses uploads wherever a page can."""
        return Response(
            f"""<title>host</title><script src="/flaskstore/{name}"></script>
            <script type="module" src="/flaskstore/{name}"></script>
            <iframe src="/flaskstore/{name}"></iframe>
            <object data="/flaskstore/{name}"></object>
            <embed src="/flaskstore/{name}">
            <link rel="stylesheet" href="/flaskstore/{name}">
            <img src="/flaskstore/{name}">
            <script>navigator.serviceWorker.register("/flaskstore/{name}")
                .catch(() => 0)</script>""",
            mimetype="text/html",
        )

    @app.before_request
    def note() -> None:
        seen.add(request.path)
        if "Range" in request.headers:
            ranges.append(request.headers["Range"])

    with app.app_context():
        providers = [t.cast("FsspecStore", s.Provider()) for s in (store, bold)]
        for provider in providers:
            for name, text in HOSTILE.items():
                provider.save(upload(text.encode(), name), on_conflict="overwrite")
    with serve(app) as url:
        yield Site(url, providers[0], alarms, ranges, seen)


def test_alarm_works(browser: Chromium, site: Site) -> None:
    """The alarm rings when a script runs, or the tests below would prove nothing."""
    with browser.tab() as tab:
        tab.open(f"{site.url}/host/noextension")
        tab.evaluate(ALARM)
    assert site.alarms


@pytest.mark.parametrize("prefix", ["/flaskstore", "/flaskstore-bold", "/host"])
def test_no_script_runs(browser: Chromium, site: Site, prefix: str) -> None:
    """Opened by itself, with every type shown, or used by a page of the site as a
    script, a frame, an object or a worker: no upload runs a script."""
    with contextlib.ExitStack() as tabs:
        for name in HOSTILE:
            tabs.enter_context(browser.tab()).open(f"{site.url}{prefix}/{name}")
        # No event tells that nothing happens. Two seconds are ten times what a
        # script needs that does run.
        time.sleep(2)
    assert site.alarms == []
    assert site.seen >= {f"{prefix}/{name}" for name in HOSTILE}


def test_families_of_types_run_no_code(
    browser: Chromium, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With whole families of types shown, a page of the site that loads an upload of
    any type of JavaScript as a script or a worker, one of CSS as a style sheet, or one
    of XML as its XSLT, gets none. The same files in a folder of the site's own are run,
    so that the test counts."""
    kinds = {f"s{number}": kind for number, kind in enumerate(JAVASCRIPT)}
    files = {name: f"fetch('/alarm/WHERE/{name}')" for name in kinds}
    files |= {
        "css": "body { background: url(/alarm/WHERE/css) }",
        "xslt": "<x:stylesheet version='1.0' xmlns:x='http://www.w3.org/1999/XSL/"
        "Transform'><x:template match='/'><html xmlns='http://www.w3.org/1999/xhtml'>"
        "<img src='/alarm/WHERE/xslt'/></html></x:template></x:stylesheet>",
    }
    kinds |= {"css": "text/css", "xslt": "text/xml"}
    monkeypatch.setattr(media_types, "content_type", lambda key: kinds[key])
    app = Flask(__name__)
    app.config.update(STORE_PATH=str(tmp_path))
    app.config.update(STORE_INLINE_TYPES=["text/*", "application/*"])
    store = Store(app)
    alarms: set[str] = set()

    @app.get("/alarm/<where>/<name>")
    def alarm(where: str, name: str) -> str:
        alarms.add(f"{where}/{name}")
        return ""

    @app.get("/own/<name>")
    def own(name: str) -> Response:
        text = files[name].replace("WHERE", "own")
        return Response(text, content_type=kinds[name])

    @app.get("/host/<where>")
    def host(where: str) -> str:
        scripts = (
            f"<script src='/{where}/{name}'></script>"
            f"<script type='module' src='/{where}/{name}'></script>"
            f"<script>new Worker('/{where}/{name}')</script>"
            for name in kinds
        )
        return (
            f"<link rel='stylesheet' href='/{where}/css'><iframe src='/xml/{where}'>"
            f"</iframe>{''.join(scripts)}"
        )

    @app.get("/xml/<where>")
    def xml(where: str) -> Response:
        text = f'<?xml-stylesheet type="text/xsl" href="/{where}/xslt"?><x/>'
        return Response(text, content_type="text/xml")

    with app.app_context():
        provider = t.cast("FsspecStore", store.Provider())
        for name, text in files.items():
            provider.save(text.replace("WHERE", "flaskstore").encode(), name)
    with serve(app) as url, browser.tab() as tab, browser.tab() as control:
        tab.open(f"{url}/host/flaskstore")
        tab.wait_for("document.readyState === 'complete'")
        control.open(f"{url}/host/own")
        # What the store's page runs is run by the time when all of these are.
        deadline = time.monotonic() + 20
        while len(alarms) < len(files) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert alarms == {f"own/{name}" for name in files}


def test_gif_is_a_script(browser: Chromium, site: Site) -> None:
    """Without the headers the GIF runs as a script, so that the test of it counts."""
    with browser.tab() as tab:
        tab.open(f"{site.url}/host/noextension")
        tab.evaluate(HOSTILE["image.gif"])
    assert site.alarms


def test_jpeg_is_shown(browser: Chromium, site: Site) -> None:
    """A JPEG is a picture in a page of its own."""
    site.store.save(media_files.JPEG, "red.jpg")
    with browser.tab() as tab:
        assert not tab.open(f"{site.url}/flaskstore/red.jpg")
        assert tab.wait_for("document.images[0]?.naturalWidth") == 16


def test_pdf_is_shown(browser: Chromium, site: Site) -> None:
    """A PDF is loaded by the browser's viewer, with its one page."""
    site.store.save(media_files.pdf(), "red.pdf")
    with browser.tab() as tab:
        assert not tab.open(f"{site.url}/flaskstore/red.pdf")
        viewer = tab.frame("chrome-extension://")
        viewer.wait_for("document.querySelector('pdf-viewer')?.loadProgress_ === 100")
        assert viewer.evaluate("document.querySelector('pdf-viewer').docLength_") == 1


def test_video_is_shown(browser: Chromium, site: Site) -> None:
    """A video plays in a page of its own, and seeks."""
    site.store.save(media_files.WEBM, "red.webm")
    with browser.tab() as tab:
        assert not tab.open(f"{site.url}/flaskstore/red.webm")
        video = "document.querySelector('video')"
        assert tab.wait_for(f"{video}?.videoWidth") == 16
        tab.evaluate(f"{video}.pause(), {video}.currentTime = 12")
        tab.wait_for(f"!{video}.seeking && {video}.currentTime === 12")


def test_seeking_fetches_a_part(browser: Chromium, site: Site) -> None:
    """Seeking in a long recording asks for its end, without what lies between."""
    site.store.save(media_files.wav(600), "long.wav")
    with browser.tab() as tab:
        tab.open(f"{site.url}/flaskstore/long.wav")
        sound = "document.querySelector('video, audio')"
        tab.wait_for(f"{sound}?.readyState >= 1")
        tab.evaluate(f"{sound}.pause(), {sound}.currentTime = 580")
        tab.wait_for(f"!{sound}.seeking && {sound}.currentTime === 580")
    starts = [int(text.partition("=")[2].partition("-")[0]) for text in site.ranges]
    assert max(starts) > 50_000_000


# -- nginx -----------------------------------------------------------------------

#: As docs/serving.rst has it, but for the folder.
LOCATION = """
        location /private-uploads/ {{
            internal;
            alias {folder}/;
            add_header X-Content-Type-Options $upstream_http_x_content_type_options;
            add_header Content-Security-Policy $upstream_http_content_security_policy;
        }}
"""


def test_nginx_sends_the_file(tmp_path: pathlib.Path) -> None:
    """nginx sends what the application allows, with ranges, conditions and the safe
    headers, and nothing without asking the application."""
    folder = tmp_path / "uploads"
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY="k",
        STORE_PATH=str(folder),
        STORE_SIGNED_URLS=True,
        STORE_X_ACCEL_REDIRECT="/private-uploads/",
    )
    store = Store(app)
    with app.app_context():
        provider = t.cast("FsspecStore", store.Provider("ü b"))
        f = provider.save(upload(bytes(range(256)), "50% фото #1?.jpg"))
        page = provider.save(upload(b"<script>", "page.html"))
        link, page_link = f.signed_url(), page.signed_url()
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(serve(app))
        try:
            location = LOCATION.format(folder=folder)
            url = stack.enter_context(nginx(proxied(upstream), location))
        except NotInstalledError as error:
            missing(str(error))
        reply = requests.get(url + link, timeout=10)
        assert (reply.status_code, reply.content) == (200, bytes(range(256)))
        assert "nginx" in reply.headers["Server"]
        assert reply.headers["Content-Type"] == "image/jpeg"
        assert reply.headers["Content-Disposition"].startswith("inline; filename=")
        etag = reply.headers["ETag"]
        for found in (reply, requests.get(url + page_link, timeout=10)):
            assert found.headers["X-Content-Type-Options"] == "nosniff"
            assert "sandbox" in found.headers["Content-Security-Policy"]
            assert found.headers["Cache-Control"].startswith("private, max-age=")
        assert found.headers["Content-Disposition"].startswith("attachment")
        for headers, status, size in [
            ({"Range": "bytes=10-19"}, 206, 10),
            ({"Range": "bytes=-999"}, 206, 256),
            ({"If-None-Match": etag}, 304, 0),
            ({"If-Match": etag}, 200, 256),
            ({"If-Match": '"x"'}, 412, None),
            ({"Range": "bytes=999-"}, 416, None),
        ]:
            reply = requests.get(url + link, headers=headers, timeout=10)
            assert reply.status_code == status, headers
            assert size is None or len(reply.content) == size
        assert requests.get(url + f"/{f.relative_url()}", timeout=10).status_code == 403
        direct = link.partition("?")[0].replace("/flaskstore", "/private-uploads")
        assert requests.get(url + direct, timeout=10).status_code == 404


def test_x_sendfile(tmp_path: pathlib.Path) -> None:
    """With USE_X_SENDFILE the answer is the real path, percent-encoded, and no body."""
    app = Flask(__name__)
    app.config.update(STORE_PATH=str(tmp_path / "link"), USE_X_SENDFILE=True)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    store = Store(app)
    with app.app_context():
        store.Provider().save(upload(b"x", "ф 1%.txt"))
    reply = app.test_client().get("/flaskstore/ф 1%25.txt")
    assert reply.data == b""
    assert reply.headers["X-Sendfile"] == f"{tmp_path}/real/%D1%84%201%25.txt"
    assert app.test_client().get("/flaskstore/no.txt").status_code == 404
