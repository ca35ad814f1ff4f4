"""Faults of TLS: every protocol says which one it is, and what to do about it."""

from __future__ import annotations

import contextlib
import functools
import http.server
import pathlib
import ssl
import threading
import typing as t

import aiohttp.connector
import pytest

from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import StoreDenied
from flask_store.exceptions import StoreError
from flask_store.exceptions import StoreUnavailable
from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import upload
from tests.support import ftp_server
from tests.support import gcs_server
from tests.support import tls
from tests.support.protocol_servers import AZURITE_KEY

pytestmark = pytest.mark.slow


class Row(t.NamedTuple):
    """A protocol: how a store is made, and what its user can change.

    :param make: the URL and the options of a store, by the address of its server.
    :param variable: names the certificates that its client trusts.
    :param settings: have the address of the server.
    """

    make: t.Callable[[str], tuple[str, dict[str, t.Any]]]
    variable: str
    settings: str


def s3(address: str, **more: t.Any) -> tuple[str, dict[str, t.Any]]:
    """A bucket of another server than Amazon's."""
    options = {"key": "AK", "secret": "SK", "endpoint_url": address, **more}
    return "s3://photos", {**options, "client_kwargs": {"region_name": "us-east-1"}}


def azure(address: str) -> tuple[str, dict[str, t.Any]]:
    """A container of another server than Microsoft's."""
    said = {
        "DefaultEndpointsProtocol": address.partition(":")[0],
        "AccountName": "dev",
        "AccountKey": AZURITE_KEY,
        "BlobEndpoint": f"{address}/dev",
    }
    text = ";".join(f"{name}={value}" for name, value in said.items())
    return "abfs://photos", {"connection_string": text}


@functools.cache
def key_file() -> dict[str, str]:
    """That of a service account; its key takes a while to make."""
    return gcs_server.account("")


def token_server(address: str) -> tuple[str, dict[str, t.Any]]:
    """A bucket of Google's, where nobody listens; tokens are asked for before."""
    account = {**key_file(), "token_uri": f"{address}/token"}
    return "gs://photos", {"endpoint_url": "https://127.0.0.1:9", "token": account}


S3FS = {"config_kwargs": {"user_agent_extra": "x"}}  # which only s3fs knows

ROWS = {
    "s3": Row(s3, "AWS_CA_BUNDLE", "STORE_S3_ENDPOINT_URL"),
    "s3 by s3fs": Row(
        lambda address: s3(address, **S3FS), "AWS_CA_BUNDLE", "STORE_S3_ENDPOINT_URL"
    ),
    "gs": Row(
        lambda address: ("gs://photos", {"endpoint_url": address, "token": "anon"}),
        "SSL_CERT_FILE",
        "endpoint_url",
    ),
    "gs, the token server": Row(token_server, "REQUESTS_CA_BUNDLE", "endpoint_url"),
    "abfs": Row(azure, "SSL_CERT_FILE", "STORE_OPTIONS"),
    "webdav": Row(
        lambda address: (f"webdav+{address}/dav", {}), "SSL_CERT_FILE", "STORE_PATH"
    ),
    "http": Row(
        lambda address: (f"{address}/files", {}), "SSL_CERT_FILE", "STORE_PATH"
    ),
}

