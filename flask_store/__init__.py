"""Save uploads from Flask to disk, S3 or any fsspec filesystem, with a URL for each.

The map of the package; each file has one reason to change:

- ``extension.py``: ``Store``, the Flask half: settings, routes, and the verbs of the
  current application's store.
- ``stores/``: the contract (``BaseStore``), every operation (``FsspecStore``), a file
  that is being written, the store as a filesystem of fsspec, and the settings of
  ``LocalStore`` and ``S3Store``.
- ``dialects/``: what one protocol guarantees, and how it does it.
- ``uploads/``: what can be saved, as one stream; a file on disk before it has its name;
  requests whose files arrive on the disk of a store.
- ``http/``: the addresses of a store at the application, and what they answer.
- ``direct/``: uploads from a browser straight into a store.
- ``background/``: uploads that go on after ``save``, and survive the process.
- ``files.py``: ``FileWrapper``, a stored file as a value.
- ``naming.py``: the client's file name becomes a safe key. Pure.
- ``media_types.py``: an extension becomes a content type. Pure.
- ``filetypes/``: which files may be stored, by their extensions and their content.
- ``views/``: listings, sums, tables and previews, as people see them.
- ``concurrency/``: the filesystems' event loop, threads and greenlets.
- ``sqla/``, ``validators/``: columns of files for SQLAlchemy, validators for WTForms.
- ``cli/``, ``sync.py``: ``flask store ...``, and one store into another.
- ``testing/``: what a store promises, as tests for those who write a dialect.
- ``providers/``, ``file_wapper.py``: the API of 0.0.4.
- ``settings.py``, ``secrecy.py``: every setting as a row of a table; which of them are
  never shown.
- ``signals.py``, ``exceptions.py``: what an application is told, and what can go wrong.
"""

import typing as _t

from .exceptions import NotConfiguredError as NotConfiguredError
from .exceptions import StoreError as StoreError
from .extension import current_store as current_store
from .extension import Provider as Provider
from .extension import Store as Store

if _t.TYPE_CHECKING:
    from .files import FileWrapper as FileWrapper

__all__ = [
    "Backend",
    "FileWrapper",
    "NotConfiguredError",
    "Provider",
    "Store",
    "StoreError",
    "StoreProvider",
    "current_store",
]

#: Other names of :data:`Provider`, from the documentation of 0.0.2.
Backend = Provider
StoreProvider = Provider


def __getattr__(name: str) -> object:
    # Filesystems are imported when they are used (PEP 562).
    if name == "FileWrapper":
        from .files import FileWrapper

        return FileWrapper
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), "FileWrapper"})
