"""What a store asks of its files."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import AbstractContextManager

from ..exceptions import StoreError
from ..uploads.disk import Unnamed
from ..uploads.source import Source
from .bodies import Fetched
from .bodies import Span
from .originals import Original
from .records import Stat

if t.TYPE_CHECKING:
    from ..background.upload import Upload


#: What becomes of a file that has the name already: an error, or it is replaced.
Mode: t.TypeAlias = t.Literal["create", "overwrite"]


class Stored(t.NamedTuple):
    """What is known of a file that has just been put.

    :param etag: as :class:`Stat` has it, if the answer tells it.
    :param upload: the upload, if it goes on in the background.
    """

    etag: str | None = None
    upload: Upload | None = None


class Deleting(t.Protocol):
    """What deletes files by their keys."""

    def rm_file(self, key: str) -> None: ...


class Hold:
    """A file that no upload of this host writes meanwhile.

    :param files: those among which it is stored.
    :param key: its key.
    """

    def __init__(self, files: Deleting, key: str) -> None:
        self._files = files
        self._key = key

    def delete(self) -> None:
        """:raises FileNotFoundError: if there is no such file."""
        self._files.rm_file(self._key)


class Files(t.Protocol):
    """The verbs of a store: those of a :class:`~flask_store.dialects.Dialect`, or of
    what stands in front of one. The dialect has their documentation."""

    def stage(self, source: Source) -> AbstractContextManager[t.Any]: ...

    def unnamed(self) -> Unnamed | None: ...

    def exclusive(self, staged: t.Any) -> bool: ...

    def put_file(
        self, staged: t.Any, key: str, content_type: str, mode: Mode
    ) -> Stored | None: ...

    def stored_by(self, key: str) -> t.Any: ...

    def mv(self, original: Original) -> AbstractContextManager[t.Any]: ...

    def cp_file(self, original: Original) -> AbstractContextManager[t.Any]: ...

    def hold(self, key: str) -> AbstractContextManager[Hold]: ...

    def rm_files(
        self, keys: Sequence[str]
    ) -> Iterator[tuple[str, StoreError | None]]: ...

    def info(self, key: str) -> Stat: ...

    def get(
        self, key: str, span: Span | None = None, found: Stat | None = None
    ) -> Fetched | None: ...

    def confirm_end(self, key: str, span: Span) -> None: ...

    def cat_file(self, key: str) -> bytes: ...

    def on_disk(self, key: str) -> str | None: ...

    def open(self, key: str) -> t.IO[bytes]: ...
