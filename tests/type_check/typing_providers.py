"""Providers of an application's own, as ``make lint`` has them checked."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from flask import Flask
from flask import request
from werkzeug.datastructures import FileStorage

from flask_store import FileWrapper
from flask_store import Provider
from flask_store import Store
from flask_store.providers.local import LocalProvider
from flask_store.providers.temp import TemporaryStore
from flask_store.stores import BaseStore
from flask_store.stores import Upload
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.fsspec import OnConflict
from flask_store.stores.local import LocalStore


class Shelf(BaseStore):
    """A provider for a storage that fsspec does not know."""

    REQUIRED_CONFIGURATION = ("STORE_SHELF",)
    files: t.ClassVar[dict[str, bytes]] = {}

    @classmethod
    def defaults(cls, app: Flask) -> dict[str, t.Any]:
        return {"STORE_SHELF": app.name}

    def configure(self, config: Mapping[str, t.Any]) -> None:
        super().configure(config)
        self.shelf: str = config["STORE_SHELF"]

    def save(self, file: Upload | None) -> FileWrapper:
        if not isinstance(file, FileStorage):
            raise TypeError("A shelf takes uploads only.")
        name = self.safe_filename(file.filename or "")
        self.files[self.key(name)] = file.read()
        return FileWrapper(name, self)

    def exists(self, name: str) -> bool:
        return self.key(name) in self.files

    def join(self, *parts: str) -> str:
        return "/".join(parts)


class Counted(LocalStore):
    """A store with one method more."""

    saved: t.ClassVar[int] = 0

    def save_counted(self, file: Upload, on_conflict: OnConflict) -> FileWrapper:
        """Save, and count."""
        type(self).saved += 1
        return self.save(file, on_conflict=on_conflict)


class OldProvider(LocalProvider):
    """A provider of 0.0.4."""

    def save(self) -> None:
        print(self.safe_filename(self.filename))
        super().save()


app = Flask(__name__)
app.config["STORE_PROVIDER"] = Shelf
shelf: Store[Shelf] = Store(app)
counted: Store[Counted] = Store(app, name="counted")
old: Store[OldProvider] = Store(app, name="old")
named = Store[Shelf](app, name="named")


def use_own() -> None:
    """Each store has the provider that its annotation names."""
    provider = shelf.Provider("avatars")
    t.assert_type(provider, Shelf)
    t.assert_type(provider.shelf, str)
    t.assert_type(provider.save(request.files["afile"]).absolute_url(), str)
    t.assert_type(named.Provider.from_config({}), Shelf)
    t.assert_type(counted.Provider().at("a"), Counted)
    counted.Provider().save_counted(b"...", "error")
    provider.presign_upload("me.jpg")  # type: ignore[attr-defined]


def use_verbs() -> None:
    """The verbs are those of an FsspecStore; a class of one's own is there by at()."""
    t.assert_type(shelf.at("avatars"), Shelf)
    t.assert_type(counted.at(None), Counted)
    t.assert_type(counted.save(b"...", "a.txt"), FileWrapper)
    t.assert_type(counted.open("a.txt", "r"), t.IO[str])
    counted.at("avatars").save_counted(b"...", "error")
    shelf.save(b"...")  # type: ignore[arg-type]
    old.save(b"...")  # type: ignore[arg-type]


def use_old() -> str:
    """The API of 0.0.4."""
    provider = old.Provider(request.files.get("afile"), location="photos")
    provider.save()
    same = old.Provider("me.jpg", location="photos")
    if same.exists():
        t.assert_type(same.open(), t.IO[bytes])
    t.assert_type(TemporaryStore(request.files["afile"]).save(), str)
    return provider.absolute_url + provider.relative_path


def use_current() -> Shelf:
    """Where the store cannot be imported, a cast says what it is."""
    own = t.cast("type[Shelf]", Provider)
    return own("avatars")


def any_store(found: Store) -> FsspecStore:
    """A store whose provider is a subclass is a store."""
    return found.Provider()


any_store(counted)
any_store(shelf)  # type: ignore[arg-type]
