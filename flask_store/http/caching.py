"""Which caches may keep a file, and for how long (RFC 9111, section 5.2). Pure."""

from __future__ import annotations

from functools import lru_cache

from werkzeug.http import dump_header
from werkzeug.http import parse_dict_header

#: What lets a shared cache keep a response, or lets any cache send it when its time has
#: passed (RFC 5861).
_SHARED = {
    *("public", "private", "s-maxage", "proxy-revalidate"),
    *("stale-while-revalidate", "stale-if-error"),
}
#: What says for how long a response may be kept.
_FRESHNESS = {"max-age", "no-cache", "no-store"}


@lru_cache
def cache_control(
    stored: str | None, setting: str | None, private: bool, remaining: int | None
) -> str:
    """The ``Cache-Control`` of a file.

    :param stored: the one that the storage keeps with the file. It goes before the
        setting.
    :param setting: the one for all files of the store.
    :param private: whether no shared cache may keep the file.
    :param remaining: for how many seconds the link of the request is good; ``None`` if
        it is no signed one. A setting may be longer than that, as it says.
    """
    if remaining is None:
        said = stored or setting or "no-cache"
        return made_private(said) if private else said
    if setting and not stored and not private:
        return setting
    return made_private(stored or setting or "", remaining)


def made_private(said: str, longest: int | None = None) -> str:
    """A ``Cache-Control`` with which nobody but the client keeps the response.

    :param said: the one to begin with.
    :param longest: in seconds, for how long the client may keep it without asking; by
        default as long as it says, or not at all if it does not say.
    """
    directives = {
        name.lower(): value
        for name, value in parse_dict_header(said).items()
        if name.lower() not in _SHARED
    }
    age = directives.get("max-age") or ""
    if longest is not None and age.isdecimal():
        directives["max-age"] = str(min(int(age), longest))
    elif _FRESHNESS.isdisjoint(directives):
        directives |= (
            {"no-cache": None} if longest is None else {"max-age": str(longest)}
        )
    return dump_header({"private": None, **directives})


def is_private(said: str) -> bool:
    """Whether a ``Cache-Control`` keeps a response out of shared caches. ``private``
    with the names of headers keeps out these headers alone."""
    directives = {name.lower(): v for name, v in parse_dict_header(said).items()}
    return "no-store" in directives or directives.get("private", "") is None
