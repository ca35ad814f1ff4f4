"""Stored files in JSON: ``jsonify(f)`` and ``return {"photo": f}`` in a view."""

from __future__ import annotations

import typing as t
from collections.abc import Callable

from flask import Flask

from ..files import FileWrapper


class Default:
    """What a JSON provider calls for a value that JSON does not have.

    :param others: what the provider calls for every value but a stored file.
    """

    def __init__(self, others: Callable[[t.Any], t.Any]) -> None:
        self.others = others

    def __call__(self, value: t.Any) -> t.Any:
        if isinstance(value, FileWrapper):
            return value.to_dict()
        return self.others(value)


def install(app: Flask) -> None:
    """Let the JSON provider of an application take stored files, by their
    :meth:`~flask_store.files.FileWrapper.to_dict`.

    The provider stays the application's own. One without a ``default``, as
    :class:`flask.json.provider.DefaultJSONProvider` has it, is left as it is.
    """
    provider: t.Any = app.json
    others = getattr(provider, "default", None)
    if callable(others) and not isinstance(others, Default):
        provider.default = Default(others)
