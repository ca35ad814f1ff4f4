"""``flask store ...``: every command on the local disk and on SeaweedFS."""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import typing as t

import pytest
from click.testing import Result
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from werkzeug.datastructures import FileStorage

from flask_store import Store
from flask_store.cli import store as group
from flask_store.sqla import StoredFile
from flask_store.stores.fsspec import FsspecStore
from flask_store.uploads.source import Source
from tests.storages.test_s3 import settings
from tests.support.servers import ROOT
from tests.support.servers import S3Server
from tests.support.servers import SCRIPTS


class Shell:
    """An application, its store and a way to call the commands."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.extension = Store(app)
        with app.app_context():
            self.store = t.cast(FsspecStore, self.extension.Provider())

    def __call__(self, *args: str, code: int = 0, input: str | None = None) -> Result:
        result = self.app.test_cli_runner().invoke(group, list(args), input=input)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    def says(self, *args: str) -> str:
        return self(*args).stdout.rstrip("\n")


def application(tmp_path: pathlib.Path, **config: t.Any) -> Flask:
    """An application whose files, the journal's too, stay in the test's folder."""
    app = Flask("cli_app", instance_path=str(tmp_path / "instance"))
    app.config.update(config)
    return app


@pytest.fixture(params=["local", "seaweedfs"])
def shell(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Shell:
    """An application on each of the two."""
    if request.param == "local":
        return Shell(application(tmp_path, STORE_PATH=str(tmp_path / "uploads")))
    server: S3Server = request.getfixturevalue("seaweedfs_server")
    bucket: str = request.getfixturevalue("seaweedfs_bucket")
    config = settings(server, bucket, STORE_PATH=f"s3://{bucket}/some/place")
    return Shell(application(tmp_path, **config))


@pytest.fixture
def local(tmp_path: pathlib.Path) -> Shell:
    """An application on the local disk."""
    return Shell(application(tmp_path, STORE_PATH=str(tmp_path / "uploads")))


def test_put_ls_info_cat_get(shell: Shell, tmp_path: pathlib.Path) -> None:
    """A file goes in, is seen, and comes out as it was."""
    data = os.urandom(100_000)
    path = tmp_path / "фото.jpg"
    path.write_bytes(data)
    assert shell.says("put", str(path), "2026/may") == "2026/may/фото.jpg"
    assert shell.says("put", "-", "--name", "a.txt").startswith("a")
    assert sorted(shell.says("ls").split()) == ["2026/may/фото.jpg", "a.txt"]
    assert shell.says("ls", "2026") == "2026/may/фото.jpg"
    assert "100000" in shell.says("ls", "-l", "2026")
    record = json.loads(shell.says("ls", "--json", "2026"))
    assert record["size"] == 100_000
    told = json.loads(shell.says("info", "--json", "2026/may/фото.jpg"))
    assert told == {
        **record,
        "checksum": told["checksum"],  # which a listing need not tell
        "modified": told["modified"],
    }
    assert "image/jpeg" in shell.says("info", "2026/may/фото.jpg")
    assert shell("cat", "2026/may/фото.jpg").stdout_bytes == data
    target = tmp_path / "out.jpg"
    assert shell.says("get", "2026/may/фото.jpg", str(target)) == str(target)
    assert target.read_bytes() == data
    assert "--force" in shell("get", "a.txt", str(target), code=1).stderr
    assert target.read_bytes() == data
    shell("get", "a.txt", str(target), "--force")
    assert target.read_bytes() == b""


def test_put_never_overwrites(shell: Shell) -> None:
    """The name that it got is printed; 'error' is one line and exit code 1."""
    put = ("put", "-", "--name", "a.txt")
    assert shell(*put, input="first").stdout == "a.txt\n"
    assert shell(*put, input="second").stdout.startswith("a_")
    refused = shell(*put, "--on-conflict", "error", code=1, input="third")
    assert refused.stderr.count("\n") == 1
    assert "already exists" in refused.stderr
    assert shell.store["a.txt"].read() == b"first"
    assert "--name" in shell("put", "-", code=2).stderr


def test_put_does_what_the_store_does(shell: Shell) -> None:
    """Without --on-conflict, STORE_ON_CONFLICT counts."""
    shell.app.extensions["store"].Provider._bound.on_conflict = "error"
    put = ("put", "-", "--name", "a.txt")
    assert shell(*put, input="first").stdout == "a.txt\n"
    assert "already exists" in shell(*put, code=1, input="second").stderr
    assert "already exists" in shell("cp", "a.txt", "a.txt", code=1).stderr
    renamed = shell(*put, "--on-conflict", "rename", input="third")
    assert renamed.stdout.startswith("a_")


def test_cp_mv_rm(shell: Shell) -> None:
    """Copies, moves and deletes; the latter asks, and no answer means no."""
    shell.store.save(b"data", "a.txt")
    assert shell.says("cp", "a.txt", "b/c.txt") == "b/c.txt"
    assert shell.says("mv", "b/c.txt", "d.txt") == "d.txt"
    assert sorted(shell.says("ls").split()) == ["a.txt", "d.txt"]
    assert "Delete a.txt?" in shell("rm", "a.txt", code=1).stderr
    assert sorted(shell.says("ls").split()) == ["a.txt", "d.txt"]
    shell("rm", "a.txt", input="y\n")
    shell("rm", "--yes", "d.txt")
    assert shell.says("ls") == ""


@pytest.mark.parametrize(
    "command", ["info x.txt", "cat x.txt", "get x.txt", "rm --yes x.txt", "mv x.txt y"]
)
def test_missing_file_is_3(shell: Shell, command: str) -> None:
    """A script can tell a missing file from everything else."""
    said = shell(*command.split(), code=3).stderr
    assert said == "Error: There is no file 'x.txt'.\n"


def test_url(shell: Shell) -> None:
    """The address is the one that the application gives, without a look at it."""
    with shell.app.app_context():
        expected = shell.store.absolute_url("a b.txt")
    assert shell.says("url", "a b.txt") == expected
    assert expected.endswith("a%20b.txt")


def test_usage(shell: Shell) -> None:
    """By folder, by type and by month."""
    for folder, size in (("a", 10), ("a/b", 30), ("", 5)):
        shell.store.at(folder).save(b"x" * size, "f.txt")
    lines = [line.split() for line in shell.says("usage").splitlines()]
    assert [line[-1] for line in lines] == ["a/", "./", "total"]
    assert lines[0][:3] == ["40", "B", "2"]
    by_type = json.loads(shell.says("usage", "--by", "type", "--json"))
    assert by_type == {"name": "text/plain", "files": 3, "size": 45}
    assert "total" in shell.says("usage", "--by", "month", "a")


def test_names_do_not_steer_the_terminal(local: Shell, tmp_path: pathlib.Path) -> None:
    """A file that somebody else put there cannot write to the operator's screen."""
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "a\x1b[2J\u202egpj.exe").write_text("")
    for command in ("ls", "usage"):
        said = local(command, code=1).stderr
        assert said.startswith(r"unreachable: a\x1b[2J\u202egpj.exe has control")
        assert "\x1b" not in said


