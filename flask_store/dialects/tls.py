"""Which fault of TLS is behind the error of a library.

A fault of the server is :exc:`~flask_store.exceptions.StoreUnavailable`: its operator
may renew the certificate at any time, so uploads in the background go on trying. A
missing file of certificates is a setting of this machine, and
:exc:`~flask_store.exceptions.NotConfiguredError`.
"""

from __future__ import annotations

import os
import re
import ssl
import typing as t
from collections.abc import Iterator

from ..exceptions import NotConfiguredError
from ..exceptions import StoreError
from ..exceptions import StoreUnavailable
from .errors import status_of

#: Attributes in which libraries keep the error behind their own.
_BEHIND = ("__cause__", "__context__", "reason", "os_error", "inner_exception")
#: Ends of a connection, which say nothing of TLS.
_ENDS = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
#: Codes of OpenSSL ("X509_STORE_CTX_get_error"): a certificate that is not valid yet,
#: or no longer; no trusted authority has signed it; it has another name.
_EXPIRED = {9, 10}
_UNTRUSTED = {18, 19, 20, 21}
_MISNAMED = {62, 64}
#: What OpenSSL makes of bytes that are no TLS.
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
#: Errors of a connection that the server has closed without an answer.
_HUNG_UP = re.compile(
    r"ServerDisconnected|RemoteProtocol|ConnectionClosed|BadStatusLine|BadHttpMessage"
    r"|ConnectionReset"
)
#: The status with which servers refuse plain HTTP, as errors have it and tell it.
_BAD_REQUEST = 400
_REFUSED = re.compile(r"\(400\)|the status is 400")


class Trust(t.NamedTuple):
    """Which certificates a client trusts, and how its user changes that.

    :param settings: which settings have the address of the server.
    :param variables: of the environment, which name files of certificates; the first
        one is for the storage itself.
    :param address: of the server, if the dialect knows it.
    """

    settings: str
    variables: tuple[str, ...]
    address: str | None = None


def explained(exc: BaseException, key: str | None, trust: Trust) -> StoreError | None:
    """The error that says what is wrong with TLS, if anything is."""
    errors = list(_causes(exc))
    # aiohttp's own errors are such errors, too, and do not have a reason.
    faults = [
        error
        for error in errors
        if isinstance(error, ssl.SSLError)
        and not isinstance(error, _ENDS)
        and hasattr(error, "reason")
    ]
    no_bundle = any("CA certificate bundle" in str(error) for error in errors)
    hidden = any(isinstance(error, FileNotFoundError) for error in errors[1:])
    if faults or no_bundle or hidden:
        for name in trust.variables:
            if os.environ.get(name) and not os.path.exists(os.environ[name]):
                return NotConfiguredError(
                    f"{name} names {os.environ[name]!r}, which is not there. Let it"
                    " name a file of certificates (PEM), or remove it."
                )
    if no_bundle:
        return NotConfiguredError(
            "The file of certificates that the options name is not there. Check"
            f" {trust.settings}, and {' and '.join(trust.variables)}."
        )
    return StoreUnavailable(_words(faults[0], trust), key) if faults else None


def hint(exc: BaseException, trust: Trust) -> str:
    """What else may be the reason of an error, if the server may want TLS."""
    if not (trust.address or "").startswith("http://"):
        return ""
    for error in _causes(exc):
        names = {cls.__name__ for cls in type(error).__mro__}
        if (
            status_of(error) == _BAD_REQUEST
            or _REFUSED.search(str(error))
            or any(map(_HUNG_UP.search, names))
        ):
            return (
                "The address begins with http://. If the server speaks TLS, write"
                f" https:// into {trust.settings}."
            )
    return ""


def _words(error: ssl.SSLError, trust: Trust) -> str:
    code = getattr(error, "verify_code", None)
    if code in _EXPIRED:
        return (
            "The certificate of the server has expired, or is not valid yet. Renew it"
            " on the server. If it is valid, set the clock of this machine, by NTP."
        )
    if code in _MISNAMED:
        return (
            f"The certificate of the server is for another name: {error.verify_message}"  # type: ignore[attr-defined]
            f" Write a name that the certificate has into {trust.settings}, or give the"
            " server a certificate for this one."
        )
    if code in _UNTRUSTED:
        return (
            "No authority that this machine trusts has signed the certificate of the"
            f" server ({error.verify_message}). If it is your own certificate, set the"  # type: ignore[attr-defined]
            f" variable {' or '.join(trust.variables)} to a file (PEM) with the"
            " certificate that has signed it. Otherwise an attacker may be in between."
        )
    if error.reason in _NO_TLS:
        return (
            "The server does not speak TLS at this port. Write the port where it does,"
            f" or http:// in place of https://, into {trust.settings}."
        )
    reason = getattr(error, "verify_message", None) or error.reason or error
    return (
        f"TLS with the server fails: {reason}. Check the certificate and the TLS"
        f" versions of the server, and {trust.settings}."
    )


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """An error and those behind it, each once."""
    found, seen = [exc], set[int]()
    while found:
        error = found.pop(0)
        if id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        behind = [getattr(error, name, None) for name in _BEHIND]
        found += [e for e in (*behind, *error.args) if isinstance(e, BaseException)]
