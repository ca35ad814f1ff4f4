"""tus 1.0.0, rule by rule: https://tus.io/protocols/resumable-upload"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import io
import pathlib
import typing as t
import zlib

import pytest
import shortuuid
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.datastructures import Headers
from werkzeug.http import parse_date
from werkzeug.test import TestResponse

from flask_store import Store
from flask_store.direct import DirectUpload
from flask_store.exceptions import BadLink
from flask_store.exceptions import FileNotFound
from flask_store.exceptions import NotConfiguredError
from flask_store.stores.fsspec import FsspecStore
from tests.support.tus_rules import rule

BYTES = "application/offset+octet-stream"
DATA = bytes(n * 7 % 256 for n in range(300_000))


class Client:
    """A tus client that does as it is told.

    :param upload: what the application gives to it.
    """

    def __init__(self, http: FlaskClient, upload: DirectUpload) -> None:
        self.http = http
        assert upload.resumable is not None
        self.url = upload.resumable

    def send(
        self,
        method: str,
        body: bytes | t.IO[bytes] | None = None,
        headers: dict[str, str] | None = None,
        **options: t.Any,
    ) -> TestResponse:
        """One request, with the headers of tus unless the caller replaces them."""
        sent = {"Tus-Resumable": "1.0.0", **(headers or {})}
        sent = {name: value for name, value in sent.items() if value}
        data = io.BytesIO(body) if isinstance(body, bytes) else body
        if isinstance(body, bytes):
            options["content_length"] = len(body)
        return self.http.open(
            self.url, method=method, headers=Headers(sent), data=data, **options
        )

    def create(self, length: int | str = len(DATA), **headers: str) -> TestResponse:
        """Create the upload."""
        return self.send("POST", headers={"Upload-Length": str(length), **headers})

    def patch(
        self, offset: int | str, body: bytes, headers: dict[str, str] | None = None
    ) -> TestResponse:
        """Send bytes."""
        usual = {"Content-Type": BYTES, "Upload-Offset": str(offset)}
        return self.send("PATCH", body, {**usual, **(headers or {})})

    def offset(self) -> int:
        """Where the server says that the upload is."""
        response = self.send("HEAD")
        assert response.status_code == 200
        return int(response.headers["Upload-Offset"])


@pytest.fixture(params=["local", "memory"])
def app(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Flask:
    """An application whose uploads can be resumed: a file that grows, and pieces."""
    path = str(tmp_path / "files")
    if request.param == "memory":
        path = f"memory://{shortuuid.uuid()}/files"
    app = Flask("gallery")
    app.config.update(SECRET_KEY="secret", STORE_PATH=path, STORE_RESUMABLE=True)
    Store(app)
    return app


@pytest.fixture
def store(app: Flask) -> t.Iterator[FsspecStore]:
    """The store, in a request of the application."""
    with app.test_request_context():
        yield t.cast(FsspecStore, app.extensions["store"].Provider())


@pytest.fixture
def upload(store: FsspecStore) -> DirectUpload:
    """What a view gives to a browser."""
    return store.presign_upload("фото.jpg", folder="photos", max_size=1_000_000)


@pytest.fixture
def client(app: Flask, upload: DirectUpload) -> Client:
    """A client with the address of its upload."""
    return Client(app.test_client(), upload)


def private(store: FsspecStore) -> list[str]:
    """The names of the private files."""
    return sorted(name for name, _ in store.dialect.private(""))


def checksum(name: str, digest: bytes) -> dict[str, str]:
    """The header for a checksum."""
    return {"Upload-Checksum": f"{name} {base64.b64encode(digest).decode()}"}


# -- the core --------------------------------------------------------------------------


@rule("Upload-Offset", "MUST", "The offset is a number of bytes, 0 or more.")
@pytest.mark.parametrize("offset", ["", "-1", "1.5", "ten", "0x1", "1 ", "9" * 30])
def test_offset_is_a_number(client: Client, offset: str) -> None:
    """Anything else is a 400, and changes nothing."""
    client.create()
    response = client.patch(offset, b"abc")
    assert response.status_code == 400
    assert client.offset() == 0


@rule("Upload-Length", "MUST", "The length is a number of bytes, 0 or more.")
@pytest.mark.parametrize("length", ["", "-1", "1.5", "ten", "9" * 30])
def test_length_is_a_number(client: Client, length: str) -> None:
    """Anything else is a 400, and begins nothing."""
    assert client.create(length).status_code == 400
    assert client.send("HEAD").status_code == 404


@rule("Tus-Version", "MUST", "OPTIONS tells the versions that the server knows.")
def test_options_tell_the_version(client: Client) -> None:
    """One version."""
    response = client.send("OPTIONS")
    assert response.status_code == 204
    assert response.headers["Tus-Version"] == "1.0.0"


@rule("Tus-Resumable", "MUST", "Every response tells the version, errors included.")
def test_every_response_tells_the_version(client: Client) -> None:
    """From the first to the last."""
    for response in (
        client.send("HEAD"),
        client.create(),
        client.send("HEAD"),
        client.patch(5, b"abc"),
        client.patch(0, DATA),
        client.send("DELETE"),
        client.send("DELETE"),
        client.http.head("/flaskstore-resumable/photos/x?token=nonsense"),
    ):
        assert response.headers["Tus-Resumable"] == "1.0.0"


@rule("Tus-Resumable", "MUST", "Another version is a 412, and nothing is done.")
@pytest.mark.parametrize("version", ["", "0.2.2", "1.0.1", "2.0.0"])
@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
def test_another_version(client: Client, version: str, method: str) -> None:
    """The response tells which version there is."""
    client.create()
    headers = {"Tus-Resumable": version, "Upload-Offset": "0", "Content-Type": BYTES}
    response = client.send(method, b"abc", headers)
    assert response.status_code == 412
    assert response.headers["Tus-Version"] == "1.0.0"
    assert client.offset() == 0


@rule("Tus-Extension", "MUST", "OPTIONS lists the extensions, separated by commas.")
def test_options_list_the_extensions(client: Client) -> None:
    """Those that these tests are about."""
    extensions = client.send("OPTIONS").headers["Tus-Extension"].split(",")
    assert extensions == [
        "creation",
        "creation-with-upload",
        "expiration",
        "termination",
        "checksum",
    ]


@rule("Tus-Max-Size", "SHOULD", "OPTIONS tells the largest size, where there is one.")
def test_options_tell_the_size(client: Client) -> None:
    """It is that of the token."""
    assert client.send("OPTIONS").headers["Tus-Max-Size"] == "1000000"


@rule(
    "X-HTTP-Method-Override",
    "MUST",
    "The header replaces the method, for clients that cannot send PATCH or DELETE.",
)
def test_method_override(client: Client) -> None:
    """The method of the request itself does not count."""
    client.create()
    override = {"X-HTTP-Method-Override": "PATCH", "Content-Type": BYTES}
    response = client.send("POST", DATA[:9], {**override, "Upload-Offset": "0"})
    assert (response.status_code, client.offset()) == (204, 9)
    response = client.send("POST", headers={"X-HTTP-Method-Override": "DELETE"})
    assert response.status_code == 204
    response = client.send("POST", headers={"X-HTTP-Method-Override": "BREW"})
    assert response.status_code == 405


@rule("HEAD", "MUST", "The response has the offset, also if it is 0, and at the end.")
def test_head_tells_the_offset(client: Client) -> None:
    """At each step."""
    client.create()
    assert client.offset() == 0
    client.patch(0, DATA[:70_001])
    assert client.offset() == 70_001
    client.patch(70_001, DATA[70_001:])
    assert client.offset() == len(DATA)


@rule("HEAD", "MUST", "The response has the length.")
def test_head_tells_the_length(client: Client) -> None:
    """As the client has said it."""
    client.create()
    assert client.send("HEAD").headers["Upload-Length"] == str(len(DATA))


@rule("HEAD", "MUST", "No cache keeps the response.")
def test_head_is_not_cached(client: Client) -> None:
    """Neither of an upload, nor of none."""
    assert client.send("HEAD").headers["Cache-Control"] == "no-store"
    client.create()
    assert client.send("HEAD").headers["Cache-Control"] == "no-store"


@rule("HEAD", "SHOULD", "An upload that is not there is a 404 without an offset.")
def test_head_of_nothing(client: Client) -> None:
    """Nothing has begun."""
    response = client.send("HEAD")
    assert response.status_code == 404
    assert "Upload-Offset" not in response.headers


@rule("PATCH", "SHOULD", "A body of another type is a 415.")
@pytest.mark.parametrize("content_type", ["", "application/octet-stream", "text/plain"])
def test_type_of_a_patch(client: Client, content_type: str) -> None:
    """Nothing of it is stored."""
    client.create()
    response = client.patch(0, b"abc", {"Content-Type": content_type})
    assert (response.status_code, client.offset()) == (415, 0)


@rule("PATCH", "MUST", "At another offset it is a 409, and changes nothing.")
@pytest.mark.parametrize("offset", [0, 9, 11, len(DATA)])
def test_another_offset(client: Client, store: FsspecStore, offset: int) -> None:
    """Neither over bytes that are there nor beyond them."""
    client.create()
    client.patch(0, DATA[:10])
    response = client.patch(offset, b"xyz")
    assert (response.status_code, client.offset()) == (409, 10)
    assert b"10 bytes by now" in response.data


@rule("PATCH", "MUST", "It is a 204, with the offset after the bytes that were taken.")
def test_patch_tells_the_offset(client: Client) -> None:
    """The sum of what was there and what was sent."""
    client.create()
    for start, stop in ((0, 1), (1, 1), (1, 100_000), (100_000, len(DATA))):
        response = client.patch(start, DATA[start:stop])
        assert response.status_code == 204
        assert response.headers["Upload-Offset"] == str(stop)


@rule("PATCH", "SHOULD", "Of an upload that is not there it is a 404.")
def test_patch_of_nothing(client: Client) -> None:
    """It begins none."""
    assert client.patch(0, b"abc").status_code == 404
    assert client.send("HEAD").status_code == 404


class Cut(io.RawIOBase):
    """The body of a client that hangs up."""

    def __init__(self, data: bytes, error: Exception | None) -> None:
        self._data = io.BytesIO(data)
        self._error = error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int:
        count = self._data.readinto(buffer)
        if not count and self._error is not None:
            raise self._error
        return count


@rule("PATCH", "SHOULD", "What arrives of a body that is cut off is stored.")
@pytest.mark.parametrize("error", [None, ConnectionResetError("gone")])
@pytest.mark.parametrize("arrived", [0, 1, 65_536, 200_001])
def test_cut_off(
    client: Client,
    store: FsspecStore,
    upload: DirectUpload,
    arrived: int,
    error: Exception | None,
) -> None:
    """Every byte, and the upload goes on there."""
    client.create()
    headers = {"Content-Type": BYTES, "Upload-Offset": "0"}
    environ = {
        "wsgi.input": Cut(DATA[:arrived], error),
        "CONTENT_LENGTH": str(len(DATA)),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(client.http.application.config, "PROPAGATE_EXCEPTIONS", False)
        client.send(
            "PATCH",
            headers=headers,
            environ_overrides=environ,
        )
    assert client.offset() == arrived
    client.patch(arrived, DATA[arrived:])
    assert store.confirm(upload.token, folder="photos").read() == DATA


@rule("OPTIONS", "MUST", "The version in the request does not count.")
def test_options_ignore_the_version(client: Client) -> None:
    """Nor that there is none."""
    for version in ("", "0.2.2", "1.0.0"):
        response = client.send("OPTIONS", headers={"Tus-Resumable": version})
        assert response.status_code == 204


# -- creation --------------------------------------------------------------------------


@rule("Creation", "MUST", "The response is a 201 with the address of the upload.")
def test_creation(client: Client, upload: DirectUpload) -> None:
    """The token is for one upload, so that its address is the one of the creation."""
    response = client.create()
    assert response.status_code == 201
    assert response.headers["Location"] == upload.resumable


@rule("Creation", "MUST", "A length that is larger than allowed is a 413.")
def test_too_long(client: Client) -> None:
    """The size is that of the token."""
    response = client.create(1_000_001)
    assert response.status_code == 413
    assert client.send("HEAD").status_code == 404
    assert client.create(1_000_000).status_code == 201


def test_length_is_not_deferred(client: Client) -> None:
    """The size is checked before anything is stored."""
    response = client.send("POST", headers={"Upload-Defer-Length": "1"})
    assert response.status_code == 400
    assert b"Send Upload-Length in place" in response.data


def test_creation_is_repeated(client: Client) -> None:
    """A client whose answer was lost asks again, and goes on."""
    client.create()
    client.patch(0, DATA[:10])
    response = client.create()
    assert response.status_code == 201
    assert response.headers["Upload-Offset"] == "10"
    assert client.create(10).status_code == 409
    assert client.offset() == 10


@rule(
    "Creation With Upload",
    "MUST",
    "A creation may have bytes. The response has the offset after them.",
)
def test_creation_with_upload(client: Client) -> None:
    """They are of the same type as those of a PATCH."""
    headers = {"Upload-Length": str(len(DATA)), "Content-Type": BYTES}
    response = client.send("POST", DATA[:1000], headers)
    assert response.status_code == 201
    assert response.headers["Upload-Offset"] == "1000"
    # The answer was lost.
    again = client.send("POST", DATA[:1000], headers)
    assert again.headers["Upload-Offset"] == "1000" == str(client.offset())


# -- expiration ------------------------------------------------------------------------


@rule("Expiration", "MUST", "The responses to POST and PATCH tell when it expires.")
@rule("Expiration", "MUST", "The date is written as in HTTP (RFC 9110, section 5.6.7).")
def test_expiration(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is that of the token."""
    for response in (client.create(), client.patch(0, DATA[:5]), client.send("HEAD")):
        assert parse_date(response.headers["Upload-Expires"]) is not None
    later = parse_date(response.headers["Upload-Expires"])
    assert later is not None
    monkeypatch.setattr("time.time", lambda: later.timestamp() + 1)
    assert client.send("HEAD").status_code == 403
    assert client.patch(5, DATA[5:]).status_code == 403


