"""``flask store check``: whether the store works, and if not, why."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import platform
import typing as t
import urllib.request
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import suppress

import click
import shortuuid

from .. import media_types
from ..exceptions import FileExists
from ..exceptions import NotConfiguredError
from ..exceptions import StoreError
from ..filetypes import ALL
from ..stores.fsspec import FsspecStore
from ..views.table import visible
from .command import command
from .command import Failure

#: The content of the file. Its name says that it is a picture, so that the type must
#: come from what was sent and not from a guess of the server.
DATA = b"flask-store-check: 0123456789"
#: How wrong a clock may be, in seconds. Signed links that last minutes still work.
SKEW = 60

PACKAGES = ("Flask-Store", "Flask", "fsspec", "s3fs", "adlfs", "gcsfs", "sshfs")


class Warned(Exception):
    """Something works, but not as one might expect."""


class Wrong(Exception):
    """Something does not work."""


class Finding(t.NamedTuple):
    """The result of one step: ``"ok"``, ``"warn"``, ``"FAIL"`` or ``"skip"``."""

    status: str
    step: str
    text: str


class Doctor:
    """Tries a store with one small file, and removes the file.

    :param store: the store, at the destination to try.
    """

    def __init__(self, store: FsspecStore) -> None:
        self.store = store
        self.name = f"flask-store-check-{shortuuid.uuid()}.webp"

    def examine(self) -> Iterator[Finding]:
        """Run every step, in an order in which the first failure causes the later
        ones."""
        yield Finding("ok", "versions", versions())
        yield Finding("ok", "store", repr(self.store))
        connected = self._try("connect", self._connect)
        yield connected
        if connected.status == "ok":
            yield self._try("names", self._names)
        reached = connected.status == "ok" or self._refused
        written = self._try("write", self._write) if reached else _skipped("write")
        yield written
        try:
            for name, step in self._steps():
                good = written.status == "ok"
                yield self._try(name, step) if good else _skipped(name)
        finally:
            with suppress(Exception):
                self.store.delete(self.name)

    def _steps(self) -> Iterator[tuple[str, Callable[[], str]]]:
        yield "read", self._read
        yield "range", self._range
        yield "type", self._type
        yield "exclusive", self._exclusive
        yield "clock", self._clock
        yield "link", self._link
        yield "delete", self._delete

    _refused = False

    def _try(self, name: str, step: Callable[[], str]) -> Finding:
        try:
            return Finding("ok", name, step())
        except Warned as exc:
            return Finding("warn", name, str(exc))
        except Wrong as exc:
            return Finding("FAIL", name, str(exc))
        except Exception as exc:
            # Careful users have keys that may write and not list.
            self._refused = isinstance(exc, PermissionError)
            hint = "" if isinstance(exc, StoreError) else self._hint
            return Finding("FAIL", name, Failure(exc).message + hint)

    @property
    def _hint(self) -> str:
        return f" Check {self.store.dialect.settings}."

    # -- the steps -----------------------------------------------------------

    def _connect(self) -> str:
        files, more = self.store.ls().first_page()
        return f"{len(files):,}{' or more' if more else ''} files"

    def _names(self) -> str:
        listing = self.store.ls()
        listing.first_page()
        if listing.unreachable:
            entry, *others = listing.unreachable
            more = f" and {len(others):,} more" if others else ""
            raise Wrong(
                f"No operation can reach {visible(entry.name)}{more}: it"
                f" {entry.reason} See: flask store ls"
            )
        return "every file can be reached by its name"

    def _write(self) -> str:
        self.store.put(self.name, DATA, on_conflict="overwrite", strip=False, allow=ALL)
        return f"{len(DATA)} bytes"

    def _read(self) -> str:
        if self.store.file(self.name).read() != DATA:
            raise Wrong("What was written comes back changed. Ask who runs the server.")
        return "the same bytes"

    def _range(self) -> str:
        if b"".join(self.store.stream(self.name, 5, 10)) != DATA[5:10]:
            raise Wrong(
                "A part of a file cannot be read: the server ignores Range, so that"
                " players cannot seek. Use another server or proxy."
            )
        return "bytes 5 to 10"

    def _type(self) -> str:
        expected = media_types.content_type(self.name)
        content_type = self.store.stat(self.name).content_type
        if content_type != expected:
            raise Wrong(
                f"Stored as {expected}, it comes back as {content_type}: browsers will"
                " not show pictures. A proxy or the server drops Content-Type."
            )
        return content_type

    def _exclusive(self) -> str:
        try:
            self.store.put(self.name, b"another", strip=False, allow=ALL)
        except FileExists:
            return "a name that is taken is refused"
        except NotConfiguredError:
            raise Warned(
                "The storage ignores conditions: it cannot tell in one step that a"
                " name is free. Nothing gets lost, because every name gets a UUID;"
                " on_conflict='error' is refused."
            ) from None
        raise Wrong(
            "A second file replaced the first one: the storage ignores If-None-Match."
            " Set STORE_S3_CONDITIONAL_WRITES to 'auto' or False."
        )

    def _clock(self) -> str:
        modified = self.store.stat(self.name).modified
        if modified is None:
            return "the storage tells no date"
        skew = (dt.datetime.now(dt.UTC) - modified).total_seconds()
        if abs(skew) > SKEW:
            ahead = "ahead of" if skew > 0 else "behind"
            raise Wrong(
                f"The clock of this machine is {abs(skew):,.0f} s {ahead} the"
                " storage's. Set both by NTP: signatures and links depend on it."
            )
        return f"within {SKEW} s of the storage's"

    def _link(self) -> str:
        try:
            link: str = self.store.signed_url(self.name, expires=SKEW)
        except NotConfiguredError as exc:
            raise Warned(str(exc)) from None
        if not link.startswith(("http://", "https://")):
            return "signed by the application"
        try:
            with urllib.request.urlopen(link, timeout=15) as response:
                same = response.read() == DATA
        except OSError as exc:  # its message may contain the link
            raise Wrong(
                f"A signed link does not open ({type(exc).__name__}). Check"
                " STORE_S3_PUBLIC_ENDPOINT_URL, the region and the clock."
            ) from None
        if not same:
            raise Wrong("A signed link opens something else. Check STORE_DOMAIN.")
        return "a signed link opens"

    def _delete(self) -> str:
        self.store.delete(self.name)
        if self.store.exists(self.name):
            raise Wrong("A deleted file is still there. Is there a cache in between?")
        return "gone"


def versions() -> str:
    """What is installed, in one line."""
    parts = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            parts.append(f"{package} {importlib.metadata.version(package)}")
    return ", ".join(parts)


def _skipped(step: str) -> Finding:
    return Finding("skip", step, "because of the failure above")


@command
@click.option("--strict", is_flag=True, help="A warning is a failure, too.")
def check(store: FsspecStore, strict: bool) -> None:
    """Try the store out and say what is wrong with it.

    One line for each promise. The exit status is 0 if all are kept.
    """
    failing_statuses = {"FAIL", "warn"} if strict else {"FAIL"}
    failed = False
    for finding in Doctor(store).examine():
        failed = failed or finding.status in failing_statuses
        click.echo(f"{finding.status:5} {finding.step:10} {finding.text}")
    if failed:
        raise click.exceptions.Exit(1)
