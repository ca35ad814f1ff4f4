"""Links, forms, both ways of making requests and boto3 itself agree on where an S3
bucket is, and on what a signature for it names. Nothing is sent."""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
import pathlib
import re
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import field
from urllib.parse import parse_qs
from urllib.parse import urlsplit

import boto3
import fsspec
import pytest
import urllib3
from aiobotocore.httpsession import AIOHTTPSession
from botocore import auth
from botocore import signers
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.httpsession import URLLib3Session
from flask import Flask

from flask_store.dialects.s3 import signing
from flask_store.dialects.s3.account import Endpoint
from flask_store.dialects.s3.account import S3Account
from flask_store.dialects.s3.account import split_root
from flask_store.exceptions import NotConfiguredError
from flask_store.stores.s3 import S3Store

KEYS = {"STORE_S3_ACCESS_KEY": "AK", "STORE_S3_SECRET_KEY": "SK"}
SAME_KEYS = {"aws_access_key_id": "AK", "aws_secret_access_key": "SK"}
ACCESS_POINT = "arn:aws:s3:us-west-2:123456789012:accesspoint"
OUTPOST = "arn:aws:s3-outposts:us-west-2:123456789012:outpost"
MULTI_REGION = "arn:aws:s3::123456789012:accesspoint:mfzwi23gnjvgw.mrap"


@dataclass
class Case:
    """One configuration, in the words of our settings and in those of boto3.

    :param settings: without the keys.
    :param client: the arguments of boto3's client, without the keys.
    :param address: of the bucket.
    :param region: the region in a signature.
    :param presigned: of the bucket, in boto3's links, where it is another one. In
        Amazon's first partition boto3 signs links for the global endpoint, which
        redirects all requests for a new bucket (boto3's issue 3015).
    :param service: the service in a signature.
    :param environ: more variables of the environment.
    :param profiles: the file ``~/.aws/config``.
    :param defaults: fsspec's own configuration for S3.
    """

    settings: dict[str, t.Any]
    client: dict[str, t.Any]
    address: str
    region: str
    presigned: str | None = None
    service: str = "s3"
    environ: dict[str, str] = field(default_factory=dict)
    profiles: str = ""
    defaults: dict[str, t.Any] = field(default_factory=dict)


def case(
    address: str,
    region: str | None,
    config: dict[str, t.Any] | None = None,
    presigned: str | None = None,
    bucket: str = "photos",
    signed: str | None = None,
    **more: t.Any,
) -> Case:
    """A case in which we and boto3 are told the same.

    :param config: of botocore's client.
    :param signed: the region in a signature, if it is not *region*.
    """
    settings: dict[str, t.Any] = {"STORE_S3_BUCKET": bucket, "STORE_S3_REGION": region}
    if config:
        settings["STORE_S3_OPTIONS"] = {"config_kwargs": config}
    settings |= more.pop("settings", {})
    client = {"region_name": region, "config": config or {}} | more.pop("client", {})
    return Case(
        settings, client, address, signed or region or "us-east-1", presigned, **more
    )


GLOBAL = "https://photos.s3.amazonaws.com"
LOCAL = "http://localhost:9000"
SERVICES = """
[profile files]
region = eu-west-1
services = mine
[services mine]
s3 =
  endpoint_url = https://s3.example.com
"""

