"""An answer of S3 counts only if it is S3's own, whole, in time and to the question."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import pathlib
import time
import typing as t
from collections.abc import Callable
from collections.abc import Mapping
from types import MappingProxyType

import pytest
from botocore.retries.standard import ExponentialBackoff
from flask_sqlalchemy import SQLAlchemy

from flask_store.concurrency import ioloop
from flask_store.dialects import extents
from flask_store.dialects import s3 as s3_dialect
from flask_store.dialects.bodies import Span
from flask_store.dialects.claims import Claim
from flask_store.dialects.errors import NoAnswer
from flask_store.exceptions import FileExists
from flask_store.exceptions import FileNotFound
from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import StoreDenied
from flask_store.exceptions import StoreError
from flask_store.exceptions import StoreFull
from flask_store.exceptions import StoreUnavailable
from flask_store.exceptions import VersionGone
from flask_store.sqla import orphans
from flask_store.sqla import StoredFile
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.s3 import S3Store
from flask_store.sync import Journal
from flask_store.sync import Sync
from flask_store.views.table import visible
from tests.local.test_cli import application
from tests.local.test_cli import Shell
from tests.storages.test_s3 import settings
from tests.support.fake_s3 import Answer
from tests.support.fake_s3 import answer
from tests.support.fake_s3 import error
from tests.support.fake_s3 import FakeS3
from tests.support.fake_s3 import healthy
from tests.support.fake_s3 import Request
from tests.support.servers import S3Server

DATA = b"only copy " * 5_000
PAGE = b"<!doctype html><title>Sign in</title><br>Who are you?"
XHTML = b"<html><head><title>Sign in</title></head><body>Who?</body></html>"
#: More than an operation may take at all here, on a machine that is busy.
LONG = 15


#: Options of botocore that leave nothing to the direct way.
S3FS = {"tcp_keepalive": True}


@pytest.fixture(scope="module")
def server() -> t.Iterator[FakeS3]:
    """One for all tests of this file."""
    with FakeS3() as running, pytest.MonkeyPatch.context() as patch:
        # botocore waits up to a second before it tries again.
        patch.setattr(ExponentialBackoff, "delay_amount", lambda *args: 0)
        yield running


@pytest.fixture
def s3(server: FakeS3) -> FakeS3:
    """It has one object, and is right."""
    server.spoil = healthy
    server.objects = {"a.bin": (DATA, {})}
    return server


def connect(
    s3: FakeS3, more: Mapping[str, t.Any] = MappingProxyType({}), **settings: t.Any
) -> S3Store:
    """A store on this server that does not wait for long."""
    config = {"read_timeout": 1.2, "connect_timeout": 1, **more}
    store = S3Store.from_config(
        {
            "STORE_S3_ENDPOINT_URL": s3.url,
            "STORE_S3_REGION": "us-east-1",
            "STORE_S3_BUCKET": "bucket",
            "STORE_S3_ACCESS_KEY": "key",
            "STORE_S3_SECRET_KEY": "secret",
            "STORE_S3_CONDITIONAL_WRITES": True,
            "STORE_S3_OPTIONS": {"config_kwargs": config},
            **settings,
        }
    )
    # Making a client of botocore takes its time.
    ioloop.run(store.raw_fs.loop, store.dialect.loop._client)  # type: ignore[attr-defined]
    return store


@pytest.fixture(scope="module", params=[{}, S3FS], ids=["direct", "s3fs"])
def way(server: FakeS3, request: pytest.FixtureRequest) -> S3Store:
    """Each of the two ways."""
    return connect(server, request.param)


@pytest.fixture
def store(s3: FakeS3, way: S3Store) -> S3Store:
    """One of the two ways, to a server that is healthy so far."""
    way.dialect.conditional = True  # type: ignore[attr-defined]
    return way


def opened(store: FsspecStore) -> bytes:
    """What an opened file holds."""
    with store.open("a.bin") as file:
        return t.cast(bytes, file.read())


READS: dict[str, Callable[[FsspecStore], object]] = {
    "read": lambda store: store.read("a.bin"),
    "stat": lambda store: store.stat("a.bin").size,
    "open": opened,
    "stream": lambda store: b"".join(store.stream("a.bin")),
    "range": lambda store: b"".join(store.stream("a.bin", 5, 100)),
    "copy": lambda store: store.copy("a.bin", "copy.bin"),
    "move": lambda store: store.move("a.bin", "moved.bin"),
    "delete": lambda store: store.delete("a.bin"),
}


def looks(request: Request) -> bool:
    """Whether a file is looked at or read."""
    return request.method in ("GET", "HEAD") and bool(request.key)


@pytest.mark.parametrize("cut", [3, 15, 17, 30, -40, -4, -3, -1])
def test_head_that_breaks_off_is_no_answer(
    s3: FakeS3, store: S3Store, cut: int
) -> None:
    """Wherever it does, no file is taken for an empty one, and none is deleted."""
    s3.spoil = lambda request, right: looks(request) and [right.head[:cut]] or None
    for act in READS.values():
        with pytest.raises(StoreUnavailable):
            act(store)
    assert {key: data for key, (data, _) in s3.objects.items()} == {"a.bin": DATA}


@pytest.mark.parametrize("cut", [15, 30, -1])
def test_s3fs_asks_again_after_a_broken_head(s3: FakeS3, cut: int) -> None:
    """The direct way has no answer then; nobody notices."""
    store = connect(s3)
    for name in ("read", "stat", "open", "stream", "move"):
        s3.spoil = s3.once(
            lambda request, right: looks(request) and [right.head[:cut]] or None
        )
        found = READS[name](store)
        assert found in (DATA, len(DATA)) or name == "move"
    assert {key: data for key, (data, _) in s3.objects.items()} == {"moved.bin": DATA}


@pytest.mark.parametrize("framing", ["chunked", "close", "none", "wrong"])
def test_length_that_is_not_given_is_no_answer(
    s3: FakeS3, store: S3Store, framing: str
) -> None:
    """A gateway that packs bodies in chunks may cut them just as well."""

    def spoil(request: Request, right: Answer) -> list[bytes] | None:
        if not looks(request):
            return None
        bare, body = right.without("Content-Length"), right.body
        if framing == "chunked":
            chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b""
            return [bare.having("Transfer-Encoding: chunked").head + chunks]
        if framing == "close":
            return [bare.having("Connection: close").raw]
        said = "many" if framing == "wrong" else ""
        return [bare.having(f"Content-Length: {said}").raw]

    s3.spoil = spoil
    for act in READS.values():
        with pytest.raises(StoreUnavailable):
            act(store)
    assert {key: data for key, (data, _) in s3.objects.items()} == {"a.bin": DATA}


@pytest.mark.parametrize(
    "reply",
    [
        answer("200 OK", PAGE, "Content-Type: text/html"),
        answer("200 OK", b"", "Content-Type: text/plain"),
        answer("200 OK", b"{}", "Content-Type: application/json"),
    ],
    ids=["page", "empty", "json"],
)
def test_page_is_no_file(s3: FakeS3, store: S3Store, reply: Answer) -> None:
    """A login page answers every request with 200, but not with an ETag."""

    def spoil(request: Request, right: Answer) -> list[bytes]:
        return [reply.head if request.method == "HEAD" else reply.raw]

    s3.spoil = spoil
    for act in READS.values():
        with pytest.raises(StoreUnavailable):
            act(store)


def test_header_that_is_none_is_no_answer(s3: FakeS3, store: S3Store) -> None:
    """botocore raises a ValueError, which would be nobody's."""
    s3.spoil = lambda request, right: [
        right.having("Last-Modified: yesterday", "x-amz-meta-a: \xff").raw
    ]
    try:
        assert store.stat("a.bin").modified is None
    except StoreUnavailable as exc:
        assert not isinstance(exc, KeyError | ValueError)


