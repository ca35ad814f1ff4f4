"""WebDAV, behind a proxy that spoils its answers: see ``fault_trials.py``."""

from __future__ import annotations

import pytest

from tests.support.fault_contract import FaultContract

# A library does not always close a connection that was reset under it.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


class TestWebDAV(FaultContract):
    """wsgidav."""

    storage = "webdav"