# -- checksums -------------------------------------------------------------------------

SUMS = {
    "sha1": lambda data: hashlib.sha1(data).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
}


@rule("Checksum", "MUST", "SHA-1 is known. OPTIONS lists the algorithms.")
def test_options_list_the_algorithms(client: Client) -> None:
    """Those that clients have."""
    listed = client.send("OPTIONS").headers["Tus-Checksum-Algorithm"].split(",")
    assert listed == [*SUMS]


@rule("Checksum", "MUST", "The bytes are compared with the checksum.")
@pytest.mark.parametrize("name", SUMS)
def test_checksum(client: Client, name: str) -> None:
    """Also if there are many of them."""
    client.create()
    data = DATA[:200_000]
    response = client.patch(0, data, checksum(name, SUMS[name](data)))
    assert (response.status_code, client.offset()) == (204, len(data))


@rule("Checksum", "MUST", "If they differ, it is a 460, and nothing is stored.")
@pytest.mark.parametrize("name", SUMS)
def test_wrong_checksum(client: Client, name: str) -> None:
    """The client sends them again."""
    client.create()
    client.patch(0, DATA[:10])
    response = client.patch(10, DATA[10:20], checksum(name, SUMS[name](b"other")))
    assert response.status_code == 460
    assert client.offset() == 10


