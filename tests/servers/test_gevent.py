"""Every store works under gevent, whenever it patches, and lets the others run."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest

from tests.storages.test_sftp import by
from tests.support import tls
from tests.support.background_servers import s3_settings
from tests.support.gcs_server import fake_gcs
from tests.support.gevent_table import PROPERTY
from tests.support.gevent_table import STORES
from tests.support.protocol_servers import azurite
from tests.support.protocol_servers import Place
from tests.support.proxy import Proxy
from tests.support.server_contract import started
from tests.support.servers import ROOT
from tests.support.servers import S3Server
from tests.support.sftp_server import ssh_server

#: The seconds that one process may take; nearly all of them are for slow machines. Then
#: it says where it stands.
PATIENCE = 100
MODES = ["first", "unpatched", "late"]
OPERATIONS = {"save", "read", "serve", "delete", "list", "sign"}

#: Everything else takes the short run; the long ones are for whoever changes ioloop.
CROWD = os.environ.get("FLASK_STORE_CROWD")
LOGGING_SECONDS = os.environ.get("FLASK_STORE_LOGGING_SECONDS", "4")


def run(mode: str, case: str, settings: dict[str, t.Any], **env: str) -> t.Any:
    """What a case finds in a process of its own, which it leaves as it was: using a
    store neither patches anything nor starts fsspec's own event loop."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.gevent_cases", mode, case],
        cwd=ROOT,
        env={
            **os.environ,
            "SETTINGS": json.dumps(settings),
            "PATIENCE": str(PATIENCE),
            **env,
        },
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
    )
    assert done.stdout, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["patched"] is answer["patched_after"] is (mode != "unpatched")
    assert "error" not in answer, answer["error"]
    assert answer["fsspec_loop"] is (case == "naive"), "fsspec's own loop was started"
    return answer["found"]


#: Asks again and again while another thread imports gevent.
MEANWHILE = """
import sys, threading
from flask_store.concurrency.greenlets import original, patched

sys.setswitchinterval(1e-6)
importer = threading.Thread(target=__import__, args=("gevent.monkey",))
importer.start()
while importer.is_alive():
    assert not patched()
    assert original("time", "sleep")
assert "gevent.monkey" in sys.modules
"""


@pytest.fixture
def s3(seaweedfs_server: S3Server, seaweedfs_bucket: str) -> dict[str, t.Any]:
    """S3Store, by a host name: looking one up is a step of its own."""
    return s3_settings(
        f"http://localhost:{seaweedfs_server.port}", seaweedfs_server, seaweedfs_bucket
    )


