"""Variants of pictures: a store on the local disk and its application."""

from __future__ import annotations

import datetime as dt
import io
import os
import pathlib
import pickle
import shutil
import tempfile
import threading
import typing as t
from urllib.parse import parse_qs
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask import request
from PIL import Image

from flask_store import Store
from flask_store import StoreError
from flask_store.exceptions import BadPicture
from flask_store.exceptions import FileNotFound
from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import StoreUnavailable
from flask_store.files import FileWrapper
from flask_store.images import making
from flask_store.images import Variant
from flask_store.signals import variant_made
from flask_store.stores import BaseStore
from flask_store.stores.fsspec import FsspecStore

THUMB = {"width": 40, "height": 40, "fit": "cover"}
NOW = dt.timedelta(0)


def picture(size: tuple[int, int] = (80, 60), color: str = "red") -> bytes:
    """A JPEG."""
    out = io.BytesIO()
    Image.new("RGB", size, color).save(out, "JPEG")
    return out.getvalue()


def size_of(data: bytes) -> tuple[int, int]:
    """The size of a picture."""
    return Image.open(io.BytesIO(data)).size


class Made(t.NamedTuple):
    """An application with variants, and what it has rendered."""

    app: Flask
    store: Store
    rendered: list[object]
    folder: pathlib.Path

    def get(self, url: str, **headers: str) -> t.Any:
        return self.app.test_client().get(
            url, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    def private(self) -> list[str]:
        """The files in the folder of the variants."""
        root = self.folder / ".flask-store"
        return sorted(
            str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()
        )


Make = t.Callable[..., Made]


@pytest.fixture
def make(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes applications, and counts what is rendered."""
    rendered: list[object] = []
    render = making.render

    def counted(*args: t.Any) -> bytes:
        rendered.append(args[1])
        return render(*args)

    monkeypatch.setattr(making, "render", counted)

    def made(name: str | None = None, **config: t.Any) -> Made:
        app = Flask(__name__, root_path=str(tmp_path / "app"))
        app.config.update(
            SECRET_KEY="key",
            STORE_PATH=str(tmp_path / "files"),
            STORE_VARIANTS={"thumb": THUMB},
        )
        app.config.update(config)
        return Made(app, Store(app, name), rendered, tmp_path / "files")

    return made


@pytest.fixture
def one(make: Make) -> t.Iterator[Made]:
    """An application with a picture, in a request."""
    made = make()
    with made.app.test_request_context():
        made.store.save((picture(), "me.jpg"))
        yield made


def query(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url).query)


# -- addresses ---------------------------------------------------------------


def test_url_of_a_name_takes_no_request(make: Make) -> None:
    """A name is enough; the version is there if it is known."""
    made = make(STORE_PATH="memory://nowhere")
    with made.app.test_request_context():
        f = made.store.file("avatars/ä b.jpg")
        url = f.variant("thumb").url()
        assert url == "/flaskstore-variants/thumb/avatars/%C3%A4%20b.jpg"
        made.store.save((picture(), "ä b.jpg"), folder="avatars")
        (listed,) = made.store.ls()
        assert query(listed.variant("thumb").url()).keys() <= {"v"}


def test_url_with_the_version(one: Made) -> None:
    """Of a file that the storage has told about, and only then."""
    f = one.store.file("me.jpg")
    assert query(f.variant("thumb").url()) == {}
    f.stat()
    assert query(f.variant("thumb").url()).keys() == {"v"}
    (listed,) = one.store.ls()
    assert listed.variant("thumb").url() == f.variant("thumb").url()


def test_parameters_need_a_signature(one: Made) -> None:
    """Nobody but the application says what is made; a name it has said already."""
    variant = one.store.file("me.jpg").variant(width=20)
    url = variant.url()
    assert query(url).keys() == {"signature"} and variant.url() == url
    path = urlsplit(url).path
    assert path == "/flaskstore-variants/w20.contain.webp.q80/me.jpg"
    for bad in (path, path.replace("w20", "w21") + "?" + urlsplit(url).query):
        assert one.get(bad).status_code == 403
    assert one.get(path + "?signature=%C3%A4").status_code == 403
    assert one.rendered == []
    assert size_of(one.get(url).data) == (20, 15)


def test_a_signature_is_for_one_picture_and_one_purpose(one: Made) -> None:
    """It is none for another file, for the original, or for another store."""
    one.store.save((picture(), "you.jpg"))
    said = urlsplit(one.store.file("me.jpg").variant(width=20).url()).query
    path = "/flaskstore-variants/w20.contain.webp.q80/you.jpg"
    assert one.get(f"{path}?{said}").status_code == 403
    signed = one.store.file("me.jpg").signed_url(60)
    stolen = f"/flaskstore-variants/thumb/me.jpg?{urlsplit(signed).query}"
    assert one.get(stolen).status_code == 403
    link = one.store.file("me.jpg").variant("thumb").signed_url(60)
    assert one.get(f"/flaskstore/me.jpg?{urlsplit(link).query}").status_code == 403
    assert one.get(link).status_code == 200


@pytest.mark.parametrize("path", ["nope/me.jpg", "w20.contain.webp/me.jpg", "w1.x/me"])
def test_what_no_setting_names_is_403(one: Made, path: str) -> None:
    """Also what is spelled otherwise than we spell it."""
    assert one.get(f"/flaskstore-variants/{path}").status_code == 403


@pytest.mark.parametrize("path", ["thumb/you.jpg", "thumb/.flask-store/x", "thumb/"])
def test_what_is_not_there_is_404(one: Made, path: str) -> None:
    """A picture that is not there, and what cannot be one."""
    assert one.get(f"/flaskstore-variants/{path}").status_code == 404


def test_srcset(one: Made) -> None:
    """One URL for each width; the height stays in proportion."""
    said = one.store.file("me.jpg").variant("thumb").srcset([20, 40])
    urls = [part.split() for part in said.split(", ")]
    assert [width for _, width in urls] == ["20w", "40w"]
    assert [size_of(one.get(url).data) for url, _ in urls] == [(20, 20), (40, 40)]
    with pytest.raises(ValueError, match="has no width of its own"):
        one.store.file("me.jpg").variant(height=9).srcset([20])


def test_srcset_of_what_are_no_widths(one: Made) -> None:
    """One width is no list, and a width with its unit is no number."""
    thumb = one.store.file("me.jpg").variant("thumb")
    with pytest.raises(TypeError, match=r"widths is 20; pass a list .*srcset\(\[400"):
        thumb.srcset(t.cast(t.Any, 20))
    with pytest.raises(ValueError, match="width is '20w'; it must be a whole number"):
        thumb.srcset(t.cast(t.Any, ["20w"]))


def test_a_width_is_no_name(one: Made) -> None:
    """If the name of the parameter is missing, the error tells it."""
    with pytest.raises(ValueError, match="20 is no name of a variant.* width=400"):
        one.store.file("me.jpg").variant(t.cast(t.Any, 20))


def test_a_variant_is_no_upload(one: Made) -> None:
    """It has bytes, but it is no open file: the error says what to pass."""
    thumb = one.store.file("me.jpg").variant("thumb")
    for file in (thumb, (thumb, "thumb.webp")):
        with pytest.raises(TypeError, match=r"Cannot save a variant: .*variant\.read"):
            one.store.save(t.cast(t.Any, file))
    assert one.store.save((thumb.read(), "thumb.webp")).key == "thumb.webp"


def test_where_the_application_is_mounted(make: Make) -> None:
    """Below the path of the application, the domain and the prefix of the store."""
    plain = make()
    with plain.app.test_request_context(base_url="http://host/shop"):
        url = plain.store.file("me.jpg").variant("thumb").url()
        assert url == "/shop/flaskstore-variants/thumb/me.jpg"
    made = make(STORE_URL_PREFIX="/up/", STORE_DOMAIN="https://cdn.example.com")
    with made.app.test_request_context():
        url = made.store.file("me.jpg").variant("thumb").url()
        assert url == "https://cdn.example.com/up-variants/thumb/me.jpg"
    named = make("avatars")
    with named.app.test_request_context():
        url = named.store.file("me.jpg").variant("thumb").url()
        assert url == "/flaskstore-avatars-variants/thumb/me.jpg"
        named.store.save((picture(), "me.jpg"))
        assert named.get(url).status_code == 200


# -- responses ---------------------------------------------------------------


def test_made_once(one: Made) -> None:
    """The first request makes it, the others read it."""
    f = one.store.file("me.jpg")
    variant = f.variant("thumb")
    assert not variant.exists()
    first = one.get(variant.url())
    assert first.status_code == 200 and first.content_type == "image/webp"
    assert 'filename="me.webp"' in first.headers["Content-Disposition"]
    assert variant.exists() and not variant.make()
    again = one.get(variant.url())
    assert again.data == first.data == variant.read() == variant.open().read()
    assert size_of(first.data) == (40, 40)
    assert len(one.rendered) == 1
    assert [f.key for f in one.store.ls()] == ["me.jpg"]
    assert one.store.usage().files == 1


def test_for_how_long_a_browser_keeps_it(one: Made) -> None:
    """For a year with the version in the URL, and otherwise it asks."""
    f = one.store.file("me.jpg")
    plain = one.get(f.variant("thumb").url())
    assert plain.headers["Cache-Control"] == "no-cache"
    f.stat()
    known = f.variant("thumb").url()
    response = one.get(known)
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    etag = response.headers["ETag"]
    assert one.get(known, If_None_Match=etag).status_code == 304
    assert one.get(known, Range="bytes=0-3").data == b"RIFF"
    for other in (known[:-1] + "g", known.replace("v=", "v=00"), known + "0"):
        response = one.get(other)
        assert (response.status_code, response.headers["Cache-Control"]) == (
            200,
            "no-cache",
        )
    assert one.app.test_client().head(known).headers["ETag"] == etag


def test_another_format_of_the_name_is_another_address(make: Make) -> None:
    """What STORE_VARIANTS says may change: nobody keeps the old one for a year."""
    urls = []
    for width in (30, 40):
        made = make(STORE_VARIANTS={"thumb": {"width": width}})
        with made.app.test_request_context():
            made.store.put("me.jpg", picture(), "overwrite")
            f = made.store.file("me.jpg")
            f.stat()
            urls.append(f.variant("thumb").url())
            assert size_of(made.get(urls[-1]).data)[0] == width
    assert urls[0] != urls[1]


def test_format_by_accept(make: Make) -> None:
    """The best that the browser names, and JPEG for all others."""
    made = make(STORE_VARIANTS={"thumb": {**THUMB, "format": "auto"}})
    with made.app.test_request_context():
        url = made.store.save((picture(), "me.jpg")).variant("thumb").url()
        for accept, kind in {
            "image/avif,image/webp,*/*": "image/avif",
            "image/avif;q=0,image/webp": "image/webp",
            "image/*,*/*;q=0.8": "image/jpeg",
            "": "image/jpeg",
        }.items():
            response = made.get(url, Accept=accept)
            assert response.content_type == kind
            assert "Accept" in response.vary
        assert made.store.file("me.jpg").variant("thumb").read()[:2] == b"\xff\xd8"


def test_private_store(make: Make) -> None:
    """With STORE_SIGNED_URLS, a URL is good for some time, and no other one is good."""
    made = make(STORE_SIGNED_URLS=True)
    with made.app.test_request_context():
        f = made.store.save((picture(), "me.jpg"))
        url = f.variant("thumb").url()
        assert query(url).keys() == {"expires", "signature"}
        assert made.get(url).status_code == 200
        assert made.get(urlsplit(url).path).status_code == 403
        f.stat()
        response = made.get(f.variant(width=20).signed_url(60))
        said = response.headers["Cache-Control"]
        private, _, age = said.partition(", max-age=")
        assert private == "private" and 60 <= int(age) <= 75  # a quarter more at most


def test_authorize_decides_on_the_picture(make: Make) -> None:
    """It is asked about the source, whatever the signature; a link that expires is a
    permission by itself."""
    made = make()
    asked: list[str] = []

    @made.store.authorize
    def may_read(file: FileWrapper) -> bool:
        asked.append(file.key)
        return bool(request.args.get("please"))

    with made.app.test_request_context():
        f = made.store.save((picture(), "me.jpg"))
        f.stat()
        for variant in (f.variant("thumb"), f.variant(width=20)):
            url = variant.url()
            assert made.get(url).status_code == 403
            response = made.get(f"{url}&please=1")
            assert response.status_code == 200
            said = response.headers["Cache-Control"]
            assert "private" in said and "public" not in said
        assert asked == ["me.jpg"] * 4
        assert made.get(f.variant("thumb").signed_url()).status_code == 200
        assert len(asked) == 4


def test_response_of_a_view(one: Made) -> None:
    """It works without a route, and is private."""
    variant = one.store.file("me.jpg").variant("thumb")
    response = variant.response(as_attachment=True, download_name="x.webp")
    assert response.status_code == 200
    assert response.headers["Content-Disposition"] == 'attachment; filename="x.webp"'
    assert "private" in response.headers["Cache-Control"]
    response.direct_passthrough = False
    assert response.data == variant.read()
    with pytest.raises(ValueError, match="cache_control is 'max-age 60'"):
        variant.response(cache_control="max-age 60")
    auto = one.store.file("me.jpg").variant(width=20, format="auto")
    assert "Accept" in auto.response().vary


@pytest.mark.parametrize(
    ("config", "header", "beginning"),
    [
        (
            {"STORE_X_ACCEL_REDIRECT": "/sent/"},
            "X-Accel-Redirect",
            "/sent/.flask-store/variants/",
        ),
        ({"USE_X_SENDFILE": True}, "X-Sendfile", "{}/.flask-store/variants/"),
    ],
)
def test_web_server_in_front_sends_it(
    make: Make, config: dict[str, t.Any], header: str, beginning: str
) -> None:
    """By the path of the file on disk, or below the location of nginx."""
    made = make(**config)
    with made.app.test_request_context():
        f = made.store.save((picture(), "me.jpg"))
        response = made.get(f.variant("thumb").url())
        assert response.headers[header].startswith(beginning.format(made.folder))


def test_format_by_accept_in_a_view(make: Make) -> None:
    """A cache that a view lets keep the response learns what it depends on."""
    made = make(STORE_VARIANTS={"page": {"width": 40, "format": "auto"}})
    with made.app.test_request_context(headers={"Accept": "image/webp"}):
        f = made.store.save((picture(), "me.jpg"))
        response = f.variant("page").response(cache_control="public, max-age=9")
        assert response.content_type == "image/webp"
        assert list(response.vary) == ["Accept"]


def test_a_function_is_asked_each_time(make: Make) -> None:
    """No browser keeps a variant for longer than the picture, without asking."""
    made = make()
    made.store.authorize(lambda file: True)
    with made.app.test_request_context():
        f = made.store.save((picture(), "me.jpg"))
        f.stat()
        for url in (f.variant("thumb").url(), f.absolute_url()):
            assert made.get(url).headers["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize("said", ["private, max-age=60", "no-store"])
def test_private_by_its_cache_control(make: Make, said: str) -> None:
    """What is stored with the picture, or said for all files of the store."""
    one = make(STORE_PATH="memory://private-pictures", STORE_CACHE_CONTROL=said)
    with one.app.test_request_context():
        f = one.store.save((picture(), "me.jpg"))
        f.stat()
        url = f.variant("thumb").url()
        assert one.get(url).headers["Cache-Control"] == said


@pytest.mark.parametrize("variable", ["store", "kind", "authorization", "tenant"])
def test_variable_in_the_host(tmp_path: pathlib.Path, variable: str) -> None:
    """Its name and its value are the application's business, and the client's."""
    app = Flask(__name__, host_matching=True, static_host="static.example.com")
    app.config.update(STORE_PATH=str(tmp_path), STORE_VARIANTS={"thumb": THUMB})
    app.config["STORE_HOST"] = f"<{variable}>.example.com"
    host = "http://shop.example.com"
    store = Store(app)
    with app.test_request_context(base_url=host):
        url = store.save((picture(), "me.jpg")).variant("thumb").url()
    assert app.test_client().get(url, base_url=host).status_code == 200


# -- bad pictures ------------------------------------------------------------


def test_bad_picture_is_remembered(make: Make) -> None:
    """It is 422, and is decoded once, until a limit changes."""
    made = make()
    with made.app.test_request_context():
        url = made.store.save((b"hello", "me.jpg")).variant("thumb").url()
        for _ in range(3):
            response = made.get(url)
            assert response.status_code == 422
            assert response.headers["Cache-Control"] == "no-store"
        with pytest.raises(BadPicture, match="No variant can be made of this file"):
            made.store.file("me.jpg").variant("thumb").read()
        assert len(made.rendered) == 1
    other = make(STORE_IMAGE_MAX_PIXELS=10)
    with other.app.test_request_context():
        assert other.get(url).status_code == 422
        assert len(other.rendered) == 2


def test_what_is_too_much_for_one_variant(make: Make) -> None:
    """All frames of a film may be too many, and the first one is not."""
    frames = [Image.new("RGB", (80, 60), color) for color in ("red", "blue", "green")]
    film = io.BytesIO()
    frames[0].save(film, "GIF", save_all=True, append_images=frames[1:])
    made = make(STORE_IMAGE_MAX_PIXELS=80 * 60)
    with made.app.app_context():
        f = made.store.save((film.getvalue(), "me.gif"))
        with pytest.raises(BadPicture, match="3 frames"):
            f.variant(width=20, animated=True).make()
        assert f.variant("thumb").make()


def test_too_many_bytes(make: Make) -> None:
    """Nothing of it is read."""
    made = make(STORE_IMAGE_MAX_SIZE=100)
    with made.app.test_request_context():
        f = made.store.save((picture(), "me.jpg"))
        with pytest.raises(BadPicture, match=r"STORE_IMAGE_MAX_SIZE"):
            f.variant("thumb").make()
        assert made.rendered == []


# -- the life of a picture ---------------------------------------------------


def test_replaced_picture_has_other_variants(one: Made) -> None:
    """Also for who has the old address."""
    f = one.store.file("me.jpg")
    f.stat()
    url = f.variant("thumb").url()
    old = one.get(url).data
    one.store.save((picture(color="blue"), "me.jpg"), on_conflict="overwrite")
    f.stat()
    new = one.get(f.variant("thumb").url()).data
    assert old != new and f.variant("thumb").url() != url
    assert one.get(urlsplit(url).path).data == new


def test_delete_removes_the_variants(one: Made) -> None:
    """All of them, and the folder; those of other pictures stay."""
    you = one.store.save((picture(), "you.jpg"))
    f = one.store.file("me.jpg")
    for variant in (f.variant("thumb"), f.variant(width=20), you.variant("thumb")):
        assert variant.make()
    assert len(one.private()) == 3
    url = f.variant("thumb").url()
    f.delete()
    assert len(one.private()) == 1 and you.variant("thumb").exists()
    assert one.get(url).status_code == 404
    kept = one.folder / ".flask-store" / "variants"
    assert len([path for path in kept.iterdir() if path.name != ".flask-store"]) == 1


def test_moved_picture_leaves_no_variants(one: Made) -> None:
    """They are made anew under the new name."""
    assert one.store.file("me.jpg").variant("thumb").make()
    moved = one.store.move("me.jpg", "old/me.jpg")
    assert one.private() == []
    assert moved.variant("thumb").make()


def test_deleted_while_it_is_made(one: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left of it."""
    f, render = one.store.file("me.jpg"), making.render

    def deleting(*args: t.Any) -> bytes:
        f.delete()
        return render(*args)

    monkeypatch.setattr(making, "render", deleting)
    with pytest.raises(FileNotFound):
        f.variant("thumb").read()
    assert one.private() == []


def test_replaced_while_it_is_made(one: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made is of the version that its name says."""
    f, render = one.store.file("me.jpg"), making.render
    blue = picture(color="blue")

    def replacing(*args: t.Any) -> bytes:
        if len(one.rendered) == 0:
            one.store.put("me.jpg", blue, "overwrite")
        return render(*args)

    monkeypatch.setattr(making, "render", replacing)
    old = f.variant("thumb").read()
    new = one.store.file("me.jpg").variant("thumb").read()
    assert old != new


def test_sweep(one: Made) -> None:
    """Removes what has no picture any more, and what was of an older version."""
    f = one.store.file("me.jpg")
    assert f.variant("thumb").make()
    (stays,) = one.private()
    you = one.store.save((picture(), "you.jpg"))
    assert you.variant("thumb").make()
    (one.folder / "you.jpg").unlink()  # by somebody else
    one.store.put("me.jpg", picture(color="blue"), "overwrite")
    assert f.variant("thumb").make()
    assert len(one.private()) == 3
    assert one.store.sweep(dt.timedelta(days=1)) == []
    told = one.store.sweep(NOW, dry_run=True)
    assert len(told) == 2 and len(one.private()) == 3
    assert one.store.sweep(NOW) == told
    assert len(one.private()) == 1 and one.private() != [stays]
    assert f.variant("thumb").exists()


def test_signal_when_made(one: Made) -> None:
    """Once, for what has been made here."""
    told: list[Variant] = []
    receiver = variant_made.connect(lambda sender, variant: told.append(variant))
    variant = one.store.file("me.jpg").variant("thumb")
    assert variant.make() and not variant.make() and variant.read()
    assert [(v.file, v.spec) for v in told] == [(variant.file, variant.spec)]
    variant_made.disconnect(receiver)


# -- at once -----------------------------------------------------------------


def test_save_with_variants(one: Made) -> None:
    """They are there when save() returns."""
    f = one.store.save((picture(), "you.jpg"), variants=["thumb"])
    assert f.variant("thumb").exists()


def test_save_with_a_variant_that_is_none(one: Made) -> None:
    """Nothing is stored: neither with a wrong name nor of what is no picture."""
    with pytest.raises(ValueError, match="no variant 'thump'. There is: 'thumb'"):
        one.store.save((picture(), "you.jpg"), variants=["thump"])
    with pytest.raises(BadPicture):
        one.store.save((b"hello", "you.jpg"), variants=["thumb"])
    assert [f.key for f in one.store.ls()] == ["me.jpg"]
    with pytest.raises(BadPicture):
        one.store.save(
            (b"hello", "me.jpg"), variants=["thumb"], on_conflict="overwrite"
        )
    assert one.store.read("me.jpg") == b"hello"


def test_variants_of_an_upload_in_the_background(make: Make) -> None:
    """They are made when the file is stored."""
    made = make(STORE_BACKGROUND=True, STORE_PATH="memory://variants")
    told = threading.Event()
    receiver = variant_made.connect(lambda sender, variant: told.set())
    with made.app.test_request_context():
        f = made.store.save((picture(), "me.jpg"), variants=["thumb"])
        assert f.upload is not None and f.upload.wait(30)
        assert told.wait(30)
        assert f.variant("thumb").exists() and len(made.rendered) == 1
        f.delete()
    variant_made.disconnect(receiver)


def test_variant_of_a_file_that_waits(make: Make) -> None:
    """It is read from the spool."""
    made = make(STORE_BACKGROUND=True, STORE_PATH="memory://variants")
    with made.app.test_request_context():
        f = made.store.save((picture(), "me.jpg"))
        assert size_of(f.variant("thumb").read()) == (40, 40)
        assert f.upload is not None and f.upload.wait(30)
        assert size_of(made.get(f.variant("thumb").url()).data) == (40, 40)
        f.delete()


# -- many at once ------------------------------------------------------------


def test_threads_that_ask_at_once(one: Made) -> None:
    """One decodes, and all have the same bytes."""
    f = one.store.file("me.jpg")
    start, answers = threading.Barrier(16), []

    def ask() -> None:
        start.wait()
        answers.append(f.variant("thumb").read())

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 16 and len({*answers}) == 1
    assert len(one.rendered) == 1 and len(one.private()) == 1


def test_made_since_somebody_looked(one: Made) -> None:
    """Who has seen that the variant is not there looks again when it is their turn."""
    with one.app.app_context():
        store = one.store.Provider()
        (file,) = store.ls()
        attempts = store.variants.attempts(file, file.variant("thumb").spec)
        assert not next(attempts).file.exists()
        assert file.variant("thumb").make()
        assert not next(attempts).made
    assert len(one.rendered) == 1


def test_too_many_makers(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has waited for too long gets 503, and may come again."""
    made = make(STORE_IMAGE_MAKERS=1, STORE_TIMEOUT=1)
    busy, go_on, render = threading.Event(), threading.Event(), making.render

    def waiting(*args: t.Any) -> bytes:
        busy.set()
        assert go_on.wait(30)
        return render(*args)

    with made.app.test_request_context():
        one = made.store.save((picture(), "one.jpg")).variant("thumb").url()
        two = made.store.save((picture(), "two.jpg")).variant("thumb").url()
    with monkeypatch.context() as patch:
        patch.setattr(making, "render", waiting)
        first = threading.Thread(target=made.get, args=[one])
        first.start()
        assert busy.wait(30)
        response = made.get(two)
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) > 0
        go_on.set()
        first.join()
    assert made.get(two).status_code == made.get(one).status_code == 200


def test_maker_that_fails_gives_its_turn_back(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong with the machine is not remembered."""
    made = make(STORE_IMAGE_MAKERS=1)

    def failing(*args: t.Any) -> bytes:
        raise StoreError("no process")

    with made.app.test_request_context():
        f = made.store.save((picture(), "me.jpg"))
        with monkeypatch.context() as patch:
            patch.setattr(making, "render", failing)
            assert made.get(f.variant("thumb").url()).status_code == 502
        assert made.get(f.variant("thumb").url()).status_code == 200


# -- where -------------------------------------------------------------------


def test_another_store_keeps_them(make: Make, tmp_path: pathlib.Path) -> None:
    """Nothing is written beside the pictures; deletion and sweep find them there."""
    made = make(STORE_VARIANTS_STORE="thumbs")
    made.app.config["THUMBS_STORE_PATH"] = str(tmp_path / "thumbs")
    made.app.config["THUMBS_STORE_VARIANTS"] = None
    thumbs = Store(made.app, "thumbs")
    with made.app.test_request_context():
        f = made.store.save((picture(), "me.jpg"))
        assert made.get(f.variant("thumb").url()).status_code == 200
        assert made.private() == [] and list(thumbs.ls()) == []
        kept = tmp_path / "thumbs/.flask-store/variants-of-default"
        assert len([*kept.rglob("*.webp")]) == 1
        (made.folder / "me.jpg").unlink()
        assert len(made.store.sweep(NOW)) == 1
        assert len([*kept.rglob("*.webp")]) == 0


def test_another_store_that_is_none(make: Make) -> None:
    """The error says what to do."""
    made = make(STORE_VARIANTS_STORE="thumbs")
    with made.app.test_request_context():
        f = made.store.save((picture(), "me.jpg"))
        with pytest.raises(NotConfiguredError, match=r"Store\(app, name='thumbs'\)"):
            f.variant("thumb").read()
        f.delete()
    with pytest.raises(NotConfiguredError, match="no application is current"):
        f.variant("thumb").read()


def test_store_that_is_read_only(make: Make, tmp_path: pathlib.Path) -> None:
    """It cannot keep variants, and another one can."""
    config = {"STORE_PATH": "http://127.0.0.1:9/pictures"}
    with pytest.raises(NotConfiguredError, match="STORE_VARIANTS_STORE"):
        make(**config)
    made = make(**config, STORE_VARIANTS_STORE="thumbs", STORE_SERVE="proxy")
    with made.app.test_request_context():
        url = made.store.file("me.jpg").variant("thumb").url()
        assert url == "/flaskstore-variants/thumb/me.jpg"


def test_working_directory_may_change(
    make: Make, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative STORE_PATH was relative to the one at the start."""
    monkeypatch.chdir(tmp_path)
    made = make(STORE_PATH="files")
    with made.app.test_request_context():
        f = made.store.save((picture(), "me.jpg"))
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        os.chdir(elsewhere)
        assert f.variant("thumb").make()
        assert len(made.private()) == 1


def test_without_an_application(tmp_path: pathlib.Path) -> None:
    """A script has variants as well, and no addresses for those it must sign."""
    config = {"STORE_PATH": str(tmp_path), "STORE_VARIANTS": {}}
    store = FsspecStore.from_config(config)
    f = store.save((picture(), "me.jpg"))
    assert size_of(f.variant(width=20).read()) == (20, 15)
    with pytest.raises(NotConfiguredError, match="SECRET_KEY"):
        f.variant(width=20).url()
    assert pickle.loads(pickle.dumps(f.variant(width=20))).exists()


# -- wrong use ---------------------------------------------------------------


def test_store_without_variants(make: Make) -> None:
    """No route, and an error that says the setting."""
    made = make(STORE_VARIANTS=None)
    with made.app.test_request_context():
        f = made.store.save((picture(), "me.jpg"))
        with pytest.raises(NotConfiguredError, match="STORE_VARIANTS is not set"):
            f.variant(width=20)
        with pytest.raises(NotConfiguredError, match="STORE_VARIANTS is not set"):
            made.store.save((picture(), "you.jpg"), variants=["thumb"])
        assert made.get("/flaskstore-variants/thumb/me.jpg").status_code == 404
        assert [f.key for f in made.store.ls()] == ["me.jpg"]


def test_store_that_is_not_served(make: Make) -> None:
    """It has no address for a variant, and a view of the application may send one."""
    made = make(STORE_SERVE="off", SECRET_KEY=None)
    with made.app.test_request_context():
        f = made.store.save((picture(), "me.jpg"))
        with pytest.raises(NotConfiguredError, match=r"variant\.response\(\)"):
            f.variant("thumb").url()
        assert f.variant("thumb").response().status_code == 200


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "Pass a width or a height"),
        ({"width": 0}, "whole number from 1 to 8192"),
        ({"width": "40"}, "whole number"),
        ({"width": True}, "whole number"),
        ({"width": 40, "fit": "cover"}, "needs a width and a height"),
        ({"width": 40, "fit": "crop"}, "one of 'contain', 'cover', 'fill'"),
        ({"width": 40, "format": "gif"}, "one of 'webp', 'avif'"),
        ({"width": 40, "quality": 101}, "from 1 to 100"),
        ({"width": 40, "background": "white"}, "six hexadecimal digits"),
        ({"width": 40, "animated": True, "format": "png"}, "animated variant is WebP"),
        ({"width": 40, "animated": 1}, "True or False"),
        ({"rotate": 90}, "'rotate' is no parameter of a variant"),
    ],
)
def test_wrong_parameters(
    one: Made, make: Make, parameters: dict[str, t.Any], message: str
) -> None:
    """The same error for a call, and at the start for a setting."""
    with pytest.raises(ValueError, match=message):
        one.store.file("me.jpg").variant(**parameters)
    with pytest.raises(NotConfiguredError, match="'thumb' that is wrong.*") as error:
        make(STORE_VARIANTS={"thumb": parameters})
    assert message.split(",")[0] in str(error.value)


