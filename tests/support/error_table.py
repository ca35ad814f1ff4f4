"""What each status of a storage comes to, as a table by rule, and its exceptions.

``python -m tests.support.error_table > docs/errors_table.inc`` writes the table of the
documentation. ``tests/storages/test_statuses.py`` checks that every operation of every
protocol keeps it.
"""

from __future__ import annotations

import typing as t

from flask_store.exceptions import FileNotFound
from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import StoreDenied
from flask_store.exceptions import StoreError
from flask_store.exceptions import StoreFull
from flask_store.exceptions import StoreUnavailable

from .protocol_table import table_row
from .status_server import Reply


class Rule(t.NamedTuple):
    """What some statuses come to.

    :param says: what the statuses mean.
    """

    statuses: tuple[int, ...]
    error: type[StoreError]
    says: str


RULES = (
    Rule((401, 403, 407), StoreDenied, "the credentials or permissions do not suffice"),
    Rule((404, 410), FileNotFound, "the file does not exist"),
    Rule((507,), StoreFull, "the storage is full"),
    Rule(
        (408, 409, 423, 429, 500, 502, 503, 504),
        StoreUnavailable,
        "the storage is busy, or another client has locked the file",
    ),
    Rule(
        (400, 405, 411, 412, 413, 416, 501),
        StoreError,
        "the storage does not accept this request",
    ),
    Rule((200, 301, 302), StoreUnavailable, "a proxy or another server answers"),
)

#: What the application's route answers.
ROUTE: dict[type[StoreError], int] = {
    StoreDenied: 502,
    FileNotFound: 404,
    StoreFull: 507,
    StoreUnavailable: 503,
    StoreError: 502,
    NotConfiguredError: 502,
}

#: The statuses with which a proxy, a load balancer or a firewall sends a page.
PAGES = (200, 301, 302, 400, 401, 403, 404, 405, 413, 429, 500, 502, 503, 504)

#: Every reply that is tried: each status as the storage words it, and some as a page.
REPLIES: tuple[Reply, ...] = (
    *(Reply(s) for rule in RULES for s in rule.statuses if s >= 400 and s != 410),
    *(Reply(status, "page") for status in PAGES),
    Reply(200, "nobody"),
    Reply(503, "nobody"),
)


def error_of(status: int) -> type[StoreError]:
    """The class for a status, by the rules."""
    return next(rule.error for rule in RULES if status in rule.statuses)


def lines() -> list[str]:
    """The table of the documentation."""
    found = [".. list-table::", "   :header-rows: 1", ""]
    found += table_row(["Status", "Meaning", "Error", "Status of the route"])
    for rule in RULES:
        answered = str(ROUTE[rule.error])
        if rule.error is StoreUnavailable:
            answered += ", with ``Retry-After``"
        found += table_row(
            [
                ", ".join(map(str, rule.statuses)),
                rule.says,
                f":exc:`~flask_store.exceptions.{rule.error.__name__}`",
                answered,
            ]
        )
    return found


if __name__ == "__main__":
    print("\n".join(lines()))
