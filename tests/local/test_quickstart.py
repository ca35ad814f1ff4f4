"""The main job on real input: a client uploads a file, and its URL serves the bytes."""

from __future__ import annotations

import contextlib
import importlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import typing as t
import warnings

import pytest
import requests
from flask import Flask
from flask import request

from flask_store import Backend
from flask_store import Provider
from flask_store import Store
from flask_store import StoreProvider
from flask_store.stores import BaseStore
from tests.support.servers import Credentials
from tests.support.servers import ROOT
from tests.support.servers import S3Server
from tests.support.servers import serve

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(range(256)) * 400 + b"\xff\xd9"


class Shop(t.NamedTuple):
    """A running application, its address and its store."""

    url: str
    store: Store

    def stored(self) -> list[str]:
        """The names of all files in the store."""
        return [found.name for found in self.store.Provider().ls()]


@pytest.fixture
def photo(tmp_path: pathlib.Path) -> pathlib.Path:
    """A photo on the client's disk."""
    path = tmp_path / "localfile.jpg"
    path.write_bytes(JPEG)
    return path


@contextlib.contextmanager
def quick_start(domain: bool = True, **config: t.Any) -> t.Iterator[Shop]:
    """The application of the documentation, on a real server."""
    app = Flask("shop")
    app.config.from_mapping(config)
    store = Store()

    @app.route("/upload", methods=["POST"])
    def upload() -> str:
        f = store.save(request.files.get("afile"))
        return f.absolute_url()

    # The port is known once the server runs, and the domain is part of the settings.
    with serve(app) as url:
        if domain:
            app.config["STORE_DOMAIN"] = url
        store.init_app(app)
        yield Shop(url, store)


def curl(*args: str) -> tuple[int, str]:
    """Run curl as the documentation does and return the status and the answer."""
    program = shutil.which("curl")
    if program is None:
        return by_requests(*args)
    command = [program, "-sS", "--noproxy", "*", "-m", "60", "-w", "\n%{http_code}"]
    done = subprocess.run([*command, *args], capture_output=True, text=True, check=True)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


def by_requests(*args: str) -> tuple[int, str]:
    """Send the forms of these tests from where there is no curl."""
    *options, url = args
    files: dict[str, t.Any] = {"nothing": (None, "")}
    for value in options[1::2]:
        field, _, content = value.partition("=")
        if content.startswith("@"):
            path, _, name = content[1:].partition(";filename=")
            sent = name.strip('"') or pathlib.Path(path).name
            files[field] = (sent, pathlib.Path(path).read_bytes())
        else:
            files[field] = (None, content)
    reply = requests.post(url, files=files, timeout=60)
    return reply.status_code, reply.text


def get(url: str) -> bytes:
    """The bytes at an address, without any credentials."""
    reply = requests.get(url, timeout=60)
    assert reply.status_code == 200, reply.text
    return reply.content


def s3(server: S3Server, bucket: str, **more: t.Any) -> dict[str, t.Any]:
    """The documented settings of S3Store."""
    who: Credentials = server.app
    return {
        "STORE_PROVIDER": "flask_store.stores.s3.S3Store",
        "STORE_S3_REGION": server.region,
        "STORE_S3_BUCKET": bucket,
        "STORE_S3_ACCESS_KEY": who.access_key,
        "STORE_S3_SECRET_KEY": who.secret_key,
        "STORE_S3_ENDPOINT_URL": server.endpoint_url,
        **more,
    }


# -- the main job ------------------------------------------------------------


def test_local_disk(tmp_path: pathlib.Path, photo: pathlib.Path) -> None:
    """The documented command gives the documented URL, which serves the bytes; the
    folder is made."""
    folder = tmp_path / "some" / "path" / "to" / "somewhere"
    with quick_start(STORE_PATH=str(folder)) as shop:
        status, url = curl("-F", f"afile=@{photo}", f"{shop.url}/upload")
        assert (status, url) == (200, f"{shop.url}/flaskstore/localfile.jpg")
        assert get(url) == JPEG
        assert requests.get(url, timeout=60).headers["Content-Type"] == "image/jpeg"
    assert (folder / "localfile.jpg").read_bytes() == JPEG