CASES = {
    "Amazon": case(GLOBAL, "us-east-1"),
    "Amazon, no region": case(GLOBAL, None),
    "another region": case(
        "https://photos.s3.eu-central-1.amazonaws.com", "eu-central-1", presigned=GLOBAL
    ),
    "China": case("https://photos.s3.cn-north-1.amazonaws.com.cn", "cn-north-1"),
    "GovCloud": case("https://photos.s3.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
    "Europe's own cloud": case(
        "https://photos.s3.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"
    ),
    "FIPS": case(
        "https://photos.s3-fips.us-gov-west-1.amazonaws.com",
        "us-gov-west-1",
        environ={"AWS_USE_FIPS_ENDPOINT": "true"},
    ),
    "FIPS, by the client's configuration": case(
        "https://photos.s3-fips.us-gov-east-1.amazonaws.com",
        "us-gov-east-1",
        {"use_fips_endpoint": True},
    ),
    "dual stack": case(
        "https://photos.s3.dualstack.eu-central-1.amazonaws.com",
        "eu-central-1",
        environ={"AWS_USE_DUALSTACK_ENDPOINT": "true"},
    ),
    "dual stack, by the client's configuration": case(
        "https://photos.s3.dualstack.eu-central-1.amazonaws.com",
        "eu-central-1",
        {"s3": {"use_dualstack_endpoint": True}},
    ),
    "FIPS and dual stack": case(
        "https://photos.s3-fips.dualstack.us-east-2.amazonaws.com",
        "us-east-2",
        {"use_fips_endpoint": True, "use_dualstack_endpoint": True},
    ),
    "accelerated": case(
        "https://photos.s3-accelerate.amazonaws.com",
        "eu-central-1",
        {"s3": {"use_accelerate_endpoint": True}},
    ),
    "us-east-1, regional": case(
        "https://photos.s3.us-east-1.amazonaws.com",
        "us-east-1",
        {"s3": {"us_east_1_regional_endpoint": "regional"}},
    ),
    "path style": case(
        "https://s3.eu-central-1.amazonaws.com/photos",
        "eu-central-1",
        settings={"STORE_S3_ADDRESSING_STYLE": "path"},
        client={"config": {"s3": {"addressing_style": "path"}}},
    ),
    "path style in the profile": case(
        "https://s3.eu-central-1.amazonaws.com/photos",
        "eu-central-1",
        profiles="[default]\ns3 =\n  addressing_style = path\n",
    ),
    "virtual style against the profile": case(
        "https://photos.s3.eu-central-1.amazonaws.com",
        "eu-central-1",
        profiles="[default]\ns3 =\n  addressing_style = path\n",
        settings={"STORE_S3_ADDRESSING_STYLE": "virtual"},
        client={"config": {"s3": {"addressing_style": "virtual"}}},
    ),
    "dots": case(
        "https://s3.eu-central-1.amazonaws.com/my.photos",
        "eu-central-1",
        bucket="my.photos",
    ),
    "upper case and underscore": case(
        "https://s3.amazonaws.com/My_Photos", "us-east-1", bucket="My_Photos"
    ),
    "access point": case(
        "https://mine-123456789012.s3-accesspoint.us-west-2.amazonaws.com",
        "us-west-2",
        bucket=f"{ACCESS_POINT}/mine",
    ),
    "access point, with a colon": case(
        "https://mine-123456789012.s3-accesspoint.us-west-2.amazonaws.com",
        "us-west-2",
        bucket=f"{ACCESS_POINT}:mine",
    ),
    "access point of another region": case(
        "https://mine-123456789012.s3-accesspoint.us-west-2.amazonaws.com",
        "eu-central-1",
        bucket=f"{ACCESS_POINT}/mine",
        signed="us-west-2",
    ),
    "access point, FIPS": case(
        "https://mine-123456789012.s3-accesspoint-fips.us-west-2.amazonaws.com",
        "us-west-2",
        bucket=f"{ACCESS_POINT}/mine",
        environ={"AWS_USE_FIPS_ENDPOINT": "true"},
    ),
    "access point on an outpost": case(
        "https://mine-123456789012.op-01ac5d28a6a232904.s3-outposts.us-west-2.amazonaws.com",
        "us-west-2",
        bucket=f"{OUTPOST}/op-01ac5d28a6a232904/accesspoint/mine",
        service="s3-outposts",
    ),
    "another server": case(
        f"{LOCAL}/photos",
        "us-east-1",
        settings={"STORE_S3_ENDPOINT_URL": LOCAL},
        client={"endpoint_url": LOCAL},
    ),
    "another server, no region": case(
        f"{LOCAL}/photos",
        None,
        settings={"STORE_S3_ENDPOINT_URL": f"{LOCAL}/"},
        client={"endpoint_url": f"{LOCAL}/"},
    ),
    "another server below a path": case(
        "https://example.com/s3/photos",
        "eu-central-1",
        settings={"STORE_S3_ENDPOINT_URL": "https://example.com/s3"},
        client={"endpoint_url": "https://example.com/s3"},
    ),
    "another server, virtual style": case(
        "https://photos.s3.example.com:9000",
        "eu-central-1",
        settings={
            "STORE_S3_ENDPOINT_URL": "https://s3.example.com:9000",
            "STORE_S3_ADDRESSING_STYLE": "virtual",
        },
        client={
            "endpoint_url": "https://s3.example.com:9000",
            "config": {"s3": {"addressing_style": "virtual"}},
        },
    ),
    "another server, by its number": case(
        "http://[::1]:9000/photos",
        "us-east-1",
        settings={
            "STORE_S3_ENDPOINT_URL": "http://[::1]:9000",
            "STORE_S3_ADDRESSING_STYLE": "virtual",
        },
        client={
            "endpoint_url": "http://[::1]:9000",
            "config": {"s3": {"addressing_style": "virtual"}},
        },
    ),
    "port 80": case(
        "http://s3.example.com:80/photos",
        "us-east-1",
        settings={"STORE_S3_ENDPOINT_URL": "http://s3.example.com:80"},
        client={"endpoint_url": "http://s3.example.com:80"},
    ),
    "port 443": case(
        "https://s3.example.com:443/photos",
        "us-east-1",
        settings={"STORE_S3_ENDPOINT_URL": "https://s3.example.com:443"},
        client={"endpoint_url": "https://s3.example.com:443"},
    ),
    "port 8443": case(
        "https://s3.example.com:8443/photos",
        "us-east-1",
        settings={"STORE_S3_ENDPOINT_URL": "https://s3.example.com:8443"},
        client={"endpoint_url": "https://s3.example.com:8443"},
    ),
    "AWS_ENDPOINT_URL": case(
        f"{LOCAL}/photos", "us-east-1", environ={"AWS_ENDPOINT_URL": LOCAL}
    ),
    "AWS_ENDPOINT_URL_S3": case(
        f"{LOCAL}/photos",
        "us-east-1",
        environ={"AWS_ENDPOINT_URL": "http://other", "AWS_ENDPOINT_URL_S3": LOCAL},
    ),
    "a setting against AWS_ENDPOINT_URL": case(
        f"{LOCAL}/photos",
        "us-east-1",
        environ={"AWS_ENDPOINT_URL": "http://other"},
        settings={"STORE_S3_ENDPOINT_URL": LOCAL},
        client={"endpoint_url": LOCAL},
    ),
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": case(
        GLOBAL,
        "us-east-1",
        environ={
            "AWS_ENDPOINT_URL": LOCAL,
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
        },
    ),
    "ignored by the client's configuration": case(
        GLOBAL,
        "us-east-1",
        {"ignore_configured_endpoint_urls": True},
        environ={"AWS_ENDPOINT_URL": LOCAL},
    ),
    "AWS_DEFAULT_REGION": case(
        "https://photos.s3.cn-northwest-1.amazonaws.com.cn",
        None,
        signed="cn-northwest-1",
        environ={"AWS_DEFAULT_REGION": "cn-northwest-1"},
    ),
    "the default profile": case(
        "https://s3.example.com/photos",
        None,
        signed="eu-west-1",
        profiles="[default]\nregion=eu-west-1\nendpoint_url=https://s3.example.com\n",
    ),
    "AWS_PROFILE, with services": case(
        "https://s3.example.com/photos",
        None,
        signed="eu-west-1",
        environ={"AWS_PROFILE": "files"},
        profiles=SERVICES,
    ),
    "a profile among the options": case(
        "https://s3.example.com/photos",
        None,
        signed="eu-west-1",
        settings={"STORE_S3_OPTIONS": {"profile": "files"}},
        client={"profile_name": "files"},
        profiles=SERVICES,
    ),
    "client_kwargs": case(
        "https://s3.example.com/photos",
        None,
        signed="eu-north-1",
        settings={
            "STORE_S3_OPTIONS": {
                "client_kwargs": {
                    "endpoint_url": "https://s3.example.com",
                    "region_name": "eu-north-1",
                }
            }
        },
        client={"endpoint_url": "https://s3.example.com", "region_name": "eu-north-1"},
    ),
    "the client's region": case(
        "https://photos.s3.cn-north-1.amazonaws.com.cn",
        None,
        {"region_name": "cn-north-1"},
        signed="cn-north-1",
    ),
    "FSSPEC_S3": case(
        f"{LOCAL}/photos",
        None,
        signed="eu-west-3",
        defaults={"endpoint_url": LOCAL, "client_kwargs": {"region_name": "eu-west-3"}},
        client={"endpoint_url": LOCAL, "region_name": "eu-west-3"},
    ),
    "a setting against FSSPEC_S3": case(
        f"{LOCAL}/photos",
        "us-east-1",
        defaults={"endpoint_url": "http://other", "token": "another one's"},
        settings={"STORE_S3_ENDPOINT_URL": LOCAL},
        client={"endpoint_url": LOCAL},
    ),
}


