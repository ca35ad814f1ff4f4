"""The simple commands: each is one operation of the store."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import sys
import typing as t

import click
from flask import current_app

from ..stores.fsspec import FsspecStore
from ..stores.fsspec import OnConflict
from ..views.listing import COLUMNS
from ..views.table import human
from ..views.table import visible
from ..views.table import when
from .command import command
from .progress import progress

if t.TYPE_CHECKING:
    from ..dialects import Unreachable
    from ..files import FileWrapper

on_conflict = click.option(
    "--on-conflict",
    type=click.Choice(["rename", "error", "overwrite"]),
    help="What to do if the name is taken; by default what STORE_ON_CONFLICT says.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="One object a line.")
yes = click.option("--yes", is_flag=True, help="Do it, without asking.")


@command
@click.argument("prefix", default="")
@click.option("-l", "long", is_flag=True, help="With size, date and type.")
@as_json
def ls(store: FsspecStore, prefix: str, long: bool, as_json: bool) -> None:
    """List the files below a folder, as they are found."""
    listing = store.ls(prefix)
    for file in listing:
        name = visible(file.name)
        if as_json:
            click.echo(_json(file))
        elif long:
            date = when(file.modified) or "-"
            click.echo(f"{file.size:>12}  {date:16}  {file.content_type:24}  {name}")
        else:
            click.echo(name)
    tell_unreachable(listing.unreachable)


def tell_unreachable(entries: t.Sequence[Unreachable]) -> None:
    """Print the names that no command can reach, and exit with 1 if there are any."""
    for entry in entries:
        click.echo(f"unreachable: {visible(entry.name)} {entry.reason}", err=True)
    if entries:
        raise click.exceptions.Exit(1)


@command
@click.argument("key")
@as_json
def info(store: FsspecStore, key: str, as_json: bool) -> None:
    """Show the size, date and type of a file."""
    file = store.file(key)
    file.stat()
    if as_json:
        click.echo(_json(file))
        return
    for name, value in (*_record(file).items(), ("uri", file.uri)):
        click.echo(f"{name:13} {visible(str('-' if value is None else value))}")


@command
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
def cat(store: FsspecStore, keys: tuple[str, ...]) -> None:
    """Write files to the standard output."""
    out = sys.stdout.buffer
    for key in keys:
        for data in store.stream(key):
            out.write(data)
    out.flush()


@command
@click.argument("key")
@click.argument("path", default=".", type=click.Path())
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def get(store: FsspecStore, key: str, path: str, force: bool) -> None:
    """Copy a stored file to the local disk: to a file or into a folder."""
    file = store.file(key)
    target = os.path.join(path, file.filename) if os.path.isdir(path) else path
    if os.path.lexists(target) and not force:
        raise click.ClickException(f"{target} is there already. Pass --force.")
    with progress(visible(key)) as callback:
        callback.set_size(file.size)
        file.download(target, callback)
    click.echo(target)


@command
@click.argument("path", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.argument("folder", default="")
@click.option("--name", help="The name to store it under; needed for '-'.")
@click.option("--as-is", is_flag=True, help="Keep the metadata of a picture.")
@on_conflict
def put(
    store: FsspecStore,
    path: str,
    folder: str,
    name: str | None,
    as_is: bool,
    on_conflict: OnConflict | None,
) -> None:
    """Store a local file ('-' is the standard input) in a folder of the store.

    The name it was stored under is printed; it has a UUID if the other was taken.
    """
    if name is None and path == "-":
        raise click.UsageError("What comes from the standard input needs a --name.")
    name = os.path.basename(path) if name is None else name
    target = store.at(store.join(store.destination, folder))
    with click.open_file(path, "rb") as file, progress(visible(name)) as callback:
        strip = False if as_is else None
        stored = target.save(file, name, on_conflict, callback=callback, strip=strip)
    click.echo(visible(str(stored)))


@command
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@yes
def rm(store: FsspecStore, keys: tuple[str, ...], yes: bool) -> None:
    """Delete files."""
    for key in keys:
        if not yes:
            click.confirm(f"Delete {visible(key)}?", abort=True, err=True)
        store.delete(key)


@command
@click.argument("source")
@click.argument("target")
@on_conflict
def cp(
    store: FsspecStore, source: str, target: str, on_conflict: OnConflict | None
) -> None:
    """Copy a file within the store, and print the name of the copy."""
    click.echo(visible(str(store.copy(source, target, on_conflict))))


@command
@click.argument("source")
@click.argument("target")
@on_conflict
def mv(
    store: FsspecStore, source: str, target: str, on_conflict: OnConflict | None
) -> None:
    """Move a file within the store, and print its new name."""
    click.echo(visible(str(store.move(source, target, on_conflict))))


@command
@click.argument("key")
@click.option(
    "--expires", type=float, metavar="SECONDS", help="A signed link for so long."
)
def url(store: FsspecStore, key: str, expires: float | None) -> None:
    """Print the address of a file, without checking that the file exists."""
    if expires is None:
        click.echo(store.file(key).absolute_url())
    else:
        click.echo(store.signed_url(key, expires=expires))


@command
@click.argument("prefix", default="")
@click.option(
    "--by",
    type=click.Choice(["prefix", "type", "month"]),
    default="prefix",
    show_default=True,
)
@as_json
def usage(
    store: FsspecStore,
    prefix: str,
    by: t.Literal["prefix", "type", "month"],
    as_json: bool,
) -> None:
    """Show how much is stored, the largest first."""
    groups = store.usage(prefix, by)
    if as_json:
        for group in groups:
            click.echo(json.dumps(dataclasses.asdict(group)))
        tell_unreachable(groups.unreachable)
        return
    total = ("total", groups.files, groups.size)
    for name, files, size in [(g.name, g.files, g.size) for g in groups] + [total]:
        click.echo(f"{human(size):>12}  {files:>9} files  {visible(name)}")
    tell_unreachable(groups.unreachable)


@command
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    default=24,
    show_default=True,
    metavar="HOURS",
    help="Leave alone what may still be going on.",
)
@click.option("--orphans", is_flag=True, help="Also files that are in no row.")
@click.option("--dry-run/--yes", default=True, help="Only show it, or remove it.")
def sweep(store: FsspecStore, older_than: float, orphans: bool, dry_run: bool) -> None:
    """Find the unfinished uploads of killed processes; remove them with --yes.

    --orphans asks every StoredFile and FlaskStoreType column of Flask-SQLAlchemy. A
    file that the application keeps elsewhere is in no row either: look first.
    """
    age = dt.timedelta(hours=older_than)
    names = list(store.sweep(older_than=age, dry_run=dry_run))
    for name in names:
        click.echo(visible(name))
    lost = _sweep_orphans(store, age, dry_run) if orphans else []
    for name in lost:
        click.echo(visible(name))
    if dry_run and (names or lost):
        click.echo("Nothing was removed. Pass --yes to remove these.", err=True)
    elif dry_run:
        click.echo("There is nothing to remove.", err=True)


def _sweep_orphans(store: FsspecStore, age: dt.timedelta, dry_run: bool) -> list[str]:
    database = current_app.extensions.get("sqlalchemy")
    if database is None:
        raise click.ClickException(
            "The application has no Flask-SQLAlchemy to ask for the rows. Call"
            " flask_store.sqla.sweep() with your session and columns."
        )
    from .. import sqla

    columns = [c for data in database.metadatas.values() for c in sqla.columns_of(data)]
    if not columns:
        raise click.ClickException(
            "No table has a StoredFile or FlaskStoreType column, so that every file"
            " would be taken for an orphan."
        )
    return sqla.sweep(store, database.session, columns, age, dry_run)


@command
def pending(store: FsspecStore) -> None:
    """List the background uploads of this host that have not arrived yet."""
    for entry in store.pending():
        state = "parked" if entry.parked else f"{entry.attempts} tries"
        cause = f"  {visible(entry.cause)}" if entry.cause else ""
        click.echo(f"{entry.size:>12}  {state:>9}  {visible(entry.key)}{cause}")


def _record(file: FileWrapper) -> dict[str, t.Any]:
    return {name: getattr(file, name) for name in (*COLUMNS, "checksum")}


def _json(file: FileWrapper) -> str:
    # The date is the only value that JSON does not have.
    return json.dumps(_record(file), default=dt.datetime.isoformat)


VERBS = (ls, info, cat, get, put, rm, cp, mv, url, usage, sweep, pending)
