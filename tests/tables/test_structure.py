"""The package has few rooms, and no two of its modules import each other."""

from __future__ import annotations

import ast
import graphlib
import pathlib

from tests.support.servers import ROOT

PACKAGE = "flask_store"
#: How many files and folders the package has at most at its top.
ROOMS = 28


def modules() -> dict[str, pathlib.Path]:
    """Every module of the package, by its dotted name."""
    named = {}
    for path in pathlib.Path(ROOT, PACKAGE).rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        named[".".join(part for part in parts if part != "__init__")] = path
    return named


def imports(name: str, path: pathlib.Path, known: set[str]) -> set[str]:
    """What one module imports of the package, at its top, in functions, for types."""
    is_package = path.name == "__init__.py"
    package = name.split(".") if is_package else name.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                module = f"{source}.{alias.name}"
                found.add(module if module in known else source)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & known - {name}


def test_no_circle_of_imports() -> None:
    """Who reads one module need not read another one that needs it in turn."""
    named = modules()
    graph = {name: imports(name, path, {*named}) for name, path in named.items()}
    assert len(graph) > 100
    assert sum(map(len, graph.values())) > 300
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names it


def test_few_rooms() -> None:
    """Everything at the top is a thing that a newcomer would look for."""
    top = pathlib.Path(ROOT, PACKAGE).iterdir()
    assert len([path for path in top if path.name != "__pycache__"]) <= ROOMS