class Request(t.NamedTuple):
    """A request that was not sent, as far as these tests compare it."""

    url: str
    scope: str
    token: str | None


class NotSentError(Exception):
    """Raised in place of sending."""


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Request]]:
    """The requests that urllib3, s3fs and boto3 would have sent, by these names."""
    made: dict[str, list[Request]] = {"urllib3": [], "s3fs": [], "boto3": []}

    def send_directly(
        pool: urllib3.HTTPConnectionPool,
        method: str,
        url: str,
        body: object = None,
        headers: t.Any = None,
        **kwargs: object,
    ) -> t.NoReturn:
        _note(made["urllib3"], f"{pool.scheme}://{headers['Host']}{url}", headers)
        raise urllib3.exceptions.HTTPError

    async def send_by_s3fs(session: AIOHTTPSession, request: t.Any) -> t.NoReturn:
        _note(made["s3fs"], request.url, request.headers)
        raise NotSentError

    def send_by_boto3(session: URLLib3Session, request: t.Any) -> t.NoReturn:
        _note(made["boto3"], request.url, request.headers)
        raise NotSentError

    monkeypatch.setattr(urllib3.HTTPConnectionPool, "urlopen", send_directly)
    monkeypatch.setattr(AIOHTTPSession, "send", send_by_s3fs)
    monkeypatch.setattr(URLLib3Session, "send", send_by_boto3)
    return made


