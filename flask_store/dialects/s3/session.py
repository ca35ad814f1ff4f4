"""How aiobotocore encrypts, in a process that gevent has patched."""

from __future__ import annotations

import ssl
import typing as t

from aiobotocore.httpsession import AIOHTTPSession
from botocore.httpsession import DEFAULT_CIPHERS


class PatchedSession(AIOHTTPSession):  # type: ignore[misc]
    """Sessions that encrypt by what :mod:`ssl` has now.

    botocore keeps the :class:`ssl.SSLContext` that it met when it was imported. If
    gevent patched after that, every use of it is a ``RecursionError``, over plain
    HTTP too, because a context is made in any case.
    """

    def _get_ssl_context(self) -> t.Any:
        # What botocore sets; the caller sets the verification and the certificates.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if DEFAULT_CIPHERS:
            context.set_ciphers(DEFAULT_CIPHERS)
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET
        context.post_handshake_auth = True
        return context