def test_other_version_than_the_one_looked_at(s3: FakeS3, store: S3Store) -> None:
    """A server that does not know If-Match gives the new one."""
    found = store.stat("a.bin")
    s3.objects["a.bin"] = DATA[::-1], {}
    with pytest.raises(VersionGone):
        b"".join(store.stream_version(found, 0, found.size))


def test_two_sizes_of_one_version_are_no_answer(s3: FakeS3, store: S3Store) -> None:
    """Somebody cut the first answer, its length included; the second one tells."""
    half = DATA[: len(DATA) // 2]

    def spoil(request: Request, right: Answer) -> list[bytes]:
        if "range" not in request.headers:
            return [answer("200 OK", half, right.lines[1]).raw]
        part = f"Content-Range: bytes 10-99/{len(DATA)}"
        return [answer("206 Part", DATA[10:100], right.lines[1], part).raw]

    s3.spoil = spoil
    found = store.fetch("a.bin")
    assert found is not None
    found.body.close()
    with pytest.raises(StoreUnavailable, match="of one version"):
        b"".join(store.stream_version(found.found, 10, 100))


# -- in time -----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("part", ["head", "body"])
def test_answer_that_trickles_is_given_up(
    s3: FakeS3, store: S3Store, part: str
) -> None:
    """Each byte comes in time, and the answer does not."""

    def spoil(request: Request, right: Answer) -> t.Iterator[bytes]:
        begin = len(right.head) if part == "body" else 0
        yield right.raw[:begin]
        yield from s3.slowly(right.raw[begin:], 0.1)

    s3.spoil = spoil
    acts = [READS["read"], READS["open"], READS["stream"], lambda at: list(at.ls())]
    if part == "head":
        acts += [
            READS["stat"],
            READS["delete"],
            lambda at: at.save(b"x", "b.bin"),
            lambda at: at.put("b.bin", b"x", "overwrite"),
        ]
    for act in acts:
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable):
            act(store)
        assert time.monotonic() - begun < LONG


