"""What a store tells its application."""

from __future__ import annotations

import blinker

_signals = blinker.Namespace()

#: Sent when a file has been stored, or is safe in the spool. The sender is the
#: application, or ``None`` outside of one; ``file`` is the
#: :class:`~flask_store.files.FileWrapper`. A receiver that raises refuses the file,
#: which is removed again, unless it was to overwrite another one.
file_saved: blinker.NamedSignal = _signals.signal("file-saved")

#: Sent when a file has been deleted; the same arguments.
file_deleted: blinker.NamedSignal = _signals.signal("file-deleted")

#: Sent when a transaction of SQLAlchemy has given a file to a row, after the commit of
#: the outermost transaction; the same arguments. It is sent once for each file, and not
#: for a file that a row had before. A receiver that raises is logged.
file_committed: blinker.NamedSignal = _signals.signal("file-committed")

#: Sent when an upload in the background has reached the storage; ``file`` as above.
#: There is an application context, and never a request.
upload_finished: blinker.NamedSignal = _signals.signal("upload-finished")

#: Sent when an upload in the background is parked; ``error`` is its cause.
upload_failed: blinker.NamedSignal = _signals.signal("upload-failed")

#: Sent when a variant of a picture has been made and stored; ``variant`` is the
#: :class:`~flask_store.images.Variant`. The sender is the application, or ``None``
#: outside of one. It is not sent for a variant that another process has made.
variant_made: blinker.NamedSignal = _signals.signal("variant-made")
