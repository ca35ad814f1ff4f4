"""Pictures without their metadata: what stays, and every way into a store."""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import struct
import tempfile
import typing as t
import uuid
import zlib
from functools import partial

import exifread
import pytest
import sqlalchemy as sa
from flask import Flask
from flask import request
from flask_sqlalchemy import SQLAlchemy
from fsspec.callbacks import Callback
from PIL import Image
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import ClientDisconnected

from flask_store import direct
from flask_store import Store
from flask_store import sync
from flask_store.cli import store as group
from flask_store.exceptions import AlreadyConfirmed
from flask_store.exceptions import BadPicture
from flask_store.exceptions import ClientError
from flask_store.exceptions import WrongType
from flask_store.images import strip
from flask_store.providers import Provider
from flask_store.sqla import StoredFile
from flask_store.stores.fsspec import FsspecStore
from flask_store.uploads.source import Source
from tests.support import told
from tests.support.kept_files import OptionalForm
from tests.support.kept_files import private
from tests.support.kept_files import sent
from tests.support.kept_files import show
from tests.support.kept_files import Visitor
from tests.support.memory_peak import reset_peak
from tests.support.memory_peak import resident
from tests.support.told import chunk
from tests.support.told import NAMES
from tests.support.told import PLANTED
from tests.support.told import png_with
from tests.support.told import riff
from tests.support.told import segment
from tests.support.told import SIZE
from tests.support.told import tiff
from tests.support.told import webp_with


class Trickle(io.RawIOBase):
    """Bytes that come few at a time, and once."""

    def __init__(self, data: bytes) -> None:
        self.stream = io.BytesIO(data)
        self.size = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self.size = self.size % 7 + 1
        return self.stream.read(self.size)


def bare(data: bytes | t.IO[bytes]) -> bytes:
    """A picture without its metadata."""
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    with strip.stripped(Source(stream, None), "a.jpg", io.BytesIO()) as picture:
        return b"".join(picture.chunks())


def seen(data: bytes) -> list[t.Any]:
    """What Pillow shows of a picture, and for how long."""
    frames = []
    with Image.open(io.BytesIO(data)) as picture:
        # The other pictures of an MPO are not frames of the first.
        count = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
        for number in range(count):
            picture.seek(number)
            frames.append(
                (
                    picture.mode,
                    picture.size,
                    picture.tobytes(),
                    picture.info.get("duration"),
                    picture.info.get("icc_profile"),
                    picture.info.get("transparency"),
                    picture.info.get("gamma"),
                )
            )
    return frames


def turn(data: bytes) -> int:
    """How a picture is to be turned, as Pillow reads it."""
    with Image.open(io.BytesIO(data)) as picture:
        return int(picture.getexif().get(0x0112, 1))


# -- the formats ---------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_same_pixels_and_nothing_told(name: str) -> None:
    """Whatever the picture tells, it shows the same without it."""
    data = told.told()[name]
    result = bare(data)
    assert seen(result) == seen(data)
    assert PLANTED not in result
    assert turn(result) == turn(data)
    assert bare(result) == result, "not the same the second time"
    tags = exifread.process_file(io.BytesIO(result), extract_thumbnail=True)
    assert {*tags} <= {"Image Orientation"}
    # It finds EXIF in no WebP that begins as RFC 9649 has it.
    assert bool(tags) == (turn(data) != 1) or name.endswith(".webp")
    assert len(result) <= len(data) + 40


def test_bytes_that_come_few_at_a_time() -> None:
    """It does not matter where a piece ends."""
    for name, data in told.told().items():
        stream = t.cast("t.IO[bytes]", Trickle(data))
        assert bare(stream) == bare(data), name


def test_picture_without_metadata_stays_as_it_is() -> None:
    """Nothing is written anew that need not be."""
    for name in ("plain.jpg", "plain.png", "plain.webp", "look.png"):
        assert bare(told.told()[name]) == told.told()[name]


