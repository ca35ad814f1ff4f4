"""Direct uploads: one form for every store, good for one file."""

from __future__ import annotations

import dataclasses
import datetime as dt
import io
import pathlib
import typing as t
import urllib.parse
import uuid

import pytest
import requests
from flask import Flask
from flask import jsonify
from flask import Response
from flask.testing import FlaskClient

from flask_store import Store
from flask_store.direct import DirectUpload
from flask_store.exceptions import BadLink
from flask_store.exceptions import FileNotFound
from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import TooLarge
from flask_store.exceptions import WrongType
from flask_store.http import links
from flask_store.signals import file_saved
from flask_store.stores.fsspec import FsspecStore
from tests.storages.test_s3 import settings
from tests.support.gcs_server import account
from tests.support.gcs_server import fake_gcs
from tests.support.protocol_servers import azurite
from tests.support.protocol_servers import Place
from tests.support.server_contract import started
from tests.support.servers import S3Server
from tests.support.servers import serve


def make_app(**config: t.Any) -> Flask:
    """An application with one store."""
    app = Flask(__name__)
    app.config.update(SECRET_KEY="the key", **config)
    Store(app)
    return app


@pytest.fixture
def local_app(tmp_path: pathlib.Path) -> Flask:
    """Uploads go to disk, through the application."""
    return make_app(STORE_PATH=str(tmp_path / "uploads"))


@pytest.fixture
def memory_app() -> Flask:
    """Uploads go to memory, through the application."""
    return make_app(STORE_PATH=f"memory://{uuid.uuid4()}/uploads")


@pytest.fixture
def s3_app(seaweedfs_server: S3Server, seaweedfs_bucket: str) -> Flask:
    """Uploads go straight to S3."""
    return make_app(
        STORE_PROVIDER="flask_store.stores.s3.S3Store",
        **settings(seaweedfs_server, seaweedfs_bucket, STORE_PATH="/some/place"),
    )


@pytest.fixture(scope="module")
def azure_place() -> t.Iterator[Place]:
    """One azurite."""
    with started(azurite) as place:
        yield place


@pytest.fixture
def azure_app(azure_place: Place) -> Flask:
    """Uploads go to Azure, through an application that serves nothing."""
    return make_app(STORE_PATH=azure_place.new(), STORE_OPTIONS=azure_place.options)


@pytest.fixture(scope="module")
def gcs_place() -> t.Iterator[Place]:
    """One emulator, for a service account."""
    token = Response('{"access_token": "x", "expires_in": 3600}')
    with started(fake_gcs) as place, serve(token) as url:
        yield dataclasses.replace(
            place, options={**place.options, "token": account(url)}
        )


@pytest.fixture
def gcs_app(gcs_place: Place) -> Flask:
    """Uploads go straight to Google Cloud, as a service account allows."""
    return make_app(STORE_PATH=gcs_place.new(), STORE_OPTIONS=gcs_place.options)


@pytest.fixture(params=["local", "memory", "s3", "azure", "gcs"])
def app(request: pytest.FixtureRequest) -> Flask:
    """An application for each kind of store."""
    return t.cast(Flask, request.getfixturevalue(f"{request.param}_app"))


@pytest.fixture
def store(app: Flask) -> t.Iterator[FsspecStore]:
    """Its store, with a destination, in an application context."""
    with app.app_context():
        yield t.cast("FsspecStore", app.extensions["store"].Provider("users/7"))


@pytest.fixture
def site(app: Flask) -> t.Iterator[str]:
    """The running application's address."""
    with serve(app) as url:
        yield url


def send(
    form: DirectUpload, site: str, data: bytes, name: str = "any", **fields: str
) -> requests.Response:
    """What the script of a page does with what presign_upload() returned."""
    return requests.request(
        form.method,
        urllib.parse.urljoin(site, form.url),
        headers=form.headers,
        data={**form.fields, **fields},
        files={"file": (name, data)},
        timeout=10,
    )


