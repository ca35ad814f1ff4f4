"""``cache_control`` and ``metadata`` of a save: what was given comes back, or nothing
is stored."""

from __future__ import annotations

import io
import pathlib
import typing as t

import pytest
import requests
from flask import Flask

from flask_store import Store
from flask_store.dialects import Dialect
from flask_store.dialects.azure import AzureDialect
from flask_store.dialects.gcs import GCSDialect
from flask_store.dialects.objects import ObjectDialect
from flask_store.dialects.s3 import S3Dialect
from flask_store.direct import DirectUpload
from flask_store.exceptions import InvalidProperty
from flask_store.exceptions import NotConfiguredError
from flask_store.files import FileWrapper
from flask_store.http import links
from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import upload
from flask_store.uploads.properties import MOST_METADATA
from flask_store.uploads.properties import NO_PROPERTIES
from tests.storages.test_properties import azure_config as azure_config
from tests.storages.test_properties import azure_place as azure_place
from tests.storages.test_properties import Config
from tests.storages.test_properties import google_config as google_config
from tests.storages.test_properties import google_place as google_place
from tests.storages.test_properties import KINDS
from tests.storages.test_properties import s3_config as s3_config
from tests.storages.test_properties import s3fs_config as s3fs_config
from tests.support.servers import S3Server

CACHE = "public, max-age=86400"
METADATA = {"Author": "me", "original_name": "%C3%A4  b.txt", "x": "!~"}
KEPT = {name.lower(): value for name, value in METADATA.items()}


@pytest.fixture(params=[*KINDS, pytest.param("moto", marks=pytest.mark.slow)])
def config(request: pytest.FixtureRequest) -> Config:
    """The settings of a store that has a place for properties."""
    return t.cast(Config, request.getfixturevalue(f"{request.param}_config"))


@pytest.fixture
def moto_config(moto_server: S3Server, moto_bucket: str) -> Config:
    """Another server of S3."""
    from tests.storages.test_s3 import settings

    path = f"s3://{moto_bucket}/in"
    return settings(moto_server, moto_bucket, STORE_PATH=path)


@pytest.fixture
def store(config: Config) -> FsspecStore:
    """A store there."""
    return FsspecStore.from_config(config)


def said(f: FileWrapper) -> tuple[str | None, dict[str, str]]:
    """What a file says of itself."""
    return f.cache_control, f.metadata


def test_save_gives_them_back(store: FsspecStore) -> None:
    """By HEAD and with the bytes. A save without any has none, nor has a client's."""
    f = store.save(b"data", "a.txt", cache_control=CACHE, metadata=METADATA)
    assert said(f) == (CACHE, KEPT)
    assert f.stat().metadata == KEPT
    fetched = store.fetch("a.txt")
    assert fetched is not None
    assert (fetched.found.cache_control, fetched.found.metadata) == (CACHE, KEPT)
    assert b"".join(fetched.body) == b"data"
    assert f.content_type == "text/plain"
    file = upload(b"x", "b.txt")
    file.headers["Cache-Control"] = CACHE
    assert said(store.save(file)) == (None, {})


def test_overwrite_replaces_them(store: FsspecStore) -> None:
    """Nothing of the older file stays."""
    store.save(b"old", "a.txt", cache_control=CACHE, metadata=METADATA)
    f = store.save(b"new", "a.txt", "overwrite", metadata={"b": "2"})
    assert said(f) == (None, {"b": "2"})
    assert said(store.save(b"last", "a.txt", "overwrite")) == (None, {})


def test_copies_keep_them(store: FsspecStore) -> None:
    """copy(), move(), and put() with what is not given anew."""
    f = store.save(b"data", "a.txt", cache_control=CACHE, metadata=METADATA)
    assert said(store.copy(f, "b.txt")) == (CACHE, KEPT)
    assert said(store.move("b.txt", "c.txt")) == (CACHE, KEPT)
    like = f.stat()
    assert said(store.put("d.txt", b"d", like=like)) == (CACHE, KEPT)
    copy = store.put("e.txt", b"e", like=like, metadata={"e": "1"})
    assert said(copy) == (CACHE, {"e": "1"})
    copy = store.put("f.txt", b"f", cache_control="no-store", like=like)
    assert said(copy) == ("no-store", KEPT)
    assert said(store.put("g.txt", b"g", like=like, metadata={})) == (CACHE, {})


