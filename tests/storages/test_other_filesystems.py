"""The safe default: filesystems of third parties, which answer as they like."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import pathlib
import time
import typing as t
import uuid

import fsspec
import pytest
from fsspec.asyn import AsyncFileSystem
from fsspec.spec import AbstractBufferedFile
from fsspec.spec import AbstractFileSystem

from flask_store.exceptions import FileNotFound
from flask_store.exceptions import StoreDenied
from flask_store.exceptions import StoreError
from flask_store.exceptions import StoreUnavailable
from flask_store.exceptions import VersionGone
from flask_store.stores.fsspec import FsspecStore
from flask_store.uploads.source import Source

MB = 1024 * 1024
DATA = os.urandom(3 * MB)


class Uploading(io.BytesIO):
    """A file that is stored when it is closed, as small filesystems do it."""

    def __init__(self, fs: t.Any, path: str) -> None:
        super().__init__()
        self.fs, self.path = fs, path

    def write(self, data: t.Any) -> int:
        self.fs.meet("write", self.path)
        return super().write(data)

    def close(self) -> None:
        if not self.closed:
            self.fs.meet("close", self.path)
            self.fs.files[self.path] = self.getvalue()
            self.fs.cut(self.path)
            super().close()


class Buffered(AbstractBufferedFile):  # type: ignore[misc]
    """The same on fsspec's own class."""

    def _upload_chunk(self, final: bool = False) -> bool:
        self.fs.meet("write", self.path)
        if final:
            self.fs.meet("close", self.path)
            self.buffer.seek(0)
            self.fs.files[self.path] = self.buffer.read()
            self.fs.cut(self.path)
        return final


class Plain(AbstractFileSystem):  # type: ignore[misc]
    """Files in a dictionary, and folders as the names say. It can only write."""

    file: t.ClassVar[type] = Uploading

    def __init__(self, **options: t.Any) -> None:
        super().__init__(**options)
        self.files: dict[str, bytes] = {}
        #: What an operation raises, in its n-th call from now.
        self.errors: dict[str, list[Exception | None]] = {}
        #: How many bytes of a file are kept; as a disk that is full, and does not say.
        self.kept: int | None = None

    def meet(self, what: str, path: str) -> None:
        waiting = self.errors.get(what)
        error = waiting.pop(0) if waiting else None
        if error is not None:
            raise error

    def cut(self, path: str) -> None:
        self.files[path] = self.files[path][: self.kept]

    def _open(self, path: str, mode: str = "rb", **kwargs: t.Any) -> t.Any:
        self.meet(f"open {mode}", path)
        if mode == "wb":
            if issubclass(self.file, AbstractBufferedFile):
                return self.file(self, path, mode, block_size=8 * MB)
            return self.file(self, path)
        if path not in self.files:
            raise FileNotFoundError(path)
        return io.BytesIO(self.files[path])

    def info(self, path: str, **kwargs: t.Any) -> dict[str, t.Any]:
        self.meet("info", path)
        path = self._strip_protocol(path)
        if path in self.files:
            return {"name": path, "size": len(self.files[path]), "type": "file"}
        if any(name.startswith(f"{path}/") for name in self.files):
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def ls(self, path: str, detail: bool = True, **kwargs: t.Any) -> list[t.Any]:
        self.meet("ls", path)
        path = self._strip_protocol(path)
        below = [name for name in self.files if name.startswith(f"{path}/")]
        if not below:
            raise FileNotFoundError(path)
        names = {name[len(path) + 1 :].partition("/")[0] for name in below}
        return [self.info(f"{path}/{name}") for name in sorted(names)]

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """There are no folders."""

    def rmdir(self, path: str) -> None:
        """There are none."""

    def rm_file(self, path: str) -> None:
        self.meet("rm", path)
        del self.files[path]


class PlainBuffered(Plain):
    """With fsspec's own files."""

    file = Buffered


class Copying(Plain):
    """Copies on the server."""

    def cp_file(self, path1: str, path2: str, **kwargs: t.Any) -> None:
        self.meet("cp", path1)
        self.files[path2] = self.files[path1]


