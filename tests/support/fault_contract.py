"""The tests of one storage behind the proxy that spoils its answers.

What is tried, and how to do it by hand, is in ``fault_trials.py``. All trials of a
storage run first; each test then looks at those of one fault.
"""

from __future__ import annotations

import typing as t

import pytest

from tests.conftest import missing

from . import fault_trials
from .fault_proxy import FAULTS
from .servers import NotInstalledError


class FaultContract:
    """Whatever a server answers, nothing is lost, and nothing wrong is told."""

    #: The storage's name in ``faults.STORAGES``.
    storage: t.ClassVar[str]

    @pytest.fixture(scope="class")
    @classmethod
    def report(cls) -> fault_trials.Report:
        """What came of the trials."""
        try:
            return fault_trials.run(cls.storage)
        except NotInstalledError as error:
            missing(str(error))

    @pytest.mark.parametrize("fault", ["none", *FAULTS])
    def test_fault(
        self,
        report: fault_trials.Report,
        fault: str,
        figures: t.Callable[[str], None],
    ) -> None:
        """No operation with this fault loses a file, returns or stores what is not
        right, shows a part, hangs, or raises what is no StoreError."""
        if fault == "none":
            figures(f"{self.storage}: {report.summary()}")
        found = [finding for finding in report.findings if finding.fault == fault]
        told = "\n".join(map(str, found))
        again = f"{fault_trials.__name__} {self.storage} --only NAME --verbose"
        assert not found, f"{told}\nOne of them again, by its name: python -m {again}"