@rule("Checksum", "MUST", "An unknown algorithm is a 400, and nothing is stored.")
@pytest.mark.parametrize("value", ["md4 AAAA", "sha1", "sha1 !", " ", "sha1  AA=="])
def test_unknown_checksum(client: Client, value: str) -> None:
    """So is a header that is none."""
    client.create()
    response = client.patch(0, b"abc", {"Upload-Checksum": value})
    assert response.status_code in (400, 460)
    assert client.offset() == 0


def test_cut_off_with_a_checksum(client: Client) -> None:
    """Nobody can compare what has not arrived."""
    client.create()
    headers = {"Content-Type": BYTES, "Upload-Offset": "0"}
    client.send(
        "PATCH",
        headers={
            **headers,
            **checksum("sha1", SUMS["sha1"](DATA[:1000])),
        },
        environ_overrides={
            "wsgi.input": Cut(DATA[:500], None),
            "CONTENT_LENGTH": "1000",
        },
    )
    assert client.offset() == 0


# -- termination -----------------------------------------------------------------------


@rule("Termination", "MUST", "DELETE is a 204, and the upload is gone.")
@rule("Termination", "SHOULD", "Later requests are a 404.")
def test_termination(client: Client, store: FsspecStore, upload: DirectUpload) -> None:
    """Nothing is left of it."""
    client.create()
    client.patch(0, DATA)
    assert client.send("DELETE").status_code == 204
    assert client.send("HEAD").status_code == 404
    assert client.patch(0, b"abc").status_code == 404
    assert client.send("DELETE").status_code == 404
    assert private(store) == []
    with pytest.raises(FileNotFound):
        store.confirm(upload.token, folder="photos")