class Renaming(Plain):
    """Renames on the server."""

    def mv(self, path1: str, path2: str, **kwargs: t.Any) -> None:
        self.meet("mv", path1)
        self.files[path2] = self.files.pop(path1)


class RenamingBuffered(Renaming):
    """With fsspec's own files."""

    file = Buffered


KINDS = [Plain, PlainBuffered, Copying, Renaming, RenamingBuffered]


def make(kind: type, folder: str = "root/uploads", **options: t.Any) -> FsspecStore:
    """An empty store on a filesystem of this kind."""
    name = f"other{uuid.uuid4().hex}"
    named = type(kind.__name__, (kind,), {"protocol": name})
    fsspec.register_implementation(name, named)
    return FsspecStore.from_url(f"{name}://{folder}", **options)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def store(request: pytest.FixtureRequest) -> FsspecStore:
    """An empty store on each of them."""
    return make(request.param)


@pytest.fixture(scope="module", autouse=True)
def frozen_heap() -> t.Iterator[None]:
    """Let the collector, which everything() runs, pass over what other tests have left:
    it would spend a second of each test there."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def everything(store: FsspecStore) -> dict[str, bytes]:
    """What is stored, whoever sees it, after a collection of garbage."""
    gc.collect()
    return dict(store.raw_fs.files)


# -- writing -----------------------------------------------------------------


@pytest.mark.parametrize("what", ["open wb", "write", "close", "mv", "cp"])
@pytest.mark.parametrize(
    "error",
    [ConnectionResetError("reset"), OSError(5, "broken"), TimeoutError("late")],
    ids=lambda error: type(error).__name__,
)
def test_save_that_fails(store: FsspecStore, what: str, error: Exception) -> None:
    """Its own error comes out, nothing appears later, and nothing newer is replaced."""
    store.put("a.bin", b"old", "overwrite")
    before = everything(store)
    store.raw_fs.errors[what] = [error]
    try:
        store.save(DATA, "b.bin")
    except StoreError as caught:
        assert caught.__cause__ is error
    else:
        assert store.raw_fs.errors.pop(what)  # it never came to that
    store.raw_fs.errors.clear()
    for name in everything(store).keys() - before.keys():
        late = isinstance(error, TimeoutError) and ".flask-store" in name
        assert late or store.raw_fs.files[name] == DATA
    store.raw_fs.errors[what] = [error]
    try:
        store.put("a.bin", DATA, "overwrite")
    except StoreError:
        assert everything(store)["root/uploads/a.bin"] == b"old"
    store.raw_fs.errors.clear()
    store.put("a.bin", b"newer", "overwrite")
    assert everything(store)["root/uploads/a.bin"] == b"newer"
    assert store.read("a.bin") == b"newer"


def test_upload_that_breaks_off(store: FsspecStore) -> None:
    """The client's error comes out, also where 'closed' cannot be set."""

    class Broken(io.RawIOBase):
        left = 2

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            self.left -= 1
            if self.left < 0:
                raise RuntimeError("the client hung up")
            return b"x" * MB

    store.put("a.bin", b"old", "overwrite")
    before = everything(store)
    with pytest.raises(RuntimeError, match="hung up"):
        store.put("a.bin", t.cast("t.IO[bytes]", Broken()), "overwrite")
    assert everything(store) == before


def test_storage_that_keeps_less_than_it_takes(store: FsspecStore) -> None:
    """What was stored is compared before it is published."""
    store.raw_fs.kept = 1000
    with pytest.raises(StoreUnavailable, match="it stored 1000 bytes of 3145728"):
        store.save(DATA, "a.bin")
    assert everything(store) == {}


def test_rename_that_refuses_to_replace() -> None:
    """The old file stays whole, and the private one goes."""

    class Refusing(Renaming):
        def mv(self, path1: str, path2: str, **kwargs: t.Any) -> None:
            if path2 in self.files:
                raise OSError("the target exists")
            super().mv(path1, path2)

    store = make(Refusing)
    store.put("a.bin", b"old", "overwrite")
    with pytest.raises(StoreError, match="the target exists"):
        store.put("a.bin", DATA, "overwrite")
    assert everything(store) == {"root/uploads/a.bin": b"old"}


