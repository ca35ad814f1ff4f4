"""Every protocol: variants of pictures, which are stored files and made once."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import io
import typing as t

import flask
from PIL import Image

from flask_store import Store
from flask_store.stores.fsspec import FsspecStore
from tests.hard.test_protocols import trips
from tests.support import protocol_worker
from tests.support.protocol_rows import new
from tests.support.protocol_rows import ROWS
from tests.support.protocol_servers import Place
from tests.support.protocol_worker import THREADS
from tests.support.relay import Relay
from tests.support.rounds import rounds
from tests.support.server_contract import behind
from tests.support.server_contract import contenders
from tests.support.server_contract import EachRow
from tests.support.server_contract import PROCESSES
from tests.support.server_contract import served

#: How often each row races in one run.
RACES = rounds(1)
NOW = dt.timedelta(0)


def picture(angle: int = 0) -> bytes:
    """A JPEG with a gradient."""
    output = io.BytesIO()
    Image.linear_gradient("L").rotate(angle).save(output, "JPEG")
    return output.getvalue()


def store_at(place: Place, url: str) -> FsspecStore:
    """An empty store with variants."""
    return FsspecStore.from_config(
        {
            "STORE_PATH": url,
            "STORE_OPTIONS": place.options,
            "STORE_VARIANTS": {},
        }
    )


def stored(store: FsspecStore) -> list[str]:
    """The names under which the variants of a store are kept."""
    assert store.variants is not None
    return sorted(found.key for found in store.variants.keeper(store).ls())


class TestVariants(EachRow):
    """A variant is made once, costs one request, and ends with its picture."""

    def test_race(self, place: Place, row: str) -> None:
        """4 processes of 16 threads ask for one new variant: each of them gets it, each
        process decodes the picture at most once, one is stored, and where creation is
        exclusive one process has published it."""
        patient = dataclasses.replace(
            place, options={**place.options, **ROWS[row].patience}
        )
        url = new(place)
        with contextlib.ExitStack() as stack:
            if place.url.startswith("memory://"):

                def contend(folder: str) -> list[t.Any]:
                    inside = store_at(place, url).at(folder)
                    asked = protocol_worker.ask_for_variant(inside, PROCESSES * THREADS)
                    return [asked]

            else:
                contend = stack.enter_context(contenders(url, patient, "race_variants"))
            for number in range(RACES):
                # Each in a store of its own, so that what is there is of this race.
                store = store_at(place, url).at(f"round-{number}")
                before = stored(store)
                store.save(picture(), "picture.jpg", on_conflict="overwrite")
                asked = contend(store.destination)
                assert [error for each in asked for error in each["errors"]] == []
                digests = [digest for each in asked for digest in each["digests"]]
                assert len(digests) == PROCESSES * THREADS
                assert len(set(digests)) == 1
                assert len(set(stored(store)) - set(before)) == 1
                assert max(each["decoded"] for each in asked) == 1
                published = sum(each["published"] for each in asked)
                if ROWS[row].exclusive and not ROWS[row].no_race:
                    assert published == 1
                assert published >= 1
                # Nothing unfinished is left, which sweep would remove.
                assert store.sweep(NOW, dry_run=True) == []

    def test_requests(self, place: Place, row: str) -> None:
        """A variant that is there costs what reading a file costs. If the version of
        the picture is not known, the storage is asked for it before."""
        served(place)
        with Relay(place.port) as relay:
            there = behind(relay, place)
            store = store_at(there, new(there))
            key = store.save(picture(), "picture.jpg").key
            store.file(key).variant(width=64).make()
            (known,) = store.ls()

            def read(file: t.Any) -> int:
                return min(trips(relay, file.read) for _ in range(3))

            plain = read(store.file(key))
            asked = min(trips(relay, store.file(key).stat) for _ in range(3))
            unknown = [store.file(key).variant(width=64) for _ in range(3)]
            assert min(trips(relay, v.read) for v in unknown) == asked + plain
            if known.etag is not None:
                assert read(known.variant(width=64)) == plain

    def test_requests_of_route(self, place: Place, row: str) -> None:
        """The application asks as often for a variant as for a file."""
        served(place)
        with Relay(place.port) as relay:
            there = behind(relay, place)
            app = flask.Flask(__name__)
            app.config.update(
                STORE_PATH=new(there),
                STORE_OPTIONS=there.options,
                STORE_SERVE="proxy",
                STORE_VARIANTS={"thumb": {"width": 64}},
            )
            store = Store(app).Provider()
            store.save(picture(), "picture.jpg")
            (file,) = store.ls()
            with app.test_request_context():
                plain, thumb = file.relative_url(), file.variant("thumb").url()
            client = app.test_client()

            def get(url: str) -> None:
                with contextlib.closing(client.get(url)) as response:
                    assert response.status_code == 200
                    assert response.data

            get(thumb)
            counts = [
                min(trips(relay, lambda: get(url)) for _ in range(3))  # noqa: B023
                for url in (f"/{plain.lstrip('/')}", thumb)
            ]
            if file.etag is not None:
                assert counts[0] == counts[1]
            else:
                stat = min(trips(relay, store.file(file.key).stat) for _ in range(3))
                assert counts[1] <= counts[0] + stat

    def test_life(self, place: Place, row: str) -> None:
        """A variant ends with its picture. A picture that is replaced has another one;
        sweep removes the old one, and those whose picture is gone, and keeps others."""
        url = new(place)
        store = store_at(place, url)
        kept, replaced, gone, deleted = (
            store.save(picture(), name)
            for name in ("kept.jpg", "replaced.jpg", "gone.jpg", "deleted.jpg")
        )
        for file in (kept, replaced, gone, deleted):
            assert file.variant(width=64).make()
            assert not store.file(file.key).variant(width=64).make()
        assert len(stored(store)) == 4
        deleted.delete()
        assert len(stored(store)) == 3
        old = replaced.variant(width=64).read()
        replaced = store.save(picture(90), replaced.key, on_conflict="overwrite")
        assert replaced.variant(width=64).read() != old
        assert len(stored(store)) == 4
        # Somebody who knows of no variants.
        bare = FsspecStore.from_url(url, **place.options)
        bare.file(gone.key).delete()
        over = store.sweep(NOW, dry_run=True)
        assert len(over) == 2
        assert store.sweep(NOW) == over
        assert len(stored(store)) == 2
        assert kept.variant(width=64).exists()
        assert replaced.variant(width=64).exists()
        store.delete(kept, replaced)
        assert stored(store) == []
