"""Every protocol: what a copy and a move cost, and what a copy keeps."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import itertools
import json
import os
import random
import signal
import subprocess
import time
import typing as t

import pytest

from flask_store.dialects import Stat
from flask_store.files import FileWrapper
from flask_store.stores.fsspec import FsspecStore
from flask_store.uploads.properties import Properties
from flask_store.uploads.source import Source
from tests.support import copy_table
from tests.support import protocol_rows
from tests.support.copy_table import ROWS
from tests.support.protocol_rows import new
from tests.support.protocol_servers import Place
from tests.support.protocol_worker import contend_copies
from tests.support.protocol_worker import COPIERS
from tests.support.relay import Relay
from tests.support.rounds import rounds
from tests.support.server_contract import behind
from tests.support.server_contract import contenders
from tests.support.server_contract import EachRow
from tests.support.server_contract import PROCESSES
from tests.support.server_contract import Record
from tests.support.server_contract import shared
from tests.support.server_contract import worker

#: How often each row races in one run, and how many processes it loses.
RACES = rounds(1)
KILLS = rounds(4)

SIZE = 1_000_000
DATA = bytes(range(250)) * (SIZE // 250)
#: More than all requests of a copy have, with their headers.
NOTHING = 64 * 1024

TYPE = "text/x-odd"
ORIGINAL = Properties(
    content_encoding="gzip",
    cache_control="max-age=60",
    content_disposition="attachment",
    content_language="de",
    metadata={"author": "me"},
)
#: The options with which a store of S3 stores new objects in another class.
IN_CLASS = {"s3_additional_kwargs": {"StorageClass": "STANDARD_IA"}}


class Meter:
    """What goes through this process."""

    def __init__(self, relay: Relay | None, patch: pytest.MonkeyPatch) -> None:
        self.relay = relay
        self.read = 0
        real = Source._read

        def counted(source: Source, size: int, position: int | None = None) -> bytes:
            data = real(source, size, position)
            self.read += len(data)
            return data

        patch.setattr(Source, "_read", counted)

    def measure(self, use: t.Callable[[], FileWrapper]) -> tuple[int, int]:
        """The round trips and the bytes that something takes."""
        trips = self.relay.trips if self.relay else 0
        passed = self.relay.passed if self.relay else 0
        self.read = 0
        stored = use()
        if self.relay:
            trips, passed = self.relay.trips - trips, self.relay.passed - passed
        done = trips, max(passed, self.read)
        assert stored.read() == DATA
        return done


@contextlib.contextmanager
def metered(place: Place, row: str, patch: pytest.MonkeyPatch) -> t.Iterator[Meter]:
    """A meter in front of the server; FTP sends its files by connections of their own,
    past it."""
    if not place.port or row == "ftp":
        yield Meter(None, patch)
        return
    with Relay(place.port) as relay:
        yield Meter(relay, patch)


class TestCopied(EachRow):
    """Where the storage copies, no byte of a file goes through the process."""

    def test_costs(
        self,
        place: Place,
        row: str,
        monkeypatch: pytest.MonkeyPatch,
        record_property: Record,
    ) -> None:
        """A copy, a move, and a move in place of another file: the bytes of the file,
        and the round trips once there is a connection."""
        names = (f"{number}.bin" for number in itertools.count())
        with metered(place, row, monkeypatch) as meter:
            there = behind(meter.relay, place) if meter.relay else place
            store = FsspecStore.from_url(new(there), **there.options)

            def saved() -> FileWrapper:
                return store.put(f"old/{next(names)}", DATA, "overwrite")

            def copy() -> tuple[int, int]:
                old = saved()
                return meter.measure(lambda: store.copy(old, f"to/{next(names)}"))

            def move() -> tuple[int, int]:
                old = saved()
                done = meter.measure(lambda: store.move(old, f"to/{next(names)}"))
                assert not old.exists()
                return done

            def move_over() -> tuple[int, int]:
                old, taken = saved(), saved().key
                done = meter.measure(lambda: store.move(old, taken, "overwrite"))
                assert not old.exists()
                return done

            ways = copy, move, move_over
            for use in ways:  # connects, makes folders, and tries what the server can
                use()
            found = []
            for use, way in zip(ways, ROWS[row][:3], strict=True):
                trips, passed = min(use() for _ in range(2))
                assert (passed < NOTHING) == bool(way.means), (use, passed)
                assert passed < NOTHING or passed >= SIZE
                assert trips <= way.trips, (use, trips)
                found.append(trips)
        record_property(copy_table.PROPERTY, (row, found))

    def test_what_is_kept(self, place: Place, row: str) -> None:
        """What the storage keeps beside a file, a copy and a moved file have as well;
        another store in the same place may have made it."""
        url = new(place)
        store = FsspecStore.from_url(url, **place.options)
        options = {**place.options, **(IN_CLASS if row.startswith("s3") else {})}
        made = FsspecStore.from_url(url, **options)
        like = Stat("old.txt", 0, None, None, TYPE).keeping(None, ORIGINAL)
        old = made.put("old.txt", DATA, "overwrite", like=like)
        if row != "s3 (rclone)":  # it stores the request for tags as the object
            tag(old, {"kind": "photo"})
        before, tags = old.stat(), tags_of(old)
        # In place of another file the storage copies, whether it knows the condition.
        for verb in (store.copy, store.move):
            store.put("new.txt", b"x", "overwrite")
            f = verb(store.file("old.txt"), "new.txt", "overwrite")
            after = f.stat()
            assert f.read() == DATA
            assert after.content_type == before.content_type
            headers = dataclasses.replace(after.properties, metadata={})
            assert headers == dataclasses.replace(before.properties, metadata={})
            # rclone adds a date.
            metadata = before.properties.metadata.items()
            assert metadata <= after.properties.metadata.items()
            assert after.kept == before.kept
            assert tags_of(f) == tags
            assert after.token is None or after.token != before.token
        assert ROWS[row].kept == ", ".join(kept(before, tags))

    def test_raced_copies(self, place: Place, row: str) -> None:
        """4 processes of 4 threads copy and move their files onto one name: every copy
        and every file that was moved has a name of its own, and what was moved is gone
        from its old one."""
        if protocol_rows.ROWS[row].no_race:
            pytest.skip(protocol_rows.ROWS[row].no_race)
        patience = protocol_rows.ROWS[row].patience
        patient = dataclasses.replace(place, options={**place.options, **patience})
        url = new(place)
        store = FsspecStore.from_url(url, **place.options)
        with contextlib.ExitStack() as stack:
            if place.url.startswith("memory://"):

                def contend(folder: str) -> list[t.Any]:
                    threads = PROCESSES * COPIERS
                    return contend_copies(store.at(folder), threads)

            else:
                racers = contenders(url, patient, "race_copies")
                contend = stack.enter_context(racers)
            for number in range(RACES):
                inside = store.at(f"round-{number}")
                done = contend(inside.destination)
                assert [error for error in done if isinstance(error, str)] == []
                new_names = [name for _, *names, _ in done for name in names]
                assert len(new_names) == len(set(new_names)) == 2 * len(done)
                assert len(done) == PROCESSES * COPIERS
                exclusive = "new.txt" in new_names
                assert exclusive == protocol_rows.ROWS[row].exclusive
                assert {found.name for found in inside.ls()} == set(new_names)
                for _, copied, moved, data in done:
                    assert inside.read(copied) == data.encode()
                    assert inside.read(moved) == data.encode()

    def test_killed_copies(self, place: Place, row: str) -> None:
        """A process that is killed while it copies and moves leaves no part of a file
        under a name, and the file that was moved has one name at least."""
        shared(place)
        url = new(place)
        store = FsspecStore.from_url(url, **place.options)
        store.put("moved/a.bin", DATA, "overwrite")
        with worker("movers", url, place) as process:
            for _ in range(KILLS):
                kill(process)
                found = list(store.ls())
                assert {f.size for f in found} == {SIZE}
                for f in found:
                    assert store.read(f.name) == DATA
                moved, *others = (f.name for f in store.ls("moved"))
                for name in others:
                    store.delete(name)
        store.sweep(dt.timedelta(seconds=-5))
        assert store.sweep(dt.timedelta(seconds=-5)) == []
        assert store.move(moved, "b.bin").read() == DATA


def kill(process: subprocess.Popen[str]) -> None:
    """Let a child copy and move, and kill it at a random moment."""
    assert process.stdin and process.stdout
    process.stdin.write("go\n")
    process.stdin.flush()
    child = json.loads(process.stdout.readline())
    assert json.loads(process.stdout.readline()) == "begun"
    time.sleep(random.uniform(0, 0.12))
    os.kill(child, signal.SIGKILL)
    assert json.loads(process.stdout.readline()) == ["ended", -signal.SIGKILL]


def kept(found: Stat, tags: dict[str, str]) -> t.Iterator[str]:
    """What a storage keeps, in the words of the table."""
    if found.content_type == TYPE:
        yield "type"
    headers = dataclasses.replace(found.properties, metadata={})
    if headers == dataclasses.replace(ORIGINAL, metadata={}):
        yield "headers"
    if found.properties.metadata == ORIGINAL.metadata:
        yield "metadata"
    if tags:
        yield "tags"
    if "StorageClass" in found.kept:
        yield "storage class"
    if "standard_blob_tier" in found.kept:
        yield "access tier"


def tag(file: FileWrapper, tags: dict[str, str]) -> None:
    """Give an object tags, and on Azure a tier, where the storage has them."""
    dialect: t.Any = file.provider.dialect
    name = dialect.absolute_path(file.key)
    if dialect.location.protocol == "s3":
        tagging = {"TagSet": [{"Key": k, "Value": v} for k, v in tags.items()]}
        place = {"Bucket": dialect.bucket, "Key": name}
        dialect.loop.call("put_object_tagging", **place, Tagging=tagging)
    if dialect.location.protocol == "abfs":
        dialect._ask(name, "set_blob_tags", tags)
        dialect._ask(name, "set_standard_blob_tier", "Cool")


def tags_of(file: FileWrapper) -> dict[str, str]:
    """The tags of an object."""
    dialect: t.Any = file.provider.dialect
    name = dialect.absolute_path(file.key)
    if dialect.location.protocol == "s3":
        place = {"Bucket": dialect.bucket, "Key": name}
        with contextlib.suppress(OSError):  # rclone has no tags
            found = dialect.loop.call("get_object_tagging", **place)
            return {one["Key"]: one["Value"] for one in found.get("TagSet", ())}
    if dialect.location.protocol == "abfs":
        return dict(dialect._ask(name, "get_blob_tags"))
    return {}
