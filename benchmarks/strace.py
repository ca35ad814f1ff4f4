"""The system calls of a process, by strace(1), and the bytes that it writes."""

from __future__ import annotations

import contextlib
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import typing as t
from collections.abc import Iterator

#: The calls that can put bytes into a file. Nothing here writes by mmap(2) or io_uring.
WRITING = (
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "sendfile",
    "copy_file_range",
    "splice",
)
#: The target is their third argument, and the first one of all the others.
FROM_FIRST = ("copy_file_range", "splice")

_CALL = re.compile(r"(?P<name>\w+)\((?P<args>.*)\)\s+= (?P<result>\d+)")
_FD = re.compile(r"\d+<([^>]*)>")


class NoStraceError(RuntimeError):
    """strace is not on this machine, or may not trace."""


def program() -> str:
    """The path of strace.

    :raises NoStraceError: if there is none.
    """
    found = shutil.which("strace")
    if found is None:
        raise NoStraceError("strace is not installed (apt-get install strace)")
    return found


@contextlib.contextmanager
def attached(pid: int, *calls: str) -> Iterator[list[str]]:
    """Trace a process and all its threads.

    :param calls: the system calls to trace.
    :return: a list that has the lines of the trace after the ``with`` block.
    :raises NoStraceError: if the process cannot be traced.
    """
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        # A file for each thread: in a common one, calls break each other off.
        options = ["-ff", "-y", "-s", "0", "-e", f"trace={','.join(calls)}"]
        tracer = subprocess.Popen(
            [program(), *options, "-o", f"{folder}/trace", "-p", str(pid)],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert tracer.stderr is not None
        try:
            said = tracer.stderr.readline()
            if "attached" not in said:
                raise NoStraceError(said.strip() or "strace does not start")
            yield lines
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.communicate(timeout=30)
        for path in pathlib.Path(folder).iterdir():
            lines += path.read_text(errors="replace").splitlines()


def bytes_to_files(lines: t.Iterable[str]) -> int:
    """How many bytes went into regular files; sockets and pipes do not count."""
    return sum(_bytes_to_file(line) for line in lines)


def _bytes_to_file(line: str) -> int:
    call = _CALL.match(line)
    if call is None or call["name"] not in WRITING:
        return 0
    targets = _FD.findall(call["args"])
    path = targets[1 if call["name"] in FROM_FIRST else 0]
    regular = path.startswith("/") and not path.startswith(("/dev/", "/proc/"))
    return int(call["result"]) if regular else 0
