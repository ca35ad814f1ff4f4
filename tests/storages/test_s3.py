"""The contract on S3, and what only S3 has."""

from __future__ import annotations

import gzip
import io
import os
import pathlib
import threading
import time
import typing as t

import pytest
import requests
from werkzeug.datastructures import FileStorage

from flask_store.dialects import s3 as s3_dialect
from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import StoreDenied
from flask_store.exceptions import StoreUnavailable
from flask_store.files import FileWrapper
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.s3 import S3Store
from flask_store.testing import DyingSeekable
from flask_store.testing import Hangup
from flask_store.testing import HOSTILE
from flask_store.testing import StoreContract
from flask_store.testing import upload
from tests.support.proxy import Proxy
from tests.support.servers import S3Server


def settings(server: S3Server, bucket: str, **more: t.Any) -> dict[str, t.Any]:
    """The documented settings for a bucket of this server."""
    return {
        "STORE_S3_ENDPOINT_URL": server.endpoint_url,
        "STORE_S3_REGION": "us-east-1",
        "STORE_S3_BUCKET": bucket,
        "STORE_S3_ACCESS_KEY": server.access_key,
        "STORE_S3_SECRET_KEY": server.secret_key,
        **more,
    }


class S3Contract(StoreContract):
    """S3 keeps every promise; a key may be a name and a folder at once."""

    flat = True

    def leftovers(self, store: FsspecStore) -> list[str]:
        """Unfinished multipart uploads, and objects beside the files."""
        fs, dialect = store.raw_fs, t.cast(s3_dialect.S3Dialect, store.dialect)
        uploads = fs.list_multipart_uploads(dialect.bucket)
        keys = {f"{store.dialect.root}/{found.name}" for found in store.ls()}
        return [str(u) for u in uploads] + sorted(set(fs.find(dialect.bucket)) - keys)


@pytest.mark.lower_bounds
class TestSeaweedFS(S3Contract):
    """SeaweedFS is a real S3 server that honours If-None-Match."""

    hostile = HOSTILE

    @pytest.fixture
    def store(self, seaweedfs_server: S3Server, seaweedfs_bucket: str) -> S3Store:
        """An empty bucket, with a prefix."""
        return S3Store.from_config(
            settings(seaweedfs_server, seaweedfs_bucket, STORE_PATH="/some/place")
        )


@pytest.mark.slow
class TestSeaweedFSByURL(S3Contract):
    """The same by URL and STORE_OPTIONS, at the bucket's root."""

    @pytest.fixture
    def store(self, seaweedfs_server: S3Server, seaweedfs_bucket: str) -> FsspecStore:
        """An empty bucket."""
        return FsspecStore.from_url(
            f"s3://{seaweedfs_bucket}",
            endpoint_url=seaweedfs_server.endpoint_url,
            key=seaweedfs_server.access_key,
            secret=seaweedfs_server.secret_key,
        )


@pytest.mark.slow
class TestSeaweedFSUnconditional(S3Contract):
    """A server that ignores If-None-Match: every name carries a UUID."""

    exclusive = False

    @pytest.fixture
    def store(self, seaweedfs_server: S3Server, seaweedfs_bucket: str) -> S3Store:
        """An empty bucket whose server is not believed."""
        return S3Store.from_config(
            settings(
                seaweedfs_server, seaweedfs_bucket, STORE_S3_CONDITIONAL_WRITES=False
            )
        )

    def test_on_conflict_error(self, store: FsspecStore) -> None:
        """'error' cannot be promised, and that is said before anything is stored."""
        with pytest.raises(NotConfiguredError, match="'rename'"):
            store.save(upload(), on_conflict="error")
        assert list(store.ls()) == []


@pytest.mark.slow
class TestMoto(S3Contract):
    """moto stands for what only Amazon does."""

    @pytest.fixture
    def store(self, moto_server: S3Server, moto_bucket: str) -> S3Store:
        """An empty bucket."""
        return S3Store.from_config(settings(moto_server, moto_bucket))

    def test_threads_lose_nothing(self, store: FsspecStore) -> None:
        pytest.skip("moto looks before it writes, so that a race would show nothing")


@pytest.fixture
def proxy(seaweedfs_server: S3Server) -> t.Iterator[Proxy]:
    """A counting proxy in front of SeaweedFS."""
    with Proxy(seaweedfs_server.endpoint_url) as running:
        yield running