def test_answer_that_is_slow_and_moves_is_read(s3: FakeS3, store: S3Store) -> None:
    """The limit is one for each part of a body, and not for all of it."""
    data = os.urandom(6 * 64 * 1024)
    s3.objects["a.bin"] = data, {}

    def spoil(request: Request, right: Answer) -> t.Iterator[bytes]:
        yield right.head
        for start in range(0, len(data), 32 * 1024):
            yield data[start : start + 32 * 1024]
            s3.over.wait(0.1)

    s3.spoil = spoil
    assert store.read("a.bin") == data
    assert b"".join(store.stream("a.bin")) == data


@pytest.mark.parametrize("size", [1, 3 * 1024**2])
def test_put_that_is_not_answered_is_waited_for_once(
    s3: FakeS3, store: S3Store, size: int
) -> None:
    """botocore would send the body again."""
    s3.spoil = lambda request, right: s3.silence()
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable, match="did not answer in time"):
        store.save(bytes(size), "b.bin")
    assert time.monotonic() - begun < LONG


# -- in the middle of a body -------------------------------------------------


def test_body_that_breaks_off_is_a_store_error(s3: FakeS3, store: S3Store) -> None:
    """Also while an opened file is read, and of a file that is copied."""
    data = os.urandom(3 * 1024**2)
    s3.objects["a.bin"] = data, {}

    def spoil(request: Request, right: Answer) -> list[bytes] | None:
        return [right.head + data[: 2 * 1024**2]] if right.body else None

    s3.spoil = spoil
    for act in (READS["read"], READS["open"], READS["stream"], READS["copy"]):
        with pytest.raises(StoreUnavailable):
            act(store)
    assert list(s3.objects) == ["a.bin"]


