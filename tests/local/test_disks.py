"""Disks that are not like ours: away, read-only, failing, cut off, or full of oddities.

Mounts and power cuts are real: tmpfs in a namespace of its own, and images of ext2 and
ext4 by a loop device, for which root is needed.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import typing as t

import pytest
from flask import Flask

from flask_store import Store
from flask_store.dialects.bodies import FilePart
from flask_store.exceptions import FileExists
from flask_store.exceptions import FileNotFound
from flask_store.exceptions import InvalidName
from flask_store.exceptions import StoreDenied
from flask_store.exceptions import StoreError
from flask_store.exceptions import StoreUnavailable
from flask_store.stores.local import LocalStore
from tests.conftest import missing
from tests.support.servers import ROOT


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    """The folder of the store, which does not exist yet."""
    return tmp_path / "disk" / "uploads"


@pytest.fixture
def store(root: pathlib.Path) -> LocalStore:
    """A store in that folder."""
    return LocalStore.from_config({"STORE_PATH": str(root)})


# -- a disk that is not mounted ------------------------------------------------------


def arrive(store: LocalStore) -> None:
    """An upload begins to arrive, and is given up."""
    file = store.incoming.unnamed()
    assert file is not None
    file.close()


OPERATIONS: dict[str, t.Callable[[LocalStore], object]] = {
    "save": lambda store: store.save(b"new", "new.txt"),
    "save elsewhere": lambda store: store.at("2027/01").save(b"new", "new.txt"),
    "overwrite": lambda store: store.save(b"new", "a.txt", "overwrite"),
    "put": lambda store: store.put("new.txt", b"new"),
    "stat": lambda store: store.stat("a.txt"),
    "exists": lambda store: store.exists("a.txt"),
    "read": lambda store: store.read("a.txt"),
    "open": lambda store: store.open("a.txt"),
    "stream": lambda store: list(store.stream("a.txt")),
    "fetch": lambda store: store.fetch("a.txt"),
    "ls": lambda store: list(store.ls()),
    "ls of a folder": lambda store: list(store.ls("2026")),
    "first page": lambda store: store.ls().first_page(),
    "usage": lambda store: store.usage(),
    "copy": lambda store: store.copy("a.txt", "c.txt"),
    "move": lambda store: store.move("a.txt", "c.txt"),
    "delete": lambda store: store.delete("a.txt"),
    "sweep": lambda store: store.sweep(),
    "upload that arrives": arrive,
}


def refused(store: LocalStore) -> list[str]:
    """The operations that say that the disk is away."""
    names = []
    for name, use in OPERATIONS.items():
        with contextlib.suppress(StoreUnavailable):
            use(store)
            continue
        names.append(name)
    return names


@pytest.mark.parametrize("nameless", [True, False])
@pytest.mark.parametrize("used", [True, False])
def test_root_that_has_gone(
    store: LocalStore,
    root: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    nameless: bool,
    used: bool,
) -> None:
    """Nothing is looked for or made below a mount point without its disk."""
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    store.save(b"old", "a.txt")
    if not used:  # a process that has only read so far
        store = LocalStore.from_config({"STORE_PATH": str(root)})
        assert store.exists("a.txt")
    root.parent.rename(root.parent.with_name("away"))
    root.parent.mkdir()
    assert refused(store) == list(OPERATIONS)
    assert list(root.parent.iterdir()) == []
    root.parent.rmdir()
    root.parent.with_name("away").rename(root.parent)
    assert store.read("a.txt") == b"old"
    assert store.save(b"new", "b.txt").read() == b"new"


def test_root_that_is_another_disk(
    store: LocalStore, root: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the store's if a store was there before, and no store's otherwise."""
    store.save(b"old", "a.txt")
    private = root / ".flask-store"
    real = os.stat

    def on_another(path: t.Any, *args: t.Any, **kwargs: t.Any) -> os.stat_result:
        found = real(path, *args, **kwargs)
        if path == str(root):
            # st_dev is the third of the fields.
            return os.stat_result([*found[:2], found.st_dev + 1, *found[3:]])
        return found

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", on_another)
        private.rename(root.parent / "kept")
        # What arrives has no name yet, and does not get one.
        assert refused(store) == list(OPERATIONS)[:-1]
        assert sorted(p.name for p in root.iterdir()) == ["a.txt"]
        (root.parent / "kept").rename(private)
        assert store.read("a.txt") == b"old"
    assert store.read("a.txt") == b"old"


