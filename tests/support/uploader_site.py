"""A browser at the page of docs/uploaders.rst, and the application behind it."""

from __future__ import annotations

import contextlib
import pathlib
import re
import threading
import typing as t
from collections.abc import Callable

from flask import Flask
from flask import Response
from playwright.sync_api import Browser
from playwright.sync_api import BrowserContext
from playwright.sync_api import expect
from playwright.sync_api import Locator
from playwright.sync_api import Page

from flask_store.stores.fsspec import FsspecStore
from tests.support.documented import documented
from tests.support.servers import serve

if t.TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse
    from _typeshed.wsgi import WSGIEnvironment

# A busy machine takes longer than the default of five seconds, in milliseconds.
expect.set_options(timeout=30_000)

#: What a careful application allows a page.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' blob:"
)
#: The bytes of a file, which are others at each position.
DATA = b"".join(b"%09d\n" % n for n in range(30_000))
CHUNK = 65_536
#: Makes pauses short, and writes down what the application would hear.
LISTEN = """
Math.random = () => -0.9;
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

    def finish(self) -> None:
        """Let the request that is held go on, and wait for its end. Otherwise it could
        race with what the browser sends next."""
        self.release()
        assert self.ended.acquire(timeout=60)

    def wait(self, count: int = 1) -> None:
        """Wait until requests are held."""
        for _ in range(count):
            assert self.held.acquire(timeout=60)

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> t.Iterable[bytes]:
        kind = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        self.requests.append(kind)
        if self.holding is not None and kind.startswith(self.holding[0]):
            held, after = self.holding
            self.holding = held, after - 1
            if after <= 0:
                self.held.release()
                assert self.go_on.wait(120)
        for fault, (count, status) in self.faults.items():
            if count and kind.startswith(fault):
                self.faults[fault] = count - 1, status
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                return Response("<p>Later.</p>", status)(environ, start_response)
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
    #: Where the files of whoever uploads them are.
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

    def item(self, name: str) -> Locator:
        """The item of a file in the list."""
        return self.page.locator(".store-uploads > li", has_text=name)

    def expect_state(self, state: str, count: int = 1) -> None:
        """Wait until so many files are in a state."""
        found = self.page.locator(f".store-uploads > [data-state={state}]")
        expect(found).to_have_count(count)

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
    code = documented("uploaders.rst", "python", "register_blueprint(uploader)")
    ending = ")\nstore = Store(app)"
    assert ending in code
    code = code.replace(ending, f")\napp.config.update(config){ending[1:]}")
    code = code.replace("<store-uploader", element)
    namespace: dict[str, t.Any] = {"__name__": __name__, "config": config}
    exec(code, namespace)
    return t.cast(Flask, namespace["app"])


class Sites:
    """Starts applications, and opens their pages.

    :param browser: that of the tests.
    :param root: a folder for one test.
    :param stack: ends them.
    """

    def __init__(
        self, browser: Browser, root: pathlib.Path, stack: contextlib.ExitStack
    ) -> None:
        self.browser = browser
        self.root = root
        self.stack = stack

    def __call__(
        self,
        config: dict[str, t.Any] | None = None,
        change: Callable[[Flask], object] = lambda app: None,
        attributes: str = "",
        before: str = "",
        **options: t.Any,
    ) -> Site:
        """Open a page.

        :param config: further settings of the application.
        :param change: what else is to change in it.
        :param attributes: further ones of the element.
        :param before: what stands in front of it.
        :param options: of the browser.
        """
        path = str(self.root / "store")
        element = f"{before}<store-uploader {attributes}"
        app = example({"STORE_PATH": path, **(config or {})}, element)
        app.add_url_rule("/favicon.ico", view_func=lambda: Response(status=204))
        app.after_request(strict)
        change(app)
        wire = Wire(app)
        self.stack.callback(wire.release)
        url = self.stack.enter_context(serve(app))
        context: BrowserContext = self.browser.new_context(**options)
        self.stack.callback(context.close)
        context.add_init_script(LISTEN)
        page = context.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "console",
            lambda said: wrong.append(said.text) if said.type == "error" else None,
        )
        page.goto(url)
        with app.app_context():
            store = app.extensions["store"].at(None)
        return Site(url, page, wire, store, self.root / "disk", wrong)


def strict(response: Response) -> Response:
    """Give a response the policy, unless it has one."""
    response.headers.setdefault("Content-Security-Policy", POLICY)
    return response
