"""How Alembic's autogenerate writes the column types down."""

from __future__ import annotations

import typing as t


def render_item(
    kind: str, item: t.Any, autogen_context: t.Any
) -> str | t.Literal[False]:
    """For ``context.configure(render_item=...)`` in ``env.py``.

    A migration needs the shape of a column and nothing of what the application does
    with it, so the types become the plain ``sa.String`` that they are.
    """
    from .column import StoredFile
    from .legacy import FlaskStoreType

    if kind == "type" and isinstance(item, StoredFile | FlaskStoreType):
        return f"sa.{item.impl!r}"
    return False