def test_the_second_one_has_a_name_of_its_own(
    tmp_path: pathlib.Path, photo: pathlib.Path
) -> None:
    """A second upload of one name has another URL, and the first keeps its bytes."""
    with quick_start(STORE_PATH=str(tmp_path / "uploads")) as shop:
        _, first = curl("-F", f"afile=@{photo}", f"{shop.url}/upload")
        photo.write_bytes(b"another")
        _, second = curl("-F", f"afile=@{photo}", f"{shop.url}/upload")
        assert second.startswith(f"{shop.url}/flaskstore/localfile_")
        assert second.endswith(".jpg")
        assert (get(first), get(second)) == (JPEG, b"another")


def test_url_prefix(tmp_path: pathlib.Path, photo: pathlib.Path) -> None:
    """STORE_URL_PREFIX changes the URL and the route together."""
    with quick_start(
        STORE_PATH=str(tmp_path / "uploads"), STORE_URL_PREFIX="/uploads"
    ) as shop:
        _, url = curl("-F", f"afile=@{photo}", f"{shop.url}/upload")
        assert url == f"{shop.url}/uploads/localfile.jpg"
        assert get(url) == JPEG


def test_any_fsspec_url(photo: pathlib.Path) -> None:
    """STORE_PATH may be a URL, and the same application serves its files."""
    with quick_start(STORE_PATH=f"memory://quickstart-{id(photo)}") as shop:
        _, url = curl("-F", f"afile=@{photo}", f"{shop.url}/upload")
        assert url == f"{shop.url}/flaskstore/localfile.jpg"
        assert get(url) == JPEG


def test_public_bucket(seaweedfs_server: S3Server, photo: pathlib.Path) -> None:
    """On a bucket that anybody may read, the URL is the object's own address."""
    bucket = seaweedfs_server.make_bucket(public=True)
    config = s3(seaweedfs_server, bucket, STORE_PATH="/some/place/in/bucket")
    with quick_start(domain=False, **config) as shop:
        status, url = curl("-F", f"afile=@{photo}", f"{shop.url}/upload")
    assert status == 200
    place = f"{seaweedfs_server.endpoint_url}/{bucket}/some/place/in/bucket"
    assert url == f"{place}/localfile.jpg"
    assert get(url) == JPEG


def test_bucket_domain(seaweedfs_server: S3Server, photo: pathlib.Path) -> None:
    """STORE_DOMAIN may be the bucket's domain, as it is documented for S3."""
    bucket = seaweedfs_server.make_bucket(public=True)
    domain = f"{seaweedfs_server.endpoint_url}/{bucket}"
    config = s3(seaweedfs_server, bucket, STORE_PATH="/some", STORE_DOMAIN=domain)
    with quick_start(domain=False, **config) as shop:
        _, url = curl("-F", f"afile=@{photo}", f"{shop.url}/upload")
    assert url == f"{domain}/some/localfile.jpg"
    assert get(url) == JPEG


def test_private_bucket(
    seaweedfs_server: S3Server, seaweedfs_bucket: str, photo: pathlib.Path
) -> None:
    """With STORE_SERVE="proxy" the application serves a private bucket's files."""
    config = s3(seaweedfs_server, seaweedfs_bucket, STORE_SERVE="proxy")
    with quick_start(**config) as shop:
        status, url = curl("-F", f"afile=@{photo}", f"{shop.url}/upload")
        assert (status, url) == (200, f"{shop.url}/flaskstore/localfile.jpg")
        assert get(url) == JPEG
    direct = f"{seaweedfs_server.endpoint_url}/{seaweedfs_bucket}/localfile.jpg"
    assert requests.get(direct, timeout=60).status_code == 403


# -- what is not a file ------------------------------------------------------


