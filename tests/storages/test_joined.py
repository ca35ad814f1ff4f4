"""How a storage joins the pieces of a resumable upload, and what happens where it does
not."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import io
import tempfile
import typing as t

import pytest
from azure.storage.blob import BlobClient
from werkzeug import Request
from werkzeug import Response

from flask_store import direct
from flask_store.dialects import s3 as s3_dialect
from flask_store.dialects.claims import Claim
from flask_store.direct import pieces
from flask_store.direct import resumable
from flask_store.exceptions import ClientError
from flask_store.exceptions import WrongOffset
from flask_store.stores.fsspec import FsspecStore
from flask_store.uploads.source import Source
from tests.support import protocol_rows
from tests.support.counted_reads import count_reads
from tests.support.gcs_server import fake_gcs
from tests.support.protocol_rows import new
from tests.support.protocol_servers import azurite
from tests.support.protocol_servers import Place
from tests.support.proxy import Proxy
from tests.support.resuming_worker import make_app
from tests.support.resuming_worker import provider
from tests.support.rewriting_proxy import Between
from tests.support.server_contract import started
from tests.support.servers import S3Server
from tests.support.servers import serve

MIB = 1024**2
TYPE = "text/x-odd"
KEPT = {"cache_control": "max-age=60", "metadata": {"author": "me"}}


class Arrived:
    """An upload that has arrived in pieces of these sizes.

    :param size: of all of them, if not all of them are to arrive.
    """

    def __init__(self, place: Place, *sizes: int, size: int = 0, **kept: t.Any) -> None:
        self.app = make_app(new(place), place.options)
        with self.app.app_context():
            self.store: FsspecStore = provider(self.app)
            self.form = self.store.presign_upload("a.odd", TYPE, max_size=10**9, **kept)
            self.claim: Claim = direct.read(self.store, self.form.token)
        self.data = b""
        resumable.begin(self.store, self.claim, size or sum(sizes))
        for number, length in enumerate(sizes):
            self.append(bytes([number]) * length)

    @property
    def dialect(self) -> t.Any:
        """That of the store."""
        return self.store.dialect

    def append(self, data: bytes) -> None:
        """One more piece."""
        offset = len(self.data)
        done = resumable.append(self.store, self.claim, offset, iter([data]))
        self.data += data
        assert done.offset == len(self.data)

    def confirm(self) -> t.Any:
        """Publish it."""
        with self.app.app_context():
            f = self.store.confirm(self.form.token)
        assert f.read() == self.data
        if self.dialect.keeps_properties:
            assert f.content_type == TYPE
        assert [*self.dialect.private(self.claim.id)] == [
            (self.claim.mark.rpartition("/")[2], 22)
        ]
        return f


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes of files this process has read."""
    return count_reads(monkeypatch)


# -- any storage ------------------------------------------------------------------


@pytest.fixture
def memory() -> t.Iterator[Place]:
    """Pieces in memory."""
    with protocol_rows.memory() as place:
        yield place


