"""The table of settings: what each key takes, what it becomes, what is refused."""

from __future__ import annotations

import datetime as dt
import json
import pathlib
import typing as t

import pytest
from flask import Flask

from flask_store import Store
from flask_store.exceptions import NotConfiguredError
from flask_store.secrecy import secrets_in
from flask_store.settings import INLINE_TYPES
from flask_store.settings import KEYS
from flask_store.settings import Settings
from flask_store.settings import slips
from flask_store.settings import TABLE
from flask_store.stores.local import LocalStore
from tests.support.secret import SECRET

# What is given -> what the store uses.
Good: t.TypeAlias = list[tuple[t.Any, t.Any]]

SWITCH: Good = [
    (True, True),
    (False, False),
    (1, True),
    (0, False),
    *((word, True) for word in ("true", "True", "TRUE", "1", "yes", "On", " on ")),
    *((word, False) for word in ("false", "False", "0", "no", "No", "OFF", "off\n")),
]
NO_SWITCH = ["maybe", "2", "t", "None", "truefalse", 2, -1, 0.5, [], {}, b"true"]
DURATION: Good = [
    (60, 60),
    ("60", 60),
    (" 60 ", 60),
    (1.5, 1.5),
    ("1.5", 1.5),
    ("60.0", 60),
    (dt.timedelta(minutes=2), 120),
    (dt.timedelta(milliseconds=2500), 2.5),
]
NO_DURATION = [
    -1,
    -0.5,
    "-1",
    "1h",
    "1 s",
    "ten",
    "1e3",
    "inf",
    "nan",
    float("inf"),
    float("nan"),
    10**400,
    "9" * 18,
    dt.timedelta.max,
    dt.timedelta(seconds=-1),
    True,
    False,
    [],
    {},
]
NO_TEXT: list[t.Any] = [5, 0, 1.5, True, False, [], ["x"], {"a": "b"}, b"x", object()]
LINES = ["two\nlines", "end\n", "tab\t", "\x00", "\x7f"]
ADDRESS: Good = [
    ("https://example.com", "https://example.com"),
    ("http://localhost:9000/photos/", "http://localhost:9000/photos/"),
    ("HTTPS://[::1]:80", "HTTPS://[::1]:80"),
]
NO_ADDRESS = [
    "example.com",
    "localhost:9000",
    "//example.com",
    "https://",
    "https:///photos",
    "ftp://example.com",
    "https://example.com?a=b",
    "https://example.com#a",
    f"https://me:{SECRET}@example.com",
    f"me:{SECRET}@example.com",
    *NO_TEXT,
    *LINES,
]


class BytesPath:
    """A path as bytes, which no setting takes."""

    def __fspath__(self) -> bytes:
        return b"/srv/c"


PATH: Good = [
    ("/srv/a", "/srv/a"),
    ("uploads", "uploads"),
    (pathlib.PurePosixPath("/srv/b"), "/srv/b"),
]
OPTIONS: Good = [
    ({"timeout": 5}, {"timeout": 5}),
    ('{"timeout": 5, "a": {"b": [1, null]}}', {"timeout": 5, "a": {"b": [1, None]}}),
    (" {} ", {}),
    ({}, {}),
]
NO_OPTIONS = [
    "x",
    "{",
    "[]",
    "5",
    '{"a": 1} {}',
    f'{{"secret": "{SECRET}"',
    f'["{SECRET}"]',
    [("secret", SECRET)],
    {5: SECRET},
    5,
    True,
    b"{}",
]

