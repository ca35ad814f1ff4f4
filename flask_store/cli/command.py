"""What all commands share: ``--store NAME``, one line for an error, its exit code."""

from __future__ import annotations

import functools
import typing as t

import click
from flask import current_app
from flask.cli import AppGroup
from flask.cli import with_appcontext

from .. import secrecy
from ..exceptions import StoreError
from ..extension import Store
from ..stores.fsspec import FsspecStore
from ..views.table import visible

#: The exit code when there is no such file; 1 is any other failure, 2 wrong usage.
NOT_FOUND = 3

#: The name of the store that has none.
DEFAULT = "default"

store = AppGroup(
    "store",
    help="Look at stored files and work on them.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Failure(click.ClickException):
    """An error as one line on stderr."""

    exit_code: int = 1  # type: ignore[misc]

    def __init__(self, exc: Exception) -> None:
        if isinstance(exc, StoreError) or type(exc) in (OSError, ValueError):
            text = str(exc)
        else:
            text = f"{type(exc).__name__}: {exc}"
        super().__init__(redacted(visible(" ".join(text.split()))))
        if isinstance(exc, FileNotFoundError):
            self.exit_code = NOT_FOUND


class StoreCommand(click.Command):
    """A command that fails with one line and without a traceback."""

    def invoke(self, ctx: click.Context) -> t.Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except BrokenPipeError:  # '| head' has closed the pipe
            raise
        except Exception as exc:
            raise Failure(exc) from exc


def command(function: t.Callable[..., t.Any]) -> click.Command:
    """A command of the group whose first argument is the chosen store."""

    @click.option("--store", "store_name", metavar="NAME", help="A named store.")
    @with_appcontext
    @functools.wraps(function)
    def chosen(store_name: str | None, **kwargs: t.Any) -> t.Any:
        return function(store_named(store_name), **kwargs)

    return click.command(cls=StoreCommand)(chosen)


def store_named(name: str | None) -> FsspecStore:
    """The application's store of that name.

    :raises click.UsageError: if there is none.
    """
    stores = stores_of_application()
    store = stores.get(name or DEFAULT)
    if store is None:
        description = f"store named {name!r}" if name else "store"
        names = ", ".join(sorted(stores)) or "none; call Store(app)"
        raise click.UsageError(
            f"The application has no {description}. There is: {names}."
        )
    found = store.at(None)
    if not isinstance(found, FsspecStore):
        raise click.ClickException(
            f"{type(found).__name__} is no FsspecStore, and these commands need one."
        )
    return found


def stores_of_application() -> dict[str, Store[t.Any]]:
    """The stores of the current application by their names."""
    return {
        extension.removeprefix("store").removeprefix(".") or DEFAULT: store
        for extension, store in current_app.extensions.items()
        if isinstance(store, Store)
    }


def redacted(text: str) -> str:
    """The text without the passwords and keys in the application's settings."""
    return secrecy.redacted(text, current_app.config if current_app else {})