@pytest.fixture
def store(seaweedfs_server: S3Server, seaweedfs_bucket: str, proxy: Proxy) -> S3Store:
    """A store behind the proxy, warmed up by one save and its probe."""
    made = S3Store.from_config(
        settings(
            seaweedfs_server,
            seaweedfs_bucket,
            STORE_S3_ENDPOINT_URL=proxy.endpoint_url,
        )
    )
    made.save(upload(), filename="warm.txt")
    proxy.requests.clear()
    return made


def test_a_save_is_one_request(store: S3Store, proxy: Proxy) -> None:
    """10 KB cost one PUT, counted in front of the server."""
    store.save(upload(b"x" * 10_240, "ten.bin"))
    assert [(r.method, r.status, r.sent) for r in proxy.requests] == [
        ("PUT", 200, 10_240)
    ]


def test_a_read_is_one_request(store: S3Store, proxy: Proxy) -> None:
    """A whole file and a range are one GET each, and fetch nothing else."""
    f = store.save(upload(b"x" * 100_000, "r.bin"))
    proxy.requests.clear()
    f.read()
    b"".join(f.stream(500, 1_500))
    assert [(r.method, r.received) for r in proxy.requests] == [
        ("GET", 100_000),
        ("GET", 1_000),
    ]


def test_lost_response_is_our_own_object(store: S3Store, proxy: Proxy) -> None:
    """The reply to a PUT gets lost, the client tries again and finds the name taken
    by itself: nothing is stored twice."""
    proxy.drop_response()
    f = store.save(upload(b"mine", "lost.txt"))
    assert f.filename == "lost.txt"
    assert f.read() == b"mine"
    assert sorted(found.name for found in store.ls()) == ["lost.txt", "warm.txt"]
    assert proxy.count("PUT") == 2


def test_name_under_way_is_taken(store: S3Store, proxy: Proxy) -> None:
    """Two threads and one name: the second asks the server for another one, in place
    of waiting there for the first."""
    begun, go_on = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            begun.set()
            go_on.wait(10)
            return super().read(size)

    first: list[FileWrapper] = []
    file = FileStorage(Slow(b"first"), "a.txt")
    thread = threading.Thread(target=lambda: first.append(store.save(file)))
    thread.start()
    assert begun.wait(10)
    second = store.save(b"second", "a.txt")
    assert [r.method for r in proxy.requests] == ["PUT"]
    go_on.set()
    thread.join(10)
    assert first[0].filename == "a.txt"
    assert second.filename.startswith("a_")
    assert (first[0].read(), second.read()) == (b"first", b"second")
    third = store.save(b"third", "a.txt", on_conflict="overwrite")
    assert third.read() == b"third"


def test_probe_leaves_nothing_and_is_asked_once(
    seaweedfs_server: S3Server, seaweedfs_bucket: str, proxy: Proxy
) -> None:
    """A custom endpoint is tried once for each process, and cleaned up."""
    store = S3Store.from_config(
        settings(
            seaweedfs_server,
            seaweedfs_bucket,
            STORE_S3_ENDPOINT_URL=proxy.endpoint_url,
        )
    )
    store.save(upload())
    assert [r.method for r in proxy.requests] == ["PUT", "PUT", "DELETE", "PUT"]
    store.at("elsewhere").save(upload())
    assert proxy.count("PUT") == 4
    assert store.raw_fs.find(seaweedfs_bucket) == [
        f"{seaweedfs_bucket}/a.txt",
        f"{seaweedfs_bucket}/elsewhere/a.txt",
    ]


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """5 GiB, in the size of a test."""
    monkeypatch.setattr(s3_dialect, "SINGLE_LIMIT", 6 * 1024**2)
    monkeypatch.setattr(s3_dialect, "PART_SIZE", 5 * 1024**2)


@pytest.mark.usefixtures("small_limit")
def test_large_file_goes_in_parts_under_a_uuid(store: S3Store, proxy: Proxy) -> None:
    """What one PUT cannot carry is never created exclusively, so its name says so."""
    data = os.urandom(12 * 1024**2)
    f = store.save(upload(data, "film.mp4"))
    assert f.filename.startswith("film_")
    assert f.content_type == "video/mp4"
    assert f.read() == data
    assert proxy.count("PUT") == 3


