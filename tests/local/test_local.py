"""The contract on the local disk, and what only a disk has."""

from __future__ import annotations

import errno
import os
import pathlib
import stat
import subprocess
import sys
import typing as t

import pytest

from flask_store.dialects import PAGE
from flask_store.exceptions import InvalidName
from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import StoreError
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.local import LocalStore
from flask_store.testing import HOSTILE
from flask_store.testing import StoreContract
from flask_store.testing import upload
from flask_store.uploads import disk
from tests.conftest import missing
from tests.support.servers import ROOT


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder that does not exist yet."""
    return tmp_path / "some" / "uploads"


@pytest.fixture
def store(root: pathlib.Path) -> LocalStore:
    """A store in that folder."""
    return LocalStore.from_config({"STORE_PATH": str(root)})


def staged(root: pathlib.Path) -> list[str]:
    """What lies in the private folders of the store."""
    return [str(p) for p in root.glob("**/.flask-store/*")]


@pytest.mark.lower_bounds
class TestLocal(StoreContract):
    """The local disk keeps every promise."""

    hostile = HOSTILE

    @pytest.fixture
    def store(self, root: pathlib.Path) -> FsspecStore:
        """A store in a folder that does not exist yet."""
        return LocalStore.from_config({"STORE_PATH": str(root)})

    def leftovers(self, store: FsspecStore) -> list[str]:
        """Staged files that nobody removed."""
        return staged(pathlib.Path(store.absolute_path("x")).parent)


class TestLocalWithoutLinks(TestLocal):
    """On a disk without hard links, such as FAT, every name carries a UUID."""

    exclusive = False

    @pytest.fixture(autouse=True)
    def no_links(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Answers link(2) as FAT does."""

        def refuse(*args: t.Any, **kwargs: t.Any) -> t.NoReturn:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)


