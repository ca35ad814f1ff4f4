"""S3, behind a proxy that spoils its answers: see ``fault_trials.py``."""

from __future__ import annotations

import pytest

from tests.support.fault_contract import FaultContract

# A library does not always close a connection that was reset under it.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


class TestDirect(FaultContract):
    """The own client of the S3 dialect."""

    storage = "s3"


class TestS3fs(FaultContract):
    """s3fs, which does what is not ordinary."""

    storage = "s3fs"
