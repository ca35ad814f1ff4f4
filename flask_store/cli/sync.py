"""``flask store sync``: chooses the two stores, and reports the run."""

from __future__ import annotations

import contextlib
import hashlib
import os
import typing as t

import click
from flask import current_app
from flask.cli import with_appcontext

from .. import sync as engine
from ..stores.fsspec import FsspecStore
from ..views.table import human
from ..views.table import visible
from .command import redacted
from .command import store_named
from .command import StoreCommand
from .command import stores_of_application
from .progress import progress
from .rclone import rclone


def place(text: str) -> FsspecStore:
    """The store that an argument names: a URL, a named store or a folder on disk.

    A URL comes with the ``STORE_OPTIONS``, ``STORE_TIMEOUT`` and ``STORE_S3_`` settings
    of the application, so that no key has to be in the shell's history.
    """
    if "://" in text:
        settings = {
            key: value
            for key, value in current_app.config.items()
            if key.startswith("STORE_S3_") or key in ("STORE_OPTIONS", "STORE_TIMEOUT")
        }
        if text.startswith("file:"):
            settings = {}
        return FsspecStore.from_config({**settings, "STORE_PATH": text})
    if text in stores_of_application():
        return store_named(text)
    if os.sep in text or text.startswith("."):
        return FsspecStore.from_config({"STORE_PATH": text})
    names = ", ".join(sorted(stores_of_application()))
    raise click.UsageError(
        f"There is no store named {text!r} (there is: {names}). Write a folder as"
        f" './{text}', anything else as a URL."
    )


@click.command(cls=StoreCommand)
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option("--overwrite", is_flag=True, help="Replace files that differ.")
@click.option("--delete", is_flag=True, help="Delete from DST what SRC lacks.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--journal", type=click.Path(), help="Where to keep the journal.")
@click.option(
    "--print-rclone", is_flag=True, help="Print how rclone does it; do nothing."
)
@with_appcontext
def sync(
    source: str,
    target: str,
    overwrite: bool,
    delete: bool,
    dry_run: bool,
    journal: str | None,
    print_rclone: bool,
) -> None:
    """Copy a store into another one, and verify every file.

    SRC and DST are URLs, folders (with a slash), names of stores, or 'default'. Files
    that DST has already are not copied again, so that a stopped run can continue.
    """
    stores = place(source), place(target)
    if print_rclone:
        click.echo(rclone(*stores, overwrite=overwrite, delete=delete))
        return
    path = None if dry_run else journal or _journal(*stores)
    with contextlib.closing(engine.Journal(path)) as journal_file:
        summary = _run(engine.Sync(*stores, journal_file, overwrite, delete, dry_run))
    click.echo(_sentence(summary, dry_run))
    if summary.different and not overwrite:
        click.echo("Files that differ were left alone. See --overwrite.", err=True)
    if summary.failed or (summary.different and not overwrite):
        raise click.exceptions.Exit(1)


def _run(run: engine.Sync) -> engine.Summary:
    summary = engine.Summary()
    with progress("sync", str) as callback:
        run.started = callback.set_size
        for outcome in run.run():
            summary.count(outcome)
            callback.relative_update()
            if outcome.status in ("different", "failed"):
                reason = redacted(visible(" ".join(outcome.reason.split())))
                name = visible(outcome.name)
                click.echo(f"{outcome.status}: {name} {reason}".rstrip(), err=True)
    return summary


def _journal(*stores: FsspecStore) -> str:
    places = "\n".join(f"{store.dialect.place}/{store.destination}" for store in stores)
    name = hashlib.sha256(places.encode()).hexdigest()[:16]
    return os.path.join(current_app.instance_path, "flask-store-sync", f"{name}.jsonl")


def _sentence(summary: engine.Summary, dry_run: bool) -> str:
    speed = summary.copied / summary.seconds
    counts: dict[str, t.Any] = {
        "would be copied" if dry_run else "copied": (
            f"{summary.copied:,} ({human(summary.size)})"
        ),
        "already there": f"{summary.present:,}",
        "different": f"{summary.different:,}",
        "failed": f"{summary.failed:,}",
        "would be deleted" if dry_run else "deleted": f"{summary.deleted:,}",
    }
    text = ", ".join(f"{name} {count}" for name, count in counts.items())
    return f"{text}; {summary.seconds:.1f} s, {speed:,.0f} files/s"
