"""``flask store ...``: commands for stored files.

``command.py`` has what all commands share: the choice of a store, and errors.
``verbs.py`` has the simple commands, ``check.py`` and ``sync.py`` have those of their
names, and ``rclone.py`` has the configuration that ``sync --print-rclone`` prints.
``variants.py`` makes variants of pictures.
"""

from __future__ import annotations

from . import check
from . import sync
from . import variants
from . import verbs
from .command import store as store

store.add_command(check.check)
store.add_command(sync.sync)
store.add_command(variants.variants)
for _verb in verbs.VERBS:
    store.add_command(_verb)
