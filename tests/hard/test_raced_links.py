"""Symbolic links raced by a user who may write in the store's folder.

Another process exchanges a folder, a file or the private folder for a link that leads
out of the store, and back, all the time. Whatever the store does meanwhile, nothing
outside is written, read or deleted, and no error is a bare OSError.
"""

from __future__ import annotations

import collections
import contextlib
import datetime as dt
import io
import os
import pathlib
import subprocess
import sys
import time
import typing as t

import pytest
from flask import Flask

from flask_store import Store
from flask_store.exceptions import StoreError
from flask_store.stores.local import LocalStore
from tests.conftest import missing
from tests.support.rounds import TIMES

#: Seconds for each of the operations.
TIME = 0.15 * TIMES
NO_CALL = 3
#: Exchanges each pair of paths, by renameat2(2), until its input ends.
RACER = f"""
import ctypes, os, select, sys
libc = ctypes.CDLL(None, use_errno=True)
pairs = [tuple(map(os.fsencode, pair.split("="))) for pair in sys.argv[1:]]
try:
    exchange = libc.renameat2
except AttributeError:
    sys.exit({NO_CALL})
for one, other in pairs * 2:
    if exchange(-100, one, -100, other, 2):
        sys.exit({NO_CALL})
print("ready", flush=True)
while not select.select([0], [], [], 0)[0]:
    for number in range(200):
        for one, other in pairs:
            exchange(-100, one, -100, other, 2)
"""