GOOD: dict[str, Good] = {
    "STORE_PROVIDER": [(LocalStore, LocalStore), ("my.Store", "my.Store")],
    "STORE_PATH": [*PATH, ("s3://bucket/a b", "s3://bucket/a b"), ("5", "5")],
    "STORE_FSYNC": SWITCH,
    "STORE_FILE_MODE": [
        (0o640, 0o640),
        *((text, 0o640) for text in ("640", "0640", "0o640", " 640 ")),
        ("600", 0o600),
        ("666", 0o666),
    ],
    "STORE_FOLDER_MODE": [
        (0o750, 0o750),
        *((text, 0o750) for text in ("750", "0750", "0o750")),
        ("700", 0o700),
        ("2775", 0o2775),
        ("03777", 0o3777),
    ],
    "STORE_STREAM_UPLOADS": SWITCH,
    "STORE_ON_CONFLICT": [(w, w) for w in ("rename", "error", "overwrite")],
    "STORE_OPTIONS": OPTIONS,
    "STORE_DOMAIN": ADDRESS,
    "STORE_URL_PREFIX": [("/a/b", "/a/b"), ("a/", "a/"), ("/", "/")],
    "STORE_HOST": [
        ("files.example.com", "files.example.com"),
        ("<tenant>.example.com:5000", "<tenant>.example.com:5000"),
    ],
    "STORE_SUBDOMAIN": [("files", "files"), ("<tenant>", "<tenant>")],
    "STORE_SERVE": [(w, w) for w in ("auto", "proxy", "redirect", "off")],
    "STORE_SIGNED_URLS": SWITCH,
    "STORE_RESUMABLE": SWITCH,
    "STORE_RESUMABLE_EXPIRES": [*DURATION, (1, 1)],
    "STORE_VARIANTS": [
        ({}, {}),
        ("{}", {}),
        ({"thumb": {"width": 400}}, {"thumb": {"width": 400}}),
        ('{"a_B-1": {"height": 5}}', {"a_B-1": {"height": 5}}),
        ({"thumb": '{"width": 400}'}, {"thumb": {"width": 400}}),
    ],
    "STORE_VARIANTS_STORE": [("variants", "variants")],
    "STORE_IMAGE_FORMATS": [
        (["jpeg", "PNG"], ("jpeg", "png")),
        (("webp",), ("webp",)),
        ("jpeg, gif ,", ("jpeg", "gif")),
        ('["avif", "heif"]', ("avif", "heif")),
    ],
    "STORE_IMAGE_MAX_PIXELS": [(1, 1), ("50000000", 50_000_000)],
    "STORE_IMAGE_MAX_SIZE": [(1, 1), ("20 MB", 20_000_000)],
    "STORE_IMAGE_MAKERS": [(1, 1), ("4", 4)],
    "STORE_TIMEOUT": [*DURATION, (1, 1)],
    "STORE_URL_EXPIRES": [*DURATION, (1, 1)],
    "STORE_ALLOW": [
        (["jpg", "PNG"], ("jpg", "png")),
        ((".tar.gz",), (".tar.gz",)),
        ("jpg, c++ ,", ("jpg", "c++")),
        ('["jpg", "7z"]', ("jpg", "7z")),
        ("*", ("*",)),
    ],
    "STORE_INLINE_TYPES": [
        (["image/*", "Text/Plain"], ("image/*", "text/plain")),
        (("image/png",), ("image/png",)),
        ("image/*", ("image/*",)),
        ("image/*, Application/PDF ,", ("image/*", "application/pdf")),
        ('["image/*", "text/plain"]', ("image/*", "text/plain")),
        ([], ()),
        ("[]", ()),
    ],
    "STORE_CACHE_CONTROL": [
        (value, value)
        for value in (
            "no-cache",
            "public, max-age=3600",
            "private,no-store",
            "max-age=60, stale-while-revalidate=30, immutable",
            'private="Set-Cookie, X-A", max-age=1',
        )
    ],
    "STORE_X_ACCEL_REDIRECT": [("/files/", "/files/"), ("/files", "/files")],
    "STORE_STRIP_METADATA": SWITCH,
    "STORE_BACKGROUND": SWITCH,
    "STORE_SPOOL_PATH": PATH,
    "STORE_SPOOL_QUOTA": [
        (1, 1),
        (5_000_000, 5_000_000),
        ("5000000", 5_000_000),
        ("17 B", 17),
        ("1 GiB", 1024**3),
        ("512 KiB", 512 * 1024),
        ("512kib", 512 * 1024),
        ("1 MB", 1_000_000),
        ("2kB", 2000),
        ("64M", 64 * 1024**2),
        ("1 g", 1024**3),
        ("2 TiB", 2 * 1024**4),
        ("3 TB", 3 * 1000**4),
        (" 7 K ", 7 * 1024),
    ],
    "STORE_SPOOL_UPLOADS": [(1, 1), (16, 16), ("16", 16), (" 4 ", 4)],
    "STORE_SPOOL_DRAIN": [*DURATION, (0, 0), ("0", 0), (0.25, 0.25)],
    "STORE_S3_BUCKET": [
        ("photos", "photos"),
        (
            "arn:aws:s3:eu-west-1:1:accesspoint/a",
            "arn:aws:s3:eu-west-1:1:accesspoint/a",
        ),
    ],
    "STORE_S3_REGION": [("eu-central-1", "eu-central-1")],
    "STORE_S3_ACCESS_KEY": [("AK", "AK"), ("123", "123")],
    "STORE_S3_SECRET_KEY": [(SECRET, SECRET), ("a b/c+d=", "a b/c+d=")],
    "STORE_S3_SESSION_TOKEN": [("FwoG", "FwoG")],
    "STORE_S3_ENDPOINT_URL": ADDRESS,
    "STORE_S3_PUBLIC_ENDPOINT_URL": ADDRESS,
    "STORE_S3_ADDRESSING_STYLE": [(w, w) for w in ("auto", "path", "virtual")],
    "STORE_S3_ACL": [("public-read", "public-read")],
    "STORE_S3_SSE": [(w, w) for w in ("AES256", "aws:kms", "aws:kms:dsse")],
    "STORE_S3_SSE_KMS_KEY_ID": [
        ("alias/x", "alias/x"),
        ("arn:aws:kms:eu-west-1:1:key/a-b", "arn:aws:kms:eu-west-1:1:key/a-b"),
    ],
    "STORE_S3_STORAGE_CLASS": [("STANDARD_IA", "STANDARD_IA"), ("cold-1", "cold-1")],
    "STORE_S3_TAGS": [
        ({"a b": "ä+-=._:/@"}, {"a b": "ä+-=._:/@"}),
        ('{"a": ""}', {"a": ""}),
        ({"a" * 128: "b" * 256}, {"a" * 128: "b" * 256}),
        ({str(n): "x" for n in range(10)}, {str(n): "x" for n in range(10)}),
        ({}, {}),
    ],
    "STORE_S3_REQUESTER_PAYS": SWITCH,
    "STORE_S3_CONDITIONAL_WRITES": [*SWITCH, ("auto", "auto")],
    "STORE_S3_OPTIONS": OPTIONS,
}

