"""``flask store variants``: the variants of everything that is stored."""

from __future__ import annotations

import io
import pathlib
import typing as t

import pytest
from PIL import Image

from flask_store.exceptions import StoreUnavailable
from flask_store.stores.fsspec import FsspecStore

from .test_cli import application
from .test_cli import Shell


def picture(color: str) -> bytes:
    """A PNG."""
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), color).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def shell(tmp_path: pathlib.Path) -> Shell:
    """An application with two pictures, one that is none, and a text."""
    named = {
        "thumb": {"width": 20},
        "tiny": {"width": 10},
        "any": {"width": 10, "format": "auto"},
    }
    config = {"STORE_PATH": str(tmp_path / "uploads"), "STORE_VARIANTS": named}
    shell = Shell(application(tmp_path, **config))
    shell.store.save(picture("red"), "red.png")
    shell.store.save(picture("green"), "green.png", folder="trees")
    shell.store.save(b"\x1b[31m", "bad.png")
    shell.store.save(b"text", "a.txt")
    return shell


def made(shell: Shell, name: str) -> dict[str, bool]:
    """Which pictures have a variant."""
    with shell.app.app_context():
        return {f.key: f.variant(name).exists() for f in shell.store.ls("")}


def test_all_pictures_get_it_once(shell: Shell) -> None:
    """A file that is no picture is named, and is no failure."""
    said = shell("variants", "thumb")
    assert said.stdout == "made 2, already there 0, refused 1, failed 0\n"
    (line,) = said.stderr.splitlines()
    assert line.startswith("refused: bad.png No variant can be made of this file.")
    assert made(shell, "thumb") == {
        "red.png": True,
        "trees/green.png": True,
        "bad.png": False,
        "a.txt": False,
    }
    again = shell.says("variants", "thumb")
    assert again == "made 0, already there 2, refused 1, failed 0"


def test_a_folder(shell: Shell) -> None:
    """Only the pictures below it, and so with --remove."""
    assert shell.says("variants", "thumb", "trees").startswith("made 1, ")
    assert [key for key, is_made in made(shell, "thumb").items() if is_made] == [
        "trees/green.png"
    ]
    shell("variants", "thumb")
    assert shell.says("variants", "thumb", "trees", "--remove", "--yes") == "removed 1"
    assert [key for key, is_made in made(shell, "thumb").items() if is_made] == [
        "red.png"
    ]


def test_auto_is_each_format(shell: Shell) -> None:
    """What no browser has asked for yet is made in every format that one may want."""
    shell("variants", "any", "trees")
    variants = shell.store.variants
    assert variants is not None
    stored = variants.stored(shell.store, variants.named["any"])
    extensions = sorted(name.rpartition(".")[2] for name in stored)
    assert extensions == ["avif", "jpg", "webp"]
    assert shell.says("variants", "any", "--remove", "--yes") == "removed 3"


def test_remove_asks(shell: Shell) -> None:
    """Without an answer nothing is removed; the variants of another name stay."""
    shell("variants", "thumb")
    shell("variants", "tiny", "trees")
    asked = shell("variants", "thumb", "--remove", code=1)
    assert "Remove 2 variants?" in asked.stderr
    assert sum(made(shell, "thumb").values()) == 2
    removed = shell("variants", "thumb", "--remove", input="y\n").stdout
    assert removed.endswith("removed 2\n")
    assert sum(made(shell, "thumb").values()) == 0
    assert made(shell, "tiny")["trees/green.png"]
    assert shell.says("variants", "thumb", "--remove") == "removed 0"
    # A file that is no picture is known to be none.
    assert shell.says("variants", "thumb").endswith("refused 1, failed 0")


def test_a_storage_that_fails(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are made; the exit code tells it."""
    put = FsspecStore.put

    def fail(store: FsspecStore, key: str, *args: t.Any, **kwargs: t.Any) -> t.Any:
        if not failed:
            failed.append(key)
            raise StoreUnavailable("The storage is busy.", key)
        return put(store, key, *args, **kwargs)

    failed: list[str] = []
    shell.store.delete("bad.png")
    monkeypatch.setattr(FsspecStore, "put", fail)
    said = shell("variants", "thumb", code=1)
    assert said.stdout == "made 1, already there 0, refused 0, failed 1\n"
    (line,) = said.stderr.splitlines()
    assert line.startswith("failed: ") and line.endswith("The storage is busy.")


def test_wrong_use(shell: Shell, tmp_path: pathlib.Path) -> None:
    """The cure is said."""
    said = shell("variants", "nosuch", code=2).stderr
    assert (
        "STORE_VARIANTS has no variant 'nosuch'. There is: 'thumb', 'tiny', 'any'."
        in said
    )
    without = Shell(application(tmp_path / "other", STORE_PATH=str(tmp_path / "x")))
    said = without("variants", "thumb", code=1).stderr
    assert "because STORE_VARIANTS is not set. Set it to" in said
    assert said.count("\n") == 1
