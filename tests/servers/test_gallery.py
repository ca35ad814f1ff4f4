"""The gallery of ``make demo``, used as people use it, in a real browser."""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import re
import signal
import subprocess
import threading
import time
import typing as t
import wave
from collections.abc import Callable
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import requests
from flask import Flask
from PIL import Image
from playwright.sync_api import Browser
from playwright.sync_api import BrowserContext
from playwright.sync_api import expect
from playwright.sync_api import Locator
from playwright.sync_api import Page

from flask_store.background.sending import Sending
from flask_store.exceptions import StoreFull
from flask_store.exceptions import StoreUnavailable
from flask_store.http import links
from flask_store.stores.fsspec import FsspecStore
from tests.conftest import missing
from tests.support import servers
from tests.support.browser import browser
from tests.support.browser import module
from tests.support.servers import NotInstalledError
from tests.support.servers import ROOT
from tests.support.servers import S3Server
from tests.support.servers import serve

if t.TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse
    from _typeshed.wsgi import WSGIEnvironment

GALLERY = ROOT / "examples" / "gallery"
MEDIA = ROOT / "tests" / "media"
#: How many bytes of an upload arrive before it is held.
PASSED = 256 * 1024
#: More than that, and no two parts of it are the same.
DATA = b"".join(b"%09d\n" % n for n in range(100_000))
#: How large a file goes through the page. FLASK_STORE_ROUNDS=4 makes it 1 GiB.
HUGE = 256 * 1024**2 * int(os.environ.get("FLASK_STORE_ROUNDS", "1"))
#: How much the memory of the server may grow meanwhile, in KiB.
GROWTH = 32 * 1024
#: The views of the page that are checked for people who need more than a mouse.
VIEWS: dict[str, dict[str, t.Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "has_touch": True,
        "is_mobile": True,
    },
}


class Gate:
    """Between the browser and the application: holds an upload in its middle."""

    def __init__(self, app: Flask) -> None:
        self.app = app.wsgi_app
        self.is_shut = False
        self.reached = threading.Event()
        self.opened = threading.Event()
        #: Whether the application is done with what was held.
        self.ended = threading.Event()

    def shut(self) -> None:
        """Hold the next upload as soon as a part of it has arrived."""
        self.is_shut = True

    def open(self) -> None:
        """Let uploads pass again."""
        self.is_shut = False
        self.opened.set()

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> t.Iterable[bytes]:
        is_held = environ["REQUEST_METHOD"] == "PATCH" and self.is_shut
        if is_held:
            environ["wsgi.input"] = Held(environ["wsgi.input"], self)
        try:
            return self.app(environ, start_response)
        finally:
            if is_held:
                self.ended.set()


class Held:
    """The body of a request, which stops at a gate."""

    def __init__(self, stream: t.Any, gate: Gate) -> None:
        self.stream, self.gate = stream, gate
        self.left = PASSED

    def read(self, size: int = -1) -> bytes:
        if self.left <= 0:
            self.gate.reached.set()
            assert self.gate.opened.wait(60)
        data: bytes = self.stream.read(size)
        self.left -= len(data)
        return data


class Site(t.NamedTuple):
    """The gallery at its address, its store, and what somebody uploads."""

    url: str
    app: Flask
    store: FsspecStore
    gate: Gate
    folder: pathlib.Path
    #: Everything that the storage has, private files included.
    everything: Callable[[], list[str]]

    def file(self, name: str, content: bytes = DATA) -> pathlib.Path:
        """A file on the disk of whoever uploads it."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def stored(self) -> dict[str, bytes]:
        """What the store has, by the names that people see."""
        return {f.download_name: f.read() for f in self.store.ls()}


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith(("STORE_", "FLASK_"))]:
        monkeypatch.delenv(name)
    monkeypatch.syspath_prepend(str(ROOT / "examples"))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for all tests, on a machine that may be busy."""
    expect.set_options(timeout=30_000)
    with contextlib.ExitStack() as stack:
        try:
            started = stack.enter_context(browser())
        except NotInstalledError as error:
            missing(str(error))
        yield started


@contextlib.contextmanager
def gallery(
    folder: pathlib.Path,
    everything: Callable[[], list[str]] = list,
    **config: t.Any,
) -> Iterator[Site]:
    """The gallery with some settings, on a real server."""
    from gallery import create_app  # type: ignore[import-not-found]

    config.setdefault("STORE_PATH", str(folder / "uploads"))
    config.setdefault("STORE_SPOOL_PATH", str(folder / "spool"))
    app: Flask = create_app({"SECRET_KEY": "a secret", **config})
    gate = Gate(app)
    app.wsgi_app = gate  # type: ignore[method-assign, assignment]
    with app.app_context():
        store = t.cast("FsspecStore", app.extensions["store"].at(None))
    files = folder / "files"
    files.mkdir()
    with serve(app) as url:
        yield Site(url, app, store, gate, files, everything)
        gate.open()


