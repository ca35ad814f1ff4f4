"""How much is stored: files and bytes, by folder, by type or by month."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .. import naming
from .table import html_table
from .table import human
from .table import UNITS

if t.TYPE_CHECKING:
    from ..dialects import Unreachable
    from ..files import FileWrapper
    from .listing import Listing

By: t.TypeAlias = t.Literal["prefix", "type", "month"]


@dataclass(frozen=True)
class Group:
    """Some of the stored files.

    :param name: the folder, media type or month that they have in common.
    :param files: the number of files.
    :param size: of all of them, in bytes.
    """

    name: str
    files: int
    size: int


class Usage(list[Group]):
    """The groups, from the largest to the smallest; months in their order.

    pandas and polars can make a DataFrame of it.
    """

    by: By = "prefix"
    #: The names that no operation can reach. They are not counted.
    unreachable: t.Sequence[Unreachable] = ()

    @property
    def size(self) -> int:
        """The size of everything, in bytes."""
        return sum(group.size for group in self)

    @property
    def files(self) -> int:
        """The number of all files."""
        return sum(group.files for group in self)

    def plot(self, ax: t.Any = None) -> t.Any:
        """Draw bars; needs matplotlib.

        :param ax: the axes to draw on; by default new ones.
        :return: the axes.
        """
        from matplotlib import pyplot

        if ax is None:
            ax = pyplot.subplots()[1]
        most = human(max((group.size for group in self), default=0))
        unit = most.rpartition(" ")[2]
        # matplotlib would read '$' as the start of a formula.
        names = [group.name.replace("$", r"\$") for group in self]
        ax.barh(range(len(self)), [group.size / UNITS[unit] for group in self])
        ax.set_yticks(range(len(self)), labels=names)
        ax.invert_yaxis()
        ax.set_xlabel(unit)
        return ax

    def _repr_html_(self) -> str:
        rows = [(group.name, f"{group.files:,}", human(group.size)) for group in self]
        below = f"{self.files:,} files, {human(self.size)}"
        if self.unreachable:
            below += f"; {len(self.unreachable):,} names that cannot be used"
        return html_table((self.by, "files", "size"), rows, below)


def measure(listing: Listing, by: By) -> Usage:
    """Count the listed files.

    :param listing: the files to count; the names of the groups leave out its prefix.
    :raises ValueError: if *by* is not one of the three.
    """
    if by not in t.get_args(By):
        raise ValueError(f"by is {by!r}; it must be 'prefix', 'type' or 'month'.")
    folder = naming.join(listing.prefix.strip("/"))
    skip = len(folder) + 1 if folder else 0
    totals: dict[str, list[int]] = {}
    for file in listing:
        total = totals.setdefault(_group(file, skip, by), [0, 0])
        total[0] += 1
        total[1] += file.size
    groups = Usage(Group(name, *total) for name, total in totals.items())
    groups.sort(key=lambda g: g.name if by == "month" else (-g.size, g.name))
    groups.by = by
    groups.unreachable = listing.unreachable
    return groups


def _group(file: FileWrapper, skip: int, by: By) -> str:
    if by == "type":
        return file.content_type
    if by == "month":
        return f"{file.modified:%Y-%m}" if file.modified else "unknown"
    folder, slash, _ = file.name[skip:].rpartition("/")
    return f"{folder.partition('/')[0]}/" if slash else "./"
