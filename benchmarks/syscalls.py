"""The system calls of one save of 1 KB, its processor time, and that of the import.

``python -m benchmarks.syscalls``, from the project's folder. The save is that of an
upload in a view, after the first one of the process, into a folder that is there. So
is the URL of a file. Calls that only get memory are left out.
"""

from __future__ import annotations

import collections
import functools
import gc
import io
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import typing as t
from collections.abc import Callable
from collections.abc import Sequence

from flask import Flask
from werkzeug.datastructures import FileStorage

from flask_store import Store
from tests.support.servers import ROOT

from .measure import arguments
from .measure import Comparison
from .measure import interleaved
from .measure import KB
from .measure import parsed
from .measure import seconds
from .measure import Table
from .strace import program

BASE = "FileStorage.save"
#: The file names that mark the part of the trace that is looked at.
BEGIN, END = "/benchmark-begins", "/benchmark-ends"
MEMORY = {"brk", "mmap", "munmap", "mremap", "madvise", "futex"}

#: How many saves the processor's time is the mean of.
SAVES = 500

Action = Callable[[str], object]


def upload(name: str) -> FileStorage:
    """1 KB, as a request brings it."""
    return FileStorage(io.BytesIO(bytes(KB)), name)


def by_hand(folder: str) -> Action:
    """What Flask's documentation does."""
    return lambda name: upload(name).save(os.path.join(folder, name))


def by_store(folder: str, **settings: t.Any) -> Action:
    """What a view with Flask-Store does."""
    app = Flask(__name__)
    app.config.update(STORE_PATH=folder, **settings)
    store = Store(app)
    app.app_context().push()
    return lambda name: store.Provider().save(upload(name))


def url(folder: str) -> Action:
    """The address of a file that is stored."""
    app = Flask(__name__)
    app.config.update(STORE_PATH=folder, STORE_DOMAIN="http://127.0.0.1")
    store = Store(app)
    app.app_context().push()
    store.Provider().save(upload("a.bin"))
    return lambda name: store.Provider().file("a.bin").absolute_url()


ACTIONS: dict[str, Callable[[str], Action]] = {
    BASE: by_hand,
    "Flask-Store": by_store,
    "Flask-Store, STORE_FSYNC = False": functools.partial(by_store, STORE_FSYNC=False),
    "absolute_url()": url,
}


def act(label: str, folder: str) -> None:
    """Do it twice, the second time between the marks."""
    action = ACTIONS[label](folder)
    action("warm.bin")
    gc.disable()
    os.path.exists(BEGIN)
    action("measured.bin")
    os.path.exists(END)


def calls(label: str) -> list[str]:
    """The lines of the trace between the marks."""
    with tempfile.TemporaryDirectory() as folder:
        trace = pathlib.Path(folder, "trace")
        store = pathlib.Path(folder, "store")
        store.mkdir()
        options = ["-f", "-s", "16", "-o", str(trace)]
        child = [sys.executable, "-m", "benchmarks.syscalls", "--act", label]
        command = [program(), *options, *child, "--folder", str(store)]
        subprocess.run(command, cwd=ROOT, check=True)
        text = trace.read_text(errors="replace").replace(str(store), "STORE")
    inside = text.split(BEGIN)[1].split(END)[0].splitlines()[1:-1]
    lines = [re.sub(r"^\d+ +", "", line) for line in inside]
    return [line for line in lines if line.partition("(")[0] not in MEMORY]


def show_calls() -> None:
    """Print how many calls there are of each kind, and those of ours in order."""
    traces = {label: calls(label) for label in ACTIONS}
    table = Table("System calls", "what is done", "calls", "of them")
    for label, lines in traces.items():
        kinds = collections.Counter(line.partition("(")[0] for line in lines)
        names = ", ".join(f"{n} {name}" for name, n in sorted(kinds.items()))
        table.add(label, str(len(lines)), names or "none")
    table.show()
    for label in (BASE, "Flask-Store"):
        print(f"{label}::\n")
        print(*(f"    {line}" for line in traces[label]), "", sep="\n", flush=True)


def processor_time(action: Action, folder: str, count: int) -> float:
    """The CPU's seconds for a save, of so many."""
    names = [f"{number}.bin" for number in range(count)]
    begun = time.process_time()
    for name in names:
        action(name)
    taken = (time.process_time() - begun) / count
    for name in names:
        os.unlink(os.path.join(folder, name))
    return taken


def show_processor_time(rounds: int) -> None:
    """Print what a save costs beside the disk: nothing is waited for."""
    table = Comparison("CPU seconds for a save of 1 KB, in one process", BASE, seconds)
    plain = "Flask-Store, STORE_FSYNC = False"
    with tempfile.TemporaryDirectory() as folder:
        turns = {
            label: functools.partial(
                processor_time, ACTIONS[label](folder), folder, SAVES
            )
            for label in (BASE, plain)
        }
        table.add("seconds", interleaved(turns, rounds))
    table.table().show()


def imported(first: str, module: str) -> float:
    """The CPU's seconds for an import, after another one, in a fresh interpreter."""
    lines = (
        f"import time, {first}",
        "begun = time.process_time()",
        f"import {module}",
        "print(time.process_time() - begun)",
    )
    command = [sys.executable, "-c", "\n".join(lines)]
    return float(subprocess.check_output(command, cwd=ROOT))


def show_imports(rounds: int) -> None:
    """Print what the import of Flask-Store adds."""
    table = Comparison("CPU seconds for an import", "import flask", seconds)
    turns: dict[str, Callable[[], float]] = {
        "import flask": functools.partial(imported, "sys", "flask"),
        "import fsspec, after it": functools.partial(imported, "flask", "fsspec"),
        "import flask_store, after both": functools.partial(
            imported, "flask, fsspec", "flask_store"
        ),
    }
    table.add("seconds", interleaved(turns, rounds))
    table.table().show()


def main(args: Sequence[str] | None = None) -> None:
    """Run it as a command."""
    parser = arguments(__doc__)
    parser.add_argument("--act", choices=ACTIONS, help="what strace runs")
    parser.add_argument("--folder", help="for --act")
    options = parsed(parser, args)
    if options.act:
        act(options.act, options.folder)
        return
    show_calls()
    show_processor_time(options.rounds)
    show_imports(options.rounds)


if __name__ == "__main__":
    main()