def test_named_store(tmp_path: pathlib.Path) -> None:
    """--store chooses; a name that is none lists those there are."""
    app = application(
        tmp_path,
        STORE_PATH=str(tmp_path / "uploads"),
        AVATARS_STORE_PATH=str(tmp_path / "faces"),
    )
    shell = Shell(app)
    Store(app, name="avatars")
    shell("put", "-", "--name", "me.txt", "--store", "avatars", input="me")
    assert (tmp_path / "faces" / "me.txt").read_text() == "me"
    assert shell.says("ls") == ""
    said = shell("ls", "--store", "nobody", code=2).stderr
    assert "There is: avatars, default." in said


def test_pending_lists_what_waits(tmp_path: pathlib.Path) -> None:
    """An upload in the spool is listed, with its tries and its cause."""
    shell = Shell(
        application(
            tmp_path,
            STORE_PATH=str(tmp_path / "uploads"),
            STORE_SPOOL_PATH=str(tmp_path / "spool"),
            STORE_BACKGROUND=True,
        )
    )
    assert shell.says("pending") == ""
    assert shell.store.background is not None
    box = shell.store.background.spool.make_box()
    entry = box.add(Source(io.BytesIO(b"12345"), None), "me_x.jpg", "image/jpeg")
    assert shell.says("pending").split() == ["5", "0", "tries", "me_x.jpg"]
    entry.parked, entry.cause = True, "StoreDenied: refused"
    box.files(entry.key).note(entry)
    said = shell.says("pending")
    assert "parked" in said and said.endswith("me_x.jpg  StoreDenied: refused")
    box.files("me_x.jpg").remove()
    box.close()
    assert shell.says("pending") == ""


