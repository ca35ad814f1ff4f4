"""File fields of WTForms and Flask-WTF, and the validators."""

from __future__ import annotations

import io
import pathlib
import struct
import subprocess
import sys
import tempfile
import typing as t
import zlib

import pytest
import wtforms
from flask import Flask
from flask import jsonify
from flask import request
from flask_wtf import FlaskForm
from flask_wtf.file import FileField
from flask_wtf.file import FileRequired
from flask_wtf.file import MultipleFileField
from werkzeug.datastructures import CombinedMultiDict
from werkzeug.datastructures import FileStorage
from wtforms import ValidationError

from flask_store import Store
from flask_store.validators import FileExtension
from flask_store.validators import FileSize
from flask_store.validators import FileType
from flask_store.validators import ImageSize

PNG = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
    + struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    + struct.pack(">I", zlib.crc32(b"IHDR\0\0\0\1\0\0\0\1\x08\0\0\0\0"))
    + struct.pack(">I4sI", 0, b"IDAT", zlib.crc32(b"IDAT"))
)
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
GIF = b"GIF89a\1\0\1\0\0\0\0;"
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
HTML = b"<!DOCTYPE html><script>alert(1)</script>"
ZIP = b"PK\3\4\x14\0\0\0\0\0" + b"\0" * 40

Part: t.TypeAlias = tuple[io.BytesIO, str]


def part(data: bytes, filename: str) -> Part:
    """A file of a form, for Werkzeug's test client."""
    return io.BytesIO(data), filename


def check(validator: t.Any, *files: t.Any) -> str | None:
    """What the validator says about these files, all in one field."""

    class Data:
        object_data = None
        data = list(files) if len(files) != 1 else files[0]

    try:
        validator(None, Data)
    except ValidationError as error:
        return str(error)
    return None


def upload(data: bytes, filename: str) -> FileStorage:
    """An upload as a field has it."""
    return FileStorage(io.BytesIO(data), filename)


# -- the fields -------------------------------------------------------------------


@pytest.fixture
def app(tmp_path: pathlib.Path) -> Flask:
    """An application with a store and no CSRF tokens."""
    app = Flask(__name__)
    app.config.update(
        STORE_PATH=str(tmp_path / "uploads"), WTF_CSRF_ENABLED=False, SECRET_KEY="x"
    )
    return app


@pytest.mark.lower_bounds
def test_flask_wtf(app: Flask) -> None:
    """A FileField's data can be saved, also after its validators have looked at it."""
    store = Store(app)

    class PhotoForm(FlaskForm):
        photo = FileField(
            validators=[FileRequired(), FileSize(1000), FileType(["png", "jpg"])]
        )

    @app.post("/")
    def view() -> t.Any:
        form = PhotoForm()
        if not form.validate_on_submit():
            return jsonify(form.errors), 400
        return store.Provider("photos").save(form.photo.data).relative_path()  # type: ignore[attr-defined]

    client = app.test_client()
    answer = client.post("/", data={"photo": part(PNG, "me.png")})
    assert answer.text == "photos/me.png"
    served = client.get("/flaskstore/photos/me.png")
    assert served.data == PNG
    served.close()
    answer = client.post("/", data={"photo": part(HTML, "me.png")})
    assert answer.json == {"photo": ["'me.png' is not what its extension says it is."]}
    answer = client.post("/", data={"photo": part(b"", "")})
    assert answer.json == {"photo": ["This field is required."]}


def test_flask_wtf_several_files(app: Flask) -> None:
    """Every file of a MultipleFileField is saved, and one bad one stops them all."""
    store = Store(app)

    class PhotosForm(FlaskForm):
        photos = MultipleFileField(validators=[FileType(["png", "jpg"])])

    @app.post("/")
    def view() -> t.Any:
        form = PhotosForm()
        if not form.validate_on_submit():
            return jsonify(form.errors), 400
        files = form.photos.data or []
        return jsonify([str(store.Provider().save(file)) for file in files])  # type: ignore[attr-defined]

    client = app.test_client()
    good = [part(PNG, "a.png"), part(JPEG, "b.jpg")]
    assert client.post("/", data={"photos": good}).json == ["a.png", "b.jpg"]
    bad = [part(HTML, "bad.php"), part(PNG, "ok.png")]
    assert client.post("/", data={"photos": bad}).status_code == 400
    assert client.post("/", data={"photos": part(b"", "")}).json == []