def test_begun_anew(client: Client, store: FsspecStore, upload: DirectUpload) -> None:
    """The token is not used up, and may be used for a file of another length."""
    client.create()
    client.patch(0, DATA[:100])
    client.send("DELETE")
    client.create(3)
    assert client.offset() == 0
    client.patch(0, b"abc")
    assert store.confirm(upload.token, folder="photos").read() == b"abc"
    (mark,) = private(store)
    assert mark.endswith(".confirmed")


# -- what a token allows ---------------------------------------------------------------


def test_whole_story(client: Client, store: FsspecStore, upload: DirectUpload) -> None:
    """A file is seen when it is confirmed, and the token is good once."""
    client.create()
    client.patch(0, DATA[:200_000])
    with pytest.raises(FileNotFound):
        store.confirm(upload.token, folder="photos")
    client.patch(200_000, DATA[200_000:])
    assert not list(store.ls())
    f = store.confirm(upload.token, folder="photos")
    assert f.key == upload.key and f.key.startswith("photos/")
    assert (f.read(), f.content_type) == (DATA, "image/jpeg")
    (mark,) = private(store)
    assert mark.endswith(".confirmed")
    assert client.send("HEAD").status_code == 404
    assert client.create().status_code == 403
    with pytest.raises(BadLink):
        store.confirm(upload.token, folder="photos")