def test_body_that_stands_still_is_a_store_error(s3: FakeS3, store: S3Store) -> None:
    """The error of the library is none of the store's."""
    data = os.urandom(3 * 1024**2)
    s3.objects["a.bin"] = data, {}

    def spoil(request: Request, right: Answer) -> t.Iterator[bytes]:
        yield right.head + data[: 2 * 1024**2]
        s3.over.wait()

    s3.spoil = spoil
    with store.open("a.bin") as file, pytest.raises(StoreUnavailable):
        while file.read(100_000):
            pass
    with pytest.raises(StoreUnavailable):
        b"".join(store.stream("a.bin"))


# -- a write is done on its own answer ---------------------------------------

FALSE = {
    "page": answer("200 OK", PAGE, "Content-Type: text/html"),
    "page with an ETag": answer("200 OK", PAGE, 'ETag: "page"'),
    "xhtml": answer("200 OK", XHTML, "Content-Type: text/html"),
    "empty": answer("200 OK", b"", "Content-Type: text/plain"),
    "bare": answer("200 OK"),
    "json": answer("200 OK", b"{}", "Content-Type: application/json"),
}


def lost_puts(s3: FakeS3, reply: Answer) -> dict[str, t.Any]:
    """Let every PUT have this answer and no effect.

    :return: the objects, which stay as they are.
    """
    before = dict(s3.objects)

    def spoil(request: Request, right: Answer) -> list[bytes] | None:
        if request.method != "PUT":
            return None
        s3.objects = dict(before)
        return [reply.raw]

    s3.spoil = spoil
    return before


@pytest.mark.parametrize("on_conflict", ["error", "overwrite"])
@pytest.mark.parametrize("reply", FALSE.values(), ids=FALSE)
def test_put_that_somebody_else_answers_is_not_done(
    s3: FakeS3, store: S3Store, reply: Answer, on_conflict: t.Any
) -> None:
    """The object never got there: the name holds what it held."""
    before = lost_puts(s3, reply)
    name = "a.bin" if on_conflict == "overwrite" else "b.bin"
    with pytest.raises(StoreUnavailable):
        store.put(name, b"new", on_conflict)
    with pytest.raises(StoreUnavailable):
        store.move("a.bin", "b.bin", on_conflict)
    assert s3.objects == before


@pytest.mark.parametrize("keeps", [True, False])
def test_put_whose_answer_lost_its_etag_is_looked_at(
    s3: FakeS3, store: S3Store, keeps: bool
) -> None:
    """The object is there, with our token or else with our bytes."""

    def spoil(request: Request, right: Answer) -> list[bytes] | None:
        if request.method != "PUT":
            return None
        if not keeps:
            s3.objects[request.key] = request.body, {}
        return [right.without("ETag").raw]

    s3.spoil = spoil
    assert store.put("b.bin", b"new", "overwrite").read() == b"new"
    assert store.save(b"more", "c.bin").read() == b"more"


@pytest.mark.parametrize("status", ["409 Conflict", "412 Precondition Failed"])
def test_overwrite_that_is_refused_is_not_done(
    s3: FakeS3, store: S3Store, status: str
) -> None:
    """A condition that was not set cannot have been missed; the old file is there."""
    before = lost_puts(s3, error(status, "OperationAborted"))
    with pytest.raises(StoreUnavailable):
        store.put("a.bin", b"new", "overwrite")
    assert s3.objects == before


@pytest.mark.parametrize("status", ["200 OK", "202 Accepted"])
def test_deletion_that_somebody_else_answers_is_not_done(
    s3: FakeS3, store: S3Store, status: str
) -> None:
    """S3 says 204; whoever says anything else is not believed without a look."""
    kept = dict(s3.objects)

    def spoil(request: Request, right: Answer) -> list[bytes] | None:
        if request.method != "DELETE":
            return None
        s3.objects = dict(kept)
        return [answer(status).raw]

    s3.spoil = spoil
    with pytest.raises(StoreUnavailable):
        store.delete("a.bin")
    kept.clear()
    s3.objects["a.bin"] = DATA, {}
    store.delete("a.bin")
    assert not store.exists("a.bin")