BAD: dict[str, list[t.Any]] = {
    "STORE_PROVIDER": [*NO_TEXT, *LINES],
    "STORE_PATH": [BytesPath(), *NO_TEXT, *LINES, f"s3://AK:{SECRET}@bucket/\n"],
    "STORE_FSYNC": NO_SWITCH,
    "STORE_FILE_MODE": [
        *(640, 644, 0, -1, 0o755, 0o4644, 0o2644, 0o444, 0o200, 10**400),
        *("rw-r-----", "u=rw", "888", "64", "0x1a0", "0640000", "755", "-640"),
        *(True, False, 416.0, [], {}, b"640"),
    ],
    "STORE_FOLDER_MODE": [
        *(750, 755, 0, -1, 0o644, 0o500, 0o4755, 0o77777, 10**400),
        *("rwxr-x---", "u=rwx", "999", "75", "0x1e8", "00002775", "644", "6755"),
        *(True, False, 488.0, [], {}, b"750"),
    ],
    "STORE_STREAM_UPLOADS": NO_SWITCH,
    "STORE_ON_CONFLICT": ["replace", "Rename", " error", True, 5, [], {}],
    "STORE_OPTIONS": NO_OPTIONS,
    "STORE_DOMAIN": NO_ADDRESS,
    "STORE_URL_PREFIX": [*NO_TEXT, *LINES, "https://example.com/a"],
    "STORE_SERVE": ["always", "Off", " off", True, False, 0, [], {}],
    "STORE_SIGNED_URLS": NO_SWITCH,
    "STORE_RESUMABLE": NO_SWITCH,
    "STORE_RESUMABLE_EXPIRES": [*NO_DURATION, 0, 0.5, "0", dt.timedelta()],
    "STORE_VARIANTS": [
        {"thumb": None},
        {"thumb": 400},
        {"thumb": "400"},
        {"a.b": {"width": 1}},
        {"a/b": {"width": 1}},
        {"": {"width": 1}},
        {"x" * 500 + ".": {"width": 1}},
        {5: {"width": 1}},
        ["thumb"],
        "thumb",
        "{'thumb': {}}",
        *(given for given in NO_OPTIONS if SECRET not in str(given)),
    ],
    "STORE_VARIANTS_STORE": [*NO_TEXT, *LINES],
    "STORE_IMAGE_FORMATS": ["svg", "jpeg png", ["jpeg", 5], [], "[]", ",", {}, 5, True],
    "STORE_IMAGE_MAX_PIXELS": [0, -1, "0", "1 MP", 1.0, True, [], {}],
    "STORE_IMAGE_MAX_SIZE": [0, "0", "0 GiB", "1.5 GiB", 1e9, True, [], {}, b"1"],
    "STORE_IMAGE_MAKERS": [0, -1, "0", "many", 1.0, True, False, [], {}],
    "STORE_TIMEOUT": [*NO_DURATION, 0, 0.5, "0", dt.timedelta()],
    "STORE_URL_EXPIRES": [*NO_DURATION, 0, 0.5, "0", dt.timedelta()],
    "STORE_ALLOW": [
        "*.jpg",
        "jpg png",
        "image/png",
        "..jpg",
        ["jpg", 5],
        [],
        "[]",
        ",",
        {},
        5,
        True,
        b"jpg",
    ],
    "STORE_INLINE_TYPES": [
        "png",
        "image/png image/gif",
        "image/png;q=1",
        ["png"],
        ["image/png", 5],
        ["image/png", None],
        ["image/png", ""],
        '["image/png"',
        '["png"]',
        {"image/png": True},
        b"image/png",
        5,
        True,
    ],
    "STORE_CACHE_CONTROL": [
        "5",
        "3600",
        "max-age: 60",
        "public max-age=1",
        "public,",
        "public;max-age=1",
        "no-cache\r\nSet-Cookie: a=b",
        *NO_TEXT,
    ],
    "STORE_HOST": ["https://example.com", "example.com/files", *NO_TEXT, *LINES],
    "STORE_SUBDOMAIN": ["https://files", "files/a", *NO_TEXT, *LINES],
    "STORE_X_ACCEL_REDIRECT": ["files", "files/", *NO_TEXT, "/files/\n"],
    "STORE_STRIP_METADATA": NO_SWITCH,
    "STORE_BACKGROUND": NO_SWITCH,
    "STORE_SPOOL_PATH": [*NO_TEXT, *LINES, "s3://bucket/spool", "memory://spool"],
    "STORE_SPOOL_QUOTA": [
        0,
        "0",
        "0 GiB",
        -1,
        "-1",
        "1.5 GiB",
        "1 GiBi",
        "1 GB/s",
        "GiB",
        "much",
        "1_000",
        "9" * 5000,
        1e9,
        True,
        [],
        {},
        b"1",
    ],
    "STORE_SPOOL_UPLOADS": [
        *(0, -1, "0", "-1", "1G", "many", "1.0", "9" * 5000, 1.0, True, False, [], {}),
    ],
    "STORE_SPOOL_DRAIN": NO_DURATION,
    "STORE_S3_BUCKET": [*NO_TEXT, *LINES, "s3://photos", "https://photos.example"],
    "STORE_S3_REGION": [*NO_TEXT, *LINES],
    "STORE_S3_ACCESS_KEY": [123456, 1.5, True, [SECRET], {"a": SECRET}, f"{SECRET}\n"],
    "STORE_S3_SECRET_KEY": [123456, 1.5, True, [SECRET], {"a": SECRET}, f"{SECRET}\n"],
    "STORE_S3_SESSION_TOKEN": [123456, True, [SECRET], {"a": SECRET}, f"{SECRET}\n"],
    "STORE_S3_ENDPOINT_URL": NO_ADDRESS,
    "STORE_S3_PUBLIC_ENDPOINT_URL": NO_ADDRESS,
    "STORE_S3_ADDRESSING_STYLE": ["dns", "PATH", True, 5, [], {}],
    "STORE_S3_ACL": [*NO_TEXT, *LINES],
    "STORE_S3_SSE": ["aes256", "AES128", "kms", "aws:kms ", True, 5, [], {}],
    "STORE_S3_SSE_KMS_KEY_ID": ["a b", "ä", "x" * 200 + " ", *NO_TEXT, *LINES],
    "STORE_S3_STORAGE_CLASS": ["STANDARD IA", "ä", *NO_TEXT, *LINES],
    "STORE_S3_TAGS": [
        {str(n): "x" for n in range(11)},
        {"a": 1},
        {"a": None},
        {"": "x"},
        {"a" * 129: "x"},
        {"a": "x" * 257},
        {"a&b": "x"},
        {"a": "<b>"},
        {"a": "x\ny"},
        {"a\n": "x"},
        {"aws:a": "x"},
        {"AWS:a": "x"},
        "a=b",
        *NO_OPTIONS,
    ],
    "STORE_S3_REQUESTER_PAYS": NO_SWITCH,
    "STORE_S3_CONDITIONAL_WRITES": ["AUTOMATIC", *NO_SWITCH],
    "STORE_S3_OPTIONS": NO_OPTIONS,
}


