"""The public API in text: names, signatures and settings.

Public is what the documentation describes by ``autoclass`` and its like, and what the
modules in :data:`MODULES` export. What has an underscore is private, wherever it is.

A change is accepted by writing the snapshot anew::

    .venv/bin/python -m tests.support.public_api
"""

from __future__ import annotations

import enum
import functools
import importlib
import inspect
import itertools
import re
import types
import typing as t
from collections.abc import Iterator

from flask_store.extension import Verb
from flask_store.settings import TABLE

from .servers import ROOT

SNAPSHOT = ROOT / "tests" / "tables" / "public_api.txt"
COMMAND = f".venv/bin/python -m {__spec__.name}"

#: What applications import everything from, besides what the documentation names.
MODULES = [
    "flask_store",
    "flask_store.exceptions",
    "flask_store.file_wapper",
    "flask_store.filetypes",
    "flask_store.images",
    "flask_store.signals",
    "flask_store.sqla",
    "flask_store.testing",
    "flask_store.validators",
]

_DIRECTIVE = re.compile(
    r"^\.\. (module|data|auto(?:class|function|exception|module)):: ([\w.]+)\n"
    r"(?:    (:members:)(.*)$)?",
    re.M,
)
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
#: Values that are short and always written alike.
_PLAIN = (bool, int, float, str, types.NoneType)


class Annotation(t.NamedTuple):
    """An annotation as it is written in the code, without quotes."""

    text: str

    def __repr__(self) -> str:
        return self.text


def exported(module: types.ModuleType) -> list[str]:
    """The names that a module exports: its ``__all__``, or what it has without an
    underscore, but for modules and what it only uses of other packages."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    for name in dir(module):  # what comes only when it is asked for
        getattr(module, name)
    return sorted(
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and name != "annotations" and _is_own(value)
    )


def _is_own(value: object) -> bool:
    if isinstance(value, type | types.FunctionType):
        return value.__module__.partition(".")[0] == "flask_store"
    # TypeVars and aliases are there for annotations.
    return not isinstance(value, types.ModuleType) and not (
        type(value).__module__ == "typing"
    )


def documented() -> set[str]:
    """The dotted names that the documentation describes."""
    names = set()
    for page in (ROOT / "docs").glob("*.rst"):
        module = ""
        text = page.read_text(encoding="utf-8")
        for kind, name, option, members in _DIRECTIVE.findall(text):
            if kind in ("module", "automodule"):
                module = name
                found = members.split(",") if members else _own(name) if option else []
                names |= {f"{name}.{member.strip()}" for member in found}
            elif name.startswith("flask_store."):
                names.add(name)
            elif module:
                names.add(f"{module}.{name}")
    return names


def _own(module: str) -> list[str]:
    """The functions and classes that are written in a module."""
    found = vars(importlib.import_module(module)).items()
    return [
        name
        for name, value in found
        if not name.startswith("_") and getattr(value, "__module__", "") == module
    ]


def public() -> dict[str, t.Any]:
    """Every public object by the dotted name that it is imported by."""
    names = documented()
    for module in MODULES:
        found = exported(importlib.import_module(module))
        names |= {f"{module}.{name}" for name in found}
    objects = {}
    for name in sorted(names):
        module, _, attribute = name.rpartition(".")
        objects[name] = getattr(importlib.import_module(module), attribute)
    return objects


def lines() -> Iterator[str]:
    """The lines of the snapshot."""
    objects = public()
    classes = [value for value in objects.values() if isinstance(value, type)]
    described: dict[int, str] = {}
    for name, value in objects.items():
        if id(value) in described and isinstance(value, type | types.FunctionType):
            yield f"{name} is {described[id(value)]}"
            continue
        described[id(value)] = name
        if not isinstance(value, type):
            yield _member(name, value)
            continue
        yield f"class {name}{_signature(value)}"
        bases = [base.__name__ for base in value.__bases__ if base is not object]
        if bases:
            yield f"    bases: {', '.join(bases)}"
        for member, found in sorted(_members(value, classes).items()):
            yield f"    {_member(member, found)}"
    for row in TABLE.values():
        yield f"{row.name}: {row.kind.name}, by default {row.default!r}"


def _members(cls: type, classes: list[type]) -> dict[str, t.Any]:
    """What a class has without an underscore, but for what it only inherits of another
    public class or of another package."""
    members: dict[str, t.Any] = {}
    parts = itertools.takewhile(lambda c: c not in classes, cls.__mro__[1:])
    for part in (cls, *parts):
        if not part.__module__.startswith("flask_store"):
            continue
        fields = inspect.get_annotations(part).items()
        names = {name: Annotation(str(text)) for name, text in fields}
        for name, value in {**names, **vars(part)}.items():
            # Tests come and go, and nobody calls them.
            if not name.startswith(("_", "test_")):
                members.setdefault(name, value)
    return members


def _member(name: str, value: t.Any) -> str:
    if isinstance(value, Annotation):
        return f"{name}: {value}"
    if isinstance(value, staticmethod | classmethod):
        return f"{type(value).__name__} {name}{_signature(value.__func__)}"
    if isinstance(value, types.FunctionType):
        kind = "async def" if inspect.iscoroutinefunction(value) else "def"
        return f"{kind} {name}{_signature(value)}"
    if isinstance(value, Verb):
        return f"{name}: that of the store"
    if isinstance(value, property):
        return f"{name}: property{_signature(value.fget).removeprefix('(self)')}"
    if isinstance(value, functools.cached_property):
        return f"{name}: property{_signature(value.func).removeprefix('(self)')}"
    if isinstance(value, _PLAIN):
        return f"{name} = {value!r}"
    return f"{name}: value"


def _signature(value: t.Any) -> str:
    if isinstance(value, type) and not _is_made_here(value):
        return "(...)"
    signature = inspect.signature(value)
    parameters = [
        p.replace(annotation=_written(p.annotation))
        for p in signature.parameters.values()
    ]
    returned = _written(signature.return_annotation)
    if isinstance(value, type):
        returned = inspect.Signature.empty
    signature = signature.replace(parameters=parameters, return_annotation=returned)
    return _ADDRESS.sub("", str(signature))


def _is_made_here(cls: t.Any) -> bool:
    """Whether a function of the class makes an instance. Versions of Python differ in
    what they tell of enumerations, and of classes that are written in C."""
    return not isinstance(cls, enum.EnumMeta) and any(
        isinstance(f, types.FunctionType) for f in (cls.__new__, cls.__init__)
    )


def _written(annotation: t.Any) -> t.Any:
    """An annotation as in the code, whatever made an object of it."""
    if annotation is inspect.Parameter.empty:
        return annotation
    if isinstance(annotation, t.ForwardRef):
        return Annotation(annotation.__forward_arg__)
    if isinstance(annotation, str):
        return Annotation(annotation)
    return Annotation(inspect.formatannotation(annotation))


def snapshot() -> str:
    """The whole snapshot."""
    return "".join(f"{line}\n" for line in lines())


if __name__ == "__main__":
    SNAPSHOT.write_text(snapshot(), encoding="utf-8")