class Site:
    """A store, what is outside of it, and what its operations said.

    :param root: of the store.
    """

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.outside = root.with_name("outside")
        self.app = Flask(__name__)
        self.app.config.update(STORE_PATH=str(root), STORE_FSYNC=False, SECRET_KEY="k")
        extension = Store(self.app)
        with self.app.app_context():
            self.store = t.cast("LocalStore", extension.Provider())
        self.client = self.app.test_client()
        self.said: collections.Counter[str] = collections.Counter()
        for folder, content in ((root / "f", b"inside"), (self.outside, b"SECRET")):
            folder.mkdir(parents=True)
            for name in ("a.txt", "deep/b.txt"):
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_bytes(content)
        (self.outside / "only-here.txt").write_bytes(b"SECRET")
        (root / "file.txt").write_bytes(b"inside")
        (root / "file.link").symlink_to(self.outside / "a.txt")
        (root / "f.link").symlink_to(self.outside)
        (root / ".flask-store").mkdir()
        (root / "private.link").symlink_to(self.outside)

    def state(self) -> list[tuple[str, int, bytes]]:
        """What is outside. A folder in which a name came or went has another time."""
        return [
            (str(path), path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
            for path in sorted([self.outside, *self.outside.rglob("*")])
        ]

    @contextlib.contextmanager
    def raced(self, *pairs: tuple[str, str]) -> t.Iterator[None]:
        """Exchange names for links to outside, while the block runs."""
        args = [f"{self.root / one}={self.root / other}" for one, other in pairs]
        with subprocess.Popen(
            [sys.executable, "-c", RACER, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as racer:
            assert racer.stdout is not None
            if not racer.stdout.readline():
                missing("renameat2(2) with RENAME_EXCHANGE")
            try:
                yield
            finally:
                assert racer.stdin is not None
                racer.stdin.close()
                racer.wait(20)

    def repeat(self, name: str, use: t.Callable[[], object]) -> None:
        """Do it for some time, and count what it says."""
        until = time.monotonic() + TIME
        while time.monotonic() < until:
            try:
                found = use()
            except StoreError:
                self.said[f"{name}: refused"] += 1
            else:
                assert found is None or b"SECRET" not in t.cast(bytes, found)
                self.said[f"{name}: done"] += 1


def listed(store: LocalStore) -> bytes:
    """The names of all files."""
    found = " ".join(found.name for found in store.ls())
    assert "only-here" not in found
    return found.encode()


def opened(store: LocalStore, name: str) -> bytes:
    """What a file has that open() gave."""
    with store.open(name) as file:
        return file.read()


def stored(store: LocalStore, folder: str) -> None:
    """A new file, in a folder that is new as well."""
    store.at(folder).save(b"inside", "new.txt")


def operations(site: Site) -> dict[str, t.Callable[[], object]]:
    """What can be done in the folder, and with the file, that are exchanged."""
    store, get = site.store, site.client.get
    before = dt.timedelta(seconds=-60)
    found: dict[str, t.Callable[[], object]] = {
        "save": lambda: stored(store, "f"),
        "save deeper": lambda: stored(store, "f/deep"),
        "save in new folders": lambda: stored(store, f"f/{time.monotonic_ns()}"),
        "overwrite": lambda: store.put("f/a.txt", b"inside", "overwrite") and None,
        "overwrite a link": lambda: (
            store.put("file.txt", b"inside", "overwrite") and None
        ),
        "copy": lambda: store.copy("f/a.txt", "f/c.txt", "overwrite") and None,
        "move": lambda: store.move("f/c.txt", "f/m.txt", "overwrite") and None,
        "delete": lambda: store.delete("f/a.txt"),
        "delete deeper": lambda: store.delete("f/deep/b.txt"),
        "ls": lambda: listed(store),
        "first page": lambda: str(store.ls("f").first_page()).encode(),
        "sweep": lambda: store.sweep(before) and None,
    }
    for name in ("f/a.txt", "f/deep/b.txt", "f/only-here.txt", "file.txt"):
        found |= {
            f"read {name}": lambda name=name: store.read(name),  # type: ignore[misc]
            f"open {name}": lambda name=name: opened(store, name),  # type: ignore[misc]
            f"get {name}": lambda name=name: get(f"/flaskstore/{name}").data,  # type: ignore[misc]
        }
    for name in ("f/only-here.txt",):
        found[f"stat {name}"] = lambda name=name: (  # type: ignore[misc]
            pytest.fail("what is outside is described") if store.exists(name) else None
        )
    return found


@pytest.mark.parametrize("nameless", [True, False])
def test_nothing_leads_out_in_a_race(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    figures: t.Callable[[str], None],
    nameless: bool,
) -> None:
    """Nothing outside changes, or shows, while a folder, a file and the private folder
    are exchanged for links; what an operation says is one of the store's errors."""
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE")
    site = Site(tmp_path / "store")
    before = site.state()
    names = operations(site)
    if not nameless:  # who reads does not care
        names = {name: use for name, use in names.items() if " f/" not in name}
    with site.raced(("f", "f.link"), ("file.txt", "file.link")):
        for name, use in names.items():
            site.repeat(name, use)
    assert site.state() == before
    with site.raced((".flask-store", "private.link")):
        for name in ("save", "overwrite", "overwrite a link", "copy", "sweep"):
            site.repeat(f"{name}, private", names[name])
    assert site.state() == before
    done = sum(n for name, n in site.said.items() if name.endswith("done"))
    refused = site.said.total() - done
    figures(f"raced links: {done:,} operations done, {refused:,} refused")
    # Both sides of the exchange have been met.
    assert done > 100 and refused > 100, site.said


def test_direct_upload_in_a_race(tmp_path: pathlib.Path) -> None:
    """A direct upload is received, published and removed in the store alone."""
    site = Site(tmp_path / "store")
    before = site.state()
    provider = site.store.at("f")

    def upload() -> None:
        with site.app.app_context():
            form = provider.presign_upload("new.bin", max_size=100)
            file = {**form.fields, "file": (io.BytesIO(b"inside"), "x")}
            if site.client.post(form.url, data=file).status_code == 204:
                provider.confirm(form.token)

    for pair in (("f", "f.link"), (".flask-store", "private.link")):
        with site.raced(pair):
            site.repeat("direct upload", upload)
    assert site.state() == before


def test_private_folder_that_is_a_link(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused with what to do, and not a byte passes through it."""
    site = Site(tmp_path / "store")
    private = site.root / ".flask-store"
    private.rmdir()
    private.symlink_to(site.outside)
    before = site.state()
    with pytest.raises(StoreError, match=r"\.flask-store.*Remove"):
        site.store.put("f/a.txt", b"new", "overwrite")
    with pytest.raises(StoreError, match="link"):
        site.store.sweep(dt.timedelta(seconds=-60))
    monkeypatch.delattr(os, "O_TMPFILE")
    store = LocalStore.from_config({"STORE_PATH": str(site.root)})
    with pytest.raises(StoreError, match=r"\.flask-store.*Remove"):
        store.put("f/new.txt", b"new")
    private.unlink()
    private.symlink_to("f")  # not one within the store either
    with pytest.raises(StoreError, match="link"):
        site.store.sweep(dt.timedelta(seconds=-60))
    assert store.read("f/a.txt") == b"inside"
    assert site.state() == before


@pytest.mark.parametrize("target", ["2026", "./x/../2026", "{root}/2026", "chain"])
def test_link_within_the_store(tmp_path: pathlib.Path, target: str) -> None:
    """It is followed by every operation, however it is written."""
    root = tmp_path / "real"
    (root / "x").mkdir(parents=True)
    (tmp_path / "store").symlink_to(root)
    store = LocalStore.from_config({"STORE_PATH": str(tmp_path / "store")})
    store.put("2026/11/a.txt", b"here")
    (root / "chain").symlink_to("link-2")
    (root / "link-2").symlink_to(f"{tmp_path}/store/2026")
    (root / "latest").symlink_to(target.format(root=root))
    (root / "a.txt").symlink_to("latest/11/a.txt")
    assert store.read("latest/11/a.txt") == store.read("a.txt") == b"here"
    assert store.put("latest/new/b.txt", b"new").read() == b"new"
    assert (root / "2026" / "new" / "b.txt").exists()
    store.delete("latest/new/b.txt")
    assert sorted(found.name for found in store.ls("latest")) == ["latest/11/a.txt"]
    assert sorted(found.name for found in store.ls()) == ["2026/11/a.txt", "a.txt"]
