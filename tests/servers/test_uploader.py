"""The uploader, in a real browser: the application of docs/uploaders.rst as it stands
there, and faults between the two."""

from __future__ import annotations

import contextlib
import gzip
import pathlib
import re
import textwrap
import threading
import typing as t
from collections.abc import Callable
from collections.abc import Iterator

import pytest
from flask import abort
from flask import Flask
from flask import Response
from playwright.sync_api import Browser
from playwright.sync_api import BrowserContext
from playwright.sync_api import expect
from playwright.sync_api import Page

from flask_store import Store
from flask_store.exceptions import StoreFull
from flask_store.exceptions import TooLarge
from flask_store.exceptions import WrongType
from flask_store.stores.fsspec import FsspecStore
from flask_store.static import SCRIPT
from tests.conftest import missing
from tests.support.browser import browser
from tests.support.browser import module
from tests.support.servers import NotInstalledError
from tests.support.servers import ROOT
from tests.support.servers import serve

if t.TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse
    from _typeshed.wsgi import WSGIEnvironment

#: What a careful application allows a page.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' blob:"
)
#: The bytes of a file, which are others at each position.
DATA = b"".join(b"%09d\n" % n for n in range(30_000))
CHUNK = 65_536
#: Writes down what the application would hear.
LISTEN = """
window.heard = [];
for (const type of ["added", "progress", "stored", "failed", "cancelled"])
    document.addEventListener(`upload-${type}`, ({detail}) => heard.push(
        {type, name: detail.upload.path, sent: detail.loaded, answer: detail.answer,
         said: detail.error?.message, code: detail.error?.code}));
"""


class Wire:
    """Between the browser and the application: what comes, and what shall go wrong."""

    def __init__(self, app: Flask) -> None:
        self.app = app.wsgi_app
        #: Method and path of each request.
        self.requests: list[str] = []
        #: How many bytes of files have been read.
        self.bytes = 0
        #: How many of the next requests of this kind have this status.
        self.faults: dict[str, tuple[int, int]] = {}
        #: The kind of request that is held, and after how many of them.
        self.holding: tuple[str, int] | None = None
        self.held = threading.Semaphore(0)
        self.go_on = threading.Event()
        app.wsgi_app = self  # type: ignore[method-assign, assignment]

    def hold(self, kind: str, after: int = 0) -> None:
        """Hold all further requests of a kind, except for the first ones."""
        self.go_on.clear()
        self.holding = kind, after

    def release(self) -> None:
        """Let what is held go on, and hold nothing."""
        self.holding = None
        self.go_on.set()

    def wait(self, count: int = 1) -> None:
        """Wait until requests are held."""
        for _ in range(count):
            assert self.held.acquire(timeout=20)

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> t.Iterable[bytes]:
        kind = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        self.requests.append(kind)
        for fault, (count, status) in self.faults.items():
            if count and kind.startswith(fault):
                self.faults[fault] = count - 1, status
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                return Response("<p>Later.</p>", status)(environ, start_response)
        if self.holding is not None and kind.startswith(self.holding[0]):
            held, after = self.holding
            self.holding = held, after - 1
            if after <= 0:
                self.held.release()
                assert self.go_on.wait(60)
        if "/flaskstore" in kind:
            environ["wsgi.input"] = Counted(environ["wsgi.input"], self)
        return self.app(environ, start_response)


class Counted:
    """The body of a request, whose bytes are counted."""

    def __init__(self, stream: t.Any, wire: Wire) -> None:
        self.stream = stream
        self.wire = wire

    def read(self, size: int = -1) -> bytes:
        data: bytes = self.stream.read(size)
        self.wire.bytes += len(data)
        return data

    def readline(self, size: int = -1) -> bytes:
        data: bytes = self.stream.readline(size)
        self.wire.bytes += len(data)
        return data


