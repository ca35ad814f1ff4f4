"""Every protocol: a process that is killed in the middle of a save."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import random
import signal
import subprocess
import time

from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import upload
from flask_store.uploads.disk import probe
from tests.support.protocol_rows import new
from tests.support.protocol_rows import ROWS
from tests.support.protocol_servers import Place
from tests.support.protocol_worker import PART
from tests.support.protocol_worker import SIZE
from tests.support.relay import Relay
from tests.support.rounds import rounds
from tests.support.server_contract import behind
from tests.support.server_contract import EachRow
from tests.support.server_contract import Record
from tests.support.server_contract import shared
from tests.support.server_contract import worker

#: How many processes each row loses in one run.
KILLS = rounds(20)
#: How many it loses that write a draft.
DRAFTS = rounds(3)


def killed(process: subprocess.Popen[str], relay: Relay | None) -> bool:
    """Let a child begin to save, and kill it at a random moment.

    :param relay: what its bytes pass, if they do; then the moment is when so many of
        them have. They take half a second to pass it.
    :return: whether it was still saving.
    """
    assert process.stdin and process.stdout
    sent = relay.sent if relay else 0
    process.stdin.write("go\n")
    process.stdin.flush()
    child = json.loads(process.stdout.readline())
    assert json.loads(process.stdout.readline()) == "begun"
    if relay:
        moment, deadline = random.randint(PART, SIZE), time.monotonic() + 20
        while relay.sent - sent < moment:
            assert time.monotonic() < deadline
            time.sleep(0.001)
    else:
        time.sleep(random.uniform(0, 0.12))
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    said = json.loads(process.stdout.readline())
    if said == "saved":
        process.stdout.readline()
        return False
    assert said == ["ended", -signal.SIGKILL]
    return True


def stages(row: str, place: Place) -> bool:
    """Whether killed processes have left something for sweep."""
    if row in ("file", "dir::file"):
        folder = str(place.folder)
        return not probe(folder, f"{folder}/.flask-store")
    return ROWS[row].stages


def swept(store: FsspecStore) -> list[str]:
    """What sweep removes, once it is old enough, and then it is gone."""
    soon = dt.timedelta(seconds=-5)
    found = store.sweep(soon, dry_run=True)
    assert store.sweep(dt.timedelta(hours=1)) == []
    assert store.sweep(soon) == found
    assert store.sweep(soon) == []
    return found


class TestKilled(EachRow):
    """Nobody cleans up after ``kill -9``."""

    def test_kill(self, place: Place, row: str, record_property: Record) -> None:
        """A process that is killed in the middle of a save leaves no part of a file
        under a final name, and sweep finds and removes what it left elsewhere."""
        shared(place)
        url = new(place)
        store = FsspecStore.from_url(url, **place.options)
        store.save(b"x", filename="warm.txt", on_conflict="overwrite")
        kills = 0
        with contextlib.ExitStack() as stack:
            relay, there = None, place
            # FTP sends a file by a connection of its own, past the relay.
            if place.port and row != "ftp":
                relay = stack.enter_context(Relay(place.port, pause=0.005))
                there = behind(relay, place)
            moved = url.replace(place.url, there.url)
            process = stack.enter_context(worker("nursery", moved, there))
            for _ in range(3 * KILLS):
                kills += killed(process, relay)
                sizes = {found.size for found in store.ls() if found.name != "warm.txt"}
                assert sizes <= {SIZE}
                if kills == KILLS:
                    break
        assert kills == KILLS
        found = swept(store)
        assert bool(found) == stages(row, place)
        record_property("shown", f"{kills}, {len(found)} swept")
        assert store.file("warm.txt").read() == b"x"
        store.save(upload(b"still works"))

    def test_kill_of_a_draft(self, place: Place, row: str) -> None:
        """A process that is killed in the block of create() leaves nothing that
        anybody sees."""
        shared(place)
        url = new(place)
        store = FsspecStore.from_url(url, **place.options)
        with worker("drafts", url, place) as process:
            for _ in range(DRAFTS):
                assert killed(process, None)
                assert list(store.ls()) == []
        # Where there are files without a name, nothing is left at all.
        on_disk = row in ("file", "dir::file")
        assert bool(swept(store)) == (on_disk and stages(row, place))
