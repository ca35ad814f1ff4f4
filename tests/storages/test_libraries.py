"""Libraries that read files of a store, write into one, and go through ``store.fs``.

Each is the real one, on the local disk and on S3.
"""

from __future__ import annotations

import csv
import io
import json
import pathlib
import pickle
import typing as t
import zipfile

import dask.dataframe
import duckdb
import h5py
import numpy
import obstore
import pandas
import polars
import pyarrow
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
import pytest
import upath
import zarr
from obstore.store import from_url
from PIL import Image

from flask_store.stores.fsspec import FsspecStore
from tests.support.protocol_rows import ROWS
from tests.support.server_contract import started
from tests.support.servers import S3Server

pytestmark = pytest.mark.slow

#: More than a draft keeps in memory, and than a library reads at once.
ROWS_OF_TABLE = 200_000


@pytest.fixture(params=["file", "s3"])
def store(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path, seaweedfs_server: S3Server
) -> FsspecStore:
    """An empty store, in a folder whose name has what a URL has to quote."""
    if request.param == "file":
        return FsspecStore.from_url(tmp_path / "store")
    return FsspecStore.from_url(
        f"s3://{seaweedfs_server.make_bucket()}/da ta",
        endpoint_url=seaweedfs_server.endpoint_url,
        key=seaweedfs_server.access_key,
        secret=seaweedfs_server.secret_key,
    )


@pytest.fixture(scope="session")
def table() -> pandas.DataFrame:
    """A table of two columns."""
    return pandas.DataFrame(
        {"a": range(ROWS_OF_TABLE), "b": ["é", "x"] * (ROWS_OF_TABLE // 2)}
    )


# -- a table ------------------------------------------------------------------


def test_csv(store: FsspecStore, table: pandas.DataFrame) -> None:
    """pandas, polars and csv read what pandas writes, as bytes and as text."""
    with store.create("binary.csv") as out:
        table.to_csv(out, index=False)
    with store.create("text.csv", "w") as text:
        table.to_csv(text, index=False)
    f = out.file
    assert f.read() == text.file.read()
    for engine in ("c", "python", "pyarrow"):
        limit = None if engine == "pyarrow" else 10
        found = pandas.read_csv(f, engine=t.cast(t.Any, engine), nrows=limit)
        pandas.testing.assert_frame_equal(
            found, table[:limit], check_column_type=False, check_dtype=False
        )
        f.close()
    chunks = pandas.read_csv(f, chunksize=1000)
    assert sum(map(len, chunks)) == ROWS_OF_TABLE
    assert f.read() == b""
    f.close()
    assert f.read() == text.file.read()
    assert polars.read_csv(f).shape == table.shape
    with f.open("r") as lines:
        assert next(csv.reader(lines)) == ["a", "b"]
    with pytest.raises(csv.Error, match="text mode"):
        next(csv.reader(t.cast("t.Iterator[str]", iter(f))))
    f.close()
    assert numpy.loadtxt(f, delimiter=",", skiprows=1, usecols=0, max_rows=2)[1] == 1


def test_parquet(store: FsspecStore, table: pandas.DataFrame) -> None:
    """pandas, polars and pyarrow read each other's, as often as they like. polars
    reads from the position on."""
    with store.create("pandas.parquet") as out:
        table.to_parquet(out)
    with store.create("polars.parquet") as other:
        polars.from_pandas(table).write_parquet(other)
    with store.create("pyarrow.parquet") as third:
        pyarrow.parquet.write_table(pyarrow.Table.from_pandas(table), third)
    for f in (out.file, other.file, third.file):
        for _ in range(2):
            assert pandas.read_parquet(f).shape == table.shape
            assert pandas.read_parquet(f, columns=["a"]).shape == (ROWS_OF_TABLE, 1)
            f.close()
            assert polars.read_parquet(f).shape == table.shape
            assert polars.read_parquet(f).shape == table.shape
            assert pyarrow.parquet.read_table(f).shape == table.shape
            assert len(store.read(f)) == f.size


def test_excel(store: FsspecStore, table: pandas.DataFrame) -> None:
    """Through openpyxl and zipfile."""
    with store.create("a.xlsx") as out:
        table[:10].to_excel(out, index=False)
    assert pandas.read_excel(out.file).shape == (10, 2)


# -- others --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.jpg", {}),
        ("a.webp", {"lossless": True}),
        ("a.gif", {}),
        ("a.tiff", {"compression": "tiff_lzw"}),
        ("a.tif", {}),
    ],
)
def test_pictures(store: FsspecStore, name: str, options: dict[str, t.Any]) -> None:
    """Pillow writes, and opens twice what it reads later."""
    picture = Image.effect_noise((600, 600), 50)
    extension = pathlib.PurePath(name).suffix
    with store.create(name) as out:
        picture.save(out, Image.registered_extensions()[extension], **options)
    first, second = Image.open(out.file), Image.open(out.file)
    assert len(store.read(out.file)) == out.file.size
    assert first.size == second.size == (600, 600)
    assert first.tobytes() == second.tobytes()
    out.file.close()
    assert len(out.file.read()) == out.file.size