def test_filesystem_that_cannot_write() -> None:
    """It is StoreDenied for every verb that would."""

    class Readable(Plain):
        def _open(self, path: str, mode: str = "rb", **kwargs: t.Any) -> t.Any:
            if mode != "rb":
                raise NotImplementedError
            return super()._open(path, mode)

    store = make(Readable)
    with pytest.raises(StoreDenied, match="cannot write"):
        store.save(b"x", "a.txt")


def test_file_is_saved_from_its_own_reading(store: FsspecStore) -> None:
    """Also where it is written in place, which cuts off what is read."""
    store.put("a.bin", DATA, "overwrite")
    with store.open("a.bin") as file:
        store.put("a.bin", file, "overwrite")
    with store.open("a.bin") as file:
        store.save(file, "a.bin", "overwrite")
    store.copy("a.bin", "a.bin", "overwrite")
    assert store.read("a.bin") == DATA
    assert list(everything(store)) == ["root/uploads/a.bin"]


def test_move(store: FsspecStore) -> None:
    """Two names are two files, which look alike on a filesystem without dates."""
    store.put("a.bin", DATA, "overwrite")
    for old, new in (("a.bin", "b/a.bin"), ("b/a.bin", "b/A.bin"), ("b/A.bin", "c")):
        assert store.move(old, new, "overwrite").read() == DATA
    assert list(everything(store)) == ["root/uploads/c"]


def test_move_through_a_link() -> None:
    """The only copy stays where two folders are one, and the filesystem has no
    identity to tell."""

    class Linked(Renaming):
        def _strip(self, path: str) -> str:
            return path.replace("/alias/", "/real/")

        def _open(self, path: str, mode: str = "rb", **kwargs: t.Any) -> t.Any:
            return super()._open(self._strip(path), mode)

        def info(self, path: str, **kwargs: t.Any) -> dict[str, t.Any]:
            return super().info(self._strip(path))

        def mv(self, path1: str, path2: str, **kwargs: t.Any) -> None:
            super().mv(self._strip(path1), self._strip(path2))

        def rm_file(self, path: str) -> None:
            super().rm_file(self._strip(path))

    store = make(Linked)
    store.put("real/a.bin", DATA, "overwrite")
    assert store.move("alias/a.bin", "real/a.bin", "overwrite").read() == DATA
    assert store.move("real/a.bin", "alias/a.bin", "overwrite").read() == DATA
    assert list(everything(store)) == ["root/uploads/real/a.bin"]


# -- reading -----------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 5, 2 * MB])
@pytest.mark.parametrize("change", [-1, 1])
def test_size_that_is_not_that_of_the_bytes(size: int, change: int) -> None:
    """Too few bytes are an error, and so are too many."""

    class Lying(Plain):
        lies = False

        def info(self, path: str, **kwargs: t.Any) -> dict[str, t.Any]:
            found = super().info(path)
            if self.lies and found["type"] == "file":
                found["size"] = max(0, found["size"] + change)
            return found

    store = make(Lying)
    store.put("a.bin", DATA[:size], "overwrite")
    Lying.lies = True
    if size or change > 0:
        with pytest.raises(StoreUnavailable):
            store.read("a.bin")
        with pytest.raises(StoreUnavailable):
            list(store.stream("a.bin"))
        with store.open("a.bin") as file, pytest.raises(StoreUnavailable):
            file.read()
    if not size and change < 0:
        return
    with pytest.raises(StoreError):
        store.copy("a.bin", "b.bin", "overwrite")


def test_file_that_is_replaced_while_it_is_read(store: FsspecStore) -> None:
    """Even where sizes are all that there is to tell two versions apart."""
    store.put("a.bin", DATA, "overwrite")
    stream = store.stream("a.bin")
    file = store.open("a.bin")
    assert next(stream) + file.read(10) == DATA[:MB] + DATA[:10]
    store.put("a.bin", DATA[:-1], "overwrite")
    with pytest.raises(VersionGone):
        list(stream)
    with pytest.raises((VersionGone, StoreUnavailable)):
        file.read()
    file.close()


