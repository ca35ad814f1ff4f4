"""Which files a store takes: presets, the setting, a call, and every way in."""

from __future__ import annotations

import io
import pathlib
import re
import sys
import typing as t

import pytest
import sqlalchemy as sa
from flask import Flask
from fsspec.callbacks import Callback

from flask_store import filetypes
from flask_store import media_types
from flask_store import Store
from flask_store.cli import store as group
from flask_store.exceptions import ClientError
from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import WrongType
from flask_store.filetypes import ALL
from flask_store.filetypes import DOCUMENTS
from flask_store.filetypes import IMAGES
from flask_store.filetypes import TEXT
from flask_store.filetypes.allowed import can_be_checked
from flask_store.settings import Settings
from flask_store.stores.fsspec import FsspecStore
from tests.local import test_stripped as ways
from tests.local.test_stripped import JPEG
from tests.local.test_stripped import LARGE
from tests.local.test_stripped import memory
from tests.local.test_stripped import named
from tests.local.test_stripped import Site
from tests.local.test_stripped import Trickle
from tests.local.test_stripped import Way

HTML = b"<!DOCTYPE html><script>alert(1)</script>"
PRESETS = {name: vars(filetypes)[name] for name in vars(filetypes) if name.isupper()}
del PRESETS["ALL"]
#: Types that a browser may run as part of a page.
ACTIVE = re.compile(r"html|svg|[+/]xml|script|wasm")

#: The ways into a store.
WAYS_IN: tuple[Way, ...] = (
    ways.form_sent,
    ways.bytes_saved,
    ways.path_saved,
    ways.stream_saved,
    ways.overwritten,
    ways.file_of_another_store_saved,
    ways.direct_form_confirmed,
    ways.resumed_confirmed,
    ways.kept_file_saved,
    ways.column_set,
    ways.saved_by_a_provider,
    ways.put,
    ways.created,
    ways.opened_of_fs,
    ways.piped_into_fs,
    ways.put_into_fs,
    ways.written_in_a_transaction,
)
#: Those of which the tests that everybody runs try one each.
FEW = (ways.form_sent, ways.stream_saved, ways.direct_form_confirmed, ways.created)
#: What stores files of another store.
COPIES: tuple[Way, ...] = (
    ways.copied_between,
    ways.moved_between,
    ways.stored_file_put,
    ways.bytes_of_a_stored_file_put,
    ways.synced,
)


def marked(way: Way) -> t.Any:
    """A way into a store, for the parameters of a test."""
    marks = () if way in FEW else pytest.mark.slow
    return pytest.param(way, id=named(way), marks=marks)


# -- presets -----------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_preset(name: str) -> None:
    """The content of every format is checked, and a browser runs none of them."""
    assert len({*PRESETS[name]}) == len(PRESETS[name])
    for extension in PRESETS[name]:
        assert can_be_checked(f".{extension}"), extension
        kind = media_types.content_type(f"x.{extension}")
        assert not ACTIVE.search(kind), kind


def test_presets_are_what_they_are_called() -> None:
    """A browser or a player is told so, and Flask-Reuploaded has these names."""
    for preset, kind in (("IMAGES", "image"), ("VIDEO", "video"), ("TEXT", "text")):
        for extension in PRESETS[preset]:
            assert media_types.content_type(f"x.{extension}").startswith(f"{kind}/")
    uploads = __import__("flask_uploads")
    assert {*PRESETS} - {"VIDEO"} <= {*vars(uploads)}
    left = {e for e in uploads.IMAGES if e not in IMAGES}
    assert left == {"svg"}