EACH_ROW = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has said whom to trust."""
    for name in ("AWS_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@contextlib.contextmanager
def plain_server(status: int = 200, page: bytes = b"") -> t.Iterator[int]:
    """The port of a web server without TLS, which has one answer."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(page)

        do_HEAD = do_POST = do_PROPFIND = do_GET

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def trust(certificate: pathlib.Path, row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the variable of a row name a certificate."""
    monkeypatch.setenv(row.variable, str(certificate))
    # aiohttp reads the variable when it is imported, and never again.
    context = ssl.create_default_context(cafile=certificate)
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", context)


def error_of(row: Row, address: str) -> StoreError:
    """What looking for a file raises."""
    url, options = row.make(address)
    with pytest.raises(StoreError) as info:
        FsspecStore.from_url(url, **options).exists("a.txt")
    return info.value


@pytest.mark.slow
@pytest.mark.parametrize(
    "do",
    [lambda store: store.save(upload(), "a.txt"), lambda store: list(store.ls())],
    ids=["save", "ls"],
)
@EACH_ROW
def test_every_operation_says_so(
    row: Row, do: t.Callable[[FsspecStore], object], tmp_path: pathlib.Path
) -> None:
    """Whichever comes first."""
    with tls.in_front_of(9, tls.make_certificate(tmp_path)) as address:
        url, options = row.make(address)
        store = FsspecStore.from_url(url, **options)
        with pytest.raises(StoreError) as info:
            do(store)
    if not isinstance(info.value, StoreDenied):  # a web server takes no uploads
        assert "has signed the certificate" in str(info.value)


@EACH_ROW
def test_nobody_has_signed_it(row: Row, tmp_path: pathlib.Path) -> None:
    """The error names the variable that says whom to trust."""
    with tls.in_front_of(9, tls.make_certificate(tmp_path)) as address:
        error = error_of(row, address)
    assert isinstance(error, StoreUnavailable)
    assert "has signed the certificate" in str(error) and row.variable in str(error)


@EACH_ROW
def test_another_name(
    row: Row, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says which name was looked for, and which settings have it."""
    certificate = tls.make_certificate(tmp_path, "elsewhere.example")
    trust(certificate, row, monkeypatch)
    with tls.in_front_of(9, certificate) as address:
        error = error_of(row, address)
    assert isinstance(error, StoreUnavailable)
    for words in ("is for another name", "'localhost'", row.settings):
        assert words in str(error)


@EACH_ROW
def test_it_has_expired(
    row: Row, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the certificate, and the clock."""
    certificate = tls.make_certificate(tmp_path, days=-1)
    trust(certificate, row, monkeypatch)
    with tls.in_front_of(9, certificate) as address:
        error = error_of(row, address)
    assert isinstance(error, StoreUnavailable)
    assert "has expired" in str(error) and "clock" in str(error)


@EACH_ROW
def test_there_is_no_such_file_of_certificates(
    row: Row, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a setting of this machine, and never a file that the store does not
    have."""
    monkeypatch.setenv(row.variable, str(tmp_path / "none.pem"))
    with tls.in_front_of(9, tls.make_certificate(tmp_path)) as address:
        error = error_of(row, address)
    assert isinstance(error, NotConfiguredError)
    assert f"{row.variable} names" in str(error) and "none.pem" in str(error)


@EACH_ROW
def test_plain_http_behind_https(row: Row) -> None:
    """The error says that this is no TLS."""
    with plain_server() as port:
        error = error_of(row, f"https://127.0.0.1:{port}")
    assert isinstance(error, StoreUnavailable)
    for words in ("does not speak TLS", "http://", row.settings):
        assert words in str(error)


#: What servers say who want TLS: some hang up, and some have a page.
PAGES = [
    None,
    b"Client sent an HTTP request to an HTTPS server.\n",
    b"<html>The plain HTTP request was sent to HTTPS port</html>",
]


@pytest.mark.parametrize("page", PAGES, ids=["none", "Go", "nginx"])
@pytest.mark.parametrize(
    "row",
    # The address of the token server is in Google's key file.
    [pytest.param(ROWS[name], id=name) for name in ROWS if "token" not in name],
)
def test_tls_behind_http(row: Row, page: bytes | None, tmp_path: pathlib.Path) -> None:
    """The error says that the address begins with http://."""
    with contextlib.ExitStack() as stack:
        if page is None:
            certificate = tls.make_certificate(tmp_path)
            https = stack.enter_context(tls.in_front_of(9, certificate))
            address = https.replace("https://", "http://")
        else:
            address = f"http://127.0.0.1:{stack.enter_context(plain_server(400, page))}"
        url, options = row.make(address)
        with pytest.raises(StoreError) as info:
            FsspecStore.from_url(url, **options).exists("a.txt")
    assert "write https://" in str(info.value), info.value


def test_ftp_without_tls(tmp_path: pathlib.Path) -> None:
    """A server that refuses TLS, and one whose port has none from the beginning."""
    with ftp_server.serving(tmp_path) as url:
        with pytest.raises(StoreUnavailable, match="refuses TLS"):
            FsspecStore.from_url(url, tls=True).exists("a.txt")
        with pytest.raises(StoreUnavailable, match="does not speak TLS"):
            FsspecStore.from_url(url, tls="tls").exists("a.txt")


def test_ftp_that_wants_tls(tmp_path: pathlib.Path) -> None:
    """The error names the option."""

    def refuse(handler: t.Any, line: str) -> None:
        handler.respond("550 SSL/TLS required on the control channel.")

    with ftp_server.serving(tmp_path, ftp_USER=refuse) as url:
        with pytest.raises(StoreDenied, match="'tls' to True"):
            FsspecStore.from_url(url).exists("a.txt")
