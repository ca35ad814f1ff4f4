"""What is stored beside the bytes of a file: it reaches the reader, and every copy."""

from __future__ import annotations

import contextlib
import gzip
import logging
import pathlib
import typing as t

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from werkzeug import Request
from werkzeug import Response

from flask_store import Store
from flask_store.background.entries import BadJournal
from flask_store.background.entries import name_of
from flask_store.background.entries import parse
from flask_store.dialects import Stat
from flask_store.dialects.azure import TOKEN as AZURE
from flask_store.dialects.objects import TOKEN
from flask_store.exceptions import StoreUnavailable
from flask_store.stores.fsspec import FsspecStore
from flask_store.sync import Journal
from flask_store.sync import Sync
from flask_store.testing import upload
from flask_store.uploads.properties import codings
from flask_store.uploads.properties import Properties
from tests.storages.test_s3 import settings
from tests.support.gcs_server import fake_gcs
from tests.support.protocol_servers import azurite
from tests.support.protocol_servers import Place
from tests.support.rewriting_proxy import DATA
from tests.support.server_contract import started
from tests.support.servers import S3Server
from tests.support.servers import serve

PACKED = gzip.compress(DATA)
#: All that there is.
PROPERTIES = Properties(
    "gzip",
    "public, max-age=86400",
    'attachment; filename="a.txt"',
    "de-CH",
    {"photographer": "me"},
)
TYPE = "text/plain; charset=iso-8859-1"
ORIGINAL = Stat("a.txt", len(PACKED), None, None, TYPE).keeping(properties=PROPERTIES)

Config: t.TypeAlias = dict[str, t.Any]


@pytest.fixture(scope="module")
def azure_place() -> t.Iterator[Place]:
    """One azurite."""
    with started(azurite) as place:
        yield place


@pytest.fixture(scope="module")
def google_place() -> t.Iterator[Place]:
    """One emulator."""
    with started(fake_gcs) as place:
        yield place


@pytest.fixture
def s3_config(seaweedfs_server: S3Server, seaweedfs_bucket: str) -> Config:
    """SeaweedFS, by the direct way."""
    path = f"s3://{seaweedfs_bucket}/in"
    return settings(seaweedfs_server, seaweedfs_bucket, STORE_PATH=path)


@pytest.fixture
def s3fs_config(s3_config: Config) -> Config:
    """SeaweedFS, by s3fs."""
    return {**s3_config, "STORE_S3_OPTIONS": {"default_fill_cache": False}}


@pytest.fixture
def azure_config(azure_place: Place) -> Config:
    """Azurite."""
    return {"STORE_PATH": azure_place.new(), "STORE_OPTIONS": azure_place.options}


@pytest.fixture
def google_config(google_place: Place) -> Config:
    """An emulator of Google Cloud Storage."""
    return {"STORE_PATH": google_place.new(), "STORE_OPTIONS": google_place.options}


KINDS = ["s3", "s3fs", "azure", "google"]


@pytest.fixture(params=KINDS)
def config(request: pytest.FixtureRequest) -> Config:
    """The settings of a store that keeps properties."""
    return t.cast(Config, request.getfixturevalue(f"{request.param}_config"))


@pytest.fixture
def app(config: Config) -> Flask:
    """An application that serves it."""
    app = Flask(__name__)
    app.config.update(config, STORE_SERVE="proxy", SECRET_KEY="the key")
    Store(app)
    return app


@pytest.fixture
def store(app: Flask) -> t.Iterator[FsspecStore]:
    """The store, with one file that has all properties."""
    with app.app_context():
        store = app.extensions["store"].Provider()
        store.put("a.txt", PACKED, like=ORIGINAL)
        yield store


def assert_alike(stat: Stat) -> None:
    """A file has everything that the original has."""
    assert stat.properties == PROPERTIES
    assert (stat.content_type, stat.content_encoding) == (TYPE, "gzip")
    assert stat.size == len(PACKED)