class TestLocalWithPrivateNames(TestLocal):
    """Where a file has to have a name (NFS, macOS), it has a private one at first."""

    @pytest.fixture(autouse=True)
    def no_nameless_files(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Has no such flag, as other systems."""
        monkeypatch.delattr(os, "O_TMPFILE")


def test_folder_that_is_a_broken_link(store: LocalStore, root: pathlib.Path) -> None:
    """A destination that is neither a folder nor free is refused, and not renamed."""
    root.mkdir(parents=True)
    (root / "gone").symlink_to(root / "nowhere")
    with pytest.raises(FileExistsError, match="gone"):
        store.at("gone").save(upload())


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is synced: the paths of folders, and "file"."""
    found: list[str] = []
    real = os.fsync

    def record(fd: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
        found.append(os.readlink(f"/proc/self/fd/{fd}") if is_folder else "file")
        real(fd)

    monkeypatch.setattr(os, "fsync", record)
    return found


@pytest.mark.parametrize("fsync", [True, "off"])
def test_fsync_is_a_choice(
    fsync: t.Any, tmp_path: pathlib.Path, synced: list[str]
) -> None:
    """The file, once more when it has a name, and its folder are synced, unless
    STORE_FSYNC says that they are not; so is the folder of what is deleted."""
    store = LocalStore.from_config({"STORE_PATH": tmp_path, "STORE_FSYNC": fsync})
    f = store.save(upload())
    assert synced == (["file", "file", str(tmp_path)] if fsync is True else [])
    synced.clear()
    store.save(upload(b"new"), on_conflict="overwrite")
    assert synced == (["file", "file", str(tmp_path)] if fsync is True else [])
    synced.clear()
    f.delete()
    assert synced == ([str(tmp_path)] if fsync is True else [])


def test_file_with_a_private_name_is_synced_once(
    tmp_path: pathlib.Path, synced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a name when it is synced, which is all that a disk asks for."""
    monkeypatch.delattr(os, "O_TMPFILE")
    store = LocalStore.from_config({"STORE_PATH": tmp_path})
    store.save(upload())
    assert synced == ["file", str(tmp_path)]


def test_names_of_new_folders_are_synced(root: pathlib.Path, synced: list[str]) -> None:
    """A file that is there is of no use if a folder above it is not."""
    store = LocalStore.from_config({"STORE_PATH": root})
    store.at("2026/11").save(upload())
    assert synced == [
        *(str(root.parent.parent), str(root.parent)),
        *("file", str(root), str(root / "2026")),
        *("file", str(root / "2026" / "11")),
    ]
    synced.clear()
    store.at("2026/11").save(upload())
    assert synced == ["file", "file", str(root / "2026" / "11")]


@pytest.mark.parametrize("code", ["EINVAL", "EBADF", "ENOTSUP", "ENOSYS", "EACCES"])
def test_folders_that_know_no_fsync(
    root: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    code: str,
) -> None:
    """What is stored is answered so, and the log says once what does not hold."""
    monkeypatch.setattr(disk, "_told", set())
    real = os.fsync

    def refuse(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))
        real(fd)

    monkeypatch.setattr(os, "fsync", refuse)
    store = LocalStore.from_config({"STORE_PATH": root})
    for _ in range(3):
        store.at("a/b").save(upload(), on_conflict="overwrite")
    store.move("a/b/a.txt", "c.txt")
    store.delete("c.txt")
    assert list(store.ls()) == []
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "cannot be synced" in caplog.text


def test_name_that_the_locale_cannot_write(tmp_path: pathlib.Path) -> None:
    """Every operation says so, and what to do."""
    script = f"""
from flask_store import StoreError
from flask_store.stores.fsspec import FsspecStore

store = FsspecStore.from_url({str(tmp_path)!r})
store.put("a.txt", b"x")
for operation in (
    lambda: store.save(b"x", "\\u0444.txt"),
    lambda: store.put("\\u0444.txt", b"x"),
    lambda: store.exists("\\u0444.txt"),
    lambda: store.read("\\u0444.txt"),
    lambda: store.move("a.txt", "\\u0444.txt"),
    lambda: store.delete("\\u0444/a.txt"),
):
    try:
        operation()
    except StoreError as error:
        print(type(error).__name__, "LC_ALL=C.UTF-8" in str(error))
print([f.name for f in store.ls()])
"""
    env = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.stdout == "NotConfiguredError True\n" * 6 + "['a.txt']\n", done.stderr


@pytest.mark.parametrize("code", ["EMFILE", "EACCES"])
def test_folder_that_cannot_be_opened_to_be_synced(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    code: str,
) -> None:
    """A file that has its name is stored: an error would have it sent again."""
    store = LocalStore.from_config({"STORE_PATH": tmp_path})
    store.save(upload())
    real = os.open

    def refuse(path: t.Any, flags: int, *args: t.Any, **kwargs: t.Any) -> int:
        if path == str(tmp_path) and flags == os.O_RDONLY:
            raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    f = store.save(upload(), "b.txt")
    f.delete()
    assert [found.name for found in store.ls()] == ["a.txt"]
    assert [r.levelname for r in caplog.records] == ["WARNING", "WARNING"]


def test_folder_whose_disk_fails(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows then what is on the disk, and that is said."""
    store = LocalStore.from_config({"STORE_PATH": tmp_path})
    real = os.fsync

    def fail(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(fd)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match="Check the disk"):
        store.save(upload())


def test_path_and_url_name_the_same_folder(root: pathlib.Path) -> None:
    """A path, a Path and a file:// URL are one store."""
    f = LocalStore.from_config({"STORE_PATH": root}).save(upload())
    assert FsspecStore.from_url(f"file://{root}").file("a.txt") == f
    assert f.absolute_path() == str(root / "a.txt")


def test_relative_path_is_fixed_at_the_start(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that changes its directory later keeps its store."""
    monkeypatch.chdir(tmp_path)
    store = LocalStore.from_config({"STORE_PATH": "uploads/"})
    monkeypatch.chdir("/")
    assert store.save(upload()).absolute_path() == str(tmp_path / "uploads" / "a.txt")


def test_file_url_with_a_host_is_refused() -> None:
    """'file://host/x' would be relative to who knows what."""
    with pytest.raises(NotConfiguredError, match="'file:///srv/up'"):
        FsspecStore.from_url("file://srv/up")


def test_local_store_refuses_another_protocol() -> None:
    """An explicit LocalStore with the URL of something else is a contradiction."""
    with pytest.raises(NotConfiguredError, match="Leave STORE_PROVIDER out"):
        LocalStore.from_config({"STORE_PATH": "memory://x"})


@pytest.mark.parametrize("kind", ["file", "folder", "absent"])
def test_symbolic_link_does_not_lead_out(
    store: LocalStore, root: pathlib.Path, tmp_path: pathlib.Path, kind: str
) -> None:
    """Neither a linked file nor a linked folder outside is read, written or listed."""
    secret = tmp_path / "outside"
    store.save(upload())
    if kind == "folder":
        secret.mkdir()
        (secret / "key.txt").write_text("secret")
        name = "link/key.txt"
    else:
        name = "link"
        if kind == "file":
            secret.write_text("secret")
    (root / "link").symlink_to(secret)
    for use in (store.open, store.stat, store.exists, store.absolute_path):
        with pytest.raises(InvalidName, match="symbolic link"):
            use(name)
    assert [found.name for found in store.ls()] == ["a.txt"]
    if kind == "folder":
        for write in (store.at("link").save, lambda f: store.delete(name)):
            with pytest.raises(InvalidName, match="symbolic link"):
                write(upload())
        assert os.listdir(secret) == ["key.txt"]
    else:
        assert store.save(upload(), filename="link").filename != "link"
        store.save(upload(), filename="link", on_conflict="overwrite")
        assert not (root / "link").is_symlink()
        assert secret.exists() == (kind == "file")


def test_symbolic_link_inside_is_followed(
    store: LocalStore, root: pathlib.Path
) -> None:
    """A link that stays in the store is an ordinary name."""
    store.at("2026").save(upload(b"here"))
    (root / "latest").symlink_to(root / "2026")
    assert store.file("latest/a.txt").read() == b"here"


def test_sibling_folder_with_the_same_beginning(
    store: LocalStore, root: pathlib.Path
) -> None:
    """'uploads_backup' is not inside of 'uploads', though its name begins so."""
    store.save(upload())
    sibling = root.with_name("uploads_backup")
    sibling.mkdir()
    (sibling / "s.txt").write_text("secret")
    (root / "link").symlink_to(sibling)
    with pytest.raises(InvalidName):
        store.open("link/s.txt")


def test_store_may_be_a_symbolic_link(tmp_path: pathlib.Path) -> None:
    """STORE_PATH itself may be a link, as deployments do."""
    (tmp_path / "real").mkdir()
    (tmp_path / "current").symlink_to(tmp_path / "real")
    store = LocalStore.from_config({"STORE_PATH": tmp_path / "current"})
    assert store.save(upload(b"x")).read() == b"x"
    assert (tmp_path / "real" / "a.txt").exists()


def on_a_disk_of_its_own(folder: pathlib.Path, script: str) -> str:
    """What *script* prints while *folder* is a disk of 300 kB."""
    # In a mount namespace of its own, gone with the process.
    command = f"mount -t tmpfs -o size=300k tmpfs {folder} && exec {sys.executable} -"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", command],
        input=script,
        capture_output=True,
        text=True,
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        missing(f"a disk to mount ({done.stderr.strip()})")
    assert not done.stderr
    return done.stdout


def test_folder_on_another_disk(root: pathlib.Path) -> None:
    """A folder of the store that is a mount of its own is staged there again."""
    (root / "disk2").mkdir(parents=True)
    script = f"""
import pathlib
from flask_store.stores.local import LocalStore
disk2 = LocalStore.from_config({{"STORE_PATH": {str(root)!r}}}).at("disk2")
files = [disk2.save(data, "a.txt") for data in (b"one", b"two")]
files.append(disk2.save(b"three", "b.txt", on_conflict="overwrite"))
print([f.read() for f in files])
print([str(p) for p in pathlib.Path({str(root)!r}).glob("**/.flask-store/*")])
"""
    printed = on_a_disk_of_its_own(root / "disk2", script)
    assert printed == "[b'one', b'two', b'three']\n[]\n"
    assert list((root / "disk2").iterdir()) == []


def test_full_disk_leaves_nothing(tmp_path: pathlib.Path) -> None:
    """ENOSPC in the middle is StoreFull, and what was written so far is gone."""
    script = f"""
import os
from flask_store.exceptions import StoreFull
from flask_store.stores.local import LocalStore
store = LocalStore.from_config({{"STORE_PATH": {str(tmp_path)!r}}})
store.save(b"x" * 100_000, "small.bin")
try:
    store.save(b"x" * 400_000, "big.bin")
except StoreFull as exc:
    print(exc, os.listdir({str(tmp_path / ".flask-store")!r}))
    print([(f.name, f.size) for f in store.ls()])
"""
    printed = on_a_disk_of_its_own(tmp_path, script)
    assert printed.startswith("The storage is full. Nothing was stored. []")
    assert printed.endswith("[('small.bin', 100000)]\n")


def test_folder_that_may_not_be_written(tmp_path: pathlib.Path) -> None:
    """A STORE_PATH below a file says so, by the name of the setting."""
    (tmp_path / "file").write_text("")
    store = LocalStore.from_config({"STORE_PATH": tmp_path / "file" / "uploads"})
    with pytest.raises(NotConfiguredError, match="STORE_PATH"):
        store.save(upload())


def test_etag_changes_with_every_replacement(store: LocalStore) -> None:
    """Two contents of one size within one tick of the clock differ in their ETag."""
    seen = set()
    for number in range(50):
        f = store.save(upload(b"%02d" % number), on_conflict="overwrite")
        seen.add(f.etag)
    assert len(seen) == 50


class _Counted:
    """What :func:`os.scandir` returns, and how often it was asked for an entry."""

    read = 0

    def __init__(self, entries: t.Any) -> None:
        self.entries = entries

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.entries.close()

    def __iter__(self) -> t.Self:
        return self

    def __next__(self) -> os.DirEntry[str]:
        type(self).read += 1
        return t.cast("os.DirEntry[str]", next(self.entries))


def test_listing_reads_as_it_is_iterated_over(
    store: LocalStore, root: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first file of a large folder comes without a look at the others."""
    store.put("b/c.txt", b"x")
    for number in range(500):
        (root / "b" / f"{number}.txt").touch()
    listed = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: _Counted(listed(path)))
    monkeypatch.setattr(_Counted, "read", 0)
    files = iter(store.ls())
    next(files)
    assert _Counted.read < 10
    assert len(list(files)) == 500
    assert _Counted.read > 500


def test_listing_goes_on_while_files_come_and_go(store: LocalStore) -> None:
    """What was there all the time is listed once, and nobody is led astray."""
    for number in range(300):
        store.put(f"{number % 3}/{number:03}.txt", b"x")
    seen = []
    for found in store.ls():
        seen.append(found.name)
        store.delete(found.name)
    assert len(seen) == len(set(seen)) == 300
    assert list(store.ls()) == []


def test_first_page_is_sorted(store: LocalStore, root: pathlib.Path) -> None:
    """The disk has an order of its own, which a reader cannot search."""
    names = [f"{number:03}.txt" for number in range(50)]
    for name in reversed(names):
        store.put(f"b/{name}", b"x")
    found, more = store.ls("b").first_page()
    assert ([f.name for f in found], more) == ([f"b/{name}" for name in names], False)
    for number in range(PAGE):
        (root / f"more-{number}.txt").touch()
    found, more = store.ls().first_page()
    assert len(found) == PAGE and more
    assert found == sorted(found, key=lambda f: f.name)
