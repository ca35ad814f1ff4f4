"""What tus 1.0.0 asks of a server, and the test of each rule, as the docs show it.

``python -m tests.support.tus_rules > docs/tus_table.inc`` writes the table of
docs/resumable.rst.
"""

from __future__ import annotations

import typing as t

#: The level of a rule in the specification (RFC 2119).
Level = t.Literal["MUST", "SHOULD"]

T = t.TypeVar("T", bound=t.Callable[..., None])


class Rule(t.NamedTuple):
    """One rule, in our words.

    :param section: of the specification.
    """

    section: str
    level: Level
    text: str
    test: str


RULES: list[Rule] = []


def rule(section: str, level: Level, text: str) -> t.Callable[[T], T]:
    """Say which rule of the specification a test is for."""

    def mark(test: T) -> T:
        RULES.append(Rule(section, level, text, test.__name__))
        return test

    return mark


def table() -> str:
    """The rules as a table of reStructuredText."""
    lines = [".. list-table::", "    :header-rows: 1", "    :widths: 22 12 66", ""]
    for row in [("Section", "Level", "Rule"), *(found[:3] for found in RULES)]:
        first, *rest = row
        lines += [f"    * - {first}", *(f"      - {cell}" for cell in rest)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    from tests.local import test_tus
    from tests.support import tus_rules

    assert test_tus
    print(tus_rules.table(), end="")
