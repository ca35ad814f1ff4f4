"""How long each protocol waits for a server that stalls, all of them at one time.

What is measured is the table in the documentation. The stores here have a shorter
``STORE_TIMEOUT``, and a busy machine may need four times as long.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import time
import typing as t
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait

import aiohttp
import fsspec
import pytest
from fsspec.asyn import AsyncFileSystem
from fsspec.asyn import sync_wrapper
from fsspec.spec import AbstractBufferedFile

from flask_store.exceptions import StoreUnavailable
from flask_store.stores.fsspec import FsspecStore
from tests.conftest import missing
from tests.support.protocol_rows import ROWS
from tests.support.protocol_servers import Place
from tests.support.servers import NotInstalledError
from tests.support.stalling import full
from tests.support.stalling import StallingRelay
from tests.support.timeout_table import ROWS as WAITS
from tests.support.timeout_table import Waits


class PlainFile(AbstractBufferedFile):  # type: ignore[misc]
    """A file of :class:`PlainHTTP`."""

    def __init__(self, fs: PlainHTTP, path: str, *args: t.Any, **kwargs: t.Any) -> None:
        self.loop = fs.loop
        self.parts: list[bytes] = []
        super().__init__(fs, path, *args, **kwargs)

    async def _range(self, start: int, end: int) -> bytes:
        return t.cast(bytes, await self.fs._cat_file(self.path, start, end))

    async def _chunk(self, final: bool = False) -> bool:
        self.parts.append(self.buffer.getvalue())
        if final:
            await self.fs._pipe_file(self.path, b"".join(self.parts))
        return True

    _fetch_range = sync_wrapper(_range)
    _upload_chunk = sync_wrapper(_chunk)


class PlainHTTP(AsyncFileSystem):  # type: ignore[misc]
    """A filesystem as a third party may write it, without any time limit."""

    protocol = "plainhttp"
    cachable = False

    def __init__(self, base: str = "", **options: t.Any) -> None:
        super().__init__(**options)
        self.base = base

    async def _request(self, method: str, path: str, **more: t.Any) -> t.Any:
        forever = aiohttp.ClientTimeout(total=None)
        async with (
            aiohttp.ClientSession(timeout=forever) as session,
            session.request(method, f"{self.base}/{path}", **more) as response,
        ):
            if response.status == 404:
                raise FileNotFoundError(path)
            response.raise_for_status()
            return response.headers, await response.read()

    async def _info(self, path: str, **kwargs: t.Any) -> dict[str, t.Any]:
        headers, _ = await self._request("HEAD", path)
        return {"name": path, "size": int(headers["Content-Length"]), "type": "file"}

    async def _cat_file(
        self,
        path: str,
        start: int | None = None,
        end: int | None = None,
        **kwargs: t.Any,
    ) -> bytes:
        _, data = await self._request("GET", path)
        return t.cast(bytes, data[start:end])

    async def _pipe_file(self, path: str, value: bytes, **kwargs: t.Any) -> None:
        await self._request("PUT", path, data=io.BytesIO(value))

    async def _makedirs(self, path: str, exist_ok: bool = False) -> None:
        """WebDAV's servers want a folder; the tests have made it."""

    async def _rm_file(self, path: str, **kwargs: t.Any) -> None:
        await self._request("DELETE", path)

    def _open(self, path: str, mode: str = "rb", **kwargs: t.Any) -> PlainFile:
        return PlainFile(self, path, mode, **kwargs)


#: The time limit of the stores, in seconds.
TIMEOUT = 2
#: Seconds between two bytes of a server that trickles.
DRIP = TIMEOUT / 8
#: How many bytes of a file come, or go, before a server stalls.
SOME = 100_000
#: A file that is longer than what one answer of any protocol has.
FILE = os.urandom(3 * SOME)
#: A file that no buffers of the system take.
HUGE = os.urandom(24 * 1024 * 1024)

S3FS = {"config_kwargs": {"user_agent_extra": "x"}}  # which only s3fs knows
PARAMIKO, SSHFS = "sftp+paramiko", "sftp+sshfs"

#: The server of each row, by its row in ROWS, and more options.
SERVERS: dict[str, tuple[str, dict[str, t.Any]]] = {
    "S3": ("s3 (moto)", {}),
    "S3, where s3fs asks": ("s3 (moto)", S3FS),
    "Google Cloud": ("gs", {}),
    "Azure": ("abfs", {}),
    "WebDAV": ("webdav+http", {}),
    "HTTP": ("webdav+http", {}),
    "SFTP by sshfs": (SSHFS, {}),
    "SFTP by paramiko": (PARAMIKO, {}),
    "FTP": ("ftp", {}),
    "SMB": ("smb", {}),
    "a third party's, asynchronous": ("webdav+http", {}),
}


def store_at(row: str, place: Place, port: int) -> FsspecStore:
    """A store of a row, whose server is reached at a port."""
    there = dataclasses.replace(place, options={**place.options, **SERVERS[row][1]})
    there = there.moved(port)
    if "known_hosts" in there.options:  # this port is not among them
        there.options["known_hosts"] = None
    url, options = f"{there.url}/t", there.options
    if row == "HTTP":
        url = url.removeprefix("webdav+")
    if row.startswith("a third"):
        url, options = "plainhttp://", {"base": url.removeprefix("webdav+")}
    return FsspecStore.from_config(
        {"STORE_PATH": url, "STORE_OPTIONS": options, "STORE_TIMEOUT": TIMEOUT}
    )


