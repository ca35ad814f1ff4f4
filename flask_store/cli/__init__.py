"""``flask store ...``: what is stored, from a shell.

``command.py`` says how every command chooses its store and how it fails;
``verbs.py`` has the simple commands, ``check.py`` the doctor, ``sync.py`` the way of
a store into another one, ``rclone.py`` the same for rclone.
"""

from __future__ import annotations

from . import check
from . import sync
from . import verbs
from .command import store as store

store.add_command(check.check)
store.add_command(sync.sync)
for _verb in verbs.VERBS:
    store.add_command(_verb)
