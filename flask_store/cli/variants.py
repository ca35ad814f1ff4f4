"""``flask store variants``: makes the variants of what is stored, or removes them."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import click
from flask import current_app
from flask import Flask

from ..exceptions import BadPicture
from ..exceptions import FileNotFound
from ..files import FileWrapper
from ..images.spec import Spec
from ..images.variant import spec_of
from ..images.variant import Variant
from ..stores.fsspec import FsspecStore
from ..sync import Outcome
from ..sync import spread
from ..views.table import visible
from .command import command
from .command import redacted
from .progress import progress
from .verbs import tell_unreachable
from .verbs import yes

#: What the sum calls each status.
WORDS = {
    "made": "made",
    "present": "already there",
    "refused": "refused",
    "failed": "failed",
}


@command
@click.argument("name")
@click.argument("prefix", default="")
@click.option("--remove", is_flag=True, help="Remove them; they are made when needed.")
@yes
def variants(
    store: FsspecStore, name: str, prefix: str, remove: bool, yes: bool
) -> None:
    """Make a variant of every picture below a folder, before somebody asks for it.

    NAME is one of STORE_VARIANTS. A picture is a file whose type begins with image/.
    """
    try:
        spec = spec_of(store, name, {})
    except ValueError as exc:
        raise click.UsageError(str(exc)) from None
    assert store.variants is not None  # spec_of() has looked
    listing = store.ls(prefix)
    if remove:
        _remove(store, spec, [f.key for f in listing] if prefix else None, yes)
    else:
        pictures = [f for f in listing if f.content_type.startswith("image/")]
        _make(spec, pictures, store.variants.makers)
    tell_unreachable(listing.unreachable)


def _make(spec: Spec, pictures: list[FileWrapper], makers: int) -> None:
    """Make the variants, several at a time, and say what came of it."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    counts: Counter[str] = Counter()
    tasks = ((_make_one, picture, spec, app) for picture in pictures)
    with progress("variants", str) as callback, ThreadPoolExecutor(makers) as pool:
        callback.set_size(len(pictures))
        for outcome in spread(pool, tasks):
            counts[outcome.status] += 1
            callback.relative_update()
            if outcome.reason:
                reason = redacted(visible(" ".join(outcome.reason.split())))
                line = f"{outcome.status}: {visible(outcome.name)} {reason}"
                click.echo(line, err=True)
    click.echo(
        ", ".join(f"{word} {counts[status]:,}" for status, word in WORDS.items())
    )
    if counts["failed"]:
        raise click.exceptions.Exit(1)


def _make_one(picture: FileWrapper, spec: Spec, app: Flask) -> Outcome:
    """Make the variants of a picture, in a thread."""
    try:
        with app.app_context():
            made = [Variant(picture, each).make() for each in spec.formats()]
    except BadPicture as exc:
        return Outcome(picture.name, "refused", reason=str(exc))
    except FileNotFound:
        return Outcome(picture.name, "deleted")  # since it was listed
    return Outcome(picture.name, "made" if any(made) else "present")


def _remove(store: FsspecStore, spec: Spec, keys: list[str] | None, yes: bool) -> None:
    """Remove the variants of some pictures, or of all."""
    assert store.variants is not None  # spec_of() has looked
    names = store.variants.stored(store, spec, keys)
    if names and not yes:
        click.confirm(f"Remove {len(names):,} variants?", abort=True, err=True)
    store.variants.remove(store, names)
    click.echo(f"removed {len(names):,}")
