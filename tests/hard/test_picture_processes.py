"""The process that makes a variant: how it ends, and who goes on meanwhile."""

from __future__ import annotations

import os
import pathlib
import select
import subprocess
import sys
import tempfile
import threading

import pytest

from flask_store.exceptions import BadPicture
from flask_store.exceptions import StoreError
from flask_store.images import making
from flask_store.images.spec import Spec
from tests.support.pictures import corners
from tests.support.pictures import encoded
from tests.support.pictures import LIMITS
from tests.support.pictures import rendered
from tests.support.servers import ROOT

#: Other greenlets run while one waits for its variant, which takes a while.
GREENLETS = """
import gevent
from tests.support.pictures import many_scans, rendered
picture = many_scans(100)
ticks = 0

def tick():
    global ticks
    while True:
        gevent.sleep(0.001)
        ticks += 1

gevent.spawn(tick)
makers = [gevent.spawn(rendered, picture, width=20) for _ in range(2)]
gevent.joinall(makers, raise_error=True)
print(ticks, *{maker.value[:4] for maker in makers})
"""
PATCHED = f"from gevent import monkey; monkey.patch_all()\n{GREENLETS}"
#: A greenlet that is ended while it waits takes the process with it.
ENDED = """
from gevent import monkey; monkey.patch_all()
import gevent, os, pathlib
from tests.support.pictures import many_scans, rendered
picture = many_scans(4000)
with gevent.Timeout(0.5, False):
    rendered(picture, width=20)
    print("made")
print("left:", pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text())
"""
#: As it is below a server that lets the system tidy up after its children.
IGNORING = """
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
from flask_store.exceptions import BadPicture, StoreError
from flask_store.images import making
from tests.support.pictures import corners, encoded, rendered
print(rendered(encoded(corners(), "png"), width=20)[:4])
try:
    rendered(b"text", width=20)
except BadPicture as exc:
    print("no picture" in str(exc))
making.interpreter = lambda: "false"
try:
    rendered(b"text", width=20)
except StoreError as exc:
    print(type(exc).__name__)
"""
WAITING = """
from tests.support.pictures import many_scans, rendered
from flask_store.images import making
making.COMPUTING = 2
picture = many_scans(4000)
print(flush=True)
rendered(picture, width=20)
"""


def said(program: str) -> list[str]:
    """What a program prints, word by word."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=100,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.parametrize("program", [GREENLETS, PATCHED], ids=["unpatched", "patched"])
def test_greenlets_go_on(program: str) -> None:
    """The hub waits for the process as for anything else."""
    ticks, made = said(program)
    assert int(ticks) > 20
    assert made == "b'RIFF'"


def test_ended_greenlet_leaves_no_process() -> None:
    """It is ended, and nothing is left of it."""
    assert said(ENDED) == ["left:"]


def test_ignored_children() -> None:
    """Then nobody learns how a process has ended, so that it has to say it."""
    assert said(IGNORING) == ["b'RIFF'", "True", "StoreError"]


def test_threads() -> None:
    """Each makes a variant of its own, and no process is left."""
    picture = encoded(corners(), "jpeg")
    made: list[bytes] = []
    before = children()  # such as a server of other tests

    def make() -> None:
        made.append(rendered(picture, width=50))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8 and len(set(made)) == 1
    assert children() <= before


def children() -> set[str]:
    """The processes that this one has started, also those that nobody waited for."""
    tasks = pathlib.Path("/proc/self/task").glob("*/children")
    return {number for task in tasks for number in task.read_text().split()}


def test_orphan_ends() -> None:
    """If the worker is killed, the system still ends the process, by its time."""
    worker = subprocess.Popen(
        [sys.executable, "-c", WAITING], cwd=ROOT, stdout=subprocess.PIPE
    )
    with worker:
        assert worker.stdout is not None and worker.stdout.readline()
        started = pathlib.Path(f"/proc/{worker.pid}/task/{worker.pid}/children")
        while not (found := started.read_text().split()):
            assert worker.poll() is None
        ended = os.pidfd_open(int(found[0]))
        worker.kill()
    try:
        assert select.select([ended], [], [], 60)[0]
    finally:
        os.close(ended)


@pytest.mark.parametrize(
    ("name", "remembered"),
    [("SIGSEGV", True), ("SIGKILL", False), ("SIGTERM", False), ("SIGINT", False)],
)
def test_how_it_ends(
    name: str,
    remembered: bool,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A crash is the picture's fault. That somebody stops the process is not."""
    child = tmp_path / "child.py"
    child.write_text(
        "import os, signal, sys\n"
        "print('{', end='', flush=True)\n"
        f"signal.signal(signal.{name}, signal.SIG_DFL)\n"
        * (name != "SIGKILL")
        + f"import os, signal\nos.kill(os.getpid(), signal.{name})\n"
    )
    monkeypatch.setattr(making, "CHILD", child)
    with pytest.raises(StoreError, match=name) as caught:
        rendered(encoded(corners(), "png"), width=20)
    assert isinstance(caught.value, BadPicture) is remembered


def test_full_temporary_folder(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variant that is not whole is none, and the picture is not to blame."""
    monkeypatch.setattr(making, "LARGEST", 100)
    with pytest.raises(StoreError, match="written to the temporary folder") as caught:
        rendered(encoded(corners(), "png"), width=50, format="png")
    assert not isinstance(caught.value, BadPicture)


def test_ends_before_the_server_does() -> None:
    """Gunicorn ends a worker after 30 seconds, whatever it waits for."""
    assert making.COMPUTING < making.TIMEOUT < 30


def test_unflushed_source() -> None:
    """What has been written to the file is seen, though Python still has it."""
    with tempfile.TemporaryFile() as file:
        file.write(encoded(corners(), "png"))
        assert making.render(file, Spec(width=20), LIMITS)