def test_sweep_of_orphans(tmp_path: pathlib.Path) -> None:
    """With --orphans, files in no row go, and those in a row of any column stay."""
    app = application(tmp_path, STORE_PATH=str(tmp_path / "uploads"))
    shell = Shell(app)
    said = shell("sweep", "--orphans", code=1).stderr
    assert "no Flask-SQLAlchemy" in said
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    database = SQLAlchemy(app)
    said = shell("sweep", "--orphans", code=1).stderr
    assert "every file would be taken for an orphan" in said

    class Person(database.Model):  # type: ignore[name-defined, misc]
        id = database.Column(database.Integer, primary_key=True)
        picture = database.Column(StoredFile())

    with app.app_context():
        database.create_all()
        for name in ("kept.txt", "lost.txt"):
            picture = FileStorage(io.BytesIO(b"x"), name)
            database.session.add(Person(picture=picture))
        database.session.commit()
        database.session.execute(
            database.delete(Person).where(Person.picture == "lost.txt")
        )
        database.session.commit()
        lost = shell.store.file("lost.txt").absolute_path()
        os.utime(lost, (0, 0))
        os.utime(shell.store.file("kept.txt").absolute_path(), (0, 0))
        assert shell.says("sweep", "--orphans") == "lost.txt"
        assert os.path.exists(lost)
        assert shell.says("sweep", "--orphans", "--yes") == "lost.txt"
        assert [found.name for found in shell.store.ls()] == ["kept.txt"]
        database.session.remove()
        database.engine.dispose()