@pytest.mark.parametrize("lost", ["answer", "error", "head"])
def test_probe_whose_first_answer_is_lost(
    s3: FakeS3, store: S3Store, lost: str
) -> None:
    """It is sent again and refused, which proves that the server honours conditions."""

    def spoil(request: Request, right: Answer) -> list[bytes] | None:
        if request.method != "PUT":
            return None
        if lost == "error":
            return [error("500 Internal Server Error", "InternalError").raw]
        return [right.head[:20] if lost == "head" else b""]

    s3.spoil = s3.once(spoil)
    store.dialect.conditional = "auto"  # type: ignore[attr-defined]
    assert store.save(b"x", "b.bin").filename == "b.bin"
    assert sorted(s3.objects) == ["a.bin", "b.bin"]
    with pytest.raises(FileExists):
        store.put("b.bin", b"y")


@pytest.mark.parametrize("reply", ["page", "bare"])
@pytest.mark.parametrize("number", [None, 0, 1])
def test_probe_that_somebody_else_answers_is_no_answer(
    s3: FakeS3, store: S3Store, reply: str, number: int | None
) -> None:
    """It must not be remembered that the server ignores conditions."""
    numbers = itertools.count()

    def spoil(request: Request, right: Answer) -> list[bytes] | None:
        if number is None or (request.method == "PUT" and next(numbers) >= number):
            if number == 0:
                s3.objects.pop(request.key, None)
            return [FALSE[reply].raw]
        return None

    s3.spoil = spoil
    store.dialect.conditional = "auto"  # type: ignore[attr-defined]
    with pytest.raises(StoreUnavailable):
        store.save(b"x", "b.bin")
    s3.spoil = healthy
    assert store.save(b"x", "b.bin").filename == "b.bin"


#: The answers to an upload in parts, by the method and whether it begins.
PARTS = {
    ("POST", True): answer(
        "200 OK",
        b"<InitiateMultipartUploadResult><UploadId>1</UploadId>"
        b"</InitiateMultipartUploadResult>",
    ),
    ("PUT", False): answer("200 OK", b"", 'ETag: "1"'),
    ("POST", False): answer(
        "200 OK",
        b"<CompleteMultipartUploadResult><ETag>1-2</ETag>"
        b"</CompleteMultipartUploadResult>",
    ),
}


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """5 GiB, in the size of a test."""
    monkeypatch.setattr(s3_dialect, "SINGLE_LIMIT", 1000)
    monkeypatch.setattr(s3_dialect, "PART_SIZE", 30_000)


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("step", PARTS)
@pytest.mark.parametrize("reply", FALSE.values(), ids=FALSE)
def test_part_that_somebody_else_answers_is_not_done(
    s3: FakeS3, store: S3Store, reply: Answer, step: tuple[str, bool]
) -> None:
    """Neither the beginning, nor a part, nor the end of an upload in parts."""

    def spoil(request: Request, right: Answer) -> list[bytes] | None:
        asked = request.method, "uploads" in request.query
        if asked not in PARTS:
            return None
        return [(reply if asked == step else PARTS[asked]).raw]

    s3.spoil = spoil
    with pytest.raises(StoreUnavailable):
        store.put("b.bin", DATA, "overwrite")
    assert s3.objects["a.bin"] == (DATA, {})


# -- a listing ---------------------------------------------------------------


def listing(inner: str) -> Answer:
    """One with something in it."""
    body = f"<ListBucketResult>{inner}</ListBucketResult>".encode()
    return answer("200 OK", body, "Content-Type: application/xml")


