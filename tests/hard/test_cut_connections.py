"""Servers with connections of their own, which break at any byte of any operation."""

from __future__ import annotations

import gc
import os
import pathlib
import random
import typing as t
import uuid
from collections.abc import Callable
from collections.abc import Iterator

import pytest

from flask_store.exceptions import FileExists
from flask_store.exceptions import FileNotFound
from flask_store.exceptions import StoreError
from flask_store.exceptions import StoreUnavailable
from flask_store.stores.fsspec import FsspecStore
from flask_store.sync import Journal
from flask_store.sync import Sync
from tests.support.protocol_rows import ROWS
from tests.support.protocol_servers import Place
from tests.support.relay import Relay
from tests.support.rounds import rounds
from tests.support.server_contract import behind
from tests.support.server_contract import started

# A library does not always close a connection that was broken under it.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

#: At how many bytes each operation is cut, beside the last one. FLASK_STORE_ROUNDS=9
#: cuts it at nine.
CUTS = 1
SEED = int(os.environ.get("FLASK_STORE_FAULTS_SEED", "18"))

OLD = b"old:" + random.Random(1).randbytes(200_000) + b":old"
NEW = b"new:" + random.Random(2).randbytes(190_000) + b":new"


def _seek(store: FsspecStore) -> bytes:
    with store.open("old.bin") as file:
        head = file.read(100)
        file.seek(150_000)
        rest = file.read()
        file.seek(100)
        return head + file.read(149_900) + rest


def _pull(store: FsspecStore) -> object:
    here = FsspecStore.from_url(f"memory://{uuid.uuid4().hex}")
    _sync(store, here)
    return here.read("old.bin")


def _push(store: FsspecStore) -> None:
    here = FsspecStore.from_url(f"memory://{uuid.uuid4().hex}")
    here.put("old.bin", NEW)
    _sync(here, store)


def _folder(store: FsspecStore) -> tuple[list[str], list[str]]:
    listing = store.ls(recursive=False)
    return [f.name for f in listing], [folder.name for folder in listing.folders]


def _sync(source: FsspecStore, target: FsspecStore) -> None:
    for outcome in Sync(source, target, Journal(None), overwrite=True).run():
        if outcome.status == "failed":
            # Of what is no StoreError, sync tells the class.
            assert "Error: " not in outcome.reason.partition(" ")[0], outcome.reason
            raise StoreError(outcome.reason)


class Operation(t.NamedTuple):
    """What is tried.

    :param right: what it returns.
    :param after: what the files may hold afterwards, by their names.
    """

    act: Callable[[FsspecStore], t.Any]
    right: t.Any = None
    after: dict[str, tuple[bytes | None, ...]] = {}


OPERATIONS = {
    "read": Operation(lambda s: s.read("old.bin"), OLD),
    "stream": Operation(lambda s: b"".join(s.stream("old.bin")), OLD),
    "range": Operation(lambda s: b"".join(s.stream("old.bin", 5, 9)), OLD[5:9]),
    "open": Operation(lambda s: s.open("old.bin").read(), OLD),
    "seek": Operation(_seek, OLD),
    "exists": Operation(lambda s: s.exists("old.bin"), True),
    "exists not": Operation(lambda s: s.exists("no.bin"), False),
    "stat": Operation(lambda s: s.stat("old.bin").size, len(OLD)),
    "ls": Operation(lambda s: sorted(f.name for f in s.ls()), ["old.bin", "sub/b.bin"]),
    "folder": Operation(_folder, (["old.bin"], ["sub"])),
    "usage": Operation(lambda s: len(s.usage()), 2),
    "sweep": Operation(lambda s: s.sweep(), []),
    "pull": Operation(_pull, OLD),
    "push": Operation(_push, None, {"old.bin": (OLD, NEW)}),
    "save": Operation(lambda s: s.save(NEW, "new.bin") and None),
    "overwrite": Operation(
        lambda s: s.save(NEW, "old.bin", "overwrite") and None,
        None,
        {"old.bin": (OLD, NEW)},
    ),
    "copy": Operation(lambda s: s.copy("old.bin", "new.bin") and None),
    "move": Operation(
        lambda s: s.move("old.bin", "new.bin") and None, None, {"old.bin": (OLD, None)}
    ),
    "delete": Operation(lambda s: s.delete("old.bin"), None, {"old.bin": (OLD, None)}),
    "delete many": Operation(
        lambda s: s.delete("old.bin", "no.bin"), None, {"old.bin": (OLD, None)}
    ),
}


