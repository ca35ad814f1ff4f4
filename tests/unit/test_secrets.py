"""No secret is shown: by whatever leads from a store, by errors, or by logs."""

from __future__ import annotations

import base64
import copy
import dataclasses
import functools
import logging
import pathlib
import pickle
import traceback
import typing as t
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from flask import Flask

from flask_store import secrecy
from flask_store import settings
from flask_store import Store
from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import StoreError
from flask_store.exceptions import StoreUnavailable
from flask_store.secrecy import Options
from flask_store.stores.fsspec import FsspecStore
from flask_store.testing.reachable import search
from flask_store.testing.reachable import spelled
from tests.support.gcs_server import account
from tests.support.secret import SECRET

#: With everything that an address has to quote.
PASSWORD = f"{SECRET}@:/%"
LOGIN = f"abc:{quote(PASSWORD, safe='')}"
#: Nobody answers there.
HOST = "127.0.0.1:1"
#: The key of an account of Azure is Base64.
AZURE = base64.b64encode(PASSWORD.encode()).decode()
ACCOUNT = account(f"http://{HOST}")

Settings: t.TypeAlias = tuple[str, dict[str, t.Any]]

#: What a store is made with: its URL and its options. For each protocol, and for each
#: way to give it a secret.
SETTINGS: dict[str, Settings] = {
    "file": ("/nowhere/uploads", {}),
    "memory": ("memory://secrets", {"password": PASSWORD}),
    "s3": (
        "s3://bucket/folder",
        {
            "endpoint_url": f"http://{HOST}",
            "key": f"{SECRET}-key",
            "secret": f"{SECRET}-secret",
            "token": f"{SECRET}-token",
        },
    ),
    "s3 by s3fs": (
        f"s3://{quote(SECRET)}key:{quote(PASSWORD, safe='')}@bucket/folder",
        {
            "endpoint_url": f"http://{HOST}",
            "config_kwargs": {"retries": {"total_max_attempts": 1}},
        },
    ),
    "abfs by key": (
        "abfs://photos",
        {
            "account_name": "a",
            "account_key": AZURE,
            "account_host": "a.blob.core.localhost:1",
        },
    ),
    "abfs by connection string": (
        "abfs://photos",
        {
            "connection_string": "DefaultEndpointsProtocol=http;AccountName=a;"
            f"AccountKey={AZURE};BlobEndpoint=http://{HOST}/a;"
        },
    ),
    "abfs by signature": (
        "abfs://photos",
        {
            "connection_string": f"BlobEndpoint=http://{HOST}/a;"
            f"SharedAccessSignature=sv=2024-11-04&sig={quote(PASSWORD, safe='')}"
        },
    ),
    "gs by account": (
        "gs://bucket",
        {"token": ACCOUNT, "endpoint_url": f"http://{HOST}"},
    ),
    "gs by token": (
        "gs://bucket",
        {"token": PASSWORD, "endpoint_url": f"http://{HOST}"},
    ),
    "sftp by sshfs": (f"sftp+sshfs://{LOGIN}@{HOST}/folder", {"known_hosts": None}),
    "sftp by paramiko": (f"sftp+paramiko://{LOGIN}@{HOST}/folder", {}),
    "smb": (f"smb://{LOGIN}@{HOST}/share", {}),
    "ftp": (f"ftp://{LOGIN}@{HOST}/folder", {}),
    "webdav": (f"webdav+http://{LOGIN}@{HOST}/folder", {}),
    "webdav by option": (
        f"webdav+http://{HOST}/folder",
        {"auth": ("abc", PASSWORD), "headers": {"X-Api-Key": PASSWORD}},
    ),
    "http": (f"http://{LOGIN}@{HOST}/folder?sig={quote(PASSWORD, safe='')}", {}),
    "zip": (f"zip::http://{LOGIN}@{HOST}/a.zip?sig={quote(PASSWORD, safe='')}", {}),
    "simplecache": (f"simplecache::http://{LOGIN}@{HOST}/folder", {}),
    "webhdfs by password": (
        f"webhdfs://{HOST}/folder",
        {"user": "abc", "password": PASSWORD},
    ),
    "webhdfs by token": (f"webhdfs://{HOST}/folder", {"token": PASSWORD}),
    "jupyter": ("jupyter://folder", {"url": f"http://{HOST}", "tok": PASSWORD}),
}
SECRETS = spelled(
    *(SECRET, PASSWORD, AZURE, f"abc:{PASSWORD}"),
    *(line for line in ACCOUNT["private_key"].splitlines() if "---" not in line),
)
#: Headers that are a secret, which the containers of these libraries show.
HEADERS = {
    "jupyter": "<class 'requests.structures.CaseInsensitiveDict'> shows",
    "webdav by option": "<class 'httpx.Headers'> shows",
}


