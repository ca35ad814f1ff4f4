"""Writes docs/protocols_table.inc from what the tests of the protocols have shown.

``FLASK_STORE_TABLE=docs/protocols_table.inc pytest $(python -m
tests.support.protocol_table)``, where the latter names the files of tests that fill it.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import pathlib
import typing as t

import pytest

from flask_store.testing import Promise
from flask_store.testing import promised
from flask_store.testing import ReaderContract
from flask_store.testing import StoreContract

from .protocol_rows import READERS
from .protocol_rows import ROWS

#: The promises, and the names of the tests that check each of them: those of the
#: contract, and test_memory, which needs a process of its own.
CONTRACT = promised(StoreContract)
CONTRACT[Promise.BOUNDED_MEMORY].add("test_memory")
#: The same for stores that only read. Archives have a test of their own.
READING = promised(ReaderContract)
READING[Promise.NOTHING_ESCAPES].add("test_hostile_entries")

#: The tests against other processes and against broken servers.
HARD = {
    "test_race": "Race",
    "test_kill": "Kill -9",
    "test_fork": "Fork",
    "test_dead_server": "Dead",
    "test_silent_server": "Silent",
    "test_server_that_falls_silent": "Falls silent",
}
LEFT_OUT = "–"


@dataclasses.dataclass
class Results:
    """What came of the tests of one row.

    :param outcomes: name of the test -> the outcome of each of its cases.
    :param said: what the tests recorded: ``shown``, ``exclusive`` and ``trips``.
    """

    outcomes: dict[str, list[str]] = dataclasses.field(
        default_factory=lambda: collections.defaultdict(list)
    )
    said: dict[tuple[str, str], t.Any] = dataclasses.field(default_factory=dict)

    def cell(self, tests: t.Iterable[str]) -> str:
        """How many cases of these tests have passed, and of how many."""
        found = [outcome for test in tests for outcome in self.outcomes.get(test, ())]
        passed = found.count("passed")
        if not found:
            return "not run"
        if "failed" in found:
            return f"**{passed} of {len(found)}**"
        return f"{passed}" if passed == len(found) else f"{passed} of {len(found)}"

    def one(self, test: str) -> str:
        """What a single test has to say."""
        outcomes = self.outcomes.get(test)
        if not outcomes:
            return "not run"
        shown = {"passed": "yes", "failed": "**no**", "skipped": LEFT_OUT}[outcomes[0]]
        return str(self.said.get((test, "shown"), shown))

    def trips(self) -> list[str]:
        """The round trips of a save, a stat and a read."""
        counts = self.said.get(("test_round_trips", "trips"))
        return (
            [str(n) for n in counts] if counts else [self.one("test_round_trips")] * 3
        )


def write(reports: t.Iterable[pytest.TestReport]) -> None:
    """Write the tables if FLASK_STORE_TABLE names their file."""
    path = os.environ.get("FLASK_STORE_TABLE")
    if path:
        pathlib.Path(path).write_text(render(reports))


def render(reports: t.Iterable[pytest.TestReport]) -> str:
    """The tables in reStructuredText."""
    rows = collect(reports)
    means, held, hard, read = [], [], [], []
    for name, row in ROWS.items():
        results, title = rows[name], f"``{name}``"
        exclusive = results.said.get(("test_race", "exclusive"), LEFT_OUT)
        means.append([title, row.behind, row.library, row.primitive, exclusive])
        means[-1] += results.trips()
        held.append([title, *map(results.cell, CONTRACT.values())])
        hard.append([title, *map(results.one, HARD)])
    for name, reader in READERS.items():
        cells = map(rows[name].cell, READING.values())
        read.append([f"``{name}``", reader.library, *cells])
    head = ["Protocol", "Server", "Library", "By which primitive", "Exclusive"]
    return "\n".join(
        [
            *list_table(
                "The means, and what a small file costs in round trips",
                [*head, "Save", "Stat", "Read"],
                means,
            ),
            *list_table(
                "The contract: tests that passed", ["Protocol", *CONTRACT], held
            ),
            *list_table(
                "Against other processes, and servers that break",
                ["Protocol", *HARD.values()],
                hard,
            ),
            *list_table(
                "The contract of what can only be read: tests that passed",
                ["Protocol", "Library", *READING],
                read,
            ),
        ]
    )


def collect(reports: t.Iterable[pytest.TestReport]) -> dict[str, Results]:
    """The results of each row."""
    contracts = {row.contract: name for name, row in {**ROWS, **READERS}.items()}
    rows: dict[str, Results] = collections.defaultdict(Results)
    for report in reports:
        if report.when != "call" and report.outcome == "passed":
            continue
        path, _, parameters = report.nodeid.partition("[")
        file, *classes, test = path.split("::")
        stem = pathlib.PurePosixPath(file).stem
        name = contracts.get("::".join([stem, *classes]))
        if name is None and stem.startswith("test_protocols"):
            name = parameters.removesuffix("]")
        if name is not None:
            rows[name].outcomes[test].append(report.outcome)
            for what, value in report.user_properties:
                rows[name].said[test, what] = value
    return rows


def list_table(title: str, head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [f".. list-table:: {title}", "   :header-rows: 1", ""]
    for cells in [head, *rows]:
        lines += table_row(cells)
    return [*lines, ""]


def table_row(cells: list[str]) -> list[str]:
    """One row of a list-table."""
    lines = [f"   {'  ' if n else '* '}- {cell}" for n, cell in enumerate(cells)]
    return [line.rstrip() for line in lines]


if __name__ == "__main__":
    stems = {row.contract.partition("::")[0] for row in {**ROWS, **READERS}.values()}
    for path in sorted(pathlib.Path("tests").glob("*/test_*.py")):
        if path.stem in stems or path.stem.startswith("test_protocols"):
            print(path)