def test_root_that_never_was(store: LocalStore, root: pathlib.Path) -> None:
    """It is made by the first save, and until then there are no files in it."""
    assert not store.exists("a.txt")
    assert list(store.ls()) == []
    assert store.save(b"new", "a.txt").read() == b"new"


def test_root_that_is_made_anew(store: LocalStore, root: pathlib.Path) -> None:
    """On the same disk it is a store that somebody has emptied."""
    store.save(b"old", "a.txt")
    shutil.rmtree(root)
    assert refused(store) == list(OPERATIONS)
    root.mkdir()
    assert not store.exists("a.txt")
    assert store.save(b"new", "a.txt").read() == b"new"


def test_root_that_goes_while_it_is_listed(
    store: LocalStore, root: pathlib.Path
) -> None:
    """Every folder would have vanished, and a listing would end as if it was whole."""
    for name in ("a/1.txt", "b/2.txt", "c/3.txt"):
        store.put(name, b"x")
    listing = iter(store.ls())
    next(listing)
    root.rename(root.with_name("away"))
    with pytest.raises(StoreUnavailable, match="mount it"):
        list(listing)


def test_route_of_a_store_that_is_away(root: pathlib.Path) -> None:
    """The route asks to come back, where 404 would be kept as an answer."""
    app = Flask(__name__)
    app.config.update(STORE_PATH=str(root))
    store = Store(app)
    with app.app_context():
        store.Provider().save(b"old", "a.txt")
    client = app.test_client()
    assert client.get("/flaskstore/a.txt").status_code == 200
    root.rename(root.with_name("away"))
    for path in ("a.txt", "other.txt"):
        for headers in ({}, {"Range": "bytes=1-"}, {"If-None-Match": '"x"'}):
            answer = client.get(f"/flaskstore/{path}", headers=headers)
            assert answer.status_code == 503
            assert answer.headers["Cache-Control"] == "no-store"
        assert client.head(f"/flaskstore/{path}").status_code == 503
    root.with_name("away").rename(root)
    assert client.get("/flaskstore/a.txt").data == b"old"


def in_a_namespace(command: str, script: str) -> str:
    """What a script prints after a shell's command, where both may mount."""
    done = subprocess.run(
        [
            *("unshare", "--user", "--map-root-user", "--mount"),
            *("sh", "-c", f"{command} && exec {sys.executable} -"),
        ],
        input=script,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )
    if done.stderr.startswith(("unshare:", "mount:")):
        missing(f"a disk to mount ({done.stderr.strip()})")
    assert not done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("below", ["", "uploads"])
def test_disk_that_is_unmounted(tmp_path: pathlib.Path, below: str) -> None:
    """The mount point itself, or a folder below it, is no store without its disk."""
    disk = tmp_path / "disk"
    disk.mkdir()
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    script = f"""
import os, subprocess
from tests.local.test_disks import refused, OPERATIONS
from flask_store.stores.local import LocalStore
store = LocalStore.from_config({{"STORE_PATH": {str(disk / below)!r}}})
store.save(b"old", "a.txt")
run = lambda *command: subprocess.run(command, check=True)
run("mount", "--move", {str(disk)!r}, {str(shelf)!r})
print(set(OPERATIONS) - set(refused(store)), os.listdir({str(disk)!r}))
run("mount", "-t", "tmpfs", "tmpfs", {str(disk)!r})
print(set(OPERATIONS) - set(refused(store)), os.listdir({str(disk)!r}))
run("umount", {str(disk)!r})
run("mount", "--move", {str(shelf)!r}, {str(disk)!r})
print(store.read("a.txt"), store.save(b"new", "b.txt").read())
"""
    printed = in_a_namespace(f"mount -t tmpfs tmpfs {disk}", script)
    # An upload that arrives has no name yet, and does not get one.
    away = "set()" if below else "{'upload that arrives'}"
    assert printed == f"{away} []\n{away} []\nb'old' b'new'\n"


