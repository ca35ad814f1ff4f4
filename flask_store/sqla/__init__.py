"""SQLAlchemy: a column whose value is a stored file.

- ``column.py``: :class:`StoredFile`, the column type.
- ``rows.py``: what a flush does with the files of its rows.
- ``transactions.py``: which files a transaction made and gave up.
- ``holding.py``: which files the rows of a database hold.
- ``orphans.py``: the files that no row knows.
- ``legacy.py``: :class:`FlaskStoreType`, the column of 0.0.4.
- ``migrations.py``: how Alembic writes these types down.
"""

from . import rows as rows  # listens to every mapper
from .column import StoredFile as StoredFile
from .holding import columns_of as columns_of
from .legacy import FlaskStoreType as FlaskStoreType
from .migrations import render_item as render_item
from .orphans import orphans as orphans
from .orphans import sweep as sweep

# Under this name migrations import them, those of 0.0.4 among them.
StoredFile.__module__ = FlaskStoreType.__module__ = __name__
