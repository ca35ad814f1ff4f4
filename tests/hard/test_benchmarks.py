"""The benchmarks run and have a row for everybody; what they count is right."""

from __future__ import annotations

import importlib.util
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from benchmarks import strace
from benchmarks.apps import our_settings
from benchmarks.makers import CONTENDERS
from benchmarks.measure import Comparison
from benchmarks.measure import interleaved
from benchmarks.relay import distant
from flask_store.uploads.disk import is_ordered
from tests.conftest import missing
from tests.support.browser import browser
from tests.support.servers import NotInstalledError
from tests.support.servers import ROOT

#: Who is compared, and the module that has to be there for it.
PEERS = {
    "boto3": "boto3",
    "Django": "django",
    "django-imagekit": "imagekit",
    "django-storages": "storages",
    "flask-storage": "flask_storage",
    "Flask-Reuploaded": "flask_uploads",
    "obstore": "obstore",
    "sorl-thumbnail": "sorl",
    "streaming-form-data": "streaming_form_data",
}
LOCAL = ["FileStorage.save", "Flask-Reuploaded", "flask-storage"]
LOCAL += ["Django FileSystemStorage", *our_settings()]
S3 = ["boto3 upload_fileobj", "django-storages", "flask-storage", "Flask-Store"]


#: The calls and the changes of file that an operation has at most.
FARTHEST = {
    "POST and save, local, 1.5 MB, streamed": (120, 41),
    "POST and save, local, 1.5 MB, not streamed": (65, 42),
    "GET, local": (44, 19),
    "POST and save, S3, 100 kB": (104, 40),
    "POST and save, S3, 100 kB, name taken": (172, 72),
    "GET, S3, by the application": (95, 44),
    "POST and save, background, S3, 1.5 MB": (291, 142),
}


@pytest.fixture
def peers() -> None:
    """Those whom the benchmarks compare, and strace."""
    for name, module in PEERS.items():
        if importlib.util.find_spec(module) is None:
            missing(f"{name} (pip install 'Flask-Store[bench]')")
    if shutil.which("strace") is None:
        missing("strace (apt-get install strace)")