def test_wrong_names(one: Made) -> None:
    """A name or parameters."""
    f = one.store.file("me.jpg")
    with pytest.raises(ValueError, match="There is: 'thumb'"):
        f.variant("thump")
    with pytest.raises(ValueError, match="Pass one of them"):
        f.variant("thumb", width=20)


# -- what surrounds them -----------------------------------------------------


@pytest.mark.parametrize("names", ["thumb", [None]])
def test_no_list_of_names(one: Made, names: t.Any) -> None:
    """Nothing is stored."""
    with pytest.raises(TypeError, match="pass"):
        one.store.save((picture(), "you.jpg"), variants=names)
    assert "you.jpg" not in one.store


def test_all_formats_at_once(make: Make) -> None:
    """Whatever the first browser accepts is there."""
    made = make(STORE_VARIANTS={"page": {"width": 40, "format": "auto"}})
    with made.app.app_context():
        f = made.store.save((picture(), "me.jpg"), variants=["page"])
        formats = [Variant(f, spec) for spec in f.variant("page").spec.formats()]
        assert [variant.exists() for variant in formats] == [True] * 3


def test_names_that_can_be_read_once(one: Made) -> None:
    """They are looked at, and then used."""
    names = t.cast("list[str]", iter(["thumb"]))
    assert (
        one.store.save((picture(), "a.jpg"), variants=names).variant("thumb").exists()
    )