def _note(made: list[Request], url: str, headers: t.Any) -> None:
    """Note a request by the keys of these tests. Uploads in the background that other
    tests have left go on, by other keys."""
    said = {
        name.lower(): value.decode() if isinstance(value, bytes) else value
        for name, value in headers.items()
    }
    scope = re.search(r"Credential=(AK/[^,]+)", said.get("authorization", ""))
    if scope is not None:
        token = said.get("x-amz-security-token")
        made.append(Request(without_port(url), scope.group(1), token))


def without_port(url: str) -> str:
    """An address as clients write it: without the port that the scheme implies, and
    percent-encoded as they all do."""
    parts = urlsplit(url)
    host = parts.netloc.removesuffix({"http": ":80", "https": ":443"}[parts.scheme])
    return f"{parts.scheme}://{host}{parts.path}"


@pytest.fixture
def configure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> t.Callable[[Case], None]:
    """Make an environment with nothing else of AWS than a case says."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)

    def configure(case: Case) -> None:
        file = tmp_path / "config"
        file.write_text(case.profiles)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name, value in case.environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setitem(fsspec.config.conf, "s3", case.defaults)

    return configure


def store_of(case: Case, **more: t.Any) -> S3Store:
    """The store of a case; nobody has to prove that it knows conditional writes."""
    config = {"STORE_PATH": "some/place", "STORE_S3_CONDITIONAL_WRITES": True}
    return S3Store.from_config({**config, **KEYS, **case.settings, **more})


def account_of(store: S3Store) -> S3Account:
    """What knows where its bucket is."""
    return t.cast(t.Any, store.dialect).account  # type: ignore[no-any-return]


def boto3_of(case: Case) -> t.Any:
    """The same, by boto3."""
    arguments = dict(case.client)
    session = boto3.Session(profile_name=arguments.pop("profile_name", None))
    config = Config(signature_version="s3v4", **arguments.pop("config"))
    return session.client("s3", config=config, **SAME_KEYS, **arguments)


#: A session's token in a signature. make test tries the keys without one.
TOKENS = [None, pytest.param("tok/en+=", marks=pytest.mark.slow)]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_requests_go_where_those_of_boto3_go(
    case: Case,
    configure: t.Callable[[Case], None],
    requests: dict[str, list[Request]],
) -> None:
    """The two ways of making a request and boto3 have one address and one scope."""
    configure(case)
    store = store_of(case)
    with pytest.raises(NotSentError):
        store.save(b"x", "a b.txt")
    with pytest.raises(NotSentError):
        boto3_of(case).put_object(
            Bucket=case.settings["STORE_S3_BUCKET"], Key="some/place/a b.txt", Body=b"x"
        )
    today = f"{dt.datetime.now(dt.UTC):%Y%m%d}"
    expected = Request(
        without_port(f"{case.address}/some/place/a%20b.txt"),
        f"AK/{today}/{case.region}/{case.service}/aws4_request",
        None,
    )
    assert set(requests["boto3"]) == {expected}
    assert set(requests["s3fs"]) == {expected}
    # What is signed for another service is left to s3fs.
    directly = {expected} if case.service == "s3" else set()
    assert set(requests["urllib3"]) == directly
    assert (
        store.file("a b.txt").absolute_url() == f"{case.address}/some/place/a%20b.txt"
    )
    assert account_of(store).endpoint.is_amazon == (
        case.service == "s3" and ".amazonaws." in case.address
    )


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_links_are_those_of_boto3(
    case: Case,
    token: str | None,
    configure: t.Callable[[Case], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At one moment, the same parameters and signatures; another host only where boto3
    signs for the global endpoint."""
    configure(case)
    store = store_of(case, STORE_S3_SESSION_TOKEN=token)
    bucket, key = case.settings["STORE_S3_BUCKET"], "some/place/ü b/50% #1?&+~.txt"
    link = store.file(key.removeprefix("some/place/")).signed_url(download_as="ü.txt")
    query = _parameters(link)
    client = boto3_of(case)
    client._request_signer._credentials.token = token
    _stop_clock(monkeypatch, query["X-Amz-Date"])
    theirs = client.generate_presigned_url(
        "get_object",
        {
            "Bucket": bucket,
            "Key": key,
            "ResponseContentDisposition": query["response-content-disposition"],
            "ResponseContentType": query["response-content-type"],
        },
        ExpiresIn=int(query["X-Amz-Expires"]),
    )
    path = "some/place/%C3%BC%20b/50%25%20%231%3F%26%2B~.txt"
    assert link.partition("?")[0] == f"{case.address}/{path}"
    assert theirs.partition("?")[0] == f"{case.presigned or case.address}/{path}"
    if case.presigned is None:
        assert _parameters(theirs) == query


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_forms_are_those_of_boto3(
    case: Case,
    token: str | None,
    configure: t.Callable[[Case], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At one moment, the same address, fields, conditions and signature."""
    configure(case)
    bucket = case.settings["STORE_S3_BUCKET"]
    app = Flask(__name__)
    app.config["SECRET_KEY"] = "k"
    with app.app_context():
        store = store_of(case, STORE_S3_SESSION_TOKEN=token)
        form = store.presign_upload("a.txt", max_size=10)
    if bucket.startswith("arn:"):
        assert form.url.startswith("/")
        return
    assert form.url == case.address
    client = boto3_of(case)
    client._request_signer._credentials.token = token
    _stop_clock(monkeypatch, form.fields["x-amz-date"])
    fields = dict(form.fields)
    policy = json.loads(base64.b64decode(fields.pop("policy")))
    signature = fields.pop("x-amz-signature")
    their_form = client.generate_presigned_post(bucket, fields["key"])
    assert their_form["url"].rstrip("/") == (case.presigned or case.address)
    their_fields = their_form["fields"]
    assert their_fields.keys() == {*form.fields} - {"Content-Type"}
    assert their_fields["x-amz-credential"] == fields["x-amz-credential"]
    conditions = {json.dumps(c, sort_keys=True) for c in policy["conditions"]}
    assert conditions == {
        json.dumps(condition)
        for condition in (
            *({name: value} for name, value in fields.items()),
            {"bucket": bucket},
            ["content-length-range", 0, 10],
        )
    }
    # boto3's policy has another order; its key makes the same signature of our text.
    signer = auth.S3SigV4PostAuth(signing.Keys("AK", "SK"), case.service, case.region)
    request = AWSRequest("POST")
    request.context["timestamp"] = fields["x-amz-date"]
    assert signer.signature(form.fields["policy"], request) == signature


def _parameters(url: str) -> dict[str, str]:
    return {name: value for name, [value] in parse_qs(urlsplit(url).query).items()}


def _stop_clock(monkeypatch: pytest.MonkeyPatch, stamp: str) -> None:
    """Let botocore sign at a moment, such as ``20261127T080000Z``."""
    now = dt.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ")
    for module in (auth, signers):
        monkeypatch.setattr(
            module, "get_current_datetime", lambda *args, **kwargs: now, raising=False
        )


@pytest.mark.parametrize("token", [None, "tok/en+="])
@pytest.mark.parametrize("method", ["PUT", "GET", "HEAD"])
@pytest.mark.parametrize(
    "key", ["a.txt", "ü b/50%25", "~-_.!'()*;@,$:=&+", "a//b/../c"]
)
@pytest.mark.parametrize(
    "server",
    [
        "https://photos.s3.amazonaws.com",
        "https://s3.example.com:443",
        "http://s3.example.com:80",
        "http://S3.Example.COM:9000/path",
        "http://[::80]:80",
    ],
)
def test_headers_are_those_of_botocore(
    server: str,
    key: str,
    method: str,
    token: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What we sign in a sixth of the time is what botocore signs, byte for byte."""
    keys = signing.Keys("AK", "S/K+", token)
    url = Endpoint(server, "eu-central-1", "s3", (), False, True).address(key)
    said = {
        "Content-Type": "text/plain;  charset=utf-8 ",
        "Content-Length": "3",
        "x-amz-meta-name": "a,b=c",
        "If-None-Match": "*",
    }
    headers = signing.headers(method, url, keys, "eu-central-1", said, signing.UNSIGNED)
    _stop_clock(monkeypatch, headers["x-amz-date"])
    request = AWSRequest(method, url, said)
    request.context["client_config"] = Config(s3={"payload_signing_enabled": False})
    auth.S3SigV4Auth(keys, "s3", "eu-central-1").add_auth(request)
    assert headers["Authorization"] == request.headers["Authorization"]


@pytest.mark.parametrize(
    ("root", "bucket", "prefix"),
    [
        ("photos", "photos", ""),
        ("photos/a/b", "photos", "a/b"),
        (f"{ACCESS_POINT}/mine", f"{ACCESS_POINT}/mine", ""),
        (f"{ACCESS_POINT}/mine/a/b", f"{ACCESS_POINT}/mine", "a/b"),
        (f"{ACCESS_POINT}:mine/accesspoint/b", f"{ACCESS_POINT}:mine", "accesspoint/b"),
        (f"{OUTPOST}/op-1/accesspoint/m/a", f"{OUTPOST}/op-1/accesspoint/m", "a"),
        (f"{OUTPOST}:op-1:accesspoint:m/a", f"{OUTPOST}:op-1:accesspoint:m", "a"),
        (f"{MULTI_REGION}/a", MULTI_REGION, "a"),
        ("arn/a", "arn", "a"),
    ],
)
def test_an_arn_is_a_bucket(root: str, bucket: str, prefix: str) -> None:
    """The name of an access point has slashes, or colons, and is one name."""
    assert split_root(root) == (bucket, prefix)


@pytest.mark.parametrize("bucket", [MULTI_REGION, "photos--use1-az4--x-s3"])
def test_what_takes_other_signatures_is_left_to_s3fs(
    bucket: str, configure: t.Callable[[Case], None], requests: dict[str, list[Request]]
) -> None:
    """A link for it would be one that nobody can open, and the error says so."""
    case = Case({"STORE_S3_BUCKET": bucket, "STORE_S3_REGION": "us-east-1"}, {}, "", "")
    configure(case)
    store = store_of(case)
    with pytest.raises(NotConfiguredError, match="STORE_SERVE"):
        store.file("a.txt").signed_url()
    with pytest.raises(NotSentError):
        store.save(b"x", "a.txt")
    assert requests["urllib3"] == []


@pytest.mark.parametrize(
    ("more", "environ", "words"),
    [
        ({"STORE_S3_REGION": "no region"}, {}, "STORE_S3_REGION"),
        ({"STORE_S3_OPTIONS": {"profile": "nobody"}}, {}, "profile"),
        ({}, {"AWS_ENDPOINT_URL": "localhost:9000"}, "localhost:9000"),
        ({}, {"AWS_ENDPOINT_URL": "http://me:hidden@localhost"}, "AWS_ENDPOINT_URL"),
        ({}, {"AWS_ENDPOINT_URL": "http://me:hidden@a b"}, "AWS configuration"),
        ({"STORE_S3_BUCKET": f"{ACCESS_POINT}/a_b"}, {}, "accesspoint"),
    ],
)
def test_no_address(
    more: dict[str, t.Any],
    environ: dict[str, str],
    words: str,
    configure: t.Callable[[Case], None],
) -> None:
    """Where botocore has no address, the error names what it was told."""
    case = Case({"STORE_S3_BUCKET": "photos", **more}, {}, "", "", environ=environ)
    configure(case)
    store = store_of(case)
    for do in (
        lambda: store.file("a.txt").absolute_url(),
        lambda: store.save(b"", "a"),
    ):
        with pytest.raises(NotConfiguredError, match=words) as info:
            do()
        assert "hidden" not in str(info.value)


def test_keys_are_those_of_the_profile(configure: t.Callable[[Case], None]) -> None:
    """A link is signed with the keys of the profile, as requests are."""
    text = "[profile p]\naws_access_key_id = PK\naws_secret_access_key = PS\n"
    case = Case({"STORE_S3_BUCKET": "photos"}, {}, "", "", profiles=text)
    configure(case)
    options = {"STORE_S3_ACCESS_KEY": None, "STORE_S3_SECRET_KEY": None}
    store = store_of(case, **options, STORE_S3_OPTIONS={"profile": "p"})
    assert _parameters(store.file("a").signed_url())["X-Amz-Credential"][:3] == "PK/"


@pytest.mark.parametrize(
    ("public", "host"),
    [
        ("https://files.example.com:443", "files.example.com"),
        ("http://files.example.com:80", "files.example.com"),
        ("https://files.example.com:80", "files.example.com:80"),
        ("http://files.example.com:443", "files.example.com:443"),
        ("https://files.example.com:8443", "files.example.com:8443"),
    ],
)
def test_port_of_a_link(
    public: str,
    host: str,
    configure: t.Callable[[Case], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client leaves the port of the scheme out of Host, and no other one. The
    signature has the same host."""
    case = Case(
        {"STORE_S3_BUCKET": "photos", "STORE_S3_REGION": "us-east-1"}, {}, "", ""
    )
    configure(case)
    addresses = {
        "STORE_S3_ENDPOINT_URL": "http://inside:9000",
        "STORE_S3_PUBLIC_ENDPOINT_URL": public,
    }
    link = store_of(case, **addresses).file("a.txt").signed_url()
    query = _parameters(link)
    _stop_clock(monkeypatch, query["X-Amz-Date"])
    scheme = urlsplit(public).scheme
    named = {name: query[name] for name in query if name.startswith("response-")}
    request = AWSRequest(
        "GET", f"{scheme}://{host}/photos/some/place/a.txt", params=named
    )
    signer = auth.S3SigV4QueryAuth(
        Credentials("AK", "SK"), "s3", "us-east-1", int(query["X-Amz-Expires"])
    )
    signer.add_auth(request)
    theirs = _parameters(request.url)
    assert theirs["X-Amz-Signature"] == query["X-Amz-Signature"]


def test_variables_of_fsspec(
    configure: t.Callable[[Case], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """FSSPEC_S3_ENDPOINT_URL and the like mean the same for links and requests."""
    found: dict[str, dict[str, t.Any]] = {}
    environ = {
        "FSSPEC_S3_ENDPOINT_URL": LOCAL,
        "FSSPEC_S3_KEY": "FK",
        "FSSPEC_S3_SECRET": "FS",
    }
    fsspec.config.set_conf_env(found, environ)
    case = Case({"STORE_S3_BUCKET": "photos"}, {}, "", "", defaults=found["s3"])
    configure(case)
    options = {"STORE_S3_ACCESS_KEY": None, "STORE_S3_SECRET_KEY": None}
    link = store_of(case, **options).file("a").signed_url()
    assert link.startswith(f"{LOCAL}/photos/some/place/a?")
    assert _parameters(link)["X-Amz-Credential"][:3] == "FK/"


def test_keys_are_those_of_fsspec(configure: t.Callable[[Case], None]) -> None:
    """FSSPEC_S3_KEY and FSSPEC_S3_SECRET are no keys of s3fs alone."""
    defaults = {"key": "FK", "secret": "FS", "token": "FT"}
    case = Case({"STORE_S3_BUCKET": "photos"}, {}, "", "", defaults=defaults)
    configure(case)
    options = {"STORE_S3_ACCESS_KEY": None, "STORE_S3_SECRET_KEY": None}
    query = _parameters(store_of(case, **options).file("a").signed_url())
    assert (query["X-Amz-Credential"][:3], query["X-Amz-Security-Token"]) == (
        "FK/",
        "FT",
    )


def test_threads_find_the_endpoint_together(
    configure: t.Callable[[Case], None],
) -> None:
    """The first requests of a process come at one time; botocore's sessions are not
    made for that."""
    case = Case(
        {"STORE_S3_BUCKET": "photos", "STORE_S3_REGION": "eu-central-1"},
        {},
        "",
        "",
        environ={"AWS_ACCESS_KEY_ID": "EK", "AWS_SECRET_ACCESS_KEY": "ES"},
    )
    configure(case)
    options = {"STORE_S3_ACCESS_KEY": None, "STORE_S3_SECRET_KEY": None}
    file = store_of(case, **options).file("a.txt")
    with ThreadPoolExecutor(8) as pool:
        links = set(pool.map(lambda _: file.signed_url(expires=10_000), range(32)))
    assert len(links) <= 2  # they may have begun in two quarters
    assert "EK%2F" in links.pop()


def test_sessions_share_what_they_have_read(
    configure: t.Callable[[Case], None],
) -> None:
    """botocore's descriptions of S3 are read once in a process, for all stores and
    for both ways of making requests."""
    configure(CASES["Amazon"])
    stores = [store_of(CASES["Amazon"]) for _ in range(2)]
    sessions = [account_of(store).session() for store in stores]
    sessions.append(stores[0].raw_fs.session)
    loaders = [session.get_component("data_loader") for session in sessions]
    assert loaders[0] is loaders[1] is loaders[2]
