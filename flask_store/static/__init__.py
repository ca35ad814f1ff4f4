"""The uploader: a script and its style sheet, and a blueprint that serves them.

::

    from flask_store.static import uploader

    app.register_blueprint(uploader)

Then ``{{ store_uploader() }}`` in the head of a template loads both.
"""

from __future__ import annotations

import base64
import hashlib
import typing as t
from dataclasses import dataclass
from importlib import resources

from flask import abort
from flask import Blueprint
from flask import current_app
from flask import request
from flask import Response
from flask import url_for
from flask.blueprints import BlueprintSetupState
from markupsafe import Markup
from werkzeug.wrappers import Response as AnyResponse

#: The variable of the rule in an application that matches hosts: any host has it.
HOST = "store_uploader_host"


@dataclass(frozen=True)
class Asset:
    """A file of the uploader.

    :param name: its file name.
    :param content_type: its media type.
    :param content: what is in it.
    """

    name: str
    content_type: str
    content: bytes

    @classmethod
    def read(cls, name: str, content_type: str) -> t.Self:
        """The file of this name beside this module."""
        content = resources.files(__name__).joinpath(name).read_bytes()
        return cls(name, content_type, content)

    @property
    def version(self) -> str:
        """What changes with the content, for the address."""
        return hashlib.sha256(self.content).hexdigest()[:16]

    @property
    def integrity(self) -> str:
        """What a browser compares (W3C Subresource Integrity)."""
        digest = hashlib.sha384(self.content).digest()
        return f"sha384-{base64.b64encode(digest).decode()}"

    @property
    def url(self) -> str:
        """The address at the current application."""
        values: dict[str, t.Any] = {"version": self.version, "name": self.name}
        if current_app.url_map.host_matching:
            values[HOST] = request.host
        return url_for("store_uploader.asset", **values)


SCRIPT = Asset.read("uploader.js", "text/javascript; charset=utf-8")
STYLE = Asset.read("uploader.css", "text/css; charset=utf-8")

# No store has this prefix by itself: the name of a store has no dot.
uploader = Blueprint("store_uploader", __name__, url_prefix="/flaskstore.static")


def asset(version: str, name: str, **host: str) -> AnyResponse:
    """The response with one of the two files.

    An old address is not found: the content would not be what its page expects.
    """
    for found in (SCRIPT, STYLE):
        if (found.name, found.version) == (name, version):
            break
    else:
        abort(404)
    response = Response(found.content, content_type=found.content_type)
    response.cache_control.public = True
    response.cache_control.max_age = 365 * 24 * 3600
    response.cache_control.immutable = True
    response.headers["X-Content-Type-Options"] = "nosniff"
    # A page of another subdomain loads a module, and compares its integrity, by CORS.
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response


@uploader.record
def add_rule(state: BlueprintSetupState) -> None:
    """Add the rule, on every host where the application matches hosts."""
    host = {"host": f"<{HOST}>"} if state.app.url_map.host_matching else {}
    state.add_url_rule("/<version>/<name>", "asset", asset, **host)


@uploader.app_template_global()
def store_uploader(*, style: bool = True, **attributes: object) -> Markup:
    """The tags that load the uploader, for the head of a page.

    :param style: whether to load the style sheet, too.
    :param attributes: further attributes of both tags, such as the ``nonce`` of a
        Content-Security-Policy. ``_`` in a name stands for ``-``. ``None`` and
        ``False`` leave an attribute out, and ``True`` gives it no value.
    """
    script = Markup('<script type="module" src="{}"{}></script>')
    tags = [script.format(SCRIPT.url, _attributes(SCRIPT, attributes))]
    if style:
        link = Markup('<link rel="stylesheet" href="{}"{}>')
        tags.insert(0, link.format(STYLE.url, _attributes(STYLE, attributes)))
    return Markup("\n").join(tags)


def _attributes(asset: Asset, given: dict[str, object]) -> Markup:
    known: dict[str, object] = {"integrity": asset.integrity, "crossorigin": True}
    return Markup("").join(
        Markup(" {}").format(name.replace("_", "-"))
        + (Markup() if value is True else Markup('="{}"').format(value))
        for name, value in {**known, **given}.items()
        if value is not None and value is not False
    )