@dataclasses.dataclass
class Open:
    """Something that shows what it has."""

    value: str


class Slotted:
    """Something that has no dict, and shows nothing."""

    __slots__ = ("hidden",)

    def __init__(self, hidden: object) -> None:
        self.hidden = hidden

    def method(self) -> None:
        """Lead to what is hidden."""


def generating(value: object) -> Iterator[object]:
    """Hold a value."""
    yield value


def paused(value: object) -> Iterator[object]:
    """A generator that has begun."""
    found = generating(value)
    next(found)
    return found


@pytest.mark.parametrize(
    "hide",
    [
        lambda found: Slotted(found),
        lambda found: Slotted(found).method,
        lambda found: lambda: found,
        lambda found: functools.partial(print, found),
        lambda found: functools.partial(print, end=Slotted(found)),
        lambda found: {"a": [({found.value: Slotted(found)},)]},
        lambda found: paused(Slotted(found)),
        lambda found: ValueError(Slotted(found)),
        lambda found: Options({"a": {"b": found}}),
    ],
)
def test_walk_finds_what_is_hidden(hide: t.Callable[[Open], t.Any]) -> None:
    """The walk comes to whatever shows a secret, or the tests below prove nothing."""
    assert search(Slotted(hide(Open(SECRET))), {SECRET}).leaks
    assert not search(Slotted(hide(Open("nothing"))), {SECRET}).leaks


@pytest.mark.parametrize("name", SETTINGS)
def test_no_secret_is_shown(
    name: str,
    caplog: pytest.LogCaptureFixture,
    record_property: t.Callable[[str, object], None],
) -> None:
    """A server that nobody can reach: neither what leads from the store, nor an error
    with all that it comes from, nor a log shows a secret."""
    caplog.set_level(logging.DEBUG, "flask_store")
    url, options = SETTINGS[name]
    store = FsspecStore.from_config({"STORE_PATH": url, "STORE_OPTIONS": options})
    file = store.file("a.txt")
    errors: list[BaseException] = []
    for ask in (file.stat, file.signed_url):
        try:
            ask()
        except (StoreError, RuntimeError) as error:
            errors.append(error)
    assert name in ("file", "memory") or isinstance(errors[0], StoreUnavailable)
    shown = [line for error in errors for line in traceback.format_exception(error)]
    shown += [caplog.text, store.uri, file.uri, repr(file), repr(store)]
    shown += [repr(error) for error in errors]
    assert not [text for text in shown if any(secret in text for secret in SECRETS)]

    found = search([store, file, type(store), store.storage_options], SECRETS)
    leaks = [leak for leak in found.leaks if HEADERS.get(name, "no") not in leak]
    assert leaks == []
    assert (found.leaks != []) == (name in HEADERS)
    assert found.compared >= found.objects / 4 >= 15
    record_property(
        "figure",
        f"secrets, {name}: {found.objects} objects, {found.compared} texts, 0 shown",
    )


def test_what_is_made_for_a_moment_shows_no_secret() -> None:
    """Nor do the keys that sign, a form, and what stands for the settings."""
    url, options = SETTINGS["s3"]
    app = Flask(__name__)
    app.config.update(STORE_PATH=url, STORE_OPTIONS=options, SECRET_KEY=SECRET)
    store = Store(app)
    provider = t.cast(t.Any, store.Provider)
    with app.app_context():
        form = provider().presign_upload("a.txt", max_size=9)
        dialect = provider().dialect
        made = [
            form,
            dialect.account.keys(),
            dialect.connect_options(),
            store._own_settings(app),
        ]
        made.append(settings.Settings(app.config))
    assert [text for text in map(repr, made) if SECRET in text] == []