class Bench(t.NamedTuple):
    """A server, a relay in front of it, and the store of both."""

    place: Place
    relay: Relay
    store: FsspecStore

    def new(self) -> tuple[FsspecStore, pathlib.Path]:
        """A folder with two files, and where it is on the disk of the server."""
        assert self.place.folder is not None
        name = uuid.uuid4().hex
        folder = self.place.folder / name
        (folder / "sub").mkdir(parents=True)
        (folder / "old.bin").write_bytes(OLD)
        (folder / "sub" / "b.bin").write_bytes(NEW)
        return self.store.at(name), folder


@pytest.fixture(scope="module", params=["ftp", "sftp+sshfs", "sftp+paramiko", "smb"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """For all tests before the next server."""
    with started(ROWS[request.param].server) as place, Relay(place.port) as relay:
        there = behind(relay, place)
        yield Bench(place, relay, FsspecStore.from_url(there.url, **there.options))
    gc.collect()


def seen(folder: pathlib.Path) -> dict[str, bytes]:
    """Every file that a name shows."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".flask-store" not in path.parts
    }


def tried(bench: Bench, operation: Operation, cut: int | None) -> Iterator[str]:
    """Do an operation whose connection is cut after so many bytes, and say what must
    not be."""
    store, folder = bench.new()
    bench.relay.left = cut
    try:
        found = operation.act(store)
    except FileNotFound as exc:
        if operation.after.get("old.bin", (OLD,))[-1] is not None:
            yield f"a file that is there is not found: {exc}"
        elif (folder / "old.bin").exists():
            yield f"a file that is there is not found: {exc}"
    except FileExists as exc:
        yield f"a name that is free is taken: {exc}"
    except StoreError as exc:
        if cut is None:
            yield f"an error without a cut: {exc!r}"
    except Exception as exc:
        yield f"no StoreError: {exc!r}"
    else:
        if found != operation.right:
            yield f"it returns {str(found)[:60]}"
    bench.relay.left = None
    files = seen(folder)
    for name, data in {"old.bin": OLD, "sub/b.bin": NEW}.items():
        if files.pop(name, None) not in operation.after.get(name, (data,)):
            yield f"{name} is lost, or another one"
    for name, data in files.items():
        if data not in (OLD, NEW):
            yield f"{name} is a part of a file"
    if cut is not None:
        yield from broken(store)


def broken(store: FsspecStore) -> Iterator[str]:
    """What does not work after the connection was lost."""
    for last in (False, False, True):
        try:
            store.save(NEW, "again.bin").read()
        except StoreUnavailable as exc:
            if last:
                yield f"afterwards: {exc!r}"
        except Exception as exc:
            yield f"afterwards: {exc!r}"
            return
        else:
            return


@pytest.mark.parametrize("name", OPERATIONS)
def test_cut(bench: Bench, name: str) -> None:
    """Whatever is lost then, it is not a file, and the error is a StoreError. The next
    operation works again."""
    operation, problems = OPERATIONS[name], list[str]()
    for _ in range(2):  # the second time there is a connection
        before = bench.relay.passed
        problems += tried(bench, operation, None)
        length = bench.relay.passed - before
    assert not problems
    chosen = random.Random(f"{SEED} {name}")
    cuts = {length - 1, *(chosen.randrange(1, length) for _ in range(rounds(CUTS)))}
    for cut in sorted(cuts):
        problems += (f"{name} after {cut}: {p}" for p in tried(bench, operation, cut))
    assert not problems, "\n".join(problems)
