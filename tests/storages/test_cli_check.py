"""``flask store check``: what works is said to work, and what is broken is named."""

from __future__ import annotations

import datetime as dt
import pathlib
import re
import typing as t

import pytest
from flask import Flask
from flask import request
from flask import Response

from flask_store.dialects.local import LocalDialect
from flask_store.stores.fsspec import FsspecStore
from tests.local.test_cli import application
from tests.local.test_cli import Shell
from tests.storages.test_s3 import settings
from tests.support import servers
from tests.support.rclone_server import rclone_s3
from tests.support.servers import S3Server

STEPS = (
    "versions store connect names write read range type exclusive clock delete"
).split()


def lines(shell: Shell, code: int, *args: str) -> dict[str, tuple[str, str]]:
    """The status and the text of every step."""
    result = shell("check", *args, code=code)
    assert "secret" not in result.output
    parts = [line.split(maxsplit=2) for line in result.stdout.splitlines()]
    return {step: (status, text) for status, step, text in parts}


def s3_shell(tmp_path: pathlib.Path, server: S3Server, **config: t.Any) -> Shell:
    """An application on an S3 server."""
    found = settings(server, config.pop("bucket"))
    return Shell(
        application(
            tmp_path,
            STORE_PROVIDER="flask_store.stores.s3.S3Store",
            **{**found, **config},
        )
    )


def test_good_local(tmp_path: pathlib.Path) -> None:
    """A folder that does not exist yet is a good store; nothing is left in it."""
    path = str(tmp_path / "uploads")
    shell = Shell(application(tmp_path, STORE_PATH=path, SECRET_KEY="a-long-secret"))
    found = lines(shell, 0, "--strict")
    assert {step: status for step, (status, _) in found.items() if step != "link"} == {
        step: "ok" for step in STEPS
    }
    assert "Flask-Store" in found["versions"][1]
    assert "a-long-secret" not in str(found)
    assert shell.says("ls") == ""


def test_good_s3(
    tmp_path: pathlib.Path, seaweedfs_server: S3Server, seaweedfs_bucket: str
) -> None:
    """SeaweedFS keeps every promise; nothing is left in the bucket."""
    shell = s3_shell(tmp_path, seaweedfs_server, bucket=seaweedfs_bucket)
    found = lines(shell, 0, "--strict")
    assert {status for status, _ in found.values()} == {"ok"}
    client = seaweedfs_server.client()
    assert "Contents" not in client.list_objects_v2(Bucket=seaweedfs_bucket)
    client.close()


@pytest.mark.parametrize(
    "wrong, cause",
    [
        ({"STORE_S3_SECRET_KEY": "a-wrong-key"}, "Check STORE_S3_ACCESS_KEY, STORE_S3"),
        ({"STORE_S3_BUCKET": "no-such-bucket"}, "There is no bucket 'no-such-bucket'"),
        (
            {"STORE_S3_ENDPOINT_URL": "http://127.0.0.1:9"},
            "Check that it runs, STORE_S3_ENDPOINT_URL",
        ),
    ],
)
def test_wrong_settings(
    tmp_path: pathlib.Path,
    seaweedfs_server: S3Server,
    seaweedfs_bucket: str,
    wrong: dict[str, str],
    cause: str,
) -> None:
    """A wrong key, bucket or endpoint is named by its setting."""
    shell = s3_shell(tmp_path, seaweedfs_server, bucket=seaweedfs_bucket, **wrong)
    found = lines(shell, 1)
    status, text = found["connect"]
    assert status == "FAIL"
    assert cause in text
    assert found["delete"][0] == "skip"


def test_keys_that_may_only_read(
    tmp_path: pathlib.Path, seaweedfs_server: S3Server, seaweedfs_bucket: str
) -> None:
    """The step that is refused is the one that fails."""
    who = seaweedfs_server.readonly
    shell = s3_shell(
        tmp_path,
        seaweedfs_server,
        bucket=seaweedfs_bucket,
        STORE_S3_ACCESS_KEY=who.access_key,
        STORE_S3_SECRET_KEY=who.secret_key,
    )
    found = lines(shell, 1)
    assert found["connect"][0] == "ok"
    assert found["write"][0] == "FAIL"
    assert "refuses access" in found["write"][1]