def run(name: str) -> str:
    """What a benchmark prints in a quick run."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tables(name: str) -> dict[str, dict[str, list[str]]]:
    """The same by the title of a table, the label of a row and its cells."""
    found = {}
    for match in re.finditer(
        r"^(.+)\n\n(=[= ]+)\n.+\n\2\n((?:.+\n)+?)\2\n", run(name), re.M
    ):
        rows = [re.split("  +", row.rstrip()) for row in match[3].splitlines()]
        found[match[1]] = {label: cells for label, *cells in rows}
    return found


@pytest.mark.usefixtures("peers")
class TestCommands:
    """Every command, with the smallest sizes."""

    def test_uploads(self) -> None:
        """Werkzeug writes what is large twice, and what stays in memory once."""
        found = tables("uploads")
        rows = [*LOCAL, "FileStorage.save, as durable", "bare WSGI, nothing parsed"]
        times = found["Seconds for an upload, and the ratio"]
        written = found["Bytes written into files for each byte uploaded"]
        assert times.keys() == written.keys() == set(rows)
        assert all(len(cells) == 2 for cells in times.values())
        assert written["FileStorage.save"] == ["1.00", "2.00"]
        assert written["Django FileSystemStorage"] == ["1.00", "1.00"]

    def test_s3(self) -> None:
        """Times, requests and memory; ours is one request."""
        times, _, processor, _, requests, memory = tables("s3").values()
        assert times.keys() == processor.keys() == requests.keys()
        assert times.keys() >= {*S3, "obstore put", "s3fs put_file"}
        assert requests["Flask-Store"] == ["1", "1"]
        assert memory.keys() == {"boto3 upload_fileobj", "Flask-Store"}

    def test_parsing(self) -> None:
        """Every parser finds all bytes of the file, whatever they are."""
        (times,) = tables("parsing").values()
        assert times.keys() == {"Werkzeug", "streaming-form-data", "Flask-Store"}

    def test_reading(self) -> None:
        """A row for each way to read, a column for each size."""
        (times,) = tables("reading").values()
        assert len([label for label in times if label.startswith("Flask-Store")]) == 4
        assert all(len(cells) == 2 for cells in times.values())

    def test_copies(self) -> None:
        """No byte of the file goes through the process, by few requests."""
        (counted,) = tables("copies").values()
        assert len(counted) == 8
        for label, requests in (("copy", 2), ("move", 6)):
            found, size = counted[f"Flask-Store {label}"]
            assert int(found) <= requests
            assert int(size.replace(",", "")) < 1000

    def test_arriving(self) -> None:
        """A row for each way to save a body that is still on its way."""
        (times,) = tables("arriving").values()
        ours = ["Flask-Store, all of it first", "Flask-Store"]
        assert list(times) == ["boto3 upload_fileobj", *ours]

    def test_concurrency(self) -> None:
        """Onto the disk and into S3."""
        found = tables("concurrency")
        for place, rows in (("Local disk, gthread", LOCAL), ("S3, gevent", S3)):
            rates = found[f"{place}: uploads a second, and the ratio"]
            memory = found[f"{place}: latency and memory"]
            assert rates.keys() == memory.keys() == set(rows)

    def test_growth(self) -> None:
        """A row for each operation, a column for each size."""
        times, listing = tables("growth").values()
        assert len(times) == 6
        assert all(len(cells) == 2 for cells in times.values())
        assert listing.keys() == {"10 files", "1,000 files"}

    def test_images(self) -> None:
        """A row for everybody who makes variants. Ours takes a child process."""
        found = tables("images")
        times, memory, processes, hits, urls = found.values()
        for rows in (times, memory, processes, hits, urls):
            assert rows.keys() == set(CONTENDERS)
        assert [label for label, cells in processes.items() if cells[1] != "-"] == [
            "Flask-Store"
        ]

    def test_pages(self) -> None:
        """A page of variants sends less, and nothing the second time."""
        try:
            with browser():
                pass
        except NotInstalledError as error:
            missing(str(error))
        done = run("pages")
        rows = [re.split("  +", line) for line in done.splitlines()]
        sent = {tuple(row[:2]): row[2:] for row in rows if len(row) == 4}
        for window in ("desktop", "phone"):
            assert sent["originals", window][1] == "0 B, 4"
            assert sent["variants", window][1] == "0 B, 0"

    def test_syscalls(self) -> None:
        """A save has the calls that it is known to need; a URL needs none."""
        found = tables("syscalls")
        counted = found["System calls"]
        assert "1 openat, 1 write" in counted["FileStorage.save"][1]
        syncs = "3 fsync"
        if is_ordered(tempfile.gettempdir()):
            syncs = "1 fsync"
            assert "1 sync_file_range" in counted["Flask-Store"][1]
        assert syncs in counted["Flask-Store"][1]
        assert "fsync" not in counted["Flask-Store, STORE_FSYNC = False"][1]
        assert counted["absolute_url()"] == ["0", "none"]
        assert len(found["CPU seconds for a save of 1 KB, in one process"]) == 2

    def test_walks(self) -> None:
        """No operation walks further than it did; a new hop has to be worth a row."""
        walks = tables("walks")["Walks"]
        counted = {name: (int(row[0]), int(row[2])) for name, row in walks.items()}
        assert counted.keys() == FARTHEST.keys()
        for name, (calls, changes) in FARTHEST.items():
            assert counted[name][0] <= calls, name
            assert counted[name][1] <= changes, name


def test_everybody_begins_once() -> None:
    """The order of the turns changes, and the round that warms up does not count."""
    turns: list[str] = []

    def turn(name: str) -> float:
        turns.append(name)
        return len(turns)

    found = interleaved({name: lambda name=name: turn(name) for name in "abc"}, 3)  # type: ignore[misc]
    assert "".join(turns) == "cababcbcacab"
    assert found == {"a": [4, 9, 11], "b": [5, 7, 12], "c": [6, 8, 10]}


def test_ratio_above_one_is_better() -> None:
    """Of seconds fewer are better, of uploads a second more."""
    for more, ratio in ((False, "2.00"), (True, "0.50")):
        comparison = Comparison("", "base", str, more)
        comparison.add("1 KB", {"base": [4.0, 2.0, 9.0], "ours": [2.0, 1.0, 2.0]})
        assert comparison.table().rows[1:] == [
            ("base", "4.0, 1.00"),
            ("ours", f"2.0, {ratio}"),
        ]


@pytest.mark.parametrize(
    ("line", "size"),
    [
        ("write(7</srv/a.bin>, ..., 1000) = 1000", 1000),
        ("write(7</srv/#12 (deleted)>, ..., 1000) = 10", 10),
        ("pwrite64(7</srv/a>, ..., 10, 0) = 10", 10),
        ("sendfile(7</srv/a>, 8</srv/b>, [0] => [5], 5) = 5", 5),
        ("copy_file_range(8</srv/b>, [0] => [6], 7</srv/a>, NULL, 6, 0) = 6", 6),
        ("sendfile(9<socket:[12]>, 8</srv/b>, [0] => [5], 5) = 5", 0),
        ("splice(8<pipe:[3]>, NULL, 9<socket:[12]>, NULL, 4, 0) = 4", 0),
        ("write(2</dev/null>, ..., 3) = 3", 0),
        ("write(7</srv/a>, ..., 9) = -1 ENOSPC (No space left on device)", 0),
        ("--- SIGINT {si_signo=SIGINT} ---", 0),
    ],
)
def test_bytes_to_files(line: str, size: int) -> None:
    """Files count, and nothing else does."""
    assert strace.bytes_to_files([line]) == size


def test_distance() -> None:
    """A reply takes a round trip, the first one two; many may be on their way."""
    trip = 0.1
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def echo() -> None:
            sock, _ = listener.accept()
            with sock:
                while data := sock.recv(100):
                    sock.sendall(data)

        threading.Thread(target=echo, daemon=True).start()
        with (
            distant(listener.getsockname()[1], trip) as port,
            socket.create_connection(("127.0.0.1", port), 10) as sock,
        ):
            for number in (2, 1):
                begun = time.monotonic()
                sock.sendall(b"x")
                assert sock.recv(1) == b"x"
                assert time.monotonic() - begun >= number * trip