def test_every_setting_has_cases() -> None:
    """A row that comes into the table has to come in here as well."""
    assert GOOD.keys() == BAD.keys() == KEYS
    for name, row in TABLE.items():
        assert row.name == name
        assert row.help.endswith(".") and "\n" not in row.help


@pytest.mark.parametrize("name", sorted(KEYS))
def test_value_is_what_the_store_uses(name: str) -> None:
    """Whichever way it is written; and what was read once can be read again."""
    for given, expected in GOOD[name]:
        value = Settings({name: given})[name]
        assert value == expected and isinstance(value, type(expected)), given
        assert Settings({name: value})[name] == value, given


@pytest.mark.parametrize("name", sorted(KEYS))
def test_nothing_is_not_a_value(name: str) -> None:
    """A key that is missing, ``None`` or empty has its default."""
    for config in ({}, {name: None}, {name: ""}):
        assert Settings(config)[name] == TABLE[name].default


@pytest.mark.parametrize("name", sorted(KEYS))
def test_any_other_value_is_refused(name: str) -> None:
    """The error names the key, says what is wanted, and shows no secret."""
    for given in BAD[name]:
        with pytest.raises(NotConfiguredError) as caught:
            Settings({name: given})
        message = str(caught.value)
        assert message.startswith(f"{name} "), given
        assert SECRET not in message and "123456" not in message, given
        assert message.endswith(".") and len(message) < 400, given
        assert caught.value.__suppress_context__, given


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"STORE_PATH": 5}, "is 5; it must be a folder or a URL, such as"),
        ({"STORE_PATH": 5}, "text if it is in double quotes"),
        ({"STORE_DOMAIN": "example.com"}, "Write 'https://example.com'"),
        ({"STORE_DOMAIN": "//example.com"}, "Write 'https://example.com'"),
        ({"STORE_X_ACCEL_REDIRECT": "files"}, "Write '/files'"),
        ({"STORE_CACHE_CONTROL": 5}, "such as 'public, max-age=3600'"),
        ({"STORE_CACHE_CONTROL": "5"}, "such as 'no-cache'"),
        ({"STORE_SPOOL_UPLOADS": "1G"}, "is '1G'; it must be a whole number, 1"),
        ({"STORE_SPOOL_QUOTA": "much"}, "'512 MiB'"),
        ({"STORE_FILE_MODE": 640}, "is 640, which is 0o1200; "),
        ({"STORE_FILE_MODE": 640}, "Write an octal number, such as 0o600, or '600'"),
        ({"STORE_FILE_MODE": "755"}, "only have bits of 0o666"),
        ({"STORE_FOLDER_MODE": "rwx"}, "such as '750' or 0o750"),
        ({"STORE_FSYNC": "never"}, "is 'never'; it must be True or False"),
        ({"STORE_S3_SECRET_KEY": 5}, "is of type 'int'; it must be text"),
        ({"STORE_S3_SECRET_KEY": "a\n"}, "has a line break"),
        ({"STORE_OPTIONS": "{'a': 1}"}, "is of type 'str'; it must be a dict"),
    ],
)
def test_message_says_what_to_write(config: dict[str, t.Any], words: str) -> None:
    """Somebody who reads the message alone can mend the setting."""
    with pytest.raises(NotConfiguredError) as caught:
        Settings(config)
    assert words in str(caught.value)