MORE = "<IsTruncated>true</IsTruncated>"
LISTINGS = {
    **FALSE,
    "nothing said": listing("<Name>bucket</Name>"),
    "more, nowhere": listing(MORE),
    "more, in a circle": listing(
        f"{MORE}<NextContinuationToken>x</NextContinuationToken>"
    ),
    "of another folder": listing(
        "<IsTruncated>false</IsTruncated><Contents><Key>other</Key>"
        "<Size>1</Size></Contents>"
    ),
    "without sizes": listing(
        "<IsTruncated>false</IsTruncated><Contents><Key>up/a</Key></Contents>"
    ),
    "cut": listing("<IsTruncated>false</IsTruncated>")._replace(body=b"<ListB"),
}


@pytest.fixture(scope="module")
def below(server: FakeS3) -> S3Store:
    """A store in a folder of the bucket."""
    return connect(server, STORE_PATH="/up")


@pytest.mark.parametrize("reply", LISTINGS.values(), ids=LISTINGS)
def test_listing_that_is_none_deletes_no_backup(
    s3: FakeS3, below: S3Store, tmp_path: pathlib.Path, reply: Answer
) -> None:
    """An empty answer is no empty folder."""
    store = below
    backup = FsspecStore.from_url(str(tmp_path))
    backup.put("a.bin", DATA)
    s3.spoil = lambda request, right: None if request.key else [reply.raw]
    for ask in (lambda: list(store.ls()), store.usage):
        with pytest.raises(StoreUnavailable):
            ask()
    with pytest.raises(StoreUnavailable):
        list(Sync(store, backup, Journal(None), delete=True).run())
    assert backup.read("a.bin") == DATA


# -- errors ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (error("500 Internal Server Error", "InternalError"), StoreUnavailable),
        (error("503 Service Unavailable", "SlowDown"), StoreUnavailable),
        (error("503 Service Unavailable", "ServiceUnavailable"), StoreUnavailable),
        (error("400 Bad Request", "RequestTimeout"), StoreUnavailable),
        (error("429 Too Many Requests", "Busy"), StoreUnavailable),
        (answer("429 Too Many Requests"), StoreUnavailable),
        (answer("500 Internal Server Error", PAGE), StoreUnavailable),
        (answer("502 Bad Gateway", PAGE), StoreUnavailable),
        (answer("504 Gateway Timeout", XHTML), StoreUnavailable),
        (answer("520 Unknown", PAGE), StoreUnavailable),
        (answer("404 Not Found", PAGE), StoreUnavailable),
        (answer("404 Not Found", XHTML), StoreUnavailable),
        (answer("400 Bad Request", PAGE), StoreError),
        (answer("401 Unauthorized", PAGE), StoreDenied),
        (answer("403 Forbidden", PAGE), StoreDenied),
        (error("403 Forbidden", "AccessDenied"), StoreDenied),
        (error("403 Forbidden", "AccountProblem"), StoreDenied),
        (error("400 Bad Request", "ExpiredToken"), StoreDenied),
        (error("404 Not Found", "NoSuchBucket"), NotConfiguredError),
        (error("507 Insufficient Storage", "Full"), StoreFull),
        (error("400 Bad Request", "InvalidStorageClass"), StoreError),
        (error("501 Not Implemented", "NotImplemented"), StoreError),
        (error("418 I am a teapot", "Teapot"), StoreError),
    ],
    ids=lambda value: value.lines[0][9:12] if isinstance(value, Answer) else None,
)
def test_error_is_a_store_error(
    s3: FakeS3, store: S3Store, reply: Answer, expected: type[Exception]
) -> None:
    """One and the same, whatever was asked and by which way."""
    s3.spoil = lambda request, right: [reply.raw]
    for act in (
        lambda: store.save(b"x", "b.bin"),
        lambda: store.put("b.bin", b"x", "overwrite"),
        lambda: store.read("a.bin"),
        lambda: opened(store),
        lambda: list(store.ls()),
    ):
        with pytest.raises(StoreError) as caught:
            act()
        assert caught.type is expected, caught.value


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("400 Bad Request", StoreError),
        ("403 Forbidden", StoreDenied),
        ("404 Not Found", FileNotFound),
        ("429 Too Many Requests", StoreUnavailable),
        ("500 Internal Server Error", StoreUnavailable),
        ("503 Service Unavailable", StoreUnavailable),
    ],
)
def test_error_without_a_body_is_a_store_error(
    s3: FakeS3, store: S3Store, status: str, expected: type[Exception]
) -> None:
    """HEAD has a status and no more."""

    def spoil(request: Request, right: Answer) -> list[bytes] | None:
        return [answer(status).raw] if request.key else None

    s3.spoil = spoil
    with pytest.raises(StoreError) as caught:
        store.stat("a.bin")
    assert caught.type is expected