def test_sweep_removes_only_when_told(
    local: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --yes it only tells; the age is given in hours."""
    asked = []

    def sweep(self: FsspecStore, older_than: dt.timedelta, dry_run: bool) -> list[str]:
        asked.append((older_than, dry_run))
        return [".flask-store/x.part"]

    monkeypatch.setattr(FsspecStore, "sweep", sweep, raising=False)
    told = local("sweep")
    assert told.stdout == ".flask-store/x.part\n"
    assert "Nothing was removed. Pass --yes" in told.stderr
    assert local("sweep", "--older-than", "1.5", "--yes").stderr == ""
    assert asked == [(dt.timedelta(days=1), True), (dt.timedelta(hours=1.5), False)]


def test_sweep_of_nothing(local: Shell) -> None:
    """It does not ask for --yes then, and a job at night says nothing."""
    told = local("sweep")
    assert (told.stdout, told.stderr) == ("", "There is nothing to remove.\n")
    told = local("sweep", "--yes")
    assert (told.stdout, told.stderr) == ("", "")


@pytest.fixture
def app_file(tmp_path: pathlib.Path) -> pathlib.Path:
    """An application in a file, as the real executable wants it."""
    path = tmp_path / "app.py"
    path.write_text(
        "import os\n"
        "from flask import Flask\n"
        "from flask_store import Store\n"
        "app = Flask(__name__, instance_path=os.environ['INSTANCE'])\n"
        "app.config.from_prefixed_env('APP')\n"
        "Store(app)\n"
    )
    return path


def flask(app_file: pathlib.Path, *args: str, **env: str) -> t.Any:
    """Run the real executable."""
    return subprocess.run(
        [SCRIPTS / "flask", "--app", app_file, "store", *args],
        env={**os.environ, "INSTANCE": str(app_file.parent / "instance"), **env},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_executable(app_file: pathlib.Path) -> None:
    """The entry point is found, and a pipe that closes early is no traceback."""
    done = flask(app_file, "put", str(app_file))
    assert (done.stdout, done.stderr, done.returncode) == ("app.py\n", "", 0)
    command = f"{SCRIPTS / 'flask'} --app {app_file} store ls --json | true"
    env = {**os.environ, "INSTANCE": str(app_file.parent / "instance")}
    said = subprocess.run(
        command, shell=True, env=env, capture_output=True, text=True, timeout=60
    )
    assert said.stderr == ""


def test_wrong_configuration_is_one_line(app_file: pathlib.Path) -> None:
    """An application that cannot start says why, without a traceback or a secret."""
    done = flask(
        app_file,
        "ls",
        APP_STORE_PATH="nosuch://user:hunter2secret@host/x",
        APP_STORE_S3_SECRET_KEY="sekret-sekret",
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "nosuch" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    assert "sekret" not in done.stderr + done.stdout


def test_unknown_errors_show_no_secret(
    local: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What some filesystem raises is cut down to a line, and what it quotes hidden."""
    local.app.config["STORE_OPTIONS"] = {"secret": "sekret-sekret"}

    def fail(*args: t.Any) -> t.NoReturn:
        raise RuntimeError("no\nsekret-sekret at sftp://me:hunter2@host/")

    monkeypatch.setattr(FsspecStore, "stat", fail)
    said = local("info", "x", code=1).stderr
    assert said == "Error: RuntimeError: no *** at sftp://host/\n"


def test_import_does_not_load_the_terminal() -> None:
    """An application that never sees a shell does not pay for the commands."""
    code = (
        "import sys, flask_store; from flask_store.stores.local import LocalStore;"
        "print([m for m in sys.modules if m in"
        " ('flask_store.cli', 'flask_store.views.preview', 'flask_store.sync',"
        " 'IPython', 'pandas', 'matplotlib', 'tqdm')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_every_command_is_documented(local: Shell) -> None:
    """The page of the terminal names each command, and no option that is none."""
    page = (ROOT / "docs" / "cli.rst").read_text()
    options = {"--app"}
    for name, command in group.commands.items():
        assert f"``{name}" in page, name
        assert local(name, "--help").stdout.startswith("Usage: ")
        options |= {
            text for p in command.params for text in (*p.opts, *p.secondary_opts)
        }
    for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", page):
        assert option in options | {"--checksum"}, option


@pytest.mark.parametrize("kind", ["put", "get"])
def test_progress_on_a_terminal(
    app_file: pathlib.Path, tmp_path: pathlib.Path, kind: str
) -> None:
    """A bar is drawn on stderr if that is a terminal; the result is on stdout."""
    (tmp_path / "big.bin").write_bytes(b"x" * 5_000_000)
    assert flask(app_file, "put", str(tmp_path / "big.bin")).returncode == 0
    args = ["put", tmp_path / "big.bin"]
    if kind == "get":
        args = ["get", "big.bin", tmp_path / "out.bin"]
    master, slave = os.openpty()
    try:
        done = subprocess.run(
            [SCRIPTS / "flask", "--app", app_file, "store", *args],
            env={**os.environ, "INSTANCE": str(tmp_path / "instance")},
            stdout=subprocess.PIPE,
            stderr=slave,
            text=True,
            timeout=60,
        )
        drawn = os.read(master, 100_000).decode()
    finally:
        os.close(slave)
        os.close(master)
    assert done.returncode == 0, drawn
    assert done.stdout.count("\n") == 1
    assert "big.bin" in drawn
    assert "4.8 MiB/4.8 MiB" in drawn
