"""The licences of what Flask-Store and its extras install, as their metadata says.

.venv/bin/python -m tests.support.licences
"""

from __future__ import annotations

import re
import typing as t
from importlib import metadata

from packaging.requirements import Requirement

#: Licences that let an application keep its own: permissive ones, and those whose
#: conditions end with their own files or library.
ALLOWED = re.compile(
    r"\b(0BSD|Apache|BSD|3-Clause BSD|EPL|HPND|ISC|LGPL|MIT|MPL|Mozilla|PSF|Unlicense"
    r"|Python Software Foundation|GNU Lesser General Public|ZPL|Zlib)\b"
)


class Licence(t.NamedTuple):
    """A package and its licence."""

    package: str
    version: str
    text: str

    @property
    def is_allowed(self) -> bool:
        """Whether an application may choose one that is."""
        return any(
            all(map(ALLOWED.search, re.split(r" AND |; ", choice)))
            for choice in self.text.split(" OR ")
        )


def licence(found: metadata.Distribution) -> Licence:
    """What a package says: an expression of SPDX (PEP 639), its classifiers, or a word
    in the field of older packages, which may also be the whole text of the licence."""
    said = found.metadata
    kinds = [c for c in said.get_all("Classifier") or () if c.startswith("License ::")]
    names = [name for c in kinds if (name := c.split(" :: ")[-1]) != "OSI Approved"]
    text = said.get("License-Expression") or "; ".join(names) or said.get("License")
    return Licence(said["Name"], found.version, (text or "unknown").splitlines()[0])


def installed(name: str, extras: frozenset[str]) -> dict[str, metadata.Distribution]:
    """A package and all that it needs, by name, but for what a marker leaves out
    on this machine."""
    found: dict[str, metadata.Distribution] = {}
    todo = [(name, extras)]
    seen = set()
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found[name] = distribution = metadata.distribution(name)
        for text in distribution.requires or ():
            needed = Requirement(text)
            marker = needed.marker
            if marker is None or any(
                marker.evaluate({"extra": extra}) for extra in extras or {""}
            ):
                normal = re.sub(r"[-_.]+", "-", needed.name).lower()
                todo.append((normal, frozenset(needed.extras)))
    return found


def licences() -> list[Licence]:
    """Those of everything that ``Flask-Store[all]`` installs, without itself."""
    found = installed("flask-store", frozenset({"all"}))
    del found["flask-store"]
    return sorted(map(licence, found.values()))


if __name__ == "__main__":
    for one in licences():
        print(f"{one.package} {one.version}: {one.text}")
