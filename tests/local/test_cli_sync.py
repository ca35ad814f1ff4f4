"""``flask store sync``: everything arrives once, as it was, whatever interrupts it."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import subprocess
import time
import typing as t

import pytest

from flask_store.exceptions import FileExists
from flask_store.exceptions import InvalidName
from flask_store.exceptions import StoreUnavailable
from flask_store.stores.fsspec import FsspecStore
from tests.conftest import missing
from tests.local.test_cli import application
from tests.local.test_cli import Shell
from tests.storages.test_s3 import settings
from tests.support.rclone_server import rclone_program
from tests.support.rclone_server import rclone_s3
from tests.support.rounds import rounds
from tests.support.servers import NotInstalledError
from tests.support.servers import S3Server
from tests.support.servers import SCRIPTS

#: How many files the run has that is killed, and how often.
FILES = int(os.environ.get("FLASK_STORE_SYNC_FILES", "500"))
KILLS = rounds(1)

ODD = ["фото.jpg", "a b/c#d?e.txt", "100%25.txt", "-x", "~y", "con.txt", "empty"]


@pytest.fixture(params=["local", "seaweedfs"])
def shell(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Shell:
    """A store 'default' on disk, and a store 'target' of each kind."""
    config: dict[str, t.Any] = {"STORE_PATH": str(tmp_path / "source")}
    if request.param == "local":
        config["TARGET_STORE_PATH"] = str(tmp_path / "target")
    else:
        server: S3Server = request.getfixturevalue("seaweedfs_server")
        bucket: str = request.getfixturevalue("seaweedfs_bucket")
        found = settings(server, bucket, STORE_PATH=f"s3://{bucket}/to")
        config |= {f"TARGET_{key}": value for key, value in found.items()}
    return two_stores(tmp_path, config)


def two_stores(tmp_path: pathlib.Path, config: dict[str, t.Any]) -> Shell:
    """An application with a store that has no name and one named 'target'."""
    from flask_store import Store

    shell = Shell(application(tmp_path, **config))
    Store(shell.app, name="target")
    return shell


def target_of(shell: Shell) -> FsspecStore:
    """The other store."""
    with shell.app.app_context():
        return t.cast(FsspecStore, shell.app.extensions["store.target"].Provider())


def fill(store: FsspecStore, names: t.Iterable[str]) -> dict[str, bytes]:
    """Files whose content follows from their names."""
    contents = {name: name.encode() * 100 for name in names if name != "empty"}
    contents["empty"] = b""
    for name, data in contents.items():
        store.put(name, data)
    return contents


def contents(store: FsspecStore) -> dict[str, bytes]:
    """All that is stored."""
    return {found.name: store[found.name].read() for found in store.ls()}


def test_sync_copies_everything_once(shell: Shell) -> None:
    """Odd names are kept exactly; a second run copies nothing."""
    expected = fill(shell.store, ODD)
    said = shell.says("sync", "default", "target")
    assert said.startswith(f"copied {len(expected)} (")
    target = target_of(shell)
    assert contents(target) == expected
    assert target["фото.jpg"].content_type == "image/jpeg"
    again = shell.says("sync", "default", "target")
    assert again.startswith(f"copied 0 (0 B), already there {len(expected)}, diff")


def test_sync_back(shell: Shell) -> None:
    """The other direction, and the content type with it."""
    target = target_of(shell)
    expected = fill(target, ODD)
    target.put("page", b"<p>", content_type="text/html")
    shell("sync", "target", "default")
    assert contents(shell.store) == expected | {"page": b"<p>"}


def test_sync_keeps_the_type(
    tmp_path: pathlib.Path, seaweedfs_server: S3Server
) -> None:
    """Between two buckets, an object keeps a type that its name does not tell."""
    config = {}
    for prefix in ("", "TARGET_"):
        bucket = seaweedfs_server.make_bucket()
        found = settings(seaweedfs_server, bucket, STORE_PATH=f"s3://{bucket}")
        config |= {f"{prefix}{key}": value for key, value in found.items()}
    shell = two_stores(tmp_path, config)
    shell.store.put("page", b"<p>", content_type="text/x-special")
    shell("sync", "default", "target")
    assert target_of(shell)["page"].content_type == "text/x-special"


def test_sync_within_one_storage(
    tmp_path: pathlib.Path, seaweedfs_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage copies: neither to store a file nor to verify it, its bytes go
    through the process."""
    bucket = seaweedfs_server.make_bucket()
    config = {}
    for prefix, folder in (("", "from"), ("TARGET_", "to")):
        found = settings(seaweedfs_server, bucket, STORE_PATH=f"s3://{bucket}/{folder}")
        config |= {f"{prefix}{key}": value for key, value in found.items()}
    shell = two_stores(tmp_path, config)
    expected = fill(shell.store, ODD)

    def stream(*args: t.Any) -> t.NoReturn:
        raise AssertionError("the bytes are read")

    with monkeypatch.context() as patch:
        patch.setattr(FsspecStore, "stream_version", stream)
        patch.setattr(FsspecStore, "stream", stream)
        shell("sync", "default", "target")
    assert contents(target_of(shell)) == expected