@pytest.fixture
def s3_tls(
    seaweedfs_server: S3Server,
    seaweedfs_bucket: str,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> t.Iterator[dict[str, t.Any]]:
    """S3Store over TLS, with a certificate that the machine is told to trust."""
    certificate = tls.make_certificate(tmp_path)
    for name in ("AWS_CA_BUNDLE", "SSL_CERT_FILE"):  # botocore's name, OpenSSL's
        monkeypatch.setenv(name, str(certificate))
    with tls.in_front_of(seaweedfs_server.port, certificate) as url:
        yield s3_settings(url, seaweedfs_server, seaweedfs_bucket)


@pytest.fixture
def s3_background(s3: dict[str, t.Any], tmp_path: pathlib.Path) -> dict[str, t.Any]:
    """S3GeventStore, with a spool of the test's own."""
    return s3 | {
        "STORE_PROVIDER": "flask_store.stores.s3.S3GeventStore",
        "STORE_SPOOL_PATH": str(tmp_path / "spool"),
    }


@pytest.fixture
def local(tmp_path: pathlib.Path) -> dict[str, t.Any]:
    """LocalStore in a folder of the test's own."""
    return {"STORE_PATH": str(tmp_path / "uploads")}


def place_settings(place: Place) -> dict[str, t.Any]:
    """A store in a new folder on a server, whose files the application serves."""
    return {
        "STORE_PROVIDER": "flask_store.stores.fsspec.FsspecStore",
        "STORE_PATH": place.new(),
        "STORE_OPTIONS": place.options,
        "STORE_SERVE": "proxy",
        "STORE_URL_PREFIX": "/files",
    }


@pytest.fixture(scope="module")
def sftp_server() -> t.Iterator[Place]:
    """One server for the whole module."""
    with started(ssh_server) as running:
        yield running


@pytest.fixture(scope="module")
def azure_server() -> t.Iterator[Place]:
    """One azurite for the whole module."""
    with started(azurite) as running:
        yield running


@pytest.fixture(scope="module")
def gcs_server() -> t.Iterator[Place]:
    """One fake-gcs-server for the whole module."""
    with started(fake_gcs) as running:
        yield running


@pytest.fixture
def gcs(gcs_server: Place) -> dict[str, t.Any]:
    """Google Cloud Storage by gcsfs."""
    return place_settings(gcs_server)


@pytest.fixture
def sftp(sftp_server: Place) -> dict[str, t.Any]:
    """SFTP by sshfs, which is asynchronous."""
    return place_settings(by("sshfs", sftp_server))


@pytest.fixture
def azure(azure_server: Place) -> dict[str, t.Any]:
    """Azure Blob Storage by adlfs."""
    return place_settings(azure_server)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", STORES)
def test_every_operation(
    mode: str,
    kind: str,
    request: pytest.FixtureRequest,
    record_property: t.Callable[[str, object], None],
) -> None:
    """Everything works whenever gevent patches, or never; the first call has a hub
    with nothing else to do, which must not give up (LoopExit)."""
    found = run(mode, "every_operation", request.getfixturevalue(kind))
    record_property(PROPERTY, (kind, mode, found))
    assert all(found.values()), found
    assert found.keys() == OPERATIONS


@pytest.mark.parametrize("mode", ["first", "late"])
def test_paramiko(mode: str, sftp_server: Place) -> None:
    """paramiko has threads of its own, which are greenlets then, and works."""
    assert run(mode, "save_and_read", place_settings(by("paramiko", sftp_server)))


@pytest.mark.parametrize("mode", ["first", "late"])
def test_canary(mode: str, s3: dict[str, t.Any]) -> None:
    """s3fs used plainly fails under gevent; once it does not, ioloop.py may go."""
    assert run(mode, "naive", s3) != "works"


@pytest.mark.parametrize(
    ("mode", "count"), [("first", "200"), ("unpatched", "50"), ("late", "50")]
)
def test_crowd(mode: str, count: str, s3: dict[str, t.Any]) -> None:
    """200 greenlets lose nothing, and a ticker of 10 ms is never held up for long."""
    count = CROWD or count
    # A server that has 200 uploads at once on a slow machine is slow, not gone.
    s3["STORE_S3_OPTIONS"] = {"config_kwargs": {"read_timeout": 60}}
    found = run(mode, "crowd", s3, CROWD=count)
    print(mode, found)
    assert found["good"] == int(count)
    assert found["p99_ms"] < 1000


@pytest.mark.parametrize("mode", ["first", "late"])
def test_debug_logging(mode: str, s3: dict[str, t.Any]) -> None:
    """Logging on both sides at DEBUG stalls nobody: gevent's locks are shared by
    two threads there, and lose wake-ups unless each runs a hub.

    Even then gevent has lost one now and then, with no frame of ours on any stack.
    Only what happens twice in a row is a fault of ours.
    """
    short = {"LOGGING_SECONDS": LOGGING_SECONDS, "PATIENCE": "60"}
    try:
        found = run(mode, "debug_logging", s3, **short)
    except AssertionError:
        found = run(mode, "debug_logging", s3, **short)
    print(mode, found)
    assert found["calls"] > 20
    assert found["slowest"] < 10


@pytest.mark.parametrize("mode", ["first", "unpatched"])
def test_killing_ends_the_transfer(
    mode: str, seaweedfs_server: S3Server, seaweedfs_bucket: str
) -> None:
    """kill() and gevent.Timeout return at once and leave nothing running."""
    with Proxy(f"http://localhost:{seaweedfs_server.port}") as proxy:
        settings = s3_settings(proxy.endpoint_url, seaweedfs_server, seaweedfs_bucket)
        # An unconditional save is the PUT alone.
        settings["STORE_S3_CONDITIONAL_WRITES"] = False
        proxy.black_hole = True
        found = run(mode, "killed", settings)
    assert found["during"] == 1
    assert found["after_kill"] == found["after_timeout"] == 0
    assert found["kill_seconds"] < 2
    assert found["timeout_seconds"] < 2


@pytest.mark.parametrize("mode", ["unpatched", "late"])
def test_first_calls_share_one_loop(mode: str, s3: dict[str, t.Any]) -> None:
    """16 threads that make the first call at once get one loop and filesystem."""
    found = run(mode, "first_calls", s3)
    assert found["names"] == 16
    assert found["filesystems"] == 1
    assert found["clients"] == 1
    assert found["loops"] == (2 if mode == "late" else 1)


@pytest.mark.parametrize("mode", ["first", "unpatched"])
def test_other_greenlets_run_during_a_call(
    mode: str, seaweedfs_server: S3Server, seaweedfs_bucket: str
) -> None:
    """A slow call holds up its own greenlet only, patched or not."""
    with Proxy(f"http://localhost:{seaweedfs_server.port}") as proxy:
        proxy.latency_ms = 300
        settings = s3_settings(proxy.endpoint_url, seaweedfs_server, seaweedfs_bucket)
        assert run(mode, "others_run", settings) > 5


@pytest.mark.parametrize("mode", ["first", "unpatched"])
def test_other_greenlets_run_while_the_disk_syncs(
    mode: str, local: dict[str, t.Any]
) -> None:
    """Writing through to the disk holds up nobody else."""
    assert run(mode, "slow_disk", local) > 5


@pytest.mark.parametrize("mode", MODES)
def test_other_greenlets_run_while_a_variant_is_made(
    mode: str, local: dict[str, t.Any]
) -> None:
    """Neither the greenlet that makes it nor those that wait for it or for their turn
    hold up another one, whenever gevent patches, or never."""
    settings = {**local, "STORE_VARIANTS": {}, "STORE_IMAGE_MAKERS": 1}
    found = run(mode, "variants", settings)
    assert found == ["something else", *["made"] * 6]


def test_killed_greenlet_waits_for_its_disk(local: dict[str, t.Any]) -> None:
    """It would close a file in which a thread is still writing, and the number of the
    file would be another's."""
    assert run("first", "killed_on_disk", local) is True


def test_stream_of_a_greenlet(s3: dict[str, t.Any]) -> None:
    """A stream that waits by its own hub is not read on the loop's thread."""
    assert run("first", "green_stream", s3) is True


def test_gevent_is_imported_meanwhile() -> None:
    """A module that another thread imports is there before its functions are."""
    subprocess.run([sys.executable, "-c", MEANWHILE], cwd=ROOT, check=True)
