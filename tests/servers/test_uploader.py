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
        #: The kind of request whose next answer gets lost.
        self.lost = ""
        #: The kind of request that is held, and after how many of them.
        self.holding: tuple[str, int] | None = None
        self.held = threading.Semaphore(0)
        #: One for each request that the application has seen to its end.
        self.ended = threading.Semaphore(0)
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
        if self.lost and kind.startswith(self.lost):
            self.lost = ""
            Response.from_app(self.app, environ)
            return Response(status=502)(environ, start_response)
        try:
            return self.app(environ, start_response)
        finally:
            if self.go_on.is_set() and self.holding is None:
                self.ended.release()


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
        return self.page.locator(".store-uploads > li", has_text=name)

    def expect_state(self, state: str, count: int = 1) -> None:
        """Wait until so many files are in a state."""
        found = self.page.locator(f".store-uploads > [data-state={state}]")
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


def example(config: dict[str, t.Any], element: str = "<store-uploader") -> Flask:
    """The application of the documentation, with other settings.

    :param element: how the element begins in the page.
    """
    text = (ROOT / "docs/uploaders.rst").read_text()
    blocks = re.findall(
        r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)", text, re.MULTILINE
    )
    code = next(block for block in blocks if "register_blueprint(uploader)" in block)
    ending = "    )\n    store = Store(app)"
    assert ending in code
    code = code.replace(ending, f"    )\n    app.config.update(config)\n{ending[6:]}")
    code = code.replace("<store-uploader", element)
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
            before: str = "",
            **options: t.Any,
        ) -> Site:
            element = f"{before}<store-uploader {attributes}"
            path = str(tmp_path / "store")
            app = example({"STORE_PATH": path, **(config or {})}, element)

            @app.after_request
            def strict(response: Response) -> Response:
                response.headers["Content-Security-Policy"] = POLICY
                return response

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
    expect(here.page.get_by_role("status")).to_contain_text("Uploaded: 4 / 4")
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
    # Playwright takes dialogs over while somebody listens, and not at once.
    page.on("filechooser", lambda chooser: None)
    page.keyboard.press("Tab")
    expect(page.get_by_label("Choose photos")).to_be_focused()
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
    expect(page.locator(".store-uploads > li")).to_have_count(0)
    expect(page.get_by_label("Choose photos")).to_be_focused()
    here.wire.release()


def test_offline(site: Make) -> None:
    """While the browser is offline, an upload waits, and then goes on where it was."""
    here = site(attributes=f"data-chunk={CHUNK} data-retries=0")
    here.wire.hold("PATCH", after=2)
    here.pick("a.bin")
    here.wire.wait()
    here.page.context.set_offline(True)
    note = here.item("a.bin").locator("span + span")
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


def test_cancel(site: Make) -> None:
    """What was cancelled leaves nothing in the store, the page and the browser."""
    here = site(attributes=f"data-chunk={CHUNK}")
    here.wire.hold("PATCH", after=1)
    here.pick("a.bin")
    here.wire.wait()
    assert here.private() != []
    with here.page.expect_response(lambda answer: answer.request.method == "DELETE"):
        here.page.get_by_role("button", name="Cancel a.bin").click()
        here.wire.release()
    expect(here.page.locator(".store-uploads > li")).to_have_count(0)
    (only,) = here.heard("cancelled", "stored", "failed")
    assert only["type"] == "cancelled"
    here.page.wait_for_function("localStorage.length === 0")
    assert here.private() == []
    assert here.stored() == {}


def test_cancel_form(site: Make) -> None:
    """The same for a form, whose rest is not sent any more."""
    here = site(FORM)
    here.wire.hold("POST /flaskstore/")
    # More than the connection keeps.
    here.pick("a.bin", data=DATA * 100)
    here.wire.wait()
    here.page.get_by_role("button", name="Cancel a.bin").click()
    expect(here.page.locator(".store-uploads > li")).to_have_count(0)
    here.wire.release()
    assert here.wire.ended.acquire(timeout=20)
    assert here.private() == []
    assert here.stored() == {}
    assert here.page.evaluate("localStorage.length") == 0


