"""Copies and moves by the storage itself: what they promise, and when the bytes go
through the process all the same."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import pathlib
import stat
import tempfile
import typing as t
import uuid

import pytest
import requests
from werkzeug import Request as WSGIRequest
from werkzeug import Response

from flask_store.dialects import s3 as s3_dialect
from flask_store.dialects import Stat
from flask_store.dialects.errors import NoAnswer
from flask_store.dialects.http.answers import Refused
from flask_store.dialects.local import Linked
from flask_store.dialects.s3 import S3Dialect
from flask_store.dialects.webdav import WebDAVDialect
from flask_store.dialects.webdav import writing
from flask_store.exceptions import FileExists
from flask_store.exceptions import FileNotFound
from flask_store.exceptions import StoreError
from flask_store.exceptions import StoreUnavailable
from flask_store.exceptions import VersionGone
from flask_store.files import FileWrapper
from flask_store.signals import file_deleted
from flask_store.signals import file_saved
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.s3 import S3Store
from flask_store.sync import Journal
from flask_store.sync import Sync
from flask_store.uploads.properties import Properties
from flask_store.uploads.source import Source
from tests.storages.test_s3 import settings
from tests.support.counted_reads import count_reads
from tests.support.fake_s3 import Answer
from tests.support.fake_s3 import error
from tests.support.fake_s3 import FakeS3
from tests.support.fake_s3 import Request
from tests.support.ftp_server import DummyAuthorizer
from tests.support.ftp_server import serving
from tests.support.gcs_server import fake_gcs
from tests.support.protocol_servers import ftp
from tests.support.protocol_servers import Place
from tests.support.protocol_servers import webdav
from tests.support.proxy import Proxy
from tests.support.rewriting_proxy import Between
from tests.support.server_contract import started
from tests.support.servers import moto
from tests.support.servers import S3Server
from tests.support.servers import serve
from tests.support.sftp_server import ssh_server

DATA = b"precious " * 1000


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes of uploads, and of copies, this process has read."""
    return count_reads(monkeypatch)


@pytest.fixture
def local(tmp_path: pathlib.Path) -> FsspecStore:
    """An empty folder on disk."""
    return FsspecStore.from_url(tmp_path / "uploads")


def on_disk(file: FileWrapper) -> os.stat_result:
    """What the disk says of a file."""
    return os.stat(file.absolute_path(), follow_symlinks=False)


# -- which stores are one storage --------------------------------------------

