"""Every protocol: uploads in several requests, which others cross, stop and kill."""

from __future__ import annotations

import contextlib
import datetime as dt
import pathlib
import random
import signal
import threading
import typing as t
from collections import Counter

import pytest

from flask_store import direct
from flask_store.dialects.claims import Claim
from flask_store.direct import DirectUpload
from flask_store.direct import resumable
from flask_store.exceptions import BadLink
from flask_store.exceptions import FileNotFound
from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import TooLarge
from flask_store.exceptions import WrongOffset
from flask_store.stores.fsspec import FsspecStore
from tests.support import protocol_rows
from tests.support import resumable_table
from tests.support.protocol_rows import new
from tests.support.protocol_servers import Place
from tests.support.protocol_worker import begin_together
from tests.support.relay import Relay
from tests.support.resumable_table import PIECES
from tests.support.resumable_table import ROWS
from tests.support.resuming_worker import append
from tests.support.resuming_worker import blocks
from tests.support.resuming_worker import confirm
from tests.support.resuming_worker import make_app
from tests.support.resuming_worker import provider
from tests.support.resuming_worker import Worker
from tests.support.resuming_worker import worker
from tests.support.rounds import rounds
from tests.support.server_contract import behind
from tests.support.server_contract import EachRow
from tests.support.server_contract import Record
from tests.support.server_contract import served

#: How many processes each row stops, and loses, in one run of a test.
STOPS, KILLS = rounds(1), rounds(2)
#: How many threads do the same at the same moment.
THREADS = 4
#: A piece that S3 copies as it is, and one that is too small for that, in bytes.
LARGE, SMALL = 6 * 1024**2, 200_000
#: The lifetime of a token, and how long ago a sweep has to be for it to be over.
EXPIRES, OVER = 60, dt.timedelta(days=-3)
TYPE = "text/x-odd"


class Upload:
    """One upload.

    :param length: in bytes.
    """

    def __init__(self, place: Place, url: str, length: int, **more: t.Any) -> None:
        self.app = make_app(url, place.options)
        self.length = length
        with self.app.app_context():
            self.store: FsspecStore = provider(self.app)
            self.form: DirectUpload = self.store.presign_upload(
                "a.odd", TYPE, max_size=2 * length + 1, **more
            )
            self.claim: Claim = direct.read(self.store, self.form.token)
            resumable.begin(self.store, self.claim, length)

    @property
    def token(self) -> str:
        """What confirm() takes."""
        return self.form.token

    def append(self, offset: int, data: bytes) -> int | str:
        """Append, and say where the file ends then, or what is wrong."""
        return append(self.store, self.claim, offset, data)

    def offset(self) -> int:
        """How much has arrived, as a store says that was made just now."""
        with self.app.app_context():
            return resumable.look(provider(self.app), self.claim).offset

    def confirm(self) -> bytes:
        """Confirm it, perhaps once more, and return the content."""
        with self.app.app_context():
            assert confirm(self.store, self.token) in (
                self.form.key,
                "confirmed already",
            )
        return self.store.read(self.form.key)

    def left(self) -> list[str]:
        """What is left in the storage beside the files and the marks, which a sweep
        then removes."""
        found = self.store.sweep(OVER, dry_run=True)
        assert self.store.sweep(OVER) == found
        assert self.store.sweep(OVER) == []
        return [name for name in found if ".confirmed" not in name]


class Others(t.NamedTuple):
    """Two other processes, and the URL of a store of theirs."""

    url: str
    one: Worker
    two: Worker


def trips(relay: Relay | None) -> int:
    """How often something has waited for the server."""
    return relay.trips if relay else 0


def moved(relay: Relay | None) -> int:
    """How many bytes have gone over the network, or into files of this process."""
    if relay:
        return relay.passed
    said = pathlib.Path("/proc/self/io").read_text().split()
    return int(said[said.index("wchar:") + 1])


@contextlib.contextmanager
def counted(place: Place) -> t.Iterator[tuple[Relay | None, Place]]:
    """The place behind a relay, if it has a server."""
    if not place.port:
        yield None, place
        return
    with Relay(place.port) as relay:
        yield relay, behind(relay, place)


