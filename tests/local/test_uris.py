"""The URIs of files whose names look like parts of a URL, for fsspec and pandas.

The contract of every store has such names as well; here are the tools that read a
``file://`` URL in another way than fsspec, the chains, and what each protocol refuses.
"""

from __future__ import annotations

import pathlib
import typing as t
import warnings
import zipfile

import fsspec
import pandas as pd
import pytest
from upath import UPath

from flask_store.exceptions import StoreError
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.local import LocalStore

#: Names, and how much of them each is mistaken for.
NAMES = [
    "plain.csv",
    "a b.csv",
    "ü.csv",
    "a#b.csv",
    "a?b.csv",
    "a%41b.csv",
    "50% #1.csv",
    "a[1].csv",
    "a+b&c.csv",
    "deep/a#b.csv",
]


@pytest.mark.parametrize("folder", ["files", "up#loads", "50%41"])
@pytest.mark.parametrize("name", NAMES)
def test_pandas(name: str, folder: str, tmp_path: pathlib.Path) -> None:
    """pandas and pyarrow decode a file:// URL, and fsspec does not: each of them opens
    the very file."""
    store = LocalStore.from_config({"STORE_PATH": tmp_path / folder})
    for other in ("a", "aAb.csv", "50"):
        store.put(other, b"a\nother\n")
    f = store.put(name, b"a\nmine\n")
    parquet = f.absolute_path().removesuffix("csv") + "parquet"
    pd.DataFrame({"a": ["mine"]}).to_parquet(parquet)
    options = store.storage_options or None
    assert list(pd.read_csv(f.uri, storage_options=options)["a"]) == ["mine"]
    uri = store.file(name.removesuffix("csv") + "parquet").uri
    assert list(pd.read_parquet(uri, storage_options=options)["a"]) == ["mine"]
    with fsspec.open(f.uri) as file:
        assert file.read() == b"a\nmine\n"
    assert UPath(f.uri).read_bytes() == b"a\nmine\n"


def test_plain_name_has_a_scheme(tmp_path: pathlib.Path) -> None:
    """As ever."""
    store = LocalStore.from_config({"STORE_PATH": tmp_path})
    assert store.file("a b.csv").uri == f"file://{tmp_path}/a b.csv"


def test_folder_of_a_url(tmp_path: pathlib.Path) -> None:
    """A file:// URL is read as fsspec reads it: nothing of it is cut off."""
    for folder in ("a#b", "a?b", "a%41b"):
        store = FsspecStore.from_url(f"file://{tmp_path}/{folder}")
        store.save(b"x", "a.txt")
        assert (tmp_path / folder / "a.txt").read_bytes() == b"x"


def test_archive(tmp_path: pathlib.Path) -> None:
    """A file in an archive with such a name, behind fsspec's chain and in a cache."""
    path = tmp_path / "50%41 #1.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in (*NAMES, "a::b"):
            archive.writestr(name, name)
    for url in (f"zip://{path}", f"zip::file://{path}"):
        store = FsspecStore.from_url(url)
        for name in NAMES:
            with warnings.catch_warnings():
                # fsspec leaves the archive itself open.
                warnings.simplefilter("ignore", ResourceWarning)
                with fsspec.open(store.file(name).uri) as file:
                    assert file.read() == name.encode()
        with pytest.raises(StoreError, match="'a::b'.*what open"):
            _ = store.file("a::b").uri
        assert store.file("a::b").read() == b"a::b"


#: A store of each protocol, and the names that have no URI there.
REFUSED: dict[str, tuple[dict[str, t.Any], list[str]]] = {
    "/tmp/files": ({}, ["a::b"]),
    "memory://files": ({}, ["a::b"]),
    "s3://files": ({"key": "a", "secret": "b"}, ["a::b", "a?versionId=b"]),
    "gs://files": ({"token": "anon"}, ["a#123", "a::b"]),
    "abfs://files": ({"account_name": "a"}, ["a#", "a::b"]),
    "sftp://host/files": (
        {},
        ["a#123", "a#b", "a?b", "a#", "a::b", "a?versionId=b"],
    ),
    "ftp://host/files": ({}, ["a::b", "a?b", "a#", "a?versionId=b"]),
    "smb://host/share/files": ({}, ["a::b", "a?b", "a#", "a?versionId=b"]),
    "webdav+http://host/files": (
        {},
        ["a#123", "a#b", "a?b", "a#", "a%41b", "a::b", "a?versionId=b"],
    ),
    "https://host/files": ({}, []),
    "simplecache::memory://files": ({}, ["a::b"]),
}
EVERY = [
    "a#123",
    "a b",
    "a#b",
    "a?b",
    "a#",
    "a%41b",
    "a::b",
    "a?versionId=b",
    "ü",
    "a[1]",
]


@pytest.mark.parametrize("url", REFUSED)
def test_names_without_a_uri(url: str) -> None:
    """Nobody is contacted to know it, and the file can be opened by the store."""
    options, refused = REFUSED[url]
    store = FsspecStore.from_url(url, **options)
    found = []
    for name in EVERY:
        try:
            assert store.file(name).uri
        except StoreError as exc:
            assert "Use what open() gives" in str(exc)
            found.append(name)
    assert found == [name for name in EVERY if name in refused]
