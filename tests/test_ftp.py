"""The contract on FTP, and what only FTP has."""

from __future__ import annotations

import typing as t

import pytest

from .protocols import started
from .protocols import UuidContract
from .servers_protocols import ftp
from .servers_protocols import Place


@pytest.fixture(scope="module")
def place() -> t.Iterator[Place]:
    """One pyftpdlib for the whole module."""
    with started(ftp) as running:
        yield running


class TestFTP(UuidContract):
    """FTP keeps every promise but the client's own name."""
