"""The public API is what the snapshot says: a change of it has to be meant."""

from __future__ import annotations

import difflib

import flask_store
from flask_store import settings
from tests.support import public_api


def test_public_api() -> None:
    """Every name, signature and setting is the one in the snapshot."""
    frozen = public_api.SNAPSHOT.read_text(encoding="utf-8").splitlines()
    changes = difflib.unified_diff(
        frozen, [*public_api.lines()], "frozen", "now", n=0, lineterm=""
    )
    found = "\n".join(changes)
    assert not found, (
        f"The public API has changed:\n\n{found}\n\nIs this meant, and does"
        " docs/deprecation.rst allow it? Then write it down in CHANGES.rst, and accept"
        f" it by: {public_api.COMMAND}"
    )


def test_snapshot_has_what_applications_use() -> None:
    """It is not empty by some mistake in how it is made."""
    frozen = public_api.SNAPSHOT.read_text(encoding="utf-8")
    for line in (
        "class flask_store.Store(app: Flask | None = None, name: str | None = None)\n",
        "    save: that of the store\n",
        "class flask_store.exceptions.FileNotFound(message: str = '', ",
        "    bases: StoreError, FileNotFoundError\n",
        "flask_store.signals.file_saved: value\n",
        "class flask_store.sqla.StoredFile(",
        "def flask_store.dialects.register(protocol: str, target: str, ",
        "    def save(self, file: Upload | None, filename: naming.Name | None = None, ",
        "STORE_ON_CONFLICT: choice, by default 'rename'\n",
    ):
        assert line in frozen
    assert all(f"\n{name}: " in frozen for name in settings.KEYS)


def test_star_import() -> None:
    """``from flask_store import *`` brings the public names and no others."""
    names: dict[str, object] = {}
    exec("from flask_store import *", names)
    assert {*names} - {"__builtins__"} == {*flask_store.__all__}
    assert {name for name in vars(flask_store) if name[0].isupper()} <= {*names}


def test_thin_stores_define_no_verb() -> None:
    """LocalStore and S3Store are settings: every operation is FsspecStore's."""
    from flask_store.stores.local import LocalStore
    from flask_store.stores.s3 import S3Store

    settings = {
        "REQUIRED_CONFIGURATION",
        "check_config",
        "defaults",
        "register_route",
        "url",
    }
    assert {
        name
        for store in (LocalStore, S3Store)
        for name in vars(store)
        if not name.startswith("_")
    } <= settings


def test_documented_spellings_are_the_same_objects() -> None:
    """Every documented way to a name leads to one object."""
    from flask_store.exceptions import NotConfiguredError
    from flask_store.file_wapper import FileWrapper as documented
    from flask_store.files import FileWrapper

    assert documented is FileWrapper is flask_store.FileWrapper
    assert flask_store.NotConfiguredError is NotConfiguredError
    assert flask_store.Backend is flask_store.StoreProvider
    assert object.__repr__(flask_store.Backend) == object.__repr__(flask_store.Provider)