@pytest.mark.usefixtures("small_limit")
def test_broken_parts_are_taken_back(store: S3Store, seaweedfs_bucket: str) -> None:
    """An upload that breaks in its second part leaves no parts to pay for."""
    with pytest.raises(Hangup):
        store.save(DyingSeekable(b"x" * 12 * 1024**2), filename="film.mp4")
    assert store.raw_fs.list_multipart_uploads(seaweedfs_bucket) == []
    assert [found.name for found in store.ls()] == ["warm.txt"]


def test_content_type_is_stored(store: S3Store, seaweedfs_server: S3Server) -> None:
    """S3 is told the type of the final name, so that it serves the file as such."""
    f = store.save(upload(filename="logo.webp"))
    head = seaweedfs_server.client().head_object(
        Bucket=store.dialect.root, Key=f.absolute_path()
    )
    assert head["ContentType"] == "image/webp"


@pytest.mark.parametrize("kind", [" text/html ", "text/\xe9", "a" * 300])
def test_copy_of_a_file_whose_type_cannot_be_stored(
    store: S3Store, seaweedfs_server: S3Server, kind: str
) -> None:
    """Other programs store any type. A copy of such a file has that of its name, and
    spaces around a type are no part of it."""
    seaweedfs_server.client().put_object(
        Bucket=store.dialect.root, Key="odd.txt", Body=b"odd", ContentType=kind
    )
    copy = store.copy("odd.txt", "copy.txt")
    assert copy.read() == b"odd"
    assert copy.content_type == ("text/html" if "html" in kind else "text/plain")


def test_acl_is_sent_only_when_asked_for(moto_server: S3Server) -> None:
    """New buckets refuse any ACL; the setting sends the one it names."""
    client = moto_server.client()
    for acl, grants in ((None, 1), ("public-read", 2)):
        bucket = moto_server.make_bucket()
        made = S3Store.from_config(settings(moto_server, bucket, STORE_S3_ACL=acl))
        f = made.save(upload())
        found = client.get_object_acl(Bucket=bucket, Key=f.absolute_path())
        assert len(found["Grants"]) == grants


def test_object_address_serves_the_same_bytes(seaweedfs_server: S3Server) -> None:
    """absolute_url() of a public bucket is where the object is."""
    bucket = seaweedfs_server.make_bucket(public=True)
    made = S3Store.from_config(
        settings(seaweedfs_server, bucket, STORE_PATH="/some/place")
    )
    f = made.at("ü b").save(upload(b"public", "50% & more.txt"))
    assert requests.get(f.absolute_url(), timeout=10).content == b"public"


@pytest.mark.parametrize(
    ("more", "address"),
    [
        ({}, "https://photos.s3.amazonaws.com/2026/a%20b.jpg"),
        (
            {"STORE_S3_REGION": "eu-central-1"},
            "https://photos.s3.eu-central-1.amazonaws.com/2026/a%20b.jpg",
        ),
        (
            {"STORE_S3_BUCKET": "my.photos"},
            "https://s3.amazonaws.com/my.photos/2026/a%20b.jpg",
        ),
        (
            {"STORE_S3_ENDPOINT_URL": "http://localhost:9000/"},
            "http://localhost:9000/photos/2026/a%20b.jpg",
        ),
        (
            {"STORE_DOMAIN": "https://bucket.s3.amazonaws.com"},
            "https://bucket.s3.amazonaws.com/2026/a%20b.jpg",
        ),
        (
            {"STORE_DOMAIN": "http://localhost:9000/photos/"},
            "http://localhost:9000/photos/2026/a%20b.jpg",
        ),
        (
            {"STORE_DOMAIN": "https://cdn.example.com", "STORE_URL_PREFIX": "/img"},
            "https://cdn.example.com/img/a%20b.jpg",
        ),
        (
            {"STORE_DOMAIN": "https://example.com", "STORE_SERVE": "proxy"},
            "https://example.com/flaskstore/a%20b.jpg",
        ),
    ],
)
def test_address(more: dict[str, str], address: str) -> None:
    """The documented domain, the object's own address, a CDN, or our own route."""
    config = {"STORE_S3_BUCKET": "photos", "STORE_PATH": "/2026/", **more}
    f = S3Store.from_config(config).file("a b.jpg")
    assert f.absolute_url() == address
    assert f.absolute_path() == "2026/a b.jpg"