def test_reader_gets_coding_and_charset(app: Flask, store: FsspecStore) -> None:
    """Of the whole file, of its parts, and of HEAD; not of an answer without bytes."""
    app.add_url_rule("/view", view_func=store.file("a.txt").response)
    for url in (store.public_url("a.txt"), "/view"):
        check_reader(app.test_client(), url)


def check_reader(client: FlaskClient, url: str) -> None:
    """Look at what a reader gets by a URL."""
    reply = client.get(url)
    assert (reply.status_code, reply.data) == (200, PACKED)
    assert reply.headers["Content-Encoding"] == "gzip"
    assert reply.headers["Content-Type"] == TYPE
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    head = client.head(url)
    names = ("Content-Encoding", "Content-Type", "Content-Length", "ETag")
    assert [head.headers[name] for name in names] == [
        reply.headers[name] for name in names
    ]
    # A range is one of the bytes that are stored (RFC 9110, section 14.1.2).
    part = client.get(url, headers={"Range": "bytes=5-49"})
    assert (part.status_code, part.data) == (206, PACKED[5:50])
    assert part.headers["Content-Range"] == f"bytes 5-49/{len(PACKED)}"
    assert part.headers["Content-Encoding"] == "gzip"
    for headers, status in (
        ({"If-None-Match": reply.headers["ETag"]}, 304),
        ({"Range": "bytes=9999999-"}, 416),
    ):
        bare = client.get(url, headers=headers)
        assert bare.status_code == status
        assert "Content-Encoding" not in bare.headers


def test_reader_gets_the_cache_control_of_the_file(
    app: Flask, store: FsspecStore
) -> None:
    """What is stored with a file goes before the setting, and never makes a private
    response public. A file that was saved without one has that of the setting."""
    app.config["STORE_CACHE_CONTROL"] = "public, max-age=9"
    app.extensions["store"].init_app(app)
    store = app.extensions["store"].Provider()
    plain = store.save(b"x", "plain.txt")
    app.add_url_rule("/view", view_func=store.file("a.txt").response)
    members = Store(app, name="members")
    members.authorize(lambda file: True)
    link = store.signed_url("a.txt", expires=10)
    client = app.test_client()
    own = PROPERTIES.cache_control
    assert own is not None and own.startswith("public, ")
    private = own.replace("public", "private")
    for url, said in (
        (store.public_url("a.txt"), own),
        (plain.absolute_url(), "public, max-age=9"),
        ("/view", private),
        ("/flaskstore-members/a.txt", private),
    ):
        assert client.get(url).headers["Cache-Control"] == said
    said = client.get(link).headers["Cache-Control"]
    age = int(said.removeprefix("private, max-age="))
    assert 0 < age < 20 < int(own.partition("=")[2])


def test_store_reads_what_is_stored(store: FsspecStore) -> None:
    """Nothing is unpacked on its way into the application."""
    f = store.file("a.txt")
    assert_alike(f.stat())
    fetched = store.fetch("a.txt")
    assert fetched is not None
    assert b"".join(fetched.body) == PACKED
    assert_alike(fetched.found)
    assert f.read() == PACKED
    assert b"".join(f.stream(5, 50)) == PACKED[5:50]
    with f.open() as file:
        assert file.read(10) == PACKED[:10]
        file.seek(-5, 2)
        assert file.read() == PACKED[-5:]


def test_copies_keep_it(store: FsspecStore, app: Flask) -> None:
    """A copy, a copy elsewhere, a file that is moved, and one that is synced."""
    assert_alike(store.copy("a.txt", "b.txt").stat())
    assert_alike(store.copy("a.txt", "folder/c", "overwrite").stat())
    assert_alike(store.move("b.txt", "d.txt").stat())
    if store.dialect.location.protocol == "s3":
        other = FsspecStore.from_config({**app.config, "STORE_PATH": f"{store.uri}2"})
        assert [o.status for o in Sync(store, other, Journal(None)).run()] == [
            "copied"
        ] * 3
        assert_alike(other.stat("a.txt"))
    with store.open("a.txt") as file:
        plain = store.save(file, "e.txt")
    assert plain.stat().properties == Properties()
    assert plain.content_type == "text/plain"


