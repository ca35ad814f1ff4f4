"""Which dialect a URL gets, and what a missing library says."""

from __future__ import annotations

import sys

import pytest

from flask_store.exceptions import NotConfiguredError
from flask_store.stores.fsspec import FsspecStore


@pytest.mark.parametrize(
    ("url", "library", "extra"),
    [
        ("abfs://container/x", "adlfs", "azure"),
        ("gs://bucket/x", "gcsfs", "gcs"),
        ("sftp+sshfs://host/x", "sshfs", "sftp"),
        ("sftp+paramiko://host/x", "paramiko", "paramiko"),
        ("smb://host/share/x", "smbclient", "smb"),
        ("webdav+https://host/x", "httpx", "webdav"),
        ("https://host/x", "aiohttp", "http"),
    ],
)
def test_missing_library_gives_its_pip_line(
    url: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to install is said when the settings are read, not at the first upload."""
    for name in list(sys.modules):
        if name.startswith("flask_store.dialects.") and name.count(".") >= 2:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(NotConfiguredError, match=rf"pip install '.*\[{extra}\]'"):
        FsspecStore.from_url(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sftp:///x", "names no host. Write 'sftp://user@host/folder'"),
        ("smb://host", "no share. Write 'smb://user@host/share/folder'"),
        ("webdav://host", r"Write 'webdav\+https://user@host/folder'"),
        ("abfs://", "names no container"),
        ("abfs://KEY:SECRET@x", "names no container"),
        ("gs://", "names no bucket"),
        ("gs://KEY:SECRET@x", "names no bucket"),
    ],
)
def test_url_without_a_place(url: str, words: str) -> None:
    """A URL that cannot be a store shows the right form, and no secret."""
    with pytest.raises(NotConfiguredError, match=words) as caught:
        FsspecStore.from_url(url)
    assert "SECRET" not in str(caught.value)
