"""The settings of the tests with Hypothesis.

They are the same in every run: the examples depend only on the code of the test, and no
database keeps those that failed. FLASK_STORE_ROUNDS lets them try more examples, which
are new ones then.
"""

from __future__ import annotations

import typing as t

from hypothesis import HealthCheck
from hypothesis import settings

from .rounds import rounds
from .rounds import TIMES

#: The shrinking of a large example can take longer than all tests together.
SUPPRESSED = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)


def examples(usual: int, **more: t.Any) -> settings:
    """Settings for a test that tries *usual* examples."""
    return settings(
        max_examples=rounds(usual),
        derandomize=TIMES == 1,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=SUPPRESSED,
        **more,
    )
