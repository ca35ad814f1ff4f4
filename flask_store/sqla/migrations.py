"""How Alembic's autogenerate writes the column types."""

from __future__ import annotations

import typing as t


def render_item(
    kind: str, item: t.Any, autogen_context: t.Any
) -> str | t.Literal[False]:
    """For ``context.configure(render_item=...)`` in ``env.py``.

    A migration needs only the type in the database. So this writes ``sa.String``, which
    needs no import of Flask-Store.
    """
    from .column import StoredFile
    from .legacy import FlaskStoreType

    if kind == "type" and isinstance(item, StoredFile | FlaskStoreType):
        return f"sa.{item.impl!r}"
    return False
