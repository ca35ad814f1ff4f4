"""What the tests of the protocols do in processes of their own.

``python -m tests.support.protocol_worker WHAT URL OPTIONS``, where WHAT is one of the
functions at the end: what is done goes to the standard output, one JSON value a line.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import signal
import sys
import threading
import time
import typing as t
import unittest.mock

import fsspec

from flask_store.images import making
from flask_store.images import Variant
from flask_store.signals import variant_made
from flask_store.stores.fsspec import FsspecStore

from .memory_peak import growth
from .memory_peak import growth_of_draft

NAMES = [f"name-{number}.txt" for number in range(5)]
THREADS = 16
#: How many threads copy and move at the same moment.
COPIERS = 4
#: The size of the file that a kill interrupts, in bytes.
SIZE = 6 * 1024 * 1024
#: The size of a file that must not go through memory as a whole, in bytes.
LARGE = 96 * 1024 * 1024
#: How much of it is read at once, in bytes.
PART = 256 * 1024


class Slow(io.BytesIO):
    """A stream that takes its time, and says when a part of it is on its way."""

    begun = False

    def read(self, size: int | None = -1) -> bytes:
        time.sleep(0.005)
        if self.tell() >= PART and not self.begun:
            self.begun = True
            say("begun")
        return super().read(min(size or 0, PART) if size != -1 else -1)


def say(value: t.Any) -> None:
    """Print one line at once."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def wait_for_parent() -> None:
    """Say that everything is ready, and return when the parent says that it begins."""
    say("ready")
    sys.stdin.readline()


def begin_together(
    threads: int, work: t.Callable[[int], None], wait: t.Callable[[], None]
) -> None:
    """Do some work in each of many threads, which all begin at the same moment.

    :param work: is called with the number of its thread.
    :param wait: returns when they may begin.
    """
    start = threading.Barrier(threads + 1)

    def run(number: int) -> None:
        start.wait()
        work(number)

    running = [threading.Thread(target=run, args=(n,)) for n in range(threads)]
    for thread in running:
        thread.start()
    wait()
    start.wait()
    for thread in running:
        thread.join()


def race(store: FsspecStore) -> None:
    """Save five names in each of 16 threads, below each folder that the parent names,
    as soon as it says so."""
    for folder in iter(sys.stdin.readline, ""):
        say(contend(store.at(folder.strip()), THREADS, wait_for_parent))


def contend(
    store: FsspecStore, threads: int, wait: t.Callable[[], None] = lambda: None
) -> list[tuple[str, str] | str]:
    """Save five names in each of many threads.

    :param wait: returns when they may begin.
    :return: for each file its name and its content, or an error's text.
    """
    done: list[tuple[str, str] | str] = []

    def save(number: int) -> None:
        for name in NAMES:
            data = f"{os.getpid()} {number} {name}"
            try:
                f = store.save(data.encode(), filename=name)
                done.append((f.filename, data))
            except Exception as exc:
                done.append(f"{type(exc).__name__}: {exc} ({exc.__cause__!r})")

    begin_together(threads, save, wait)
    return done


def race_copies(store: FsspecStore) -> None:
    """Copy and move files of one's own onto one name, in each of some threads, below
    each folder that the parent names, as soon as it says so."""
    for folder in iter(sys.stdin.readline, ""):
        say(contend_copies(store.at(folder.strip()), COPIERS, wait_for_parent))


def contend_copies(
    store: FsspecStore, threads: int, wait: t.Callable[[], None] = lambda: None
) -> list[list[str] | str]:
    """Copy a file, and then move it, onto one name, in each of some threads.

    :param wait: returns when they may begin.
    :return: for each thread the old name, the name of the copy, that of the moved file
        and the content, or an error's text.
    """
    done: list[list[str] | str] = []
    for number in range(threads):
        store.put(_old(number), _content(number), "overwrite")

    def copy_and_move(number: int) -> None:
        old, data = _old(number), _content(number).decode()
        try:
            names = [store.copy(old, "new.txt").filename]
            names.append(store.move(old, "new.txt").filename)
            done.append([old, *names, data])
        except Exception as exc:
            done.append(f"{type(exc).__name__}: {exc} ({exc.__cause__!r})")

    begin_together(threads, copy_and_move, wait)
    return done


def _old(number: int) -> str:
    """The name of the file that a thread of this process copies."""
    return f"old-{os.getpid()}-{number}.txt"


def _content(number: int) -> bytes:
    """What is in it."""
    return f"{os.getpid()} {number}".encode()


def race_variants(store: FsspecStore) -> None:
    """Ask for one variant in each of 16 threads, of the picture in each folder that the
    parent names, as soon as it says so."""
    for folder in iter(sys.stdin.readline, ""):
        inside = store.at(folder.strip())
        say([ask_for_variant(inside, THREADS, wait_for_parent)])


