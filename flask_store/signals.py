"""What a store tells its application."""

from __future__ import annotations

from blinker import Namespace

_signals = Namespace()

#: Sent when a file has been stored. The sender is the application, or ``None``
#: outside of one; ``file`` is the :class:`~flask_store.files.FileWrapper`.
file_saved = _signals.signal("file-saved")

#: Sent when a file has been deleted; the same arguments.
file_deleted = _signals.signal("file-deleted")