def test_orientation_is_read_as_browsers_read_it() -> None:
    """Once, before the data, and only a value that means something."""
    plain = told.told()["plain.jpg"]
    for exif, expected in [
        (tiff((0x0112, 3, 1, 6)), 6),
        (tiff((0x010F, 3, 1, 2), (0x0112, 3, 1, 8), order="<"), 8),
        (tiff((0x0112, 3, 1, 0)), 1),
        (tiff((0x0112, 3, 1, 9)), 1),
        (tiff((0x0112, 4, 1, 6)), 1),
        (b"", 1),
        (b"MM\0*", 1),
        (b"MM\0*\xff\xff\xff\xff", 1),
        (b"MM\0*\0\0\0\x08\xff\xff", 1),
        (b"II+\0" + bytes(30), 1),
        # Directories that lead to each other are not followed.
        (tiff((0x8769, 4, 1, 8), (0x014A, 4, 1, 8), more=b"\0\0\0\x08" * 9), 1),
    ]:
        result = bare(told.jpeg_with(plain, segment(0xE1, b"Exif\0\0" + exif)))
        assert turn(result) == expected, exif
        if expected == 1:
            assert result == plain


def test_first_orientation_counts() -> None:
    """Decoders do not look at a second one."""
    first, second = (tiff((0x0112, 3, 1, value)) for value in (1, 6))
    jpeg = [segment(0xE1, b"Exif\0\0" + exif) for exif in (first, second)]
    png = [chunk(b"eXIf", exif) for exif in (first, second)]
    for data in (
        told.jpeg_with(told.told()["plain.jpg"], *jpeg),
        png_with(told.told()["plain.png"], b"".join(png)),
        webp_with(told.told()["not turned.webp"], riff(b"EXIF", second)),
    ):
        assert b"\1\x12\0\3" not in bare(data)


def test_webp_without_the_flag_is_not_turned() -> None:
    """A decoder does not look for EXIF that the header does not announce."""
    data = bytearray(told.told()["turned.webp"])
    data[20] &= ~0x08
    assert b"EXIF" not in bare(bytes(data))
    assert seen(bare(bytes(data))) == seen(told.told()["turned.webp"])


def test_webp_without_its_last_byte_of_padding() -> None:
    """Some encoders leave it out; the copy has it."""
    data = told.told()["xmp.webp"]
    content = riff(b"wOrD", b"odd")[:-1]
    odd = struct.pack("<4sI", b"RIFF", len(data) - 8 + len(content))
    assert bare(odd + data[8:] + content) == bare(data)


