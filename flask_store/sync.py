"""Copies the files of one store that another store lacks, and verifies all copies.

Names stay exactly the same. A file that differs is replaced only with *overwrite*. The
next run continues one that was killed.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import threading
import time
import typing as t
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait
from dataclasses import dataclass
from dataclasses import field

from .exceptions import FileExists
from .exceptions import NotConfiguredError
from .exceptions import StoreError
from .files import FileWrapper
from .stores.fsspec import FsspecStore
from .uploads.source import Streamed

#: How many files are copied at a time. Most of the time, each waits for the network.
WORKERS = 16
#: After so many failures in a row, the cause is the storage and not a file.
PATIENCE = 20

# S3's ETag of an object that was sent in one piece, unless a key of KMS encrypts it
# (Amazon S3 API Reference, "Object").
_MD5 = re.compile(r"[0-9a-f]{32}")

Status: t.TypeAlias = t.Literal[
    "copied", "present", "different", "failed", "deleted", "made", "refused"
]


class Outcome(t.NamedTuple):
    """What became of one file.

    :param status: ``"different"`` is a file that the target has with another content;
        ``"made"`` and ``"refused"`` are of ``flask store variants``.
    :param size: in bytes.
    :param reason: why it failed.
    """

    name: str
    status: Status
    size: int = 0
    reason: str = ""


class Journal:
    """The pairs of ETags of files that were the same in both stores.

    With it, files whose checksums cannot be compared are not read again. Nothing else
    depends on it. A last line that was cut off is ignored.

    :param path: the file, or ``None`` to remember nothing.
    """

    def __init__(self, path: str | None) -> None:
        self.path = path
        #: The ETags of the original and of its copy, by name.
        self.pairs: dict[str, list[str]] = {}
        self._lock = threading.Lock()
        if path is not None:
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
            # Begin a new line: a killed process may have left a part of one.
            self._file = open(path, "a+", encoding="utf-8")
            self._file.write("\n")
            self._load()

    def _load(self) -> None:
        self._file.seek(0)
        for line in self._file:
            try:
                name, pair = json.loads(line)
            except ValueError:
                continue
            self.pairs[name] = pair

    def has(self, source: FileWrapper, target: FileWrapper) -> bool:
        """Whether the two were the same, and have not changed since."""
        return None not in (source.etag, target.etag) and (
            self.pairs.get(source.name) == [source.etag, target.etag]
        )

    def add(self, source: FileWrapper, target: FileWrapper) -> None:
        """Remember that these two are the same."""
        if self.path is not None and not self.has(source, target):
            line = json.dumps([source.name, [source.etag, target.etag]])
            with self._lock:
                self._file.write(f"{line}\n")
                self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self.path is not None:
            self._file.close()


@dataclass
class Sync:
    """A run from one store to another.

    :param journal: the results of earlier runs.
    :param overwrite: replace files that differ.
    :param delete: remove files from the target that the source does not have.
    :param dry_run: change nothing, and yield what would be done.
    :param started: called with the number of files, as soon as it is known.
    """

    source: FsspecStore
    target: FsspecStore
    journal: Journal
    overwrite: bool = False
    delete: bool = False
    dry_run: bool = False
    started: Callable[[int], object] = lambda count: None
    #: The originals of the files that were copied, with the MD5 of what was read.
    _copied: dict[str, tuple[FileWrapper, str | None]] = field(
        init=False, default_factory=dict
    )

    def run(self) -> Iterator[Outcome]:
        """Copy, verify and then delete files; yield every outcome as it becomes known.

        :raises ValueError: if the stores overlap, or everything would be deleted.
        :raises NotConfiguredError: if the target cannot tell in one step that a name is
            free, and nothing may be replaced.
        :raises StoreError: if a store cannot be listed, or fails again and again.
        """
        self._check_places()
        listings = self.source.ls(), self.target.ls()
        originals, copies = ({f.name: f for f in listing} for listing in listings)
        if self.delete and copies and not originals:
            raise ValueError("The source is empty: --delete would remove everything.")
        self.started(len(originals))
        self._copied.clear()
        has_failed = False
        for entry in (entry for listing in listings for entry in listing.unreachable):
            has_failed = True
            reason = f"No operation can reach it: it {entry.reason}"
            yield Outcome(entry.name, "failed", reason=reason)
        tasks = (
            (self._copy_or_skip, original, copies.get(name))
            for name, original in originals.items()
        )
        with ThreadPoolExecutor(WORKERS) as pool:
            for outcome in spread(pool, tasks):
                has_failed = has_failed or outcome.status == "failed"
                if outcome.status != "copied" or self.dry_run:
                    yield outcome
            for outcome in spread(pool, self._verify_tasks()):
                has_failed = has_failed or outcome.status == "failed"
                yield outcome
            for name in self._copied:
                has_failed = True
                yield Outcome(name, "failed", reason="It vanished from the target.")
            if self.delete and not has_failed:
                surplus_tasks = [
                    (self._remove, copies[name]) for name in copies.keys() - originals
                ]
                yield from spread(pool, surplus_tasks)

    def _check_places(self) -> None:
        places = [f"{s.uri}/{s.destination}".rstrip("/") for s in self._stores]
        first, second = (f"{place}/" for place in places)
        if first == second and self.source.dialect.place != self.target.dialect.place:
            return  # on two servers; and one under two names has each file already
        if first.startswith(second) or second.startswith(first):
            raise ValueError(f"One is inside of the other: {places[0]}, {places[1]}.")

    @property
    def _stores(self) -> tuple[FsspecStore, FsspecStore]:
        return self.source, self.target

    # -- one file, in a thread -----------------------------------------------

    def _copy_or_skip(self, original: FileWrapper, copy: FileWrapper | None) -> Outcome:
        if copy is not None:
            if self._is_same(original, copy):
                self.journal.add(original, copy)
                return Outcome(original.name, "present", original.size)
            if not self.overwrite:
                return Outcome(original.name, "different", original.size)
        if not self.dry_run:
            self._copy(original.name, "overwrite" if self.overwrite else "error")
        return Outcome(original.name, "copied", original.size)

    def _copy(self, name: str, on_conflict: t.Literal["error", "overwrite"]) -> None:
        # A listing of S3 has no content types, so that stat() is needed.
        original = self.source.file(name)
        found = original.stat()
        if self.target.dialect.shares(self.source.dialect):
            # The storage copies, so that nobody has read the bytes yet.
            self.target.put(name, original, on_conflict, like=found)
            self._copied[name] = original, None
            return
        if self.source.dialect.location.protocol == "file":
            # A file on disk is read twice, which is cheaper than a temporary copy.
            md5 = _md5(self.source.stream_version(found, 0, found.size))
            with self.source.open(name) as file:
                self.target.put(name, file, on_conflict, like=found)
        else:
            digest = _Digest(self.source.stream_version(found, 0, found.size))
            with io.BufferedReader(Streamed(digest)) as reader:
                file = t.cast("t.IO[bytes]", reader)
                self.target.put(name, file, on_conflict, like=found)
            md5 = digest.md5.hexdigest()
        self._copied[name] = original, md5

    def _verify_tasks(self) -> Iterator[tuple[t.Any, ...]]:
        """The tasks that verify the copies by a listing of the target, which takes one
        request for a thousand files."""
        if self._copied:
            for copy in self.target.ls():
                if copy.name in self._copied:
                    yield self._verify, copy, *self._copied.pop(copy.name)

    def _verify(
        self, copy: FileWrapper, original: FileWrapper, md5: str | None
    ) -> Outcome:
        if copy.size != original.size:
            reason = f"The copy has {copy.size} bytes in place of {original.size}."
            return Outcome(copy.name, "failed", reason=f"{reason} Run sync again.")
        if md5 is None:
            is_same = self._is_same(original, copy)
        else:
            is_same = copy.etag == md5 or _md5(copy.stream()) == md5
        if not is_same:
            reason = "The copy differs from what was read. Run sync again."
            return Outcome(copy.name, "failed", reason=reason)
        self.journal.add(original, copy)
        return Outcome(copy.name, "copied", copy.size)

    def _is_same(self, original: FileWrapper, copy: FileWrapper) -> bool:
        if original.size != copy.size:
            return False
        if self.journal.has(original, copy):
            return True
        if _checksum(original) == _checksum(copy):
            return True
        # An ETag that looks like an MD5 need not be one.
        return any(_MD5.fullmatch(file.etag or "") for file in (original, copy)) and (
            _md5(original.stream()) == _md5(copy.stream())
        )

    def _remove(self, copy: FileWrapper) -> Outcome:
        if not self.dry_run:
            copy.delete()
        return Outcome(copy.name, "deleted", copy.size)


class _Digest:
    """The pieces of a stream, and the MD5 of those that have been read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.pieces = pieces
        self.md5 = hashlib.md5(usedforsecurity=False)

    def __iter__(self) -> t.Self:
        return self

    def __next__(self) -> bytes:
        data = next(self.pieces)
        self.md5.update(data)
        return data

    def close(self) -> None:
        """Close the stream, also in the middle of a file."""
        close = getattr(self.pieces, "close", None)
        if close is not None:
            close()