def test_disk_that_is_mounted_read_only(tmp_path: pathlib.Path) -> None:
    """Nothing can be changed, everything can be read, and the error says why."""
    script = f"""
import subprocess
from flask_store.exceptions import StoreDenied
from flask_store.stores.local import LocalStore
store = LocalStore.from_config({{"STORE_PATH": {str(tmp_path)!r}}})
store.save(b"old", "a.txt")
subprocess.run(["mount", "-o", "remount,ro", {str(tmp_path)!r}], check=True)
for use in (
    lambda: store.save(b"new", "b.txt"),
    lambda: store.save(b"new", "a.txt", "overwrite"),
    lambda: store.at("c").save(b"new", "a.txt"),
    lambda: store.move("a.txt", "c.txt"),
    lambda: store.delete("a.txt"),
):
    try:
        use()
    except StoreDenied as exc:
        print("mounted read-only" in str(exc))
print(store.read("a.txt"), [found.name for found in store.ls()])
subprocess.run(["mount", "-o", "remount,rw", {str(tmp_path)!r}], check=True)
print(store.save(b"new", "b.txt").read())
"""
    printed = in_a_namespace(f"mount -t tmpfs tmpfs {tmp_path}", script)
    assert printed == "True\n" * 5 + "b'old' ['a.txt']\nb'new'\n"


# -- a cut of the power --------------------------------------------------------------

#: What is done to a store with a file old.txt, and what is there after the cut.
Action: t.TypeAlias = t.Callable[[LocalStore], object]
CUTS: dict[str, tuple[Action, dict[str, bytes]]] = {
    "save": (
        lambda store: store.save(b"new" * 999, "new.txt"),
        {"old.txt": b"old", "new.txt": b"new" * 999},
    ),
    "folders": (
        lambda store: store.put("2026/11/a.txt", b"new"),
        {"old.txt": b"old", "2026/11/a.txt": b"new"},
    ),
    "overwrite": (
        lambda store: store.save(b"new", "old.txt", "overwrite"),
        {"old.txt": b"new"},
    ),
    "delete": (lambda store: store.delete("old.txt"), {}),
    "move": (
        lambda store: store.move("old.txt", "to/moved.txt"),
        {"to/moved.txt": b"old"},
    ),
}
FILESYSTEMS = {
    "ext2": ["mkfs.ext2", "-q", "-F"],
    "ext4 without a journal": ["mkfs.ext4", "-q", "-F", "-O", "^has_journal"],
    "ext4": ["mkfs.ext4", "-q", "-F"],
}


@contextlib.contextmanager
def mounted(image: pathlib.Path, folder: pathlib.Path) -> t.Iterator[None]:
    """Mount an image by a loop device."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-o", "loop", image, folder], capture_output=True, text=True
    )
    if done.returncode:
        missing(f"a loop device to mount ({done.stderr.strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("filesystem", FILESYSTEMS)
def test_cut_of_the_power(tmp_path: pathlib.Path, filesystem: str) -> None:
    """What was answered is on the disk: here is the disk at that very moment."""
    if os.geteuid() != 0 or shutil.which(FILESYSTEMS[filesystem][0]) is None:
        missing("root, who may mount an image, and e2fsprogs")
    image, cut = tmp_path / "image", tmp_path / "cut"
    seen = {}
    for name, (action, _) in CUTS.items():
        with open(image, "wb") as file:
            file.truncate(16 * 1024**2)
        subprocess.run([*FILESYSTEMS[filesystem], image], check=True)
        with mounted(image, tmp_path / "disk"):
            folder = tmp_path / "disk" / "store"
            store = LocalStore.from_config({"STORE_PATH": folder})
            store.save(b"old", "old.txt")
            os.sync()
            action(store)
            # Nothing of what only the memory has is in a copy of the image.
            shutil.copyfile(image, cut)
        subprocess.run(["e2fsck", "-fyq", cut], capture_output=True)
        with mounted(cut, tmp_path / "after"):
            after = tmp_path / "after" / "store"
            seen[name] = {
                str(path.relative_to(after)): path.read_bytes()
                for path in after.rglob("*")
                if path.is_file() and ".flask-store" not in path.parts
            }
    assert seen == {name: there for name, (_, there) in CUTS.items()}


# -- errors --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind", "cure"),
    [
        ("EROFS", StoreDenied, "Mount it for writing"),
        ("EACCES", StoreDenied, "Check the permissions"),
        ("ENAMETOOLONG", InvalidName, "shorter name"),
        ("EMFILE", StoreUnavailable, "ulimit -n"),
        ("ENFILE", StoreUnavailable, "ulimit -n"),
        ("EIO", StoreError, "Check the disk"),
        ("ESTALE", StoreUnavailable, "Check that it runs"),
        ("ENOTCONN", StoreUnavailable, "Check that it runs"),
        ("EFBIG", StoreError, "the system's log"),
        ("EINVAL", StoreError, "the system's log"),
    ],
)
@pytest.mark.parametrize("call", ["open", "link"])
def test_errors_have_a_cause_and_a_cure(
    store: LocalStore,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    code: str,
    kind: type[StoreError],
    cure: str,
) -> None:
    """Whatever the disk answers to a save is an error of the store."""
    store.save(b"old", "a.txt")

    def fail(*args: t.Any, **kwargs: t.Any) -> t.NoReturn:
        raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(StoreError, match=cure) as caught:
            store.save(b"new", "b.txt")
    assert type(caught.value) is kind
    assert caught.value.key == "b.txt"
    assert [found.name for found in store.ls()] == ["a.txt"]


def test_too_many_open_files(root: pathlib.Path) -> None:
    """Every operation says so, and goes on when there are fewer."""
    script = f"""