# -- what the user sees when something is wrong ------------------------------


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({"STORE_S3_BUCKET": "not-there"}, NotConfiguredError, "STORE_S3_BUCKET"),
        ({"STORE_S3_ACCESS_KEY": "nobody"}, StoreDenied, "STORE_S3_ACCESS_KEY"),
        ({"STORE_S3_SECRET_KEY": "wrong"}, StoreDenied, "STORE_S3_SECRET_KEY"),
        (
            {"STORE_S3_ENDPOINT_URL": "http://127.0.0.1:9"},
            StoreUnavailable,
            "STORE_S3_ENDPOINT_URL",
        ),
    ],
)
def test_wrong_setting_is_named(
    seaweedfs_server: S3Server,
    seaweedfs_bucket: str,
    more: dict[str, str],
    error: type[Exception],
    words: str,
) -> None:
    """Every verb says within seconds which setting to look at, and no verb takes a
    storage that it cannot reach for an empty one."""
    broken = S3Store.from_config(settings(seaweedfs_server, seaweedfs_bucket) | more)
    started = time.monotonic()
    for use in (
        lambda: broken.save(upload()),
        lambda: broken.exists("a.txt"),
        lambda: broken.file("a.txt").read(),
        lambda: list(broken.ls()),
    ):
        with pytest.raises(error, match=words) as caught:
            use()
        assert seaweedfs_server.secret_key not in str(caught.value)
    assert time.monotonic() - started < 20


def test_read_only_key_is_denied(
    seaweedfs_server: S3Server, seaweedfs_bucket: str
) -> None:
    """A key that may read but not write is StoreDenied on save."""
    who = seaweedfs_server.readonly
    store = S3Store.from_config(
        settings(
            seaweedfs_server,
            seaweedfs_bucket,
            STORE_S3_ACCESS_KEY=who.access_key,
            STORE_S3_SECRET_KEY=who.secret_key,
        )
    )
    with pytest.raises(StoreDenied, match="permissions"):
        store.save(upload())
    assert store.exists("a.txt") is False


def test_silent_server_is_unavailable(
    seaweedfs_server: S3Server,
    seaweedfs_bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that accepts and never answers costs the timeout, not minutes."""
    with Proxy(seaweedfs_server.endpoint_url) as proxy:
        proxy.black_hole = True
        store = S3Store.from_config(
            settings(
                seaweedfs_server,
                seaweedfs_bucket,
                STORE_S3_ENDPOINT_URL=proxy.endpoint_url,
                STORE_S3_OPTIONS={"config_kwargs": {"read_timeout": 1}},
            )
        )
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="did not answer in time"):
            store.save(upload())
        assert time.monotonic() - started < 10


def test_no_credentials(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    """Without keys botocore looks for its own, and says when there are none."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    store = S3Store.from_config(
        {"STORE_S3_BUCKET": "b", "STORE_S3_ENDPOINT_URL": "http://127.0.0.1:9"}
    )
    with pytest.raises(NotConfiguredError, match="credentials"):
        store.save(upload())


def test_credentials_of_the_server_are_used(
    moto_server: S3Server, moto_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without keys in the settings, those of the environment are used."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", moto_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", moto_server.secret_key)
    store = S3Store.from_config(
        {
            "STORE_S3_BUCKET": moto_bucket,
            "STORE_S3_ENDPOINT_URL": moto_server.endpoint_url,
        }
    )
    f = store.save(upload(b"x"))
    assert f.read() == b"x"
    assert requests.get(f.signed_url()).content == b"x"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"STORE_S3_BUKET": "x"}, "Did you mean STORE_S3_BUCKET"),
        ({"STORE_S3_ACCESS_KEY": "AK"}, "STORE_S3_SECRET_KEY is missing"),
        ({"STORE_S3_SECRET_KEY": "SK"}, "STORE_S3_ACCESS_KEY is missing"),
        ({"STORE_S3_ENDPOINT_URL": "localhost:9000"}, "'https://localhost:9000'"),
        ({"STORE_S3_ADDRESSING_STYLE": "dns"}, "'auto', 'path', 'virtual'"),
        ({"STORE_S3_CONDITIONAL_WRITES": "never"}, "'auto', True, False"),
        ({"STORE_S3_CONDITIONAL_WRITES": 2}, "'auto', True, False"),
        ({"STORE_PATH": "memory://x"}, "Leave STORE_PROVIDER out"),
        ({"STORE_OPTIONS": "x"}, "must be a dict"),
        ({"STORE_SERVE": "always"}, "'auto', 'proxy', 'redirect', 'off'"),
        ({"STORE_PATH": "s3://"}, "names no bucket"),
    ],
)
def test_impossible_settings(config: dict[str, t.Any], words: str) -> None:
    """A slip in the settings is found when they are read, not at the first upload."""
    with pytest.raises(NotConfiguredError, match=words):
        S3Store.from_config({"STORE_S3_BUCKET": "photos", **config})