def test_bucket_that_may_not_be_looked_at_is_there(s3: FakeS3, store: S3Store) -> None:
    """Keys that may use one prefix only: a missing file is missing, and no error."""

    def spoil(request: Request, right: Answer) -> list[bytes] | None:
        return None if request.key else [answer("403 Forbidden").raw]

    s3.spoil = spoil
    assert store.exists("none.bin") is False
    with pytest.raises(FileNotFound):
        store.read("none.bin")


# -- what an answer tells ----------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "known"),
    [
        ([], True),
        (["x-amz-server-side-encryption: AES256"], True),
        (["x-amz-server-side-encryption: aws:kms"], False),
        (["x-amz-server-side-encryption: aws:kms:dsse"], False),
        (["x-amz-server-side-encryption-customer-algorithm: AES256"], False),
        (['ETag: "0123456789abcdef0123456789abcdef-2"'], False),
        (['ETag: "1"'], False),
    ],
)
def test_checksum_is_told_where_the_etag_is_one(
    s3: FakeS3, store: S3Store, lines: list[str], known: bool
) -> None:
    """And from nothing else."""
    s3.spoil = lambda request, right: (
        [right.having(*lines).raw] if request.key else None
    )
    found = store.stat("a.bin")
    fetched = store.fetch("a.bin")
    assert fetched is not None
    fetched.body.close()
    assert (found.checksum, fetched.found.checksum) == (
        (f"md5:{found.etag}",) * 2 if known else (None, None)
    )
    assert [listed.checksum for listed in store.ls()] == [None]


PART = {"Content-Range": "bytes 5-9/20", "Content-Length": "5"}


def test_part_may_come_with_200() -> None:
    """rclone answers so; the part has to be named, and to have its length."""
    found = extents.extent(200, PART, Span(5, 9))
    assert found == extents.Extent(5, 10, 20)
    whole = extents.extent(200, {"Content-Length": "20"}, Span(5, 9))
    assert whole == extents.Extent(0, 20, 20)
    for headers, span in (
        (PART, None),
        (PART, Span(0, 4)),
        ({**PART, "Content-Length": "20"}, Span(5, 9)),
        ({"Content-Range": PART["Content-Range"]}, Span(5, 9)),
    ):
        with pytest.raises(NoAnswer):
            extents.extent(200, headers, span)


# -- what a form has uploaded ------------------------------------------------

CLAIM = Claim("b.bin", "", "id", "text/plain", 100, 2_000_000_000)


@pytest.mark.parametrize("reply", FALSE.values(), ids=FALSE)
def test_copy_that_somebody_else_answers_is_not_made(
    s3: FakeS3, store: S3Store, reply: Answer
) -> None:
    """The upload stays where it is, to be confirmed again."""
    s3.spoil = lambda request, right: (
        [reply.raw] if "x-amz-copy-source" in request.headers else None
    )
    with pytest.raises(StoreUnavailable), store.dialect.explained("b.bin"):
        store.dialect.adopt(CLAIM, store.stat("a.bin"))


def test_copy_that_trickles_is_given_up(s3: FakeS3, store: S3Store) -> None:
    """It has more time than other answers, and not for ever."""
    staged = store.dialect.info("a.bin")
    s3.spoil = lambda request, right: s3.slowly(right.raw, 0.5)
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable), store.dialect.explained("b.bin"):
        store.dialect.adopt(CLAIM, staged)
    assert time.monotonic() - begun < 2 * LONG