def test_receiver_that_refuses_a_variant(one: Made) -> None:
    """As one of file_saved: nobody gets to know the name of the file."""

    def refuse(sender: object, variant: Variant) -> None:
        raise RuntimeError("no")

    with variant_made.connected_to(refuse), pytest.raises(RuntimeError, match="no"):
        one.store.save((picture(), "you.jpg"), variants=["thumb"])
    assert "you.jpg" not in one.store and one.private() == []


def test_save_where_no_variant_can_be_made(
    one: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that is missing is missing tomorrow, too."""

    def fail(*args: object) -> bytes:
        raise NotConfiguredError("Install it.")

    monkeypatch.setattr(making, "render", fail)
    with pytest.raises(NotConfiguredError, match="Install it"):
        one.store.save((picture(), "you.jpg"), variants=["thumb"])
    assert "you.jpg" not in one.store


def test_row_with_a_bad_path(one: Made) -> None:
    """The row is to blame, and not the client."""
    variant = FileWrapper.of_row("../me.jpg", one.store.at(None)).variant("thumb")
    for use in (variant.url, variant.make, variant.exists, variant.read):
        with pytest.raises(StoreError, match="Correct the row") as caught:
            use()
        assert type(caught.value) is StoreError


@pytest.mark.parametrize("removed", [".flask-store/variants", ".flask-store"])
def test_folder_of_the_variants_is_removed(one: Made, removed: str) -> None:
    """To free its space; they are made again."""
    variant = one.store.file("me.jpg").variant("thumb")
    assert variant.make()
    shutil.rmtree(one.folder / removed)
    assert not variant.exists()
    assert one.get(variant.url()).status_code == 200


def test_disk_that_is_gone(one: Made) -> None:
    """No variant is made of what is not there, and nothing is written."""
    variant = one.store.file("me.jpg").variant("thumb")
    assert variant.make()
    shutil.rmtree(one.folder)
    with pytest.raises(StoreUnavailable, match="not there any more"):
        variant.exists()
    assert one.get(variant.url()).status_code == 503
    assert not one.folder.exists()


def test_whole_memory(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its variants lie in the memory, and nowhere else."""
    monkeypatch.chdir(tmp_path)
    store = FsspecStore.from_config(
        {"STORE_PATH": "memory://", "STORE_VARIANTS": {"thumb": THUMB}}
    )
    f = store.save((picture(), "whole-memory.jpg"), variants=["thumb"])
    assert store.variants is not None
    assert store.variants.keeper(store).uri == "memory:///.flask-store/variants"
    f.delete()
    assert list(tmp_path.iterdir()) == []


def test_many_pictures_are_deleted(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Their variants go by one deletion, and a storage that is down is asked once."""
    one = make()
    with one.app.app_context():
        for name in ("a.jpg", "b.jpg", "c.jpg"):
            one.store.save((picture(), name), folder="old", variants=["thumb"])
        one.store.delete("old", recursive=True)
        assert one.private() == []
        one.store.save((picture(), "a.jpg"), folder="old", variants=["thumb"])
        one.store.save((picture(), "b.jpg"), folder="old")
        keeper = one.store.at(None).variants.keeper(one.store.at(None))
        asked: list[object] = []

        def fail(*args: object) -> t.NoReturn:
            asked.append(args)
            raise StoreUnavailable("It is down.")

        monkeypatch.setattr(keeper, "ls", fail)
        one.store.delete("old", recursive=True)
        assert len(asked) == 1 and "It is down" in caplog.text
        monkeypatch.undo()
        assert len(one.store.sweep(NOW)) == 1


def test_another_store_that_keeps_nothing(make: Make) -> None:
    """A store of the application's own class."""

    class Mine(BaseStore):
        pass

    made = make(STORE_VARIANTS_STORE="near", NEAR_STORE_PROVIDER=Mine)
    near = Store(made.app, "near")
    with made.app.test_request_context():
        f = made.store.save((picture(), "me.jpg"))
        with pytest.raises(NotConfiguredError, match="is no FsspecStore"):
            f.variant("thumb").make()
        assert made.get(f.variant("thumb").url()).status_code == 502
        with pytest.raises(NotConfiguredError, match="Only an FsspecStore"):
            FileWrapper("me.jpg", near.at(None)).variant("thumb")


def test_no_temporary_folder(one: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to do."""

    def full() -> t.NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    variant = one.store.file("me.jpg").variant("thumb")
    with pytest.raises(StoreError, match="set TMPDIR"):
        variant.make()
    assert one.get(variant.url()).status_code == 502


def test_parameters_that_are_no_dict(make: Make) -> None:
    """The error names the variant."""
    with pytest.raises(NotConfiguredError, match="the variant 'thumb' with parameters"):
        make(STORE_VARIANTS={"thumb": 400})