def test_settings_cannot_be_changed() -> None:
    """Neither by those who have them nor by the application, and they show nothing."""
    assert dict(Settings(Settings({"STORE_PATH": "x"}))) == Settings(
        {"STORE_PATH": "x"}
    )
    config = {"STORE_OPTIONS": {"secret": SECRET}, "STORE_SHELF": SECRET, "OTHER": 5}
    settings = Settings(config)
    config["STORE_SHELF"] = "changed"
    config["STORE_OPTIONS"]["secret"] = "changed"  # type: ignore[index]
    assert settings["STORE_SHELF"] == settings["STORE_OPTIONS"]["secret"] == SECRET
    assert settings["OTHER"] == 5 and len(settings) == len(KEYS) + 2
    assert not hasattr(settings, "__setitem__")
    assert SECRET not in repr(settings) and "STORE_SHELF" in repr(settings)


def test_dialects_do_not_change_the_settings() -> None:
    """One takes options out and another puts some in; the next store has them all."""
    settings = Settings(
        {
            "STORE_PATH": "simplecache::memory://x",
            "STORE_OPTIONS": '{"cache_storage": "kept"}',
        }
    )
    from flask_store.stores.fsspec import FsspecStore

    for _ in range(2):
        assert t.cast(t.Any, FsspecStore(None, settings).dialect).folder is not None
    LocalStore(None, Settings({"STORE_PATH": "uploads"}))
    assert TABLE["STORE_OPTIONS"].default == {}


