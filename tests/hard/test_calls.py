"""The local disk and the spool: killed at every system call, and each of them failing.

What is tried, and how to do one trial again by its name, is in ``calls.py``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import typing as t
from collections.abc import Callable

import pytest

from tests.conftest import missing
from tests.support import system_calls
from tests.support.servers import ROOT

#: Each so many of the calls that fail, in each of so many ways; all of them at night.
EVERY = 1 if os.environ.get("FLASK_STORE_FAULTS") == "all" else 4

Found: t.TypeAlias = dict[str, str]


def tried(*options: str) -> tuple[list[Found], dict[str, int]]:
    """Run the trials of every operation: their findings, and how many there were."""
    if shutil.which("strace") is None:
        missing("strace (apt-get install strace)")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.support.system_calls",
            *options,
            *system_calls.VARIANTS,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert done.returncode == 0, done.stderr
    *findings, counts = map(json.loads, done.stdout.splitlines())
    return findings, counts


Tried: t.TypeAlias = tuple[list[Found], dict[str, int]]


@pytest.fixture(scope="module")
def killed() -> Tried:
    """A kill at each call."""
    return tried()


@pytest.fixture(scope="module")
def failing() -> Tried:
    """Calls that fail."""
    return tried("--fail", "--every", str(EVERY))


def check(done: Tried, operation: str, option: str = "") -> None:
    """Nothing was found of this operation."""
    found = [f for f in done[0] if f["trial"].startswith(f"{operation}:")]
    told = "\n".join(f"{f['trial']} {f['kind']}: {f['text']}" for f in found)
    again = f"python -m tests.support.system_calls {option}{operation} --only NAME"
    assert not found, f"{told}\nOne of them again, by its name: {again}"


@pytest.mark.parametrize("operation", system_calls.VARIANTS)
def test_kill_at_every_call(killed: Tried, operation: str) -> None:
    """What was answered is there, a name shows a whole file or none, a move leaves one
    of its names, and after sweep() nothing private is left."""
    check(killed, operation)


@pytest.mark.parametrize("operation", system_calls.VARIANTS)
def test_failure_of_every_call(failing: Tried, operation: str) -> None:
    """EIO, ENOSPC, EMFILE, EROFS and EDQUOT are StoreErrors or do no harm, and nothing
    is lost or left."""
    check(failing, operation, "--fail ")


def test_counts(killed: Tried, failing: Tried, figures: Callable[[str], None]) -> None:
    """Nearly every process that should have been killed was, and every call that
    should have failed did; threads do not always come as far."""
    for what, (_, counts) in {"killed": killed, "failing": failing}.items():
        figures(f"system calls, {what}: {counts['hits']} of {counts['trials']} trials")
        assert counts["hits"] >= 0.9 * counts["trials"] > 100
