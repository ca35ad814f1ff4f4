"""Where browsers find the routes of an application: on which host, below which path."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from urllib.parse import quote

from flask import Flask
from flask import has_request_context
from flask import request
from werkzeug.routing import Map
from werkzeug.routing import Rule

from ..exceptions import NotConfiguredError

#: The endpoint of the route that Flask makes for a folder of static files.
STATIC = "static"


@dataclass(frozen=True)
class Mount:
    """What the addresses of a store's own routes begin with.

    :param root: the path of the application (``APPLICATION_ROOT``), for an address that
        is made outside of a request. A request says its own (``SCRIPT_NAME``).
    :param scheme: the scheme outside of a request (``PREFERRED_URL_SCHEME``).
    :param server: the host outside of a request (``SERVER_NAME``), if it is known.
    :param host: the only host that has the routes, or a pattern of hosts with variables
        such as ``<tenant>.example.com``; ``None`` if every host has them.
    :param matching: matches the path ``/`` on these hosts.
    :param rule_options: the host or the subdomain, as ``add_url_rule`` takes them.
    """

    root: str = ""
    scheme: str = "http"
    server: str | None = None
    host: str | None = None
    matching: Map | None = None
    rule_options: Mapping[str, t.Any] = field(default_factory=dict)

    @classmethod
    def without_routes(cls, app: Flask) -> t.Self:
        """The mount of a store that has no routes."""
        return cls(
            root=app.config["APPLICATION_ROOT"],
            scheme=app.config["PREFERRED_URL_SCHEME"],
            server=app.config["SERVER_NAME"],
        )

    @classmethod
    def of(cls, app: Flask, host: str | None, subdomain: str | None) -> t.Self:
        """The mount of a store whose routes are on one host or subdomain.

        :param host: ``STORE_HOST``; by default the host of the static files.
        :param subdomain: ``STORE_SUBDOMAIN``; by default none, as for other routes.
        :raises NotConfiguredError: if no request to the application could reach such a
            route.
        """
        options: dict[str, str] = {}
        if app.url_map.host_matching:
            host = _host(app, host, subdomain)
            options["host"] = host
        else:
            if host is not None:
                raise NotConfiguredError(
                    f"STORE_HOST is {host!r}, but the application does not match hosts."
                    " Create it with Flask(..., host_matching=True), or remove"
                    " STORE_HOST. To set the beginning of URLs, use STORE_DOMAIN."
                )
            host = _subdomain(app, subdomain)
            if subdomain is not None:
                options["subdomain"] = subdomain
        matching = None if host is None else _matching(app, host)
        mount = cls.without_routes(app)
        return replace(mount, host=host, matching=matching, rule_options=options)

    def front(self) -> str:
        """What stands in front of the path of a route: the path of the application and,
        where the current host does not have the route, a host that has it.

        :raises NotConfiguredError: if it takes one of several hosts.
        """
        now = request if has_request_context() else None
        root = (now.root_path if now else self.root).strip("/")
        path = f"/{quote(root)}" if root else ""
        if self.host is None or self.matching is None:
            return path
        if now and self.matching.bind(now.host.lower()).test("/"):
            return path
        if "<" in self.host:
            raise NotConfiguredError(
                f"STORE_HOST is {self.host!r}, and the URL of a file needs a value for"
                " each variable in it. Make the URL in a request to such a host or by"
                " url_for() with the variables, or set STORE_DOMAIN."
            )
        return f"{now.scheme if now else self.scheme}://{self.host}{path}"

    def whole(self, url: str) -> str:
        """A URL with its scheme and its host. Those of the current request are put in
        front of a path; outside of a request, those of the configuration.

        :raises NotConfiguredError: if the host is not known.
        """
        if not url.startswith("/"):
            return url
        if has_request_context():
            return f"{request.scheme}://{request.host}{url}"
        if self.server is None:
            raise NotConfiguredError(
                "A whole URL needs a host, and there is no request to take it from. Set"
                " SERVER_NAME and PREFERRED_URL_SCHEME, as for url_for(), or"
                " STORE_DOMAIN."
            )
        return f"{self.scheme}://{self.server}{url}"


def _matching(app: Flask, host: str) -> Map:
    """What matches the path ``/`` on the hosts of the routes."""
    rule = Rule("/", host=host, endpoint="files")
    try:
        return Map([rule], host_matching=True, converters=app.url_map.converters)
    except (ValueError, LookupError) as exc:
        setting = "STORE_HOST" if app.url_map.host_matching else "STORE_SUBDOMAIN"
        raise NotConfiguredError(
            f"{setting} names the host {host!r}, which the routing of Flask cannot read"
            f" ({exc}). Write a host, or a pattern with variables such as '<tenant>'."
        ) from exc


def _host(app: Flask, host: str | None, subdomain: str | None) -> str:
    """The host of the routes, in an application that matches hosts."""
    if subdomain is not None:
        raise NotConfiguredError(
            f"STORE_SUBDOMAIN is {subdomain!r}, but the application matches whole hosts"
            " (host_matching=True). Set STORE_HOST instead."
        )
    if host is not None:
        return _lower(host)
    for rule in app.url_map.iter_rules():
        if rule.endpoint == STATIC and rule.host:
            return rule.host
    raise NotConfiguredError(
        "The application matches hosts (host_matching=True), and the store has no"
        " host. Set STORE_HOST to one, such as 'files.example.com', or to '<host>' for"
        " every host."
    )


def _subdomain(app: Flask, subdomain: str | None) -> str | None:
    """The host of the routes, in an application that may match subdomains."""
    server = app.config["SERVER_NAME"]
    if subdomain is not None and not (app.subdomain_matching and server):
        missing = (
            "SERVER_NAME is not set"
            if app.subdomain_matching
            else "the application does not match subdomains"
        )
        raise NotConfiguredError(
            f"STORE_SUBDOMAIN is {subdomain!r}, but {missing}. Create the application"
            " with Flask(..., subdomain_matching=True) and set SERVER_NAME to its"
            " domain, or remove STORE_SUBDOMAIN."
        )
    if not (app.subdomain_matching and server):
        return None
    if subdomain is None:
        subdomain = app.url_map.default_subdomain
    return _lower(f"{subdomain}.{server}" if subdomain else server)


def _lower(host: str) -> str:
    """A host as that of a request is compared. Names of variables have a case."""
    return host if "<" in host else host.lower()