def test_presets_need_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration can name them. The store says at once what is missing."""
    monkeypatch.setitem(sys.modules, "puremagic", None)
    monkeypatch.setitem(sys.modules, "puremagic.main", None)
    monkeypatch.setitem(sys.modules, "wtforms", None)
    app = Flask("app")
    app.config.update(STORE_PATH=memory(), STORE_ALLOW=("tiff", *IMAGES))
    with pytest.raises(NotConfiguredError, match=r"'Flask-Store\[filetypes\]'"):
        Store(app)
    store = FsspecStore.from_url(memory())
    with pytest.raises(NotConfiguredError, match="puremagic"):
        store.save((JPEG, "a.jpg"), allow=("bmp", *IMAGES))
    assert [*store.ls()] == []


# -- the setting and the call ------------------------------------------------------


@pytest.fixture(params=["local", pytest.param("memory", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str:
    """Where the store is: on disk, and where everything goes through fsspec."""
    return str(tmp_path / "a") if request.param == "local" else memory()


@pytest.fixture
def site(place: str) -> t.Iterator[Site]:
    """An application that takes JPEG, current."""
    site = Site(place, memory(), STORE_STRIP_METADATA=False, STORE_ALLOW=["jpg"])
    with site.app.app_context():
        yield site


@pytest.mark.parametrize("way", [marked(way) for way in WAYS_IN])
def test_every_way_in(site: Site, way: Way) -> None:
    """Another content is refused, and then nothing is stored."""
    with pytest.raises(ClientError) as caught:
        way(site, HTML)
    assert caught.value.code == 415
    assert site.saved() == []
    way(site, JPEG)
    assert site.saved() == [JPEG]


@pytest.mark.slow
@pytest.mark.parametrize("way", COPIES, ids=named)
def test_copies(site: Site, way: Way) -> None:
    """A backup has what the original has."""
    way(site, HTML)
    assert site.saved() == [HTML]


@pytest.mark.slow
def test_copies_within(site: Site) -> None:
    """Also under another name."""
    f = site.store.save((HTML, "a.html"), allow=ALL)
    copy = site.store.copy(f, "b.htm")
    assert site.store.move(copy, "c.xhtml").read() == HTML


def test_any_file(site: Site) -> None:
    """A file of the application's own goes in where the call says so."""
    store = site.store
    store.save((HTML, "a.html"), allow=ALL)
    store.put("b.html", HTML, allow=ALL)
    with store.create("c.html", allow=ALL) as out:
        out.write(HTML)
    upload = store.presign_upload("d.html", max_size=1000, allow=ALL)
    file = {**upload.fields, "file": (io.BytesIO(HTML), "x")}
    assert site.client.post(upload.url, data=file).status_code < 300
    store.confirm(upload.token)
    assert site.saved() == [HTML] * 4
    assert Settings({"STORE_ALLOW": "*"})["STORE_ALLOW"] == ALL


@pytest.mark.slow
def test_refused_before_it_is_written(site: Site) -> None:
    """The key says it."""
    with (
        pytest.raises(WrongType),
        site.store.create("a.html") as _,
    ):
        pytest.fail("create() has begun")  # pragma: no cover


@pytest.mark.slow
def test_command_that_checks(site: Site) -> None:
    """``flask store check`` writes a file of its own."""
    done = site.app.test_cli_runner().invoke(group, ["check"])
    assert done.exit_code == 0, done.output


@pytest.mark.slow
def test_command(site: Site) -> None:
    """``flask store put`` is a save."""
    run = site.app.test_cli_runner().invoke
    done = run(group, ["put", "--name", "a.jpg", "-"], input=HTML)
    assert done.exit_code and "its content is not what" in done.output
    assert run(group, ["put", "--name", "a.jpg", "-"], input=JPEG).exit_code == 0
    assert site.saved() == [JPEG]


def test_call_goes_before_the_setting(site: Site) -> None:
    """In both directions."""
    store = site.store
    assert store.save((b"a text", "a.txt"), allow=TEXT).key == "a.txt"
    with pytest.raises(WrongType, match=r"'a\.jpg' .* of these kinds: \.txt\."):
        store.save((JPEG, "a.jpg"), allow=TEXT)
    upload = store.presign_upload("b.txt", max_size=100, allow=TEXT)
    file = {**upload.fields, "file": (io.BytesIO(b"a text"), "x")}
    assert site.client.post(upload.url, data=file).status_code < 300
    assert store.confirm(upload.token).read() == b"a text"


@pytest.mark.parametrize("name", ["a.html", "a.jpg.html", "a", "a.svg", "a.JPG.php"])
def test_other_names(site: Site, name: str) -> None:
    """A name is refused before the browser sends anything."""
    for refused in (
        lambda: site.store.save((JPEG, name)),
        lambda: site.store.presign_upload(name, max_size=100),
    ):
        with pytest.raises(WrongType, match=r"of these kinds: \.jpg\.") as caught:
            refused()
        assert caught.value.key
    assert site.saved() == []


def test_stored_name_counts(site: Site) -> None:
    """What the view calls the file, and in any case."""
    with pytest.raises(WrongType):
        site.store.save((JPEG, "a.jpg"), filename="a.html")
    assert site.store.save((JPEG, "a.html"), filename="a.JPG").key == "a.JPG"


def test_direct_upload_keeps_what_was_allowed(site: Site) -> None:
    """The content counts, however often it is confirmed, whatever the type says."""
    upload = site.store.presign_upload("a.jpg", "image/jpeg", max_size=1000)
    file = {**upload.fields, "file": (io.BytesIO(HTML), "x")}
    assert site.client.post(upload.url, data=file).status_code < 300
    for _ in range(2):
        with pytest.raises(WrongType, match="its content is not"):
            site.store.confirm(upload.token)
    assert site.saved() == []


@pytest.mark.slow
def test_empty_direct_upload(site: Site) -> None:
    """Nothing is no picture."""
    upload = site.store.presign_upload("a.jpg", max_size=1000)
    assert upload.resumable is not None
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "0"}
    assert site.client.post(upload.resumable, headers=headers).status_code == 201
    with pytest.raises(WrongType):
        site.store.confirm(upload.token)


