"""Patterns for names, as ``glob`` takes them, in text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from dataclasses import field

from fsspec.utils import glob_translate

from ..exceptions import InvalidName
from ..naming import quoted

#: What makes a pattern of a name.
WILDCARDS = re.compile(r"[*?[]")
#: What fsspec makes of a set of characters, such as ``[!a]``, in a regular expression;
#: and, so that it is not taken for one, an escaped character.
_SET = re.compile(r"\\.|\[\^?\]?(?:\\.|[^]\\])*\]|\.(?![+*])", re.DOTALL)
_NO_SLASH = "[^/]"


@dataclass(frozen=True)
class Pattern:
    """A pattern for the names of files.

    ``*`` and ``?`` match no slash, ``[...]`` matches one of some characters, and ``**``
    as a whole part matches any number of folders. fsspec defines all of that.

    :param text: such as ``2026/**/*.csv``.
    :raises InvalidName: if it is no pattern of a relative name.
    """

    text: str
    _regex: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.text or self.text.startswith("/") or self.text.endswith("/"):
            raise InvalidName(
                f"The pattern {quoted(self.text)} matches no file. Write it relative"
                " to the store's destination, such as '2026/**/*.csv'."
            )
        try:
            regex = re.compile(_SET.sub(_without_slash, glob_translate(self.text)))
        except ValueError as exc:
            raise InvalidName(
                f"{quoted(self.text)} is no pattern: {exc}. Write '**' as a whole part,"
                " such as '2026/**/*.csv'."
            ) from exc
        object.__setattr__(self, "_regex", regex)

    @property
    def folder(self) -> str:
        """The folder in which all names that match are: the parts before the first one
        that has a wildcard."""
        parts = self.text.split("/")[:-1]
        fixed = next(
            (i for i, part in enumerate(parts) if WILDCARDS.search(part)), len(parts)
        )
        return "/".join(parts[:fixed])

    @property
    def is_flat(self) -> bool:
        """Whether all names that match are right in :attr:`folder`."""
        name = self.text[len(self.folder) :].lstrip("/")
        return "/" not in name and name != "**"

    def matches(self, name: str) -> bool:
        """Whether a name matches."""
        return self._regex.match(name) is not None


def _without_slash(match: re.Match[str]) -> str:
    """A set that matches no slash, as those of a shell (POSIX.1-2017, "Shell Command
    Language", section 2.13.3). Those of fsspec match one if they are negated."""
    found = match[0]
    if found == ".":  # what fsspec makes of a set without a character, such as [!b-a]
        return _NO_SLASH
    is_set = found.startswith("[") and found != _NO_SLASH
    return f"(?!/){found}" if is_set else found