def ask_for_variant(
    store: FsspecStore, threads: int, wait: t.Callable[[], None] = lambda: None
) -> dict[str, t.Any]:
    """Ask for a variant of the file 'picture.jpg' in each of many threads.

    :param wait: returns when they may begin.
    :return: the digests of the bytes that came, what went wrong, how many pictures were
        decoded, and how many variants were published.
    """
    digests: list[str] = []
    errors: list[str] = []
    decoded: list[object] = []
    published: list[object] = []

    def count_published(sender: object, variant: Variant) -> None:
        published.append(variant)

    def counted(source: t.IO[bytes], *how: t.Any) -> bytes:
        decoded.append(how)
        return render(source, *how)

    def ask(number: int) -> None:
        try:
            variant = store.file("picture.jpg").variant(width=64)
            digests.append(hashlib.sha256(variant.read()).hexdigest())
        except Exception as exc:
            errors.append(f"{type(exc).__name__}: {exc} ({exc.__cause__!r})")

    render = making.render
    with (
        variant_made.connected_to(count_published),
        unittest.mock.patch.object(making, "render", counted),
    ):
        begin_together(threads, ask, wait)
    return {
        "digests": digests,
        "errors": errors,
        "decoded": len(decoded),
        "published": len(published),
    }


def movers(store: FsspecStore) -> None:
    """For each line of the input, fork a child that copies and moves a file again and
    again until it is killed. It has its number and the first move printed, and at last
    how it ended."""
    fsspec.get_filesystem_class(store.dialect.location.protocol)
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            say(os.getpid())
            wander(store)
        _, status = os.waitpid(child, 0)
        say(["ended", os.waitstatus_to_exitcode(status)])


def wander(store: FsspecStore) -> t.NoReturn:
    """Move the file in the folder 'moved' from name to name, and copy it."""
    name = next(iter(store.ls("moved"))).name
    for number in itertools.count():
        name = store.move(name, "moved/a.bin").key
        store.copy(name, f"copied/{number % 2}.bin", "overwrite")
        if not number:
            say("begun")


def nursery(store: FsspecStore) -> None:
    """Fork children that each save a large file."""
    rear(store, lambda: store.save(Slow(b"k" * SIZE), filename="big.bin"))


def drafts(store: FsspecStore) -> None:
    """Fork children that each write a large file, and never end the block."""

    def write() -> None:
        with store.create("big.bin") as out:
            out.write(b"k" * SIZE)
            say("begun")
            signal.pause()

    rear(store, write)


def rear(store: FsspecStore, save: t.Callable[[], object]) -> None:
    """For each line of the input, fork a child that saves a large file and exits.

    It has its number and then the save's steps printed, and at last how it ended.
    Forking is quicker than starting Python, and nothing is connected yet.
    """
    fsspec.get_filesystem_class(store.dialect.location.protocol)
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            say(os.getpid())
            save()
            say("saved")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        say(["ended", os.waitstatus_to_exitcode(status)])


def fork(store: FsspecStore) -> None:
    """Save in the parent, in the child, in both again, and read each other's."""
    signal.alarm(60)
    store.save(b"before", filename="before.txt", on_conflict="overwrite")
    holders = [threading.Thread(target=hold, args=(store,)) for _ in range(2)]
    for thread in holders:
        thread.start()
    time.sleep(0.5)
    child = os.fork()
    who = "parent" if child else "child"
    for number in range(3):
        f = store.save(who.encode(), filename=f"{who}-{number}.txt")
        assert f.read() == who.encode()
    assert store.file("before.txt").read() == b"before"
    if not child:
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert store.save(b"after", filename="after.txt").read() == b"after"
    for thread in holders:
        thread.join()
    say(status)


def hold(store: FsspecStore) -> None:
    """Have a connection during the fork, and use it after it."""
    store.exists("before.txt")
    time.sleep(1.5)
    assert store.file("before.txt").read() == b"before"


def peak(store: FsspecStore) -> None:
    """Save a large file that can be read only once, and write one in a block."""
    say(growth(store, LARGE, "pipe"))
    say(growth_of_draft(store, LARGE))


def leave(store: FsspecStore) -> None:
    """Exit while files are open."""
    f = store.save(b"x" * PART, filename="left.bin")
    opened = store.open(f.filename)
    assert f.read(5) == opened.read(5) == b"x" * 5
    sys.modules[__name__].__dict__.update(f=f, opened=opened)


if __name__ == "__main__":
    what, url, options = sys.argv[1:]
    works = race, race_copies, race_variants, movers, nursery, drafts, fork, peak, leave
    config = {"STORE_PATH": url, "STORE_OPTIONS": json.loads(options)}
    if what == race_variants.__name__:
        config["STORE_VARIANTS"] = {}
    {work.__name__: work for work in works}[what](FsspecStore.from_config(config))
