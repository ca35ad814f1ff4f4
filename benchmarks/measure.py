"""Contenders side by side: interleaved rounds, medians, ratios, and a table of them.

A figure says little by itself: the next run on the same machine gives another one. So
every contender takes its turn in every round, the order of the turns changes from
round to round, and what is printed beside a median is its ratio to one contender's of
the same run. A ratio above 1 is better than that contender.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from collections.abc import Container
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

#: The fewest rounds that a figure in the documentation is made of.
ROUNDS = 7
KB = 1000
MB = 1000**2
GB = 1000**3


def arguments(description: str | None) -> argparse.ArgumentParser:
    """What every benchmark understands: ``--rounds`` and ``--quick``."""
    parser = argparse.ArgumentParser(
        description=(description or "").partition("\n")[0],
        epilog="A ratio above 1 is better than the contender whose ratio is 1.00.",
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: 7")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one round of the smallest sizes, to see that it works",
    )
    return parser


def parsed(
    parser: argparse.ArgumentParser, args: Sequence[str] | None = None
) -> argparse.Namespace:
    """The arguments; ``--quick`` asks for one round."""
    found = parser.parse_args(args)
    if found.quick:
        found.rounds = 1
    return found


def interleaved(
    contenders: Mapping[str, Callable[[], float]], rounds: int
) -> dict[str, list[float]]:
    """Let everybody take a turn in every round, after one round to warm up.

    :param contenders: by label, what is done and how much it took, in any unit.
    :return: the figures of each, one for each round.
    """
    labels = list(contenders)
    found: dict[str, list[float]] = {label: [] for label in labels}
    for number in range(-1, rounds):
        turn = number % len(labels)
        for label in labels[turn:] + labels[:turn]:
            value = contenders[label]()
            if number >= 0:
                found[label].append(value)
    return found


class Table:
    """Cells in columns, printed so that a terminal and reStructuredText take it."""

    def __init__(self, title: str, *head: str) -> None:
        self.title = title
        self.rows: list[tuple[str, ...]] = [head]

    def add(self, *cells: str) -> None:
        """Append a row."""
        self.rows.append(cells)

    def __str__(self) -> str:
        columns = zip(*self.rows, strict=True)
        widths = [max(map(len, column)) for column in columns]
        rule = "  ".join("=" * width for width in widths)
        lines = [
            "  ".join(
                cell.ljust(width) for cell, width in zip(row, widths, strict=True)
            ).rstrip()
            for row in self.rows
        ]
        return "\n".join([self.title, "", rule, lines[0], rule, *lines[1:], rule, ""])

    def show(self) -> None:
        """Print it, at once: the next one may take minutes."""
        print(self, flush=True)


class Comparison:
    """Figures by contender and column, shown as medians with their ratios.

    :param base: the label of the contender whose ratio is 1.
    :param text: how a median is written, such as :func:`seconds`.
    :param more: whether more is better, as of requests per second.
    """

    def __init__(
        self, title: str, base: str, text: Callable[[float], str], more: bool = False
    ) -> None:
        self.title = title
        self.base = base
        self.text = text
        self.more = more
        self.columns: dict[str, dict[str, list[float]]] = {}

    def add(self, column: str, figures: dict[str, list[float]]) -> None:
        """Take what :func:`interleaved` has found for one column."""
        self.columns[column] = figures

    def ratio(self, column: str, label: str) -> float:
        """How many times as good as the base a contender was, by its median."""
        figures = self.columns[column]
        own, base = (statistics.median(figures[name]) for name in (label, self.base))
        return own / base if self.more else base / own

    def table(self) -> Table:
        """A row for each contender, a median and its ratio in each column."""
        table = Table(self.title, "contender", *self.columns)
        for label in dict.fromkeys(x for found in self.columns.values() for x in found):
            table.add(label, *(self._cell(column, label) for column in self.columns))
        return table

    def by_column(self) -> Table:
        """The same with rows for the columns, where these are many."""
        rows = zip(*self.table().rows, strict=True)
        table = Table(self.title, *next(rows))
        for row in rows:
            table.add(*row)
        return table

    def _cell(self, column: str, label: str) -> str:
        if label not in self.columns[column]:
            return "-"
        median = statistics.median(self.columns[column][label])
        return f"{self.text(median)}, {self.ratio(column, label):.2f}"

    def show_goal(self, ours: Iterable[str], peers: Container[str]) -> None:
        """Print how ours compare with whoever was the best of the others."""
        title = f"{self.title} to the best of the others"
        table = Table(title, "contender", *self.columns)
        best = {
            column: max(
                (self.ratio(column, label), label) for label in found if label in peers
            )
            for column, found in self.columns.items()
        }
        for own in ours:
            ratios = (self.ratio(column, own) / best[column][0] for column in best)
            table.add(own, *(f"{ratio:.2f}" for ratio in ratios))
        table.add("the best of the others", *(label for _, label in best.values()))
        table.show()


def seconds(value: float) -> str:
    """A duration in the unit in which it has three digits."""
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e6:.3g} us"


def size(value: float) -> str:
    """A number of bytes, in decimal units."""
    for factor, unit in ((GB, "GB"), (MB, "MB"), (KB, "KB")):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.0f} B"


def mebibytes(value: float) -> str:
    """A number of bytes of memory."""
    return f"{value / 1024**2:.1f} MiB"
