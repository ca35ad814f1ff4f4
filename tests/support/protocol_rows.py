"""One row for each protocol: a server, and how a store there is made."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import pathlib
import tempfile
import types
import typing as t
import uuid

from . import gcs_server
from . import protocol_servers as protocols
from . import servers
from . import sftp_server
from .protocol_servers import Place
from .servers import NotInstalledError


@contextlib.contextmanager
def s3(run: t.Callable[[], t.ContextManager[servers.S3Server]]) -> t.Iterator[Place]:
    """An S3 server as a place."""
    with run() as server:
        options = {
            "endpoint_url": server.endpoint_url,
            "key": server.access_key,
            "secret": server.secret_key,
        }
        bucket = server.make_bucket()
        yield Place(f"s3://{bucket}", server.port, options)


@contextlib.contextmanager
def sftp(driver: str) -> t.Iterator[Place]:
    """An SFTP server, in the words of one of the libraries."""
    with sftp_server.ssh_server() as place:
        yield by(driver, place)


def by(driver: str, place: Place) -> Place:
    """An SFTP place in the words of one of the libraries."""
    if importlib.util.find_spec(driver) is None:
        raise NotInstalledError(f"{driver} is not installed (pip install {driver})")
    options = dict(place.options)
    if driver == "paramiko":
        options["key_filename"] = options.pop("client_keys")
    url = place.url.replace("sftp://", f"sftp+{driver}://")
    return dataclasses.replace(place, url=url, options=options)


@contextlib.contextmanager
def disk(protocol: str = "file") -> t.Iterator[Place]:
    """A folder on this disk."""
    with tempfile.TemporaryDirectory(prefix="flask-store-") as name:
        yield Place(f"{protocol}://{name}", 0, folder=pathlib.Path(name))


@contextlib.contextmanager
def memory() -> t.Iterator[Place]:
    """A part of this process's memory."""
    yield Place(f"memory://{uuid.uuid4().hex}", 0)


class Trips(t.NamedTuple):
    """How often a client waits for the server to do one thing."""

    save: int
    stat: int
    read: int


class Row(t.NamedTuple):
    """A protocol, its server, the library, and the primitive behind ``create``."""

    server: t.Callable[[], t.ContextManager[Place]]
    behind: str
    library: str
    primitive: str
    #: The class of tests that holds the contract of the row.
    contract: str
    exclusive: bool = True
    #: Whether an upload has a private name before it gets its own.
    stages: bool = False
    #: How many round trips a small file may take, once there is a connection.
    trips: Trips | None = None
    #: Why a race would show nothing.
    no_race: str = ""
    #: For many clients at once, who may keep a small server busy for longer than the
    #: time after which it would be taken for dead.
    patience: t.Mapping[str, t.Any] = types.MappingProxyType({})


UUID = "none; a UUID in every name"

ROWS = {
    "file": Row(
        disk,
        "the disk",
        "fsspec",
        "link(2) of a nameless file",
        "test_local::TestLocal",
    ),
    "dir::file": Row(
        lambda: disk("dir::file"),
        "the disk",
        "fsspec",
        "link(2) of a nameless file",
        "test_chained::TestDir",
    ),
    "memory": Row(
        memory, "the process", "fsspec", "a lock of ours", "test_memory::TestMemory"
    ),
    "s3": Row(
        lambda: s3(servers.seaweedfs),
        "SeaweedFS",
        "s3fs",
        "one PUT, If-None-Match: \\*",
        "test_s3::TestSeaweedFSByURL",
        trips=Trips(1, 1, 1),
    ),
    "s3 (moto)": Row(
        lambda: s3(servers.moto),
        "moto",
        "s3fs",
        "one PUT, If-None-Match: \\*",
        "test_s3::TestMoto",
        trips=Trips(1, 1, 1),
        no_race="moto looks before it writes, so that a race would show nothing",
    ),
    "s3 (rclone)": Row(
        protocols.rclone,
        "rclone",
        "s3fs",
        UUID,
        "test_rclone::TestRclone",
        exclusive=False,
        trips=Trips(1, 1, 1),
    ),
    "abfs": Row(
        protocols.azurite,
        "azurite",
        "adlfs",
        "Put Blob, If-None-Match: \\*",
        "test_azure::TestAzure",
        trips=Trips(1, 1, 1),
    ),
    "gs": Row(
        gcs_server.fake_gcs,
        "fake-gcs-server",
        "gcsfs",
        "one upload, ifGenerationMatch=0",
        "test_gcs::TestGCS",
        trips=Trips(1, 1, 1),
    ),
    "sftp+sshfs": Row(
        lambda: sftp("sshfs"),
        "OpenSSH",
        "sshfs",
        "SSH_FXP_RENAME of a staged file",
        "test_sftp::TestSshfs",
        stages=True,
        trips=Trips(4, 1, 6),
    ),
    "sftp+paramiko": Row(
        lambda: sftp("paramiko"),
        "OpenSSH",
        "paramiko",
        "SSH_FXP_RENAME of a staged file",
        "test_sftp::TestParamiko",
        stages=True,
        trips=Trips(4, 1, 6),
    ),
    "smb": Row(
        protocols.samba,
        "Samba",
        "smbprotocol",
        "link without ReplaceIfExists",
        "test_smb::TestSMB",
        stages=True,
        trips=Trips(7, 1, 4),
    ),
    "webdav+http": Row(
        protocols.webdav,
        "wsgidav",
        "webdav4",
        "MOVE of a staged file, under an MKCOL",
        "test_webdav::TestWebDAV",
        stages=True,
        trips=Trips(4, 1, 2),
        patience={"timeout": 60},
    ),
    "ftp": Row(
        protocols.ftp,
        "pyftpdlib",
        "fsspec",
        UUID,
        "test_ftp::TestFTP",
        exclusive=False,
        stages=True,
        trips=Trips(5, 1, 8),
    ),
}


class Reader(t.NamedTuple):
    """A chain that can only be read."""

    library: str
    #: The class of tests that holds its contract.
    contract: str


READERS = {
    "zip::file": Reader("fsspec", "test_chained::TestZip"),
    "zip::s3": Reader("fsspec, s3fs", "test_chained::TestZipOnS3"),
    "simplecache::file": Reader("fsspec", "test_chained::TestCache"),
    "simplecache::s3": Reader("fsspec, s3fs", "test_chained::TestCacheOfS3"),
}


def new(place: Place) -> str:
    """The URL of an empty folder there, whatever the place."""
    return f"{place.url}/{uuid.uuid4().hex}/uploads"