def test_json(store: FsspecStore) -> None:
    """json and pandas read what json writes, each time all of it."""
    with store.create("a.json", "w") as out:
        json.dump([1, {"é": 2}], out, ensure_ascii=False)
    f = out.file
    assert json.load(f) == json.load(f) == [1, {"é": 2}]
    assert json.loads(f.read()) == [1, {"é": 2}]
    assert io.TextIOWrapper(f, "utf-8").read() == f.read().decode()  # type: ignore


def test_zip(store: FsspecStore) -> None:
    """zipfile writes with seeks, and reads a large archive from its end."""
    noise = numpy.random.default_rng(0).bytes(300_000)
    with store.create("a.zip") as out:
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("a.bin", noise)
            archive.writestr("b.txt", b"b")
    for _ in range(2):
        with zipfile.ZipFile(out.file) as archive:  # type: ignore[call-overload]
            assert archive.namelist() == ["a.bin", "b.txt"]
            assert archive.read("a.bin") == noise
            assert archive.testzip() is None
        assert len(store.read(out.file)) == out.file.size


def test_scientific_formats(store: FsspecStore) -> None:
    """h5py seeks, reads what it wrote and cuts; numpy and pickle write in a row."""
    data = numpy.arange(100_000)
    with store.create("a.h5") as out:
        with h5py.File(out, "w") as file:
            file["x"] = data
    with h5py.File(out.file) as file:
        assert (file["x"][:] == data).all()
    with store.create("a.npy") as out:
        numpy.save(out, data)
    assert (numpy.load(out.file) == data).all()
    with store.create("a.pickle") as out:
        pickle.dump({"a": 1}, out)
    assert pickle.load(out.file) == {"a": 1}


# -- through the filesystem ----------------------------------------------------


@pytest.mark.filterwarnings("ignore:UPath 'flaskstore' filesystem")
def test_filesystem_of_pandas(store: FsspecStore, table: pandas.DataFrame) -> None:
    """By filesystem= and by a URL with the store as an option."""
    table.to_parquet("2026/t.parquet", filesystem=store.fs)
    assert pandas.read_parquet("2026/t.parquet", filesystem=store.fs).equals(table)
    options = {"store": store}
    table.to_csv("flaskstore://t.csv", index=False, storage_options=options)
    found = pandas.read_csv("flaskstore://t.csv", storage_options=options)
    assert found.shape == table.shape
    path = upath.UPath("flaskstore://2026", **options) / "t.parquet"
    assert path.stat().st_size == store["2026/t.parquet"].size


def test_datasets_of_pyarrow(store: FsspecStore, table: pandas.DataFrame) -> None:
    """A dataset of several files, written, read and written anew."""
    handler = pyarrow.fs.FSSpecHandler(store.fs)
    filesystem = pyarrow.fs.PyFileSystem(handler)
    schema = pyarrow.schema([("b", pyarrow.string())])
    parts = pyarrow.dataset.partitioning(schema, flavor="hive")
    for _ in range(2):
        pyarrow.dataset.write_dataset(
            pyarrow.Table.from_pandas(table),
            "set",
            format="parquet",
            partitioning=parts,
            filesystem=filesystem,
            existing_data_behavior="delete_matching",
        )
    found = pyarrow.dataset.dataset("set", filesystem=store.fs, partitioning=parts)
    assert found.to_table().num_rows == ROWS_OF_TABLE
    assert len(store.fs.find("set")) == 2


