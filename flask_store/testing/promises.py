"""What the stores promise, and which test of a contract checks what."""

from __future__ import annotations

import enum
import typing as t


class Promise(enum.StrEnum):
    """What stores promise, in the words of the tables in the documentation."""

    NEVER_OVERWRITES = "Never overwrites"
    ALL_OR_NOTHING = "All or nothing"
    NOTHING_ESCAPES = "Nothing escapes"
    BOUNDED_MEMORY = "Bounded memory"
    CONTENT = "Bytes, type and name"
    REST = "The rest"
    REFUSES_TO_WRITE = "Refuses to write"


Test = t.TypeVar("Test", bound=t.Callable[..., object])


def holds(promise: Promise) -> t.Callable[[Test], Test]:
    """Say which promise a test of a contract checks, for the tables."""

    def mark(test: Test) -> Test:
        setattr(test, "promise", promise)  # noqa: B010
        return test

    return mark


def promised(contract: type) -> dict[Promise, set[str]]:
    """The names of a contract's own tests, by what they check."""
    tests: dict[Promise, set[str]] = {}
    for name, member in vars(contract).items():
        if name.startswith("test_"):
            promise = getattr(member, "promise", Promise.REST)
            tests.setdefault(promise, set()).add(name)
    return {promise: tests[promise] for promise in Promise if promise in tests}
