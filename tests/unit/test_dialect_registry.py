"""Which dialect a URL gets, who may register one, and what a missing library says."""

from __future__ import annotations

import importlib
import pathlib
import sys
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping

import pytest

from flask_store.dialects import Dialect
from flask_store.dialects import Location
from flask_store.dialects import register
from flask_store.dialects import registry
from flask_store.dialects.memory import MemoryDialect
from flask_store.dialects.urls import open_dialect
from flask_store.exceptions import NotConfiguredError
from flask_store.stores.fsspec import FsspecStore


class OwnDialect(MemoryDialect):
    """What an application registers."""

    @classmethod
    def locate(cls, url: str, config: Mapping[str, t.Any]) -> Location:
        return super().locate(f"memory:{url.partition(':')[2]}", config)


class MirrorDialect(Dialect):
    """A chain of another package's: what is behind it."""

    @classmethod
    def from_url(cls, url: str, config: Mapping[str, t.Any]) -> Dialect:
        return open_dialect(url.removeprefix("mirror::"), config)


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    registry._entry_points.cache_clear()
    yield
    registry._entry_points.cache_clear()


@pytest.fixture
def site(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A folder from which Python imports, and of which it reads entry points."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def install(site: pathlib.Path, package: str, target: str, code: str = "") -> None:
    """Install a package that registers speech:// by its entry point."""
    info = site / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {package}\nVersion: 1.0\n")
    entry = f"[flask_store.dialects]\nspeech = {target}\n"
    (info / "entry_points.txt").write_text(entry)
    module = site / f"{target.partition(':')[0]}.py"
    module.write_text(code)
    importlib.invalidate_caches()
    sys.modules.pop(module.stem, None)


SPEECH = f"from {__name__} import OwnDialect as Speech\n"


@pytest.mark.parametrize(
    ("url", "library", "extra"),
    [
        ("abfs://container/x", "adlfs", "azure"),
        ("gs://bucket/x", "gcsfs", "gcs"),
        ("sftp+sshfs://host/x", "sshfs", "sftp"),
        ("sftp+paramiko://host/x", "paramiko", "paramiko"),
        ("smb://host/share/x", "smbclient", "smb"),
        ("webdav+https://host/x", "httpx", "webdav"),
        ("https://host/x", "aiohttp", "http"),
    ],
)
def test_missing_library_gives_its_pip_line(
    url: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to install is said when the settings are read, not at the first upload."""
    for name in list(sys.modules):
        if name.startswith("flask_store.dialects.") and name.count(".") >= 2:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(NotConfiguredError, match=rf"pip install '.*\[{extra}\]'"):
        FsspecStore.from_url(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sftp:///x", "names no host. Write 'sftp://user@host/folder'"),
        ("smb://host", "no share. Write 'smb://user@host/share/folder'"),
        ("webdav://host", r"Write 'webdav\+https://user@host/folder'"),
        ("abfs://", "names no container"),
        ("abfs://KEY:SECRET@x", "names no container"),
        ("gs://", "names no bucket"),
        ("gs://KEY:SECRET@x", "names no bucket"),
    ],
)
def test_url_without_a_place(url: str, words: str) -> None:
    """A URL that cannot be a store shows the right form, and no secret."""
    with pytest.raises(NotConfiguredError, match=words) as caught:
        FsspecStore.from_url(url)
    assert "SECRET" not in str(caught.value)


def test_missing_library_of_a_filesystem() -> None:
    """So is what fsspec knows only by name."""
    with pytest.raises(NotConfiguredError, match="dropbox:// needs a library.*dropbox"):
        FsspecStore.from_url("dropbox://x")


def test_application_registers_its_own() -> None:
    """A call of register() is enough, and may be made again."""
    for _ in range(2):
        register("own", f"{__name__}:OwnDialect")
    assert type(FsspecStore.from_url("own://x").dialect) is OwnDialect


def test_protocol_that_fsspec_does_not_know() -> None:
    """A dialect of its own protocol has to say its place."""
    register("own", "flask_store.dialects.memory:MemoryDialect")
    with pytest.raises(NotConfiguredError, match=r"Let MemoryDialect\.locate\(\)"):
        FsspecStore.from_url("own://x")


def test_chain_is_registered_like_any_other() -> None:
    """It gets the whole URL and opens the rest of it."""
    register("mirror", f"{__name__}:MirrorDialect")
    store = FsspecStore.from_url("mirror::zip::simplecache::memory://x/a.zip")
    assert store.uri == "zip::simplecache::memory:///x/a.zip"


def test_package_registers_by_entry_point(site: pathlib.Path) -> None:
    """A package only has to be installed."""
    install(site, "speaker", "speaking:Speech", SPEECH)
    assert type(FsspecStore.from_url("speech://x").dialect) is OwnDialect


def test_entry_points_are_read_only_for_an_unknown_protocol(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody waits for them who has a store on the disk, or on S3."""

    def refuse(**_: object) -> None:
        raise AssertionError("entry points are read")

    monkeypatch.setattr(registry.metadata, "entry_points", refuse)
    for url in ("/srv/uploads", "file:///srv/uploads", "memory://x", "s3://bucket"):
        FsspecStore.from_url(url)
    with pytest.raises(AssertionError):
        FsspecStore.from_url("speech://x")


@pytest.mark.parametrize(
    ("target", "code", "words"),
    [
        (
            "speaking:Speech",
            "import no_such_module",
            "No module named 'no_such_module'",
        ),
        ("speaking:Speech", "1 / 0", "ZeroDivisionError"),
        ("speaking:Speech", "", "no attribute 'Speech'"),
        (
            "speaking:Speech",
            "Speech = 5",
            "no subclass of flask_store.dialects.Dialect",
        ),
        ("speaking:Speech", "class Speech: pass", "Let the class inherit from it"),
        ("speaking", SPEECH, "such as 'package.module:Class'"),
        ("speaking:Speech.inner", SPEECH, "such as 'package.module:Class'"),
    ],
)
def test_broken_entry_point_names_its_package(
    target: str, code: str, words: str, site: pathlib.Path
) -> None:
    """Whoever reads the error knows which package to mend."""
    install(site, "speaker", target, code)
    with pytest.raises(NotConfiguredError, match=words) as caught:
        FsspecStore.from_url("speech://x")
    assert "the package 'speaker'" in str(caught.value)


def test_two_packages_of_one_protocol(site: pathlib.Path) -> None:
    """Neither wins by chance; register() chooses."""
    install(site, "one", "speaking:Speech", SPEECH)
    install(site, "other", "talking:Speech", SPEECH)
    with pytest.raises(NotConfiguredError, match="Several packages.*'one'") as caught:
        FsspecStore.from_url("speech://x")
    assert "'other' (talking:Speech)" in str(caught.value)
    register("speech", "talking:Speech")
    assert type(FsspecStore.from_url("speech://x").dialect) is OwnDialect


@pytest.mark.parametrize(
    ("protocol", "target", "words"),
    [
        ("HDFS", "a.b:C", "is no protocol. Write what stands before '://'"),
        ("hdfs://", "a.b:C", "is no protocol"),
        ("", "a.b:C", "is no protocol"),
        (5, "a.b:C", "5 is no protocol"),
        ("hdfs", "a.b.C", "such as 'package.module:Class'"),
        ("hdfs", "a.b:", "such as 'package.module:Class'"),
        ("hdfs", OwnDialect, "such as 'package.module:Class'"),
        ("s3", "a.b:C", "spoken by 'flask_store.*' already.*Choose another protocol"),
    ],
)
def test_wrong_registrations(protocol: t.Any, target: t.Any, words: str) -> None:
    """They are errors at once, and say the cure."""
    with pytest.raises(ValueError, match=words):
        register(protocol, target)


@pytest.mark.parametrize("install", [None, "Speaker[voice]"])
def test_registered_class_that_is_not_there(install: str | None) -> None:
    """It is found out when a store needs it, and says what to do."""
    register("hdfs", "no_such_package:HDFSDialect", install)
    words = "pip install 'Speaker" if install else "no_such_package.*correct the call"
    with pytest.raises(NotConfiguredError, match=words):
        FsspecStore.from_url("hdfs://host/x")
