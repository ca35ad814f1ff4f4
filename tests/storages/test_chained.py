"""Chained URLs: ``dir::``, and ``zip::`` and ``simplecache::``, which only read."""

from __future__ import annotations

import gc
import io
import os
import pathlib
import random
import resource
import stat
import typing as t
import warnings
import zipfile

import pytest

from flask_store.exceptions import FileNotFound
from flask_store.exceptions import InvalidName
from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import StoreDenied
from flask_store.exceptions import StoreError
from flask_store.exceptions import StoreUnavailable
from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import FILES
from flask_store.testing import ReaderContract
from flask_store.testing import StoreContract
from tests.storages.test_s3 import settings
from tests.support.servers import S3Server


def zipped(files: t.Mapping[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive of these files."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", kind) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return made.getvalue()


class TestDir(StoreContract):
    """``dir::`` in front of a URL changes nothing."""

    @pytest.fixture
    def store(self, tmp_path: pathlib.Path) -> FsspecStore:
        """An empty folder."""
        return FsspecStore.from_url(f"dir::file://{tmp_path}/uploads")


class TestZip(ReaderContract):
    """An archive on the disk."""

    @pytest.fixture
    def config(self, tmp_path: pathlib.Path) -> dict[str, t.Any]:
        (tmp_path / "archive.zip").write_bytes(zipped(FILES))
        return {"STORE_PATH": f"zip://{tmp_path}/archive.zip"}

    def test_hostile_entries(self, tmp_path: pathlib.Path) -> None:
        """What no store would have is neither listed nor found; the rest is."""
        made = io.BytesIO()
        hidden = ["../../etc/passwd", "/etc/passwd", "a\\..\\b", "C:/x", "a//b", "./c"]
        hidden += [".flask-store/x.part", "new\nline", "folder/../up", ".. /x", "x/.."]
        names = [*hidden, "CON", "*", "good.txt", "good.txt/below", "-rf", "aux.txt"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of the duplicate
            with zipfile.ZipFile(made, "w") as archive:
                for name in [*names, "good.txt"]:
                    info = zipfile.ZipInfo(name, (1980, 0, 0, 0, 0, 0))
                    archive.writestr(info, f"data of {name} {len(archive.namelist())}")
                for kind in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO):
                    info = zipfile.ZipInfo(f"kind-{kind}")
                    info.external_attr = (kind | 0o777) << 16
                    archive.writestr(info, "/etc/passwd")
                    hidden.append(info.filename)
                archive.mkdir("empty")
        (tmp_path / "hostile.zip").write_bytes(made.getvalue())
        store = FsspecStore.from_url(f"zip://{tmp_path}/hostile.zip")
        found = {found.name: found for found in store.ls()}
        shown = {"CON", "*", "good.txt", "good.txt/below", "-rf", "aux.txt"}
        assert set(found) == shown
        assert found["CON"].modified is None
        assert store.file("good.txt").read() == b"data of good.txt 17"
        for name in hidden:
            with pytest.raises((InvalidName, FileNotFound)):
                store.open(name)
        assert os.listdir(tmp_path) == ["hostile.zip"]

    def test_folder_of_an_archive(self, config: dict[str, t.Any]) -> None:
        """A store may be a folder in the archive, and stays in it."""
        path = config["STORE_PATH"].replace("zip://", "zip://folder::file://")
        store = FsspecStore.from_url(path)
        assert [found.name for found in store.ls()] == [
            "below/t.txt",
            "r.bin",
            "фото 50% #1.jpg",
        ]
        f = store.file("below/t.txt")
        assert f.read() == FILES["folder/below/t.txt"]
        assert not store.exists("a.txt")
        with pytest.raises(InvalidName):
            store.exists("../a.txt")


class OnS3(ReaderContract):
    """In a bucket, with the settings of the bucket; one store for all tests."""

    @pytest.fixture(scope="class")
    @classmethod
    def config(cls, seaweedfs_server: S3Server) -> dict[str, t.Any]:
        bucket = seaweedfs_server.make_bucket()
        config = settings(seaweedfs_server, bucket)
        del config["STORE_S3_BUCKET"]
        config["STORE_PATH"] = f"s3://{bucket}/in"
        path = cls.fill(FsspecStore.from_config(config))
        return {**config, "STORE_PATH": path}

    @pytest.fixture(scope="class")
    @classmethod
    def store(cls, config: dict[str, t.Any]) -> FsspecStore:
        return FsspecStore.from_config(config)

    @classmethod
    def fill(cls, folder: FsspecStore) -> str:
        """Put FILES there, and return the path at which they are read."""
        raise NotImplementedError


class TestZipOnS3(OnS3):
    """An archive in a bucket."""

    @classmethod
    def fill(cls, folder: FsspecStore) -> str:
        folder.put("archive.zip", zipped(FILES))
        return f"zip::{folder.uri}/archive.zip"


class TestCache(ReaderContract):
    """Files on a disk, copied to another one."""

    @pytest.fixture
    def config(self, tmp_path: pathlib.Path) -> dict[str, t.Any]:
        store = FsspecStore.from_url(f"file://{tmp_path}/files")
        for name, data in FILES.items():
            store.put(name, data)
        return {"STORE_PATH": f"simplecache::file://{tmp_path}/files"}


class TestCacheOfS3(OnS3):
    """Objects in a bucket, copied to this disk."""

    @classmethod
    def fill(cls, folder: FsspecStore) -> str:
        for name, data in FILES.items():
            folder.put(name, data)
        return f"simplecache::{folder.uri}"


def test_cache_fetches_a_file_once(tmp_path: pathlib.Path) -> None:
    """A second read comes from the disk; a new version is fetched, and a file that
    is gone is gone."""
    origin = FsspecStore.from_url(f"file://{tmp_path}/files")
    cache = tmp_path / "cache"
    f = origin.save(b"first", "a.txt")
    store = FsspecStore.from_url(
        f"simplecache::file://{tmp_path}/files", cache_storage=str(cache)
    )
    assert store.file("a.txt").read() == store.file("a.txt").read() == b"first"
    (copy,) = cache.iterdir()
    copy.write_bytes(b"FIRST")
    assert store.file("a.txt").read() == b"FIRST"
    origin.save(b"second", "a.txt", on_conflict="overwrite")
    assert store.file("a.txt").read() == b"second"
    f.delete()
    assert not store.exists("a.txt")
    with pytest.raises(FileNotFound):
        store.file("a.txt").read()


def test_cache_goes_with_its_store(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache that nobody asked to keep is private and removed."""
    FsspecStore.from_url(f"file://{tmp_path}/files").save(b"x", "a.txt")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    store = FsspecStore.from_url(f"simplecache::file://{tmp_path}/files")
    assert store.file("a.txt").read() == b"x"
    (folder,) = (tmp_path / "tmp").iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    del store
    gc.collect()
    assert not folder.exists()


@pytest.mark.parametrize(
    "botocore", [{}, {"tcp_keepalive": True}], ids=["direct", "s3fs"]
)
def test_cache_whose_disk_is_full(
    seaweedfs_server: S3Server, seaweedfs_bucket: str, botocore: dict[str, bool]
) -> None:
    """A copy that cannot be written lets go of the connection that it was read from."""
    config = settings(seaweedfs_server, seaweedfs_bucket)
    config["STORE_S3_OPTIONS"] = {"config_kwargs": botocore}
    config["STORE_PATH"] = f"s3://{config.pop('STORE_S3_BUCKET')}"
    FsspecStore.from_config(config).save(bytes(5_000_000), "a.bin")
    cached = FsspecStore.from_config(
        {**config, "STORE_PATH": f"simplecache::{config['STORE_PATH']}"}
    )
    assert cached.exists("a.bin")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
        try:
            with pytest.raises(StoreError):
                cached.read("a.bin")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
    assert cached.read("a.bin") == bytes(5_000_000)


def test_archive_through_a_cache(tmp_path: pathlib.Path) -> None:
    """Chains of chains are read too."""
    (tmp_path / "a.zip").write_bytes(zipped(FILES))
    store = FsspecStore.from_url(f"zip::simplecache::file://{tmp_path}/a.zip")
    assert store.file("a.txt").read() == b"data"
    assert store.uri == f"zip::simplecache::file://{tmp_path}/a.zip"


def test_missing_archive(tmp_path: pathlib.Path) -> None:
    """No archive is a wrong setting, not an empty store."""
    store = FsspecStore.from_url(f"zip://{tmp_path}/no.zip")
    for use in (store.exists, store.stat, store.open, lambda _: list(store.ls())):
        with pytest.raises(NotConfiguredError, match=r"no\.zip, which is not there"):
            use("a.txt")


def test_archive_on_a_dead_server() -> None:
    """A server that is down is no missing archive."""
    store = FsspecStore.from_url("zip::ftp://127.0.0.1:9/archive.zip")
    with pytest.raises(StoreUnavailable):
        store.exists("a.txt")


def test_broken_archive(tmp_path: pathlib.Path) -> None:
    """Whatever is broken in an archive is an error of ours or a missing file: it is
    cut off, or has wrong bytes, anywhere."""
    files = {name: data[:400] for name, data in FILES.items()}
    whole = zipped(files)
    path = tmp_path / "broken.zip"
    random.seed(7)
    broken = [whole[:cut] for cut in range(0, len(whole), 37)]
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(3):
            data[random.randrange(len(data))] = random.randrange(256)
        broken.append(bytes(data))
    refused = 0
    for data in broken:
        path.write_bytes(data)
        store = FsspecStore.from_url(f"zip://{path}")
        try:
            for found in store.ls():
                assert not found.name.startswith(("/", "../"))
                assert len(store.file(found.name).read()) == found.size
        except StoreError:
            refused += 1
    assert refused > len(whole[::37])


def test_archive_that_is_replaced(tmp_path: pathlib.Path) -> None:
    """A new archive in the place of the old one is opened as soon as the old one
    cannot be read any more."""
    path = tmp_path / "a.zip"
    large = random.Random(1).randbytes(100_000)
    path.write_bytes(zipped({"a.txt": b"old", "z.bin": large}))
    store = FsspecStore.from_url(f"zip://{path}")
    assert store.exists("a.txt")
    path.write_bytes(zipped({"a.txt": b"new"}))
    with pytest.raises(StoreError, match="cannot be unpacked"):
        store.file("a.txt").read()
    assert store.file("a.txt").read() == b"new"
    assert [found.name for found in store.ls()] == ["a.txt"]


def test_encrypted_entry(tmp_path: pathlib.Path) -> None:
    """An encrypted entry is listed, and reading it says what it is."""
    data = bytearray(zipped({"a.txt": b"data"}))
    data[6] |= 1
    data[data.rindex(b"PK\1\2") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    store = FsspecStore.from_url(f"zip://{tmp_path}/a.zip")
    assert store.exists("a.txt")
    with pytest.raises(StoreDenied, match="encrypted"):
        store.file("a.txt").read()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("filecache::s3://bucket/x", "not supported"),
        ("tar::/srv/a.tar", "not supported"),
        ("tar:///srv/a.tar", "not supported"),
        ("filecache:///srv", "not supported"),
        ("dir:///srv", "not supported"),
        ("dir://folder::file:///srv", "not supported"),
        ("dir::", "not supported"),
        ("s3://bucket/a::b", "not supported"),
        ("simplecache://bucket/x", "not supported"),
        ("ZIP::s3://bucket/a.zip", "not supported"),
        ("zip::", "not supported"),
        ("zip://", "not supported"),
        ("zip://a.zip", "not supported"),
        ("zip::s3://bucket", "names no archive"),
        ("zip:///folder/", "names no archive"),
        ("zip://../up::file:///a.zip", "InvalidName|dots"),
        ("simplecache::gopher://x", "'gopher'"),
    ],
)
def test_impossible_chains(url: str, words: str) -> None:
    """A chain that cannot be a store shows what can."""
    with pytest.raises(StoreError, match=words):
        FsspecStore.from_url(url)


def test_path_with_colons_is_a_path(tmp_path: pathlib.Path) -> None:
    """Two colons in a path on disk chain nothing."""
    store = FsspecStore.from_url(f"{tmp_path}/a::b")
    store.save(b"x", "a.txt")
    assert (tmp_path / "a::b" / "a.txt").read_bytes() == b"x"


def test_file_of_an_archive_is_not_moved(tmp_path: pathlib.Path) -> None:
    """What cannot be deleted is not copied either, and there is no signal."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "precious")
    source = FsspecStore.from_url(f"zip://{tmp_path}/a.zip")
    target = FsspecStore.from_url(tmp_path / "uploads")
    with pytest.raises(StoreDenied, match="read-only"):
        target.move(source.file("a.txt"), "a.txt")
    assert list(target.ls()) == []
    assert target.copy(source.file("a.txt"), "a.txt").read() == b"precious"