def test_bucket_is_required() -> None:
    """S3Store without a bucket says what is missing."""
    with pytest.raises(NotConfiguredError, match="STORE_S3_BUCKET"):
        S3Store.from_config({"STORE_PATH": "/x"})


def test_credentials_in_the_url_are_used_and_not_shown(
    seaweedfs_server: S3Server, seaweedfs_bucket: str
) -> None:
    """They are taken out of the URL and unquoted; no error shows them."""
    store = FsspecStore.from_url(
        f"s3://{seaweedfs_server.access_key}:{seaweedfs_server.secret_key}"
        f"@{seaweedfs_bucket}/p",
        endpoint_url=seaweedfs_server.endpoint_url,
    )
    f = store.save(upload(b"x"))
    assert f.uri == f"s3://{seaweedfs_bucket}/p/a.txt"
    assert f.read() == b"x"
    quoted = FsspecStore.from_url("s3://KEY:a%2Fb%40c@bucket/p")
    assert quoted.storage_options["secret"] == "a/b@c"
    assert (
        "a/b@c" not in repr(quoted) + str(quoted.uri) + quoted.file("x").absolute_url()
    )


def test_s3_session_options_reach_s3fs() -> None:
    """Token, region, addressing style and STORE_S3_OPTIONS arrive, the last wins."""
    store = S3Store.from_config(
        {
            "STORE_S3_BUCKET": "photos",
            "STORE_S3_REGION": "eu-north-1",
            "STORE_S3_ACCESS_KEY": "AK",
            "STORE_S3_SECRET_KEY": "SK",
            "STORE_S3_SESSION_TOKEN": "ST",
            "STORE_S3_ADDRESSING_STYLE": "virtual",
            "STORE_S3_ACL": "private",
            "STORE_S3_OPTIONS": {
                "config_kwargs": {"read_timeout": 99},
                "client_kwargs": {"verify": "ca.pem"},
                "s3_additional_kwargs": {"StorageClass": "STANDARD_IA"},
            },
        }
    )
    options = store.storage_options
    assert (options["key"], options["secret"], options["token"]) == ("AK", "SK", "ST")
    assert options["client_kwargs"] == {
        "region_name": "eu-north-1",
        "verify": "ca.pem",
    }
    assert options["s3_additional_kwargs"] == {
        "ACL": "private",
        "StorageClass": "STANDARD_IA",
    }
    assert options["config_kwargs"]["s3"] == {"addressing_style": "virtual"}
    assert options["config_kwargs"]["signature_version"] == "s3v4"
    assert options["config_kwargs"]["read_timeout"] == 99
    assert "endpoint_url" not in options
    assert "request_checksum_calculation" not in options["config_kwargs"]


def test_object_of_another_tool_keeps_its_encoding(
    store: S3Store, seaweedfs_server: S3Server
) -> None:
    """An object that was stored compressed, with a Content-Encoding, is read as it is:
    as many bytes as the listing tells."""
    data = gzip.compress(os.urandom(5000))
    store.raw_fs.call_s3(
        "put_object",
        Bucket=store.dialect.root.partition("/")[0],
        Key=store.absolute_path("page.html"),
        Body=data,
        ContentEncoding="gzip",
    )
    (found,) = [found for found in store.ls() if found.name == "page.html"]
    assert store.stat("page.html").size == found.size == len(data)
    assert store.read("page.html") == data
    assert b"".join(store.stream("page.html", 10, 20)) == data[10:20]
    with store.open("page.html") as file:
        assert file.seek(100) and file.read() == data[100:]
    assert store.move("page.html", "moved.html").read() == data