def s3_settings(server: S3Server, bucket: str) -> dict[str, t.Any]:
    """The settings that turn the gallery to S3."""
    return {
        "STORE_PROVIDER": "flask_store.stores.s3.S3Store",
        "STORE_PATH": None,
        "STORE_S3_BUCKET": bucket,
        "STORE_S3_REGION": server.region,
        "STORE_S3_ENDPOINT_URL": server.endpoint_url,
        "STORE_S3_ACCESS_KEY": server.access_key,
        "STORE_S3_SECRET_KEY": server.secret_key,
    }


@pytest.fixture
def local(tmp_path: pathlib.Path) -> Iterator[Site]:
    """The gallery on the local disk, as make demo has it."""
    root = tmp_path / "uploads"

    def everything() -> list[str]:
        return [str(path) for path in root.rglob("*") if path.is_file()]

    with gallery(tmp_path, everything) as site:
        yield site


@pytest.fixture(params=["local", "seaweedfs"])
def site(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[Site]:
    """The gallery on the local disk and on S3."""
    if request.param == "local":
        yield request.getfixturevalue("local")
        return
    server: S3Server = request.getfixturevalue("seaweedfs_server")
    bucket = server.make_bucket()
    client = server.client(server.admin)

    def everything() -> list[str]:
        objects = client.list_objects_v2(Bucket=bucket).get("Contents", [])
        begun = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
        return [found["Key"] for found in [*objects, *begun]]

    with gallery(tmp_path, everything, **s3_settings(server, bucket)) as site:
        yield site
    client.close()


class Visit(t.NamedTuple):
    """Somebody at the gallery, and what their browser complains of."""

    context: BrowserContext
    page: Page
    wrong: list[str]

    def card(self, name: str) -> Locator:
        """The card of a stored file."""
        return self.page.locator(".card", has_text=name)

    def sending(self, name: str) -> Locator:
        """The card of a file on its way."""
        return self.page.locator("#sending li", has_text=name)

    def pick(self, *files: pathlib.Path) -> None:
        """Choose files in the dialog of the browser."""
        self.page.set_input_files("input[type=file]", files)

    def drop(self, *paths: pathlib.Path) -> None:
        """Drag files or folders from the desktop, and drop them at the page's end."""
        client = self.context.new_cdp_session(self.page)
        data = {"items": [], "files": [str(p) for p in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver"):
            at = {"type": kind, "x": 500, "y": 600, "data": data}
            client.send("Input.dispatchDragEvent", at)
        expect(self.page.locator("store-uploader[dragging]")).to_have_count(1)
        client.send("Input.dispatchDragEvent", {**at, "type": "drop"})

    def offline(self, is_off: bool) -> None:
        """Take the network away, or bring it back."""
        self.context.set_offline(is_off)


@contextlib.contextmanager
def visiting(chromium: Browser, url: str, **options: t.Any) -> Iterator[Visit]:
    """A browser at the gallery. Nothing may go wrong in it, and no request may leave
    this machine."""
    context = chromium.new_context(**options)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(f"{said.type}: {said.text}"))
    page.on("request", lambda request: note_stranger(request.url, wrong))
    page.goto(url)
    try:
        yield Visit(context, page, wrong)
    finally:
        context.close()
    assert wrong == []


def note_stranger(url: str, wrong: list[str]) -> None:
    """Write down a request to another machine."""
    if not re.match(r"http://127\.0\.0\.1:|blob:|data:", url):
        wrong.append(f"a request to {url}")


@pytest.fixture
def visit(chromium: Browser, site: Site) -> Iterator[Visit]:
    """Somebody at the gallery, on either store."""
    with visiting(chromium, site.url) as visit:
        yield visit


@pytest.fixture
def at_local(chromium: Browser, local: Site) -> Iterator[Visit]:
    """Somebody at the gallery on the local disk."""
    with visiting(chromium, local.url) as visit:
        yield visit


def sound(seconds: int) -> bytes:
    """Silence of some length, which takes 176 kB for a second."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.writeframes(bytes(4 * 44_100 * seconds))
    return buffer.getvalue()


# -- uploads -----------------------------------------------------------------


def test_pick_files(site: Site, visit: Visit) -> None:
    """Each file that somebody picks gets its card, and is stored byte for byte."""
    names = ["фото 1.txt", "two.bin", "empty.txt"]
    contents = [DATA, DATA[:-1], b""]
    visit.pick(*map(site.file, names, contents))
    expect(visit.page.locator(".card")).to_have_count(3)
    expect(visit.page.locator("#sending li")).to_have_count(0)
    expect(visit.page.locator("h2")).to_have_text("3 files")
    assert site.stored() == dict(zip(names, contents, strict=True))
    visit.page.reload()
    expect(visit.page.locator(".card")).to_have_count(3)


def test_large_file(site: Site, visit: Visit) -> None:
    """A large file arrives, on S3 in parts from the browser to the bucket, which the
    policy of the page allows."""
    content = DATA * 20
    visit.pick(site.file("large.bin", content))
    expect(visit.card("large.bin")).to_be_visible()
    assert site.stored() == {"large.bin": content}


def test_drop_files_and_a_folder(site: Site, visit: Visit) -> None:
    """The whole page takes what is dragged, and a folder is the files in it."""
    site.file("trip/day 1/a.txt", b"a")
    site.file("trip/b.txt", b"b")
    visit.drop(site.folder / "trip", site.file("c.txt", b"c"))
    expect(visit.page.locator(".card")).to_have_count(3)
    assert site.stored() == {"a.txt": b"a", "b.txt": b"b", "c.txt": b"c"}


def test_cancel_leaves_nothing(site: Site, visit: Visit) -> None:
    """A file that is cancelled in its middle is nowhere, also not in private."""
    site.gate.shut()
    visit.pick(site.file("large.bin"))
    assert site.gate.reached.wait(60)
    button = visit.sending("large.bin").get_by_role("button", name="Cancel")
    with visit.page.expect_response(is_end, timeout=60_000):
        button.click()
        expect(visit.page.locator("#sending li")).to_have_count(0)
        site.gate.open()
    assert site.everything() == []
    expect(visit.page.locator(".empty")).to_be_visible()
    visit.wrong[:] = [said for said in visit.wrong if "423" not in said]


def is_end(response: t.Any) -> bool:
    """Whether an upload has been ended."""
    return response.request.method == "DELETE" and bool(response.ok)


def is_look(response: t.Any) -> bool:
    """Whether the browser has learnt how much has arrived."""
    return response.request.method == "HEAD" and bool(response.ok)


def test_offline_and_on_again(site: Site, visit: Visit) -> None:
    """An upload that loses its connection goes on where it stopped."""
    site.gate.shut()
    visit.pick(site.file("large.bin"))
    assert site.gate.reached.wait(60)
    visit.offline(True)
    expect(visit.sending("large.bin")).to_contain_text("Waiting for the connection")
    site.gate.open()
    assert site.gate.ended.wait(60)
    with visit.page.expect_response(is_look) as look:
        visit.offline(False)
    assert int(look.value.headers["upload-offset"]) >= PASSED
    expect(visit.card("large.bin")).to_be_visible(timeout=20_000)
    assert site.stored() == {"large.bin": DATA}
    forgive(visit, "ERR_INTERNET_DISCONNECTED")


def forgive(visit: Visit, *parts: str) -> None:
    """Forget what the console has to say of a fault that the test made."""
    visit.wrong[:] = [
        said for said in visit.wrong if not any(part in said for part in parts)
    ]


def test_error_beside_its_file(
    local: Site, at_local: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong with one file stands in its card, and can be tried again."""
    dialect = type(local.store.dialect)
    info = dialect.info

    def full(dialect: t.Any, key: str) -> t.Any:
        if "bad" in key:
            raise StoreFull("No space is left.", key)
        return info(dialect, key)

    monkeypatch.setattr(dialect, "info", full)
    at_local.pick(local.file("bad.txt", b"bad"), local.file("good.txt", b"good"))
    card = at_local.sending("bad.txt")
    expect(card).to_contain_text("The storage is full.")
    expect(at_local.card("good.txt")).to_be_visible()
    monkeypatch.setattr(dialect, "info", info)
    card.get_by_role("button", name="Try again").click()
    expect(at_local.card("bad.txt")).to_be_visible()
    assert local.stored() == {"bad.txt": b"bad", "good.txt": b"good"}
    forgive(at_local, "507")


def test_too_large(chromium: Browser, tmp_path: pathlib.Path) -> None:
    """A file over the limit is refused before it is sent, with the limit."""
    with (
        gallery(tmp_path, MAX_CONTENT_LENGTH=500_000) as site,
        visiting(chromium, site.url) as visit,
    ):
        visit.pick(site.file("large.bin"))
        expect(visit.sending("large.bin")).to_contain_text("500 kB")
        assert site.stored() == {}


# -- what can be done with a file --------------------------------------------


def test_picture_and_other_files(local: Site, chromium: Browser) -> None:
    """A picture is shown, and everything else is a card with type, size and date. So
    is what only says that it is a picture."""
    local.store.save(MEDIA / "picture.png")
    local.store.save(b"%PDF-", "invoice.pdf")
    local.store.save(b"no picture", "broken.jpg")
    with visiting(chromium, local.url) as visit:
        expect(visit.card("broken.jpg").locator("img")).to_have_count(0)
        expect(visit.card("broken.jpg").locator(".tile")).to_contain_text("jpg")
        picture = visit.card("picture.png").locator("img")
        picture.scroll_into_view_if_needed()
        assert picture.evaluate("async (i) => (await i.decode(), i.naturalWidth)") > 0
        assert picture.evaluate("(i) => getComputedStyle(i).objectFit") == "cover"
        box = visit.card("picture.png").locator(".shown").bounding_box()
        assert box and abs(box["width"] / box["height"] - 4 / 3) < 0.02
        card = visit.card("invoice.pdf")
        expect(card.locator(".tile")).to_have_text(re.compile(r"pdf\s+application/pdf"))
        expect(card).to_contain_text(re.compile(r"5 Bytes · \d+ \w+ 20\d\d"))
        # The browser tells of it, once.
        (said,) = visit.wrong
        assert "422" in said
        visit.wrong.clear()


@pytest.mark.parametrize(("density", "width"), [(1, 480), (2, 960)])
def test_pictures_are_variants(
    site: Site, chromium: Browser, density: int, width: int
) -> None:
    """A card asks for one small picture, as sharp as the screen, at an address that a
    browser keeps. A picture that only browsers read is shown itself."""
    for format, name in (("jpeg", "photo.jpg"), ("bmp", "bitmap.bmp")):
        buffer = io.BytesIO()
        Image.effect_noise((2000, 1500), 90).save(buffer, format)
        site.store.save(buffer.getvalue(), name)
    with visiting(chromium, site.url, device_scale_factor=density) as visit:
        asked = []
        visit.page.on("response", lambda response: asked.append(response))
        visit.page.reload(wait_until="networkidle")
        photo = visit.card("photo.jpg").locator("img")
        decoded = "async (i) => (await i.decode(), [i.naturalWidth, i.currentSrc])"
        _, url = photo.evaluate(decoded)
        (response,) = [r for r in asked if "photo.jpg" in r.url]
        assert response.url == url
        assert response.headers["content-type"] == "image/webp"
        assert "immutable" in response.headers["cache-control"]
        assert Image.open(io.BytesIO(response.body())).size == (width, width * 3 // 4)
        assert photo.get_attribute("loading") == "lazy"
        bitmap = visit.card("bitmap.bmp").locator("img")
        assert bitmap.evaluate(decoded)[0] == 2000


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_seeking(site: Site, chromium: Browser, kind: str) -> None:
    """Video and audio play from any moment, of which the browser asks for a range."""
    content = (MEDIA / "video.mp4").read_bytes() if kind == "video" else sound(120)
    site.store.save(content, "a.mp4" if kind == "video" else "a.wav")
    ranges: list[tuple[str, int]] = []
    with visiting(chromium, "about:blank") as visit:
        visit.page.on(
            "response",
            lambda got: ranges.append(
                (got.request.headers.get("range", ""), got.status)
            ),
        )
        visit.page.goto(site.url)
        media = visit.page.locator(kind)
        assert media.evaluate(SEEK)
        # A short video comes with its first request.
        last = [asked for asked in ranges if asked[0]][-1]
        assert last[1] == 206
        assert kind == "video" or int(last[0].removeprefix("bytes=").rstrip("-")) > 0


#: Goes to a moment near the end, and tells whether the media is there.
SEEK = """
(media) => new Promise((resolve, reject) => {
    media.addEventListener("error", () => reject(media.error));
    media.addEventListener("seeked", () => resolve(media.readyState >= 2));
    const seek = () => media.currentTime = media.duration * 0.9;
    if (media.readyState) seek();
    else media.addEventListener("loadedmetadata", seek);
})
"""


def test_signed_link(site: Site, visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link can be copied. Everybody can read the file by it, until it expires."""
    site.store.save(DATA, "report.txt")
    visit.page.reload()
    visit.card("report.txt").get_by_role("link", name="Get a link").click()
    visit.page.get_by_label("Make another one, for").select_option("10 minutes")
    visit.page.get_by_role("button", name="Make the link").click()
    expect(visit.page.locator("dialog")).to_contain_text("for 10 minutes")
    visit.page.get_by_role("button", name="Copy").click()
    expect(visit.page.get_by_role("button", name="Copied")).to_be_visible()
    link = visit.page.evaluate("navigator.clipboard.readText()")
    assert link == visit.page.locator("#url").input_value()
    assert requests.get(link, timeout=30).content == DATA
    clock = SimpleNamespace(time=lambda: time.time() + 750)
    monkeypatch.setattr(links, "time", clock)
    assert requests.get(link, timeout=30).status_code == 403
    visit.page.get_by_role("link", name="Back to the gallery").click()
    expect(visit.page.locator("dialog")).to_be_hidden()


def test_download_has_the_old_name(site: Site, visit: Visit) -> None:
    """A file that was renamed in the store comes back under its own name."""
    name = "Überblick, 1. Fassung.txt"
    visit.pick(site.file(name))
    link = visit.card("Überblick").get_by_role("link", name="Download")
    with visit.page.expect_download() as download:
        link.click()
    assert download.value.suggested_filename == name
    assert pathlib.Path(download.value.path()).read_bytes() == DATA


def test_delete(site: Site, visit: Visit) -> None:
    """A file is deleted after a question, and can be kept."""
    for name in ("a.txt", "b.txt"):
        site.store.save(b"1", name)
    visit.page.reload()
    delete = visit.card("a.txt").get_by_role("link", name="Delete")
    delete.click()
    visit.page.get_by_role("link", name="Keep it").click()
    expect(visit.page.locator("dialog")).to_be_hidden()
    assert len(site.stored()) == 2
    delete.click()
    visit.page.get_by_role("button", name="Delete").click()
    expect(visit.page.locator("#messages")).to_have_text("a.txt is deleted.")
    expect(visit.page.locator(".card")).to_have_count(1)
    expect(visit.page.locator("h2")).to_have_text("1 file")
    assert list(site.stored()) == ["b.txt"]


def test_deleted_by_somebody_else(local: Site, at_local: Visit) -> None:
    """A file that is gone already is said to be gone."""
    f = local.store.save(b"1", "a.txt")
    at_local.page.reload()
    at_local.card("a.txt").get_by_role("link", name="Delete").click()
    confirm = at_local.page.get_by_role("button", name="Delete")
    expect(confirm).to_be_visible()
    f.delete()
    confirm.click()
    expect(at_local.page.locator("dialog")).to_contain_text("Not Found")
    forgive(at_local, "404")


def test_no_answer_to_a_question(local: Site, at_local: Visit) -> None:
    """Without a network a question is answered by what is wrong, and works later."""
    local.store.save(b"1", "a.txt")
    at_local.page.reload()
    delete = at_local.card("a.txt").get_by_role("link", name="Delete")
    at_local.offline(True)
    delete.click()
    expect(at_local.page.locator("dialog")).to_contain_text("does not answer")
    at_local.page.get_by_role("button", name="Close").click()
    at_local.offline(False)
    delete.click()
    at_local.page.get_by_role("button", name="Delete").click()
    expect(at_local.page.locator(".card")).to_have_count(0)
    expect(at_local.page.locator(".empty")).to_be_visible()
    forgive(at_local, "ERR_INTERNET_DISCONNECTED")


def test_search_and_pages(site: Site, visit: Visit) -> None:
    """200 files are five pages, the newest first; a search finds names in any case."""
    for n in range(200):
        site.store.put(f"file {n:03}.txt", b"1")
    visit.page.reload()
    seen: list[str] = []
    for count in (48, 48, 48, 48, 8):
        expect(visit.page.locator(".card")).to_have_count(count)
        seen += visit.page.locator(".card h3").all_inner_texts()
        following = visit.page.get_by_role("link", name="Older")
        if count == 48:
            following.click()
    assert following.count() == 0
    expect(visit.page.locator(".pager")).to_contain_text("193–200 of 200")
    assert sorted(seen) == [f"file {n:03}.txt" for n in range(200)]
    visit.page.get_by_role("searchbox").fill("FILE 19")
    visit.page.get_by_role("button", name="Search").click()
    expect(visit.page.locator("h2")).to_have_text("10 files with “FILE 19”")
    visit.page.get_by_role("link", name="Show all files").click()
    expect(visit.page.locator("h2")).to_have_text("200 files")


def test_no_more_names_than_that(local: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page reads some names of a large store and not all of them, and says so."""
    import gallery

    monkeypatch.setattr(gallery, "LISTED", 10)
    for n in range(12):
        local.store.put(f"{n}.txt", b"1")
    page = requests.get(local.url, timeout=30).text
    assert page.count('class="card"') == 10
    assert "a page reads the first 10 names" in page


def test_long_name(local: Site, chromium: Browser) -> None:
    """A name of 200 characters takes one line of a card, and is whole in a title."""
    name = f"{'A very long name ' * 11}{'x' * 9}.txt"
    assert len(name) == 200
    local.store.put(name, b"1")
    local.store.put(f"{'x' * 196}.txt", b"1")
    for options in VIEWS.values():
        with visiting(chromium, local.url, **options) as visit:
            wide = "document.documentElement.scrollWidth - innerWidth"
            assert visit.page.evaluate(wide) <= 0
            title = visit.page.locator(f'h3[title="{name}"]')
            assert title.evaluate("(h) => h.scrollWidth > h.clientWidth")
            assert title.evaluate("(h) => getComputedStyle(h).whiteSpace") == "nowrap"
            visit.page.get_by_role("link", name="Delete A very long").click()
            expect(visit.page.locator("dialog")).to_be_visible()
            assert visit.page.evaluate(wide) <= 0


# -- every way to use it ------------------------------------------------------


def test_without_javascript(site: Site, chromium: Browser) -> None:
    """Forms and links do all of it: upload, link, question, deletion, messages."""
    with visiting(chromium, site.url, java_script_enabled=False) as visit:
        page = visit.page
        upload = page.get_by_role("button", name="Upload")
        upload.click()
        expect(page.locator("#messages")).to_have_text("Choose a file first.")
        visit.pick(site.file("a.txt", b"a"), site.file("b.txt", b"b"))
        upload.click()
        expect(page.locator(".message")).to_have_text(
            ["a.txt is stored.", "b.txt is stored."]
        )
        visit.card("a.txt").get_by_role("link", name="Get a link").click()
        link = page.locator("#url").input_value()
        assert requests.get(link, timeout=30).content == b"a"
        page.get_by_role("link", name="Back to the gallery").click()
        visit.card("a.txt").get_by_role("link", name="Delete").click()
        page.get_by_role("button", name="Delete").click()
        expect(page.locator(".message")).to_have_text("a.txt is deleted.")
        expect(page.locator(".card")).to_have_count(1)


def test_keyboard_alone(local: Site, at_local: Visit) -> None:
    """Tab, Enter and Escape reach everything, and the focus is never lost."""
    for name in ("a.txt", "b.txt"):
        local.store.save(b"1", name)
    page = at_local.page
    # Playwright takes the dialog over when somebody listens, and does not wait for it.
    page.on("filechooser", lambda chooser: None)
    page.reload()
    keys = page.keyboard
    keys.press("Tab")  # the heading is a link to the first page
    keys.press("Tab")
    with page.expect_file_chooser() as chooser:
        keys.press("Space")
    chooser.value.set_files(local.file("c.txt"))
    expect(page.locator(".card")).to_have_count(3)
    for _ in range(2 + 4):  # the search; the name and the actions of the first card
        keys.press("Tab")
    delete = at_local.card("c.txt").get_by_role("link", name="Delete")
    expect(delete).to_be_focused()
    keys.press("Enter")
    expect(page.locator("dialog")).to_be_visible()
    keys.press("Escape")
    expect(page.locator("dialog")).to_be_hidden()
    expect(delete).to_be_focused()
    keys.press("Enter")
    expect(page.get_by_role("button", name="Delete")).to_be_focused()
    keys.press("Enter")
    expect(page.locator(".card")).to_have_count(2)
    assert page.evaluate("document.activeElement.closest('.card') !== null")


@pytest.mark.parametrize("view", VIEWS)
def test_axe(local: Site, chromium: Browser, view: str) -> None:
    """axe finds nothing on any page: full, empty, with an error, in a dialog."""
    try:
        axe = module("axe-core/axe.min.js").read_text()
    except NotInstalledError as error:
        missing(str(error))
    with visiting(chromium, local.url, **VIEWS[view]) as visit:
        page = visit.page

        def check(state: str) -> None:
            page.evaluate(f"{axe}; undefined")
            found = page.evaluate("axe.run()")["violations"]
            problems = [(each["id"], each["nodes"][0]["html"]) for each in found]
            assert problems == [], state
            small = page.evaluate(SMALL) if view == "phone" else []
            assert small == [], state

        check("empty")
        local.gate.shut()
        visit.pick(local.file("large.bin"))
        assert local.gate.reached.wait(60)
        check("on its way")
        local.gate.open()
        expect(visit.card("large.bin")).to_be_visible()
        for name in ("picture.png", "video.mp4", "sound.wav"):
            local.store.save(MEDIA / name)
        page.reload()
        check("full")
        visit.card("large.bin").get_by_role("link", name="Get a link").click()
        expect(page.locator("dialog")).to_be_visible()
        check("a dialog")
        page.goto(f"{local.url}/files/picture.png/delete")
        check("a question")
        page.goto(f"{local.url}/files/gone/delete")
        check("an error")
        forgive(visit, "404")


#: Links and buttons that are smaller than a finger, except for those in a text.
SMALL = """
[...document.querySelectorAll("button, select, input, label, .actions a, .button")]
    .filter((e) => e.checkVisibility() && !e.matches(".panel label, input[type=file]"))
    .filter((e) => {
        const {width, height} = e.getBoundingClientRect();
        return width < 44 || height < 44;
    })
    .map((e) => e.outerHTML)
"""


def test_no_motion(local: Site, chromium: Browser) -> None:
    """Nothing moves for those who ask for that."""
    with visiting(chromium, local.url, reduced_motion="reduce") as visit:
        moving = "[...document.querySelectorAll('*')].filter((e) =>"
        moving += " getComputedStyle(e).transitionDuration !== '0s').length"
        assert visit.page.evaluate(moving) == 0


# -- the background, and faults -----------------------------------------------


def test_background(
    chromium: Browser, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that waits for its upload has a card that says so, until it is stored."""
    go_on = threading.Event()
    send = Sending.send

    def held(sending: Sending, upload: t.Any) -> bool:
        assert go_on.wait(60)
        return send(sending, upload)

    monkeypatch.setattr(Sending, "send", held)
    with (
        gallery(tmp_path, STORE_BACKGROUND=True) as site,
        visiting(chromium, site.url) as visit,
    ):
        f = site.store.save(b"1", "a.txt")
        visit.page.reload()
        expect(visit.card("a.txt").locator(".state")).to_be_visible()
        go_on.set()
        assert f.upload and f.upload.wait(60)
        expect(visit.card("a.txt").locator(".state")).to_have_count(0)
        expect(visit.card("a.txt")).to_have_count(1)


def test_storage_does_not_answer(
    chromium: Browser, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its storage the gallery says so, and shows the files that are safe."""

    def silent(*args: t.Any) -> t.NoReturn:
        raise StoreUnavailable("Nothing answers at an address that is ours to know.")

    with (
        gallery(tmp_path, STORE_BACKGROUND=True) as site,
        visiting(chromium, "about:blank") as visit,
        monkeypatch.context() as patch,
    ):
        patch.setattr(type(site.store.dialect), "find", silent)
        patch.setattr(Sending, "send", silent)
        site.store.save(b"1", "a.txt")
        reply = visit.page.goto(site.url)
        assert reply and reply.status == 503
        expect(visit.page.locator("main")).to_contain_text("Try again in a moment.")
        expect(visit.page.locator("main")).not_to_contain_text("ours to know")
        expect(visit.card("a.txt").locator(".state")).to_be_visible()
        patch.undo()
        visit.page.get_by_role("link", name="Try again").click()
        expect(visit.page.locator("h1")).to_have_text("Gallery")
        forgive(visit, "503")


# -- safety --------------------------------------------------------------------


def test_uploads_never_run(local: Site, chromium: Browser) -> None:
    """An uploaded page or drawing is a download, and a name is text."""
    script = b"<script>document.title = 'run'</script>"
    local.store.save(script, "page.html")
    svg = b'<svg xmlns="http://www.w3.org/2000/svg">' + script + b"</svg>"
    local.store.save(svg, "drawing.svg")
    local.store.put("<img src=x onerror=alert(1)>&amp;.txt", b"1")
    with visiting(chromium, local.url) as visit:
        for name in ("page.html", "drawing.svg"):
            with visit.page.expect_download():
                visit.card(name).locator("h3 a").click()
            url = visit.card(name).locator("h3 a").get_attribute("href")
            headers = requests.get(f"{local.url}{url}", timeout=30).headers
            assert headers["Content-Disposition"].startswith("attachment")
            assert "sandbox" in headers["Content-Security-Policy"]
        assert visit.page.title() == "Gallery"
        expect(visit.card("onerror=alert(1)>&amp;.txt")).to_have_count(1)


def test_other_sites(local: Site) -> None:
    """No page of another site can change anything, under whatever name of the host."""
    f = local.store.save(b"1", "a.txt")
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        headers = {"Origin": origin}
        for path in ("/", "/upload", "/uploads", f"/files/{f}/delete"):
            reply = requests.post(local.url + path, headers=headers, timeout=30)
            assert reply.status_code == 403
    assert f.exists()
    reply = requests.get(local.url, headers={"Host": "evil.example"}, timeout=30)
    assert reply.status_code == 400
    mine = {"Origin": local.url}
    url = f"{local.url}/files/{f}/delete"
    assert requests.post(url, headers=mine, timeout=30).status_code == 200
    assert not f.exists()


def test_policy(local: Site, tmp_path: pathlib.Path) -> None:
    """The pages may load only what is the gallery's own, or at an address that the
    settings name."""
    headers = requests.get(local.url, timeout=30).headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy and "*" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    (tmp_path / "other").mkdir()
    bucket = {
        "STORE_PROVIDER": "flask_store.stores.s3.S3Store",
        "STORE_S3_BUCKET": "photos",
        "STORE_S3_REGION": "eu-west-1",
        "STORE_S3_ACCESS_KEY": "key",
        "STORE_S3_SECRET_KEY": "secret",
        "STORE_DOMAIN": "https://cdn.example/files",
    }
    with gallery(tmp_path / "other", **bucket, STORE_PATH=None) as site:
        with site.app.test_request_context():
            import gallery as example

            origins = example.other_origins()
    assert "https://cdn.example" in origins
    assert any(".amazonaws.com" in origin for origin in origins)


# -- make demo -----------------------------------------------------------------


def test_short_enough_to_be_read() -> None:
    """It is an example, which people read before they copy it."""
    lines = [path.read_text().splitlines() for path in GALLERY.rglob("*.py")]
    assert 100 < sum(map(len, lines)) < 250


@contextlib.contextmanager
def made(target: str, tmp_path: pathlib.Path, **env: str) -> Iterator[tuple[str, int]]:
    """Run a demo by make, as people do; yield its address and its process."""
    (port,) = servers._free_ports(1)
    command = ["make", f"--old-file=.venv/{target}", target, f"PORT={port}"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **env},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while not servers._answers(url):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        yield url, process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def peak_memory(group: int) -> int:
    """The most memory that the server of a process group has had, in KiB."""
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes()
            if b"/flask\0" in command and os.getpgid(int(entry.name)) == group:
                status = (entry / "status").read_text()
                return int(re.search(r"VmHWM:\s+(\d+)", status)[1])  # type: ignore[index]
    raise AssertionError("the server does not run")


def test_make_demo(
    chromium: Browser,
    tmp_path: pathlib.Path,
    figures: t.Callable[[str], None],
) -> None:
    """make demo serves the page, answers the line of the quick start, and takes a huge
    file in little memory."""
    uploads = tmp_path / "uploads"
    with made("demo", tmp_path, STORE_PATH=str(uploads)) as (url, group):
        answer = curl(f"{url}/upload")
        assert answer == f"{url}/flaskstore/README.rst"
        readme = (ROOT / "README.rst").read_bytes()
        assert requests.get(answer, timeout=30).content == readme
        with visiting(chromium, url) as visit:
            expect(visit.card("README.rst")).to_be_visible()
            before = peak_memory(group)
            huge = tmp_path / "huge.bin"
            with huge.open("wb") as file:
                file.truncate(HUGE)
            visit.pick(huge)
            expect(visit.card("huge.bin")).to_be_visible(timeout=120_000)
            growth = peak_memory(group) - before
            figures(f"{HUGE >> 20} MiB through the page: {growth} KiB more memory")
            assert growth < GROWTH
    assert [path.stat().st_size for path in uploads.glob("huge*")] == [HUGE]


def test_make_demo_s3(tmp_path: pathlib.Path) -> None:
    """make demo-s3 starts SeaweedFS, keeps the files there, and ends it."""
    with made("demo-s3", tmp_path) as (url, _):
        answer = curl(f"{url}/upload")
        assert answer == f"{url}/flaskstore/README.rst"
        assert b"Two commands" in requests.get(answer, timeout=30).content
        assert "<code>s3://gallery</code>" in requests.get(url, timeout=30).text
        port = int(url.rpartition(":")[2])
    assert not servers._answers(f"http://127.0.0.1:{port + 1}")


def curl(url: str) -> str:
    """Send a file by the command of the quick start, or as it does."""
    try:
        command = ["curl", "-sS", "-F", "afile=@README.rst", url]
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, check=True
        ).stdout.decode()
    except FileNotFoundError:
        with (ROOT / "README.rst").open("rb") as file:
            return requests.post(url, files={"afile": file}, timeout=30).text
