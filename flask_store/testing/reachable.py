"""Everything that can be reached from an object, and where it shows a secret."""

from __future__ import annotations

import asyncio
import base64
import collections
import contextlib
import functools
import logging
import threading
import types
import typing as t
import weakref
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from urllib.parse import quote

from flask import Flask
from fsspec import AbstractFileSystem

from ..secrecy import Options

#: The containers whose repr is that of what they contain.
PLAIN = (dict, list, tuple, set, frozenset, collections.deque, collections.OrderedDict)
#: In these there is nothing to see, or they belong to the application or the process.
LEAVES = (
    *(str, bytes, bytearray, memoryview, int, float, complex, type(None)),
    *weakref.ProxyTypes,
    *(types.ModuleType, types.CodeType, types.FrameType, threading.Thread, Flask),
    *(logging.Logger, logging.Manager, asyncio.AbstractEventLoop),
)
#: The modules whose objects are botocore's descriptions of Amazon's services.
DATA = (
    *("botocore.loaders", "botocore.model", "botocore.endpoint_provider"),
    "botocore.regions",
)
#: More objects than any store has; whoever reaches as many has left the store.
LIMIT = 20_000


class Seen(t.NamedTuple):
    """An object, and the way to it.

    :param path: how it was reached.
    :param shows: whether its repr is its own. A plain container's is not where it holds
        values of :class:`Options`, or attributes of another library's object.
    """

    found: t.Any
    path: str
    shows: bool


class Walked(t.NamedTuple):
    """What came of a walk.

    :param objects: how many there were.
    :param compared: in how many texts they show themselves.
    :param leaks: where a secret was shown, and in which text.
    """

    objects: int
    compared: int
    leaks: list[str]


def spelled(*secrets: str) -> set[str]:
    """Secrets in the ways in which they may be written."""
    return {
        text
        for secret in secrets
        for text in (
            secret,
            quote(secret),
            quote(secret, safe=""),
            repr(secret)[1:-1],
            base64.b64encode(secret.encode()).decode().rstrip("="),
            # As RFC 7617 has it, behind a user of three letters.
            base64.b64encode(secret.encode()).decode().rstrip("=")[4:],
        )
    }


def search(start: t.Any, secrets: Iterable[str]) -> Walked:
    """Look at everything that can be reached."""
    objects = compared = 0
    leaks = []
    for seen in walk(start):
        objects += 1
        for text in _texts(seen):
            compared += 1
            if any(secret in text for secret in secrets):
                leaks.append(f"{seen.path}: {type(seen.found)} shows {text[:200]}")
    return Walked(objects, compared, leaks)


def walk(start: t.Any) -> Iterator[Seen]:
    """Everything reachable, the nearest first, without asking the garbage collector."""
    waiting = collections.deque([Seen(start, "", True)])
    known: dict[int, t.Any] = {}  # what is kept here keeps its id, too
    while waiting:
        seen = waiting.popleft()
        kind = type(seen.found)
        leaf = issubclass(kind, LEAVES) or kind.__module__ in DATA
        if leaf or id(seen.found) in known:
            continue
        known[id(seen.found)] = seen.found
        assert len(known) < LIMIT, f"at {seen.path}"
        yield seen
        inherited = type(seen.found) in PLAIN and not seen.shows
        shows_all = _is_ours(seen.found) and not inherited
        for step, found in _within(seen.found):
            shows = shows_all or type(found) not in PLAIN
            waiting.append(Seen(found, seen.path + step, shows))


def _is_ours(found: t.Any) -> bool:
    """Whether the plain containers in an object have to be fit to be shown."""
    if isinstance(found, Options):
        return False
    if type(found) in PLAIN or isinstance(found, types.MethodType | types.FunctionType):
        return True
    kinds = found.__mro__ if isinstance(found, type) else type(found).__mro__
    # Ours derive from fsspec's, whose constructors keep what they are given.
    return AbstractFileSystem not in kinds and any(
        str(kind.__module__).startswith("flask_store") for kind in kinds
    )


def _within(found: t.Any) -> Iterator[tuple[str, t.Any]]:
    """What an object leads to, and by which step."""
    if isinstance(found, types.FunctionType):
        for cell in found.__closure__ or ():
            with contextlib.suppress(ValueError):  # not assigned yet
                yield "()", cell.cell_contents
        yield from (("()", value) for value in found.__defaults__ or ())
        yield "()", found.__kwdefaults__
        return
    if isinstance(found, type):
        if _is_ours(found):
            yield from ((f".{name}", value) for name, value in vars(found).items())
        return
    if isinstance(found, Mapping):
        with contextlib.suppress(NotImplementedError):  # of urllib3's pools
            for key, value in list(found.items()):
                yield "{}", key
                yield f"[{key if isinstance(key, str) else '...'}]", value
    elif isinstance(found, PLAIN):
        yield from (("[]", value) for value in list(found))
    elif isinstance(found, types.MethodType):
        yield from ((".__self__", found.__self__), (".__func__", found.__func__))
    elif isinstance(found, functools.partial):
        yield from ((".func", found.func), (".args", found.args))
        yield ".keywords", found.keywords
    elif isinstance(found, types.GeneratorType):
        frame = found.gi_frame
        yield from (frame.f_locals if frame else {}).items()
    elif isinstance(found, weakref.ref):
        yield "()", found()
    elif isinstance(found, BaseException):
        yield from ((".args", found.args), (".__cause__", found.__cause__))
        yield ".__context__", found.__context__
    yield from ((f".{name}", value) for name, value in _attributes(found))
    if _is_ours(found):
        yield "#", type(found)


def _attributes(found: t.Any) -> Iterator[tuple[str, t.Any]]:
    """The attributes that an object holds, without calling any code of it."""
    with contextlib.suppress(AttributeError, TypeError):
        yield from list(object.__getattribute__(found, "__dict__").items())
    for kind in type(found).__mro__:
        for name, member in list(vars(kind).items()):
            if isinstance(member, types.MemberDescriptorType):
                with contextlib.suppress(AttributeError):  # not assigned
                    yield name, member.__get__(found)


def _texts(seen: Seen) -> Iterator[str]:
    """The texts in which an object shows itself."""
    if not seen.shows or isinstance(seen.found, type):
        return
    for show, name in ((repr, "__repr__"), (str, "__str__"), (format, "__format__")):
        own = getattr(type(seen.found), name, None)
        if show is repr or own is not getattr(object, name):
            with contextlib.suppress(Exception):
                yield show(seen.found)