def test_plain_wtforms(app: Flask) -> None:
    """The fields of WTForms alone work with both of the request's mappings; with the
    form's text alone there is no upload, and that is an error."""
    store = Store(app)

    class Plain(wtforms.Form):
        one = wtforms.FileField(validators=[FileExtension(["txt"])])
        many = wtforms.MultipleFileField(validators=[FileExtension(["txt"])])

    @app.post("/")
    def view() -> t.Any:
        form = Plain(CombinedMultiDict([request.files, request.form]))
        if not form.validate():
            return jsonify(form.errors), 400
        files = [form.one.data, *form.many.data]
        return jsonify([str(store.Provider().save(file)) for file in files if file])  # type: ignore[attr-defined]

    client = app.test_client()
    many = [part(b"2", "two.txt"), part(b"3", "three.txt")]
    data: dict[str, t.Any] = {"one": part(b"1", "one.txt"), "many": many}
    assert client.post("/", data=data).json == ["one.txt", "two.txt", "three.txt"]
    assert client.post("/", data={"one": part(b"", "")}).json == []
    answer = client.post("/", data={"one": "one.txt"})
    assert "multipart/form-data" in answer.json["one"][0]


# -- the validators ---------------------------------------------------------------


@pytest.mark.parametrize(
    "validator",
    [FileSize(100), FileExtension(["png"]), FileType(["png"]), ImageSize(100)],
)
@pytest.mark.parametrize("position", [0, 1, 2])
def test_every_file_is_looked_at(validator: t.Any, position: int) -> None:
    """Wherever the bad one is among the good ones."""
    files = [upload(PNG, f"ok{number}.png") for number in range(2)]
    assert check(validator, *files) is None
    files.insert(position, upload(b"<?php" * 100, "bad.php"))
    assert "'bad.php'" in str(check(validator, *files))


@pytest.mark.parametrize(
    "validator",
    [
        FileSize(100),
        FileSize(1),
        FileExtension(["txt"]),
        FileType(["txt"]),
        ImageSize(1),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.png"])
def test_position_is_restored(validator: t.Any, name: str) -> None:
    """The stream is where it was, whether the file passes or not."""
    file = upload(b"0123456789", name)
    file.stream.seek(4)
    check(validator, file)
    assert file.stream.tell() == 4


@pytest.mark.parametrize("nothing", [None, "", upload(b"", ""), upload(b"", "")])
def test_nothing_passes(nothing: t.Any) -> None:
    """Whether there has to be a file is for FileRequired to say."""
    for validator in (
        FileSize(9, 1),
        FileExtension(["txt"]),
        FileType(["txt"]),
        ImageSize(9),
    ):
        assert check(validator, nothing) is None
        assert check(validator, nothing, nothing) is None


def test_nothing_beside_a_bad_file() -> None:
    """A part that was left empty does not hide the others."""
    files = [upload(b"", ""), upload(HTML, "bad.html")]
    assert "'bad.html'" in str(check(FileExtension(["png"]), *files))


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ({"max_pixels": 1200}, None),
        ({"max_pixels": 1199}, "is 1,200 pixels large in all; the most is 1,199."),
        ({"min_width": 40, "max_width": 40}, None),
        ({"min_width": 41}, "is 40 pixels wide; the least is 41."),
        ({"max_width": 39}, "is 40 pixels wide; the most is 39."),
        ({"min_height": 31}, "is 30 pixels high; the least is 31."),
        ({"max_height": 29}, "is 30 pixels high; the most is 29."),
        ({"max_height": 29, "message": "Too high."}, "Too high."),
    ],
)
def test_size_of_a_picture(limits: dict[str, t.Any], problem: str | None) -> None:
    """Its header says it."""
    picture = PNG[:16] + struct.pack(">II", 40, 30) + PNG[24:]
    found = check(ImageSize(**limits), upload(picture, "a.png"))
    assert (found and found.removeprefix("'a.png' ")) == problem


def test_no_picture_has_a_size() -> None:
    """Whatever its extension is."""
    said = "'a.png' is not a picture of a known kind."
    assert check(ImageSize(100), upload(HTML, "a.png")) == said


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        ({"max_pixels": "100"}, TypeError),
        ({"min_width": 1.5}, TypeError),
        ({"min_height": True}, TypeError),
        ({"max_width": 0}, ValueError),
        ({"min_width": 20, "max_width": 10}, ValueError),
        ({"min_height": 20, "max_height": 10}, ValueError),
    ],
)
def test_wrong_size_of_a_picture(
    limits: dict[str, t.Any], error: type[Exception]
) -> None:
    """It is complained of when the form is written, not when it is sent."""
    with pytest.raises(error):
        ImageSize(**limits)


def test_text_in_place_of_an_upload() -> None:
    """A name alone is no file and does not pass as one."""
    assert "multipart" in str(check(FileExtension(["png"]), "a.png"))