def test_spool_shows_no_secret(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor does an upload in the background that failed, with its application."""
    caplog.set_level(logging.DEBUG, "flask_store")
    app = Flask(__name__)
    app.config.update(
        STORE_PATH=f"ftp://{LOGIN}@{HOST}/folder",
        STORE_BACKGROUND=True,
        STORE_SPOOL_PATH=str(tmp_path),
        STORE_SPOOL_DRAIN=0.1,
        SECRET_KEY=f"{SECRET}-application",
    )
    store = Store(app)
    with app.app_context():
        provider = t.cast(t.Any, store.Provider())
        file = provider.save(b"x", "a.txt")
        assert file.upload is not None
        # There is none while the next try runs.
        for _ in range(300):
            if (error := file.upload.error) is not None:
                break
            file.upload.wait(0.1)
        assert isinstance(error, StoreUnavailable)
        found = search([store, provider, file, error.args], SECRETS)
        assert found.leaks == []
        assert found.objects > 250
        shown = [caplog.text, *traceback.format_exception(error)]
        assert not any(SECRET in text for text in shown)
        provider.background.worker().drain(0.1)


# -- addresses ----------------------------------------------------------------------

WRONG = f"me:{SECRET}@host"


@pytest.mark.parametrize(
    "setting",
    [
        {"STORE_PATH": f"file://{WRONG}/folder"},
        {"STORE_PATH": f"nosuch://{WRONG}/folder"},
        {"STORE_PATH": f"webdav://{WRONG}/folder"},
        {"STORE_PATH": f"zip::tar::ftp://{WRONG}/folder"},
        {"STORE_PATH": f"http://{WRONG}:port/folder"},
        {
            "STORE_PATH": "webdav+http://h",
            "STORE_OPTIONS": {"base_url": f"http://{WRONG}"},
        },
        {"STORE_PATH": "memory://x", "STORE_SERVE": f"https://{WRONG}"},
        {"STORE_PATH": "memory://x", "STORE_URL_PREFIX": f"https://{WRONG}"},
        {"STORE_PATH": "memory://x", "STORE_DOMAIN": f"https://{WRONG}"},
        {"STORE_PATH": "memory://x", "STORE_INLINE_TYPES": f"https://{WRONG}"},
        {"STORE_PATH": "s3://b", "STORE_S3_ENDPOINT_URL": WRONG},
        {"STORE_PATH": "s3://b", "STORE_S3_ENDPOINT_URL": f"https://{WRONG}"},
        {
            "STORE_PATH": "s3://b",
            "STORE_S3_ENDPOINT_URL": f"https://me:a/{SECRET}@host",
        },
        {"STORE_PATH": "s3://b", "STORE_S3_PUBLIC_ENDPOINT_URL": f"https://{WRONG}"},
        {"STORE_PATH": "s3://b", "STORE_OPTIONS": {"endpoint_url": f"https://{WRONG}"}},
        {
            "STORE_PATH": "s3://b",
            "STORE_S3_OPTIONS": {"client_kwargs": {"endpoint_url": f"https://{WRONG}"}},
        },
        {"STORE_PATH": "gs://b", "STORE_OPTIONS": {"endpoint_url": f"http://{WRONG}"}},
    ],
)
def test_wrong_addresses_are_refused_and_not_quoted(setting: dict[str, t.Any]) -> None:
    """What is no address of a store, or would be shown with its login, is refused by an
    error that does not quote the login."""
    with pytest.raises(NotConfiguredError) as caught:
        FsspecStore.from_config(setting)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("https://me:pw@host/a", "https://host/a"),
        ("'https://token@host:80/a@b.txt'", "'https://host:80/a@b.txt'"),
        ("https://me:p/w@host", "https://host"),
        (
            "http://host:80/files/me@example.org/a",
            "http://host:80/files/me@example.org/a",
        ),
        ("https://[::1]:80/a@b", "https://[::1]:80/a@b"),
        (
            "zip::https://me:pw@host/a.zip?sig=1, then",
            "zip::https://host/a.zip?*** then",
        ),
        ("There is no file 'what?me@x.txt'.", "There is no file 'what?me@x.txt'."),
        ("Write 'smb://user@host/share'.", "Write 'smb://user@host/share'."),
        ("smb://user@host.example/share", "smb://host.example/share"),
        ("smb://user:pw@host/share", "smb://host/share"),
    ],
)
def test_messages_lose_logins_and_queries(text: str, left: str) -> None:
    """An address in a message has no login and no query; everything else stays."""
    assert str(StoreError(text)) == left
    assert secrecy.has_login("me:pw@host") and not secrecy.has_login("host/me@x")


def test_options_are_a_dict_that_shows_names() -> None:
    """Options can be copied and pickled, compared and passed on like any dict."""
    options = Options({"key": "A", "client_kwargs": {"region_name": SECRET}})
    assert repr(options) == "<Options key, client_kwargs>" == f"{options}"
    assert repr(Options({})) == "<Options>"
    plain = {"key": "A", "client_kwargs": {"region_name": SECRET}}
    for twin in (options, copy.deepcopy(options), pickle.loads(pickle.dumps(options))):
        assert twin == plain
        assert SECRET not in repr([twin, twin["client_kwargs"]])
    assert dict(**options) == plain