#: The settings of two stores, and whether one may copy the files of the other.
PAIRS: dict[str, tuple[dict[str, t.Any], dict[str, t.Any], bool]] = {
    "two folders": ({"STORE_PATH": "/a"}, {"STORE_PATH": "/b"}, True),
    "two prefixes": ({"STORE_PATH": "s3://b/x"}, {"STORE_PATH": "s3://b/y"}, True),
    "two buckets": ({"STORE_PATH": "s3://b/x"}, {"STORE_PATH": "s3://c"}, True),
    "two ways to keep": (
        {"STORE_PATH": "s3://b", "STORE_S3_ACL": "public-read"},
        {"STORE_PATH": "s3://b"},
        True,
    ),
    "two accounts": (
        {"STORE_PATH": "s3://key:secret@b"},
        {"STORE_PATH": "s3://other:secret@b"},
        False,
    ),
    "two endpoints": (
        {"STORE_PATH": "s3://b", "STORE_S3_ENDPOINT_URL": "http://one.test"},
        {"STORE_PATH": "s3://b", "STORE_S3_ENDPOINT_URL": "http://two.test"},
        False,
    ),
    "a customer's key": (
        {"STORE_PATH": "s3://b"},
        {
            "STORE_PATH": "s3://b",
            "STORE_S3_OPTIONS": {
                "s3_additional_kwargs": {
                    "SSECustomerKey": "0" * 32,
                    "SSECustomerAlgorithm": "AES256",
                }
            },
        },
        False,
    ),
    "two protocols": ({"STORE_PATH": "/a"}, {"STORE_PATH": "memory://a"}, False),
    "two hosts": (
        {"STORE_PATH": "ftp://one.test/x"},
        {"STORE_PATH": "ftp://two.test/x"},
        False,
    ),
    "two users": (
        {"STORE_PATH": "ftp://one@one.test/x"},
        {"STORE_PATH": "ftp://two@one.test/x"},
        False,
    ),
    "one host": (
        {"STORE_PATH": "webdav+http://one.test/x"},
        {"STORE_PATH": "webdav+http://one.test/y"},
        True,
    ),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_one_storage(pair: str) -> None:
    """Two stores share a storage if they ask the same server as the same user."""
    *configs, shared = PAIRS[pair]
    one, two = (FsspecStore.from_config(config).dialect for config in configs)
    assert one.shares(two) == two.shares(one) == shared
    assert one.shares(one)


@contextlib.contextmanager
def two_buckets() -> t.Iterator[list[dict[str, t.Any]]]:
    """One name of a bucket on two servers."""
    with started(moto) as one, started(moto) as two:  # type: ignore[arg-type]
        bucket = one.make_bucket()
        two.client(two.admin).create_bucket(Bucket=bucket)
        yield [settings(server, bucket) for server in (one, two)]


@contextlib.contextmanager
def two_folders() -> t.Iterator[list[dict[str, t.Any]]]:
    """One name of a folder on two servers of WebDAV, whose URIs name no server."""
    with started(webdav) as one, started(webdav) as two:
        yield [{"STORE_PATH": f"{place.url}/uploads"} for place in (one, two)]


@contextlib.contextmanager
def two_homes() -> t.Iterator[list[dict[str, t.Any]]]:
    """The folders of two users of one server, each of whom sees the own one as the
    root."""
    users = DummyAuthorizer()
    with contextlib.ExitStack() as stack:
        for user in ("one", "two"):
            home = stack.enter_context(tempfile.TemporaryDirectory())
            users.add_user(user, "secret", home, perm="elradfmwMT")
        url = stack.enter_context(serving(pathlib.Path(home), authorizer=users))
        yield [
            {"STORE_PATH": f"{url.replace('me', user)}/uploads"}
            for user in ("one", "two")
        ]


@pytest.fixture(
    params=[two_buckets, two_folders, two_homes],
    ids=["two buckets", "two folders", "two homes"],
)
def lookalikes(request: pytest.FixtureRequest) -> t.Iterator[list[FsspecStore]]:
    """Two stores with one URI, of other servers or users."""
    with request.param() as configs:
        stores = [
            (S3Store if "STORE_S3_BUCKET" in config else FsspecStore).from_config(
                config
            )
            for config in configs
        ]
        assert len({store.uri for store in stores}) == 1
        yield stores


@pytest.mark.slow
def test_stores_that_look_alike(lookalikes: list[FsspecStore]) -> None:
    """A file of one of them is not taken for the file of the same key in the other."""
    one, two = lookalikes
    f = one.put("a.txt", b"one", "overwrite")
    other = two.put("a.txt", b"two", "overwrite")
    assert f != other
    for use in (two.delete, two.read, two.stat, lambda f: two.delete(f, f)):
        with pytest.raises(ValueError, match="no file of"):
            use(f)
    assert (f.read(), other.read()) == (b"one", b"two")
    assert two.move(f, "a.txt", "overwrite").read() == b"one"
    assert not f.exists()
    for on_conflict in ("rename", "overwrite"):  # nobody has it yet, and somebody does
        one.put("b.txt", b"same", "overwrite")
        assert two.move(one.file("b.txt"), "b.txt", on_conflict).read() == b"same"
        assert not one.exists("b.txt")
    one.put("c.txt", b"three", "overwrite")
    with contextlib.closing(Journal(None)) as journal:
        outcomes = Sync(one, two, journal, overwrite=True).run()
        assert [(found.name, found.status) for found in outcomes] == [
            ("c.txt", "copied")
        ]
    assert one.identity != two.identity
    assert one.fs != two.fs


@pytest.mark.slow
@pytest.mark.parametrize("kind", [two_buckets, two_folders])
def test_one_store_under_two_addresses(kind: t.Any) -> None:
    """Nobody can tell by the address that two files are one. It is not deleted."""
    with kind() as configs:
        config = configs[0]
        cls = S3Store if "STORE_S3_BUCKET" in config else FsspecStore
        alias = {
            name: value.replace("127.0.0.1", "localhost")
            for name, value in config.items()
        }
        store, same = cls.from_config(config), cls.from_config(alias)
        store.put("a.txt", b"precious")
        for on_conflict in ("overwrite", "rename"):
            moved = store.move(same.file("a.txt"), "a.txt", on_conflict)
            assert moved.read() == b"precious"
            store.move(moved, "a.txt", "overwrite")
        with contextlib.closing(Journal(None)) as journal:
            run = Sync(store, same, journal, delete=True).run()
            assert [(f.name, f.status) for f in run] == [("a.txt", "present")]
            with pytest.raises(ValueError, match="inside of the other"):
                list(Sync(store.at("in"), same, journal, delete=True).run())
        assert [f.name for f in store.ls()] == ["a.txt"]


@pytest.mark.parametrize("keeps_metadata", [True, False])
def test_server_that_ignores_case(
    moto_server: S3Server,
    moto_bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    keeps_metadata: bool,
) -> None:
    """As one does that keeps objects on such a disk. The only copy stays."""
    real_name, real_stat = S3Dialect.absolute_path, S3Dialect.described

    def described(self: S3Dialect, *args: t.Any, **options: t.Any) -> Stat:
        found = real_stat(self, *args, **options)
        return found if keeps_metadata else found.keeping(None)

    def absolute_path(self: S3Dialect, key: str) -> str:
        return real_name(self, key).lower()

    monkeypatch.setattr(S3Dialect, "absolute_path", absolute_path)
    monkeypatch.setattr(S3Dialect, "described", described)
    store = S3Store.from_config(settings(moto_server, moto_bucket))
    store.put("photo.jpg", DATA)
    assert store.move("photo.jpg", "Photo.JPG", "overwrite").read() == DATA
    assert store.read("photo.jpg") == DATA
    assert store.move("photo.jpg", "other.jpg", "overwrite").read() == DATA
    assert not store.exists("photo.jpg")


# -- the local disk ----------------------------------------------------------


def test_copy_on_disk_is_a_file_of_its_own(local: FsspecStore, read: list[int]) -> None:
    """It is no hard link, and no byte of it goes through the process."""
    f = local.save(DATA, "a.txt")
    read.clear()
    copy = local.copy(f, "b.txt")
    assert sum(read) == 0
    assert on_disk(copy).st_ino != on_disk(f).st_ino
    with open(f.absolute_path(), "r+b") as file:
        file.write(b"changed!")
    assert copy.read() == DATA


def test_move_on_disk_is_a_rename(local: FsspecStore, read: list[int]) -> None:
    """The file is the very same one, with one name."""
    f = local.save(DATA, "a.txt")
    number = on_disk(f).st_ino
    os.utime(f.absolute_path(), (0, 0))
    read.clear()
    moved = local.move(f, "in/b.txt")
    assert (sum(read), on_disk(moved).st_ino, on_disk(moved).st_nlink) == (0, number, 1)
    # Whoever removes what no row has spares what is new.
    assert on_disk(moved).st_mtime > 0
    assert [found.name for found in local.ls()] == ["in/b.txt"]


def test_files_of_two_stores_on_disk(
    tmp_path: pathlib.Path, local: FsspecStore, read: list[int]
) -> None:
    """One may be moved into the other, where both keep their files alike. Otherwise it
    is copied, so that it has the permissions of the store that it is in."""
    other = FsspecStore.from_url(tmp_path / "other")
    number = on_disk(f := other.save(DATA, "a.txt")).st_ino
    read.clear()
    assert on_disk(local.move(f, "b.txt")).st_ino == number
    config = {"STORE_PATH": str(tmp_path / "private"), "STORE_FILE_MODE": 0o600}
    private = FsspecStore.from_config(config)
    moved = private.move(local.file("b.txt"), "c.txt")
    assert stat.S_IMODE(on_disk(moved).st_mode) == 0o600
    assert on_disk(moved).st_ino != number
    assert (moved.read(), local.exists("b.txt"), sum(read)) == (DATA, False, 0)


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_disk_that_refuses_a_second_name(
    local: FsspecStore, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Another disk, or a system that protects the files of others: it is copied."""

    def refuse(self: Linked, path: str, folder: int | None = None) -> None:
        with monkeypatch.context() as patch:

            def link(*args: t.Any, **kwargs: t.Any) -> None:
                raise OSError(number, os.strerror(number))

            patch.setattr(os, "link", link)
            real(self, path, folder)

    real = Linked.link
    monkeypatch.setattr(Linked, "link", refuse)
    f = local.save(DATA, "a.txt")
    assert local.move(f, "b.txt").read() == DATA
    assert not f.exists()


def test_kernel_that_does_not_copy(
    local: FsspecStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as between two disks on an old one."""

    def refuse(*args: t.Any) -> int:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "copy_file_range", refuse)
    f = local.save(DATA, "a.txt")
    assert local.copy(f, "b.txt").read() == DATA


def test_link_is_not_moved(local: FsspecStore) -> None:
    """What it leads to is copied: from another folder, it would lead nowhere."""
    f = local.put("real/a.txt", DATA)
    os.symlink("a.txt", pathlib.Path(f.absolute_path()).parent / "link.txt")
    moved = local.move("real/link.txt", "b.txt")
    assert stat.S_ISREG(on_disk(moved).st_mode)
    assert (moved.read(), f.read()) == (DATA, DATA)
    assert not local.exists("real/link.txt")


def test_move_over_a_file_on_disk(local: FsspecStore) -> None:
    """It is replaced in one step, and so is a hard link of the very file."""
    f, taken = local.save(DATA, "a.txt"), local.save(b"old", "b.txt")
    assert local.move(f, "b.txt", "overwrite").read() == taken.read() == DATA
    assert not f.exists()
    os.link(taken.absolute_path(), f.absolute_path())
    assert local.move(f, "b.txt", "overwrite").read() == DATA
    assert [found.name for found in local.ls()] == ["b.txt"]


def test_file_that_changes_while_it_is_copied(
    local: FsspecStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice, so that it is given up; nothing is stored."""
    f = local.save(DATA, "a.txt")
    real = os.copy_file_range

    def copy_file_range(*args: t.Any) -> int:
        done = real(*args)
        with open(f.absolute_path(), "ab") as file:
            file.write(b"more")
        return done

    monkeypatch.setattr(os, "copy_file_range", copy_file_range)
    with pytest.raises(VersionGone):
        local.copy(f, "b.txt")
    assert [found.name for found in local.ls()] == ["a.txt"]


# -- signals -----------------------------------------------------------------


@contextlib.contextmanager
def disk() -> t.Iterator[Place]:
    """Memory, which any test can have."""
    yield Place(f"memory://{uuid.uuid4()}", 0)


@pytest.fixture(params=[webdav, ftp, disk], ids=["webdav", "ftp", "memory"])
def store(request: pytest.FixtureRequest) -> t.Iterator[FsspecStore]:
    """A store where a move is a rename, or a copy."""
    with started(request.param) as place:
        yield FsspecStore.from_url(place.new(), **place.options)


def test_refused_move_is_undone(store: FsspecStore) -> None:
    """A receiver refuses the new file, and the old one is there as before."""
    f = store.put("a.txt", DATA, "overwrite")
    deleted: list[FileWrapper] = []

    def refuse(sender: object, file: FileWrapper) -> None:
        raise ArithmeticError(file.key)

    def note(sender: object, file: FileWrapper) -> None:
        deleted.append(file)

    with file_saved.connected_to(refuse), file_deleted.connected_to(note):
        for on_conflict in ("rename", "overwrite"):
            with pytest.raises(ArithmeticError):
                store.move(f, f"in/{on_conflict}.txt", on_conflict)
            assert f.read() == DATA
    assert f not in deleted


def test_signals_of_a_move(store: FsspecStore) -> None:
    """The new file is told first, and then that the old one is gone."""
    f = store.put("a.txt", DATA, "overwrite")
    told: list[tuple[str, FileWrapper]] = []

    def saved(sender: object, file: FileWrapper) -> None:
        told.append(("saved", file))

    def deleted(sender: object, file: FileWrapper) -> None:
        told.append(("deleted", file))
        assert not file.exists()

    with file_saved.connected_to(saved), file_deleted.connected_to(deleted):
        moved = store.move(f, "b.txt")
    assert told == [("saved", moved), ("deleted", f)]


# -- S3 ----------------------------------------------------------------------


@pytest.fixture
def config(seaweedfs_server: S3Server, seaweedfs_bucket: str) -> dict[str, t.Any]:
    """The settings of an empty bucket."""
    return settings(seaweedfs_server, seaweedfs_bucket)


@pytest.fixture(params=["s3", "s3fs"])
def proxied(
    config: dict[str, t.Any], request: pytest.FixtureRequest
) -> t.Iterator[tuple[Proxy, S3Store]]:
    """A store of S3, with each of the two clients, behind a proxy that counts. Its
    server is known to refuse copies onto names that are taken."""
    if request.param == "s3fs":
        config["STORE_S3_OPTIONS"] = {"default_fill_cache": False}
    with Proxy(config["STORE_S3_ENDPOINT_URL"]) as proxy:
        config["STORE_S3_ENDPOINT_URL"] = proxy.endpoint_url
        store = S3Store.from_config(config)
        store.copy(store.save(b"1", "warm.txt"), "warmer.txt")
        yield proxy, store


def test_requests_of_a_copy(proxied: tuple[Proxy, S3Store]) -> None:
    """A look at the file, and the copy. A name that is taken costs two more: a refusal,
    and a look whether the taken one is this very copy."""
    proxy, store = proxied
    f = store.save(DATA, "a.txt")
    del proxy.requests[:]
    store.copy(f, "b.txt")
    assert [request.method for request in proxy.requests] == ["HEAD", "PUT"]
    del proxy.requests[:]
    copy = store.copy(f, "b.txt")
    methods = ["HEAD", "PUT", "HEAD", "PUT"]
    assert [request.method for request in proxy.requests] == methods
    assert max(request.sent for request in proxy.requests) == 0
    assert copy.key != "b.txt"
    with pytest.raises(FileExists):
        store.copy(f, "b.txt", on_conflict="error")


@pytest.mark.parametrize("on_conflict", ["rename", "error", "overwrite"])
def test_copy_whose_answer_is_lost(
    proxied: tuple[Proxy, S3Store], on_conflict: t.Any
) -> None:
    """It is known by its token: there is one copy, under the plain name."""
    proxy, store = proxied
    f = store.save(DATA, "a.txt")
    proxy.drop_response()
    assert store.copy(f, "b.txt", on_conflict).key == "b.txt"
    names = {found.name for found in store.ls()} - {"warm.txt", "warmer.txt"}
    assert names == {"a.txt", "b.txt"}


@pytest.mark.slow
def test_file_that_is_replaced_before_it_is_copied(
    config: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very version that was looked at is copied, or none."""
    store = S3Store.from_config(config)
    f = store.save(DATA, "a.txt")
    real = S3Dialect.copy

    def copy(self: S3Dialect, *args: t.Any) -> t.Any:
        if not args[1].rpartition("/")[2].startswith("probe-"):
            store.put("a.txt", os.urandom(10), "overwrite")
        return real(self, *args)

    monkeypatch.setattr(S3Dialect, "copy", copy)
    for verb in (store.copy, store.move):
        for on_conflict in ("rename", "overwrite"):
            with pytest.raises(VersionGone):
                verb(f, "b.txt", on_conflict)
    assert [found.name for found in store.ls()] == ["a.txt"]


def test_large_object_is_copied_in_parts(
    proxied: tuple[Proxy, S3Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above 5 GiB, which no single request copies: no byte goes through the process,
    the tags stay, and the name has a UUID, as nothing refuses one that is taken."""
    proxy, store = proxied
    size = 5 * 1024**2
    data = os.urandom(2 * size + 10)
    monkeypatch.setattr(s3_dialect, "COPIED_PART_SIZE", size)
    f = store.save(data, "a.bin", content_type="text/x-odd")
    loop = t.cast(S3Dialect, store.dialect).loop
    name = {"Bucket": store.dialect.bucket, "Key": store.dialect.absolute_path("a.bin")}
    tags = {"TagSet": [{"Key": "kind", "Value": "a b/c=d"}]}
    loop.call("put_object_tagging", **name, Tagging=tags)
    monkeypatch.setattr(s3_dialect, "SINGLE_LIMIT", size)
    del proxy.requests[:]
    moved = store.move(f, "b.bin")
    assert max(r.sent + r.received for r in proxy.requests) < 5000
    assert sum("partNumber=" in r.path for r in proxy.requests) == 3
    assert moved.key.startswith("b_")
    assert (moved.read(), moved.content_type, f.exists()) == (data, "text/x-odd", False)
    name["Key"] = store.dialect.absolute_path(moved.key)
    assert loop.call("get_object_tagging", **name)["TagSet"] == tags["TagSet"]


@pytest.mark.slow
def test_large_object_that_breaks_off(
    config: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left of it, and the old file stays."""
    monkeypatch.setattr(s3_dialect, "SINGLE_LIMIT", 100)
    store = S3Store.from_config(config)
    f = store.save(DATA, "a.txt")
    loop = t.cast(S3Dialect, store.dialect).loop
    real = type(loop).call_slow

    def call_slow(self: t.Any, method: str, **kwargs: t.Any) -> t.Any:
        if method == "complete_multipart_upload":
            raise TimeoutError
        return real(self, method, **kwargs)

    monkeypatch.setattr(type(loop), "call_slow", call_slow)
    with pytest.raises(StoreUnavailable):
        store.move(f, "b.txt")
    monkeypatch.undo()
    assert [found.name for found in store.ls()] == [f.key]
    assert not loop.call("list_multipart_uploads", Bucket=store.dialect.bucket).get(
        "Uploads"
    )


class Stubborn(FakeS3):
    """A server that answers every copy alike.

    :param said: the status, or nothing to take a copy for an upload of nothing.
    """

    def __init__(self, said: tuple[str, str] | None) -> None:
        super().__init__()
        self.said = said
        self.asked = 0

    def _put(self, request: Request) -> Answer:
        if "x-amz-copy-source" in request.headers:
            self.asked += 1
            if self.said is not None:
                return error(*self.said)
        return super()._put(request)


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        (("501 Not Implemented", "NotImplemented"), 1),
        (("405 Method Not Allowed", "MethodNotAllowed"), 1),
        (("400 Bad Request", "InvalidRequest"), 2),
        (("403 Forbidden", "AccessDenied"), 2),
        (None, 1),
    ],
    ids=["501", "405", "400", "403", "empty"],
)
def test_server_that_does_not_copy(
    read: list[int], said: tuple[str, str] | None, asked: int
) -> None:
    """The bytes go through the process, and a server that knows no copies is asked
    once. One that stores an empty file in place of a copy is found out."""
    with Stubborn(said) as server:
        store = S3Store.from_config(
            {
                "STORE_S3_ENDPOINT_URL": server.url,
                "STORE_S3_REGION": "us-east-1",
                "STORE_S3_BUCKET": "bucket",
                "STORE_S3_ACCESS_KEY": "key",
                "STORE_S3_SECRET_KEY": "secret",
                "STORE_S3_CONDITIONAL_WRITES": True,
            }
        )
        t.cast(S3Dialect, store.dialect)._conditional_copies = True
        f = store.save(DATA, "a.txt")
        assert store.copy(f, "b.txt").key == "b.txt"
        assert store.move(f, "c.txt").key == "c.txt"
        assert server.asked == asked
        found = {key: data for key, (data, _) in server.objects.items()}
        assert found == {"b.txt": DATA, "c.txt": DATA}


def test_copies_are_probed_once(
    config: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch, read: list[int]
) -> None:
    """A server that replaces what a copy must not replace gets uploads in their place,
    and nothing is left of the try."""
    real = S3Dialect.copy
    asked: list[str] = []

    def copy(self: S3Dialect, original: t.Any, target: str, *args: t.Any) -> t.Any:
        asked.append(target)
        return real(self, original, target, *args[:-1], False)

    monkeypatch.setattr(S3Dialect, "copy", copy)
    store = S3Store.from_config(config)
    f = store.save(DATA, "a.txt")
    assert {store.copy(f, "b.txt").key for _ in range(3)} > {"b.txt"}
    assert len(asked) == 1
    assert store.copy(f, "b.txt", "overwrite").key == "b.txt"
    assert asked[1:] == [store.dialect.absolute_path("b.txt")]
    client_side = list(store.dialect.find(".flask-store"))
    assert client_side == []


@pytest.mark.slow
@pytest.mark.parametrize("said", [{}, {"STORE_S3_CONDITIONAL_WRITES": False}])
def test_copy_where_names_carry_a_uuid(
    config: dict[str, t.Any], said: dict[str, t.Any], read: list[int]
) -> None:
    """Where nothing refuses a name that is taken, a copy needs no such condition."""
    store = S3Store.from_config({**config, **said})
    f = store.save(DATA, "a.txt")
    read.clear()
    copies = {store.copy(f, "b.txt").key for _ in range(3)}
    assert len(copies) == 3
    assert ("b.txt" in copies) == (not said)
    assert sum(read) <= 20  # of the probes


# -- Google ------------------------------------------------------------------


class Conditional(Between):
    """Google's condition for the target of a rewrite, which the emulator ignores."""

    def _forward(self, request: WSGIRequest) -> Response:
        target = request.environ["REQUEST_URI"].partition("/rewriteTo/")[2]
        if target and request.args.get("ifGenerationMatch") == "0":
            url = f"http://127.0.0.1:{self.port}/storage/v1/{target.partition('?')[0]}"
            if requests.get(url, timeout=10).ok:
                return Response('{"error": {"code": 412}}', 412)
        return super()._forward(request)


@pytest.mark.parametrize("conditional", [True, False])
def test_rewrite(conditional: bool, read: list[int]) -> None:
    """Google copies without a byte of the file, under a new token and with all that the
    original has. A server that ignores the condition gets uploads."""
    with started(fake_gcs) as place:
        proxy = Conditional(place.port) if conditional else Between(place.port)
        with serve(proxy) as url:
            there = place.moved(int(url.rpartition(":")[2]))
            store = FsspecStore.from_url(there.new(), **there.options)
            like = Stat("a", 0, None, None, "text/x-odd")
            like.keeping(
                None, Properties(cache_control="no-store", metadata={"a": "b"})
            )
            f = store.put("a.txt", DATA, like=like)
            read.clear()
            copies = [store.copy(f, "b.txt") for _ in range(2)]
            assert copies[0].key == "b.txt" != copies[1].key
            assert (sum(read) < len(DATA)) == conditional
            before = f.stat()
            for copy in copies:
                after = copy.stat()
                assert after.properties == before.properties
                assert after.content_type == before.content_type
                assert after.token not in (None, before.token)
            moved = store.move(f, "c.txt")
            assert (moved.read(), f.exists()) == (DATA, False)
            assert store.move(moved, "b.txt", "overwrite").read() == DATA


# -- servers with folders ----------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("status", "asked"), [(501, 1), (405, 1), (403, 4), (200, 2)])
def test_webdav_server_that_does_not_copy(
    status: int, asked: int, read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes go through the process; a server that knows no COPY is asked once."""
    with started(webdav) as place:
        store = FsspecStore.from_url(place.new(), **place.options)
        f = store.save(DATA, "a.txt")
        real, copies = writing.change, []

        def change(fs: t.Any, method: str, *args: t.Any, **more: t.Any) -> bool:
            if method == "COPY":
                copies.append(args)
                if status == 200:
                    raise NoAnswer("the status of COPY is 200")
                raise Refused(status)
            return real(fs, method, *args, **more)

        monkeypatch.setattr(writing, "change", change)
        read.clear()
        if status == 200:  # nobody knows what has happened
            with pytest.raises(StoreUnavailable):
                store.copy(f, "b.txt")
            return
        for name in ("b.txt", "c.txt"):
            assert store.copy(f, name).read() == DATA
        assert sum(read) >= 2 * len(DATA)
        assert len(copies) == asked


@pytest.mark.slow
def test_half_a_copy_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server copies a part and says that it has done so."""
    with started(webdav) as place:
        store = FsspecStore.from_url(place.new(), **place.options)
        f = store.save(DATA, "a.txt")

        def copy(self: WebDAVDialect, old: str, new: str) -> None:
            self._upload(Source(io.BytesIO(DATA[:10]), None), new)

        monkeypatch.setattr(WebDAVDialect, "_copy_on_server", copy)
        assert store.copy(f, "b.txt").read() == DATA
        assert {found.size for found in store.ls()} == {len(DATA)}
        assert place.folder is not None
        assert not list(place.folder.rglob("*.part"))


@pytest.mark.parametrize("server", ["ftp", "sftp"])
def test_link_on_a_server_is_not_lost(server: str) -> None:
    """A rename takes it to where it leads nowhere; so it is taken back, and copied."""
    with started({"ftp": ftp, "sftp": ssh_server}[server]) as place:
        store = FsspecStore.from_url(place.new(), **place.options)
        f = store.put("real/a.txt", DATA, "overwrite")
        assert place.folder is not None
        (folder,) = place.folder.glob("*/uploads/real")
        os.symlink("a.txt", folder / "link.txt")
        moved = store.move("real/link.txt", "b.txt")
        assert (moved.read(), f.read()) == (DATA, DATA)
        assert not store.exists("real/link.txt")
        os.symlink("a.txt", folder / "link.txt")
        with contextlib.suppress(StoreError):  # the file is another version then
            store.move("real/link.txt", f.key, "overwrite")
        assert f.read() == DATA


def test_put_of_a_stored_file(
    store: FsspecStore, local: FsspecStore, read: list[int]
) -> None:
    """It is copied to exactly this key, and no signal is sent."""
    f = local.save(DATA, "a.txt")
    with file_saved.connected_to(lambda *args, **said: pytest.fail("a signal")):
        read.clear()
        assert local.put("in/~ b.txt", f).read() == DATA
        assert sum(read) == 0
        with pytest.raises(FileExists):
            local.put("in/~ b.txt", f)
        assert local.put("in/~ b.txt", f, "overwrite").key == "in/~ b.txt"
        assert store.put("c.txt", f, "overwrite").read() == DATA


def test_missing_file(store: FsspecStore, local: FsspecStore) -> None:
    """It is a FileNotFound of the old name."""
    for place in (store, local):
        for verb in (place.copy, place.move):
            with pytest.raises(FileNotFound, match="'no.txt'"):
                verb("no.txt", "b.txt")


# -- the background ----------------------------------------------------------


def test_stored_file_of_a_background_store(
    config: dict[str, t.Any], tmp_path: pathlib.Path, read: list[int]
) -> None:
    """The storage copies what it has, at once; a file that waits is read from the
    spool."""
    spool = {"STORE_BACKGROUND": True, "STORE_SPOOL_PATH": str(tmp_path / "spool")}
    store = S3Store.from_config({**config, **spool})
    f = store.put("a.txt", DATA)
    read.clear()
    copy = store.copy(f, "b.txt")
    assert (copy.key, copy.upload) == ("b.txt", None)
    assert sum(read) <= 20  # of the probes
    waiting = store.save(DATA, "w.txt")
    moved = store.move(waiting, "c.txt")
    assert moved.read() == DATA
    assert not waiting.exists()
    if moved.upload is not None:
        assert moved.upload.wait(30)
    assert moved.read() == DATA
