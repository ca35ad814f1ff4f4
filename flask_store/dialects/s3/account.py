"""Where an S3 store is, and with which keys it is asked: as botocore finds both.

Partitions, FIPS, dual stack, access points, addressing styles, ``AWS_ENDPOINT_URL``,
profiles: botocore knows all of them, and s3fs asks botocore. So whoever makes a link, a
form or a request of its own asks botocore too, with the options of s3fs.
"""

from __future__ import annotations

import functools
import re
import ssl
import typing as t
from collections.abc import Mapping
from functools import cached_property
from urllib.parse import quote
from urllib.parse import urlsplit

from ...concurrency.greenlets import patched
from ...exceptions import NotConfiguredError
from ...secrecy import without_logins
from ...settings import refuse_login
from ...settings import S3_KEYS_BELONG
from .options import is_ordinary
from .signing import Keys

if t.TYPE_CHECKING:
    from botocore.awsrequest import AWSResponse
    from botocore.credentials import Credentials
    from botocore.session import Session

#: The signature that this package makes, as botocore's endpoint rules call it.
SIGV4 = "sigv4"
#: The name of an access point (Service Authorization Reference, "Resource types defined
#: by Amazon S3" and "... by Amazon S3 on Outposts"). It has slashes, or colons.
ARN = re.compile(
    r"arn:[^/]*?:(outpost[:/][^:/]+[:/])?(accesspoint|bucket)[:/][^:/]+(?=/|\Z)"
)
#: Any key of an object: an endpoint depends on the bucket, and not on the key.
ANY_KEY = "key"


class Endpoint(t.NamedTuple):
    """Where the objects of one bucket are, and what a signature for them names.

    :param url: what every object's address begins with, without a slash at its end.
    :param region: the region in the signature.
    :param service: the service in the signature; ``"s3"`` in nearly all cases.
    :param schemes: the kinds of signature that the endpoint takes, if botocore knows.
    :param is_amazon: whether it is a host of Amazon S3.
    :param is_encrypted: whether requests go over TLS.
    :param ca_bundle: a file of certificates to trust in place of the usual ones.
    """

    url: str
    region: str
    service: str
    schemes: tuple[str, ...]
    is_amazon: bool
    is_encrypted: bool
    ca_bundle: str | None = None

    @property
    def takes_sigv4(self) -> bool:
        """Whether it takes Signature Version 4."""
        return not self.schemes or SIGV4 in self.schemes

    @property
    def server(self) -> str:
        """Whom a message names."""
        parts = urlsplit(self.url)
        return "Amazon S3" if self.is_amazon else f"{parts.scheme}://{parts.netloc}"

    def address(self, key: str) -> str:
        """The address of an object, percent-encoded once."""
        return f"{self.url}/{quote(key)}"


