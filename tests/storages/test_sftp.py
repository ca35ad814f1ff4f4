"""The contract on SFTP, by both libraries, and what only SFTP has."""

from __future__ import annotations

import typing as t

import pytest

from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import StoreDenied
from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import upload
from tests.conftest import missing
from tests.support import protocol_rows
from tests.support.protocol_servers import Place
from tests.support.server_contract import ServerContract
from tests.support.server_contract import started
from tests.support.servers import NotInstalledError
from tests.support.sftp_server import ssh_server


@pytest.fixture(scope="module")
def server() -> t.Iterator[Place]:
    """One server for the whole module."""
    with started(ssh_server) as running:
        yield running


def by(driver: str, place: Place) -> Place:
    """The place in the words of one of the libraries."""
    try:
        return protocol_rows.by(driver, place)
    except NotInstalledError as error:
        missing(str(error))


@pytest.fixture(params=["sshfs", "paramiko"])
def place(request: pytest.FixtureRequest, server: Place) -> Place:
    """The server, for both libraries one after the other."""
    return by(request.param, server)


class TestSshfs(ServerContract):
    """SFTP keeps every promise, through asyncssh."""

    @pytest.fixture
    def place(self, server: Place) -> Place:
        return by("sshfs", server)


class TestParamiko(ServerContract):
    """SFTP keeps every promise, through paramiko."""

    @pytest.fixture
    def place(self, server: Place) -> Place:
        return by("paramiko", server)

    def test_uri_opens_with_fsspec(self, store: FsspecStore) -> None:
        """A URI is only promised to the library that has the name."""
        pytest.skip("fsspec's 'sftp' is sshfs, whose options have other names")

    def test_uri_of_any_name(self, store: FsspecStore) -> None:
        """The same with any name."""
        pytest.skip("fsspec's 'sftp' is sshfs, whose options have other names")


def test_host_key_is_checked(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: t.Any
) -> None:
    """An unknown key, or another than the known one, is refused with the way out;
    only an option trusts any server."""
    (tmp_path / ".ssh").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    wrong = tmp_path / "wrong"
    wrong.write_text(
        f"[127.0.0.1]:{place.port} ssh-ed25519"
        " AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
    )
    options = dict(place.options)
    options.pop("known_hosts")
    for more in ({}, {"known_hosts": str(wrong)}):
        store = FsspecStore.from_url(place.new(), **(options | more))
        with pytest.raises(NotConfiguredError, match="ssh-keyscan -p"):
            store.save(upload())
    none = {"known_hosts": str(tmp_path / "none")}
    store = FsspecStore.from_url(place.new(), **(options | none))
    with pytest.raises(NotConfiguredError, match=r"not there: .*none"):
        store.exists("a.txt")
    store = FsspecStore.from_url(place.new(), **(options | {"known_hosts": None}))
    assert store.save(upload(b"x")).read() == b"x"


def test_refused_login(place: Place) -> None:
    """A user whom the server does not let in is StoreDenied, for every verb."""
    url = place.new().replace("://", "://nobody-here:pass%40word@", 1)
    url = url.replace("@root@", "@", 1)
    options = {"known_hosts": place.options["known_hosts"]}
    store = FsspecStore.from_url("://".join(url.split("://")), **options)
    assert store.storage_options["password"] == "pass@word"
    for use in (lambda: store.save(upload()), lambda: store.exists("a.txt")):
        with pytest.raises(StoreDenied) as caught:
            use()
        assert "pass@word" not in str(caught.value)


def test_file_of_the_same_server(place: Place) -> None:
    """It is read by the connection that writes it, which mixes up no answers: more
    requests are under way than paramiko keeps without looking for them."""
    store = FsspecStore.from_url(place.new(), **place.options)
    data = bytes(range(250)) * 40_000
    store.save(data, "a.bin")
    with store.open("a.bin") as opened:
        assert store.save(opened, "b.bin").read() == data
    t.cast("t.Any", store.dialect).copies = False
    assert store.copy("a.bin", "c.bin").read() == data