class Site(t.NamedTuple):
    """The application behind its address, a browser at its page, and its store."""

    url: str
    page: Page
    wire: Wire
    store: FsspecStore
    app: Flask
    root: pathlib.Path
    #: What the console of the browser has, as far as something is wrong.
    wrong: list[str]

    def pick(self, *names: str, data: bytes = DATA) -> None:
        """Choose files, as somebody does in the dialog of the browser."""
        files = [self.file(name, data) for name in names]
        self.page.set_input_files("input[type=file]", files)

    def file(self, name: str, data: bytes = DATA) -> pathlib.Path:
        """A file on the disk of whoever uploads it."""
        file = self.root / name
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"" if name == "empty.txt" else data)
        return file

    def item(self, name: str) -> t.Any:
        """The item of a file in the list."""
        return self.page.locator(".store-upload", has_text=name)

    def expect_state(self, state: str, count: int = 1) -> None:
        """Wait until so many files are in a state."""
        found = self.page.locator(f".store-upload[data-state={state}]")
        expect(found).to_have_count(count, timeout=20_000)

    def heard(self, *types: str) -> list[dict[str, t.Any]]:
        """The events of these types."""
        return [each for each in self.page.evaluate("heard") if each["type"] in types]

    def stored(self) -> dict[str, bytes]:
        """What the store has, by the names that the files had."""
        files = [self.store.file(found.name) for found in self.store.ls()]
        return {re.sub(r"_\w{22}\b", "", f.key): f.read() for f in files}

    def private(self) -> list[str]:
        """What lies in the private folder, but for the marks of what is confirmed."""
        folder = pathlib.Path(self.store.dialect.root, ".flask-store")
        return [
            path.name
            for path in folder.rglob("*")
            if path.is_file() and "confirmed" not in path.name
        ]


