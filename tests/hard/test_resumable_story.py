"""Uploads go on after cuts and kills, at whichever of two servers takes the request."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import threading
import typing as t

import pytest
import requests
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError

from flask_store.stores.fsspec import FsspecStore
from tests.conftest import missing
from tests.local.test_spool import wait_for
from tests.servers.test_killed_workers import children
from tests.support.browser import module
from tests.support.memory_peak import reset_peak
from tests.support.memory_peak import resident
from tests.support.memory_peak import sparse_file
from tests.support.protocol_rows import ROWS
from tests.support.protocol_servers import Place
from tests.support.relay import Relay
from tests.support.rounds import rounds
from tests.support.server_contract import started
from tests.support.servers import Gunicorn
from tests.support.servers import gunicorn
from tests.support.servers import NotInstalledError
from tests.support.servers import ROOT

MIB = 1024**2
SIZE = rounds(24) * MIB
#: How often the connection is cut, and how often a worker is killed, for each storage.
CUTS, KILLS = rounds(10), rounds(3)
#: The most that two requests and their answers have beside their bodies.
HEADERS = 6000
#: What a client may send twice where only connections break: the headers, and what was
#: on its way.
MOST = 1.05
STORAGES = ["file", "s3", "sftp+paramiko", "abfs", "gs"]
BYTES = "application/offset+octet-stream"
TUS = {"Tus-Resumable": "1.0.0"}


class TwoServers(Relay):
    """Passes every other connection on to the other server.

    :param urls: of the servers.
    """

    def __init__(self, urls: list[str]) -> None:
        self._ports = [int(url.rpartition(":")[2]) for url in urls]
        self._count = 0
        super().__init__(self._ports[0])

    @property
    def upstream(self) -> tuple[str, int]:
        """The server for the next connection."""
        self._count += 1
        return "127.0.0.1", self._ports[self._count % len(self._ports)]

    @upstream.setter
    def upstream(self, address: tuple[str, int]) -> None:
        pass


class Hosts(t.NamedTuple):
    """Two servers with one store, and the address of both."""

    servers: list[Gunicorn]
    relay: TwoServers
    store: FsspecStore

    @property
    def url(self) -> str:
        """What clients ask."""
        return f"http://127.0.0.1:{self.relay.port}"

    def new(self, name: str, size: int) -> dict[str, t.Any]:
        """An upload, as a view gives it to a browser."""
        said = {"name": name, "size": size}
        reply = requests.post(f"{self.servers[0].url}/new", json=said, timeout=60)
        reply.raise_for_status()
        return t.cast("dict[str, t.Any]", reply.json())

    def kill(self) -> None:
        """Kill all workers, one of which has the upload. Others are started."""
        for server in self.servers:
            for worker in children(server.process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)

    def published(self, upload: dict[str, t.Any]) -> dict[str, t.Any]:
        """Publish an upload; return what the view says of it. A storage that is busy
        may want the view to be asked again."""
        said = {"token": upload["token"]}
        while True:
            reply = requests.post(f"{self.servers[1].url}/done", json=said, timeout=300)
            if reply.status_code != 503:
                assert reply.status_code == 200, reply.text
                return t.cast("dict[str, t.Any]", reply.json())

    def confirmed(self, upload: dict[str, t.Any]) -> str:
        """Publish an upload; return the SHA-256 of what is stored."""
        digest = hashlib.sha256()
        for data in self.store.stream(self.published(upload)["key"]):
            digest.update(data)
        return digest.hexdigest()


@contextlib.contextmanager
def hosts_of(place: Place) -> t.Iterator[Hosts]:
    """Two servers on two ports with one store."""
    settings = {"STORE_PATH": place.new(), "STORE_OPTIONS": place.options}
    env = {"SETTINGS": json.dumps(settings), "PYTHONDONTWRITEBYTECODE": ""}
    args = "tests.support.resumable_app:app", "--preload", "--workers=2", "--threads=4"
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(gunicorn(*args, env=env)) for _ in range(2)]
        relay = stack.enter_context(TwoServers([server.url for server in servers]))
        store = FsspecStore.from_url(settings["STORE_PATH"], **place.options)
        yield Hosts(servers, relay, store)


@pytest.fixture(scope="module", params=STORAGES)
def hosts(request: pytest.FixtureRequest) -> t.Iterator[Hosts]:
    """Two servers for each storage."""
    with started(ROWS[request.param].server) as place, hosts_of(place) as hosts:
        yield hosts


@pytest.fixture(scope="module")
def local() -> t.Iterator[Hosts]:
    """Two servers with one folder."""
    with started(ROWS["file"].server) as place, hosts_of(place) as hosts:
        yield hosts


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A file to upload."""
    path = tmp_path_factory.mktemp("big") / "big.bin"
    path.write_bytes(random.Random(7).randbytes(SIZE))
    return path


