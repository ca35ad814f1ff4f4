"""HTTP: the addresses of variants at the application, and what these answer."""

from __future__ import annotations

import re
import typing as t
from contextlib import suppress
from urllib.parse import urlencode

from flask import request
from flask import Response
from werkzeug.wrappers import Response as AnyResponse

from .. import naming
from ..exceptions import BadLink
from ..exceptions import FileNotFound
from ..exceptions import StoreError
from ..http import answers
from ..http import caching
from ..http import links
from ..http import refusals
from ..http.authorization import Authorization
from .spec import Spec
from .versions import known_version
from .versions import LENGTH

if t.TYPE_CHECKING:
    from ..files import FileWrapper
    from .variant import Attempt
    from .variant import Variant

#: For how long a browser keeps a variant whose URL has its version (RFC 9111, section
#: 5.2.2.1, and RFC 8246): a year.
IMMUTABLE = "public, max-age=31536000, immutable"
#: A version, as an address has it.
HEX = f"[0-9a-f]{{{LENGTH}}}"


def url(variant: Variant) -> str:
    """See :meth:`.Variant.url`."""
    store = variant.file.store
    if store.signed_urls:
        return signed_url(variant, None)
    path, said = _address(variant)
    address: str = store.variant_url(path)  # which raises an error if there is no route
    # What the application does not serve may be private. A name is no secret.
    if variant.name is None or not store.serves:
        said["signature"] = links.signature(_identity(store), path, links.VARIANT)
    return f"{address}?{urlencode(said)}" if said else address


def signed_url(variant: Variant, expires: float | None) -> str:
    """See :meth:`.Variant.signed_url`."""
    store = variant.file.store
    path, said = _address(variant)
    address: str = store.variant_url(path)
    period = links.period(store.url_expires if expires is None else expires)
    query = links.query(_identity(store), path, period.end, None)
    version = f"{urlencode(said)}&" if said else ""
    return f"{address}?{version}{query}"


def answer(
    store: t.Any, key: str, kind: type[Response], authorization: Authorization
) -> AnyResponse:
    """The answer of the route to GET and HEAD.

    :param key: the path in the address: parameters, and the key of the picture.
    """
    word, _, key = (path := key).partition("/")
    until = None
    try:
        spec = store.variants.named.get(word) or Spec.parse(word)
        file = store.file(key)
        if spec is None:
            raise BadLink(links.REFUSED, key)
        if store.signed_urls or "expires" in request.args:
            if not store.signed_urls and not links.can_sign():
                raise BadLink(links.REFUSED, key)
            until = links.check(_identity(store), path, request.args)
        else:
            _check_allowed(store, path, word)
            denial = authorization.denial(file)
            if denial is not None:
                return denial
        private = authorization.check is not None
        return _varied(_respond(file, spec, kind, private, until), spec)
    except StoreError as exc:
        raise refusals.of_file(exc) from exc


def view(
    variant: Variant,
    as_attachment: bool,
    download_name: str | None,
    cache_control: str | None,
) -> Response:
    """See :meth:`.Variant.response`."""
    file, spec = variant.file, variant.spec.accepted(_accepted())
    terms = answers.terms_of_view(
        _name(file, spec), as_attachment, download_name, cache_control
    )
    try:
        for attempt in file.store.variants.attempts(file, spec):
            with suppress(FileNotFound):
                keeper = _there(attempt)
                response = answers.in_view(keeper, attempt.file.key, terms)
                return _varied(response, variant.spec)
    except StoreError as exc:
        raise refusals.of_file(exc) from exc
    raise refusals.refusal(404)


def _respond(
    file: FileWrapper,
    spec: Spec,
    kind: type[Response],
    private: bool,
    until: int | None,
) -> Response:
    """A response with a variant, which is made if it is not there.

    :raises StoreError: if there is none.
    """
    match = re.fullmatch(f"({HEX}){spec.digest}", request.args.get("v", ""))
    known = match[1] if match else None
    spec = spec.accepted(_accepted())
    terms = answers.Terms(_name(file, spec), False, private, until)
    for attempt in file.store.variants.attempts(file, spec, known):
        with suppress(FileNotFound):
            response = answers.respond(_there(attempt), attempt.file.key, kind, terms)
            said = response.headers["Cache-Control"]
            # What is private stays as the application says. A function that decides is
            # asked each time, as it is about the picture.
            if attempt.version == known and not caching.is_private(said):
                response.headers["Cache-Control"] = IMMUTABLE
            return response
    raise FileNotFound(f"{file.key!r} was deleted at this moment.", file.key)


def _varied(response: Response, spec: Spec) -> Response:
    """The response, which says whether its format depends on the request (RFC 9110,
    section 12.5.5)."""
    if spec.format == "auto":
        response.vary.add("Accept")
    return response


def _address(variant: Variant) -> tuple[str, dict[str, str]]:
    """The path of a variant, and the version in its query if that is known."""
    file = variant.file
    path = f"{variant.name or variant.spec.text}/{file.relative_path()}"
    version = known_version(file)
    return path, {} if version is None else {"v": version + variant.spec.digest}


def _identity(store: t.Any) -> str:
    """What sets the signatures of these addresses apart from those of the files."""
    return f"{store.identity} {links.VARIANT}"


def _check_allowed(store: t.Any, path: str, word: str) -> None:
    """:raises BadLink: if nobody but a client says that such a variant is wanted."""
    said = request.args.get("signature")
    if said is None and word in store.variants.named and store.serves:
        return
    if not said or not links.can_sign():
        raise BadLink(links.REFUSED)
    if not links.is_signed(_identity(store), path, links.VARIANT, said):
        raise BadLink(links.REFUSED)


def _there(attempt: Attempt) -> t.Any:
    """The store that has a variant.

    :raises FileNotFound: if it is not there, and a redirect would lead to nothing.
    """
    keeper = attempt.file.store
    if keeper.serve == "redirect" and not attempt.made:
        attempt.file.stat()
    return keeper


def _name(file: FileWrapper, spec: Spec) -> str:
    """The name under which a browser saves a variant."""
    return f"{naming.split(file.download_name)[0]}.{spec.extension}"


def _accepted() -> set[str]:
    """The media types that the client names."""
    return {kind for kind, quality in request.accept_mimetypes if quality > 0}