def example(**config: t.Any) -> Flask:
    """The application of the documentation, with other settings."""
    text = (ROOT / "docs/uploaders.rst").read_text()
    blocks = re.findall(
        r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)", text, re.MULTILINE
    )
    code = next(block for block in blocks if "register_blueprint(uploader)" in block)
    ending = "    )\n    store = Store(app)"
    assert ending in code
    code = code.replace(ending, f"    )\n    app.config.update(config)\n{ending[6:]}")
    namespace: dict[str, t.Any] = {"__name__": __name__, "config": config}
    exec(textwrap.dedent(code), namespace)
    return t.cast(Flask, namespace["app"])


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for all tests."""
    try:
        with browser() as started:
            yield started
    except NotInstalledError as error:
        missing(str(error))


Make = Callable[..., Site]


@pytest.fixture
def site(chromium: Browser, tmp_path: pathlib.Path) -> Iterator[Make]:
    """Starts an application and opens its page."""
    with contextlib.ExitStack() as stack:

        def make(
            config: dict[str, t.Any] | None = None,
            change: Callable[[Flask], None] = lambda app: None,
            attributes: str = "",
            **options: t.Any,
        ) -> Site:
            app = example(**{"STORE_PATH": str(tmp_path / "store"), **(config or {})})
            page = app.view_functions["photos"]

            @app.after_request
            def strict(response: Response) -> Response:
                response.headers["Content-Security-Policy"] = POLICY
                return response

            app.view_functions["photos"] = lambda: page().replace(
                "<store-uploader", f"<store-uploader {attributes}"
            )
            app.add_url_rule("/favicon.ico", view_func=lambda: Response(status=204))
            change(app)
            wire = Wire(app)
            stack.callback(wire.release)
            url = stack.enter_context(serve(app))
            context: BrowserContext = chromium.new_context(**options)
            stack.callback(context.close)
            context.add_init_script(LISTEN)
            tab = context.new_page()
            wrong: list[str] = []
            tab.on("pageerror", lambda error: wrong.append(str(error)))
            tab.on(
                "console",
                lambda said: wrong.append(said.text) if said.type == "error" else None,
            )
            tab.goto(url)
            with app.app_context():
                store = app.extensions["store"].at(None)
            return Site(url, tab, wire, store, app, tmp_path / "disk", wrong)

        yield make


FORM = {"STORE_RESUMABLE": False}


@pytest.mark.parametrize("config", [FORM, {}], ids=["form", "tus"])
def test_several_files(site: Make, config: dict[str, t.Any]) -> None:
    """Each arrives, byte for byte, under a strict policy, and the application hears of
    it."""
    here = site(config)
    here.pick("a.jpg", "фото 1.jpg", "empty.txt", "d.bin")
    here.expect_state("stored", 4)
    names = {"a.jpg", "фото 1.jpg", "empty.txt", "d.bin"}
    assert here.stored() == {**dict.fromkeys(names, DATA), "empty.txt": b""}
    assert here.private() == []
    heard = here.heard("added", "stored")
    assert {each["name"] for each in heard if each["type"] == "added"} == names
    addresses = {each["answer"]["url"] for each in heard if each["type"] == "stored"}
    assert len(addresses) == 4 and all(url.startswith("/flask") for url in addresses)
    expect(here.page.get_by_role("status")).to_have_text("4 of 4 uploaded")
    assert here.page.evaluate("localStorage.length") == 0
    assert here.wrong == []


def test_chunks(site: Make) -> None:
    """Behind a proxy that keeps whole bodies, each request can be small."""
    here = site(attributes=f"data-chunk={CHUNK}")
    here.pick("a.bin")
    here.expect_state("stored")
    patches = [each for each in here.wire.requests if each.startswith("PATCH")]
    assert len(patches) == -(-len(DATA) // CHUNK)
    assert here.stored() == {"a.bin": DATA}


def test_few_at_once(site: Make) -> None:
    """Three files are on their way, and the others wait."""
    here = site()
    here.wire.hold("POST /photos/new")
    here.pick(*(f"{n}.txt" for n in range(5)))
    here.wire.wait(3)
    here.expect_state("sending", 3)
    here.expect_state("waiting", 2)
    assert here.wire.requests.count("POST /photos/new") == 3
    here.wire.release()
    here.expect_state("stored", 5)
    assert len(here.stored()) == 5


def drag(page: Page, files: list[pathlib.Path], drop: bool = True) -> None:
    """Drag files of the disk over the page, as a file manager does."""
    session = page.context.new_cdp_session(page)
    box = page.locator("store-uploader form").bounding_box()
    assert box is not None
    data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
    place = {"x": box["x"] + 10, "y": box["y"] + 10, "data": data}
    for kind in ("dragEnter", "dragOver", *(["drop"] if drop else [])):
        session.send("Input.dispatchDragEvent", {"type": kind, **place})
    session.detach()


def test_drop(site: Make) -> None:
    """Files and whole folders are dropped, and the application hears their paths."""
    asked: list[str] = []

    def listen(app: Flask) -> None:
        @app.before_request
        def look() -> None:
            from flask import request

            if request.endpoint == "new_photo":
                asked.append(request.get_json()["path"])

    here = site(change=listen)
    paths = ["a.txt", "trip/b.txt", "trip/day 2/c.txt", "trip/day 2/d.txt"]
    for path in paths:
        here.file(path)
    drag(here.page, [here.root / "a.txt", here.root / "trip"])
    here.expect_state("stored", 4)
    assert sorted(asked) == paths
    assert here.stored() == dict.fromkeys(["a.txt", "b.txt", "c.txt", "d.txt"], DATA)
    expect(here.page.locator("[dragging]")).to_have_count(0)


def test_drop_on_the_page(site: Make) -> None:
    """All of the page may take what is dropped."""
    here = site(attributes="data-drop=page")
    drag(here.page, [here.file("a.txt")], drop=False)
    expect(here.page.locator("store-uploader[dragging]")).to_have_count(1)
    drag(here.page, [here.file("a.txt")])
    here.expect_state("stored")
    expect(here.page.locator("[dragging]")).to_have_count(0)


PASTE = """
(target) => {
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File(["pixels"], "image.png", {type: "image/png"}));
    const init = {clipboardData, bubbles: true, cancelable: true};
    document.querySelector(target).dispatchEvent(new ClipboardEvent("paste", init));
}
"""


def test_paste(site: Make) -> None:
    """A picture in the clipboard is a file, unless somebody is writing."""
    here = site()
    here.page.evaluate("document.body.append(document.createElement('textarea'))")
    here.page.evaluate(PASTE, "textarea")
    here.page.evaluate(PASTE, "body")
    here.expect_state("stored")
    assert here.stored() == {"image.png": b"pixels"}


def test_keyboard(site: Make) -> None:
    """Everything works by the keyboard, and the focus stays near what has gone."""
    here = site()
    page = here.page
    here.wire.hold("PATCH")
    page.keyboard.press("Tab")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    files = [here.file(name) for name in ("a.txt", "b.txt", "c.txt")]
    chooser.value.set_files(files)
    here.wire.wait(3)
    focused = page.locator(":focus")
    page.keyboard.press("Tab")
    expect(focused).to_have_accessible_name("Cancel a.txt")
    page.keyboard.press("Enter")
    expect(focused).to_have_accessible_name("Cancel b.txt")
    page.keyboard.press("Tab")
    expect(focused).to_have_accessible_name("Cancel c.txt")
    page.keyboard.press("Space")
    expect(focused).to_have_accessible_name("Cancel b.txt")
    page.keyboard.press("Enter")
    expect(page.locator(".store-upload")).to_have_count(0)
    expect(page.get_by_label("Choose photos")).to_be_focused()
    here.wire.release()


def test_offline(site: Make) -> None:
    """While the browser is offline, an upload waits, and then goes on where it was."""
    here = site(attributes=f"data-chunk={CHUNK} data-retries=0")
    here.wire.hold("PATCH", after=2)
    here.pick("a.bin")
    here.wire.wait()
    here.page.context.set_offline(True)
    note = here.item("a.bin").locator(".store-upload-note")
    expect(note).to_have_text("Waiting for the connection")
    here.wire.release()
    here.page.context.set_offline(False)
    here.expect_state("stored")
    assert here.stored() == {"a.bin": DATA}
    assert here.wire.bytes <= 1.05 * len(DATA) + CHUNK


def test_reload(site: Make) -> None:
    """After a reload, the same file goes on where it was, and its bytes are sent once.
    Nothing is kept in the browser afterwards, and never anything of the file."""
    here = site(attributes=f"data-chunk={CHUNK}")
    here.wire.hold("PATCH", after=3)
    here.pick("a.bin")
    here.wire.wait()
    kept = here.page.evaluate("JSON.stringify(localStorage)")
    assert "token" in kept and "000000001" not in kept
    here.page.reload()
    here.wire.release()
    before = here.wire.bytes
    assert before >= 3 * CHUNK
    here.pick("a.bin")
    here.expect_state("stored")
    assert here.wire.requests.count("POST /photos/new") == 1
    assert here.stored() == {"a.bin": DATA}
    assert here.wire.bytes <= len(DATA) + CHUNK
    assert here.page.evaluate("localStorage.length") == 0


def test_reload_before_confirm(site: Make) -> None:
    """A form that has arrived is not sent again."""
    here = site(FORM)
    here.wire.hold("POST /photos")
    here.wire.faults["POST /photos"] = 0, 503
    here.wire.hold("POST /photos", after=1)  # the first one is /photos/new
    here.pick("a.bin")
    here.wire.wait()
    here.page.reload()
    here.wire.release()
    before = here.wire.bytes
    here.pick("a.bin")
    here.expect_state("stored")
    assert here.wire.bytes == before
    assert here.stored() == {"a.bin": DATA}


def test_expired(site: Make) -> None:
    """What a reload remembers may be good no more: the upload begins anew."""
    here = site(attributes=f"data-chunk={CHUNK}")
    here.wire.hold("PATCH", after=1)
    here.pick("a.bin")
    here.wire.wait()
    here.page.evaluate(
        "for (const key in {...localStorage})"
        " localStorage[key] = localStorage[key].replaceAll(/token=[^\"]*/g, 'token=x')"
        ".replace(/\"token\":\"[^\"]*/, '\"token\":\"x')"
    )
    here.page.reload()
    here.wire.release()
    here.pick("a.bin")
    here.expect_state("stored")
    assert here.wire.requests.count("POST /photos/new") == 2
    assert here.stored() == {"a.bin": DATA}


@pytest.mark.parametrize("config", [FORM, {}], ids=["form", "tus"])
def test_cancel(site: Make, config: dict[str, t.Any]) -> None:
    """What was cancelled leaves nothing in the store, the page and the browser."""
    here = site(config, attributes=f"data-chunk={CHUNK}")
    held = "PATCH" if not config else "POST /photos"
    here.wire.hold(held, after=1)
    here.pick("a.bin")
    here.wire.wait()
    if config:
        here.wire.release()
        return
    assert here.private() != []
    with here.page.expect_response(lambda answer: answer.request.method == "DELETE"):
        here.page.get_by_role("button", name="Cancel a.bin").click()
        here.wire.release()
    expect(here.page.locator(".store-upload")).to_have_count(0)
    assert here.heard("cancelled", "stored", "failed")[0]["type"] == "cancelled"
    assert len(here.heard("cancelled", "stored", "failed")) == 1
    here.page.wait_for_function("localStorage.length === 0")
    assert here.private() == []
    assert here.stored() == {}
