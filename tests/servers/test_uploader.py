"""The uploader in a real browser, with faults of the network and of the server."""

from __future__ import annotations

import gzip
import pathlib
import typing as t

import pytest
from flask import Flask
from flask import request
from flask import Response
from flask_wtf.csrf import CSRFProtect
from playwright.sync_api import expect
from playwright.sync_api import Page
from playwright.sync_api import Request

from flask_store.exceptions import StoreFull
from flask_store.exceptions import TooLarge
from flask_store.exceptions import WrongType
from flask_store.static import SCRIPT
from tests.support.browser import module
from tests.support.uploader_site import CHUNK
from tests.support.uploader_site import DATA
from tests.support.uploader_site import Sites

FORM = {"STORE_RESUMABLE": False}


@pytest.mark.parametrize("config", [FORM, {}], ids=["form", "tus"])
def test_several_files(sites: Sites, config: dict[str, t.Any]) -> None:
    """Each arrives, byte for byte, under a strict policy, and the application hears of
    it."""
    here = sites(config)
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


def test_chunks(sites: Sites) -> None:
    """Behind a proxy that keeps whole bodies, each request can be small."""
    here = sites(attributes=f"data-chunk={CHUNK}")
    here.pick("a.bin")
    here.expect_state("stored")
    patches = [each for each in here.wire.requests if each.startswith("PATCH")]
    assert len(patches) == -(-len(DATA) // CHUNK)
    assert here.stored() == {"a.bin": DATA}


def test_few_at_once(sites: Sites) -> None:
    """Three files are on their way, and the others wait."""
    here = sites()
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
    paths = [str(file) for file in files]
    data = {"items": [], "files": paths, "dragOperationsMask": 1}
    place = {"x": box["x"] + 10, "y": box["y"] + 10, "data": data}
    for kind in ("dragEnter", "dragOver", *(["drop"] if drop else [])):
        session.send("Input.dispatchDragEvent", {"type": kind, **place})
    session.detach()


def test_drop(sites: Sites) -> None:
    """Files and whole folders are dropped, and the application hears their paths."""
    here = sites()
    asked: list[str] = []

    def listen(request: Request) -> None:
        if request.url.endswith("/photos/new"):
            asked.append(request.post_data_json["path"])

    here.page.on("request", listen)
    paths = ["a.txt", "trip/b.txt", "trip/day 2/c.txt", "trip/day 2/d.txt"]
    for path in paths:
        here.file(path)
    drag(here.page, [here.root / "a.txt", here.root / "trip"])
    here.expect_state("stored", 4)
    assert sorted(asked) == paths
    assert here.stored() == dict.fromkeys(["a.txt", "b.txt", "c.txt", "d.txt"], DATA)
    expect(here.page.locator("[dragging]")).to_have_count(0)


def test_drop_on_the_page(sites: Sites) -> None:
    """All of the page may take what is dropped."""
    here = sites(attributes="data-drop=page")
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


def test_paste(sites: Sites) -> None:
    """A picture in the clipboard is a file, unless somebody is writing."""
    here = sites()
    here.page.evaluate("document.body.append(document.createElement('textarea'))")
    here.page.evaluate(PASTE, "textarea")
    here.page.evaluate(PASTE, "body")
    here.expect_state("stored")
    assert here.stored() == {"image.png": b"pixels"}


def test_keyboard(sites: Sites) -> None:
    """Everything works by the keyboard, and the focus stays near what has gone."""
    here = sites()
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


def test_offline(sites: Sites) -> None:
    """While the browser is offline, an upload waits, and then goes on where it was."""
    here = sites(attributes=f"data-chunk={CHUNK} data-retries=0")
    here.wire.hold("PATCH", after=2)
    here.pick("a.bin")
    here.wire.wait()
    here.page.context.set_offline(True)
    note = here.item("a.bin").locator("span + span")
    expect(note).to_have_text("Waiting for the connection")
    here.wire.finish()
    here.page.context.set_offline(False)
    here.expect_state("stored")
    assert here.stored() == {"a.bin": DATA}
    assert here.wire.bytes <= 1.05 * len(DATA)


def test_reload(sites: Sites) -> None:
    """After a reload, the same file goes on where it was, and its bytes are sent once.
    Nothing is kept in the browser afterwards, and never anything of the file."""
    here = sites(attributes=f"data-chunk={CHUNK}")
    here.wire.hold("PATCH", after=3)
    here.pick("a.bin")
    here.wire.wait()
    kept = here.page.evaluate("JSON.stringify(localStorage)")
    assert "token" in kept and "000000001" not in kept
    here.page.reload()
    here.wire.finish()
    assert here.wire.bytes >= 3 * CHUNK
    here.pick("a.bin")
    here.expect_state("stored")
    assert here.wire.requests.count("POST /photos/new") == 1
    assert here.stored() == {"a.bin": DATA}
    assert here.wire.bytes <= 1.05 * len(DATA)
    assert here.page.evaluate("localStorage.length") == 0


def test_reload_before_confirm(sites: Sites) -> None:
    """A form that has arrived is not sent again."""
    here = sites(FORM)
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


#: Sitess the token that the browser keeps one that is not good.
SPOIL = """
for (const [key, value] of Object.entries(localStorage)) {
    const progress = JSON.parse(value);
    progress.token.token = "x";
    progress.location = progress.location.replace(/token=.*/, "token=x");
    localStorage[key] = JSON.stringify(progress);
}
"""


def test_expired(sites: Sites) -> None:
    """What a reload remembers may be good no more: the upload begins anew."""
    here = sites(attributes=f"data-chunk={CHUNK}")
    here.wire.hold("PATCH", after=1)
    here.pick("a.bin")
    here.wire.wait()
    here.page.evaluate(SPOIL)
    here.page.reload()
    here.wire.release()
    here.pick("a.bin")
    here.expect_state("stored")
    assert here.wire.requests.count("POST /photos/new") == 2
    assert here.stored() == {"a.bin": DATA}


def test_cancel(sites: Sites) -> None:
    """What was cancelled leaves nothing in the store, the page and the browser."""
    here = sites(attributes=f"data-chunk={CHUNK}")
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


def test_cancel_form(sites: Sites) -> None:
    """The same for a form, whose rest is not sent any more."""
    here = sites(FORM)
    here.wire.hold("POST /flaskstore/")
    # More than the connection keeps.
    here.pick("a.bin", data=DATA * 100)
    here.wire.wait()
    here.page.get_by_role("button", name="Cancel a.bin").click()
    expect(here.page.locator(".store-uploads > li")).to_have_count(0)
    here.wire.finish()
    assert here.private() == []
    assert here.stored() == {}
    assert here.page.evaluate("localStorage.length") == 0


@pytest.mark.parametrize(
    "kind",
    ["POST /photos/new", "POST /flaskstore-resumable", "PATCH", "POST /photos"],
)
def test_retry(sites: Sites, kind: str) -> None:
    """An error of the server is not the end, wherever it comes."""
    here = sites()
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
def test_lost_answer(sites: Sites, config: dict[str, t.Any], kind: str) -> None:
    """What has arrived while the answer got lost is not sent again."""
    here = sites(config)
    here.wire.hold(kind, after=1 if kind == "POST /photos" else 0)
    here.pick("a.bin")
    here.wire.wait()
    here.wire.lost = kind
    here.wire.release()
    here.expect_state("stored")
    assert here.stored() == {"a.bin": DATA}
    assert here.private() == []
    assert here.wire.requests.count("POST /photos/new") == 1


def test_confirmed_before(sites: Sites) -> None:
    """If the application does not take a confirmed file a second time, its words are
    shown. The file is not sent again by itself."""

    def confirm(app: Flask) -> None:
        store = app.extensions["store"]

        def once() -> str:
            return str(store.confirm(request.get_json()["token"]).key)

        app.view_functions["add_photo"] = once

    here = sites(change=confirm)
    here.wire.hold("POST /photos", after=1)
    here.pick("a.bin")
    here.wire.wait()
    here.wire.lost = "POST /photos"
    here.wire.release()
    here.expect_state("failed")
    expect(here.item("a.bin")).to_contain_text("confirmed already")
    assert here.stored() == {"a.bin": DATA}


def test_login_has_ended(sites: Sites) -> None:
    """What has arrived waits until somebody has logged in again."""
    here = sites(FORM)
    here.wire.hold("POST /photos", after=1)
    here.pick("a.bin")
    here.wire.wait()
    here.wire.faults["POST /photos"] = 1, 401
    here.wire.release()
    here.expect_state("failed")
    here.page.reload()
    before = here.wire.bytes
    here.pick("a.bin")
    here.expect_state("stored")
    assert here.wire.bytes == before
    assert here.stored() == {"a.bin": DATA}


def test_no_answer(sites: Sites) -> None:
    """When nothing helps, the page says so, and *try again* goes on."""
    here = sites(attributes="data-retries=0")
    here.wire.faults["PATCH"] = 1, 502
    here.pick("a.bin")
    here.expect_state("failed")
    expect(here.item("a.bin")).to_contain_text("Later.")
    here.page.get_by_role("button", name="Try again a.bin").click()
    here.expect_state("stored")
    assert here.wire.requests.count("POST /photos/new") == 1
    assert here.stored() == {"a.bin": DATA}


REFUSALS = {
    413: (TooLarge("1 MB at most. Choose a smaller picture."), "1 MB at most"),
    415: (WrongType("Only JPEG is taken here. Save it as JPEG."), "Save it as JPEG"),
    507: (StoreFull("full"), "The storage is full"),
}


@pytest.mark.parametrize("code", REFUSALS)
def test_refused(sites: Sites, code: int) -> None:
    """What the application refuses is not tried again by itself. Its words are beside
    the file."""
    error, words = REFUSALS[code]

    def refuse(app: Flask) -> None:
        def view() -> Response:
            raise error

        app.view_functions["new_photo"] = view

    here = sites(change=refuse)
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


def test_too_large(sites: Sites) -> None:
    """A file that is too large is not sent at all."""
    here = sites()
    here.page.route(
        "**/photos/new",
        lambda route: route.fulfill(json={**route.fetch().json(), "max_size": 200_000}),
    )
    here.pick("a.bin")
    here.expect_state("failed")
    said = "The file is too large. Choose a smaller one. The limit: 200 kB"
    expect(here.item("a.bin")).to_contain_text(said)
    assert not any("flaskstore-" in each for each in here.wire.requests)


def test_unreadable_answer(sites: Sites) -> None:
    """A page where JSON is expected, as after the end of a login, is an error."""

    def log_out(app: Flask) -> None:
        app.view_functions["add_photo"] = lambda: "<p>Log in."

    here = sites(change=log_out)
    here.pick("a.bin")
    here.expect_state("failed")
    expect(here.item("a.bin")).to_contain_text("Log in.")


def test_application_decides(sites: Sites) -> None:
    """An application may take no file, have a place of its own for the list, and texts
    of its own. What it does with an item is its own thing."""
    texts = """data-texts='{"stored": "Fertig"}'"""
    here = sites(attributes=f"data-list=mine {texts}", before="<ul id=mine></ul>")
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


def test_other_fields(sites: Sites) -> None:
    """The form may have other fields, which stay as they are."""
    here = sites()
    here.page.evaluate(
        """
        const field = Object.assign(document.createElement("input"), {id: "title"});
        document.querySelector("store-uploader form").append(field);
        """
    )
    here.page.fill("#title", "Holidays")
    here.page.keyboard.press("Tab")
    expect(here.page.locator("#title")).to_have_value("Holidays")
    assert here.wrong == []


def test_same_file_twice(sites: Sites) -> None:
    """A file that is on its way already is not sent a second time."""
    here = sites()
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


def test_removed_element(sites: Sites) -> None:
    """An element that is taken out of the page hears nothing any more."""
    here = sites(attributes="data-drop=page")
    here.page.evaluate("document.querySelector('store-uploader').remove()")
    here.page.evaluate(PASTE, "body")
    assert here.heard("added") == []
    assert here.wrong == []


@pytest.mark.parametrize(
    ("config", "before"),
    [
        ({}, '<meta name="csrf-token" content="{{ csrf_token() }}">'),
        (FORM, '<input type="hidden" name="csrf_token" value="{{ csrf_token() }}">'),
    ],
    ids=["meta", "field"],
)
def test_csrf(sites: Sites, config: dict[str, t.Any], before: str) -> None:
    """Every request to an application that checks tokens has one."""
    here = sites(config, CSRFProtect, before=before)
    here.pick("a.txt")
    here.expect_state("stored")
    assert here.wrong == []


def test_without_javascript(sites: Sites) -> None:
    """Then it is a form with a button."""
    here = sites(java_script_enabled=False)
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
#: What is wrong in the page, each with the first element that has it.
AXE = """
axe.run().then(({violations}) => violations.map(({id, nodes}) => [id, nodes[0].html]))
"""


@pytest.mark.parametrize("look", LOOKS)
def test_accessible(sites: Sites, look: str) -> None:
    """axe finds nothing in any state; no target on a phone is smaller than 44 px."""
    scheme = '<meta name="color-scheme" content="light dark">'
    here = sites(before=scheme, attributes="data-parallel=1", **LOOKS[look])
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
