"""Real databases on free loopback ports, as context managers that give their URL, and
the store of the files of their rows."""

from __future__ import annotations

import contextlib
import glob
import os
import pathlib
import shutil
import subprocess
import typing as t

import pytest
from flask import Flask

from flask_store import Store
from flask_store.stores.fsspec import FsspecStore

from .protocol_servers import _program_of_system
from .protocol_servers import listens
from .servers import _directory
from .servers import _free_ports
from .servers import _process
from .servers import NotInstalledError


@pytest.fixture
def store(tmp_path: pathlib.Path) -> t.Iterator[FsspecStore]:
    """The store of the current application, for the modules that take this fixture."""
    app = Flask(__name__)
    app.config["STORE_PATH"] = str(tmp_path / "uploads")
    ours = Store(app)
    with app.app_context():
        yield t.cast("FsspecStore", ours.Provider())


@contextlib.contextmanager
def postgresql() -> t.Iterator[str]:
    """Debian's PostgreSQL. It keeps nothing, so it need not wait for the disk."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    if not found:
        raise NotInstalledError(
            "postgres is not installed (apt-get install postgresql)"
        )
    programs = pathlib.Path(found[-1])
    (port,) = _free_ports(1)
    with _directory() as folder:
        as_user = _as_user("postgres", folder)
        data = folder / "data"
        options = ["-D", data, "-A", "trust", "-U", "postgres", "--no-sync"]
        options += ["-E", "UTF8", "--locale", "C.UTF-8"]
        subprocess.run(
            [*as_user, programs / "initdb", *options], check=True, capture_output=True
        )
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "max_prepared_transactions": "10",
        }
        args = [*as_user, programs / "postgres", "-D", data, "-p", str(port)]
        for name, value in settings.items():
            args += ["-c", f"{name}={value}"]
        with _process(args, folder, grace=5) as running:
            running.wait_until(lambda: listens(port), 30)
            yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"


@contextlib.contextmanager
def mariadb() -> t.Iterator[str]:
    """Debian's MariaDB, which lets everybody in."""
    program = _program_of_system("mariadbd", "mariadb-server")
    client = _program_of_system("mariadb", "mariadb-client")
    (port,) = _free_ports(1)
    with _directory() as folder:
        data = folder / "data"
        data.mkdir()
        args: list[str | os.PathLike[str]] = [program, "--no-defaults"]
        if os.geteuid() == 0:
            args.append("--user=mysql")
            folder.chmod(0o755)
            shutil.chown(data, "mysql")
        args += [f"--datadir={data}", f"--socket={data / 'socket'}", f"--port={port}"]
        args += ["--bind-address=127.0.0.1", "--skip-grant-tables"]
        args += ["--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0"]
        with _process(args, folder, grace=5) as running:
            running.wait_until(lambda: listens(port), 30)
            where = ["-h", "127.0.0.1", "-P", str(port)]
            sql = "CREATE DATABASE test CHARACTER SET utf8mb4"
            subprocess.run([client, *where, "-e", sql], check=True)
            yield f"mysql+pymysql://root@127.0.0.1:{port}/test?charset=utf8mb4"


def _as_user(name: str, folder: pathlib.Path) -> list[str]:
    """How a program begins that refuses to be root's."""
    if os.geteuid() != 0:
        return []
    shutil.chown(folder, name)
    setpriv = _program_of_system("setpriv", "util-linux")
    return [setpriv, f"--reuid={name}", f"--regid={name}", "--init-groups"]