def digest_of(path: pathlib.Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Body:
    """The rest of a file, during whose sending something happens.

    :param happens: called once, after *left* bytes.
    """

    def __init__(
        self, file: t.IO[bytes], size: int, left: int, happens: t.Callable[[], None]
    ) -> None:
        self._file = file
        self._size = size
        self._left = left
        self._happens = happens

    def __len__(self) -> int:
        return self._size

    def read(self, size: int = -1) -> bytes:
        """What http.client asks for."""
        data = self._file.read(size)
        if 0 < self._left <= len(data):
            self._happens()
        self._left -= len(data)
        return data


def nothing() -> None:
    """Nothing happens."""


def send(
    url: str, path: pathlib.Path, left: int, happens: t.Callable[[], None]
) -> bool:
    """One try of a client: ask how far the upload is, and send the rest.

    :return: whether it is whole.
    """
    with contextlib.suppress(requests.RequestException), requests.Session() as session:
        offset, size = offset_of(url), path.stat().st_size
        if offset == size:
            return True
        with path.open("rb") as file:
            file.seek(offset)
            headers = {**TUS, "Upload-Offset": str(offset), "Content-Type": BYTES}
            body: t.Any = Body(file, size - offset, left, happens)
            session.patch(url, body, headers=headers, timeout=60)
    return False


def offset_of(url: str) -> int:
    """How far an upload is."""
    head = requests.head(url, headers=TUS, timeout=60)
    head.raise_for_status()
    return int(head.headers["Upload-Offset"])


def cut(hosts: Hosts, url: str, path: pathlib.Path, left: int) -> None:
    """Break the connection after *left* bytes, and wait until a server has read what
    has reached it, as clients wait a moment before they try again."""
    offset = offset_of(url)
    hosts.relay.left = left
    send(url, path, 0, nothing)
    hosts.relay.left = None
    wait_for(lambda: offset_of(url) >= offset + left - HEADERS)


@pytest.mark.parametrize("what", ["cut", "killed"])
def test_upload_goes_on(
    hosts: Hosts, big: pathlib.Path, what: str, figures: t.Callable[[str], None]
) -> None:
    """Each break of a connection loses nothing that has arrived, each kill a piece at
    most, and the file is the one that was sent."""
    chosen = random.Random(3)
    count = CUTS if what == "cut" else KILLS
    upload = hosts.new(f"{what}.bin", SIZE)
    url = f"{hosts.url}{upload['resumable']}"
    headers = {**TUS, "Upload-Length": str(SIZE)}
    assert requests.post(url, headers=headers, timeout=60).status_code == 201
    before = hosts.relay.sent
    for _ in range(count):
        left = chosen.randrange(HEADERS, SIZE // count)
        if what == "cut":
            cut(hosts, url, big, left)
        else:
            send(url, big, left, hosts.kill)
    while not send(url, big, 0, nothing):
        pass
    sent = (hosts.relay.sent - before) / SIZE
    figures(
        f"resumable, {hosts.store.uri.partition(':')[0]}, {count} times {what}:"
        f" {sent:.2f} bytes sent for each byte of the file"
    )
    assert hosts.confirmed(upload) == digest_of(big)
    if what == "cut":
        assert sent <= MOST


def test_memory(hosts: Hosts, figures: t.Callable[[str], None]) -> None:
    """A worker that takes a large upload grows by no more than one of small ones, and
    so does the one that publishes it."""
    size = rounds(128) * MIB
    warm_up(hosts)
    workers = [pid for server in hosts.servers for pid in children(server.process.pid)]
    before = {worker: reset_peak(worker) for worker in workers}
    upload = hosts.new("large.bin", size)
    url = f"{hosts.url}{upload['resumable']}"
    headers = {**TUS, "Upload-Length": str(size)}
    assert requests.post(url, headers=headers, timeout=60).status_code == 201
    with sparse_file(size) as file:
        headers = {**TUS, "Upload-Offset": "0", "Content-Type": BYTES}
        reply = requests.patch(url, file, headers=headers, timeout=300)
    assert reply.headers["Upload-Offset"] == str(size)
    assert hosts.published(upload)["size"] == size
    grown = max(resident("VmHWM", worker) - peak for worker, peak in before.items())
    figures(
        f"resumable, {hosts.store.uri.partition(':')[0]}, {size // MIB} MiB:"
        f" +{grown / MIB:.1f} MiB of memory"
    )
    assert grown <= 32 * MIB


def warm_up(hosts: Hosts) -> None:
    """Let every worker take some uploads, which imports what it needs."""
    for server in hosts.servers * 6:
        upload = hosts.new("small.bin", 3)
        url = f"{server.url}{upload['resumable']}"
        headers = {**TUS, "Upload-Length": "3", "Content-Type": BYTES}
        requests.post(url, b"abc", headers=headers, timeout=60).raise_for_status()
        hosts.published(upload)


@pytest.mark.parametrize("chunk", ["", str(MIB)])
def test_tus_js_client(local: Hosts, big: pathlib.Path, chunk: str) -> None:
    """The client of browsers and Node.js, while connections break."""
    upload = local.new("js.bin", SIZE)
    node = shutil.which("node")
    if node is None:
        missing("Node.js")
    try:
        client = module("tus-js-client/lib.es5/node/index.js")
    except NotInstalledError as error:
        missing(str(error))
    url = f"{local.url}{upload['resumable']}"
    command = [
        node,
        str(ROOT / "tests/node/tus.mjs"),
        str(client),
        url,
        str(big),
        chunk,
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(3):
            local.relay.left = SIZE // 4
            while local.relay.left is not None and process.poll() is None:
                threading.Event().wait(0.01)
        local.relay.left = None
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 0, said
    assert local.confirmed(upload) == digest_of(big)


def test_tuspy(local: Hosts, big: pathlib.Path) -> None:
    """The client of Python, which sends one chunk after the other."""
    upload = local.new("py.bin", SIZE)
    client = TusClient(f"{local.url}{upload['resumable']}")
    with big.open("rb") as file:
        uploader = client.uploader(
            file_stream=file,
            chunk_size=3 * MIB,
            retries=20,
            retry_delay=0,
            upload_checksum=True,
        )
        while uploader.offset < SIZE:
            local.relay.left = SIZE // 2
            with contextlib.suppress(TusCommunicationError):
                uploader.upload()
    local.relay.left = None
    assert local.confirmed(upload) == digest_of(big)