class Status(Exception):
    """An error of an HTTP client."""

    def __init__(self, status: int) -> None:
        self.status = status


class ServerDisconnectedError(Exception):
    """Another one."""


@pytest.mark.parametrize("chained", [True, False])
@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (Status(500), StoreUnavailable),
        (Status(429), StoreUnavailable),
        (Status(401), StoreDenied),
        (Status(404), FileNotFound),
        (Status(410), FileNotFound),
        (ConnectionRefusedError(), StoreUnavailable),
        (TimeoutError(), StoreUnavailable),
        (PermissionError(13, "no"), StoreDenied),
        (ServerDisconnectedError(), StoreUnavailable),
        (KeyError("a.txt"), FileNotFound),
        (FileNotFoundError(2, "no"), FileNotFound),
    ],
    ids=repr,
)
def test_missing_file_that_hides_another_error(
    cause: Exception, kind: type[StoreError], chained: bool
) -> None:
    """What raises FileNotFoundError for everything does not make a file go away."""

    class Hiding(Plain):
        def info(self, path: str, **kwargs: t.Any) -> dict[str, t.Any]:
            try:
                raise cause
            except Exception as exc:
                if chained:
                    raise FileNotFoundError(path) from exc
                raise FileNotFoundError(path)  # noqa: B904

        ls = info  # type: ignore[assignment]

    store = make(Hiding)
    with pytest.raises(kind):
        store.stat("a.txt")
    with pytest.raises(kind):
        store.read("a.txt")
    if kind is FileNotFound:
        assert not store.exists("a.txt")
        assert list(store.ls()) == []
        return
    for use in (lambda: store.exists("a.txt"), lambda: list(store.ls()), store.sweep):
        with pytest.raises(kind):
            use()


def test_error_that_was_handled_before_hides_nothing() -> None:
    """A view may look for a file while it handles an error of its own."""
    store = make(Plain)
    try:
        raise ConnectionResetError
    except ConnectionResetError:
        assert not store.exists("a.txt")


# -- listings ----------------------------------------------------------------


def listing(infos: dict[str, t.Any], folder: str = "root/uploads") -> FsspecStore:
    """A store whose filesystem lists this: folder -> its infos, or an error."""

    class Listing(Plain):
        def ls(self, path: str, detail: bool = True, **kwargs: t.Any) -> list[t.Any]:
            found = infos.get(path.rstrip("/"), FileNotFoundError(path))
            if callable(found):
                found = found()
            if isinstance(found, Exception):
                raise found
            return list(found)

        def info(self, path: str, **kwargs: t.Any) -> dict[str, t.Any]:
            for found in infos.values():
                for info in found if isinstance(found, list) else ():
                    if info["name"].rstrip("/") == path and info["type"] != "link":
                        return dict(info)
            raise FileNotFoundError(path)

    return make(Listing, folder)


def entry(name: str, kind: str | None = "file", size: int | None = 1) -> t.Any:
    """An info."""
    return {"name": name, "type": kind, "size": size}


def test_listing_of_folders_with_a_slash_and_of_the_folder_itself() -> None:
    """Filesystems name folders in either way, and some list the folder itself."""
    store = listing(
        {
            "root/uploads": [
                entry("root/uploads/", "directory", 0),
                entry("root/uploads", "file", 0),
                entry("root/uploads/b/", "directory", None),
                entry("root/uploads/a.txt"),
            ],
            "root/uploads/b": [
                entry("root/uploads/b/", "directory", None),
                entry("root/uploads/b/c.txt"),
            ],
        }
    )
    assert [found.name for found in store.ls()] == ["a.txt", "b/c.txt"]
    assert [found.name for found in store.ls().first_page()[0]] == ["a.txt"]
    assert store.ls().first_page()[1]


