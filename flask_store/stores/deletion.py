"""Deletes many files, as many by one request as the storage can."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

from .. import naming
from ..dialects import Dialect
from ..dialects import Files
from ..dialects import PAGE
from ..dialects.errors import NoAnswer
from ..exceptions import FileNotFound
from ..exceptions import InvalidName
from ..exceptions import StoreError
from ..views.listing import Listing

#: How many keys a message names.
NAMED = 3


@dataclass
class Deletion:
    """The deletion of many files.

    A file that is not there is as good as deleted: S3 does not tell the two apart.

    :param files: those of the store.
    :param dialect: explains what goes wrong.
    :param tell: called with the key of each file that has been deleted.
    """

    files: Files
    dialect: Dialect
    tell: Callable[[str], object]
    #: Why files are still there, by their keys.
    errors: dict[str, StoreError] = field(default_factory=dict)
    #: The keys of the files that have been deleted.
    done: list[str] = field(default_factory=list)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete files, and go on when one of them cannot be deleted.

        :raises StoreError: if one or more are still there; its ``errors`` has them.
        """
        unique = list(dict.fromkeys(keys))
        for key, error in self._outcomes(unique):
            if error is None:
                self.done.append(key)
                self.tell(key)  # what a receiver raises is no error of the storage
            elif isinstance(error, FileNotFound):
                self._check_absent(key)
            else:
                self.errors[key] = error
        if self.errors:
            key, first = next(iter(self.errors.items()))
            error = type(first)(
                f"{len(self.errors):,} of {len(unique):,} files are not deleted:"
                f" {some(self.errors)}. {first}",
                key,
            )
            error.errors = self.errors
            raise error from first

    def _check_absent(self, key: str) -> None:
        """Look for a file that was not there to be deleted: not every 404 is the
        answer of the storage."""
        try:
            with self.dialect.explained(key):
                self.files.info(key)
                raise NoAnswer("it has not found the file, which is still there")
        except FileNotFound:
            pass
        except StoreError as exc:
            self.errors[key] = exc

    def _outcomes(self, keys: list[str]) -> Iterator[tuple[str, StoreError | None]]:
        """What comes of the files that the storage has been asked about. The others are
        in :attr:`errors`."""
        left = dict.fromkeys(keys)
        try:
            for start in range(0, len(keys), PAGE):
                batch = keys[start : start + PAGE]
                with self.dialect.explained(batch[0]):
                    for key, error in self.files.rm_files(batch):
                        del left[key]
                        yield key, error
        except StoreError as exc:
            # The storage does not answer, and would be asked in vain.
            self.errors |= dict.fromkeys(left, exc)


def keys_below(listings: Sequence[Listing]) -> list[str]:
    """The keys of all files below some folders.

    All are listed before one is deleted, so that a listing which breaks off deletes
    nothing.

    :raises InvalidName: if a folder is the store itself.
    :raises FileNotFound: if there is not one file.
    """
    for listing in listings:
        if not listing.prefix.strip("/"):
            raise InvalidName(
                "That would delete every file of the store. Pass the name of a folder;"
                " for all of them, the names in ls(recursive=False).folders."
            )
    keys = [file.key for listing in listings for file in listing]
    folders = [listing.prefix for listing in listings]
    if folders and not keys and not any(each.unreachable for each in listings):
        raise FileNotFound(f"There is no file below {some(folders)}.", folders[0])
    return keys


def check_reached(listings: Sequence[Listing]) -> None:
    """:raises StoreError: if folders have names that no operation can delete."""
    entries = [entry for listing in listings for entry in listing.unreachable]
    if entries:
        raise StoreError(
            f"{len(entries):,} names are still there, because no operation can reach"
            f" them: {some(entry.name for entry in entries)}. Everything else is"
            " deleted. Delete them with the storage's own tools.",
            entries[0].name,
        )


def some(names: Iterable[str]) -> str:
    """The first of some names, for a message."""
    quoted = [naming.quoted(name) for name in names]
    more = f" and {len(quoted) - NAMED:,} more" if len(quoted) > NAMED else ""
    return f"{', '.join(quoted[:NAMED])}{more}"
