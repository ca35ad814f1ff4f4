"""The table of docs/resumable.rst is the one of the tests."""

from __future__ import annotations

from tests.local import test_tus
from tests.support.servers import ROOT
from tests.support.tus_rules import RULES
from tests.support.tus_rules import table


def test_table_is_that_of_the_tests() -> None:
    """Every rule in the table has its test, and the other way."""
    shown = (ROOT / "docs" / "tus_table.inc").read_text(encoding="utf-8")
    assert shown == table(), "python -m tests.support.tus_rules > docs/tus_table.inc"


def test_every_rule_is_tested() -> None:
    """The name of a rule's test is one that pytest runs."""
    for found in RULES:
        assert found.test.startswith("test_")
        assert callable(getattr(test_tus, found.test))
