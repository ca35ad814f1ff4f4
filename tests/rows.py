"""One row for each protocol: a server, and how a store there is made."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import tempfile
import types
import typing as t
import uuid

from . import servers
from . import servers_gcs
from . import servers_protocols as protocols
from .servers_protocols import Place


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
    """sshd, in the words of one of the libraries."""
    with protocols.sshd() as place:
        yield by(driver, place)


def by(driver: str, place: Place) -> Place:
    """An SFTP place in the words of one of the libraries."""
    options = dict(place.options)
    if driver == "paramiko":
        options["key_filename"] = options.pop("client_keys")
    url = place.url.replace("sftp://", f"sftp+{driver}://")
    return dataclasses.replace(place, url=url, options=options)


@contextlib.contextmanager
def disk() -> t.Iterator[Place]:
    """A folder on this disk."""
    with tempfile.TemporaryDirectory(prefix="flask-store-") as name:
        yield Place(f"file://{name}", 0, folder=pathlib.Path(name))


class Row(t.NamedTuple):
    """A protocol, its server, the library, and the primitive behind ``create``."""

    server: t.Callable[[], t.ContextManager[Place]]
    behind: str
    library: str
    primitive: str
    exclusive: bool = True
    #: For many clients at once, who may keep a small server busy for longer than the
    #: time after which it would be taken for dead.
    patience: t.Mapping[str, t.Any] = types.MappingProxyType({})


ROWS = {
    "file": Row(disk, "the disk", "fsspec", "link(2) of a staged file"),
    "s3": Row(
        lambda: s3(servers.seaweedfs),
        "SeaweedFS",
        "s3fs",
        "one PUT, If-None-Match: \\*",
    ),
    "s3 (rclone)": Row(
        protocols.rclone, "rclone", "s3fs", "none; a UUID in every name", False
    ),
    "abfs": Row(protocols.azurite, "azurite", "adlfs", "Put Blob, If-None-Match: \\*"),
    "gs": Row(
        servers_gcs.fake_gcs,
        "fake-gcs-server",
        "gcsfs",
        "one upload, ifGenerationMatch=0",
    ),
    "sftp+sshfs": Row(
        lambda: sftp("sshfs"), "OpenSSH", "sshfs", "SSH_FXP_RENAME of a staged file"
    ),
    "sftp+paramiko": Row(
        lambda: sftp("paramiko"),
        "OpenSSH",
        "paramiko",
        "SSH_FXP_RENAME of a staged file",
    ),
    "smb": Row(
        protocols.samba, "Samba", "smbprotocol", "rename without ReplaceIfExists"
    ),
    "webdav+http": Row(
        protocols.webdav,
        "wsgidav",
        "webdav4",
        "MOVE of a staged file, under an MKCOL",
        patience={"timeout": 60},
    ),
    "ftp": Row(
        protocols.ftp, "pyftpdlib", "fsspec", "none; a UUID in every name", False
    ),
}


def new(place: Place) -> str:
    """The URL of an empty folder there, whatever the place."""
    return f"{place.url}/{uuid.uuid4().hex}/uploads"