def test_upload(store: FsspecStore, site: str) -> None:
    """The form takes the file, confirm() returns it, and only now is it told."""
    told: list[t.Any] = []
    form = store.presign_upload("фото 1.jpg", max_size=1000)
    assert form.key.startswith("users/7/фото 1_")
    assert form.key.endswith(".jpg")
    with pytest.raises(FileNotFound, match="has not been uploaded"):
        store.confirm(form.token)
    assert list(store.ls()) == []
    with file_saved.connected_to(lambda sender, file: told.append(file)):
        reply = send(form, site, b"x" * 1000)
        assert reply.status_code == 204, reply.text
        f = store.confirm(form.token)
    assert told == [f]
    assert (f.relative_path(), f.read()) == (form.key, b"x" * 1000)
    assert f.content_type == "image/jpeg"
    assert [found.name for found in store.ls()] == [f.filename]


def test_form_is_sent_as_json(app: Flask, store: FsspecStore) -> None:
    """jsonify() takes the form as it is."""
    form = store.presign_upload("a.txt", max_size=5)
    with app.test_request_context():
        assert jsonify(form).get_json() == dataclasses.asdict(form)


@pytest.mark.parametrize("size", [1001, 200_000])
def test_too_large(store: FsspecStore, site: str, size: int) -> None:
    """More bytes than agreed are refused where they arrive, and leave nothing."""
    form = store.presign_upload("a.bin", max_size=1000)
    status = send(form, site, b"x" * size).status_code
    # The emulator of Google Cloud checks no policy; confirm() does.
    assert status in (400, 403, 413) or store.uri.startswith("gs:")
    with pytest.raises((FileNotFound, TooLarge)):
        store.confirm(form.token)
    assert list(store.ls()) == []


def refused(store: FsspecStore, form: DirectUpload) -> None:
    """The token confirms nothing, and the error says why."""
    with pytest.raises(BadLink, match="good once") as caught:
        store.confirm(form.token)
    assert caught.value.code == 403


def test_used_twice(store: FsspecStore, site: str) -> None:
    """A token is good once: neither it nor its form changes what was confirmed."""
    form = store.presign_upload("a.txt", max_size=10)
    send(form, site, b"first")
    f = store.confirm(form.token)
    refused(store, form)
    again = send(form, site, b"second")
    if "policy" not in form.fields:
        assert again.status_code == 403
        assert "good once" in again.text
    refused(store, form)
    assert f.read() == b"first"
    assert [found.size for found in store.ls()] == [5]


def test_used_twice_before_it_is_confirmed(store: FsspecStore, site: str) -> None:
    """Through the application the first file is the one; a storage's own form may be
    sent again until it is confirmed, by who has it."""
    form = store.presign_upload("a.txt", max_size=10)
    send(form, site, b"first")
    send(form, site, b"second")
    f = store.confirm(form.token)
    own = "policy" in form.fields
    assert f.read() == (b"second" if own else b"first")


def test_used_after_it_was_deleted(store: FsspecStore, site: str) -> None:
    """A token that was used brings a deleted file back by no way."""
    form = store.presign_upload("a.txt", max_size=10)
    send(form, site, b"first")
    store.confirm(form.token).delete()
    refused(store, form)
    send(form, site, b"second")
    refused(store, form)
    assert list(store.ls()) == []


def test_confirmed_too_early(store: FsspecStore, site: str) -> None:
    """Who asks before the upload may ask again; what fails uses nothing up."""
    form = store.presign_upload("a.txt", max_size=10)
    for _ in range(2):
        with pytest.raises(FileNotFound, match="has not been uploaded"):
            store.confirm(form.token)
    send(form, site, b"first")
    assert store.confirm(form.token).read() == b"first"


