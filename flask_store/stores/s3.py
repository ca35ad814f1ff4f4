"""``S3Store``: the documented ``STORE_S3_*`` settings."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from flask import Flask

from ..concurrency.greenlets import patched
from ..dialects.registry import protocol_of
from ..exceptions import NotConfiguredError
from .fsspec import FsspecStore


class S3Store(FsspecStore):
    """Objects in the bucket ``STORE_S3_BUCKET``, below the prefix ``STORE_PATH``."""

    REQUIRED_CONFIGURATION = ()

    @classmethod
    def defaults(cls, app: Flask) -> dict[str, t.Any]:
        """The root of the bucket."""
        return {**super().defaults(app), "STORE_PATH": "/"}

    @classmethod
    def check_config(cls, config: Mapping[str, t.Any]) -> None:
        url = str(config.get("STORE_PATH") or "")
        if not config.get("STORE_S3_BUCKET") and "://" not in url:
            raise NotConfiguredError(
                f"{cls.__name__} needs STORE_S3_BUCKET. Set it in the application's"
                " configuration before Store(app) or init_app(app)."
            )

    @classmethod
    def url(cls, config: Mapping[str, t.Any]) -> str:
        path: str = config["STORE_PATH"] or ""
        if "://" in path:
            if protocol_of(path) not in ("s3", "s3a"):
                raise NotConfiguredError(
                    "S3Store needs a prefix or an 's3://' URL in STORE_PATH. Leave"
                    " STORE_PROVIDER out, and the URL of another storage chooses it."
                )
            return path
        return f"s3://{config['STORE_S3_BUCKET']}/{path.strip('/')}"


class S3GeventStore(S3Store):
    """:class:`S3Store` whose :meth:`save` returns at once: a greenlet uploads.

    The upload is on this host's disk by then and outlives the process. In a process
    that gevent has not patched the greenlets run on a thread of their own.
    """

    in_greenlets = True

    def configure(self, config: Mapping[str, t.Any]) -> None:
        super().configure(config)
        if patched():
            # The first upload would import it, which holds up a hub for a second.
            # Unpatched it has to wait: a later patching would not reach it.
            import s3fs

            assert s3fs
