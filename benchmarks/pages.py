"""A page with 60 pictures, before and after: the originals, and their variants.

``python -m benchmarks.pages``, from the project's folder. Chromium opens a page of an
application on the local disk, and opens it again. What is counted is what the
application sends for the pictures.

``--screenshots FOLDER`` saves what the browser shows.
"""

from __future__ import annotations

import io
import logging
import tempfile
import typing as t
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence

import flask
from playwright.sync_api import Browser

from flask_store import Store
from tests.support.browser import browser
from tests.support.servers import serve

from .images import picture
from .measure import arguments
from .measure import parsed
from .measure import size
from .measure import Table

if t.TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse
    from _typeshed.wsgi import WSGIApplication
    from _typeshed.wsgi import WSGIEnvironment

#: How many pictures the page has, and their width and height: 12 megapixels, as many
#: telephones have.
PICTURES, WHOLE = 60, (4000, 3000)
QUICK_PICTURES, QUICK = 4, (800, 600)
#: The width of a picture on the page, in pixels of CSS, and the variants of it.
SHOWN, WIDTHS = 200, (200, 400, 600)
#: The windows: width, height and pixels of the screen for each of CSS.
WINDOWS = {"desktop": (1280, 900, 1), "phone": (390, 844, 3)}

PAGE = """<!doctype html>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ files|length }} pictures</title>
<style>
body { margin: 16px; font: 16px/1.5 system-ui, sans-serif; background: #fafafa }
h1 { font-size: 20px; font-weight: 600 }
main { display: grid; gap: 12px;
       grid-template-columns: repeat(auto-fill, minmax(160px, 1fr)) }
img { width: 100%; aspect-ratio: 4 / 3; object-fit: cover; border-radius: 6px;
      display: block; background: #ddd }
</style>
<h1>{{ files|length }} pictures</h1>
<main>
{% for f in files %}
{% if small %}
<img src="{{ f.variant("small").url() }}" alt="{{ f.name }}"
     srcset="{{ f.variant("small").srcset(widths) }}" sizes="{{ shown }}px">
{% else %}
<img src="{{ f.absolute_url() }}" alt="{{ f.name }}">
{% endif %}
{% endfor %}
</main>
"""


class Counted:
    """An application, and what it sends for pictures."""

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.requests = 0
        self.bytes = 0

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        if not environ["PATH_INFO"].startswith("/flaskstore"):
            return self.app(environ, start_response)
        self.requests += 1
        return self._counted(self.app(environ, start_response))

    def _counted(self, body: Iterable[bytes]) -> Iterator[bytes]:
        try:
            for data in body:
                self.bytes += len(data)
                yield data
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()


def make_app(folder: str, count: int, whole: tuple[int, int]) -> flask.Flask:
    """An application with so many pictures, whose variants are made already: the page
    after that is what nearly every visitor gets."""
    app = flask.Flask(__name__, root_path="/")
    app.config.update(
        SECRET_KEY="of the benchmark",
        STORE_PATH=folder,
        STORE_VARIANTS={"small": {"width": SHOWN}},
    )
    store = Store(app).Provider()

    @app.get("/before")
    @app.get("/after")
    def page() -> str:
        files = sorted(store.ls(), key=lambda file: file.key)
        small = flask.request.path == "/after"
        return flask.render_template_string(
            PAGE, files=files, small=small, widths=WIDTHS, shown=SHOWN
        )

    with app.app_context():
        for number in range(count):
            output = io.BytesIO()
            picture(*whole, number).save(output, "JPEG", quality=88)
            store.save(output.getvalue(), f"{number:02}.jpg")
        for file in store.ls():
            for width in WIDTHS:
                file.variant(width=width).make()
    return app


def visit(
    chromium: Browser, url: str, counted: Counted, window: str, shot: str
) -> list[tuple[int, int]]:
    """The requests and the bytes of the first visit and of the second one."""
    width, height, scale = WINDOWS[window]
    context = chromium.new_context(
        viewport={"width": width, "height": height}, device_scale_factor=scale
    )
    found = []
    for number in range(2):
        counted.clear()
        page = context.new_page()
        page.goto(url, wait_until="load", timeout=120_000)
        assert page.evaluate(
            "Array.from(document.images).every(i => i.complete && i.naturalWidth)"
        )
        found.append((counted.requests, counted.bytes))
        if shot and not number:
            page.screenshot(path=shot)
        page.close()
    context.close()
    return found


def main(args: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = arguments(__doc__)
    parser.add_argument("--screenshots", metavar="FOLDER", default="")
    asked = parsed(parser, args)
    count, whole = (QUICK_PICTURES, QUICK) if asked.quick else (PICTURES, WHOLE)
    table = Table(
        f"A page with {count} pictures of {whole[0]} x {whole[1]} pixels",
        "page",
        "window",
        "first visit",
        "second visit",
    )
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="flask-store-") as folder:
        counted = Counted(make_app(folder, count, whole))
        with serve(counted) as url, browser() as chromium:
            for path, label in (("before", "originals"), ("after", "variants")):
                for window in WINDOWS:
                    shot = asked.screenshots and (
                        f"{asked.screenshots}/{path}-{window}.png"
                    )
                    visits = visit(chromium, f"{url}/{path}", counted, window, shot)
                    table.add(
                        label,
                        window,
                        *(f"{size(sent)}, {number}" for number, sent in visits),
                    )
    table.show()


if __name__ == "__main__":
    main()