def _checksum(file: FileWrapper) -> str:
    if file.etag is not None and _MD5.fullmatch(file.etag):
        return file.etag
    return _md5(file.stream())


def _md5(chunks: Iterable[bytes]) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for data in chunks:
        digest.update(data)
    return digest.hexdigest()


def spread(
    pool: ThreadPoolExecutor, tasks: Iterable[tuple[t.Any, ...]]
) -> Iterator[Outcome]:
    """Run tasks in a pool, a limited number ahead, and yield their outcomes.

    :param tasks: functions with their arguments, of which the first one has a name.
    :raises StoreError: if many of them have failed in a row.
    """
    running: dict[Future[Outcome], str] = {}
    failures = 0
    try:
        for task in tasks:
            running[pool.submit(*task)] = task[1].name
            if len(running) >= 4 * WORKERS:
                for outcome in _finished(running):
                    failures = failures + 1 if outcome.status == "failed" else 0
                    yield outcome
                    if failures >= PATIENCE:
                        raise StoreError(
                            f"{failures} files failed in a row, the last because:"
                            f" {outcome.reason}"
                        )
        while running:
            yield from _finished(running)
    finally:
        for future in running:
            future.cancel()


def _finished(running: dict[Future[Outcome], str]) -> Iterator[Outcome]:
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        name = running.pop(future)
        try:
            yield future.result()
        except NotConfiguredError:
            raise  # every other file would fail in the same way
        except FileExists as exc:
            # The advice behind " Pass " is for callers of save().
            yield Outcome(name, "failed", reason=str(exc).partition(" Pass ")[0])
        except Exception as exc:
            is_store_error = isinstance(exc, StoreError)
            reason = str(exc) if is_store_error else f"{type(exc).__name__}: {exc}"
            yield Outcome(name, "failed", reason=reason)


@dataclass
class Summary:
    """The outcomes, counted."""

    copied: int = 0
    present: int = 0
    different: int = 0
    failed: int = 0
    deleted: int = 0
    size: int = 0

    def __post_init__(self) -> None:
        self.begun = time.monotonic()

    def count(self, outcome: Outcome) -> None:
        """Count one more outcome."""
        setattr(self, outcome.status, getattr(self, outcome.status) + 1)
        if outcome.status == "copied":
            self.size += outcome.size

    @property
    def seconds(self) -> float:
        """The seconds since the start."""
        return max(time.monotonic() - self.begun, 0.001)
