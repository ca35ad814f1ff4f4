"""One store into another one: what is missing is copied, and all of it is verified.

Names are kept exactly, nothing that differs is replaced unless that is asked for, and
a run that was killed is continued by the next one.
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

from .dialects import Stat
from .exceptions import FileExists
from .exceptions import NotConfiguredError
from .exceptions import StoreError
from .stores.fsspec import FsspecStore
from .uploads.source import Streamed

#: How many files are under way at a time. Each waits for the network, mostly.
WORKERS = 16
#: After so many failures in a row the storage, and not a file, is what is wrong.
PATIENCE = 20

# S3's ETag of an object that was sent in one piece, unless a key of KMS encrypts it
# (Amazon S3 API Reference, "Object").
_MD5 = re.compile(r"[0-9a-f]{32}")

Status: t.TypeAlias = t.Literal["copied", "present", "different", "failed", "deleted"]


class Outcome(t.NamedTuple):
    """What became of one file.

    :param status: ``"different"`` is a file that is there with another content.
    :param size: in bytes.
    :param reason: why it failed.
    """

    name: str
    status: Status
    size: int = 0
    reason: str = ""


class Journal:
    """What is known to be the same on both sides: the pairs of ETags that were.

    It saves reading files again where no checksum can be compared; without it
    nothing breaks. A last line that was cut off is ignored.

    :param path: the file, or ``None`` to remember nothing.
    """

    def __init__(self, path: str | None) -> None:
        self.path = path
        self.known: dict[str, list[str]] = {}
        self._lock = threading.Lock()
        if path is not None:
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
            # Begun on a line of its own, whatever a killed process left.
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
            self.known[name] = pair

    def has(self, source: Stat, target: Stat) -> bool:
        """Whether these two were the same, and have not changed since."""
        return None not in (source.etag, target.etag) and (
            self.known.get(source.name) == [source.etag, target.etag]
        )

    def add(self, source: Stat, target: Stat) -> None:
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

    :param journal: what earlier runs found out.
    :param overwrite: replace what differs.
    :param delete: remove from the target what the source does not have.
    :param dry_run: only say what would be done.
    :param started: is told the number of files, once it is known.
    """

    source: FsspecStore
    target: FsspecStore
    journal: Journal
    overwrite: bool = False
    delete: bool = False
    dry_run: bool = False
    started: Callable[[int], object] = lambda count: None

    def run(self) -> Iterator[Outcome]:
        """Copy, verify and then delete; every outcome as it becomes known.

        :raises ValueError: if the stores overlap, or everything would be deleted.
        :raises NotConfiguredError: if the target cannot tell in one step that a name is
            free, and nothing may be replaced.
        :raises StoreError: if a store cannot be listed, or fails again and again.
        """
        self._check_places()
        listings = self.source.ls(), self.target.ls()
        wanted, there = ({f.name: f for f in listing} for listing in listings)
        if self.delete and there and not wanted:
            raise ValueError("The source is empty: --delete would remove everything.")
        self.started(len(wanted))
        self._copied: dict[str, tuple[Stat, str]] = {}
        failed = False
        for entry in (entry for listing in listings for entry in listing.unreachable):
            failed = True
            reason = f"No operation can reach it: it {entry.reason}"
            yield Outcome(entry.name, "failed", reason=reason)
        tasks = (
            (self._bring, found, there.get(name)) for name, found in wanted.items()
        )
        with ThreadPoolExecutor(WORKERS) as pool:
            for outcome in _spread(pool, tasks):
                failed = failed or outcome.status == "failed"
                if outcome.status != "copied" or self.dry_run:
                    yield outcome
            for outcome in _spread(pool, self._to_verify()):
                failed = failed or outcome.status == "failed"
                yield outcome
            for name in self._copied:
                failed = True
                yield Outcome(name, "failed", reason="It vanished from the target.")
            if self.delete and not failed:
                gone = [(self._remove, there[name]) for name in there.keys() - wanted]
                yield from _spread(pool, gone)

    def _check_places(self) -> None:
        places = [f"{s.uri}/{s.destination}".rstrip("/") for s in self._both]
        first, second = (f"{place}/" for place in places)
        if first.startswith(second) or second.startswith(first):
            raise ValueError(f"One is inside of the other: {places[0]}, {places[1]}.")

    @property
    def _both(self) -> tuple[FsspecStore, FsspecStore]:
        return self.source, self.target

    # -- one file, in a thread -----------------------------------------------

    def _bring(self, found: Stat, there: Stat | None) -> Outcome:
        if there is not None:
            if self._same(found, there):
                self.journal.add(found, there)
                return Outcome(found.name, "present", found.size)
            if not self.overwrite:
                return Outcome(found.name, "different", found.size)
        if not self.dry_run:
            self._copy(found.name, "overwrite" if self.overwrite else "error")
        return Outcome(found.name, "copied", found.size)

    def _copy(self, name: str, on_conflict: t.Literal["error", "overwrite"]) -> None:
        # A listing of S3 does not tell the type, so that it is asked for.
        found = self.source.stat(name)
        if self.source.dialect.location.protocol == "file":
            # A disk is read twice rather than copied to another place on it.
            md5 = _md5(self.source.stream_version(found, 0, found.size))
            with self.source.open(name) as file:
                self.target.put(name, file, on_conflict, found.content_type)
        else:
            digest = _Digest(self.source.stream_version(found, 0, found.size))
            with io.BufferedReader(Streamed(digest)) as reader:
                file = t.cast("t.IO[bytes]", reader)
                self.target.put(name, file, on_conflict, found.content_type)
            md5 = digest.md5.hexdigest()
        self._copied[name] = found, md5

    def _to_verify(self) -> Iterator[tuple[t.Any, ...]]:
        """The copies as the target lists them: a request for a thousand of them."""
        if self._copied:
            for there in self.target.ls():
                if there.name in self._copied:
                    yield self._verify, there, *self._copied.pop(there.name)

    def _verify(self, there: Stat, found: Stat, md5: str) -> Outcome:
        if not there.holds(found):
            reason = f"The copy has {there.size} bytes in place of {found.size}."
            return Outcome(there.name, "failed", reason=f"{reason} Run sync again.")
        if there.etag != md5 and _md5(self.target.stream(there.name)) != md5:
            reason = "The copy differs from what was read. Run sync again."
            return Outcome(there.name, "failed", reason=reason)
        self.journal.add(found, there)
        return Outcome(there.name, "copied", there.size)

    def _same(self, found: Stat, there: Stat) -> bool:
        if found.size != there.size:
            return False
        if self.journal.has(found, there):
            return True
        if _checksum(self.source, found) == _checksum(self.target, there):
            return True
        # An ETag that looks like a checksum need not be one.
        return any(_MD5.fullmatch(stat.etag or "") for stat in (found, there)) and (
            _md5(self.source.stream(found.name)) == _md5(self.target.stream(there.name))
        )

    def _remove(self, there: Stat) -> Outcome:
        if not self.dry_run:
            self.target.delete(there.name)
        return Outcome(there.name, "deleted", there.size)


