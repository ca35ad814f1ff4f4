"""How many rounds the random tests do, and for how long.

FLASK_STORE_ROUNDS is by how much more than usual: 10 does ten times as many rounds,
0.1 a tenth of them, and each test at least one.
"""

from __future__ import annotations

import os

#: How many times the usual number of rounds.
TIMES = float(os.environ.get("FLASK_STORE_ROUNDS", "1"))


def rounds(usual: int) -> int:
    """The number of rounds where there are *usual* ones without a setting."""
    return max(1, round(usual * TIMES))