@pytest.fixture(params=["local", "seaweedfs"])
def shop(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> t.Iterator[Shop]:
    """The quick start on the local disk and on S3."""
    config: dict[str, t.Any] = {"STORE_PATH": str(tmp_path / "uploads")}
    if request.param == "seaweedfs":
        server = request.getfixturevalue("seaweedfs_server")
        config = s3(server, server.make_bucket(), STORE_SERVE="proxy")
    with quick_start(**config) as running:
        yield running


def test_missing_file(shop: Shop, photo: pathlib.Path) -> None:
    """A form without the field is a 400 that says why, and stores nothing."""
    for form in ("other=1", "afile=only text", f"other=@{photo}"):
        status, text = curl("-F", form, f"{shop.url}/upload")
        assert status == 400
        assert "the form field is missing or was left empty" in text
    assert shop.stored() == []


def test_empty_file_part(shop: Shop) -> None:
    """A field in which no file was chosen is a 400, as a browser sends it."""
    boundary = "----browser"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="afile"; filename=""\r\n'
        f"Content-Type: application/octet-stream\r\n\r\n\r\n--{boundary}--\r\n"
    )
    reply = requests.post(
        f"{shop.url}/upload",
        data=body,
        headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
        timeout=60,
    )
    assert reply.status_code == 400
    assert "was left empty" in reply.text
    assert shop.stored() == []


def test_file_of_no_bytes(shop: Shop, photo: pathlib.Path) -> None:
    """An empty file is a file."""
    photo.write_bytes(b"")
    status, url = curl("-F", f"afile=@{photo}", f"{shop.url}/upload")
    assert status == 200
    assert get(url) == b""
    assert shop.stored() == ["localfile.jpg"]


def test_unicode_filename(shop: Shop, photo: pathlib.Path) -> None:
    """A name in any script is kept, and percent-encoded in the URL."""
    unicode = photo.rename(photo.with_name("фото 1.jpg"))
    status, url = curl("-F", f"afile=@{unicode}", f"{shop.url}/upload")
    assert status == 200
    assert url == f"{shop.url}/flaskstore/%D1%84%D0%BE%D1%82%D0%BE%201.jpg"
    assert get(url) == JPEG
    assert shop.stored() == ["фото 1.jpg"]


def test_hostile_filename(shop: Shop, photo: pathlib.Path) -> None:
    """A name that climbs upwards over the wire is one safe name in the store."""
    sent = f'afile=@{photo};filename="../../etc/passwd"'
    status, url = curl("-F", sent, f"{shop.url}/upload")
    assert (status, url) == (200, f"{shop.url}/flaskstore/passwd")
    assert get(url) == JPEG
    for climb in ("../passwd", "%2e%2e/passwd", "..%2fpasswd", "..%5cpasswd"):
        # A client tidies the path up before it sends it, so this one is by hand.
        assert raw_status(shop.url, f"/flaskstore/{climb}") == 404


