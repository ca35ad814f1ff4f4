"""Every system call of an operation on the local disk: killed there, or failing there.

A process is traced by strace(1), which kills it (``kill -9``) when it enters the nth
call of a name, or lets that call fail. ``save:linkat#1=KILL`` is a save that is killed
before its first linkat(2), ``save:write#2=ENOSPC`` one whose second write(2) finds the
disk full. Afterwards the disk is looked at. What must not be is as in ``fault_trials``
(``lost``, ``wrong``, ``partial``, ``hang``, ``bare``, ``broken``), ``left`` is a
private file that sweep() does not remove, and ``burnt`` a direct upload that can be
confirmed no more.

This module is a program, because it forks for each trial, which a process with threads
should not do. The tests run it, with a choice of the calls. By hand, from the project's
folder::

    python -m tests.support.system_calls save move  # killed at each call
    python -m tests.support.system_calls --fail save  # each call fails, in each way
    python -m tests.support.system_calls --only 'save:linkat#*' save
    python -m tests.support.system_calls --every 3 move  # each third trial

It prints each finding as a line of JSON, and at last the number of trials, and of those
in which something was killed, or failed.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import fnmatch
import io
import json
import logging
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import typing as t
from collections.abc import Callable
from collections.abc import Iterator

from flask import Flask

from benchmarks.strace import program
from flask_store import direct
from flask_store import Store
from flask_store.background import worker
from flask_store.background.spool import Spool
from flask_store.background.turns import Turns
from flask_store.direct import resumable
from flask_store.exceptions import AlreadyConfirmed
from flask_store.exceptions import StoreError
from flask_store.stores.fsspec import FsspecStore

from .fault_trials import NEW
from .fault_trials import OLD
from .fault_trials import Operation
from .fault_trials import OPERATIONS
from .fault_trials import unlike

#: Seconds after which a process hangs.
LIMIT = 20.0
#: How long an upload in the background may take, with the pauses between its tries.
PATIENCE = 5.0
#: What only has to do with memory, other threads or the end.
OTHERS = {
    *("brk", "mmap", "munmap", "mremap", "madvise", "mprotect", "futex", "exit"),
    *("exit_group", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "clone3"),
    *("set_robust_list", "rseq", "sched_yield", "restart_syscall", "getpid", "gettid"),
    *("epoll_wait", "poll", "clone", "prctl", "sched_getaffinity", "clock_nanosleep"),
}
ERRORS = ("EIO", "ENOSPC", "EMFILE", "EROFS", "EDQUOT")
#: Calls that cannot fail so, or whose failure only concerns the process.
FAULTLESS = {"lseek", "fcntl", "getrandom", "geteuid", "umask", "dup", "ioctl"}

KILL = "KILL"
_CALL = re.compile(r"(?P<thread>\d+) +(?P<name>\w+)\((?P<rest>.*)")


class Variant(t.NamedTuple):
    """An operation on the disk, and how its store is set up.

    :param named: whether a file has a private name until it gets its own.
    :param direct: whether it is a step of a direct upload.
    :param resumed: whether that comes in several requests.
    """

    operation: Operation
    named: bool = False
    background: bool = False
    direct: bool = False
    resumed: bool = False


def _nested(trial: t.Any) -> str:
    return str(trial.store.put("a/b/new.bin", NEW).key)


def _accepted(trial: t.Any) -> str:
    """The answer is given as soon as the upload is accepted; then it goes on."""
    file = trial.store.save(NEW, "new.bin")
    trial.tell("answered", file.key)
    upload = file.upload
    # One that waits is tried again in a new thread, whose calls fail like the first's.
    if upload is not None and not upload.wait(PATIENCE) and upload.state == "running":
        before = upload.attempts
        upload.wait(PATIENCE)  # it may just have begun another try
        if (upload.state, upload.attempts) == ("running", before):
            trial.tell("stuck", "nothing goes on, and the upload is 'running'")
    return str(file.key)


def _taken_up(trial: t.Any) -> None:
    """What a process that is gone has accepted."""
    trial.store.background.start()
    with contextlib.suppress(OSError):  # the application has gone on without it
        trial.store.background.worker().drain(PATIENCE)


def _received(trial: t.Any) -> str:
    """The application takes the form of a direct upload."""
    status = trial.send(NEW)
    if status >= 400:
        # An error of the store is answered with one of these.
        kind = StoreError if status in (502, 503, 507) else RuntimeError
        raise kind(f"the status is {status}")
    return str(trial.form.key)


def _appended(trial: t.Any) -> str:
    """The second half of a resumable upload arrives."""
    trial.go_on()
    return str(trial.form.key)


def _confirmed(trial: t.Any) -> str:
    return str(trial.confirm())


_STORED: dict[str, t.Any] = {"done": {"*": NEW}, "failed": {"new.bin": {NEW, None}}}

VARIANTS = {
    **{
        name: Variant(OPERATIONS[name])
        for name in (
            *("save", "save_taken", "overwrite", "put", "put_taken", "copy"),
            *("move", "move_over", "delete"),
        )
    },
    "save_large": Variant(OPERATIONS["save_large"]),
    "save_named": Variant(OPERATIONS["save"], named=True),
    "overwrite_named": Variant(OPERATIONS["overwrite"], named=True),
    "move_named": Variant(OPERATIONS["move"], named=True),
    "put_nested": Variant(
        Operation(_nested, done={"*": NEW}, failed={"a/b/new.bin": {NEW, None}})
    ),
    # Under its name only when the next process has been there; see Trial.
    "receive": Variant(Operation(_received), direct=True),
    "confirm": Variant(Operation(_confirmed), direct=True),
    "append": Variant(Operation(_appended), direct=True, resumed=True),
    "confirm_resumed": Variant(Operation(_confirmed), direct=True, resumed=True),
    "receive_named": Variant(Operation(_received), direct=True, named=True),
    "accept": Variant(Operation(_accepted), background=True),
    "take_up": Variant(Operation(_taken_up), background=True),
}


class Case(t.NamedTuple):
    """Where a process is killed, or what fails.

    :param number: of the calls of this name in one thread, from 1.
    :param how: ``"KILL"`` or an errno's name.
    """

    name: str
    number: int
    how: str

    @property
    def injection(self) -> str:
        what = "signal=SIGKILL" if self.how == KILL else f"error={self.how}"
        return f"inject={self.name}:{what}:when={self.number}"

    def __str__(self) -> str:
        return f"{self.name}#{self.number}={self.how}"


class Said(t.NamedTuple):
    """What a child said before it ended.

    :param answer: what the operation returned, or ``None``.
    :param error: what it raised, and whether that is a StoreError.
    :param stuck: what became of an upload that does not end.
    """

    answer: str | None
    answered: bool
    error: str | None
    is_store_error: bool
    hung: bool
    killed: bool
    stuck: str | None


class Trial:
    """One operation, in a folder of its own, traced."""

    def __init__(self, variant: Variant, folder: pathlib.Path) -> None:
        self.variant = variant
        self.root = folder / "files"
        self.spool = folder / "spool"
        self.trace = folder / "trace"
        self.root.mkdir(parents=True)
        #: Where a child gives its answer, while the operation goes on.
        self._out = -1
        for name, data in variant.operation.before.items():
            (self.root / name).write_bytes(data)
        if variant.operation.act is _taken_up:
            _wait_for(_fork(self._leave))
        if variant.direct:
            self.app = Flask(__name__)
            self.app.config.update(SECRET_KEY="x", STORE_PATH=str(self.root))
            Store(self.app)
            with self.app.app_context():
                # Only one that is to be resumed asks the disk already.
                self.form = self._provider().presign_upload(
                    "new.bin", max_size=10**6, expires=3600, resumable=variant.resumed
                )
        if variant.resumed:
            assert _wait_for(_fork(self._begin)) == 0
        elif variant.operation.act is _confirmed:
            assert _wait_for(_fork(lambda: self.send(NEW))) == 0

    def connect(self) -> FsspecStore:
        """The store, of this process."""
        config: dict[str, t.Any] = {"STORE_PATH": str(self.root)}
        if self.variant.background:
            config |= {"STORE_BACKGROUND": True, "STORE_SPOOL_PATH": str(self.spool)}
        return FsspecStore.from_config(config)

    def _provider(self) -> FsspecStore:
        return t.cast("FsspecStore", self.app.extensions["store"].Provider("in"))

    def send(self, data: bytes) -> int:
        """Send the form of the direct upload, and return the status."""
        file = {**self.form.fields, "file": (io.BytesIO(data), "x")}
        return self.app.test_client().post(self.form.url, data=file).status_code

    def _begin(self) -> None:
        """Send the first half of a resumable upload, or all of one to be confirmed."""
        half = len(NEW) // 2
        with self.app.app_context():
            store = self._provider()
            claim = direct.read(store, self.form.token)
            resumable.begin(store, claim, len(NEW))
            resumable.append(store, claim, 0, iter([NEW[:half]]))
        if self.variant.operation.act is _confirmed:
            self.go_on()

    def go_on(self) -> None:
        """Send what is missing of a resumable upload."""
        with self.app.app_context():
            store = self._provider()
            claim = direct.read(store, self.form.token)
            offset = resumable.look(store, claim).offset
            resumable.append(store, claim, offset, iter([NEW[offset:]]))

    def confirm(self) -> str:
        """Confirm the direct upload, and return its key."""
        with self.app.app_context():
            return str(self._provider().confirm(self.form.token).key)

    def tell(self, *what: t.Any) -> None:
        """Let the parent know, also if this process is killed next."""
        os.write(self._out, f"{json.dumps(what)}\n".encode())

    def run(self, *options: str) -> Said:
        """Do it in a child that strace watches.

        :param options: for strace.
        """
        go, start = os.pipe()
        heard, out = os.pipe()
        child = _fork(lambda: self._child(go, out))
        os.close(go)
        os.close(out)
        args = [program(), "-f", "-y", "-s", "0", "-o", str(self.trace), *options]
        with subprocess.Popen(
            [*args, "-p", str(child)], stderr=subprocess.PIPE, text=True
        ) as tracer:
            assert tracer.stderr is not None
            assert "attached" in (line := tracer.stderr.readline()), line
            # It may be killed in the very call in which it waits for this.
            with contextlib.suppress(BrokenPipeError):
                os.write(start, b"go")
            os.close(start)
            lines, hung = _heard(heard)
            os.close(heard)
            if hung:
                os.kill(child, signal.SIGKILL)
            status = _wait_for(child)
        answers = [line[1] for line in lines if line[0] == "answered"]
        errors = [line[1:] for line in lines if line[0] == "raised"]
        error, is_store_error = errors[0] if errors else (None, True)
        stuck = [line[1] for line in lines if line[0] == "stuck"]
        return Said(
            answers[0] if answers else None,
            bool(answers),
            error,
            is_store_error,
            hung,
            os.WIFSIGNALED(status),
            stuck[0] if stuck else None,
        )

    def _child(self, go: int, out: int) -> None:
        self._out = out
        self.store = self.connect()
        if self.variant.named:
            del os.O_TMPFILE
        os.read(go, 2)
        try:
            returned = self.variant.operation.act(t.cast(t.Any, self))
        except BaseException as exc:
            self.tell("raised", repr(exc)[:200], isinstance(exc, StoreError))
        else:
            self.tell("answered", returned)

    def _leave(self) -> None:
        """Accept an upload and end, before anything more happens to it."""
        Turns.add = lambda *args: None  # type: ignore[method-assign]
        self.connect().save(NEW, "new.bin")

    # -- what must hold ------------------------------------------------------

    def findings(self, said: Said) -> Iterator[tuple[str, str]]:
        """What must not be, as kinds and texts."""
        if said.hung:
            yield "hang", f"no end within {LIMIT:g} s"
        if said.stuck:
            yield "hang", said.stuck
        if not said.is_store_error:
            yield "bare", str(said.error)
        if self.variant.background:
            yield from self._judge_background(said)
        elif self.variant.direct:
            yield from self._judge_direct(said)
        else:
            there = self._files()
            operation = self.variant.operation
            yield from unlike(operation, there, said.answer, said.answered)
        store = self.connect()
        # Also what is kept until the token of a direct upload has expired.
        store.sweep(older_than=-dt.timedelta(hours=2))
        left = [
            str(path.relative_to(self.root))
            for path in self.root.rglob("*")
            if ".flask-store" in path.parts and not path.is_dir()
        ]
        if left:
            yield "left", ", ".join(left)
        try:
            stored = store.at("afterwards").put("again.bin", NEW)
        except Exception as exc:
            yield "broken", f"afterwards: {exc!r}"
        else:
            if stored.read() != NEW:
                yield "broken", "afterwards another content is stored"

    def _judge_direct(self, said: Said) -> Iterator[tuple[str, str]]:
        """Nothing shows before it is confirmed. The token is good until it is, and
        then for nothing."""
        confirms = self.variant.operation.act is _confirmed
        if self._files() and not confirms:
            yield "partial", f"{sorted(self._files())} shows before the confirm"
        if self.variant.resumed and not confirms:
            self.go_on()
        elif not confirms and not said.answered and self.send(NEW) not in (204, 403):
            yield "burnt", "it cannot be sent again"
        try:
            self.confirm()
        except AlreadyConfirmed:
            if not (confirms and (said.answered or said.killed)):
                yield "burnt", "it says that it is confirmed"
        except Exception as exc:
            yield "burnt", repr(exc)
        else:
            if confirms and said.answered:
                yield "wrong", "it is confirmed twice"
        if self.send(OLD) != 403:
            yield "wrong", "it can be sent again"
        if self._files() != {self.form.key: NEW}:
            yield "lost", f"there is {sorted(self._files())}"

    def _judge_background(self, said: Said) -> Iterator[tuple[str, str]]:
        """The next process stores what was accepted, and the spool is empty."""
        if _wait_for(_fork(self._next)):
            yield "broken", "the next process fails"
        there = self._files()
        promised = said.answered or self.variant.operation.act is _taken_up
        if promised and list(there.values()) != [NEW]:
            yield "lost", f"accepted, and {sorted(there)} is stored"
        for name, data in there.items():
            if data != NEW:
                yield "partial", f"{name} has {len(data)} bytes"
        if len(there) > 1:
            yield "wrong", f"stored twice: {sorted(there)}"
        # What a try of the disk leaves is removed when it is an hour old.
        Spool(str(self.spool), 0, "").tidy(older_than=0)
        files = [path for path in self.spool.rglob("*") if path.is_file()]
        left = [path.name for path in files if path.name != "lock"]
        if left:
            yield "left", f"in the spool: {left}"

    def _next(self) -> None:
        store = self.connect()
        assert store.background is not None
        store.background.start()
        store.background.worker().drain(PATIENCE)

    def _files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in self.root.rglob("*")
            if path.is_file() and ".flask-store" not in path.parts
        }


def _fork(work: Callable[[], object]) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def _wait_for(child: int) -> int:
    return os.waitpid(child, 0)[1]


def _heard(pipe: int) -> tuple[list[list[t.Any]], bool]:
    """What is said until the end, and whether none comes."""
    data = b""
    while True:
        ready, _, _ = select.select([pipe], [], [], LIMIT)
        if not ready:
            return [json.loads(line) for line in data.splitlines()], True
        more = os.read(pipe, 65536)
        if not more:
            return [json.loads(line) for line in data.splitlines()], False
        data += more


def cases(trial: Trial, fail: bool) -> list[Case]:
    """Where a process can be killed, or what can fail, as the trace shows it."""
    counts: dict[tuple[str, str], int] = {}
    found: dict[Case, None] = {}
    for line in trial.trace.read_text(errors="replace").splitlines():
        call = _CALL.match(line)
        if call is None or call["name"] in OTHERS:
            continue
        name, thread = call["name"], call["thread"]
        number = counts[thread, name] = counts.get((thread, name), 0) + 1
        if not fail:
            found[Case(name, number, KILL)] = None
        elif name not in FAULTLESS and str(trial.root.parent) in call["rest"]:
            for error in ERRORS:
                found[Case(name, number, error)] = None
    return list(found)


def run(
    name: str, fail: bool, every: int, offset: int, only: str, folder: pathlib.Path
) -> tuple[int, int]:
    """Try an operation, print the findings, and return the number of trials and of
    those in which something was killed, or failed."""
    variant = VARIANTS[name]

    def tell(case: str, kind: str, text: str) -> None:
        found = {"trial": f"{name}:{case}", "kind": kind, "text": text}
        print(json.dumps(found), flush=True)

    first = Trial(variant, folder / name)
    said = first.run()
    if said.error or not said.answered:
        tell("nothing", "control", str(said))
    for kind, text in first.findings(said):
        tell("nothing", "control", f"{kind}: {text}")
    todo = [
        case
        for case in cases(first, fail)[offset::every]
        if fnmatch.fnmatch(f"{name}:{case}", only)
    ]
    hits = 0
    for number, case in enumerate(todo):
        place = folder / f"{name}-{number}"
        trial = Trial(variant, place)
        said = trial.run("-e", f"trace={case.name}", "-e", case.injection)
        hits += said.killed or "(INJECTED)" in trial.trace.read_text(errors="replace")
        for kind, text in trial.findings(said):
            tell(str(case), kind, text)
        shutil.rmtree(place, ignore_errors=True)
    return len(todo), hits


def warm_up(folder: pathlib.Path) -> None:
    """Import what the children need, so that it is not among their calls."""
    store = FsspecStore.from_config({"STORE_PATH": str(folder / "warm")})
    store.save(OLD, "a.bin")
    store.copy("a.bin", "b.bin")
    with contextlib.suppress(StoreError):
        store.put("a.bin", OLD)
    store.delete("b.bin")
    store.sweep()
    trial = Trial(VARIANTS["receive"], folder / "direct")
    trial.send(NEW)
    trial.confirm()


def main() -> None:
    """Run it as a command."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.system_calls")
    parser.add_argument("operation", nargs="+", choices=VARIANTS)
    parser.add_argument("--fail", action="store_true", help="let calls fail")
    parser.add_argument("--every", type=int, default=1, help="each so many trials")
    parser.add_argument("--offset", type=int, default=0, help="beginning with this")
    parser.add_argument("--only", default="*", help="a pattern of names")
    options = parser.parse_args()
    logging.disable()
    worker.FIRST_PAUSE = 0.05
    with tempfile.TemporaryDirectory(prefix="flask-store-") as name:
        folder = pathlib.Path(name)
        warm_up(folder)
        counts = [
            run(
                operation,
                options.fail,
                options.every,
                options.offset,
                options.only,
                folder,
            )
            for operation in options.operation
        ]
    trials, hits = map(sum, zip(*counts, strict=True))
    print(json.dumps({"trials": trials, "hits": hits}))


if __name__ == "__main__":
    sys.exit(main())
