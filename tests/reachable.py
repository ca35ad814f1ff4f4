"""Everything that can be reached from an object, and what it shows of itself."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import logging
import threading
import types
import typing as t
import weakref
from collections.abc import Iterator
from collections.abc import Mapping

from flask import Flask

from flask_store.secrecy import Options

#: The containers whose repr is that of what they contain.
PLAIN = (dict, list, tuple, set, frozenset, collections.deque)
#: Of these there is nothing to see, or they belong to the application.
LEAVES = (
    *(str, bytes, bytearray, memoryview, int, float, complex, type(None)),
    *(types.ModuleType, types.CodeType, types.FrameType, Flask),
    *(logging.Logger, logging.Manager, threading.Thread, asyncio.AbstractEventLoop),
)


class Seen(t.NamedTuple):
    """An object, and the way to it.

    :param path: how it was reached.
    :param shows: whether it decides itself what its repr shows. A plain container does
        not: what it holds are the options in an :class:`Options`, or the attributes of
        somebody else's object.
    """

    found: t.Any
    path: str
    shows: bool


def walk(start: t.Any, limit: int) -> Iterator[Seen]:
    """Everything reachable, the nearest first, without asking the garbage collector.

    :param limit: how many objects at most.
    """
    waiting = collections.deque([Seen(start, "store", True)])
    known: dict[int, t.Any] = {}
    while waiting and len(known) < limit:
        seen = waiting.popleft()
        # What is kept here has an id of its own until the end.
        if id(seen.found) in known or isinstance(seen.found, LEAVES):
            continue
        known[id(seen.found)] = seen.found
        yield seen
        for step, found in _within(seen.found):
            inherits = type(seen.found) in PLAIN and not seen.shows
            foreign = inherits or not _is_ours(seen.found)
            shows = type(found) not in PLAIN or not foreign
            waiting.append(Seen(found, seen.path + step, shows))


def _is_ours(found: t.Any) -> bool:
    """Whether an object decides what the containers in it show."""
    if isinstance(found, Options):
        return False
    if type(found) in PLAIN or isinstance(found, types.MethodType | types.FunctionType):
        return True
    kinds = found.__mro__ if isinstance(found, type) else type(found).__mro__
    return any(kind.__module__.startswith("flask_store") for kind in kinds)


def _within(found: t.Any) -> Iterator[tuple[str, t.Any]]:
    """What an object leads to, and by which step."""
    if isinstance(found, Mapping):
        with contextlib.suppress(NotImplementedError):  # of urllib3's pools
            for key, value in list(found.items()):
                yield "{}", key
                yield f"[{key if isinstance(key, str) else '...'}]", value
    elif isinstance(found, PLAIN):
        yield from (("[]", value) for value in list(found))
    elif isinstance(found, types.MethodType):
        yield from ((".__self__", found.__self__), (".__func__", found.__func__))
    elif isinstance(found, types.FunctionType):
        for cell in found.__closure__ or ():
            try:
                yield "()", cell.cell_contents
            except ValueError:
                pass  # not assigned yet
        yield from (("()", value) for value in found.__defaults__ or ())
        yield "()", found.__kwdefaults__
    elif isinstance(found, functools.partial):
        yield from ((".func", found.func), (".args", found.args))
        yield ".keywords", found.keywords
    elif isinstance(found, types.GeneratorType | types.CoroutineType):
        frame = getattr(found, "gi_frame", None) or getattr(found, "cr_frame", None)
        yield from (frame.f_locals if frame else {}).items()
    elif isinstance(found, weakref.ref):
        yield "()", found()
    if isinstance(found, type):
        if _is_ours(found):
            yield from ((f".{name}", value) for name, value in vars(found).items())
        return
    if isinstance(found, types.FunctionType):
        return
    if isinstance(found, BaseException):
        yield from ((".args", found.args), (".__cause__", found.__cause__))
        yield ".__context__", found.__context__
    yield from ((f".{name}", value) for name, value in _attributes(found))
    if _is_ours(found):
        yield "#", type(found)


def _attributes(found: t.Any) -> Iterator[tuple[str, t.Any]]:
    """The attributes that an object holds, without calling any code of it."""
    try:
        yield from list(object.__getattribute__(found, "__dict__").items())
    except (AttributeError, TypeError):
        pass
    for kind in type(found).__mro__:
        for name, member in vars(kind).items():
            if isinstance(member, types.MemberDescriptorType):
                try:
                    yield name, member.__get__(found)
                except AttributeError:
                    pass  # not assigned


def shown(seen: Seen) -> Iterator[str]:
    """The texts in which an object shows itself."""
    found = seen.found
    if not seen.shows or isinstance(found, type):
        return
    for show in (repr, str, format):
        own = getattr(type(found), f"__{show.__name__}__", None)
        if show is not repr and own is getattr(object, f"__{show.__name__}__"):
            continue  # the same as its repr
        try:
            yield show(found)  # type: ignore[operator]
        except Exception:
            continue  # it shows nothing