@pytest.mark.filterwarnings("ignore:The inplace keyword")
def test_dask(store: FsspecStore, table: pandas.DataFrame) -> None:
    """In threads and in other processes, which get the store by a pickle."""
    frame = dask.dataframe.from_pandas(table, npartitions=3)
    frame.to_parquet("set", filesystem=store.fs)
    for scheduler in ("threads", "processes"):
        found = dask.dataframe.read_parquet("set", filesystem=store.fs)
        assert len(found.compute(scheduler=scheduler)) == ROWS_OF_TABLE


def test_duckdb(store: FsspecStore, table: pandas.DataFrame) -> None:
    """It reads patterns, and writes files and partitions."""
    table.to_parquet("t.parquet", filesystem=store.fs)
    with duckdb.connect() as connection:
        connection.register_filesystem(store.fs)
        connection.execute(
            "COPY (SELECT * FROM 'flaskstore://t.parquet' WHERE a < 10)"
            " TO 'flaskstore://out/t.parquet' (FORMAT parquet)"
        )
        connection.execute(
            "COPY (SELECT * FROM 'flaskstore://t.parquet') TO 'flaskstore://parts'"
            " (FORMAT parquet, PARTITION_BY (b), OVERWRITE_OR_IGNORE)"
        )
        for pattern, count in (("out/*", 10), ("parts/*/*", ROWS_OF_TABLE)):
            query = f"SELECT count(*) FROM read_parquet('flaskstore://{pattern}')"
            assert connection.execute(query).fetchall() == [(count,)]
        with pytest.raises(Exception, match="No files found"):
            connection.execute("SELECT * FROM 'flaskstore://no.parquet'")


def test_zarr(store: FsspecStore) -> None:
    """zarr asks in an event loop, through fsspec's wrapper."""
    storage = zarr.storage.FsspecStore.from_mapper(store.fs.get_mapper("a.zarr"))
    array = zarr.create_array(storage, shape=(100, 100), chunks=(50, 50), dtype="i4")
    array[:] = 7
    options = {"store": store}
    again = zarr.storage.FsspecStore.from_url("flaskstore://a.zarr", options)
    assert int(zarr.open_array(again, mode="r")[:].sum()) == 70_000
    assert store.exists("a.zarr/c/1/1")


class Unprintable:
    """What no table takes."""

    def __str__(self) -> str:
        raise KeyError


def test_library_that_closes_after_an_error(store: FsspecStore) -> None:
    """It stores nothing, neither by create() nor by the filesystem."""
    schema = pyarrow.schema([("a", pyarrow.int64())])
    with pytest.raises(KeyError), store.create("safe.parquet") as out:
        with pyarrow.parquet.ParquetWriter(out, schema):
            raise KeyError
    assert not store.exists("safe.parquet")
    with pytest.raises(KeyError):
        with pyarrow.parquet.ParquetWriter("torn.parquet", schema, filesystem=store.fs):
            raise KeyError
    assert not store.exists("torn.parquet")
    frame = pandas.DataFrame({"a": ["x", Unprintable()]})
    store.put("a.csv", b"good")
    with pytest.raises(KeyError):
        frame.to_csv("flaskstore://a.csv", storage_options={"store": store})
    assert store.read("a.csv") == b"good"


# -- libraries on object_store -------------------------------------------------


@pytest.mark.parametrize("row", ["file", "s3", "s3 (moto)", "abfs", "gs"])
def test_object_store(row: str) -> None:
    """polars scans a file by its URI, and obstore creates one."""
    with started(ROWS[row].server) as place:
        store = FsspecStore.from_url(f"{place.url}/da ta", **place.options)
        with store.create("2026/t é.parquet") as out:
            polars.DataFrame({"a": [1, 2, 3]}).write_parquet(out)
        options = store.object_store_options
        found = polars.scan_parquet(out.file.uri, storage_options=options)
        assert found.filter(polars.col("a") > 1).collect().shape == (2, 1)
        for name in ("aws_secret_access_key", "azure_storage_account_key"):
            assert options.get(name, "no such key") not in repr(options)
        if row in ("s3", "s3 (moto)", "abfs"):
            # Over plain HTTP, which obstore wants to be told elsewhere.
            theirs = {k: v for k, v in options.items() if not k.endswith("allow_http")}
            client = {"allow_http": True}
            other = from_url(store.uri, config=theirs, client_options=client)  # type: ignore
            obstore.put(other, "x.bin", b"123", mode="create")
            assert store.read("x.bin") == b"123"
            with pytest.raises(obstore.exceptions.AlreadyExistsError):
                obstore.put(other, "x.bin", b"1234", mode="create")