@pytest.mark.parametrize("name", ["uploads/a.txt", "/other/uploads/a.txt", "a.txt"])
def test_names_that_are_not_below_the_root(name: str) -> None:
    """They are not cut by the length of the root."""
    store = listing({"root/uploads": [entry(name)]})
    for use in (lambda: list(store.ls()), lambda: store.ls().first_page()):
        with pytest.raises(StoreError, match="STORE_PATH as the filesystem itself"):
            use()


def test_what_is_no_file_is_told() -> None:
    """A pipe, a device, a link that leads nowhere or to a folder."""
    store = listing(
        {
            "root/uploads": [
                entry("root/uploads/pipe", "other", 0),
                entry("root/uploads/dead", "link"),
                entry("root/uploads/a.txt"),
            ],
        }
    )
    files = store.ls()
    assert [found.name for found in files] == ["a.txt"]
    assert [found.name for found in files.unreachable] == ["pipe", "dead"]
    assert not store.exists("pipe")
    with pytest.raises(FileNotFound):
        store.read("pipe")


@pytest.mark.parametrize(
    "odd", [entry("root/uploads/b.txt", None), entry("root/uploads/b.txt", size=None)]
)
def test_info_that_leaves_out_what_is_needed(odd: t.Any) -> None:
    """Without type or size nobody knows what it is; the error names the file."""
    store = listing({"root/uploads": [entry("root/uploads/a.txt"), odd]})
    for use in (
        lambda: list(store.ls()),
        lambda: store.stat("b.txt"),
        lambda: store.read("b.txt"),
        lambda: store.exists("b.txt"),
    ):
        with pytest.raises(StoreUnavailable, match=r"b\.txt"):
            use()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PermissionError(13, "no"), StoreDenied),
        (OSError(5, "broken"), StoreError),
        (ConnectionResetError(), StoreUnavailable),
        (FileNotFoundError(2, "no"), StoreUnavailable),
        (Status(503), StoreUnavailable),
    ],
    ids=repr,
)
def test_folder_that_cannot_be_listed(error: Exception, kind: type[StoreError]) -> None:
    """It ends the listing; also if it is said to be missing, and its parent has it."""
    root = [
        entry("root/uploads/a.txt"),
        entry("root/uploads/b", "directory"),
        entry("root/uploads/c", "directory"),
    ]
    found = {
        "root/uploads": root,
        "root/uploads/b": error,
        "root/uploads/c": [entry("root/uploads/c/d.txt")],
    }
    with pytest.raises(kind):
        list(listing(found).ls())


def test_folder_that_vanishes() -> None:
    """Its parent does not have it any more, and the rest is listed."""
    root = [
        entry("root/uploads/b", "directory"),
        entry("root/uploads/c", "directory"),
    ]

    def vanish() -> Exception:
        del root[0]
        return FileNotFoundError("b")

    store = listing(
        {
            "root/uploads": root,
            "root/uploads/b": vanish,
            "root/uploads/c": [entry("root/uploads/c/d.txt")],
        }
    )
    assert [found.name for found in store.ls()] == ["c/d.txt"]
    assert list(store.ls("no/such/folder")) == []


def test_store_at_the_root_of_a_filesystem() -> None:
    """Names begin as the filesystem's own do."""

    class Rooted(Plain):
        root_marker = "/"

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return "/" + super()._strip_protocol(path).strip("/")

        def ls(self, path: str, detail: bool = True, **kwargs: t.Any) -> list[t.Any]:
            return [self.info(name) for name in self.files]

    store = make(Rooted, "")
    store.put("a.txt", b"x", "overwrite")
    assert list(everything(store)) == ["/a.txt"]
    assert [found.name for found in store.ls()] == ["a.txt"]


# -- time --------------------------------------------------------------------