def test_empty_file(client: Client, store: FsspecStore, upload: DirectUpload) -> None:
    """It is whole from the beginning on."""
    client.create(0)
    assert client.offset() == 0
    assert store.confirm(upload.token, folder="photos").read() == b""


@pytest.mark.parametrize("announced", [True, False])
def test_too_many_bytes(client: Client, announced: bool) -> None:
    """The length is final, be the rest announced or sent in chunks."""
    client.create(10)
    if announced:
        response = client.patch(0, DATA[:11])
        assert client.offset() == 0
    else:
        response = client.send(
            "PATCH",
            headers={
                "Content-Type": BYTES,
                "Upload-Offset": "0",
                "Transfer-Encoding": "chunked",
            },
            environ_overrides={
                "wsgi.input": io.BytesIO(DATA[:11]),
                "wsgi.input_terminated": True,
            },
        )
        assert client.offset() == 10
    assert response.status_code == 413


def test_form_limit_does_not_count(
    app: Flask, client: Client, store: FsspecStore, upload: DirectUpload
) -> None:
    """MAX_CONTENT_LENGTH is for forms. A token says how large its file may be."""
    app.config["MAX_CONTENT_LENGTH"] = 100
    client.create()
    assert client.patch(0, DATA).status_code == 204


@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
@pytest.mark.parametrize("token", [None, "", "nonsense", "é", "form"])
def test_without_a_good_token(
    app: Flask, store: FsspecStore, client: Client, method: str, token: str | None
) -> None:
    """Nobody begins, sees, continues or ends anything."""
    client.create()
    if token == "form":
        token = store.presign_upload("x", max_size=9, resumable=False).token
    before = private(store)
    client.url = client.url.partition("?")[0]
    if token is not None:
        client.url += f"?token={token}"
    headers = {"Upload-Length": "3", "Upload-Offset": "0", "Content-Type": BYTES}
    assert client.send(method, b"abc", headers).status_code == 403
    assert private(store) == before


