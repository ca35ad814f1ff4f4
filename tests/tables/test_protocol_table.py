"""The tables of the protocols say what the tests have shown, and nothing else."""

from __future__ import annotations

import typing as t

import pytest

from flask_store.testing import Promise
from flask_store.testing import ReaderContract
from flask_store.testing import StoreContract
from tests.hard import test_protocols
from tests.storages import test_chained
from tests.support import protocol_table
from tests.support.protocol_rows import READERS
from tests.support.protocol_rows import ROWS
from tests.support.servers import ROOT

TABLE = ROOT / "docs" / "protocols_table.inc"


def report(
    test: str, outcome: t.Literal["passed", "failed", "skipped"], **said: t.Any
) -> pytest.TestReport:
    """What pytest reports of one test."""
    return pytest.TestReport(
        nodeid=f"tests/{test}",
        location=("", 0, ""),
        keywords={},
        outcome=outcome,
        longrepr=None,
        when="call",
        user_properties=list(said.items()),
    )


def test_outcomes_are_counted() -> None:
    """A promise counts the cases that passed, and shows those that did not."""
    rows = protocol_table.collect(
        [
            report("test_ftp.py::TestFTP::test_stat", "passed"),
            report("test_ftp.py::TestFTP::test_open[1]", "passed"),
            report("test_ftp.py::TestFTP::test_open[2]", "skipped"),
            report("test_smb.py::TestSMB::test_open", "failed"),
            report("test_smb.py::test_of_something_else", "failed"),
            report("test_protocols.py::TestEachRow::test_memory[s3 (moto)]", "passed"),
            report("test_protocols_killed.py::X::test_kill[dir::file]", "passed"),
        ]
    )
    assert rows["ftp"].cell(["test_stat"]) == "1"
    assert rows["ftp"].cell(["test_stat", "test_open"]) == "2 of 3"
    assert rows["smb"].cell(["test_open"]) == "**0 of 1**"
    assert rows["s3 (moto)"].cell(["test_memory"]) == "1"
    assert rows["dir::file"].one("test_kill") == "yes"
    assert rows["s3"].cell(["test_memory"]) == "not run"


def test_what_a_test_has_measured_is_shown() -> None:
    """Round trips, rounds and kills come from the tests themselves."""
    each = "test_protocols.py::TestEachRow"
    rows = protocol_table.collect(
        [
            report(f"{each}::test_round_trips[ftp]", "passed", trips=[5, 1, 8]),
            report(f"{each}::test_race[ftp]", "passed", shown="3 rounds"),
            report(f"{each}::test_fork[ftp]", "failed"),
            report(f"{each}::test_round_trips[file]", "skipped"),
        ]
    )
    assert rows["ftp"].trips() == ["5", "1", "8"]
    assert rows["ftp"].one("test_race") == "3 rounds"
    assert rows["ftp"].one("test_fork") == "**no**"
    assert rows["file"].trips() == [protocol_table.LEFT_OUT] * 3


@pytest.mark.parametrize(
    ("contract", "table"),
    [
        (StoreContract, protocol_table.CONTRACT),
        (ReaderContract, protocol_table.READING),
    ],
)
def test_every_test_of_the_contracts_is_counted(
    contract: type, table: dict[Promise, set[str]]
) -> None:
    """Each is in a column of its table, also one that says nothing of itself."""
    counted = set().union(*table.values())
    assert {name for name in vars(contract) if name.startswith("test_")} < counted
    assert hasattr(test_protocols.TestEachRow, "test_memory")
    assert hasattr(test_chained.TestZip, "test_hostile_entries")


def test_table_in_the_documentation() -> None:
    """It has a line for each row in each table, and nothing that failed."""
    table = TABLE.read_text()
    for name in ROWS:
        assert table.count(f"* - ``{name}``\n") == 3
    for name in READERS:
        assert table.count(f"* - ``{name}``\n") == 1
    assert "**" not in table
    assert "not run" not in table