class S3Account:
    """The bucket of a store, its endpoint, region and keys.

    What does not change is asked once and kept. Nothing here makes a request, except
    that botocore may ask for the keys of a role.

    :param bucket: its name, or the ARN of an access point.
    :param options: what :class:`s3fs.S3FileSystem` is made with.
    :param public_url: the endpoint that browsers know, if it is another one.
    """

    def __init__(
        self, bucket: str, options: Mapping[str, t.Any], public_url: str | None = None
    ) -> None:
        self.bucket = bucket
        self._options = options
        self._public_url = public_url
        self._credentials: Credentials | None = None

    @cached_property
    def endpoint(self) -> Endpoint:
        """Where requests go.

        :raises NotConfiguredError: if botocore finds no endpoint.
        """
        return self._endpoint(self._options.get("endpoint_url"))

    @cached_property
    def public_endpoint(self) -> Endpoint:
        """Where links, forms and addresses point.

        :raises NotConfiguredError: if botocore finds no endpoint.
        """
        if self._public_url is None:
            return self.endpoint
        return self._endpoint(self._public_url)

    @cached_property
    def is_ordinary(self) -> bool:
        """Whether a request needs no more than an address and a signature. Whatever
        else the options ask for, only s3fs can do."""
        endpoint = self.endpoint
        return (
            is_ordinary(self._options)
            and endpoint.takes_sigv4
            and endpoint.service == "s3"
        )

    def keys(self) -> Keys:
        """The keys of this moment; botocore renews those of a role.

        :raises NotConfiguredError: if there are none.
        """
        options = self._options
        if options.get("key"):
            return Keys(options["key"], options["secret"], options.get("token"))
        if self._credentials is None and not options.get("anon"):
            self._credentials = self.session().get_credentials()
        if self._credentials is None:
            raise NotConfiguredError(
                "There are no S3 credentials to sign with. Set STORE_S3_ACCESS_KEY"
                " and STORE_S3_SECRET_KEY, or give the server AWS credentials"
                " (environment, profile or role)."
            )
        frozen = self._credentials.get_frozen_credentials()
        return Keys(frozen.access_key, frozen.secret_key, frozen.token)

    def signed_endpoint(self) -> Endpoint:
        """Where links and forms point, if they can be signed.

        :raises NotConfiguredError: if the endpoint takes other signatures only, as a
            Multi-Region Access Point and a directory bucket do.
        """
        endpoint = self.public_endpoint
        if endpoint.takes_sigv4:
            return endpoint
        raise NotConfiguredError(
            f"Nobody can sign a link or a form for {self.bucket}: it takes"
            f" {' and '.join(endpoint.schemes)} only. Serve its files through the"
            " application (STORE_SERVE), or name a bucket or an access point of one"
            " region."
        )

    def _endpoint(self, endpoint_url: str | None) -> Endpoint:
        from botocore.exceptions import BotoCoreError

        try:
            session = self.session()
            request = self._unsent_request(session, endpoint_url)
        except (BotoCoreError, TypeError, ValueError) as exc:
            reason = without_logins(str(exc)).rstrip(".")
            raise NotConfiguredError(
                f"botocore finds no address for the bucket {self.bucket}: {reason}."
                " Check STORE_S3_BUCKET, STORE_S3_REGION, STORE_S3_ENDPOINT_URL and the"
                " server's AWS configuration (environment, profile)."
            ) from exc
        url = request.url.removesuffix(f"/{ANY_KEY}")
        refuse_login(
            "The endpoint of AWS_ENDPOINT_URL or of the profile", url, S3_KEYS_BELONG
        )
        return Endpoint(
            url,
            request.region,
            request.service,
            request.schemes,
            request.service == "s3" and _is_amazon(session, url),
            urlsplit(url).scheme == "https",
            session.get_config_variable("ca_bundle"),  # AWS_CA_BUNDLE
        )

    def session(self) -> Session:
        """A new session of botocore, which knows the environment and the profile.

        Threads must not share one, and it is soon made.
        """
        from botocore import httpsession
        from botocore.session import Session

        if patched():
            # botocore keeps the class that it met when it was imported. If gevent
            # patched after that, every client is a RecursionError.
            httpsession.SSLContext = ssl.SSLContext
        return with_shared_loader(Session(profile=self._options.get("profile")))

    def _unsent_request(
        self, session: Session, endpoint_url: str | None
    ) -> UnsentRequest:
        from botocore.config import Config

        options = self._options
        # aiobotocore has more of them, and none of those moves a server.
        config = {
            name: value
            for name, value in options["config_kwargs"].items()
            if name in Config.OPTION_DEFAULTS
        }
        arguments = {
            "use_ssl": options.get("use_ssl", True),
            **options.get("client_kwargs", {}),
            "endpoint_url": endpoint_url,
            "config": Config(**config),
            # Without keys botocore would look for some, perhaps over the network.
            "aws_access_key_id": "unused",
            "aws_secret_access_key": "unused",
        }
        client = session.create_client("s3", **arguments)
        try:
            request = UnsentRequest()
            client.meta.events.register_first("before-call.s3.HeadObject", request.take)
            client.head_object(Bucket=self.bucket, Key=ANY_KEY)
            return request
        finally:
            client.close()


class UnsentRequest:
    """What botocore knows of a request before it signs and sends it."""

    url: str
    region: str
    service: str
    schemes: tuple[str, ...]

    def take(
        self,
        params: Mapping[str, t.Any],
        context: Mapping[str, t.Any],
        request_signer: t.Any,
        **kwargs: t.Any,
    ) -> tuple[AWSResponse, dict[str, t.Any]]:
        """Answer in place of the server, as :class:`botocore.stub.Stubber` does."""
        from botocore.awsrequest import AWSResponse

        signing = context.get("signing") or {}
        properties = context.get("endpoint_properties") or {}
        self.url = params["url"]
        self.region = signing.get("region") or request_signer.region_name
        self.service = signing.get("signing_name") or request_signer.signing_name
        self.schemes = tuple(
            scheme["name"] for scheme in properties.get("authSchemes") or ()
        )
        return AWSResponse(self.url, 200, {}, None), {}


def split_root(root: str) -> tuple[str, str]:
    """The bucket, or the whole ARN of an access point, and the prefix behind it."""
    arn = ARN.match(root)
    bucket = arn.group() if arn else root.partition("/")[0]
    return bucket, root[len(bucket) + 1 :]


def with_shared_loader(session: t.Any) -> t.Any:
    """Let a session of botocore read what this process has read already. The
    descriptions of S3 and of all regions take a tenth of a second to parse.

    :param session: of botocore or of aiobotocore.
    """
    path = session.get_config_variable("data_path")
    session.register_component("data_loader", _loader(path))
    return session


@functools.cache
def _loader(path: str | None) -> t.Any:
    from botocore.loaders import create_loader

    return create_loader(path)


def _is_amazon(session: Session, url: str) -> bool:
    host = urlsplit(url).hostname or ""
    loader = session.get_component("data_loader")
    return any(
        host.endswith((f".{outputs['dnsSuffix']}", f".{outputs['dualStackDnsSuffix']}"))
        for partition in loader.load_data("partitions")["partitions"]
        for outputs in [partition["outputs"]]
    )