def test_pairs_are_checked_as_uploads() -> None:
    """A pair of content and name, as save() takes it, alone and among others."""
    pairs = [(PNG, "a.png"), (io.BytesIO(PNG), "b.png")]
    for files in (pairs, pairs[:1], [*pairs, upload(PNG, "c.png")]):
        assert check(FileType(["png"]), *files) is None
    assert "'a.png' is not" in str(check(FileType(["png"]), (HTML, "a.png")))
    assert "'b.php'" in str(check(FileExtension(["png"]), pairs[0], (PNG, "b.php")))
    assert "larger" in str(check(FileSize(5), (PNG, "a.png")))
    assert "multipart" in str(check(FileExtension(["png"]), b"data"))


def test_size() -> None:
    """Both limits are inside, and what lies outside is named."""
    validator = FileSize(10, min_size=2)
    assert [check(validator, upload(b"x" * n, "a.txt")) for n in (2, 10)] == [None] * 2
    assert "larger than 10 bytes" in str(check(validator, upload(b"x" * 11, "a.txt")))
    assert "smaller than 2 bytes" in str(check(validator, upload(b"x", "a.txt")))
    assert check(FileSize(10, 1), upload(b"", "empty.txt")) is not None


def test_size_of_a_file_on_disk() -> None:
    """Werkzeug keeps large uploads on disk; they are not read to be measured."""
    with tempfile.TemporaryFile() as stream:
        stream.truncate(2_000_000)
        file = FileStorage(stream, "big.bin")
        assert "larger than" in str(check(FileSize(1_999_999), file))
        assert check(FileSize(2_000_000), file) is None


@pytest.mark.parametrize(
    "name",
    [
        "a.png",
        "A.PNG",
        "фото.png",
        "a.b.png",
        "C:\\x\\a.png",
        ".png",
        "a.png.",
        "a.PnG ",
    ],
)
def test_extension(name: str) -> None:
    """The extension of the name that would be stored, in any case."""
    for given in ("png", ".png", "PNG"):
        assert check(FileExtension([given]), upload(b"", name)) is None


@pytest.mark.parametrize(
    "name",
    ["png", "evil", "Makefile", "a.php", "a.png.php", "a.png\0.php", "a.png/b", ".."],
)
def test_extension_that_is_not_there(name: str) -> None:
    """No extension is not an allowed one, and nothing is cut off but white space."""
    assert check(FileExtension(["png"]), upload(b"x", name)) is not None


def test_extension_of_an_archive() -> None:
    """Both '.gz' and '.tar.gz' allow one."""
    for given in ("gz", "tar.gz"):
        assert check(FileExtension([given]), upload(b"", "a.tar.gz")) is None
    assert check(FileExtension(["tar.gz"]), upload(b"", "a.gz")) is not None


def test_a_list_is_needed() -> None:
    """One string would be taken for its letters."""
    with pytest.raises(TypeError, match="list of extensions"):
        FileExtension("png")


def test_validators_that_were_written_wrongly() -> None:
    """They are refused when the form is written, not when a file comes."""
    with pytest.raises(TypeError, match="'5 MB' is not a number of bytes"):
        FileSize("5 MB")  # type: ignore[arg-type]
    for validator in (FileExtension, FileType):
        with pytest.raises(ValueError, match="No file would pass"):
            validator([])