@pytest.mark.parametrize(
    "name",
    [
        *("several.mpo", "progressive.jpg", "animated.png", "turned at the end.png"),
        *("animated.webp", "alpha.webp", "plain.webp"),
    ],
)
def test_truncated(name: str) -> None:
    """It is refused, or has all that a decoder needs; there is no other error."""
    data = told.told()[name]
    refused = 0
    for number in range(20):
        part = data[: len(data) * number // 20]
        try:
            result = bare(part)
        except (BadPicture, WrongType) as exc:
            refused += 1
            assert exc.code == (422 if len(part) >= 12 else 415)
        else:
            assert seen(result) == seen(data)
    assert refused >= 8


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_truncated_anywhere(name: str) -> None:
    """The same at every byte."""
    data = told.told()[name]
    shown = seen(data)
    for size in range(len(data)):
        with contextlib.suppress(BadPicture, WrongType):
            assert seen(bare(data[:size])) == shown


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_damaged_anywhere(name: str) -> None:
    """No byte, whatever its value, leads to another error, and none takes long."""
    data = told.told()[name]
    for position in range(len(data)):
        for value in (0, 0xFF, data[position] ^ 0x40):
            damaged = bytearray(data)
            damaged[position] = value
            with contextlib.suppress(BadPicture, WrongType):
                bare(bytes(damaged))


def _jpeg(*more: bytes) -> bytes:
    return b"\xff\xd8" + b"".join(more)


FRAME = segment(0xC0, b"\x08\0\x10\0\x10\1\1\x11\0")
PNG_END = chunk(b"IEND", b"")
PNG_HEADER = chunk(b"IHDR", struct.pack(">IIBBBBB", *SIZE, 8, 2, 0, 0, 0))

BROKEN = {
    "segment of no length": _jpeg(b"\xff\xe1\0\0" + bytes(20)),
    "segment of one byte": _jpeg(b"\xff\xe1\0\1" + bytes(20)),
    "segment beyond the end": _jpeg(b"\xff\xe1\xff\xff" + bytes(20)),
    "data without a frame": _jpeg(segment(0xDA, bytes(6)), b"data\xff\xd9" + bytes(9)),
    "no data": _jpeg(FRAME, b"\xff\xd9"),
    "picture within": _jpeg(FRAME, told.told()["plain.jpg"]),
    "unknown marker": _jpeg(FRAME, segment(0xF7, bytes(20))),
    "no end": told.told()["plain.jpg"][:-2],
    "only 0xFF": b"\xff\xd8" + b"\xff" * 100,
    "chunk of 4 GiB": told.PNG + b"\xff\xff\xff\xffIHDR" + bytes(20),
    "chunk of 2 GiB": told.PNG + PNG_HEADER + b"\x7f\xff\xff\xfftEXt" + bytes(20),
    "PNG that begins with data": told.PNG + chunk(b"IDAT", b"x") + bytes(20),
    "two headers": told.PNG + PNG_HEADER * 2,
    "PNG without data": told.PNG + PNG_HEADER + PNG_END,
    "unknown critical chunk": png_with(told.told()["plain.png"], chunk(b"CgBI", b"x")),
    "wrong checksum": told.told()["plain.png"].replace(b"IDAT", b"IDAT\1", 1),
    "no end of a PNG": told.told()["plain.png"][:-12],
    "RIFF of no length": b"RIFF\0\0\0\0WEBPVP8 " + bytes(20),
    "RIFF of 4 GiB": b"RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\xf0" + bytes(20),
    "WebP chunk of 4 GiB": webp_with(
        told.told()["turned.webp"], b"XMP \xff\xff\xff\xff"
    ),
    "WebP that begins with text": webp_with(b"RIFF\0\0\0\0WEBP", riff(b"XMP ", b"x")),
    "short header": webp_with(b"RIFF\0\0\0\0WEBP", riff(b"VP8X", bytes(4))),
    "WebP without pixels": webp_with(b"RIFF\0\0\0\0WEBP", riff(b"VP8X", bytes(10))),
    "short frame": webp_with(
        b"RIFF\0\0\0\0WEBP", riff(b"VP8X", bytes(10)), riff(b"ANMF", bytes(4))
    ),
    "loose end": webp_with(told.told()["plain.webp"], b"abc"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken(name: str) -> None:
    """The error names the file and says what is wrong."""
    with pytest.raises(BadPicture, match="'a.jpg' is not stored") as caught:
        bare(BROKEN[name])
    assert (caught.value.code, caught.value.key) == (422, "a.jpg")


@pytest.mark.parametrize(
    "make",
    [
        lambda part: _jpeg(FRAME, segment(0xFE, b"") * part),
        lambda part: told.PNG + PNG_HEADER + chunk(b"tEXt", b"") * part,
        lambda part: webp_with(told.told()["turned.webp"], riff(b"XMP ", b"") * part),
    ],
    ids=["JPEG", "PNG", "WebP"],
)
def test_very_many_parts(
    make: t.Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture of empty parts does not keep a process busy."""
    monkeypatch.setattr(strip, "MOST_PARTS", 100)
    with pytest.raises(BadPicture, match="more than 100"):
        bare(make(101))


OTHERS = {
    "nothing": b"",
    "one byte": b"\xff",
    "text": b"a text, which is no picture",
    "PDF": b"%PDF-1.7\n" + bytes(100),
    "GIF": told.written(told.image(), "GIF"),
    "TIFF": told.written(told.image(), "TIFF"),
    "HEIC": struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(40),
    "AVIF": struct.pack(">I", 24) + b"ftypavif\0\0\0\0mif1avif" + bytes(40),
    "WAV": b"RIFF\x24\0\0\0WAVEfmt " + bytes(40),
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_formats(name: str) -> None:
    """The bytes say what a file is, and the error what to do."""
    with pytest.raises(WrongType, match="not a JPEG, PNG or WebP.*strip=False") as no:
        bare(OTHERS[name])
    assert (no.value.code, no.value.key) == (415, "a.jpg")


# -- large files -----------------------------------------------------------------------


class Large(io.RawIOBase):
    """A large picture that is made while it is read, once."""

    def __init__(self, kind: str, size: int) -> None:
        self.pieces = self._pieces(kind, size)
        self.rest = b""

    @staticmethod
    def _pieces(kind: str, size: int) -> t.Iterator[bytes]:
        block = os.urandom(65_500).replace(b"\xff", b"\0")
        count = size // len(block)
        if kind == "data":
            yield _jpeg(FRAME, segment(0xDA, bytes(6)))
            yield from (block for _ in range(count))
            yield b"\xff\xd9"
        elif kind == "trailer":
            yield told.told()["plain.jpg"]
            yield from (block for _ in range(count))
        elif kind == "EXIF":
            told_all = segment(0xE1, block)
            yield b"\xff\xd8"
            yield from (told_all for _ in range(count))
            yield told.told()["plain.jpg"][2:]
        elif kind == "0xFF":
            yield _jpeg(FRAME, segment(0xDA, bytes(6)))
            yield from (b"\xff" * len(block) for _ in range(count))
            yield b"\xff\xd9"
        else:
            yield told.PNG + PNG_HEADER
            length = count * len(block)
            yield struct.pack(">I4s", length, b"IDAT")
            checksum = zlib.crc32(b"IDAT")
            for _ in range(count):
                checksum = zlib.crc32(block, checksum)
                yield block
            yield struct.pack(">I", checksum) + PNG_END

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while len(self.rest) < size and (piece := next(self.pieces, b"")):
            self.rest += piece
        data, self.rest = self.rest[:size], self.rest[size:]
        return data


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["data", "trailer", "EXIF", "0xFF", "PNG"])
def test_memory_does_not_grow_with_the_file(kind: str, tmp_path: pathlib.Path) -> None:
    """A picture of 200 MB takes no more than one of 20 MB."""
    store = FsspecStore.from_url(tmp_path)

    def grown(size: int) -> int:
        before = reset_peak()
        file = t.cast("t.IO[bytes]", Large(kind, size))
        store.save((file, "large"), strip=True).delete()
        return resident("VmHWM") - before

    grown(3_000_000)
    assert grown(200_000_000) < grown(20_000_000) + 8_000_000


# -- every way in ----------------------------------------------------------------------

JPEG = told.told()["turned 6.jpg"]
TEXT = b"a text, which is no picture"
#: Large enough for a file of a form to arrive on the disk of the store.
LARGE = told.jpeg_with(JPEG, *(segment(0xFE, bytes(60_000)) for _ in range(15)))


class Base(sa.orm.DeclarativeBase):
    """The base of the model."""


db = SQLAlchemy(model_class=Base)


class Person(db.Model):  # type: ignore[name-defined,misc]
    """A row with a picture."""

    id: sa.orm.Mapped[int] = sa.orm.mapped_column(primary_key=True)
    photo = sa.orm.mapped_column(StoredFile())


class Site:
    """An application that stores pictures without their metadata.

    :param path: its ``STORE_PATH``.
    :param other: the place of another store, which stores files as they are.
    """

    def __init__(self, path: str, other: str, **config: t.Any) -> None:
        self.app = Flask(__name__)
        self.app.config.update(
            SECRET_KEY="the key",
            STORE_PATH=path,
            STORE_STRIP_METADATA=True,
            STORE_RESUMABLE=True,
            SQLALCHEMY_DATABASE_URI="sqlite://",
        )
        self.app.config.update(config)
        Store(self.app)
        db.init_app(self.app)
        with self.app.app_context():
            self.store = t.cast("FsspecStore", self.app.extensions["store"].at(None))
        self.other = FsspecStore.from_url(other)
        #: What the ways into the store pass, where they take it.
        self.strip: bool | None = None
        self.client = self.app.test_client()
        self.app.post("/save")(self.save)
        self.app.add_url_rule("/form", view_func=self.form, methods=["GET", "POST"])

    def save(self) -> str:
        """A view that saves."""
        return str(self.store.save(request.files["photo"], strip=self.strip))

    def form(self) -> t.Any:
        """A view with a form that keeps its file when another field is wrong."""
        form = OptionalForm(sent())
        if not form.validate():
            return show(form)
        return str(self.store.save(form.photo.data, strip=self.strip))

    def saved(self) -> list[bytes]:
        """The content of all files of the store."""
        return [f.read() for f in self.store.ls()]


Way: t.TypeAlias = t.Callable[[Site, bytes], object]


class Refused(ClientError):
    """An answer of the application that is an error."""


def check(status: int) -> None:
    """:raises Refused: if a request was refused."""
    if status >= 400:
        error = Refused()
        error.code = status
        raise error


def form_sent(site: Site, data: bytes) -> None:
    """The file of a form, which is in memory if it is small."""
    photo = io.BytesIO(data), "a.jpg"
    answer = site.client.post("/save", data={"photo": photo})
    answer.request.input_stream.close()  # which is a file if the form is large
    check(answer.status_code)


def bytes_saved(site: Site, data: bytes) -> None:
    """Bytes with a name."""
    site.store.save((data, "a.jpg"), strip=site.strip)


def path_saved(site: Site, data: bytes) -> None:
    """A file of this machine."""
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        file.write(data)
        file.flush()
        site.store.save(pathlib.Path(file.name), strip=site.strip)


def stream_saved(site: Site, data: bytes) -> None:
    """A stream that is read once."""
    stream = t.cast("t.IO[bytes]", Trickle(data))
    site.store.save((stream, "a.jpg"), strip=site.strip)


def overwritten(site: Site, data: bytes) -> None:
    """A file in place of another one."""
    site.store.save((data, "a.jpg"), on_conflict="overwrite", strip=site.strip)


def file_of_another_store_saved(site: Site, data: bytes) -> None:
    """A stored file as an upload."""
    f = site.other.save((data, "a.jpg"))
    site.store.save((f, "a.jpg"), strip=site.strip)


def put(site: Site, data: bytes) -> None:
    """Bytes under an exact name."""
    site.store.put("a.jpg", data, strip=site.strip)


def file_put(site: Site, data: bytes) -> None:
    """A stored file under an exact name, where the caller asks for it."""
    f = site.other.save((data, "a.jpg"))
    site.store.put("a.jpg", f, strip=site.strip is None or site.strip)


def created(site: Site, data: bytes) -> None:
    """A file that the application writes."""
    with site.store.create("a.jpg", strip=site.strip) as out:
        out.write(data)


def direct_form_confirmed(site: Site, data: bytes) -> None:
    """A direct upload in one request."""
    upload = site.store.presign_upload("a.jpg", max_size=10_000_000)
    file = {**upload.fields, "file": (io.BytesIO(data), "x")}
    check(site.client.post(upload.url, data=file).status_code)
    site.store.confirm(upload.token, strip=site.strip)


def resumed_confirmed(site: Site, data: bytes) -> None:
    """A direct upload in several requests."""
    upload = site.store.presign_upload("a.jpg", max_size=10_000_000)
    assert upload.resumable is not None
    send = partial(site.client.open, upload.resumable)
    tus = {"Tus-Resumable": "1.0.0"}
    length = {**tus, "Upload-Length": str(len(data))}
    check(send(method="POST", headers=length).status_code)
    tus["Content-Type"] = "application/offset+octet-stream"
    for start, part in ((0, data[:9]), (9, data[9:])):
        headers = {**tus, "Upload-Offset": str(start)}
        check(send(method="PATCH", headers=headers, data=part).status_code)
    site.store.confirm(upload.token, strip=site.strip)


def kept_file_saved(site: Site, data: bytes) -> None:
    """The file of a form of which another field was wrong."""
    visitor = Visitor(site.client, "/form")
    visitor.open()
    assert visitor.send(email="wrong", photo=(data, "a.jpg")).status_code == 422
    assert visitor.kept
    check(visitor.send(email="a@b").status_code)


#: The ways into a store that take strip=False.
WAYS: tuple[Way, ...] = (
    form_sent,
    bytes_saved,
    path_saved,
    stream_saved,
    overwritten,
    file_of_another_store_saved,
    put,
    file_put,
    created,
    direct_form_confirmed,
    resumed_confirmed,
    kept_file_saved,
)


def opened_of_fs(site: Site, data: bytes) -> None:
    """A file that a library writes."""
    with site.store.fs.open("a.jpg", "wb") as file:
        file.write(data)


def piped_into_fs(site: Site, data: bytes) -> None:
    """The same in one call."""
    site.store.fs.pipe_file("a.jpg", data)


def put_into_fs(site: Site, data: bytes) -> None:
    """The same of a file of this machine."""
    site.store.fs.put_file(io.BytesIO(data), "a.jpg", mode="create")


def written_in_a_transaction(site: Site, data: bytes) -> None:
    """The same, stored at its end."""
    fs = site.store.fs
    with fs.transaction:
        fs.pipe_file("a.jpg", data)


def column_set(site: Site, data: bytes) -> None:
    """A column of SQLAlchemy."""
    db.session.rollback()
    db.create_all()
    db.session.add(Person(photo=(data, "a.jpg")))
    db.session.commit()


def saved_by_a_provider(site: Site, data: bytes) -> None:
    """As an application of 0.0.4 saves."""
    Provider(FileStorage(io.BytesIO(data), "a.jpg")).save()


def put_by_the_command(site: Site, data: bytes) -> None:
    """``flask store put``."""
    arguments = ["put", "--name", "a.jpg", "-"]
    done = site.app.test_cli_runner().invoke(group, arguments, input=data)
    if done.exit_code:
        assert "not a JPEG" in done.output
        raise WrongType


def test_command_that_stores_as_it_is(site: Site) -> None:
    """``flask store put --as-is`` asks for what strip=False asks for."""
    arguments = ["put", "--as-is", "--name", "a.jpg", "-"]
    site.app.test_cli_runner().invoke(group, arguments, input=JPEG)
    assert site.saved() == [JPEG]


def test_command_that_checks(site: Site) -> None:
    """``flask store check`` stores its own file, which is no picture."""
    done = site.app.test_cli_runner().invoke(group, ["check"])
    assert done.exit_code == 0, done.output


#: Those that only the setting speaks to.
BY_SETTING: tuple[Way, ...] = (
    opened_of_fs,
    piped_into_fs,
    put_into_fs,
    written_in_a_transaction,
    column_set,
    saved_by_a_provider,
    put_by_the_command,
)


def named(way: object) -> str:
    """The name of a way, for the test."""
    return getattr(way, "__name__", str(way)).replace("_", " ")


@pytest.fixture(params=["local", pytest.param("memory", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str:
    """Where the store is: on disk, and where everything goes through fsspec."""
    return str(tmp_path / "a") if request.param == "local" else memory()


def memory() -> str:
    """A new place in memory."""
    return f"memory://{uuid.uuid4()}"


@pytest.fixture
def site(place: str) -> t.Iterator[Site]:
    """The application, current."""
    site = Site(place, memory())
    with site.app.app_context():
        yield site


@pytest.mark.parametrize("way", [*WAYS, *BY_SETTING], ids=named)
def test_setting_is_for_every_way_in(site: Site, way: Way) -> None:
    """What comes in is stripped or refused, and then nothing is stored."""
    with pytest.raises(ClientError) as caught:
        way(site, TEXT)
    assert caught.value.code == 415
    assert site.saved() == []
    way(site, JPEG)
    assert site.saved() == [bare(JPEG)]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=named)
def test_call_decides(site: Site, way: Way) -> None:
    """strip=False stores any file as it is."""
    site.strip = False
    way(site, TEXT)
    assert site.saved() == [TEXT]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=named)
def test_call_decides_without_the_setting(place: str, way: Way) -> None:
    """So does strip=True, the other way round."""
    site = Site(place, memory(), STORE_STRIP_METADATA=False)
    site.strip = True
    with site.app.app_context():
        way(site, JPEG)
        assert site.saved() == [bare(JPEG)]


def copied_between(site: Site, data: bytes) -> None:
    """A copy of a file of another store."""
    site.store.copy(site.other.save((data, "a.jpg")), "a.jpg")


def moved_between(site: Site, data: bytes) -> None:
    """A file that moves from another store."""
    site.store.move(site.other.save((data, "a.jpg")), "a.jpg")


def copied_within(site: Site, data: bytes) -> None:
    """A copy of a file that the store has had before the setting."""
    f = site.store.save((data, "b.jpg"), strip=False)
    site.store.copy(f, "a.jpg")
    f.delete()


def moved_within(site: Site, data: bytes) -> None:
    """The same, moved."""
    site.store.move(site.store.save((data, "b.jpg"), strip=False), "a.jpg")


def stored_file_put(site: Site, data: bytes) -> None:
    """A backup of one file."""
    site.store.put("a.jpg", site.other.save((data, "a.jpg")))


def bytes_of_a_stored_file_put(site: Site, data: bytes) -> None:
    """The same by its bytes."""
    f = site.other.save((data, "a.jpg"))
    site.store.put("a.jpg", f.read(), like=f.stat())


def synced(site: Site, data: bytes) -> None:
    """A backup of a store."""
    site.other.save((data, "a.jpg"))
    run = sync.Sync(site.other, site.store, sync.Journal(None))
    assert [outcome.status for outcome in run.run()] == ["copied"]


COPIES: tuple[Way, ...] = (
    copied_between,
    moved_between,
    copied_within,
    moved_within,
    stored_file_put,
    bytes_of_a_stored_file_put,
    synced,
)


@pytest.mark.parametrize("way", COPIES, ids=named)
def test_copy_is_a_copy(site: Site, way: Way) -> None:
    """A copy of what is stored has the same bytes, whatever it is."""
    way(site, JPEG)
    assert site.saved() == [JPEG]


@pytest.mark.parametrize("data", [JPEG, LARGE], ids=["small", "large"])
def test_background(data: bytes, tmp_path: pathlib.Path) -> None:
    """The spool has the file without metadata already."""
    spool = str(tmp_path / "spool")
    site = Site(memory(), memory(), STORE_BACKGROUND=True, STORE_SPOOL_PATH=spool)
    with site.app.app_context():
        with pytest.raises(WrongType):
            bytes_saved(site, TEXT)
        f = site.store.save((data, "a.jpg"))
        assert f.upload is not None
        assert f.read() == bare(data)
        f.upload.wait(30)
        assert site.saved() == [bare(data)]


def test_large_file_of_a_form(site: Site) -> None:
    """One that has arrived on the disk of the store, and stays none without a name."""
    form_sent(site, LARGE)
    assert site.saved() == [bare(LARGE)]
    assert private(site.store) == []


@pytest.mark.parametrize("kind", ["PNG", "WebP"])
def test_large_result_is_written_once(
    kind: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It grows on the disk of the store, where it only gets a name."""
    store = FsspecStore.from_url(tmp_path)
    data = webp_with(
        told.told()["turned.webp"],
        riff(b"ALPH", os.urandom(700_000)),
        riff(b"XMP ", PLANTED),
    )
    if kind == "PNG":
        data = told.PNG + PNG_HEADER + chunk(b"IDAT", os.urandom(700_000)) + PNG_END
    expected = bare(data)
    monkeypatch.setattr(Source, "write_into", None)
    f = store.save((data, "a.png"), strip=True)
    assert (f.read(), f.size) == (expected, len(expected))


def test_what_is_known_of_the_stored_file(site: Site) -> None:
    """Its size is that of what is stored, and its type that of the name."""
    f = site.store.save((JPEG, "a.jpg"))
    assert f.size == len(bare(JPEG)) == site.store.stat(f).size
    assert f.content_type == "image/jpeg"
    assert site.store.save((JPEG, "a.png")).content_type == "image/png"


def test_progress_is_that_of_what_is_stored(site: Site) -> None:
    """The bar is full when the file is stored."""
    callback = Callback()
    f = site.store.save((LARGE, "a.jpg"), callback=callback)
    assert (callback.value, callback.size) == (f.size, f.size)


def test_upload_that_is_cut_off_behind_the_picture(site: Site) -> None:
    """What follows the picture is not stored, and has to arrive all the same."""
    data = told.told()["motion.jpg"]

    @site.app.post("/raw")
    def raw() -> str:
        site.store.save((request.stream, "a.jpg"))
        return "saved"

    answers = []
    for body in (data, data[:-3]):
        announced = {"CONTENT_LENGTH": str(len(data))}
        answer = site.client.post("/raw", data=body, environ_overrides=announced)
        answers.append(answer.status_code)
    assert answers == [200, ClientDisconnected.code]
    assert site.saved() == [bare(data)]


def test_broken_upload_can_be_sent_again(site: Site) -> None:
    """A refusal uses no name up, and leaves nothing but what sweep removes."""
    with pytest.raises(BadPicture):
        direct_form_confirmed(site, JPEG[:-9])
    with pytest.raises(BadPicture):
        bytes_saved(site, JPEG[:-9])
    assert site.saved() == []
    bytes_saved(site, JPEG)
    assert site.saved() == [bare(JPEG)]


@pytest.mark.parametrize("step", ["discard", "leave"])
def test_confirmed_once(site: Site, step: str) -> None:
    """A confirm that was cut off after it had published goes on, and then no more."""
    where = type(site.store.dialect) if step == "discard" else direct.marks
    upload = site.store.presign_upload("a.jpg", max_size=10_000_000)
    file = {**upload.fields, "file": (io.BytesIO(JPEG), "x")}
    site.client.post(upload.url, data=file)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(where, step, interrupt)
        site.store.confirm(upload.token)
    f = site.store.confirm(upload.token)
    assert f.read() == bare(JPEG)
    with pytest.raises(AlreadyConfirmed):
        site.store.confirm(upload.token)
    assert site.saved() == [bare(JPEG)]


def interrupt(*args: object) -> t.NoReturn:
    """Cut off what is done."""
    raise KeyboardInterrupt
