"""Who may read a file by the route of a store: a function of the application says."""

from __future__ import annotations

import typing as t

from flask import after_this_request
from flask import current_app
from flask import make_response
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from ..exceptions import NotConfiguredError
from . import caching
from . import refusals

if t.TYPE_CHECKING:
    from ..files import FileWrapper

#: A function that decides whether the client of the current request may read a file.
Check: t.TypeAlias = "t.Callable[[FileWrapper], t.Any]"

#: The statuses for a file that the client may not read. The second one does not tell
#: that there is such a route.
DENIED = (403, 404)


class Authorization:
    """The decision of an application on each request of a store's route.

    It is made with the store, and gets its function when the application registers one.
    """

    #: The function; without one, everybody may read.
    check: Check | None = None
    #: The status for ``False``.
    denied = 403

    def register(self, check: Check, denied: int) -> None:
        """Let a function decide.

        :raises NotConfiguredError: if there is one already.
        :raises TypeError: if it is none.
        :raises ValueError: if the status is neither 403 nor 404.
        """
        if not callable(check):
            raise TypeError(
                f"authorize() takes a function of the file, not {check!r}. Pass a"
                " status by name: @store.authorize(denied=404)."
            )
        if denied not in DENIED:
            raise ValueError(
                f"denied is {denied!r}; it must be 403 or 404. For another response,"
                " return it from the function or call abort() there."
            )
        if self.check is not None:
            raise NotConfiguredError(
                f"{self.check!r} decides already who may read the files of this store."
                " Let one function decide everything, or use a named store for the"
                " other files."
            )
        self.check, self.denied = check, denied

    def denial(self, file: FileWrapper) -> AnyResponse | None:
        """The response that the client gets in place of the file; ``None`` if it may
        read the file.

        :raises HTTPException: if that is the answer.
        :raises TypeError: if the function returns something else than it may.
        """
        if self.check is None:
            return None

        after_this_request(_keep_private)
        said = current_app.ensure_sync(self.check)(file)
        if said is True:
            return None
        if said is False:
            raise refusals.refusal(self.denied)
        if isinstance(said, HTTPException):
            raise said
        if isinstance(said, (AnyResponse, tuple)):
            return make_response(said)
        raise TypeError(
            f"{self.check!r} returned {said!r} for {file!r}, of which nothing was sent."
            " It must return True, False, a response or an HTTPException."
        )


def _keep_private(response: AnyResponse) -> AnyResponse:
    """Let no shared cache keep what was decided for one client."""
    said = response.headers.get("Cache-Control", "no-store")
    if not caching.is_private(said):
        said = caching.made_private(said)
    response.headers["Cache-Control"] = said
    return response