class TestResumed(EachRow):
    """The state is in the storage."""

    @pytest.fixture(scope="class")
    @classmethod
    def others(cls, row: str, place: Place) -> t.Iterator[Others]:
        """Two other processes with a store of this row.

        What a process on disk is killed in are system calls: tests/hard/test_calls.py.
        """
        served(place)
        if protocol_rows.ROWS[row].no_race:
            pytest.skip(protocol_rows.ROWS[row].no_race)
        url = new(place)
        with worker(url, place) as one, worker(url, place) as two:
            yield Others(url, one, two)

    @pytest.fixture(autouse=True)
    @staticmethod
    def safe(row: str, request: pytest.FixtureRequest) -> None:
        """Only one test is about storages that cannot tell two writers apart."""
        if not ROWS[row].stored and request.function.__name__ != "test_at_the_start":
            pytest.skip(f"an upload to {row} cannot be resumed")

    def test_at_the_start(self, place: Place, row: str) -> None:
        """A storage that is not safe is refused when the token is asked for. What is
        known costs no request."""
        with counted(place) as (relay, there):
            app = make_app(new(there), there.options)
            with app.app_context():
                store = provider(app)
                if not ROWS[row].stored:
                    if store.dialect.takes_parts:  # in another way
                        assert not store.presign_upload("a", max_size=1).resumable
                    else:
                        with pytest.raises(NotConfiguredError, match="only if there"):
                            store.presign_upload("a.txt", max_size=1, resumable=True)
                    assert not store.presign_upload(
                        "a.txt", max_size=1, resumable=False
                    ).resumable
                    return
                assert store.presign_upload("a.txt", max_size=1).resumable
                before = trips(relay)
                assert store.presign_upload("a.txt", max_size=1).resumable
                assert trips(relay) == before
            assert list(store.dialect.left()) == []

    def test_costs(self, place: Place, row: str, record_property: Record) -> None:
        """How often each step waits for the server, and how many bytes it moves."""
        data = bytes(range(256)) * (LARGE // 256)
        with counted(place) as (relay, there):
            url = new(there)
            first = Upload(there, url, 2)  # connects, and tries what the server can
            assert first.append(0, b"a") == 1
            assert first.append(1, b"b") == 2
            assert first.confirm() == b"ab"
            upload = Upload(there, url, PIECES * LARGE)
            upload.store = first.store
            steps: list[int] = []
            begun = moved(relay)
            for number in range(PIECES):
                before = trips(relay)
                assert upload.append(number * LARGE, data)
                steps.append(trips(relay) - before)
            before = trips(relay)
            with upload.app.app_context():
                upload.store.confirm(upload.token)
            confirmed = trips(relay) - before
            passed = (moved(relay) - begun) / upload.length
            assert upload.store.read(upload.form.key) == data * PIECES
        if relay:
            assert 0 < min(steps) <= ROWS[row].trips[0], steps
            assert 0 < confirmed <= ROWS[row].trips[1], confirmed
        # Through the process they come back and go once more.
        by_storage = bool(ROWS[row].means) or row == "memory"
        assert passed < (1.1 if by_storage else 3.1), passed
        cells = [str(min(steps)), str(confirmed)] if relay else ["–", "–"]
        shown = "–" if row == "memory" else f"{passed:.1f}"
        record_property(resumable_table.PROPERTY, (row, [*cells, shown]))

    def test_story(self, place: Place) -> None:
        """Requests of two stores append in turn. What does not fit changes nothing,
        and what has arrived stays when the rest does not."""
        url, kept = new(place), {}
        if Upload(place, new(place), 0).store.dialect.keeps_properties:
            kept = {"cache_control": "max-age=60", "metadata": {"author": "me"}}
        sizes = [SMALL, 1, LARGE, SMALL]
        upload = Upload(place, url, sum(sizes) + SMALL, **kept)
        beside = provider(make_app(url, place.options))
        data, offset = b"", 0
        for number, size in enumerate(sizes):
            more = bytes([number]) * size
            store = (upload.store, beside)[number % 2]
            assert append(store, upload.claim, offset, more) == offset + size
            data, offset = data + more, offset + size
            assert upload.offset() == offset
        for wrong in (0, offset - 1, offset + 1):
            assert upload.append(wrong, b"w") == "wrong offset"
        self.refuse_too_much(upload, offset)
        self.break_off(upload, offset)
        with pytest.raises(FileNotFound), upload.app.app_context():
            upload.store.confirm(upload.token)
        half = offset + SMALL // 2
        assert upload.append(half, b"b" * (SMALL // 2)) == upload.length
        # Whoever creates it anew gets to know where it is.
        again = resumable.begin(beside, upload.claim, upload.length)
        assert again.is_whole
        with pytest.raises(WrongOffset):
            resumable.begin(beside, upload.claim, upload.length + 1)
        data += b"a" * (SMALL // 2) + b"b" * (SMALL // 2)
        assert upload.confirm() == data
        found = upload.store.stat(upload.form.key)
        if kept:
            assert found.content_type == TYPE
            assert found.cache_control == "max-age=60"
            assert found.metadata == {"author": "me"}
        assert upload.left() == []

    def refuse_too_much(self, upload: Upload, offset: int) -> None:
        """More than was announced is refused before it is stored, and the rest of more
        than there should be is not stored."""
        room = upload.length - offset

        def never() -> t.Iterator[bytes]:
            pytest.fail("it was read")
            yield b""

        with pytest.raises(TooLarge):
            resumable.append(upload.store, upload.claim, offset, never(), room + 1)
        with pytest.raises(TooLarge):
            resumable.begin(upload.store, upload.claim, 2 * upload.length + 2)
        assert upload.offset() == offset

    def break_off(self, upload: Upload, offset: int) -> None:
        """What a stream gave before it raised an error stays."""
        size = SMALL // 2

        def broken() -> t.Iterator[bytes]:
            yield from blocks(b"a" * size)
            raise ArithmeticError

        with pytest.raises(ArithmeticError):
            resumable.append(upload.store, upload.claim, offset, broken())
        assert upload.offset() == offset + size

    def test_ends(self, place: Place) -> None:
        """An upload of nothing is a file. One that is ended leaves nothing, can begin
        anew, and nobody takes the one for the other."""
        url = new(place)
        empty = Upload(place, url, 0)
        assert empty.confirm() == b""
        with pytest.raises(BadLink, match="good once"), empty.app.app_context():
            empty.store.confirm(empty.token)
        upload = Upload(place, url, 3 * SMALL)
        assert upload.append(0, b"a" * SMALL) == SMALL
        late = resumable._begun(upload.store, upload.claim)
        resumable.end(upload.store, upload.claim)
        with pytest.raises(FileNotFound):
            upload.offset()
        with pytest.raises(FileNotFound):
            resumable.end(upload.store, upload.claim)
        resumable.begin(upload.store, upload.claim, 2 * SMALL)
        assert upload.append(0, b"b" * SMALL) == SMALL
        # Of a request that was under way when the first one was ended.
        with late.growing.writer(0) as writer:
            writer.write(b"x" * SMALL)
        assert upload.append(SMALL, b"c" * SMALL) == 2 * SMALL
        assert upload.confirm() == b"b" * SMALL + b"c" * SMALL
        # Nobody knows of what came late, until its time is over.
        assert len(upload.left()) == 1

    def test_raced_writers(
        self, place: Place, row: str, request: pytest.FixtureRequest
    ) -> None:
        """Of all who append at one position one wins, and the others are told so."""
        shared = place.port and not protocol_rows.ROWS[row].no_race
        others = request.getfixturevalue("others") if shared else None
        upload = Upload(place, others.url if others else new(place), 2 * SMALL)
        assert upload.append(0, b"-" * SMALL) == SMALL
        said: dict[str, int | str] = {}

        def write(number: int) -> None:
            letter = chr(ord("a") + number)
            said[letter] = upload.append(SMALL, letter.encode() * SMALL)

        workers = [others.one, others.two] if others else []

        def wait() -> None:
            for letter, process in zip("YZ", workers, strict=False):
                part = SMALL, letter, SMALL
                process.tell({"token": upload.token, "append": part, "waits": True})
                assert process.hear() == "ready"
            for process in workers:
                process.tell("go")

        begin_together(THREADS, write, wait)
        for letter, process in zip("YZ", workers, strict=False):
            said[letter] = process.done()["said"]
        # wsgidav answers 500 to some of many requests that come at once.
        losers = Counter(str(word).partition(":")[0] for word in said.values())
        assert losers.pop(str(2 * SMALL)) == 1
        assert losers.keys() <= {"wrong offset", "StoreUnavailable"}
        assert losers["wrong offset"] or row == "webdav+http"
        (winner,) = (letter for letter in said if said[letter] == 2 * SMALL)
        assert upload.confirm() == b"-" * SMALL + winner.encode() * SMALL
        assert row == "webdav+http" or upload.left() == []

    def test_raced_confirms(self, place: Place) -> None:
        """Of all who confirm one upload one publishes it."""
        url = new(place)
        upload = Upload(place, url, 2 * SMALL)
        assert upload.append(0, b"a" * SMALL) == SMALL
        assert upload.append(SMALL, b"b" * SMALL) == 2 * SMALL
        told: list[str] = []

        def publish(number: int) -> None:
            with upload.app.app_context():
                told.append(confirm(upload.store, upload.token))

        begin_together(3, publish, lambda: None)
        assert told.count(upload.form.key) == 1
        told.remove(upload.form.key)
        assert set(told) <= {"confirmed already", f"StoreUnavailable: {direct.BUSY}"}
        assert upload.confirm() == b"a" * SMALL + b"b" * SMALL
        assert upload.left() == []

    def test_writer_that_sleeps(self, place: Place) -> None:
        """Another one goes on meanwhile. Whoever wakes up is told so, and what it has
        in hand is not stored."""
        upload = Upload(place, new(place), 3 * SMALL)
        asleep, awake = threading.Event(), threading.Event()
        told: list[object] = []

        def sleepy() -> t.Iterator[bytes]:
            yield b"s" * SMALL
            asleep.set()
            awake.wait()
            yield b"s" * SMALL

        def sleep() -> None:
            try:
                told.append(resumable.append(upload.store, upload.claim, 0, sleepy()))
            except WrongOffset:
                told.append("wrong offset")

        thread = threading.Thread(target=sleep)
        thread.start()
        asleep.wait()
        # A disk has what came before, other storages have not.
        begun = upload.offset()
        assert upload.append(begun, b"o" * (3 * SMALL - begun)) == 3 * SMALL
        awake.set()
        thread.join()
        assert told == ["wrong offset"]
        expected = b"s" * begun + b"o" * (3 * SMALL - begun)
        assert upload.confirm() == expected
        assert upload.left() == []

    def test_process_that_sleeps(self, place: Place, others: Others) -> None:
        """A process is stopped in the middle of a request to the server, another one
        goes on, and the first one wakes up."""
        url, process = others.url, others.one
        sends = self.sends_of_append(place, url, process)
        for _ in range(STOPS):
            upload = Upload(place, url, 2 * SMALL)
            assert upload.append(0, b"-" * SMALL) == SMALL
            process.tell(
                {
                    "token": upload.token,
                    "append": (SMALL, "s", SMALL),
                    "number": random.randint(1, sends),
                    "signal": signal.SIGSTOP,
                }
            )
            mine: int | str = "nothing"
            if process.hear_if("stopped"):
                mine = upload.append(SMALL, b"o" * SMALL)
                process.tell("go")
            theirs = process.done()["said"]
            assert [mine, theirs].count(2 * SMALL) == 1
            winner = b"o" if mine == 2 * SMALL else b"s"
            assert upload.confirm() == b"-" * SMALL + winner * SMALL
            # What the server was about to take has no name.
            upload.left()

    def test_killed_writer(self, place: Place, others: Others) -> None:
        """Whatever request a process was killed in, the upload goes on from where the
        storage says, without a hole."""
        url, process = others.url, others.one
        sends = self.sends_of_append(place, url, process)
        for _ in range(KILLS):
            upload = Upload(place, url, 2 * SMALL)
            assert upload.append(0, b"-" * SMALL) == SMALL
            number = random.randint(1, max(sends, 1))
            order = SMALL, "k", SMALL
            process.tell({"token": upload.token, "append": order, "number": number})
            process.done()
            # The server may go on with what it has, and be done a moment later.
            while (offset := upload.offset()) < 2 * SMALL:
                assert offset >= SMALL
                upload.append(offset, b"r" * (2 * SMALL - offset))
            arrived = upload.confirm()
            rest = arrived[SMALL:]
            assert arrived[:SMALL] == b"-" * SMALL
            assert rest.lstrip(b"k").lstrip(b"r") == b""
            assert len(rest) == SMALL
            upload.left()

    def test_killed_confirm(self, place: Place, others: Others) -> None:
        """Whatever request a process was killed in while it joined and published, the
        next confirm publishes the whole, and sweep removes what is left."""
        url, process = others.url, others.one
        data = b"a" * SMALL + b"b" * SMALL

        def arrived() -> Upload:
            upload = Upload(place, url, len(data))
            assert upload.append(0, b"a" * SMALL) == SMALL
            assert upload.append(SMALL, b"b" * SMALL) == len(data)
            return upload

        upload = arrived()
        process.tell({"token": upload.token})
        done = process.done()
        assert done["said"] == upload.form.key
        for _ in range(KILLS):
            upload = arrived()
            number = random.randint(1, max(done["sends"], 1))
            process.tell({"token": upload.token, "number": number})
            process.done()
            assert upload.confirm() == data
            upload.left()
        found = {f.size for f in upload.store.ls()}
        assert found == {len(data)}

    @staticmethod
    def sends_of_append(place: Place, url: str, process: Worker) -> int:
        """How many requests it takes a child to append."""
        upload = Upload(place, url, SMALL)
        process.tell({"token": upload.token, "append": (0, "k", SMALL)})
        done = process.done()
        assert done["said"] == SMALL
        return int(done["sends"])