def test_type_of_a_copy(store: FsspecStore) -> None:
    """It is that of the original if somebody has chosen it, else that of the name."""
    photo = store.save(b"\x89PNG", "photo", content_type="image/png")
    assert store.copy(photo, "copy").content_type == "image/png"
    assert store.move(photo, "moved").content_type == "image/png"
    text = store.save(b"text", "text.txt")
    assert store.copy(text, "text.csv").content_type == "text/csv"


def test_metadata_whose_names_differ_by_case(store: FsspecStore) -> None:
    """Google Cloud keeps both, and a storage with headers one. No name stands for the
    token of the save."""
    names = {"Author": "one", "author": "two", TOKEN.title(): "x", AZURE.title(): "x"}
    original = Stat("b.txt", 1, None, None, "text/plain")
    original.keeping(properties=Properties(metadata=names))
    for on_conflict in ("error", "overwrite"):
        store.put("b.txt", b"b", on_conflict, like=original)
    found = store.stat("b.txt")
    assert found.properties.metadata.items() & {("Author", "two"), ("author", "two")}
    assert found.token not in (None, "x")
    assert store.copy("b.txt", "c.txt").read() == b"b"


def test_metadata_make_no_folder(store: FsspecStore) -> None:
    """A copy of an object of another storage stays a file on Azure."""
    original = Stat("b.txt", 1, None, None, "text/plain")
    original.keeping(properties=Properties(metadata={"HDI_isfolder": "true"}))
    assert store.put("b.txt", b"b", like=original).read() == b"b"
    assert "b.txt" in store.ls().names()


def test_metadata_of_the_application_in_any_case(s3_config: Config) -> None:
    """What every object has is in the original and in the settings, and is sent once.
    The copy keeps what the original has."""
    settings = {"s3_additional_kwargs": {"Metadata": {"Author": "me"}}}
    store = FsspecStore.from_config({**s3_config, "STORE_S3_OPTIONS": settings})
    store.save(b"data", "a.txt")
    copy = store.copy("a.txt", "b.txt")
    assert copy.stat().properties.metadata == {"author": "me"}


def test_background_keeps_it(config: Config, tmp_path: pathlib.Path) -> None:
    """While a copy from another store waits for its upload, and afterwards."""
    spool = {"STORE_BACKGROUND": True, "STORE_SPOOL_PATH": str(tmp_path / "spool")}
    store = FsspecStore.from_config({**config, **spool})
    # With other options, nobody takes it for the same storage.
    other = FsspecStore.from_config({**config, "STORE_TIMEOUT": 9})
    copy = store.copy(other.put("a.txt", PACKED, like=ORIGINAL), "b.txt")
    assert copy.upload is not None
    assert_alike(copy.stat())
    assert copy.upload.wait(30)
    assert_alike(copy.stat())


