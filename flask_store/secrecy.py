"""What must not be shown: the values of options, and the logins in addresses.

Error reporters, debuggers and ``pytest -l`` print the repr of all objects, and logs
have the messages of errors.
"""

from __future__ import annotations

import json
import re
import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import quote

# Patterns are compiled when they are first used, so that importing is quick.

#: The names of settings and options whose values are secret, with all that is in them.
_SECRET = (
    r"(?i)^(?!.*_ur[il]\Z).*(secret|passw|passphrase|token|credential|authorization|signature|access_key"
    r"|account_?key|((^|[_-])(auth|cookies?|key|params|pwd))\Z)"
)
#: Shorter values are not redacted: they would be found in ordinary words.
_SHORTEST = 6

#: How many texts of an error and of its causes are searched.
_LONGEST_CHAIN = 40

#: The user and the password of an address (RFC 3986, section 3.2.1), also with a slash
#: that is not encoded. A slash behind a host and its port begins the path.
_LOGIN = r"(?<=://)([^\s'\"/@]*|[^\s'\"/@:\[]*:(?!\d+/)[^\s'\"]*)@"
#: The example of an address in our own messages. It has no secret.
_EXAMPLE = "user@host/"
_LOGIN_TO_HIDE = rf"(?!{_EXAMPLE})(?:{_LOGIN})"
#: The query of an address. It may contain a signature or a key.
_QUERY = r"(://[^\s'\"?]*\?)[^\s'\"]+"


class Options(dict[str, t.Any]):
    """A dict whose repr has the names of the options and not their values. A dict in a
    value becomes an ``Options``, too."""

    def __init__(self, options: Mapping[str, t.Any]) -> None:
        super().__init__(
            (name, Options(value) if type(value) is dict else value)
            for name, value in options.items()
        )

    def __repr__(self) -> str:
        names = ", ".join(map(str, self))
        return f"<Options {names}>" if names else "<Options>"


def has_login(address: str) -> bool:
    """Whether an address, with or without its scheme, names a user or a password."""
    return bool(re.search(_LOGIN, address if "://" in address else f"://{address}"))


def without_logins(text: str) -> str:
    """A text whose addresses have neither a login nor a query.

    The example of our own messages, such as ``smb://user@host/share``, stays whole.
    """
    if "://" not in text:
        return text
    return re.sub(_QUERY, r"\1***", re.sub(_LOGIN_TO_HIDE, "", text))


def is_secret(name: str) -> bool:
    """Whether a setting or an option of this name has a secret value."""
    return re.search(_SECRET, name) is not None


def secrets_in(options: Mapping[t.Any, t.Any]) -> Iterator[str]:
    """The secret values of settings or options, recognized by their names."""
    for name, value in options.items():
        if name == "connection_string" and isinstance(value, str):
            # "Configure Azure Storage connection strings": only some parts are secret.
            yield from secrets_in(dict(p.partition("=")[::2] for p in value.split(";")))
        elif is_secret(str(name)):
            yield from _texts(value)
        elif isinstance(value, Mapping):
            yield from secrets_in(value)
        elif isinstance(value, str) and value.lstrip().startswith("{"):
            # Options as JSON, from an environment variable.
            with suppress(ValueError):
                yield from secrets_in(json.loads(value))


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
        # A service account's key has a name and addresses, too, so that only values
        # with a secret name count. If no name is secret, all values count.
        named = [*secrets_in(value)]
        yield from named or (text for v in value.values() for text in _texts(v))
    elif isinstance(value, list | tuple):
        yield from (text for each in value for text in _texts(each))


def _spelled(options: Mapping[t.Any, t.Any]) -> list[str]:
    """The secrets of the options as they are and percent-encoded, the longest first."""
    spellings = {
        spelling
        for secret in secrets_in(options)
        for spelling in (secret, quote(secret), quote(secret, safe=""))
    }
    return sorted(spellings, key=len, reverse=True)


def redacted(text: str, options: Mapping[t.Any, t.Any]) -> str:
    """A text without the secrets of the options, and without the logins and queries of
    addresses."""
    for secret in _spelled(options):
        text = text.replace(secret, "***")
    return without_logins(text)


def is_shown(error: BaseException, options: Mapping[t.Any, t.Any]) -> bool:
    """Whether the message of an error, or of one of its causes, has a secret."""
    texts: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(texts) < _LONGEST_CHAIN:
        texts += [str(cause), repr(cause)]
        cause = cause.__cause__ or cause.__context__
    secrets = _spelled(options)
    return any(
        re.search(_LOGIN, text) or any(secret in text for secret in secrets)
        for text in texts
    )