def test_background_keeps_them(config: Config, tmp_path: pathlib.Path) -> None:
    """While the file waits, and when it is stored."""
    spool = {"STORE_BACKGROUND": True, "STORE_SPOOL_PATH": str(tmp_path / "spool")}
    store = FsspecStore.from_config({**config, **spool})
    f = store.save(b"data", "a.txt", cache_control=CACHE, metadata=METADATA)
    assert f.upload is not None
    assert said(f) == (CACHE, KEPT)
    assert f.upload.wait(30)
    assert said(f) == (CACHE, KEPT)


def send(sent: DirectUpload, app: Flask, **more: str) -> int:
    """Send a form as a browser does; what is given replaces its fields."""
    fields = {**sent.fields, **more}
    if sent.url.startswith("/"):
        data = {**fields, "file": (io.BytesIO(b"data"), "x.txt")}
        return app.test_client().post(sent.url, data=data).status_code
    files = {"file": ("x.txt", b"data")}
    return requests.post(sent.url, fields, files=files, timeout=10).status_code


@pytest.mark.parametrize("by_storage", [True, False], ids=["copied", "streamed"])
def test_direct_uploads_keep_them(
    config: Config, by_storage: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes the form, and whoever copies it to its key. A browser cannot
    change them."""
    app = Flask(__name__)
    app.config.update(config, SECRET_KEY="the key")
    store = Store(app).Provider
    given: t.Any = {"cache_control": CACHE, "metadata": METADATA}
    with app.test_request_context():
        provider = store()
        if not by_storage:
            monkeypatch.setattr(provider.dialect, "can_copy", lambda *args: False)
        sent = provider.presign_upload("a.txt", max_size=100, **given)
        assert send(sent, app) < 300
        f = provider.confirm(sent.token)
        assert said(f) == (CACHE, KEPT)
        assert f.read() == b"data"
        plain = provider.presign_upload("b.txt", max_size=100)
        more = {"Cache-Control": "no-store", "x-amz-meta-a": "b", "x-goog-meta-a": "b"}
        if send(plain, app, **more) < 300:
            assert said(provider.confirm(plain.token)) == (None, {})


# -- stores without a place ----------------------------------------------------

#: Where nobody answers: a store that refuses asks nobody.
NOWHERE = "127.0.0.1:1"
PLACELESS = [
    "memory://metadata",
    f"sftp+paramiko://me@{NOWHERE}/a",
    f"sftp+sshfs://me@{NOWHERE}/a",
    f"smb://me@{NOWHERE}/share",
    f"webdav+http://{NOWHERE}/a",
    f"ftp://{NOWHERE}/a",
    f"http://{NOWHERE}/a",
    f"webhdfs://{NOWHERE}/a",
]


@pytest.mark.parametrize("url", ["{tmp}", "simplecache::{tmp}", *PLACELESS])
@pytest.mark.parametrize("given", [{"cache_control": CACHE}, {"metadata": {"a": "b"}}])
def test_store_without_a_place_refuses(
    url: str, given: dict[str, t.Any], tmp_path: pathlib.Path
) -> None:
    """Before it asks the server, reads the upload or stores anything."""
    store = FsspecStore.from_url(url.format(tmp=tmp_path))
    stream = io.BytesIO(b"data")
    read = stream.read
    stream.read = lambda *args: pytest.fail("it is read")  # type: ignore[method-assign]
    for use in (
        lambda: store.save(stream, "a.txt", **given),
        lambda: store.put("a.txt", stream, **given),
        lambda: store.presign_upload("a.txt", max_size=9, **given),
    ):
        with pytest.raises(NotConfiguredError, match="no place for metadata"):
            use()
    stream.read = read  # type: ignore[method-assign]
    assert list(tmp_path.iterdir()) == []


def test_nothing_given_is_nothing_refused(tmp_path: pathlib.Path) -> None:
    """Code for every store may pass an empty dict."""
    store = FsspecStore.from_url(str(tmp_path))
    f = store.save(b"data", "a.txt", metadata={}, cache_control=None)
    assert said(f) == (None, {})
    assert f.stat().properties == NO_PROPERTIES


# -- values --------------------------------------------------------------------


class Kept(ObjectDialect):
    """An object store of nobody."""


def bare(kind: type[ObjectDialect]) -> ObjectDialect:
    """A dialect that nobody has configured."""
    return kind.__new__(kind)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"metadata": {"ä": "x"}}, "Use letters and digits of ASCII"),
        ({"metadata": {"": "x"}}, "Use letters and digits"),
        ({"metadata": {"a b": "x"}}, "Use letters and digits"),
        ({"metadata": {"a\r\nX-B": "x"}}, r"'a\\r\\nX-B'"),
        ({"metadata": {"a": "ä"}}, "urllib.parse.quote"),
        ({"metadata": {"a": "x\r\nX-B: y"}}, "one line"),
        ({"metadata": {"a": "x\n"}}, "one line"),
        ({"metadata": {"a": "x\x00"}}, "one line"),
        ({"metadata": {"a": " x"}}, "spaces at its ends"),
        ({"metadata": {"a": "x "}}, "spaces at its ends"),
        ({"metadata": {"a": ""}}, "neither empty"),
        ({"metadata": {"A": "x", "a": "y"}}, "differ by case"),
        ({"metadata": {"a": "x" * MOST_METADATA}}, "more than 2000 bytes"),
        ({"cache_control": ""}, "it must be what the header says"),
        ({"cache_control": "3600"}, "such as 'no-cache'"),
        ({"cache_control": "no-cache\r\nX-B: y"}, "such as 'no-cache'"),
        ({"cache_control": "max-age=ä"}, "such as 'no-cache'"),
        ({"cache_control": 'private="a\r\nX-B: y"'}, "such as 'no-cache'"),
        ({"cache_control": 'private="ä"'}, "such as 'no-cache'"),
        ({"cache_control": "public,\r\n no-cache"}, "such as 'no-cache'"),
        ({"cache_control": "ma\N{KELVIN SIGN}-age=1"}, "such as 'no-cache'"),
        ({"cache_control": "x" * 300}, "more than 255 characters"),
    ],
)
def test_what_no_storage_keeps_is_refused(given: dict[str, t.Any], words: str) -> None:
    """As a client's fault, for the values may come from one, and on every store."""
    for url in ("s3://bucket", "gs://bucket", "memory://metadata"):
        store = FsspecStore.from_url(url)
        with pytest.raises(InvalidProperty, match=words) as caught:
            store.save(b"data", "a.txt", **given)
        assert caught.value.code == 400
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "given",
    [
        {"metadata": [("a", "b")]},
        {"metadata": "a=b"},
        {"metadata": {"a": 1}},
        {"metadata": {1: "a"}},
        {"metadata": {"a": None}},
        {"metadata": {"a": b"b"}},
        {"cache_control": 3600},
        {"cache_control": b"no-cache"},
    ],
)
def test_what_is_no_text_is_refused(given: dict[str, t.Any]) -> None:
    """The application is to blame for that."""
    with pytest.raises(TypeError, match="text"):
        FsspecStore.from_url("s3://bucket").save(b"data", "a.txt", **given)