@pytest.mark.lower_bounds
@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("a.png", PNG),
        ("a.jpg", JPEG),
        ("a.jpeg", JPEG),
        ("a.jpg", b"\xff\xd8\xff\xe1\0\x10Exif\0\0"),
        ("a.jpg", b"\xff\xd8\xff\xdb\0C\0\1\1\1"),
        ("a.gif", GIF),
        ("a.gif", GIF.replace(b"9", b"7", 1)),
        ("a.webp", b"RIFF\x24\0\0\0WEBPVP8 "),
        ("a.avif", b"\0\0\0\x1cftypavif\0\0\0\0"),
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0"),
        ("a.bmp", b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28" + bytes(11)),
        ("a.tiff", b"II*\0\x08\0\0\0"),
        ("a.tif", b"MM\0*\0\0\0\x08"),
        ("a.ico", b"\0\0\1\0\1\0\x10\x10"),
        ("a.pdf", PDF),
        ("a.zip", ZIP),
        ("a.gz", b"\x1f\x8b\x08\0"),
        ("a.tar.gz", b"\x1f\x8b\x08\0"),
        ("a.mp3", b"ID3\3\0\0\0\0\0\0"),
        ("a.mp3", b"\xff\xfb\x90\x44" + b"\0" * 100),
        ("a.wav", b"RIFF\x24\0\0\0WAVEfmt "),
        ("a.ogg", b"OggS\0\2"),
        ("a.flac", b"fLaC\0\0\0\x22"),
        ("a.mp4", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"),
        ("a.mp4", b"\0\0\0\x20ftypisom\0\0\2\0isomiso2"),
        ("a.m4a", b"\0\0\0\x20ftypM4A \0\0\0\0"),
        ("a.mov", b"\0\0\0\x14ftypqt  \0\0\0\0"),
        ("a.webm", b"\x1aE\xdf\xa3\1\0\0\0\0\0\0\x1fB\x86\x81\1webm"),
        ("a.mkv", b"\x1aE\xdf\xa3\1\0\0\0\0\0\0\x1fB\x86\x81\1matroska"),
        ("a.txt", b"Hello, world\n"),
        ("a.txt", "Привет".encode()),
        ("a.txt", "Привет".encode("utf-16")),
        ("a.txt", b""),
        ("a.txt", "é".encode() * 8192),
        ("a.txt", b"x" + "é".encode() * 8192),
        ("a.csv", b"a;b\n1;2\n"),
        ("a.json", b'{"a": 1}'),
        ("a.md", b"# Title\n"),
        ("a.svg", b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
        ("a.svg", b'<?xml version="1.0"?><svg/>'),
        ("a.html", HTML),
        ("a.xml", b'<?xml version="1.0"?><a/>'),
        ("a.eml", b"From: ann@example.com\n"),
    ],
)
def test_type_that_agrees(name: str, head: bytes) -> None:
    """Files are taken for what they are."""
    assert check(FileType([name.partition(".")[2]]), upload(head, name)) is None


@pytest.mark.lower_bounds
@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("a.png", JPEG),
        ("a.png", HTML),
        ("a.png", b""),
        ("a.png", b"just text"),
        ("a.png", b" " + PNG),
        ("a.jpg", b"<?php system($_GET[0]); ?>"),
        ("a.jpg", HTML + JPEG),
        ("a.jpg", HTML + b"\xff\xd9"),
        ("a.gif", PNG),
        ("a.mpeg", HTML + b"\0\0\1\xb7"),
        ("a.gif", b"<script>" + b"\0;"),
        ("a.pdf", HTML),
        ("a.pdf", b"MZ\x90\0\3\0\0\0"),
        ("a.docx", PDF),
        ("a.docx", ZIP),
        ("a.xlsx", ZIP),
        ("a.zip", b"\x7fELF\2\1\1"),
        ("a.mp4", HTML),
        ("a.txt", PNG),
        ("a.txt", PDF),
        ("a.txt", b"MZ\x90\0\3\0\0\0"),
        ("a.txt", b"\xff\xff\xff"),
        ("a.csv", ZIP),
        ("a.svg", GIF),
        ("a.html", b"GIF89a<script>"),
        ("a.json", b"\0\0\0\0"),
    ],
)
def test_type_that_does_not_agree(name: str, head: bytes) -> None:
    """Content decides whether the extension is believed."""
    said = check(FileType([name.partition(".")[2]]), upload(head, name))
    assert said == f"'{name}' is not what its extension says it is."


def test_type_is_of_the_extension_and_not_only_allowed() -> None:
    """An allowed content under another allowed extension is a lie all the same, and
    an image called .php is no image."""
    validator = FileType(["png", "jpg", "txt"])
    assert check(validator, upload(PNG, "a.jpg")) is not None
    assert check(validator, upload(PNG, "a.txt")) is not None
    assert check(validator, upload(GIF, "shell.php")) is not None


def test_type_that_cannot_be_checked() -> None:
    """It is refused when the form is written, not when a file comes."""
    with pytest.raises(ValueError, match="'.nosuchthing'"):
        FileType(["png", "nosuchthing"])


def test_message() -> None:
    """A message of the form's own replaces ours."""
    validators: list[t.Any] = [
        FileSize(1, message="No."),
        FileExtension(["png"], message="No."),
        FileType(["txt"], message="No."),
    ]
    assert [check(v, upload(GIF, "a.txt")) for v in validators] == ["No."] * 3


def test_hostile_name_in_a_message() -> None:
    """What is quoted is short and printable."""
    said = str(check(FileExtension(["png"]), upload(b"", "\x1b[2J" + "x" * 5000)))
    assert said.isprintable()
    assert len(said) < 200


def test_extras_are_not_loaded() -> None:
    """import flask_store loads neither the forms' nor the database's packages."""
    names = {"wtforms", "flask_wtf", "puremagic", "sqlalchemy", "alembic"}
    script = f"import sys, flask_store; print({names!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert done.stdout.strip() == b"set()"