def connect(store: FsspecStore, relay: StallingRelay) -> None:
    """Nobody takes the connection."""
    store.exists("small.txt")


def first(store: FsspecStore, relay: StallingRelay) -> None:
    """The server takes it and says nothing."""
    relay.passing = 0
    store.exists("small.txt")


def first_drip(store: FsspecStore, relay: StallingRelay) -> None:
    """Its first answer trickles."""
    relay.passing, relay.drip = 1, DRIP
    store.exists("small.txt")


def silent(store: FsspecStore, relay: StallingRelay) -> None:
    """A server that has answered is silent."""
    store.exists("small.txt")
    relay.passing = 0
    store.exists("small.txt")


def drip(store: FsspecStore, relay: StallingRelay) -> None:
    """Another answer trickles; of HTTP it is a head."""
    store.exists("small.txt")
    relay.passing, relay.drip = 1, DRIP
    store.exists("small.txt")


def part(store: FsspecStore, relay: StallingRelay) -> None:
    """The server is silent in the middle of a file."""
    store.exists("small.txt")
    relay.passing = SOME
    store.read("large.bin")


def part_drip(store: FsspecStore, relay: StallingRelay) -> None:
    """The rest of a file trickles."""
    store.exists("small.txt")
    relay.passing, relay.drip = SOME, DRIP
    store.read("large.bin")


def upload(store: FsspecStore, relay: StallingRelay) -> None:
    """The server reads a part of an upload."""
    store.exists("small.txt")
    relay.reading = SOME
    store.save(HUGE, "new.bin")


def stored(store: FsspecStore, relay: StallingRelay) -> None:
    """The server reads an upload and does not answer."""
    store.exists("small.txt")
    relay.passing = 0
    store.save(FILE, "new.bin")


Case: t.TypeAlias = t.Callable[[FsspecStore, StallingRelay], None]

#: Those of one list run at one time.
BATCHES: list[list[Case]] = [
    [connect, first, first_drip, silent],
    [drip, part, part_drip],
    [upload, stored],
]


class Outcome(t.NamedTuple):
    """What came of a case.

    :param seconds: how long it took.
    """

    error: BaseException | None
    seconds: float


def run(row: str, place: Place, case: Case) -> Outcome:
    """Let a store meet a server that stalls."""
    with StallingRelay(place.port) as relay, full() as nobody:
        store = store_at(row, place, nobody if case is connect else relay.port)
        start = time.monotonic()
        error: BaseException | None = None
        try:
            case(store, relay)
        except Exception as exc:
            error = exc
        return Outcome(error, time.monotonic() - start)


def prepare(row: str, place: Place) -> None:
    """Store the files that are read; those that only read have WebDAV's."""
    if row not in ("HTTP", "a third party's, asynchronous"):
        store = FsspecStore.from_url(f"{place.url}/t", **place.options)
        store.put("small.txt", b"x", "overwrite")
        store.put("large.bin", FILE, "overwrite")


@pytest.fixture(scope="module")
def outcomes() -> t.Iterator[t.Callable[[str, Case], Outcome]]:
    """What came of the cases, which all run before the first test looks."""
    fsspec.register_implementation("plainhttp", PlainHTTP, clobber=True)
    done: dict[tuple[str, Case], Future[Outcome]] = {}
    left_out: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(4 * len(SERVERS)))
        starts = {
            name: pool.submit(stack.enter_context, ROWS[name].server())
            for name in {server for server, _ in SERVERS.values()}
        }
        wait(starts.values())
        places = {}
        for row, (server, _) in SERVERS.items():
            try:
                places[row] = starts[server].result()
            except NotInstalledError as error:
                left_out[row] = str(error)
        ready = {row: pool.submit(prepare, row, places[row]) for row in places}
        wait(ready.values())
        for batch in BATCHES:
            for case in batch:
                for row, place in places.items():
                    if limit_of(row, case):
                        done[row, case] = pool.submit(run, row, place, case)
            wait(done.values())

        def outcome(row: str, case: Case) -> Outcome:
            if row in left_out:
                missing(left_out[row])
            ready[row].result()
            return done[row, case].result()

        yield outcome


def limit_of(row: str, case: Case) -> float:
    """The limit in the table, in seconds; 0 if there is no such case."""
    field = "first" if case is first_drip else case.__name__
    return float(getattr(WAITS[row], field)) * TIMEOUT


@pytest.mark.parametrize(
    ("row", "case"),
    [
        pytest.param(row, case, id=f"{row}-{case.__name__}")
        for batch in BATCHES
        for case in batch
        for row in SERVERS
        if limit_of(row, case)
    ],
)
def test_limit(
    row: str, case: Case, outcomes: t.Callable[[str, Case], Outcome]
) -> None:
    """The error comes after the limit of the table, and says that nobody answers."""
    error, seconds = outcomes(row, case)
    assert isinstance(error, StoreUnavailable), (error, seconds)
    limit = limit_of(row, case)
    assert limit / 2 <= seconds < 4 * limit, f"{seconds:.1f} s in place of {limit:g} s"


def test_every_row_is_measured() -> None:
    """The table has the rows of this module, and a column for each case."""
    assert SERVERS.keys() == WAITS.keys()
    fields = {*Waits._fields, "first_drip"}
    assert {case.__name__ for batch in BATCHES for case in batch} == fields
