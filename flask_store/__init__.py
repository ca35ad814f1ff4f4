"""Save uploads from Flask to disk, S3 or any fsspec filesystem, with a URL for each.

The map of the package; each file has one reason to change:

- ``extension.py``: ``Store``, the Flask half: settings, provider, route.
- ``stores/``: the contract (``BaseStore``), every operation (``FsspecStore``), and
  the settings of ``LocalStore`` and ``S3Store``.
- ``dialects/``: what one protocol guarantees, and how it says it.
- ``naming.py``: the client's file name becomes a safe key. Pure.
- ``accepting.py``, ``sources.py``: what can be saved, as one stream; ``arriving.py``:
  while it still arrives.
- ``unnamed.py``, ``beneath.py``: a file on disk before it has its name; folders on
  disk, held so that no link leads out.
- ``uploads.py``, ``forms.py``, ``pieces.py``: a request whose files arrive on the disk
  of a store.
- ``files.py``: ``FileWrapper``, a stored file as a value.
- ``routes.py``: HTTP: the addresses of a store at the application; ``serving.py``,
  ``receiving.py``, ``refusals.py``: what is answered to GET, to an upload, to errors.
- ``conditions.py``: which part of a file a request gets. Pure.
- ``presentation.py``: what a browser may do with a file. Pure.
- ``links.py``: what the application signs.
- ``direct.py``: uploads from a browser straight into a store; ``claims.py``,
  ``marks.py``: what a token allows, and what has been done with it.
- ``ioloop.py``, ``helpers.py``, ``greenlets.py``: the filesystems' event loop, and
  gevent.
- ``background/``: uploads that go on after ``save``, and survive the process.
- ``providers/``: the API of 0.0.4.
- ``sqla/``, ``validators.py``: what SQLAlchemy and WTForms can do with files.
- ``listing.py``, ``usage.py``: what is stored, and how much; ``table.py``,
  ``notebook.py``: how that and a file look.
- ``testing/``: what a store promises, as tests for those who write a dialect.
- ``cli/``, ``sync.py``: ``flask store ...``, and one store into another.
- ``settings.py``, ``signals.py``, ``exceptions.py``: what can be set, what is told, and
  what goes wrong; ``secrecy.py``: what is never shown; ``media_types.py``: an extension
  becomes a content type.
"""

import typing as _t

from .exceptions import NotConfiguredError as NotConfiguredError
from .exceptions import StoreError as StoreError
from .extension import Provider as Provider
from .extension import Store as Store

if _t.TYPE_CHECKING:
    from .files import FileWrapper as FileWrapper

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