def test_sync_never_replaces_what_differs(shell: Shell) -> None:
    """A file that differs, be it of the same size, is left and reported; with
    --overwrite it is replaced."""
    target = target_of(shell)
    for name, data in (("same.txt", b"one"), ("size.txt", b"another size")):
        shell.store.put(name, b"two")
        target.put(name, data)
    said = shell("sync", "default", "target", code=1)
    assert "different: same.txt\n" in said.stderr
    assert "different 2" in said.stdout
    assert contents(target) == {"same.txt": b"one", "size.txt": b"another size"}
    shell("sync", "default", "target", "--overwrite")
    assert contents(target) == {"same.txt": b"two", "size.txt": b"two"}


def test_sync_notices_later_changes(shell: Shell) -> None:
    """The journal does not hide a file that changed after it was copied."""
    shell.store.put("a.txt", b"one")
    shell("sync", "default", "target")
    target_of(shell).put("a.txt", b"two", on_conflict="overwrite")
    assert "different 1" in shell("sync", "default", "target", code=1).stdout


def test_sync_deletes_only_when_told(shell: Shell) -> None:
    """--delete removes what the source lacks, but not everything by a mistake."""
    target = target_of(shell)
    shell.store.put("a.txt", b"a")
    target.put("old.txt", b"old")
    shell("sync", "default", "target")
    assert set(contents(target)) == {"a.txt", "old.txt"}
    said = shell.says("sync", "default", "target", "--delete", "--dry-run")
    assert "would be deleted 1" in said
    assert set(contents(target)) == {"a.txt", "old.txt"}
    shell("sync", "default", "target", "--delete")
    assert set(contents(target)) == {"a.txt"}
    shell.store.delete("a.txt")
    said = shell("sync", "default", "target", "--delete", code=1).stderr
    assert "would remove everything" in said
    assert set(contents(target)) == {"a.txt"}


def test_sync_dry_run(shell: Shell, tmp_path: pathlib.Path) -> None:
    """Nothing is written, the journal included."""
    shell.store.put("a.txt", b"a")
    said = shell.says("sync", "default", "target", "--dry-run")
    assert "would be copied 1 (1 B)" in said
    assert contents(target_of(shell)) == {}
    assert not (tmp_path / "instance").exists()


