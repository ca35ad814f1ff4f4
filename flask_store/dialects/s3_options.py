"""``STORE_S3_*`` and ``STORE_OPTIONS`` as options for s3fs."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ..exceptions import NotConfiguredError
from ..settings import refuse_login
from ..settings import refuse_unknown
from . import options_in

#: Seconds to connect, and to wait for the next byte of an answer; every request is
#: tried twice at most. botocore's own 60 s with five tries would hold a worker for
#: minutes.
CONNECT_TIMEOUT = 4
READ_TIMEOUT = 8.5
TIMEOUTS = ("connect_timeout", "read_timeout")
KEYS = "The keys belong into STORE_S3_ACCESS_KEY and STORE_S3_SECRET_KEY."


def s3_options(
    config: Mapping[str, t.Any], key: str | None, secret: str | None
) -> dict[str, t.Any]:
    """What :class:`s3fs.S3FileSystem` is made with.

    :param key: the access key that the URL carries, if any.
    :param secret: the secret that the URL carries, if any.
    :raises NotConfiguredError: for an unknown ``STORE_S3_`` key, half a key pair
        or a value that cannot be.
    """
    refuse_unknown(config)

    def get(name: str) -> t.Any:
        return config.get(f"STORE_S3_{name}") or None

    key = key or get("ACCESS_KEY")
    secret = secret or get("SECRET_KEY")
    if bool(key) != bool(secret):
        missing = "STORE_S3_SECRET_KEY" if key else "STORE_S3_ACCESS_KEY"
        raise NotConfiguredError(
            f"Half a key pair: {missing} is missing. Set both, or neither to use the"
            " server's own AWS credentials (environment, profile or role)."
        )
    endpoint, public = get("ENDPOINT_URL"), get("PUBLIC_ENDPOINT_URL")
    for name, url in (("ENDPOINT_URL", endpoint), ("PUBLIC_ENDPOINT_URL", public)):
        refuse_login(f"STORE_S3_{name}", url, KEYS)
        if url and "://" not in url:
            raise NotConfiguredError(
                f"STORE_S3_{name} {url!r} has no scheme. Write 'https://{url}'."
            )
    acl = get("ACL")
    mine = {
        "key": key,
        "secret": secret,
        "token": get("SESSION_TOKEN"),
        "endpoint_url": endpoint,
        "public_endpoint_url": public,
        "client_kwargs": {"region_name": get("REGION")} if get("REGION") else None,
        # New buckets refuse an ACL, so none is sent unless one is asked for.
        "s3_additional_kwargs": {"ACL": acl} if acl else None,
        # With it, a file that another process wrote or deleted is seen too late.
        "use_listings_cache": False,
        "conditional_writes": _one_of(
            config, "CONDITIONAL_WRITES", "auto", True, False
        ),
    }
    options = {name: value for name, value in mine.items() if value is not None}
    for extra in ("STORE_OPTIONS", "STORE_S3_OPTIONS"):
        options = _merged(options, options_in(config, extra))
    for name in ("endpoint_url", "public_endpoint_url"):
        refuse_login(f"The option {name}", options.get(name), KEYS)
    inner = options.get("client_kwargs", {}).get("endpoint_url")
    refuse_login("The option endpoint_url in client_kwargs", inner, KEYS)
    return {**options, "config_kwargs": client_config(config, options)}


def client_config(
    config: Mapping[str, t.Any], options: Mapping[str, t.Any]
) -> dict[str, t.Any]:
    """The keywords of :class:`botocore.config.Config`; the application's go last."""
    style = _one_of(config, "ADDRESSING_STYLE", "auto", "path", "virtual")
    found: dict[str, t.Any] = {
        "signature_version": "s3v4",
        "connect_timeout": CONNECT_TIMEOUT,
        "read_timeout": READ_TIMEOUT,
        "retries": {"mode": "standard", "total_max_attempts": 2},
        "max_pool_connections": 64,
        "s3": {"addressing_style": style},
    }
    if options.get("endpoint_url"):
        # botocore sends checksums that many S3-compatible servers do not know, and
        # then checks a whole object's against one range of it.
        found["request_checksum_calculation"] = "when_required"
        found["response_checksum_validation"] = "when_required"
    return _merged(found, options.get("config_kwargs", {}))


def is_ordinary(options: Mapping[str, t.Any]) -> bool:
    """Whether the options for s3fs say nothing but where the bucket is, who asks and
    with which ACL: whatever else there is, only s3fs knows what it means."""
    plain = {"key", "secret", "token", "endpoint_url", "use_listings_cache"}
    inner = {"client_kwargs": {"region_name"}, "s3_additional_kwargs": {"ACL"}}
    config = options["config_kwargs"]
    usual = client_config(
        {"STORE_S3_ADDRESSING_STYLE": _style(options)},
        {"endpoint_url": options.get("endpoint_url")},
    )
    return (
        options.keys() <= plain | inner.keys() | {"config_kwargs"}
        and all(options.get(name, {}).keys() <= known for name, known in inner.items())
        and {**config, **{name: usual[name] for name in TIMEOUTS}} == usual
    )


def _style(options: Mapping[str, t.Any]) -> str | None:
    style: str | None = options["config_kwargs"].get("s3", {}).get("addressing_style")
    return style


def _merged(ours: dict[str, t.Any], theirs: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The application's options over ours; a dict in both is merged in turn, so that
    one more option for the client does not drop its region."""
    found = {**ours, **theirs}
    for name in ours.keys() & theirs.keys():
        if isinstance(ours[name], dict) and isinstance(theirs[name], Mapping):
            found[name] = _merged(ours[name], theirs[name])
    return found


def _one_of(config: Mapping[str, t.Any], name: str, *known: t.Any) -> t.Any:
    """The setting's value, by default the first known one. A string such as
    ``"False"`` is not taken for a truth."""
    value = config.get(f"STORE_S3_{name}")
    if value is None or value == "":
        return known[0]
    if value not in known or isinstance(value, int) != isinstance(value, bool):
        choices = ", ".join(map(repr, known))
        raise NotConfiguredError(
            f"STORE_S3_{name} is {value!r}; it must be one of {choices}."
        )
    return value
