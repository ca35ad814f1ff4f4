"""The servers that tests ask for, each started once and only when a test needs it."""

from __future__ import annotations

import collections
import contextlib
import functools
import typing as t

import pytest

from tests.support import copy_table
from tests.support import databases
from tests.support import gevent_table
from tests.support import protocol_table
from tests.support import requests_table
from tests.support import resumable_table
from tests.support import servers
from tests.support import servers_table
from tests.support import serving_table
from tests.support.servers import IN_CI

#: The files that take longest, mostly because they wait for processes and servers. They
#: begin before all others, so that none of them is still running when the others have
#: ended. make test keeps pytest-xdist from putting files with few tests last.
LONGEST = (
    "test_benchmarks.py",
    "test_calls.py",
    "test_protocols_raced.py",
    "test_protocols_killed.py",
    "test_protocols_copied.py",
    "test_protocols_variants.py",
    "test_spool_story.py",
    "test_gevent_servers.py",
    "test_wsgi_servers.py",
    "test_resumable_story.py",
    "test_gallery.py",
    "test_protocols_resumed.py",
    "test_uploaders.py",
    "test_uploader.py",
    "test_uploader_s3.py",
    "test_kept_protocols.py",
    "test_serving_storage.py",
    "test_notebook.py",
    "test_gevent.py",
    "test_faults_webdav.py",
    "test_faults_s3.py",
    "test_faults_azure.py",
    "test_faults_google.py",
    "test_faults_http.py",
    "test_s3_answers.py",
    "test_s3.py",
    "test_webdav.py",
    "test_serving.py",
    "test_statuses.py",
    "test_spool_locks.py",
    "test_direct_states.py",
    "test_protocols_silent.py",
    "test_spool_faults.py",
    "test_protocols.py",
    "test_memory_use.py",
    "test_killed_workers.py",
    "test_joined.py",
    "test_faults_resumed.py",
    "test_uppy_s3.py",
    "test_naming.py",
    "test_cli_sync.py",
    "test_serving_browser.py",
    "test_direct_browser.py",
    "test_spool_trouble.py",
)

S3_FIXTURES = {"seaweedfs_server", "moto_server", "seaweedfs_bucket", "moto_bucket"}

#: What needs a server that no Python package brings, as files, fixtures and parameters
#: name it: OpenSSH, Samba, nginx, azurite, PostgreSQL and MariaDB. Also s3fs, the
#: second client of S3, which has the same tests as the first one.
FAR = {
    *("test_azure", "abfs", "azure", "azure_app", "azurite"),
    *("test_sftp", "sftp", "sftp_app", "sftp_place", "sftp+sshfs", "sftp+paramiko"),
    *("test_smb", "smb", "smb_app"),
    *("nginx_site", "s3fs"),
    *("postgresql", "psycopg", "asyncpg", "mariadb"),
}


def missing(part: str) -> t.NoReturn:
    """Leave a test out because ``part`` is not on this machine; in CI, fail instead."""
    if IN_CI:
        pytest.fail(f"{part} is missing, and nothing may be left out in CI")
    pytest.skip(f"{part} is missing")


T = t.TypeVar("T")


def running(server: t.Callable[[], t.ContextManager[T]], name: str) -> t.Iterator[T]:
    """Run a server, or leave the test out and say what it needs."""
    with contextlib.ExitStack() as stack:
        try:
            place = stack.enter_context(server())
        except servers.NotInstalledError as error:
            missing(f"{name} ({error})")
        yield place


@pytest.fixture
def figures(
    record_property: t.Callable[[str, object], None],
) -> t.Callable[[str], None]:
    """Show a line of measurements at the end of the run."""
    return lambda line: record_property("figure", line)


@pytest.fixture(scope="session", autouse=True)
def one_loader() -> t.Iterator[None]:
    """Let all botocore sessions of the process share one loader.

    Most S3 stores of the tests have a session of their own, since each has a bucket of
    its own. Each would parse the same descriptions of Amazon's services again.
    """
    try:
        from botocore import loaders
        from botocore import session
    except ImportError:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        create = functools.cache(loaders.create_loader)
        patch.setattr(session, "create_loader", create)
        yield


@pytest.fixture(scope="session")
def seaweedfs_server() -> t.Iterator[servers.S3Server]:
    """Run one SeaweedFS for the whole session; it takes seconds to start."""
    yield from running(servers.seaweedfs, "SeaweedFS")


@pytest.fixture(scope="session")
def moto_server() -> t.Iterator[servers.S3Server]:
    """Run one moto server for the whole session."""
    yield from running(servers.moto, "moto")


@pytest.fixture
def seaweedfs_bucket(seaweedfs_server: servers.S3Server) -> str:
    """Make an empty bucket on SeaweedFS, for one test alone."""
    return seaweedfs_server.make_bucket()


@pytest.fixture
def moto_bucket(moto_server: servers.S3Server) -> str:
    """Make an empty bucket on moto, for one test alone."""
    return moto_server.make_bucket()


@pytest.fixture(scope="session")
def postgresql() -> t.Iterator[str]:
    """Run one PostgreSQL for the whole session; the value is its URL."""
    yield from running(databases.postgresql, "PostgreSQL")


@pytest.fixture(scope="session")
def mariadb() -> t.Iterator[str]:
    """Run one MariaDB for the whole session; the value is its URL."""
    yield from running(databases.mariadb, "MariaDB")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by its folder and by what it needs, so that ``-m`` can choose it,
    and put the files that take longest first."""
    items.sort(key=lambda item: _rank(item.path.name))
    for item in items:
        folder = item.path.parent.name
        item.add_marker(folder)
        used = _used(item)
        if S3_FIXTURES & used:
            item.add_marker(pytest.mark.s3)
        if FAR & used and folder not in ("unit", "tables"):
            item.add_marker(pytest.mark.far)


def _used(item: pytest.Item) -> set[str]:
    """What a test names: its file, its fixtures, and its parameters."""
    callspec = getattr(item, "callspec", None)
    parameters = callspec.params.values() if callspec else ()
    names = {value for value in parameters if isinstance(value, str)}
    return {item.path.stem, *getattr(item, "fixturenames", ()), *names}


def _rank(name: str) -> int:
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the figures, and say what was left out and why, or that nothing was."""
    figures = [
        value
        for report in terminalreporter.stats.get("passed", ())
        for name, value in report.user_properties
        if name == "figure"
    ]
    if figures:
        terminalreporter.section("figures")
        for line in figures:
            terminalreporter.line(line)
    stats = terminalreporter.stats
    kinds = ("passed", "failed", "skipped")
    reports = [report for kind in kinds for report in stats.get(kind, ())]
    tables = protocol_table, serving_table, servers_table, gevent_table
    tables += copy_table, requests_table, resumable_table
    for table in tables:
        table.write(reports)
    left_out = collections.Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", ())
        if isinstance(report.longrepr, tuple)
    )
    terminalreporter.section("left out")
    for reason, number in sorted(left_out.items()):
        terminalreporter.line(f"{number} x {reason}")
    if not left_out:
        terminalreporter.line("nothing")