def test_sync_reports_a_file_that_fails(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file that cannot be read does not stop the others; the exit code is 1."""
    fill(shell.store, "abc")
    real = FsspecStore.put

    def put(self: FsspecStore, key: str, *args: t.Any, **kwargs: t.Any) -> t.Any:
        if key == "b":
            raise StoreUnavailable("It does not answer.")
        return real(self, key, *args, **kwargs)

    monkeypatch.setattr(FsspecStore, "put", put)
    said = shell("sync", "default", "target", code=1)
    assert "failed: b It does not answer.\n" in said.stderr
    assert "copied 3" in said.stdout
    assert set(contents(target_of(shell))) == {"a", "c", "empty"}


def test_sync_gives_up(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage that fails every time is not asked for each of many files."""
    fill(shell.store, map(str, range(300)))
    asked = []

    def put(self: FsspecStore, key: str, *args: t.Any, **kwargs: t.Any) -> t.Any:
        asked.append(key)
        raise StoreUnavailable("It does not answer.")

    monkeypatch.setattr(FsspecStore, "put", put)
    said = shell("sync", "default", "target", code=1).stderr
    assert "20 files failed in a row" in said
    assert len(asked) < 200


def test_sync_verifies(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that was stored wrong is a failure."""
    fill(shell.store, "ab")
    real = FsspecStore.put

    def put(
        self: FsspecStore, key: str, file: t.Any, *args: t.Any, **options: t.Any
    ) -> t.Any:
        return real(self, key, b"b!" * 50 if key == "b" else file, *args, **options)

    monkeypatch.setattr(FsspecStore, "put", put)
    said = shell("sync", "default", "target", code=1)
    assert "failed: b The copy differs" in said.stderr


def test_sync_to_a_server_that_ignores_conditions(tmp_path: pathlib.Path) -> None:
    """Names are kept exactly there only by whoever says that nobody else writes."""
    with rclone_s3() as (server, bucket):
        found = settings(server, bucket, STORE_PATH=f"s3://{bucket}/to")
        config = {f"TARGET_{key}": value for key, value in found.items()}
        shell = two_stores(tmp_path, {"STORE_PATH": str(tmp_path / "a"), **config})
        expected = fill(shell.store, ["a.txt", "b/c.txt"])
        said = shell("sync", "default", "target", code=1).stderr
        assert "cannot tell in one step that a name is free" in said
        assert contents(target_of(shell)) == {}
        shell("sync", "default", "target", "--overwrite")
        assert contents(target_of(shell)) == expected


def test_sync_places(shell: Shell, tmp_path: pathlib.Path) -> None:
    """URLs and folders are places too; a store is not copied into itself."""
    shell.store.put("a.txt", b"a")
    other = tmp_path / "other"
    shell("sync", f"file://{tmp_path}/source", f"{other}/")
    assert (other / "a.txt").read_bytes() == b"a"
    said = shell("sync", "default", str(tmp_path / "source" / "inner"), code=1).stderr
    assert "One is inside of the other" in said
    said = shell("sync", "default", "targt", code=2).stderr
    assert "There is no store named 'targt' (there is: default, target)" in said


def test_put_keeps_the_name(tmp_path: pathlib.Path) -> None:
    """FsspecStore.put neither cleans a name, nor replaces, nor leaves the store."""
    store = FsspecStore.from_url(f"file://{tmp_path}/store")
    assert store.put("~a/-b .txt", b"1").key == "~a/-b .txt"
    with pytest.raises(FileExists):
        store.put("~a/-b .txt", b"2")
    assert store["~a/-b .txt"].read() == b"1"
    store.put("~a/-b .txt", b"2", on_conflict="overwrite")
    assert store["~a/-b .txt"].read() == b"2"
    for name in ("../x", "/x", "a//b", ".flask-store/x", ""):
        with pytest.raises(InvalidName):
            store.put(name, b"")


APP = """
import json, os
from flask import Flask
from flask_store import Store
app = Flask(__name__, instance_path=os.environ["INSTANCE"])
app.config.update(json.loads(os.environ["APP_CONFIG"]))
Store(app)
Store(app, name="target")
"""


@pytest.mark.slow
def test_killed_and_started_again(
    tmp_path: pathlib.Path, seaweedfs_server: S3Server, seaweedfs_bucket: str
) -> None:
    """Killed by SIGKILL and started again, it goes on: all is there, verified."""
    (tmp_path / "app.py").write_text(APP)
    source = tmp_path / "source"
    expected = {}
    for number in range(FILES):
        data = (b"%d\n" % number) * (number % 700)
        path = source / f"{number % 7}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        expected[f"{number % 7}/{number}.txt"] = hashlib.md5(data).hexdigest()
    target = settings(
        seaweedfs_server, seaweedfs_bucket, STORE_PATH=f"s3://{seaweedfs_bucket}"
    )
    config = {"STORE_PATH": str(source)}
    config |= {f"TARGET_{key}": value for key, value in target.items()}
    command = [SCRIPTS / "flask", "--app", tmp_path / "app.py", "store"]
    command += ["sync", "default", "target"]
    env = {"APP_CONFIG": json.dumps(config), "INSTANCE": str(tmp_path / "instance")}
    env = {**os.environ, **env}
    store = FsspecStore.from_config(target)
    for kill in range(1, KILLS + 1):
        process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while sum(1 for _ in store.ls()) < FILES * kill // (KILLS + 2):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.kill()
        process.wait(10)
        assert sum(1 for _ in store.ls()) < FILES
    begun = time.monotonic()
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=150)
    print(done.stdout, time.monotonic() - begun)
    assert (done.returncode, done.stderr) == (0, "")
    assert "already there 0" not in done.stdout
    assert {found.name: found.etag for found in store.ls()} == expected


def test_print_rclone_with_settings(tmp_path: pathlib.Path) -> None:
    """rclone stores objects as the settings say, as far as it can."""
    settings = {
        "STORE_S3_SSE": "aws:kms",
        "STORE_S3_SSE_KMS_KEY_ID": "alias/uploads",
        "STORE_S3_STORAGE_CLASS": "STANDARD_IA",
        "STORE_S3_REQUESTER_PAYS": True,
        "STORE_S3_ACL": "private",
        "STORE_S3_TAGS": {"kind": "upload"},
    }
    config = {
        "STORE_PATH": str(tmp_path / "source"),
        "TARGET_STORE_PATH": "s3://photos",
    }
    config |= {f"TARGET_{key}": value for key, value in settings.items()}
    shell = two_stores(tmp_path, config)
    printed = shell.says("sync", "default", "target", "--print-rclone")
    assert {
        "acl = private",
        "requester_pays = true",
        "server_side_encryption = aws:kms",
        "sse_kms_key_id = alias/uploads",
        "storage_class = STANDARD_IA",
        "# rclone has no option for: Tagging.",
    } <= {*printed.splitlines()}


def test_print_rclone(
    tmp_path: pathlib.Path, seaweedfs_server: S3Server, seaweedfs_bucket: str
) -> None:
    """What is printed holds no secret, and with the keys given rclone does it."""
    try:
        program = rclone_program()
    except NotInstalledError as error:
        missing(str(error))
    found = settings(
        seaweedfs_server, seaweedfs_bucket, STORE_PATH=f"s3://{seaweedfs_bucket}/to"
    )
    config = {"STORE_PATH": str(tmp_path / "source")}
    config |= {f"TARGET_{key}": value for key, value in found.items()}
    shell = two_stores(tmp_path, config)
    expected = fill(shell.store, ODD)
    printed = shell.says("sync", "default", "target", "--print-rclone")
    assert seaweedfs_server.secret_key not in printed
    assert seaweedfs_server.access_key not in printed
    (tmp_path / "rclone.conf").write_text(printed)
    line = printed.splitlines()[-1].removeprefix("# rclone ")
    env = {
        **os.environ,
        "RCLONE_CONFIG_TARGET_ACCESS_KEY_ID": seaweedfs_server.access_key,
        "RCLONE_CONFIG_TARGET_SECRET_ACCESS_KEY": seaweedfs_server.secret_key,
    }
    done = subprocess.run(
        f"{program} {line}",
        shell=True,
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert contents(target_of(shell)) == expected
    said = shell.says("sync", "default", "target")
    assert f"already there {len(expected)}" in said