import os, resource
from flask_store.exceptions import StoreUnavailable
from flask_store.stores.local import LocalStore
store = LocalStore.from_config({{"STORE_PATH": {str(root)!r}}})
store.put("a/b.txt", b"old")
list(store.ls())
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True:
        held.append(os.open("/", os.O_RDONLY))
except OSError:
    pass
for use in (
    lambda: store.save(b"new", "c.txt"),
    lambda: store.read("a/b.txt"),
    lambda: list(store.ls()),
):
    try:
        print(use())
    except StoreUnavailable as exc:
        print(type(exc).__name__)
for number in held:
    os.close(number)
print([found.name for found in store.ls()])
"""
    done = subprocess.run(
        [sys.executable, "-"], input=script, capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout == "StoreUnavailable\n" * 3 + "['a/b.txt']\n", done.stderr


#: Files that cannot be read, on any Linux: nothing is at the first bytes of a process's
#: memory (EIO), and the loopback device has no speed (EINVAL).
UNREADABLE = {
    "/proc/self": ("mem", "Check the disk"),
    "/sys/devices/virtual/net/lo": ("speed", "Invalid argument"),
}


@pytest.mark.parametrize("place", UNREADABLE)
def test_disk_that_fails_while_a_file_is_read(
    place: str, tmp_path: pathlib.Path
) -> None:
    """What goes wrong then is an error of the store, however the file is read."""
    name, cause = UNREADABLE[place]
    store = LocalStore.from_config({"STORE_PATH": place})
    other = LocalStore.from_config({"STORE_PATH": str(tmp_path)})
    uses: list[t.Callable[[], object]] = [
        lambda: store.open(name).read(),
        lambda: store.open(name).read(10),
        lambda: store.open(name).readinto(bytearray(10)),
        lambda: store.open(name, "r").read(),
        lambda: other.save(store.open(name), "copy"),
        lambda: next(FilePart(store.open(name), 0, 10)),
        lambda: FilePart(store.open(name), 0, 10).read(),
    ]
    if store.stat(name).size:  # nobody reads what has no bytes
        uses += [
            lambda: store.read(name),
            lambda: list(store.stream(name)),
            lambda: list(store.fetch(name).body),  # type: ignore[union-attr]
        ]
    for use in uses:
        with pytest.raises(StoreError, match=f"'{name}'.*{cause}"):
            use()


def test_opened_file_is_a_file(store: LocalStore) -> None:
    """It can be mapped, copied by the kernel, and read as any other."""
    store.save(b"line 1\nline 2\n", "a.txt")
    with store.open("a.txt") as file:
        assert os.pread(file.fileno(), 4, 0) == b"line"
        assert file.name == "a.txt"
        assert file.readline() == b"line 1\n"
        assert file.seek(-2, os.SEEK_END) == 12
        assert file.read() == b"2\n"
        assert not file.writable()
    assert file.closed
    assert store.open("a.txt", "r").read() == "line 1\nline 2\n"
    assert store.copy("a.txt", "b.txt").read() == b"line 1\nline 2\n"
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        store.open("a.txt")  # forgotten
    assert len(os.listdir("/proc/self/fd")) == descriptors


# -- listings ------------------------------------------------------------------------


def names(store: LocalStore, prefix: str = "") -> list[str]:
    """What a listing shows, in order."""
    return sorted(found.name for found in store.ls(prefix))


def listed(store: LocalStore) -> tuple[list[str], dict[str, str]]:
    """The files of a listing, and what it counts besides."""
    listing = store.ls()
    files = sorted(found.name for found in listing)
    return files, {entry.name: entry.reason for entry in listing.unreachable}


def path_of(folder: int | str) -> str:
    """The path of a folder that may be open."""
    return os.readlink(f"/proc/self/fd/{folder}") if isinstance(folder, int) else folder


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("EACCES", StoreDenied),
        ("EPERM", StoreDenied),
        ("EIO", StoreError),
        ("EMFILE", StoreUnavailable),
        ("ESTALE", StoreUnavailable),
        ("ENAMETOOLONG", StoreError),
        ("ENOMEM", StoreError),
    ],
)
@pytest.mark.parametrize("moment", ["opened", "read", "looked at"])
def test_listing_is_whole_or_an_error(
    store: LocalStore,
    root: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    kind: type[StoreError],
    moment: str,
) -> None:
    """A folder, or an entry, that cannot be read is named, and never left out."""
    for name in ("a/1.txt", "b/c/2.txt", "d.txt"):
        store.put(name, b"x")
    error = OSError(getattr(errno, code), os.strerror(getattr(errno, code)))
    scandir, real = os.scandir, os.stat

    class Breaking:
        def __init__(self, entries: t.Any) -> None:
            self.entries = entries

        def __enter__(self) -> t.Self:
            return self

        def __exit__(self, *exc_info: object) -> None:
            self.entries.close()

        def __iter__(self) -> t.Iterator[os.DirEntry[str]]:
            yield from self.entries
            raise error

    def scan(folder: int | str) -> t.Any:
        if not path_of(folder).endswith("b/c") or moment == "looked at":
            return scandir(folder)
        if moment == "opened":
            raise error
        return Breaking(scandir(folder))

    def look(path: t.Any, **options: t.Any) -> os.stat_result:
        if moment == "looked at" and path == "2.txt":
            raise error
        return real(path, **options)

    monkeypatch.setattr(os, "scandir", scan)
    monkeypatch.setattr(os, "stat", look)
    for use in (
        lambda: names(store),
        lambda: names(store, "b"),
        lambda: store.usage(),
        lambda: store.ls().first_page(),
    ):
        with pytest.raises(StoreError, match="'b/c") as caught:
            use()
        assert type(caught.value) is kind
    assert names(store, "a") == ["a/1.txt"]


def test_folder_that_may_not_be_read(
    root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """So it is with the permissions of a real disk."""
    script = f"""