@pytest.mark.parametrize("scheme", ["memory://properties", "{tmp}"])
def test_store_without_headers_says_so(
    store: FsspecStore,
    scheme: str,
    tmp_path: pathlib.Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A copy on disk is compressed, and nothing there tells it."""
    target = FsspecStore.from_url(scheme.format(tmp=tmp_path))
    with caplog.at_level(logging.WARNING, "flask_store"):
        copy = target.copy(store.file("a.txt"), "a.txt", "overwrite")
    assert "keeps no Content-Encoding" in caplog.text
    assert copy.read() == PACKED
    assert copy.stat().properties == Properties()


def test_signed_links_give_the_coding(
    seaweedfs_server: S3Server, s3_config: Config
) -> None:
    """The storage itself sends it along, and the type that the name says."""
    store = FsspecStore.from_config(s3_config)
    store.put("a.txt", PACKED, like=ORIGINAL)
    with requests.get(store.signed_url("a.txt"), stream=True, timeout=10) as reply:
        assert reply.headers["Content-Encoding"] == "gzip"
        assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert reply.raw.read() == PACKED
    assert requests.get(store.signed_url("a.txt"), timeout=10).content == DATA


@pytest.mark.parametrize(
    ("name", "content_type", "shown"),
    [
        ("a.html", "text/html", "text/html; charset=utf-8"),
        ("a.js", "text/javascript", "application/octet-stream"),
        ("a.css", "text/css; charset=latin1", "application/octet-stream"),
        ("a.txt", 'text/plain; charset="x; y"', "text/plain; charset=utf-8"),
        ("a.txt", "text/plain; charset=koi8-r", "text/plain; charset=koi8-r"),
        ("a.png", "image/png; charset=latin1", "image/png"),
    ],
)
def test_compressed_code_is_no_way_around(
    s3_config: Config, name: str, content_type: str, shown: str
) -> None:
    """A coding changes neither the type nor whether a file is shown."""
    app = Flask(__name__)
    app.config.update(s3_config, STORE_SERVE="proxy")
    store = Store(app)
    with app.app_context():
        provider = store.Provider()
        provider.put(name, PACKED, content_type=content_type, like=ORIGINAL)
        url = provider.public_url(name)
    reply = app.test_client().get(url)
    assert reply.headers["Content-Type"] == shown
    assert reply.headers["Content-Encoding"] == "gzip"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in reply.headers["Content-Security-Policy"]
    inline = content_type.startswith(("text/plain", "image/png"))
    kind = "inline" if inline else "attachment"
    assert reply.headers["Content-Disposition"].startswith(kind)


# -- web servers -------------------------------------------------------------


class Packing:
    """A web server whose file is stored compressed, or is compressed on its way.

    :param stored: whether it is stored so, and has ranges.
    """

    def __init__(self, stored: bool) -> None:
        self.stored = stored

    def __call__(self, environ: t.Any, start: t.Any) -> t.Any:
        request = Request(environ)
        response = Response(PACKED, content_type=TYPE)
        response.set_etag("one")
        if self.stored:
            response.make_conditional(request, True, len(PACKED))
        response.headers["Content-Encoding"] = "gzip"
        return response(environ, start)


def test_web_server_with_compressed_files() -> None:
    """A range shows that the server knows their size, so that they are stored so."""
    with serve(Packing(stored=True)) as url:
        store = FsspecStore.from_url(url)
        found = store.stat("a.txt")
        assert (found.content_encoding, found.content_type) == ("gzip", TYPE)
        assert found.size == len(PACKED)
        assert store.read("a.txt") == PACKED
        assert b"".join(store.stream("a.txt", 5, 50)) == PACKED[5:50]
        fetched = store.fetch("a.txt")
        assert fetched is not None
        with contextlib.closing(fetched.body):
            assert fetched.found == found
            assert fetched.found.content_encoding == "gzip"
        with store.open("a.txt") as file:
            file.seek(100)
            assert file.read(5) == PACKED[100:105]


def test_web_server_that_compresses() -> None:
    """Without a range, nobody can tell what is stored."""
    with serve(Packing(stored=False)) as url:
        store = FsspecStore.from_url(url)
        for use in (store.stat, store.read, store.open):
            with pytest.raises(StoreUnavailable):
                use("a.txt")


# -- values ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("aws-chunked", None),
        ("gzip,aws-chunked", "gzip"),
        ("gzip, br", "gzip, br"),
        ("GZIP", "GZIP"),
        ("gzip\r\nX: y", None),
        ("a b", None),
    ],
)
def test_codings(value: str | None, kept: str | None) -> None:
    """What is no coding, or none of the bytes, is not sent on."""
    assert codings(value) == kept


@pytest.mark.parametrize(
    "record", ['{"content_encoding": 7}', '{"no": "x"}', '{"metadata": {"a": 1}}', "[]"]
)
def test_journal_with_other_properties(record: str) -> None:
    """The journal of an upload that cannot be used is left alone."""
    text = (
        '{"key": "a.txt", "size": 1, "content_type": "text/plain", "saved": 1.0,'
        f' "properties": {record}}}'
    )
    with pytest.raises(BadJournal):
        parse(text.encode(), name_of("a.txt"))


def test_uploads_have_no_properties(store: FsspecStore) -> None:
    """A client cannot choose any."""
    file = upload(b"x", "x.txt")
    file.headers["Content-Encoding"] = "gzip"
    assert store.save(file).stat().properties == Properties()
