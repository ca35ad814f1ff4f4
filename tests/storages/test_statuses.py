"""Every status of a storage is a StoreError of the right class, in every operation."""

from __future__ import annotations

import contextlib
import io
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from functools import partial

import aiohttp
import fsspec
import pytest
from azure.storage.blob.aio import ExponentialRetry
from botocore.retries.standard import ExponentialBackoff
from flask import Flask
from fsspec.asyn import AsyncFileSystem
from fsspec.spec import AbstractBufferedFile

from flask_store import Store
from flask_store.concurrency import ioloop
from flask_store.dialects.gcs import http as gcs_http
from flask_store.dialects.statuses import error_class
from flask_store.exceptions import FileExists
from flask_store.exceptions import FileNotFound
from flask_store.exceptions import InvalidName
from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import StoreDenied
from flask_store.exceptions import StoreError
from flask_store.exceptions import StoreFull
from flask_store.exceptions import StoreUnavailable
from flask_store.exceptions import VersionGone
from flask_store.stores.fsspec import FsspecStore
from flask_store.sync import Journal
from flask_store.sync import Sync
from tests.support.error_table import error_of
from tests.support.error_table import REPLIES
from tests.support.error_table import ROUTE
from tests.support.error_table import RULES
from tests.support.status_server import DATA
from tests.support.status_server import NO_BUCKET
from tests.support.status_server import READS
from tests.support.status_server import Reply
from tests.support.status_server import StatusServer

KEY = "dGVzdHMgb2YgdGhlIHN0YXR1c2VzIG9mIGFuIGFjY291bnQ="