from flask_store.exceptions import StoreDenied
from flask_store.stores.local import LocalStore
store = LocalStore.from_config({{"STORE_PATH": {str(root)!r}}})
try:
    print(list(store.ls()))
except StoreDenied as exc:
    print("shut" in str(exc), exc.key)
"""
    (root / "shut").mkdir(parents=True)
    (root / "shut" / "a.txt").touch()
    (root / "shut").chmod(0)
    command = [sys.executable, "-"]
    if os.geteuid() == 0:
        rights = "-dac_override,-dac_read_search"
        drop = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"]
        command = drop + command
    done = subprocess.run(
        command, input=script, capture_output=True, text=True, cwd=ROOT
    )
    (root / "shut").chmod(0o755)
    assert done.stdout == "True shut\n", done.stderr


def test_folder_that_vanishes_does_not_cut_off_the_rest(
    store: LocalStore, root: pathlib.Path
) -> None:
    """What is deleted while it is listed is left out, and nothing else."""
    for folder, number in itertools.product("abcdefgh", range(3)):
        store.put(f"{folder}/x/{number}.txt", b"x")
    seen = []
    removed = ""
    for found in store.ls():
        seen.append(found.name)
        if not removed:
            removed = next(f for f in "abcdefgh" if f != found.name[0])
            shutil.rmtree(root / removed)
    assert len(seen) == 21
    assert not any(name.startswith(removed) for name in seen)


@pytest.mark.parametrize("place", ["", "mounted"])
def test_lost_and_found(
    store: LocalStore,
    root: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    """ext4 has a folder that only root may read, at the root of a disk and not below:
    somewhere else a folder of this name is the application's."""
    store.put("a.txt", b"x")
    (root / place / "lost+found").mkdir(parents=True)
    scandir = os.scandir

    def scan(folder: int | str) -> t.Any:
        if path_of(folder).endswith("lost+found"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", scan)
    if place:
        with pytest.raises(StoreDenied, match=r"'mounted/lost\+found'"):
            names(store)
        monkeypatch.setattr(os.path, "ismount", lambda path: path.endswith(place))
    assert names(store) == ["a.txt"]
    monkeypatch.setattr(os, "scandir", scandir)
    (root / place / "lost+found" / "b.txt").touch()
    assert names(store) == ["a.txt", os.path.join(place, "lost+found", "b.txt")]


def make_device(path: str) -> None:
    """A device that gives zeros for ever, for which root is needed."""
    if os.geteuid() != 0:
        missing("root, who may make a device")
    os.mknod(path, 0o20644, os.makedev(1, 5))


def make_socket(path: str) -> None:
    """A socket on which nobody listens."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)


ODDITIES: dict[str, t.Callable[[str], object]] = {
    "link to itself": lambda path: os.symlink(path, path),
    "dangling link": lambda path: os.symlink("nowhere", path),
    "pipe": os.mkfifo,
    "device": make_device,
    "socket": make_socket,
    "folder": os.mkdir,
}


@pytest.fixture
def in_time() -> t.Iterator[None]:
    """Whatever hangs is ended."""

    def give_up(*_: object) -> t.NoReturn:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("oddity", ODDITIES)
@pytest.mark.parametrize("linked", [False, True])
def test_what_is_no_file(tmp_path: pathlib.Path, oddity: str, linked: bool) -> None:
    """It is neither listed nor read, and nobody waits for it."""
    app = Flask(__name__)
    app.config.update(STORE_PATH=str(tmp_path / "s"))
    extension = Store(app)
    with app.app_context():
        store = t.cast("LocalStore", extension.Provider())
    store.put("a/file.txt", b"x")
    # A socket's path has about 100 characters.
    here = os.getcwd()
    os.chdir(tmp_path / "s" / "a")
    try:
        ODDITIES[oddity]("odd.txt")
    finally:
        os.chdir(here)
    name = "a/odd.txt"
    if linked:
        name = "link.txt"
        (tmp_path / "s" / name).symlink_to("a/odd.txt")
    assert names(store) == ["a/file.txt"]
    assert listed(store) == (["a/file.txt"], {})
    assert not store.exists(name)
    for use in (
        store.stat,
        store.read,
        store.open,
        store.fetch,
        lambda name: list(store.stream(name)),
        lambda name: store.copy(name, "copy.txt"),
        lambda name: store.move(name, "moved.txt"),
    ):
        with pytest.raises(FileNotFound, match=name):
            use(name)
    client = app.test_client()
    for headers in ({}, {"Range": "bytes=1-"}, {"If-None-Match": '"x"'}):
        assert client.get(f"/flaskstore/{name}", headers=headers).status_code == 404
    assert client.head(f"/flaskstore/{name}").status_code == 404
    # The name is taken nevertheless.
    folder, _, filename = name.rpartition("/")
    assert store.at(folder).save(b"y", filename).filename != filename
    with pytest.raises(FileExists):
        store.put(name, b"y")


def test_link_to_itself_is_no_folder(store: LocalStore, root: pathlib.Path) -> None:
    """Nothing can be stored below it, and nothing is there."""
    store.put("file.txt", b"x")
    (root / "loop").symlink_to("loop")
    with pytest.raises(FileExists, match="'loop' is a file"):
        store.at("loop").save(b"y", "a.txt")
    assert not store.exists("loop/a.txt")
    assert names(store, "loop") == []


def test_names_that_no_key_has(store: LocalStore, root: pathlib.Path) -> None:
    """They are told, so that nobody takes a listing without them for whole."""
    store.put("good/a.txt", b"x")
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "b.txt").touch()
    odd = [b"back\\slash.txt", b"new\nline.txt", b"latin-\xe9.txt", b" . "]
    for name in odd:
        with open(os.path.join(os.fsencode(root), b"good", name), "wb"):
            pass
    os.mkdir(os.path.join(os.fsencode(root), b"dir-\xff"))
    (root / "out.txt").symlink_to(outside / "b.txt")
    (root / "out").symlink_to(outside)
    (root / "in").symlink_to("good")
    (root / "in.txt").symlink_to("good/a.txt")
    files, unreachable = listed(store)
    assert files == ["good/a.txt", "in.txt"]
    assert set(unreachable) == {
        *(f"good/{os.fsdecode(name)}" for name in odd),
        *("dir-\udcff", "out.txt", "out"),
    }
    assert "backslash" in unreachable["good/back\\slash.txt"]
    assert "control characters" in unreachable["good/new\nline.txt"]
    assert "surrogates" in unreachable["dir-\udcff"]
    assert "symbolic link" in unreachable["out"]
    for name in unreachable:
        with pytest.raises(InvalidName):
            store.stat(name)


def test_folders_deeper_than_a_path_may_be_long(
    store: LocalStore, root: pathlib.Path
) -> None:
    """They are told, too: what lies in them has no name that is short enough."""
    store.put("a.txt", b"x")
    here = os.open(root, os.O_RDONLY)
    for _ in range(40):
        os.mkdir("n" * 200, dir_fd=here)
        below = os.open("n" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("deep.txt", os.O_CREAT, dir_fd=here))
    os.close(here)
    files, unreachable = listed(store)
    assert files == ["a.txt"]
    assert len(unreachable) == 1
    assert "1024 bytes" in next(iter(unreachable.values()))


def test_path_of_the_root_is_almost_too_long(tmp_path: pathlib.Path) -> None:
    """Where a key is short enough and its path is not, a listing is an error."""
    root = tmp_path.joinpath(*["n" * 200] * ((4000 - len(str(tmp_path))) // 201))
    store = LocalStore.from_config({"STORE_PATH": str(root)})
    store.save(b"x", "a.txt")
    here = os.open(root, os.O_RDONLY)
    os.mkdir("f" * 250, dir_fd=here)
    os.close(here)
    with pytest.raises(StoreError, match="File name too long"):
        names(store)
    with pytest.raises(InvalidName, match="too long for the storage"):
        store.at("f" * 250).save(b"x", "a.txt")
    with pytest.raises(InvalidName, match="too long for the storage"):
        store.exists("f" * 250)


# -- two names of one file -----------------------------------------------------------


@pytest.mark.parametrize("kind", ["hard link", "link", "folder", "another case"])
def test_two_names_of_one_file(
    store: LocalStore, root: pathlib.Path, kind: str
) -> None:
    """What is known of a file tells whether another name means the same one."""
    store.put("a/b.txt", b"same")
    other = {"folder": "c/b.txt", "another case": "a/B.TXT"}.get(kind, "c.txt")
    if kind == "folder":
        (root / "c").symlink_to("a")
    elif kind == "link":
        (root / other).symlink_to("a/b.txt")
    else:
        # A filesystem that ignores case shows one inode under both names, as here.
        (root / other).hardlink_to(root / "a" / "b.txt")
    one, two = store.stat("a/b.txt"), store.stat(other)
    assert one.etag == two.etag and one.etag is not None
    store.put("d.txt", b"same")
    os.utime(root / "d.txt", ns=(0, (root / "a/b.txt").stat().st_mtime_ns))
    assert store.stat("d.txt").etag != one.etag
    for found in store.ls():
        assert found.etag == store.stat(found.name).etag
