"""``STORE_S3_*`` and ``STORE_OPTIONS`` as options for s3fs."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from fsspec.config import conf

from ...exceptions import NotConfiguredError
from ...settings import refuse_login
from ...settings import S3_KEYS_BELONG
from ..limits import Limits
from .additions import Additions
from .additions import merged

#: botocore's own 60 s with five tries would hold a worker for minutes.
TIMEOUTS = {"connect_timeout", "read_timeout"}

#: The options of s3fs that change no request but its address and its signature.
PLAIN = {
    "endpoint_url",
    "key",
    "profile",
    "requester_pays",
    "s3_additional_kwargs",
    "secret",
    "token",
    "use_listings_cache",
}
#: The same, of the options that are dictionaries.
INNER = {
    "client_kwargs": {"region_name"},
}
#: The same, of :class:`botocore.config.Config`, and of its dictionary ``s3``.
ADDRESS = {
    "ignore_configured_endpoint_urls",
    "region_name",
    "s3",
    "use_dualstack_endpoint",
    "use_fips_endpoint",
}
S3_ADDRESS = {
    "addressing_style",
    "us_east_1_regional_endpoint",
    "use_accelerate_endpoint",
    "use_arn_region",
    "use_dualstack_endpoint",
}
#: What s3fs takes as an option of its own, by the name that its client has for it.
LIFTED = {
    "endpoint_url": "endpoint_url",
    "aws_access_key_id": "key",
    "aws_secret_access_key": "secret",
    "aws_session_token": "token",
}


def s3_options(
    config: Mapping[str, t.Any], key: str | None, secret: str | None
) -> dict[str, t.Any]:
    """What :class:`s3fs.S3FileSystem` is made with.

    :param key: the access key that the URL carries, if any.
    :param secret: the secret that the URL carries, if any.
    :raises NotConfiguredError: for half a key pair, and for settings and options that
        contradict each other.
    """
    key = key or config["STORE_S3_ACCESS_KEY"]
    secret = secret or config["STORE_S3_SECRET_KEY"]
    if bool(key) != bool(secret):
        missing = "STORE_S3_SECRET_KEY" if key else "STORE_S3_ACCESS_KEY"
        raise NotConfiguredError(
            f"Half a key pair: {missing} is missing. Set both, or neither to use the"
            " server's own AWS credentials (environment, profile or role)."
        )
    region = config["STORE_S3_REGION"]
    mine = {
        "key": key,
        "secret": secret,
        "token": config["STORE_S3_SESSION_TOKEN"],
        "endpoint_url": config["STORE_S3_ENDPOINT_URL"],
        "public_endpoint_url": config["STORE_S3_PUBLIC_ENDPOINT_URL"],
        "client_kwargs": {"region_name": region} if region else None,
        # With it, a file that another process wrote or deleted is seen too late.
        "use_listings_cache": False,
        "conditional_writes": config["STORE_S3_CONDITIONAL_WRITES"],
    }
    options = _defaults()
    if key and "token" in options:
        options["token"] = None  # it belongs to other keys
    options |= {name: value for name, value in mine.items() if value is not None}
    for extra in ("STORE_OPTIONS", "STORE_S3_OPTIONS"):
        options = _merged(options, config[extra])
    options = _lifted(options)
    kwargs = dict(options.get("s3_additional_kwargs") or {})
    if options.get("requester_pays"):
        # Not every s3fs says so with every request.
        kwargs.setdefault("RequestPayer", "requester")
    if kwargs := merged(config, kwargs):
        options["s3_additional_kwargs"] = kwargs
    for name in ("endpoint_url", "public_endpoint_url"):
        refuse_login(f"The option {name}", options.get(name), S3_KEYS_BELONG)
    style = config["STORE_S3_ADDRESSING_STYLE"]
    config_kwargs = client_config(style, options, Limits.of(config))
    return {**options, "config_kwargs": config_kwargs}


def client_config(
    style: str, options: Mapping[str, t.Any], limits: Limits
) -> dict[str, t.Any]:
    """The keywords of :class:`botocore.config.Config`; the application's go last.

    :param style: where requests name the bucket.
    :param limits: how long to wait for the server.
    """
    config: dict[str, t.Any] = {
        "signature_version": "s3v4",
        "connect_timeout": limits.attempt,
        "read_timeout": limits.answer,
        "retries": {"mode": "standard", "total_max_attempts": 2},
        "max_pool_connections": 64,
    }
    # Else it is for botocore to say, which has a profile to ask.
    if style != "auto":
        config["s3"] = {"addressing_style": style}
    return _merged(config, options.get("config_kwargs", {}))


def server_config() -> dict[str, t.Any]:
    """More of these keywords, for a server that is not Amazon's.

    botocore sends checksums that many S3-compatible servers do not know, and then
    checks a whole object's against one range of it.
    """
    return {
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }


def is_ordinary(options: Mapping[str, t.Any]) -> bool:
    """Whether the options for s3fs say nothing but where the bucket is, who asks, and
    what headers can say: whatever else there is, only s3fs knows what it means."""
    config = options["config_kwargs"]
    usual = {**server_config(), **client_config("auto", {}, Limits())}
    return (
        options.keys() <= {*PLAIN, *INNER, "config_kwargs"}
        and all(options.get(name, {}).keys() <= names for name, names in INNER.items())
        and Additions(options.get("s3_additional_kwargs", {})).is_ordinary
        and config.get("s3", {}).keys() <= S3_ADDRESS
        and all(
            name in TIMEOUTS | ADDRESS or value == usual.get(name)
            for name, value in config.items()
        )
    )


def _defaults() -> dict[str, t.Any]:
    """What fsspec would add to the options of any s3fs, from its configuration and
    from ``FSSPEC_S3_*``."""
    found: dict[str, t.Any] = {}
    for protocol in ("s3", "s3a"):
        found |= conf.get(protocol, {})
    return found


def _lifted(options: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The options with one place for each thing: s3fs takes some twice, and then its
    own before those of the client."""
    inner = dict(options.get("client_kwargs", {}))
    lifted = {
        own: inner.pop(name)
        for name, own in LIFTED.items()
        if inner.get(name) is not None
    }
    options = {**lifted, **options}
    return (
        {**options, "client_kwargs": inner} if "client_kwargs" in options else options
    )


def _merged(ours: dict[str, t.Any], theirs: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The application's options over ours; a dict in both is merged in turn, so that
    one more option for the client does not drop its region."""
    found = {**ours, **theirs}
    for name in ours.keys() & theirs.keys():
        if isinstance(ours[name], dict) and isinstance(theirs[name], Mapping):
            found[name] = _merged(ours[name], theirs[name])
    return found