class Foreign(AsyncFileSystem):  # type: ignore[misc]
    """A filesystem of somebody else, which raises what its HTTP client raises."""

    protocol = "foreign"

    def __init__(self, url: str, **options: t.Any) -> None:
        super().__init__(**options)
        self.url = url
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix("foreign://").strip("/")

    async def _ask(
        self, method: str, path: str, **options: t.Any
    ) -> tuple[t.Any, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        url = f"{self.url}/{path}"
        async with self._session.request(
            method, url, allow_redirects=False, **options
        ) as reply:
            if reply.status >= 300:
                raise aiohttp.ClientResponseError(
                    reply.request_info, (), status=reply.status
                )
            return reply, await reply.read()

    async def _info(self, path: str, **options: t.Any) -> dict[str, t.Any]:
        reply, _ = await self._ask("HEAD", path)
        size = reply.headers.get("Content-Length")
        return {"name": path, "size": int(size) if size else None, "type": "file"}

    async def _ls(
        self, path: str, detail: bool = True, **options: t.Any
    ) -> list[dict[str, t.Any]]:
        await self._ask("GET", f"{path}/")
        return []

    async def _cat_file(
        self, path: str, start: t.Any = None, end: t.Any = None, **options: t.Any
    ) -> bytes:
        headers = {"Range": f"bytes={start or 0}-{'' if end is None else end - 1}"}
        return (await self._ask("GET", path, headers=headers))[1]

    async def _pipe_file(self, path: str, value: bytes, **options: t.Any) -> None:
        await self._ask("PUT", path, data=io.BytesIO(value))

    async def _rm_file(self, path: str, **options: t.Any) -> None:
        await self._ask("DELETE", path)

    async def _cp_file(self, path1: str, path2: str, **options: t.Any) -> None:
        await self._ask("COPY", path1)

    async def _makedirs(self, path: str, exist_ok: bool = False) -> None:
        pass

    def _open(self, path: str, mode: str = "rb", **options: t.Any) -> t.Any:
        return ForeignFile(self, path, mode, block_size=64 * 1024)


class ForeignFile(AbstractBufferedFile):  # type: ignore[misc]
    """One of its files."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        return t.cast(bytes, self.fs.cat_file(self.path, start, end))

    def _upload_chunk(self, final: bool = False) -> bool:
        if final:
            self.fs.pipe_file(self.path, self.buffer.getvalue())
        return final


fsspec.register_implementation("foreign", Foreign, clobber=True)


class Everything:
    """A container of all that there is."""

    def __contains__(self, value: object) -> bool:
        return True


class Protocol(t.NamedTuple):
    """How a store is made on the server, and what its answers can tell.

    :param words: the words of the server.
    :param settings: of the store, from the address of the server.
    """

    words: str
    settings: Callable[[str], dict[str, t.Any]]
    read_only: bool = False


def _s3(**config: t.Any) -> Callable[[str], dict[str, t.Any]]:
    def settings(url: str) -> dict[str, t.Any]:
        return {
            "STORE_PATH": "s3://bucket",
            "STORE_S3_CONDITIONAL_WRITES": True,
            "STORE_S3_ENDPOINT_URL": url,
            "STORE_S3_ACCESS_KEY": "key",
            "STORE_S3_SECRET_KEY": "secret",
            "STORE_OPTIONS": {"config_kwargs": config},
        }

    return settings


def _azure(url: str) -> dict[str, t.Any]:
    connection = f"AccountName=devstoreaccount1;AccountKey={KEY};"
    connection += f"BlobEndpoint={url}/devstoreaccount1;"
    return {
        "STORE_PATH": "abfs://bucket",
        "STORE_OPTIONS": {"connection_string": connection},
    }


PROTOCOLS = {
    "s3": Protocol("s3", _s3()),
    # Whatever is not ordinary is left to s3fs.
    "s3fs": Protocol("s3", _s3(tcp_keepalive=True)),
    "google": Protocol(
        "google",
        lambda url: {
            "STORE_PATH": "gs://bucket",
            "STORE_OPTIONS": {"endpoint_url": url},
        },
    ),
    "azure": Protocol("azure", _azure),
    "webdav": Protocol(
        "webdav",
        lambda url: {
            "STORE_PATH": f"webdav+{url}/files",
            "STORE_OPTIONS": {"verify": False},  # or it reads all certificates again
        },
    ),
    "http": Protocol("http", lambda url: {"STORE_PATH": f"{url}/files"}, True),
    "foreign": Protocol(
        "http",
        lambda url: {"STORE_PATH": "foreign://files", "STORE_OPTIONS": {"url": url}},
    ),
}


class Bench:
    """A store on the server, and an application that serves it."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.server = StatusServer(protocol.words)

    def __enter__(self) -> t.Self:
        self.server.__enter__()
        self.app = Flask(__name__)
        self.app.config.update(
            SECRET_KEY="of the tests",
            STORE_SERVE="proxy",
            **self.protocol.settings(self.server.url),
        )
        self.store = t.cast(FsspecStore, Store(self.app).Provider())
        self.disk = FsspecStore.from_url("memory://statuses")
        self.disk.put("b.bin", b"b", "overwrite")
        return self

    def __exit__(self, *exc_info: object) -> None:
        fs = self.store.raw_fs
        if isinstance(fs, Foreign) and fs._session is not None:
            ioloop.run(fs.loop, fs._session.close)
        self.server.__exit__(*exc_info)


def _drained(pieces: t.Iterable[bytes]) -> int:
    return sum(map(len, pieces))


def _sync(source: FsspecStore, target: FsspecStore) -> None:
    for outcome in Sync(source, target, Journal(None), overwrite=True).run():
        if outcome.status == "failed":
            raise Failed(outcome.reason)


def _presigned(bench: Bench) -> t.Any:
    return bench.store.presign_upload("new.bin", max_size=9)


class Failed(Exception):
    """A file that sync could not copy."""


#: What a store does that reads.
READING: dict[str, Callable[[Bench], t.Any]] = {
    "read": lambda b: b.store.read("a.bin"),
    "stream": lambda b: _drained(b.store.stream("a.bin")),
    "range": lambda b: _drained(b.store.stream("a.bin", 5, 10)),
    "open": lambda b: b.store.open("a.bin").close(),
    "exists": lambda b: b.store.exists("a.bin"),
    "stat": lambda b: b.store.stat("a.bin"),
    "ls": lambda b: list(b.store.ls()),
    "folder": lambda b: len(b.store.ls(recursive=False)),
    "first page": lambda b: b.store.ls().first_page(),
    "usage": lambda b: b.store.usage(),
    "sync from it": lambda b: _sync(b.store, b.disk),
}
#: What it does that writes. These are tried once more while only the requests that
#: change something are refused.
WRITING: dict[str, Callable[[Bench], t.Any]] = {
    "save": lambda b: b.store.save(b"x", "new.bin"),
    "save, large": lambda b: b.store.save(DATA, "new.bin"),
    "put": lambda b: b.store.put("new.bin", b"x"),
    "overwrite": lambda b: b.store.save(b"x", "a.bin", "overwrite"),
    "copy": lambda b: b.store.copy("a.bin", "new.bin"),
    "move": lambda b: b.store.move("a.bin", "new.bin"),
    "delete": lambda b: b.store.delete("a.bin"),
    "sweep": lambda b: b.store.sweep(),
    "confirm": lambda b: b.store.confirm(_presigned(b).token),
    "sync to it": lambda b: _sync(b.disk, b.store),
}


#: Of the last ones, what changes nothing here, or does not get so far.
READS_FIRST = ("sweep", "confirm", "sync to it")


@contextlib.contextmanager
def opened(bench: Bench) -> Iterator[Callable[[], bytes]]:
    """A file of which a part has been read; the result reads another one."""
    with bench.store.open("a.bin") as file:
        file.read(10)

        def read() -> bytes:
            file.seek(1_000_000)
            return file.read(200_000)

        yield read


# -- what is expected ----------------------------------------------------------

#: The object stores, which say of every answer that it is theirs.
OBJECTS = {"s3", "s3fs", "google", "azure"}
#: The statuses by which they say that a condition is not met, and operations that send
#: one: the name has to be free.
TAKEN = {"s3": (409, 412), "s3fs": (409, 412), "google": (412,), "azure": (409,)}
NAMING = ("save", "save, large", "put", "copy", "move")
#: Operations whose file has no place then, if nothing is there.
PLACING = (*NAMING[:3], "overwrite")
#: What S3 answers who has seen the bucket before, by HEAD.
LOOKED = dict.fromkeys(
    ("s3", "s3fs"),
    {
        "exists": (False,),
        **dict.fromkeys(("stat", "copy", "move", "delete", "confirm"), (FileNotFound,)),
    },
)
LISTING = ("ls", "folder", "first page", "usage", "sync from it")


def expected(
    name: str, operation: str, reply: Reply, changes: bool
) -> t.Container[t.Any]:
    """The classes of the error, or what is returned.

    :param changes: whether only requests that change something are refused.
    """
    found = error_of(reply.status)
    if found is FileNotFound:
        return missing(name, operation, reply, changes)
    if name in ("http", "foreign") and reply.status == 200:
        return Everything()  # any page may be a file
    if name == "webdav" and reply.status == 409:
        # There is no folder for the file.
        return StoreError, *((Failed,) if operation == "sync to it" else ())
    if operation == "opened" and reply.status in (412, 416):
        return VersionGone, StoreUnavailable, StoreError  # of a part, and of a version
    if changes and operation in ("copy", "move") and reply.status in (409, 412):
        # Of the two conditions of a copy it may be either, and the try whether the
        # server keeps them has none.
        return FileExists, VersionGone, found
    if changes and operation in NAMING and reply.status in TAKEN.get(name, ()):
        return (FileExists,)
    return (found,)


def missing(
    name: str, operation: str, reply: Reply, changes: bool
) -> t.Container[t.Any]:
    """The same for an answer that nothing is there."""
    if name in OBJECTS and reply.by == "page":
        return (StoreUnavailable,)
    if name in OBJECTS:
        # Not even a bucket is there. HEAD of S3 does not tell, and the store asks for
        # the bucket once.
        return NotConfiguredError, *LOOKED.get(name, {}).get(operation, ())
    if operation in PLACING or (changes and operation in ("copy", "move")):
        return (StoreError,)
    if operation in LISTING and name == "http":
        return (StoreUnavailable,)
    if operation in ("sweep", *LISTING) and name == "webdav":
        return Everything()  # the folder of the store comes with the first save
    if operation == "sync to it":
        # Of WebDAV the folder may have been seen before.
        return StoreError, Failed, FileNotFound, StoreUnavailable
    if operation == "confirm":
        return FileNotFound, StoreError  # there is no upload, or no place for a mark
    return (False,) if operation == "exists" else (FileNotFound,)


# -- the tests -----------------------------------------------------------------


class Changes:
    """The methods that change something."""

    def __contains__(self, method: object) -> bool:
        return method not in READS


@pytest.fixture(scope="module")
def benches() -> Iterator[dict[str, Bench]]:
    """A store of each protocol, and no pause before anything is tried again."""
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(gcs_http, "PAUSE", 0)
        patch.setattr(ExponentialBackoff, "delay_amount", lambda *args: 0)
        patch.setattr(ExponentialRetry, "get_backoff_time", lambda *args: 0)
        yield {
            name: stack.enter_context(Bench(protocol))
            for name, protocol in PROTOCOLS.items()
        }


def words(name: str, reply: Reply) -> Reply:
    """A reply in the words of a storage."""
    if reply.status == 404 and reply.by == "storage":
        return reply._replace(**NO_BUCKET.get(PROTOCOLS[name].words, {}))
    return reply


def outcome(act: Callable[[], t.Any]) -> t.Any:
    """The class of the StoreError, or what is returned; another error as it is."""
    try:
        return act()
    except StoreError as exc:
        return type(exc)
    except Failed:
        return Failed
    except Exception as exc:
        return exc


ALL = {**READING, **WRITING}


def operations(name: str) -> list[str]:
    """What a store of this protocol does."""
    if PROTOCOLS[name].read_only:
        return [*READING]
    # A filesystem of somebody else cannot create a file in one step.
    return [operation for operation in ALL if (name, operation) != ("foreign", "put")]


CASES = [(name, operation) for name in PROTOCOLS for operation in operations(name)]


@pytest.mark.parametrize(("name", "operation"), CASES)
def test_status(benches: dict[str, Bench], name: str, operation: str) -> None:
    """Whatever is answered to every request, or to every one that changes something,
    the error has the class of the table."""
    bench, wrong = benches[name], []
    again = operation in WRITING and operation not in READS_FIRST
    for reply in REPLIES:
        for changes in (False, True) if again else (False,):
            methods = Changes() if changes else Everything()
            with (
                bench.app.app_context(),
                bench.server.armed(words(name, reply), methods),
            ):
                found = outcome(partial(ALL[operation], bench))
            wanted = expected(name, operation, reply, changes)
            if found not in wanted:
                wrong.append(f"{reply.status} by {reply.by}, {changes=}: {found!r}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_status_while_a_file_is_read(benches: dict[str, Bench], name: str) -> None:
    """It comes with the next part of an opened file."""
    bench, wrong = benches[name], []
    for reply in REPLIES:
        with (
            bench.app.app_context(),
            opened(bench) as read,
            bench.server.armed(words(name, reply), Everything()),
        ):
            found = outcome(read)
        wanted = expected(name, "opened", reply, False)
        if found not in wanted:
            wrong.append(f"{reply.status} by {reply.by}: {found!r}")
    assert not wrong, "\n".join(wrong)


# -- the route -----------------------------------------------------------------

#: What is asked of the route, as the method and the headers.
ASKED = {
    "GET": ("GET", {}),
    "HEAD": ("HEAD", {}),
    "a part": ("GET", {"Range": "bytes=5-9"}),
    "a condition": ("GET", {"If-None-Match": '"x"'}),
    "an upload": ("POST", {}),
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("name", PROTOCOLS)
def test_route(
    benches: dict[str, Bench], caplog: pytest.LogCaptureFixture, name: str, asked: str
) -> None:
    """It answers with the status of the table and tells the log once. 503 has
    Retry-After."""
    bench, wrong = benches[name], []
    method, headers = ASKED[asked]
    address = "/" + bench.store.relative_url("a.bin")
    if method == "POST":
        if bench.store.upload_prefix is None:
            pytest.skip("the application takes no uploads")
        with bench.app.app_context():
            address = _presigned(bench).url
    operation = {"HEAD": "stat", "a condition": "stat", "an upload": "save"}.get(
        asked, "read"
    )
    for reply in REPLIES:
        data = {"file": (io.BytesIO(b"x"), "a.bin")} if method == "POST" else None
        caplog.clear()
        with bench.server.armed(words(name, reply), Everything()):
            got = bench.app.test_client().open(
                address, method=method, headers=headers, data=data
            )
        errors = expected(name, operation, reply, False)
        if isinstance(errors, Everything):
            continue
        wanted = {ROUTE[error] for error in t.cast("tuple[type, ...]", errors)}
        lines = [r for r in caplog.records if r.name.startswith("flask_store")]
        again = got.headers.get("Retry-After") is not None
        if (
            got.status_code not in wanted
            or again != (got.status_code == 503)
            or len(lines) != (got.status_code != 404)
            or got.headers["Cache-Control"] != "no-store"
        ):
            wrong.append(f"{reply}: {got.status}, {again=}, {lines}")
        got.close()
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_missing_file(benches: dict[str, Bench], name: str) -> None:
    """A file that is not there, in a bucket that is, is 404."""
    bench = benches[name]
    with bench.app.app_context():
        assert not bench.store.exists("none.txt")
        with pytest.raises(FileNotFound):
            bench.store.read("none.txt")
    got = bench.app.test_client().get("/" + bench.store.relative_url("none.txt"))
    assert got.status_code == 404


# -- what S3 says by codes -----------------------------------------------------

LISTS = "not authorized to perform: s3:ListBucket on resource: bucket"
READS_IT = "not authorized to perform: s3:GetObject on resource: bucket/a.bin"

#: A status, its code and message, and the class for it, whichever the operation.
CODES = [
    (503, "SlowDown", "", StoreUnavailable),
    (503, "ServiceUnavailable", "", StoreUnavailable),
    (429, "TooManyRequests", "", StoreUnavailable),
    (400, "RequestTimeout", "", StoreUnavailable),
    (400, "ThrottlingException", "", StoreUnavailable),
    (409, "OperationAborted", "", StoreUnavailable),
    (500, "InternalError", "", StoreUnavailable),
    (400, "ExpiredToken", "", StoreDenied),
    (403, "InvalidAccessKeyId", "", StoreDenied),
    (403, "RequestTimeTooSkewed", "", StoreDenied),
    (403, "AccessDenied", READS_IT, StoreDenied),
    (403, "QuotaExceeded", "", StoreFull),
    (400, "KeyTooLongError", "", InvalidName),
    (400, "AuthorizationHeaderMalformed", "", NotConfiguredError),
    (301, "PermanentRedirect", "", NotConfiguredError),
    (501, "NotImplemented", "", StoreError),
]


@pytest.mark.parametrize("name", ["s3", "s3fs"])
@pytest.mark.parametrize(("status", "code", "message", "error"), CODES)
def test_code_of_s3(
    benches: dict[str, Bench],
    name: str,
    status: int,
    code: str,
    message: str,
    error: type[StoreError],
) -> None:
    """The code of S3 tells more than the status. HEAD has none, and GET is asked."""
    bench, reply = benches[name], Reply(status, code=code, message=message)
    with bench.server.armed(reply, Everything()):
        for operation in ("save", "read", "exists", "stat", "delete", "ls"):
            assert outcome(partial(ALL[operation], bench)) is error, operation


@pytest.mark.parametrize("name", ["s3", "s3fs"])
def test_redirect_to_nowhere(benches: dict[str, Bench], name: str) -> None:
    """A 301 without a region would send botocore from request to request, until Python
    stops it. It asks for the region once."""
    bench = benches[name]
    for status in (301, 302, 307):
        with bench.server.armed(Reply(status), Everything()):
            before = len(bench.server.seen)
            for operation in ("save", "read", "exists", "ls"):
                found = outcome(partial(ALL[operation], bench))
                assert found is StoreUnavailable, (status, operation)
            assert len(bench.server.seen) - before <= 20


@pytest.mark.parametrize("name", ["s3", "s3fs"])
def test_key_that_may_not_list(benches: dict[str, Bench], name: str) -> None:
    """Amazon S3 answers 403 for a missing file to who may not list the bucket, and says
    so to GET. A file that may not be read is refused."""
    bench, missing = benches[name], Reply(403, code="AccessDenied", message=LISTS)
    with bench.server.armed(missing, READS):
        assert not bench.store.exists("a.bin")
        assert outcome(lambda: bench.store.read("a.bin")) is FileNotFound
        assert outcome(lambda: bench.store.open("a.bin")) is FileNotFound
        assert outcome(lambda: bench.store.delete("a.bin")) is FileNotFound
        address = "/" + bench.store.relative_url("a.bin")
        assert bench.app.test_client().get(address).status_code == 404
        assert outcome(lambda: list(bench.store.ls())) is StoreDenied


@pytest.mark.parametrize("name", ["s3", "s3fs"])
def test_head_that_is_refused(benches: dict[str, Bench], name: str) -> None:
    """A server that answers GET and no HEAD has its files nevertheless."""
    bench = benches[name]
    for status in (400, 403):
        with bench.server.armed(Reply(status), ("HEAD",)):
            assert bench.store.stat("a.bin").size == len(DATA)
            assert bench.store.exists("a.bin")
            assert not bench.store.exists("none.bin")


# -- the table -----------------------------------------------------------------


def test_rules_are_the_dialects() -> None:
    """The table says what the one function for all clients says."""
    for rule in RULES:
        assert {error_class(status) for status in rule.statuses} == {rule.error}