@pytest.mark.parametrize(
    "kind",
    ["POST /photos/new", "POST /flaskstore-resumable", "PATCH", "POST /photos"],
)
def test_retry(site: Make, kind: str) -> None:
    """An error of the server is not the end, wherever it comes."""
    here = site()
    here.wire.faults[kind] = 1, 503
    here.pick("a.bin")
    here.expect_state("stored")
    assert here.stored() == {"a.bin": DATA}
    assert here.heard("failed") == []


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (FORM, "POST /flaskstore/"),
        (FORM, "POST /photos"),
        ({}, "POST /flaskstore-resumable/"),
        ({}, "PATCH"),
        ({}, "POST /photos"),
    ],
)
def test_lost_answer(site: Make, config: dict[str, t.Any], kind: str) -> None:
    """What has arrived while the answer got lost is not sent again."""
    here = site(config)
    here.wire.hold(kind, after=1 if kind == "POST /photos" else 0)
    here.pick("a.bin")
    here.wire.wait()
    here.wire.lost = kind
    here.wire.release()
    here.expect_state("stored")
    assert here.stored() == {"a.bin": DATA}
    assert here.private() == []
    assert here.wire.requests.count("POST /photos/new") == 1


def test_no_answer(site: Make) -> None:
    """When nothing helps, the page says so, and *try again* goes on."""
    here = site(attributes="data-retries=0")
    here.wire.faults["PATCH"] = 1, 502
    here.pick("a.bin")
    here.expect_state("failed")
    expect(here.item("a.bin")).to_contain_text("Later.")
    here.page.get_by_role("button", name="Try again a.bin").click()
    here.expect_state("stored")
    assert here.wire.requests.count("POST /photos/new") == 1
    assert here.stored() == {"a.bin": DATA}


REFUSALS = {
    413: (TooLarge("Pictures have 1 MB at most. Choose a smaller one."), "1 MB at most"),
    415: (WrongType("Only JPEG is taken here. Save it as JPEG."), "Save it as JPEG"),
    507: (StoreFull("full"), "The storage is full"),
}


@pytest.mark.parametrize("code", REFUSALS)
def test_refused(site: Make, code: int) -> None:
    """What the application refuses is not tried again by itself. Its words are beside
    the file."""
    error, words = REFUSALS[code]

    def refuse(app: Flask) -> None:
        def view() -> Response:
            raise error

        app.view_functions["new_photo"] = view

    here = site(change=refuse)
    here.pick("a.bin")
    here.expect_state("failed")
    expect(here.item("a.bin")).to_contain_text(words)
    expect(here.page.get_by_role("status")).to_contain_text(words)
    (heard,) = here.heard("failed")
    assert heard["code"] == code and words in heard["said"]
    assert here.wire.requests.count("POST /photos/new") == 1
    here.page.get_by_role("button", name="Try again a.bin").focus()
    here.page.keyboard.press("Enter")
    here.expect_state("failed")
    expect(here.page.get_by_role("button", name="Try again a.bin")).to_be_visible()
    here.page.get_by_role("button", name="Cancel a.bin").click()
    expect(here.page.locator(".store-uploads > li")).to_have_count(0)


def test_too_large(site: Make) -> None:
    """A file that is too large is not sent at all."""
    here = site()
    here.page.route(
        "**/photos/new",
        lambda route: route.fulfill(
            json={**route.fetch().json(), "max_size": 200_000}
        ),
    )
    here.pick("a.bin")
    here.expect_state("failed")
    said = "The file is too large. Choose a smaller one. The limit: 200 kB"
    expect(here.item("a.bin")).to_contain_text(said)
    assert not any("flaskstore-" in each for each in here.wire.requests)


def test_unreadable_answer(site: Make) -> None:
    """A page where JSON is expected, as after the end of a login, is an error."""
    here = site(change=lambda app: app.view_functions.update(add_photo=lambda: "<p>Log in."))
    here.pick("a.bin")
    here.expect_state("failed")
    expect(here.item("a.bin")).to_contain_text("Log in.")


def test_application_decides(site: Make) -> None:
    """An application may take no file, have a place of its own for the list, and texts
    of its own. What it does with an item is its own thing."""
    texts = """data-texts='{"stored": "Fertig"}'"""
    here = site(attributes=f"data-list=mine {texts}", before="<ul id=mine></ul>")
    here.page.evaluate(
        """
        document.addEventListener("upload-added", (event) => {
            if (event.detail.upload.file.name === "no.txt") event.preventDefault();
        });
        document.addEventListener("upload-stored", ({detail: {upload, answer}}) => {
            const link = Object.assign(document.createElement("a"), {href: answer.url});
            link.textContent = upload.path;
            upload.item.replaceChildren(link);
        });
        """
    )
    here.pick("a.txt", "no.txt")
    expect(here.page.locator("#mine li")).to_have_count(1)
    here.expect_state("stored")
    expect(here.page.get_by_role("status")).to_contain_text("Fertig: 1 / 1")
    link = here.page.get_by_role("link", name="a.txt")
    address = here.url + str(link.get_attribute("href"))
    assert here.page.request.get(address).body() == DATA


