"""Every operation of a store, with every fault, at every request: what is lost?

A *trial* is one operation while the proxy spoils one of its requests, or all of them.
Its name says how to do it again: ``move:head_cut_in_middle@2`` is ``move`` with its
third request spoilt, ``@all`` spoils all of them. Afterwards the server is looked at
directly, and what must not be is a *finding*:

``lost``    a file that was there, or was answered as stored, is not there whole
``wrong``   something else was returned or stored than what is right
``partial`` a name shows a part of a file, or what nobody stored
``absent``  the answer is that there is no such file, and there is
``burnt``   a confirm() failed by one fault, and the upload cannot be confirmed any more
``hang``    no answer within ``LIMIT`` seconds
``bare``    an exception came out that is no StoreError
``broken``  the store does not work any more afterwards
``control`` the operation does not work without any fault either

The tests (``test_faults_*.py``) do a seeded choice of the trials. Do more by hand,
from the project's folder::

    python -m tests.support.fault_trials s3  # as the test does
    python -m tests.support.fault_trials s3 --all  # every trial, some minutes
    python -m tests.support.fault_trials s3 s3fs azure --all -j 8  # so many at a time
    python -m tests.support.fault_trials s3 --only 'move:*'  # those with such names
    python -m tests.support.fault_trials s3 --only 'read:body_cut@0' --verbose

It prints the findings as a table and ends with status 1 if there are any. In pytest
FLASK_STORE_FAULTS is ``all``, the number of trials, or a pattern as for ``--only``, and
FLASK_STORE_FAULTS_SEED chooses others (``make test-long`` does everything)::

    FLASK_STORE_FAULTS='save:*' .venv/bin/pytest tests/hard/test_faults_s3.py

A storage is a row of ``STORAGES``, an operation one of ``OPERATIONS``, and the faults
are in ``fault_proxy.py``.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import fnmatch
import logging
import os
import pathlib
import queue
import random
import re
import sys
import tempfile
import threading
import time
import traceback
import typing as t
import warnings
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait
from unittest import mock

import requests
from flask import Flask
from flask import Request as FlaskRequest
from flask import Response
from werkzeug.utils import send_from_directory
from werkzeug.wrappers import Response as AnyResponse

from flask_store import Store
from flask_store.background import worker
from flask_store.dialects.webdav import locks
from flask_store.exceptions import AlreadyConfirmed
from flask_store.exceptions import FileExists
from flask_store.exceptions import FileNotFound
from flask_store.exceptions import StoreError
from flask_store.exceptions import StoreUnavailable
from flask_store.images import making
from flask_store.stores.fsspec import FsspecStore
from flask_store.sync import Journal
from flask_store.sync import Outcome
from flask_store.sync import Sync

from . import gcs_server
from . import protocol_servers as protocols
from . import servers
from .fault_proxy import Armed
from .fault_proxy import Fault
from .fault_proxy import FaultProxy
from .fault_proxy import FAULTS
from .fault_proxy import NOT_FOUND
from .fault_proxy import Seen
from .protocol_rows import s3
from .protocol_servers import Place

#: Seconds that an operation may take: the promise is 10 for a server that is silent,
#: and a busy machine gets some more.
LIMIT = 15.0
#: The same for an upload in the background. It is tried again until it is stored, and
#: on WebDAV the lock of a name may be lost, which is taken over after a while.
UPLOADED = 120.0
#: The pauses between its tries, in seconds. With those of an application, the pause
#: after ten failures alone could be longer than a trial.
PAUSES = {"FIRST_PAUSE": 0.02, "LONGEST_PAUSE": 0.5}
#: A lost lock is taken over after four times so many seconds, and else after 32.
LOCKED = 2.0
#: Seconds after which the stores here take a server for silent, where that can be set.
QUICK = 0.5
#: How many trials of a storage the tests do, and which ones.
TRIALS = 220
SEED = int(os.environ.get("FLASK_STORE_FAULTS_SEED", "15"))
CHOICE = os.environ.get("FLASK_STORE_FAULTS", "")

SIZE = 150_000
OLD = b"old:" + random.Random(1).randbytes(SIZE) + b":old"
NEW = b"new:" + random.Random(2).randbytes(SIZE - 1000) + b":new"
#: Several requests, on most storages.
LARGE = b"large:" + random.Random(3).randbytes(2_700_000) + b":large"
PART = (20_000, 90_000)

#: What a name may hold; ``None`` is no file.
Content: t.TypeAlias = bytes | None


# -- the storages --------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Storage:
    """A storage behind the proxy.

    :param options: what makes a silent server known soon.
    :param read_only: only what reads is tried, and files come from a folder.
    :param forms: whether browsers send their files straight to it.
    :param plain_404: the operations to which a 404 page of somebody in front of the
        server looks like its own, because its own says no more.
    :param trusted: the faults that no client could tell from the truth.
    """

    server: Callable[[], t.ContextManager[Place]]
    options: Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    read_only: bool = False
    forms: bool = False
    plain_404: t.Container[str] = ()
    trusted: t.Container[str] = ()


class _Everything:
    def __contains__(self, name: object) -> bool:
        return True


@contextlib.contextmanager
def google() -> Iterator[Place]:
    """The emulator, for a service account, which can sign forms."""
    token = Response('{"access_token": "x", "expires_in": 3600}')
    with gcs_server.fake_gcs() as place, servers.serve(token) as url:
        account = {"token": gcs_server.account(url)}
        yield dataclasses.replace(place, options={**place.options, **account})


@contextlib.contextmanager
def website() -> Iterator[Place]:
    """A web server with ranges, ETags and an index of each folder."""
    with tempfile.TemporaryDirectory(prefix="flask-store-") as name:
        folder = pathlib.Path(name)

        @FlaskRequest.application
        def site(request: t.Any) -> AnyResponse:
            path = folder / request.path.strip("/")
            if path.is_dir():
                names = [
                    f"{found.name}/" if found.is_dir() else found.name
                    for found in sorted(path.iterdir())
                ]
                links = "".join(f'<a href="{name}">{name}</a>' for name in names)
                return AnyResponse(f"<html>{links}</html>", mimetype="text/html")
            return send_from_directory(folder, request.path[1:], request.environ)

        with servers.serve(site) as url:
            yield Place(url, int(url.rpartition(":")[2]), folder=folder)


def _limits(*names: str) -> dict[str, float]:
    return dict.fromkeys(names, QUICK)


_S3 = _limits("connect_timeout", "read_timeout")
#: A HEAD has no body that could tell more.
_S3_404 = {
    *("stat", "exists", "version", "open", "seek", "head", "confirm"),
    *("copy", "move", "move_large", "move_over", "delete", "open_large", "variant"),
}

STORAGES = {
    "s3": Storage(
        lambda: s3(servers.seaweedfs),
        {"config_kwargs": _S3},
        forms=True,
        plain_404=_S3_404,
    ),
    "s3fs": Storage(
        # Whatever is not ordinary is left to s3fs.
        lambda: s3(servers.seaweedfs),
        {"config_kwargs": {**_S3, "tcp_keepalive": True}},
        forms=True,
        plain_404=_S3_404,
    ),
    "azure": Storage(
        protocols.azurite, {**_limits("connection_timeout", "read_timeout")}
    ),
    "google": Storage(google, _limits("requests_timeout"), forms=True),
    "webdav": Storage(protocols.webdav, _limits("timeout"), plain_404=_Everything()),
    "http": Storage(
        website,
        _limits("timeout"),
        read_only=True,
        plain_404=_Everything(),
        # Any page may be a file, or an index with nothing in it.
        trusted={"200_page", "200_empty", "200_json", "shorter"},
    ),
}


# -- the operations ------------------------------------------------------------


class Operation(t.NamedTuple):
    """What is tried, and what must hold afterwards.

    :param act: does it.
    :param right: what it returns, if it returns anything.
    :param before: the files that are there first.
    :param done: what each name holds after success. ``"*"`` is the name returned.
    :param failed: what each name may hold after an error.
    :param one_of: names of which one at least holds the whole file after an error.
    :param checks: looks at more.
    :param whole: the content of the file that it is about.
    """

    act: Callable[[Trial], t.Any]
    right: Callable[[Trial], t.Any] | None = None
    before: Mapping[str, bytes] = {}
    done: Mapping[str, Content] = {}
    failed: Mapping[str, set[Content]] = {}
    one_of: tuple[str, ...] = ()
    checks: Callable[[Trial], None] | None = None
    writes: bool = True
    forms: bool = False
    whole: bytes = OLD


def _reads(
    act: Callable[[Trial], t.Any], right: t.Any, whole: bytes = OLD
) -> Operation:
    return Operation(act, lambda trial: right, writes=False, whole=whole)


def _whole(name: str) -> Callable[[Trial], bytes]:
    def act(trial: Trial) -> bytes:
        with trial.shared.open(name) as file:
            return t.cast(bytes, file.read())

    return act


def _seek(trial: Trial) -> bytes:
    start, stop = PART
    with trial.shared.open("a.bin") as file:
        file.seek(start)
        return t.cast(bytes, file.read(stop - start))


def _version(trial: Trial) -> bytes:
    found = trial.shared.stat("a.bin")
    return b"".join(trial.shared.stream_version(found, *PART))


def _get(method: str, ranged: bool = False) -> Callable[[Trial], t.Any]:
    """What a browser learns: the status and the body, or that something is wrong."""

    def act(trial: Trial) -> t.Any:
        headers = {"Range": f"bytes={PART[0]}-{PART[1] - 1}"} if ranged else {}
        client = trial.bench.app.test_client()
        where = f"/{trial.shared.relative_url('a.bin')}"
        reply = client.open(where, method=method, headers=headers)
        with reply:
            if reply.status_code == 404:
                raise FileNotFound(where)
            if reply.status_code >= 500:
                raise StoreError(reply.status)
            body = reply.get_data()
            length = int(reply.headers["Content-Length"])
            if method == "HEAD":
                return reply.status_code, length
            if len(body) < length:
                raise StoreError("The connection is cut.")
            return reply.status_code, body

    return act


def _listed(trial: Trial) -> list[tuple[str, int]]:
    listing = trial.shared.ls()
    found = sorted((stat.name, stat.size) for stat in listing)
    if listing.unreachable:  # it says what is missing
        raise StoreError(str(listing.unreachable[0]))
    return found


def _folder(trial: Trial) -> tuple[list[tuple[str, int]], list[str]]:
    listing = trial.shared.ls(recursive=False)
    found = [(file.name, file.size) for file in listing]
    if listing.unreachable:
        raise StoreError(str(listing.unreachable[0]))
    return found, [folder.name for folder in listing.folders]


def _first_page(trial: Trial) -> list[str]:
    listing = trial.shared.ls()
    files, _ = listing.first_page()
    if listing.unreachable:  # it says what is missing
        raise StoreError(str(listing.unreachable[0]))
    return [stat.name for stat in files if stat.name == "a.bin"]


#: What the folder that is only read has.
SHARED = {"a.bin": OLD, "large.bin": LARGE, "sub/b.bin": NEW}
LISTED = [(name, len(data)) for name, data in SHARED.items()]


def _first_save(trial: Trial) -> str:
    trial.store = trial.bench.connect().at(trial.folder)
    return trial.store.save(NEW, "new.bin").filename


def _works(trial: Trial) -> None:
    """The store still does what it can do, once it has lost its dead connections."""
    for attempt in range(4):
        try:
            trial.store.put("again.bin", NEW, "overwrite" if attempt else "error")
        except StoreUnavailable as exc:
            problem = repr(exc)
        except Exception as exc:
            problem = repr(exc)
            break
        else:
            if trial.direct.read("again.bin") == NEW:
                return
            problem = "another content is stored"
    trial.found("broken", f"afterwards: {problem}")


SYNCED = {"a.bin": OLD, "sub/b.bin": NEW}


def _sync(trial: Trial, pull: bool, delete: bool) -> None:
    """Raises StoreError if a file failed: whoever runs it sees an exit status."""
    there = trial.disk
    source, target = (trial.store, there) if pull else (there, trial.store)
    run = Sync(source, target, Journal(None), overwrite=True, delete=delete)
    failed: list[Outcome] = []
    for outcome in run.run():
        if outcome.status == "failed":
            failed.append(outcome)
    for outcome in failed:
        # So sync writes what is no StoreError.
        if re.match(r"\w+(Error|Exception|Failed|Refused): ", outcome.reason):
            trial.found("bare", outcome.reason)
    if failed:
        raise StoreError(f"{len(failed)} failed: {failed[0].reason}")


def _push(delete: bool) -> Operation:
    def act(trial: Trial) -> None:
        for name, data in SYNCED.items():
            trial.disk.put(name, data)
        _sync(trial, pull=False, delete=delete)

    return Operation(
        act,
        before={"a.bin": NEW, "extra.bin": OLD},
        done={**SYNCED, "extra.bin": None if delete else OLD},
        failed={
            "a.bin": {NEW, OLD},
            "sub/b.bin": {NEW, None},
            "extra.bin": {OLD, None} if delete else {OLD},
        },
    )


def _pull(delete: bool) -> Operation:
    def act(trial: Trial) -> None:
        trial.disk.put("sub/b.bin", NEW)
        trial.disk.put("extra.bin", OLD)
        _sync(trial, pull=True, delete=delete)

    def checks(trial: Trial) -> None:
        here = trial.contents(trial.disk)
        if here.get("sub/b.bin") != NEW:
            trial.found("lost", "sub/b.bin, which the source has, from the backup")
        if not delete and here.get("extra.bin") != OLD:
            trial.found("lost", "extra.bin from the backup")
        if here.get("a.bin") not in (OLD, None):
            trial.found("wrong", f"a.bin is {_shown(here.get('a.bin'))} in the backup")
        if trial.error is None and here.get("a.bin") is None:
            trial.found("wrong", "sync says that all is copied, without a.bin")

    return Operation(
        act,
        before=SYNCED,
        done=SYNCED,
        failed={name: {data} for name, data in SYNCED.items()},
        checks=checks,
    )


def _confirm(trial: Trial) -> str:
    trial.key = trial.store.confirm(trial.token).key
    return trial.key


def _confirmed(trial: Trial) -> None:
    """What was not confirmed can be confirmed now."""
    store, name = trial.bench.direct, trial.key
    if trial.error is not None:
        try:
            trial.store.confirm(trial.token)
        except AlreadyConfirmed as exc:
            # Where nothing is answered any more, not even whether the mark is there.
            if trial.name.at is not None:
                trial.found("burnt", repr(exc))
        except Exception as exc:
            trial.found("burnt", repr(exc))
            return
    content = store.read(name) if store.exists(name) else None
    if content != NEW:
        trial.found("lost", f"the confirmed file is {_shown(content)}")


def _rendered(source: t.IO[bytes], *how: object) -> bytes:
    """In place of what makes a variant: the whole picture."""
    return source.read()


def _variant(trial: Trial) -> t.Any:
    return trial.bench.pictures.at(trial.folder).file("old.bin").variant(width=1)


def _made(trial: Trial) -> bytes:
    return t.cast(bytes, _variant(trial).read())


def _made_later(trial: Trial) -> None:
    """Nothing half was stored, and the variant can be had: at once, or when a lock that
    was lost on WebDAV is over."""
    deadline = time.monotonic() + UPLOADED
    while time.monotonic() < deadline:
        try:
            content = _made(trial)
        except StoreUnavailable:
            continue
        if content != OLD:
            trial.found("partial", f"the variant is {_shown(content)}")
        return
    trial.found("broken", "afterwards, no variant is made")


def _background(trial: Trial) -> str:
    store = trial.bench.background.at(trial.folder)
    trial.file = store.save(NEW, "new.bin")
    trial.key = trial.file.key
    # It is watched until something happens to it: the fault, or success.
    deadline = time.monotonic() + LIMIT
    upload = trial.file.upload
    while upload is not None and time.monotonic() < deadline:
        if upload.done or upload.attempts >= 1:
            break
        time.sleep(0.005)
    return t.cast(str, trial.file.filename)


def _uploaded(trial: Trial) -> None:
    """It is stored, or the spool has it."""
    if not trial.key:
        return
    background = trial.bench.background
    upload, kept = trial.file.upload, None
    if upload is not None:
        if upload.error is not None and not isinstance(upload.error, StoreError):
            trial.found("bare", repr(upload.error))
        upload.wait(UPLOADED)
        if not upload.done:
            trial.found("hang", f"the upload is {upload.state}")
    waiting = {entry.key: entry for entry in background.pending()}
    if trial.key in waiting:
        kept = background.read(trial.key)
    stored = trial.contents(trial.direct).get(trial.file.filename)
    if NEW not in (stored, kept):
        trial.found("lost", f"an accepted upload: {_shown(stored)} is stored")


OPERATIONS: dict[str, Operation] = {
    "read": _reads(lambda trial: trial.shared.read("a.bin"), OLD),
    "stream": _reads(lambda trial: b"".join(trial.shared.stream("a.bin")), OLD),
    "range": _reads(
        lambda trial: b"".join(trial.shared.stream("a.bin", *PART)), OLD[slice(*PART)]
    ),
    "version": _reads(_version, OLD[slice(*PART)]),
    "open": _reads(_whole("a.bin"), OLD),
    "seek": _reads(_seek, OLD[slice(*PART)]),
    "stat": _reads(lambda trial: trial.shared.stat("a.bin").size, len(OLD)),
    "exists": _reads(lambda trial: trial.shared.exists("a.bin"), True),
    "exists_not": _reads(lambda trial: trial.shared.exists("none.bin"), False),
    "ls": _reads(_listed, LISTED),
    "folder": _reads(_folder, (LISTED[:2], ["sub"])),
    "sweep": _reads(lambda trial: trial.shared.sweep(), []),
    "first_page": _reads(_first_page, ["a.bin"]),
    "get": _reads(_get("GET"), (200, OLD)),
    "get_range": _reads(_get("GET", ranged=True), (206, OLD[slice(*PART)])),
    "head": _reads(_get("HEAD"), (200, len(OLD))),
    "read_large": _reads(
        lambda trial: trial.shared.read("large.bin"), LARGE, whole=LARGE
    ),
    "stream_large": _reads(
        lambda trial: b"".join(trial.shared.stream("large.bin")), LARGE, whole=LARGE
    ),
    "open_large": _reads(_whole("large.bin"), LARGE, whole=LARGE),
    "save_large": Operation(
        lambda trial: trial.store.save(LARGE, "new.bin").filename,
        done={"*": LARGE},
        failed={"new.bin": {LARGE, None}},
        whole=LARGE,
    ),
    "move_large": Operation(
        lambda trial: trial.store.move("old.bin", "new.bin").filename,
        before={"old.bin": LARGE},
        done={"old.bin": None, "*": LARGE},
        failed={"old.bin": {LARGE, None}, "new.bin": {LARGE, None}},
        one_of=("old.bin", "new.bin"),
        whole=LARGE,
    ),
    "save": Operation(
        lambda trial: trial.store.save(NEW, "new.bin").filename,
        done={"*": NEW},
        failed={"new.bin": {NEW, None}},
    ),
    "save_first": Operation(
        _first_save,
        done={"*": NEW},
        failed={"new.bin": {NEW, None}},
        checks=_works,
    ),
    "save_taken": Operation(
        lambda trial: trial.store.save(NEW, "old.bin").filename,
        before={"old.bin": OLD},
        done={"old.bin": OLD, "*": NEW},
        failed={"old.bin": {OLD}},
    ),
    "overwrite": Operation(
        lambda trial: trial.store.save(NEW, "old.bin", "overwrite").filename,
        before={"old.bin": OLD},
        done={"old.bin": NEW},
        failed={"old.bin": {OLD, NEW}},
    ),
    "put": Operation(
        lambda trial: trial.store.put("new.bin", NEW).filename,
        done={"new.bin": NEW},
        failed={"new.bin": {NEW, None}},
        checks=_works,
    ),
    "put_taken": Operation(
        lambda trial: _refused(lambda: trial.store.put("old.bin", NEW)),
        lambda trial: "refused",
        before={"old.bin": OLD},
        done={"old.bin": OLD},
        failed={"old.bin": {OLD}},
    ),
    "copy": Operation(
        lambda trial: trial.store.copy("old.bin", "new.bin").filename,
        before={"old.bin": OLD},
        done={"old.bin": OLD, "*": OLD},
        failed={"old.bin": {OLD}, "new.bin": {OLD, None}},
    ),
    "move": Operation(
        lambda trial: trial.store.move("old.bin", "new.bin").filename,
        before={"old.bin": OLD},
        done={"old.bin": None, "*": OLD},
        failed={"old.bin": {OLD, None}, "new.bin": {OLD, None}},
        one_of=("old.bin", "new.bin"),
    ),
    "move_over": Operation(
        lambda trial: trial.store.move("old.bin", "new.bin", "overwrite").filename,
        before={"old.bin": OLD, "new.bin": NEW},
        done={"old.bin": None, "new.bin": OLD},
        failed={"old.bin": {OLD, None}, "new.bin": {OLD, NEW}},
        one_of=("old.bin", "new.bin"),
    ),
    "delete": Operation(
        lambda trial: trial.store.delete("old.bin"),
        before={"old.bin": OLD, "other.bin": NEW},
        done={"old.bin": None, "other.bin": NEW},
        failed={"old.bin": {OLD, None}, "other.bin": {NEW}},
    ),
    "delete_many": Operation(
        lambda trial: trial.store.delete("old.bin", "more.bin"),
        before={"old.bin": OLD, "more.bin": OLD, "other.bin": NEW},
        done={"old.bin": None, "more.bin": None, "other.bin": NEW},
        failed={
            "old.bin": {OLD, None},
            "more.bin": {OLD, None},
            "other.bin": {NEW},
        },
    ),
    "push": _push(delete=False),
    "push_delete": _push(delete=True),
    "pull": _pull(delete=False),
    "pull_delete": _pull(delete=True),
    "confirm": Operation(_confirm, checks=_confirmed, forms=True),
    "variant": Operation(
        _made,
        lambda trial: OLD,
        before={"old.bin": OLD},
        done={"old.bin": OLD},
        failed={"old.bin": {OLD}},
        checks=_made_later,
    ),
    "background": Operation(_background, checks=_uploaded),
}


#: What is answered with FileNotFound only if there is no such file.
NEEDS_FILE = {
    *("read", "stream", "range", "version", "open", "seek", "stat", "exists"),
    *("read_large", "stream_large", "open_large", "move_large", "confirm"),
    *("get", "get_range", "head", "copy", "move", "move_over", "delete", "variant"),
}


def _refused(act: Callable[[], object]) -> str:
    """For what has to fail because a name is taken."""
    try:
        act()
    except FileExists:
        return "refused"
    return "taken all the same"


def unlike(
    operation: Operation,
    there: Mapping[str, bytes],
    returned: t.Any,
    answered: bool,
) -> Iterator[tuple[str, str]]:
    """In what the files that are there differ from what may be, as kinds and texts.

    :param there: every file with its content.
    :param returned: the name, of what returns one.
    :param answered: whether the operation returned.
    """
    states: dict[str, t.Container[Content]]
    if answered:
        states = {name: {data} for name, data in operation.done.items()}
        if "*" in states:
            states[returned] = states.pop("*")
    else:
        states = dict(operation.failed)
    outcome = "answered" if answered else "not answered"
    for name, allowed in states.items():
        content = there.get(name)
        if content not in allowed:
            kind = "lost" if content is None else "wrong"
            yield kind, f"{outcome}, {name} is {_shown(content)}"
    names = operation.one_of
    if not answered and names and operation.whole not in map(there.get, names):
        yield "lost", f"{' and '.join(names)}, {outcome}"
    for name, data in there.items():
        if data not in (OLD, NEW, LARGE):
            yield "partial", f"{name} is {_shown(data)}"


# -- a trial -------------------------------------------------------------------


class Finding(t.NamedTuple):
    """What must not be."""

    kind: str
    trial: str
    text: str

    @property
    def fault(self) -> str:
        """The fault of the trial."""
        return self.trial.partition(":")[2].partition("@")[0]

    def __str__(self) -> str:
        return f"{self.trial} {self.kind}: {self.text}"


class Name(t.NamedTuple):
    """The name of a trial, in its parts."""

    operation: str
    fault: str
    at: int | None

    def __str__(self) -> str:
        return f"{self.operation}:{self.fault}@{'all' if self.at is None else self.at}"


@dataclasses.dataclass
class Trial:
    """One operation, with one fault, in a folder of its own."""

    bench: Bench
    name: Name
    folder: str
    findings: list[Finding] = dataclasses.field(default_factory=list)
    error: BaseException | None = None
    #: The name or key of the file that is confirmed or uploaded, and its token.
    key: str = ""
    token: str = ""
    file: t.Any = None

    def __post_init__(self) -> None:
        self.operation = OPERATIONS[self.name.operation]
        self.shared = self.bench.store.at("shared")
        self.store = self.bench.store.at(self.folder)
        self.direct = self.bench.direct.at(self.folder)
        self.disk = self.bench.disk.at(self.folder)

    def found(self, kind: str, text: str) -> None:
        self.findings.append(Finding(kind, str(self.name), text))

    def run(self, fault: Fault | None) -> Armed:
        """Prepare, act behind the proxy and judge."""
        self._prepare()
        others = {"b.bin": NEW}
        with self.bench.proxy.armed(
            fault, self.name.at, self.operation.whole, others
        ) as plan:
            future: Future[t.Any] = self.bench.thread.submit(self._act)
            if not wait([future], LIMIT).done:
                self.found("hang", f"no answer within {LIMIT:g} s")
        if not wait([future], 60).done:
            self.found("hang", "not even after the connection was reset")
            self.bench.abandon()
            return plan
        returned, self.error = None, future.exception()
        if self.error is None:
            returned = future.result()
        self._judge(returned)
        return plan

    def _prepare(self) -> None:
        for name, data in self.operation.before.items():
            self.direct.put(name, data)
        if self.operation.forms:
            with self.bench.app.app_context():
                form = self.store.presign_upload("new.bin", max_size=len(NEW))
            url = self.bench.behind(form.url)
            file = {"file": ("new.bin", NEW)}
            reply = requests.post(url, form.fields, files=file, timeout=10)
            assert reply.ok, reply.text
            self.key, self.token = form.key, form.token

    def _act(self) -> t.Any:
        with self.bench.app.app_context():
            return self.operation.act(self)

    # -- what must hold ------------------------------------------------------

    def _judge(self, returned: t.Any) -> None:
        operation, error = self.operation, self.error
        if error is not None:
            self._judge_error(error)
        elif operation.right is not None:
            right = operation.right(self)
            if returned != right:
                self._judge_returned(returned, right)
        if operation.writes and not operation.forms:
            there = self.contents(self.direct)
            for kind, text in unlike(operation, there, returned, error is None):
                self.found(kind, text)
        if operation.checks is not None:
            with self.bench.app.app_context():
                operation.checks(self)

    def _judge_error(self, error: BaseException) -> None:
        if isinstance(error, FileNotFound):
            if self.name.operation in NEEDS_FILE and not self._is_plain_404():
                self.found("absent", repr(error))
        elif not isinstance(error, StoreError):
            empty = isinstance(error, ValueError) and "The source is empty" in str(
                error
            )
            if not empty:
                self.found("bare", f"{error!r} {_place(error)}"[:300])

    def _judge_returned(self, returned: t.Any, right: t.Any) -> None:
        nothing = returned in (False, [], None)
        if nothing and self._is_plain_404():
            return
        kind = "absent" if returned is False else "wrong"
        self.found(kind, f"{_shown(returned)} and not {_shown(right)}")

    def _is_plain_404(self) -> bool:
        plain = self.name.operation in self.bench.storage.plain_404
        return self.name.fault == NOT_FOUND and plain

    def contents(self, store: FsspecStore) -> dict[str, bytes]:
        """Every file that the server has here. A busy one may still be at work."""
        for attempt in range(4):
            try:
                return {found.name: store.read(found.name) for found in store.ls()}
            except (FileNotFound, StoreUnavailable):
                if attempt == 3:
                    raise
        raise AssertionError


def _place(error: BaseException) -> str:
    """The last line of the package that an error came through."""
    lines = traceback.format_exception(error)
    where = [line for line in lines if "flask_store/" in line][-1:]
    return " ".join("".join(where).split()[:6])


def _shown(value: t.Any) -> str:
    """A short form of what a name holds, or an operation returned."""
    names = {
        OLD: "the old file",
        NEW: "the new file",
        LARGE: "the large file",
        OLD[slice(*PART)]: "the part",
    }
    if isinstance(value, bytes):
        return names.get(value, f"{len(value)} bytes ({value[:12]!r}...)")
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))})"
    return "no file" if value is None else repr(value)[:200]


# -- the bench -----------------------------------------------------------------


class Bench:
    """A proxy before a storage, and stores on both sides of it.

    Operations run one at a time, in one thread, so that they find the connections of
    those before them.
    """

    def __init__(self, storage: Storage, place: Place, folder: str) -> None:
        self.storage = storage
        self.folder = folder
        self.proxy = FaultProxy(f"http://127.0.0.1:{place.port}")
        self._there = place.moved(self.proxy.port)
        self._place = place
        self._count = 0
        self._stack = contextlib.ExitStack()
        self.requests: dict[str, list[Seen]] = {}
        self.abandon()

    def abandon(self) -> None:
        """Leave the thread, which may never come back, and take another one."""
        self.thread = ThreadPoolExecutor(1)

    def __enter__(self) -> t.Self:
        self._stack.enter_context(self.proxy)
        here = self._stack.enter_context(
            tempfile.TemporaryDirectory(
                prefix="flask-store-", ignore_cleanup_errors=True
            )
        )
        self.disk = FsspecStore.from_config(
            {"STORE_PATH": f"{here}/disk", "STORE_FSYNC": False}
        )
        if self.storage.read_only:
            self.direct = FsspecStore.from_url(f"{self._place.folder}/{self.folder}")
        else:
            self.direct = FsspecStore.from_url(
                f"{self._place.url}/{self.folder}", **self._place.options
            )
        # Of the direct store's own folder, made before anything can go wrong.
        for name, data in SHARED.items():
            self.direct.at("shared").put(name, data)
        self.app = Flask(__name__)
        self.app.testing = True
        self.app.config.update(
            SECRET_KEY="of the tests", STORE_SERVE="proxy", **self._settings()
        )
        self.store = t.cast(FsspecStore, Store(self.app).Provider())
        if not self.storage.read_only:
            self.pictures = FsspecStore.from_config(
                {**self._settings(), "STORE_VARIANTS": {}}
            )
            self.background = FsspecStore.from_config(
                {
                    **self._settings(),
                    "STORE_BACKGROUND": True,
                    "STORE_SPOOL_PATH": f"{here}/spool",
                }
            )
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()
        self.thread.shutdown(wait=False)

    def connect(self) -> FsspecStore:
        """A store that has never asked the server."""
        return FsspecStore.from_config(self._settings())

    def _settings(self) -> dict[str, t.Any]:
        options = {**self._there.options, **self.storage.options}
        url = f"{self._there.url}/{self.folder}"
        return {"STORE_PATH": url, "STORE_OPTIONS": options}

    def behind(self, url: str) -> str:
        """The address without the proxy."""
        return url.replace(f":{self.proxy.port}", f":{self._place.port}")

    def operations(self) -> list[str]:
        """Those that this storage has."""
        return [
            name
            for name, operation in OPERATIONS.items()
            if not (self.storage.read_only and _writes_there(name, operation))
            and (self.storage.forms or not operation.forms)
        ]

    def trial(self, name: Name) -> Trial:
        """A trial in a folder of its own."""
        self._count += 1
        return Trial(self, name, f"t{self._count}")

    def control(self, operation: str) -> list[Finding]:
        """Do an operation without a fault, and remember its requests."""
        findings: list[Finding] = []
        # The first time there may be more requests, and a busy machine may be slow.
        for attempt in range(20):
            trial = self.trial(Name(operation, "none", None))
            plan = trial.run(None)
            self.requests[operation] = plan.seen
            if trial.error is not None:
                trial.found("control", repr(trial.error))
            findings = [
                found._replace(kind="control", text=f"{found.kind}: {found.text}")
                for found in trial.findings
            ]
            if attempt and not findings:
                break
        return findings

    def names(self) -> list[Name]:
        """Every trial that means anything."""
        found = []
        for operation, requests_ in self.requests.items():
            for fault, spoils in FAULTS.items():
                if fault in self.storage.trusted:
                    continue
                suited = [n for n, seen in enumerate(requests_) if spoils.suits(seen)]
                found += [Name(operation, fault, n) for n in suited]
                if len(suited) > 1:
                    found.append(Name(operation, fault, None))
        return found


def _writes_there(name: str, operation: Operation) -> bool:
    return operation.writes and not name.startswith("pull")


# -- all of them ---------------------------------------------------------------


def chosen(names: list[Name], choice: str, seed: int) -> list[Name]:
    """The trials to do.

    :param choice: ``"all"``, a number, or a pattern of names; by default the number
        that the tests do.
    """
    if choice == "all":
        return names
    if choice and not choice.isdigit():
        return [name for name in names if fnmatch.fnmatch(str(name), choice)]
    wanted = int(choice or TRIALS)
    shuffled = random.Random(seed).sample(names, len(names))
    # First each fault and each operation once, then whatever comes.
    first, met = [], set[str]()
    for name in shuffled:
        if not {name.fault, name.operation} <= met:
            met |= {name.fault, name.operation}
            first.append(name)
    rest = [name for name in shuffled if name not in set(first)]
    # What leaves a client waiting takes its time: a few of them.
    quick = [name for name in rest if not FAULTS[name.fault].silent]
    silent = [name for name in rest if FAULTS[name.fault].silent]
    left = max(0, wanted - len(first))
    return first + silent[: left // 20] + quick[: left - left // 20]


class Report(t.NamedTuple):
    """What came of the trials."""

    names: list[Name]
    findings: list[Finding]
    seconds: float

    def summary(self) -> str:
        """How many trials there were, and what they showed."""
        kinds = collections.Counter(found.kind for found in self.findings)
        told = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
        return (
            f"{len(self.names)} trials in {self.seconds:.0f} s,"
            f" {told or 'nothing found'}"
        )

    def table(self) -> str:
        """How often each fault of each operation showed something, by kind."""
        cells: dict[tuple[str, str], list[Finding]] = collections.defaultdict(list)
        for found in self.findings:
            operation, _, rest = found.trial.partition(":")
            cells[found.kind, operation].append(found)
        lines = []
        for (kind, operation), findings in sorted(cells.items()):
            faults = collections.Counter(found.fault for found in findings)
            told = ", ".join(
                f"{fault} {number}" for fault, number in sorted(faults.items())
            )
            lines.append(f"{kind:8} {operation:12} {told}")
        return "\n".join(lines)


def run(
    storage: str,
    choice: str = CHOICE,
    seed: int = SEED,
    jobs: int = 3,
    tell: Callable[[Finding], object] = lambda finding: None,
) -> Report:
    """Do the trials on one storage.

    :param choice: as for :func:`chosen`.
    :param jobs: how many at a time; each has a proxy and stores of its own.
    :param tell: is told each finding when it is made.
    :raises NotInstalledError: if there is no such server on this machine.
    """
    begun = time.monotonic()
    row = STORAGES[storage]
    findings: list[Finding] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.multiple(worker, **PAUSES))
        stack.enter_context(mock.patch.object(locks, "TIMEOUT", LOCKED))
        # Once for all trials, which run in several threads.
        stack.enter_context(mock.patch.object(making, "render", _rendered))
        place = stack.enter_context(row.server())
        prefix = f"faults{random.randrange(10**6)}"
        benches = [
            stack.enter_context(Bench(row, place, f"{prefix}-{number}"))
            for number in range(jobs)
        ]
        first, *others = benches
        for operation in first.operations():
            findings += first.control(operation)
        names = chosen(first.names(), choice, seed)
        for bench in others:
            bench.requests = first.requests
            bench.control("read")
        todo: queue.SimpleQueue[Name] = queue.SimpleQueue()
        for name in names:
            todo.put(name)
        lock = threading.Lock()

        def work(bench: Bench) -> None:
            while True:
                try:
                    name = todo.get_nowait()
                except queue.Empty:
                    return
                trial = bench.trial(name)
                try:
                    trial.run(FAULTS[name.fault])
                except Exception as exc:
                    # Looking at the server, past the proxy, has failed.
                    trial.found("broken", f"the trial itself: {exc!r} {_place(exc)}")
                with lock:
                    for finding in trial.findings:
                        findings.append(finding)
                        tell(finding)

        with ThreadPoolExecutor(jobs) as pool:
            for future in [pool.submit(work, bench) for bench in benches]:
                future.result()
    return Report(names, findings, time.monotonic() - begun)


def _print(finding: Finding) -> None:
    print(finding, flush=True)


def main(arguments: Iterable[str] | None = None) -> int:
    """Run it as a command."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.fault_trials")
    parser.add_argument("storage", nargs="+", choices=STORAGES)
    parser.add_argument("--all", action="store_const", const="all", dest="choice")
    parser.add_argument("--only", dest="choice", metavar="PATTERN")
    parser.add_argument("--number", dest="choice", metavar="N")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("-j", "--jobs", type=int, default=4)
    parser.add_argument("--verbose", action="store_true", help="print every finding")
    options = parser.parse_args(None if arguments is None else list(arguments))
    logging.disable()  # what the stores and the servers say of each fault
    warnings.simplefilter("ignore")
    status = 0
    for storage in options.storage:
        report = run(
            storage,
            options.choice or CHOICE,
            options.seed,
            options.jobs,
            _print if options.verbose else lambda finding: None,
        )
        print(f"== {storage}: {report.summary()}")
        print(report.table(), flush=True)
        status = status or int(bool(report.findings))
    return status


if __name__ == "__main__":
    sys.exit(main())