def raw_status(url: str, path: str) -> int:
    """Ask for a path as it stands."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        return int(connection.makefile("rb").readline().split()[1])


# -- the short example --------------------------------------------------------


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests, and a fresh demo for each of them."""
    for name in [name for name in os.environ if name.startswith("STORE_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("FLASK_RUN_PORT", raising=False)
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    monkeypatch.delitem(sys.modules, "quickstart", raising=False)


@contextlib.contextmanager
def demo() -> t.Iterator[Shop]:
    """examples/quickstart.py, under the settings of the environment."""
    module = importlib.import_module("quickstart")
    with serve(module.app) as url:
        yield Shop(url, module.store)


def test_demo_needs_no_setting() -> None:
    """Without any variable it is the local disk, on the port of make demo."""
    provider = importlib.import_module("quickstart").store.Provider()
    assert provider.file("a.txt").absolute_url().startswith("http://127.0.0.1:5000/")
    folder = ROOT / "examples" / "instance" / "uploads"
    assert provider.absolute_path("a.txt") == str(folder / "a.txt")


def test_demo_turns_to_s3_by_the_environment(
    monkeypatch: pytest.MonkeyPatch,
    seaweedfs_server: S3Server,
    seaweedfs_bucket: str,
    photo: pathlib.Path,
) -> None:
    """The same demo saves to a private bucket and serves it."""
    for name, value in s3(seaweedfs_server, seaweedfs_bucket).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STORE_S3_CONDITIONAL_WRITES", "true")
    monkeypatch.setenv("STORE_S3_OPTIONS", '{"max_concurrency": 2}')
    with demo() as shop:
        status, url = curl("-F", f"afile=@{photo}", f"{shop.url}/upload")
        assert (status, url) == (200, "http://127.0.0.1:5000/flaskstore/localfile.jpg")
        assert get(url.replace("http://127.0.0.1:5000", shop.url)) == JPEG
    client = seaweedfs_server.client()
    stored = client.get_object(Bucket=seaweedfs_bucket, Key="localfile.jpg")
    assert stored["Body"].read() == JPEG


def test_demo_gives_the_address_of_an_object(
    monkeypatch: pytest.MonkeyPatch, seaweedfs_server: S3Server, photo: pathlib.Path
) -> None:
    """STORE_SERVE=off leaves the serving to a bucket that anybody may read."""
    bucket = seaweedfs_server.make_bucket(public=True)
    for name, value in s3(seaweedfs_server, bucket, STORE_SERVE="off").items():
        monkeypatch.setenv(name, value)
    with demo() as shop:
        _, url = curl("-F", f"afile=@{photo}", f"{shop.url}/upload")
    assert url == f"{seaweedfs_server.endpoint_url}/{bucket}/localfile.jpg"
    assert get(url) == JPEG


def test_demo_has_a_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """The front page uploads from a browser."""
    monkeypatch.setenv("STORE_PATH", "memory://demo")
    with demo() as shop:
        assert b'name="afile"' in get(shop.url)


# -- the other documented examples -------------------------------------------


class Form:
    """What the documented examples use of a form library."""

    def __init__(self) -> None:
        self.files = request.files
        self.errors: dict[str, list[str]] = {}

    def validate_on_submit(self) -> bool:
        """Find an error in a form that lacks the field."""
        if "foo" not in self.files:
            self.errors = {"foo": ["This field is required."]}
        return not self.errors


def post_foo(app: Flask, photo: pathlib.Path) -> None:
    """Send the form of the documented examples."""
    with serve(app) as url:
        assert curl("-F", f"foo=@{photo}", f"{url}/upload")[0] == 200


def test_form_with_the_local_provider(
    tmp_path: pathlib.Path, photo: pathlib.Path
) -> None:
    """A view that validates a form and saves with store.Provider()."""
    app = Flask(__name__)
    app.config["STORE_PATH"] = str(tmp_path / "file" / "path")
    store = Store(app)

    @app.route("/upload", methods=["POST"])
    def upload() -> str:
        form = Form()
        form.validate_on_submit()
        if not form.errors:
            provider = store.Provider()
            provider.save(request.files.get("foo"))
        return "saved"

    post_foo(app, photo)
    assert (tmp_path / "file" / "path" / "localfile.jpg").read_bytes() == JPEG


@pytest.mark.parametrize(
    "name", [Provider, Backend, StoreProvider], ids=["Provider", "Backend", "both"]
)
def test_form_with_the_backend_of_s3(
    seaweedfs_server: S3Server,
    seaweedfs_bucket: str,
    photo: pathlib.Path,
    name: type[BaseStore],
) -> None:
    """A view that saves with the current application's Backend()."""
    app = Flask(__name__)
    app.config.from_mapping(s3(seaweedfs_server, seaweedfs_bucket))
    Store(app)

    @app.route("/upload", methods=["POST"])
    def upload() -> str:
        form = Form()
        form.validate_on_submit()
        backend = name()
        backend.save(form.files.get("foo"))
        return "saved"

    post_foo(app, photo)
    client = seaweedfs_server.client()
    stored = client.get_object(Bucket=seaweedfs_bucket, Key="localfile.jpg")
    assert stored["Body"].read() == JPEG


def test_factory_without_settings(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first documented example sets nothing at all, and starts without warning."""
    store = Store()

    def create_app() -> Flask:
        app = Flask(__name__, instance_path=str(tmp_path / "instance"))
        store.init_app(app)
        return app

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        app = create_app()
    with app.app_context():
        f = store.Provider().save(b"1", filename="a.txt")
    assert f.absolute_path() == str(tmp_path / "instance" / "uploads" / "a.txt")
    assert app.test_client().get(f.absolute_url()).data == b"1"
