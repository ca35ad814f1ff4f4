"""A progress bar on the terminal, fed by an fsspec callback."""

from __future__ import annotations

import sys
import typing as t
from collections.abc import Iterator
from contextlib import contextmanager

import click
from fsspec.callbacks import Callback

from ..views.table import human


class _Bar(Callback):  # type: ignore[misc]
    def __init__(self, bar: t.Any) -> None:
        super().__init__()
        self.bar = bar

    def call(self, hook_name: str | None = None, **kwargs: t.Any) -> None:
        if self.size:
            self.bar.length = self.size
        self.bar.update(self.value - self.bar.pos)


@contextmanager
def progress(label: str, unit: t.Callable[[int], str] = human) -> Iterator[Callback]:
    """A callback that draws a bar on stderr, if that is a terminal.

    :param unit: how a number is written.
    """
    if not sys.stderr.isatty():
        yield Callback()
        return
    drawn: t.Any = click.progressbar(
        length=1, label=label, file=sys.stderr, show_pos=True
    )
    with drawn as bar:
        bar.format_pos = lambda: f"{unit(bar.pos)}/{unit(bar.length or 0)}"
        yield _Bar(bar)