def test_form_that_is_sent_again_meanwhile_is_told(
    seaweedfs_server: S3Server, seaweedfs_bucket: str
) -> None:
    """What was looked at is not what would be copied."""
    store = S3Store.from_config(settings(seaweedfs_server, seaweedfs_bucket))
    client = seaweedfs_server.client()
    client.put_object(Bucket=seaweedfs_bucket, Key=CLAIM.staged, Body=b"first")
    staged = store.dialect.info(CLAIM.staged)
    client.put_object(Bucket=seaweedfs_bucket, Key=CLAIM.staged, Body=b"second")
    with pytest.raises(VersionGone, match="was replaced"):
        with store.dialect.explained(CLAIM.key):
            store.dialect.adopt(CLAIM, staged)
    assert not store.exists(CLAIM.key)


# -- on real servers ---------------------------------------------------------


def test_names_that_no_operation_takes_are_told_apart(
    moto_server: S3Server, moto_bucket: str, tmp_path: pathlib.Path
) -> None:
    """The object of a folder is nobody's file; what cannot be reached is said."""
    client = moto_server.client()
    odd = ["in/x//y.txt", "in/p\\q.txt", "in/../r.txt"]
    for key in ("in/", "in/sub/", "in/good.txt", "in/sub/too.txt", *odd):
        client.put_object(
            Bucket=moto_bucket, Key=key, Body=b"" if key[-1] == "/" else b"x"
        )
    store = S3Store.from_config(settings(moto_server, moto_bucket, STORE_PATH="in"))
    listing = store.ls()
    assert [found.name for found in listing] == ["good.txt", "sub/too.txt"]
    missed = sorted(key.removeprefix("in/") for key in odd)
    assert sorted(entry.name for entry in listing.unreachable) == missed
    files, more = listing.first_page()
    assert ([found.name for found in files], more) == (
        ["good.txt", "sub/too.txt"],
        False,
    )
    assert [store.read(found.name) for found in files] == [b"x", b"x"]
    used = store.usage()
    assert (used.files, len(used.unreachable)) == (2, 3)
    place = tmp_path / "backup"
    backup = FsspecStore.from_url(str(place))
    backup.put("old.txt", b"old")
    config = {"SECRET_KEY": "a-long-secret", "STORE_PATH": f"s3://{moto_bucket}/in"}
    config = settings(moto_server, moto_bucket, **config)
    shell = Shell(application(tmp_path, **config))
    for verb in ("ls", "usage"):
        found = shell(verb, code=1)
        assert all(f"unreachable: {visible(name)}" in found.stderr for name in missed)
    assert "No operation can reach" in shell("check", code=1).stdout
    shell("sync", "default", f"{place}/", "--delete", code=1)
    assert sorted(found.name for found in backup.ls()) == [
        "good.txt",
        "old.txt",  # nothing is deleted after anything that could not be reached
        "sub/too.txt",
    ]


def test_row_less_files_are_found_beside_odd_names(
    moto_server: S3Server, moto_bucket: str, tmp_path: pathlib.Path
) -> None:
    """What no store can delete is no orphan."""
    for key in ("in/", "in/lost.txt", "in/x//y.txt"):
        moto_server.client().put_object(Bucket=moto_bucket, Key=key, Body=b"")
    more = {"STORE_PATH": f"s3://{moto_bucket}/in"}
    app = application(tmp_path, **settings(moto_server, moto_bucket, **more))
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    shell = Shell(app)
    database = SQLAlchemy(app)

    class Picture(database.Model):  # type: ignore[name-defined,misc]
        id = database.Column(database.Integer, primary_key=True)
        file = database.Column(StoredFile())

    with app.app_context():
        database.create_all()
        columns = [Picture.file]
        found = orphans(shell.store, database.session, columns, dt.timedelta(0))
        assert [orphan.name for orphan in found] == ["lost.txt"]
