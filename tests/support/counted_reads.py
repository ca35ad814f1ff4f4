"""How many bytes of uploads, and of copies, a process reads."""

from __future__ import annotations

import typing as t

import pytest

from flask_store.uploads.source import Source


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what this process reads from now on, which the list gets."""
    sizes: list[int] = []
    real = Source._read

    def counted(self: Source, *args: t.Any) -> bytes:
        data = real(self, *args)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(Source, "_read", counted)
    return sizes
