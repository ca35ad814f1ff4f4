"""The current application: references to its stores, which pickles hold in their place,
and the sender of signals."""

from __future__ import annotations

import typing as t

from flask import current_app
from flask import has_app_context

from ..exceptions import NotConfiguredError


def sender() -> t.Any:
    """The sender of a signal: the current application, or ``None`` outside of one."""
    # Receivers compare the application itself, not the proxy.
    return current_app._get_current_object() if current_app else None  # type: ignore


class ApplicationStore(t.NamedTuple):
    """A reference to a store of the current application.

    :param extension: the key of the store in ``app.extensions``.
    :param destination: the folder of the store, or what chooses one.
    """

    extension: str
    destination: t.Any

    def find(self) -> t.Any:
        """The store of the current application.

        :raises NotConfiguredError: if there is no application, or it has no such store.
        """
        return find_extension(self.extension).at(self.destination)

    def __repr__(self) -> str:
        return f"<{_named(self.extension)} of an application>"


def find_extension(extension: str) -> t.Any:
    """The ``Store`` of the current application.

    :param extension: the key of the store in ``app.extensions``.
    :raises NotConfiguredError: if there is no application, or it has no such store.
    """
    if not has_app_context():
        raise NotConfiguredError(
            f"This object comes from a pickle and belongs to {_named(extension)} of an"
            " application, but no application is current. Use it in a view, or in"
            " 'with app.app_context():'."
        )
    found = current_app.extensions.get(extension)
    if found is None:
        name = extension.partition(".")[2]
        arguments = f"app, name={name!r}" if name else "app"
        raise NotConfiguredError(
            f"This object comes from a pickle and belongs to {_named(extension)}, which"
            f" the application {current_app.name!r} does not have. Create it with"
            f" Store({arguments})."
        )
    return found


def _named(extension: str) -> str:
    name = extension.partition(".")[2]
    return f"the store {name!r}" if name else "the store"
