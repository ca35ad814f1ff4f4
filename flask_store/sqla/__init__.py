"""SQLAlchemy: a column whose value is a stored file.

- ``column.py``: :class:`StoredFile`, the column type.
- ``rows.py``: saves files in a flush, and notes which files its rows hold.
- ``transactions.py``: removes files after a transaction.
- ``answers.py``: whether the database has answered every statement.
- ``holding.py``: which files the rows of a database hold.
- ``orphans.py``: the files that no row holds.
- ``legacy.py``: :class:`FlaskStoreType`, the column of 0.0.4.
- ``migrations.py``: how Alembic writes these types.
"""

from . import rows as rows  # listens to every mapper
from .column import StoredFile as StoredFile
from .holding import columns_of as columns_of
from .legacy import FlaskStoreType as FlaskStoreType
from .migrations import render_item as render_item
from .orphans import orphans as orphans
from .orphans import sweep as sweep

# Migrations import the types from this module, also those that 0.0.4 wrote.
StoredFile.__module__ = FlaskStoreType.__module__ = __name__