def test_stores_take_what_was_read(tmp_path: pathlib.Path) -> None:
    """Text from an environment is the value that it stands for, wherever it is used."""
    config: dict[str, t.Any] = {
        "STORE_PATH": tmp_path / "files",
        "STORE_FSYNC": "off",
        "STORE_STREAM_UPLOADS": "no",
        "STORE_SIGNED_URLS": "False",
        "STORE_BACKGROUND": "False",
        "STORE_URL_EXPIRES": dt.timedelta(hours=2),
        "STORE_INLINE_TYPES": "image/*,text/plain",
        "STORE_SPOOL_PATH": tmp_path / "spool",
        "STORE_SPOOL_UPLOADS": "2",
        "STORE_SPOOL_QUOTA": "1 MB",
        "STORE_SPOOL_DRAIN": "0",
    }
    store = LocalStore.from_config(config)
    assert store.background is None
    assert (store.signed_urls, store.streams_uploads) == (False, False)
    assert t.cast(t.Any, store.dialect)._fsync is False
    assert store.url_expires == 7200
    assert store.inline_types == ("image/*", "text/plain")
    background = LocalStore.from_config({**config, "STORE_BACKGROUND": 1}).background
    assert background is not None
    assert (background.limit, background.drain) == (2, 0)
    assert background.spool.quota.limit == 1_000_000


def test_slips_are_pointed_out() -> None:
    """What looks like one of the settings, and what the provider itself has, is told
    from what is somebody else's."""
    config = dict.fromkeys(("STORE_PROVDER", "STORE_PATHS", "STORE_CURRENCY", "PATH"))
    assert slips(config, known=["STORE_PATHS"]) == [
        "STORE_PROVDER is no setting of Flask-Store. Did you mean STORE_PROVIDER?"
    ]
    assert len(slips(config)) == 2


