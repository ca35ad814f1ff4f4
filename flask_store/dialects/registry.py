"""Which dialect speaks for which URL."""

from __future__ import annotations

import importlib
import os
import re
import typing as t
from collections.abc import Mapping
from urllib.parse import urlsplit

import fsspec

from ..exceptions import NotConfiguredError
from . import Dialect

#: Protocol -> where its dialect is; every other protocol has the safe default.
DIALECTS = {
    "file": "flask_store.dialects.local.LocalDialect",
    "ftp": "flask_store.dialects.ftp.FTPDialect",
    "gcs": "flask_store.dialects.gcs.GCSDialect",
    "gs": "flask_store.dialects.gcs.GCSDialect",
    "http": "flask_store.dialects.http.HTTPDialect",
    "https": "flask_store.dialects.http.HTTPDialect",
    "local": "flask_store.dialects.local.LocalDialect",
    "memory": "flask_store.dialects.memory.MemoryDialect",
    "s3": "flask_store.dialects.s3.S3Dialect",
    "sftp": "flask_store.dialects.sftp.installed.SFTPDialect",
    "sftp+paramiko": "flask_store.dialects.sftp.by_paramiko.ParamikoDialect",
    "sftp+sshfs": "flask_store.dialects.sftp.by_sshfs.SshfsDialect",
    "ssh": "flask_store.dialects.sftp.installed.SFTPDialect",
    "abfs": "flask_store.dialects.azure.AzureDialect",
    "abfss": "flask_store.dialects.azure.AzureDialect",
    "az": "flask_store.dialects.azure.AzureDialect",
    "dav": "flask_store.dialects.webdav.WebDAVDialect",
    "webdav": "flask_store.dialects.webdav.WebDAVDialect",
    "webdav+http": "flask_store.dialects.webdav.WebDAVDialect",
    "webdav+https": "flask_store.dialects.webdav.WebDAVDialect",
    "smb": "flask_store.dialects.smb.SMBDialect",
    "s3a": "flask_store.dialects.s3.S3Dialect",
}

#: Protocol -> the extra that installs its library, where it has another name.
EXTRAS = {
    "abfs": "azure",
    "abfss": "azure",
    "az": "azure",
    "dav": "webdav",
    "gs": "gcs",
    "https": "http",
    "sftp+paramiko": "paramiko",
    "ssh": "sftp",
}


#: The beginning of a URL that leads through another filesystem: 'zip::', 'zip:///'.
CHAIN = re.compile(
    r"[a-z]\w*(://[^:]*)?::"
    r"|(zip|tar|libarchive|dir|simplecache|filecache|blockcache|cached)://",
    re.IGNORECASE,
)


def protocol_of(url: str) -> str:
    """The protocol of a ``STORE_PATH``; ``"file"`` for a path on disk."""
    chained = "://" in url or CHAIN.match(url)
    return urlsplit(url).scheme.lower() if chained else "file"


def open_dialect(url: str | os.PathLike[str], config: Mapping[str, t.Any]) -> Dialect:
    """The dialect for a ``STORE_PATH``, at its place.

    :raises NotConfiguredError: if the URL cannot be a store.
    """
    url = os.fspath(url)
    while url.startswith("dir::"):  # what a store does anyhow: it keeps to its folder
        url = url.removeprefix("dir::")
    if CHAIN.match(url):
        from .chains import open_chained

        return open_chained(url, config, open_dialect)
    protocol = protocol_of(url)
    known = {*fsspec.available_protocols(), *fsspec.registry, *DIALECTS}
    if protocol not in known:
        raise NotConfiguredError(
            f"STORE_PATH names the protocol {protocol!r}, which fsspec does not know."
            " Install the package that provides it, or correct the URL."
        )
    module, _, name = DIALECTS.get(protocol, "flask_store.dialects.Dialect").rpartition(
        "."
    )
    try:
        dialect: type[Dialect] = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as exc:
        extra = EXTRAS.get(protocol, protocol.partition("+")[0])
        raise NotConfiguredError(
            f"{protocol}:// needs {exc.name}. Install it with:"
            f" pip install 'Flask-Store[{extra}]'"
        ) from exc
    return dialect(dialect.locate(url, config))