class Silent(AsyncFileSystem):  # type: ignore[misc]
    """Asynchronous, and never answers."""

    async def _never(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        await asyncio.sleep(60)

    _info = _ls = _rm_file = _cp_file = _makedirs = _mkdir = _cat_file = _never

    def _open(self, path: str, mode: str = "rb", **kwargs: t.Any) -> t.Any:
        return SilentFile(self)


class SilentFile(io.BytesIO):
    """One of its files."""

    def __init__(self, fs: Silent) -> None:
        super().__init__()
        self.fs, self.loop = fs, fs.loop


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.exists("a.txt"),
        lambda store: store.read("a.txt"),
        lambda store: store.delete("a.txt"),
        lambda store: list(store.ls()),
        lambda store: store.save(b"x", "a.txt"),
        lambda store: store.sweep(),
    ],
    ids=["exists", "read", "delete", "ls", "save", "sweep"],
)
def test_silence_ends(use: t.Callable[[FsspecStore], object]) -> None:
    """Every call of an asynchronous filesystem has a limit."""
    store = make(Silent, timeout=0.2)
    start = time.monotonic()
    with pytest.raises(StoreUnavailable):
        use(store)
    assert time.monotonic() - start < 10


def test_limit_is_not_an_option_of_the_filesystem() -> None:
    """Unless it has one of this name itself."""

    class Timed(Plain):
        def __init__(self, timeout: float = 0, **options: t.Any) -> None:
            super().__init__(**options)
            self.timeout = timeout

    assert make(Timed, timeout=3).raw_fs.timeout == 3
    assert "timeout" not in make(Plain, timeout=3).raw_fs.storage_options


def test_files_of_the_disk(tmp_path: pathlib.Path) -> None:
    """What is there is read and listed as it is, by a filesystem of real files."""
    from fsspec.implementations.local import LocalFileSystem

    class Other(LocalFileSystem):  # type: ignore[misc]
        protocol = "otherdisk"

    fsspec.register_implementation("otherdisk", Other, clobber=True)
    store = FsspecStore.from_url(f"otherdisk://{tmp_path}")
    f = store.save(DATA, "a.bin")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.txt").write_bytes(b"c")
    assert f.read() == DATA
    assert sorted(found.name for found in store.ls()) == sorted([f.key, "b/c.txt"])
    assert store.move(f, "b/d.bin", "overwrite").read() == DATA


# -- copies ------------------------------------------------------------------


def test_filesystem_that_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own cp_file copies to a private name; no byte goes through the process."""
    store = make(Copying)
    f = store.put("a.bin", DATA, "overwrite")
    monkeypatch.setattr(Source, "_read", lambda *args: pytest.fail("it is read"))
    copy = store.copy(f, "b.bin")
    moved = store.move(copy, "c.bin", "overwrite")
    assert everything(store) == {
        "root/uploads/a.bin": DATA,
        f"root/uploads/{moved.key}": DATA,
    }


@pytest.mark.parametrize("error", [OSError(5, "broken"), NotImplementedError()])
def test_filesystem_that_fails_to_copy(error: Exception) -> None:
    """The bytes go through the process."""
    store = make(Copying)
    f = store.put("a.bin", DATA, "overwrite")
    store.raw_fs.errors["cp"] = [error]
    assert store.copy(f, "b.bin").read() == DATA


def test_filesystem_that_copies_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is noticed before the copy has its name, and the bytes go through the
    process."""
    store = make(Copying)
    f = store.put("a.bin", DATA, "overwrite")
    real, cut = Copying.cp_file, [10]

    def cp_file(self: Copying, path1: str, path2: str, **kwargs: t.Any) -> None:
        real(self, path1, path2)
        if cut:
            self.files[path2] = self.files[path2][: cut.pop()]

    monkeypatch.setattr(Copying, "cp_file", cp_file)
    assert store.copy(f, "b.bin").read() == DATA
    assert sorted(map(len, everything(store).values())) == [len(DATA)] * 2


def test_filesystem_that_is_gone_while_it_copies() -> None:
    """Then there is no other way, and nothing appears."""
    store = make(Copying)
    f = store.put("a.bin", DATA, "overwrite")
    store.raw_fs.errors["cp"] = [ConnectionResetError("reset")]
    with pytest.raises(StoreUnavailable):
        store.copy(f, "b.bin")
    assert everything(store) == {"root/uploads/a.bin": DATA}