def test_secrets_in_json_are_redacted() -> None:
    """Options that an environment has as text are secret as far as a dict's are."""
    texts = [json.dumps({"password": SECRET}), "{no json", '{"a": 1}']
    assert list(secrets_in({"STORE_OPTIONS": texts[0]})) == [SECRET]
    assert not list(secrets_in({"STORE_OPTIONS": texts[1], "A": texts[2]}))


# -- the environment -------------------------------------------------------------------

# Key -> the text of the variable, what the store uses.
ENVIRONMENT: dict[str, tuple[str, t.Any]] = {
    "STORE_FSYNC": ("False", False),
    "STORE_FILE_MODE": ("0640", 0o640),
    "STORE_FOLDER_MODE": ("02750", 0o2750),
    "STORE_STREAM_UPLOADS": ("0", False),
    "STORE_SIGNED_URLS": ("on", True),
    "STORE_BACKGROUND": ("true", True),
    "STORE_OPTIONS": ('{"timeout": 5}', {"timeout": 5}),
    "STORE_DOMAIN": ("https://example.com", "https://example.com"),
    "STORE_URL_PREFIX": ("/files", "/files"),
    "STORE_SERVE": ("off", "off"),
    "STORE_URL_EXPIRES": ("60", 60),
    "STORE_INLINE_TYPES": ('["image/*"]', ("image/*",)),
    "STORE_CACHE_CONTROL": ("no-cache", "no-cache"),
    "STORE_SPOOL_QUOTA": ("64 MiB", 64 * 1024**2),
    "STORE_SPOOL_UPLOADS": ("2", 2),
    "STORE_SPOOL_DRAIN": ("0.5", 0.5),
    "STORE_S3_CONDITIONAL_WRITES": ("no", False),
    "STORE_S3_OPTIONS": ('{"config_kwargs": {}}', {"config_kwargs": {}}),
    "STORE_S3_REGION": ("", None),
}


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_text_and_from_prefixed_env_mean_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable may be read by from_prefixed_env(), which reads JSON, or be passed on
    as the text that it is."""
    text, expected = ENVIRONMENT[name]
    monkeypatch.setenv(f"FLASK_{name}", text)
    app = Flask("app")
    app.config.from_prefixed_env()
    assert Settings(app.config)[name] == Settings({name: text})[name] == expected


@pytest.mark.parametrize("name", ["STORE_PATH", "STORE_CACHE_CONTROL", "STORE_DOMAIN"])
def test_number_is_no_text(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """from_prefixed_env() makes a number of it, which is refused by name."""
    monkeypatch.setenv(f"FLASK_{name}", "2026")
    app = Flask("app")
    app.config.from_prefixed_env()
    with pytest.raises(NotConfiguredError, match=f"^{name} is 2026"):
        Store(app)


def test_named_store_by_the_environment(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its prefix stands behind Flask's; an option of its own has two underscores."""
    monkeypatch.setenv("FLASK_STORE_PATH", str(tmp_path))
    monkeypatch.setenv("FLASK_AVATARS_STORE_PATH", "memory://avatars")
    monkeypatch.setenv("FLASK_AVATARS_STORE_OPTIONS__marker", "1")
    monkeypatch.setenv("FLASK_AVATARS_STORE_SIGNED_URLS", "yes")
    app = Flask("app")
    app.config.from_prefixed_env()
    store, avatars = Store(app).Provider(), Store(app, name="avatars").Provider()
    assert (store.signed_urls, avatars.signed_urls) == (False, True)
    assert t.cast(t.Any, avatars).storage_options == {"marker": 1}


def test_default_is_a_value_of_its_kind() -> None:
    """The table's own defaults pass its own checks."""
    for name, row in TABLE.items():
        if row.default is not None:
            assert Settings({name: row.default})[name] == row.default
    assert TABLE["STORE_INLINE_TYPES"].default is INLINE_TYPES