def test_token_of_a_form_begins_nothing(app: Flask, store: FsspecStore) -> None:
    """It is for one request."""
    form = store.presign_upload("x.txt", max_size=9, resumable=False)
    assert form.resumable is None
    url = f"{store.resumable_url(form.key)}?token={form.token}"
    other = store.presign_upload("x.txt", max_size=9)
    client = Client(app.test_client(), other)
    client.url = url
    response = client.create(3)
    assert response.status_code == 403
    assert b"presign_upload(..., resumable=True)" in response.data
    assert private(store) == []


def test_form_of_a_resumable_token(
    app: Flask, client: Client, upload: DirectUpload, store: FsspecStore
) -> None:
    """The same token is good for the form: whichever arrives first is confirmed."""
    client.create()
    client.patch(0, DATA[:5])
    fields = {**upload.fields, "file": (io.BytesIO(b"form"), "x.jpg", "image/jpeg")}
    assert app.test_client().post(upload.url, data=fields).status_code == 204
    assert client.create(3).status_code == 403
    assert store.confirm(upload.token, folder="photos").read() == b"form"
    (mark,) = private(store)
    assert mark.endswith(".confirmed")


def test_sweep(
    client: Client, store: FsspecStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody has finished stays until the token has expired, and goes then."""
    client.create()
    client.patch(0, DATA)
    assert len(private(store)) == 2
    assert not store.sweep(older_than=dt.timedelta(0))
    assert len(private(store)) == 2
    expired = [
        name.replace(name.split(".")[1], "1000000000") for name in private(store)
    ]
    for name, later in zip(private(store), expired, strict=True):
        folder = store.dialect.path(".flask-store")
        store.dialect.fs.mv(f"{folder}/{name}", f"{folder}/{later}")
    assert len(list(store.sweep(older_than=dt.timedelta(0)))) == 2
    assert private(store) == []


# -- where it is -----------------------------------------------------------------------


def test_unused_without_the_setting(tmp_path: pathlib.Path) -> None:
    """An upload cannot be resumed unless somebody allows it."""
    app = Flask("gallery")
    app.config.update(SECRET_KEY="secret", STORE_PATH=str(tmp_path))
    store = Store(app)
    with app.test_request_context():
        assert store.presign_upload("x", max_size=9).resumable is None
        assert store.presign_upload("x", max_size=9, resumable=True).resumable


@pytest.mark.parametrize(
    ("settings", "cure"),
    [
        ({"STORE_SERVE": "off"}, "Set it to 'auto' or 'proxy'"),
        ({"STORE_PATH": "https://example.com/files"}, "Remove STORE_RESUMABLE"),
    ],
)
def test_no_route(tmp_path: pathlib.Path, settings: dict[str, str], cure: str) -> None:
    """A setting that cannot be kept is an error at the start."""
    app = Flask("gallery")
    app.config.update({"STORE_PATH": str(tmp_path), **settings}, STORE_RESUMABLE=True)
    with pytest.raises(NotConfiguredError, match=cure):
        Store(app)


def test_named_store_has_its_own_route(tmp_path: pathlib.Path) -> None:
    """A token of one store is good for none of the others."""
    app = Flask("gallery")
    app.config.update(
        SECRET_KEY="secret", STORE_PATH=str(tmp_path / "a"), STORE_RESUMABLE=True
    )
    first = Store(app)
    app.config["AVATARS_STORE_PATH"] = str(tmp_path / "b")
    second = Store(app, name="avatars")
    with app.test_request_context():
        mine = first.presign_upload("x.txt", max_size=9)
        theirs = second.presign_upload("x.txt", max_size=9)
    assert mine.resumable and theirs.resumable
    assert mine.resumable.startswith("/flaskstore-resumable/")
    assert theirs.resumable.startswith("/flaskstore-avatars-resumable/")
    client = Client(app.test_client(), theirs)
    assert client.create(3).status_code == 201
    crossed = Client(app.test_client(), mine)
    crossed.url = mine.resumable.replace("/flaskstore-", "/flaskstore-avatars-")
    assert crossed.create(3).status_code == 403