@pytest.mark.slow
def test_document_that_is_an_archive(site: Site) -> None:
    """Its directory is at its end, also of a stream that is read once."""
    media = pathlib.Path(__file__).parents[1] / "media"
    for data in (path.read_bytes() for path in sorted(media.glob("*.docx"))):
        stream = t.cast("t.IO[bytes]", Trickle(data))
        assert site.store.save((stream, "a.docx"), allow=DOCUMENTS).read() == data
        stream = t.cast("t.IO[bytes]", Trickle(data[:-30]))
        with pytest.raises(WrongType):
            site.store.save((stream, "a.docx"), allow=DOCUMENTS)


def test_without_a_signature_the_name_counts(site: Site) -> None:
    """As there is nothing else to look at."""
    assert site.store.save((b"package main", "a.go"), allow=["go"]).key == "a.go"
    assert site.store.save((b"\x1f\x8b\x08", "a.tar.gz"), allow=[".tar.gz"])
    with pytest.raises(WrongType):
        site.store.save((b"a", "a.tar.gz"), allow=[".tar.gz"])


@pytest.mark.slow
def test_both_settings(place: str) -> None:
    """A picture is checked, and stored without its metadata."""
    site = Site(place, memory(), STORE_ALLOW=IMAGES)
    with site.app.app_context(), pytest.raises(WrongType, match="its content is not"):
        site.store.save((HTML, "a.jpg"))
    ways.bytes_saved(site, JPEG)
    assert site.saved() == [ways.bare(JPEG)]


@pytest.mark.slow
def test_background(tmp_path: pathlib.Path) -> None:
    """What is refused never comes into the spool."""
    config = {"STORE_BACKGROUND": True, "STORE_SPOOL_PATH": str(tmp_path / "spool")}
    site = Site(memory(), memory(), STORE_ALLOW=IMAGES, **config)
    with site.app.app_context():
        with pytest.raises(WrongType):
            site.store.save((HTML, "a.jpg"))
        assert site.store.pending() == []


def test_named_store() -> None:
    """Each has its own list."""
    app = Flask("app")
    app.config.update(STORE_PATH=memory(), PHOTOS_STORE_ALLOW="jpg, .PNG")
    store, photos = Store(app), Store(app, name="photos")
    store.save((HTML, "a.html"))
    with pytest.raises(WrongType, match=r"kinds: \.jpg, \.png\."):
        photos.save((HTML, "b.html"))


def test_column() -> None:
    """The row is not written if its file is refused."""
    site = Site(memory(), memory(), STORE_STRIP_METADATA=False, STORE_ALLOW=["jpg"])
    with site.app.app_context():
        with pytest.raises(WrongType):
            ways.column_set(site, HTML)
        ways.db.session.rollback()
        count = sa.select(sa.func.count()).select_from(ways.Person)
        assert ways.db.session.scalar(count) == 0


@pytest.mark.slow
def test_variants_are_not_checked(tmp_path: pathlib.Path) -> None:
    """A store of JPEG keeps variants in another format."""
    config = {"STORE_PATH": str(tmp_path), "STORE_ALLOW": "jpg"}
    variants = {"small": {"width": 5, "format": "webp"}}
    store = FsspecStore.from_config({**config, "STORE_VARIANTS": variants})
    assert store.save((JPEG, "a.jpg")).variant("small").make()


@pytest.mark.slow
@pytest.mark.parametrize("data", [JPEG, LARGE], ids=["small", "large"])
def test_progress_is_that_of_the_save(site: Site, data: bytes) -> None:
    """The look into the file is none."""

    class Told(Callback):
        values: t.ClassVar[list[int]] = []

        def absolute_update(self, value: int) -> None:
            self.values.append(value)

    told = Told()
    Told.values.clear()
    site.store.save((data, "a.jpg"), callback=told)
    assert told.values == sorted(told.values)
    assert told.values[-1] == len(data)


@pytest.mark.parametrize("allow", ["jpg", []])
def test_wrong_lists(site: Site, allow: t.Any) -> None:
    """A text is no list, and nothing is no choice."""
    with pytest.raises((TypeError, ValueError), match="extensions"):
        site.store.save((JPEG, "a.jpg"), allow=allow)


@pytest.mark.parametrize("value", [[], "", ["jpg", 3], "a/b", "*.jpg", b"jpg", ["."]])
def test_wrong_settings(value: t.Any) -> None:
    """Nothing is no setting, and a slip is an error."""
    if value == "":
        assert Settings({"STORE_ALLOW": value})["STORE_ALLOW"] is None
        return
    with pytest.raises(NotConfiguredError, match="STORE_ALLOW .* extension"):
        Settings({"STORE_ALLOW": value})