class _Digest:
    """The pieces of a stream, and the checksum of those that have been read."""

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
        """Let go of the storage, also in the middle of a file."""
        close = getattr(self.pieces, "close", None)
        if close is not None:
            close()


def _checksum(store: FsspecStore, found: Stat) -> str:
    if found.etag is not None and _MD5.fullmatch(found.etag):
        return found.etag
    return _md5(store.stream(found.name))


def _md5(chunks: Iterable[bytes]) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for data in chunks:
        digest.update(data)
    return digest.hexdigest()


def _spread(
    pool: ThreadPoolExecutor, tasks: Iterable[tuple[t.Any, ...]]
) -> Iterator[Outcome]:
    """Run every task in the pool, only so many ahead, and yield what they return."""
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
            raise  # so it would be for every other file
        except FileExists as exc:
            # Named by the caller, this is what it would be renamed for in save().
            yield Outcome(name, "failed", reason=str(exc).partition(" Pass ")[0])
        except Exception as exc:
            known = isinstance(exc, StoreError)
            reason = str(exc) if known else f"{type(exc).__name__}: {exc}"
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
        """Take one more outcome in."""
        setattr(self, outcome.status, getattr(self, outcome.status) + 1)
        if outcome.status == "copied":
            self.size += outcome.size

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return max(time.monotonic() - self.begun, 0.001)
