"""How far botocore follows a redirect that names no region."""

from __future__ import annotations

import typing as t

from .errors import REGION_HEADER


def limit_redirects(session: t.Any) -> t.Any:
    """Let the question for the region of a bucket be asked once.

    botocore answers a redirect without a region with a HEAD of the bucket. A server
    that redirects everything, such as a proxy from HTTP to HTTPS, redirects that, too.
    botocore then asks again, a hundred times, until Python stops it.

    :param session: of aiobotocore.
    """
    events = session.get_component("event_emitter")
    events.register_first("needs-retry.s3.HeadBucket", _end_redirects)
    return session


def _end_redirects(
    request_dict: dict[str, t.Any], response: t.Any, **kwargs: t.Any
) -> None:
    """Mark the request as redirected, where the answer does not say whereto."""
    if response is None:
        return
    found = response[1].get("ResponseMetadata", {}).get("HTTPHeaders", {})
    context = request_dict.get("context", {}).get("s3_redirect")
    if context is not None and REGION_HEADER not in found:
        context["redirected"] = True
