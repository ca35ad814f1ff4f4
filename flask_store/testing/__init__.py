"""What a store promises, as tests: for those who write a dialect.

A test class inherits :class:`StoreContract`, or :class:`ReaderContract` for what can
only be read, and says how a store is made. This package needs pytest, and nothing else
of Flask-Store imports it.
"""

from __future__ import annotations

import pytest

# Before they are imported, so that a failed assert shows its values.
pytest.register_assert_rewrite(
    *(f"{__name__}.{name}" for name in ("contract", "edges", "listings", "reading"))
)

from .contract import StoreContract as StoreContract  # noqa: E402
from .names import HOSTILE as HOSTILE  # noqa: E402
from .names import SAMPLE as SAMPLE  # noqa: E402
from .promises import holds as holds  # noqa: E402
from .promises import Promise as Promise  # noqa: E402
from .promises import promised as promised  # noqa: E402
from .reading import FILES as FILES  # noqa: E402
from .reading import ReaderContract as ReaderContract  # noqa: E402
from .streams import Dying as Dying  # noqa: E402
from .streams import DyingSeekable as DyingSeekable  # noqa: E402
from .streams import Hangup as Hangup  # noqa: E402
from .streams import upload as upload  # noqa: E402