def test_most_metadata_are_taken(store: FsspecStore) -> None:
    """The limit is one that the storage keeps to."""
    metadata = {"a" * 100: "b" * 900, "c": "d" * (MOST_METADATA - 1001)}
    f = store.save(b"data", "a.txt", metadata=metadata)
    assert f.metadata == metadata


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (S3Dialect, ["flask-store-token", "Flask-Store-Token"]),
        (GCSDialect, ["flask-store-token"]),
        (AzureDialect, ["flaskstoretoken", "FlaskStoreToken", "hdi_isfolder"]),
        (AzureDialect, ["is_directory", "a-b", "a.b", "1a"]),
        (Kept, ["flask-store-token"]),
    ],
)
def test_names_that_a_storage_does_not_take(
    kind: type[ObjectDialect], names: list[str]
) -> None:
    """What the store keeps there itself, what a storage takes for a folder, and what is
    no identifier on Azure."""
    for name in names:
        properties = NO_PROPERTIES.having(None, {name: "x"})
        with pytest.raises(InvalidProperty, match="Azure does not take|is taken"):
            bare(kind).check_properties(properties)
    bare(kind).check_properties(NO_PROPERTIES.having(CACHE, {"a_1": "x"}))


def test_other_dialects_keep_what_they_say() -> None:
    """Whoever writes one says by an attribute whether it keeps properties."""
    assert not Dialect.keeps_properties
    assert Kept.keeps_properties


def test_token_of_an_older_version_has_none(config: Config) -> None:
    """A token that was issued before it had properties is good for what it says."""
    app = Flask(__name__)
    app.config.update(config, SECRET_KEY="the key", STORE_SERVE="proxy")
    store = Store(app).Provider
    with app.test_request_context():
        provider = store()
        sent = provider.presign_upload("a.txt", max_size=100)
        claims = links.read_token(provider.identity, sent.token)
        assert claims.pop("properties") is None
        token = links.make_token(provider.identity, claims)
        assert send(sent, app) < 300
        assert provider.confirm(token).read() == b"data"