def test_sweep_keeps_what_a_token_needs(
    store: FsspecStore, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What makes a token good once stays until the token has expired."""
    form = store.presign_upload("a.txt", max_size=10, expires=3600)
    other = store.presign_upload("b.txt", max_size=10, expires=3600)
    send(form, site, b"first")
    send(other, site, b"other")
    f = store.confirm(form.token)
    assert store.sweep(dt.timedelta(minutes=-59)) == []
    refused(store, form)
    store.confirm(other.token)
    marks = store.sweep(dt.timedelta(minutes=-61))
    assert len(marks) >= 2
    assert store.sweep(dt.timedelta(minutes=-61)) == []
    assert f.read() == b"first"


@pytest.mark.parametrize("content_type", ["text/html", "image/png"])
def test_wrong_type(store: FsspecStore, site: str, content_type: str) -> None:
    """A form that says another type than agreed leaves nothing."""
    form = store.presign_upload("a.jpg", max_size=10)
    reply = send(form, site, b"x", **{"Content-Type": content_type})
    # The emulator of Google Cloud checks no policy; confirm() does.
    assert reply.status_code in (403, 415) or store.uri.startswith("gs:")
    with pytest.raises((FileNotFound, WrongType)):
        store.confirm(form.token)
    assert list(store.ls()) == []


def test_two_uploads_of_one_name(store: FsspecStore, site: str) -> None:
    """Every form has a key of its own."""
    forms = [store.presign_upload("a.txt", max_size=10) for _ in range(2)]
    for number, form in enumerate(forms):
        send(form, site, b"%d" % number)
    assert [store.confirm(form.token).read() for form in forms] == [b"0", b"1"]


def test_token_of_another_store_or_key(
    store: FsspecStore, site: str, tmp_path: pathlib.Path
) -> None:
    """A token opens no other store and no other key."""
    form = store.presign_upload("a.txt", max_size=10)
    other = store.presign_upload("b.txt", max_size=10)
    elsewhere = FsspecStore.from_config(
        {"STORE_PATH": str(tmp_path / "x"), "STORE_URL_PREFIX": "/elsewhere"}
    )
    elsewhere.serves = True
    for token in ("", "x", form.token[:-1], form.token + "x"):
        with pytest.raises(BadLink) as caught:
            store.confirm(token)
        assert caught.value.code == 403
    with pytest.raises(BadLink):
        elsewhere.confirm(form.token)
    swapped = dataclasses.replace(
        form, url=form.url.replace("a_", "b_"), fields={**form.fields}
    )
    if "key" in form.fields:
        swapped.fields["key"] = other.fields["key"]
    if not store.uri.startswith("gs:"):  # whose emulator checks no policy
        assert send(swapped, site, b"x").status_code == 403
    with pytest.raises(FileNotFound):
        store.confirm(other.token)


def test_expired(store: FsspecStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time a token confirms nothing."""
    form = store.presign_upload("a.txt", max_size=10, expires=60)
    later = links.time.time() + 61
    monkeypatch.setattr(links.time, "time", lambda: later)
    with pytest.raises(BadLink):
        store.confirm(form.token)


@pytest.mark.parametrize(
    ("more", "words"),
    [({"max_size": 0}, "number of bytes"), ({"max_size": 1, "expires": 0}, "second")],
)
def test_impossible(store: FsspecStore, more: dict[str, t.Any], words: str) -> None:
    """A form for nothing, or for no time, is a mistake of the caller."""
    with pytest.raises(ValueError, match=words):
        store.presign_upload("a.txt", **more)


# -- through the application ------------------------------------------------------


@pytest.fixture
def client(local_app: Flask) -> FlaskClient:
    """A client of the application on disk."""
    return local_app.test_client()


@pytest.fixture
def form(local_app: Flask) -> DirectUpload:
    """A form for at most ten bytes."""
    with local_app.app_context():
        provider = t.cast("FsspecStore", local_app.extensions["store"].Provider())
        return provider.presign_upload("a.txt", max_size=10)


def test_statuses(
    client: FlaskClient, form: DirectUpload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every way to get it wrong has a status of its own, and nothing is stored."""

    def post(**data: t.Any) -> int:
        return client.post(form.url, data=data).status_code

    assert post(other=(io.BytesIO(b"x"), "x")) == 400
    assert post(file=(io.BytesIO(b"x" * 11), "x")) == 413
    assert post(file=(io.BytesIO(b"x" * 10), "x")) == 204
    assert post(file=(io.BytesIO(b"y" * 10), "x")) == 403
    later = links.time.time() + 4000
    monkeypatch.setattr(links.time, "time", lambda: later)
    assert post(file=(io.BytesIO(b"y" * 10), "x")) == 403
    path = urllib.parse.urlsplit(form.url).path
    assert client.get(path).status_code == 404  # until it is confirmed


def test_large_body_is_not_read(client: FlaskClient, form: DirectUpload) -> None:
    """What is too large is refused by its announced size, before it is read."""

    reply = client.post(
        form.url,
        data={"file": (io.BytesIO(b"x"), "x")},
        environ_overrides={"CONTENT_LENGTH": "1000000000"},
    )
    assert reply.status_code == 413


def test_body_of_unknown_length(local_app: Flask, form: DirectUpload) -> None:
    """A body that does not say how long it is could fill the disk: 411."""
    with serve(local_app) as url:
        reply = requests.post(
            url + form.url,
            data=iter([b"--x--"]),
            headers={"Content-Type": "multipart/form-data; boundary=x"},
            timeout=10,
        )
    assert reply.status_code == 411


def test_nobody_takes_uploads(tmp_path: pathlib.Path) -> None:
    """A store that nobody serves cannot take an upload either."""
    app = make_app(STORE_PATH=str(tmp_path), STORE_SERVE="off")
    with app.app_context():
        provider = t.cast("FsspecStore", app.extensions["store"].Provider())
        with pytest.raises(NotConfiguredError, match="STORE_SERVE"):
            provider.presign_upload("a.txt", max_size=1)


def test_application_that_serves_nothing_takes_uploads(azure_app: Flask) -> None:
    """Where the storage serves and has no forms, there is a route for them alone."""
    client = azure_app.test_client()
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
        assert client.open("/flaskstore/a.txt", method=method).status_code == 405
    with azure_app.app_context():
        provider = t.cast("FsspecStore", azure_app.extensions["store"].Provider())
        form = provider.presign_upload("a.txt", max_size=3)
        data = {**form.fields, "file": (io.BytesIO(b"abc"), "x")}
        assert client.post(form.url, data=data).status_code == 204
        f = provider.confirm(form.token)
    assert f.absolute_url().startswith("http://")
    assert f.read() == b"abc"


# -- straight to S3 ---------------------------------------------------------------


@pytest.fixture
def s3(s3_app: Flask) -> t.Iterator[FsspecStore]:
    """The store of the application on S3."""
    with s3_app.app_context():
        yield t.cast("FsspecStore", s3_app.extensions["store"].Provider())


@pytest.mark.parametrize(
    "fields",
    [
        {"Content-Type": "text/html"},
        {"key": "some/place/victim.txt"},
        {"policy": "e30="},
    ],
)
def test_s3_form_takes_no_other_fields(s3: FsspecStore, fields: dict[str, str]) -> None:
    """Type, key and everything else are those that were signed."""
    victim = s3.save(b"victim", "victim.txt", on_conflict="overwrite")
    form = s3.presign_upload("a.jpg", max_size=1000)
    assert send(form, "", b"x", **fields).status_code in (400, 403)
    assert victim.read() == b"victim"
    with pytest.raises(FileNotFound):
        s3.confirm(form.token)


def test_s3_is_checked_once_more(s3: FsspecStore) -> None:
    """A server that forgets its policy does not get past confirm()."""
    form = s3.presign_upload("a.jpg", max_size=3)
    where = {"Bucket": s3.uri.split("/")[2], "Key": form.fields["key"]}
    s3.raw_fs.call_s3("put_object", **where, Body=b"1234", ContentType="image/jpeg")
    with pytest.raises(TooLarge, match="3 bytes"):
        s3.confirm(form.token)
    s3.raw_fs.call_s3("put_object", **where, Body=b"123", ContentType="text/html")
    with pytest.raises(WrongType, match="'text/html'"):
        s3.confirm(form.token)
    assert list(s3.ls()) == []


def test_s3_upload_is_private_until_confirmed(s3: FsspecStore) -> None:
    """Before confirm() no name shows the upload; afterwards nothing else is left."""
    form = s3.presign_upload("a.txt", max_size=3)
    assert send(form, "", b"123").status_code == 204
    assert not s3.exists(form.key)
    assert list(s3.ls()) == []
    s3.confirm(form.token)
    bucket = s3.uri.split("/")[2]
    private, public = s3.raw_fs.find(bucket)
    assert public == f"{bucket}/some/place/{form.key}"
    assert private.endswith(".confirmed")