def test_same_file_twice(site: Make) -> None:
    """A file that is on its way already is not sent a second time."""
    here = site()
    here.wire.hold("PATCH")
    here.pick("a.txt")
    here.pick("a.txt")
    here.wire.wait()
    expect(here.page.locator(".store-uploads > li")).to_have_count(1)
    here.wire.release()
    here.expect_state("stored")
    here.pick("a.txt")
    here.expect_state("stored", 2)
    assert len(list(here.store.ls())) == 2


def test_removed_element(site: Make) -> None:
    """An element that is taken out of the page hears nothing any more."""
    here = site(attributes="data-drop=page")
    here.page.evaluate("document.querySelector('store-uploader').remove()")
    here.page.evaluate(PASTE, "body")
    assert here.heard("added") == []
    assert here.wrong == []


def protected(app: Flask) -> None:
    """As Flask-WTF protects an application."""
    from flask_wtf.csrf import CSRFProtect

    CSRFProtect(app)


@pytest.mark.parametrize("config", [FORM, {}], ids=["form", "tus"])
@pytest.mark.parametrize(
    "before",
    [
        '<meta name="csrf-token" content="{{ csrf_token() }}">',
        '<input type="hidden" name="csrf_token" value="{{ csrf_token() }}">',
    ],
    ids=["meta", "field"],
)
def test_csrf(site: Make, config: dict[str, t.Any], before: str) -> None:
    """Every request to an application that checks tokens has one."""
    here = site(config, protected, before=before)
    here.pick("a.txt")
    here.expect_state("stored")
    assert here.wrong == []


def test_without_javascript(site: Make) -> None:
    """Then it is a form with a button."""
    here = site(java_script_enabled=False)
    here.pick("a.txt", "b.txt")
    hint = here.page.locator(".store-uploader-hint")
    expect(hint).to_be_hidden()
    with here.page.expect_navigation():
        here.page.get_by_role("button", name="Upload").click()
    assert here.stored() == dict.fromkeys(["a.txt", "b.txt"], DATA)


LOOKS: dict[str, dict[str, t.Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {
        "viewport": {"width": 360, "height": 740},
        "has_touch": True,
        "is_mobile": True,
    },
}
AXE = "axe.run().then(({violations}) => violations.map(({id, nodes}) => [id, nodes[0].html]))"


@pytest.mark.parametrize("look", LOOKS)
def test_accessible(site: Make, look: str) -> None:
    """axe finds nothing in any state; no target on a phone is smaller than 44 px."""
    scheme = '<meta name="color-scheme" content="light dark">'
    here = site(before=scheme, attributes="data-parallel=1", **LOOKS[look])
    axe = module("axe-core/axe.min.js").read_text()
    here.wire.faults["POST /photos/new"] = 1, 415
    here.wire.hold("PATCH", after=1)
    here.pick("wrong.txt", "a.txt", f"{'long' * 50}.txt", "waits.txt")
    here.expect_state("failed")
    here.expect_state("stored")
    here.expect_state("sending")
    here.expect_state("waiting")
    here.page.evaluate(axe)
    # axe takes a page without a background for a white one.
    here.page.evaluate("document.documentElement.style.background = 'Canvas'")
    assert here.page.evaluate(AXE) == []
    drag(here.page, [here.file("b.txt")], drop=False)
    assert here.page.evaluate(AXE) == []
    if look == "phone":
        targets = here.page.locator("label, button:visible").all()
        boxes = [target.bounding_box() for target in targets]
        assert len(boxes) >= 4
        assert all(b and b["height"] >= 44 and b["width"] >= 44 for b in boxes), boxes
        wide = "document.documentElement.scrollWidth > innerWidth"
        assert not here.page.evaluate(wide)


def test_size() -> None:
    """It stays small, with all its comments."""
    assert len(gzip.compress(SCRIPT.content, 9)) < 6_000