@pytest.mark.parametrize(
    "setting, status, code, cause",
    [
        ("auto", "warn", 0, "every name gets a UUID"),
        (True, "FAIL", 1, "STORE_S3_CONDITIONAL_WRITES"),
    ],
)
def test_server_that_ignores_conditions(
    tmp_path: pathlib.Path, setting: t.Any, status: str, code: int, cause: str
) -> None:
    """rclone's server is one: a warning if that is known, a failure if not."""
    with rclone_s3() as (server, bucket):
        shell = s3_shell(
            tmp_path,
            server,
            bucket=bucket,
            STORE_S3_CONDITIONAL_WRITES=setting,
        )
        found = lines(shell, code)
        assert found["exclusive"][0] == status
        assert cause in found["exclusive"][1]
        assert lines(shell, 1, "--strict")["exclusive"][0] == status
        assert shell.says("ls") == ""


ERROR = "<Error><Code>{}</Code><Message>no</Message><Region>eu-west-3</Region></Error>"


@pytest.mark.parametrize(
    "code, cause",
    [
        ("AuthorizationHeaderMalformed", "STORE_S3_REGION"),
        ("RequestTimeTooSkewed", "the clock of this machine is wrong"),
    ],
)
def test_what_only_amazon_answers(
    tmp_path: pathlib.Path, code: str, cause: str
) -> None:
    """A wrong region and a wrong clock, as Amazon's documented error codes say it."""
    stub = Flask("stub")

    @stub.route("/", defaults={"path": ""}, methods=["GET", "PUT", "HEAD"])
    @stub.route("/<path:path>", methods=["GET", "PUT", "HEAD"])
    def refuse(path: str) -> Response:
        request.get_data()
        return Response(ERROR.format(code), 400, content_type="application/xml")

    keys = servers.Credentials("flaskstoreapp", "flask-store-app-secret")
    with servers.serve(stub) as address:
        port = int(address.rpartition(":")[2])
        server = S3Server("stub", port, keys, keys, keys)
        shell = s3_shell(tmp_path, server, bucket="photos")
        status, text = lines(shell, 1)["connect"]
    assert status == "FAIL"
    assert cause in text


def test_wrong_clock(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage whose files are from another time means that a clock is wrong."""
    real = LocalDialect.info

    def info(self: LocalDialect, key: str) -> t.Any:
        import dataclasses

        found = real(self, key)
        assert found.modified
        earlier = found.modified - dt.timedelta(hours=1)
        return dataclasses.replace(found, modified=earlier)

    monkeypatch.setattr(LocalDialect, "info", info)
    shell = Shell(application(tmp_path, STORE_PATH=str(tmp_path / "uploads")))
    status, text = lines(shell, 1)["clock"]
    assert status == "FAIL"
    assert re.search(r"3,60\d s ahead of", text)


@pytest.mark.parametrize(
    "broken, step",
    [
        ("read", "read"),
        ("stream", "range"),
        ("delete", "delete"),
    ],
)
def test_server_that_lies(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, broken: str, step: str
) -> None:
    """What comes back changed, ignores ranges or stays is a failure of that step."""
    real = FsspecStore.stream

    def stream(
        self: FsspecStore, name: str, start: int = 0, stop: int | None = None
    ) -> t.Iterator[bytes]:
        return real(self, name)

    if broken == "delete":
        monkeypatch.setattr(FsspecStore, "delete", lambda self, name: None)
    elif broken == "read":
        monkeypatch.setattr(FsspecStore, "read", lambda self, name: b"something else")
    else:
        monkeypatch.setattr(FsspecStore, "stream", stream)
    shell = Shell(application(tmp_path, STORE_PATH=str(tmp_path / "uploads")))
    assert lines(shell, 1)[step][0] == "FAIL"
