"""What must not be shown: the values of options, and the logins in addresses.

Error reporters, debuggers and ``pytest -l`` print the repr of whatever they meet, and
logs have the messages of errors.
"""

from __future__ import annotations

import re
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from urllib.parse import quote

#: The names of settings and options whose values are secret, with all that is in them.
_SECRET = re.compile(
    r"^(?!.*_ur[il]\Z).*(secret|passw|passphrase|token|credential|authorization|signature|access_key"
    r"|account_?key|((^|[_-])(auth|cookies?|key|params|pwd))\Z)",
    re.IGNORECASE,
)
#: What is shorter stands in many words, and would be no secret for long.
_SHORTEST = 6

#: How many texts of an error and of what it comes from are looked at.
_LONGEST_CHAIN = 40

#: The user and the password of an address (RFC 3986, section 3.2.1), also if somebody
#: forgot to encode a slash in them. What follows a host and its port is a path.
_LOGIN = re.compile(r"(?<=://)([^\s'\"/@]*|[^\s'\"/@:\[]*:(?!\d+/)[^\s'\"]*)@")
#: The query of an address: a signature or a key may be in it.
_QUERY = re.compile(r"(://[^\s'\"?]*\?)[^\s'\"]+")


class Options(dict[str, t.Any]):
    """A dict whose repr has the names of the options and not their values. A dict among
    the values becomes one, too."""

    def __init__(self, options: Mapping[str, t.Any]) -> None:
        super().__init__(
            (name, Options(value) if type(value) is dict else value)
            for name, value in options.items()
        )

    def __repr__(self) -> str:
        return f"<Options {', '.join(map(str, self))}>"


def has_login(address: str) -> bool:
    """Whether an address, with or without its scheme, names a user or a password."""
    return bool(_LOGIN.search(address if "://" in address else f"://{address}"))


def without_logins(text: str) -> str:
    """A text whose addresses have neither a login nor a query."""
    return _QUERY.sub(r"\1***", _LOGIN.sub("", text)) if "://" in text else text


def secrets_in(options: Mapping[t.Any, t.Any]) -> Iterator[str]:
    """The secrets among settings or options, told by their names."""
    for name, value in options.items():
        if name == "connection_string" and isinstance(value, str):
            # "Configure Azure Storage connection strings": only some parts are secret.
            yield from secrets_in(dict(p.partition("=")[::2] for p in value.split(";")))
        elif _SECRET.search(str(name)):
            yield from _texts(value)
        elif isinstance(value, Mapping):
            yield from secrets_in(value)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        # The second word of an Authorization is the secret.
        words = value.split(" ")
        yield from (
            text
            for text in (value, *(words[1:] if len(words) == 2 else ()))
            if len(text) >= _SHORTEST
        )
    elif isinstance(value, Mapping):
        # Of a service account's key, which has a name and addresses too, or of all.
        named = [*secrets_in(value)]
        yield from named or (text for v in value.values() for text in _texts(v))
    elif isinstance(value, list | tuple):
        yield from (text for each in value for text in _texts(each))


def _spelled(options: Mapping[t.Any, t.Any]) -> list[str]:
    """The secrets of the options as they are and percent-encoded, the longest first."""
    found = {
        spelled
        for secret in secrets_in(options)
        for spelled in (secret, quote(secret), quote(secret, safe=""))
    }
    return sorted(found, key=len, reverse=True)


def redacted(text: str, options: Mapping[t.Any, t.Any]) -> str:
    """A text without the secrets of the options, and without the logins and queries of
    addresses."""
    for secret in _spelled(options):
        text = text.replace(secret, "***")
    return without_logins(text)


def is_shown(error: BaseException, options: Mapping[t.Any, t.Any]) -> bool:
    """Whether the message of an error, or of one that it comes from, has a secret."""
    texts: list[str] = []
    found: BaseException | None = error
    while found is not None and len(texts) < _LONGEST_CHAIN:
        texts += [str(found), repr(found)]
        found = found.__cause__ or found.__context__
    secrets = _spelled(options)
    return any(
        _LOGIN.search(text) or any(secret in text for secret in secrets)
        for text in texts
    )