def test_listing_that_lags(memory: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is told of too few pieces appends nothing twice."""
    upload = Arrived(memory, 10, 10, size=30)
    real = upload.dialect.private

    def lagging(beginning: str) -> t.Iterator[tuple[str, int]]:
        yield from list(real(beginning))[:-1]

    with monkeypatch.context() as patch:
        patch.setattr(upload.dialect, "private", lagging)
        assert resumable.look(upload.store, upload.claim).offset == 10
        for offset in (10, 20):
            with pytest.raises(WrongOffset):
                resumable.append(upload.store, upload.claim, offset, iter([b"x" * 10]))
    upload.append(b"y" * 10)
    upload.confirm()


def test_too_many_pieces(memory: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends a few bytes at a time is told what to do."""
    monkeypatch.setattr(pieces, "MOST_PIECES", 3)
    upload = Arrived(memory, 1, 1, 1, size=10)
    with pytest.raises(ClientError, match="larger requests") as caught:
        upload.append(b"x")
    assert caught.value.code == 400
    assert resumable.look(upload.store, upload.claim).offset == 3


@pytest.mark.parametrize(
    ("length", "size"),
    [(0, 8), (100, 8), (1000, 10), (10_000, 64), (64_000, 64), (1_000_000, 1000)],
)
def test_size_of_a_piece(length: int, size: int) -> None:
    """Few are to be joined, and a killed process does not lose many bytes."""
    assert pieces.piece_size(length * MIB) == size * MIB


def test_form_and_pieces(memory: Place) -> None:
    """A token that was used for both publishes the form, and forgets the pieces."""
    upload = Arrived(memory, 10, 10)
    upload.data = b"of the form"
    with upload.dialect.stage(Source(io.BytesIO(upload.data), None)) as staged:
        upload.dialect.put_file(staged, upload.claim.staged, TYPE, "create")
    upload.confirm()


# -- S3 -----------------------------------------------------------------------------


@pytest.fixture
def proxied(
    seaweedfs_server: S3Server, seaweedfs_bucket: str
) -> t.Iterator[tuple[Proxy, Place]]:
    """A bucket behind a proxy that counts."""
    with Proxy(seaweedfs_server.endpoint_url) as proxy:
        options = {
            "endpoint_url": f"http://127.0.0.1:{proxy.port}",
            "key": seaweedfs_server.access_key,
            "secret": seaweedfs_server.secret_key,
        }
        yield proxy, Place(f"s3://{seaweedfs_bucket}", proxy.port, options)


@pytest.mark.slow
def test_s3_copies_large_pieces_and_sends_small_ones(
    proxied: tuple[Proxy, Place], read: list[int]
) -> None:
    """A part that S3 does not copy, because it is too small, goes with the next one.
    The last one may be of any size."""
    proxy, place = proxied
    upload = Arrived(place, 5 * MIB, 10, 20, 5 * MIB, 6 * MIB, 30, **KEPT)
    assert upload.dialect.can_join()
    del proxy.requests[:], read[:]
    f = upload.confirm()
    parts = [r for r in proxy.requests if "partNumber=" in r.path]
    assert len(parts) == 4
    assert sum(part.sent > MIB for part in parts) == 1
    assert f.cache_control == "max-age=60"
    assert f.metadata == {"author": "me"}
    # Of all pieces by one request.
    assert sum(r.method == "DELETE" for r in proxy.requests) == 1


@pytest.mark.slow
def test_s3_joins_exclusively_what_no_put_could_carry(
    proxied: tuple[Proxy, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above 5 GiB, too, a key that is taken is refused."""
    _, place = proxied
    upload = Arrived(place, 5 * MIB, 5 * MIB, 5 * MIB)
    monkeypatch.setattr(s3_dialect, "SINGLE_LIMIT", 6 * MIB)
    upload.store.put(upload.form.key, b"taken")
    parts = resumable.arrived(upload.store, upload.claim)
    assert parts is not None
    with pytest.raises(FileExistsError):
        upload.dialect.adopt(upload.claim, *parts)
    assert upload.store.read(upload.form.key) == b"taken"
    upload.store.delete(upload.form.key)
    upload.confirm()
    assert upload.store.sweep(dt.timedelta(seconds=-5), dry_run=True) == []


@pytest.mark.slow
def test_s3_without_the_condition_for_parts(
    proxied: tuple[Proxy, Place], read: list[int]
) -> None:
    """Some servers know it for PUT alone. Then the bytes go through the process."""
    _, place = proxied
    upload = Arrived(place, 5 * MIB, 10, **KEPT)
    upload.dialect._conditional_joins = False
    del read[:]
    assert upload.confirm().metadata == {"author": "me"}
    assert sum(read) >= len(upload.data)


@pytest.mark.slow
def test_s3_stores_it_as_the_settings_say(proxied: tuple[Proxy, Place]) -> None:
    """What is joined is in the storage class of new objects."""
    _, place = proxied
    more = {"s3_additional_kwargs": {"StorageClass": "STANDARD_IA"}}
    there = dataclasses.replace(place, options={**place.options, **more})
    f = Arrived(there, 10, 20).confirm()
    assert f.stat().kept["StorageClass"] == "STANDARD_IA"


# -- Google -------------------------------------------------------------------------


@pytest.mark.slow
def test_google_composes_in_steps(
    read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request takes 32 objects. What is made in between is removed."""
    with started(fake_gcs) as place:
        upload = Arrived(place, *[1000] * 70, **KEPT)
        # The emulator composes, and takes no notice of the condition.
        assert not upload.dialect.can_join()
        upload.dialect._conditional_joins = True
        del read[:]
        f = upload.confirm()
        assert sum(read) < 1000
        assert (f.cache_control, f.metadata) == ("max-age=60", {"author": "me"})
        assert len(upload.dialect.left()) == 1  # the mark


# -- Azure --------------------------------------------------------------------------


class Linking(Between):
    """Azurite with "Put Block From URL", which it does not have.

    :param connection: of azurite's account.
    """

    def __init__(self, port: int, connection: str) -> None:
        super().__init__(port)
        self.connection = connection
        #: How many blocks were copied.
        self.copied = 0

    def _forward(self, request: Request) -> Response:
        link = request.headers.get("x-ms-copy-source")
        if link is None or request.args.get("comp") != "block":
            return super()._forward(request)
        data = BlobClient.from_blob_url(link).download_blob().readall()
        _, _, container, name = request.path.split("/", 3)
        blob = BlobClient.from_connection_string(self.connection, container, name)
        name = base64.b64decode(request.args["blockid"]).decode()
        blob.stage_block(name, data)  # which encodes it
        self.copied += 1
        headers = {"x-ms-request-id": "1", "x-ms-request-server-encrypted": "true"}
        return Response(status=201, headers=headers)


@pytest.mark.far
def test_azure_copies_pieces_into_blocks(read: list[int]) -> None:
    """The service reads them by links that are signed for it."""
    with started(azurite) as place:
        proxy = Linking(place.port, place.options["connection_string"])
        with serve(proxy) as url:
            there = place.moved(int(url.rpartition(":")[2]))
            upload = Arrived(there, 3 * MIB, 10, 2 * MIB, **KEPT)
            del read[:]
            f = upload.confirm()
            assert f.cache_control == "max-age=60"
            # The proxy changes the case of headers.
            assert list(f.metadata.values()) == ["me"]
        assert proxy.copied == 3
        assert sum(read) < 1000


@pytest.mark.far
def test_azure_that_copies_nothing_gets_block_by_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No temporary file has more than a piece, and the key is taken once."""
    with started(azurite) as place:
        upload = Arrived(place, 3 * MIB, 10, 2 * MIB, **KEPT)
        largest = watch_spools(monkeypatch)
        f = upload.confirm()
        assert not upload.dialect._reads_links
        assert max(largest) <= 3 * MIB
        assert f.metadata == {"author": "me"}
        again = Arrived(place, 10, 20)
        again.store.put(again.form.key, b"taken")
        parts = resumable.arrived(again.store, again.claim)
        assert parts is not None
        with pytest.raises(FileExistsError):
            again.dialect.adopt(again.claim, *parts)


def watch_spools(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes that temporary files get from now on."""
    sizes = [0]
    real = tempfile.SpooledTemporaryFile.write

    def write(self: t.Any, data: bytes) -> int:
        count = real(self, data)
        sizes.append(self.tell())
        return count

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "write", write)
    return sizes


# -- servers of files -----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("row", ["sftp+paramiko", "sftp+sshfs", "smb", "webdav+http"])
def test_through_the_process(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not join gets the bytes once more, from where they are: no
    temporary file has any of them."""
    with started(protocol_rows.ROWS[row].server) as place:
        upload = Arrived(place, 3 * MIB, 10, 2 * MIB)
        upload.dialect.copies = False
        largest = watch_spools(monkeypatch)
        upload.confirm()
        assert max(largest) < 1000


@pytest.mark.parametrize("row", ["sftp+paramiko", "sftp+sshfs", "smb"])
def test_server_joins(row: str, read: list[int]) -> None:
    """No byte goes through the process, also of many pieces, and of large ones."""
    with started(protocol_rows.ROWS[row].server) as place:
        upload = Arrived(place, *[7] * 20, 3 * MIB, 17 * MIB, 5)
        del read[:]
        upload.confirm()
        assert sum(read) < 1000
