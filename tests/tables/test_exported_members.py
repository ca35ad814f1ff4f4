"""The public names, pinned: one that comes or goes has to be meant."""

from __future__ import annotations

import importlib
import itertools
import types

import pytest

import flask_store

PUBLIC = {
    "flask_store": {
        "Backend",
        "FileWrapper",
        "NotConfiguredError",
        "Provider",
        "Store",
        "StoreError",
        "StoreProvider",
        "current_store",
    },
    "flask_store.exceptions": {
        "AlreadyConfirmed",
        "BadLink",
        "BadPicture",
        "ClientError",
        "FileExists",
        "FileNotFound",
        "InvalidName",
        "InvalidProperty",
        "NoFile",
        "NoLength",
        "NotConfiguredError",
        "StoreDenied",
        "StoreError",
        "StoreFull",
        "StoreUnavailable",
        "TooLarge",
        "VersionGone",
        "WrongChecksum",
        "WrongOffset",
        "WrongType",
    },
    "flask_store.file_wapper": {"FileWrapper"},
    "flask_store.filetypes": {
        "ALL",
        "ARCHIVES",
        "AUDIO",
        "DATA",
        "DOCUMENTS",
        "IMAGES",
        "TEXT",
        "VIDEO",
    },
    "flask_store.signals": {
        "file_committed",
        "file_deleted",
        "file_saved",
        "upload_failed",
        "upload_finished",
        "variant_made",
    },
    "flask_store.images": {"Spec", "Variant"},
}

# What an application may call, on the objects that it gets to hold.
MEMBERS = {
    "flask_store.Store": {
        "Provider",
        "absolute_path",
        "absolute_url",
        "at",
        "authorize",
        "check_config",
        "confirm",
        "copy",
        "create",
        "delete",
        "errorhandler",
        "exists",
        "file",
        "fs",
        "raw_fs",
        "glob",
        "init_app",
        "key",
        "ls",
        "move",
        "object_store_options",
        "open",
        "pending",
        "presign_upload",
        "provider",
        "put",
        "read",
        "register_route",
        "relative_url",
        "response",
        "safe_filename",
        "save",
        "signed_url",
        "stat",
        "storage_options",
        "stream",
        "sweep",
        "uri",
        "usage",
    },
    "flask_store.files.FileWrapper": {
        "absolute_path",
        "absolute_url",
        "close",
        "closed",
        "cache_control",
        "checksum",
        "content_type",
        "delete",
        "download",
        "download_name",
        "etag",
        "exists",
        "filename",
        "flush",
        "mode",
        "metadata",
        "modified",
        "name",
        "of_row",
        "open",
        "provider",
        "read",
        "read1",
        "readable",
        "readall",
        "readinto",
        "readline",
        "relative_path",
        "relative_url",
        "seek",
        "seekable",
        "response",
        "signed_url",
        "size",
        "stat",
        "store",
        "stream",
        "tell",
        "to_dict",
        "upload",
        "uri",
        "writable",
        "image_size",
        "variant",
    },
    "flask_store.stores.BaseStore": {
        "REQUIRED_CONFIGURATION",
        "absolute_path",
        "absolute_url",
        "app_defaults",
        "at",
        "attach",
        "check_config",
        "configure",
        "defaults",
        "destination",
        "exists",
        "from_config",
        "join",
        "key",
        "longest_key",
        "register_route",
        "relative_path",
        "relative_url",
        "safe_filename",
        "save",
        "upload",
        "whole_url",
    },
    "flask_store.stores.fsspec.FsspecStore": {
        "background",
        "confirm",
        "copy",
        "create",
        "delete",
        "fetch",
        "file",
        "from_url",
        "fs",
        "glob",
        "identity",
        "in_greenlets",
        "ls",
        "move",
        "object_store_options",
        "open",
        "presign_upload",
        "public_url",
        "put",
        "raw_fs",
        "read",
        "response",
        "resumable_prefix",
        "resumable_url",
        "signed_url",
        "stat",
        "storage_link",
        "storage_options",
        "stream",
        "pending",
        "stream_version",
        "sweep",
        "upload_prefix",
        "upload_url",
        "uri",
        "url",
        "usage",
        "variant_url",
        "variants",
        "variants_prefix",
        "waits",
    },
    "flask_store.stores.local.LocalStore": set(),
    "flask_store.stores.s3.S3Store": set(),
}


def public(found: object) -> set[str]:
    """The names without an underscore that something has, its modules aside."""
    return {
        name
        for name, value in vars(found).items()
        if not name.startswith("_")
        and not isinstance(value, types.ModuleType)
        and name not in {"annotations", "t"}
    }


def own(module: types.ModuleType) -> set[str]:
    """The public names of a module, without what it only imports to use."""
    for name in dir(module):  # what comes only when it is asked for
        getattr(module, name)
    used = {"HTTPException", "Namespace"}
    return {*public(module), *set(dir(module)) - set(vars(module))} - used


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names(name: str) -> None:
    """A module exports these names and no others."""
    assert own(importlib.import_module(name)) == PUBLIC[name]


@pytest.mark.parametrize("name", MEMBERS)
def test_public_members(name: str) -> None:
    """A class adds these members to those that it inherits, and no others."""
    module, _, attribute = name.rpartition(".")
    cls = getattr(importlib.import_module(module), attribute)
    # FsspecStore is written in several files: a class that has no pins is a part.
    parts = itertools.takewhile(lambda c: not _is_pinned(c), cls.__mro__[1:-1])
    own = [cls, *parts]
    inherited = {found for c in cls.__mro__ if c not in own for found in vars(c)}
    assert set().union(*map(public, own)) - inherited == MEMBERS[name]


def _is_pinned(cls: type) -> bool:
    return f"{cls.__module__}.{cls.__name__}" in MEMBERS


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
    assert public(LocalStore) | public(S3Store) <= settings


def test_documented_spellings_are_the_same_objects() -> None:
    """Every documented way to a name leads to one object."""
    from flask_store.exceptions import NotConfiguredError
    from flask_store.file_wapper import FileWrapper as documented
    from flask_store.files import FileWrapper

    assert documented is FileWrapper is flask_store.FileWrapper
    assert flask_store.NotConfiguredError is NotConfiguredError
    assert flask_store.Backend is flask_store.StoreProvider
    assert object.__repr__(flask_store.Backend) == object.__repr__(flask_store.Provider)
